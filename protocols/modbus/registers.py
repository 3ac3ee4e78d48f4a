"""Registers <-> decimal values, exactly: no float is kept and none is computed with on the way in."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final, Literal

Kind = Literal["u16", "i16", "u32", "i32", "u64", "i64", "f32"]
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]

WORDS: Final[dict[Kind, int]] = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2, "u64": 4, "i64": 4}
WORD_ORDERS: Final[tuple[WordOrder, ...]] = ("ABCD", "CDAB", "BADC", "DCBA")
_EXACT = Context(prec=64)  # the largest f32 in steps of 10^-9 has 48 digits
_F32_NAN = 0x7FC00000
_F32_DIGITS = 24  # binary digits of a single, the hidden one included


@dataclass(frozen=True, slots=True)
class RegisterType:
    """How a value stands in registers.

    order: ABCD = high word first, high byte first; CDAB = low word first; BADC = bytes swapped within words; DCBA = both.
    scale: value of one count, in the quantity's unit. resolution: the meter's own step (mandatory for f32; None = the scale).
    sentinels: raw patterns, unsigned, that mean "no value"; a float NaN or infinity means it without being listed.
    """

    kind: Kind
    order: WordOrder = "ABCD"
    scale: Decimal = Decimal(1)
    resolution: Decimal | None = None
    sentinels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "f32" and self.resolution is None:
            raise ValueError("a register of type f32 needs a resolution: the meter's own step")
        for name, step in (("scale", self.scale), ("resolution", self._step)):
            if not step.is_finite() or not step:
                raise ValueError(f"{name} must be a finite number other than 0, not {step}")
        if self._step < 0:
            raise ValueError(f"resolution must be positive, not {self._step}")

    @property
    def words(self) -> int:
        """Registers that the value takes."""
        return WORDS[self.kind]

    @property
    def _step(self) -> Decimal:
        return abs(self.scale) if self.resolution is None else self.resolution

    @property
    def exact_below(self) -> Decimal | None:
        """The magnitude, in the quantity's unit, from which a float's steps exceed the resolution; None for integers.

        A single holds 24 binary digits: 0.01 kWh is told apart below 131072 kWh, 1 Wh below 16 777 216 Wh.
        """
        if self.kind != "f32":
            return None
        step = Fraction(self._step) / abs(Fraction(self.scale))
        power = step.numerator.bit_length() - step.denominator.bit_length()
        if Fraction(2) ** power > step:
            power -= 1
        return _EXACT.multiply(_EXACT.power(2, power + _F32_DIGITS), abs(self.scale))

    def decode(self, words: Sequence[int]) -> Decimal | None:
        """The value in steps of the resolution, half-even from the exact number; None for a sentinel, NaN or infinity."""
        number = self._exact(words)
        if number is None:
            return None
        steps = round(number / Fraction(self._step))  # round() of a Fraction is half-even
        return _EXACT.multiply(Decimal(steps), self._step)

    def coarse(self, words: Sequence[int]) -> bool:
        """Whether these words hold a float too large for its resolution: neighbouring values of the meter look alike in it."""
        limit, number = self.exact_below, self._exact(words)
        return limit is not None and number is not None and abs(number) >= Fraction(limit)

    def _exact(self, words: Sequence[int]) -> Fraction | None:
        """The exact number on the wire, in the quantity's unit; None for a sentinel, NaN or infinity."""
        if len(words) != self.words:
            raise ValueError(f"{self.kind} takes {self.words} words, not {len(words)}")
        raw = int.from_bytes(_ordered(b"".join(word.to_bytes(2, "big") for word in words), self.order), "big")
        if raw in self.sentinels:
            return None
        number = _float(raw) if self.kind == "f32" else Fraction(self._signed(raw))
        return None if number is None else number * Fraction(self.scale)

    def encode(self, value: Decimal | None) -> tuple[int, ...]:
        """The twin of decode, for simulated meters. None gives the first sentinel (f32: NaN). ValueError when it does not fit."""
        data = self._raw(value).to_bytes(self.words * 2, "big")
        ordered = _ordered(data, self.order)
        return tuple(int.from_bytes(ordered[i : i + 2], "big") for i in range(0, len(ordered), 2))

    def _raw(self, value: Decimal | None) -> int:
        if value is None:
            if self.sentinels or self.kind == "f32":
                return self.sentinels[0] if self.sentinels else _F32_NAN
            raise ValueError(f"{self.kind} without sentinels cannot say that there is no value")
        counts = Fraction(value) / Fraction(self.scale)
        if self.kind == "f32":
            try:
                return int.from_bytes(struct.pack(">f", float(counts)), "big")
            except OverflowError:
                raise ValueError(f"{value} does not fit f32 with scale {self.scale}") from None
        bits, number = self.words * 16, round(counts)
        low = -(1 << bits - 1) if self.kind[0] == "i" else 0
        if not low <= number < low + (1 << bits):
            raise ValueError(f"{value} does not fit {self.kind} with scale {self.scale}")
        return number % (1 << bits)

    def _signed(self, raw: int) -> int:
        bits = self.words * 16
        return raw - (1 << bits) if self.kind[0] == "i" and raw >> bits - 1 else raw


def _ordered(data: bytes, order: WordOrder) -> bytes:
    """Between wire and ABCD; each order is its own inverse."""
    pairs = [data[i : i + 2] for i in range(0, len(data), 2)]
    if order in ("CDAB", "DCBA"):
        pairs.reverse()
    return b"".join(pair[::-1] if order in ("BADC", "DCBA") else pair for pair in pairs)


def _float(raw: int) -> Fraction | None:
    """The exact number of an IEEE 754 single; None for NaN and infinity."""
    exponent, mantissa = raw >> 23 & 0xFF, raw & 0x7FFFFF
    if exponent == 0xFF:
        return None
    if exponent:
        mantissa |= 0x800000
    number = Fraction(mantissa) * Fraction(2) ** (max(exponent, 1) - 150)
    return -number if raw >> 31 else number


def bits(words: Sequence[int]) -> tuple[bool, ...]:
    """The bits of status words: bit 0 of the first word first."""
    return tuple(bool(word >> n & 1) for word in words for n in range(16))
