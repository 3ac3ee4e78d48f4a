"""A street in virtual time: exchanges run over its wires while a counter stands for the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from firmware_sim import virtual
from firmware_sim.config import parse
from firmware_sim.dlt645.device import Device
from firmware_sim.meter import Meter
from firmware_sim.scenario import Ask
from firmware_sim.station import Station
from protocols.exchange import Done, Exchange, Send

T = TypeVar("T")
SECOND = 1_000_000
NOON = int(datetime(2026, 11, 21, 4, tzinfo=UTC).timestamp()) * SECOND  # 12:00:00 in the street, at UTC+8
ANSWER_LIMIT = 2 * SECOND


class NoAnswer(Exception):
    """The meters stayed silent for two seconds."""


class VirtualStreet(virtual.VirtualStreet):
    """The street of a configuration table; `now_us` moves only when asked to."""

    def __init__(self, table: dict[str, object], saved: dict[str, object] | None = None, unix_us: int = NOON) -> None:
        super().__init__(parse(table), unix_us, saved)

    def station(self, name: str) -> Station:
        """The station, brought to now."""
        station = self.street.stations[name]
        station.advance(self.now_us)
        return station

    def meter(self, name: str) -> Meter:
        """The meter, brought to now."""
        return self.station(name).meter

    def device(self, name: str = "m") -> Device:
        """The firmware of a DL/T 645 meter, brought to now."""
        device = self.station(name).device
        assert device
        return device

    def wait(self, seconds: float) -> None:
        """Let time pass on the lines and in the meters."""
        self.wait_until(self.now_us + int(seconds * SECOND))

    def listen(self, line: str, limit_us: int = ANSWER_LIMIT) -> bytes:
        """The next bytes that the master hears; empty when nothing comes within the limit."""
        return self.hear(Ask(line, b"", self.now_us + limit_us))

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

    def act(self, act: str, name: str = "m", **body: object) -> dict[str, object]:
        """Act through the handle; the truth afterwards."""
        return self.handle.act(name, act, body)

    def truth(self, name: str = "m") -> dict[str, object]:
        """What the handle tells."""
        return self.handle.truth(self.handle.station(name), frames=False)


def one_meter(model: str = "dlt645-single", baud: int = 9600, delay_ms: int = 50, **meter: object) -> dict[str, object]:
    """A table with one line "a" and one meter "m" that always thinks for the same time."""
    where = {"address": "202611210001"} if model.startswith("dlt645") else {"unit": 1}
    line = {"id": "a", "kind": "tcp", "baud": baud, "delay_ms": [delay_ms, delay_ms], "tail_ms": 0}
    row: dict[str, object] = {"id": "m", "line": "a", "model": model, **where, "load": {"power_w": 1000, "pf": 1}, **meter}
    return {"line": [line], "meter": [row]}
