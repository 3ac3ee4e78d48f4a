"""The simulator's street on a virtual loop: the same meters and wires as `wattgate sim`, without ports, threads or waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random

from firmware_sim.bus import Bus
from firmware_sim.config import parse
from firmware_sim.fields import Table
from firmware_sim.station import Reply, Station
from firmware_sim.street import Street
from firmware_sim.wire import Wire
from protocols.modbus.slave import TcpSlave
from tests.simulation.memory_line import MemoryLine, WireLine, loop_us
from tests.simulation.virtual_loop import START_MS


class VirtualStreet:
    """Lines and meters of a simulator's table. `table` as in its file; pty and tcp lines are the same here."""

    def __init__(self, table: Table) -> None:
        self._config = parse(table)
        self.street = Street(self._config, loop_us(), START_MS * 1000 + loop_us())
        for station in self.street.stations.values():
            station.keep = _watch_contact
        self.lines = {line.name: self._line(line.name) for line in self._config.lines}

    def station(self, meter: str) -> Station:
        """A meter, brought to this moment."""
        station = self.street.stations[meter]
        station.advance(loop_us())
        return station

    def ignore(self, line: str, unheard: Callable[[bytes], bool]) -> list[bytes]:
        """From now on no meter of this pair hears such questions; they are gathered in the list."""
        wire, bus, found = self.lines[line], self.street.buses[line], list[bytes]()
        assert isinstance(wire, WireLine)

        def receive(data: bytes, start_us: int, end_us: int) -> list[Reply]:
            if not unheard(data):
                return bus.receive(data, start_us, end_us)
            found.append(data)
            return []

        wire.wire._receive = receive
        return found

    def _line(self, name: str) -> MemoryLine:
        line = next(line for line in self._config.lines if line.name == name)
        bus = self.street.buses[name]
        if line.kind == "modbus-tcp":
            return _tcp_line(bus)
        rng = Random(f"{self._config.seed}:{name}:wire")
        return WireLine(Wire(bus.receive, line.baud, rng, loop_us(), line.noise, line.echo))


def _tcp_line(bus: Bus) -> MemoryLine:
    slave = TcpSlave(tuple(bus.modbus))

    def answer(data: bytes) -> Iterable[tuple[float, bytes]]:
        for request in slave.feed(data):
            if reply := bus.modbus[request.unit].serve(request, data, loop_us()):
                yield reply.delay_us / 1e6, reply.data

    return MemoryLine(answer)


def _watch_contact(station: Station) -> None:
    """As the simulator does: a contact that is moving is looked at again when it has moved."""
    if station.meter.relay.moving:
        due_us = station.meter.relay.next_us - loop_us()
        asyncio.get_running_loop().call_later(max(0, due_us) / 1e6, lambda: station.advance(loop_us()))
