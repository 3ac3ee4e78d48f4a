"""Times on the uplink: RFC 3339 text outside, UTC milliseconds inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_FORM = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_LAST_MS = 253_402_300_799_999


SECONDS = 4096
"""Seconds remembered: what is sent in one go is of the same minutes, and each message carries three or four times."""


@lru_cache(SECONDS)
def _second(at_s: int) -> str:
    return f"{_EPOCH + timedelta(seconds=at_s):%Y-%m-%dT%H:%M:%S}"


@lru_cache(SECONDS)
def _seconds_ms(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // _MS


def format_moment(at_ms: int) -> str:
    """UTC with milliseconds and Z, as `2026-11-21T08:00:00.000Z`. 1970 to 9999."""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


_OURS = len("2026-11-21T08:00:00.000Z")


@lru_cache(SECONDS)
def _whole_ms(text: str) -> int:
    """Of a time without a fraction, as parse_moment has it; what is remembered once is not looked at again."""
    return parse_moment(text)


def parse_moment(text: str) -> int:
    """UTC milliseconds (finer digits are cut off) of an RFC 3339 time with any offset; ValueError for anything else."""
    if len(text) == _OURS and text[19] == "." and text[23] == "Z" and text.isascii() and text[20:23].isdigit():
        return _whole_ms(text[:19] + "Z") + int(text[20:23])  # as format_moment writes it, and nearly everybody
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a time like 2026-11-21T08:00:00.000Z")
    date, clock, fraction, offset = match.groups()
    try:
        at_ms = _seconds_ms(f"{date}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    except ValueError as wrong:
        raise ValueError(f"{text!r} is not a time: {wrong}") from None
    at_ms += int((fraction or "").ljust(3, "0")[:3])
    if at_ms < 0:
        raise ValueError(f"{text!r} lies before 1970")
    if at_ms > _LAST_MS:
        raise ValueError(f"{text!r} lies after 9999")
    return at_ms
