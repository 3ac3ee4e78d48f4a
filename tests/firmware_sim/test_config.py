"""The simulator's file: what is right is built, what is wrong is named, all at once."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from firmware_sim.config import ConfigError, load, parse
from firmware_sim.meter import RateChange
from firmware_sim.station import Delay
from tests.firmware_sim.virtual import one_meter

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "sim.toml"


def test_the_example_is_read():
    config = load(EXAMPLE)
    assert [line.kind for line in config.lines] == ["pty", "tcp", "modbus-tcp"]
    assert [meter.model for meter in config.meters] == ["dlt645-single", "dlt645-single", "dlt645-three", "sdm630", "dds238"]
    north1, north2, *_, shop1, _ = config.meters
    assert north1.spec.initial_mws == 1234_56 * 36_000_000
    assert (
        north2.spec.day == (RateChange(0, 2), RateChange(420, 1), RateChange(1320, 2))
        and north2.spec.clock_offset_us == -90_000_000
    )
    assert shop1.switch and (shop1.switch.unit, shop1.switch.coil) == (10, 0)
    assert config.lines[2].delay == Delay(5_000, 40_000, 0)


def test_speed_and_delay_may_be_set_per_meter():
    table = one_meter(speed=2.5)
    table["meter"][0] |= {"delay_ms": [10, 20], "tail_ms": 0}
    table["sim"] = {"speed": 60}
    table["meter"].append({**one_meter()["meter"][0], "id": "n", "address": "000000000002"})
    first, second = parse(table).meters
    assert (first.spec.speed_milli, second.spec.speed_milli) == (2500, 60_000)
    assert first.delay == Delay(10_000, 20_000, 0) and second.delay is None


def test_all_errors_are_named_at_once():
    table = {
        "sim": {"seed": -1, "colour": "red"},
        "line": [{"id": "a", "kind": "pty", "baud": 1234}, {"id": "a", "kind": "smoke"}],
        "meter": [
            {"id": "m 1", "line": "b", "model": "dlt645-single", "address": "12"},
            {"id": "n", "line": "a", "model": "sdm630", "unit": 300, "load": {"kind": "constant", "watts": 5}},
        ],
    }
    with pytest.raises(ConfigError) as caught:
        parse(table)
    text = str(caught.value)
    parts = (
        "[sim]: seed must", "[sim]: colour is not a key", "path is missing", "baud must be one of", "kind must be one of pty",
        "line a is there twice", "id must be", "names 'b', which is no [[line]]", "address must be", "unit must be",
        "power_w is missing", "load: watts is not a key",
    )  # fmt: skip
    for part in parts:
        assert part in text, part
    assert all(len(line) < 200 for line in caught.value.errors)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"load": {"kind": "schedule", "steps": [[5, 100]]}}, "must begin at 0"),
        ({"load": {"kind": "schedule", "steps": [[0, 100], [10, "x"]]}}, "must hold pairs"),
        ({"load": {"kind": "schedule", "steps": [[0, 1], [10, 2]], "repeat_s": 5}}, "repeat_s must be longer"),
        ({"load": {"kind": "daily", "steps": [["7:00", 100]]}}, "must hold pairs"),
        ({"load": {"power_w": 80000}}, "power_w must be a number from 0 to 70000"),
        ({"load": "much"}, "load must be a table"),
        ({"day": [["01:00", 1]]}, 'begin at "00:00"'),
        ({"day": [["00:00", 9]]}, "a rate from 1 to 4"),
        ({"initial_kwh": True}, "initial_kwh must be a number"),
        ({"initial_kwh": "NaN"}, "initial_kwh must be a number"),
        ({"contact_ms": [180, 25]}, "contact_ms must be two rising"),
        ({"password": "12345"}, "password must be a text of 6 digits"),
        ({"address": 202611210001}, "address must be a text of 12 digits"),
        ({"switch": {"line": "a", "unit": 5, "coil": 0}}, "beside a sdm630 only"),
    ],
)
def test_wrong_values_get_one_sentence_each(change, complaint):
    with pytest.raises(ConfigError) as caught:
        parse(one_meter(**change))
    assert len(caught.value.errors) == 1 and complaint in caught.value.errors[0], caught.value.errors


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": "n"}, "address on line a 202611210001 is there twice"),
        ({"address": "000000000002"}, "meter m is there twice"),
    ],
)
def test_nothing_is_there_twice(change, complaint):
    table = one_meter()
    table["meter"].append({**copy.deepcopy(table["meter"][0]), **change})
    with pytest.raises(ConfigError, match=complaint):
        parse(table)


def test_two_meters_cannot_share_a_coil_and_no_meter_the_modules_unit():
    switch = {"line": "a", "unit": 2, "coil": 0}
    table = one_meter("sdm630", switch=switch)
    table["meter"].append({"id": "n", "line": "a", "model": "sdm630", "unit": 2, "switch": dict(switch)})
    with pytest.raises(ConfigError) as caught:
        parse(table)
    assert any("coil a 2 0 is there twice" in each for each in caught.value.errors)
    assert any("is a coil module's" in each for each in caught.value.errors)


def test_a_dlt645_meter_does_not_hang_on_modbus_tcp():
    table = one_meter()
    table["line"] = [{"id": "a", "kind": "modbus-tcp"}]
    with pytest.raises(ConfigError, match="speaks DL/T 645"):
        parse(table)


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"[[line", "is not TOML"), (b"\xff\xfe", "is not TOML"), (None, "cannot be read")]
)
def test_files_that_are_none(tmp_path, content, complaint):
    path = tmp_path / "sim.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        load(path)


def test_relative_paths_count_from_the_file(tmp_path):
    path = tmp_path / "sim.toml"
    path.write_text(
        '[sim]\nstate="s"\n[[line]]\nid="a"\nkind="pty"\npath="p"\n[[meter]]\nid="m"\nline="a"\nmodel="dds238"\nunit=1\n'
    )
    config = load(path)
    assert (config.state, config.lines[0].path) == (str(tmp_path / "s"), str(tmp_path / "p"))
