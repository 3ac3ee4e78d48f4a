"""One address on a line: a meter with its answer delay, its faults and its log of frames. No clock, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from firmware_sim.dlt645.device import Device
from firmware_sim.faults import Faults
from firmware_sim.meter import Meter

LAST_FRAMES = 20  # what the control handle shows of each meter
TAIL_SHARE = 0.01  # one answer in a hundred comes out of the long tail


@dataclass(frozen=True, slots=True)
class Delay:
    """How long a meter thinks: evenly between two bounds, and rarely up to `tail_us` (0: never)."""

    min_us: int = 25_000
    max_us: int = 180_000
    tail_us: int = 500_000
    write_us: tuple[int, int] | None = None
    """Bounds for writes, which take longer; None: as for reads."""

    def pick(self, rng: Random, write: bool = False) -> int:
        """One delay in us."""
        if write and self.write_us:
            return rng.randrange(self.write_us[0], self.write_us[1] + 1)
        if self.tail_us > self.max_us and rng.random() < TAIL_SHARE:
            return rng.randrange(self.max_us, self.tail_us + 1)
        return rng.randrange(self.min_us, self.max_us + 1)


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes that leave `delay_us` after the end of the request."""

    delay_us: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as this meter heard ("rx") or sent ("tx") it, at monotonic `at_us`."""

    at_us: int
    direction: str
    data: bytes


class Station:
    """A meter where the line reaches it.

    keep: called before an answer leaves and after a contact moved, so that no answer can be forgotten by a restart.
    """

    def __init__(self, name: str, model: str, line: str, address: str, meter: Meter, delay: Delay, rng: Random) -> None:
        self.name = name
        self.model = model
        self.line = line
        self.address = address
        self.meter = meter
        self.delay = delay
        self.device: Device | None = None
        self.faults = Faults()
        self.frames: deque[Frame] = deque(maxlen=LAST_FRAMES)
        self.keep: Callable[[Station], None] = lambda station: None
        self.covers = {"cover": False, "terminal": False}
        self.magnet = False
        self._rng = rng

    def put(self, meter: Meter, device: Device | None) -> None:
        """Another meter hangs here from now on, untouched and unbroken."""
        self.meter, self.device = meter, device
        if device:
            self.address = device.address
        self.faults = Faults()
        self.covers = {"cover": False, "terminal": False}
        self.magnet = False

    def save(self) -> dict[str, object]:
        """What survives a restart: the meter, and its firmware where that remembers anything."""
        return {**self.meter.save(), **({"device": self.device.save()} if self.device else {})}

    def restore(self, saved: Any) -> None:
        """Continue from `save`. Raises AttributeError, KeyError, TypeError or ValueError for something else."""
        self.meter.restore(saved)
        if self.device and "device" in saved:
            self.device.restore(saved["device"])
            self.address = self.device.address

    def set_cover(self, is_open: bool, terminal: bool) -> None:
        """Open or close the meter's cover, or that of its terminals."""
        self.covers["terminal" if terminal else "cover"] = is_open
        if self.device:
            self.device.covers.set_cover(is_open, terminal)

    def set_magnet(self, near: bool) -> None:
        """Bring a magnet near, or take it away."""
        self.magnet = near
        if self.device:
            self.device.covers.set_magnet(near)

    def hears(self, request: bytes, at_us: int) -> bool:
        """Bring the meter to this moment and log the request; False when it cannot hear: no power, booting, or silent on demand."""
        self.advance(at_us)
        if not self.meter.awake or self.faults.strikes("silent", command=False) is not None:
            return False
        self.note(request, at_us)
        return True

    def note(self, request: bytes, at_us: int) -> None:
        """Log a request that was heard."""
        self.frames.append(Frame(at_us, "rx", request))

    def reply(self, data: bytes, command: bool, write: bool = False) -> Reply | None:
        """Send this answer, after keeping the state it speaks of; None when a fault swallows it."""
        self.keep(self)
        if self.faults.strikes("lost_answer", command) is not None:
            return None
        if self.faults.strikes("bad_checksum", command) is not None:
            data = data[:-2] + bytes([data[-2] ^ 0x55]) + data[-1:]
        delay_us = self.delay.pick(self._rng, write) + (self.faults.strikes("late_answer", command) or 0)
        self.frames.append(Frame(self.meter.now_us + delay_us, "tx", data))
        return Reply(delay_us, data)

    def advance(self, now_us: int) -> None:
        """Bring the meter to this moment; a contact that moved on the way is kept at once."""
        moves = self.meter.relay.move_count
        self.meter.relay.welded = self.faults.welded
        self.meter.advance(now_us)
        if self.meter.relay.move_count != moves:
            self.keep(self)
