"""Ladders of steps, and shares that sum exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.steps import Rung, climbed, kwh, ladder, share
from tests.gateway.domain.price_bench import blocks

STEPS = blocks((10, 1), (20, 2), (None, 3), persons=3, per_person_wh=500)


def test_a_ladder_has_a_rung_for_each_amount() -> None:
    assert ladder(STEPS, 3, (1, 1)) == (
        Rung(0, 10_000, 1, "step 1, up to 10 kWh"),
        Rung(10_000, 20_000, 2, "step 2, up to 20 kWh"),
        Rung(20_000, None, 3, "step 3, over 20 kWh"),
    )
    assert [rung.to_wh for rung in ladder(STEPS, 5, (31, 30))] == [11_366, 21_700, None]
    assert [rung.to_wh for rung in ladder(STEPS, 2, (1, 3))] == [3_333, 6_666, None]
    assert ladder(blocks((None, 7)), 9, (1, 1)) == (Rung(0, None, 7, "step 1, over 0 kWh"),)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (0, 0, []),
        (0, 10_000, [(1, 10_000)]),
        (0, 10_001, [(1, 10_000), (2, 1)]),
        (10_000, 10_001, [(2, 1)]),
        (9_999, 20_005, [(1, 1), (2, 10_000), (3, 5)]),
        (20_000, 20_001, [(3, 1)]),
        (30_000, 30_001, [(3, 1)]),
    ],
)
def test_energy_climbs_from_rung_to_rung(begin: int, end: int, expected: list[tuple[int, int]]) -> None:
    rungs = ladder(STEPS, 0, (1, 1))
    assert [(number, wh) for number, wh, _ in climbed(rungs, begin, end)] == expected
    assert all(rung is rungs[number - 1] for number, _, rung in climbed(rungs, begin, end))


def test_a_kwh_has_as_many_decimals_as_it_needs() -> None:
    assert [kwh(wh) for wh in (0, 1, 10, 1_500, 2_880_000, 100)] == ["0", "0.001", "0.01", "1.5", "2880", "0.1"]


@pytest.mark.parametrize(
    ("whole", "weights", "parts"),
    [
        (10, [1], [10]),
        (10, [0], [10]),
        (10, [0, 0, 0], [10, 0, 0]),
        (10, [1, 1, 1], [4, 3, 3]),
        (11, [1, 1, 1], [4, 4, 3]),
        (10, [0, 1, 2], [0, 3, 7]),
        (1, [1, 2, 3], [0, 0, 1]),
        (0, [1, 2], [0, 0]),
        (7, [5, 5, 1], [3, 3, 1]),
    ],
)
def test_the_largest_remainders_get_what_is_left(whole: int, weights: list[int], parts: list[int]) -> None:
    assert share(whole, weights) == parts


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**9), min_size=1, max_size=12))
def test_shares_sum_to_the_whole_and_are_within_one_of_exact(whole: int, weights: list[int]) -> None:
    parts = share(whole, weights)
    assert sum(parts) == whole
    assert len(parts) == len(weights)
    total = sum(weights)
    assert not total or all(abs(part * total - whole * weight) < total for part, weight in zip(parts, weights, strict=True))
