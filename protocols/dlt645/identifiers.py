"""What the payload of a data identifier means, in either dialect, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from protocols.dlt645 import items_1997, items_2007
from protocols.dlt645.frames import Dialect
from protocols.dlt645.items import FieldValue, Item
from protocols.dlt645.values import Binary, Number, Value, Word
from protocols.errors import RequestError
from protocols.quantities import Measurement


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
    return measurements(read_fields(di, payload, dialect))


def measurements(values: Sequence[FieldValue]) -> list[Measurement]:
    """Those of the values that are numbers or status words."""
    return [
        Measurement(found.field.quantity, found.value if isinstance(found.value, Decimal) else None, found.field.unit)
        for found in values
        if isinstance(found.field.format, Number | Word | Binary)
    ]
