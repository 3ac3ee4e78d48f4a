"""The handle: tells the truth about every meter and line, and acts on them; HTTP and scenarios use the same (contract 8)."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from firmware_sim import breakage, faults, load_table, truth
from firmware_sim.breakage import Extent
from firmware_sim.config import BAUDS, MAX_OFFSET_S
from firmware_sim.dlt645.option_table import ADDRESS
from firmware_sim.fields import Fields, Table
from firmware_sim.mains import Dip
from firmware_sim.registers import CENTI_KWH_MWS
from firmware_sim.station import Station
from firmware_sim.street import Street
from firmware_sim.truth import Json
from firmware_sim.wire import Wire

MAX_LOG = 10_000  # acts that the report shows: a long day of pressing
MAX_LEVEL = 2  # times the nominal voltage
PHASES = "abc"
ACTS = ("press", "load", "fault", "clock", "power", "cover", "magnet", "swap")
LINE_ACTS = ("noise", "baud")
DEFAULT_MAGNET = "0.1"  # what it leaves of the measurement


class Problem(Exception):
    """A request that cannot be served: HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


class Handle:
    """Answers of the handle; `clock` gives monotonic microseconds. Every truth is kept before it is told, like any other answer."""

    def __init__(self, street: Street, wires: Mapping[str, Wire], clock: Callable[[], int]) -> None:
        self._street = street
        self._wires = wires
        self._clock = clock
        self.log: deque[Json] = deque(maxlen=MAX_LOG)
        acts = (self._press, self._load, self._fault, self._set_clock, self._power, self._cover, self._magnet, self._swap)
        self._acts: dict[str, Callable[[Station, Fields], None]] = dict(zip(ACTS, acts, strict=True))

    def answer(self, method: str, parts: list[str], body: bytes) -> object:
        """The JSON to send; parts: the path between its slashes. Raises Problem."""
        if parts[:2] != ["sim", "v1"] or not 3 <= len(parts) <= 5 or parts[2] not in ("meters", "lines"):
            raise Problem(404, "The handle knows /sim/v1/meters and /sim/v1/lines.")
        kind, rest = parts[2], parts[3:]
        if method not in ("GET", "POST") or (method == "POST") != (len(rest) == 2):
            raise Problem(405, "Look with GET at meters or lines, act with POST on one of them.")
        if method == "GET":
            return self._look(kind, rest)
        name, act = rest
        return self.act_on_line(name, act, _table(body)) if kind == "lines" else self.act(name, act, _table(body))

    def truth(self, station: Station, frames: bool = True) -> Json:
        """Everything about one meter at this moment."""
        station.advance(self._clock())
        station.keep(station)
        return truth.tell(station, self._street.unix_us, frames)

    def truths(self) -> list[Json]:
        """About all meters, without frames."""
        return [self.truth(station, frames=False) for station in self._street.stations.values()]

    def lines(self) -> list[Json]:
        """About all serial lines."""
        return [self.line(name) for name in self._wires]

    def line(self, name: str) -> Json:
        """What happened on a line. Raises Problem."""
        if name not in self._wires:
            raise Problem(404, f"There is no serial line {name!r}.")
        wire = self._wires[name]
        seen = wire.counters
        elapsed_us = max(1, self._clock() - seen.since_us)
        return {
            "id": name,
            "baud": wire.baud,
            "noise": wire.noise,
            "seconds": elapsed_us / 1e6,
            "utilisation": round(seen.busy_us / elapsed_us, 6),
            "rx_bytes": seen.rx_bytes,
            "tx_bytes": seen.tx_bytes,
            "answers": seen.answers,
            "collisions": seen.collisions,
            "noisy_bytes": seen.noisy_bytes,
            "lost_bytes": seen.lost_bytes,
        }

    def act_on_line(self, name: str, act: str, table: Table) -> Json:
        """noise: the probability that a byte is hit. baud: what the master sends at from now on. Raises Problem."""
        self.line(name)
        if act not in LINE_ACTS:
            raise Problem(404, f"A line can be acted on with {' and '.join(LINE_ACTS)} only.")
        fields = Fields(table, act, [])
        if act == "noise":
            noise = float(fields.number("noise", None, 0, 1))
            _finish(fields)
            self._wires[name].noise = noise
        else:
            baud = fields.integer("baud", None, min(BAUDS), max(BAUDS))
            if baud not in BAUDS:
                fields.complain("baud", f"must be one of {', '.join(map(str, BAUDS))}, not {baud}")
            _finish(fields)
            self._street.set_baud(name, self._wires[name], baud)
        self._note(name, act, table)
        return self.line(name)

    def act(self, name: str, act: str, table: Table) -> Json:
        """Act on a meter; the truth afterwards. Raises Problem."""
        station = self.station(name)
        if act not in self._acts:
            raise Problem(404, f"A meter can be acted on with {', '.join(ACTS)}, not with {act!r}.")
        station.advance(self._clock())
        self._acts[act](station, Fields(table, act, []))
        self._note(name, act, table)
        return self.truth(station)

    def station(self, name: str) -> Station:
        """A meter by its id. Raises Problem."""
        if name not in self._street.stations:
            raise Problem(404, f"There is no meter {name!r}.")
        return self._street.stations[name]

    def _note(self, name: str, act: str, table: Table) -> None:
        self.log.append({"at_us": self._street.unix_us(self._clock()), "on": name, "act": act, **table})

    def _look(self, kind: str, rest: list[str]) -> object:
        if kind == "meters":
            return self.truth(self.station(rest[0])) if rest else self.truths()
        return self.line(rest[0]) if rest else self.lines()

    def _press(self, station: Station, fields: Fields) -> None:
        """The button that closes, or the key that opens the meter for programming."""
        key = fields.choice("key", ("button", "programming"), "button")
        _finish(fields)
        if key == "programming":
            if station.device:
                station.device.access.press_key()
        elif station.device:
            station.device.gear.press()
        else:
            station.meter.relay.press(station.meter.now_us)

    def _load(self, station: Station, fields: Fields) -> None:
        if fields.only("kind", "configured"):
            self._street.configured_load(station.name)
            return
        factory = load_table.build(fields)
        _raise(fields)
        station.meter.set_load(factory(self._street.rng(station.name, "load"), station.meter.local_us))

    def _fault(self, station: Station, fields: Fields) -> None:
        kind = fields.choice("kind", faults.KINDS)
        on = fields.flag("on", True)
        count = fields.integer("count", 0, 0, 1_000_000) or None
        commands_only = fields.flag("commands_only", False)
        delay_us = fields.integer("delay_ms", faults.DEFAULT_LATE_US // 1000, 0, faults.MAX_LATE_US // 1000) * 1000
        share = int(fields.number("share", "0.5", 0, 1) * 1000)
        counts = int(fields.number("kwh", "0.05", -(10**6), 10**6) * 100)
        extent = Extent(share, _phases(fields, station), counts)
        _finish(fields)
        if on:
            station.faults.set(kind, count, commands_only, delay_us)
        else:
            station.faults.clear(kind)
        breakage.apply(station.meter, kind, on, extent)

    def _set_clock(self, station: Station, fields: Fields) -> None:
        meter = station.meter
        if fields.has("clock"):
            clock_us = _local_us(fields)
        else:
            offset_s = fields.number("offset_s", str(meter.clock_offset_us / 1e6), -MAX_OFFSET_S, MAX_OFFSET_S)
            clock_us = meter.local_us + int(offset_s * 1_000_000)
        drift_ppm = fields.integer("drift_ppm", meter.drift_ppm, -100_000, 100_000)
        _finish(fields)
        meter.set_clock(clock_us, drift_ppm)

    def _power(self, station: Station, fields: Fields) -> None:
        """On or off, at a level (1: nominal), on some phases; with dip_ms for that long only. silence_ms: after power is back."""
        meter = station.meter
        dips = fields.has("dip_ms")
        level = int(fields.number("level", "1" if fields.flag("on", not dips) else "0", 0, MAX_LEVEL) * 1000)
        dip_us = fields.integer("dip_ms", 0, 1, 10**9) * 1000 if dips else None
        boot_us = fields.integer("silence_ms", 0, 0, 600_000) * 1000 if fields.has("silence_ms") else None
        hit = _phases(fields, station)
        _finish(fields)
        before = meter.levels
        levels = tuple(level if not hit or phase in hit else old for phase, old in enumerate(before))
        meter.parts = [part for part in meter.parts if not isinstance(part, Dip)]
        meter.set_levels(levels, boot_us)
        if dip_us is not None:
            meter.parts.append(Dip(meter, meter.now_us + dip_us, before, boot_us))

    def _cover(self, station: Station, fields: Fields) -> None:
        is_open, terminal = fields.flag("open", True), fields.flag("terminal", False)
        _finish(fields)
        station.set_cover(is_open, terminal)

    def _magnet(self, station: Station, fields: Fields) -> None:
        """A magnet at the meter: `share` is what it leaves of the measurement."""
        on, share = fields.flag("on", True), int(fields.number("share", DEFAULT_MAGNET, 0, 1) * 1000)
        _finish(fields)
        station.set_magnet(on)
        station.meter.tamper = replace(station.meter.tamper, magnet_permille=share if on else 1000)

    def _swap(self, station: Station, fields: Fields) -> None:
        """what = "leads": the current leads of some phases; "meter": another meter of the same kind in its place."""
        what = fields.choice("what", ("meter", "leads"), "meter")
        if what == "leads":
            on, phases = fields.flag("on", True), _phases(fields, station)
            _finish(fields)
            breakage.apply(station.meter, "reverse", on, Extent(phases=phases))
            return
        initial = int(fields.number("initial_kwh", "0", 0, 999_999) * 100) * CENTI_KWH_MWS
        address = fields.text("address", station.address, ADDRESS, "a text of 12 digits") if station.device else station.address
        _finish(fields)
        self._street.swap(station.name, initial, address)


def _phases(fields: Fields, station: Station) -> frozenset[int]:
    """`phases = ["a", "c"]`; empty for all."""
    found = []
    for name in fields.rows("phases", len(PHASES)):
        place = PHASES.find(name) if isinstance(name, str) and len(name) == 1 else -1
        if not 0 <= place < station.meter.spec.phases:
            fields.complain("phases", f"must hold phases of this meter, such as a, not {name!r}")
            continue
        found.append(place)
    return frozenset(found)


def _table(body: bytes) -> Table:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise Problem(400, "The body is not JSON.") from None
    if not isinstance(value, dict):
        raise Problem(400, "The body must be a JSON object.")
    return value


def _local_us(fields: Fields) -> int:
    text = fields.text("clock")
    clock: datetime | None
    try:
        clock = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        clock = None
    if clock is None or clock.year not in range(2000, 2100):
        raise Problem(400, f"clock: {text!r} is not a local time like 2026-11-21T12:00:00, of this century.")
    return int(clock.timestamp()) * 1_000_000


def _finish(fields: Fields) -> None:
    fields.done()
    _raise(fields)


def _raise(fields: Fields) -> None:
    if fields.errors:
        raise Problem(400, "; ".join(fields.errors) + ".")
