"""Knows what every simulated meter showed when it was asked, and at its midnights; uses none of the gateway's rules."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal

from gateway.adapters.lines.manner import MannerState
from gateway.bootstrap.lines import MeterLink
from gateway.domain.jobs import Answered, Fault, Job, Outcome
from gateway.domain.readings import Quality, Reading, Source
from gateway.domain.records import StoredReading
from gateway.domain.slots import DAY_MS, GRAIN_MS, local_of, midnight
from tests.simulation.virtual_loop import VirtualClock
from tests.simulation.virtual_street import VirtualStreet

AROUND_S = 5
"""A freeze is of its midnight by the meter's clock, which is kept to this."""

Registers = dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Lie:
    """A register that no moment between question and answer showed; off: how far from the nearest that did, in kWh."""

    meter: str
    quantity: str
    said: Decimal
    off: Decimal


@dataclass(frozen=True, slots=True)
class Done:
    """A job as it was done; times in UTC ms. answered: with a refusal too."""

    meter: str
    job: Job
    from_ms: int
    to_ms: int
    answered: bool


@dataclass(slots=True)
class Auditor:
    """lies: by meter, answer and moment taken. readings: how many were held against the truth. done: every job, in order."""

    street: VirtualStreet
    clock: VirtualClock
    lies: dict[tuple[str, int, int | None], list[Lie]] = field(default_factory=dict)
    readings: int = 0
    done: list[Done] = field(default_factory=list)
    _moments: dict[tuple[str, int], tuple[Registers, Registers]] = field(default_factory=dict)

    def registers(self, meter: str) -> Registers:
        """What the meter shows at this moment, in kWh."""
        shown = self.street.station(meter).meter
        rates = {f"energy_import_t{n}": shown.rate_count(n) for n in range(1, shown.registers.rates + 1)}
        return {name: Decimal(count) / 100 for name, count in {"energy_import": shown.total_count, **rates}.items()}

    async def watch(self, zone: tzinfo, *, curves: bool) -> None:
        """The midnights, or all the moments of curves, until cancelled."""
        while True:
            now_ms = self.clock.now_ms()
            at_ms = now_ms // GRAIN_MS * GRAIN_MS + GRAIN_MS if curves else midnight(local_of(now_ms + DAY_MS, zone).date(), zone)
            await asyncio.sleep((at_ms - now_ms) / 1000 - AROUND_S)
            before = {name: self.registers(name) for name in self.street.street.stations}
            await asyncio.sleep(2 * AROUND_S)
            for name, registers in before.items():
                self._moments[name, at_ms] = registers, self.registers(name)

    def heard(self, outcome: Answered, meter: str, before: Registers) -> None:
        """What came of a job that began when the meter showed `before`."""
        after = self.registers(meter)
        for reading in (outcome.reading, *outcome.history):
            if reading is not None:
                self._hold(reading, meter, before, after)

    def wrong(self, stored: Iterable[StoredReading]) -> list[Lie]:
        """What is not true of the readings that are stored as confirmed."""
        confirmed = (each.reading for each in stored if each.quality is Quality.CONFIRMED)
        return [lie for reading in confirmed for lie in self.lies.get(_key(reading), ())]

    def false(self, stored: Iterable[StoredReading]) -> list[Lie]:
        """What is not true of the freezes that count as read."""
        return self._believed(stored, Source.FREEZE)

    def false_points(self, stored: Iterable[StoredReading]) -> list[Lie]:
        """What is not true of the points of curves that count as read."""
        return self._believed(stored, Source.CURVE)

    def _believed(self, stored: Iterable[StoredReading], source: Source) -> list[Lie]:
        read = (each.reading for each in stored if each.reading.source is source and each.quality is not Quality.SUSPECT)
        return [lie for reading in read for lie in self.lies.get(_key(reading), ())]

    def _hold(self, reading: Reading, meter: str, before: Registers, after: Registers) -> None:
        self.readings += 1
        if reading.source is Source.CURVE and (meter, reading.taken_ms) not in self._moments:
            return  # not watched
        if reading.taken_ms is not None:
            before, after = self._moments.get((meter, reading.taken_ms), ({}, {}))
        lies = [
            Lie(meter, item.quantity, item.value, max(low - item.value, item.value - high))
            for item in reading.items
            if item.value is not None and item.quantity.startswith("energy_import")
            for low, high in [(before.get(item.quantity, Decimal(-1)), after.get(item.quantity, Decimal(-1)))]
            if not low <= item.value <= high
        ]
        if lies:
            self.lies[_key(reading)] = lies


class Audited:
    """A link with an auditor beside it."""

    def __init__(self, link: MeterLink, meter: str, auditor: Auditor) -> None:
        self._link, self._meter, self._auditor = link, meter, auditor

    @property
    def manner(self) -> MannerState:
        return self._link.manner

    async def perform(self, job: Job) -> Outcome:
        auditor = self._auditor
        before, from_ms = auditor.registers(self._meter), auditor.clock.now_ms()
        outcome = await self._link.perform(job)
        answered = isinstance(outcome, Answered) or (outcome.fault is Fault.REFUSED and not outcome.certain)
        auditor.done.append(Done(self._meter, job, from_ms, auditor.clock.now_ms(), answered))
        if isinstance(outcome, Answered):
            auditor.heard(outcome, self._meter, before)
        return outcome


def _key(reading: Reading) -> tuple[str, int, int | None]:
    return reading.meter, reading.answered_ms, reading.taken_ms
