"""A meter as physics: energy is the integral of what really flowed through the contact, in integers, on a clock that is passed in.

Nothing here knows a protocol. Units: mW, mV, mA, mWs; `now_us` is monotonic microseconds, `clock_us` the meter's own local time
in microseconds since 1970 without a zone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from random import Random
from typing import TypedDict

from firmware_sim.loads import DAY_US, FOREVER_US, Draw, Load
from firmware_sim.relay import Relay, RelayTiming

GRAIN = 10**9  # inner energy units in one mWs: 1 mW for 1 us at a speed of 0.001, so no step ever rounds
CENTI_KWH_MWS = 36_000_000  # 0.01 kWh
MILLION = 1_000_000
MAX_RATES = 4
WOBBLE_US = 97 * MILLION  # the mains voltage swings slowly, once in about a minute and a half


@dataclass(frozen=True, slots=True)
class RateChange:
    """From this minute of the meter's day on, energy counts for `rate` (1..4)."""

    minute: int
    rate: int


DEFAULT_DAY = (
    RateChange(0, 4), RateChange(7 * 60, 3), RateChange(8 * 60, 2), RateChange(11 * 60, 3),
    RateChange(18 * 60, 1), RateChange(21 * 60, 2), RateChange(22 * 60, 3), RateChange(23 * 60, 4),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MeterSpec:
    """What is printed on the meter and set in it.

    initial_mws: energy already counted, spread evenly over the rates. speed_milli: counted is real energy times its thousandths.
    day: rate changes in rising order, the first at minute 0. Below starting_current_ma nothing is counted.
    """

    phases: int = 1
    initial_mws: int = 0
    speed_milli: int = 1000
    voltage_mv: int = 220_000
    rates: int = MAX_RATES
    day: tuple[RateChange, ...] = DEFAULT_DAY
    starting_current_ma: int = 20
    clock_offset_us: int = 0
    drift_ppm: int = 0
    closed: bool = True
    timing: RelayTiming = field(default_factory=RelayTiming)


class Saved(TypedDict):
    """The state of a meter that survives a restart; `grains` is energy by rate in inner units."""

    grains: list[int]
    clock_offset_us: int
    relay: dict[str, bool]
    protect: bool
    alarm: bool
    refused_passwords: int


class Meter:
    """One meter in time. Call `advance` before reading anything; time that goes backwards is ignored."""

    def __init__(self, spec: MeterSpec, load: Load, rng: Random, now_us: int, local_us: int) -> None:
        self.spec = spec
        self.load = load
        self.relay = Relay(rng, spec.timing, spec.closed)
        self.mains = True
        self.protect = False
        self.alarm = False
        self.refused_passwords = 0
        self.drift_ppm = spec.drift_ppm
        self._now_us = now_us
        self._street_us = local_us - now_us
        self._clock_base_us = local_us + spec.clock_offset_us
        self._clock_ref_us = now_us
        share, rest = divmod(spec.initial_mws * GRAIN, spec.rates)
        self._grains = [share + (rest if i == 0 else 0) for i in range(spec.rates)]
        self._swing = rng.randrange(WOBBLE_US)
        first, second = rng.randrange(300, 400), rng.randrange(300, 350)
        self._shares = (1000,) if spec.phases == 1 else (first, second, 1000 - first - second)
        self._draw = load.draw(self.local_us)

    # -- time

    @property
    def now_us(self) -> int:
        """How far this meter has been advanced."""
        return self._now_us

    @property
    def local_us(self) -> int:
        """The true local time of the street."""
        return self._now_us + self._street_us

    @property
    def clock_us(self) -> int:
        """The meter's own clock."""
        return self._clock_base_us + (self._now_us - self._clock_ref_us) * (MILLION + self.drift_ppm) // MILLION

    @property
    def clock_offset_us(self) -> int:
        """Meter's clock minus true local time."""
        return self.clock_us - self.local_us

    def set_clock(self, clock_us: int, drift_ppm: int | None = None) -> None:
        """Set the meter's own clock, and its drift where given."""
        self._clock_base_us, self._clock_ref_us = clock_us, self._now_us
        if drift_ppm is not None:
            self.drift_ppm = drift_ppm

    def set_load(self, load: Load) -> None:
        """Another load from this moment on."""
        self.load = load
        self._draw = load.draw(self.local_us)

    def advance(self, now_us: int) -> None:
        """Integrate up to `now_us`, stopping at every step of load, rate and relay on the way."""
        self.relay.settle(self._now_us, self.total_mws)
        while self._now_us < now_us:
            if self._draw.until_us <= self.local_us:
                self._draw = self.load.draw(self.local_us)
            until = min(now_us, self._draw.until_us - self._street_us, self._rate_end_us(), self.relay.next_us)
            self._grains[self.rate - 1] += self._counted_mw() * (until - self._now_us) * self.spec.speed_milli
            self._now_us = until
            self.relay.settle(until, self.total_mws)
        if self._draw.until_us <= self.local_us:
            self._draw = self.load.draw(self.local_us)

    def _rate_end_us(self) -> int:
        """Monotonic time of the next rate change on the meter's own clock."""
        if self.spec.rates == 1:
            return FOREVER_US
        midnight, minute = self._day_minute()
        end = next((change.minute for change in self.spec.day if change.minute > minute), 24 * 60)
        ahead = midnight + end * 60 * MILLION - self.clock_us
        return self._now_us + max(1, -(-ahead * MILLION // (MILLION + self.drift_ppm)))

    def _day_minute(self) -> tuple[int, int]:
        """(midnight, minute of the day) by the meter's own clock."""
        into = self.clock_us % DAY_US
        return self.clock_us - into, into // (60 * MILLION)

    # -- energy

    @property
    def rate(self) -> int:
        """The rate that runs now, 1..rates; a rate the meter has not got counts as its last."""
        _, minute = self._day_minute()
        running = max((change for change in self.spec.day if change.minute <= minute), key=lambda change: change.minute)
        return min(running.rate, self.spec.rates)

    @property
    def total_mws(self) -> int:
        """Energy counted so far, mWs."""
        return sum(self._grains) // GRAIN

    def rate_mws(self, rate: int) -> int:
        """Energy counted for this rate (1..rates), mWs."""
        return self._grains[rate - 1] // GRAIN

    def phase_mws(self, phase: int) -> int:
        """Energy of phase 0, 1 or 2: every load splits in the same proportion."""
        return self.total_mws * self._shares[phase] // 1000

    @property
    def total_count(self) -> int:
        """The total register, 0.01 kWh, truncated."""
        return self.total_mws // CENTI_KWH_MWS

    def rate_count(self, rate: int) -> int:
        """A rate register, 0.01 kWh, truncated by itself: the rates may add up to less than the total."""
        return self.rate_mws(rate) // CENTI_KWH_MWS

    # -- what flows now

    @property
    def flowing(self) -> bool:
        """Current can flow: mains present and contact closed."""
        return self.mains and self.relay.contact_closed

    @property
    def wanted(self) -> Draw:
        """What the load would draw if it could."""
        return self._draw

    @property
    def power_mw(self) -> int:
        """Active power through the contact, all phases."""
        return self._draw.power_mw if self.flowing else 0

    @property
    def pf_milli(self) -> int:
        """Power factor in thousandths; 1000 without current."""
        return self._draw.pf_milli if self.power_mw else 1000

    def phase_power_mw(self, phase: int) -> int:
        """Active power of phase 0, 1 or 2; the phases add up to `power_mw` exactly."""
        first = [self.power_mw * share // 1000 for share in self._shares[:-1]]
        return [*first, self.power_mw - sum(first)][phase]

    def voltage_mv(self, phase: int = 0) -> int:
        """Voltage before the contact, within 0.7 % of nominal; 0 without mains."""
        if not self.mains:
            return 0
        into = (self.local_us + self._swing + phase * WOBBLE_US // 3) % WOBBLE_US
        triangle = abs(2 * into - WOBBLE_US) * 2000 // WOBBLE_US - 1000
        return self.spec.voltage_mv + self.spec.voltage_mv * 7 * triangle // MILLION

    def current_ma(self, phase: int = 0) -> int:
        """Current of one phase from its power, voltage and power factor."""
        power_mw = self.phase_power_mw(phase)
        return power_mw * MILLION // (self.voltage_mv(phase) * self._draw.pf_milli) if power_mw else 0

    @property
    def frequency_mhz(self) -> int:
        """Mains frequency in thousandths of a hertz, 49.95 to 50.05 Hz; 0 without mains."""
        into = (self.local_us + self._swing) % (WOBBLE_US // 2)
        return 49_950 + into * 200 // WOBBLE_US if self.mains else 0

    def _counted_mw(self) -> int:
        """Power that the register counts: nothing below the starting current (at nominal voltage, so that steps stay exact)."""
        largest = max(self.phase_power_mw(phase) for phase in range(self.spec.phases))
        floor = self.spec.starting_current_ma * self.spec.voltage_mv * self._draw.pf_milli
        return self.power_mw if largest * MILLION >= floor else 0

    # -- surviving a restart

    def save(self) -> Saved:
        """State for the state file."""
        return {
            "grains": list(self._grains),
            "clock_offset_us": self.clock_offset_us,
            "relay": self.relay.save(),
            "protect": self.protect,
            "alarm": self.alarm,
            "refused_passwords": self.refused_passwords,
        }

    def restore(self, saved: Saved) -> None:
        """Continue from a saved state. Raises ValueError where it belongs to a meter with another number of rates."""
        if len(saved["grains"]) != self.spec.rates:
            raise ValueError(f"saved with {len(saved['grains'])} rates, now {self.spec.rates}")
        self._grains = list(saved["grains"])
        self.set_clock(self.local_us + saved["clock_offset_us"])
        self.relay.restore(saved["relay"], self._now_us)
        self.protect, self.alarm = saved["protect"], saved["alarm"]
        self.refused_passwords = saved["refused_passwords"]


def apparent(power_mw: int, pf_milli: int) -> int:
    """mVA from active power and power factor."""
    return power_mw * 1000 // pf_milli


def reactive(power_mw: int, pf_milli: int) -> int:
    """mvar of an inductive load."""
    return isqrt(max(0, apparent(power_mw, pf_milli) ** 2 - power_mw**2))
