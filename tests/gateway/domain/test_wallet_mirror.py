"""Books beside a meter's own arithmetic: exact to what it shows, with no tolerance that could hide a hundredth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.wallet_mirror import FEN, Span, align, offset, shown, span_of
from gateway.domain.wallets import (
    OPEN,
    TRANSITIONS,
    Act,
    CountSeen,
    Delivery,
    DeliveryEvent,
    DeliveryState,
    ImpossibleStep,
    Verdict,
    after,
    judge_purchase,
)

micros = st.integers(-(10**12), 10**12)


@given(micros)
def test_a_span_holds_just_what_is_shown_like_that(micro: int) -> None:
    span = span_of(*shown(micro))
    assert span.holds(micro)
    assert shown(span.low) == shown(span.high) == shown(micro)
    assert shown(span.low - 1) != shown(micro) != shown(span.high + 1)


uses_ = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 300)), min_size=1, max_size=20)


@given(micros, st.integers(-(10**6), 10**6), uses_)
def test_books_that_count_alike_never_contradict_and_five_hundredths_do(
    micro: int, constant: int, uses: list[tuple[int, int]]
) -> None:
    """uses: spent between two readings, and while the wallet was read. Around zero a meter shows two hundredths as one."""
    known, meter, books = None, micro + constant, micro
    for spent, within in uses:
        meter, books = meter - spent, books - spent - within
        now = offset(span_of(*shown(meter)), Span(books, books + within))
        meter -= within
        both = now if known is None else known.meet(now)
        assert both is not None and both.holds(constant)
        known = both
    assert known is not None
    for wrong in (5 * FEN, -5 * FEN):
        assert known.meet(offset(span_of(*shown(meter + wrong)), Span(books, books))) is None


@given(micros, micros)
def test_aligned_books_can_be_equal_and_no_more_is_moved_than_needed(low: int, width: int) -> None:
    span = Span(low, low + abs(width))
    moved = align(span)
    assert span.moved(-moved).holds(0)
    assert moved == 0 or not any(span.moved(-less).holds(0) for less in (moved - 1 if moved > 0 else moved + 1,))


def test_what_is_left_and_overdrawn_at_once_is_no_wallet() -> None:
    with pytest.raises(ValueError, match="at once"):
        span_of(1, 1)
    with pytest.raises(ValueError, match="holds nothing"):
        Span(2, 1)


def delivery(**changes: object) -> Delivery:
    values: dict[str, object] = {"state": DeliveryState.UNCERTAIN, "count": 5, "attempts": 1}
    return Delivery("d", "A-1", "m1", Act.TOP_UP, 50_000_000, "CNY", 0, None, **{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (CountSeen(5, "47", (5, 50_000_000)), Verdict.DONE),
        (CountSeen(5, "47", None), Verdict.DONE),
        (CountSeen(5, None, (5, 50_000_000)), Verdict.DONE),
        (CountSeen(7, "47", (5, 50_000_000)), Verdict.DONE),
        (CountSeen(4, "47", None), Verdict.UNDONE),
        (CountSeen(5, "47", (5, 49_990_000)), Verdict.TAKEN),
        (CountSeen(5, "47", (4, 50_000_000)), Verdict.UNKNOWN),
        (CountSeen(3, "47", None), Verdict.UNKNOWN),
        (CountSeen(4, "48", None), Verdict.UNKNOWN),
        (CountSeen(5, "48", (5, 50_000_000)), Verdict.UNKNOWN),
    ],
)
def test_what_was_read_decides_a_purchase(seen: CountSeen, verdict: Verdict) -> None:
    assert judge_purchase(delivery(), seen, "47") is verdict


def test_a_record_keeps_four_digits_of_the_count() -> None:
    assert judge_purchase(delivery(count=10_005), CountSeen(10_005, "47", (5, 50_000_000)), "47") is Verdict.DONE


@pytest.mark.parametrize("state", DeliveryState)
@pytest.mark.parametrize("event", DeliveryEvent)
def test_every_state_takes_what_its_table_says_and_nothing_else(state: DeliveryState, event: DeliveryEvent) -> None:
    it = delivery(state=state)
    if (state, event) in TRANSITIONS:
        assert state in OPEN and after(it, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ImpossibleStep, match="not possible any more"):
            after(it, event)
