"""Settlement days: registers and maxima of the last twelve periods, steps that begin anew, and tables that change over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from firmware_sim.clockwork import HOUR_US, local
from firmware_sim.dlt645 import freezes
from firmware_sim.dlt645.readings import Reading
from firmware_sim.loads import FOREVER_US
from firmware_sim.registers import FORWARD

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

PERIODS = 12
STEP, MONTH, YEAR = 0x0B, 0x0C, 0x0D
"""DI2 of what was used in the step period, the month and the year."""


class Settlement:
    """The last twelve periods of one meter. used: 0.01 kWh by (DI2, how many periods back)."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.settled: deque[Reading] = deque(maxlen=PERIODS)
        self._past: dict[int, deque[int]] = {kind: deque(maxlen=PERIODS) for kind in (STEP, MONTH, YEAR)}
        count = device.meter.registers.count(FORWARD)
        self._begun = {MONTH: count, YEAR: count}
        self.version = 0

    def next_after(self, at_us: int) -> int:
        """The bell of the settlement days (04000B01 to 03, DDhh)."""
        days = [divmod(self._device.parameters.number(f"04000B0{n}"), 100) for n in (1, 2, 3)]
        bells = [freezes.monthly(day, hour * HOUR_US) for day, hour in days if 1 <= day <= 28 and hour < 24]
        return min((bell(at_us) for bell in bells), default=FOREVER_US)

    def settle(self, at_us: int) -> None:
        """A period ends: keep its registers, begin its maxima anew."""
        device = self._device
        self.settled.appendleft(device.reading())
        device.demand.reset()
        self._turn(MONTH)
        if local(at_us).month == 1:
            self._turn(YEAR)
        if device.prices.steps[0].thresholds and not device.prices.steps[0].settlements:
            self.settle_steps(at_us)
        self.version += 1

    def next_steps(self, at_us: int) -> int:
        """The bell of steps that are settled by the year."""
        return freezes.yearly(self._device.prices.steps[0].settlements)(at_us)

    def settle_steps(self, at_us: int) -> None:
        """The steps begin anew."""
        wallet = self._device.wallet
        if wallet:
            self._past[STEP].appendleft(wallet.used)
            wallet.used = 0
            self.version += 1

    def steps_are_settled(self) -> bool:
        """Some day is set on which the steps begin anew; without one no step part is charged."""
        return bool(self._device.prices.steps[0].settlements) or self.next_after(self._device.meter.clock_us) < FOREVER_US

    def used(self, kind: int, past: int) -> int | None:
        """What was used in a period; past 0 is the running one. None: there was none."""
        if past:
            kept = self._past[kind]
            return kept[past - 1] if past <= len(kept) else None
        if kind == STEP:
            return self._device.wallet.used if self._device.wallet else None
        return self._device.meter.registers.count(FORWARD) - self._begun[kind]

    def switches(self) -> dict[str, Callable[[int], None]]:
        """By the parameter that says when: what changes over then. The registers are frozen first."""
        timetable, prices = self._device.meter.timetable, self._device.prices

        def zones() -> None:
            timetable.zone_set ^= 1

        def days() -> None:
            timetable.day_set ^= 1

        return {
            "04000106": self._switch(freezes.ZONES, zones),
            "04000107": self._switch(freezes.DAYS, days),
            "04000108": self._switch(freezes.PRICES, prices.switch_rates),
            "04000109": self._switch(freezes.LADDER, prices.switch_steps),
        }

    def _switch(self, kind: int, change: Callable[[], None]) -> Callable[[int], None]:
        def ring(at_us: int) -> None:
            self._device.freezes.take(kind, at_us)
            change()
            self._device.meter.timetable.changed()
            self._device.tables_changed()

        return ring

    def _turn(self, kind: int) -> None:
        count = self._device.meter.registers.count(FORWARD)
        self._past[kind].appendleft(count - self._begun[kind])
        self._begun[kind] = count

    def clear(self) -> None:
        """Forget all periods, after the registers have been set to zero."""
        self.settled.clear()
        for past in self._past.values():
            past.clear()
        self._begun = {MONTH: 0, YEAR: 0}
        self.version += 1

    def save(self) -> dict[str, object]:
        """For the history file."""
        settled = [[r.clock_us, r.totals, r.phases, r.peaks] for r in self.settled]
        past = {str(kind): list(used) for kind, used in self._past.items()}
        return {"settled": settled, "past": past, "begun": {str(kind): count for kind, count in self._begun.items()}}

    def restore(self, saved: dict[str, object]) -> None:
        """Continue from saved periods."""
        settled, past, begun = saved["settled"], saved["past"], saved["begun"]
        if not isinstance(settled, list) or not isinstance(past, dict) or not isinstance(begun, dict):
            raise ValueError("settlement is not what was saved")
        self.settled.extend(Reading(at, _tuples(totals), _tuples(phases), _peaks(peaks)) for at, totals, phases, peaks in settled)
        for kind, used in past.items():
            self._past[int(kind)].extend(used)
        self._begun = {int(kind): int(count) for kind, count in begun.items()}


def _tuples(rows: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in rows)


def _peaks(rows: list[list[list[int]]]) -> tuple[tuple[tuple[int, int], ...], ...]:
    return tuple(tuple((power, at) for power, at in row) for row in rows)
