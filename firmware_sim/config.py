"""The simulator's file: lines, meters and their loads, read from TOML with every error at once."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from firmware_sim.fields import ID, Fields, Table
from firmware_sim.load_table import LoadFactory
from firmware_sim.load_table import build as build_load
from firmware_sim.meter import CENTI_KWH_MWS, DEFAULT_DAY, MAX_RATES, MeterSpec, RateChange
from firmware_sim.relay import RelayTiming
from firmware_sim.station import Delay

LINE_KINDS = ("pty", "tcp", "modbus-tcp")
BAUDS = (600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
DLT645_MODELS = ("dlt645-single", "dlt645-three")
MODBUS_MODELS = ("sdm630", "dds238")
MODELS = (*DLT645_MODELS, *MODBUS_MODELS)
COILS = 8
MAX_OFFSET_S = 10**9  # three decades, as a meter shows whose battery is dead
MAX_LINES = 1_000
MAX_METERS = 100_000  # what one process can still be asked for in a test
ADDRESS = re.compile(r"[0-9]{12}\Z")
PASSWORD = re.compile(r"[0-9]{6}\Z")
CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z")


class ConfigError(Exception):
    """The file cannot be used; `errors` holds one sentence per reason."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        super().__init__("\n".join(errors))


@dataclass(frozen=True, slots=True)
class LineConfig:
    """One RS-485 pair behind a pty or a TCP port, or one Modbus TCP port. `noise` is the probability that a byte is hit."""

    name: str
    kind: str
    path: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    baud: int = 2400
    noise: float = 0.0
    echo: bool = False
    delay: Delay = field(default_factory=Delay)


@dataclass(frozen=True, slots=True)
class SwitchConfig:
    """A coil module beside a measuring meter: the coil orders, the input tells what the contact did. inverted: coil on opens."""

    line: str
    unit: int
    coil: int
    input: int
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """One meter. `address` is 12 digits for DL/T 645 and the unit number for Modbus; `load` is built at the start."""

    name: str
    line: str
    model: str
    address: str
    spec: MeterSpec
    load: LoadFactory
    password: str = "000000"
    level: int = 2
    delay: Delay | None = None
    switch: SwitchConfig | None = None


@dataclass(frozen=True, slots=True)
class SimConfig:
    """The whole street. utc_offset_min: local time of street and meters. state: the file that survives a restart, None: forget."""

    lines: tuple[LineConfig, ...]
    meters: tuple[MeterConfig, ...]
    seed: int = 1
    utc_offset_min: int = 480
    state: str | None = None


def load(path: str | Path) -> SimConfig:
    """Read a file; relative paths in it count from its own folder. Raises ConfigError."""
    try:
        text = Path(path).read_bytes().decode()
        table = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}."]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} is not TOML: {error}."]) from error
    return parse(table, Path(path).resolve().parent)


def parse(table: Table, folder: Path = Path()) -> SimConfig:
    """Check a parsed file. Raises ConfigError with all reasons."""
    errors: list[str] = []
    top = Fields(table, "file", errors)
    sim = top.table("sim") or Fields({}, "sim", errors)
    sim.where = "[sim]"
    seed = sim.integer("seed", 1, 0, 2**63 - 1)
    speed = int(sim.number("speed", "1", 0, 100_000) * 1000)
    offset = sim.integer("utc_offset_min", 480, -14 * 60, 14 * 60)
    state = str(folder / sim.text("state")) if sim.has("state") else None
    sim.done()
    lines = [_line(row, n, folder, errors) for n, row in enumerate(top.rows("line", MAX_LINES), 1)]
    kinds = {line.name: line.kind for line in lines}
    meters = [_meter(row, n, kinds, speed, errors) for n, row in enumerate(top.rows("meter", MAX_METERS), 1)]
    top.done()
    _unique(lines, meters, errors)
    if not lines or not meters:
        errors.append("file: at least one [[line]] and one [[meter]] are needed")
    if errors:
        raise ConfigError(errors)
    return SimConfig(tuple(lines), tuple(meters), seed, offset, state)


def _row(row: object, kind: str, number: int, errors: list[str]) -> tuple[Fields, str]:
    fields = Fields(row if isinstance(row, dict) else {}, f"[[{kind}]] {number}", errors)
    name = fields.text("id", None, ID, "1 to 64 letters, digits, _ or -")
    fields.where = f"[[{kind}]] {name or number}"
    return fields, name


def _line(row: object, number: int, folder: Path, errors: list[str]) -> LineConfig:
    fields, name = _row(row, "line", number, errors)
    kind = fields.choice("kind", LINE_KINDS)
    path, host, port = "", "127.0.0.1", 0
    if kind == "pty":
        path = str(folder / fields.text("path"))
    else:
        host = fields.text("host", host)
        port = fields.integer("port", 0, 0, 65535)
    baud, noise, echo = 2400, 0.0, False
    if kind != "modbus-tcp":
        baud = fields.integer("baud", 2400, 600, 115200)
        if baud not in BAUDS:
            fields.complain("baud", f"must be one of {', '.join(map(str, BAUDS))}, not {baud}")
        noise = float(fields.number("noise", "0", 0, 1))
        echo = fields.flag("echo", False)
    line = LineConfig(name, kind, path, host, port, baud, noise, echo, _delay(fields) or Delay())
    fields.done()
    return line


def _delay(fields: Fields) -> Delay | None:
    """Answer delay; a `delay_ms` without `tail_ms` still has the long tail."""
    if not fields.has("delay_ms") and not fields.has("tail_ms"):
        return None
    low, high = fields.pair("delay_ms", (25, 180), 0, 60_000)
    return Delay(low * 1000, high * 1000, fields.integer("tail_ms", 500, 0, 60_000) * 1000)


def _meter(row: object, number: int, kinds: dict[str, str], speed_milli: int, errors: list[str]) -> MeterConfig:
    fields, name = _row(row, "meter", number, errors)
    line = fields.text("line")
    if line and line not in kinds:
        fields.complain("line", f"names {line!r}, which is no [[line]] of this file")
    model = fields.choice("model", MODELS)
    password, level, address = "000000", 2, ""
    if model in DLT645_MODELS:
        address = fields.text("address", None, ADDRESS, "a text of 12 digits")
        password = fields.text("password", password, PASSWORD, "a text of 6 digits")
        level = fields.integer("level", 2, 0, 9)
        if kinds.get(line) == "modbus-tcp":
            fields.complain("model", f"{model} speaks DL/T 645, which a modbus-tcp line does not carry")
    else:
        address = str(fields.integer("unit", None, 1, 247))
    if fields.has("speed"):
        speed_milli = int(fields.number("speed", "1", 0, 100_000) * 1000)
    spec = _spec(fields, model, speed_milli)
    load = build_load(fields.table("load") or Fields({"kind": "household"}, "", errors))
    meter = MeterConfig(name, line, model, address, spec, load, password, level, _delay(fields), _switch(fields, kinds, model))
    fields.done()
    return meter


def _spec(fields: Fields, model: str, speed_milli: int) -> MeterSpec:
    contact_min, contact_max = fields.pair("contact_ms", (50, 200), 0, 60_000)
    timing = RelayTiming(contact_min * 1000, contact_max * 1000, fields.integer("status_delay_ms", 3000, 0, 60_000) * 1000)
    rates = fields.integer("rates", MAX_RATES, 1, MAX_RATES)
    return MeterSpec(
        phases=1 if model in ("dlt645-single", "dds238") else 3,
        initial_mws=int(fields.number("initial_kwh", "0", 0, 999_999) * 100 * CENTI_KWH_MWS),
        speed_milli=speed_milli,
        voltage_mv=int(fields.number("voltage_v", "220", 50, 500) * 1000),
        rates=rates,
        day=_day(fields, rates),
        starting_current_ma=fields.integer("starting_current_ma", 20, 0, 10_000),
        clock_offset_us=int(fields.number("clock_offset_s", "0", -MAX_OFFSET_S, MAX_OFFSET_S) * 1_000_000),
        drift_ppm=fields.integer("clock_drift_ppm", 0, -100_000, 100_000),
        closed=fields.choice("contact", ("closed", "open"), "closed") == "closed",
        timing=timing,
    )


def _day(fields: Fields, rates: int) -> tuple[RateChange, ...]:
    """`day = [["00:00", 2], ["07:00", 1]]`: rising times, the first at midnight."""
    if not fields.has("day"):
        return DEFAULT_DAY
    day: list[RateChange] = []
    for row in fields.rows("day", 14):
        clock, rate = row if isinstance(row, list) and len(row) == 2 else (None, None)
        time = CLOCK.match(clock) if isinstance(clock, str) else None
        if time is None or type(rate) is not int or not 1 <= rate <= rates:
            fields.complain("day", f'must hold pairs like ["07:00", 1] with a rate from 1 to {rates}, not {row!r}')
            return DEFAULT_DAY
        day.append(RateChange(int(time[1]) * 60 + int(time[2]), rate))
    minutes = [change.minute for change in day]
    if not day or minutes[0] != 0 or minutes != sorted(set(minutes)):
        fields.complain("day", 'must begin at "00:00" and rise')
        return DEFAULT_DAY
    return tuple(day)


def _switch(fields: Fields, kinds: dict[str, str], model: str) -> SwitchConfig | None:
    switch = fields.table("switch")
    if switch is None:
        return None
    if model != "sdm630":
        fields.complain("switch", f"stands beside a sdm630 only; a {model} has its own relay")
    line = switch.text("line")
    if line and line not in kinds:
        switch.complain("line", f"names {line!r}, which is no [[line]] of this file")
    coil = switch.integer("coil", None, 0, COILS - 1)
    unit, feedback = switch.integer("unit", None, 1, 247), switch.integer("input", coil, 0, COILS - 1)
    config = SwitchConfig(line, unit, coil, feedback, switch.flag("inverted", False))
    switch.done()
    return config


def _unique(lines: list[LineConfig], meters: list[MeterConfig], errors: list[str]) -> None:
    """Ids, paths, ports, addresses on one line, coils: nothing twice."""
    seen: set[tuple[object, ...]] = set()

    def once(what: str, *key: object) -> None:
        if (what, *key) in seen:
            errors.append(f"file: {what} {' '.join(map(str, key))} is there twice")
        seen.add((what, *key))

    for line in lines:
        once("line", line.name)
        if line.path:
            once("path", line.path)
        if line.port:
            once("port", line.host, line.port)
    for meter in meters:
        once("meter", meter.name)
        once("address on line", meter.line, meter.address)
    modules = {(meter.switch.line, str(meter.switch.unit)) for meter in meters if meter.switch}
    for meter in meters:
        if (meter.line, meter.address) in modules:
            errors.append(f"[[meter]] {meter.name}: unit {meter.address} on line {meter.line} is a coil module's")
        if meter.switch:
            once("coil", meter.switch.line, meter.switch.unit, meter.switch.coil)
            once("input", meter.switch.line, meter.switch.unit, meter.switch.input)
