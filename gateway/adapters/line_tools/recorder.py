"""Records line traffic to a file, only listening or while a meter is read again and again (`wattgate capture`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TextIO

from gateway.adapters.clock import Clock
from gateway.adapters.line_tools.place import Place
from gateway.adapters.line_tools.traffic import Header, Piece, Tap, loop_us, written_header, written_piece
from gateway.adapters.lines.driver import Driver, NoAnswer
from gateway.adapters.lines.transport import Transport
from protocols.dlt645.master import Read
from protocols.errors import ProtocolError

LISTEN_S = 1.0
"""Between two looks at the clock while nothing is said."""


class Recorder:
    """One recording. reads: pairs of address and identifier that are asked in turn, none: only listen.

    Every piece is in the file before the next is awaited, so that a recording that is broken off is good up to there.
    """

    def __init__(
        self, place: Place, file: TextIO, clock: Clock, reads: Sequence[tuple[str, str]] = (), every_s: float = 0.0
    ) -> None:
        self.pieces = self.bytes = self.answers = self.failures = 0
        self._place, self._file, self._clock = place, file, clock
        self._reads, self._every_s = reads, every_s
        self._begun_us = 0

    async def record(self, seconds: float | None, transport: Transport | None = None) -> None:
        """Until the time is up (None: until cancelled). Raises LineDown, and RequestError for what cannot be asked."""
        for address, di in self._reads:
            Read(address, di).start()
        tap = Tap(transport or self._place.transport(), self._keep)
        await tap.open()
        self._begun_us = loop_us()
        self._file.write(written_header(self._header()))
        self._file.flush()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await (self._ask(tap) if self._reads else self._listen(tap))
        finally:
            await tap.close()

    def _header(self) -> Header:
        begun = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self._clock.now_ms())
        parity = self._place.setting.parity if self._place.settable else None
        return Header(self._place.name, self._place.baud, parity, begun.isoformat(timespec="milliseconds").replace("+00:00", "Z"))

    async def _listen(self, tap: Tap) -> None:
        while True:
            await tap.receive(LISTEN_S)

    async def _ask(self, tap: Tap) -> None:
        driver = Driver(tap, baud=self._place.baud, clock=self._clock)
        while True:
            for address, di in self._reads:
                try:
                    await driver.run(Read(address, di), gap_ms=self._place.gap_ms)
                    self.answers += 1
                except (NoAnswer, ProtocolError):
                    self.failures += 1
            await asyncio.sleep(self._every_s)

    def _keep(self, piece: Piece) -> None:
        self.pieces += 1
        self.bytes += len(piece.data)
        self._file.write(written_piece(Piece(piece.at_us - self._begun_us, piece.direction, piece.data)))
        self._file.flush()
