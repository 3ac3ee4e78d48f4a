"""Export and capacitive loads: the four quadrants, signs of what flows, and maximum demand by phase (notes 8.1 to 8.3)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from firmware_sim.config import ConfigError
from protocols.dlt645 import master
from protocols.dlt645.identifiers import read_fields
from tests.firmware_sim.dlt645.bench import ADDRESS, Bench

HOUR = 3600
ENERGIES = {"forward": "00010000", "reverse": "00020000", "q1": "00050000", "q2": "00060000", "q3": "00070000", "q4": "00080000"}
LOAD = {"power_w": 3000, "pf": 0.8}  # 2250 var
FEED = {"power_w": 8000}


def counted(s: Bench) -> dict[str, Decimal]:
    found = {name: s.value(di) for name, di in ENERGIES.items()}
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize("model", ["dlt645-single", "dlt645-three"])
@pytest.mark.parametrize(
    ("more", "expected", "signs"),
    [
        ({}, {"forward": 3, "q1": "2.25"}, (1, 1)),
        ({"leading": True}, {"forward": 3, "q4": "2.25"}, (1, -1)),
        ({"feed_in": FEED}, {"reverse": 5, "q2": "3.75"}, (-1, 1)),
        ({"feed_in": FEED, "leading": True}, {"reverse": 5, "q3": "3.75"}, (-1, -1)),
    ],
    ids=["Q1", "Q4", "Q2", "Q3"],
)
def test_every_quadrant_has_its_register(model: str, more: dict[str, object], expected: dict[str, object], signs: tuple[int, int]):
    s = Bench(model=model, load=LOAD, **more)
    s.wait(HOUR)
    assert counted(s) == {name: pytest.approx(Decimal(str(value)), abs=Decimal("0.01")) for name, value in expected.items()}
    power, varying = s.value("02030000"), s.value("02040000")
    assert (power > 0, varying > 0) == (signs[0] > 0, signs[1] > 0)
    general = int(s.value("04000501"))
    assert (bool(general & 0x10), bool(general & 0x20)) == (signs[0] < 0, signs[1] < 0)
    factor, current = s.value("02060000"), s.value("02020100")
    assert abs(factor) == Decimal("0.8") and (factor > 0, current > 0) == (signs[0] > 0, signs[0] > 0)
    assert s.value("02070100") == Decimal({(1, 1): "36.9", (1, -1): "323.1", (-1, 1): "216.9", (-1, -1): "143.1"}[signs])


def test_a_generator_has_its_hours():
    s = Bench(load={"power_w": 1000, "pf": 1}, feed_in={"power_w": 5000, "from": "14:00", "to": "16:00"})  # it is noon
    s.wait(6 * HOUR)
    assert counted(s) == {"forward": 4, "reverse": 8}
    assert s.truth()["drawn_mws"] // 10**8 == 4 * 36, "what is fed in is not drawn"


def test_combined_active_energy_adds_both_directions():
    s = Bench(load={"power_w": 1000, "pf": 1}, feed_in={"power_w": 5000, "from": "14:00", "to": "16:00"})
    s.wait(6 * HOUR)
    assert s.value("00000000") == 12  # 04000601 = 05: forward + reverse


def test_the_combined_reactive_demand_is_that_of_its_quadrants():
    s = Bench(load=LOAD, leading=True)
    s.wait(HOUR)
    assert read(s, "01080000") == read(s, "01030000") and read(s, "01080000")[0] == Decimal("2.2500")
    assert read(s, "01040000")[0] == 0


def test_every_phase_has_its_maximum_demand_and_its_time():
    s = Bench(model="dlt645-three", load={"power_w": 9000, "pf": 0.9})
    s.wait(HOUR)
    phases = [s.meter("m").phase_power_mw(phase) for phase in range(3)]
    found = [read(s, f"01{di2:02X}0000") for di2 in (0x15, 0x29, 0x3D)]
    assert [value for value, _ in found] == [Decimal(power // 100).scaleb(-4) for power in phases]
    total, when = read(s, "01010000")
    assert all(at == when for _, at in found) and total == 9
    assert s.refusal(s.read, "01150100") == "02", "no rates by phase"
    s.ask("a", master.DemandReset(ADDRESS, 4, "444444"))
    assert read(s, "01150000")[0] == 0
    single = Bench(load={"power_w": 9000})
    assert single.refusal(single.read, "01150000") == "02"


def test_phase_demand_of_the_last_settlement_is_kept():
    s = Bench(model="dlt645-three", load={"power_w": 9000, "pf": 0.9})
    s.wait(HOUR)
    peak = read(s, "01150000")[0]
    s.wait(12 * 24 * HOUR)  # over the month's end
    assert read(s, "01150001")[0] == peak


def read(s: Bench, di: str) -> tuple[Decimal, str | None]:
    (found,) = read_fields(di, s.read(di))
    return found.value, found.at


@pytest.mark.parametrize(
    ("feed_in", "said"),
    [
        ({"power_w": 0}, "power_w"),
        ({"power_w": 1000, "from": "8"}, "a time such as 08:00"),
        ({"power_w": 1000, "from": "16:00", "to": "08:00"}, "must be later than from"),
        ({"power_w": 1000, "until": "08:00"}, "not a key"),
    ],
)
def test_a_generator_that_cannot_be_is_said(feed_in: dict[str, object], said: str):
    with pytest.raises(ConfigError, match=said):
        Bench(load=LOAD, feed_in=feed_in)
