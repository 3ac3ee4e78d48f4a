"""The link layer of DL/T 645, the same in 1997 and 2007: one frame, and finding frames in a stream (dlt645.md 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

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
_HEX12 = re.compile(r"[0-9A-F]{12}")


class Dialect(StrEnum):
    """Which table of control codes and identifiers is meant; the values are the names `decode` prints."""

    V2007 = "dlt645-2007"
    V1997 = "dlt645-1997"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. address: 12 digits, high pair first, upper case (A to F kept); data: DATA without the 33H offset, wire order."""

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
    if not _HEX12.fullmatch(frame.address):
        raise RequestError(f"address {frame.address!r} is not 12 digits")
    if len(frame.data) > MAX_DATA:
        raise RequestError(f"{len(frame.data)} data bytes do not fit one frame of at most {MAX_DATA}")
    head = bytes([START, *encode_digits(frame.address), START, frame.control, len(frame.data)])
    body = head + frame.data.translate(_ADD)
    return bytes([WAKE_UP]) * preamble + body + bytes([sum(body) & 0xFF, END])


def covers(pattern: str, address: str) -> bool:
    """Whether an address asked for (pairs of AA stand for any pair) means this address. 12 digits each."""
    return all(pattern[i : i + 2] in ("AA", address[i : i + 2]) for i in range(0, 12, 2))


class Deframer:
    """Finds frames in a stream that may hold noise, false starts and pauses. No clock: the owner calls `flush` after a pause.

    skipped: bytes that belong to no frame (FE directly in front of a frame is preamble and does not count).
    Holds at most one unfinished candidate between calls, less than OVERHEAD + MAX_DATA bytes.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._buffer = bytearray()
        self._preamble = 0

    @property
    def pending(self) -> int:
        """Bytes of a candidate that may still become a frame, its preamble included; 0 when none has started."""
        return self._preamble + len(self._buffer) if self._buffer else 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete, in order."""
        self._buffer += data
        return self._scan()

    def abandon(self) -> list[Frame]:
        """Gives up the first unfinished candidate (a false start can claim 255 bytes) and looks at what stood behind it."""
        if self._buffer:
            self._drop_start()
        return self._scan()

    def flush(self) -> list[Frame]:
        """The line has paused for the byte gap: gives up every unfinished candidate; the frames found behind false starts."""
        frames = []
        while self._buffer:
            frames += self.abandon()
        self.skipped += self._preamble
        self._preamble = 0
        return frames

    def _scan(self) -> list[Frame]:
        frames = []
        while self._skip_to_start():
            size = _candidate(self._buffer)
            if size is None:
                break
            if size:
                frames.append(_parse(bytes(self._buffer[:size])))
                del self._buffer[:size]
                self._preamble = 0
            else:
                self._drop_start()
        return frames

    def _skip_to_start(self) -> bool:
        start = self._buffer.find(START)
        noise = self._buffer[: start if start >= 0 else len(self._buffer)]
        wake_ups = len(noise) - len(noise.rstrip(bytes([WAKE_UP])))
        if wake_ups < len(noise):
            self.skipped += self._preamble + len(noise) - wake_ups
            self._preamble = wake_ups
        else:
            self._preamble += wake_ups
        del self._buffer[: len(noise)]
        return start >= 0

    def _drop_start(self) -> None:
        """One byte only: the real start may stand anywhere behind a false one, also directly (68 68)."""
        self.skipped += self._preamble + 1
        self._preamble = 0
        del self._buffer[0]


def _candidate(buffer: bytearray) -> int | None:
    """The size of the good frame at the front; 0 when there is none; None when only more bytes can tell."""
    if len(buffer) > 7 and buffer[7] != START:
        return 0
    if len(buffer) < 10 or len(buffer) < (size := OVERHEAD + buffer[9]):
        return None
    return size if buffer[size - 1] == END and sum(buffer[: size - 2]) & 0xFF == buffer[size - 2] else 0


def _parse(raw: bytes) -> Frame:
    return Frame(decode_digits(raw[1:7]), raw[8], raw[10:-2].translate(_SUBTRACT))
