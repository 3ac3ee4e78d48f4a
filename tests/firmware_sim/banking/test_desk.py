"""A bank at its desk, before gateways that each do one thing wrong: what it says of them, in sentences."""

from __future__ import annotations

import json
import re
import tomllib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_sim.banking import control
from firmware_sim.banking.bank import Office
from firmware_sim.banking.book import Belief, Outcome
from firmware_sim.banking.config import BankConfig, banks
from firmware_sim.banking.control import Desk
from firmware_sim.banking.line import SPOILT, HttpLine, Signing, unsigned
from firmware_sim.report import junit
from protocols.bank.signatures import Algorithm, BadSignature, BankKey, Fields, Request, check_request
from tests.firmware_sim.banking.test_bank import no_pause

NOW = datetime(2026, 11, 21, 4, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)


@dataclass
class Lab:
    """A gateway in little. wrong: what it does against the contract."""

    wrong: str = ""
    fen: int = 1000
    paid: dict[str, dict[str, str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    judge: Callable[[httpx2.Request], bool] = lambda request: True
    heard: list[httpx2.Request] = field(default_factory=list)
    uploads: int = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.heard.append(request)
        path = request.url.path
        if self.wrong == "silent":
            raise httpx2.ConnectError("nobody")
        if self.wrong == "other_key" or not self.judge(request):
            return httpx2.Response(401, json={"code": "bad_signature", "detail": "key demo is not known"})
        if path.startswith("/bank/v1/accounts/"):
            return httpx2.Response(200, json={"balance": f"{self.fen // 100}.{self.fen % 100:02d}"})
        if path.startswith("/bank/v1/reconciliations/"):
            return self._reconcile(request)
        if path.endswith("/reversal"):
            serial = path.split("/")[-2]
            if serial in self.paid and serial not in self.gone:
                self._credit(self.paid[serial], -1)
            self.gone.add(serial)
            return httpx2.Response(200, json={"payment": "reversed"})
        return self._topup(json.loads(request.content))

    def _topup(self, body: dict[str, str]) -> httpx2.Response:
        if self.wrong == "refuses":
            return httpx2.Response(404, json={"code": "unknown_account"})
        known = self.paid.setdefault(body["serial"], body)
        if body["serial"] in self.gone:
            return httpx2.Response(409, json={"code": "reversed"})
        if (known["amount"], known["account"]) != (body["amount"], body["account"]):
            return httpx2.Response(409, json={"code": "serial_conflict"})
        if known is body or self.wrong == "credits_twice":
            self._credit(body)
        return httpx2.Response(201 if known is body else 200, json={"payment": "posted", "receipt": {"serial": body["serial"]}})

    def _credit(self, body: dict[str, str], times: int = 1) -> None:
        self.fen += times * int(body["amount"].replace(".", ""))

    def _reconcile(self, request: httpx2.Request) -> httpx2.Response:
        if self.wrong == "breaks":
            return httpx2.Response(500, json={"code": "unavailable", "detail": "it broke"})
        self.uploads += 1
        if self.wrong == "busy" and self.uploads == 1:
            return httpx2.Response(503, json={"code": "unavailable"})
        listed = [{"id": 1, "kind": "amount", "serial": "S-other"}] if self.wrong == "finds" and "?" not in str(request.url) else []
        return httpx2.Response(200, json={"state": "done", "differences": listed})


def desk_of(lab: Lab) -> Desk:
    desk = Desk(BankConfig("demo", ("A-1",), "http://lab:1", payments=12, balances=True), 3, 480)
    desk.http = HttpLine("http://lab:1", lambda: NOW, Random(3), transport=httpx2.MockTransport(lab))
    weights = {"plain": 1, "repeat": 1, "reverse": 1, "change": 1}
    desk.office = Office([desk.http], ("A-1",), lambda: NOW, Random(3), weights, sleep=no_pause)
    return desk


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("", ""), ("silent", "nobody answers at http://lab:1"), ("refuses", "none of 12 payments was taken"),
        ("other_key", r"http://lab:1 does not take the key \(none\): key demo is not known"),
        ("credits_twice", r"account A-1 moved by [0-9.]+, and [0-9.]+ was posted"),
        ("breaks", "the file of 2026-11-21 was answered 500 it broke"),
        ("finds", "the file of 2026-11-21: amount S-other was found"),
    ],
)  # fmt: skip
async def test_what_keeps_a_bank_from_saying_yes_is_said(wrong: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE_S", 0.0)
    desk = desk_of(Lab(wrong))
    assert await desk.run() is (wrong == "")
    report = desk.report()
    assert report["ok"] is (wrong == "") and bool(report["why"]) is bool(wrong)
    assert any(re.fullmatch(f"{says}.*", sentence) for sentence in desk.why()) is bool(wrong), desk.why()
    failures = 0 if wrong == "" else 1
    assert f'tests="1" failures="{failures}"'.encode() in junit("sim", 1.0, [], [report])
    await desk.close()


async def test_other_content_of_a_reconciliation_is_a_planted_one_that_was_not_found() -> None:
    desk = desk_of(Lab())
    await desk.office.work(5)
    [upload] = await desk.reconcile(["amount", "totals", "other_day"])
    assert upload["planted"] == {"amount": 1, "totals": 1} and upload["found"] == {}
    assert [text for text in desk.why() if "was not found" in text] == desk.why() != []
    await desk.close()


async def test_a_file_that_nobody_had_time_for_is_uploaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "BETWEEN_UPLOADS_S", 0.0)
    lab = Lab("busy")
    desk = desk_of(lab)
    assert await desk.run() and lab.uploads == 2, desk.why()
    await desk.close()


@pytest.mark.parametrize("secret", [KEY, b"s" * 32], ids=["ed25519", "hmac"])
async def test_each_way_of_signing_wrongly_is_wrong_and_the_right_one_right(secret: Ed25519PrivateKey | bytes) -> None:
    lab = Lab()
    http = HttpLine(
        "http://lab:1", lambda: NOW, Random(1), signing=Signing("k", secret), public_url="https://pay.example.org", by_day=True,
        transport=httpx2.MockTransport(lab),
    )  # fmt: skip
    key = (
        BankKey("k", Algorithm.HMAC_SHA256, secret) if isinstance(secret, bytes)
        else BankKey("k", Algorithm.ED25519, secret.public_key())
    )  # fmt: skip
    nonces: set[str] = set()

    def right(request: httpx2.Request) -> bool:
        """As the other side judges it, nonce and all."""
        asked = "https://pay.example.org" + request.url.raw_path.decode()
        signed = Request(request.method, asked, Fields([*request.headers.items()]))
        try:
            nonce = check_request(signed, request.content, lambda kid: key, int(NOW.timestamp())).nonce
        except BadSignature:
            return False
        fresh = nonce not in nonces
        nonces.add(nonce)
        return fresh

    lab.judge = right
    payment = http.name(1, "A-1", 500, NOW, 0)
    assert (await http.pay(payment)).outcome is Outcome.POSTED
    for _ in range(10 * len(SPOILT)):
        assert (await http.pay(payment, spoil=True)).outcome is Outcome.BAD_SIGNATURE
        assert (await http.pay(payment)).outcome is Outcome.POSTED
    assert (await http.reverse(payment)).outcome is Outcome.REVERSED
    assert lab.heard[-1].url.path == f"/bank/v1/topups/2026-11-21/{payment.serial}/reversal"
    await http.close()


def test_a_receipt_is_what_a_published_key_signed() -> None:
    receipt, keys = {"receipt_no": "R1", "holder": "张*"}, {"k": KEY.public_key()}

    def sealed(payload: str, kid: str = "k") -> str:
        head, body = (urlsafe_b64encode(text.encode()).rstrip(b"=").decode() for text in (json.dumps({"kid": kid}), payload))
        return f"{head}.{body}.{urlsafe_b64encode(KEY.sign(f'{head}.{body}'.encode())).rstrip(b'=').decode()}"

    right = sealed('{"holder":"张*","receipt_no":"R1"}')
    for jws, says in (
        (right, ""), (None, "no signature"), (right[:-3] + "AAA", "no signature"), ("a.b", "no signature"),
        (sealed('{"holder":"张*","receipt_no":"R2"}'), "something else"), (sealed("{}", "z"), "key z, which is not published"),
    ):  # fmt: skip
        found = unsigned(json.dumps([receipt, jws]), keys)
        assert (says in found) and bool(found) is bool(says), (jws, found)


def test_what_a_lab_has_to_say_of_its_gateway(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "bank-simulator.md").read_text("utf-8")
    [row] = tomllib.loads(text.split("```\n")[-2])["bank"]
    (tmp_path / "north.key").write_text("ab" * 32)
    errors: list[str] = []
    [bank] = banks([row | {"public_url": "https://pay", "serial_scope": "accounting_date"}], tmp_path, errors)
    assert (errors, bank.public_url, bank.by_day, bank.balances, bank.payments) == ([], "https://pay", True, True, 500)


POSTED = {"receipt": {"receipt_no": "R1"}, "payment": "posted", "delivery": "none"}
Answered = tuple[int, object] | Exception


async def paid(*script: Answered) -> tuple[Belief, list[httpx2.Request]]:
    """A payment over HTTP that is answered so; the last one again and again."""
    left, heard = list(script), list[httpx2.Request]()

    def answer(request: httpx2.Request) -> httpx2.Response:
        heard.append(request)
        told = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(told, Exception):
            raise told
        return httpx2.Response(told[0], json=told[1])

    line = HttpLine("http://lab", lambda: NOW, Random(1), transport=httpx2.MockTransport(answer))
    office = Office([line], (), lambda: NOW, Random(1), patience=6, sleep=no_pause)
    return await office.pay(line, "A-1", 5000), heard


async def test_whatever_is_not_decided_is_answered_with_the_same_payment_again() -> None:
    gone: list[Answered] = [httpx2.ReadTimeout("slow"), httpx2.ConnectError("gone"), (503, {"code": "unavailable"}), (429, {})]
    belief, heard = await paid(*gone, (200, POSTED))
    assert (belief.state, {request.content for request in heard}) == ("posted", {heard[0].content})
    told = json.loads(heard[0].content)
    assert told | {"serial": ""} == {
        "serial": "", "account": "A-1", "amount": "50.00", "currency": "CNY", "paid_at": "2026-11-21T12:00:00+08:00",
        "accounting_date": "2026-11-21",
    }  # fmt: skip


async def test_a_query_finds_what_the_answers_did_not_tell() -> None:
    belief, heard = await paid(*[httpx2.ReadTimeout("slow")] * 6, (200, POSTED))
    assert (belief.state, heard[-1].method, heard[-1].url.path) == ("posted", "GET", f"/bank/v1/topups/{belief.payment.serial}")


async def test_what_stays_dark_is_reversed_until_answered_and_stays_unknown() -> None:
    belief, heard = await paid(httpx2.ReadTimeout("slow"))
    assert (belief.state, heard[-1].url.path[-9:]) == ("unknown", "/reversal")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((404, {"code": "unknown_account"}), "refused"), ((422, {"code": "amount_out_of_range"}), "refused"),
        ((200, {"receipt": None, "payment": "refused"}), "refused"), ((409, {"code": "reversed"}), "never"),
        ((409, {"code": "serial_conflict"}), "unknown"),
    ],
)  # fmt: skip
async def test_other_answers_are_no_money(answer: Answered, state: str) -> None:
    assert (await paid(answer))[0].state == state
