"""Loads written down as tables: `{kind = "constant", power_w = 500}` and its like, in the simulator's file and over the handle."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import TypeGuard

from firmware_sim.fields import Fields
from firmware_sim.loads import DAY_US, MAX_POWER_W, MAX_STEPS, SECOND_US, Constant, Load, Steps, household

LoadFactory = Callable[[Random, int], Load]
"""Builds the load of one meter from its own randomness and the local time at which it begins."""

KINDS = ("constant", "household", "schedule", "daily")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z")
DEFAULT_PF = 950


def build(fields: Fields) -> LoadFactory:
    """The load of this table; complaints go to the table's errors.

    constant: power_w, pf. household: mean_w. schedule: steps = [[after_s, power_w], ...], repeat_s, pf.
    daily: steps = [["00:00", power_w], ...], pf.
    """
    if not fields.has("kind") and not fields.has("power_w"):
        fields.complain("kind", f"must be one of {', '.join(KINDS)}, and is missing")
        return lambda rng, start_us: Constant(0)
    kind = fields.choice("kind", KINDS, "constant")
    pf_milli = DEFAULT_PF if kind == "household" else int(fields.number("pf", "0.95", 0, 1) * 1000) or 1
    if kind == "household":
        mean_w = fields.integer("mean_w", 400, 1, MAX_POWER_W // 10)
        fields.done()
        return lambda rng, start_us: household(rng, mean_w)
    if kind == "constant":
        power_mw = int(fields.number("power_w", None, 0, MAX_POWER_W) * 1000)
        fields.done()
        return lambda rng, start_us: Constant(power_mw, pf_milli)
    steps = _steps(fields, kind)
    repeat_us = fields.integer("repeat_s", 0, 0, 10**7) * SECOND_US if kind == "schedule" else DAY_US
    if repeat_us and repeat_us <= steps[-1][0]:
        fields.complain("repeat_s", "must be longer than the last step's time")
    fields.done()
    return lambda rng, start_us: Steps(steps, start_us if kind == "schedule" else 0, repeat_us or None, pf_milli)


def _steps(fields: Fields, kind: str) -> tuple[tuple[int, int], ...]:
    """(offset_us, power_mw) from pairs; the first begins at 0 or midnight."""
    steps: list[tuple[int, int]] = []
    for row in fields.rows("steps", MAX_STEPS):
        when, power_w = row if isinstance(row, list) and len(row) == 2 else (None, None)
        offset_us = _offset_us(when, kind)
        if offset_us is None or not _is_number(power_w, MAX_POWER_W):
            what = 'a time like "18:00"' if kind == "daily" else "seconds"
            fields.complain("steps", f"must hold pairs of {what} and a power up to {MAX_POWER_W} W, not {row!r}")
            return ((0, 0),)
        steps.append((offset_us, int(power_w * 1000)))
    offsets = [offset for offset, _ in steps]
    if not steps or offsets[0] != 0 or offsets != sorted(set(offsets)):
        fields.complain("steps", f"must begin at {'00:00' if kind == 'daily' else '0'} and rise")
        return ((0, 0),)
    return tuple(steps)


def _offset_us(value: object, kind: str) -> int | None:
    if kind == "daily":
        time = _CLOCK.match(value) if isinstance(value, str) else None
        return (int(time[1]) * 60 + int(time[2])) * 60 * SECOND_US if time else None
    return int(value * SECOND_US) if _is_number(value, 10**7) else None


def _is_number(value: object, most: int) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most
