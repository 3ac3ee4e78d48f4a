"""Load profile (06) of DL/T 645-2007: records of appendix B, read by position, and the curves 06 1x (dlt645.md 8.7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from protocols.dlt645.items import PHASES, Basis, Field, FieldValue, Item, Layer
from protocols.dlt645.values import MINUTE, Number, Value, decode_minute, encode_minute
from protocols.errors import Malformed, RequestError

_B = Basis(Layer.V2007, "DL/T 645-2007 A.7 and B")
_CURVE = Basis(Layer.GRID_2013, "dlt645.md 8.7, supplement curves")
_CURVE_WEAK = Basis(Layer.GRID_2013, "dlt645.md 8.7; these numbers from one source", weak=True)
START, DAMAGED, GAP, END = b"\xa0\xa0", b"\xe0\xe0", 0xAA, 0xE5
CLASSES = 6
MAX_RECORDS = 255 * 195 // (2 + 1 + 5 + CLASSES + 2) + 1
"""As many empty records as 255 follow-up frames hold: more cannot arrive."""
_MAX_CURVE = 255 * 195 // 2
"""As many values of two bytes as 255 follow-up frames hold."""
_VOLTAGE, _CURRENT, _POWER = Number(2, 1), Number(3, 3, True), Number(3, 4, True)
_FACTOR, _FREQUENCY, _ENERGY, _SIGNED = Number(2, 3, True), Number(2, 2), Number(4, 2), Number(4, 2, True)
_TOTAL_AND_PHASES = ("", *(f"_{p}" for p in PHASES.values()))

GROUPS: tuple[tuple[Field, ...], ...] = (
    (
        *(Field(f"voltage_{p}", _VOLTAGE, "V") for p in PHASES.values()),
        *(Field(f"current_{p}", _CURRENT, "A") for p in PHASES.values()),
        Field("frequency", _FREQUENCY, "Hz"),
    ),
    (
        *(Field(f"power{p}", _POWER, "kW") for p in _TOTAL_AND_PHASES),
        *(Field(f"reactive_power{p}", _POWER, "kvar") for p in _TOTAL_AND_PHASES),
    ),
    tuple(Field(f"power_factor{p}", _FACTOR) for p in _TOTAL_AND_PHASES),
    (
        Field("energy_import", _ENERGY, "kWh"),
        Field("energy_export", _ENERGY, "kWh"),
        Field("reactive_energy_combined_1", _SIGNED, "kvarh"),
        Field("reactive_energy_combined_2", _SIGNED, "kvarh"),
    ),
    tuple(Field(f"reactive_energy_q{q}", _ENERGY, "kvarh") for q in range(1, 5)),
    (Field("demand", _POWER, "kW"), Field("reactive_demand", _POWER, "kvar")),
)
"""The six classes, in the order in which they stand in a record; a class that the mode word leaves out is empty."""
_SIZES = tuple(sum(f.length for f in group) for group in GROUPS)


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """One record. when: naive, meter-local; groups: the values of each class, None for a class that it lacks.

    damaged: the meter itself marks the record as spoilt; its values are then None.
    """

    when: datetime | None
    groups: tuple[tuple[Decimal | None, ...] | None, ...]
    damaged: bool = False

    def values(self, number: int) -> Iterator[FieldValue]:
        """Its values in wire order, named after the record's number in the answer, from 1."""
        at = None if self.when is None else f"{self.when:%Y-%m-%dT%H:%M}"
        for group, values in zip(GROUPS, self.groups, strict=True):
            for field, value in zip(group, values or (), strict=bool(values)):
                yield FieldValue(Field(f"{field.quantity}_record_{number}", field.format, field.unit), value, at)


def parse_records(data: bytes) -> tuple[LoadRecord, ...]:
    """The records of an answer; none when nothing matched. Raises Malformed for bytes that are no whole records."""
    records: list[LoadRecord] = []
    at = 0
    while at < len(data):
        if len(records) == MAX_RECORDS:
            raise Malformed(f"more than {MAX_RECORDS} load records in one answer")
        record, at = _parse(data, at)
        records.append(record)
    return tuple(records)


def encode_records(records: Sequence[LoadRecord]) -> bytes:
    """The bytes of records. Raises RequestError for a value that does not fit.

    The length byte counts from the time to the last AA; the standard's wording leaves that open, and readers here ignore it.
    """
    return b"".join(_encode(record) for record in records)


def _parse(data: bytes, start: int) -> tuple[LoadRecord, int]:
    mark = data[start : start + 2]
    if mark not in (START, DAMAGED):
        raise Malformed(f"a load record begins with {mark.hex().upper()}, not with A0A0 or E0E0")
    damaged = mark == DAMAGED
    body = start + 8
    for places, end in _divisions(data, body, 0):
        if data[end + 1 : end + 2] == bytes([END]) and (damaged or sum(data[start:end]) & 0xFF == data[end]):
            groups = tuple(None if at is None else _values(data, at, group) for at, group in zip(places, GROUPS, strict=True))
            if damaged:
                groups = tuple(None if group is None else (None,) * len(group) for group in groups)
            return LoadRecord(decode_minute(data[start + 3 : body]), groups, damaged), end + 2
    raise Malformed("a load record has no end where its classes end")


def _divisions(data: bytes, at: int, group: int) -> Iterator[tuple[tuple[int | None, ...], int]]:
    """Every way in which classes and AA can stand from here on: where each class begins, and where the sum is expected.

    AA is also a byte of values, so the positions decide, at most 2^6 of them.
    """
    if group == CLASSES:
        yield (), at
        return
    for begin, gap in ((at, at + _SIZES[group]), (None, at)):
        if data[gap : gap + 1] == bytes([GAP]):
            for rest, end in _divisions(data, gap + 1, group + 1):
                yield (begin, *rest), end


def _values(data: bytes, at: int, group: tuple[Field, ...]) -> tuple[Decimal | None, ...]:
    values = []
    for field in group:
        value = field.format.decode(data[at : at + field.length])
        values.append(value if isinstance(value, Decimal) else None)
        at += field.length
    return tuple(values)


def _encode(record: LoadRecord) -> bytes:
    if record.when is None or len(record.groups) != CLASSES:
        raise RequestError(f"a load record has a time and {CLASSES} classes")
    body = encode_minute(record.when)
    for group, values in zip(GROUPS, record.groups, strict=True):
        if values is not None and len(values) != len(group):
            raise RequestError(f"a class of a load record has {len(group)} values, not {len(values)}")
        body += b"".join(f.format.encode(v) for f, v in zip(group, values or (), strict=False)) + bytes([GAP])
    head = (DAMAGED if record.damaged else START) + bytes([len(body)])
    return head + body + bytes([sum(head + body) & 0xFF, END])


@dataclass(frozen=True, slots=True)
class LoadItem(Item):
    """06 cc xx: any number of records, none when nothing matched."""

    def cut(self, payload: bytes) -> tuple[Field, ...] | None:
        """The fields of all records; None when the payload is no whole records."""
        found = self.read(payload)
        return None if found is None else tuple(value.field for value in found)

    def read(self, payload: bytes) -> list[FieldValue] | None:
        """The values of all records, or None when the payload is no whole records."""
        try:
            records = parse_records(payload)
        except Malformed:
            return None
        return [value for number, record in enumerate(records, 1) for value in record.values(number)]

    def write(self, values: Sequence[FieldValue | Value]) -> bytes:
        """Raises RequestError: bare values do not tell classes and times; `encode_records` does."""
        raise RequestError(f"{self.di} is written as records, not as values")


_CURVES: dict[int, tuple[tuple[str, Number, str], ...]] = {
    1: tuple((f"voltage_{p}", _VOLTAGE, "V") for p in PHASES.values()),
    2: tuple((f"current_{p}", _CURRENT, "A") for p in PHASES.values()),
    3: tuple((f"power{p}", _POWER, "kW") for p in _TOTAL_AND_PHASES),
    4: tuple((f"reactive_power{p}", _POWER, "kvar") for p in _TOTAL_AND_PHASES),
    5: tuple((f"power_factor{p}", _FACTOR, "") for p in _TOTAL_AND_PHASES),
    6: (
        ("energy_import", _ENERGY, "kWh"),
        ("energy_export", _ENERGY, "kWh"),
        ("reactive_energy_combined_1", _SIGNED, "kvarh"),
        ("reactive_energy_combined_2", _SIGNED, "kvarh"),
    ),
    7: tuple((f"reactive_energy_q{q}", _ENERGY, "kvarh") for q in range(1, 5)),
    8: (("demand", _POWER, "kW"), ("reactive_demand", _POWER, "kvar")),
}
"""DI1 of 0610 -> the quantities that DI0 numbers: from 00 (the total) where there is one, else from 01."""
_FROM_TOTAL, _WEAK = (3, 4, 5), (7, 8)


@dataclass(frozen=True, slots=True)
class CurveItem(Item):
    """06 10: the time of the first point, then as many points as the answer holds; `fields` are one point."""

    def cut(self, payload: bytes) -> tuple[Field, ...] | None:
        """The fields of time and points; None when the payload ends inside a value. An empty payload: nothing matched."""
        if not payload:
            return ()
        size = sum(f.length for f in self.fields)
        points, rest = divmod(len(payload) - MINUTE.length, size)
        return None if rest or points < 0 else self._expect(points)

    def _expect(self, points: int) -> tuple[Field, ...]:
        time = Field(f"{self.fields[0].quantity}_curve_at", MINUTE)
        return (time, *(Field(f"{f.quantity}_curve_{n}", f.format, f.unit) for n in range(1, points + 1) for f in self.fields))

    def read(self, payload: bytes) -> list[FieldValue] | None:
        """Time and points."""
        fields = self.cut(payload)
        if not fields:
            return [] if fields == () else None
        return Item(self.di, fields).read(payload)

    def write(self, values: Sequence[FieldValue | Value]) -> bytes:
        """The payload of a time and any number of whole points; of no values: nothing matched."""
        if not values:
            return b""
        points, rest = divmod(len(values) - 1, len(self.fields))
        if rest or points > _MAX_CURVE:
            raise RequestError(f"{self.di} has a time and points of {len(self.fields)} values, not {len(values)} values")
        return Item(self.di, self._expect(points)).write(values)


def describe(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """06 cc 00 xx: load records, cc 00 all or one of six classes, xx 00 oldest, 01 from a given time, 02 latest. 06 10: a curve."""
    if di2 <= CLASSES and not di1 and di0 <= 2:
        return LoadItem(di, (), basis=_B)
    if di2 != 0x10 or di1 not in _CURVES:
        return None
    rows = _CURVES[di1]
    number = di0 if di1 in _FROM_TOTAL else di0 - 1
    chosen = rows if di0 == 0xFF else rows[number : number + 1] if number >= 0 else ()
    fields = tuple(Field(*row) for row in chosen)
    return CurveItem(di, fields, basis=_CURVE_WEAK if di1 in _WEAK else _CURVE) if fields else None
