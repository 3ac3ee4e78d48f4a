"""The link layer of DL/T 645, the same in 1997 and 2007: one frame, and finding frames in a stream (dlt645.md 2)."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from protocols.bcd import decode_digits, encode_digits
from protocols.errors import RequestError

START = 0x68
END = 0x16
WAKE_UP = 0xFE
OFFSET = 0x33
OVERHEAD = 12
"""Bytes of a frame around its DATA: two 68, six of address, control, length, checksum, 16."""
MAX_DATA = 255
"""The length is one byte. The standard's own limits, 200 for answers and 50 for writes, are kept by the senders."""
BROADCAST = "99" * 6
ANY = "AA" * 6

_ADD = bytes((b + OFFSET) & 0xFF for b in range(256))
_SUBTRACT = bytes((b - OFFSET) & 0xFF for b in range(256))
_WAKE_UP = bytes([WAKE_UP])
_HEX12 = re.compile(r"[0-9A-F]{12}")


class Dialect(StrEnum):
    """Which table of control codes and identifiers is meant; the values are the names `decode` prints."""

    V2007 = "dlt645-2007"
    V1997 = "dlt645-1997"


class Frame(NamedTuple):
    """One frame. address: 12 digits, high pair first, upper case (A to F kept); data: DATA without the 33H offset, wire order.

    A tuple, for frames are made by the thousand, and a frozen dataclass takes twice the time to make.
    """

    address: str
    control: int
    data: bytes = b""

    @property
    def function(self) -> int:
        """D4..D0 of the control code."""
        return self.control & 0x1F

    @property
    def is_response(self) -> bool:
        """D7: sent by the meter."""
        return bool(self.control & 0x80)

    @property
    def is_error(self) -> bool:
        """D7 and D6: the meter answered no."""
        return self.control & 0xC0 == 0xC0

    @property
    def more(self) -> bool:
        """D5: more frames follow."""
        return bool(self.control & 0x20)

    @property
    def size(self) -> int:
        """Bytes on the line without preamble."""
        return OVERHEAD + len(self.data)


def encode(frame: Frame, preamble: int = 4) -> bytes:
    """The bytes on the line, with `preamble` x FE in front. Raises RequestError for a bad address or more than 255 data bytes."""
    data = frame.data
    if len(data) > MAX_DATA:
        raise RequestError(f"{len(data)} data bytes do not fit one frame of at most {MAX_DATA}")
    body = b"h%bh%c%c%b" % (_wire_address(frame.address), frame.control, len(data), data.translate(_ADD))
    return b"%b%b%c\x16" % (_WAKE_UP * preamble, body, sum(body) & 0xFF)


@lru_cache(maxsize=4096)  # the meters of a gateway; the same few are asked for ever
def _wire_address(address: str) -> bytes:
    if not _HEX12.fullmatch(address):
        raise RequestError(f"address {address!r} is not 12 digits")
    return encode_digits(address)


_address = lru_cache(maxsize=4096)(decode_digits)


def covers(pattern: str, address: str) -> bool:
    """Whether an address asked for (pairs of AA stand for any pair) means this address. 12 digits each."""
    return pattern == address or all(pattern[i : i + 2] in ("AA", address[i : i + 2]) for i in range(0, 12, 2))


class Deframer:
    """Finds frames in a stream that may hold noise, false starts and pauses. No clock: the owner calls `flush` after a pause.

    skipped: bytes that belong to no frame (FE directly in front of a frame is preamble and does not count).
    Holds at most one unfinished candidate between calls, less than OVERHEAD + MAX_DATA bytes.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._buffer = b""
        self._preamble = 0

    @property
    def pending(self) -> int:
        """Bytes of a candidate that may still become a frame, its preamble included; 0 when none has started."""
        return self._preamble + len(self._buffer) if self._buffer else 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete, in order."""
        return self._scan(self._buffer + data, 0)

    def abandon(self) -> list[Frame]:
        """Gives up the first unfinished candidate (a false start can claim 255 bytes) and looks at what stood behind it."""
        return self._scan(self._buffer, self._drop_start()) if self._buffer else []

    def flush(self) -> list[Frame]:
        """The line has paused for the byte gap: gives up every unfinished candidate; the frames found behind false starts."""
        frames = []
        while self._buffer:
            frames += self.abandon()
        self.skipped += self._preamble
        self._preamble = 0
        return frames

    def _scan(self, buffer: bytes, at: int) -> list[Frame]:
        """The frames from `at` on. What is left over is kept, less than one frame."""
        frames: list[Frame] = []
        while at < len(buffer):
            start = buffer.find(START, at)
            if start < 0:
                self._skip(buffer[at:])
                break
            size = _candidate(buffer, start)
            if start > at and (not size or buffer[at:start].strip(_WAKE_UP)):
                self._skip(buffer[at:start])
            if size:
                at = start + size
                data = buffer[start + 10 : at - 2].translate(_SUBTRACT)
                frames.append(Frame(_address(buffer[start + 1 : start + 7]), buffer[start + 8], data))
                self._preamble = 0
            elif size is None:
                self._buffer = buffer[start:]
                return frames
            else:
                at = start + self._drop_start()
        self._buffer = b""
        return frames

    def _skip(self, noise: bytes) -> None:
        """Bytes without a start; FE at their end may be the preamble of what follows."""
        other = len(noise.rstrip(_WAKE_UP))
        if other:
            self.skipped += self._preamble + other
            self._preamble = 0
        self._preamble += len(noise) - other

    def _drop_start(self) -> int:
        """One byte only: the real start may stand anywhere behind a false one, also directly (68 68)."""
        self.skipped += self._preamble + 1
        self._preamble = 0
        return 1


def _candidate(buffer: bytes, at: int) -> int | None:
    """The size of the good frame that begins here; 0 when there is none; None when only more bytes can tell."""
    length = len(buffer) - at
    if length > 7 and buffer[at + 7] != START:
        return 0
    if length < 10 or length < (size := OVERHEAD + buffer[at + 9]):
        return None
    end = at + size - 2
    return size if buffer[end + 1] == END and sum(buffer[at:end]) & 0xFF == buffer[end] else 0
