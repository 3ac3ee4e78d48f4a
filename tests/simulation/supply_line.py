"""An ear on a line and on a link: what the gateway sent and was answered, and a fuse that ends it within a frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.adapters.lines.manner import MannerState
from gateway.bootstrap.lines import MeterLink
from gateway.domain.jobs import Job, Outcome
from protocols.dlt645.frames import Deframer, Frame
from tests.simulation.memory_line import MemoryLine, WireLine

Listening = Callable[[str, Job, Outcome], None]

CONTROL, READ, TRIP = 0x1C, 0x11, 0x1A
RELAY_WORD = bytes.fromhex("03050004")
"""Status word 3 as it goes over the wire."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A whole DL/T 645 frame and when its last byte passed, in seconds of the loop."""

    at: float
    frame: Frame

    @property
    def trips(self) -> bool:
        """Whether it orders a switch open: N1 stands behind level, password and operator."""
        return self.frame.control == CONTROL and self.frame.data[8] == TRIP

    @property
    def controls(self) -> bool:
        return self.frame.control == CONTROL

    @property
    def shows_relay(self) -> bool:
        """Whether it is an answer with the word that holds the relay's bit."""
        return self.frame.control == READ | 0x80 and self.frame.data[:4] == RELAY_WORD


class Tap:
    """A transport over a simulated line. sent, answered: whole DL/T 645 frames by direction; raw: everything sent, with its time;
    told: called with each that is sent.

    arm: after so many more bytes in either direction the gateway is gone; `blown` is set, and nothing passes any more.
    """

    def __init__(self, line: MemoryLine) -> None:
        self.line = line
        self.sent: list[Heard] = []
        self.answered: list[Heard] = []
        self.raw: list[tuple[float, bytes]] = []
        self.passed = 0
        self.told: Callable[[Heard], None] = lambda heard: None
        self.blown = asyncio.Event()
        self._left: int | None = None
        self._asks, self._answers = Deframer(), Deframer()

    @property
    def name(self) -> str:
        return self.line.name

    @property
    def down(self) -> str | None:
        return self.line.down

    def arm(self, after: int) -> None:
        self._left = after

    def mend(self) -> None:
        """For the next process."""
        self._left, self.blown = None, asyncio.Event()
        self._asks, self._answers = Deframer(), Deframer()

    async def open(self) -> None:
        await self.line.open()

    async def close(self) -> None:
        await self.line.close()

    async def send(self, data: bytes) -> None:
        part = self._burn(data)
        now = asyncio.get_running_loop().time()
        self.raw.append((now, part))
        if part:
            await self.line.send(part)
        for frame in self._asks.feed(part):
            self.sent.append(Heard(now, frame))
            self.told(self.sent[-1])
        await self._gone()

    async def receive(self, timeout_s: float) -> bytes:
        part = self._burn(await self.line.receive(timeout_s))
        now = asyncio.get_running_loop().time()
        self.answered += [Heard(now, frame) for frame in self._answers.feed(part)]
        await self._gone()
        return part

    def discard(self) -> int:
        return self.line.discard()

    def _burn(self, data: bytes) -> bytes:
        """As much of it as passes."""
        part = data if self._left is None else data[: self._left]
        self.passed += len(part)
        if self._left is not None:
            self._left -= len(part)
            if self._left == 0:
                self.blown.set()
        return part

    async def _gone(self) -> None:
        if self.blown.is_set():
            await asyncio.Event().wait()


def pull(tap: Tap) -> None:
    """The adapter goes away."""
    tap.line.unplug()


def clear_of(tap: Tap) -> WireLine:
    """The simulated pair behind it."""
    assert isinstance(tap.line, WireLine)
    return tap.line


class Listened:
    """A link whose outcomes somebody hears."""

    def __init__(self, link: MeterLink, meter: str, heard: Listening) -> None:
        self._link, self._meter, self._heard = link, meter, heard

    @property
    def manner(self) -> MannerState:
        return self._link.manner

    async def perform(self, job: Job) -> Outcome:
        outcome = await self._link.perform(job)
        self._heard(self._meter, job, outcome)
        return outcome
