"""Every rule of identifiers, both ways: values to bytes to values, and bytes to values to bytes."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bcd import decode_digits
from protocols.dlt645.frames import Dialect
from protocols.dlt645.identifiers import describe, read_fields, write_fields
from protocols.dlt645.items import Field, FieldValue, Item
from protocols.dlt645.items_security import describe_request
from protocols.dlt645.load_profile import CurveItem, LoadItem
from protocols.dlt645.values import Binary, Code, Digits, Format, Number, Raw, Stamp, Text, Word
from protocols.errors import RequestError

BYTES = range(256)


def known(dis: list[str], dialect: Dialect = Dialect.V2007) -> list[str]:
    return [di for di in dis if describe(di, dialect)]


def family(di3: int, di2s: range | list[int], di1s: range | list[int], di0s: range | list[int]) -> list[str]:
    return known([f"{di3:02X}{a:02X}{b:02X}{c:02X}" for a in di2s for b in di1s for c in di0s])


EDGES = [0, 1, 2, 10, 11, 12, 13, 62, 63, 64, 254, 0xFF]
FEW = [0, 1, 2, 3, 4, 10, 0xFF]
FAMILIES = {
    "energy": family(0, range(0xC8), [0, 1, 63, 0xFF], [0, 1, 12, 0xFF]),
    "demand": family(1, range(0x50), [0, 1, 63, 0xFF], [0, 1, 12, 0xFF]),
    "instantaneous": family(2, range(0x0C), FEW, [0, 1, 21, 0xFF]) + family(2, [0x80], [0], BYTES),  # type: ignore[arg-type]
    "events": family(3, range(0x40), range(0x15), [0, 1, 10]) + family(0x1D, [0], BYTES, [1, 10]) + family(0x1E, [0], FEW, [1]),  # type: ignore[arg-type]
    "parameters": family(4, [0, 0x80], BYTES, BYTES),  # type: ignore[arg-type]
    "tables": family(4, range(1, 7), range(6), EDGES),
    "freezes": family(5, range(9), range(0x12), EDGES),
    "load profile": family(6, range(0x11), range(9), [0, 1, 2, 4, 0xFF]),
    "security": family(7, [0, 1, 2, 0x80, 0x81], range(9), [0xFF]),
}
SIZES = {
    "energy": 18 * 15 + 51 * 4 + 11,  # totals, phases, prepaid
    "demand": 10 * 15 + 30 * 4,
    "instantaneous": 73, "events": 210, "parameters": 122, "tables": 68, "freezes": 420, "load profile": 50, "security": 4,
}  # fmt: skip
"""How many of the tried identifiers each family knows: a lost rule shows here."""
ALL = [di for dis in FAMILIES.values() for di in dis]
OLD = known([f"{di:04X}" for di in range(0x10000)], Dialect.V1997)
COMBINED = [(di, Dialect.V2007) for di in ALL] + [(di, Dialect.V1997) for di in OLD]


def test_every_family_is_there() -> None:
    assert {name: len(dis) for name, dis in FAMILIES.items()} == SIZES
    assert len(OLD) == 3 * 3 * 8 * 16 + 182  # energy, demand and its time, 3 months, 8 directions, 14 tariffs and block


def values(form: Format) -> st.SearchStrategy[Decimal | str | None]:
    """What a format can hold, fillers too."""
    size = form.length
    match form:
        case Number(_, decimals, signed):
            top = 8 * 10 ** (2 * size - 1) - 1 if signed else 10 ** (2 * size) - 1
            return st.none() | st.integers(-top if signed else 0, top).map(lambda n: Decimal(n).scaleb(-decimals))
        case Word():
            numbers = st.integers(0, 256**size - 2).map(Decimal)
            return numbers | st.none() if size > 1 else numbers
        case Binary(_, decimals):
            return st.integers(0, 256**size - 1).map(lambda n: Decimal(n).scaleb(-decimals))
        case Text():
            return st.none() | st.text("ABCxyz019. V", max_size=size).map(lambda t: t.strip(" "))
        case Raw():
            return st.binary(min_size=size, max_size=size).map(lambda b: b.hex().upper())
        case Code():
            return st.none() | st.binary(min_size=size, max_size=size).map(decode_digits).filter(lambda t: set(t) != {"F"})
        case Digits() | Stamp():
            return st.none() | st.text("0123456789", min_size=2 * size, max_size=2 * size)


def filled(data: st.DataObject, field: Field) -> FieldValue:
    value = data.draw(values(field.format))
    if field.at is None:
        return FieldValue(field, value)
    digits = data.draw(st.none() | st.text("0123456789", min_size=2 * field.at.length, max_size=2 * field.at.length))
    return FieldValue(field, value, None if digits is None else field.at.text(digits))


def layout(item: Item) -> tuple[Field, ...]:
    """The fields of an answer; of a curve, time and three points."""
    if isinstance(item, CurveItem):
        return item.cut(bytes(5 + 3 * sum(f.length for f in item.fields))) or ()
    return item.fields


WRITABLE = [(di, dialect) for di, dialect in COMBINED if not isinstance(describe(di, dialect), LoadItem)]


@settings(max_examples=4 * settings().max_examples, deadline=None)
@given(st.data())
def test_values_to_bytes_to_values(data: st.DataObject) -> None:
    di, dialect = data.draw(st.sampled_from(WRITABLE))
    item = describe(di, dialect)
    assert item
    fields = layout(item)[:20]
    if item.block:
        fields = fields[: data.draw(st.integers(1, len(fields)))]
    elif not isinstance(item, CurveItem):
        fields = item.fields
    if len(fields) > 60:  # too much to draw; the test below has them
        return
    given_ = [filled(data, field) for field in fields]
    payload = write_fields(di, given_, dialect)
    assert len(payload) == sum(f.length for f in fields)
    assert read_fields(di, payload, dialect) == given_


@pytest.mark.parametrize("family_", FAMILIES)
def test_zeros_and_fillers_of_every_identifier(family_: str) -> None:
    for di in FAMILIES[family_]:
        item = describe(di)
        assert item
        if isinstance(item, LoadItem):
            assert item.read(b"") == []
            continue
        fields = layout(item)
        size = sum(f.length for f in fields)
        for payload in (bytes(size), b"\xff" * size):
            found = item.read(payload)
            assert found is not None and tuple(f.field for f in found) == fields, di
            assert item.write(found) == payload, di
        assert all(f.value is None for f in item.read(b"\xff" * size) or () if isinstance(f.field.format, Number | Digits)), di


@settings(max_examples=4 * settings().max_examples, deadline=None)
@given(st.sampled_from(WRITABLE), st.integers(0, 2**32))
def test_bytes_to_values_to_bytes(which: tuple[str, Dialect], seed: int) -> None:
    """Whatever digits a meter gives, they go back as they came; only what is no value (a filler, -0) has several forms."""
    item = describe(*which)
    assert item
    size = sum(f.length for f in layout(item))
    payload = bytes.fromhex("".join(random.Random(seed).choices("01234567", k=2 * size)))
    found = item.read(payload)
    assert found is not None
    if not any(isinstance(f.field.format, Text) for f in found):
        assert item.write(found) == payload


@pytest.mark.parametrize("di", sorted({*ALL} & {"00010000", "0001FF00", "03300201", "04000404", "05060101", "078102FF"}))
def test_the_wrong_number_of_values_is_refused(di: str) -> None:
    item = describe(di)
    assert item
    with pytest.raises(RequestError):
        item.write([None] * (len(layout(item)) + 100))
    with pytest.raises(RequestError):
        write_fields(di, [Decimal("0.00000001")] * len(layout(item)))


@pytest.mark.parametrize("di", ["03300201", "078102FF", "05001001"])
def test_only_a_block_may_have_fewer_values(di: str) -> None:
    with pytest.raises(RequestError):
        write_fields(di, ["181229185332"])


def test_values_of_an_unknown_identifier_cannot_be_written() -> None:
    with pytest.raises(RequestError):
        write_fields("12010101", [1])
    with pytest.raises(RequestError):
        write_fields("06010000", [1])


def test_a_curve_is_written_in_whole_points() -> None:
    assert write_fields("061001FF", []) == b""
    assert write_fields("061001FF", ["2611211015", "220.1", "220.2", None]).hex() == "15102111260122" + "0222" + "ffff"
    with pytest.raises(RequestError):
        write_fields("061001FF", ["2611211015", "220.1"])


@pytest.mark.parametrize(
    ("di", "values_", "payload"),
    [
        ("00010000", ["123456.78"], "78563412"),
        ("02020100", [Decimal("-1.234")], "341280"),
        ("04000101", ["18122906"], "06291218"),
        ("04000404", ["220V"], "000056303232"),
        ("04001003", [50], "00500000"),
        ("04010001", ["000003", "080001"], "030000010008"),
        ("04000503", [0x0250], "5002"),
        ("078102FF", [Decimal("198.56"), "00" * 4, 7, "11" * 4, "123456789012", "01020304"],
         "904D0000" + "00000000" + "07000000" + "11111111" + "129078563412" + "01020304"),
    ],
)  # fmt: skip
def test_values_as_documented(di: str, values_: list[object], payload: str) -> None:
    assert write_fields(di, values_).hex().upper() == payload.upper()  # type: ignore[arg-type]


RECORD_SIZES = [
    ("03010001", None), ("03010000", 18), ("03010101", 131), ("03040301", 131), ("030B0101", 115), ("030D0101", 115),
    ("030E0101", 76), ("030F010A", 76), ("03070001", 76), ("03080001", 76), ("03090001", 78), ("030A0001", 78), ("03050000", 6),
    ("03050001", 15), ("03060001", 12), ("03100000", 27), ("0310030C", 27), ("03110000", 3), ("03110001", 12), ("03120000", 18),
    ("03120101", 20), ("03300000", 3), ("03300001", 50), ("03300101", 106), ("03300201", 202), ("03300301", 14), ("03300401", 16),
    ("03300501", 682), ("03300601", 94), ("03300701", 11), ("03300801", 1026), ("03300901", 11), ("03300C01", 16),
    ("03300D01", 60), ("03300E0A", 60), ("04000D0C", 2), ("04000403", 32), ("04010000", 42), ("040604FF", 70), ("05000901", 512),
    ("05001001", 24), ("040005FF", 14), ("078102FF", 26), ("070002FF", 18), ("070000FF", 12),
]  # fmt: skip


@pytest.mark.parametrize(("di", "size"), RECORD_SIZES)
def test_sizes_of_records_as_documented(di: str, size: int | None) -> None:
    item = describe(di)
    assert (sum(f.length for f in item.fields) if item else None) == size


@pytest.mark.parametrize(
    ("di", "size"),
    [("070000FF", 0x20), ("070001FF", 0x0E), ("070101FF", 0x1E), ("070102FF", 0x1E), ("070103FF", 0x18), ("070201FF", 0x30),
     ("070108FF", 0x22), ("078001FF", 0x10)],
)  # fmt: skip
def test_sizes_of_security_requests_as_documented(di: str, size: int) -> None:
    """The lengths of dlt645.md 7 count identifier and operator in."""
    item = describe_request(di)
    assert item and sum(f.length for f in item.fields) + 8 == size


def test_names_within_an_item_are_unique() -> None:
    for di, dialect in COMBINED:
        item = describe(di, dialect)
        assert item
        names = [f.quantity for f in item.fields]
        assert len(set(names)) == len(names), di


def test_every_item_says_on_whose_word() -> None:
    for di, dialect in COMBINED:
        item = describe(di, dialect)
        assert item and item.basis.clause, di


@pytest.mark.parametrize(
    ("di", "weak"),
    [("00010000", False), ("03010101", True), ("03110001", False), ("03300201", True), ("03300401", False), ("1D000101", False),
     ("1D000301", True), ("040604FF", True), ("04001501", True), ("05060101", False), ("0506FF01", None), ("05063F3F", None),
     ("06100101", False), ("06100701", True), ("9010", False), ("C119", True), ("C113", True)],
)  # fmt: skip
def test_rows_on_one_source_are_marked(di: str, weak: bool | None) -> None:
    item = describe(di, Dialect.V1997 if len(di) == 4 else Dialect.V2007)
    assert (item.basis.weak if item else None) is weak
