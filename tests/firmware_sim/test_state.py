"""The state file: what was written is there again, what is damaged is refused."""

from __future__ import annotations

import os

import pytest

from firmware_sim.state import SLOT, StateError, StateFile


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
        StateFile(str(tmp_path / "state")).write("a", "x" * SLOT)
