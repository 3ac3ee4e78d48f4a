"""A street in virtual time: exchanges run over its wires while a counter stands for the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import TypeVar

from firmware_sim.config import SimConfig, parse
from firmware_sim.street import Street
from firmware_sim.wire import Wire
from protocols.exchange import Done, Exchange, Send

T = TypeVar("T")
SECOND = 1_000_000
NOON = int(datetime(2026, 11, 21, 4, tzinfo=UTC).timestamp()) * SECOND  # 12:00:00 in the street, at UTC+8
ANSWER_LIMIT = 2 * SECOND


class NoAnswer(Exception):
    """The meters stayed silent for two seconds."""


class VirtualStreet:
    """The street of a configuration table; `now_us` moves only when asked to."""

    def __init__(self, table: dict[str, object], saved: dict[str, object] | None = None, unix_us: int = NOON) -> None:
        self.config: SimConfig = parse(table)
        self.now_us = 0
        self.street = Street(self.config, 0, unix_us, saved)
        self.wires = {line.name: self._wire(line) for line in self.config.lines if line.kind != "modbus-tcp"}

    def _wire(self, line) -> Wire:
        rng = Random(f"{self.config.seed}:{line.name}:wire")
        return Wire(self.street.buses[line.name].receive, line.baud, rng, 0, line.noise, line.echo)

    def station(self, name: str):
        """The station, brought to now."""
        station = self.street.stations[name]
        station.advance(self.now_us)
        return station

    def meter(self, name: str):
        """The meter, brought to now."""
        return self.station(name).meter

    def wait(self, seconds: float) -> None:
        """Let time pass on the lines and in the meters."""
        self.now_us += int(seconds * SECOND)
        for wire in self.wires.values():
            wire.poll(self.now_us)
        for station in self.street.stations.values():
            station.advance(self.now_us)

    def listen(self, line: str, limit_us: int = ANSWER_LIMIT) -> bytes:
        """The next bytes that the master hears; empty when nothing comes within the limit."""
        wire, end_us = self.wires[line], self.now_us + limit_us
        while (next_us := wire.next_us) is not None and next_us <= end_us:
            self.now_us = max(self.now_us, next_us)
            if heard := wire.poll(self.now_us):
                return heard
        self.now_us = end_us
        return b""

    def ask(self, line: str, exchange: Exchange[T]) -> T:
        """Run an exchange to its end. Raises NoAnswer and what the exchange raises."""
        self.wires[line].write(exchange.start(), self.now_us)
        while heard := self.listen(line):
            step = exchange.feed(heard)
            if isinstance(step, Done):
                return step.result
            if isinstance(step, Send):
                self.wires[line].write(step.data, self.now_us)
        raise NoAnswer


def one_meter(model: str = "dlt645-single", baud: int = 9600, delay_ms: int = 50, **meter: object) -> dict[str, object]:
    """A table with one line "a" and one meter "m" that always thinks for the same time."""
    where = {"address": "202611210001"} if model.startswith("dlt645") else {"unit": 1}
    line = {"id": "a", "kind": "tcp", "baud": baud, "delay_ms": [delay_ms, delay_ms], "tail_ms": 0}
    row: dict[str, object] = {"id": "m", "line": "a", "model": model, **where, "load": {"power_w": 1000, "pf": 1}, **meter}
    return {"line": [line], "meter": [row]}
