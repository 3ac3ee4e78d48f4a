"""The frames that a meter answers with (dlt645.md 3); those of 1997 that differ are in `slave_1997`."""

from __future__ import annotations

from protocols.bcd import encode_digits
from protocols.dlt645 import codes
from protocols.dlt645.frames import ANY, BROADCAST, Frame, encode
from protocols.errors import RequestError

MAX_ANSWER = 200
"""DATA bytes of one answer (DL/T 645-2007); longer payloads are split and asked for with 12."""


def read_answer(address: str, di: str, data: bytes, seq: int = 0, preamble: int = 4) -> bytes:
    """Part `seq` of the payload `data` of `di`: 91 or B1 for 0, then 92 or B2 with SEQ at its end.

    address: the meter's own. Raises RequestError for a part that does not exist.
    """
    wire_di = encode_digits(di)
    first, later = MAX_ANSWER - len(wire_di), MAX_ANSWER - len(wire_di) - 1
    begin = first + (seq - 1) * later if seq else 0
    end = begin + (later if seq else first)
    if seq and not (0 < seq <= 255 and begin < len(data)):
        raise RequestError(f"{di} has no part {seq}")
    control = (codes.READ_NEXT if seq else codes.READ) | 0x80 | (0x20 if end < len(data) else 0)
    return reply(address, control, wire_di + data[begin:end] + (bytes([seq]) if seq else b""), preamble)


def address_answer(address: str, preamble: int = 4) -> bytes:
    """93 with the meter's own address."""
    return reply(address, codes.READ_ADDRESS | 0x80, encode_digits(address), preamble)


def control_answer(address: str, word: bytes = b"", preamble: int = 4) -> bytes:
    """9C: accepted; word: the 2 bytes of the extended answer."""
    return reply(address, codes.CONTROL | 0x80, word, preamble)


def write_answer(address: str, preamble: int = 4) -> bytes:
    """94: written."""
    return reply(address, codes.WRITE | 0x80, b"", preamble)


def plain_answer(address: str, control: int, data: bytes = b"", preamble: int = 4) -> bytes:
    """Accepted, for a request with this control code: 95 (from the new address), 96, 99, 9A, 9B; 84, 8A, 90 in 1997.

    data: what the answer repeats: the speed of 97 and 8C, the new password of 98 and 8F (PA P0 P1 P2), the signal of 9D.
    """
    return reply(address, control | 0x80, data, preamble)


def password_data(level: int, password: str) -> bytes:
    """PA P0 P1 P2, what 98 and 8F repeat. password: 6 digits, high pair first."""
    return bytes([level]) + encode_digits(password)


def security_answer(address: str, di: str, payload: bytes = b"", preamble: int = 4) -> bytes:
    """83: identifier and payload."""
    return reply(address, codes.SECURITY | 0x80, encode_digits(di) + payload, preamble)


def error_answer(address: str, control: int, error: int | bytes, preamble: int = 4) -> bytes:
    """The refusal of a request with this control code. error: the byte ERR, or a whole word in wire order."""
    return reply(address, control | 0xC0, bytes([error]) if isinstance(error, int) else error, preamble)


def reply(address: str, control: int, data: bytes, preamble: int) -> bytes:
    """A frame from the meter. Raises RequestError for an address that is not one meter's."""
    if not address.isdecimal() or address in (ANY, BROADCAST):
        raise RequestError(f"a meter answers with its own address, not with {address!r}")
    return encode(Frame(address, control, data), preamble)
