"""Status words bit by bit (dlt645.md 8.5)."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from protocols.dlt645.frames import Deframer
from protocols.dlt645.status import quantity_flags, relay_state, status_flags
from protocols.errors import Malformed
from tests.protocols.dlt645.vectors import SYNTHETIC

CLOSED = asdict(relay_state(0))


@pytest.mark.parametrize(
    ("bit", "change"),
    [
        (3, {"programming_allowed": True}),
        (4, {"relay_open": True}),
        (6, {"command_open": True}),
        (7, {"pre_trip_alarm": True}),
        (12, {"protect": True}),
        (13, {"authenticated": True}),
        (1, {"supply": "auxiliary"}),
        (2, {"supply": "battery"}),
        (8, {"prepaid": "energy"}),
        (9, {"prepaid": "money"}),
        (0, {}),
        (5, {}),
        (15, {}),
    ],
)
def test_each_bit_of_word_3_changes_its_field_alone(bit: int, change: dict) -> None:
    assert asdict(relay_state(1 << bit)) == {**CLOSED, **change}


def test_the_captured_layout_relay_open_command_open_money_prepaid() -> None:
    (frame,) = Deframer().feed(SYNTHETIC["s26"])
    assert asdict(relay_state(frame.data[4:])) == {**CLOSED, "relay_open": True, "command_open": True, "prepaid": "money"}
    assert relay_state(frame.data[4:]) == relay_state(0x0250)


@pytest.mark.parametrize("word", [b"\xff\xff", 0xFFFF, 0x10000, -1])
def test_a_filler_is_no_relay_state(word: int | bytes) -> None:
    with pytest.raises(Malformed):
        relay_state(word)


@pytest.mark.parametrize(
    ("word", "value", "flags"),
    [
        (1, 0x4004, ("clock_battery_low", "overdraft")),
        (2, 0x0001, ("active_reversed_a",)),
        (3, 0x0050, ("relay_open", "command_open")),
        (3, 0x0020, ("bit 5",)),
        (4, 0x0020, ("overload",)),
        (7, 0x0600, ("cover_open", "terminal_cover_open")),
        (7, 0x8000, ("bit 15",)),
        (5, 0, ()),
    ],
)
def test_flags_by_name(word: int, value: int, flags: tuple[str, ...]) -> None:
    assert status_flags(word, value) == flags
    assert quantity_flags(f"status_{word}", value) == flags


def test_flags_of_1997_and_of_no_status() -> None:
    assert quantity_flags("status_c020", 4) == ("battery_low",)
    assert quantity_flags("status_c021", 0x11) == ("dead_a", "over_voltage_a")
    assert quantity_flags("voltage_a", 1) is None
