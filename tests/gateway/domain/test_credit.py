"""Credit control: the whole table, what a balance means, and the published examples (prepayment.md 2, a3, a7)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.credit import (
    LIT,
    TRANSITIONS,
    CreditEvent,
    CreditPolicy,
    CreditState,
    Standing,
    at_least,
    given_back,
    in_force,
    lends,
    needless,
    next_state,
    span,
)
from gateway.domain.units import MICRO, parse_money

S, E = CreditState, CreditEvent
VECTORS = json.loads((Path(__file__).parents[2] / "vectors/prepayment.json").read_text())

WALKED = {
    # written out by hand: state -> event -> state, `.` for the same
    S.NORMAL: "normal low very_low emergency . exhausted . .",
    S.LOW: "normal . very_low emergency . exhausted . .",
    S.VERY_LOW: "normal low . emergency . exhausted . .",
    S.EMERGENCY: "normal low very_low . . exhausted . .",
    S.EXHAUSTED: "normal low very_low emergency . . cut .",
    S.CUT: "normal low very_low emergency . . . exhausted",
}
ORDER = (
    *(E.BALANCE_OK, E.BALANCE_LOW, E.BALANCE_VERY_LOW, E.BALANCE_EMERGENCY),
    *(E.BALANCE_BETWEEN, E.BALANCE_OUT, E.CUT_SEEN, E.CUT_LIFTED),
)


@pytest.mark.parametrize("state", CreditState)
@pytest.mark.parametrize("event", CreditEvent)
def test_every_state_and_event(state: CreditState, event: CreditEvent) -> None:
    said = WALKED[state].split()[ORDER.index(event)]
    assert next_state(state, event) == (state if said == "." else said)


def test_the_table_is_total_and_every_state_can_be_left_and_reached() -> None:
    assert set(TRANSITIONS) == {(state, event) for state in S for event in E} and set(ORDER) == set(E)
    for state in S:
        assert {after for (before, _), after in TRANSITIONS.items() if before is state} > {state}
        assert any(after is state for (before, _), after in TRANSITIONS.items() if before is not state)


def test_states_from_good_to_bad() -> None:
    assert list(S) == ["normal", "low", "very_low", "emergency", "exhausted", "cut"]
    assert set(LIT) == {S.NORMAL, S.LOW, S.VERY_LOW, S.EMERGENCY}
    assert [at_least(S.EMERGENCY, other) for other in S] == [True, True, True, True, False, False]


FULL = CreditPolicy(low_micro=20, very_low_micro=10, cut_micro=-5, close_micro=3)


@pytest.mark.parametrize(
    ("balance", "event"),
    [
        (21, E.BALANCE_OK),
        (20, E.BALANCE_LOW),
        (11, E.BALANCE_LOW),
        (10, E.BALANCE_VERY_LOW),
        (0, E.BALANCE_VERY_LOW),
        (-1, E.BALANCE_EMERGENCY),
        (-4, E.BALANCE_EMERGENCY),
        (-5, E.BALANCE_OUT),
        (-6, E.BALANCE_OUT),
    ],
)
def test_order_of_a3_with_an_overdraft(balance: int, event: CreditEvent) -> None:
    assert FULL.event(balance) is event


@pytest.mark.parametrize(("balance", "event"), [(1, E.BALANCE_LOW), (0, E.BALANCE_OUT), (-1, E.BALANCE_OUT)])
def test_a_limit_of_zero_is_exhausted_at_zero(balance: int, event: CreditEvent) -> None:
    assert CreditPolicy(20).event(balance) is event


def test_without_warning_two_there_is_none() -> None:
    policy = CreditPolicy(20, cut_micro=-5)
    assert [policy.event(n) for n in (20, 0, -1)] == [E.BALANCE_LOW, E.BALANCE_LOW, E.BALANCE_EMERGENCY]


@pytest.mark.parametrize(
    ("balance", "inclusive", "event"),
    [
        (4, False, E.BALANCE_VERY_LOW),
        (3, False, E.BALANCE_BETWEEN),
        (3, True, E.BALANCE_VERY_LOW),
        (2, True, E.BALANCE_BETWEEN),
        (-4, True, E.BALANCE_BETWEEN),
        (-5, True, E.BALANCE_OUT),
    ],
)
def test_who_was_cut_comes_back_with_the_closing_amount(balance: int, inclusive: bool, event: CreditEvent) -> None:
    policy = replace(FULL, close_inclusive=inclusive)
    assert policy.event(balance, cut=True) is event
    assert policy.closes(balance) is (event is E.BALANCE_VERY_LOW)
    if balance > FULL.cut_micro:
        assert policy.event(balance) is not E.BALANCE_BETWEEN  # nobody who has light waits for it


@pytest.mark.parametrize(("close", "inclusive"), [(-5, True), (-9, True), (-9, False)])
def test_a_closing_amount_below_the_threshold_closes_nothing_that_is_exhausted(close: int, inclusive: bool) -> None:
    policy = replace(FULL, close_micro=close, close_inclusive=inclusive)
    assert [policy.closes(n) for n in (-6, -5, -4)] == [False, False, True]


def test_lent_money_pays_the_cut_off_but_warns_nobody_less() -> None:
    policy = CreditPolicy(low_micro=20, very_low_micro=10, emergency_micro=50)
    assert [policy.event(n, 50) for n in (71, 70, 61, 60, 50, 49, 1, 0)] == [
        *(E.BALANCE_OK, E.BALANCE_LOW, E.BALANCE_LOW, E.BALANCE_VERY_LOW, E.BALANCE_VERY_LOW),
        *(E.BALANCE_EMERGENCY, E.BALANCE_EMERGENCY, E.BALANCE_OUT),
    ]


@pytest.mark.parametrize(
    ("own", "topup", "refused"),
    [(0, 100, False), (0, 101, True), (-50, 150, False), (-50, 151, True), (-50, 49, False), (200, 1, True)],
)
def test_the_hoarding_limit(own: int, topup: int, refused: bool) -> None:
    assert CreditPolicy(0, hoard_micro=100).over_hoard(own, topup) is refused
    assert not CreditPolicy(0).over_hoard(own, topup)


# Emergency credit

LENDS = CreditPolicy(low_micro=20, emergency_micro=50, emergency_at_micro=5, close_micro=10)


@pytest.mark.parametrize(
    ("balance", "state", "lent", "may"),
    [
        (6, S.LOW, False, False),
        (5, S.LOW, False, True),
        (5, S.LOW, True, False),
        (-49, S.EXHAUSTED, False, True),
        (-50, S.EXHAUSTED, False, False),  # it would not help
        (-39, S.CUT, False, True),
        (-40, S.CUT, False, False),  # supply would not come back: 10 is not above 10
    ],
)
def test_when_it_is_offered(balance: int, state: CreditState, lent: bool, may: bool) -> None:
    assert lends(LENDS, state, Standing(lent=lent), balance) is may
    assert not lends(replace(LENDS, emergency_micro=0), state, Standing(lent=lent), balance)


@pytest.mark.parametrize(
    ("before", "topup", "lent", "back"),
    [
        # lent 50, of which so much is used that `before` is left of it
        (0, 30, 50, 30),  # out of credit: all of it goes to what was used
        (0, 50, 50, 50),
        (0, 60, 50, 50),
        (-8, 30, 50, 22),  # first up to the threshold
        (-8, 8, 50, 0),
        (-8, 5, 50, 0),
        (30, 5, 50, 5),  # 20 used: the 30 that are left stay
        (30, 20, 50, 20),
        (30, 22, 50, 20),
        (30, 99, 50, 20),
        (52, 3, 50, 0),  # nothing used yet
        (0, 30, 0, 0),
    ],
)
def test_the_order_of_payment(before: int, topup: int, lent: int, back: int) -> None:
    assert given_back(LENDS, before, before + topup, lent) == back
    for cut in (-7, 7):  # the same around another threshold
        assert given_back(replace(LENDS, cut_micro=cut), before + cut, before + topup + cut, lent) == back


@pytest.mark.parametrize(
    ("balance", "lent", "goes"), [(55, 50, False), (56, 50, True), (99, 0, False), (5, 0, False), (40, 50, False)]
)
def test_what_nobody_needs_goes_back(balance: int, lent: int, goes: bool) -> None:
    assert needless(LENDS, balance, lent) is goes
    high = replace(LENDS, cut_micro=20, emergency_at_micro=5)
    assert [needless(high, n, 50) for n in (70, 71)] == [False, True]  # nobody is exhausted by giving back


@given(
    cut=st.integers(-60, 20),
    at=st.integers(0, 30),
    before=st.integers(-100, 100),
    topup=st.integers(1, 200),
    lent=st.integers(1, 80),
)
def test_a_payment_never_takes_supply_away_and_what_was_used_comes_first(
    cut: int, at: int, before: int, topup: int, lent: int
) -> None:
    policy = CreditPolicy(30, cut_micro=cut, emergency_micro=50, emergency_at_micro=max(at, cut))
    back = given_back(policy, before, before + topup, lent)
    assert 0 <= back <= min(lent, topup)
    after = before + topup - back
    if before > cut:
        assert after > cut  # a payment never exhausts
    elif before + topup > cut:
        assert after >= cut and (after == cut or back == lent)  # below the threshold nothing is left before all is repaid
    else:
        assert back == 0


@pytest.mark.parametrize(
    "example", [e for e in VECTORS["emergency_credit"] if "offered_at_or_below" in e], ids=lambda e: e["source"]
)
def test_published_emergency_credit(example: dict[str, str]) -> None:
    lent, at = (parse_money(example[key], "GBP") for key in ("emergency", "offered_at_or_below"))
    policy = CreditPolicy(2 * MICRO, emergency_micro=lent, emergency_at_micro=at)
    assert lends(policy, S.LOW, Standing(), at) and not lends(policy, S.LOW, Standing(), at + 1)
    assert policy.event(lent, lent) is E.BALANCE_LOW and policy.event(lent - 1, lent) is E.BALANCE_EMERGENCY


def test_published_rule_of_return() -> None:
    """Nabuh: emergency used + at least 1.00. Bulb: repaid in full before it is offered again."""
    rule = next(e["reconnect"] for e in VECTORS["emergency_credit"] if "reconnect" in e)
    assert rule == "emergency used + at least 1.00"
    policy = CreditPolicy(
        2 * MICRO, close_micro=MICRO, close_inclusive=True, emergency_micro=5 * MICRO, emergency_at_micro=MICRO // 2
    )
    for paid, closes in ((5_990_000, False), (6_000_000, True)):
        left = paid - given_back(policy, 0, paid, 5 * MICRO)
        assert left == paid - 5 * MICRO and policy.closes(left) is closes
    assert not lends(policy, S.LOW, Standing(lent=True), 0)


def test_published_roll_out_in_a_village() -> None:
    example = next(e for e in VECTORS["disconnection_notice"] if "grace_days" in e)
    policy = CreditPolicy(parse_money(example["warn_at"], "CNY"), parse_money(example["stop_strategy_below"], "CNY"))
    assert policy.event(50 * MICRO) is E.BALANCE_LOW and policy.event(50 * MICRO + 1) is E.BALANCE_OK
    assert policy.event(-1) is E.BALANCE_OUT and example["grace_days"] == 7


def test_without_agreement_or_profile_the_policy_is_itself() -> None:
    assert in_force(FULL, None) is FULL and in_force(FULL, "2026-1") is FULL


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 days"),
        (86_400_000, "1 day"),
        (7 * 86_400_000, "7 days"),
        (3_600_000, "1 hour"),
        (25 * 3_600_000, "25 hours"),
        (60_000, "1 minute"),
        (90 * 60_000, "90 minutes"),
        (1_000, "1 second"),
        (61_000, "61 seconds"),
        (1_001, "1001 ms"),
    ],
)
def test_times_for_people(ms: int, text: str) -> None:
    assert span(ms) == text
