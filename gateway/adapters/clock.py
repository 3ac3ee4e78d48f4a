"""The clock: wall time for records, monotonic time for time-outs."""

from __future__ import annotations

import ctypes
import time


class Clock:
    """The system's clock; tests pass another one with the same two methods."""

    def now_ms(self) -> int:
        """UTC milliseconds since 1970; may jump when somebody sets the clock."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that only ever rise, from an arbitrary start."""
        return time.monotonic()


_STA_UNSYNC = 0x0040
_TIMEX_BYTES, _STATUS_AT = 256, 40


def kernel_synchronised() -> bool:
    """Whether the kernel says that some source keeps its clock (adjtimex(2), STA_UNSYNC); False where it cannot be asked."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # struct timex of 64-bit Linux is 208 bytes; modes 0 only reads
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return False
    status = int.from_bytes(buffer.raw[_STATUS_AT : _STATUS_AT + 4], "little", signed=True)
    return bool(answer >= 0) and not status & _STA_UNSYNC
