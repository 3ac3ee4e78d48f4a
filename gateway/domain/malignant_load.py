"""Malignant load: a step of active power at a power factor near 1, as heaters make it (prepayment.md d).

Seen from successive readings, it is no more than an advice: what was switched between two looks is one step. A step is known only
from looks at active and reactive power that belong together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import isqrt

MOST_WINDOWS = 6
LEAST_W = 30
"""Power windows of a rule, and the least power that one begins at: as dormitory meters have them (prepayment.md d)."""

STEADY_W = 10
"""Active power read in front of reactive power and behind it may differ by so much, or by a fiftieth, and is the same load."""

STEADY_PART = 50


class MalignantMode(StrEnum):
    """What follows a malignant step."""

    OFF = "off"
    ALARM = "alarm"
    TRIP = "trip"


@dataclass(frozen=True, slots=True)
class PowerWindow:
    """Steps that are looked at, in W, both ends included."""

    from_w: int
    to_w: int


@dataclass(frozen=True, slots=True)
class Permitted:
    """A load that may be switched on: its power in W, give or take the tolerance."""

    name: str
    power_w: int
    tolerance_w: int


@dataclass(frozen=True, slots=True)
class MalignantRule:
    """power_factor: a step at or above it is malignant, in thousandths. restore_ms: supply comes back after that, `daily_restores`
    times a local day; the next trip locks until a person releases it."""

    mode: MalignantMode
    windows: tuple[PowerWindow, ...]
    power_factor: int = 950
    permitted: tuple[Permitted, ...] = ()
    restore_ms: int = 60_000
    daily_restores: int = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """What one reading shows of a meter's load, in W, var and VA in front of its transformers; factor: in thousandths."""

    active_w: int | None = None
    reactive_var: int | None = None
    apparent_va: int | None = None
    factor: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Active and reactive power of one moment, UTC ms."""

    at_ms: int
    active_w: int
    reactive_var: int


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered of a meter: the last look, and what waits to become one (at_ms: when the active power was read)."""

    last: Look | None = None
    at_ms: int = 0
    active_w: int | None = None
    reactive_var: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What was switched on between two looks, in W and var."""

    active_w: int
    reactive_var: int

    @property
    def factor(self) -> int:
        """Its power factor, in thousandths, rounded down."""
        apparent = isqrt(1_000_000 * (self.active_w**2 + self.reactive_var**2))
        return 1_000_000 * self.active_w // apparent if apparent and self.active_w > 0 else 0


def watched(watch: Watch, shown: Shown, at_ms: int, most_gap_ms: int) -> tuple[Watch, Step | None]:
    """Take over what a reading shows. A step is told where the look before is no older than most_gap_ms.

    A meter that tells its powers one after the other is believed where the active power was the same in front of the reactive one
    and behind it: else a motor that starts between the two would look like a heater.
    """
    if not 0 <= at_ms - watch.at_ms <= most_gap_ms:
        watch = replace(watch, active_w=None, reactive_var=None)
    active_w = shown.active_w
    if active_w is None:
        if watch.active_w is None:
            return watch, None
        reactive_var = _reactive(shown, watch.active_w)
        return (watch if reactive_var is None else replace(watch, reactive_var=reactive_var)), None
    reactive_var = _reactive(shown, active_w)
    if reactive_var is None and watch.reactive_var is not None and _steady(watch.active_w, active_w):
        reactive_var = watch.reactive_var
    if reactive_var is None:
        return Watch(watch.last, at_ms, active_w), None
    look = Look(at_ms, active_w, reactive_var)
    return Watch(look, at_ms, active_w), _between(watch.last, look, most_gap_ms)


def is_malignant(rule: MalignantRule, step: Step) -> bool:
    """Whether the rule forbids this step: within a window, at its power factor or above, and no load that is permitted."""
    if not any(window.from_w <= step.active_w <= window.to_w for window in rule.windows):
        return False
    if any(abs(step.active_w - load.power_w) <= load.tolerance_w for load in rule.permitted):
        return False
    return (1000 * step.active_w) ** 2 >= rule.power_factor**2 * (step.active_w**2 + step.reactive_var**2)


def _between(before: Look | None, after: Look, most_gap_ms: int) -> Step | None:
    if before is None or not 0 <= after.at_ms - before.at_ms <= most_gap_ms or after.active_w <= before.active_w:
        return None
    return Step(after.active_w - before.active_w, after.reactive_var - before.reactive_var)


def _steady(before_w: int | None, after_w: int) -> bool:
    return before_w is not None and abs(after_w - before_w) <= max(STEADY_W, abs(before_w) // STEADY_PART)


def _reactive(shown: Shown, active_w: int) -> int | None:
    """The reactive power in var, computed without its sign where only apparent power or power factor are told; None: not known."""
    if shown.reactive_var is not None:
        return shown.reactive_var
    if shown.apparent_va is not None:
        return isqrt(max(shown.apparent_va**2 - active_w**2, 0))
    if shown.factor is None or not 0 < abs(shown.factor) <= 1000:
        return None
    return abs(active_w) * isqrt(1_000_000 - shown.factor**2) // abs(shown.factor)
