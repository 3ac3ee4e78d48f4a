"""What control codes and error words mean, in both dialects (dlt645.md 3, 4, 5, 7 and 9)."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.dlt645.frames import Dialect, Frame

READ, READ_NEXT, READ_ADDRESS, WRITE, BROADCAST_TIME, CONTROL, SECURITY = 0x11, 0x12, 0x13, 0x14, 0x08, 0x1C, 0x03
READ_1997, READ_NEXT_1997 = 0x01, 0x02

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
