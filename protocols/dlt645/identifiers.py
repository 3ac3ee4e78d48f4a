"""What the payload of a data identifier means, in either dialect, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache

from protocols.dlt645 import items_1997, items_2007
from protocols.dlt645.frames import Dialect
from protocols.dlt645.items import FieldValue, Item
from protocols.dlt645.values import Binary, Number, Value, Word
from protocols.errors import RequestError
from protocols.quantities import Measurement

_NUMERIC = (Number, Word, Binary)


def describe(di: str, dialect: Dialect = Dialect.V2007) -> Item | None:
    """The item of an identifier (8 hex digits in 2007, 4 in 1997, high byte first); None for one that we do not know."""
    di = di.upper()
    if dialect is Dialect.V1997:
        return items_1997.describe(di) if len(di) == 4 else None
    return items_2007.describe(di) if len(di) == 8 else None


def read_fields(di: str, payload: bytes, dialect: Dialect = Dialect.V2007) -> list[FieldValue]:
    """All values of a payload (what follows the DI); none for an unknown identifier or a length that is not its own (10.4)."""
    item = describe(di, dialect)
    return (item.read(payload) if item else None) or []


def write_fields(di: str, values: Sequence[FieldValue | Value], dialect: Dialect = Dialect.V2007) -> bytes:
    """The payload of these values, for a write or an answer. Raises RequestError for an unknown identifier or unfit values."""
    item = describe(di, dialect)
    if item is None:
        raise RequestError(f"{di} is no identifier whose values we know")
    return item.write(values)


def decode(di: str, payload: bytes, dialect: Dialect = Dialect.V2007) -> list[Measurement]:
    """The measurements of a payload: its numbers and status words. Texts, digits and times are no measurements (`read_fields`)."""
    return measure(di, payload, dialect) or []


def measure(di: str, payload: bytes, dialect: Dialect = Dialect.V2007) -> list[Measurement] | None:
    """Like `decode`, but None when the length is not the identifier's own."""
    counts, rows = _layout(di, dialect)
    count = counts.get(len(payload))
    if count is not None:
        return [Measurement(name, decode(payload[start:end]), unit) for name, decode, start, end, unit in rows[:count]]
    item = describe(di, dialect)
    values = item.read(payload) if item else []
    return None if values is None else measurements(values)


_Row = tuple[str, Callable[[bytes], Decimal | None], int, int, str]
"""Of one measurement: quantity, how to decode it, where it begins and ends in a payload, unit."""


@lru_cache(maxsize=1024)  # like the items themselves; every poll decodes the same few
def _layout(di: str, dialect: Dialect) -> tuple[dict[int, int], tuple[_Row, ...]]:
    """How many measurements a payload of each length begins with, and where they stand; nothing for what has no fixed places."""
    item = describe(di, dialect)
    counts: dict[int, int] = {}
    rows: list[_Row] = []
    if type(item) is not Item:
        return counts, ()
    end = 0
    for field in item.fields:
        start, end = end, end + field.length
        form = field.format
        if isinstance(form, _NUMERIC):
            rows.append((field.quantity, form.decode, start, start + form.length, field.unit))
        if item.block:
            counts[end] = len(rows)
    counts[end] = len(rows)
    return counts, tuple(rows)


def measurements(values: Sequence[FieldValue]) -> list[Measurement]:
    """Those of the values that are numbers or status words."""
    return [
        Measurement(found.field.quantity, found.value if isinstance(found.value, Decimal) else None, found.field.unit)
        for found in values
        if isinstance(found.field.format, _NUMERIC)
    ]
