"""Recorded line traffic: a transport that listens in, and its file of JSON lines with microsecond stamps.

The first line says what was recorded: {"wattgate": "capture", "version": 1, "line", "baud", "parity", "begun"} (null: not
known; `begun` is RFC 3339 in UTC). Every further line is one piece of bytes as the system handed it over:
{"us": microseconds since `begun`, "dir": "out" | "in", "hex": "..."}. "out" was sent by us; a passive recording is all "in".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.adapters.lines.transport import Inbox, LineDown, Transport

VERSION = 1
LINE_LIMIT = 1 << 20
"""Characters of one line of a file: far more than a transport hands over at once, and no file can fill the memory."""

MOST_PIECES = 2_000_000
"""Of one file, all of which is held at once: days of a busy line in half a gigabyte."""

LISTEN_S = 60.0
"""Between two looks at a line on which nothing happens."""

Direction = Literal["out", "in"]


class BadTraffic(ValueError):
    """A file is no recording of ours; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Header:
    """What was recorded. begun: RFC 3339 in UTC."""

    line: str
    baud: int | None
    parity: str | None
    begun: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes and when they were sent or had arrived, in microseconds."""

    at_us: int
    direction: Direction
    data: bytes


Sink = Callable[[Piece], None]


def loop_us() -> int:
    """The event loop's monotonic time in microseconds."""
    return round(asyncio.get_running_loop().time() * 1_000_000)


class Tap:
    """A transport that tells a sink of every byte that passes, also of those that nobody waits for, at the moment they come."""

    def __init__(self, transport: Transport, sink: Sink) -> None:
        self._transport, self._sink = transport, sink
        self._inbox = Inbox(f"{transport.name} is not open.")
        self._pump: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._transport.name

    @property
    def down(self) -> str | None:
        return self._inbox.down

    async def open(self) -> None:
        await self.close()
        await self._transport.open()
        self._inbox = Inbox()
        self._pump = asyncio.create_task(self._listen(self._inbox))

    async def close(self) -> None:
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.wait({pump})
        self._inbox.fail(f"{self.name} is closed.")
        await self._transport.close()

    async def send(self, data: bytes) -> None:
        at_us = loop_us()
        await self._transport.send(data)
        self._sink(Piece(at_us, "out", data))

    async def receive(self, timeout_s: float) -> bytes:
        return await self._inbox.take(timeout_s)

    def discard(self) -> int:
        return self._inbox.discard()

    async def _listen(self, inbox: Inbox) -> None:
        try:
            while True:
                if data := await self._transport.receive(LISTEN_S):
                    self._sink(Piece(loop_us(), "in", data))
                    inbox.feed(data)
        except LineDown as down:
            inbox.fail(str(down))


def written_header(header: Header) -> str:
    """The first line of a file."""
    first = {"wattgate": "capture", "version": VERSION, "line": header.line, "baud": header.baud, "parity": header.parity}
    return json.dumps(first | {"begun": header.begun}) + "\n"


def written_piece(piece: Piece) -> str:
    """One further line of a file; `at_us` counts from its beginning."""
    return json.dumps({"us": piece.at_us, "dir": piece.direction, "hex": piece.data.hex().upper()}) + "\n"


def read_traffic(lines: Iterable[str]) -> tuple[Header, list[Piece]]:
    """What a file holds. Raises BadTraffic that names the line; a last line that is cut off (power, full disk) is passed over."""
    rows = enumerate(lines, 1)
    header = _header(next(rows, (1, ""))[1])
    pieces: list[Piece] = []
    for number, piece in _pieces(rows):
        if pieces and piece.at_us < pieces[-1].at_us:
            raise BadTraffic(f"line {number}: time runs backwards")
        if len(pieces) == MOST_PIECES:
            raise BadTraffic(f"line {number}: more than {MOST_PIECES} pieces; split the file")
        pieces.append(piece)
    return header, pieces


def _header(text: str) -> Header:
    first = _object(text)
    if first is None or first.get("wattgate") != "capture":
        raise BadTraffic("this is no recording of `wattgate capture`")
    if first.get("version") != VERSION:
        raise BadTraffic(f"this recording has version {first.get('version')}, known is {VERSION}")
    baud, parity = first.get("baud"), first.get("parity")
    return Header(
        str(first.get("line", "")),
        baud if isinstance(baud, int) else None,
        parity if isinstance(parity, str) else None,
        str(first.get("begun", "")),
    )


def _pieces(rows: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Piece]]:
    for number, text in rows:
        if not text.strip():
            continue
        piece = _piece(text)
        if piece is not None:
            yield number, piece
        elif text.endswith("\n"):
            raise BadTraffic(f'line {number}: is not {{"us": ..., "dir": "out" or "in", "hex": ...}}')


def _piece(text: str) -> Piece | None:
    found = _object(text) or {}
    at_us, direction, digits = found.get("us"), found.get("dir"), found.get("hex")
    if type(at_us) is not int or not isinstance(digits, str):
        return None
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        return None
    if direction == "out":
        return Piece(at_us, "out", data)
    return Piece(at_us, "in", data) if direction == "in" else None


def _object(text: str) -> dict[str, object] | None:
    if len(text) > LINE_LIMIT:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
