"""Maximum demand: the highest mean power of a sliding window, by quantity and rate, with its time (DL/T 645-2007 A.2).

Rows of quantities follow each other: of the total with its rates, then, where there are several phases, of each without rates.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from firmware_sim.clockwork import MINUTE_US
from firmware_sim.loads import FOREVER_US
from firmware_sim.meter import Meter
from firmware_sim.registers import QUANTITIES

Peak = tuple[int, int]
"""(mW, meter's clock at the end of its window); (0, 0) for none yet."""
NONE: Peak = (0, 0)
MAX_WINDOW = 60  # slips in one period: DL/T 645 allows periods up to 60 minutes


class Demand:
    """Means over `period_min` minutes, taken anew every `slip_min` minutes of the meter's own clock.

    window: gives (period, slip) in minutes, as set in the meter. A clock that is set begins a new window.
    """

    def __init__(self, meter: Meter, window: Callable[[], tuple[int, int]]) -> None:
        self._meter = meter
        self._window = window
        self._rates = meter.spec.rates
        self._phases = meter.spec.phases if meter.spec.phases > 1 else 0
        self.peaks: list[list[Peak]] = self._none()
        self.present = [0] * len(self.peaks)
        self.version = 0
        self._sets = self._clock_us = 0
        self._rate = 1
        self._size = (0, 0)
        self._last: list[int] = []
        self._marks: deque[list[int]] = deque()
        self._begin()

    def reset(self) -> None:
        """Forget the maxima; the window runs on."""
        self.peaks = self._none()

    def _none(self) -> list[list[Peak]]:
        totals = [[NONE] * (self._rates + 1) for _ in range(QUANTITIES)]
        return totals + [[NONE] for _ in range(QUANTITIES * self._phases)]

    def last_slip(self, quantity: int) -> int:
        """The mean of the last whole slip alone, in mW; 0 before there is one."""
        span = self._size[1] * MINUTE_US * self._meter.spec.speed_milli
        return (self._marks[-1][quantity] - self._marks[-2][quantity]) // span if len(self._marks) > 1 and span else 0

    def due_us(self) -> int:
        """See Part. It needs no stop of its own: between two stops power is constant, so every mean can be worked out."""
        return FOREVER_US

    def arrive(self) -> None:
        """See Part."""
        period, slip = self._window()
        if self._sets != self._meter.clock_sets or (period, slip) != self._size:
            self._begin()
            return
        clock_us, grains = self._meter.clock_us, self._grains()
        target_us = (self._clock_us // (slip * MINUTE_US) + 1) * slip * MINUTE_US
        while target_us <= clock_us:
            self._close(target_us, self._between(target_us, clock_us, grains))
            target_us += slip * MINUTE_US
        self._clock_us, self._last, self._rate = clock_us, grains, self._meter.rate

    def _begin(self) -> None:
        self._sets = self._meter.clock_sets
        self._size = self._window()
        self._clock_us, self._last, self._rate = self._meter.clock_us, self._grains(), self._meter.rate
        on_the_mark = self._clock_us % (self._size[1] * MINUTE_US) == 0
        self._marks = deque([self._last] if on_the_mark else [], min(MAX_WINDOW, self._size[0] // self._size[1]) + 1)

    def _grains(self) -> list[int]:
        registers = self._meter.registers
        phases = [row[phase] for phase in range(self._phases) for row in registers.phase]
        return [sum(row) for row in registers.total] + phases

    def _between(self, target_us: int, clock_us: int, grains: list[int]) -> list[int]:
        """Energies at a moment since the last stop."""
        into, whole = target_us - self._clock_us, clock_us - self._clock_us
        return [now if now == last else last + (now - last) * into // whole for last, now in zip(self._last, grains, strict=True)]

    def _close(self, clock_us: int, grains: list[int]) -> None:
        self._marks.append(grains)
        if len(self._marks) < (self._marks.maxlen or 0) or not self._meter.spec.speed_milli:
            return
        span = self._size[0] * MINUTE_US * self._meter.spec.speed_milli
        for quantity, (first, last) in enumerate(zip(self._marks[0], grains, strict=True)):
            self.present[quantity] = mean = (last - first) // span
            for rate in (0, self._rate) if quantity < QUANTITIES else (0,):
                if mean > self.peaks[quantity][rate][0]:
                    self.peaks[quantity][rate] = (mean, clock_us)
                    self.version += 1

    def save(self) -> list[list[list[int]]]:
        """The maxima, for the history file."""
        return [[list(peak) for peak in row] for row in self.peaks]

    def restore(self, saved: list[list[list[int]]]) -> None:
        """Continue from saved maxima."""
        rows = [[(power, at) for power, at in row] for row in saved]
        self.peaks = rows + self._none()[len(rows) :]
