"""A bank pays by signed requests at the centre while the gateway is off: answered at once, lit and credited once when it comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.adapters.identity import x_of
from gateway.bootstrap.new_keys import write_new_key
from gateway.central import schema
from gateway.central.store import CentralStore
from gateway.cli.centre_keys import centre_keys
from protocols.bank.signatures import sign_request
from tests.gateway.central.conftest import rows
from tests.system.processes import until, wattgate
from tests.system.stand import ANSWERS_S, House, Stand, tracebacks

URL = "https://pay.example.org"
KEY = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
HOUSE = House("kitchen", "201900000101", opening="0.10")
PAID = Decimal("50.00")
PAID_AT = datetime.now(timezone(timedelta(hours=8))).replace(microsecond=0)
TODAY = PAID_AT.date().isoformat()
SOON_S = 180.0  # some seconds; on a machine with other work, far more
ANSWER_WITHIN_S = 5.0
"""The promise to banks (contract.md 3), whatever the line to the gateway does; looked at in a proof."""

CENTRAL = """
[central]
data = "central"
[mqtt]
port = {port}
[keys]
centre = "centre.jwk"
commands = "commands.jwk"
receipts = "receipts.jwk"
[bank]
accounts = "accounts.csv"
listen = "127.0.0.1:0"
public_url = "{url}"
[[bank.partner]]
id = "north"
[[bank.partner.key]]
kid = "north-1"
public = "{x}"
"""


class Bank:
    """Signs what it asks of the centre, each call under a nonce of its own."""

    def __init__(self, at: str) -> None:
        self.http = httpx2.AsyncClient(base_url=at, timeout=ANSWERS_S, trust_env=False)

    async def ask(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx2.Response:
        content = None if body is None else json.dumps(body).encode()
        nonce, now_s = secrets.token_hex(16), int(time.time())
        headers = sign_request(method, URL + path, content, "north-1", KEY, created_s=now_s, nonce=nonce)
        if content is not None:
            headers["content-type"] = "application/json"
        return await self.http.request(method, path, content=content, headers=headers)

    async def pay(self, serial: str) -> httpx2.Response:
        form = {"serial": serial, "account": HOUSE.account, "amount": str(PAID), "currency": "CNY"}
        return await self.ask("POST", "/bank/v1/topups", form | {"paid_at": PAID_AT.isoformat(), "accounting_date": TODAY})

    async def stored(self, serial: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.ask("GET", f"/bank/v1/topups/{serial}")).json()
        return found


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    made = Stand(tmp_path, [HOUSE])
    made.config.write_text(made.config.read_text() + centre_keys(tmp_path))
    write_new_key(tmp_path / "receipts.jwk", "centre-receipts")
    (tmp_path / "central.toml").write_text(CENTRAL.format(port=made.mqtt_port, url=URL, x=x_of(KEY)))
    await made.broker.start()
    try:
        yield made
    finally:
        await made.close()
    assert tracebacks(tmp_path) == []


async def cut_and_gone(stand: Stand) -> None:
    """The house has used up its money and is dark; then its gateway dies."""
    await asyncio.gather(stand.sim.start(), stand.gateway.start())

    async def dark() -> bool:
        return bool((await stand.truth(HOUSE.meter))["contact"] == "open")

    await until(dark, "the house is cut", SOON_S)
    names = await wattgate("accounts", "pseudonyms", "-c", stand.config)
    assert names.code == 0, names.err
    (stand.folder / "accounts.csv").write_text(names.out)
    await stand.gateway.kill()


async def test_a_bank_pays_at_the_centre_while_the_gateway_is_away(stand: Stand, proof_scale: int) -> None:
    await cut_and_gone(stand)
    bank = Bank(str((await stand.central.start())["bank"]))
    begun = time.monotonic()
    first = await bank.pay("S-1")
    assert proof_scale == 1 or time.monotonic() - begun < ANSWER_WITHIN_S
    assert (first.status_code, first.json()["payment"]) == (201, "posted")
    assert (await bank.stored("S-1"))["delivery"] in ("queued", "sent")
    await stand.central.kill()  # what it has answered is on the disk

    await bank.http.aclose()
    bank = Bank(str((await stand.central.start())["bank"]))
    again = await bank.pay("S-1")
    assert (again.status_code, again.json()["receipt_jws"]) == (200, first.json()["receipt_jws"])
    await stand.gateway.start()

    async def delivered() -> bool:
        return bool((await bank.stored("S-1"))["delivery"] == "none")

    await until(delivered, "the centre has the gateway's word", SOON_S)
    found = await bank.stored("S-1")
    assert (found["payment"], found["receipt"], found["receipt_jws"]) == (
        "posted", first.json()["receipt"], first.json()["receipt_jws"],
    )  # fmt: skip

    async def light() -> bool:
        return bool((await stand.truth(HOUSE.meter))["contact"] == "closed")

    await until(light, "the house has light again", SOON_S)
    assert (await bank.pay("S-1")).status_code == 200
    topups = [event for event in await stand.events("topup_posted") if event["data"]["serial"] == "S-1"]
    assert [event["data"]["amount"] for event in topups] == [str(PAID)]
    await bank.http.aclose()
    for process in (stand.gateway, stand.central):
        assert await process.end() == 0
    ledger = await wattgate("ledger", "export", "-c", stand.config, "--format", "jsonl")
    booked = [line for line in ledger.out.splitlines() if '"S-1"' in line]
    assert (ledger.code, len(booked)) == (0, 1), ledger.err
    assert (await wattgate("ledger", "verify", "-c", stand.config)).code == 0
    audit = await wattgate("central", "audit", "-c", stand.folder / "central.toml")
    acts = [json.loads(line)["act"] for line in audit.out.splitlines()]
    assert (audit.code, acts) == (0, ["topup_posted", "voucher_credited"]), audit.err


async def test_what_was_answered_is_booked_when_the_centre_is_told_to_stop(stand: Stand) -> None:
    (stand.folder / "accounts.csv").write_text(f"account,gateway,pseudonym,currency,holder\n{HOUSE.account},G1,00ff,CNY,Z**\n")
    bank = Bank(str((await stand.central.start())["bank"]))
    answered: dict[str, str] = {}

    async def pays(n: int) -> None:
        with contextlib.suppress(httpx2.TransportError):
            for turn in range(1000):
                answer = await bank.pay(f"S-{n}-{turn}")
                if answer.status_code == 201:
                    answered[f"S-{n}-{turn}"] = answer.json()["receipt_jws"]

    paying = [asyncio.create_task(pays(n)) for n in range(8)]
    await until(lambda: asyncio.sleep(0, len(answered) > 20), "the bank pays", SOON_S)
    assert await stand.central.end() == 0
    await asyncio.gather(*paying)
    await bank.http.aclose()
    store = CentralStore.open(str(stand.folder / "central" / "central.db"))
    booked = {str(row["serial"]): row["receipt_jws"] for row in rows(store, schema.payment)}
    store.close()
    assert answered.items() <= booked.items()
