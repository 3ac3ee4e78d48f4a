"""The chart of accounts and its builders: what each entry moves, and what none of them lets through."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import ledger
from gateway.domain.ledger import GENESIS, MOST_MICRO, Entry, EntryKind, Leg, PostedEntry, post
from gateway.domain.readings import TOTAL

REF = {"by": "li", "reason": "agreed"}

MOVES: list[tuple[Callable[[int], Entry], EntryKind, dict[str, int]]] = [
    (lambda m: ledger.fee("a", "CNY", "meter_test", m, 7, REF), EntryKind.FEE, {"customer:a": -5, "revenue:meter_test": 5}),
    (lambda m: ledger.late_fee("a", "CNY", m, 7, REF), EntryKind.LATE_FEE, {"customer:a": -5, "revenue:late_fee": 5}),
    (lambda m: ledger.indebted("a", "CNY", m, 7, REF), EntryKind.DEBT, {"debt:a": -5, "equity:opening": 5}),
    (lambda m: ledger.indebted("a", "CNY", m, 7, REF, to="customer:a"), EntryKind.DEBT, {"debt:a": -5, "customer:a": 5}),
    (lambda m: ledger.debt_recovery("a", "CNY", m, 7, REF), EntryKind.DEBT_RECOVERY, {"customer:a": -5, "debt:a": 5}),
    (lambda m: ledger.emergency_credit("a", "CNY", m, 7, REF), EntryKind.EMERGENCY, {"emergency:a": -5, "customer:a": 5}),
    (
        lambda m: ledger.emergency_recovery("a", "CNY", m, 7, REF),
        EntryKind.EMERGENCY_RECOVERY,
        {"customer:a": -5, "emergency:a": 5},
    ),
    (lambda m: ledger.written_off("debt:a", "CNY", m, 7, REF), EntryKind.WRITE_OFF, {"write_off": -5, "debt:a": 5}),
    (lambda m: ledger.suspended("icbc", "CNY", m, 7, REF), EntryKind.SUSPENSE, {"bank:icbc": -5, "suspense": 5}),
    (lambda m: ledger.identified("a", "CNY", m, 7, REF), EntryKind.SUSPENSE, {"suspense": -5, "customer:a": 5}),
    (lambda m: ledger.opening("a", "CNY", m, 7), EntryKind.OPENING, {"customer:a": 5, "equity:opening": -5}),
    (lambda m: ledger.adjustment("a", "CNY", m, 7, REF), EntryKind.ADJUSTMENT, {"customer:a": 5, "revenue:adjustment": -5}),
    (lambda m: ledger.charge("a", "CNY", {"energy": m}, 7, REF), EntryKind.CHARGE, {"customer:a": -5, "revenue:energy": 5}),
]


@pytest.mark.parametrize(("make", "kind", "sides"), MOVES, ids=[f"{kind.value} {[*sides][1]}" for _, kind, sides in MOVES])
def test_what_each_builder_moves(make: Callable[[int], Entry], kind: EntryKind, sides: dict[str, int]) -> None:
    entry = make(5)
    assert ({leg.account: leg.micro for leg in entry.legs}, entry.kind, entry.at_ms, entry.currency) == (sides, kind, 7, "CNY")


NO_MONEY: list[object] = [True, 1.0, "5", None, MOST_MICRO + 1]


@pytest.mark.parametrize("make", [make for make, _, _ in MOVES], ids=[kind.value for _, kind, _ in MOVES])
@pytest.mark.parametrize("micro", NO_MONEY)
def test_what_is_no_whole_number_of_micro_units_is_refused(make: Callable[[int], Entry], micro: int) -> None:
    with pytest.raises(ValueError, match="whole"):
        make(micro)


@pytest.mark.parametrize("make", [make for make, kind, _ in MOVES if kind not in (EntryKind.CHARGE,)])
def test_nothing_is_no_amount(make: Callable[[int], Entry]) -> None:
    with pytest.raises(ValueError, match=r"above zero|other than zero"):
        make(0)


SIGNED = {EntryKind.OPENING, EntryKind.ADJUSTMENT, EntryKind.CHARGE}


@pytest.mark.parametrize("make", [make for make, kind, _ in MOVES if kind not in SIGNED])
def test_an_amount_goes_one_way(make: Callable[[int], Entry]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        make(-5)


def test_most_is_taken() -> None:
    assert ledger.late_fee("a", "CNY", MOST_MICRO, 7, REF).legs[0].micro == MOST_MICRO
    assert ledger.opening("a", "CNY", -5, 7).legs[0] == Leg("customer:a", -5)


def test_from_an_account_to_itself_nothing_moves() -> None:
    with pytest.raises(ValueError, match="from customer:a to itself nothing moves"):
        ledger.moved(EntryKind.DEBT, "CNY", "customer:a", "customer:a", 5, 7, REF)


@pytest.mark.parametrize("ref", [{}, {"by": "li"}, {"reason": "x"}, {"by": "", "reason": "x"}, {"by": "li", "reason": ""}])
def test_an_adjustment_names_its_author_and_reason(ref: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"who made it \(by\) and why \(reason\)"):
        ledger.adjustment("a", "CNY", 5, 7, ref)


@pytest.mark.parametrize(
    ("legs", "ref"),
    [
        ((Leg("a", 1), Leg("b", -2)), REF),
        ((Leg("a", 0),), REF),
        ((), REF),
        ((Leg("a", True), Leg("b", -1)), REF),
        ((Leg("a", 1.0), Leg("b", -1)), REF),  # type: ignore[arg-type]
        ((Leg("a", MOST_MICRO + 1), Leg("b", -MOST_MICRO - 1)), REF),
        ((Leg("a", 0), Leg("b", 0)), {}),
    ],
)
def test_an_entry_that_is_none_cannot_be_made(legs: tuple[Leg, ...], ref: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a ledger entry"):
        Entry(EntryKind.CHARGE, "CNY", legs, 7, ref)


def test_a_charge_has_a_leg_for_each_component() -> None:
    entry = ledger.charge("a", "CNY", {"step": 3, "energy": 10, "allowance": -4, "fixed": 0}, 7, REF)
    assert [(leg.account, leg.micro) for leg in entry.legs] == [
        ("customer:a", -9),
        ("revenue:allowance", -4),
        ("revenue:energy", 10),
        ("revenue:step", 3),
    ]
    free = ledger.charge("a", "CNY", {}, 7, {"meter": "m"})
    assert [(leg.account, leg.micro) for leg in free.legs] == [("customer:a", 0), ("revenue:energy", 0)]
    with pytest.raises(ValueError, match="moves money or says what it is about"):
        ledger.charge("a", "CNY", {}, 7, {})


def test_accounts_with_one_sign() -> None:
    wrong = {("debt:a", 1), ("emergency:a", 1), ("write_off", 1), ("undelivered:a", -1), ("pending:t", -1), ("suspense", -1)}
    for account, micro in wrong:
        assert ledger.wrong_sign(account, micro) and not ledger.wrong_sign(account, -micro) and not ledger.wrong_sign(account, 0)
    for account in ("customer:a", "bank:b", "revenue:energy", "equity:opening"):
        assert not ledger.wrong_sign(account, 1) and not ledger.wrong_sign(account, -1)


DAY_MS = 86_400_000
NOW_MS = 1_763_700_000_000


@pytest.mark.parametrize(
    ("before_ms", "at_ms", "stands_ms"),
    [
        (0, NOW_MS, NOW_MS),
        (NOW_MS, NOW_MS, NOW_MS),
        (NOW_MS, NOW_MS + 1, NOW_MS + 1),
        (NOW_MS, NOW_MS - 1, NOW_MS),
        (NOW_MS, 0, NOW_MS),  # a clock without battery
        (0, 5, 5),
        (5, NOW_MS, NOW_MS),  # it was set at last
        (NOW_MS, NOW_MS + 5 * 366 * DAY_MS, NOW_MS + 5 * 366 * DAY_MS),
        (NOW_MS, NOW_MS + 5 * 366 * DAY_MS + 1, NOW_MS),
        (1_577_836_800_000, 4_000_000_000_000, 1_577_836_800_000),
        (1_577_836_799_999, 4_000_000_000_000, 4_000_000_000_000),
    ],
)
def test_the_journals_time_never_goes_back_nor_years_ahead(before_ms: int, at_ms: int, stands_ms: int) -> None:
    assert ledger.booked(before_ms, at_ms) == stands_ms


# links


def posted(entry: Entry, number: int = 1) -> PostedEntry:
    return post(entry, number - 1, GENESIS)


ENERGY = {"meter": "m", TOTAL: "0-10", "line:x": "0-10@1=5"}


def test_a_reversal_mirrors_its_entry_and_names_it() -> None:
    original = posted(ledger.charge("a", "CNY", {"energy": 5}, 7, ENERGY), 4)
    undone = ledger.reversal(original, 9, REF)
    assert [(leg.account, leg.micro) for leg in undone.legs] == [("customer:a", 5), ("revenue:energy", -5)]
    assert (undone.kind, undone.currency, undone.at_ms, undone.ref) == (EntryKind.REVERSAL, "CNY", 9, {**REF, "reverses": "4"})


@pytest.mark.parametrize("kind", sorted(ledger.FINAL))
def test_what_is_never_reversed(kind: EntryKind) -> None:
    original = posted(Entry(kind, "CNY", (Leg("a", 1), Leg("b", -1)), 7, REF))
    with pytest.raises(ValueError, match=f"entry 1 is a {kind.value}: it is never reversed"):
        ledger.reversal(original, 9, REF)


def test_a_correction_keeps_meter_and_energy_and_names_both() -> None:
    original = posted(ledger.charge("a", "CNY", {"energy": 5}, 7, ENERGY), 4)
    legs = (Leg("customer:a", -3), Leg("revenue:energy", 3))
    right = ledger.correction(original, 6, legs, 9, {"line:x": "0-10@1=3"}, REF)
    assert right.ref == {"line:x": "0-10@1=3", "meter": "m", TOTAL: "0-10", **REF, "corrects": "4", "reversal": "6"}
    assert (right.legs, right.kind, right.currency, right.at_ms) == (legs, EntryKind.CORRECTION, "CNY", 9)
    for wrong in ({"meter": "other"}, {TOTAL: "0-11"}):
        with pytest.raises(ValueError, match="about the same meter and energy"):
            ledger.correction(original, 6, legs, 9, wrong, REF)
    fee = posted(ledger.late_fee("a", "CNY", 5, 7, REF))
    assert ledger.correction(fee, 2, legs, 9, {}, {}).ref == {"corrects": "1", "reversal": "2"}


def test_a_meter_off_its_account_and_a_closing_move_nothing() -> None:
    off = ledger.off_account("a", "CNY", "m", 1000, 7)
    assert off.ref == {"meter": "m", TOTAL: "1000-1000", "change": "off_account"} and off.kind is EntryKind.REGISTER
    closed = ledger.closing(12, "ab" * 32, "cd" * 32, 7, {"period_end_ms": "5"})
    assert closed.ref == {"period_end_ms": "5", "upto": "12", "hash": "ab" * 32, "digest": "cd" * 32}
    assert (closed.kind, closed.currency) == (EntryKind.CLOSING, "XXX")
    assert {leg.micro for leg in (*off.legs, *closed.legs)} == {0}


# the hash

words = st.text(max_size=12)
amounts = st.integers(-(10**9), 10**9)


@given(
    st.integers(1, 10**12),
    st.sampled_from(EntryKind),
    words,
    st.lists(st.tuples(words, amounts), max_size=3),
    st.dictionaries(words, words, max_size=4),
)
def test_the_canonical_text_is_what_json_itself_would_write(
    number: int, kind: EntryKind, currency: str, sides: list[tuple[str, int]], ref: dict[str, str]
) -> None:
    total = sum(micro for _, micro in sides)
    legs = (*(Leg(account, micro) for account, micro in sides), Leg("x", -total), Leg("y", 0))
    entry = Entry(kind, currency, legs, 7, {**ref, "k": "v"})
    body = {
        "number": number,
        "kind": kind.value,
        "currency": currency,
        "legs": [[leg.account, leg.micro] for leg in legs],
        "at_ms": 7,
        "ref": dict(entry.ref),
        "previous": GENESIS,
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        expected = hashlib.sha256(text.encode()).hexdigest()
    except UnicodeEncodeError:  # half a character
        return
    assert ledger.entry_hash(number, entry, GENESIS) == expected
