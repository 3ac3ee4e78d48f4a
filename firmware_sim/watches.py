"""Conditions of the grid that a meter notes as events when they last: voltages, reversed flow, overload, unbalance, power-down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from firmware_sim.events import EventLog, Record
from firmware_sim.flow import NOMINAL, Flow
from firmware_sim.loads import FOREVER_US
from firmware_sim.meter import MILLION, Meter

LASTS_US = 60 * MILLION  # how long a condition must hold before it is an event
LOST, BROKEN, UNBALANCED = 780, 600, 300  # thousandths of the nominal voltage; of the highest one
VOLTAGE_LOST, UNDER, OVER, PHASE_BROKEN, REVERSED, OVERLOAD = "0301", "0302", "0303", "0304", "030E", "030F"
UNBALANCE, POWER_DOWN = "030900", "031100"
AT_ONCE = frozenset({POWER_DOWN})


@dataclass(frozen=True, slots=True)
class Moment:
    """What a record needs of one moment. stamp: YYMMDDhhmmss; counts: registers in 0.01 by name; values: instants by name."""

    stamp: str
    counts: dict[str, int]
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Voltages in mV and the power of one phase in mW beyond which it is an event."""

    low_mv: int
    high_mv: int
    phase_mw: int


@dataclass(slots=True)
class _Watch:
    since_us: int
    begun: Moment | None = None


class Watches:
    """Notes what lasts. moment: what the record keeps of a moment. bounds: as set in the meter."""

    def __init__(self, meter: Meter, log: EventLog, moment: Callable[[], Moment], bounds: Callable[[], Bounds]) -> None:
        self._meter = meter
        self._log = log
        self._moment = moment
        self._bounds = bounds
        self._on: dict[str, _Watch] = {}
        self._seen: tuple[Flow, tuple[int, ...]] | None = None

    @property
    def active(self) -> frozenset[str]:
        """The kinds whose condition holds and has become an event."""
        return frozenset(name for name, watch in self._on.items() if watch.begun)

    def due_us(self) -> int:
        """See Part."""
        return min((watch.since_us + LASTS_US for watch in self._on.values() if watch.begun is None), default=FOREVER_US)

    def arrive(self) -> None:
        """See Part."""
        now = self._meter.flow, self._meter.levels
        if now != self._seen:
            self._seen = now
            self._compare(self._conditions())
        for name, watch in self._on.items():
            if watch.begun is None and self._meter.now_us >= watch.since_us + (0 if name in AT_ONCE else LASTS_US):
                self._begin(name, watch)

    def _compare(self, holding: set[str]) -> None:
        for name in holding - self._on.keys():
            self._on[name] = _Watch(self._meter.now_us)
        for name in self._on.keys() - holding:
            watch = self._on.pop(name)
            if watch.begun:
                self._end(name, watch, watch.begun)

    def _begin(self, name: str, watch: _Watch) -> None:
        watch.begun = begun = self._moment()
        self._log.add(name, {"started_at": begun.stamp} | begun.values)

    def _end(self, name: str, watch: _Watch, begun: Moment) -> None:
        ended = self._moment()
        record: Record = {"ended_at": ended.stamp}
        for quantity, count in ended.counts.items():
            record[f"{quantity}_delta"] = str(Decimal(count - begun.counts[quantity]).scaleb(-2))
        self._log.amend(name, record, (self._meter.now_us - watch.since_us) // MILLION)

    def _conditions(self) -> set[str]:
        meter, bounds = self._meter, self._bounds()
        if not meter.alive:
            return {POWER_DOWN}
        found: set[str] = set()
        for phase, level in enumerate(meter.levels):
            found |= {f"{kind}{phase + 1:02X}" for kind in self._of_phase(phase, level, bounds)}
        if (max(meter.levels) - min(meter.levels)) * NOMINAL > UNBALANCED * max(meter.levels):
            found.add(UNBALANCE)
        return found

    def _of_phase(self, phase: int, level: int, bounds: Bounds) -> set[str]:
        flow, millivolts = self._meter.flow, self._meter.spec.voltage_mv * level // NOMINAL
        current = flow.apparent_mva[phase] > 0
        holds = {
            VOLTAGE_LOST: level < LOST and current,
            UNDER: bool(level) and millivolts < bounds.low_mv,
            OVER: millivolts > bounds.high_mv,
            PHASE_BROKEN: level < BROKEN and not current,
            REVERSED: flow.active_mw[phase] < 0,
            OVERLOAD: abs(flow.active_mw[phase]) > bounds.phase_mw > 0,
        }
        return {kind for kind, on in holds.items() if on}
