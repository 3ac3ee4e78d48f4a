"""In front of a simulated line: every frame that goes there and comes back, counted by somebody who belongs to neither end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from protocols.dlt645.frames import Deframer, Frame

CONTROL, READ = 0x1C, 0x11
RELAY_WORD = bytes.fromhex("03050004")
"""Status word 3, which holds the relay's bit, as it goes over the wire."""

PIECE = 4096


@dataclass(frozen=True, slots=True)
class Order:
    """A control frame that went to the line. at: monotonic seconds."""

    at: float
    address: str
    trips: bool


class LineTap:
    """Listens on a port of its own once started, and passes everything on to the simulator's. It stays when the gateway dies."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self.functions: Counter[int] = Counter()
        self.orders: list[Order] = []
        self.looks: list[tuple[float, str]] = []
        self.answers = self.passed = 0
        self.blown: Callable[[], None] = lambda: None
        self._left: int | None = None
        self._server: asyncio.Server | None = None
        self._ways: set[asyncio.Task[None]] = set()

    def arm(self, after: int, blown: Callable[[], None]) -> None:
        """After so many more bytes, in either direction, `blown` is called, and no more passes before it is mended."""
        self._left, self.blown = after, blown

    def mend(self) -> None:
        """Everything passes again."""
        self._left = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for way in list(self._ways):
            way.cancel()
        if self._ways:
            await asyncio.wait(self._ways)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        ways = {
            asyncio.ensure_future(self._carry(reader, there, self._asked)),
            asyncio.ensure_future(self._carry(back, writer, self._answered)),
        }
        self._ways |= ways
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        self._ways -= ways
        writer.close()
        there.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, seen: Callable[[Frame], None]) -> None:
        deframer = Deframer()
        with contextlib.suppress(OSError):
            while piece := await source.read(PIECE):
                part = self._burn(piece)
                for frame in deframer.feed(part):
                    seen(frame)
                sink.write(part)
                if self._left == 0:
                    self.blown()
                await sink.drain()

    def _burn(self, piece: bytes) -> bytes:
        part = piece if self._left is None else piece[: self._left]
        if self._left is not None:
            self._left -= len(part)
        self.passed += len(part)
        return part

    def _asked(self, frame: Frame) -> None:
        self.functions[frame.control] += 1
        if frame.control == CONTROL:
            self.orders.append(Order(time.monotonic(), frame.address, frame.data[8:9] == b"\x1a"))

    def _answered(self, frame: Frame) -> None:
        self.answers += frame.function == CONTROL
        if frame.control == READ | 0x80 and frame.data[:4] == RELAY_WORD:
            self.looks.append((time.monotonic(), frame.address))

    def blind(self) -> list[Order]:
        """Orders to open that repeat one without an answered look at the relay in between."""
        found = []
        for first, second in pairwise(self.orders):
            looked = any(first.at < at < second.at and address == second.address for at, address in self.looks)
            if first.trips and second.trips and first.address == second.address and not looked:
                found.append(second)
        return found
