"""What control codes and error words mean, in both dialects (dlt645.md 3, 4, 5, 7 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag

from protocols.dlt645.frames import Dialect, Frame

READ, READ_NEXT, READ_ADDRESS, WRITE, BROADCAST_TIME, CONTROL, SECURITY = 0x11, 0x12, 0x13, 0x14, 0x08, 0x1C, 0x03
WRITE_ADDRESS, FREEZE, CHANGE_SPEED, CHANGE_PASSWORD, DEMAND_RESET = 0x15, 0x16, 0x17, 0x18, 0x19
METER_CLEAR, EVENT_CLEAR, OUTPUT = 0x1A, 0x1B, 0x1D
READ_1997, READ_NEXT_1997, REREAD_1997, WRITE_1997 = 0x01, 0x02, 0x03, 0x04
WRITE_ADDRESS_1997, CHANGE_SPEED_1997, CHANGE_PASSWORD_1997, DEMAND_RESET_1997 = 0x0A, 0x0C, 0x0F, 0x10

PA_SEALED, PA_CHECKED = 0x98, 0x99
"""No authority levels but transports: ciphertext with MAC, and plain text with MAC (dlt645.md 6)."""
LEVELS = range(10)
LEAST_LEVEL = {METER_CLEAR: 2, EVENT_CLEAR: 2, WRITE: 4, DEMAND_RESET: 4}
"""The lowest authority that may (00 is the highest) by the base text; 1C differs from maker to maker (dlt645.md 3 and 12)."""
SPEEDS = {600: 0x02, 1200: 0x04, 2400: 0x08, 4800: 0x10, 9600: 0x20, 19200: 0x40}
"""Baud -> characteristic byte (DL/T 645-2007 C, code 17 and 0400070x)."""
SPEEDS_1997 = {300: 0x02, 600: 0x04, 1200: 0x08, 2400: 0x10, 4800: 0x20, 9600: 0x40}
"""One peer's table, and its own comment contradicts it (dlt645.md 12): not to be relied on without a try at both speeds."""


class Err(IntFlag):
    """The error byte of 2007 (dlt645.md 4)."""

    OTHER = 1
    NO_DATA = 2
    PASSWORD = 4
    SPEED = 8
    ZONES = 16
    SEGMENTS = 32
    RATES = 64
    RESERVED = 128


class Err1997(IntFlag):
    """The error byte of 1997 (dlt645.md 9)."""

    ILLEGAL_DATA = 1
    WRONG_DI = 2
    PASSWORD = 4
    ZONES = 16
    SEGMENTS = 32
    RATES = 64


class Serr(IntFlag):
    """The error word of 03 (dlt645.md 7)."""

    OTHER = 1
    REPEATED = 1 << 1
    ESAM = 1 << 2
    NOT_AUTHENTICATED = 1 << 3
    CUSTOMER = 1 << 4
    COUNT = 1 << 5
    HOARDING = 1 << 6
    FLASH_ADDRESS = 1 << 7
    SUSPENDED = 1 << 8
    VENDOR = 1 << 15


class ControlError(IntFlag):
    """The two-byte refusal of 1C (dlt645.md 5)."""

    SUSPENDED = 1
    MAC = 1 << 1
    PASSWORD = 1 << 2
    NOT_AUTHENTICATED = 1 << 3
    EXPIRY = 1 << 4
    PROTECTED = 1 << 5
    TIMED_PROTECTED = 1 << 6
    NO_RESTORE_TIME = 1 << 7
    ALREADY_OPEN = 1 << 8


class ControlWord(IntFlag):
    """The two-byte acceptance of 1C (dlt645.md 5)."""

    CLOSE = 1
    ALLOW = 1 << 1
    TRIP = 1 << 2
    DELAYED = 1 << 3
    TIMED = 1 << 4
    HIGH_CURRENT = 1 << 5
    PROTECT_ON = 1 << 8
    PROTECT_OFF = 1 << 9
    ALARM_ON = 1 << 10
    ALARM_OFF = 1 << 11


_FUNCTIONS = {
    Dialect.V2007: {
        0x03: "authenticate", 0x08: "broadcast time", 0x11: "read", 0x12: "read subsequent", 0x13: "read address", 0x14: "write",
        0x15: "write address", 0x16: "freeze", 0x17: "change speed", 0x18: "change password", 0x19: "demand reset",
        0x1A: "meter clear", 0x1B: "event clear", 0x1C: "control", 0x1D: "multi-function output",
    },
    Dialect.V1997: {
        0x01: "read", 0x02: "read subsequent", 0x03: "re-read", 0x04: "write", 0x08: "broadcast time", 0x0A: "write address",
        0x0C: "change speed", 0x0F: "change password", 0x10: "demand reset",
    },
}  # fmt: skip
_WITH_DI = {
    (Dialect.V2007, False): {0x03, 0x11, 0x12, 0x14, 0x18},
    (Dialect.V2007, True): {0x03, 0x11, 0x12},
    (Dialect.V1997, False): {0x01, 0x02, 0x04},
    (Dialect.V1997, True): {0x01, 0x02, 0x03},
}
_LIMITS = ("too many year zones", "too many day segments", "too many tariffs", "reserved")
_ERR_2007 = ("other error", "no requested data", "password wrong or not authorised", "speed not changeable", *_LIMITS)
_ERR_1997 = ("illegal data", "wrong data identifier", "password wrong", "reserved", *_LIMITS)
_SERR = (
    "other error", "repeated recharge", "ESAM verification failed", "identity authentication failed or expired",
    "customer number mismatch", "recharge count wrong", "over the hoarding limit", "flash address wrong",
    "remote functions suspended", "", "", "", "", "", "", "vendor error",
)  # fmt: skip
_CONTROL_REFUSED = (
    "remote functions suspended", "MAC wrong", "password wrong or not authorised", "authentication expired",
    "expiry invalid or passed", "refused by supply-protect", "timed cut refused by supply-protect", "restore time is zero",
    "timed cut refused, already open",
)  # fmt: skip
_CONTROL_ACCEPTED = (
    "direct close", "permit close", "direct trip", "delayed trip", "auto-restore trip", "delayed by high current", "", "",
    "protect on", "protect off", "alarm on", "alarm off",
)  # fmt: skip


def may(level: int, function: int) -> bool:
    """Whether the base text lets this authority do it; functions that it does not grade are open to all ten levels."""
    return level in LEVELS and level <= LEAST_LEVEL.get(function, LEVELS[-1])


def wire(word: IntFlag, length: int = 2) -> bytes:
    """A word of flags in wire order. Raises OverflowError when a flag lies beyond `length` bytes."""
    return int(word).to_bytes(length, "little")


def function_name(frame: Frame, dialect: Dialect) -> str:
    """The function in words; "unknown" for codes that the dialect does not have."""
    return _FUNCTIONS[dialect].get(frame.function, "unknown")


def dialect_of(frame: Frame) -> Dialect | None:
    """The dialect a control code belongs to; None for 03 and 08, which both have with different meaning."""
    if frame.function in (SECURITY, BROADCAST_TIME):
        return None
    return Dialect.V1997 if 0x01 <= frame.function <= 0x10 else Dialect.V2007


def has_di(frame: Frame, dialect: Dialect) -> bool:
    """Whether DATA of this frame begins with a data identifier."""
    return not frame.is_error and frame.function in _WITH_DI[dialect, frame.is_response]


def error_flags(function: int, word: bytes, dialect: Dialect = Dialect.V2007) -> tuple[str, ...]:
    """The set bits of an error word (1 or 2 bytes, low byte first) in words; empty for words of another length."""
    if dialect is Dialect.V1997:
        return bit_names(word, _ERR_1997) if len(word) == 1 else ()
    if function == SECURITY:
        return bit_names(word, _SERR) if len(word) in (1, 2) else ()
    if len(word) == 2:
        return bit_names(word, _CONTROL_REFUSED) if function == CONTROL else ()
    return bit_names(word, _ERR_2007) if len(word) == 1 else ()


def control_flags(word: bytes) -> tuple[str, ...]:
    """What the extended acceptance word of a 9C says (2 bytes, low byte first); empty for the usual empty answer."""
    return bit_names(word, _CONTROL_ACCEPTED)


def bit_names(word: bytes, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the bits that are set in a little-endian word, lowest first; bits without a name are called "bit N"."""
    value = int.from_bytes(word, "little")
    return tuple(
        (names[bit] if bit < len(names) and names[bit] else f"bit {bit}") for bit in range(8 * len(word)) if value >> bit & 1
    )
