"""Entries to the last reference and leg, and what refusals say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.domain import ledger
from gateway.domain.ledger import Audit, Entry, EntryKind, Leg

REF = {"by": "li", "reason": "agreed"}

BUILT: dict[str, Callable[[], Entry]] = {
    "fee": lambda: ledger.fee("a", "CNY", "meter_test", 5, 7, REF),
    "late fee": lambda: ledger.late_fee("a", "CNY", 5, 7, REF),
    "debt": lambda: ledger.indebted("a", "CNY", 5, 7, REF),
    "debt recovery": lambda: ledger.debt_recovery("a", "CNY", 5, 7, REF),
    "emergency": lambda: ledger.emergency_credit("a", "CNY", 5, 7, REF),
    "emergency recovery": lambda: ledger.emergency_recovery("a", "CNY", 5, 7, REF),
    "write-off": lambda: ledger.written_off("debt:a", "CNY", 5, 7, REF),
    "suspense": lambda: ledger.suspended("icbc", "CNY", 5, 7, REF),
    "identified": lambda: ledger.identified("a", "CNY", 5, 7, REF),
    "charge": lambda: ledger.charge("a", "CNY", {"energy": 5}, 7, REF),
}


@pytest.mark.parametrize("make", BUILT.values(), ids=BUILT)
def test_an_entry_says_what_it_was_told(make: Callable[[], Entry]) -> None:
    assert make().ref == REF


def test_what_a_person_or_an_opening_moves_names_the_account() -> None:
    assert ledger.adjustment("a", "CNY", 5, 7, REF).ref == {**REF, "account": "a"}
    assert ledger.opening("a", "CNY", 5, 7).ref == {"account": "a"}


def legs(entry: Entry) -> list[tuple[str, int]]:
    return [(leg.account, leg.micro) for leg in entry.legs]


def test_entries_that_move_nothing_stand_on_their_accounts() -> None:
    assert legs(ledger.off_account("a", "CNY", "m", 1_000, 7)) == [("customer:a", 0), ("revenue:energy", 0)]
    assert legs(ledger.closing(12, "ab", "cd", 7, {})) == [("equity:closing", 0), ("equity:closing", 0)]


REFUSED: dict[str, Callable[[], object]] = {
    "a ledger entry has at least two legs in whole micro-units": lambda: Entry(EntryKind.FEE, "CNY", (Leg("a", 0),), 7, REF),
    "a ledger entry moves money or says what it is about": lambda: Entry(EntryKind.FEE, "CNY", (Leg("a", 0), Leg("b", 0)), 7, {}),
    "an adjustment names who made it (by) and why (reason)": lambda: ledger.adjustment("a", "CNY", 5, 7, {}),
}


@pytest.mark.parametrize(("sentence", "make"), REFUSED.items(), ids=REFUSED)
def test_refusals_in_so_many_words(sentence: str, make: Callable[[], object]) -> None:
    with pytest.raises(ValueError) as refused:
        make()
    assert str(refused.value) == sentence


def test_the_least_is_one_micro_unit() -> None:
    assert legs(ledger.fee("a", "CNY", "meter_test", 1, 7, REF)) == [("revenue:meter_test", 1), ("customer:a", -1)]


KEPT = {("CNY", "customer:a"): 100, ("CNY", "bank:b"): -100}


@pytest.mark.parametrize(
    ("stored", "finding"),
    [
        (KEPT, None),
        (KEPT | {("CNY", "bank:c"): 0}, None),  # an account of nothing may be kept or not
        ({("CNY", "bank:b"): -100}, "customer:a shows 0 micro-CNY, its entries sum to 100"),
        (KEPT | {("CNY", "customer:z"): 5}, "customer:z shows 5 micro-CNY, its entries sum to 0"),
    ],
)
def test_balances_kept_beside_the_journal(stored: dict[tuple[str, str], int], finding: str | None) -> None:
    audit = Audit(balances={**KEPT, ("CNY", "bank:settled"): 0})
    audit.compare(stored)
    assert audit.finding == finding
