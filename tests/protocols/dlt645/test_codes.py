"""Control codes, error words, authority, speeds, freeze times, attention, OBIS codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import codes
from protocols.dlt645.codes import ControlError, ControlWord, Err, Err1997, Serr, error_flags, function_name, may, wire
from protocols.dlt645.frames import ANY, BROADCAST, Dialect, Frame
from protocols.dlt645.freeze_time import FreezeTime, decode_freeze_time
from protocols.dlt645.obis import obis
from protocols.dlt645.slave import Attention, attention
from protocols.dlt645.status import quantity_flags
from protocols.errors import RequestError

METER = "201906040102"


@pytest.mark.parametrize(
    ("dialect", "functions"), [(Dialect.V2007, [3, 8, *range(0x11, 0x1E)]), (Dialect.V1997, [1, 2, 3, 4, 8, 10, 12, 15, 16])]
)
def test_every_function_has_a_name(dialect: Dialect, functions: list[int]) -> None:
    named = [f for f in range(0x20) if function_name(Frame(METER, f), dialect) != "unknown"]
    assert named == functions


@pytest.mark.parametrize(
    ("flag", "function", "length", "dialect", "words"),
    [
        (Err.NO_DATA | Err.PASSWORD, 0x11, 1, Dialect.V2007, ("no requested data", "password wrong or not authorised")),
        (Err.SPEED, 0x17, 1, Dialect.V2007, ("speed not changeable",)),
        (Err.OTHER | Err.RATES, 0x14, 1, Dialect.V2007, ("other error", "too many tariffs")),
        (Err1997.WRONG_DI, 0x01, 1, Dialect.V1997, ("wrong data identifier",)),
        (Err1997.ILLEGAL_DATA | Err1997.SEGMENTS, 0x04, 1, Dialect.V1997, ("illegal data", "too many day segments")),
        (Serr.REPEATED, 0x03, 2, Dialect.V2007, ("repeated recharge",)),
        (Serr.COUNT | Serr.VENDOR, 0x03, 2, Dialect.V2007, ("recharge count wrong", "vendor error")),
        (Serr.HOARDING, 0x03, 1, Dialect.V2007, ("over the hoarding limit",)),
        (ControlError.PROTECTED, 0x1C, 2, Dialect.V2007, ("refused by supply-protect",)),
        (ControlError.ALREADY_OPEN, 0x1C, 2, Dialect.V2007, ("timed cut refused, already open",)),
    ],
)
def test_flags_and_words_are_the_same_bits(flag, function: int, length: int, dialect: Dialect, words: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    assert error_flags(function, wire(flag, length), dialect) == words


def test_words_of_acceptance() -> None:
    assert codes.control_flags(wire(ControlWord.DELAYED | ControlWord.ALARM_OFF)) == ("delayed trip", "alarm off")
    for flag, words in zip(ControlWord, ("direct close", "permit close", "direct trip", "delayed trip", "auto-restore trip",
                                         "delayed by high current", "protect on", "protect off", "alarm on", "alarm off"),
                           strict=True):  # fmt: skip
        assert codes.control_flags(wire(flag)) == (words,)


def test_a_word_of_three_bytes_means_nothing() -> None:
    assert error_flags(0x1C, b"\1\0\0") == error_flags(0x03, b"\1\0\0") == error_flags(0x11, b"\1\0") == ()


@pytest.mark.parametrize(
    ("level", "function", "allowed"),
    [(0, 0x1A, True), (2, 0x1A, True), (3, 0x1A, False), (4, 0x14, True), (5, 0x14, False), (9, 0x1C, True), (4, 0x19, True),
     (5, 0x19, False), (2, 0x1B, True), (10, 0x11, False), (0x98, 0x1C, False), (-1, 0x14, False)],
)  # fmt: skip
def test_authority(level: int, function: int, allowed: bool) -> None:
    assert may(level, function) is allowed


def test_a_speed_is_one_bit() -> None:
    assert all(word.bit_count() == 1 for word in (*codes.SPEEDS.values(), *codes.SPEEDS_1997.values()))
    assert quantity_flags("speed_word_1", codes.SPEEDS[2400]) == ("2400",)


@pytest.mark.parametrize(
    ("name", "value", "flags"),
    [
        ("freeze_mode_word", 0x81, ("import", "variables")),
        ("load_record_mode_word", 0x05, ("voltage_current_frequency", "power_factor")),
        ("combination_word_active", 0x05, ("plus_import", "plus_export")),
        ("combination_word_reactive_1", 0x81, ("plus_q1", "minus_q4")),
        ("weekend_word", 0x41, ("sunday", "saturday")),
        ("active_report_status", 0x4000, ("trip",)),
        ("active_report_mode_word", 0x8000, ("close",)),
        ("key_status", 0x80000001, ("production_key_0", "production_key_31")),
    ],
)
def test_words_of_bits(name: str, value: int, flags: tuple[str, ...]) -> None:
    assert quantity_flags(name, value) == flags


@pytest.mark.parametrize(
    ("time", "wire_", "text"),
    [
        (FreezeTime(), "99999999", "now"),
        (FreezeTime(minute=30), "30999999", "every hour at minute 30"),
        (FreezeTime(hour=0, minute=30), "30009999", "every day at 00:30"),
        (FreezeTime(1, 0, 5), "05000199", "every month on day 1 at 00:05"),
    ],
)
def test_freeze_times(time: FreezeTime, wire_: str, text: str) -> None:
    assert time.encode().hex() == wire_
    assert decode_freeze_time(bytes.fromhex(wire_)) == time
    assert str(time) == text


NO_TIMES = (
    FreezeTime(day=1), FreezeTime(hour=1), FreezeTime(1, None, 5), FreezeTime(29, 0, 0), FreezeTime(minute=60),
    FreezeTime(hour=24, minute=0), FreezeTime(minute=-1),
)  # fmt: skip


@pytest.mark.parametrize("time", NO_TIMES)
def test_a_freeze_time_that_cannot_be_said_is_refused(time: FreezeTime) -> None:
    with pytest.raises(RequestError):
        time.encode()


@given(st.binary(max_size=6))
def test_any_bytes_are_a_freeze_time_or_none(data: bytes) -> None:
    time = decode_freeze_time(data)
    assert time is None or time.encode() == data


ANSWER, OBEY, IGNORE = Attention.ANSWER, Attention.OBEY, Attention.IGNORE


@pytest.mark.parametrize(
    ("control", "pattern", "what"),
    [
        (0x11, METER, ANSWER), (0x11, ANY, ANSWER), (0x11, "AAAAAAAA0102", ANSWER), (0x12, "AAAAAAAA0102", ANSWER),
        (0x11, "AAAAAAAA0103", IGNORE), (0x11, "2019AAAA0102", IGNORE), (0x11, BROADCAST, IGNORE), (0x11, "201906040103", IGNORE),
        (0x13, ANY, ANSWER), (0x13, METER, ANSWER), (0x13, BROADCAST, IGNORE), (0x15, ANY, ANSWER), (0x15, BROADCAST, IGNORE),
        *((c, ANY, IGNORE) for c in (0x03, 0x14, 0x17, 0x19, 0x1A, 0x1B, 0x1C)), (0x14, METER, ANSWER), (0x14, BROADCAST, IGNORE),
        (0x08, BROADCAST, OBEY), (0x08, METER, OBEY), (0x16, BROADCAST, OBEY), (0x16, METER, ANSWER), (0x1D, BROADCAST, OBEY),
        (0x1C, BROADCAST, IGNORE), (0x16, "AAAAAAAA0102", IGNORE),
    ],
)  # fmt: skip
def test_who_must_answer_2007(control: int, pattern: str, what: Attention) -> None:
    assert attention(control, pattern, METER) is what


@pytest.mark.parametrize(
    ("control", "pattern", "what"),
    [
        (0x01, METER, ANSWER), (0x01, BROADCAST, ANSWER), (0x01, ANY, ANSWER), (0x02, BROADCAST, ANSWER), (0x08, BROADCAST, OBEY),
        (0x0A, BROADCAST, ANSWER), (0x04, BROADCAST, IGNORE), (0x04, METER, ANSWER), (0x10, ANY, IGNORE), (0x11, BROADCAST, IGNORE),
    ],
)  # fmt: skip
def test_who_must_answer_1997(control: int, pattern: str, what: Attention) -> None:
    assert attention(control, pattern, METER, Dialect.V1997) is what


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("energy_import", "1-0:1.8.0"), ("energy_import_t4", "1-0:1.8.4"), ("energy_export_t2", "1-0:2.8.2"),
        ("energy_import_settlement_1", "1-0:1.8.0*1"), ("energy_import_t2_settlement_12", "1-0:1.8.2*12"),
        ("reactive_energy_q1", "1-0:5.8.0"), ("reactive_energy_q4_t1", "1-0:8.8.1"), ("apparent_energy_import", "1-0:9.8.0"),
        ("demand_import_max", "1-0:1.6.0"), ("demand_export_max_t3", "1-0:2.6.3"), ("energy_import_b", "1-0:41.8.0"),
        ("energy_export_c", "1-0:62.8.0"), ("voltage_b", "1-0:52.7.0"), ("current_c", "1-0:71.7.0"), ("current_n", "1-0:91.7.0"),
        ("power", "1-0:16.7.0"), ("power_c", "1-0:76.7.0"), ("power_factor", "1-0:13.7.0"), ("power_factor_a", "1-0:33.7.0"),
        ("frequency", "1-0:14.7.0"), ("energy_combined", None), ("balance", None), ("status_3", None), ("voltage_d", None),
        ("voltage_a_t1", None), ("energy_import_a_t1", None), ("", None), ("Energy", None),
    ],
)  # fmt: skip
def test_obis(name: str, code: str | None) -> None:
    assert obis(name) == code
