"""Modbus RTU bytes to what they say, without knowing the question (contract.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from protocols.modbus.frames import EXCEPTIONS, FUNCTIONS, MAX_PDU, MAX_UNIT, REQUESTS, RESPONSES, rtu_intact, rtu_size

_LONGEST = 13 + 255  # bytes a byte count can claim (function 17H); the cost of a line must not grow with its square


class ErrorWord(TypedDict):
    code: str
    flags: list[str]


class FrameDict(TypedDict):
    protocol: Literal["modbus-rtu"]
    direction: Literal["request", "response"] | None
    address: str
    control: str
    function: str
    error: ErrorWord | None
    more: bool
    di: None
    items: list[dict[str, str | None]]
    data: str


class Decoded(TypedDict):
    frames: list[FrameDict]
    skipped: int
    incomplete: bool


@dataclass(frozen=True, slots=True)
class _Found:
    frame: bytes
    request: bool
    response: bool


def decode_rtu(data: bytes, force: bool = False) -> Decoded | None:
    """Every RTU frame in these bytes; None unless all of them are frames with a right CRC.

    force: noise is skipped, and the answer is never None.
    incomplete: what follows the last frame (stray 00 and FF aside) is the start of one; those bytes do not count as skipped.
    """
    frames: list[FrameDict] = []
    at = skipped = tail = 0
    while at < len(data):
        found = _frame_at(data[at : at + _LONGEST])
        if found is not None:
            frames.append(_describe(found))
            skipped += at - tail
            at = tail = at + len(found.frame)
        elif force:
            at += 1
        else:
            return None
    if not frames and not force:
        return None
    rest = data[tail:]
    begun = next((len(part) for part in (rest, rest.lstrip(b"\x00\xff")) if _begun(part)), 0)
    return Decoded(frames=frames, skipped=skipped + len(rest) - begun, incomplete=bool(begun))


def _frame_at(data: bytes) -> _Found | None:
    """The shortest intact frame that begins here. An unknown function tells no length: the rest of the line must be one frame."""
    if len(data) < 4 or data[0] > MAX_UNIT:
        return None
    request, response = rtu_size(REQUESTS, data), rtu_size(RESPONSES, data)
    for size in sorted({request, response} - {0}):
        if size <= len(data) and rtu_intact(data[:size]):
            frame = data[:size]
            return _Found(frame, size == request and _can_be_request(frame), size == response and _can_be_response(frame))
    if data[1] & 0x7F not in FUNCTIONS and len(data) <= MAX_PDU + 3 and rtu_intact(data):
        return _Found(data, request=True, response=True)
    return None


def _can_be_request(frame: bytes) -> bool:
    """Not so only where the count asked for is one that the answer's reading of the same bytes explains better."""
    limit = {1: 2000, 2: 2000}.get(frame[1])
    return limit is None or frame[2] != 3 or 1 <= int.from_bytes(frame[4:6], "big") <= limit


def _can_be_response(frame: bytes) -> bool:
    """Answers with registers carry whole words, and at least one."""
    return frame[1] not in (3, 4, 0x17) or (frame[2] > 0 and frame[2] % 2 == 0)


def _begun(data: bytes) -> bool:
    if len(data) < 2 or data[0] > MAX_UNIT:
        return False
    return any(rtu_size(layout, data) > len(data) for layout in (REQUESTS, RESPONSES))


def _describe(found: _Found) -> FrameDict:
    function, body = found.frame[1], found.frame[2:-2]
    error: ErrorWord | None = None
    if function & 0x80 and function in RESPONSES:
        error = ErrorWord(code=body.hex().upper(), flags=[EXCEPTIONS[body[0]]] if body[0] in EXCEPTIONS else [])
    return FrameDict(
        protocol="modbus-rtu",
        direction=None if found.request == found.response else "request" if found.request else "response",
        address=str(found.frame[0]),
        control=f"{function:02X}",
        function=FUNCTIONS.get(function & 0x7F if error else function, "unknown"),
        error=error,
        more=False,
        di=None,
        items=[],
        data=body.hex().upper(),
    )
