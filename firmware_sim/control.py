"""The handle over HTTP: a small server around `handle.Handle` (contract 8)."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import unquote, urlsplit

from firmware_sim.banking.control import Desks
from firmware_sim.handle import Handle, Problem
from firmware_sim.line import LineError, reason

MAX_BODY = 65_536  # a load table of 200 steps takes a tenth of it
MAX_HEADERS = 100
MAX_CONNECTIONS = 64  # a page, a bench and some curls
IDLE_S = 30.0
STATUS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
}


class ControlServer:
    """HTTP/1.1 with keep-alive around a Handle."""

    def __init__(self, handle: Handle, host: str, port: int, desks: Desks | None = None) -> None:
        self._handle, self._desks = handle, desks
        self.host = host
        self.port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen; `port` becomes the real one. Raises LineError."""
        try:
            self._server = await asyncio.start_server(self._client, self.host, self.port, limit=MAX_BODY)
        except OSError as error:
            raise LineError(f"The handle's port {self.host}:{self.port} cannot be opened: {reason(error)}.") from error
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening and hang up."""
        if self._server:
            self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(writer)
        try:
            while await asyncio.wait_for(self._exchange(reader, writer), IDLE_S):
                pass
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        except asyncio.CancelledError:
            pass  # the simulator ends, and so does this task; asyncio would log a cancelled connection as an error
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. False: the connection is over."""
        line = await reader.readline()
        if not line.strip():
            return False
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS + 1):
            name, _, value = (await reader.readline()).decode("latin-1").strip().partition(":")
            if not name:
                break
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY or "transfer-encoding" in headers:
            self._send(writer, 413, {"error": f"A body has a content-length of at most {MAX_BODY}."}, keep=False)
            return False
        body = await reader.readexactly(length)
        keep = headers.get("connection", "").lower() != "close"
        try:
            parts = [unquote(part) for part in urlsplit(target).path.split("/") if part]
            self._send(writer, 200, await self._answer(method, parts, body), keep)
        except Problem as problem:
            self._send(writer, problem.status, {"error": str(problem)}, keep)
        await writer.drain()
        return keep

    async def _answer(self, method: str, parts: list[str], body: bytes) -> object:
        if parts[:3] == ["sim", "v1", "banks"] and self._desks is not None:
            return await self._desks.answer(method, parts[3:], body)
        return self._handle.answer(method, parts, body)

    @staticmethod
    def _send(writer: asyncio.StreamWriter, status: int, content: object, keep: bool) -> None:
        body = json.dumps(content).encode() + b"\n"
        head = (
            f"HTTP/1.1 {status} {STATUS[status]}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"connection: {'keep-alive' if keep else 'close'}",
        )
        writer.write("\r\n".join((*head, "", "")).encode() + body)
