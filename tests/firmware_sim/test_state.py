"""The state file: what was written is there again, what is damaged is refused."""

from __future__ import annotations

import json
import os
from random import Random

import pytest

from firmware_sim.state import SLOT, StateError, StateFile
from tests.firmware_sim.virtual import VirtualStreet, one_meter


def test_states_come_back_and_are_overwritten_in_place(tmp_path):
    path = str(tmp_path / "state")
    first = StateFile(path)
    for energy in range(100):
        first.write("a", {"energy": energy})
        first.write("b", {"energy": -energy})
    first.close()
    assert os.path.getsize(path) == 2 * SLOT
    second = StateFile(path)
    assert second.saved == {"a": {"energy": 99}, "b": {"energy": -99}}
    second.write("c", {"energy": 1})
    second.close()
    assert StateFile(path).saved["c"] == {"energy": 1}


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data.replace(b"99", b"98"), lambda data: b"hello"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "state"
    state = StateFile(str(path))
    state.write("a", {"energy": 99, "text": "x" * 900})
    state.close()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StateError, match="damaged"):
        StateFile(str(path))


def test_two_simulators_cannot_share_a_file(tmp_path):
    path = str(tmp_path / "state")
    first = StateFile(path)
    with pytest.raises(StateError, match="used by another"):
        StateFile(path)
    first.close()


def test_a_file_that_cannot_be_opened_and_a_state_that_does_not_fit(tmp_path):
    with pytest.raises(StateError, match="cannot be opened"):
        StateFile(str(tmp_path / "none" / "state"))
    with pytest.raises(StateError, match="does not fit"):
        StateFile(str(tmp_path / "state")).write("a", Random(1).randbytes(SLOT).hex())


def test_the_largest_state_of_a_meter_fits_its_slot(tmp_path):
    wallet = {"prices": [0.5], "balance": 99999, "count": 1, "customer": "000000004711"}
    s = VirtualStreet(one_meter("dlt645-three", rates=14, wallet=wallet, initial_kwh=999_999))
    station = s.station("m")
    for row in (*station.meter.registers.total, *station.meter.registers.skew):
        row[:] = [31_415_926_535_897_932_384_626_433 + 7**n for n in range(14)]
    for row in station.meter.registers.phase:
        row[:] = [27_182_818_284_590_452_353_602_874] * 3
    state = StateFile(str(tmp_path / "state"))
    state.write("m" * 64, station.save())
    state.close()
    assert os.path.getsize(tmp_path / "state") == SLOT
    assert StateFile(str(tmp_path / "state")).saved["m" * 64] == json.loads(json.dumps(station.save()))
