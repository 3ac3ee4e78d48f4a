"""Whether a credit policy makes sense: no state that cannot be left, no threshold behind another, no contradiction."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.domain.credit import DAY_MS, CreditPolicy, CreditState, Step, span

LONGEST_GRACE_MS = 366 * DAY_MS
"""A year without a cut is no grace but an account that is never cut, which its archive says."""

LONGEST_DELAY_MS = DAY_MS
"""Longer before a cut is a rung of the ladder, not its last word; and an announcement a day old is forgotten."""


def contradictions(policy: CreditPolicy, *, agreement: bool = True) -> tuple[str, ...]:
    """What is wrong with a policy, in sentences; agreement: whether the account that it is for has one."""
    return (*_thresholds(policy), *_lent(policy), *_times(policy), *_ladder(policy), *_by_agreement(policy, agreement))


def _thresholds(policy: CreditPolicy) -> Iterator[str]:
    very_low = policy.very_low_micro
    if policy.low_micro < policy.cut_micro:
        yield "low must not lie below cut: nobody would be warned before the cut"
    if very_low is not None and very_low > policy.low_micro:
        yield "very_low must not lie above low: warning 2 comes after warning 1"
    if very_low is not None and very_low <= policy.cut_micro:
        yield "very_low must lie above cut, or no balance is ever very low"
    if policy.hoard_micro < 0:
        yield "hoard must not lie below zero"
    if policy.hoard_micro > 0:
        if policy.hoard_micro <= policy.low_micro:
            yield "hoard must lie above low: no top-up could lead out of low"
        if policy.close_micro > policy.hoard_micro or (policy.close_micro == policy.hoard_micro and not policy.close_inclusive):
            yield "close must not lie above hoard: no top-up could give supply back"


def _lent(policy: CreditPolicy) -> Iterator[str]:
    if policy.emergency_micro < 0:
        yield "emergency credit is an amount above zero"
    if policy.emergency_micro > 0:
        if policy.emergency_at_micro < policy.cut_micro:
            yield "emergency credit must be offered at cut or above: below it supply is cut already"
        if policy.hoard_micro > 0 and policy.emergency_at_micro >= policy.hoard_micro:
            yield "emergency credit must be offered below hoard: no top-up could lead to where it may be taken again"


def _times(policy: CreditPolicy) -> Iterator[str]:
    if not 0 <= policy.grace_ms <= LONGEST_GRACE_MS:
        yield f"the grace lasts from 0 to {span(LONGEST_GRACE_MS)}"
    if not 0 <= policy.trip_delay_ms <= LONGEST_DELAY_MS:
        yield f"the trip delay lasts from 0 to {span(LONGEST_DELAY_MS)}"
    if policy.friendly not in ("any", "credit"):
        yield "friendly is any or credit"


def _ladder(policy: CreditPolicy) -> Iterator[str]:
    names = [step.name for step in policy.steps]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"notice {name} is there twice"
    if not any(step.needed and not step.last for step in policy.steps):
        yield "the notice ladder needs a notice that is needed: nobody is cut unwarned"
    for step in policy.steps:
        yield from (f"notice {step.name}: {text}" for text in _step(policy, step))


def _step(policy: CreditPolicy, step: Step) -> Iterator[str]:
    if step.before_ms < 0 or step.before_ms > (LONGEST_DELAY_MS if step.last else LONGEST_GRACE_MS):
        yield f"stands before the cut from 0 to {span(LONGEST_DELAY_MS if step.last else LONGEST_GRACE_MS)}"
    if step.at is CreditState.NORMAL:
        yield "who is normal is told nothing"
    if step.at is CreditState.CUT and step.needed:
        yield "comes after the cut and cannot be needed for it"
    if step.last and step.at is not CreditState.EXHAUSTED:
        yield "a last notice stands at exhausted"
    if step.at is CreditState.VERY_LOW and policy.very_low_micro is None:
        yield "there is no very_low in this policy"
    if step.at is CreditState.EMERGENCY and not policy.emergency_micro and policy.cut_micro >= 0:
        yield "there is neither overdraft nor emergency credit in this policy"


def _by_agreement(policy: CreditPolicy, agreement: bool) -> Iterator[str]:
    if policy.reminding and policy.very_low_micro is None:
        yield "a reminding cut comes at very_low, which this policy has not"
    if policy.reminding and not agreement:
        yield "a reminding cut needs the customer's agreement"
