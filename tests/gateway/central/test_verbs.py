"""The centre's verbs and its listener: what people and monitors are told; a payment from the bank to the gateway and back."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import aiomqtt
import httpx2
import pytest
from sqlalchemy import delete, select
from typer.testing import CliRunner

from gateway.bootstrap.new_keys import write_new_key
from gateway.central import day_books, findings, keys, schema
from gateway.central.config import load
from gateway.central.ingest import save
from gateway.central.orders import Order, Signer, write
from gateway.central.store import CentralStore
from gateway.cli.answers import Failure
from gateway.cli.app import app
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.day_file import HEADER
from protocols.uplink import messages, signing
from protocols.uplink.messages import ResultMessage
from protocols.uplink.topics import NATIVE, Up
from tests.gateway.brokers import Mosquitto, free_port, running
from tests.gateway.central.arriving import arrival
from tests.gateway.central.conftest import READY_S

CONFIG = """
[central]
data = "data"

[mqtt]
port = {port}

[keys]
centre = "centre.jwk"
commands = "commands.jwk"

[http]
listen = "127.0.0.1:{http}"

[bank]
accounts = "accounts.csv"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("centre", "commands"):
        write_new_key(tmp_path / f"{name}.jwk", f"{name}-1")
    (tmp_path / "accounts.csv").write_text("account,gateway,pseudonym,currency,holder\nA-1,G1,00ff,CNY,Z**\n")
    (tmp_path / "central.toml").write_text(CONFIG.format(port=free_port(), http=free_port()))
    return tmp_path / "central.toml"


def asked(file: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["central", *words, "-c", str(file)])
    return done.exit_code, done.stdout


def filled(file: Path) -> CentralStore:
    return CentralStore.open(load(file, {}).store_url(file.parent))


def test_status_and_gaps_say_what_is_missing(file: Path) -> None:
    store = filled(file)
    save(store, [arrival(1), arrival(2, gateway="G2"), arrival(5, low=4)])
    assert asked(file, "status") == (
        0,
        "G1: unknown, 1 of 5 in order, 3 missing, heard 2026-11-21T12:00:00.000Z\n"
        "G2: unknown, 0 of 2 in order, 1 missing, heard 2026-11-21T12:00:00.000Z\n"
        "0 orders and 0 vouchers without an end\n",
    )
    assert asked(file, "check-gaps") == (1, "G1 e1: 2 to 3 missing\nG1 e1: 4 to 4 on its way\nG2 e1: 1 to 1 on its way\n")
    assert json.loads(asked(file, "check-gaps", "--json")[1].splitlines()[0])["why"] == "missing"
    save(store, [arrival(n) for n in (2, 3, 4)])
    assert asked(file, "check-gaps")[0] == 0
    store.close()


def test_a_finding_stays_until_a_person_closes_it(file: Path) -> None:
    store = filled(file)
    store.write(lambda c: [findings.add(c, "G1", "numbers_lost", "1-2", "they are lost", 5) for _ in range(2)])
    code, text = asked(file, "status")
    assert code == 1 and text.count("they are lost") == 1
    assert asked(file, "close-finding", "1", "--who", "li")[0] == 0
    assert asked(file, "status")[0] == 0
    again = CliRunner().invoke(app, ["central", "close-finding", "1", "--who", "li", "-c", str(file)])
    assert isinstance(again.exception, Failure)
    store.close()


def test_the_audit_log_is_told_and_proved(file: Path) -> None:
    store = filled(file)
    signer = keys.load(file.parent / "commands.jwk")
    args = {"amount": "5.00", "via": "counter"}
    for _ in range(2):
        write(store, [Order("refund", "G1", account="00ff", args=args, id="c-1"), Order("stop", "G1", id="c-2")], signer, 1)
    code, told = asked(file, "audit")
    [row] = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert (code, row["who"], row["act"], row["subject"]) == (0, "key:commands-1", "order_refund", "c-1")
    assert row["data"] == {"gateway": "G1", "account": "00ff", "reason": "", **args}
    store.write(lambda c: c.execute(delete(schema.audit)))
    store.close()
    broken = CliRunner().invoke(app, ["central", "audit", "-c", str(file)]).exception
    assert isinstance(broken, Failure) and "the audit log stops at row 0, but 1 were written" in broken.sentences[0]


def test_two_people_resolve_a_difference_at_the_console(file: Path) -> None:
    store, day = filled(file), date(2026, 11, 21)
    line = b"S-1,A-1,50.00,CNY,topup,,2026-11-21T04:00:00+00:00,app,\n"
    book = store.write(lambda c: day_books.begin(c, "north", "2026-11-21", "00", 5))
    chunks = (HEADER.encode() + b"\n", line, b"#1,50.00\n")
    compared = store.read(lambda c: day_books.compare(c, "north", day, chunks, PartnerTerms("north")))
    store.write(lambda c: day_books.keep(c, book, *compared))
    shown = "north 2026-11-21 1: missing_here, serial S-1: it is not booked here (book|ignore)"
    assert asked(file, "differences") == (1, f"{shown}\n")
    words = ("resolve", "north", "2026-11-21", "1", "book", "--reason", "their file is right", "--who")
    for _ in range(2):
        assert asked(file, *words, "li") == (0, "asked for: a second person says the same, with --who (asked by operator:li)\n")
    assert asked(file, "differences")[1] == f"{shown}; operator:li asks for book: their file is right\n"
    assert asked(file, *words, "wang") == (0, "done: serial S-1 is booked to account A-1\n")
    assert asked(file, "differences") == (0, "")
    [order] = store.read(lambda c: c.execute(select(schema.order)).all())
    assert (order.verb, order.gateway) == ("topup", "G1")
    for wrong, why in (
        (("resolve", "north", "2026-11-21", "2", "book"), "has no difference 2"),
        (("resolve", "north", "2026-11-21", "1", "burn"), "book, reverse or ignore"),
        (("resolve", "north", "2026-11-21", "1", "ignore"), "resolved before by another action"),
    ):
        refused = CliRunner().invoke(app, ["central", *wrong, "--reason", "x", "--who", "li", "-c", str(file)]).exception
        assert isinstance(refused, Failure) and why in refused.sentences[0]
    acts = [json.loads(line) for line in asked(file, "audit")[1].splitlines() if line.startswith("{")]
    assert [(each["who"], each["act"]) for each in acts] == [
        ("operator:li", "difference_asked"), ("operator:wang", "topup_posted"), ("operator:wang", "difference_resolved"),
    ]  # fmt: skip
    assert acts[-1]["data"]["asked_by"] == "operator:li" and acts[-1]["data"]["reason"] == "their file is right"
    store.close()


def test_a_key_for_receipts_is_no_gateways_affair(tmp_path: Path) -> None:
    command = ["central", "keys", "new", str(tmp_path / "r.jwk"), "--kid", "centre-1", "--role", "receipts"]
    done = CliRunner().invoke(app, command)
    public = signing.x_of(keys.load(tmp_path / "r.jwk").key)
    assert (done.exit_code, json.loads(done.output)) == (0, {"kid": "centre-1", "public": public})


def test_a_key_is_made_for_the_gateways_configuration(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["central", "keys", "new", str(tmp_path / "a.jwk"), "--kid", "office-2"])
    public = signing.x_of(keys.load(tmp_path / "a.jwk").key)
    assert done.stdout == f'[[uplink_key]]\nkid = "office-2"\npublic = "{public}"\nrole = "commands"\nverbs = ["*"]\n'
    shown = CliRunner().invoke(app, ["central", "keys", "show", str(tmp_path / "a.jwk")])
    assert json.loads(shown.stdout) == {"kid": "office-2", "public": public}


@pytest.mark.parametrize(
    ("change", "error"),
    (
        (("[http]", "[https]"), "https: is not a known key"),
        (('commands = "commands.jwk"', ""), "bank needs keys.commands"),
        (("127.0.0.1:", "0.0.0.0:"), "on loopback"),
    ),
)
def test_a_configuration_that_cannot_be_is_refused(file: Path, change: tuple[str, str], error: str) -> None:
    file.write_text(file.read_text().replace(*change))
    refused = CliRunner().invoke(app, ["central", "-c", str(file)])
    assert isinstance(refused.exception, Failure) and any(error in sentence for sentence in refused.exception.sentences)


async def test_from_the_bank_to_the_gateway_and_back(file: Path, broker: Mosquitto) -> None:
    """The real process on a real broker; the gateway is away when the bank pays, and the bank is answered all the same."""
    broker.port = load(file, {}).mqtt.port or 0
    child = None
    async with running(broker):
        try:
            command = [sys.executable, "-m", "gateway", "central", "-c", str(file), "--ready"]
            child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            assert child.stdout is not None
            ready = json.loads(await asyncio.wait_for(child.stdout.readline(), READY_S))
            async with httpx2.AsyncClient(base_url=ready["http"], trust_env=False, timeout=60) as bank:
                await _pay_and_see(bank, broker, keys.load(file.parent / "commands.jwk"))
        finally:
            if child is not None:
                child.terminate()
                assert await child.wait() == 0


async def _pay_and_see(bank: httpx2.AsyncClient, broker: Mosquitto, office: Signer) -> None:
    def connected() -> aiomqtt.Client:
        return aiomqtt.Client("127.0.0.1", broker.port, identifier="G1", timeout=60, clean_session=False)

    async with connected() as gateway:
        await gateway.subscribe("wattgate/v1/G1/down/command", qos=1)
    today = datetime.now(UTC)
    form = {"serial": "S-1", "account": "A-1", "amount": "50.00", "currency": "CNY", "paid_at": today.isoformat(timespec="seconds")}
    paid = await bank.post("/bank/v1/topups", json=form | {"accounting_date": today.date().isoformat()})
    assert (paid.status_code, paid.json()["delivery"]) == (201, "queued")
    async with connected() as gateway:
        store = await bank.get("/healthz")
        assert (store.status_code, store.json()) == (200, {"ok": True, "reasons": []})
        again = await bank.get("/bank/v1/topups/S-1")
        assert again.json()["receipt"] == paid.json()["receipt"] and again.json()["delivery"] in ("queued", "sent")
        voucher = await asyncio.wait_for(anext(aiter(gateway.messages)), READY_S)
        said = json.loads(signing.open_signed(bytes(voucher.payload), {office.kid: office.key}.get).payload)
        result = ResultMessage(
            epoch="e1", seq=1, low=1, backlog=False, command=said["id"], state="done", final=True, at=said["issued_at"]
        )
        await gateway.publish(NATIVE.up("G1", Up.RESULT, said["id"]), messages.encode(result), qos=1)
        async with asyncio.timeout(READY_S):
            while (await bank.get("/bank/v1/topups/S-1")).json()["delivery"] != "none":  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.1)
    figures = (await bank.get("/metrics")).text
    assert "wattgate_central_stored_total 1.0" in figures and "wattgate_central_vouchers_now 0.0" in figures
