"""What the payload of a data identifier means, in either dialect."""

from __future__ import annotations

from decimal import Decimal

from protocols.dlt645 import items_1997, items_2007
from protocols.dlt645.frames import Dialect
from protocols.dlt645.items import FieldValue, Item
from protocols.dlt645.values import Number, Word
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


def decode(di: str, payload: bytes, dialect: Dialect = Dialect.V2007) -> list[Measurement]:
    """The measurements of a payload: its numbers and status words. Texts, digits and times are no measurements (`read_fields`)."""
    return [
        Measurement(found.field.quantity, found.value if isinstance(found.value, Decimal) else None, found.field.unit)
        for found in read_fields(di, payload, dialect)
        if isinstance(found.field.format, Number | Word)
    ]
