"""What happens at certain times of the meter's own clock: midnights, full hours, settlement days, switch times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from firmware_sim.loads import FOREVER_US
from firmware_sim.meter import MILLION, Meter

MINUTE_US = 60 * MILLION
HOUR_US = 3600 * MILLION

NextAfter = Callable[[int], int]
"""A time of the meter's clock -> the next time after it at which the bell rings; FOREVER_US for never."""


@dataclass(slots=True)
class _Bell:
    next_after: NextAfter
    ring: Callable[[int], None]
    target_us: int


class Clockwork:
    """Rings bells at their times. A clock that is set does not ring what lies between: it begins anew from its new time."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._bells: list[_Bell] = []
        self._sets = meter.clock_sets
        self._first_us = FOREVER_US

    def add(self, next_after: NextAfter, ring: Callable[[int], None]) -> None:
        """Ring at these times; bells of the same moment ring in the order in which they were added."""
        self._bells.append(_Bell(next_after, ring, next_after(self._meter.clock_us)))
        self._first_us = min(self._first_us, self._bells[-1].target_us)

    def rewind(self) -> None:
        """Work out all times anew: the clock or what they depend on has changed."""
        self._sets = self._meter.clock_sets
        for bell in self._bells:
            bell.target_us = bell.next_after(self._meter.clock_us)
        self._first_us = min((bell.target_us for bell in self._bells), default=FOREVER_US)

    def due_us(self) -> int:
        """See Part."""
        if self._sets != self._meter.clock_sets:
            self.rewind()
        return FOREVER_US if self._first_us >= FOREVER_US else self._meter.moment(self._first_us)

    def arrive(self) -> None:
        """See Part."""
        if self._sets != self._meter.clock_sets:
            self.rewind()
        while self._first_us <= self._meter.clock_us:
            now_us = self._first_us
            for bell in self._bells:
                if bell.target_us <= now_us:
                    bell.target_us = bell.next_after(now_us)
                    bell.ring(now_us)
            self._first_us = min(bell.target_us for bell in self._bells)


def every(period_us: int, offset_us: int = 0) -> NextAfter:
    """Whenever the clock shows a multiple of the period, plus an offset."""
    return lambda clock_us: ((clock_us - offset_us) // period_us + 1) * period_us + offset_us


def local(clock_us: int) -> datetime:
    """A meter's time in microseconds since 1970 as a naive datetime, whose year has the two digits that meters have (20YY)."""
    clock = datetime.fromtimestamp(clock_us // MILLION, UTC)
    return clock.replace(year=2000 + clock.year % 100, tzinfo=None)


def local_us(clock: datetime) -> int:
    """A meter's naive time in microseconds since 1970."""
    return int(clock.replace(tzinfo=UTC).timestamp()) * MILLION
