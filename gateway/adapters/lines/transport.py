"""What the driver needs of a line: bytes out, bytes in, and one clear sentence when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

MAX_UNREAD = 4_096
"""Bytes kept unread: a dozen of the longest frames; what a babbling device sends beyond that displaces the oldest.

Looking through 4 kB for an answer takes 5 ms (measured), in which no other line moves.
"""

Tell = Callable[[str], None]
"""Where a transport says, in one sentence, what a person should know although the line works."""


def tell_nobody(text: str) -> None:
    """For tools that say by themselves what matters."""


class LineDown(Exception):
    """The line carries no bytes: missing, busy, refused or gone; the text is one sentence.

    sent: bytes of the question that failed may have left before.
    """

    def __init__(self, text: str, *, sent: bool = False) -> None:
        super().__init__(text)
        self.sent = sent


class Transport(Protocol):
    """One end of a line. Everything but `close` and `discard` raises LineDown; after that only close and open help."""

    @property
    def name(self) -> str:
        """Where it leads, for people."""

    @property
    def down(self) -> str | None:
        """Why it carries no bytes, in one sentence; None while it is open and well."""

    async def open(self) -> None:
        """Ready to send, nothing old to receive."""

    async def close(self) -> None:
        """Let go of the device; harmless when closed."""

    async def send(self, data: bytes) -> None:
        """Hand all bytes to the device."""

    async def receive(self, timeout_s: float) -> bytes:
        """What has arrived, at least one byte; empty when nothing came in time."""

    def discard(self) -> int:
        """Forget what has arrived; how many bytes."""


class Inbox:
    """What has arrived and was not taken yet, or why nothing more will. For one taker."""

    def __init__(self, down: str | None = None) -> None:
        self._unread = bytearray()
        self._down = down
        self._until = 0.0
        self._alarm: asyncio.Handle | None = None
        self._rings = 0.0  # when; uvloop gives a handle that does not know it for a moment that is less than a millisecond away
        self._waiter: asyncio.Future[None] | None = None

    @property
    def down(self) -> str | None:
        """Why nothing more will arrive; None while something may."""
        return self._down

    def feed(self, data: bytes) -> None:
        """Bytes from the device."""
        self._unread += data
        del self._unread[:-MAX_UNREAD]
        self._wake()

    def fail(self, text: str) -> None:
        """The device is gone; the first reason stands. Bytes that came before can still be taken."""
        self._down = self._down or text
        self._wake()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def take(self, timeout_s: float) -> bytes:
        """All unread bytes, as soon as there is one; empty when none came in time. Raises LineDown."""
        if not self._unread and self._down is None and timeout_s > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            self._until = loop.time() + timeout_s
            self._set_alarm(loop)
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._unread and self._down is not None:
            raise LineDown(self._down)
        data = bytes(self._unread)
        self._unread.clear()
        return data

    def discard(self) -> int:
        """Forget the unread bytes; how many."""
        count = len(self._unread)
        self._unread.clear()
        return count

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Most waits end early, so one timer serves many of them: when it rings too soon for the present one, it is set anew."""
        if self._alarm is not None:
            if self._rings <= self._until:
                return
            self._alarm.cancel()
        self._alarm, self._rings = loop.call_at(self._until, self._ring, loop), self._until

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        if self._waiter is None:
            return
        if loop.time() < self._until:
            self._set_alarm(loop)
        else:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
