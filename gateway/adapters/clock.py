"""The clock: wall time for records, monotonic time for time-outs."""

from __future__ import annotations

import ctypes
import functools
import time
from pathlib import Path


class Clock:
    """The system's clock; tests pass another one with the same two methods."""

    def now_ms(self) -> int:
        """UTC milliseconds since 1970; may jump when somebody sets the clock."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that only ever rise, from an arbitrary start."""
        return time.monotonic()


def steady_ms() -> int | None:
    """Milliseconds since the machine started, sleep included, that setting the clock does not move; None where there are none."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000 if hasattr(time, "CLOCK_BOOTTIME") else None


@functools.cache
def boot_id(file: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """Which start of the machine this is; empty where it cannot be told."""
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def hardware_clock_ms(file: Path = Path("/sys/class/rtc/rtc0/since_epoch")) -> int | None:
    """The hardware clock in UTC ms, which counts whole seconds; None where there is none."""
    try:
        return int(file.read_text("ascii")) * 1000
    except (OSError, ValueError):
        return None


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
