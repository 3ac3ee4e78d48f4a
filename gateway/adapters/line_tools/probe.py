"""A raw look at a line: bytes out, and all that comes back with the microsecond it came. Judges nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.adapters.line_tools.relay import Relay
from gateway.adapters.line_tools.traffic import Piece, Tap, loop_us
from gateway.adapters.lines.transport import Transport
from protocols.dlt645.frames import WAKE_UP, Deframer, Frame

FIRST_BYTE_MS = 600
"""Waited for the first byte: Td is at most 500 ms (dlt645.md 2)."""

QUIET_MS = 100
"""Silence that ends what somebody says; serial servers hand bytes over in pieces up to 50 ms apart."""

GAP_MS = 30
"""Silence kept before a question."""

LONGEST_MS = 8_000
"""Who talks longer without a pause is babbling; the longest frame takes 5 s at 600 baud."""

MOST_BYTES = 65_536
"""Kept of one babble."""

RELAYED_MS = 20
"""Waited for what a gateway has heard already."""

GLITCH = 2
"""So many stray bytes beside an answer are the turning around of an RS-485 driver and not another meter."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came after a question. sent_us, left_us: when its first byte was handed over and its last was on the wire."""

    question: bytes
    sent_us: int
    left_us: int
    pieces: tuple[Piece, ...]

    @property
    def raw(self) -> bytes:
        """All bytes."""
        return b"".join(piece.data for piece in self.pieces)

    @property
    def echoed(self) -> bool:
        """Our own bytes came back first."""
        return bool(self.question) and self.raw.startswith(self.question)

    @property
    def data(self) -> bytes:
        """All bytes behind our own echo."""
        return self.raw[len(self.question) :] if self.echoed else self.raw

    @property
    def behind_echo(self) -> list[Piece]:
        """The pieces without our own bytes."""
        skip, left = len(self.question) if self.echoed else 0, []
        for piece in self.pieces:
            if data := piece.data[skip:]:
                left.append(Piece(piece.at_us, piece.direction, data))
            skip = max(0, skip - len(piece.data))
        return left

    @property
    def first(self) -> Piece | None:
        """The piece with the first byte of somebody else; None when nothing came."""
        return next(iter(self.behind_echo), None)

    def answers(self) -> list[Frame]:
        """The frames from meters."""
        return [frame for frame in _deframed(self.data)[0] if frame.is_response]

    def requests(self) -> list[Frame]:
        """The frames from another master."""
        return [frame for frame in _deframed(self.data)[0] if not frame.is_response]

    @property
    def stray(self) -> int:
        """Bytes that belong to no frame."""
        return _deframed(self.data)[1]

    @property
    def silent(self) -> bool:
        """Nothing came, or less than could be more than a glitch."""
        return len(self.data) <= GLITCH

    @property
    def garbled(self) -> bool:
        """More bytes came than frames and glitches explain: a collision, noise, a wrong setting."""
        return self.stray > GLITCH


class Probe:
    """Asks on one transport. baud: of the wire, None where bytes take no time that we know of.

    pieces: everything that passed since the last `forget`, for reports.
    """

    def __init__(self, transport: Transport, baud: int | None) -> None:
        self.pieces: list[Piece] = []
        self.byte_us = 11_000_000 / baud if baud else 0.0
        self._line = Tap(transport, self._note)
        self._relay = transport if isinstance(transport, Relay) else None
        self._last_us = 0

    @property
    def name(self) -> str:
        """Where the line leads, for people."""
        return self._line.name

    async def open(self) -> None:
        """Raises LineDown."""
        await self._line.open()

    async def close(self) -> None:
        """Let go of the device."""
        await self._line.close()

    async def ask(
        self,
        question: bytes,
        *,
        first_ms: int = FIRST_BYTE_MS,
        quiet_ms: int = QUIET_MS,
        others_ms: int | None = None,
        until: Callable[[bytes], bool] | None = None,
    ) -> Heard:
        """Send, and listen until the line is quiet again and `first_ms` have passed, or until all is said.

        until: told all bytes so far, whether that is all. others_ms: how long others are awaited once somebody has spoken.
        Raises LineDown.
        """
        await self._wait_for_quiet()
        sent_us = loop_us()
        await self._line.send(question)
        if self._relay is not None:
            sent_us = loop_us() - (self._relay.took_us or 0)
        left_us = sent_us + round(len(question) * self.byte_us)
        until_us = left_us + first_ms * 1000 if self._relay is None else loop_us() + RELAYED_MS * 1000
        pieces = await self._hear(until_us, quiet_ms if self._relay is None else 0, until, len(question), others_ms)
        return Heard(question, sent_us, left_us, tuple(pieces))

    async def ask_in_parts(self, first: bytes, pause_ms: int, second: bytes, *, first_ms: int = FIRST_BYTE_MS) -> Heard:
        """Send with a pause in between, as a converter does that splits; `question` is the whole. Raises LineDown."""
        await self._wait_for_quiet()
        sent_us = loop_us()
        await self._line.send(first)
        early = await self._hear(sent_us + round(len(first) * self.byte_us) + pause_ms * 1000, 0, None, 0)
        begun_us = loop_us()
        await self._line.send(second)
        left_us = begun_us + round(len(second) * self.byte_us)
        late = await self._hear(left_us + first_ms * 1000, QUIET_MS, None, len(second))
        return Heard(first + second, sent_us, left_us, (*early, *late))

    async def listen(self, ms: int) -> Heard:
        """What is said without being asked for. Raises LineDown."""
        now_us = loop_us()
        return Heard(b"", now_us, now_us, tuple(await self._hear(now_us + ms * 1000, 0, None, 0)))

    def forget(self) -> None:
        """Begin a new record."""
        self.pieces.clear()

    def _note(self, piece: Piece) -> None:
        self._last_us = piece.at_us
        if len(self.pieces) * 16 < MOST_BYTES:
            self.pieces.append(piece)

    async def _wait_for_quiet(self) -> None:
        until_us = loop_us() + LONGEST_MS * 1000
        if (wait_us := self._last_us + GAP_MS * 1000 - loop_us()) > 0:
            await asyncio.sleep(wait_us / 1e6)
        stray = self._line.discard()
        while stray and loop_us() < until_us:
            stray = len(await self._line.receive(GAP_MS / 1000))

    async def _hear(
        self, until_us: int, quiet_ms: int, enough: Callable[[bytes], bool] | None, own: int, others_ms: int | None = None
    ) -> list[Piece]:
        pieces: list[Piece] = []
        heard, begun_us = b"", loop_us()
        while (left_us := until_us - loop_us()) > 0 and loop_us() - begun_us < LONGEST_MS * 1000 and len(heard) < MOST_BYTES:
            data = await self._line.receive(left_us / 1e6)
            if not data:
                break
            pieces.append(Piece(loop_us(), "in", data))
            heard += data
            if len(heard) > own and enough and enough(heard):
                break
            if len(heard) > own and others_ms is not None:
                until_us, others_ms = min(until_us, loop_us() + others_ms * 1000), None
            until_us = max(until_us, loop_us() + quiet_ms * 1000)
        return pieces


def one_answer(heard: bytes) -> bool:
    """Whether a whole frame from a meter is among these bytes: for a single meter nothing more will come."""
    return any(frame.is_response for frame in _deframed(heard, flush=False)[0])


def starts_well(data: bytes) -> bool:
    """Whether bytes begin as an answer does: preamble or not, then 68.

    FE and 68 have an odd number of ones, so with even parity the parity bit looks like a stop bit: they alone survive a
    receiver that does not await the parity bit, and the rest does not. At a wrong speed nothing survives.
    """
    return data.lstrip(bytes([WAKE_UP])).startswith(b"\x68") and (data.startswith(bytes([WAKE_UP])) or len(data) > GLITCH)


def _deframed(data: bytes, flush: bool = True) -> tuple[list[Frame], int]:
    deframer = Deframer()
    frames = deframer.feed(data)
    if flush:
        frames += deframer.flush()
    return frames, deframer.skipped
