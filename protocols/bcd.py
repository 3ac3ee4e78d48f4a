"""Packed decimal digits as meters send them: the low pair first, the sign in the top bit of the last byte."""

from __future__ import annotations

from protocols.errors import RequestError


def encode_bcd(value: int, length: int, signed: bool = False) -> bytes:
    """An integer as `length` bytes, low pair first; `signed` costs the top bit, so the top digit is at most 7.

    Raises RequestError when the value does not fit.
    """
    limit = 8 * 10 ** (2 * length - 1) if signed else 10 ** (2 * length)
    if not (-limit if signed else -1) < value < limit:
        raise RequestError(f"{value} does not fit {length} {'signed ' if signed else ''}BCD bytes")
    data = bytearray(encode_digits(f"{abs(value):0{2 * length}d}"))
    if value < 0:
        data[-1] |= 0x80
    return bytes(data)


def decode_bcd(data: bytes, signed: bool = False) -> int | None:
    """The integer, or None for a filler (FF) and any other digit that is not decimal."""
    negative = bool(signed and data and data[-1] & 0x80)
    digits = decode_digits(data[:-1] + bytes([data[-1] & 0x7F]) if negative else data)
    if not digits.isdecimal():
        return None
    return -int(digits) if negative else int(digits)


def encode_digits(digits: str) -> bytes:
    """An even number of hex digits, written high pair first (an address, an identifier, a password), as bytes low pair first."""
    return bytes.fromhex(digits)[::-1]


def decode_digits(data: bytes) -> str:
    """The digits of bytes that came low pair first, written high pair first, A to F in upper case."""
    return data[::-1].hex().upper()
