"""The simulator's file: lines, meters and their loads, read from TOML with every error at once."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from firmware_sim.banking.config import MAX_BANKS, BankConfig, banks
from firmware_sim.dlt645.option_table import MODEL_1997
from firmware_sim.dlt645.option_table import build as build_options
from firmware_sim.dlt645.options import Options
from firmware_sim.fields import ID, Fields, Table
from firmware_sim.load_table import LoadFactory
from firmware_sim.load_table import build as build_load
from firmware_sim.loads import MAX_POWER_W, SECOND_US, FedIn, Leading, Load
from firmware_sim.meter import CENTI_KWH_MWS, DEFAULT_DAY, DEFAULT_RATES, MAX_RATES, MeterSpec, RateChange
from firmware_sim.relay import KINDS as RELAY_KINDS
from firmware_sim.relay import RelayTiming
from firmware_sim.station import Delay

LINE_KINDS = ("pty", "tcp", "modbus-tcp", "serial", "dial")
BAUDS = (600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
DLT645_MODELS = ("dlt645-single", "dlt645-three", MODEL_1997)
MODBUS_MODELS = ("sdm630", "dds238", "ddsy1352")
MODELS = (*DLT645_MODELS, *MODBUS_MODELS)
COILS = 8
DEFAULT_WRITE_MS = (50, 300)
DEFAULT_DELAY = Delay(write_us=(50_000, 300_000))
MAX_PACKET = 256  # characters of a modem's packet
HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){0,256}\Z")
MAX_OFFSET_S = 10**9  # three decades, as a meter shows whose battery is dead
MAX_LINES = 1_000
MAX_METERS = 100_000  # what one process can still be asked for in a test
DEFAULT_START = "2026-01-01T00:00:00"
CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z")
CLOCK_TO_24 = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z|24:00\Z")


class ConfigError(Exception):
    """The file cannot be used; `errors` holds one sentence per reason."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        super().__init__("\n".join(errors))


@dataclass(frozen=True, slots=True)
class LineConfig:
    """One RS-485 pair behind a pty, a serial or a TCP port, or a modem that dials in; or one Modbus TCP port.

    noise: the probability that a byte is hit. follow_speed: of a pty, meters understand a master at the line's speed alone.
    registration, heartbeat: what a modem says when connected, and every heartbeat_s.
    """

    name: str
    kind: str
    path: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    baud: int = 2400
    noise: float = 0.0
    echo: bool = False
    delay: Delay = DEFAULT_DELAY
    parity: str = "E"
    follow_speed: bool = False
    registration: bytes = b""
    heartbeat: bytes = b""
    heartbeat_s: int = 30


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
    delay: Delay | None = None
    switch: SwitchConfig | None = None
    options: Options | None = None
    """Of a DL/T 645 meter."""


@dataclass(frozen=True, slots=True)
class SimConfig:
    """The whole street. utc_offset_min: local time of street and meters. state: the file that survives a restart, None: forget.

    start: local time at which virtual time begins, in us since 1970. scenario: the steps of the file itself.
    """

    lines: tuple[LineConfig, ...]
    meters: tuple[MeterConfig, ...]
    seed: int = 1
    utc_offset_min: int = 480
    state: str | None = None
    start_us: int = 0
    scenario: Table = field(default_factory=dict)
    banks: tuple[BankConfig, ...] = ()


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
    start_us = _start_us(sim)
    sim.done()
    scenario = {key: top.value(key) for key in ("step", "end_s") if top.has(key)}
    lines = [_line(row, n, folder, errors) for n, row in enumerate(top.rows("line", MAX_LINES), 1)]
    by_name = {line.name: line for line in lines}
    meters = [_meter(row, n, by_name, speed, errors) for n, row in enumerate(top.rows("meter", MAX_METERS), 1)]
    paying = banks(top.rows("bank", MAX_BANKS), folder, errors)
    top.done()
    _unique(lines, meters, errors)
    if not (lines and meters) and not (paying and not lines and not meters):
        errors.append("file: at least one [[line]] and one [[meter]] are needed, or a [[bank]] without them")
    if errors:
        raise ConfigError(errors)
    return SimConfig(tuple(lines), tuple(meters), seed, offset, state, start_us, scenario, paying)


def _start_us(sim: Fields) -> int:
    """`start = "2026-01-01T00:00:00"`: only virtual time looks at it."""
    text = sim.text("start", DEFAULT_START)
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        start = None
    if start is None or start.tzinfo or start.year not in range(2000, 2100):
        sim.complain("start", f"must be a local time like {DEFAULT_START}, not {text!r}")
        start = datetime.fromisoformat(DEFAULT_START)
    return int(start.replace(tzinfo=UTC).timestamp()) * 1_000_000


def _row(row: object, kind: str, number: int, errors: list[str]) -> tuple[Fields, str]:
    fields = Fields(row if isinstance(row, dict) else {}, f"[[{kind}]] {number}", errors)
    name = fields.text("id", None, ID, "1 to 64 letters, digits, _ or -")
    fields.where = f"[[{kind}]] {name or number}"
    return fields, name


def _line(row: object, number: int, folder: Path, errors: list[str]) -> LineConfig:
    fields, name = _row(row, "line", number, errors)
    kind = fields.choice("kind", LINE_KINDS)
    path, host, port = "", "127.0.0.1", 0
    if kind in ("pty", "serial"):
        path = str(folder / fields.text("path"))
    else:
        host = fields.text("host", host)
        port = fields.integer("port", None, 1, 65535) if kind == "dial" else fields.integer("port", 0, 0, 65535)
    parity = fields.choice("parity", ("E", "N", "O"), "E") if kind == "serial" else "E"
    follow = fields.flag("follow_speed", False) if kind == "pty" else False
    registration, heartbeat, heartbeat_s = b"", b"", 30
    if kind == "dial":
        registration, heartbeat = _packet(fields, "registration"), _packet(fields, "heartbeat")
        heartbeat_s = fields.integer("heartbeat_s", heartbeat_s, 1, 86_400)
    baud, noise, echo = 2400, 0.0, False
    if kind != "modbus-tcp":
        baud = fields.integer("baud", 2400, 600, 115200)
        if baud not in BAUDS:
            fields.complain("baud", f"must be one of {', '.join(map(str, BAUDS))}, not {baud}")
        noise = float(fields.number("noise", "0", 0, 1))
        echo = fields.flag("echo", False)
    delay = _delay(fields) or DEFAULT_DELAY
    fields.done()
    return LineConfig(name, kind, path, host, port, baud, noise, echo, delay, parity, follow, registration, heartbeat, heartbeat_s)


def _packet(fields: Fields, key: str) -> bytes:
    """What a modem sends: ASCII text, or bytes as "hex:0102"."""
    text = fields.text(key, "")
    if text.startswith("hex:") and HEX.match(text[4:]):
        return bytes.fromhex(text[4:])
    if not text.isascii() or text.startswith("hex:") or len(text) > MAX_PACKET:
        fields.complain(key, f"must be ASCII of at most {MAX_PACKET} characters, or hex:0102")
        return b""
    return text.encode()


def _delay(fields: Fields) -> Delay | None:
    """Answer delay; a `delay_ms` without `tail_ms` still has the long tail, and holds for writes too where they have none."""
    if not any(fields.has(key) for key in ("delay_ms", "tail_ms", "write_ms")):
        return None
    same = fields.has("delay_ms") and not fields.has("write_ms")
    low, high = fields.pair("delay_ms", (25, 180), 0, 60_000)
    tail_us = fields.integer("tail_ms", 500, 0, 60_000) * 1000
    first, last = fields.pair("write_ms", DEFAULT_WRITE_MS, 0, 60_000)
    return Delay(low * 1000, high * 1000, tail_us, None if same else (first * 1000, last * 1000))


def _meter(row: object, number: int, lines: dict[str, LineConfig], speed_milli: int, errors: list[str]) -> MeterConfig:
    fields, name = _row(row, "meter", number, errors)
    line = fields.text("line")
    if line and line not in lines:
        fields.complain("line", f"names {line!r}, which is no [[line]] of this file")
    model = fields.choice("model", MODELS)
    options = None
    if model in DLT645_MODELS:
        options = build_options(fields, model, lines[line].baud if line in lines else 2400)
        if line in lines and lines[line].kind == "modbus-tcp":
            fields.complain("model", f"{model} speaks DL/T 645, which a modbus-tcp line does not carry")
    address = options.address if options else str(fields.integer("unit", None, 1, 247))
    if fields.has("speed"):
        speed_milli = int(fields.number("speed", "1", 0, 100_000) * 1000)
    spec = _spec(fields, model, speed_milli)
    load = _around(fields, build_load(fields.table("load") or Fields({"kind": "household"}, "", errors)))
    meter = MeterConfig(name, line, model, address, spec, load, _delay(fields), _switch(fields, lines, model), options)
    fields.done()
    return meter


def _around(fields: Fields, load: LoadFactory) -> LoadFactory:
    """`feed_in = {power_w = 3000, from = "08:00", to = "17:00"}`: a generator beside the load; `leading = true`: a capacitor.

    A load that is set over the handle takes the place of all of it.
    """
    table, leading = fields.table("feed_in"), fields.flag("leading", False)
    if table is None:
        return (lambda rng, start_us: Leading(load(rng, start_us))) if leading else load
    power_mw = table.integer("power_w", None, 1, MAX_POWER_W) * 1000
    from_us, to_us = (_moment(table, name, default) for name, default in (("from", "00:00"), ("to", "24:00")))
    if from_us >= to_us:
        table.complain("to", "must be later than from")
    table.done()

    def build(rng: Random, start_us: int) -> Load:
        inner = FedIn(load(rng, start_us), power_mw, from_us, to_us)
        return Leading(inner) if leading else inner

    return build


def _moment(fields: Fields, name: str, default: str) -> int:
    """A time of the day in us."""
    text = fields.text(name, default, CLOCK_TO_24, "a time such as 08:00")
    return (int(text[:2]) * 60 + int(text[3:])) * 60 * SECOND_US


def _spec(fields: Fields, model: str, speed_milli: int) -> MeterSpec:
    contact_min, contact_max = fields.pair("contact_ms", (50, 200), 0, 60_000)
    timing = RelayTiming(contact_min * 1000, contact_max * 1000, fields.integer("status_delay_ms", 3000, 0, 60_000) * 1000)
    rates = fields.integer("rates", DEFAULT_RATES, 1, MAX_RATES)
    phases = 1 if model in ("dlt645-single", "dds238", "ddsy1352", MODEL_1997) else 3
    if model == MODEL_1997 and fields.integer("phases", 1, 1, 3) != 1:
        phases = 3
    relay = fields.choice("relay", RELAY_KINDS, "internal")
    return MeterSpec(
        phases=phases,
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
        boot_us=fields.integer("boot_ms", 0, 0, 600_000) * 1000,
        relay=relay,
        feedback=fields.flag("feedback", relay == "internal"),
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


def _switch(fields: Fields, lines: dict[str, LineConfig], model: str) -> SwitchConfig | None:
    switch = fields.table("switch")
    if switch is None:
        return None
    if model != "sdm630":
        fields.complain("switch", f"stands beside a sdm630 only; a {model} has its own relay")
    line = switch.text("line")
    if line and line not in lines:
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
        if line.port and line.kind != "dial":
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
