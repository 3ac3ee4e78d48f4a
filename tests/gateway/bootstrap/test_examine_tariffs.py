"""What a store tells of a meter's energy: good registers only, in rising series, beside what was charged for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.adapters.store import Store, store_file
from gateway.bootstrap.examine import CannotStart
from gateway.bootstrap.examine_tariffs import Charged, confirmed, ledger_entry, rising, stored_profile
from gateway.domain.readings import TOTAL, Bound, Quality, Registers
from gateway.services.correct_entry import reverse
from tests.gateway.services.house import TUESDAY_TEN, House, meter

BOUND = Bound(max_power_w=10_000, count_wh=10)
C, S, X, E = Quality.CONFIRMED, Quality.SINGLE, Quality.SUSPECT, Quality.ESTIMATED


def at(hour: int, wh: int) -> Registers:
    return Registers(hour * 3_600_000, {TOTAL: wh})


@pytest.mark.parametrize(
    ("points", "good"),
    [
        ([(0, C), (100, C)], [0, 100]),
        ([(0, S), (100, S), (200, S)], [0, 100]),  # the last one waits for its witness
        ([(0, C), (90_000, S), (100, C)], [0, 100]),
        ([(0, C), (50, X), (60, E), (100, C)], [0, 100]),
        ([(0, S), (50, X), (100, C)], [0, 100]),
        ([], []),
    ],
)
def test_what_is_confirmed(points: list[tuple[int, Quality]], good: list[int]) -> None:
    found = confirmed([(at(n, wh), quality) for n, (wh, quality) in enumerate(points)], BOUND)
    assert [registers.wh[TOTAL] for registers in found] == good


@pytest.mark.parametrize(
    ("registers", "series"),
    [
        ([0, 10, 10, 20], [[0, 10, 10, 20]]),
        ([0, 10, 5, 20], [[0, 10, 20]]),
        ([0, 90_000, 20], [[0, 20]]),
        ([500, 510, 0, 10, 20, 30], [[500, 510], [0, 10, 20, 30]]),  # another meter
        ([500, 510, 0, 505, 3, 520], [[500, 510, 520]]),
        ([], []),
    ],
)
def test_series_rise(registers: list[int], series: list[list[int]]) -> None:
    found = rising([at(n, wh) for n, wh in enumerate(registers)], BOUND)
    assert [[registers.wh[TOTAL] for registers in each] for each in found] == series


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Three blocks a minute apart, 2 and 3 kWh at 0.5, and a second meter."""
    path = str(store_file(tmp_path))
    with Store.open(path) as store:
        house = House(store).settle(meter("m1"), meter("m2"), balance="100")
        for total in ("1.00", "3.00", "6.00"):
            house.block("m1", total)
            house.block("m2", total)
            house.later(minutes=1)
    return path


def test_the_profile_of_a_meter_and_its_charges(url: str) -> None:
    profile = stored_profile(url, "m1", None, None)
    assert profile.account == "A-1" and profile.left_out == 0
    [series] = profile.series
    assert [(r.at_ms - TUESDAY_TEN, r.wh[TOTAL]) for r in series] == [(0, 1000), (60_000, 3000), (120_000, 6000)]
    assert profile.charged == Charged(2, 5000, 2_500_000)


def test_a_part_of_it(url: str) -> None:
    profile = stored_profile(url, "m1", TUESDAY_TEN + 1, TUESDAY_TEN + 120_000)
    assert [[r.wh[TOTAL] for r in each] for each in profile.series] == [[3000, 6000]]
    assert profile.charged == Charged(1, 3000, 1_500_000)
    assert stored_profile(url, "m1", TUESDAY_TEN + 300_000, None).series == ()


def test_what_was_reversed_is_not_charged(url: str) -> None:
    with Store.open(url) as store:
        store.write_now(lambda tx: reverse(tx, 2, {"reason": "wrong"}, TUESDAY_TEN + 200_000))
    assert ledger_entry(url, 2).entry.ref["meter"] == "m1"
    assert stored_profile(url, "m1", None, None).charged == Charged(1, 3000, 1_500_000)


def test_an_entry_of_the_ledger(url: str) -> None:
    assert ledger_entry(url, 3).entry.ref["meter"] in ("m1", "m2")
    with pytest.raises(CannotStart, match="there is no entry 99; the journal has 5"):
        ledger_entry(url, 99)


def test_what_is_not_there(url: str, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="there is no meter m9 in the archive"):
        stored_profile(url, "m9", None, None)
    with pytest.raises(CannotStart):
        stored_profile(str(store_file(tmp_path / "nowhere")), "m1", None, None)
