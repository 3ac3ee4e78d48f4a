"""Our clock jumps by a day, 400 days and ten years, forth and back, while banks pay by HTTP and ISO 8583: no second credit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import httpx2
import pytest

from firmware_sim.banking.book import Answer, Outcome, Payment
from firmware_sim.banking.line import Line as BankLine
from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.services.load_archive import Opening
from gateway.services.verify_ledger import verify_ledger
from protocols.bank.iso8583 import Message
from protocols.bank.signatures import sign_request
from tests.gateway.adapters.http.paying import BANKS, KEY, NEXT, NORTH, PAY, TOPUPS, URL, known_key
from tests.gateway.adapters.http.street import NOON_MS, Street, account, meter
from tests.gateway.adapters.iso8583_line import Line
from tests.protocols.bank.tables import KEY as MAC_KEY
from tests.system.processes import Process
from tests.system.proofs import balances
from tests.system.shifted import set_clock
from tests.system.test_bank_lines import OPENING_MICRO, BankStand

SHANGHAI = timezone(timedelta(hours=8))
DAY_MS = 86_400_000
JUMPS = (0, 0, 0, 1, -1, 400, -400, 3653, -3653)
"""Days that our clock is off."""
STEPS, PROOF_STEPS = 20, 600
AGAIN = 6
"""Older payments that come again after each step."""


class Jumping:
    """Two banks over one store. right_ms: what the time is. first: the first answer to each payment that was taken."""

    def __init__(self, store: Store, data: Path, seed: int) -> None:
        self.rng = Random(seed)
        self.street = Street(store, banks=BANKS, data=data)
        self.street.settle([meter(n) for n in (1, 2)], [Opening(account(n), 0) for n in (1, 2)])
        keys = known_key("north-1", KEY) | known_key("north-2", NEXT)
        self.street.banks = type(BANKS)(url=URL, banks={"north": NORTH}, keys=keys)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.street.bank()), base_url="http://127.0.0.1:8080")
        self.iso = Line(store, now=self.street.clock)
        self.right_ms = NOON_MS
        self.http_paid: list[tuple[str, dict[str, str], bytes, dict[str, str]]] = []
        self.iso_paid: list[Message] = []
        self.first: dict[str, tuple[object, int]] = {}
        self.answers: Counter[str] = Counter()

    async def step(self) -> None:
        """The clock is set, and each bank pays once and sends some of its older payments again."""
        self.right_ms += self.rng.randrange(1_000, 300_000)
        self.street.now_ms = self.right_ms + self.rng.choice(JUMPS) * DAY_MS
        await self.pay_signed(self.new_body())
        await self.pay_sealed(self.new_message(self.rng.choice((self.right_ms, self.street.now_ms))))
        for serial, body, sent, headers in self.rng.sample(self.http_paid, min(AGAIN, len(self.http_paid))):
            await self.hear_signed(serial, body, await self.post(sent, headers))
            await self.pay_signed(body, keep=False)
            if serial in self.first:
                await self.refused(body | {"amount": "99.00"})
        for message in self.rng.sample(self.iso_paid, min(AGAIN, len(self.iso_paid))):
            await self.pay_sealed(message)

    async def post(self, sent: bytes, headers: dict[str, str]) -> httpx2.Response:
        """A minute after the last one, so that wrong signatures are not too many."""
        self.street.steady_s += 60
        return await self.http.post(TOPUPS, content=sent, headers=headers)

    def new_body(self) -> dict[str, str]:
        at = datetime.fromtimestamp(self.rng.choice((self.right_ms, self.street.now_ms)) / 1000, SHANGHAI)
        told = {"paid_at": at.isoformat(timespec="seconds"), "accounting_date": at.date().isoformat()}
        return PAY | told | {"serial": f"S-{len(self.http_paid)}", "amount": f"{self.rng.randrange(1, 50)}.00"}

    async def pay_signed(self, body: dict[str, str], *, keep: bool = True) -> None:
        """By a bank whose clock is right, or jumps as ours does."""
        sent, headers = self.signed(body)
        if keep:
            self.http_paid.append((body["serial"], body, sent, headers))
        await self.hear_signed(body["serial"], body, await self.post(sent, headers))

    def signed(self, body: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        kid, key, at_ms = self.rng.choice((("north-1", KEY, self.right_ms), ("north-2", NEXT, self.street.now_ms)))
        sent, nonce = json.dumps(body).encode(), f"{self.rng.getrandbits(64):x}"
        headers = sign_request("POST", URL + TOPUPS, sent, kid, key, created_s=at_ms // 1000, nonce=nonce)
        return sent, {"content-type": "application/json", **headers}

    async def hear_signed(self, serial: str, body: dict[str, str], answer: httpx2.Response) -> None:
        self.answers[f"HTTP {answer.status_code}"] += 1
        assert answer.status_code in (200, 201, 401, 422), answer.text
        if answer.status_code == 422:
            assert answer.json()["field"] == "accounting_date" and serial not in self.first
        if answer.status_code == 201:
            assert serial not in self.first, "a second credit"
            self.first[serial] = answer.content, int(body["amount"].removesuffix(".00"))
        if answer.status_code == 200:
            assert answer.content == self.first[serial][0]

    async def refused(self, body: dict[str, str]) -> None:
        sent, headers = self.signed(body)
        answer = await self.post(sent, headers)
        assert answer.status_code in (401, 409) and answer.json()["code"] != "reversed", answer.text

    def new_message(self, at_ms: int) -> Message:
        at = datetime.fromtimestamp(at_ms / 1000, SHANGHAI)
        message = self.iso.payment(
            "A-2", 100 * self.rng.randrange(1, 50), f7=f"{at:%m%d%H%M%S}", f12=f"{at:%H%M%S}", f13=f"{at:%m%d}",
            f37=f"{at:%y%m}{self.iso.trace:08d}",
        )  # fmt: skip
        self.iso_paid.append(message)
        return message

    async def pay_sealed(self, message: Message) -> None:
        answer = await self.iso.send(message, MAC_KEY)
        assert answer is not None
        self.answers[f"ISO 8583 {answer.get(39)}"] += 1
        serial, said = f"iso-{message.get(11)}", (answer.get(39), answer.get(54))
        assert answer.get(39) == "00", "the time of day is nothing to a payment on this line"
        assert self.first.setdefault(serial, (said, int(message.get(4)) // 100))[0] == said

    def credited(self) -> int:
        """Whole units on both accounts."""
        names = [ledger.customer(f"A-{n}") for n in (1, 2)]
        return self.street.store.read_now(lambda tx: sum(tx.balance(name, "CNY") for name in names)) // 1_000_000


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2))
async def test_no_jump_of_the_clock_credits_twice(
    seed: int, tmp_path: Path, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    steps = STEPS if proof_scale == 1 else PROOF_STEPS
    with Store.open(str(tmp_path / "store.sqlite3")) as store:
        jumping = Jumping(store, tmp_path, seed)
        for _ in range(steps):
            await jumping.step()
            assert jumping.credited() == sum(amount for _, amount in jumping.first.values())
        await jumping.http.aclose()
        assert store.read_now(verify_ledger)[1] is None
    assert {"HTTP 200", "HTTP 201", "HTTP 401", "HTTP 422", "ISO 8583 00"} == set(jumping.answers)
    figure("jumps of the clock, by a day, 400 days and ten years", steps)
    figure("payments taken, second credits 0", len(jumping.first))
    figure("answers", dict(sorted(jumping.answers.items())))


async def test_a_gateway_whose_clock_is_set_credits_no_repeat(tmp_path: Path) -> None:
    """The whole program, its clock vouched for by its configuration whatever happens; the banks' clocks are right."""
    stand, off = BankStand(tmp_path, signed=True), tmp_path / "off"
    set_clock(off, 0)
    stand.gateway = Process("gateway", "tests.system.shifted", off, "run", "-c", stand.config, "--ready", folder=tmp_path)
    desk = stand.desk(1)
    assert desk.http is not None and desk.iso is not None
    try:
        await stand.gateway.start()
        paid: list[tuple[BankLine, Payment, Answer]] = []
        lines: tuple[BankLine, ...] = desk.http, desk.iso
        for line in lines:
            payment = desk.office.new(line, "A-1", 1_000)
            paid.append((line, payment, await line.pay(payment)))
        assert [first.outcome for _, _, first in paid] == [Outcome.POSTED] * 2
        for days in (1, -1, 365, -365, 400, -400, 3653, -3653, 0):
            set_clock(off, days * DAY_MS)
            for line, payment, first in paid:
                again = await line.pay(payment)
                assert again == first or (line is desk.http and again.outcome is Outcome.BAD_SIGNATURE), (days, again)
        assert balances(stand.data / "wattgate.db")["A-1"] == OPENING_MICRO + 20_000_000
    finally:
        await desk.close()
        await stand.gateway.kill()
