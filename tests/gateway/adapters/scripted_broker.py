"""A broker of a hundred lines that says what the test wants, and shows every packet as it came over the wire (MQTT 5 and 3.1.1)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


@dataclass(frozen=True, slots=True)
class Connect:
    """A client's first packet. properties: None with MQTT 3.1.1."""

    level: int
    clean: bool
    keepalive_s: int
    properties: dict[str, Any] | None
    will: Publish | None
    username: str | None
    password: str | None


@dataclass(frozen=True, slots=True)
class Publish:
    """A message, or a will."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict[str, Any] | None
    mid: int = 0


@dataclass(slots=True)
class ScriptedBroker:
    """code: of every CONNACK, -1: it hangs up instead. only_4: MQTT 5 is answered as a broker of 3.1.1 does. said: the CONNACK's
    properties.

    puback: reason of every answer to a message, None: no answer. most: the greatest number of messages unanswered at once.
    acked: packet numbers that the client has acknowledged.
    """

    code: int = 0
    only_4: bool = False
    said: dict[str, int] = field(default_factory=dict)
    puback: int | None = 0
    answer_s: float = 0.0
    port: int = 0
    times: list[float] = field(default_factory=list)
    connects: list[Connect] = field(default_factory=list)
    subscribed: list[tuple[str, int]] = field(default_factory=list)
    heard: list[Publish] = field(default_factory=list)
    acked: list[int] = field(default_factory=list)
    farewells: list[int] = field(default_factory=list)
    most: int = 0
    _open: int = 0
    _level: int = 4
    _writer: asyncio.StreamWriter | None = None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[ScriptedBroker]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            if self._writer is not None:
                self._writer.close()

    def send(self, topic: str, payload: bytes, mid: int, **properties: object) -> None:
        """A message (QoS 1) to the client."""
        body = _text(topic) + mid.to_bytes(2, "big") + self._pack(PacketTypes.PUBLISH, properties) + payload
        self._say(PUBLISH << 4 | 2, body)

    def disconnect(self, code: int) -> None:
        """End the connection and say why (MQTT 5)."""
        self._say(DISCONNECT << 4, bytes((code, 0)))
        assert self._writer is not None
        self._writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer, self._open = writer, 0
        self.times.append(asyncio.get_running_loop().time())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readexactly(1))[0]
                body = await reader.readexactly(await _length(reader))
                if not await self._hear(head, body):
                    break
        writer.close()

    async def _hear(self, head: int, body: bytes) -> bool:
        kind = head >> 4
        if kind == CONNECT:
            return self._connect(body)
        if kind == PUBLISH:
            self._publish(head, body)
        elif kind == SUBSCRIBE:
            self._subscribe(body)
        elif kind == PUBACK:
            self.acked.append(int.from_bytes(body[:2], "big"))
        elif kind == PINGREQ:
            self._say(0xD0, b"")
        elif kind == DISCONNECT:
            self.farewells.append(body[0] if body else 0)
            return False
        return True

    def _connect(self, body: bytes) -> bool:
        _, rest = _field(body)
        self._level, flags = rest[0], rest[1]
        keepalive_s, rest = int.from_bytes(rest[2:4], "big"), rest[4:]
        properties, rest = self._unpack(PacketTypes.CONNECT, rest)
        _, rest = _field(rest)
        will = None
        if flags & 0x04:
            of_will, rest = self._unpack(PacketTypes.WILLMESSAGE, rest)
            topic, rest = _field(rest)
            payload, rest = _field(rest)
            will = Publish(topic.decode(), payload, flags >> 3 & 3, bool(flags & 0x20), of_will)
        username, rest = _field(rest) if flags & 0x80 else (None, rest)
        password, rest = _field(rest) if flags & 0x40 else (None, rest)
        self.connects.append(
            Connect(
                self._level, bool(flags & 2), keepalive_s, properties, will,
                None if username is None else username.decode(), None if password is None else password.decode(),
            )
        )  # fmt: skip
        if self.code < 0:
            return False
        if self.only_4 and self._level == 5:
            self._say(0x20, b"\x00\x01")  # as a broker answers that knows no properties
            return False
        self._say(0x20, bytes((0, self.code)) + self._pack(PacketTypes.CONNACK, self.said))
        return self.code == 0

    def _publish(self, head: int, body: bytes) -> None:
        topic, rest = _field(body)
        qos, mid = head >> 1 & 3, 0
        if qos:
            mid, rest = int.from_bytes(rest[:2], "big"), rest[2:]
        properties, payload = self._unpack(PacketTypes.PUBLISH, rest)
        self.heard.append(Publish(topic.decode(), payload, qos, bool(head & 1), properties, mid))
        self._open += 1
        self.most = max(self.most, self._open)
        if self.puback is not None:
            asyncio.get_running_loop().call_later(self.answer_s, self._answer, mid, self.puback)

    def _answer(self, mid: int, code: int) -> None:
        self._open -= 1
        self._say(PUBACK << 4, mid.to_bytes(2, "big") + (bytes((code, 0)) if self._level == 5 else b""))

    def _subscribe(self, body: bytes) -> None:
        mid, rest = body[:2], body[2:]
        _, rest = self._unpack(PacketTypes.SUBSCRIBE, rest)
        topic, rest = _field(rest)
        self.subscribed.append((topic.decode(), rest[0]))
        self._say(0x90, mid + self._pack(PacketTypes.SUBACK, {}) + b"\x01")

    def _say(self, head: int, body: bytes) -> None:
        assert self._writer is not None and len(body) < 128
        if not self._writer.is_closing():
            self._writer.write(bytes((head, len(body))) + body)

    def _pack(self, kind: int, said: dict[str, Any]) -> bytes:
        if self._level != 5:
            return b""
        properties = Properties(kind)  # type: ignore[no-untyped-call]
        for name, value in said.items():
            setattr(properties, name, value)
        return bytes(properties.pack())  # type: ignore[no-untyped-call]

    def _unpack(self, kind: int, body: bytes) -> tuple[dict[str, Any] | None, bytes]:
        if self._level != 5:
            return None, body
        properties = Properties(kind)  # type: ignore[no-untyped-call]
        _, length = properties.unpack(body)  # type: ignore[no-untyped-call]
        return properties.json(), body[length:]  # type: ignore[no-untyped-call]


async def _length(reader: asyncio.StreamReader) -> int:
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return length


def _field(body: bytes) -> tuple[bytes, bytes]:
    end = 2 + int.from_bytes(body[:2], "big")
    return body[2:end], body[end:]


def _text(text: str) -> bytes:
    return len(text.encode()).to_bytes(2, "big") + text.encode()
