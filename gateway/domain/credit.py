"""Credit states of a prepaid account (prepayment.md, "What we decided" 2): which balance means what, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CreditState(StrEnum):
    """Where an account stands with its money."""

    NORMAL = "normal"
    LOW = "low"
    EXHAUSTED = "exhausted"
    CUT = "cut"


class CreditEvent(StrEnum):
    """What may move the state: a judged balance, the switch seen open, or a cut that was lifted although nobody paid."""

    BALANCE_OK = "balance_ok"
    BALANCE_LOW = "balance_low"
    BALANCE_BETWEEN = "balance_between"
    BALANCE_OUT = "balance_out"
    CUT_SEEN = "cut_seen"
    CUT_LIFTED = "cut_lifted"


@dataclass(frozen=True, slots=True)
class CreditPolicy:
    """Thresholds in micro-units and what they do.

    low_micro: warned at or below. cut_micro: exhausted at or below. close_micro: once cut, supply returns above this
    (`close_inclusive`: at or above; meters differ, prepayment.md a3). reconnect_direct: close at once (1CH) by agreement;
    otherwise only allow (1BH). no_cut_hours: the built-in calendar of F4 holds (no cut 17:00-09:00 and Fri 12:00 - Mon 09:00).
    """

    low_micro: int
    cut_micro: int = 0
    close_micro: int = 0
    close_inclusive: bool = False
    reconnect_direct: bool = False
    no_cut_hours: bool = True

    def event(self, balance_micro: int) -> CreditEvent:
        """What this balance means. BALANCE_BETWEEN: no longer exhausted, but not enough to give supply back."""
        if balance_micro <= self.cut_micro:
            return CreditEvent.BALANCE_OUT
        enough = balance_micro >= self.close_micro if self.close_inclusive else balance_micro > self.close_micro
        if not enough:
            return CreditEvent.BALANCE_BETWEEN
        return CreditEvent.BALANCE_LOW if balance_micro <= self.low_micro else CreditEvent.BALANCE_OK


@dataclass(frozen=True, slots=True)
class Standing:
    """What credit control remembers of an account between two judgements, UTC ms; None: not so.

    exhausted_ms: since when it has been out of credit (grace and the age of its debt run from here).
    """

    exhausted_ms: int | None = None


_S, _E = CreditState, CreditEvent

TRANSITIONS: dict[tuple[CreditState, CreditEvent], CreditState] = {
    (_S.NORMAL, _E.BALANCE_OK): _S.NORMAL,
    (_S.NORMAL, _E.BALANCE_LOW): _S.LOW,
    (_S.NORMAL, _E.BALANCE_BETWEEN): _S.LOW,
    (_S.NORMAL, _E.BALANCE_OUT): _S.EXHAUSTED,
    (_S.NORMAL, _E.CUT_SEEN): _S.NORMAL,
    (_S.NORMAL, _E.CUT_LIFTED): _S.NORMAL,
    (_S.LOW, _E.BALANCE_OK): _S.NORMAL,
    (_S.LOW, _E.BALANCE_LOW): _S.LOW,
    (_S.LOW, _E.BALANCE_BETWEEN): _S.LOW,
    (_S.LOW, _E.BALANCE_OUT): _S.EXHAUSTED,
    (_S.LOW, _E.CUT_SEEN): _S.LOW,
    (_S.LOW, _E.CUT_LIFTED): _S.LOW,
    (_S.EXHAUSTED, _E.BALANCE_OK): _S.NORMAL,
    (_S.EXHAUSTED, _E.BALANCE_LOW): _S.LOW,
    (_S.EXHAUSTED, _E.BALANCE_BETWEEN): _S.LOW,
    (_S.EXHAUSTED, _E.BALANCE_OUT): _S.EXHAUSTED,
    (_S.EXHAUSTED, _E.CUT_SEEN): _S.CUT,
    (_S.EXHAUSTED, _E.CUT_LIFTED): _S.EXHAUSTED,
    (_S.CUT, _E.BALANCE_OK): _S.NORMAL,
    (_S.CUT, _E.BALANCE_LOW): _S.LOW,
    (_S.CUT, _E.BALANCE_BETWEEN): _S.CUT,
    (_S.CUT, _E.BALANCE_OUT): _S.CUT,
    (_S.CUT, _E.CUT_SEEN): _S.CUT,
    (_S.CUT, _E.CUT_LIFTED): _S.EXHAUSTED,
}


def next_state(state: CreditState, event: CreditEvent) -> CreditState:
    """The state after the event; the table is total."""
    return TRANSITIONS[state, event]
