"""An account's load limit as people see it: what holds now, what was spent, what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ParameterShown:
    """One limit in a meter. value: in its own least unit (mA, minutes, cents). said: what the meter said to the last write."""

    meter: str
    parameter: str
    value: int
    state: str
    said: str


@dataclass(frozen=True, slots=True)
class LimitShown:
    """Times in UTC ms. allowed_w, allowed_ma, off: what may be drawn now; power_w, current_ma: what is drawn. over_itself: load is
    above the limit itself, not only above a cap.

    left: recloses before it locks. next_ms: when time brings the next thing: a reclose, the end of a lock-out, a plan's edge.
    month_wh: used in the bill period, of month_amount_wh. advisory: malignant load is seen by polling only, and may be missed.
    """

    account: str
    policy: str
    phase: str
    by: str | None
    since_ms: int
    spent: int
    left: int
    next_ms: int | None
    limit_w: int | None
    limit_ma: int | None
    allowed_w: int | None
    allowed_ma: int | None
    off: bool
    power_w: int | None
    current_ma: int | None
    over_itself: bool
    month_wh: int | None
    month_amount_wh: int | None
    malignant: str | None
    advisory: bool
    restores_today: int
    set_by_people: bool
    changed_ms: int
    parameters: Sequence[ParameterShown]
