"""Whole lines of a period, and amounts that no float could hold."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.domain.period_cost import CostLine, cost, rounded
from gateway.domain.period_use import PeriodUse, Tranche
from gateway.domain.price_list import (
    Band,
    CountedOn,
    Fee,
    FeeBasis,
    PowerFactor,
    Rate,
    Rounding,
    RoundingMode,
    RoundingPlace,
    Steps,
    Tariff,
    Terms,
)
from tests.gateway.domain.price_bench import YEARLY, at, blocks, tariff, version

MUCH_WH = 10**18 + 3
"""Times a price it is more than a float counts in steps of one."""


def january(wh: int, *, reactive_varh: int = 0) -> PeriodUse:
    begin, end = at("2026-01-01T00:00"), at("2026-02-01T00:00")
    tranche = Tranche("v1", "all", wh, {Rate.SINGLE: wh})
    return PeriodUse("2026-01-01T00:00", begin, end, (tranche,), end, 0, reactive_varh, True)


def lines(priced: Tariff, use: PeriodUse) -> dict[str, CostLine]:
    return {line.component: line for line in cost(priced, Terms(), use)}


def test_a_power_factors_line() -> None:
    priced = tariff(version(prices={Rate.SINGLE: 333_333}, power_factor=PowerFactor(90, ((90, 0), (0, 57)))))
    found = lines(priced, january(MUCH_WH, reactive_varh=MUCH_WH))["power_factor"]
    micro = 1_899_998_100_000_000_005
    rule = "power factor 71 % against 90 %: 57 per ten thousand"
    assert found == CostLine("power_factor", "v1", "", None, None, 0, 0, micro, rule)


def test_a_surcharges_line() -> None:
    priced = tariff(version(prices={Rate.SINGLE: 333_333}, bands=(Band(1_000, 77, 0),)))
    found = lines(priced, january(MUCH_WH))["surcharge"]
    micro = 25_666_641_000_000_000_076
    rule = "77 per mille of the energy, as the period is over 1 kWh"
    assert found == CostLine("surcharge", "v1", "", None, None, 0, 0, micro, rule)


def test_a_fees_line() -> None:
    priced = tariff(version(fees=(Fee("f", FeeBasis.PERIOD, 10**18 + 7),)))
    half = PeriodUse("2026-01-01T00:00", at("2026-01-01T00:00"), at("2026-02-01T00:00"), (), at("2026-01-16T00:00"))
    micro = 483_870_967_741_935_487
    assert cost(priced, Terms(), half) == (
        CostLine("basic", "v1", "", None, None, 0, 10**18 + 7, micro, "each period, 15 of 31 days", "f"),
    )


def test_a_minimum_that_is_missed_by_one_micro_unit() -> None:
    found = lines(tariff(version(minimum_micro=1_000_001)), january(2_000))["minimum"]
    assert found == CostLine("minimum", "v1", "", None, None, 0, 0, 1, "what the period lacks to its minimum")


def test_a_fixed_charges_line() -> None:
    found = lines(tariff(version(bands=(Band(1_000, 0, 30),))), january(2_000))["fixed"]
    assert found == CostLine("fixed", "v1", "", None, None, 0, 30, 30, "fixed charge of a period over 1 kWh")


BLOCKS = blocks((1, 100_000), (None, 200_000))
BOUGHT = blocks((1, 100_000), (None, 200_000), counted_on=CountedOn.PURCHASES)


@pytest.mark.parametrize(
    ("free_wh", "steps", "used_wh", "expected"),
    [
        ((0, 2_000), (BLOCKS, BLOCKS), (1_000, 1_000), [("b", 2, -200_000)]),  # it was on the second step
        ((0, 2_500), (BOUGHT, BLOCKS), (1_000, 1_500), [("b", 1, -100_000), ("b", 2, -100_000)]),  # nothing stepped before
        (
            (9_999, 9_999, 9_999),
            (BLOCKS, BLOCKS, BLOCKS),
            (400, 400, 400),
            [("a", 1, -40_000), ("b", 1, -40_000), ("c", 1, -20_000), ("c", 2, -40_000)],
        ),
    ],
)
def test_what_is_free_under_a_new_version_is_taken_off_at_the_steps_it_bore(
    free_wh: Sequence[int], steps: Sequence[Steps], used_wh: Sequence[int], expected: list[tuple[str, int, int]]
) -> None:
    versions = [
        version(id=name, from_day=f"2026-01-{day:02}", prices={}, free_wh=free, steps=each)
        for name, day, free, each in zip("abc", (1, 10, 20), free_wh, steps, strict=False)
    ]
    tranches = tuple(Tranche(each.id, "all", wh, {}) for each, wh in zip(versions, used_wh, strict=True))
    use = PeriodUse("2026-01-01T00:00", at("2026-01-01T00:00"), at("2026-02-01T00:00"), tranches)
    found = cost(tariff(*versions), Terms(), use)
    assert [(line.version, line.step, line.micro) for line in found if line.component == "allowance"] == expected
    free = {each.id for each in versions if each.free_wh}
    bore = [(line.version, line.step, -line.micro) for line in found if line.component == "energy" and line.version in free]
    assert bore == expected


def test_steps_of_a_year_go_on_over_a_new_version() -> None:
    old, new = (
        version(id=name, from_day=day, prices={}, steps=blocks((1, 100_000), (None, amount), resets=YEARLY))
        for name, day, amount in (("z", "2020-01-01", 200_000), ("a", "2026-05-10", 300_000))
    )
    year = PeriodUse(
        "2026-01-01T00:00/steps",
        at("2026-01-01T00:00"),
        at("2027-01-01T00:00"),
        (Tranche("a", "", 500), Tranche("z", "", 1_500)),
    )
    found = [(line.version, line.step, line.wh, line.micro) for line in cost(tariff(old, new), Terms(), year)]
    assert found == [("z", 1, 1_000, 100_000), ("z", 2, 500, 100_000), ("a", 2, 500, 150_000)]


def test_steps_in_a_period_of_their_own_are_rounded_too() -> None:
    priced = tariff(version(prices={}, steps=blocks((None, 333_333), resets=YEARLY)), rounding=BY_BILL)
    year = PeriodUse("2026-01-01T00:00/steps", at("2026-01-01T00:00"), at("2027-01-01T00:00"), (Tranche("v1", "", 1_000),))
    assert sum(line.micro for line in cost(priced, Terms(), year)) == 330_000


BY_BILL, BY_RATE = (Rounding(place, RoundingMode.HALF_UP, 10_000) for place in (RoundingPlace.BILL, RoundingPlace.RATE))


def test_the_lines_of_rounding() -> None:
    rows = {
        BY_BILL: CostLine("rounding", "", "", None, None, 0, 0, -3_333, "half_up to 10000 micro-units, by bill", "bill"),
        BY_RATE: CostLine("rounding", "", "", Rate.SINGLE, None, 0, 0, -3_333, "half_up to 10000 micro-units, by rate"),
    }
    for rule, row in rows.items():
        assert lines(tariff(version(prices={Rate.SINGLE: 333_333}), rounding=rule), january(1_000))["rounding"] == row


@pytest.mark.parametrize("mode", [RoundingMode.HALF_UP, RoundingMode.DOWN])
@pytest.mark.parametrize("sign", [1, -1])
def test_rounding_more_than_a_float_counts(mode: RoundingMode, sign: int) -> None:
    rule = Rounding(RoundingPlace.LINE, mode, 1)
    assert rounded(sign * (10**21 + 3_000), rule) == sign * (10**18 + 3)


@pytest.mark.parametrize(("since", "least_micro"), [(None, 6), ("2019-01-01", 6), ("2026-01-20", 7), ("2026-03-01", 7)])
def test_what_holds_for_a_whole_period_is_of_the_version_it_began_with(since: str | None, least_micro: int) -> None:
    """Or of the one that the account came into service with, were it after the period's end."""
    days = ("a", "2020-01-01", 5), ("b", "2025-01-01", 6), ("c", "2026-01-10", 7), ("d", "2026-02-01", 8)
    priced = tariff(*(version(id=name, from_day=day, minimum_micro=micro) for name, day, micro in days))
    use = PeriodUse("2026-01-01T00:00", at("2026-01-01T00:00"), at("2026-02-01T00:00"), (), at("2026-02-01T00:00"), closed=True)
    assert [line.micro for line in cost(priced, Terms(since), use)] == [least_micro]
