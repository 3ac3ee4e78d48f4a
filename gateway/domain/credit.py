"""Credit control of an account (prepayment.md, "What we decided" 2, 3, a3, a7): what it remembers, what a cut waits for, what is
lent. What a balance means is the policy's (credit_policy.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gateway.domain.credit_policy import (
    DAY_MS,
    LIT,
    LOG_STEP,
    MINUTE_MS,
    TRANSITIONS,
    CreditEvent,
    CreditPolicy,
    CreditState,
    PostPaid,
    Sourced,
    Step,
    at_least,
    in_force,
    next_state,
    span,
)

if TYPE_CHECKING:
    from gateway.domain.meters import Account

__all__ = [
    "DAY_MS",
    "LIT",
    "LOG_STEP",
    "MINUTE_MS",
    "TRANSITIONS",
    "CreditEvent",
    "CreditPolicy",
    "CreditState",
    "PostPaid",
    "Sourced",
    "Step",
    "at_least",
    "in_force",
    "next_state",
    "span",
]

ANNOUNCED_MS = 2 * 60 * MINUTE_MS
"""How long after its time an announced cut may still happen: later it is announced anew, who was told 30 minutes waits no day."""

REMINDING_MS = 15 * MINUTE_MS
"""A reminding cut that has not come about by then is given up: a cut lives 10 minutes, and its switch is read within 60 s."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What credit control remembers of an account between two judgements, UTC ms; None: not so.

    exhausted_ms: since when it has been out of credit (grace and the age of its debt run from here). episode_ms: since when it has
    not been normal. told: when each step of the ladder was. announced_ms: since when the cut is announced; heard: its last
    notices are accepted. lent: emergency credit was, and is not offered again. offered_ms: since when it is. reminded_ms: when
    the reminding cut of this episode was ordered; reminding: it is being carried out. spared: it was out of credit and exempt.
    overdue_micro: of bills, as it was at looked_ms. unread_ms: since when a meter is without any reading. unreachable: the
    finding stands.
    """

    exhausted_ms: int | None = None
    episode_ms: int | None = None
    told: Mapping[str, int] = field(default_factory=dict)
    announced_ms: int | None = None
    heard: bool = False
    lent: bool = False
    offered_ms: int | None = None
    reminded_ms: int | None = None
    reminding: bool = False
    spared: bool = False
    overdue_micro: int = 0
    looked_ms: int | None = None
    unread_ms: int | None = None
    unreachable: bool = False


def follow(standing: Standing, state: CreditState, policy: CreditPolicy, now_ms: int, *, exempt: bool = False) -> Standing:
    """What is remembered once an account is in this state; the same object where nothing changed.

    An episode ends with `normal`, and when somebody is no longer exempt who was out of credit: after protection only new notices
    lead to a cut (prepayment.md 4). Who has paid what was owed is given grace and notices of exhaustion anew.
    """
    if state is CreditState.NORMAL and standing.episode_ms is None:  # nothing of what ends with an episode is there without one
        return standing
    after = standing
    if state is CreditState.NORMAL or (standing.spared and not exempt):
        after = replace(
            after,
            exhausted_ms=None,
            episode_ms=None,
            told={},
            announced_ms=None,
            heard=False,
            reminded_ms=None,
            reminding=False,
            spared=False,
        )
    if state is not CreditState.NORMAL:
        after = _not_ahead(after, now_ms)
        if state in LIT:
            after = _lit(after, state, policy)
        elif exempt:
            after = replace(after, spared=True, exhausted_ms=None, announced_ms=None, heard=False, reminding=False)
        else:
            since_ms = now_ms if after.exhausted_ms is None else min(after.exhausted_ms, now_ms)
            after = replace(after, exhausted_ms=since_ms, reminding=False)
    return standing if after == standing else after


def _not_ahead(standing: Standing, now_ms: int) -> Standing:
    """Of a clock that was ahead and was set back: nothing began later than now, or somebody would be free until then.

    Who was told later than now is told again: a notice dated ahead is no evidence before its time.
    """
    told = standing.told
    if any(at_ms > now_ms for at_ms in told.values()):
        told = {name: at_ms for name, at_ms in told.items() if at_ms <= now_ms}
    return replace(standing, episode_ms=now_ms if standing.episode_ms is None else min(standing.episode_ms, now_ms), told=told)


def _lit(standing: Standing, state: CreditState, policy: CreditPolicy) -> Standing:
    """With supply that debt does not cut: what was said about a cut is void, and with the debt its notices are."""
    after = standing
    reminded = state is CreditState.VERY_LOW and policy.reminding and after.exhausted_ms is None
    if not reminded:
        after = replace(after, announced_ms=None, heard=False, reminding=False)
    if state is not CreditState.EMERGENCY and after.exhausted_ms is not None:
        early = {step.name for step in policy.steps if step.at in LIT and not step.last}  # another policy's notices go too
        after = replace(after, exhausted_ms=None, told={name: at_ms for name, at_ms in after.told.items() if name in early})
    return after


def anew(standing: Standing) -> Standing:
    """A debt that came over somebody (a payment was reversed): no cut for it before new notices and a new grace."""
    return replace(standing, exhausted_ms=None, told={}, announced_ms=None, heard=False)


def due_steps(policy: CreditPolicy, state: CreditState, told: Mapping[str, int]) -> Iterator[Step]:
    """Early rungs that are to be told in this state and have not been."""
    return (step for step in policy.steps if not step.last and at_least(state, step.at) and step.name not in told)


def earliest_ms(policy: CreditPolicy) -> int:
    """How long after its exhaustion an account is cut at the earliest, if everything goes well."""
    early = (step.before_ms for step in policy.steps if step.needed and not step.last)
    return max((policy.grace_ms, *early)) + policy.last_ms


def due_last(policy: CreditPolicy, standing: Standing, now_ms: int) -> Iterator[Step]:
    """Last rungs of an announced cut whose time has come: each so long before the end of the longest."""
    if standing.announced_ms is None:
        return
    for step in policy.steps:
        since_ms = standing.announced_ms + policy.last_ms - step.before_ms
        if step.last and now_ms >= since_ms and standing.told.get(step.name, -1) < standing.announced_ms:
            yield step


def counted(policy: CreditPolicy, state: CreditState) -> tuple[Step, ...]:
    """The early rungs without which nobody is cut in this state: a reminding cut needs only those of its own level."""
    return tuple(step for step in policy.steps if step.needed and not step.last and at_least(state, step.at))


def may_cut(account: Account) -> bool:
    """Whether debt, or a reminder that was agreed on, lets this account be cut at all."""
    return account.credit not in LIT or (account.standing.reminding and account.credit is CreditState.VERY_LOW)


def has_agreement(account: Account) -> bool:
    """Whether some agreement or law rules how this account is cut: its own, or the post-paid profile."""
    return account.agreement is not None or account.policy.postpaid is not None


UNANNOUNCED = "the cut has not been announced"
NOT_DUE = "the cut is announced and not due yet"
NOT_HEARD = "the last notice before the cut has not been accepted"


def not_ready(account: Account, now_ms: int) -> tuple[str, ...]:
    """What credit control itself still waits for before this account is cut for debt, in words that stay the same meanwhile."""
    policy, standing = in_force(account.policy, account.agreement), account.standing
    missing = []
    since_ms = standing.exhausted_ms
    if policy.grace_ms and account.credit not in LIT and (since_ms is None or now_ms - since_ms < policy.grace_ms):
        missing.append(f"the grace of {span(policy.grace_ms)} is not over")
    told = told_of(account)
    for step in counted(policy, account.credit):
        at_ms = told.get(step.name)
        if at_ms is None:
            missing.append(f"notice {step.name} has not been given")
        elif step.before_ms and now_ms - at_ms < step.before_ms:
            missing.append(f"notice {step.name} has not stood for {span(step.before_ms)}")
    if policy.announces and account.credit is not CreditState.CUT and (text := _announced(policy, standing, now_ms)):
        missing.append(text)
    return tuple(missing)


def told_of(account: Account) -> Mapping[str, int]:
    """When each step was told; an account that was warned before there were steps counts as told by the ladder of then."""
    if account.standing.episode_ms is None and account.warned_ms is not None:
        return {LOG_STEP.name: account.warned_ms}
    return account.standing.told


def _announced(policy: CreditPolicy, standing: Standing, now_ms: int) -> str | None:
    at_ms = standing.announced_ms
    if at_ms is None or not 0 <= now_ms - at_ms <= policy.last_ms + ANNOUNCED_MS:
        return UNANNOUNCED
    if now_ms - at_ms < policy.last_ms:
        return NOT_DUE
    for step in policy.steps:
        told_ms = standing.told.get(step.name, -1)
        if step.last and step.needed and (told_ms < at_ms or now_ms - told_ms < step.before_ms):
            return NOT_DUE
    return None if standing.heard else NOT_HEARD


def expired(policy: CreditPolicy, standing: Standing, now_ms: int) -> bool:
    """Whether there is no announcement that a cut could still rest on."""
    return _announced(policy, standing, now_ms) == UNANNOUNCED


def as_announced(policy: CreditPolicy, standing: Standing, now_ms: int) -> Standing:
    """As if the cut had been announced in time: what else would be missing?"""
    at_ms = now_ms - policy.last_ms
    last = {step.name: at_ms for step in policy.steps if step.last}
    return replace(standing, announced_ms=at_ms, heard=True, told={**standing.told, **last})


def lends(policy: CreditPolicy, state: CreditState, standing: Standing, balance_micro: int) -> bool:
    """Whether emergency credit may be taken now, nothing being lent: it would help, and was given back since the last time."""
    if not policy.emergency_micro or standing.lent or balance_micro > policy.emergency_at_micro:
        return False
    after = balance_micro + policy.emergency_micro
    return policy.closes(after) if state is CreditState.CUT else after > policy.cut_micro


def given_back(policy: CreditPolicy, before_micro: int, after_micro: int, lent_micro: int) -> int:
    """How much of a top-up goes to emergency credit (a7: first up to the disablement threshold, then what was used of it).

    before, after: the spendable balance around it.
    """
    unused = min(max(before_micro - policy.cut_micro, 0), lent_micro)
    return max(min(lent_micro - unused, after_micro - policy.cut_micro - unused), 0)


def needless(policy: CreditPolicy, balance_micro: int, lent_micro: int) -> bool:
    """Whether what is lent goes back: the own balance is above the threshold at which it is offered."""
    return lent_micro > 0 and balance_micro - lent_micro > max(policy.cut_micro, policy.emergency_at_micro)


def window_helps(policy: CreditPolicy, standing: Standing, forbidden: Callable[[int], bool], now_ms: int) -> bool:
    """Whether a no-cut window that holds now holds for this account. friendly `credit`: only if its credit ended within (a7).

    forbidden: whether the calendar forbids a cut at a moment (UTC ms).
    """
    at_ms = standing.exhausted_ms
    if policy.friendly != "credit" or at_ms is None:
        return True
    if now_ms - at_ms > LONGEST_WINDOW_MS:
        return False
    while at_ms < now_ms:
        if not forbidden(at_ms):
            return False
        at_ms += 15 * MINUTE_MS
    return True


LONGEST_WINDOW_MS = 16 * DAY_MS
"""No holidays protect longer at a stretch; who has owed for longer had no credit when the window opened."""
