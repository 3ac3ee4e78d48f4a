"""How single values are written in DL/T 645 payloads: numbers, words, texts, digits and times (dlt645.md 8).

Every format decodes bytes to a value, None for a filler, and encodes the value to the same bytes. None is encoded as FF.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from protocols.bcd import decode_bcd, decode_digits, encode_bcd
from protocols.errors import RequestError

Value = Decimal | int | str | datetime | None
"""What can be encoded; each format takes what it decodes to, numbers also as int or text, times also as naive datetime."""
FILLER = b"\xff"
"""What a meter puts where it has no value."""
_YEARS = range(2000, 2100)


@dataclass(frozen=True, slots=True)
class Number:
    """A BCD number of `length` bytes with `decimals` digits after the point."""

    length: int
    decimals: int = 0
    signed: bool = False

    def decode(self, data: bytes) -> Decimal | None:
        """The value with the register's own resolution; None for a filler or digits that are not decimal."""
        if self.signed and data[-1:] >= b"\x80":
            value = decode_bcd(data, signed=True)
            return None if value is None else Decimal(f"{value}E-{self.decimals}")
        digits = data[::-1].hex()
        return Decimal(f"{digits}E-{self.decimals}") if digits.isdecimal() else None

    def encode(self, value: Value) -> bytes:
        """Raises RequestError when the value is finer than the register or does not fit it."""
        if value is None:
            return FILLER * self.length
        scaled = _number(value).scaleb(self.decimals)
        if not scaled.is_finite() or scaled != scaled.to_integral_value():
            raise RequestError(f"{value} is finer than {self.decimals} decimals")
        return encode_bcd(int(scaled), self.length, self.signed)


@dataclass(frozen=True, slots=True)
class Word:
    """A binary word of bits, low byte first, given as its number."""

    length: int

    def decode(self, data: bytes) -> Decimal | None:
        """The word; None when it is filled with FF (of several bytes: one byte may really have all its bits set)."""
        if self.length > 1 and data == b"\xff" * self.length:
            return None
        return Decimal(int.from_bytes(data, "little"))

    def encode(self, value: Value) -> bytes:
        """Raises RequestError when the word has more bits, and for None in one byte, which cannot be told from FF."""
        if value is None and self.length > 1:
            return FILLER * self.length
        return _little(self.length, Decimal("NaN") if value is None else _number(value))


@dataclass(frozen=True, slots=True)
class Binary:
    """A binary number, low byte first, with `decimals` digits after the point: money in fen, counts (dlt645.md 7). No filler."""

    length: int
    decimals: int = 0

    def decode(self, data: bytes) -> Decimal:
        """The value; every pattern of bits is one."""
        return Decimal(int.from_bytes(data, "little")).scaleb(-self.decimals)

    def encode(self, value: Value) -> bytes:
        """Raises RequestError when the value is finer, negative or too large."""
        return _little(self.length, _number(value).scaleb(self.decimals))


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes whose meaning is not ours to know (a MAC, a cipher, a key), as hex digits in wire order."""

    length: int

    def decode(self, data: bytes) -> str:
        """Hex digits, upper case."""
        return data.hex().upper()

    def encode(self, value: Value) -> bytes:
        """Raises RequestError for other than 2 x length hex digits."""
        return _hex(value, self.length)


@dataclass(frozen=True, slots=True)
class Code:
    """A code of hex digits, written high byte first: an identifier, an operator."""

    length: int

    def decode(self, data: bytes) -> str | None:
        """The digits; None for a filler."""
        return None if data == FILLER * self.length else decode_digits(data)

    def encode(self, value: Value) -> bytes:
        """Raises RequestError for other than 2 x length hex digits."""
        return FILLER * self.length if value is None else _hex(value, self.length)[::-1]


@dataclass(frozen=True, slots=True)
class Text:
    """ASCII, which travels byte-reversed and padded with NUL or blanks."""

    length: int

    def decode(self, data: bytes) -> str | None:
        """The text; None for a filler or bytes that are not printable ASCII."""
        text = data[::-1].strip(b"\0 ").decode("latin-1")
        return text if text.isascii() and text.isprintable() else None

    def encode(self, value: Value) -> bytes:
        """Raises RequestError for what is no printable ASCII or does not fit."""
        if value is None:
            return FILLER * self.length
        if not isinstance(value, str) or not value.isprintable():
            raise RequestError(f"{value!r} is no printable text")
        return encode_text(value, self.length)


@dataclass(frozen=True, slots=True)
class Digits:
    """A number that is a name (address, meter number): every digit counts, also leading zeros."""

    length: int

    def decode(self, data: bytes) -> str | None:
        """The digits, high pair first; None for a filler or digits that are not decimal."""
        digits = decode_digits(data)
        return digits if digits.isdecimal() else None

    def encode(self, value: Value) -> bytes:
        """Raises RequestError for other than 2 x length decimal digits."""
        if value is None:
            return FILLER * self.length
        if not isinstance(value, str) or not value.isdecimal():
            raise RequestError(f"{value!r} is not {2 * self.length} digits")
        return _hex(value, self.length)[::-1]


@dataclass(frozen=True, slots=True)
class Stamp:
    """A date, a time or both. layout: two-letter parts, high first, of YY MM DD WW hh mm ss; NN is a number beside them."""

    layout: str

    @property
    def length(self) -> int:
        """Bytes on the wire: one for each part."""
        return len(self.layout) // 2

    def decode(self, data: bytes) -> str | None:
        """The digits in the order of the layout; None for a filler or digits that are not decimal."""
        return Digits(self.length).decode(data)

    def encode(self, value: Value) -> bytes:
        """From the digits in the order of the layout, or from a naive datetime of the years 2000 to 2099."""
        return Digits(self.length).encode(self._of(value) if isinstance(value, datetime) else value)

    def _of(self, when: datetime) -> str:
        _check_local(when)
        numbers = {"YY": when.year % 100, "MM": when.month, "DD": when.day, "WW": when.isoweekday() % 7}
        numbers |= {"hh": when.hour, "mm": when.minute, "ss": when.second}
        parts = [self.layout[i : i + 2] for i in range(0, len(self.layout), 2)]
        if not numbers.keys() >= set(parts):
            raise RequestError(f"a time does not tell all of {self.layout}")
        return "".join(f"{numbers[part]:02d}" for part in parts)

    def digits(self, text: str) -> str:
        """The digits that `text` was made from. Raises RequestError for another form, and where the layout has a weekday."""
        digits = "".join(c for c in text if c.isdecimal())
        digits = digits[2:] if "YY" in self.layout else digits
        if "WW" in self.layout or len(digits) != len(self.layout) or self.text(digits) != text:
            raise RequestError(f"{text!r} is not a time of the form {self.layout}")
        return digits

    def text(self, digits: str) -> str:
        """The digits in ISO 8601 form, as far as the layout goes (the weekday is left out); not checked against a calendar."""
        parts = {self.layout[i : i + 2]: digits[i : i + 2] for i in range(0, len(self.layout), 2)}
        if "YY" in parts:
            parts["YY"] = "20" + parts["YY"]
        day = "-".join(parts[p] for p in ("YY", "MM", "DD") if p in parts)
        clock = ":".join(parts[p] for p in ("hh", "mm", "ss") if p in parts)
        return "T".join(p for p in (day, clock) if p)


Format = Number | Word | Text | Digits | Stamp | Binary | Raw | Code
SECOND = Stamp("YYMMDDhhmmss")
MINUTE = Stamp("YYMMDDhhmm")


def encode_second(when: datetime) -> bytes:
    """ss mm hh DD MM YY, 6 bytes: broadcast time, expiry. `when` is naive, on the meter's own clock, of the years 2000 to 2099."""
    _check_local(when)
    return b"".join(encode_bcd(n, 1) for n in (when.second, when.minute, when.hour, when.day, when.month, when.year % 100))


def decode_second(data: bytes) -> datetime | None:
    """The naive meter-local time of ss mm hh DD MM YY; None when it is not a date."""
    return _datetime(data) if len(data) == 6 else None


def decode_minute(data: bytes) -> datetime | None:
    """The naive meter-local time of mm hh DD MM YY; None when it is not a date."""
    return _datetime(b"\0" + data) if len(data) == 5 else None


def encode_minute(when: datetime) -> bytes:
    """mm hh DD MM YY, 5 bytes: demand and freeze times."""
    return encode_second(when)[1:]


def encode_date(when: datetime) -> bytes:
    """WW DD MM YY, 4 bytes (04000101, C010); 0 is Sunday."""
    return bytes([when.isoweekday() % 7]) + encode_second(when)[3:]


def encode_time(when: datetime) -> bytes:
    """ss mm hh, 3 bytes (04000102, C011)."""
    return encode_second(when)[:3]


def decode_clock(date: bytes, time: bytes) -> datetime | None:
    """The meter's clock from WW DD MM YY and ss mm hh; None when they are not a date. The weekday is not judged."""
    return _datetime(time + date[1:]) if len(date) == 4 and len(time) == 3 else None


def encode_text(text: str, length: int) -> bytes:
    """ASCII reversed and padded with NUL. Raises RequestError when it does not fit."""
    if not text.isascii() or len(text) > length:
        raise RequestError(f"{text!r} is not ASCII of at most {length} characters")
    return text.encode("ascii").ljust(length, b"\0")[::-1]


def _number(value: Value) -> Decimal:
    if isinstance(value, datetime) or value is None:
        raise RequestError(f"{value!r} is no number")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise RequestError(f"{value!r} is no number") from None


def _little(length: int, number: Decimal) -> bytes:
    if not number.is_finite() or number != number.to_integral_value() or not 0 <= number < 256**length:
        raise RequestError(f"{number} does not fit {length} binary bytes")
    return int(number).to_bytes(length, "little")


def _hex(value: Value, length: int) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9A-Fa-f]{{{2 * length}}}", value):
        raise RequestError(f"{value!r} is not {2 * length} hex digits")
    return bytes.fromhex(value)


def _check_local(when: datetime) -> None:
    if when.tzinfo is not None:
        raise RequestError("a meter's clock has no time zone: give its own local time")
    if when.year not in _YEARS:
        raise RequestError(f"the year {when.year} does not fit two digits from 2000 on")


def _datetime(data: bytes) -> datetime | None:
    """From ss mm hh DD MM YY."""
    parts = [value for b in data if (value := decode_bcd(bytes([b]))) is not None]
    if len(parts) != 6:
        return None
    second, minute, hour, day, month, year = parts
    try:
        return datetime(2000 + year, month, day, hour, minute, second)
    except ValueError:
        return None
