"""Opens every endpoint of a street and runs it on the real clock until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from random import Random

from firmware_sim.config import ConfigError, LineConfig, SimConfig, load
from firmware_sim.control import ControlServer, Handle
from firmware_sim.line import LineError, ModbusTcpPort, Port, PtyLine, Pump, TcpLine, now_us
from firmware_sim.loads import FOREVER_US
from firmware_sim.state import StateError, StateFile
from firmware_sim.station import Station
from firmware_sim.street import Street
from firmware_sim.wire import Wire

Endpoint = PtyLine | TcpLine | ModbusTcpPort
HostPort = tuple[str, int]


class Simulator:
    """The running street. `open` raises LineError or StateError; `close` may be called at any time."""

    def __init__(self, config: SimConfig, control: HostPort | None = None) -> None:
        self._config = config
        self._state = StateFile(config.state) if config.state else None
        start_us, unix_us = now_us(), time.time_ns() // 1000
        try:
            self.street = Street(config, start_us, unix_us, self._state.saved if self._state else None)
        except ValueError as error:
            self._forget()
            raise StateError(f"{error} Remove {config.state} to start afresh.") from error
        for station in self.street.stations.values():
            station.keep = self._keep
        self.endpoints = {line.name: self._endpoint(line, start_us) for line in config.lines}
        pumps = {name: endpoint for name, endpoint in self.endpoints.items() if isinstance(endpoint, Pump)}
        self.control = ControlServer(Handle(self.street, pumps), *control) if control else None

    async def open(self) -> None:
        """Open all endpoints, or none."""
        try:
            for endpoint in self.endpoints.values():
                await endpoint.open()
            if self.control:
                await self.control.open()
        except LineError:
            self.close()
            raise

    def close(self) -> None:
        """Close everything and keep the last state."""
        for endpoint in self.endpoints.values():
            endpoint.close()
        if self.control:
            self.control.close()
        for station in self.street.stations.values():
            station.meter.advance(now_us())
            self._keep(station)
        self._forget()

    def ready(self) -> dict[str, object]:
        """Where everything can be reached."""
        lines: list[dict[str, object]] = []
        for name, endpoint in self.endpoints.items():
            if isinstance(endpoint, Port):
                lines.append({"id": name, "host": endpoint.host, "port": endpoint.port})
            else:
                lines.append({"id": name, "path": endpoint.path, "pty": endpoint.target})
        control = f"http://{self.control.host}:{self.control.port}" if self.control else None
        return {"ready": True, "meters": len(self.street.stations), "lines": lines, "control": control}

    def _forget(self) -> None:
        if self._state:
            self._state.close()
            self._state = None

    def _endpoint(self, line: LineConfig, start_us: int) -> Endpoint:
        bus = self.street.buses[line.name]
        if line.kind == "modbus-tcp":
            return ModbusTcpPort(bus, line.host, line.port)
        rng = Random(f"{self._config.seed}:{line.name}:wire")
        wire = Wire(bus.receive, line.baud, rng, start_us, line.noise, line.echo)
        return PtyLine(wire, line.path) if line.kind == "pty" else TcpLine(wire, line.host, line.port)

    def _keep(self, station: Station) -> None:
        """Write the meter's state; an order under way is looked at again when its contact moves.

        Without its state on file an answer could be forgotten, so a failed write ends the simulator before the answer leaves.
        """
        if self._state:
            try:
                self._state.write(station.name, station.meter.save())
            except OSError as error:
                raise SystemExit(f"The state file {self._state.path} cannot be written: {error.strerror}.") from error
        if station.meter.relay.moving:
            due_us = min(station.meter.relay.next_us, FOREVER_US) - now_us()
            asyncio.get_running_loop().call_later(max(0, due_us) / 1e6, lambda: station.advance(now_us()))


async def run(config: SimConfig, control: HostPort | None = None, announce: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM, SIGINT or cancellation. One JSON line tells when everything is up (stdout, or `announce`).

    Raises LineError or StateError, each one sentence.
    """
    simulator = Simulator(config, control)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    await simulator.open()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        (announce or _say)(json.dumps(simulator.ready()))
        await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        simulator.close()


def main(path: str, control: str | None = None) -> int:
    """Run a file from the command line; errors are sentences on stderr. Exit code 0 stopped, 1 cannot serve, 2 wrong usage."""
    try:
        where = parse_control(control) if control else None
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        asyncio.run(run(load(path), where))
    except ConfigError as error:
        print(*error.errors, sep="\n", file=sys.stderr)
        return 1
    except (LineError, StateError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass  # before the signal was ours
    return 0


def parse_control(text: str) -> HostPort:
    """HOST:PORT. Raises ValueError with one sentence."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"--control takes HOST:PORT, such as 127.0.0.1:7070, not {text!r}.")
    return host.strip("[]"), int(port)


def _say(line: str) -> None:
    print(line, flush=True)
