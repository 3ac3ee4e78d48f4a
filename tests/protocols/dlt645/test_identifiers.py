"""Identifiers to names, units and values, against captured payloads and the layouts of the standard."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645.frames import Dialect
from protocols.dlt645.identifiers import decode, describe, read_fields
from protocols.dlt645.values import (
    Number,
    Stamp,
    Word,
    decode_clock,
    decode_minute,
    decode_second,
    encode_date,
    encode_minute,
    encode_second,
    encode_text,
    encode_time,
)
from protocols.errors import RequestError
from protocols.quantities import quantity
from tests.protocols.dlt645.vectors import FRAMES, name

READS = [v for v in FRAMES if v["ctrl"] in ("91", "81") and v.get("di")]
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(lambda t: t.replace(microsecond=0))

NAMES = [
    # di, payload in wire order, quantities, values, unit
    ("00000000", "34120080", ["energy_combined"], ["-12.34"], "kWh"),
    ("00010000", "78563412", ["energy_import"], ["123456.78"], "kWh"),
    ("00010300", "76210200", ["energy_import_t3"], ["221.76"], "kWh"),
    ("00013F00", "00000000", ["energy_import_t63"], ["0.00"], "kWh"),
    ("0001FF00", "2901000062000000", ["energy_import", "energy_import_t1"], ["1.29", "0.62"], "kWh"),
    ("00010001", "01000000", ["energy_import_settlement_1"], ["0.01"], "kWh"),
    ("000102FF", "0200000001000000", ["energy_import_t2", "energy_import_t2_settlement_1"], ["0.02", "0.01"], "kWh"),
    ("00020000", "FFFFFFFF", ["energy_export"], [None], "kWh"),
    ("00030000", "01000080", ["reactive_energy_combined_1"], ["-0.01"], "kvarh"),
    ("00050000", "01000000", ["reactive_energy_q1"], ["0.01"], "kvarh"),
    ("00150000", "01000000", ["energy_import_a"], ["0.01"], "kWh"),
    ("003D0000", "01000000", ["energy_import_c"], ["0.01"], "kWh"),
    ("00800000", "01000000", ["energy_associated"], ["0.01"], "kWh"),
    ("00940000", "01000000", ["energy_associated_a"], ["0.01"], "kWh"),
    ("00900100", "56980100", ["energy_remaining"], ["198.56"], "kWh"),
    ("00900200", "56980100", ["balance"], ["198.56"], "currency"),
    ("00900201", "00010000", ["overdraft"], ["1.00"], "currency"),
    ("02010100", "5622", ["voltage_a"], ["225.6"], "V"),
    ("0201FF00", "5622FFFFFFFF", ["voltage_a", "voltage_b", "voltage_c"], ["225.6", None, None], "V"),
    ("0201FF00", "5622", ["voltage_a"], ["225.6"], "V"),
    ("02020200", "341280", ["current_b"], ["-1.234"], "A"),
    ("0203FF00", "122500112500010080", ["power", "power_a", "power_b"], ["0.2512", "0.2511", "-0.0001"], "kW"),
    ("02030000", "122580", ["power"], ["-0.2512"], "kW"),
    ("02040300", "314300", ["reactive_power_c"], ["0.4331"], "kvar"),
    ("02050000", "065000", ["apparent_power"], ["0.5006"], "kVA"),
    ("02060000", "0090", ["power_factor"], ["-1.000"], ""),
    ("020A0103", "5012", ["voltage_harmonic_a_3"], ["12.50"], "%"),
    ("02800001", "341200", ["current_n"], ["1.234"], "A"),
    ("02800002", "9849", ["frequency"], ["49.98"], "Hz"),
    ("02800007", "2582", ["temperature"], ["-22.5"], "°C"),
    ("04000503", "5002", ["status_3"], ["592"], ""),
    ("04000501", "FFFF", ["status_1"], [None], ""),
    ("040005FF", "01000200030004000500060007FF", [f"status_{n}" for n in range(1, 8)], ["1", "2", "3", "4", "5", "6", "65287"], ""),
    ("04000204", "04", ["rate_count"], ["4"], ""),
    ("04000409", "001600", ["active_constant"], ["1600"], "imp/kWh"),
    ("04000701", "08", ["speed_word_1"], ["8"], ""),
    ("04001003", "00500000", ["overdraft_limit"], ["50.00"], "currency"),
    ("1D000001", "120000", ["trip_count"], ["12"], ""),
    ("1E000001", "130000", ["close_count"], ["13"], ""),
    ("03300D00", "020000", ["cover_open_count"], ["2"], ""),
    ("9010", "48632400", ["energy_import"], ["2463.48"], "kWh"),
    ("901E", "48632400", ["energy_import_t14"], ["2463.48"], "kWh"),
    ("9410", "48632400", ["energy_import_settlement_1"], ["2463.48"], "kWh"),
    ("9820", "48632400", ["energy_export_settlement_2"], ["2463.48"], "kWh"),
    ("9110", "48632400", ["reactive_energy_import"], ["2463.48"], "kvarh"),
    ("9140", "48632400", ["reactive_energy_q4"], ["2463.48"], "kvarh"),
    ("A010", "123400", ["demand_import_max"], ["0.3412"], "kW"),
    ("B612", "2002", ["voltage_b"], ["220"], "V"),
    ("B621", "3412", ["current_a"], ["12.34"], "A"),
    ("B630", "563412", ["power"], ["12.3456"], "kW"),
    ("B640", "3412", ["reactive_power"], ["12.34"], "kvar"),
    ("B650", "0010", ["power_factor"], ["1.000"], ""),
    ("B61F", "200221021902AA", ["voltage_a", "voltage_b", "voltage_c"], ["220", "221", "219"], "V"),
    ("B213", "0700", ["demand_reset_count"], ["7"], ""),
    ("C030", "001600", ["active_constant"], ["1600"], "imp/kWh"),
]


def dialect_of(di: str) -> Dialect:
    return Dialect.V1997 if len(di) == 4 else Dialect.V2007


@pytest.mark.parametrize(("di", "payload", "names", "values", "unit"), NAMES)
def test_names_values_and_units(di: str, payload: str, names: list[str], values: list[str | None], unit: str) -> None:
    found = decode(di, bytes.fromhex(payload), dialect_of(di))
    assert [m.quantity for m in found] == names
    assert [None if m.value is None else str(m.value) for m in found] == values
    assert {m.unit for m in found} == {unit}


@pytest.mark.parametrize("di", sorted({row[0] for row in NAMES}))
def test_units_agree_with_the_table_of_quantities(di: str) -> None:
    item = describe(di, dialect_of(di))
    assert item
    for field in item.fields:
        assert quantity(field.quantity).unit in ("", field.unit)


@pytest.mark.parametrize(
    ("di", "payload", "quantity", "value"),
    [
        ("04000101", "06291218", "clock_date", "18122906"),
        ("04000102", "325318", "clock_time", "185332"),
        ("0400010C", "32531806291218", "clock", "18122906185332"),
        ("04000402", "020104061920", "meter_number", "201906040102"),
        ("04000401", "FFFFFFFFFFFF", "address", None),
        ("04000404", "000056303232", "rated_voltage", "220V"),
        ("04000407", "00302E32", "active_class", "2.0"),
        ("04000407", "FFFFFFFF", "active_class", None),
        ("1D000101", "325318291218", "trip_at_1", "181229185332"),
        ("1E000202", "04030201", "close_operator_2", "01020304"),
        ("C010", "06060719", "clock_date", "19070606"),
        ("C011", "042222", "clock_time", "222204"),
        ("C032", "346917081720", "meter_number", "201708176934"),
        ("B010", "30101215", "demand_import_max_at", "15121030"),
    ],
)
def test_texts_digits_and_times_are_fields_but_no_measurements(di: str, payload: str, quantity: str, value: str | None) -> None:
    fields = read_fields(di, bytes.fromhex(payload), dialect_of(di))
    assert [(f.field.quantity, f.value) for f in fields] == [(quantity, value)]
    assert decode(di, bytes.fromhex(payload), dialect_of(di)) == []


def test_maximum_demand_carries_its_time() -> None:
    (found,) = read_fields("01010000", bytes.fromhex("123400" + "3010051221"))
    assert (found.field.quantity, found.value, found.at) == ("demand_import_max", Decimal("0.3412"), "2021-12-05T10:30")
    assert len(read_fields("0101FF00", bytes.fromhex("123400" + "FFFFFFFFFF") * 3)) == 3
    assert read_fields("0101FF00", bytes.fromhex("123400" + "FFFFFFFFFF"))[0].at is None


def test_a_block_of_1997_may_end_with_aa() -> None:
    block = bytes.fromhex("30930701283520008495300081582800370328000000000000000000AA")
    values = [m.value for m in decode("901F", block, Dialect.V1997)]
    assert values[0] == Decimal("10793.30") == sum(values[1:5])  # type: ignore[arg-type]
    assert len(values) == 7
    assert decode("901F", block[:-1], Dialect.V1997) == decode("901F", block, Dialect.V1997)


@pytest.mark.parametrize(
    ("di", "payload"),
    [
        ("02010100", "44332211"),
        ("00010000", "54040000" + "01"),
        ("00010000", ""),
        ("0001FF00", "0000000000"),
        ("0201FF00", "0000" * 4),
        ("04000503", "00"),
        ("04000102", "00"),
        ("9010", "5404000001"),
        ("901F", "AA"),
    ],
)
def test_a_wrong_length_gives_no_values(di: str, payload: str) -> None:
    assert read_fields(di, bytes.fromhex(payload), dialect_of(di)) == []


@pytest.mark.parametrize(
    "di",
    [
        "0001FFFF", "00014000", "0001000D", "00150100", "00140000", "000B0100", "00FF0000", "00460100", "01000000", "02010000",
        "02010400", "02010101", "020A0000", "020A0116", "04000500", "04000509", "04010503",
        "1D00000B", "1D000003", "FFFFFFFF", "12010101",
        "9000", "9030", "90FF", "9210", "B614", "B660", "B350", "B314", "E323", "C32F", "C33B", "C3B1", "C41E", "D110", "FFFF",
    ],
)  # fmt: skip
def test_unknown_identifiers_are_none(di: str) -> None:
    assert describe(di, dialect_of(di)) is None
    assert decode(di, b"\0\0\0\0", dialect_of(di)) == []


def test_an_identifier_of_the_other_dialect_is_unknown() -> None:
    assert describe("9010", Dialect.V2007) is None
    assert describe("00010000", Dialect.V1997) is None


@given(st.integers(0, 2**32 - 1), st.binary(max_size=64))
def test_any_identifier_and_payload_is_read_without_failing(di: int, payload: bytes) -> None:
    read_fields(f"{di:08X}", payload)
    read_fields(f"{di & 0xFFFF:04X}", payload, Dialect.V1997)


@pytest.mark.parametrize("vector", READS, ids=name)
def test_stated_values_of_captured_answers(vector: dict) -> None:
    dialect = Dialect.V1997 if vector["ctrl"] == "81" else Dialect.V2007
    payload = bytes.fromhex(vector["data"])[2 if dialect is Dialect.V1997 else 4 :]
    found = decode(vector["di"], payload, dialect)
    if "values" in vector:
        assert [None if m.value is None else str(m.value) for m in found] == vector["values"]
        assert {m.unit for m in found} == {vector["unit"]}


@given(st.decimals("-79.9999", "79.9999", places=4))
def test_numbers_round_trip(value: Decimal) -> None:
    assert Number(3, 4, signed=True).decode(Number(3, 4, signed=True).encode(value)) == value


@pytest.mark.parametrize("value", ["0.001", "1000000", "-1"])
def test_a_number_that_the_register_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(RequestError):
        Number(4, 2).encode(Decimal(value))


def test_zero_has_no_sign_and_keeps_its_decimals() -> None:
    assert str(Number(4, 2, signed=True).decode(bytes.fromhex("00000080"))) == "0.00"


def test_one_byte_words_may_have_all_bits_set() -> None:
    assert Word(1).decode(b"\xff") == 255
    assert Word(2).decode(b"\xff\xff") is None


@given(MOMENTS)
def test_times_round_trip(when: datetime) -> None:
    assert decode_second(encode_second(when)) == when
    assert decode_minute(encode_minute(when)) == when.replace(second=0)
    assert decode_clock(encode_date(when), encode_time(when)) == when


def test_times_as_captured() -> None:
    """v117: 08 carries ss first; v003 and v002: date with weekday 6 (Saturday) and time."""
    assert decode_second(bytes.fromhex("470714170322")) == datetime(2022, 3, 17, 14, 7, 47)
    assert decode_clock(bytes.fromhex("06291218"), bytes.fromhex("325318")) == datetime(2018, 12, 29, 18, 53, 32)
    assert encode_date(datetime(2018, 12, 29)) == bytes.fromhex("06291218")
    assert encode_date(datetime(2018, 12, 30))[0] == 0


@pytest.mark.parametrize("wire", ["000000000000", "5122100506FF", "251102123456", "5122100506", ""])
def test_what_is_no_date_is_none(wire: str) -> None:
    assert decode_second(bytes.fromhex(wire)) is None


def test_texts() -> None:
    assert encode_text("220V", 6) == bytes.fromhex("000056303232")
    for bad in ("too long", "é"):
        with pytest.raises(RequestError):
            encode_text(bad, 6)


@pytest.mark.parametrize(
    ("layout", "digits", "text"),
    [
        ("YYMMDDWW", "18122906", "2018-12-29"),
        ("hhmmss", "002204", "00:22:04"),
        ("MMDDhhmm", "12291853", "12-29T18:53"),
        ("DDhh", "0100", "01T00"),
    ],
)
def test_iso_text(layout: str, digits: str, text: str) -> None:
    assert Stamp(layout).text(digits) == text
