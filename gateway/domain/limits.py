"""Load limit: power above it for longer than its delay cuts, a pause recloses a limited number of times, then lock-out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class LoadLimit:
    """Threshold in W, delay and pause in ms, how often supply comes back; `forget_ms` within the limit clears the count."""

    power_w: int
    delay_ms: int
    pause_ms: int
    recloses: int
    forget_ms: int = 3_600_000


class LimitPhase(StrEnum):
    """Where the limiter of an account stands."""

    WITHIN = "within"
    OVER = "over"
    TRIPPED = "tripped"
    LOCKED = "locked"


class LimitAction(StrEnum):
    """What the caller must do now."""

    NONE = "none"
    CUT = "cut"
    RECLOSE = "reclose"
    LOCK = "lock"


@dataclass(frozen=True, slots=True)
class LimitState:
    """Phase, since when (UTC ms), the recloses already spent, and when power was last judged over the limit (in OVER only)."""

    phase: LimitPhase = LimitPhase.WITHIN
    since_ms: int = 0
    spent: int = 0
    seen_ms: int = 0


WITHIN_LIMIT = LimitState()


@dataclass(frozen=True, slots=True)
class LimitMemory:
    """What the limiter remembers beside its phase: of time-tables, month energy and malignant load."""

    month: str = ""


def on_power(limit: LoadLimit, state: LimitState, power_w: int, at_ms: int, most_gap_ms: int) -> tuple[LimitState, LimitAction]:
    """Judge a measured power. Over for longer than the delay cuts, or locks when the recloses are spent.

    An overload must be seen all along: after a gap of more than most_gap_ms between two looks it starts anew.
    """
    over = power_w > limit.power_w
    if state.phase is LimitPhase.WITHIN:
        if over:
            return LimitState(LimitPhase.OVER, at_ms, state.spent, at_ms), LimitAction.NONE
        forgotten = state.spent and at_ms - state.since_ms >= limit.forget_ms
        return (LimitState(LimitPhase.WITHIN, at_ms) if forgotten else state), LimitAction.NONE
    if state.phase is LimitPhase.OVER:
        if not over:
            return LimitState(LimitPhase.WITHIN, at_ms, state.spent), LimitAction.NONE
        if abs(at_ms - state.seen_ms) > most_gap_ms:  # also when the clock was set back
            return LimitState(LimitPhase.OVER, at_ms, state.spent, at_ms), LimitAction.NONE
        if at_ms - state.since_ms <= limit.delay_ms:
            return replace(state, seen_ms=at_ms), LimitAction.NONE
        if state.spent >= limit.recloses:
            return LimitState(LimitPhase.LOCKED, at_ms, state.spent), LimitAction.LOCK
        return LimitState(LimitPhase.TRIPPED, at_ms, state.spent), LimitAction.CUT
    return state, LimitAction.NONE


def on_cut_seen(state: LimitState, at_ms: int) -> LimitState:
    """The pause runs from the moment the switch was seen open."""
    return replace(state, since_ms=at_ms) if state.phase is LimitPhase.TRIPPED else state


def on_time(limit: LoadLimit, state: LimitState, now_ms: int) -> tuple[LimitState, LimitAction]:
    """After the pause a tripped limiter gives supply back and spends one reclose."""
    if state.phase is LimitPhase.TRIPPED and now_ms - state.since_ms >= limit.pause_ms:
        return LimitState(LimitPhase.WITHIN, now_ms, state.spent + 1), LimitAction.RECLOSE
    return state, LimitAction.NONE


def withdrawn(state: LimitState, now_ms: int) -> LimitState:
    """The trip lost its permission before its cut left: the overload counts from now, and no reclose is spent."""
    held = state.phase in (LimitPhase.TRIPPED, LimitPhase.LOCKED)
    return LimitState(LimitPhase.OVER, now_ms, state.spent, now_ms) if held else state


def released(now_ms: int) -> LimitState:
    """A person released the lock-out: the count starts anew."""
    return LimitState(LimitPhase.WITHIN, now_ms)
