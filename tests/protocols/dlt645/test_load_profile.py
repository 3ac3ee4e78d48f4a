"""Load records of appendix B by position, and the curves 06 10 (dlt645.md 8.7)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dlt645.identifiers import decode, describe, read_fields
from protocols.dlt645.load_profile import CLASSES, GROUPS, LoadRecord, encode_records, parse_records
from protocols.dlt645.values import Number
from protocols.errors import Malformed, RequestError

WHEN = datetime(2026, 11, 21, 10, 15)
BY_HAND = bytes.fromhex(
    "A0A0" "1C" "1510211126"  # 2026-11-21 10:15
    "0122" "0222" "FFFF" "341200" "341280" "FFFFFF" "9849" "AA"  # 220.1, 220.2 V; 1.234, -1.234 A; 49.98 Hz
    "AA" "AA" "AA" "AA" "AA"
)  # fmt: skip
BY_HAND += bytes([sum(BY_HAND) % 256, 0xE5])
FIRST = (Decimal("220.1"), Decimal("220.2"), None, Decimal("1.234"), Decimal("-1.234"), None, Decimal("49.98"))
NOTHING_BUT_FIRST = (FIRST, None, None, None, None, None)


def test_a_record_by_hand() -> None:
    assert parse_records(BY_HAND) == (LoadRecord(WHEN, NOTHING_BUT_FIRST),)
    assert encode_records([LoadRecord(WHEN, NOTHING_BUT_FIRST)]) == BY_HAND


def test_the_values_of_an_answer_carry_record_and_time() -> None:
    found = read_fields("06010001", BY_HAND * 2)
    assert [f.field.quantity for f in found][:1] + [f.field.quantity for f in found][7:8] == [
        "voltage_a_record_1",
        "voltage_a_record_2",
    ]
    assert {f.at for f in found} == {"2026-11-21T10:15"}
    assert decode("06010001", BY_HAND)[0].unit == "V"


def test_nothing_matched_is_no_record() -> None:
    assert parse_records(b"") == ()
    assert read_fields("06000002", b"") == []


def test_a_record_that_the_meter_calls_damaged_has_no_values() -> None:
    spoilt = b"\xe0\xe0" + BY_HAND[2:]
    (record,) = parse_records(spoilt)
    assert record.damaged and record.groups == ((None,) * 7, None, None, None, None, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b[:-1],
        lambda b: b[1:],
        lambda b: b + b"\xa0",
        lambda b: b[:-2] + bytes([b[-2] ^ 1]) + b[-1:],
        lambda b: b[:-1] + b"\xe4",
        lambda b: b[:25] + b"\xab" + b[26:],
        lambda b: b[:8],
    ],
)
def test_what_is_no_whole_record_is_malformed(spoil) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Malformed):
        parse_records(spoil(BY_HAND))
    assert read_fields("06010001", spoil(BY_HAND)) == []


@pytest.mark.parametrize("length", range(1, len(BY_HAND)))
def test_a_record_cut_short_is_malformed(length: int) -> None:
    with pytest.raises(Malformed):
        parse_records(BY_HAND[:length])


def group(number: int) -> st.SearchStrategy[tuple[Decimal | None, ...] | None]:
    def value(form: Number) -> st.SearchStrategy[Decimal | None]:
        top = 8 * 10 ** (2 * form.length - 1) - 1 if form.signed else 10 ** (2 * form.length) - 1
        return st.none() | st.integers(-top if form.signed else 0, top).map(lambda n: Decimal(n).scaleb(-form.decimals))

    return st.none() | st.tuples(*(value(f.format) for f in GROUPS[number] if isinstance(f.format, Number)))


RECORDS = st.builds(
    LoadRecord,
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(lambda t: t.replace(second=0, microsecond=0)),
    st.tuples(*(group(n) for n in range(CLASSES))),
)


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=5))
def test_records_round_trip(records: list[LoadRecord]) -> None:
    assert parse_records(encode_records(records)) == tuple(records)


@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_malformed(data: bytes) -> None:
    try:
        parse_records(b"\xa0\xa0" + data)
    except Malformed:
        return


@pytest.mark.parametrize(
    "record",
    [
        LoadRecord(None, NOTHING_BUT_FIRST),
        LoadRecord(WHEN, NOTHING_BUT_FIRST[:5]),
        LoadRecord(WHEN, (FIRST[:6], None, None, None, None, None)),
        LoadRecord(WHEN, ((Decimal("0.01"), *FIRST[1:]), None, None, None, None, None)),
    ],
)
def test_a_record_that_cannot_be_written_is_refused(record: LoadRecord) -> None:
    with pytest.raises(RequestError):
        encode_records([record])


@pytest.mark.parametrize(
    ("di", "payload", "names", "values"),
    [
        ("06100101", "151021112601220222", ["voltage_a_curve_1", "voltage_a_curve_2"], ["220.1", "220.2"]),
        ("061001FF", "15102111260122FFFF0222", [f"voltage_{p}_curve_1" for p in "abc"], ["220.1", None, "220.2"]),
        ("06100300", "1510211126563412", ["power_curve_1"], ["12.3456"]),
        ("06100303", "1510211126563492", ["power_c_curve_1"], ["-12.3456"]),
        ("06100601", "151021112678563412", ["energy_import_curve_1"], ["123456.78"]),
        ("06100603", "151021112678563492", ["reactive_energy_combined_1_curve_1"], ["-123456.78"]),
        ("06100201", "1510211126", [], []),
        ("06100201", "", [], []),
    ],
)
def test_curves(di: str, payload: str, names: list[str], values: list[str | None]) -> None:
    found = decode(di, bytes.fromhex(payload))
    assert [m.quantity for m in found] == names
    assert [None if m.value is None else str(m.value) for m in found] == values


@pytest.mark.parametrize(
    ("di", "payload"), [("06100101", "1510211126012202"), ("061001FF", "15102111260122"), ("06100101", "1510")]
)
def test_a_curve_that_ends_inside_a_value_has_no_values(di: str, payload: str) -> None:
    assert read_fields(di, bytes.fromhex(payload)) == []
    item = describe(di)
    assert item and item.cut(bytes.fromhex(payload)) is None


@pytest.mark.parametrize("di", ["06010003", "06010100", "06070000", "06100100", "06100104", "06100305", "06100900", "06110101"])
def test_what_no_document_has_is_unknown(di: str) -> None:
    assert describe(di) is None
