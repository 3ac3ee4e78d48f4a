"""The handle: a small HTTP server that tells the truth about every meter and acts on it (contract 8)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from firmware_sim import faults, load_table
from firmware_sim.config import MAX_OFFSET_S
from firmware_sim.fields import Fields, Table
from firmware_sim.line import LineError, Pump, now_us, reason
from firmware_sim.meter import CENTI_KWH_MWS
from firmware_sim.relay import Move
from firmware_sim.station import Frame, Station
from firmware_sim.street import Street

MAX_BODY = 65_536  # a load table of 200 steps takes a tenth of it
MAX_HEADERS = 100
MAX_CONNECTIONS = 64  # a page, a bench and some curls
IDLE_S = 30.0
LATER = ("cover", "magnet", "swap")
STATUS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    501: "Not Implemented",
}

Json = dict[str, object]


class Problem(Exception):
    """A request that cannot be served: HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


class Handle:
    """Answers of the handle; `clock` gives monotonic microseconds. Every truth is kept before it is told, like any other answer."""

    def __init__(self, street: Street, lines: Mapping[str, Pump], clock: Callable[[], int] = now_us) -> None:
        self._street = street
        self._lines = lines
        self._clock = clock
        self._acts: dict[str, Callable[[Station, Fields], None]] = {
            "press": self._press,
            "load": self._load,
            "fault": self._fault,
            "clock": self._set_clock,
            "power": self._power,
        }

    def answer(self, method: str, path: str, body: bytes) -> object:
        """The JSON to send. Raises Problem."""
        parts = [unquote(part) for part in path.split("/") if part]
        if parts[:2] != ["sim", "v1"] or not 3 <= len(parts) <= 5 or parts[2] not in ("meters", "lines"):
            raise Problem(404, "The handle knows /sim/v1/meters and /sim/v1/lines.")
        kind, rest = parts[2], parts[3:]
        if method not in ("GET", "POST") or (method == "POST") != (len(rest) == 2):
            raise Problem(405, "Look with GET at meters or lines, act with POST on one of them.")
        if method == "GET":
            return self._look(kind, rest)
        return self._act_on_line(rest, body) if kind == "lines" else self._act(rest, body)

    def truth(self, station: Station, frames: bool = True) -> Json:
        """Everything about one meter at this moment."""
        station.advance(self._clock())
        station.keep(station)
        meter, relay = station.meter, station.meter.relay
        registers = {"total": kwh(meter.total_mws)} | {f"t{n}": kwh(meter.rate_mws(n)) for n in range(1, meter.spec.rates + 1)}
        truth: Json = {
            "id": station.name,
            "model": station.model,
            "line": station.line,
            "address": station.address,
            "at_us": self._street.unix_us(meter.now_us),
            "energy_mws": meter.total_mws,
            "registers": registers,
            "rate": meter.rate,
            "contact": position(relay.contact_closed),
            "reported": position(relay.reported_closed),
            "command": position(relay.order_closed),
            "allowed": relay.allowed,
            "protect": meter.protect,
            "alarm": meter.alarm,
            "mains": meter.mains,
            "power_w": meter.power_mw / 1000,
            "load_w": meter.wanted.power_mw / 1000,
            "voltage_v": [meter.voltage_mv(phase) / 1000 for phase in range(meter.spec.phases)],
            "current_a": [meter.current_ma(phase) / 1000 for phase in range(meter.spec.phases)],
            "power_factor": meter.pf_milli / 1000,
            "clock": datetime.fromtimestamp(meter.clock_us // 1_000_000, UTC).replace(tzinfo=None).isoformat(),
            "clock_offset_s": meter.clock_offset_us / 1_000_000,
            "refused_passwords": meter.refused_passwords,
            "wallet": None,
            "faults": station.faults.active,
            "contact_move_count": relay.move_count,
            "contact_moves": [self._move(move) for move in relay.moves],
        }
        return truth | {"frames": [self._frame(frame) for frame in station.frames]} if frames else truth

    def _move(self, move: Move) -> Json:
        return {"at_us": self._street.unix_us(move.at_us), "contact": position(move.closed), "energy_mws": move.energy_mws}

    def _frame(self, frame: Frame) -> Json:
        return {"at_us": self._street.unix_us(frame.at_us), "direction": frame.direction, "hex": frame.data.hex().upper()}

    def _look(self, kind: str, rest: list[str]) -> object:
        if kind == "meters":
            if rest:
                return self.truth(self._station(rest[0]))
            return [self.truth(station, frames=False) for station in self._street.stations.values()]
        return self._line(rest[0]) if rest else [self._line(name) for name in self._lines]

    def _line(self, name: str) -> Json:
        if name not in self._lines:
            raise Problem(404, f"There is no serial line {name!r}.")
        wire = self._lines[name].wire
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

    def _act_on_line(self, rest: list[str], body: bytes) -> Json:
        name, act = rest
        self._line(name)
        if act != "noise":
            raise Problem(404, "A line can be acted on with noise only.")
        fields = Fields(_table(body), "noise", [])
        noise = float(fields.number("noise", None, 0, 1))
        _finish(fields)
        self._lines[name].wire.noise = noise
        return self._line(name)

    def _act(self, rest: list[str], body: bytes) -> Json:
        name, act = rest
        station = self._station(name)
        if act in LATER:
            raise Problem(501, f"This simulator cannot do {act!r} yet.")
        if act not in self._acts:
            raise Problem(404, f"A meter can be acted on with {', '.join(self._acts)}, not with {act!r}.")
        station.advance(self._clock())
        self._acts[act](station, Fields(_table(body), act, []))
        return self.truth(station)

    def _station(self, name: str) -> Station:
        if name not in self._street.stations:
            raise Problem(404, f"There is no meter {name!r}.")
        return self._street.stations[name]

    def _press(self, station: Station, fields: Fields) -> None:
        _finish(fields)
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
        _finish(fields)
        if on:
            station.faults.set(kind, count, commands_only, delay_us)
        else:
            station.faults.clear(kind)

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
        on = fields.flag("on", True)
        _finish(fields)
        station.meter.mains = on


def kwh(energy_mws: int) -> str:
    """A register as the meter shows it: kWh with two decimals, truncated."""
    whole, cents = divmod(energy_mws // CENTI_KWH_MWS, 100)
    return f"{whole}.{cents:02d}"


def position(closed: bool) -> str:
    """closed or open."""
    return "closed" if closed else "open"


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


class ControlServer:
    """HTTP/1.1 with keep-alive around a Handle."""

    def __init__(self, handle: Handle, host: str, port: int) -> None:
        self._handle = handle
        self.host = host
        self.port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen; `port` becomes the real one. Raises LineError."""
        try:
            self._server = await asyncio.start_server(self._client, self.host, self.port, limit=MAX_BODY)
        except OSError as error:
            raise LineError(f"The handle's port {self.host}:{self.port} cannot be opened: {reason(error)}.") from error
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening and hang up."""
        if self._server:
            self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(writer)
        try:
            while await asyncio.wait_for(self._exchange(reader, writer), IDLE_S):
                pass
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        except asyncio.CancelledError:
            pass  # the simulator ends; asyncio's streams would print a traceback for every open connection
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. False: the connection is over."""
        line = await reader.readline()
        if not line.strip():
            return False
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS + 1):
            name, _, value = (await reader.readline()).decode("latin-1").strip().partition(":")
            if not name:
                break
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY or "transfer-encoding" in headers:
            self._send(writer, 413, {"error": f"A body has a content-length of at most {MAX_BODY}."}, keep=False)
            return False
        body = await reader.readexactly(length)
        keep = headers.get("connection", "").lower() != "close"
        try:
            self._send(writer, 200, self._handle.answer(method, urlsplit(target).path, body), keep)
        except Problem as problem:
            self._send(writer, problem.status, {"error": str(problem)}, keep)
        await writer.drain()
        return keep

    @staticmethod
    def _send(writer: asyncio.StreamWriter, status: int, content: object, keep: bool) -> None:
        body = json.dumps(content).encode() + b"\n"
        head = (
            f"HTTP/1.1 {status} {STATUS[status]}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"connection: {'keep-alive' if keep else 'close'}",
        )
        writer.write("\r\n".join((*head, "", "")).encode() + body)
