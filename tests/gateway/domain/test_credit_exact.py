"""What credit control remembers and waits for, to the last millisecond."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.domain.credit import (
    ANNOUNCED_MS,
    DAY_MS,
    LONGEST_WINDOW_MS,
    MINUTE_MS,
    NOT_DUE,
    NOT_HEARD,
    REMINDING_MS,
    UNANNOUNCED,
    CreditPolicy,
    CreditState,
    PostPaid,
    Sourced,
    Standing,
    Step,
    anew,
    as_announced,
    counted,
    due_last,
    due_steps,
    earliest_ms,
    expired,
    follow,
    has_agreement,
    in_force,
    may_cut,
    not_ready,
    told_of,
    window_helps,
)
from gateway.domain.meters import Account

S = CreditState
HALF_HOUR, HOUR = 30 * MINUTE_MS, 60 * MINUTE_MS
T = 1_000_000_000

LOW = Step("low", (), S.LOW)
DEBT = Step("debt", ("paper",), S.EXHAUSTED, 3 * DAY_MS)
KIND = Step("kind", (), S.VERY_LOW, needed=False)
CALL = Step("call", ("call",), S.EXHAUSTED, HOUR, last=True)
SMS = Step("sms", ("sms",), S.EXHAUSTED, HALF_HOUR, last=True)
SIREN = Step("siren", ("meter",), S.EXHAUSTED, MINUTE_MS, last=True, needed=False)
GONE = Step("gone", (), S.CUT, needed=False)

PLAIN = CreditPolicy(20)
LADDER = CreditPolicy(20, very_low_micro=10, grace_ms=7 * DAY_MS, steps=(LOW, KIND, DEBT, CALL, SMS, SIREN, GONE))


def debtor(policy: CreditPolicy = LADDER, state: CreditState = S.EXHAUSTED, **standing: object) -> Account:
    return Account("A", "", "CNY", "t", policy, agreement="signed", credit=state, standing=Standing(**standing))  # type: ignore[arg-type]


# What is remembered


def test_normal_remembers_nothing_of_the_episode_but_what_is_lent() -> None:
    full = Standing(
        exhausted_ms=1, episode_ms=1, told={"low": 1}, announced_ms=1, heard=True, lent=True, offered_ms=1, reminded_ms=1,
        reminding=True, spared=True, overdue_micro=1, looked_ms=1, unread_ms=1, unreachable=True,
    )  # fmt: skip
    kept = Standing(lent=True, offered_ms=1, overdue_micro=1, looked_ms=1, unread_ms=1, unreachable=True)
    for exempt in (False, True):
        assert follow(full, S.NORMAL, LADDER, T, exempt=exempt) == kept
    assert follow(kept, S.NORMAL, LADDER, T) is kept


def test_an_episode_begins_once_and_so_does_exhaustion() -> None:
    low = follow(Standing(), S.LOW, LADDER, T)
    assert low == Standing(episode_ms=T) and follow(low, S.VERY_LOW, LADDER, T + 1) is low
    out = follow(low, S.EXHAUSTED, LADDER, T + 2)
    assert out == Standing(episode_ms=T, exhausted_ms=T + 2)
    assert follow(out, S.EXHAUSTED, LADDER, T + 3) is out and follow(out, S.CUT, LADDER, T + 4) is out
    assert follow(Standing(episode_ms=0), S.EXHAUSTED, LADDER, T) == Standing(episode_ms=0, exhausted_ms=T)
    assert follow(Standing(episode_ms=0, exhausted_ms=0), S.EXHAUSTED, LADDER, T).exhausted_ms == 0


def test_who_pays_what_is_owed_has_grace_and_its_notices_again_and_who_only_pays_a_little_has_not() -> None:
    told = {"low": 1, "kind": 2, "debt": 3, "call": 4}
    out = Standing(episode_ms=1, exhausted_ms=3, told=told, announced_ms=4, heard=True)
    assert follow(out, S.EMERGENCY, LADDER, T) == Standing(episode_ms=1, exhausted_ms=3, told=told)
    for state in (S.LOW, S.VERY_LOW):
        assert follow(out, state, LADDER, T) == Standing(episode_ms=1, told={"low": 1, "kind": 2})


def test_a_notice_of_exhaustion_is_void_when_that_is_paid_also_under_a_policy_that_has_no_such_notice() -> None:
    out = Standing(episode_ms=1, exhausted_ms=3, told={LOW.name: 1, DEBT.name: 3})
    assert follow(out, S.LOW, replace(LADDER, steps=(LOW,)), T) == Standing(episode_ms=1, told={LOW.name: 1})


def test_somebody_exempt_who_is_out_of_credit_has_no_grace_that_runs_and_begins_anew_afterwards() -> None:
    out = Standing(episode_ms=1, exhausted_ms=3, told={"low": 1}, announced_ms=4, heard=True, reminding=True)
    for state in (S.EXHAUSTED, S.CUT):
        spared = follow(out, state, LADDER, T, exempt=True)
        assert spared == Standing(episode_ms=1, told={"low": 1}, spared=True)
    assert follow(spared, S.EXHAUSTED, LADDER, T + 1, exempt=True) is spared
    assert follow(spared, S.LOW, LADDER, T + 1, exempt=True) == spared
    assert follow(spared, S.EXHAUSTED, LADDER, T + 2) == Standing(episode_ms=T + 2, exhausted_ms=T + 2)
    assert follow(spared, S.LOW, LADDER, T + 2) == Standing(episode_ms=T + 2)
    assert follow(Standing(), S.EXHAUSTED, LADDER, T, exempt=True) == Standing(episode_ms=T, spared=True)


def test_a_reminding_cut_keeps_its_announcement_only_at_very_low() -> None:
    policy = replace(LADDER, reminding=True)
    before = Standing(episode_ms=1, announced_ms=2, heard=True, reminded_ms=3, reminding=True)
    assert follow(before, S.VERY_LOW, policy, T) is before
    ended = replace(before, announced_ms=None, heard=False, reminding=False)
    for state in (S.LOW, S.EMERGENCY):
        assert follow(before, state, policy, T) == ended
    assert follow(before, S.VERY_LOW, LADDER, T) == ended  # the policy has no reminding cut any more
    assert follow(replace(before, exhausted_ms=3), S.VERY_LOW, policy, T) == ended
    assert follow(before, S.EXHAUSTED, policy, T) == replace(before, reminding=False, exhausted_ms=T)


def test_a_debt_that_came_over_somebody_is_noticed_anew() -> None:
    before = Standing(exhausted_ms=1, episode_ms=1, told={"low": 1}, announced_ms=1, heard=True, lent=True, reminded_ms=5)
    assert anew(before) == Standing(episode_ms=1, lent=True, reminded_ms=5)


def test_a_clock_that_was_ahead_frees_nobody_until_then() -> None:
    ahead = Standing(episode_ms=T + 9, exhausted_ms=T + 9, told={"low": T + 9, "debt": T - 9})
    assert follow(ahead, S.EXHAUSTED, LADDER, T) == Standing(episode_ms=T, exhausted_ms=T, told={"debt": T - 9})
    assert follow(Standing(episode_ms=T, told={"low": T}), S.LOW, LADDER, T) == Standing(episode_ms=T, told={"low": T})


# The ladder


def names(steps: object) -> list[str]:
    return [step.name for step in steps]  # type: ignore[attr-defined]


def test_rungs_are_due_from_their_state_on_once() -> None:
    for state, due in (
        (S.NORMAL, []),
        (S.LOW, ["low"]),
        (S.VERY_LOW, ["low", "kind"]),
        (S.EXHAUSTED, ["low", "kind", "debt"]),
        (S.CUT, ["low", "kind", "debt", "gone"]),
    ):
        assert names(due_steps(LADDER, state, {})) == due
    assert names(due_steps(LADDER, S.EXHAUSTED, {"low": 0, "debt": 1})) == ["kind"]


def test_only_needed_rungs_of_the_state_count() -> None:
    assert names(counted(LADDER, S.EXHAUSTED)) == ["low", "debt"]
    assert names(counted(LADDER, S.VERY_LOW)) == ["low"]
    assert names(counted(LADDER, S.NORMAL)) == []


def test_how_long_before_a_cut() -> None:
    assert (LADDER.last_ms, LADDER.announces) == (HOUR, True)
    assert (PLAIN.last_ms, PLAIN.announces) == (0, False)
    assert (replace(PLAIN, trip_delay_ms=5).last_ms, replace(PLAIN, trip_delay_ms=5).announces) == (5, True)
    assert replace(LADDER, trip_delay_ms=2 * HOUR).last_ms == 2 * HOUR
    assert earliest_ms(LADDER) == 7 * DAY_MS + HOUR and earliest_ms(replace(LADDER, grace_ms=0)) == 3 * DAY_MS + HOUR
    assert earliest_ms(PLAIN) == 0
    kind = replace(KIND, before_ms=9 * DAY_MS)
    assert earliest_ms(replace(PLAIN, steps=(LOW, kind), grace_ms=5)) == 5
    assert replace(PLAIN, steps=(LOW, SIREN)).announces


def test_last_rungs_come_so_long_before_the_end_each_once_an_announcement() -> None:
    standing = Standing(announced_ms=T)
    assert names(due_last(LADDER, Standing(), T)) == []
    assert names(due_last(LADDER, standing, T)) == ["call"]
    assert names(due_last(LADDER, standing, T + HALF_HOUR - 1)) == ["call"]
    assert names(due_last(LADDER, standing, T + HALF_HOUR)) == ["call", "sms"]
    assert names(due_last(LADDER, standing, T + 59 * MINUTE_MS)) == ["call", "sms", "siren"]
    told = replace(standing, told={"call": T, "sms": T - 1})
    assert names(due_last(LADDER, told, T + HOUR)) == ["sms", "siren"]  # the SMS was of an earlier announcement


# What a cut waits for

EARLY = {"low": T, "debt": T}


def waits(account: Account, now_ms: int) -> list[str]:
    return list(not_ready(account, now_ms))


def test_grace_runs_from_exhaustion() -> None:
    policy = replace(PLAIN, grace_ms=7 * DAY_MS)
    told = {"low_balance": T}
    out = debtor(policy, exhausted_ms=T, episode_ms=T, told=told)
    assert waits(out, T + 7 * DAY_MS - 1) == ["the grace of 7 days is not over"]
    assert waits(out, T + 7 * DAY_MS) == []
    assert waits(out, T - 1) == ["the grace of 7 days is not over"]  # a clock that was set back
    assert waits(debtor(policy, episode_ms=T, told=told), T + 9 * DAY_MS) == ["the grace of 7 days is not over"]
    assert waits(debtor(policy, S.CUT, exhausted_ms=T, episode_ms=T, told=told), T) == ["the grace of 7 days is not over"]
    assert waits(debtor(policy, S.VERY_LOW, episode_ms=T, told=told), T) == []  # a reminding cut has none


def test_notices_must_be_given_and_stand() -> None:
    policy = replace(LADDER, grace_ms=0, steps=(LOW, KIND, DEBT))
    out = debtor(policy, exhausted_ms=T, episode_ms=T, told=EARLY)
    assert waits(out, T + 3 * DAY_MS - 1) == ["notice debt has not stood for 3 days"]
    assert waits(out, T + 3 * DAY_MS) == []
    assert waits(debtor(policy, exhausted_ms=T, episode_ms=T, told={"debt": T}), T + 9 * DAY_MS) == [
        "notice low has not been given"
    ]
    assert waits(debtor(policy, S.VERY_LOW, episode_ms=T, told={"low": T}), T) == []


def test_who_was_warned_before_there_were_steps_is_warned() -> None:
    old = replace(debtor(PLAIN), warned_ms=T)
    assert told_of(old) == {"low_balance": T} and waits(old, T) == []
    assert told_of(replace(old, warned_ms=None)) == {}
    assert told_of(replace(old, standing=Standing(episode_ms=T))) == {}
    assert waits(replace(old, policy=LADDER), T + 99 * DAY_MS)[1] == "notice low has not been given"


def announced(policy: CreditPolicy = LADDER, **standing: object) -> Account:
    values: dict[str, object] = {"exhausted_ms": 0, "episode_ms": 0, "announced_ms": T, "heard": True}
    told = {"low": 0, "debt": 0, "call": T, "sms": T + HALF_HOUR}
    return debtor(policy, S.EXHAUSTED, **{**values, "told": told, **standing})


def test_an_announced_cut_is_due_for_two_hours_after_its_time() -> None:
    assert waits(announced(announced_ms=None), T + HOUR) == [UNANNOUNCED]
    assert waits(announced(), T + HOUR - 1) == [NOT_DUE]
    assert waits(announced(), T + HOUR) == []
    assert waits(announced(), T + HOUR + ANNOUNCED_MS) == []
    assert waits(announced(), T + HOUR + ANNOUNCED_MS + 1) == [UNANNOUNCED]
    assert waits(announced(), T - 1) == [UNANNOUNCED]
    assert waits(announced(heard=False), T + HOUR) == [NOT_HEARD]
    assert waits(announced(told={"low": 0, "debt": 0, "call": T}), T + HOUR) == [NOT_DUE]
    assert waits(announced(told={"low": 0, "debt": 0, "call": T, "sms": T - 1}), T + HOUR) == [NOT_DUE]
    late = {"low": 0, "debt": 0, "call": T + 5, "sms": T + HALF_HOUR}
    assert [waits(announced(told=late), T + HOUR + n) for n in (4, 5)] == [[NOT_DUE], []]


def test_who_is_cut_already_is_not_announced_anew() -> None:
    cut = replace(announced(announced_ms=None), credit=S.CUT)
    assert waits(cut, T + 30 * DAY_MS) == []


def test_a_trip_delay_alone_is_announced_too() -> None:
    policy = replace(PLAIN, trip_delay_ms=HALF_HOUR)
    told = {"low_balance": 0}
    assert waits(debtor(policy, exhausted_ms=0, episode_ms=0, told=told), T) == [UNANNOUNCED]
    rung = debtor(policy, exhausted_ms=0, episode_ms=0, told=told, announced_ms=T, heard=True)
    assert [waits(rung, T + n) for n in (HALF_HOUR - 1, HALF_HOUR)] == [[NOT_DUE], []]


def test_as_if_it_had_been_announced_in_time() -> None:
    before = Standing(exhausted_ms=1, episode_ms=1, told=EARLY)
    as_if = as_announced(LADDER, before, T)
    assert as_if == replace(
        before, announced_ms=T - HOUR, heard=True, told={**EARLY, **dict.fromkeys(("call", "sms", "siren"), T - HOUR)}
    )
    assert waits(debtor(LADDER, told=as_if.told, exhausted_ms=1, episode_ms=1, announced_ms=T - HOUR, heard=True), T + 30 * DAY_MS)
    assert not expired(LADDER, as_if, T) and expired(LADDER, before, T)
    assert [expired(LADDER, replace(as_if, announced_ms=T), T + n) for n in (0, HOUR + ANNOUNCED_MS, HOUR + ANNOUNCED_MS + 1)] == [
        *(False, False, True)
    ]


def test_who_may_be_cut_at_all() -> None:
    for state in S:
        for reminding in (False, True):
            may = state in (S.EXHAUSTED, S.CUT) or (reminding and state is S.VERY_LOW)
            assert may_cut(debtor(state=state, reminding=reminding)) is may


# Without an agreement

WEEK = PostPaid(Sourced(1, "a", "b"), Sourced(2, "a", "b"), Sourced(7 * DAY_MS, "a", "b"), Sourced(HOUR, "a", "b"), ("paper",))


def test_the_post_paid_profile_takes_the_place_of_the_policy() -> None:
    policy = replace(
        LADDER, postpaid=WEEK, cut_micro=-5, close_micro=9, emergency_micro=5, reminding=True, hoard_micro=7, no_cut_hours=False
    )
    found = in_force(policy, None)
    assert in_force(policy, "signed") is policy
    assert found == replace(
        policy, low_micro=0, very_low_micro=None, cut_micro=0, close_micro=0, close_inclusive=True, emergency_micro=0,
        reminding=False,        grace_ms=0, steps=WEEK.ladder(),
    )  # fmt: skip
    assert WEEK.ladder() == (
        Step("overdue", ("paper",), S.EXHAUSTED, 7 * DAY_MS),
        Step("overdue_repeat", ("paper",), S.EXHAUSTED, HOUR, last=True),
    )


def test_who_is_ruled_by_an_agreement_or_by_law() -> None:
    assert has_agreement(debtor())
    assert not has_agreement(replace(debtor(), agreement=None))
    late = replace(debtor(replace(PLAIN, postpaid=WEEK)), agreement=None)
    assert has_agreement(late) and waits(late, T) == ["notice overdue has not been given", UNANNOUNCED]
    assert waits(replace(late, agreement="signed"), T) == ["notice low_balance has not been given"]


# Friendly hours


def test_friendly_hours_help_by_policy() -> None:
    strict, now = replace(PLAIN, friendly="credit"), T + 10 * HOUR
    window = (T, T + 20 * HOUR)

    def forbidden(at_ms: int) -> bool:
        return window[0] <= at_ms < window[1]

    assert window_helps(PLAIN, Standing(exhausted_ms=T - 1), forbidden, now)
    assert window_helps(strict, Standing(), forbidden, now)
    assert window_helps(strict, Standing(exhausted_ms=T), forbidden, now)
    assert not window_helps(strict, Standing(exhausted_ms=T - 1), forbidden, now)
    assert window_helps(strict, Standing(exhausted_ms=now), forbidden, now)
    assert window_helps(strict, Standing(exhausted_ms=now + 5), forbidden, now)
    gap = (T + 5 * HOUR, T + 5 * HOUR + 15 * MINUTE_MS)
    assert not window_helps(strict, Standing(exhausted_ms=T), lambda at: forbidden(at) and not gap[0] <= at < gap[1], now)
    assert window_helps(strict, Standing(exhausted_ms=T), lambda _: True, T + LONGEST_WINDOW_MS)
    assert not window_helps(strict, Standing(exhausted_ms=T), lambda _: True, T + LONGEST_WINDOW_MS + 1)


def test_the_window_is_looked_through_by_quarter_hours() -> None:
    asked: list[int] = []

    def forbidden(at_ms: int) -> bool:
        asked.append(at_ms)
        return True

    assert window_helps(replace(PLAIN, friendly="credit"), Standing(exhausted_ms=T), forbidden, T + HOUR)
    assert asked[0] == T and {later - earlier for earlier, later in pairwise(asked)} == {15 * MINUTE_MS} and len(asked) == 4


def test_the_bounds_are_what_they_say() -> None:
    assert (ANNOUNCED_MS, REMINDING_MS, LONGEST_WINDOW_MS) == (7_200_000, 900_000, 16 * 86_400_000)
    assert (DAY_MS, MINUTE_MS) == (86_400_000, 60_000)


@pytest.mark.parametrize("policy", [PLAIN, LADDER])
def test_every_default_is_as_it_was(policy: CreditPolicy) -> None:
    assert (policy.cut_micro, policy.close_micro, policy.close_inclusive, policy.reconnect_direct, policy.no_cut_hours) == (
        *(0, 0, False, False, True),
    )
    assert (policy.emergency_micro, policy.emergency_at_micro, policy.emergency_auto, policy.hoard_micro) == (0, 0, False, 0)
    assert (policy.reminding, policy.trip_delay_ms, policy.friendly, policy.calendar, policy.postpaid) == (
        False,
        0,
        "any",
        None,
        None,
    )
