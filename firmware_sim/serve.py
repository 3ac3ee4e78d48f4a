"""Opens every endpoint of a street and runs it on the real clock until it is told to stop; or runs a scenario in virtual time."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from firmware_sim import report
from firmware_sim.banking.control import BadKey, Desks, texts
from firmware_sim.config import ConfigError, LineConfig, SimConfig, load
from firmware_sim.control import ControlServer
from firmware_sim.fields import Fields
from firmware_sim.handle import Handle
from firmware_sim.history import HistoryFolder
from firmware_sim.line import DialLine, LineError, ModbusTcpPort, Port, PtyLine, Pump, SerialLine, TcpLine, now_us
from firmware_sim.loads import FOREVER_US
from firmware_sim.scenario import Ask, Run, Runner, Scenario, ScenarioError, Wait, check, parse
from firmware_sim.scenario import load as load_scenario
from firmware_sim.state import StateError, StateFile
from firmware_sim.station import Station
from firmware_sim.street import Street
from firmware_sim.virtual import VirtualStreet
from firmware_sim.wire import Wire

Endpoint = PtyLine | TcpLine | ModbusTcpPort | SerialLine | DialLine
HostPort = tuple[str, int]
FORGOTTEN = Scenario((), None)


class Simulator:
    """The running street. `open` raises LineError or StateError; `close` may be called at any time."""

    def __init__(self, config: SimConfig, control: HostPort | None = None) -> None:
        self._config = config
        self._state = StateFile(config.state) if config.state else None
        self._history = HistoryFolder(f"{config.state}.history") if config.state else None
        start_us, unix_us = now_us(), time.time_ns() // 1000
        try:
            self.street = Street(config, start_us, unix_us, self._state.saved if self._state else None)
            self._remember()
        except ValueError as error:
            self._forget()
            raise StateError(f"{error} Remove {config.state} to start afresh.") from error
        for station in self.street.stations.values():
            station.keep = self._keep
        self.endpoints = {line.name: self._endpoint(line, start_us) for line in config.lines}
        wires = {name: endpoint.wire for name, endpoint in self.endpoints.items() if isinstance(endpoint, Pump)}
        self.handle = Handle(self.street, wires, now_us)
        self.desks = Desks(config.banks, config.seed, config.utc_offset_min)
        self.control = ControlServer(self.handle, *control, self.desks) if control else None

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
            elif isinstance(endpoint, DialLine):
                lines.append({"id": name, "dials": f"{endpoint.host}:{endpoint.port}"})
            elif isinstance(endpoint, SerialLine):
                lines.append({"id": name, "path": endpoint.path})
            else:
                lines.append({"id": name, "path": endpoint.path, "pty": endpoint.target})
        control = f"http://{self.control.host}:{self.control.port}" if self.control else None
        found = {"ready": True, "meters": len(self.street.stations), "lines": lines, "control": control}
        return {**found, "banks": list(self.desks.desks)} if self.desks.desks else found

    async def follow(self, run: Run) -> None:
        """Carry a scenario through on the real clock; its questions share the lines with whoever else asks there."""
        try:
            need = next(run)
            while True:
                if isinstance(need, Wait):
                    await asyncio.sleep(max(0, need.until_us - now_us()) / 1e6)
                    need = run.send(b"")
                else:
                    need = run.send(await self._ask(need))
        except StopIteration:
            return

    async def _ask(self, ask: Ask) -> bytes:
        endpoint = self.endpoints[ask.line]
        if not isinstance(endpoint, Pump):
            return b""
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        endpoint.tap = heard.put_nowait
        try:
            if ask.data:
                endpoint.push(ask.data)
            async with asyncio.timeout(max(0, ask.until_us - now_us()) / 1e6):
                return await heard.get()
        except TimeoutError:
            return b""
        finally:
            endpoint.tap = None

    def _remember(self) -> None:
        """Give every meter its history back. Raises ValueError for one that does not fit."""
        for name, station in self.street.stations.items():
            if not self._history or not station.device:
                continue
            if (saved := self._history.read(name)) is not None:
                try:
                    station.device.restore_history(saved)
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise ValueError(f"The saved history of meter {name} does not fit it: {error}.") from error
            self._history.begin(name, station.device.version)

    def _forget(self) -> None:
        if self._state:
            self._state.close()
            self._state = self._history = None

    def _endpoint(self, line: LineConfig, start_us: int) -> Endpoint:
        bus = self.street.buses[line.name]
        if line.kind == "modbus-tcp":
            return ModbusTcpPort(bus, line.host, line.port)
        rng = Random(f"{self._config.seed}:{line.name}:wire")
        wire = Wire(bus.receive, line.baud, rng, start_us, line.noise, line.echo, paced=line.kind != "serial")
        if line.kind == "serial":
            return SerialLine(wire, line.path, line.baud, line.parity)
        if line.kind == "dial":
            return DialLine(wire, line.host, line.port, line.registration, line.heartbeat, line.heartbeat_s)
        if line.kind == "pty":
            follow = (lambda baud: self.street.set_baud(line.name, wire, baud)) if line.follow_speed else None
            return PtyLine(wire, line.path, follow)
        return TcpLine(wire, line.host, line.port)

    def _keep(self, station: Station) -> None:
        """Write the meter's state; an order under way is looked at again when its contact moves.

        Without its state on file an answer could be forgotten, so a failed write ends the simulator before the answer leaves.
        """
        if self._state and self._history:
            try:
                if station.device and self._history.behind(station.name, station.device.version):
                    self._history.write(station.name, station.device.version, station.device.history())
                self._state.write(station.name, station.save())
            except OSError as error:
                raise SystemExit(f"The state file {self._state.path} cannot be written: {error.strerror}.") from error
        if station.meter.relay.moving:
            due_us = min(station.meter.relay.next_us, FOREVER_US) - now_us()
            asyncio.get_running_loop().call_later(max(0, due_us) / 1e6, lambda: station.advance(now_us()))


async def run(
    config: SimConfig,
    control: HostPort | None = None,
    announce: Callable[[str], None] | None = None,
    scenario: Scenario = FORGOTTEN,
    report_to: str | None = None,
) -> bool:
    """Serve until SIGTERM, SIGINT, cancellation or the end of a scenario that has one. False: a step of the scenario failed.

    One JSON line tells when everything is up (stdout, or `announce`). Raises LineError or StateError, each one sentence.
    """
    simulator = Simulator(config, control)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    await simulator.open()
    begun_us = now_us()
    runner = Runner(scenario, simulator.handle, now_us)
    follower = loop.create_task(simulator.follow(runner.run()))
    banks = loop.create_task(simulator.desks.run())
    if scenario.end_us is not None:
        follower.add_done_callback(lambda task: stop.set())
    elif not config.meters:  # nothing but banks: what they were told to do is the run
        banks.add_done_callback(lambda task: stop.set())
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        (announce or _say)(json.dumps(simulator.ready()))
        await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        follower.cancel()
        paid = not config.banks or (banks.done() and not banks.cancelled() and banks.result())
        banks.cancel()
        await simulator.desks.close()
        told = simulator.desks.report()
        for each in told if announce is None else []:
            _say(json.dumps(each))
            for sentence in texts(each["why"]):
                print(f"bank {each['bank']}: {sentence}", file=sys.stderr)
        if report_to:
            report.write(report_to, "sim", config.seed, (now_us() - begun_us) / 1e6, runner.outcomes, simulator.handle, told)
        simulator.close()
    return runner.ok and (paid or (bool(config.meters) and not any(each["violations"] for each in told)))


def run_virtual(config: SimConfig, scenario: Scenario, name: str = "sim", report_to: str | None = None) -> Runner:
    """The scenario in virtual time, without endpoints; what each step came to is in the runner's outcomes."""
    world = VirtualStreet(config, config.start_us - config.utc_offset_min * 60_000_000)
    runner = Runner(scenario, world.handle, lambda: world.now_us)
    world.drive(runner.run())
    if report_to:
        report.write(report_to, name, config.seed, world.now_us / 1e6, runner.outcomes, world.handle)
    return runner


def main(
    path: str, control: str | None = None, scenario: str | None = None, report_to: str | None = None, virtual: bool = False,
    url: str | None = None,
) -> int:  # fmt: skip
    """Run a file from the command line; errors are sentences on stderr. url: where its banks pay by HTTP, whatever the file says.

    Exit code 0 stopped, 1 cannot serve or a step of the scenario failed, 2 wrong usage.
    """
    try:
        where = parse_control(control) if control else None
        if virtual and control:
            raise ValueError("--control needs the real clock: leave --virtual or --control out.")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        config = load(path)
        if url:
            config = replace(config, banks=tuple(replace(bank, url=url.rstrip("/")) for bank in config.banks))
        steps = read_scenario(config, scenario)
        if not virtual:
            return 0 if asyncio.run(run(config, where, None, steps, report_to)) else 1
        if not steps.steps and steps.end_us is None:
            print("Virtual time needs a scenario: [[step]] in the file, or --scenario FILE.", file=sys.stderr)
            return 2
        return _tell(run_virtual(config, steps, Path(scenario or path).stem, report_to))
    except (ConfigError, ScenarioError) as error:
        print(*error.errors, sep="\n", file=sys.stderr)
    except (LineError, StateError, BadKey) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or report_to} cannot be written: {error.strerror}.", file=sys.stderr)
    except KeyboardInterrupt:
        return 0  # before the signal was ours
    return 1


def read_scenario(config: SimConfig, path: str | None) -> Scenario:
    """The steps of a file of their own, or those of the simulator's file. Raises ScenarioError."""
    if path:
        scenario = load_scenario(path)
    else:
        errors: list[str] = []
        scenario = parse(Fields(config.scenario, "file", errors), errors)
        if errors:
            raise ScenarioError(errors)
    serial = [line.name for line in config.lines if line.kind != "modbus-tcp"]
    check(scenario, {meter.name: meter.line in serial for meter in config.meters}, serial)
    return scenario


def _tell(runner: Runner) -> int:
    """One line a step that failed, and one for them all."""
    failed = [outcome for outcome in runner.outcomes if outcome.message]
    for outcome in failed:
        print(f"{outcome.name}: {outcome.message}")
    print(f"{len(runner.outcomes)} steps, {len(failed)} failed")
    return 1 if failed else 0


def parse_control(text: str) -> HostPort:
    """HOST:PORT. Raises ValueError with one sentence."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"--control takes HOST:PORT, such as 127.0.0.1:7070, not {text!r}.")
    return host.strip("[]"), int(port)


def _say(line: str) -> None:
    print(line, flush=True)
