"""A line whose device dials in: a 4G or Ethernet converter that is a client, with a registration packet and heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from gateway.adapters.lines.heartbeats import Heartbeats
from gateway.adapters.lines.listen_hub import Caller, Listener, listener, written
from gateway.adapters.lines.tcp import Stream
from gateway.adapters.lines.transport import Inbox, LineDown, Tell, tell_nobody

DIAL_IN_S = 2.0
"""How long opening waits for a call: as long as for a connection of our own (tcp.py); modems dial again by themselves."""

REST_S = 5.0
"""A closed line still takes a call for so long, many times the pause before it is opened again: modems call back at once."""

PAUSE_S = 0.5
"""A pause in an answer after which it is over, beside the converter's own delay: the standard's limit (dlt645.md 2)."""


class ListenTransport:
    """The device that dials in to host and port as `caller`; a new connection of it replaces the old one.

    latency_ms: what the converter and its radio add. now_ms: UTC, for the time of the last connection.
    """

    def __init__(
        self,
        host: str,
        port: int,
        caller: Caller,
        *,
        now_ms: Callable[[], int],
        latency_ms: int = 0,
        tell: Tell = tell_nobody,
        dial_in_s: float = DIAL_IN_S,
    ) -> None:
        self.host, self.port, self.caller = host, port, caller
        self._now_ms, self._pause_s, self._tell, self._dial_in_s = now_ms, PAUSE_S + latency_ms / 1000, tell, dial_in_s
        self._listener: Listener | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._call: _Call | None = None
        self._waiting: _Call | None = None
        self._called = asyncio.Event()
        self._since_ms = now_ms()

    @property
    def name(self) -> str:
        said = self.caller.registration
        who = (said.decode() if said.isascii() and said.decode().isprintable() else said.hex(" ").upper()) or "any device"
        return f"{who} at {written(self.host, self.port)}"

    @property
    def down(self) -> str | None:
        return self._call.inbox.down if self._call is not None else f"{self.name} is not connected."

    @property
    def listening_port(self) -> int | None:
        """The port that may be called now; where any free one was asked for, the one it became."""
        return self._listener.port if self._listener is not None else None

    @property
    def turned_away(self) -> Mapping[str, int]:
        """Calls to this line's port that were refused, by reason."""
        return dict(self._listener.turned_away) if self._listener is not None else {}

    async def open(self) -> None:
        self._hang_up()
        if self._leaving is not None:
            self._leaving.cancel()
        self._listener = listener(self.host, self.port)
        self._listener.join(self, self._tell)
        try:
            async with asyncio.timeout(self._dial_in_s):
                while self._waiting is None:  # who has called may hang up again before we are awake
                    self._called.clear()
                    await self._called.wait()
        except TimeoutError:
            since = datetime.fromtimestamp(self._since_ms / 1000, UTC)
            raise LineDown(f"{self.name} has not dialled in since {since:%Y-%m-%d %H:%M:%S} UTC.") from None
        self._call, self._waiting = self._waiting, None
        self._call.inbox.discard()

    async def close(self) -> None:
        self._hang_up()
        if self._listener is not None:
            if self._leaving is not None:
                self._leaving.cancel()
            self._leaving = asyncio.get_running_loop().call_later(REST_S, self._leave, self._listener)

    async def send(self, data: bytes) -> None:
        if self._call is None or self.down is not None:
            raise LineDown(self.down or f"{self.name} is not connected.")
        if why := self._call.ask(data):
            raise LineDown(f"{self.name} {why}.")

    async def receive(self, timeout_s: float) -> bytes:
        if self._call is None:
            raise LineDown(f"{self.name} is not connected.")
        return await self._call.inbox.take(timeout_s)

    def discard(self) -> int:
        return self._call.inbox.discard() if self._call is not None else 0

    def take(self, stream: Stream, rest: bytes) -> None:
        """The device has called. Its new call is the one that works, whatever the old one looks like."""
        for old in (self._waiting, self._call):
            if old is not None:
                old.end("was replaced by a newer connection of the same device")
        self._waiting = _Call(self, stream, Heartbeats(self.caller.heartbeat, self._pause_s), self._pause_s)
        self._called.set()
        self._waiting.hear(rest)

    def lost(self, call: _Call) -> None:
        """The device has hung up, or was lost."""
        self._since_ms = self._now_ms()
        if call is self._waiting:
            self._waiting = None

    def _hang_up(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._since_ms = self._now_ms()
            call.end("is closed")

    def _leave(self, hub: Listener) -> None:
        self._listener = None
        hub.leave(self)
        if self._waiting is not None:
            self._waiting.end("is closed")
            self._waiting = None


class _Call:
    """One connection of the line's device, its heartbeats taken out and answered when nothing else is in the air."""

    def __init__(self, line: ListenTransport, stream: Stream, beats: Heartbeats, pause_s: float) -> None:
        self.inbox = Inbox()
        self._line, self._stream, self._beats, self._pause_s = line, stream, beats, pause_s
        self._loop = asyncio.get_running_loop()
        self._busy_until = 0.0
        self._owed: asyncio.TimerHandle | None = None
        stream.hear, stream.lost = self.hear, self._lost

    def ask(self, data: bytes) -> str | None:
        """Send a question, behind the answer to a heartbeat that is still owed; None, or why that is not possible."""
        if self._owed is not None:
            self._forget_owed()
            self._stream.send(self._line.caller.answer)
        self._busy_until = self._loop.time() + self._pause_s
        self._beats.asked()
        return self._stream.send(data)

    def hear(self, data: bytes) -> None:
        """Bytes of the device."""
        now = self._loop.time()
        rest, count = self._beats.hear(data, now)
        if rest:
            self._busy_until = now + self._pause_s
            self.inbox.feed(rest)
        if count and self._line.caller.answer and self._owed is None:
            self._owed = self._loop.call_at(max(now, self._busy_until), self._pay)

    def end(self, why: str) -> None:
        """Hang up."""
        self.inbox.fail(f"{self._line.name} {why}.")
        self._forget_owed()
        self._stream.abort()

    def _lost(self, why: str) -> None:
        self.inbox.fail(f"{self._line.name} {why}.")
        self._forget_owed()
        self._line.lost(self)

    def _pay(self) -> None:
        self._forget_owed()
        if self._busy_until > self._loop.time():
            self._owed = self._loop.call_at(self._busy_until, self._pay)
        else:
            self._stream.send(self._line.caller.answer)

    def _forget_owed(self) -> None:
        if self._owed is not None:
            self._owed.cancel()
            self._owed = None
