"""A wire between a client and its broker: passes everything on, and keeps what the client says by packets (MQTT 3.1.1 and 5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 1, 3, 8, 14


@dataclass(frozen=True)
class Packet:
    """What the client said. connection: the how many-th, from 0. Only fields of its kind are set."""

    kind: int
    connection: int
    version: int
    topic: str = ""
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    clean: bool = False
    will: bool = False
    session_expiry_s: int | None = None
    filters: tuple[tuple[str, int], ...] = ()
    reason: int | None = None


class Reader:
    """One packet's bytes from left to right."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, n: int) -> bytes:
        taken, self.rest = self.rest[:n], self.rest[n:]
        return taken

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "big")

    def text(self) -> bytes:
        return self.take(self.number(2))

    def length(self) -> int:
        """A variable byte integer."""
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value


def _connect(connection: int, body: Reader) -> Packet:
    body.text()
    version, flags = body.number(1), body.number(1)
    body.number(2)
    expiry: int | None = None
    if version == 5:
        properties = Reader(body.take(body.length()))
        while properties.rest:
            match properties.number(1):
                case 17:
                    expiry = properties.number(4)
                case 33:
                    properties.number(2)
                case other:
                    raise AssertionError(f"CONNECT has property {other}")
    body.text()
    will = bool(flags & 4)
    if will and version == 5:
        assert body.take(body.length()) == b"", "the will has properties"
    topic, payload = (body.text().decode(), body.text()) if will else ("", b"")
    return Packet(
        *(CONNECT, connection, version, topic, payload),
        qos=flags >> 3 & 3,
        retain=bool(flags & 32),
        clean=bool(flags & 2),
        will=will,
        session_expiry_s=expiry,
    )


def _publish(connection: int, version: int, flags: int, body: Reader) -> Packet:
    topic, qos = body.text().decode(), flags >> 1 & 3
    if qos:
        body.number(2)
    if version == 5:
        body.take(body.length())
    return Packet(PUBLISH, connection, version, topic, body.rest, qos, bool(flags & 1))


def _subscribe(connection: int, version: int, body: Reader) -> Packet:
    body.number(2)
    if version == 5:
        body.take(body.length())
    filters = []
    while body.rest:
        filters.append((body.text().decode(), body.number(1) & 3))
    return Packet(SUBSCRIBE, connection, version, filters=tuple(filters))


@dataclass
class Tap:
    """Listens on `port`. said: every packet that matters, in order over all connections."""

    broker_port: int
    port: int = 0
    said: list[Packet] = field(default_factory=list)
    connections: int = 0

    def published(self) -> Iterator[Packet]:
        return (packet for packet in self.said if packet.kind == PUBLISH)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection, self.connections = self.connections, self.connections + 1
        try:
            theirs, onward = await asyncio.open_connection("127.0.0.1", self.broker_port)
        except OSError:
            writer.transport.abort()
            return
        back = asyncio.create_task(_pour(theirs, writer))
        try:
            await self._listen(connection, reader, onward)
        except (asyncio.IncompleteReadError, ConnectionError):
            onward.transport.abort()  # no word of ours
        finally:
            back.cancel()
            writer.close()
            onward.close()

    async def _listen(self, connection: int, reader: asyncio.StreamReader, onward: asyncio.StreamWriter) -> None:
        version = 0
        while True:
            head = bytearray(await reader.readexactly(2))
            while head[-1] > 127:
                head += await reader.readexactly(1)
            body = await reader.readexactly(Reader(bytes(head[1:])).length())
            onward.write(bytes(head) + body)
            await onward.drain()
            kind, flags, read = head[0] >> 4, head[0] & 15, Reader(body)
            if kind == CONNECT:
                self.said.append(_connect(connection, read))
                version = self.said[-1].version
            elif kind == PUBLISH:
                self.said.append(_publish(connection, version, flags, read))
            elif kind == SUBSCRIBE:
                self.said.append(_subscribe(connection, version, read))
            elif kind == DISCONNECT:
                self.said.append(Packet(DISCONNECT, connection, version, reason=body[0] if body else 0))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def tapping(broker_port: int) -> AsyncIterator[Tap]:
    """The wire, on a port of its own."""
    tap = Tap(broker_port)
    server = await asyncio.start_server(tap.serve, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        server.close()
