"""A street in virtual time: its wires and meters move as fast as they can be computed, from one moment that matters to the next."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from firmware_sim.config import LineConfig, SimConfig
from firmware_sim.handle import Handle
from firmware_sim.scenario import Ask, Run, Wait
from firmware_sim.street import Street
from firmware_sim.wire import Wire


class VirtualStreet:
    """now_us begins at 0 and moves only when asked to; the wall clock is `unix_us` at that moment."""

    def __init__(self, config: SimConfig, unix_us: int, saved: Mapping[str, object] | None = None) -> None:
        self.config = config
        self.now_us = 0
        self.street = Street(config, 0, unix_us, saved)
        self.wires = {line.name: self._wire(line) for line in config.lines if line.kind != "modbus-tcp"}
        self.handle = Handle(self.street, self.wires, lambda: self.now_us)

    def _wire(self, line: LineConfig) -> Wire:
        rng = Random(f"{self.config.seed}:{line.name}:wire")
        return Wire(self.street.buses[line.name].receive, line.baud, rng, 0, line.noise, line.echo)

    def drive(self, run: Run) -> None:
        """Carry a scenario through to its end."""
        try:
            need = next(run)
            while True:
                if isinstance(need, Wait):
                    self.wait_until(need.until_us)
                    need = run.send(b"")
                else:
                    need = run.send(self.hear(need))
        except StopIteration:
            return

    def wait_until(self, until_us: int) -> None:
        """Let time pass on the lines and in the meters."""
        for wire in self.wires.values():
            while (next_us := wire.next_us) is not None and next_us <= until_us:
                self.now_us = max(self.now_us, next_us)
                wire.poll(self.now_us)
        self.now_us = max(self.now_us, until_us)
        for station in self.street.stations.values():
            station.advance(self.now_us)

    def hear(self, ask: Ask) -> bytes:
        """Send, and the next bytes that the master hears; empty when nothing comes in time. Raises KeyError for an unknown line."""
        wire = self.wires[ask.line]
        if ask.data:
            wire.write(ask.data, self.now_us)
        while (next_us := wire.next_us) is not None and next_us <= ask.until_us:
            self.now_us = max(self.now_us, next_us)
            if heard := wire.poll(self.now_us):
                return heard
        self.now_us = max(self.now_us, ask.until_us)
        return b""
