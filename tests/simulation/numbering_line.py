"""A line whose meters answer with the number of the question, so that an answer shows which question it belongs to.

DL/T 645 and Modbus RTU meters share one pair with true byte timing; some answers come late, at any time up to six seconds.
"""

from __future__ import annotations

from random import Random
from typing import TypeVar

from firmware_sim.station import Reply
from firmware_sim.wire import Wire
from gateway.adapters.lines.driver import FIRST_BYTE_MS, GAP_MS, Driver, Timed
from gateway.adapters.lines.late import Speaker
from protocols.bcd import decode_bcd, encode_bcd
from protocols.dlt645.frames import Deframer, Frame, encode
from protocols.dlt645.master import ReadAnswer
from protocols.exchange import Exchange
from protocols.modbus.slave import RtuSlave
from protocols.modbus.slave import answer as modbus_answer
from tests.simulation.memory_line import WireLine, loop_us
from tests.simulation.virtual_loop import VirtualClock

T = TypeVar("T")

LATEST_US = 6_000_000
WIDTHS = {"0001FF00": (4,) * 5, "00010000": (4,), "02030000": (3,), "02010100": (2,), "02020100": (3,)}
"""Bytes of each value behind these identifiers."""
DIGITS = 4
"""Of the number that every answer has room for; questions that are in flight together are never so far apart."""

RECENT = 100
"""An answer to one of so many earlier questions is another's; any other number was garbled on the way, behind a right checksum."""


class NumberingLine:
    """addresses: DL/T 645 meters. units: Modbus meters. late: the share of answers that come late. delays_us: of the others."""

    def __init__(
        self,
        addresses: tuple[str, ...],
        units: tuple[int, ...],
        rng: Random,
        *,
        baud: int = 2400,
        late: float = 0.2,
        noise: float = 0.0,
        echo: bool = False,
        delays_us: tuple[int, int] = (20_000, 180_000),
    ) -> None:
        self.transport = WireLine(Wire(self._receive, baud, rng, 0, noise, echo))
        self.driver = CheckingDriver(self, baud)
        self.late = late
        self.late_answers = 0
        self._addresses, self._rng, self._delays_us = addresses, rng, delays_us
        self._deframer, self._slave = Deframer(), RtuSlave(units)

    @property
    def asked(self) -> int:
        """Questions so far."""
        return len(self.transport.sent)

    def _receive(self, data: bytes, start_us: int, end_us: int) -> list[Reply]:
        self._deframer.flush()
        self._slave.silence()
        number = self.asked % 10**DIGITS
        replies = [self._reply(modbus_answer(r, [number] * r.count)) for r in self._slave.feed(data)]
        for frame in self._deframer.feed(data):
            di = frame.data[:4][::-1].hex().upper()
            if not frame.is_response and frame.address in self._addresses and di in WIDTHS:
                values = b"".join(encode_bcd(number, width) for width in WIDTHS[di])
                replies.append(self._reply(encode(Frame(frame.address, frame.control | 0x80, frame.data[:4] + values))))
        return replies

    def _reply(self, data: bytes) -> Reply:
        delay_us = self._rng.randrange(*self._delays_us)
        if self._rng.random() < self.late:
            self.late_answers += 1
            delay_us += self._rng.randrange(LATEST_US)
        return Reply(delay_us, data)


class CheckingDriver(Driver):
    """Looks at every answer before whoever asked gets it."""

    def __init__(self, line: NumberingLine, baud: int) -> None:
        super().__init__(line.transport, baud=baud, clock=VirtualClock())
        self.right = self.garbled = 0
        self.wrong: list[str] = []
        self._line = line

    async def run(
        self,
        exchange: Exchange[T],
        *,
        first_byte_timeout_ms: int = FIRST_BYTE_MS,
        gap_ms: int = GAP_MS,
        lead_chars: float = 0.0,
        who: Speaker | None = None,
        until_ms: int | None = None,
    ) -> Timed[T]:
        patience = first_byte_timeout_ms
        timed = await super().run(
            exchange, first_byte_timeout_ms=patience, gap_ms=gap_ms, lead_chars=lead_chars, who=who, until_ms=until_ms
        )
        number, asked = _number(timed.value), self._line.asked % 10**DIGITS
        if number == asked:
            self.right += 1
        elif number is None or (asked - number) % 10**DIGITS > RECENT:
            self.garbled += 1
        else:
            self.wrong.append(f"at {loop_us()} us question {asked} got the answer to {number}: {timed.value}")
        return timed


def _number(value: object) -> int | None:
    if isinstance(value, ReadAnswer):
        return decode_bcd(value.data[: WIDTHS[value.di][0]])
    assert isinstance(value, tuple)
    return int(value[0])
