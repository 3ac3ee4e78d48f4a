"""Reads by hand: what words mean, what comes back, and places as people write them; the record of refused passwords."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gateway.adapters.line_tools.hand_read import BadItem, Unread, Value, identifiers_of, read_dlt645, read_modbus
from gateway.adapters.line_tools.place import BadPlace, Setting, parse_place
from gateway.adapters.line_tools.refusals import MOST, WITHIN_MS, NoRecord, Refusals
from gateway.adapters.lines.driver import Driver
from gateway.adapters.profiles import profile
from protocols.dlt645.frames import Dialect
from protocols.dlt645.slave import ReadRequest, Slave, error_answer, read_answer
from tests.gateway.adapters.line_tools.meters import Answers
from tests.simulation.memory_line import MemoryLine
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time

METER = "000000000042"


@pytest.mark.parametrize(
    ("word", "identifiers"),
    [
        ("00010000", ("00010000",)),
        ("0001ff00", ("0001FF00",)),
        ("9010", ("9010",)),
        ("energy_import", ("00010000",)),
        ("energy_import_t4", ("00010400",)),
        ("energy_export", ("00020000",)),
        ("voltage_b", ("02010200",)),
        ("current_c", ("02020300",)),
        ("power", ("02030000",)),
        ("power_factor", ("02060000",)),
        ("frequency", ("02800002",)),
        ("current_n", ("02800001",)),
        ("balance", ("00900200",)),
        ("overdraft", ("00900201",)),
        ("status_3", ("04000503",)),
        ("clock", ("04000101", "04000102")),
        ("demand_import_max", ("01010000",)),
    ],
)
def test_a_word_is_an_identifier_or_a_quantity(word: str, identifiers: tuple[str, ...]) -> None:
    assert identifiers_of(word) == identifiers


@pytest.mark.parametrize(
    ("word", "di"), [("energy_import", "9010"), ("energy_import_t2", "9012"), ("voltage_a", "B611"), ("power", "B630")]
)
def test_quantities_of_1997(word: str, di: str) -> None:
    assert identifiers_of(word, Dialect.V1997) == (di,)


@pytest.mark.parametrize("word", ["", "000100", "0001000", "volts", "0x00010000", "energy_import_t64", "00010000 "])
def test_what_is_neither_is_one_sentence(word: str) -> None:
    with pytest.raises(BadItem) as bad:
        identifiers_of(word)
    assert "\n" not in str(bad.value)


@in_virtual_time
async def test_values_come_with_resolution_and_what_fails_says_why() -> None:
    known = {"00010000": b"\x78\x56\x34\x12", "04000503": b"\x50\x00", "98761234": b"\xab\xcd"}

    def answer(data: bytes) -> Answers:
        (request,) = Slave().feed(data)
        assert isinstance(request, ReadRequest)
        value = known.get(request.di)
        yield 0.05, error_answer(METER, 0x11, 2) if value is None else read_answer(METER, request.di, value)

    driver = Driver(MemoryLine(answer), baud=None, clock=VirtualClock())
    assert await driver.ensure_open() is None
    got = await read_dlt645(driver, METER, ["energy_import", "status_3", "98761234", "02010100"], Dialect.V2007)
    energy, relay, vendor, refused = got
    assert energy == Value("00010000", "energy_import", "123456.78", "kWh")
    assert isinstance(relay, Value) and relay.text == "relay_open, command_open"
    assert vendor == Value("98761234", "raw", "ABCD", "hex")
    assert isinstance(refused, Unread) and refused.item == "02010100" and "no requested data" in refused.why


@in_virtual_time
async def test_a_modbus_quantity_that_the_profile_lacks_is_said_before_the_first_byte() -> None:
    line = MemoryLine(lambda data: [])
    driver = Driver(line, baud=9600, clock=VirtualClock())
    assert await driver.ensure_open() is None
    with pytest.raises(BadItem, match="has no balance"):
        await read_modbus(driver, 1, ["balance"], profile("eastron-sdm630"), "rtu")
    assert line.sent == []
    got = await read_modbus(driver, 1, ["voltage_a"], profile("eastron-sdm630"), "rtu")
    assert got == [Unread("voltage_a", "no answer")]


@pytest.mark.parametrize(
    ("text", "kind", "where"),
    [
        ("/dev/ttyUSB0", "serial", "/dev/ttyUSB0"),
        ("./line", "serial", "./line"),
        ("tcp:192.168.1.5:4001", "tcp", "192.168.1.5:4001"),
        ("tcp:[::1]:4001", "tcp", "[::1]:4001"),
        ("modbus-tcp:h:502", "modbus-tcp", "h:502"),
    ],
)
def test_places(text: str, kind: str, where: str) -> None:
    place = parse_place(text)
    assert (place.kind, place.where, place.name, place.setting) == (kind, where, text, Setting(2400, "E"))
    assert place.settable is (kind == "serial") and (place.baud is None) is (kind != "serial")
    assert parse_place(text, 9600, "N").baud == 9600 and parse_place(text, 9600, "N").setting == Setting(9600, "N")


@pytest.mark.parametrize("text", ["", "bus1", "tcp:", "tcp:host", "tcp::5", "tcp:host:0", "tcp:host:65536", "tcp:host:x"])
def test_what_is_no_place_is_one_sentence(text: str) -> None:
    with pytest.raises(BadPlace) as bad:
        parse_place(text)
    assert "\n" not in str(bad.value) and repr(text) in str(bad.value)


def test_refusals_are_remembered_over_runs_and_forgotten_after_a_day(tmp_path: Path) -> None:
    path, now_ms = tmp_path / "state" / "refused.json", 1_000_000_000_000
    assert Refusals(path).left(METER, now_ms) == MOST == 2
    Refusals(path).note(METER, now_ms)
    Refusals(path).note(METER, now_ms + 1)
    assert Refusals(path).left(METER, now_ms + WITHIN_MS - 1) == 0 and Refusals(path).left("1" * 12, now_ms) == 2
    assert Refusals(path).left(METER, now_ms - 5) == 0, "a clock that was set back forgets nothing"
    assert Refusals(path).left(METER, now_ms + WITHIN_MS + 1) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "[]", '{"1": 2}', "nonsense", '{"000000000042": [[]]}'])
def test_a_record_that_cannot_be_read_allows_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "refused.json"
    path.write_text(text)
    with pytest.raises(NoRecord):
        Refusals(path).left(METER, 0)


def test_a_record_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NoRecord):
        Refusals(tmp_path / "file" / "refused.json").note(METER, 0)
