"""Plays a recording back as a test: its frames in words, and its reads through our own asking side (`wattgate replay`).

The result depends on the recording and on our code alone, so a saved one is a test: whoever changes a decoder sees what changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gateway.adapters.line_tools.traffic import Piece
from gateway.adapters.lines.driver import BYTE_GAP_MS
from protocols.bcd import decode_digits
from protocols.decode import decode_line
from protocols.dlt645.codes import READ, READ_1997
from protocols.dlt645.frames import Deframer, Frame
from protocols.dlt645.master import Read
from protocols.errors import ProtocolError, Refused
from protocols.exchange import Done, Send

_DI_BYTES = {READ: 4, READ_1997: 2}
Row = dict[str, object]


@dataclass(slots=True)
class Replayed:
    """What a recording gave. rows: one object per frame or piece that is none, then one per read; skipped: bytes of no frame."""

    rows: list[Row] = field(default_factory=list)
    frames: int = 0
    skipped: int = 0
    reads: int = 0
    answered: int = 0


def replay(pieces: Sequence[Piece]) -> Replayed:
    """All that a recording holds, in its order."""
    result = Replayed()
    for row in _frames(pieces, result):
        result.rows.append(row)
    for row in _reads(pieces):
        result.reads += 1
        result.answered += row["outcome"] == "answered"
        result.rows.append(row)
    return result


def _frames(pieces: Sequence[Piece], result: Replayed) -> Iterator[Row]:
    """Bursts of one direction, each decoded as `wattgate decode --explain` does."""
    for at_us, direction, data in _bursts(pieces):
        found = decode_line(data.hex(), explain=True)
        frames = found["frames"]
        assert isinstance(frames, list)
        result.frames += len(frames)
        skipped = found["skipped"]
        result.skipped += skipped if isinstance(skipped, int) else 0
        yield {"us": at_us, "dir": direction, **found}


def _bursts(pieces: Sequence[Piece]) -> Iterator[tuple[int, str, bytes]]:
    """Neighbouring pieces of one direction with no more than the byte gap between them."""
    burst: list[Piece] = []
    for piece in pieces:
        if burst and (piece.direction != burst[0].direction or piece.at_us - burst[-1].at_us > BYTE_GAP_MS * 1000):
            yield burst[0].at_us, burst[0].direction, b"".join(p.data for p in burst)
            burst = []
        burst.append(piece)
    if burst:
        yield burst[0].at_us, burst[0].direction, b"".join(p.data for p in burst)


def _reads(pieces: Sequence[Piece]) -> Iterator[Row]:
    """Every read that was asked, put to our own exchange with the bytes that came after it, piece by piece as they came."""
    deframer, last_us = Deframer(), 0
    asked: _OpenRead | None = None
    for piece in pieces:
        if piece.at_us - last_us > BYTE_GAP_MS * 1000:
            deframer.flush()
        last_us = piece.at_us
        heard = piece.direction == "in"
        row = asked.hear(piece) if asked and heard else None
        for frame in deframer.feed(piece.data):
            if frame.is_response or (asked and asked.knows(frame, heard)):
                continue
            if asked:
                yield row or asked.silent()
            asked = _read_of(frame, piece)
            row = asked.hear(piece) if asked and heard else None
        if row is not None:
            yield row
            asked = None
    if asked:
        yield asked.silent()


class _OpenRead:
    """A read whose answer is awaited. question: its frame."""

    def __init__(self, question: Frame, di: str, at_us: int) -> None:
        self._row: Row = {"read": di, "address": question.address, "us": at_us}
        self._question, self._at_us = question, at_us
        self._exchange = Read(question.address, di)
        self._exchange.start()
        self._next: list[Frame] = []

    def hear(self, piece: Piece) -> Row | None:
        """The finished row, once the exchange is over."""
        try:
            step = self._exchange.feed(piece.data)
        except ProtocolError as error:
            outcome = "refused" if isinstance(error, Refused) else "malformed"
            return self._row | {"outcome": outcome, "why": str(error), "skipped": self._exchange.skipped}
        if isinstance(step, Send):
            self._next = Deframer().feed(step.data)
        if not isinstance(step, Done):
            return None
        answer = step.result
        values = {m.quantity: None if m.value is None else format(m.value, "f") for m in answer.items}
        took = {"outcome": "answered", "from": answer.address, "took_us": piece.at_us - self._at_us}
        return self._row | took | {"data": answer.data.hex().upper(), "values": values, "skipped": self._exchange.skipped}

    def knows(self, frame: Frame, heard: bool) -> bool:
        """Whether this question belongs to our read: the follow-up that it wants too, or an echo. A repetition is a new read."""
        return frame in self._next or (heard and frame == self._question)

    def silent(self) -> Row:
        """Nothing that answers came."""
        return self._row | {"outcome": "silent", "skipped": self._exchange.skipped}


def _read_of(frame: Frame, piece: Piece) -> _OpenRead | None:
    size = _DI_BYTES.get(frame.control)
    if size is None or len(frame.data) != size:
        return None
    try:
        return _OpenRead(frame, decode_digits(frame.data), piece.at_us)
    except ProtocolError:
        return None
