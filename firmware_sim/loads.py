"""What a house draws: step functions of the true local time, so that energy can be integrated exactly between the steps.

Time here is local microseconds since 1970 without a zone (the wall clock of the street, not of the meter).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
FOREVER_US = 1 << 62
MAX_POWER_W = 70_000  # one meter's register holds 79.9999 kW
MAX_STEPS = 200  # of one schedule: a day in steps of about seven minutes


@dataclass(frozen=True, slots=True)
class Draw:
    """What the load wants from `local_us` on and until when that holds: power in mW, power factor in thousandths (1..1000).

    Below zero it feeds into the grid. leading: a capacitance, whose current is ahead of the voltage.
    """

    power_mw: int
    pf_milli: int
    until_us: int
    leading: bool = False


class Load(Protocol):
    """A step function of time."""

    def draw(self, local_us: int) -> Draw:
        """The step that covers this moment; `until_us` is greater than `local_us`."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The same power for ever."""

    power_mw: int
    pf_milli: int = 950

    def draw(self, local_us: int) -> Draw:
        return Draw(self.power_mw, self.pf_milli, FOREVER_US)


@dataclass(frozen=True, slots=True)
class Steps:
    """Powers by time since `start_us`; with `period_us` the list begins again, without it the last step holds.

    steps: (offset_us, power_mw), rising, the first at offset 0.
    """

    steps: tuple[tuple[int, int], ...]
    start_us: int
    period_us: int | None = None
    pf_milli: int = 950

    def draw(self, local_us: int) -> Draw:
        elapsed = max(0, local_us - self.start_us)
        lap = self.start_us if self.period_us is None else self.start_us + elapsed // self.period_us * self.period_us
        inside = max(0, local_us - lap)
        end_us = FOREVER_US if self.period_us is None else lap + self.period_us
        power_mw = self.steps[0][1]
        for offset_us, step_mw in self.steps:
            if offset_us > inside:
                return Draw(power_mw, self.pf_milli, lap + offset_us)
            power_mw = step_mw
        return Draw(power_mw, self.pf_milli, end_us)


@dataclass(frozen=True, slots=True)
class Leading:
    """A load behind a capacitor that is too large for it."""

    load: Load

    def draw(self, local_us: int) -> Draw:
        return replace(self.load.draw(local_us), leading=True)


@dataclass(frozen=True, slots=True)
class FedIn:
    """A load with a generator beside it, which gives so much between two times of the day."""

    load: Load
    power_mw: int
    from_us: int = 0
    to_us: int = DAY_US

    def draw(self, local_us: int) -> Draw:
        wanted = self.load.draw(local_us)
        given, until_us = Appliance(self.power_mw, DAY_US, DAY_US, 0, self.from_us, self.to_us).draw(local_us)
        return replace(wanted, power_mw=wanted.power_mw - given, until_us=min(wanted.until_us, until_us))


@dataclass(frozen=True, slots=True)
class Appliance:
    """Switches on for `on_us` every `period_us`, only between two times of the day (from 0 to DAY_US: always)."""

    power_mw: int
    period_us: int
    on_us: int
    phase_us: int
    from_us: int = 0
    to_us: int = DAY_US

    def draw(self, local_us: int) -> tuple[int, int]:
        """(power_mw, until_us) of this appliance alone."""
        midnight = local_us // DAY_US * DAY_US
        opens, closes = midnight + self.from_us, midnight + self.to_us
        if local_us < opens:
            return 0, opens
        if local_us >= closes:
            return 0, opens + DAY_US
        into = (local_us + self.phase_us) % self.period_us
        if into < self.on_us:
            return self.power_mw, min(closes, local_us + self.on_us - into)
        return 0, min(closes, local_us + self.period_us - into)


@dataclass(frozen=True, slots=True)
class Household:
    """A standby load and some appliances; the same seed gives the same house."""

    standby_mw: int
    appliances: tuple[Appliance, ...]
    pf_milli: int = 930

    def draw(self, local_us: int) -> Draw:
        total, until = self.standby_mw, FOREVER_US
        for appliance in self.appliances:
            power, end = appliance.draw(local_us)
            total += power
            until = min(until, end)
        return Draw(total, self.pf_milli, until)


def household(rng: Random, mean_w: int = 400) -> Household:
    """A house of about `mean_w` on an average day, drawn from `rng`: fridge, pump, lights, cooking and an evening heater."""

    def appliance(share: float, period_s: int, duty: float, hours: tuple[float, float] = (0, 24)) -> Appliance:
        period_us = int(period_s * rng.uniform(0.8, 1.2)) * SECOND_US
        shifted = (hour + rng.uniform(-0.4, 0.4) if 0 < hour < 24 else hour for hour in hours)
        from_us, to_us = (int(hour * 3600) * SECOND_US for hour in shifted)
        active = duty * (to_us - from_us) / DAY_US
        power_mw = int(mean_w * 1000 * share / active * rng.uniform(0.85, 1.15))
        return Appliance(power_mw, period_us, int(period_us * duty), rng.randrange(period_us), from_us, to_us)

    appliances = (
        appliance(0.20, 900, 0.35),
        appliance(0.15, 300, 0.20),
        appliance(0.15, 7200, 0.80, (6.5, 8.5)),
        appliance(0.15, 3600, 0.50, (11, 13)),
        appliance(0.20, 1800, 0.60, (17.5, 23)),
    )
    return Household(int(mean_w * 1000 * 0.15 * rng.uniform(0.8, 1.2)), appliances, rng.randrange(880, 981))
