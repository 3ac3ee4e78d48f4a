"""Lines without devices: a transport over a function, and one over a simulated RS-485 pair, both on the loop's own time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from firmware_sim.wire import Wire
from gateway.adapters.lines.transport import Inbox, LineDown

Answer = Callable[[bytes], Iterable[tuple[float, bytes]]]
"""What arrives after these bytes were sent: (seconds from now, bytes)."""


class MemoryLine:
    """A transport whose other end is a function. `unplug` breaks it, `plug` lets it be opened again."""

    name = "memory"

    def __init__(self, answer: Answer) -> None:
        self.sent: list[tuple[float, bytes]] = []
        self.opened = 0
        self.plugged = True
        self._answer = answer
        self._inbox = Inbox("memory is not open.")

    @property
    def down(self) -> str | None:
        return self._inbox.down

    async def open(self) -> None:
        if not self.plugged:
            raise LineDown("memory does not exist; is the adapter plugged in?")
        self.opened += 1
        self._inbox = Inbox()

    async def close(self) -> None:
        self._inbox.fail("memory is closed.")

    async def send(self, data: bytes) -> None:
        if self.down:
            raise LineDown(self.down)
        loop = asyncio.get_running_loop()
        self.sent.append((loop.time(), data))
        for delay_s, piece in self._answer(data):
            loop.call_later(delay_s, self._inbox.feed, piece)

    async def receive(self, timeout_s: float) -> bytes:
        return await self._inbox.take(timeout_s)

    def discard(self) -> int:
        return self._inbox.discard()

    def unplug(self) -> None:
        self.plugged = False
        self._inbox.fail("memory is gone: it hung up.")

    def plug(self) -> None:
        self.plugged = True


class WireLine(MemoryLine):
    """A transport over a simulated pair: every byte takes its line time."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(lambda data: ())
        self.wire = wire
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, data: bytes) -> None:
        await super().send(data)
        self.wire.write(data, loop_us())
        self._turn()

    def _turn(self) -> None:
        if self._timer:
            self._timer.cancel()
        if heard := self.wire.poll(loop_us()):
            self._inbox.feed(heard)
        if (next_us := self.wire.next_us) is not None:
            wait_us = max(1, next_us - loop_us())  # never 0: what is rounded down must not stop time
            self._timer = asyncio.get_running_loop().call_later(wait_us / 1e6, self._turn)


def loop_us() -> int:
    """The loop's time in microseconds, as the simulator counts."""
    return round(asyncio.get_running_loop().time() * 1_000_000)
