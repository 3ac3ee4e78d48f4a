"""The journal: balanced, chained, append only, and an audit that finds each kind of tampering."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.ledger import (
    GENESIS,
    Audit,
    Entry,
    EntryKind,
    JournalRow,
    Leg,
    PostedEntry,
    bank_clearing,
    booked,
    customer,
    post,
    revenue,
)


def topup(micro: int, serial: str = "s") -> Entry:
    return Entry(EntryKind.TOPUP, "CNY", (Leg(customer("a"), micro), Leg(bank_clearing("b"), -micro)), 1, {"serial": serial})


def charge(micro: int) -> Entry:
    return Entry(EntryKind.CHARGE, "CNY", (Leg(customer("a"), -micro), Leg(revenue("energy"), micro)), 2, {})


def journal(entries: list[Entry]) -> list[PostedEntry]:
    posted: list[PostedEntry] = []
    for entry in entries:
        last = posted[-1] if posted else None
        posted.append(post(entry, last.number if last else 0, last.hash if last else GENESIS))
    return posted


def rows(posted: list[PostedEntry]) -> list[JournalRow]:
    """As a store keeps them, with running balances."""
    sums: dict[tuple[str, str], int] = {}
    found, now_ms = [], 0
    for p in posted:
        legs = []
        for leg in p.entry.legs:
            key = (p.entry.currency, leg.account)
            sums[key] = sums.get(key, 0) + leg.micro
            legs.append((leg.account, leg.micro, sums[key], p.number))
        entry = p.entry
        now_ms = booked(now_ms, entry.at_ms)
        found.append(
            JournalRow(p.number, entry.kind.value, entry.currency, entry.at_ms, entry.ref, p.previous, p.hash, now_ms, legs)
        )
    return found


def finding(posted: list[PostedEntry], balances: dict[tuple[str, str], int] | None = None) -> str | None:
    audit = Audit()
    audit.take(rows(posted))
    if balances is not None:
        audit.compare(balances)
    return audit.finding


@pytest.mark.parametrize(
    "legs",
    [(Leg("x", 1), Leg("y", -2)), (Leg("x", 0),), ()],
)
def test_an_entry_that_does_not_balance_cannot_be_made(legs: tuple[Leg, ...]) -> None:
    with pytest.raises(ValueError, match=r"balance|two legs"):
        Entry(EntryKind.CHARGE, "CNY", legs, 0, {})


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=20))
def test_a_clean_journal_has_no_finding_and_sums_to_zero(amounts: list[int]) -> None:
    audit = Audit()
    audit.take(rows(journal([topup(a) if a % 2 else charge(a) for a in amounts])))
    assert audit.finding is None
    assert sum(audit.balances.values()) == 0


def test_each_kind_of_tampering_is_found_at_its_entry() -> None:
    good = journal([topup(100), charge(30), topup(50), charge(20)])
    changed = replace(good[1], entry=charge(31))
    assert finding(good) is None
    assert "entry 2 was changed" in (finding([good[0], changed, *good[2:]]) or "")
    assert "after entry 1 comes entry 3" in (finding([good[0], *good[2:]]) or "")
    rewritten = post(charge(31), 1, good[0].hash)
    assert "entry 3 is not chained" in (finding([good[0], rewritten, *good[2:]]) or "")


def test_balances_kept_beside_the_journal_must_match() -> None:
    good = journal([topup(100)])
    stored = {("CNY", customer("a")): 100, ("CNY", bank_clearing("b")): -100}
    assert finding(good, stored) is None
    assert "customer:a shows 99" in (finding(good, stored | {("CNY", customer("a")): 99}) or "")
    assert "customer:z shows 5" in (finding(good, stored | {("CNY", "customer:z"): 5}) or "")
