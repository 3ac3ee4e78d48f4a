"""The limiter of cuts: four budgets over sliding windows, and the steady clock that they run on (prepayment.md 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

LONGEST_MS = DAY_MS
"""No window is longer, so that what was spent before may be forgotten."""


class Budget(StrEnum):
    """What a cut comes out of. SAFETY is counted only; OWN is our credit cuts, ORDERED those of a key or an operator."""

    SAFETY = "safety"
    PLAN = "plan"
    OWN = "own"
    ORDERED = "ordered"


@dataclass(frozen=True, slots=True)
class Window:
    """At most so many cuts within `span_ms`: the greater of `least` and `percent` of the meters, rounded down."""

    span_ms: int
    least: int
    percent: int = 0

    def most(self, meters: int) -> int:
        """Cuts for so many meters."""
        return max(self.least, meters * self.percent // 100)


@dataclass(frozen=True, slots=True)
class Budgets:
    """The windows of each budget; none at all does not bind. many_trips: more safety trips than this are a finding."""

    own: tuple[Window, ...] = ()
    ordered: tuple[Window, ...] = ()
    many_trips: Window | None = None

    def windows(self, budget: Budget) -> tuple[Window, ...]:
        """Those that bind a budget of ours or of a key. PLAN is bound by the plan itself, SAFETY by nothing."""
        return {Budget.OWN: self.own, Budget.ORDERED: self.ordered}.get(budget, ())


UNBOUND = Budgets()

DECIDED = Budgets(
    own=(Window(MINUTE_MS, 5), Window(HOUR_MS, 2, 10)),
    ordered=(Window(HOUR_MS, 2, 2), Window(DAY_MS, 3, 10)),
    many_trips=Window(HOUR_MS, 3, 5),
)
"""What holds where the configuration says nothing else."""


LATE_MS = 1_000
"""The reading of the limiter's clock that a loop is given may be so old (Site.steady_ms); every window is longer by that."""


def room(windows: Sequence[Window], spent_ms: Sequence[int], reserved: int, meters: int, now_ms: int) -> int | None:
    """How many more cuts there is room for; None for any number.

    spent_ms: when cuts left, on the limiter's clock. reserved: cuts that are ordered and have not left. At now_ms a cut that left
    a window and LATE_MS ago no longer counts.
    """
    left = [window.most(meters) - reserved - sum(now_ms - at < window.span_ms + LATE_MS for at in spent_ms) for window in windows]
    return max(0, min(left)) if left else None


@dataclass(frozen=True, slots=True)
class SteadyClock:
    """The limiter's own time: runs while the service is seen to run, and never jumps, whatever the wall clock does.

    at_ms: its reading when boot, steady_ms (CLOCK_BOOTTIME) and wall_ms (UTC) were noted; steady_ms None where not known.
    """

    at_ms: int
    boot: str
    steady_ms: int | None
    wall_ms: int

    def read(self, boot: str, steady_ms: int | None, wall_ms: int) -> SteadyClock:
        """The clock as it stands now.

        Within one boot it is exact. Another boot, or one that is not known: the time between counts nothing, so that no budget
        comes back early. Without a steady clock the wall clock moves it, never backwards.
        """
        if steady_ms is None:
            passed_ms = wall_ms - self.wall_ms
        elif boot and boot == self.boot and self.steady_ms is not None:
            passed_ms = steady_ms - self.steady_ms
        else:
            passed_ms = 0
        return SteadyClock(self.at_ms + max(0, passed_ms), boot, steady_ms, wall_ms)
