"""Sales to the Wh and the micro-unit, where a slip would not show in rounder figures."""

from __future__ import annotations

import pytest

from gateway.domain.price_list import CountedOn, Rate, Rounding, RoundingMode, RoundingPlace, Terms
from gateway.domain.tariffs import CostLine, Vended, vend
from tests.gateway.domain.price_bench import blocks, tariff, version

CUSTOMER = Rounding(RoundingPlace.BILL, RoundingMode.FOR_CUSTOMER, 10_000)


def test_a_part_of_a_micro_unit_stays_with_the_buyer() -> None:
    line = CostLine("energy", "v1", "all", Rate.SINGLE, None, 3, 333_333, 999, "one price")
    assert vend(tariff(version(prices={Rate.SINGLE: 333_333})), Terms(), 0, 1_000, unit_wh=1) == Vended(3, (line,), 1)


def test_a_step_that_is_used_up_sells_not_one_wh_more() -> None:
    priced = tariff(version(prices={}, steps=blocks((350, 1_000_000), (None, 2_000_000), counted_on=CountedOn.PURCHASES)))
    for bought_wh in (350_000, 350_001, 999_999):
        sold = vend(priced, Terms(), bought_wh, 5_000, unit_wh=1)
        assert [(line.step, line.wh, line.micro) for line in sold.lines] == [(2, 2, 4_000)]
        assert sold.rest_micro == 1_000


@pytest.mark.parametrize(("rounding", "energy_wh"), [(None, 333_333_333_333_333_333_333), (CUSTOMER, 333_333_333_333_333_333_334)])
def test_more_money_than_a_float_can_count(rounding: Rounding | None, energy_wh: int) -> None:
    sold = vend(tariff(version(prices={Rate.SINGLE: 3}), rounding=rounding), Terms(), 0, 10**18, unit_wh=1)
    assert sold.energy_wh == energy_wh


@pytest.mark.parametrize(("bought_wh", "amount_micro"), [(-1, 0), (0, -1)])
def test_less_than_nothing_is_not_sold(bought_wh: int, amount_micro: int) -> None:
    with pytest.raises(ValueError, match=r"^neither energy bought nor money paid can be negative$"):
        vend(tariff(), Terms(), bought_wh, amount_micro)
