"""Credit policies as data (prepayment.md, "What we decided" 2, a3, a7): states, what a balance means, the notice ladder.

Two balances count. The spendable one (the ledger's) decides whether credit is out; the customer's own, without emergency credit
lent, decides the warnings: who lives on lent money is in `emergency`, however much of it is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class CreditState(StrEnum):
    """Where an account stands with its money, from good to bad."""

    NORMAL = "normal"
    LOW = "low"
    VERY_LOW = "very_low"
    EMERGENCY = "emergency"
    EXHAUSTED = "exhausted"
    CUT = "cut"


class CreditEvent(StrEnum):
    """What may move the state: a judged balance, the switch seen open, or a cut that was lifted although nobody paid.

    BALANCE_BETWEEN: no longer exhausted, but not enough to give supply back.
    """

    BALANCE_OK = "balance_ok"
    BALANCE_LOW = "balance_low"
    BALANCE_VERY_LOW = "balance_very_low"
    BALANCE_EMERGENCY = "balance_emergency"
    BALANCE_BETWEEN = "balance_between"
    BALANCE_OUT = "balance_out"
    CUT_SEEN = "cut_seen"
    CUT_LIFTED = "cut_lifted"


_S, _E = CreditState, CreditEvent
_RANK = {state: rank for rank, state in enumerate(CreditState)}
_AT_LEVEL = {
    _E.BALANCE_OK: _S.NORMAL,
    _E.BALANCE_LOW: _S.LOW,
    _E.BALANCE_VERY_LOW: _S.VERY_LOW,
    _E.BALANCE_EMERGENCY: _S.EMERGENCY,
    _E.BALANCE_OUT: _S.EXHAUSTED,
}
LIT = frozenset({_S.NORMAL, _S.LOW, _S.VERY_LOW, _S.EMERGENCY})
"""States in which nobody is cut for debt."""

TRANSITIONS: dict[tuple[CreditState, CreditEvent], CreditState] = {
    **{(state, event): after for state in CreditState for event, after in _AT_LEVEL.items()},
    **{(state, event): state for state in CreditState for event in (_E.BALANCE_BETWEEN, _E.CUT_SEEN, _E.CUT_LIFTED)},
    (_S.CUT, _E.BALANCE_OUT): _S.CUT,
    (_S.EXHAUSTED, _E.CUT_SEEN): _S.CUT,
    (_S.CUT, _E.CUT_LIFTED): _S.EXHAUSTED,
}
"""A balance leads to its level from everywhere; what is not said otherwise stays; only a cut that was seen makes `cut`."""


def next_state(state: CreditState, event: CreditEvent) -> CreditState:
    """The state after the event; the table is total."""
    return TRANSITIONS[state, event]


def at_least(state: CreditState, other: CreditState) -> bool:
    """Whether the first is as bad as the second, or worse."""
    return _RANK[state] >= _RANK[other]


DAY_MS = 24 * 60 * 60 * 1000
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of the notice ladder: told once the account is in the state `at` or a worse one, and in time before a cut.

    channels: none means whatever the account has. before_ms: it must stand so long before the cut. needed: no cut without it.
    last: told only when nothing else is missing, as the repetition 30 minutes before a cut; an alarm at the meter is one, too.
    go_on: where it can reach nobody the other steps are enough (domain/ladder.py); else a person must confirm it. unproved: an
    alarm at the meter counts that the meter took but cannot show.
    """

    name: str
    channels: tuple[str, ...]
    at: CreditState = CreditState.LOW
    before_ms: int = 0
    needed: bool = True
    last: bool = False
    go_on: bool = False
    unproved: bool = False


LOG_STEP = Step("low_balance", ("log",))
"""The ladder of a policy that names none: one entry in the log and on the uplink."""


@dataclass(frozen=True, slots=True)
class Sourced:
    """A period that a rule names, where it stands, and since when (ISO date)."""

    ms: int
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class PostPaid:
    """The profile of an account without a prepayment agreement: bills by local month, cut when one is overdue for so long.

    due: after the month's end. overdue: after that. notice: how long the written one stands before the cut; repeat: the last one.
    """

    due: Sourced
    overdue: Sourced
    notice: Sourced
    repeat: Sourced
    channels: tuple[str, ...]

    def ladder(self) -> tuple[Step, ...]:
        """Its two notices."""
        return (
            Step("overdue", self.channels, CreditState.EXHAUSTED, self.notice.ms),
            Step("overdue_repeat", self.channels, CreditState.EXHAUSTED, self.repeat.ms, last=True),
        )


@dataclass(frozen=True, slots=True)
class CreditPolicy:
    """Thresholds in micro-units and what they do.

    low_micro, very_low_micro: warned at or below (None: no such state). cut_micro: exhausted at or below; below zero it is the
    overdraft. close_micro: once cut, supply returns above this (`close_inclusive`: at or above; meters differ, prepayment.md a3).
    reconnect_direct: close at once (1CH) by agreement; otherwise only allow (1BH). no_cut_hours: the built-in calendar of F4 holds
    where `calendar` names none. friendly: whom a no-cut window helps, `any` or only who had `credit` when it opened.
    emergency_micro: credit lent once the own balance is at or below emergency_at_micro; by itself (emergency_auto) or when it is
    accepted. hoard_micro: a top-up may not lead above it, 0: no limit. reminding: one cut at `very_low`, by agreement only.
    grace_ms: between exhaustion and cut. trip_delay_ms: between the announcement and the cut. steps: the notice ladder.
    """

    low_micro: int
    cut_micro: int = 0
    close_micro: int = 0
    close_inclusive: bool = False
    reconnect_direct: bool = False
    no_cut_hours: bool = True
    very_low_micro: int | None = None
    emergency_micro: int = 0
    emergency_at_micro: int = 0
    emergency_auto: bool = False
    hoard_micro: int = 0
    reminding: bool = False
    grace_ms: int = 0
    trip_delay_ms: int = 0
    friendly: str = "any"
    calendar: str | None = None
    steps: tuple[Step, ...] = (LOG_STEP,)
    postpaid: PostPaid | None = None

    def event(self, balance_micro: int, lent_micro: int = 0, *, cut: bool = False) -> CreditEvent:
        """What this balance means, of which so much is lent. cut: supply is held open, and returns only with the closing amount.

        Order of a3: beyond the limit, below zero, warning 2, warning 1.
        """
        if balance_micro <= self.cut_micro:
            return CreditEvent.BALANCE_OUT
        if cut and not self.closes(balance_micro):
            return CreditEvent.BALANCE_BETWEEN
        own = balance_micro - lent_micro
        if own < 0:
            return CreditEvent.BALANCE_EMERGENCY
        if self.very_low_micro is not None and own <= self.very_low_micro:
            return CreditEvent.BALANCE_VERY_LOW
        return CreditEvent.BALANCE_LOW if own <= self.low_micro else CreditEvent.BALANCE_OK

    def closes(self, balance_micro: int) -> bool:
        """Whether a supply that was cut returns with this balance."""
        if balance_micro <= self.cut_micro:
            return False
        return balance_micro >= self.close_micro if self.close_inclusive else balance_micro > self.close_micro

    def over_hoard(self, own_micro: int, topup_micro: int) -> bool:
        """Whether a top-up leads above the hoarding limit; one that only pays an overdraft never does (a3)."""
        return self.hoard_micro > 0 and own_micro + topup_micro > self.hoard_micro

    @property
    def last_ms(self) -> int:
        """How long before a cut it is announced."""
        return max((self.trip_delay_ms, *(step.before_ms for step in self.steps if step.last)))

    @property
    def announces(self) -> bool:
        """Whether a cut is announced at all."""
        return bool(self.trip_delay_ms) or any(step.last for step in self.steps)


def in_force(policy: CreditPolicy, agreement: str | None) -> CreditPolicy:
    """The policy itself, or without a prepayment agreement its post-paid profile, where it has one: no overdraft, nothing lent."""
    if agreement is not None or policy.postpaid is None:
        return policy
    return replace(
        policy,
        low_micro=0,
        very_low_micro=None,
        cut_micro=0,
        close_micro=0,
        close_inclusive=True,
        emergency_micro=0,
        reminding=False,
        grace_ms=0,
        steps=policy.postpaid.ladder(),
    )


def span(ms: int) -> str:
    """A time for people, in the largest unit that it is whole in."""
    for unit_ms, name in ((DAY_MS, "day"), (60 * MINUTE_MS, "hour"), (MINUTE_MS, "minute"), (1000, "second")):
        if ms % unit_ms == 0:
            number = ms // unit_ms
            return f"{number} {name}" if number == 1 else f"{number} {name}s"
    return f"{ms} ms"
