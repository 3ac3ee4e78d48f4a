"""The answering side of DL/T 645-2007: bytes to typed requests, and the frames of the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from protocols.bcd import decode_bcd, decode_digits, encode_digits
from protocols.dlt645 import codes
from protocols.dlt645.frames import ANY, BROADCAST, Deframer, Frame, covers, encode
from protocols.dlt645.values import decode_minute, decode_second
from protocols.errors import RequestError

MAX_ANSWER = 200
"""DATA bytes of one answer (DL/T 645-2007); longer payloads are split and asked for with 12."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """11. count and when: only for load records; the number of blocks and the naive meter-local time of the first."""

    control: ClassVar[int] = codes.READ
    address: str
    di: str
    count: int | None = None
    when: datetime | None = None


@dataclass(frozen=True, slots=True)
class SubsequentRequest:
    """12: part `seq` (1 to 255) of an answer that was too long for one frame."""

    control: ClassVar[int] = codes.READ_NEXT
    address: str
    di: str
    seq: int


@dataclass(frozen=True, slots=True)
class ReadAddressRequest:
    """13."""

    control: ClassVar[int] = codes.READ_ADDRESS
    address: str


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """1C in plain text. code: N1 as received; password and operator: digits high pair first; level: PA.

    expiry: None when `expiry_raw` (6 bytes, wire order) is no date, or is missing as in the short form (L = 9) in the wild.
    """

    control: ClassVar[int] = codes.CONTROL
    address: str
    code: int
    level: int
    password: str
    operator: str
    n2: int
    expiry: datetime | None
    expiry_raw: bytes


@dataclass(frozen=True, slots=True)
class BroadcastTimeRequest:
    """08. when: naive; None when the bytes are no date."""

    control: ClassVar[int] = codes.BROADCAST_TIME
    address: str
    when: datetime | None


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """14. password and operator: digits high pair first; data: the new value in wire order."""

    control: ClassVar[int] = codes.WRITE
    address: str
    di: str
    level: int
    password: str
    operator: str
    data: bytes


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """Any other request, and known ones whose DATA has an impossible length."""

    address: str
    control: int
    data: bytes


Request = (
    ReadRequest | SubsequentRequest | ReadAddressRequest | ControlRequest | BroadcastTimeRequest | WriteRequest | UnknownRequest
)


class Slave:
    """The bytes of a line to requests; answers of other meters are passed over. No clock: call `silence` after the byte gap."""

    def __init__(self, deframer: Deframer | None = None) -> None:
        self.deframer = deframer or Deframer()

    def feed(self, data: bytes) -> list[Request]:
        """The requests that these bytes complete, to any address."""
        return _requests(self.deframer.feed(data))

    def silence(self) -> list[Request]:
        """The line has paused inside a frame: gives up false starts; the requests found behind them."""
        return _requests(self.deframer.flush())


def matches(pattern: str, own_address: str) -> bool:
    """Whether a request to `pattern` is for this meter: its own address, AA for any pair, 99 x 6 for everybody."""
    return pattern == BROADCAST or covers(pattern, own_address)


def read_answer(address: str, di: str, data: bytes, seq: int = 0, preamble: int = 4) -> bytes:
    """Part `seq` of the payload `data` of `di`: 91 or B1 for 0, then 92 or B2 with SEQ at its end.

    address: the meter's own. Raises RequestError for a part that does not exist.
    """
    wire_di = encode_digits(di)
    first, later = MAX_ANSWER - len(wire_di), MAX_ANSWER - len(wire_di) - 1
    begin = first + (seq - 1) * later if seq else 0
    end = begin + (later if seq else first)
    if seq and not (0 < seq <= 255 and begin < len(data)):
        raise RequestError(f"{di} has no part {seq}")
    control = (codes.READ_NEXT if seq else codes.READ) | 0x80 | (0x20 if end < len(data) else 0)
    return _reply(address, control, wire_di + data[begin:end] + (bytes([seq]) if seq else b""), preamble)


def address_answer(address: str, preamble: int = 4) -> bytes:
    """93 with the meter's own address."""
    return _reply(address, codes.READ_ADDRESS | 0x80, encode_digits(address), preamble)


def control_answer(address: str, word: bytes = b"", preamble: int = 4) -> bytes:
    """9C: accepted; word: the 2 bytes of the extended answer."""
    return _reply(address, codes.CONTROL | 0x80, word, preamble)


def write_answer(address: str, preamble: int = 4) -> bytes:
    """94: written."""
    return _reply(address, codes.WRITE | 0x80, b"", preamble)


def error_answer(address: str, control: int, error: int | bytes, preamble: int = 4) -> bytes:
    """The refusal of a request with this control code. error: the byte ERR, or a whole word in wire order."""
    return _reply(address, control | 0xC0, bytes([error]) if isinstance(error, int) else error, preamble)


def _reply(address: str, control: int, data: bytes, preamble: int) -> bytes:
    if not address.isdecimal() or address in (ANY, BROADCAST):
        raise RequestError(f"a meter answers with its own address, not with {address!r}")
    return encode(Frame(address, control, data), preamble)


def _requests(frames: list[Frame]) -> list[Request]:
    return [_request(frame) for frame in frames if not frame.is_response]


def _request(frame: Frame) -> Request:
    parse = _PARSERS.get(frame.control)
    return (parse(frame) if parse else None) or UnknownRequest(frame.address, frame.control, frame.data)


def _read(frame: Frame) -> Request | None:
    data = frame.data
    if len(data) not in (4, 5, 10):
        return None
    count = decode_bcd(data[4:5])
    return ReadRequest(frame.address, decode_digits(data[:4]), count, decode_minute(data[5:]))


def _read_next(frame: Frame) -> Request | None:
    if len(frame.data) != 5 or not frame.data[4]:
        return None
    return SubsequentRequest(frame.address, decode_digits(frame.data[:4]), frame.data[4])


def _read_address(frame: Frame) -> Request | None:
    return None if frame.data else ReadAddressRequest(frame.address)


def _control(frame: Frame) -> Request | None:
    data = frame.data
    if len(data) not in (9, 16):
        return None
    level, password, operator = _credentials(data)
    n2 = data[9] if len(data) > 9 else 0
    return ControlRequest(frame.address, data[8], level, password, operator, n2, decode_second(data[10:]), data[10:])


def _broadcast_time(frame: Frame) -> Request | None:
    return BroadcastTimeRequest(frame.address, decode_second(frame.data)) if len(frame.data) == 6 else None


def _write(frame: Frame) -> Request | None:
    if len(frame.data) < 12:
        return None
    return WriteRequest(frame.address, decode_digits(frame.data[:4]), *_credentials(frame.data[4:]), frame.data[12:])


def _credentials(data: bytes) -> tuple[int, str, str]:
    """PA, password, operator."""
    return data[0], decode_digits(data[1:4]), decode_digits(data[4:8])


_PARSERS: dict[int, Callable[[Frame], Request | None]] = {
    codes.READ: _read,
    codes.READ_NEXT: _read_next,
    codes.READ_ADDRESS: _read_address,
    codes.CONTROL: _control,
    codes.BROADCAST_TIME: _broadcast_time,
    codes.WRITE: _write,
}
