"""The shape of a data item: which values its payload holds, in wire order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from protocols.dlt645.values import Format, Stamp

PHASES = {1: "a", 2: "b", 3: "c"}


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

    def cut(self, payload: bytes) -> tuple[Field, ...] | None:
        """The fields that fill this payload exactly; None when no number of whole values does."""
        if self.trailer and payload.endswith(self.trailer) and not self._fits(len(payload)):
            payload = payload[: -len(self.trailer)]
        return self._fits(len(payload))

    def _fits(self, length: int) -> tuple[Field, ...] | None:
        ends = list(accumulate(f.length for f in self.fields))
        if length == ends[-1]:
            return self.fields
        return self.fields[: ends.index(length) + 1] if self.block and length in ends else None

    def read(self, payload: bytes) -> list[FieldValue] | None:
        """The values of a payload, or None when its length is not this item's."""
        fields = self.cut(payload)
        if fields is None:
            return None
        values, start = [], 0
        for field in fields:
            raw = payload[start : start + field.length]
            values.append(_value(field, raw))
            start += field.length
        return values


def _value(field: Field, raw: bytes) -> FieldValue:
    value = field.format.decode(raw[: field.format.length])
    if field.at is None:
        return FieldValue(field, value)
    digits = field.at.decode(raw[field.format.length :])
    return FieldValue(field, value, None if digits is None else field.at.text(digits))


def block(di: str, fields: Iterable[Field], trailer: bytes = b"") -> Item:
    """An item whose payload ends where the meter's tariffs, phases or months end."""
    return Item(di, tuple(fields), block=True, trailer=trailer)


def rated(name: str, rate: int = 0, past: int = 0) -> str:
    """The name of a quantity for a tariff (0: total) and a past settlement period (0: now)."""
    return name + (f"_t{rate}" if rate else "") + (f"_settlement_{past}" if past else "")
