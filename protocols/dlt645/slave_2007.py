"""What a master may ask of a 2007 meter: its requests as types, from frames (dlt645.md 3, 5 and 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from protocols.bcd import decode_bcd, decode_digits
from protocols.dlt645 import codes
from protocols.dlt645.frames import Frame
from protocols.dlt645.freeze_time import FreezeTime, decode_freeze_time
from protocols.dlt645.values import decode_minute, decode_second

MAC = 4
_SEALED_CONTROL = 28
"""Authority, operator and 20 sealed bytes."""


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
class SealedControlRequest:
    """1C with PA 98: 16 bytes of ciphertext and a MAC. extended: two-byte answers are wanted (P2 = 01)."""

    control: ClassVar[int] = codes.CONTROL
    address: str
    operator: str
    cipher: bytes
    mac: bytes
    extended: bool


@dataclass(frozen=True, slots=True)
class BroadcastTimeRequest:
    """08. when: naive; None when the bytes are no date."""

    control: ClassVar[int] = codes.BROADCAST_TIME
    address: str
    when: datetime | None


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """14. password and operator: digits high pair first; data: the new value in wire order.

    level 98 and 99 are no levels: `data` is then ciphertext (98) or plain text (99), followed by the MAC.
    """

    control: ClassVar[int] = codes.WRITE
    address: str
    di: str
    level: int
    password: str
    operator: str
    data: bytes

    @property
    def secured(self) -> tuple[bytes, bytes] | None:
        """Ciphertext or plain text, and its MAC; None for a write with a password, or too short for a MAC."""
        if self.level not in (codes.PA_SEALED, codes.PA_CHECKED) or len(self.data) < MAC:
            return None
        return self.data[:-MAC], self.data[-MAC:]


@dataclass(frozen=True, slots=True)
class WriteAddressRequest:
    """15. new: 12 digits, A to F kept when they are not decimal."""

    control: ClassVar[int] = codes.WRITE_ADDRESS
    address: str
    new: str


@dataclass(frozen=True, slots=True)
class FreezeRequest:
    """16. when: None when the bytes say no time."""

    control: ClassVar[int] = codes.FREEZE
    address: str
    when: FreezeTime | None


@dataclass(frozen=True, slots=True)
class ChangeSpeedRequest:
    """17. word: the characteristic byte as received."""

    control: ClassVar[int] = codes.CHANGE_SPEED
    address: str
    word: int

    @property
    def baud(self) -> int | None:
        """The speed meant; None for a word that the standard does not have."""
        return {word: baud for baud, word in codes.SPEEDS.items()}.get(self.word)


@dataclass(frozen=True, slots=True)
class ChangePasswordRequest:
    """18. di: 04000C0n; old_level and old: the authority that is used; level and password: what is set."""

    control: ClassVar[int] = codes.CHANGE_PASSWORD
    address: str
    di: str
    old_level: int
    old: str
    level: int
    password: str


@dataclass(frozen=True, slots=True)
class DemandResetRequest:
    """19."""

    control: ClassVar[int] = codes.DEMAND_RESET
    address: str
    level: int
    password: str
    operator: str


@dataclass(frozen=True, slots=True)
class MeterClearRequest:
    """1A."""

    control: ClassVar[int] = codes.METER_CLEAR
    address: str
    level: int
    password: str
    operator: str


@dataclass(frozen=True, slots=True)
class EventClearRequest:
    """1B. di: the event, its DI0 FF; None for all events."""

    control: ClassVar[int] = codes.EVENT_CLEAR
    address: str
    level: int
    password: str
    operator: str
    di: str | None


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """1D. signal: as received (0 second pulse, 1 demand period, 2 tariff switch)."""

    control: ClassVar[int] = codes.OUTPUT
    address: str
    signal: int


@dataclass(frozen=True, slots=True)
class SecurityRequest:
    """03. payload: what stands behind identifier and operator."""

    control: ClassVar[int] = codes.SECURITY
    address: str
    di: str
    operator: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """Any other request, and known ones whose DATA has an impossible length."""

    address: str
    control: int
    data: bytes


Request = (
    ReadRequest
    | SubsequentRequest
    | ReadAddressRequest
    | ControlRequest
    | SealedControlRequest
    | BroadcastTimeRequest
    | WriteRequest
    | WriteAddressRequest
    | FreezeRequest
    | ChangeSpeedRequest
    | ChangePasswordRequest
    | DemandResetRequest
    | MeterClearRequest
    | EventClearRequest
    | OutputRequest
    | SecurityRequest
    | UnknownRequest
)


def request_of(frame: Frame) -> Request:
    """The request that a frame from a master is."""
    parse = _PARSERS.get(frame.control)
    return (parse(frame.address, frame.data) if parse else None) or UnknownRequest(frame.address, frame.control, frame.data)


def _read(address: str, data: bytes) -> Request | None:
    if len(data) not in (4, 5, 10):
        return None
    count = decode_bcd(data[4:5])
    return ReadRequest(address, decode_digits(data[:4]), count, decode_minute(data[5:]))


def _read_next(address: str, data: bytes) -> Request | None:
    if len(data) != 5 or not data[4]:
        return None
    return SubsequentRequest(address, decode_digits(data[:4]), data[4])


def _read_address(address: str, data: bytes) -> Request | None:
    return None if data else ReadAddressRequest(address)


def _control(address: str, data: bytes) -> Request | None:
    if len(data) == _SEALED_CONTROL and data[0] == codes.PA_SEALED:
        return SealedControlRequest(address, decode_digits(data[4:8]), data[8:-MAC], data[-MAC:], data[3] == 1)
    if len(data) not in (9, 16):
        return None
    level, password, operator = _credentials(data)
    n2 = data[9] if len(data) > 9 else 0
    return ControlRequest(address, data[8], level, password, operator, n2, decode_second(data[10:]), data[10:])


def _broadcast_time(address: str, data: bytes) -> Request | None:
    return BroadcastTimeRequest(address, decode_second(data)) if len(data) == 6 else None


def _write(address: str, data: bytes) -> Request | None:
    if len(data) < 12:
        return None
    return WriteRequest(address, decode_digits(data[:4]), *_credentials(data[4:]), data[12:])


def _write_address(address: str, data: bytes) -> Request | None:
    return WriteAddressRequest(address, decode_digits(data)) if len(data) == 6 else None


def _freeze(address: str, data: bytes) -> Request | None:
    return FreezeRequest(address, decode_freeze_time(data)) if len(data) == 4 else None


def _change_speed(address: str, data: bytes) -> Request | None:
    return ChangeSpeedRequest(address, data[0]) if len(data) == 1 else None


def _change_password(address: str, data: bytes) -> Request | None:
    if len(data) != 12:
        return None
    old, new = data[4:8], data[8:]
    return ChangePasswordRequest(address, decode_digits(data[:4]), old[0], decode_digits(old[1:]), new[0], decode_digits(new[1:]))


def _demand_reset(address: str, data: bytes) -> Request | None:
    return DemandResetRequest(address, *_credentials(data)) if len(data) == 8 else None


def _meter_clear(address: str, data: bytes) -> Request | None:
    return MeterClearRequest(address, *_credentials(data)) if len(data) == 8 else None


def _event_clear(address: str, data: bytes) -> Request | None:
    if len(data) != 12:
        return None
    return EventClearRequest(address, *_credentials(data), None if data[8:] == b"\xff" * 4 else decode_digits(data[8:]))


def _output(address: str, data: bytes) -> Request | None:
    return OutputRequest(address, data[0]) if len(data) == 1 else None


def _security(address: str, data: bytes) -> Request | None:
    if len(data) < 8:
        return None
    return SecurityRequest(address, decode_digits(data[:4]), decode_digits(data[4:8]), data[8:])


def _credentials(data: bytes) -> tuple[int, str, str]:
    """PA, password, operator."""
    return data[0], decode_digits(data[1:4]), decode_digits(data[4:8])


_PARSERS: dict[int, Callable[[str, bytes], Request | None]] = {
    codes.READ: _read,
    codes.READ_NEXT: _read_next,
    codes.READ_ADDRESS: _read_address,
    codes.CONTROL: _control,
    codes.BROADCAST_TIME: _broadcast_time,
    codes.WRITE: _write,
    codes.WRITE_ADDRESS: _write_address,
    codes.FREEZE: _freeze,
    codes.CHANGE_SPEED: _change_speed,
    codes.CHANGE_PASSWORD: _change_password,
    codes.DEMAND_RESET: _demand_reset,
    codes.METER_CLEAR: _meter_clear,
    codes.EVENT_CLEAR: _event_clear,
    codes.OUTPUT: _output,
    codes.SECURITY: _security,
}
