"""Load limit: load above it for longer than its delay cuts, a pause recloses a limited number of times, then lock-out.

Beside the limit itself, which guards the wires, a contract may cap the load (load_caps) and forbid kinds of it (malignant_load).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gateway.domain.load_caps import Allowed, Cap, CapTable, Draw, MonthCap, lower
from gateway.domain.malignant_load import MalignantRule, Watch

WARN_AGAIN_MS = 3_600_000
"""Load that swings around its warning level is told once an hour."""


@dataclass(frozen=True, slots=True)
class LoadLimit:
    """Threshold in W, delay and pause in ms, how often supply comes back; `forget_ms` within the limit clears the count.

    power_w, current_ma (of each phase of each meter): 0 is none. warn: thousandths of what is allowed at which a warning is told, 0
    none. lockout_ms: a lock-out ends by itself after that, 0: a person ends it. written: what the meters themselves are told, by
    the name of the parameter in its own least unit. policy: id of the one it is from.
    """

    power_w: int
    delay_ms: int
    pause_ms: int
    recloses: int
    forget_ms: int = 3_600_000
    current_ma: int = 0
    warn: int = 0
    lockout_ms: int = 0
    caps: CapTable | None = None
    month: MonthCap | None = None
    malignant: MalignantRule | None = None
    written: Mapping[str, int] = field(default_factory=dict)
    policy: str = ""

    @property
    def switches_off(self) -> bool:
        """Whether a plan of it may hold supply open although nothing is overloaded."""
        return (self.caps is not None and self.caps.switches_off) or (self.month is not None and self.month.off)

    @property
    def in_amperes(self) -> bool:
        """Whether currents matter to it."""
        capped = self.caps is not None and any(cap.current_ma is not None for cap in (*self.caps.workday, *self.caps.holiday))
        return self.current_ma > 0 or capped

    @property
    def itself(self) -> Allowed:
        """What the wires bear."""
        return Allowed(self.power_w or None, self.current_ma or None)


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


class Trip(StrEnum):
    """What tripped: load beyond the limit itself, beyond a cap of the contract, or a malignant one."""

    LIMIT = "limit"
    CAP = "cap"
    MALIGNANT = "malignant"


@dataclass(frozen=True, slots=True)
class LimitState:
    """Phase, since when (UTC ms), the recloses already spent, and when load was last judged over the limit (in OVER only)."""

    phase: LimitPhase = LimitPhase.WITHIN
    since_ms: int = 0
    spent: int = 0
    seen_ms: int = 0

    @property
    def open(self) -> bool:
        """Whether the limiter wants supply held open."""
        return self.phase in (LimitPhase.TRIPPED, LimitPhase.LOCKED)


WITHIN_LIMIT = LimitState()


@dataclass(frozen=True, slots=True)
class LimitMemory:
    """What the limiter remembers beside its phase. Times in UTC ms.

    month: the bill period whose amount is used up, from month_from_ms to month_to_ms. by: what tripped last. danger_ms: since when
    load is seen beyond the limit itself, None: it is not. warned_ms: the last warning. day, restores: malignant trips of that local
    day which supply came back from. watches: by meter. excused_ms: until then a person holds off what a plan would switch off.
    edge_ms: when the plan is looked at next. due_ms: when time brings the next thing to do, None: nothing.
    changed_ms: when the limit was last changed. instead_of: the limit of the configuration in whose place people set another;
    by_people: whether they did.
    """

    month: str = ""
    month_from_ms: int = 0
    month_to_ms: int = 0
    by: Trip = Trip.LIMIT
    danger_ms: int | None = None
    warned_ms: int | None = None
    day: str = ""
    restores: int = 0
    watches: Mapping[str, Watch] = field(default_factory=dict)
    excused_ms: int = 0
    edge_ms: int | None = None
    due_ms: int | None = None
    changed_ms: int = 0
    instead_of: LoadLimit | None = None
    by_people: bool = False


@dataclass(frozen=True, slots=True)
class Limiter:
    """An account's limiter: its state and its memory."""

    state: LimitState = WITHIN_LIMIT
    memory: LimitMemory = LimitMemory()


def allowed(limit: LoadLimit, cap: Cap | None, memory: LimitMemory, at_ms: int) -> Allowed:
    """What may be drawn at a moment: the least of the limit, the time-table's cap and that of a month whose amount is used up."""
    power_w, current_ma, off = limit.itself.power_w, limit.itself.current_ma, False
    if cap is not None:
        power_w, current_ma, off = lower(power_w, cap.power_w), lower(current_ma, cap.current_ma), cap.off
    if limit.month is not None and used_up(memory, at_ms):
        power_w, off = lower(power_w, limit.month.power_w), off or limit.month.off
    return Allowed(power_w, current_ma, off)


def used_up(memory: LimitMemory, at_ms: int) -> bool:
    """Whether the month's amount is known to be used up at this moment."""
    return bool(memory.month) and memory.month_from_ms <= at_ms < memory.month_to_ms


def on_load(
    limit: LoadLimit, limiter: Limiter, draw: Draw, may: Allowed, at_ms: int, most_gap_ms: int
) -> tuple[Limiter, LimitAction]:
    """Judge a measured load. More than it may be for longer than the delay cuts, or locks when the recloses are spent.

    An overload must be seen all along: after a gap of more than most_gap_ms between two looks it starts anew. The trip is for the
    limit itself only where that was exceeded for the whole delay.
    """
    state, memory, over = limiter.state, limiter.memory, draw.beyond(may)
    if state.open:
        return limiter, LimitAction.NONE
    near = abs(at_ms - state.seen_ms) <= most_gap_ms  # neither after a gap nor when the clock was set back
    watched = over and near and state.phase is LimitPhase.OVER
    danger_ms = None
    if over and draw.beyond(limit.itself):
        danger_ms = memory.danger_ms if watched and memory.danger_ms is not None else at_ms
    memory = memory if memory.danger_ms == danger_ms else replace(memory, danger_ms=danger_ms)
    if not over:
        return Limiter(_within(limit, state, at_ms), memory), LimitAction.NONE
    if not watched:
        return Limiter(LimitState(LimitPhase.OVER, at_ms, state.spent, at_ms), memory), LimitAction.NONE
    if at_ms - state.since_ms <= limit.delay_ms:
        return Limiter(replace(state, seen_ms=at_ms), memory), LimitAction.NONE
    by = Trip.LIMIT if danger_ms is not None and at_ms - danger_ms > limit.delay_ms else Trip.CAP
    locks = state.spent >= limit.recloses
    phase = LimitPhase.LOCKED if locks else LimitPhase.TRIPPED
    tripped = Limiter(LimitState(phase, at_ms, state.spent), replace(memory, by=by))
    return tripped, LimitAction.LOCK if locks else LimitAction.CUT


def warns(limit: LoadLimit, limiter: Limiter, draw: Draw, may: Allowed, at_ms: int) -> bool:
    """Whether to warn now: within, but above the share of what may be drawn, and not within the last hour."""
    if not limit.warn or limiter.state.phase is not LimitPhase.WITHIN or not draw.beyond(_share(may, limit.warn)):
        return False
    last_ms = limiter.memory.warned_ms
    return last_ms is None or not 0 <= at_ms - last_ms < WARN_AGAIN_MS


def on_malignant(limit: LoadLimit, limiter: Limiter, day: str, at_ms: int) -> tuple[Limiter, LimitAction]:
    """A malignant load was switched on, on this local day: it trips at once, or locks when the day's restores are spent."""
    if limit.malignant is None or limiter.state.open:
        return limiter, LimitAction.NONE
    memory = limiter.memory
    restores = memory.restores if memory.day == day else 0
    locks = restores >= limit.malignant.daily_restores
    state = LimitState(LimitPhase.LOCKED if locks else LimitPhase.TRIPPED, at_ms, limiter.state.spent)
    memory = replace(memory, by=Trip.MALIGNANT, day=day, restores=restores)
    return Limiter(state, memory), LimitAction.LOCK if locks else LimitAction.CUT


def on_cut_seen(state: LimitState, at_ms: int) -> LimitState:
    """The pause, and a lock-out that ends by itself, run from the moment the switch was seen open."""
    return replace(state, since_ms=at_ms) if state.open else state


def ends_ms(limit: LoadLimit, limiter: Limiter) -> int | None:
    """When a pause or a lock-out is over; None where there is none, or a person ends it."""
    state, malignant = limiter.state, limiter.memory.by is Trip.MALIGNANT
    if state.phase is LimitPhase.TRIPPED:
        pause_ms = limit.malignant.restore_ms if malignant and limit.malignant is not None else limit.pause_ms
        return state.since_ms + pause_ms
    if state.phase is LimitPhase.LOCKED and limit.lockout_ms and not malignant:
        return state.since_ms + limit.lockout_ms
    return None


def on_time(limit: LoadLimit, limiter: Limiter, now_ms: int) -> tuple[Limiter, LimitAction]:
    """After the pause a tripped limiter gives supply back and spends one reclose; after its lock-out one that locked starts anew.

    When the clock was set back, both run anew from now.
    """
    state, memory, end_ms = limiter.state, limiter.memory, ends_ms(limit, limiter)
    if end_ms is None:
        return limiter, LimitAction.NONE
    if now_ms < state.since_ms:
        return replace(limiter, state=replace(state, since_ms=now_ms)), LimitAction.NONE
    if now_ms < end_ms:
        return limiter, LimitAction.NONE
    if state.phase is LimitPhase.LOCKED:
        return replace(limiter, state=released(now_ms)), LimitAction.RECLOSE
    malignant = memory.by is Trip.MALIGNANT
    within = LimitState(LimitPhase.WITHIN, now_ms, state.spent + (not malignant))
    return Limiter(within, replace(memory, restores=memory.restores + malignant)), LimitAction.RECLOSE


def withdrawn(limiter: Limiter, now_ms: int) -> Limiter:
    """The trip lost its permission before its cut left: an overload counts from now, and no reclose is spent."""
    state, memory = limiter.state, limiter.memory
    if not state.open:
        return limiter
    if memory.by is Trip.MALIGNANT:
        return Limiter(LimitState(LimitPhase.WITHIN, now_ms, state.spent), memory)
    danger_ms = now_ms if memory.by is Trip.LIMIT else None
    return Limiter(LimitState(LimitPhase.OVER, now_ms, state.spent, now_ms), replace(memory, danger_ms=danger_ms))


def released(now_ms: int) -> LimitState:
    """The lock-out was released: the count starts anew."""
    return LimitState(LimitPhase.WITHIN, now_ms)


def taken_over(
    configured: LoadLimit | None, known: LoadLimit | None, memory: LimitMemory, now_ms: int
) -> tuple[LoadLimit | None, LimitMemory]:
    """Which limit holds after the configuration was read again: what people set, until the configuration says something new.

    One that changed is looked at now.
    """
    if memory.by_people and memory.instead_of == configured:
        return known, memory
    memory = replace(memory, by_people=False, instead_of=None)
    if configured != known:
        memory = replace(memory, changed_ms=now_ms, edge_ms=now_ms, due_ms=now_ms)
    return configured, memory


def set_by_people(
    limit: LoadLimit | None, known: LoadLimit | None, memory: LimitMemory, now_ms: int
) -> tuple[LoadLimit | None, LimitMemory]:
    """Which limit holds after two people set it."""
    instead_of = memory.instead_of if memory.by_people else known
    return limit, replace(memory, by_people=True, instead_of=instead_of, changed_ms=now_ms)


def _within(limit: LoadLimit, state: LimitState, at_ms: int) -> LimitState:
    """Within what is allowed: long enough, and spent recloses are forgotten. A clock that was set back begins that anew."""
    if state.phase is not LimitPhase.WITHIN or (state.spent and at_ms < state.since_ms):
        return LimitState(LimitPhase.WITHIN, at_ms, state.spent)
    forgotten = state.spent and at_ms - state.since_ms >= limit.forget_ms
    return LimitState(LimitPhase.WITHIN, at_ms) if forgotten else state


def _share(may: Allowed, thousandths: int) -> Allowed:
    return Allowed(_of(may.power_w, thousandths), _of(may.current_ma, thousandths))


def _of(most: int | None, thousandths: int) -> int | None:
    return None if most is None else most * thousandths // 1000
