"""One raw read for a person at a tool, on a line that a gateway has: what may be asked, and the exchange that asks it.

Only what cannot change anything in any meter: DL/T 645 reads (11, 12, 13; in 1997 01, 02) and Modbus functions 1 to 4. 1997's
re-read 03 stays out, for in 2007 the same code carries money.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from protocols.dlt645 import codes
from protocols.dlt645.frames import BROADCAST, WAKE_UP, Deframer, Frame, covers
from protocols.exchange import Done, NeedMore, Step
from protocols.modbus.frames import MAX_UNIT, RESPONSES, RtuScanner, TcpDeframer, rtu_intact, rtu_size, tcp_pack

Wire = Literal["dlt645", "modbus-rtu", "modbus-tcp"]

DLT645_READS = frozenset({codes.READ, codes.READ_NEXT, codes.READ_ADDRESS, codes.READ_1997, codes.READ_NEXT_1997})
MODBUS_READS = range(1, 5)
MODBUS_REQUEST = 8
"""Bytes of each of these four on a serial line."""

MOST_PREAMBLE = 16
"""FE in front of a frame: the standard has 4, sleepy optical heads want more."""

MOST_HEARD = 4_096
"""Bytes kept of what comes back: fifteen of the longest frames; who talks longer is babbling."""


class NotARead(ValueError):
    """What a tool wants to say could change something, or is no frame; one sentence."""


@dataclass(frozen=True, slots=True)
class RawRead:
    """A question that was looked at. alone: one device is asked, so that nothing is awaited behind a whole answer.

    address, di: of DL/T 645, as it was asked and as it travels. unit: of Modbus. function: of either.
    """

    data: bytes
    wire: Wire
    unit: int = 0
    function: int = 0
    alone: bool = True
    address: str = ""
    di: bytes = b""

    def answered_by(self, frame: Frame) -> bool:
        """Whether this DL/T 645 frame answers the question, also with a refusal."""
        meant = self.address == BROADCAST or "A" in frame.address or covers(self.address, frame.address)
        told = frame.is_error or frame.data.startswith(self.di)
        return frame.is_response and frame.function == self.function and meant and told


def raw_read(data: bytes, wire: Wire) -> RawRead:
    """These bytes as one read. Raises NotARead."""
    if wire == "dlt645":
        return _dlt645(data)
    if wire == "modbus-rtu":
        if len(data) != MODBUS_REQUEST or not rtu_intact(data):
            raise NotARead(f"the bytes are not one Modbus RTU read of {MODBUS_REQUEST} bytes with the right CRC")
        return _modbus(data, wire, data[0], data[1])
    frames = TcpDeframer().feed(data)
    if len(frames) != 1 or frames[0].size != len(data) or len(frames[0].pdu) != MODBUS_REQUEST - 3:
        raise NotARead("the bytes are not one Modbus TCP read")
    return _modbus(data, wire, frames[0].unit, frames[0].pdu[0])


def _dlt645(data: bytes) -> RawRead:
    frame_bytes = data.lstrip(bytes([WAKE_UP]))
    frames = Deframer().feed(frame_bytes)
    if len(frames) != 1 or frames[0].size != len(frame_bytes) or len(data) - len(frame_bytes) > MOST_PREAMBLE:
        raise NotARead("the bytes are not one DL/T 645 frame")
    frame = frames[0]
    if frame.control not in DLT645_READS:
        known = ", ".join(f"{code:02X}" for code in sorted(DLT645_READS))
        raise NotARead(f"control {frame.control:02X} may change something in a meter; only reads ({known}) go through a gateway")
    everybody = frame.control == codes.READ_ADDRESS or frame.address == BROADCAST or not frame.address.isdecimal()
    di = frame.data[: 2 if frame.control in (codes.READ_1997, codes.READ_NEXT_1997) else 4]
    return RawRead(data, "dlt645", function=frame.control, alone=not everybody, address=frame.address, di=di)


def _modbus(data: bytes, wire: Wire, unit: int, function: int) -> RawRead:
    if function not in MODBUS_READS:
        raise NotARead(f"Modbus function {function} may change something in a device; only reads (1 to 4) go through a gateway")
    if not 1 <= unit <= MAX_UNIT:
        raise NotARead(f"{unit} is no Modbus unit that answers: it is a number from 1 to {MAX_UNIT}")
    return RawRead(data, wire, unit, function)


class RawExchange:
    """Asks a raw read; `heard` is all that came back, also where it is no answer, `heard_ms` when the last of it came (UTC ms).

    number: the transaction on Modbus TCP. now_ms: the clock; the driver's own time of an answer is later where all are waited for.
    """

    answered = True

    def __init__(self, read: RawRead, number: int = 0, now_ms: Callable[[], int] = lambda: 0) -> None:
        self.skipped = 0
        self.heard, self.heard_ms = b"", 0
        self._now_ms = now_ms
        self._read, self._number = read, number
        self._frames = Deframer()
        self._rtu = RtuScanner(self._size_at)
        self._tcp = TcpDeframer()
        self._complete = False

    def start(self) -> bytes:
        """The bytes of the question."""
        if self._read.wire == "modbus-tcp":
            return self._number.to_bytes(2, "big") + self._read.data[2:]
        return self._read.data

    def feed(self, data: bytes) -> Step[bytes]:
        """Done with the first whole answer where only one device was asked."""
        self.heard_ms = self._now_ms()
        self.heard = (self.heard + self._renumbered(data))[:MOST_HEARD]
        self._complete = self._complete or self._completes(data)
        if (self._complete and self._read.alone) or len(self.heard) == MOST_HEARD:
            return Done(self.heard)
        return NeedMore(begun=True)

    def silence(self) -> Step[bytes]:
        """Done where somebody answered; else the driver calls it silence or garbage, and outwaits a late answer."""
        self._complete = self._complete or any(self._read.answered_by(frame) for frame in self._frames.flush())
        return Done(self.heard) if self._complete else NeedMore()

    def _completes(self, data: bytes) -> bool:
        if self._read.wire == "dlt645":
            return any(self._read.answered_by(frame) for frame in self._frames.feed(data))
        return bool(self._rtu.feed(data)) if self._read.wire == "modbus-rtu" else self._complete

    def _renumbered(self, data: bytes) -> bytes:
        """On Modbus TCP only the frame that answers, under the number that the tool gave it."""
        if self._read.wire != "modbus-tcp":
            return data
        own = b""
        for frame in self._tcp.feed(data):
            if frame.transaction_id == self._number and frame.unit == self._read.unit:
                own += tcp_pack(frame.unit, frame.pdu, int.from_bytes(self._read.data[:2], "big"))
                self._complete = True
        return own

    def _size_at(self, rest: bytes) -> int:
        """The length of the RTU answer that begins here, 0 when none can."""
        functions = (self._read.function, self._read.function | 0x80)
        if rest[0] != self._read.unit or (len(rest) > 1 and rest[1] not in functions):
            return 0
        return rtu_size(RESPONSES, rest)
