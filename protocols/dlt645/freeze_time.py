"""When 16 freezes: now, or every hour, day or month; 99 stands for "every" (dlt645.md 3, code 16)."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.bcd import decode_bcd, encode_bcd
from protocols.errors import RequestError

_ANY = 99
_RANGES = {"day": range(1, 29), "hour": range(24), "minute": range(60)}
"""The standard knows no single month; days end at 28, which every month has."""


@dataclass(frozen=True, slots=True)
class FreezeTime:
    """None stands for "every"; whatever is coarser than a None is None too. All None: now."""

    day: int | None = None
    hour: int | None = None
    minute: int | None = None

    def encode(self) -> bytes:
        """mm hh DD MM. Raises RequestError for a time that cannot be said."""
        parts = (self.minute, self.hour, self.day)
        for name, part in zip(("minute", "hour", "day"), parts, strict=True):
            if part is not None and part not in _RANGES[name]:
                raise RequestError(f"{part} is no {name} to freeze at")
        given = [part is not None for part in parts]
        if given != sorted(given, reverse=True):
            raise RequestError("a freeze at an hour needs its minute, and on a day its hour")
        return b"".join(encode_bcd(_ANY if part is None else part, 1) for part in (*parts, None))

    def __str__(self) -> str:
        if self.minute is None:
            return "now"
        if self.hour is None:
            return f"every hour at minute {self.minute:02d}"
        time = f"{self.hour:02d}:{self.minute:02d}"
        return f"every day at {time}" if self.day is None else f"every month on day {self.day} at {time}"


def decode_freeze_time(data: bytes) -> FreezeTime | None:
    """The time of mm hh DD MM; None for other bytes than `FreezeTime` can say."""
    parts = [decode_bcd(data[i : i + 1]) for i in range(len(data))]
    if len(parts) != 4 or parts.pop() != _ANY:
        return None
    minute, hour, day = (None if part == _ANY else -1 if part is None else part for part in parts)
    time = FreezeTime(day, hour, minute)
    try:
        return time if time.encode() == data else None
    except RequestError:
        return None
