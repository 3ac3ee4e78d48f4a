"""Energy sold ahead, weighted energy, late fees and debts, in exact figures."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.price_list import (
    CountedOn,
    LateFee,
    Rate,
    Rounding,
    RoundingMode,
    RoundingPlace,
    Season,
    StepKind,
    Tariff,
    Terms,
)
from gateway.domain.tariffs import CostLine, Vended, late_fee, recover_debt, vend, weighted_wh
from tests.gateway.domain.price_bench import TWO_PRICES, TWO_RATES, at, blocks, tariff, version

CUSTOMER = Rounding(RoundingPlace.BILL, RoundingMode.FOR_CUSTOMER, 10_000)
SINGLE = Rate.SINGLE


def sold_in_blocks(*rows: tuple[int | None, int], rounding: Rounding | None = None, **more: Any) -> Tariff:
    return tariff(version(prices={}, steps=blocks(*rows, counted_on=CountedOn.PURCHASES, **more)), rounding=rounding)


STEPS = (350, 1_000_000), (None, 2_000_000)


@pytest.mark.parametrize(
    ("bought", "amount", "expected", "rest"),
    [
        (0, 0, [], 0),
        (0, 50_000, [], 50_000),
        (0, 100_000, [(1, 100, 100_000)], 0),
        (0, 350_000_000, [(1, 350_000, 350_000_000)], 0),
        (0, 350_199_999, [(1, 350_000, 350_000_000)], 199_999),
        (0, 350_200_000, [(1, 350_000, 350_000_000), (2, 100, 200_000)], 0),
        (349_900, 300_000, [(1, 100, 100_000), (2, 100, 200_000)], 0),
        (350_000, 500_000, [(2, 200, 400_000)], 100_000),
        (999_999, 200_000, [(2, 100, 200_000)], 0),
    ],
)
def test_money_buys_step_by_step_and_what_is_too_little_is_left(
    bought: int, amount: int, expected: list[tuple[int, int, int]], rest: int
) -> None:
    for rounding in (None, Rounding(RoundingPlace.BILL, RoundingMode.HALF_UP, 10_000)):
        sold = vend(sold_in_blocks(*STEPS, rounding=rounding), Terms(), bought, amount)
        assert [(line.step, line.wh, line.micro) for line in sold.lines] == expected
        assert (sold.energy_wh, sold.rest_micro) == (sum(wh for _, wh, _ in expected), rest)


@pytest.mark.parametrize(
    ("bought", "amount", "expected", "rest"),
    [
        (0, 0, [], 0),
        (0, 1, [(1, 100, 1)], 0),
        (0, 100_000, [(1, 100, 100_000)], 0),
        (0, 100_001, [(1, 200, 100_001)], 0),
        (0, 350_200_001, [(1, 350_000, 350_000_000), (2, 200, 200_001)], 0),
        (349_950, 40_000, [(1, 50, 40_000), (2, 50, 0)], 0),
    ],
)
def test_rounded_for_the_customer_nothing_is_left(
    bought: int, amount: int, expected: list[tuple[int, int, int]], rest: int
) -> None:
    sold = vend(sold_in_blocks(*STEPS, rounding=CUSTOMER), Terms(), bought, amount)
    assert [(line.step, line.wh, line.micro) for line in sold.lines] == expected
    assert (sold.energy_wh, sold.rest_micro) == (sum(wh for _, wh, _ in expected), rest)


def test_a_single_price_is_sold_without_steps() -> None:
    line = CostLine("energy", "v1", "all", SINGLE, None, 2_000, 500_000, 1_000_000, "one price")
    assert vend(tariff(), Terms(), 77, 1_000_000) == Vended(2_000, (line,), 0)
    assert vend(tariff(), Terms(), 0, 1_000_499, unit_wh=1) == Vended(2_000, (line,), 499)


def test_adders_come_on_top_and_free_steps_are_given() -> None:
    steps = blocks((1, 0), (None, 500_000), kind=StepKind.ADDER, counted_on=CountedOn.PURCHASES)
    sold = vend(tariff(version(steps=steps)), Terms(), 0, 1_500_000)
    assert [(line.step, line.wh, line.price_micro, line.micro) for line in sold.lines] == [
        (1, 1_000, 500_000, 500_000),
        (2, 1_000, 1_000_000, 1_000_000),
    ]
    free = vend(sold_in_blocks((50, 0), (None, 1_000_000)), Terms(), 0, 1_000_000)
    assert [(line.step, line.wh, line.micro) for line in free.lines] == [(1, 50_000, 0), (2, 1_000, 1_000_000)]
    assert vend(sold_in_blocks((50, 0), (None, 1_000_000)), Terms(), 0, 0).energy_wh == 50_000


def test_the_time_of_the_sale_says_which_version_season_and_period() -> None:
    seasons = (Season("summer", 6, 1, {SINGLE: 2_000_000}), Season("winter", 11, 1, {SINGLE: 1_000_000}))
    steps = blocks((30, 0), (None, 1_000_000), kind=StepKind.ADDER, counted_on=CountedOn.PURCHASES, per_days=30)
    priced = tariff(version(id="a", from_day="2026-01-01"), version(id="b", from_day="2026-02-01", seasons=seasons, steps=steps))
    sold = [
        vend(priced, Terms(), 0, 3_000_000, at_ms=None if when is None else at(when))
        for when in ("2026-01-05T00:00", None, "2026-07-05T00:00")
    ]
    assert [(each.energy_wh, each.lines[0].version, each.lines[0].season) for each in sold] == [
        (6_000, "a", "all"),
        (3_000, "b", "winter"),
        (1_500, "b", "summer"),
    ]
    july = vend(priced, Terms(), 30_500, 3_000_000, at_ms=at("2026-07-05T00:00"))
    assert [(line.step, line.wh) for line in july.lines] == [(1, 500), (2, 600)]
    assert (july.energy_wh, july.rest_micro) == (1_100, 200_000)


def test_what_cannot_be_sold_ahead() -> None:
    for wrong in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="neither energy bought nor money paid can be negative"):
            vend(tariff(), Terms(), *wrong)
    with pytest.raises(ValueError, match="the steps of tariff t count what is used"):
        vend(tariff(version(steps=blocks((1, 0), (None, 1)))), Terms(), 0, 1)
    with pytest.raises(ValueError, match="the steps of tariff t count"):
        vend(sold_in_blocks(*STEPS, resets=()), Terms(), 0, 1)
    by_time = version(seasons=TWO_PRICES, tou=TWO_RATES, registers={})
    adders = version(
        seasons=TWO_PRICES,
        tou=TWO_RATES,
        registers={},
        steps=blocks((1, 0), (None, 1), kind=StepKind.ADDER, counted_on=CountedOn.PURCHASES),
    )
    both = version(seasons=TWO_PRICES, tou=TWO_RATES, registers={}, steps=blocks((1, 1), (None, 1), counted_on=CountedOn.PURCHASES))
    for each in (by_time, adders, both):
        with pytest.raises(ValueError, match="a price of tariff t depends on when energy is used"):
            vend(tariff(each), Terms(), 0, 1)
    with pytest.raises(ValueError, match="the last step of tariff t is free"):
        vend(sold_in_blocks((1, 5), (None, 0)), Terms(), 0, 1)


def test_weighted_energy_is_floored_once() -> None:
    prices = {Rate.PEAK: 180_000, Rate.VALLEY: 90_000}
    assert weighted_wh(prices, 120_000, {Rate.PEAK: 3, Rate.VALLEY: 1}) == 5  # 4.5 + 0.75
    assert weighted_wh(prices, 120_000, {}) == 0


@pytest.mark.parametrize(
    ("arrears", "same", "later", "fee"),
    [
        (0, 9, 9, 0),
        (-1, 9, 9, 0),
        (500_000_000, 0, 0, 0),
        (500_000_000, 1, 0, 1_000_000),
        (500_000_000, 0, 1, 1_500_000),
        (1_000, 1, 0, 1_000_000),
        (999_999_999, 1, 0, 1_999_999),
        (1, 1, 0, 1_000_000),
        (500_000_001, 2, 1, 3_500_000),
        (500_000_001, 2, 2, 5_000_000),
    ],
)
def test_late_fees(arrears: int, same: int, later: int, fee: int) -> None:
    assert late_fee(LateFee(2, 3, 1_000_000), arrears, same, later) == fee


@pytest.mark.parametrize(
    ("debt", "paid", "share", "cap", "recovered", "part"),
    [
        (1_000, 100, 300, None, 0, 30),
        (20, 100, 300, None, 0, 20),
        (1_000, 100, 300, 25, 0, 25),
        (1_000, 100, 300, 25, 10, 15),
        (1_000, 100, 300, 25, 25, 0),
        (1_000, 100, 300, 25, 40, 0),
        (0, 100, 300, None, 0, 0),
        (1_000, 101, 333, None, 999, 33),
        (-5, 100, 300, None, 0, 0),
        (1_000, 100, 300, 0, 0, 0),
        (1_000, 100, 300, 30, 0, 30),
    ],
)
def test_debt_is_recovered_by_share_up_to_the_weeks_cap(
    debt: int, paid: int, share: int, cap: int | None, recovered: int, part: int
) -> None:
    assert recover_debt(debt, paid, share, cap, recovered) == part
