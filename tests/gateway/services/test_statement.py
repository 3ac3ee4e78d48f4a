"""The statement of a house, from the store in memory and from SQLite alike."""

from __future__ import annotations

from datetime import date

import pytest

from gateway.domain import ledger
from gateway.domain.ledger import Entry, EntryKind, Leg
from gateway.domain.statement import CannotState, Statement
from gateway.domain.statement_text import exact_text, line_text
from gateway.services import statement as services_statement
from gateway.services.correct_entry import reverse
from gateway.services.post_entry import post_entry
from gateway.services.statement import statement
from tests.gateway.services.house import ZONE, House, account, local, meter


def state(house: House, first: date | None = None, last: date | None = None, *, summary: bool = False) -> Statement:
    return house.do(lambda tx: statement(tx, "A-1", "gw-1", ZONE, house.now_ms, first, last, summary=summary))


def told(found: Statement) -> list[tuple[str, str, str]]:
    return [(line.day, line_text(line), exact_text(line.micro)) for line in found.balance.lines]


def live(house: House) -> House:
    """Charges of two days in November and one in December, a payment between them."""
    house.settle(meter("m1"), accounts=[account(holder="王小明")], balance="100")
    for total in ("1.00", "3.00", "6.00"):
        house.block("m1", total)
        house.later(minutes=1)
    house.topup("50.00")
    house.now_ms = local("2026-11-25 10:00")
    house.block("m1", "7.00")
    house.now_ms = local("2026-12-01 00:00")
    house.block("m1", "9.00")
    return house


def test_a_month_from_opening_to_closing(house: House) -> None:
    live(house)
    november, december = (state(house, date(2026, month, 1)) for month in (11, 12))
    assert [told(each) for each in (november, december)] == [
        [
            ("2026-11-24", "Balance taken over", "100.000000"),
            ("2026-11-24", "Energy, meter m1", "-2.500000"),
            ("2026-11-24", "Payment, bank S-1, receipt gw-1-0000000004", "50.000000"),
            ("2026-11-25", "Energy, meter m1", "-0.500000"),
        ],
        [("2026-11-30", "Energy, meter m1", "-1.000000")],  # posted in December, for the time up to midnight
    ]
    assert (november.holder, november.from_day, november.to_day) == ("王小明", date(2026, 11, 1), date(2026, 11, 30))
    assert (november.balance.opening_micro, november.balance.closing_micro) == (0, 147_000_000)
    assert (december.balance.opening_micro, december.balance.closing_micro) == (147_000_000, 146_000_000)
    head = house.do(lambda tx: tx.entry(november.head))
    assert head is not None and november.hash == head.hash and november.head == 5 < december.head
    assert (november.posted_ms, november.others) == (head.entry.at_ms, ())


def test_a_past_month_stays_what_it_was(house: House) -> None:
    live(house)
    before = state(house, date(2026, 11, 1))
    house.topup("20.00", "S-2")
    assert state(house, date(2026, 11, 1)) == before


def test_without_days_this_month_whose_end_may_lie_ahead(house: House) -> None:
    live(house)
    assert state(house) == state(house, date(2026, 12, 1), date(2026, 12, 31))


def test_the_summary_has_the_same_sums_over_any_time(house: House) -> None:
    live(house)
    days = date(2026, 11, 1), date(2026, 12, 31)
    whole, summary = state(house, *days), state(house, *days, summary=True)
    assert (summary.balance.sums, summary.balance.lines) == (whole.balance.sums, ())
    assert [(each.component, each.wh) for each in summary.balance.sums] == [("opening", 0), ("energy", 8_000), ("topup", 0)]
    ages = state(house, date(1970, 1, 1), date(8999, 12, 31), summary=True)
    assert (ages.balance.sums, ages.balance.opening_micro) == (whole.balance.sums, 0)


def test_pages_make_no_difference(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    live(house)
    whole = state(house, date(2026, 11, 1), date(2026, 12, 31))
    monkeypatch.setattr(services_statement, "PAGE", 1)
    assert state(house, date(2026, 11, 1), date(2026, 12, 31)) == whole


def test_a_debt_has_a_section_of_its_own(house: House) -> None:
    live(house)

    def owing(day: str) -> None:
        at_ms, ref = local(day), {"reason": "winter of 2025"}
        house.do(lambda tx: post_entry(tx, ledger.indebted("A-1", "CNY", 30_000_000, at_ms, ref)))
        house.do(
            lambda tx: post_entry(tx, ledger.debt_recovery("A-1", "CNY", 12_000_000, at_ms, {"serial": "S-1", "bank": "bank"}))
        )
        late = Entry(EntryKind.LATE_FEE, "CNY", (Leg(ledger.debt("A-1"), -18_000), Leg("revenue:late_fee", 18_000)), at_ms, ref)
        house.do(lambda tx: post_entry(tx, late))

    owing("2026-12-02 09:00")
    found = state(house, date(2026, 12, 1))
    [debt] = found.others
    assert [(debt.name, debt.opening_micro, debt.closing_micro)] == [("debt", 0, -18_018_000)]
    assert [(each.component, each.micro) for each in debt.sums] == [
        ("debt", -30_000_000), ("debt_recovery", 12_000_000), ("late_fee", -18_000)
    ]  # fmt: skip
    assert ("2026-12-02", "Debt recovered", "-12.000000") in told(found)
    assert [each.name for each in state(house, date(2027, 1, 1)).others] == ["debt"]  # still owed
    assert state(house, date(2026, 11, 1)).others == ()


def test_a_reversed_payment_is_read_with_its_receipt(house: House) -> None:
    live(house)
    house.do(lambda tx: reverse(tx, 4, {"reason": "bank"}, house.now_ms))
    assert told(state(house))[-1] == ("2026-12-01", "Payment reversed, bank S-1, receipt gw-1-0000000004, bank", "-50.000000")


def test_moves_are_what_entries_moved_there(house: House) -> None:
    live(house)
    name = ledger.customer("A-1")

    def both(after: int, upto: int, limit: int) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        moves = house.do(lambda tx: tx.moves_on(name, after, upto, limit))
        entries = house.do(lambda tx: tx.entries_on(name, after, upto, limit))
        return [tuple(move) for move in moves], [
            (
                p.number,
                p.entry.kind.value,
                "CNY",
                p.entry.at_ms,
                p.entry.ref,
                sum(g.micro for g in p.entry.legs if g.account == name),
            )
            for p in entries
        ]

    for after, upto, limit in ((0, 6, 100), (1, 4, 100), (0, 6, 2), (6, 6, 5)):
        moves, entries = both(after, upto, limit)
        assert moves == entries
    assert len(both(0, 6, 100)[0]) == 6


def test_no_statement_without_an_account_or_of_such_a_time(house: House) -> None:
    live(house)
    with pytest.raises(LookupError, match="account nobody is not known here"):
        house.do(lambda tx: statement(tx, "nobody", "gw-1", ZONE, house.now_ms))
    with pytest.raises(CannotState, match="comes after"):
        state(house, date(2026, 2, 2), date(2026, 2, 1))
    with pytest.raises(CannotState, match="at most 400 days"):
        state(house, date(2026, 1, 1), date(2028, 1, 1))
    empty = state(house, date(2020, 1, 1))
    assert (empty.head, empty.balance.closing_micro, empty.balance.lines, empty.posted_ms) == (0, 0, (), None)
