"""A TCP connection's way that can stall, lose everything silently, or break: 127.0.0.1 to a broker."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum

PIECE = 65_536


class Mood(Enum):
    """What becomes of bytes that come in. STALL: they wait. SWALLOW: they vanish, and both ends believe that all is well."""

    PASS = "pass"
    STALL = "stall"
    SWALLOW = "swallow"


class Wire:
    """Listens on a port of its own once started."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target, self.port, self.accepted = (host, port), 0, 0
        self._mood, self._changed = Mood.PASS, asyncio.Event()
        self._server: asyncio.Server | None = None
        self._ways: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._ways:
            await asyncio.wait(self._ways)

    def be(self, mood: Mood) -> None:
        """From now on, also for connections that stand."""
        self._mood = mood
        self._changed.set()
        self._changed = asyncio.Event()

    def cut(self) -> None:
        """Every connection breaks."""
        for way in self._ways:
            way.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(*self._target)
            way = asyncio.ensure_future(self._carry(reader, writer, there, back))
            self._ways.add(way)
            way.add_done_callback(self._ways.discard)
            return
        writer.close()

    async def _carry(self, *ends: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        near, near_out, far, far_out = ends
        assert isinstance(near, asyncio.StreamReader) and isinstance(far, asyncio.StreamReader)
        assert isinstance(near_out, asyncio.StreamWriter) and isinstance(far_out, asyncio.StreamWriter)
        ways = {asyncio.ensure_future(self._one(near, far_out)), asyncio.ensure_future(self._one(far, near_out))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            near_out.close()
            far_out.close()

    async def _one(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(PIECE):
                while self._mood is Mood.STALL:
                    await self._changed.wait()
                if self._mood is Mood.PASS:
                    sink.write(piece)
                    await sink.drain()
