"""Two instances of a bank's front on one store, killed while a bank pays through either: what was answered stays, once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.identity import x_of
from gateway.bootstrap.new_keys import write_new_key
from gateway.central import audit, schema
from gateway.central.store import CentralStore
from protocols.bank.signatures import sign_request
from tests.gateway.adapters.http.paying import KEY
from tests.gateway.brokers import RealBroker, running
from tests.gateway.central.bank_ends import TABLE
from tests.gateway.central.conftest import READY_S, emptied, rows
from tests.gateway.uplink_ends import until

KILLS, PROOF_KILLS = 1, 15
AT_ONCE = 4
"""Serials that are paid at the same time, each until it is answered by both instances in the same words."""

URL = "https://pay.example.org"
AT = datetime.now(timezone(timedelta(hours=8))).replace(microsecond=0)

CONFIG = """
[central]
id = "{name}"
url = "{url}"
share = "centre"
[mqtt]
port = {port}
[keys]
commands = "commands.jwk"
receipts = "receipts.jwk"
[bank]
accounts = "accounts.csv"
listen = "127.0.0.1:0"
public_url = "https://pay.example.org"
[[bank.partner]]
id = "north"
[[bank.partner.key]]
kid = "north-1"
public = "{x}"
"""


@dataclass
class Instance:
    """One process, which comes again after each death. at: where it listens."""

    folder: Path
    name: str
    child: asyncio.subprocess.Process | None = None
    at: str = ""

    async def start(self) -> None:
        command = [sys.executable, "-m", "gateway", "central", "-c", str(self.folder / f"{self.name}.toml"), "--ready"]
        pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self.child = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=nowhere)
        assert self.child.stdout is not None
        self.at = json.loads(await asyncio.wait_for(self.child.stdout.readline(), READY_S))["bank"]

    async def kill(self) -> None:
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                self.child.send_signal(signal.SIGKILL)
            await self.child.wait()


@dataclass
class Bank:
    """Pays serial after serial. answers: receipt_jws of each serial, as it was answered every time."""

    instances: tuple[Instance, Instance]
    rng: random.Random
    stop: bool = False
    number: int = 0
    answers: dict[str, set[str]] = field(default_factory=dict)
    created: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as http, asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._pay_on(http))

    async def _pay_on(self, http: httpx2.AsyncClient) -> None:
        while not self.stop:
            self.number += 1
            serial = f"S-{self.number}"
            for instance in (*self.rng.sample(self.instances, 2), self.rng.choice(self.instances)):
                await self._until_answered(http, serial, instance)

    async def _until_answered(self, http: httpx2.AsyncClient, serial: str, instance: Instance) -> None:
        """As a bank does: the same serial again until somebody answers, the same signed bytes now and then."""
        form = {"serial": serial, "account": "A-1", "amount": "5.00", "currency": "CNY", "paid_at": AT.isoformat()}
        body = json.dumps({**form, "accounting_date": AT.date().isoformat()}).encode()
        headers: dict[str, str] = {}
        while True:
            if not headers or self.rng.random() < 0.5:
                now_s, nonce = int(time.time()), secrets.token_hex(8)
                headers = sign_request("POST", f"{URL}/bank/v1/topups", body, "north-1", KEY, created_s=now_s, nonce=nonce)
                headers["content-type"] = "application/json"
            try:
                answer = await http.post(f"{instance.at}/bank/v1/topups", content=body, headers=headers)
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code in (200, 201):
                self.answers.setdefault(serial, set()).add(answer.json()["receipt_jws"])
                self.created[serial] = self.created.get(serial, 0) + (answer.status_code == 201)
                return
            assert answer.status_code in (429, 503), answer.text
            await asyncio.sleep(0.05)


@pytest.mark.timeout(3600)
async def test_what_was_answered_stays_when_instances_are_killed(
    tmp_path: Path, postgres: str, broker: RealBroker, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    kills = KILLS if proof_scale == 1 else PROOF_KILLS
    for name in ("commands", "receipts"):
        write_new_key(tmp_path / f"{name}.jwk", f"{name}-1")
    (tmp_path / "accounts.csv").write_text(TABLE)
    instances = Instance(tmp_path, "c-1"), Instance(tmp_path, "c-2")
    bank, rng = Bank(instances, random.Random(3)), random.Random(4)
    store = CentralStore.open(postgres)
    try:
        async with running(broker):
            for instance in instances:
                text = CONFIG.format(name=instance.name, url=postgres, port=broker.port, x=x_of(KEY))
                (tmp_path / f"{instance.name}.toml").write_text(text)
            await asyncio.gather(*(instance.start() for instance in instances))
            paying = asyncio.create_task(bank.run())
            for _ in range(kills):
                seen = bank.number
                await until(lambda: paying.done() or bank.number > seen + 10, "the bank goes on")  # noqa: B023
                victim = rng.choice(instances)
                await victim.kill()
                await victim.start()
            bank.stop = True
            await asyncio.wait_for(paying, 4 * READY_S)
        booked = {str(row["serial"]): row["receipt_jws"] for row in rows(store, schema.payment)}
        assert {serial: {jws} for serial, jws in booked.items()} == bank.answers
        assert max(bank.created.values()) == 1, "a second 201 would be a second payment"
        assert len(rows(store, schema.order)) == len(booked) == bank.number
        assert audit.walk(store) == (len(booked), None)
        figure(
            "the centre's banks' front: two instances killed (-9) under payments, lost or doubled",
            f"{kills} kills, {len(booked)} payments, none",
        )
    finally:
        for instance in instances:
            await instance.kill()
        store.close()
        emptied(postgres)
