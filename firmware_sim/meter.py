"""A meter as physics: energy is the integral of what really flowed, in integers, on a clock that is passed in.

Nothing here knows a protocol. Units: mW, mV, mA, mWs; `now_us` is monotonic microseconds, `clock_us` the meter's own local time
in microseconds since 1970 without a zone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from random import Random
from typing import NotRequired, Protocol, TypedDict

from firmware_sim.flow import HONEST, NOMINAL, Flow, apparent, flow, reactive
from firmware_sim.loads import DAY_US, FOREVER_US, Draw, Load
from firmware_sim.registers import CENTI_KWH_MWS, FORWARD, GRAIN, Registers
from firmware_sim.relay import Relay, RelayTiming
from firmware_sim.timetable import DEFAULT_DAY, Day, RateChange, Timetable

__all__ = ["CENTI_KWH_MWS", "DEFAULT_DAY", "GRAIN", "Meter", "MeterSpec", "Part", "RateChange", "Saved", "apparent", "reactive"]

MILLION = 1_000_000
DEFAULT_RATES, MAX_RATES = 4, 14  # the 1997 dialect numbers its rates with one hex digit, of which F means all
WOBBLE_US = 97 * MILLION  # the mains voltage swings slowly, once in about a minute and a half
ALIVE = 600  # thousandths of nominal voltage at which the electronics still run
FRESH = 750  # ... and at which the relay's status bit is still renewed


@dataclass(frozen=True, slots=True)
class MeterSpec:
    """What is printed on the meter and set in it.

    initial_mws: energy already counted, spread evenly over the rates. speed_milli: counted is real energy times its thousandths.
    day: rate changes in rising order, the first at minute 0. Below starting_current_ma nothing is counted.
    boot_us: silence after power has come back. relay: one of relay.KINDS. feedback: the status bit knows the contact.
    """

    phases: int = 1
    initial_mws: int = 0
    speed_milli: int = 1000
    voltage_mv: int = 220_000
    rates: int = DEFAULT_RATES
    day: Day = DEFAULT_DAY
    starting_current_ma: int = 20
    clock_offset_us: int = 0
    drift_ppm: int = 0
    closed: bool = True
    timing: RelayTiming = field(default_factory=RelayTiming)
    boot_us: int = 0
    relay: str = "internal"
    feedback: bool = True


class Saved(TypedDict):
    """The state of a meter that survives a restart; `grains` is forward active energy by rate in inner units."""

    grains: list[int]
    clock_offset_us: int
    relay: dict[str, bool]
    protect: bool
    alarm: bool
    refused_passwords: int
    registers: NotRequired[dict[str, list[int]]]


class Part(Protocol):
    """Something in a meter that acts by itself. The meter stops at `due_us`, or earlier, and calls `arrive` at every stop."""

    def due_us(self) -> int:
        """Monotonic time of its next act, later than now after `arrive`; FOREVER_US when there is none."""

    def arrive(self) -> None:
        """The meter has moved to `meter.now_us`."""


class Meter:
    """One meter in time. Call `advance` before reading anything; time that goes backwards is ignored."""

    def __init__(self, spec: MeterSpec, load: Load, rng: Random, now_us: int, local_us: int) -> None:
        self.spec = spec
        self.load = load
        self.relay = Relay(rng, spec.timing, spec.closed, spec.relay, spec.feedback)
        self.timetable = Timetable(spec.day)
        self.registers = Registers(spec.rates, spec.phases)
        self.parts: list[Part] = []
        self.protect = False
        self.alarm = False
        self.refused_passwords = 0
        self.drift_ppm = spec.drift_ppm
        self.clock_sets = 0
        self.tamper = HONEST
        self.levels = (NOMINAL,) * spec.phases
        self.booted_us = now_us
        self.drawn_grains = 0
        self._now_us = now_us
        self._street_us = local_us - now_us
        self._clock_base_us = local_us + spec.clock_offset_us
        self._clock_ref_us = now_us
        self._swing = rng.randrange(WOBBLE_US)
        first, second = rng.randrange(300, 400), rng.randrange(300, 350)
        self._shares = (1000,) if spec.phases == 1 else (first, second, 1000 - first - second)
        self.registers.preset(spec.initial_mws * GRAIN, self._shares)
        self._draw = load.draw(self.local_us)
        self._flow: tuple[tuple[object, ...], Flow] | None = None
        self._weights: tuple[tuple[object, ...], list[tuple[list[int], int, int]]] | None = None

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

    def moment(self, clock_us: int) -> int:
        """Monotonic time at which the meter's own clock will show this, not before the next microsecond."""
        ahead = clock_us - self.clock_us
        return self._now_us + max(1, -(-ahead * MILLION // (MILLION + self.drift_ppm)))

    def set_clock(self, clock_us: int, drift_ppm: int | None = None) -> None:
        """Set the meter's own clock, and its drift where given."""
        self._clock_base_us, self._clock_ref_us = clock_us, self._now_us
        self.clock_sets += 1
        if drift_ppm is not None:
            self.drift_ppm = drift_ppm

    def set_load(self, load: Load) -> None:
        """Another load from this moment on."""
        self.load = load
        self._draw = load.draw(self.local_us)

    def advance(self, now_us: int) -> None:
        """Integrate up to `now_us`, stopping at every step of load, rate, relay and part on the way."""
        self._arrive()  # whatever has been changed from outside counts from this moment on
        while self._now_us < now_us:
            if self._draw.until_us <= self.local_us:
                self._draw = self.load.draw(self.local_us)
            until = min(now_us, self._draw.until_us - self._street_us, self._rate_end_us(), self.relay.next_us)
            for part in self.parts:
                until = min(until, part.due_us())
            self._integrate(max(0, until - self._now_us))
            self._arrive()
        if self._draw.until_us <= self.local_us:
            self._draw = self.load.draw(self.local_us)

    def _arrive(self) -> None:
        if self.relay.next_us <= self._now_us:
            self.relay.settle(self._now_us, self.total_mws)
        for part in self.parts:
            part.arrive()
        if not self.relay.feedback and self.flow.power_mw:
            self.relay.load_flows()

    def _integrate(self, elapsed_us: int) -> None:
        for row, index, weight in self._weighted():
            row[index] += weight * elapsed_us
        self.drawn_grains += self.flow.drawn_mw * elapsed_us * self.spec.speed_milli
        self._now_us += elapsed_us

    def _weighted(self) -> list[tuple[list[int], int, int]]:
        """(row, index, grains per us) of every register that counts now."""
        now = self.flow
        key = (now, self.rate, self.registers.stuck)
        if self._weights is None or self._weights[0] != key:
            self._weights = key, self._work_out(now, self.rate - 1)
        return self._weights[1]

    def _work_out(self, now: Flow, rate: int) -> list[tuple[list[int], int, int]]:
        rows, speed = self.registers, self.spec.speed_milli
        weights = [(rows.total[quantity], rate, power * speed) for quantity, power in now.weights()]
        if rows.stuck:
            weights += [(rows.skew[quantity], rate, -power * speed) for quantity, power in now.weights()]
        for phase in range(self.spec.phases):
            weights += [(rows.phase[quantity], phase, power * speed) for quantity, power in now.phase_weights(phase)]
        return weights

    def _rate_end_us(self) -> int:
        """Monotonic time of the next rate change on the meter's own clock."""
        if self.spec.rates == 1:
            return FOREVER_US
        midnight, minute = self._day_minute()
        end = next((change.minute for change in self.timetable.day(midnight) if change.minute > minute), 24 * 60)
        return self.moment(midnight + end * 60 * MILLION)

    def _day_minute(self) -> tuple[int, int]:
        """(midnight, minute of the day) by the meter's own clock."""
        into = self.clock_us % DAY_US
        return self.clock_us - into, into // (60 * MILLION)

    # -- energy

    @property
    def rate(self) -> int:
        """The rate that runs now, 1..rates; a rate the meter has not got counts as its last."""
        return self.running[1]

    @property
    def running(self) -> tuple[int, int]:
        """(segment of the day from 1, rate) that run now."""
        midnight, minute = self._day_minute()
        begun = [change for change in self.timetable.day(midnight) if change.minute <= minute]
        return len(begun), min(begun[-1].rate, self.spec.rates)

    @property
    def total_mws(self) -> int:
        """Energy counted so far, mWs."""
        return self.registers.grains(FORWARD) // GRAIN

    @property
    def drawn_mws(self) -> int:
        """Energy the house has used, counted or not, mWs."""
        return self.drawn_grains // GRAIN

    def rate_mws(self, rate: int) -> int:
        """Energy counted for this rate (1..rates), mWs."""
        return self.registers.total[FORWARD][rate - 1] // GRAIN

    def phase_mws(self, phase: int) -> int:
        """Energy counted for phase 0, 1 or 2."""
        return self.registers.phase[FORWARD][phase] // GRAIN

    @property
    def total_count(self) -> int:
        """The total register, 0.01 kWh, truncated."""
        return self.registers.count(FORWARD)

    def rate_count(self, rate: int) -> int:
        """A rate register, 0.01 kWh, truncated by itself: the rates may add up to less than the total."""
        return self.registers.count(FORWARD, rate)

    # -- what flows now

    @property
    def mains(self) -> bool:
        """There is voltage on some phase."""
        return any(self.levels)

    @mains.setter
    def mains(self, on: bool) -> None:
        self.set_levels((NOMINAL if on else 0,) * self.spec.phases)

    def set_levels(self, levels: tuple[int, ...], boot_us: int | None = None) -> None:
        """Another voltage, thousandths of nominal by phase; electronics that wake up are silent for the meter's boot time."""
        was_alive = self.alive
        self.levels = levels
        if self.alive and not was_alive:
            self.booted_us = self._now_us + (self.spec.boot_us if boot_us is None else boot_us)
        self.relay.powered = self.alive
        self.relay.fresh = max(levels) >= FRESH

    @property
    def alive(self) -> bool:
        """The electronics have enough voltage to run."""
        return max(self.levels) >= ALIVE

    @property
    def awake(self) -> bool:
        """The electronics run and have finished booting."""
        return self.alive and self._now_us >= self.booted_us

    @property
    def flowing(self) -> bool:
        """Current can flow: mains present and contact closed."""
        return self.mains and self.relay.contact_closed

    @property
    def wanted(self) -> Draw:
        """What the load would draw if it could."""
        return self._draw

    @property
    def flow(self) -> Flow:
        """What flows at this moment."""
        draw, closed = self._draw, self.relay.contact_closed
        key = (draw, closed, self.levels, self.tamper)
        if self._flow is None or self._flow[0] != key:
            floor_mw = -(-self.spec.starting_current_ma * self.spec.voltage_mv * draw.pf_milli // MILLION)
            self._flow = key, flow(draw, self._shares, self.levels, closed, self.tamper, floor_mw)
        return self._flow[1]

    @property
    def power_mw(self) -> int:
        """Active power through the contact, all phases."""
        return self.flow.power_mw

    @property
    def pf_milli(self) -> int:
        """Power factor in thousandths; 1000 without current."""
        return self._draw.pf_milli if self.power_mw else 1000

    def phase_power_mw(self, phase: int) -> int:
        """Active power through the contact on phase 0, 1 or 2; the phases add up to `power_mw` exactly."""
        return self.flow.phases_mw[phase]

    def voltage_mv(self, phase: int = 0) -> int:
        """Voltage before the contact, within 0.7 % of its level; 0 without mains."""
        level = self.levels[phase]
        if not level:
            return 0
        into = (self.local_us + self._swing + phase * WOBBLE_US // 3) % WOBBLE_US
        triangle = abs(2 * into - WOBBLE_US) * 2000 // WOBBLE_US - 1000
        full = self.spec.voltage_mv + self.spec.voltage_mv * 7 * triangle // MILLION
        return full if level == NOMINAL else full * level // NOMINAL

    def current_ma(self, phase: int = 0) -> int:
        """Current through the contact on one phase."""
        return self._ma(self.phase_power_mw(phase), phase)

    def measured_ma(self, phase: int = 0) -> int:
        """Current as measured: with the sign of a swapped lead, and what a magnet leaves of it."""
        active_mw = self.flow.active_mw[phase]
        return self._ma(abs(active_mw), phase) * (-1 if active_mw < 0 else 1)

    @property
    def neutral_ma(self) -> int:
        """Current in the neutral: with one phase all that the house draws, with three the vector sum."""
        if self.spec.phases == 1:
            return self._ma(self.flow.drawn_mw, 0)
        a, b, c = (self.current_ma(phase) for phase in range(3))
        return isqrt(max(0, a * a + b * b + c * c - a * b - b * c - c * a))

    def _ma(self, power_mw: int, phase: int) -> int:
        return abs(power_mw) * MILLION // (self.voltage_mv(phase) * self._draw.pf_milli) if power_mw else 0

    @property
    def frequency_mhz(self) -> int:
        """Mains frequency in thousandths of a hertz, 49.95 to 50.05 Hz; 0 without mains."""
        into = (self.local_us + self._swing) % (WOBBLE_US // 2)
        return 49_950 + into * 200 // WOBBLE_US if self.mains else 0

    # -- surviving a restart

    def save(self) -> Saved:
        """State for the state file."""
        saved: Saved = {
            "grains": list(self.registers.total[FORWARD]),
            "clock_offset_us": self.clock_offset_us,
            "relay": self.relay.save(),
            "protect": self.protect,
            "alarm": self.alarm,
            "refused_passwords": self.refused_passwords,
            "registers": self.registers.save(),
        }
        return saved

    def restore(self, saved: Saved) -> None:
        """Continue from a saved state. Raises ValueError where it belongs to a meter with another number of rates."""
        if len(saved["grains"]) != self.spec.rates:
            raise ValueError(f"saved with {len(saved['grains'])} rates, now {self.spec.rates}")
        self.registers.total[FORWARD][:] = saved["grains"]
        self.registers.restore(saved.get("registers", {}))
        self.set_clock(self.local_us + saved["clock_offset_us"])
        self.relay.restore(saved["relay"], self._now_us)
        self.protect, self.alarm = saved["protect"], saved["alarm"]
        self.refused_passwords = saved["refused_passwords"]
