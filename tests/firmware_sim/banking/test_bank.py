"""A bank that makes every trouble, against the gateway's own ISO 8583 listener: at the end both books say the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from random import Random

import pytest

from firmware_sim.banking.bank import Office
from firmware_sim.banking.book import PLANTED, Answer, Book, Outcome, Payment, csv, line_of, planted, reversal_of
from firmware_sim.banking.config import TROUBLES, banks
from firmware_sim.banking.line import IsoLine, Line
from gateway.adapters.iso8583_listener import IsoListener, Place
from gateway.domain.day_file import DayLine, read_day_file
from gateway.domain.differences import Known, Matching, differences, digest
from tests.gateway.adapters import iso8583_line as gateway
from tests.gateway.services.memory_tx import MemoryStore
from tests.protocols.bank.tables import KEY, packed, shipped

ACCOUNTS = ("A-1", "A-2", "A-3", "A-9")  # the last two are closed and unknown
OPENING = {"A-1": 2000, "A-2": 100}
NOW = datetime.fromtimestamp(gateway.NOON_MS / 1000, UTC)


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def listening(line: gateway.Line) -> AsyncIterator[int]:
    """The line's port."""
    listener = IsoListener(Place("127.0.0.1", 0, ["127.0.0.1"], 8, 30.0), line.partner)
    serving = asyncio.ensure_future(listener.serve())
    try:
        yield listener.port
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize("dialect", [shipped(), packed()], ids=["ascii", "packed"])
@pytest.mark.parametrize("seed", range(3))
async def test_after_any_history_both_books_agree(seed: int, dialect: object) -> None:
    store = MemoryStore()
    gateway.settle(store)
    ours = gateway.Line(store, dialect=dialect)  # type: ignore[arg-type]
    async with listening(ours) as port:
        line = IsoLine("127.0.0.1", port, ours.dialect, KEY, lambda: NOW, timeout_s=5)
        office = Office([line], ACCOUNTS, lambda: NOW, Random(seed), sleep=no_pause)
        assert await line.echo() and await line.network("sign_on")
        await office.work(60, side_by_side=4)
        assert await office.settle() == 0
        await line.close()
    book = office.book
    assert book.violations == []
    assert {trouble for trouble in TROUBLES if book.acts[trouble]} == set(TROUBLES)
    for belief in book.beliefs.values():
        kept = store.tx.payment(gateway.identity(belief.payment.serial))
        assert (belief.state == "posted") == (kept is not None and kept.status == "posted"), belief
    for account, opening in OPENING.items():
        balance = store.tx.balance(f"customer:{account}", "CNY") // 10_000
        assert balance == opening + book.posted_fen().get(account, 0)


class Broken:
    """A gateway that breaks the contract in one way: `wrong` changes what a right one would say."""

    signs = True

    def __init__(self, wrong: str) -> None:
        self.wrong, self.paid, self.gone, self.asked = wrong, {}, set(), Counter()  # type: ignore[var-annotated]

    def name(self, number: int, account: str, fen: int, now: datetime, day_offset: int) -> Payment:
        return Payment(f"S{number}", number, account, fen, "CNY", now.isoformat(), date(2026, 11, 21))

    async def pay(self, payment: Payment, *, lose: bool = False, spoil: bool = False) -> Answer:
        self.asked[payment.serial] += 1
        if spoil and self.wrong != "takes_bad_signatures":
            return Answer(Outcome.BAD_SIGNATURE)
        if payment.serial in self.gone and self.wrong != "forgets_reversals":
            return Answer(Outcome.REVERSED)
        first = self.paid.setdefault(payment.serial, payment)
        if (first.fen, first.account) != (payment.fen, payment.account) and self.wrong != "takes_other_content":
            return Answer(Outcome.CONFLICT)
        number = self.asked[payment.serial] if self.wrong == "new_receipts" else 0
        return Answer(Outcome.SILENT) if lose else Answer(Outcome.POSTED, "00", f"{payment.serial}/{number}")

    async def reverse(self, payment: Payment, *, lose: bool = False, spoil: bool = False) -> Answer:
        if spoil and self.wrong != "takes_bad_signatures":
            return Answer(Outcome.BAD_SIGNATURE)
        if self.wrong == "refuses_early_reversals" and payment.serial not in self.paid:
            return Answer(Outcome.REFUSED)
        self.gone.add(payment.serial)
        return Answer(Outcome.REVERSED)

    async def query(self, payment: Payment) -> Answer | None:
        return None

    async def echo(self) -> bool:
        return True

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "wrong", ["", "takes_bad_signatures", "forgets_reversals", "takes_other_content", "new_receipts", "refuses_early_reversals"]
)
async def test_it_tells_who_breaks_the_contract_and_nobody_else(wrong: str) -> None:
    line: Line = Broken(wrong)
    office = Office([line], ("A-1", "A-2"), lambda: NOW, Random(1), sleep=no_pause)
    await office.work(100, side_by_side=4)
    assert bool(office.book.violations) is bool(wrong)


async def test_the_same_seed_makes_the_same_trouble() -> None:
    def one() -> Office:
        return Office([Broken("")], ("A-1", "A-2"), lambda: NOW, Random(5), sleep=no_pause)

    first, second = one(), one()
    await first.work(50)
    await second.work(50)
    assert first.book.report() == second.book.report()


def filled(count: int) -> Book:
    book = Book()
    for n in range(count):
        payment = Payment(f"S{n}", n, f"A-{n % 3}", 100 + n, "CNY", "2026-11-21T12:00:00+08:00", date(2026, 11, 21))
        book.believe(payment, "reversed" if n % 10 == 9 else "posted")
    return book


@pytest.mark.parametrize("seed", range(3))
def test_planted_differences_are_found_by_kind_and_number(seed: int) -> None:
    ours = filled(100).lines(date(2026, 11, 21))
    kinds = Random(seed).choices(PLANTED, k=20)
    file, there = planted(ours, kinds, Random(seed), ["A-0", "A-1", "A-2"])
    assert {kind for kind, _ in there} == {*kinds} - {"other_day"}, "there is no other day"
    mine = [record for record in read_day_file([csv(ours)]) if isinstance(record, DayLine)]
    by_ident = {record.ident: record for record in mine}
    matching = Matching()
    matching.add_ours(mine)
    matching.take(read_day_file([file]))

    def look(line: DayLine) -> Known:
        payment = by_ident.get(("topup", "", line.original_serial or line.serial))
        return Known(by_ident.get(line.ident), "2026-11-21", "posted" if payment is not None else "")

    left = [record for record in mine if digest(record) in matching.left]
    found = differences(matching, left, look, "2026-11-21")
    assert Counter((each.kind.value, each.line.serial if each.line else "") for each in found) == Counter(there)


def test_a_reversal_is_a_line_of_its_own() -> None:
    payment = Payment("S1", 1, "A-1", 12_345, "CNY", "2026-11-21T12:00:00+08:00", date(2026, 11, 21))
    line = line_of(payment)
    text = csv([line, reversal_of(line), replace(line, serial="S2")]).decode()
    assert text.splitlines()[1:] == [
        "S1,A-1,123.45,CNY,topup,,2026-11-21T12:00:00+08:00,,",
        "R.S1,A-1,123.45,CNY,reversal,S1,2026-11-21T12:00:00+08:00,,",
        "S2,A-1,123.45,CNY,topup,,2026-11-21T12:00:00+08:00,,",
        "#3,123.45",
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"url": "ftp://x"}, "url must be"), ({"url": ""}, "url must be"), ({"accounts": []}, "at least one"),
        ({"plant": ["wrong"]}, "plant knows"), ({"trouble": {"plain": 0}}, "a weight"), ({"iso8583": "x"}, "HOST:PORT"),
        ({"kid": "k"}, "go together"), ({"speed": 1}, "speed"), ({"most_fen": 0}, "most_fen"), ({"id": "a b"}, "id must"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_bank_s_table_is_said(change: dict[str, object], says: str, tmp_path: object) -> None:
    errors: list[str] = []
    banks([{"id": "icbc", "url": "http://h:1", "accounts": ["A-1"], **change}], tmp_path, errors)  # type: ignore[arg-type]
    assert any(says in error for error in errors), errors
