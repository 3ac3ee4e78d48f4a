"""The shape of a data item: which values its payload holds, in wire order, and on whose word we say so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from itertools import accumulate

from protocols.dlt645.values import FILLER, Format, Stamp, Value
from protocols.errors import RequestError

PHASES = {1: "a", 2: "b", 3: "c"}


class Layer(StrEnum):
    """Which document brought an item into the protocol (dlt645.md 1); the values are for people."""

    V1997 = "DL/T 645-1997"
    V2007 = "DL/T 645-2007"
    GRID_2009 = "State Grid 2009"
    GRID_2013 = "State Grid 2013"
    VENDOR = "vendor"


@dataclass(frozen=True, slots=True)
class Basis:
    """On whose word a layout rests. clause: table or section; weak: on one source alone, or the sources disagree."""

    layer: Layer
    clause: str
    weak: bool = False


UNSTATED = Basis(Layer.V2007, "")


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a payload; `at`: the time that follows it (maximum demand)."""

    quantity: str
    format: Format
    unit: str = ""
    at: Stamp | None = None

    @property
    def length(self) -> int:
        """Bytes, the time included."""
        return self.format.length + (self.at.length if self.at else 0)

    def decode(self, raw: bytes) -> FieldValue:
        """The value of exactly `length` bytes."""
        if self.at is None:
            return FieldValue(self, self.format.decode(raw))
        value = self.format.decode(raw[: self.format.length])
        digits = self.at.decode(raw[self.format.length :])
        return FieldValue(self, value, None if digits is None else self.at.text(digits))

    def encode(self, value: FieldValue | Value) -> bytes:
        """The bytes of a value; a bare one has no time. Raises RequestError when it does not fit the format."""
        found = value if isinstance(value, FieldValue) else FieldValue(self, None)
        data = self.format.encode(found.value if isinstance(value, FieldValue) else value)
        if self.at is None:
            return data
        return data + (FILLER * self.at.length if found.at is None else self.at.encode(self.at.digits(found.at)))


@dataclass(frozen=True, slots=True)
class FieldValue:
    """A value read from a payload. value: None for a filler; at: ISO 8601 text as the meter gave it."""

    field: Field
    value: Decimal | str | None
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A data identifier that we know. block: a meter may give fewer values than `fields`, as many as it has tariffs or phases."""

    di: str
    fields: tuple[Field, ...]
    block: bool = False
    trailer: bytes = b""
    """What some meters put behind a block and which is no value (AA in 1997)."""
    basis: Basis = UNSTATED
    _ends: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Where each field ends in a payload that has them all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", tuple(accumulate(f.length for f in self.fields)))

    def cut(self, payload: bytes) -> tuple[Field, ...] | None:
        """The fields that fill this payload exactly; None when no number of whole values does."""
        if self.trailer and payload.endswith(self.trailer) and not self._fits(len(payload)):
            payload = payload[: -len(self.trailer)]
        return self._fits(len(payload))

    def _fits(self, length: int) -> tuple[Field, ...] | None:
        ends = self._ends
        if length == ends[-1]:
            return self.fields
        return self.fields[: ends.index(length) + 1] if self.block and length in ends else None

    def read(self, payload: bytes) -> list[FieldValue] | None:
        """The values of a payload, or None when its length is not this item's."""
        fields = self.cut(payload)
        if fields is None:
            return None
        values, start = [], 0
        for each, end in zip(fields, self._ends, strict=False):
            values.append(each.decode(payload[start:end]))
            start = end
        return values

    def write(self, values: Sequence[FieldValue | Value]) -> bytes:
        """The payload of these values, in the order of `fields`; a block may have fewer. None: filled with FF.

        Raises RequestError for another number of values, or one that does not fit its format.
        """
        if not 0 < len(values) <= len(self.fields) or (len(values) < len(self.fields) and not self.block):
            raise RequestError(f"{self.di} has {len(self.fields)} values, not {len(values)}")
        return b"".join(field.encode(value) for field, value in zip(self.fields, values, strict=False))


def block(di: str, fields: Iterable[Field], trailer: bytes = b"", basis: Basis = UNSTATED) -> Item:
    """An item whose payload ends where the meter's tariffs, phases or months end."""
    return Item(di, tuple(fields), block=True, trailer=trailer, basis=basis)


def rated(name: str, rate: int = 0, past: int = 0) -> str:
    """The name of a quantity for a tariff (0: total) and a past settlement period (0: now)."""
    return name + (f"_t{rate}" if rate else "") + (f"_settlement_{past}" if past else "")


Row = tuple[str, Format, str]
"""Quantity, format and unit of an item of one value."""


def single(di: str, row: Row, basis: Basis) -> Item:
    """The item of one value."""
    name, form, unit = row
    return Item(di, (Field(name, form, unit),), basis=basis)
