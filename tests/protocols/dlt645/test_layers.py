"""What each kind of meter has, and where they differ (dlt645.md 1 and 12)."""

from __future__ import annotations

import pytest

from protocols.dlt645.items import Layer
from protocols.dlt645.layers import (
    PRIVATE,
    PRIVATE_1997,
    PROFILES,
    STANDARD_1997,
    STANDARD_2007,
    STATE_GRID_2009,
    STATE_GRID_2013,
    Purchases,
)
from protocols.dlt645.master import Action

ALL = (STANDARD_1997, STANDARD_2007, STATE_GRID_2009, STATE_GRID_2013, PRIVATE, PRIVATE_1997)


@pytest.mark.parametrize(
    ("di", "has"),  # 1997, 2007, State Grid 2009 and 2013, private
    [
        ("9010", "10000"),
        ("00010000", "01111"),
        ("04000503", "01111"),
        ("05000101", "01111"),
        ("06010001", "01111"),
        ("00900200", "00111"),
        ("0400040E", "00111"),
        ("04060001", "00101"),
        ("05060101", "00111"),
        ("1D000001", "00111"),
        ("040601FF", "00101"),
        ("040604FF", "00011"),
        ("04001402", "00011"),
        ("06100101", "00011"),
        ("070104FF", "00001"),
        ("04001006", "00001"),
    ],
)
def test_who_has_what(di: str, has: str) -> None:
    profiles = (STANDARD_1997, STANDARD_2007, STATE_GRID_2009, STATE_GRID_2013, PRIVATE)
    assert "".join("1" if p.describe(di) else "0" for p in profiles) == has


def test_private_meters_have_lengths_of_their_own() -> None:
    assert STATE_GRID_2009.describe("02800001") != PRIVATE.describe("02800001")
    item = PRIVATE.describe("02800001")
    assert item and item.fields[0].length == 2 and item.basis.weak and item.basis.layer is Layer.VENDOR
    assert STANDARD_1997.describe("E310") is None
    text = PRIVATE_1997.describe("e310")
    assert text and text.read(bytes(30))


def test_commands() -> None:
    assert [p.has(0x1C) for p in ALL] == [False, False, True, True, True, False]
    assert [p.has(0x03) for p in ALL] == [True, False, True, True, True, True]  # in 1997: reread
    assert all(p.has(0x08) for p in ALL)
    assert not any(p.has(0x1E) for p in ALL)
    assert Action.CUT in PRIVATE.plain_actions
    assert Action.CUT not in STATE_GRID_2013.plain_actions and Action.CLOSE in STATE_GRID_2013.plain_actions


def test_money() -> None:
    assert [p.purchases for p in ALL] == [
        Purchases.NONE, Purchases.NONE, Purchases.COUNTED, Purchases.COUNTED, Purchases.ORDERED, Purchases.NONE,
    ]  # fmt: skip
    assert (PRIVATE.serr_bytes, STATE_GRID_2013.serr_bytes) == (1, 2)
    assert (PRIVATE.refund, STATE_GRID_2013.refund) == ("070108FF", None)
    assert "04001001" in STATE_GRID_2013.class_1 and "040605FF" in STATE_GRID_2013.class_1
    assert "040605FF" not in STATE_GRID_2009.class_1


def test_profiles_by_name() -> None:
    assert tuple(PROFILES.values()) == ALL
