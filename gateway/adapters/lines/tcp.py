"""A line behind a TCP port: a serial server that passes bytes, or a device that speaks Modbus TCP itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from gateway.adapters.lines.transport import Inbox, LineDown

CONNECT_S = 2.0
"""A device that takes longer to accept is down; it is asked again soon, and must be back within 3 s of its return."""

UNACKNOWLEDGED_MS = 5_000
"""Bytes that the other end's kernel has not confirmed by then mean a cut cable or a lost power supply, which send no word."""

KEEPALIVE_S = 10
"""An idle connection is probed so often, so that a dead one is known before the next command needs it."""


class TcpTransport:
    """A TCP connection to host and port."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._inbox = Inbox(f"{self.name} is not connected.")
        self._stream: asyncio.Transport | None = None

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def down(self) -> str | None:
        return self._inbox.down

    async def open(self) -> None:
        await self.close()
        inbox = Inbox()
        try:
            async with asyncio.timeout(CONNECT_S):
                loop = asyncio.get_running_loop()
                stream, _ = await loop.create_connection(lambda: _Reader(inbox, self.name), self.host, self.port)
        except TimeoutError:
            raise LineDown(f"{self.name} does not answer.") from None
        except ConnectionRefusedError:
            raise LineDown(f"Nothing listens on {self.name}.") from None
        except socket.gaierror:
            raise LineDown(f"The host name {self.host} is not known.") from None
        except OSError as error:
            raise LineDown(f"{self.name} cannot be reached: {error.strerror or error}.") from None
        self._stream, self._inbox = stream, inbox
        _watch(stream.get_extra_info("socket"))

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        self._inbox.fail(f"{self.name} is not connected.")
        if stream is not None:
            stream.abort()  # nothing unsent is worth waiting for

    async def send(self, data: bytes) -> None:
        if self._stream is None or self.down is not None:
            raise LineDown(self.down or f"{self.name} is not connected.")
        self._stream.write(data)

    async def receive(self, timeout_s: float) -> bytes:
        return await self._inbox.take(timeout_s)

    def discard(self) -> int:
        return self._inbox.discard()


class _Reader(asyncio.Protocol):
    def __init__(self, inbox: Inbox, name: str) -> None:
        self._inbox, self._name = inbox, name

    def data_received(self, data: bytes) -> None:
        self._inbox.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inbox.fail(f"{self._name} broke the connection: {exc}." if exc else f"{self._name} closed the connection.")


def _watch(sock: socket.socket) -> None:
    """Send without delay and notice a silent death; what the system does not offer is left out."""
    wanted = [
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", KEEPALIVE_S),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", KEEPALIVE_S),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
    ]
    for level, option, value in wanted:
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(level, getattr(socket, option), value)
