"""A line behind a TCP port: a serial server that passes bytes, or a device that speaks Modbus TCP itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from gateway.adapters.lines.transport import MAX_UNREAD, Inbox, LineDown

CONNECT_S = 2.0
"""A device that takes longer to accept is down; it is asked again soon, and must be back within 3 s of its return."""

UNACKNOWLEDGED_MS = 5_000
"""Bytes that the other end's kernel has not confirmed by then mean a cut cable or a lost power supply, which send no word."""

KEEPALIVE_S = 10
"""An idle connection is probed so often, so that a dead one is known before the next command needs it."""

MOST_UNSENT = 4_096
"""Bytes the other end may leave untaken, beyond what the kernel holds: ten questions; who takes none of them is jammed."""

MOST_BYTES_S = 65_536
"""What one connection may bring to be looked at, six lines of 115,200 baud: who babbles faster waits, and slows no other line."""

PIECE_COST = 32
"""Bytes that a piece counts as at least, because handling it takes time however small it is: 2,000 pieces a second."""

BURST_S = 1 / 16
"""How far a connection may run ahead of MOST_BYTES_S: by what is kept unread of one piece."""


class Stream(asyncio.Protocol):
    """One TCP connection, bounded both ways and watched for a silent death.

    hear: takes what arrives. lost: is told once why it ended, like "closed the connection", unless by `abort`.
    made: is told that it stands.
    """

    def __init__(
        self,
        hear: Callable[[bytes], None],
        lost: Callable[[str], None],
        made: Callable[[], None] | None = None,
        *,
        unacknowledged_ms: int = UNACKNOWLEDGED_MS,
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        self.hear, self.lost, self._made = hear, lost, made
        self._unacknowledged_ms, self._keepalive_s = unacknowledged_ms, keepalive_s
        self._wire: asyncio.Transport | None = None
        self._aborted = False
        self._paid_until = 0.0

    def send(self, data: bytes) -> str | None:
        """None when it is on its way, else why not, like "takes no bytes"."""
        if self._wire is None or self._wire.is_closing():
            return "closed the connection"
        if self._wire.get_write_buffer_size() > MOST_UNSENT:
            return "takes no bytes"
        self._wire.write(data)
        return None

    def abort(self) -> None:
        """Hang up; nothing unsent is worth waiting for."""
        self._aborted = True
        if self._wire is not None:
            self._wire.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        _watch(self._wire.get_extra_info("socket"), self._unacknowledged_ms, self._keepalive_s)
        if self._aborted:
            self._wire.abort()
        elif self._made is not None:
            self._made()

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        now, cost = loop.time(), min(max(len(data), PIECE_COST), MAX_UNREAD)
        self._paid_until = max(self._paid_until, now - BURST_S) + cost / MOST_BYTES_S
        if self._paid_until > now and self._wire is not None:
            self._wire.pause_reading()
            loop.call_at(self._paid_until, self._resume)
        if not self._aborted:
            self.hear(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._aborted:
            self.lost(f"broke the connection: {exc}" if exc else "closed the connection")

    def _resume(self) -> None:
        if self._wire is not None and not self._wire.is_closing():
            self._wire.resume_reading()


class TcpTransport:
    """A TCP connection to host and port."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._inbox = Inbox(f"{self.name} is not connected.")
        self._stream: Stream | None = None

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def down(self) -> str | None:
        return self._inbox.down

    async def open(self) -> None:
        await self.close()
        inbox = Inbox()
        stream = Stream(inbox.feed, lambda why: inbox.fail(f"{self.name} {why}."))
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().create_connection(lambda: stream, self.host, self.port)
        except TimeoutError:
            stream.abort()
            raise LineDown(f"{self.name} does not answer.") from None
        except ConnectionRefusedError:
            raise LineDown(f"Nothing listens on {self.name}.") from None
        except socket.gaierror:
            raise LineDown(f"The host name {self.host} is not known.") from None
        except OSError as error:
            raise LineDown(f"{self.name} cannot be reached: {error.strerror or error}.") from None
        self._stream, self._inbox = stream, inbox

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        self._inbox.fail(f"{self.name} is not connected.")
        if stream is not None:
            stream.abort()

    async def send(self, data: bytes) -> None:
        if self._stream is None or self.down is not None:
            raise LineDown(self.down or f"{self.name} is not connected.")
        if why := self._stream.send(data):
            raise LineDown(f"{self.name} {why}.")

    async def receive(self, timeout_s: float) -> bytes:
        return await self._inbox.take(timeout_s)

    def discard(self) -> int:
        return self._inbox.discard()


def _watch(sock: socket.socket, unacknowledged_ms: int, keepalive_s: int) -> None:
    """Send without delay and notice a silent death; what the system does not offer is left out."""
    wanted = [
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", keepalive_s),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", keepalive_s),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", unacknowledged_ms),
    ]
    for level, option, value in wanted:
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(level, getattr(socket, option), value)
