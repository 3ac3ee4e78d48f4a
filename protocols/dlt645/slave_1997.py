"""The answering side of DL/T 645-1997: what a master may ask, and the frames of the answers (dlt645.md 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from protocols.bcd import decode_digits, encode_digits
from protocols.dlt645 import codes
from protocols.dlt645.frames import Deframer, Frame
from protocols.dlt645.slave_2007 import BroadcastTimeRequest, UnknownRequest
from protocols.dlt645.slave_answers import MAX_ANSWER, reply
from protocols.dlt645.values import decode_second
from protocols.errors import RequestError


@dataclass(frozen=True, slots=True)
class Read97Request:
    """01. extra: what load records put behind the identifier."""

    control: ClassVar[int] = codes.READ_1997
    address: str
    di: str
    extra: bytes = b""


@dataclass(frozen=True, slots=True)
class Subsequent97Request:
    """02: the next part of what was read last; no number says which."""

    control: ClassVar[int] = codes.READ_NEXT_1997
    address: str
    di: str


@dataclass(frozen=True, slots=True)
class Reread97Request:
    """03: the last answer again."""

    control: ClassVar[int] = codes.REREAD_1997
    address: str


@dataclass(frozen=True, slots=True)
class Write97Request:
    """04. password: 6 digits, high pair first; data: the new value in wire order."""

    control: ClassVar[int] = codes.WRITE_1997
    address: str
    di: str
    level: int
    password: str
    data: bytes


@dataclass(frozen=True, slots=True)
class WriteAddress97Request:
    """0A."""

    control: ClassVar[int] = codes.WRITE_ADDRESS_1997
    address: str
    new: str


@dataclass(frozen=True, slots=True)
class ChangeSpeed97Request:
    """0C."""

    control: ClassVar[int] = codes.CHANGE_SPEED_1997
    address: str
    word: int


@dataclass(frozen=True, slots=True)
class ChangePassword97Request:
    """0F."""

    control: ClassVar[int] = codes.CHANGE_PASSWORD_1997
    address: str
    old_level: int
    old: str
    level: int
    password: str


@dataclass(frozen=True, slots=True)
class DemandReset97Request:
    """10. level and password: None and empty where the master sends none."""

    control: ClassVar[int] = codes.DEMAND_RESET_1997
    address: str
    level: int | None
    password: str


Request97 = (
    Read97Request
    | Subsequent97Request
    | Reread97Request
    | Write97Request
    | WriteAddress97Request
    | ChangeSpeed97Request
    | ChangePassword97Request
    | DemandReset97Request
    | BroadcastTimeRequest
    | UnknownRequest
)


class Slave97:
    """The bytes of a line to requests; answers of other meters are passed over. No clock: call `silence` after the byte gap."""

    def __init__(self, deframer: Deframer | None = None) -> None:
        self.deframer = deframer or Deframer()

    def feed(self, data: bytes) -> list[Request97]:
        """The requests that these bytes complete, to any address."""
        return [request_of_97(frame) for frame in self.deframer.feed(data) if not frame.is_response]

    def silence(self) -> list[Request97]:
        """The line has paused inside a frame: gives up false starts; the requests found behind them."""
        return [request_of_97(frame) for frame in self.deframer.flush() if not frame.is_response]


def request_of_97(frame: Frame) -> Request97:
    """The request that a frame from a master is."""
    parse = _PARSERS.get(frame.control)
    return (parse(frame.address, frame.data) if parse else None) or UnknownRequest(frame.address, frame.control, frame.data)


def read_answer_97(address: str, di: str, data: bytes, part: int = 0, preamble: int = 4) -> bytes:
    """Part `part` of the payload `data` of `di`: 81 or A1 for 0, then 82 or A2. Raises RequestError for one that does not exist."""
    wire_di = encode_digits(di)
    size = MAX_ANSWER - len(wire_di)
    begin = part * size
    if part and not (0 < part <= 255 and begin < len(data)):
        raise RequestError(f"{di} has no part {part}")
    more = 0x20 if begin + size < len(data) else 0
    control = (codes.READ_NEXT_1997 if part else codes.READ_1997) | 0x80 | more
    return reply(address, control, wire_di + data[begin : begin + size], preamble)


def reread_answer_97(address: str, di: str, data: bytes, preamble: int = 4) -> bytes:
    """83: the last answer again."""
    return reply(address, codes.REREAD_1997 | 0x80, encode_digits(di) + data, preamble)


def _read(address: str, data: bytes) -> Request97 | None:
    return Read97Request(address, decode_digits(data[:2]), data[2:]) if len(data) >= 2 else None


def _read_next(address: str, data: bytes) -> Request97 | None:
    return Subsequent97Request(address, decode_digits(data)) if len(data) == 2 else None


def _reread(address: str, data: bytes) -> Request97 | None:
    return None if data else Reread97Request(address)


def _write(address: str, data: bytes) -> Request97 | None:
    if len(data) < 6:
        return None
    return Write97Request(address, decode_digits(data[:2]), data[2], decode_digits(data[3:6]), data[6:])


def _broadcast_time(address: str, data: bytes) -> Request97 | None:
    return BroadcastTimeRequest(address, decode_second(data)) if len(data) == 6 else None


def _write_address(address: str, data: bytes) -> Request97 | None:
    return WriteAddress97Request(address, decode_digits(data)) if len(data) == 6 else None


def _change_speed(address: str, data: bytes) -> Request97 | None:
    return ChangeSpeed97Request(address, data[0]) if len(data) == 1 else None


def _change_password(address: str, data: bytes) -> Request97 | None:
    if len(data) != 8:
        return None
    return ChangePassword97Request(address, data[0], decode_digits(data[1:4]), data[4], decode_digits(data[5:]))


def _demand_reset(address: str, data: bytes) -> Request97 | None:
    if len(data) not in (0, 4):
        return None
    return DemandReset97Request(address, data[0] if data else None, decode_digits(data[1:]))


_PARSERS: dict[int, Callable[[str, bytes], Request97 | None]] = {
    codes.READ_1997: _read,
    codes.READ_NEXT_1997: _read_next,
    codes.REREAD_1997: _reread,
    codes.WRITE_1997: _write,
    codes.BROADCAST_TIME: _broadcast_time,
    codes.WRITE_ADDRESS_1997: _write_address,
    codes.CHANGE_SPEED_1997: _change_speed,
    codes.CHANGE_PASSWORD_1997: _change_password,
    codes.DEMAND_RESET_1997: _demand_reset,
}
