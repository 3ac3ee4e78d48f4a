"""Hides meter passwords in recorded bytes: a report is shown to people who must not know them."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.adapters.line_tools.traffic import Piece
from protocols.dlt645 import codes
from protocols.dlt645.frames import Deframer, Frame, encode

HIDDEN = "XX"
_DATA = 10
"""Where DATA begins in a frame without preamble."""

_AFTER_DI = {codes.WRITE: (5, 6, 7), codes.CHANGE_PASSWORD: (5, 6, 7, 9, 10, 11)}
_AT_ONCE = dict.fromkeys((codes.CONTROL, codes.DEMAND_RESET, codes.METER_CLEAR, codes.EVENT_CLEAR), (1, 2, 3))
_IN_1997 = {codes.WRITE_1997: (3, 4, 5), codes.CHANGE_PASSWORD_1997: (1, 2, 3, 5, 6, 7), codes.DEMAND_RESET_1997: (1, 2, 3)}
_ANSWERS = {codes.CHANGE_PASSWORD | 0x80: (1, 2, 3), codes.CHANGE_PASSWORD_1997 | 0x80: (1, 2, 3)}
_PLACES = {**_AFTER_DI, **_AT_ONCE, **_IN_1997, **_ANSWERS}
"""Control code -> which bytes of DATA are a password."""


def shown(pieces: Sequence[Piece]) -> list[str]:
    """Each piece in hex, with XX for the bytes of passwords and for the checksums that would betray them, echoes too."""
    hidden = {direction: _hidden(b"".join(p.data for p in pieces if p.direction == direction)) for direction in ("out", "in")}
    at = {"out": 0, "in": 0}
    texts = []
    for piece in pieces:
        begin = at[piece.direction]
        at[piece.direction] += len(piece.data)
        secret = hidden[piece.direction]
        texts.append("".join(HIDDEN if begin + n in secret else f"{byte:02X}" for n, byte in enumerate(piece.data)))
    return texts


def _hidden(data: bytes) -> set[int]:
    """Positions of secret bytes in what went one way."""
    deframer, places, search_from = Deframer(), set[int](), 0
    for frame in deframer.feed(data) + deframer.flush():
        start = data.find(encode(frame, 0), search_from)
        search_from = start + frame.size
        places |= {start + offset for offset in _secret(frame)}
    return places


def _secret(frame: Frame) -> set[int]:
    bytes_of_data = _PLACES.get(frame.control, ())
    if not bytes_of_data:
        return set()
    return {_DATA + place for place in bytes_of_data if place < len(frame.data)} | {frame.size - 2}
