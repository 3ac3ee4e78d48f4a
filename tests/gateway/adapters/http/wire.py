"""HTTP over a bare socket, for tests that hang up in the middle, send slowly, or send what no client would."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

HEARD_WITHIN_S = 100.0


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer as it came."""

    status: int
    head: bytes
    body: bytes


def request_of(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request as bytes."""
    lines = {"host": "bank", **headers, **({"content-length": str(len(body))} if body or method == "POST" else {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


class Wire:
    """One connection that is opened again when it was cut. source: the address that it comes from, any that begins with 127."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._port, self._source = port, source
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Heard:
        """Send, and read the whole answer."""
        reader, writer = await self._open()
        writer.write(request)
        async with asyncio.timeout(HEARD_WITHIN_S):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(length)
        return Heard(int(head[9:12]), head, body)

    async def ask_and_hang_up(self, request: bytes, after: int) -> None:
        """Send, read at most so many bytes of the answer (0: not even wait for one), and cut the connection."""
        reader, writer = await self._open()
        writer.write(request)
        await writer.drain()
        if after:
            async with asyncio.timeout(HEARD_WITHIN_S):
                await reader.read(after)
        self.cut()

    def cut(self) -> None:
        """Hang up, with a reset where something is unread."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._source, 0))
        return self._streams
