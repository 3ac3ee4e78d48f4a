"""What stands in requests and answers of 03, behind identifier and operator (dlt645.md 7).

Numbers are binary here, low byte first: money in fen, counts, lengths. MACs, ciphers and keys are opaque.
"""

from __future__ import annotations

from protocols.dlt645.items import Basis, Field, Item, Layer
from protocols.dlt645.values import Binary, Digits, Number, Raw

IDENTIFY, SET_VALIDITY, INVALIDATE = "070000FF", "070001FF", "070002FF"
OPEN_ACCOUNT, TOP_UP, INITIALISE, REFUND = "070101FF", "070102FF", "070103FF", "070108FF"
READ_BACK, COMPARE, QUERY = "078001FF", "078002FF", "078102FF"
KEY_UPDATES_2009, KEY_UPDATE_2013 = ("070201FF", "070202FF", "070203FF"), "070301FF"

_2009 = Basis(Layer.GRID_2009, "dlt645.md 7")
_2013 = Basis(Layer.GRID_2013, "dlt645.md 7")
_ORDER = Basis(Layer.VENDOR, "dlt645.md 7, vendor without ESAM", weak=True)
_AMOUNT, _BALANCE = Field("amount", Binary(4, 2), "currency"), Field("balance", Binary(4, 2), "currency")
_COUNT, _CUSTOMER = Field("purchase_count", Binary(4)), Field("customer_number", Digits(6))
_KEY_INFO = Field("key_info", Raw(4))


def _mac(n: int | str = "") -> Field:
    return Field(f"mac_{n}" if n else "mac", Raw(4))


_MONEY = (_AMOUNT, _COUNT, _mac(1), _CUSTOMER, _mac(2))
_PLACE = (Field("length", Binary(2)), Field("offset", Binary(2)), Field("file", Binary(2)), Field("directory", Binary(2)))
ORDERED_MONEY = (_AMOUNT, Field("order", Digits(8)), _mac(1), Field("meter_number", Digits(6)), _mac(2))
"""The payload of a top-up or refund of meters that have no security chip: an order number is its identity, the MACs are zero."""

_REQUESTS: dict[str, tuple[tuple[Field, ...], Basis]] = {
    IDENTIFY: ((Field("cipher", Raw(8)), Field("random", Raw(8)), Field("factor", Raw(8))), _2009),
    SET_VALIDITY: ((Field("authentication_minutes", Number(2), "min"), _mac()), _2009),
    INVALIDATE: ((), _2009),
    OPEN_ACCOUNT: (_MONEY, _2009),
    TOP_UP: (_MONEY, _2009),
    INITIALISE: ((_AMOUNT, _mac(1), _COUNT, _mac(2)), _2009),
    **{di: ((_KEY_INFO, _mac(), Field("key", Raw(32))), _2009) for di in KEY_UPDATES_2009},
    REFUND: (ORDERED_MONEY, _ORDER),
    READ_BACK: (_PLACE, _2009),
    QUERY: ((), _2009),
}
_ANSWERS: dict[str, tuple[tuple[Field, ...], Basis]] = {
    IDENTIFY: ((Field("challenge", Raw(4)), Field("esam_serial", Raw(8))), _2009),
    INVALIDATE: ((_CUSTOMER, _BALANCE, _COUNT, _KEY_INFO), _2009),
    COMPARE: ((Field("digest", Raw(64)),), _2013),
    QUERY: ((_BALANCE, _mac(1), _COUNT, _mac(2), _CUSTOMER, _KEY_INFO), _2009),
}


def describe(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """What answers 03; None where nothing of a known layout does."""
    fields, basis = _ANSWERS.get(di, ((), _2009))
    return Item(di, fields, basis=basis) if fields else None


def describe_request(di: str) -> Item | None:
    """What a request of 03 carries behind identifier and operator, as the grid documents have it; None for an unknown one."""
    if di not in _REQUESTS:
        return None
    fields, basis = _REQUESTS[di]
    return Item(di, fields, basis=basis)


def is_ordered(payload: bytes) -> bool:
    """Whether a top-up of this payload is in the form with an order number (26 bytes, where the grid's form has 22)."""
    return len(payload) == sum(field.length for field in ORDERED_MONEY)
