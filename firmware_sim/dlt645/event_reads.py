"""Counters and records of events in the form of the identifiers 03, 1D and 1E."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from firmware_sim.clockwork import local
from firmware_sim.events import EventLog, Record
from protocols.bcd import encode_bcd
from protocols.dlt645.items import Field, FieldValue, Item
from protocols.dlt645.values import encode_minute

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

ALL = 0xFF
_PURCHASE = ("count", "amount", "before", "after", "cumulative")


def read(device: Device, di: str, item: Item) -> bytes | None:
    """The payload of an event identifier; records that are not there are filled with FF."""
    di2, di1, di0 = bytes.fromhex(di)[1:]
    if di.startswith(("1D", "1E")):
        return _switching(device.log, di, item)
    if di2 in (0x32, 0x33):
        return _purchase(device, di1, di0) if di2 == (0x32 if device.in_kwh else 0x33) else None
    if di2 == 0x10:
        return None
    kind = f"03{di2:02X}{di1:02X}"
    if di0:
        return _record(device.log.kind(kind).records[di0 - 1] if di0 <= len(device.log.kind(kind).records) else {}, item)
    return _counters(device.log, kind, item)


def _counters(log: EventLog, kind: str, item: Item) -> bytes:
    """One counter, count and minutes of the meter, or those of each phase; what is never counted here is 0."""
    kinds = [kind] if len(item.fields) < 6 or kind.startswith("0312") else [f"{kind[:4]}{phase:02X}" for phase in (1, 2, 3)]
    data = b""
    for each in kinds:
        found = log.kind(each)
        data += encode_bcd(found.count, 3) + (encode_bcd(found.seconds // 60, 3) if len(item.fields) > 1 else b"")
    return data.ljust(sum(field.length for field in item.fields), b"\0")


def _record(record: Record, item: Item) -> bytes:
    """The record's values in the order of the item. A value with a time is written as "value@time"."""
    return b"".join(_written(field, record.get(_name(field))) for field in item.fields)


def _name(field: Field) -> str:
    """A field is called after event, phase and number of the record; its own name stands behind the number."""
    return re.sub(r"^(?:combination_reactive_[12]_)?.*?_[0-9]+_(?=[a-z])", "", field.quantity)


def _written(field: Field, text: str | None) -> bytes:
    if text is None:
        return b"\xff" * field.length
    value, _, at = text.partition("@")
    if field.at is None:
        return field.format.encode(value)
    return field.encode(FieldValue(field, Decimal(value), at or None))


def _switching(log: EventLog, di: str, item: Item) -> bytes | None:
    """1D and 1E: the count, one value of a record, or all of them."""
    kind = log.kind(f"{di[:2]}00")
    if di[2:] == "000001":
        return encode_bcd(kind.count, 3)
    number = int(di[6:], 16)
    record = kind.records[number - 1] if number <= len(kind.records) else {}
    names = [re.sub(r"^(?:trip|close)_(.*)_[0-9]+$", r"\1", field.quantity) for field in item.fields]
    return b"".join(_written(field, record.get(name)) for field, name in zip(item.fields, names, strict=True))


def _purchase(device: Device, what: int, number: int) -> bytes | None:
    """0333 and 0332: what 01 the date, 02 the count, then amounts in fen or 0.01 kWh."""
    wallet = device.wallet
    if wallet is None or not 1 <= what <= 6:
        return None
    if number > len(wallet.purchases):
        return b"\xff" * (5 if what == 1 else 2 if what == 2 else 4)
    purchase = wallet.purchases[number - 1]
    if what == 1:
        return encode_minute(local(purchase.at_us))
    value = int(getattr(purchase, _PURCHASE[what - 2]))
    return encode_bcd(value % 10_000, 2) if what == 2 else encode_bcd(value % 10**8, 4)
