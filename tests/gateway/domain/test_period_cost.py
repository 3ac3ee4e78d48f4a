"""What a period costs, line by line, in exact figures."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.period_cost import power_factor, rounded
from gateway.domain.period_use import PeriodUse, Tranche
from gateway.domain.price_list import (
    Band,
    CountedOn,
    Fee,
    FeeBasis,
    PowerFactor,
    Rate,
    Reset,
    Rounding,
    RoundingMode,
    RoundingPlace,
    Season,
    StepKind,
    Tariff,
    Terms,
    Version,
)
from gateway.domain.tariffs import CostLine, cost
from tests.gateway.domain.price_bench import TWO_PRICES, TWO_RATES, YEARLY, at, blocks, tariff, version

PEAK, VALLEY, SINGLE = Rate.PEAK, Rate.VALLEY, Rate.SINGLE
JANUARY = "2026-01-01T00:00"


def used(
    *tranches: Tranche,
    until: str | None = None,
    closed: bool = False,
    period: str = JANUARY,
    to: str = "2026-02-01T00:00",
    demand_w: int = 0,
    reactive_varh: int = 0,
) -> PeriodUse:
    """The use of a period."""
    until_ms = at(to) if closed else at(until) if until else None
    return PeriodUse(period, at(period.removesuffix("/steps")), at(to), tranches, until_ms, demand_w, reactive_varh, closed)


def single(wh: int, version: str = "v1", season: str = "all") -> Tranche:
    return Tranche(version, season, wh, {SINGLE: wh} if wh else {})


def money(priced: Tariff, use: PeriodUse, terms: Terms | None = None) -> list[tuple[str, str, int]]:
    """Component, rate or step or name, micro."""
    return [
        (line.component, line.name or str(line.step or line.rate or ""), line.micro) for line in cost(priced, terms or Terms(), use)
    ]


def test_energy_is_priced_by_version_season_and_rate() -> None:
    seasons = (Season("summer", 6, 1, {PEAK: 800_000, VALLEY: 300_000}), Season("winter", 10, 1, {PEAK: 600_000, VALLEY: 200_000}))
    first, second = (
        version(id=name, from_day=day, seasons=seasons, tou=TWO_RATES, registers={})
        for name, day in (("a", "2020-01-01"), ("b", "2026-06-10"))
    )
    june = used(
        Tranche("a", "summer", 900, {VALLEY: 300, PEAK: 600}),
        Tranche("a", "winter", 100, {PEAK: 100}),
        Tranche("b", "summer", 5, {VALLEY: 5}),
        period="2026-05-15T00:00",
        to="2026-06-15T00:00",
    )
    assert cost(tariff(first, second), Terms(), june) == (
        CostLine("energy", "a", "winter", PEAK, None, 100, 600_000, 60_000, "energy at its rate's price"),
        CostLine("energy", "a", "summer", PEAK, None, 600, 800_000, 480_000, "energy at its rate's price"),
        CostLine("energy", "a", "summer", VALLEY, None, 300, 300_000, 90_000, "energy at its rate's price"),
        CostLine("energy", "b", "summer", VALLEY, None, 5, 300_000, 1_500, "energy at its rate's price"),
    )


def test_what_is_below_a_micro_is_floored_line_by_line() -> None:
    priced = tariff(version(prices={PEAK: 1_500, VALLEY: 1_999}, tou=TWO_RATES, registers={}))
    assert money(priced, used(Tranche("v1", "all", 2, {PEAK: 1, VALLEY: 1}))) == [("energy", "peak", 1), ("energy", "valley", 1)]


@pytest.mark.parametrize(
    ("wh", "expected"),
    [
        (0, []),
        (1, [(1, 1, 500)]),
        (240_000, [(1, 240_000, 120_000_000)]),
        (240_001, [(1, 240_000, 120_000_000), (2, 1, 600)]),
        (400_000, [(1, 240_000, 120_000_000), (2, 160_000, 96_000_000)]),
        (401_000, [(1, 240_000, 120_000_000), (2, 160_000, 96_000_000), (3, 1_000, 900_000)]),
    ],
)
def test_a_threshold_belongs_to_the_lower_step(wh: int, expected: list[tuple[int, int, int]]) -> None:
    priced = tariff(version(prices={}, steps=blocks((240, 500_000), (400, 600_000), (None, 900_000))))
    lines = cost(priced, Terms(), used(single(wh)))
    assert [(line.step, line.wh, line.micro) for line in lines] == expected
    assert all((line.component, line.season, line.rate) == ("energy", "", None) for line in lines)
    rules = ["step 1, up to 240 kWh", "step 2, up to 400 kWh", "step 3, over 400 kWh"]
    assert [line.rule for line in lines] == rules[: len(lines)]


def test_adders_count_the_total_and_seasons_share_their_steps() -> None:
    seasons = (Season("a", 1, 15, {PEAK: 400_000, VALLEY: 200_000}), Season("b", 7, 1, {PEAK: 300_000, VALLEY: 100_000}))
    steps = blocks((1, 0), (None, 50_000), kind=StepKind.ADDER)
    priced = tariff(version(seasons=seasons, tou=TWO_RATES, registers={}, steps=steps))
    use = used(Tranche("v1", "a", 700, {PEAK: 400, VALLEY: 298}), Tranche("v1", "b", 800, {PEAK: 800}))
    assert [line for line in money(priced, use) if line[0] == "step"] == [("step", "1", 0), ("step", "2", 25_000)]
    assert [line.wh for line in cost(priced, Terms(), use) if line.component == "step"] == [1_000, 500]


def test_steps_go_on_over_a_new_version() -> None:
    old, new = (
        version(id=name, from_day=day, prices={}, steps=blocks((1, low), (None, high)))
        for name, day, low, high in (("z", "2020-01-01", 100, 200), ("y", "2026-01-10", 1000, 2000))
    )
    assert money(tariff(old, new), used(single(600, "y"), single(700, "z"))) == [
        ("energy", "1", 70),
        ("energy", "1", 300),
        ("energy", "2", 600),
    ]


def test_steps_begin_anew_with_a_version_of_other_resets() -> None:
    old, new = (
        version(id="a", prices={}, steps=blocks((1, 100), (None, 200))),
        version(id="b", from_day="2026-01-10", steps=blocks((1, 0), (None, 7), resets=YEARLY)),
    )
    priced = tariff(old, new)
    assert money(priced, used(single(600, "a"), single(800, "b"))) == [("energy", "1", 60), ("energy", "single", 400_000)][::-1]
    year = used(Tranche("b", "", 501_000), period="2026-01-10T00:00/steps", to="2027-01-01T00:00")
    assert money(priced, year) == [("energy", "1", 0), ("energy", "2", 3_500)]


def test_steps_of_a_year_have_a_use_of_their_own() -> None:
    steps = blocks((100, 0), (None, 50_000), resets=YEARLY, kind=StepKind.ADDER)
    priced = tariff(version(steps=steps, free_wh=1_000, fees=(Fee("f", FeeBasis.DAY, 1),), minimum_micro=9))
    assert [line[0] for line in money(priced, used(single(5_000)))] == ["energy", "allowance"]
    year = used(Tranche("v1", "", 101_000), period="2026-01-01T00:00/steps", to="2027-01-01T00:00")
    assert money(priced, year) == [("step", "1", 0), ("step", "2", 50_000)]
    assert money(priced, used(Tranche("v1", "", 100_000), period="2026-01-01T00:00/steps", to="2027-01-01T00:00", closed=True)) == [
        ("step", "1", 0)
    ]


def test_steps_that_nothing_resets_or_that_count_purchases_are_not_charged() -> None:
    for steps in (blocks((1, 5), (None, 9), resets=()), blocks((1, 5), (None, 9), counted_on=CountedOn.PURCHASES)):
        assert money(tariff(version(steps=steps)), used(single(2_000))) == [("energy", "single", 1_000_000)]


def test_a_household_of_more_persons_has_higher_thresholds() -> None:
    steps = blocks((100, 0), (200, 1_000), (None, 2_000), persons=4, per_person_wh=10_000)
    priced = tariff(version(prices={}, steps=steps))
    shares = {persons: [line[2] for line in money(priced, used(single(300_000)), Terms(persons=persons))] for persons in (0, 4, 6)}
    assert shares == {0: [0, 100_000, 200_000], 4: [0, 100_000, 200_000], 6: [0, 100_000, 160_000]}


# --- free energy ---


def test_the_first_energy_is_free_and_counts_for_the_steps() -> None:
    priced = tariff(version(free_wh=15_000, steps=blocks((20, 0), (None, 100_000), kind=StepKind.ADDER)))
    assert money(priced, used(single(10_000))) == [
        ("energy", "single", 5_000_000),
        ("step", "1", 0),
        ("allowance", "single", -5_000_000),
    ]
    lines = cost(priced, Terms(), used(single(30_000)))
    assert [(line.component, line.wh, line.micro) for line in lines] == [
        ("energy", 30_000, 15_000_000),
        ("step", 20_000, 0),
        ("step", 10_000, 1_000_000),
        ("allowance", -15_000, -7_500_000),
    ]
    assert (lines[3].price_micro, lines[3].rule) == (500_000, "free of charge")


def test_free_energy_is_shared_over_the_rates_as_they_were_used() -> None:
    priced = tariff(version(seasons=TWO_PRICES, tou=TWO_RATES, registers={}, free_wh=1_000))
    lines = cost(priced, Terms(), used(Tranche("v1", "all", 3_000, {VALLEY: 1_000, PEAK: 2_000})))
    assert [(line.rate, line.wh, line.micro) for line in lines if line.component == "allowance"] == [
        (PEAK, -667, -411_539),
        (VALLEY, -333, -102_231),
    ]


def test_free_energy_goes_to_what_was_used_first() -> None:
    seasons = (Season("summer", 1, 20, {SINGLE: 800_000}), Season("winter", 10, 1, {SINGLE: 300_000}))
    priced = tariff(
        version(id="a", seasons=seasons, free_wh=1_000), version(id="b", from_day="2026-01-25", seasons=seasons, free_wh=1_500)
    )
    use = used(
        Tranche("a", "summer", 600, {SINGLE: 600}),
        Tranche("a", "winter", 700, {SINGLE: 700}),
        Tranche("b", "summer", 900, {SINGLE: 900}),
    )
    free = [
        (line.version, line.season, line.wh, line.micro) for line in cost(priced, Terms(), use) if line.component == "allowance"
    ]
    assert free == [("a", "winter", -700, -210_000), ("a", "summer", -300, -240_000), ("b", "summer", -200, -160_000)]


def test_free_energy_of_blocks_is_the_lowest() -> None:
    rows = (1, 100_000), (2, 200_000), (None, 900_000)
    by_month = tariff(version(prices={}, free_wh=1_500, steps=blocks(*rows)))
    lines = cost(by_month, Terms(), used(single(2_500)))
    assert [(line.component, line.step, line.wh, line.micro) for line in lines if line.component == "allowance"] == [
        ("allowance", 1, -1_000, -100_000),
        ("allowance", 2, -500, -100_000),
    ]
    assert sum(line.micro for line in lines) == 100_000 + 200_000 + 450_000 - 200_000
    by_year = tariff(version(prices={}, free_wh=1_500, steps=blocks(*rows, resets=YEARLY)))
    assert money(by_year, used(single(2_500))) == [("allowance", "1", -150_000)]


def test_free_energy_of_blocks_goes_on_over_a_new_version() -> None:
    old, new = (
        version(id=name, from_day=day, prices={}, free_wh=1_500, steps=blocks((1, 100_000), (None, 200_000)))
        for name, day in (("a", "2020-01-01"), ("b", "2026-01-10"))
    )
    use = used(single(700, "a"), single(2_000, "b"))
    free = [(line.version, line.step, line.wh) for line in cost(tariff(old, new), Terms(), use) if line.component == "allowance"]
    assert free == [("a", 1, -700), ("b", 1, -300), ("b", 2, -500)]


# --- bands ---


@pytest.mark.parametrize(
    ("wh", "expected"),
    [
        (0, [("fixed", "", 30)]),
        (60_000, [("energy", "single", 30_000_000), ("surcharge", "", 3_000_000), ("fixed", "", 30)]),
        (60_001, [("energy", "single", 30_000_500), ("surcharge", "", 12_000_200), ("fixed", "", 90)]),
        (100_001, [("energy", "single", 50_000_500)]),
    ],
)
def test_the_band_of_the_total_holds_for_the_whole_period(wh: int, expected: list[tuple[str, str, int]]) -> None:
    priced = tariff(version(bands=(Band(0, 100, 30), Band(60_000, 400, 90), Band(100_000))))
    assert money(priced, used(*[single(wh)] * bool(wh), until="2026-01-02T00:00")) == expected


def test_a_band_over_something_does_not_hold_for_nothing_and_none_before_the_period_begins() -> None:
    assert money(tariff(version(bands=(Band(1, 0, 30),))), used(until="2026-01-02T00:00")) == []
    assert money(tariff(version(bands=(Band(1, 0, 30),))), used(single(2))) == [("energy", "single", 1_000), ("fixed", "", 30)]
    always = tariff(version(bands=(Band(0, 0, 30),)))
    assert money(always, used()) == []
    assert money(always, used(until=JANUARY)) == []
    assert money(always, used(until="2026-01-01T00:01")) == [("fixed", "", 30)]
    assert money(always, used(single(2))) == [("energy", "single", 1_000), ("fixed", "", 30)]


def test_bands_say_why_and_scale_with_the_days_as_the_steps_do() -> None:
    steps = blocks((30, 0), (None, 1_000), per_days=30)
    priced = tariff(version(prices={}, steps=steps, bands=(Band(30_000, 250, 7),)))
    assert money(priced, used(single(31_000))) == [("energy", "1", 0)]
    lines = cost(priced, Terms(), used(single(31_001)))
    assert [(line.component, line.micro, line.rule) for line in lines[2:]] == [
        ("surcharge", 0, "250 per mille of the energy, as the period is over 31 kWh"),
        ("fixed", 7, "fixed charge of a period over 31 kWh"),
    ]
    assert [line.component for line in cost(priced, Terms("2026-01-31"), used(single(1_001)))] == [
        "energy",
        "energy",
        "surcharge",
        "fixed",
    ]


def test_a_surcharge_is_on_energy_steps_and_what_is_free_of_its_own_version() -> None:
    old = version(
        id="a",
        free_wh=1_000,
        steps=blocks((1, 0), (None, 100_000), kind=StepKind.ADDER),
        bands=(Band(0, 100, 5),),
        fees=(Fee("f", FeeBasis.DAY, 10),),
    )
    new = version(id="b", from_day="2026-01-10", prices={SINGLE: 1_000_000}, bands=(Band(0, 200, 6),))
    lines = cost(tariff(old, new), Terms(), used(single(2_000, "a"), single(1_000, "b"), until="2026-01-20T00:00"))
    assert [(line.component, line.version, line.micro) for line in lines] == [
        ("energy", "a", 1_000_000),
        ("energy", "b", 1_000_000),
        ("step", "a", 0),
        ("step", "a", 100_000),
        ("allowance", "a", -500_000),
        ("surcharge", "a", 60_000),
        ("surcharge", "b", 200_000),
        ("fixed", "a", 5),
        ("basic", "a", 90),
    ]


# --- fees ---


def test_fees_by_the_day_begin_with_the_day() -> None:
    priced = tariff(version(fees=(Fee("standing", FeeBasis.DAY, 250_000),)))
    for until, micro in (
        ("2026-01-01T00:01", 250_000),
        ("2026-01-02T00:00", 250_000),
        ("2026-01-02T00:01", 500_000),
        ("2026-02-01T00:00", 31 * 250_000),
    ):
        assert money(priced, used(until=until)) == [("basic", "standing", micro)]
    assert money(priced, used()) == money(priced, used(until=JANUARY)) == []
    assert money(priced, used(closed=True), Terms("2026-01-30")) == [("basic", "standing", 500_000)]
    assert money(priced, used(until="2026-01-29T00:00"), Terms("2026-01-30")) == []
    assert money(priced, used(closed=True), Terms("2025-12-30")) == [("basic", "standing", 31 * 250_000)]
    line = cost(priced, Terms(), used(until="2026-01-03T00:00"))[0]
    assert (line.wh, line.price_micro, line.rule) == (0, 250_000, "2 days")


@pytest.mark.parametrize(
    ("fee", "terms", "until", "micro", "rule"),
    [
        (Fee("f", FeeBasis.PERIOD, 31_000_000), Terms(), "2026-01-11T00:00", 10_000_000, "each period, 10 of 31 days"),
        (Fee("f", FeeBasis.PERIOD, 10_000_000), Terms(), "2026-01-02T00:00", 322_580, "each period, 1 of 31 days"),
        (Fee("f", FeeBasis.PERIOD, 31_000_000), Terms("2026-01-31"), "2026-02-01T00:00", 1_000_000, "each period, 1 of 31 days"),
        (Fee("f", FeeBasis.PERIOD, 31_000_000, prorated=False), Terms(), "2026-01-01T00:01", 31_000_000, "each period"),
        (Fee("f", FeeBasis.PERIOD, 31_000_000, prorated=False), Terms("2026-01-31"), "2026-02-01T00:00", 31_000_000, "each period"),
        (Fee("f", FeeBasis.KVA, 31_000), Terms(contract_va=50_500), "2026-01-03T00:00", 101_000, "50.5 kVA, 2 of 31 days"),
        (Fee("f", FeeBasis.KVA, 31_000, prorated=False), Terms(contract_va=50_500), "2026-01-03T00:00", 1_565_500, "50.5 kVA"),
        (Fee("f", FeeBasis.DEMAND, 1_000_000), Terms(), "2026-01-03T00:00", 7_250_000, "highest demand 7.25 kW"),
        (Fee("f", FeeBasis.DEMAND, 1_000_000, least_kw=7), Terms(), "2026-01-03T00:00", 7_250_000, "highest demand 7.25 kW"),
        (Fee("f", FeeBasis.DEMAND, 1_000_000, least_kw=8), Terms(), "2026-01-03T00:00", 8_000_000, "highest demand 8 kW"),
    ],
)
def test_basic_fees(fee: Fee, terms: Terms, until: str, micro: int, rule: str) -> None:
    lines = cost(tariff(version(fees=(fee,))), terms, used(until=until, demand_w=7_250))
    assert [(line.component, line.name, line.price_micro, line.micro, line.rule) for line in lines] == [
        ("basic", "f", fee.micro, micro, rule)
    ]


@pytest.mark.parametrize("basis", [FeeBasis.PERIOD, FeeBasis.KVA, FeeBasis.DEMAND])
def test_a_fee_that_is_not_by_the_day_waits_for_the_service_and_is_of_the_first_version(basis: FeeBasis) -> None:
    old, new = (
        version(id=name, from_day=day, fees=(Fee("f", basis, micro, prorated=False),))
        for name, day, micro in (("a", "2020-01-01", 100_000), ("b", "2026-01-10", 900_000))
    )
    priced, terms = tariff(old, new), {since: Terms(since, contract_va=1_000) for since in (None, "2026-01-05", "2026-01-10")}
    assert money(priced, used(until="2026-01-05T00:00", demand_w=1_000), terms["2026-01-05"]) == []
    for since, micro in ((None, 100_000), ("2026-01-05", 100_000), ("2026-01-10", 900_000)):
        assert money(priced, used(until="2026-01-20T00:00", demand_w=1_000), terms[since]) == [("basic", "f", micro)]


def test_fees_by_the_day_are_each_versions_own() -> None:
    old, new = (
        version(id=name, from_day=day, fees=(Fee("d", FeeBasis.DAY, 10), Fee("p", FeeBasis.PERIOD, 310)))
        for name, day in (("a", "2020-01-01"), ("b", "2026-01-11"))
    )
    found = cost(tariff(old, new), Terms("2026-01-03"), used(closed=True))
    assert [(line.version, line.name, line.micro) for line in found] == [
        ("a", "d", 80),
        ("a", "p", 80),
        ("b", "d", 210),
        ("b", "p", 210),
    ]


def test_a_period_that_began_before_the_tariff_pays_from_its_first_day() -> None:
    priced = tariff(version(from_day="2026-01-30", fees=(Fee("d", FeeBasis.DAY, 10),), minimum_micro=100))
    assert money(priced, used(closed=True)) == [("basic", "d", 20), ("minimum", "", 80)]


def test_a_period_cut_short_bears_its_share_of_the_fees() -> None:
    old, new = (
        version(id="a", fees=(Fee("p", FeeBasis.PERIOD, 3_100),)),
        version(id="b", from_day="2026-01-11", period=(Reset(15),)),
    )
    assert money(tariff(old, new), used(to="2026-01-11T00:00", closed=True)) == [("basic", "p", 1_000)]


# --- power factor ---


@pytest.mark.parametrize(
    ("active", "reactive", "per_cent"),
    [
        (0, 0, 100),
        (0, 5, 0),
        (1, 0, 100),
        (100, 100, 71),
        (3, 4, 60),
        (4, 3, 80),
        (90_000, 43_589, 90),
        (995, 100, 99),
        (9_999, 998, 100),
        (1, 199, 1),
        (1, 201, 0),
    ],
)
def test_the_power_factor_is_rounded_to_the_hundredth(active: int, reactive: int, per_cent: int) -> None:
    assert power_factor(active, reactive) == per_cent


@pytest.mark.parametrize(
    ("reactive", "change"), [(0, None), (4_843, None), (6_000, 50), (7_500, 500), (30_000, 4_000), (3_000, -75)]
)
def test_the_power_factor_changes_energy_and_basic_fees_when_the_period_ends(reactive: int, change: int | None) -> None:
    table = ((95, -75), (90, 0), (86, 50), (80, 500), (70, 4_000))
    first = version(
        free_wh=1_000,
        steps=blocks((1, 0), (None, 100_000), kind=StepKind.ADDER),
        bands=(Band(0, 500, 77),),
        fees=(Fee("f", FeeBasis.PERIOD, 400_000),),
        power_factor=PowerFactor(90, table),
    )
    priced = tariff(first)
    lines = cost(priced, Terms(), used(single(10_000), closed=True, reactive_varh=reactive))
    base = 5_000_000 + 900_000 - 500_000 + 400_000
    found = [(line.micro, line.rule) for line in lines if line.component == "power_factor"]
    factor = power_factor(10_000, reactive)
    assert found == (
        [] if change is None else [(base * change // 10_000, f"power factor {factor} % against 90 %: {change} per ten thousand")]
    )
    assert not [
        line
        for line in money(priced, used(single(10_000), until="2026-01-31T00:00", reactive_varh=reactive))
        if line[0] == "power_factor"
    ]


# --- minimum and rounding ---


def test_a_period_that_has_ended_bears_its_minimum() -> None:
    priced = tariff(version(minimum_micro=1_000_000))
    assert money(priced, used(single(1_000), until="2026-01-31T00:00")) == [("energy", "single", 500_000)]
    assert money(priced, used(single(1_000), closed=True)) == [("energy", "single", 500_000), ("minimum", "", 500_000)]
    assert money(priced, used(single(2_000), closed=True)) == [("energy", "single", 1_000_000)]
    assert money(priced, used(single(2_001), closed=True)) == [("energy", "single", 1_000_500)]
    assert money(tariff(version(bands=(Band(5_000, 1, 1),))), used(single(1_000), closed=True)) == [("energy", "single", 500_000)]


@pytest.mark.parametrize(
    ("mode", "amounts"),
    [
        (RoundingMode.HALF_UP, {14_999: 10_000, 15_000: 20_000, 25_000: 30_000, -14_999: -10_000, -15_000: -20_000, 0: 0}),
        (
            RoundingMode.HALF_EVEN,
            {14_999: 10_000, 15_000: 20_000, 15_001: 20_000, 25_000: 20_000, 25_001: 30_000, -15_000: -20_000, -25_000: -20_000},
        ),
        (RoundingMode.DOWN, {19_999: 10_000, 10_000: 10_000, 9_999: 0, -19_999: -10_000, -10_000: -10_000, 0: 0}),
        (RoundingMode.FOR_CUSTOMER, {19_999: 10_000, 10_000: 10_000, -1: -10_000, -10_000: -10_000, 0: 0}),
    ],
)
def test_modes_of_rounding(mode: RoundingMode, amounts: dict[int, int]) -> None:
    rule = Rounding(RoundingPlace.LINE, mode, 10_000)
    assert {micro: rounded(micro * 1_000, rule) for micro in amounts} == amounts


def rounded_bill(place: RoundingPlace, **more: Any) -> list[tuple[str, str, int]]:
    """Peak 10.005, valley 5.005, step 0.015 (of yuan), a fee of 1.004 and a minimum of 30."""
    priced = tariff(
        version(
            prices={PEAK: 1_000_500, VALLEY: 500_500},
            tou=TWO_RATES,
            registers={},
            steps=blocks((10, 0), (None, 1_500), kind=StepKind.ADDER),
            fees=(Fee("f", FeeBasis.PERIOD, 1_004_000),),
            **more,
        ),
        rounding=Rounding(place, RoundingMode.HALF_UP, 10_000),
    )
    return money(priced, used(Tranche("v1", "all", 20_000, {PEAK: 10_000, VALLEY: 10_000}), closed=True))


EXACT = [
    ("energy", "peak", 10_005_000),
    ("energy", "valley", 5_005_000),
    ("step", "1", 0),
    ("step", "2", 15_000),
    ("basic", "f", 1_004_000),
]


def test_rounding_each_line() -> None:
    lines = [
        ("energy", "peak", 10_010_000),
        ("energy", "valley", 5_010_000),
        ("step", "1", 0),
        ("step", "2", 20_000),
        ("basic", "f", 1_000_000),
    ]
    assert rounded_bill(RoundingPlace.LINE) == lines
    assert rounded_bill(RoundingPlace.LINE, minimum_micro=30_000_000) == [*lines, ("minimum", "", 13_960_000)]


def test_rounding_each_rates_sum() -> None:
    corrections = [
        ("rounding", "peak", 5_000),
        ("rounding", "valley", 5_000),
        ("rounding", "step", 5_000),
        ("rounding", "basic", -4_000),
    ]
    assert rounded_bill(RoundingPlace.RATE) == EXACT + corrections
    assert rounded_bill(RoundingPlace.RATE, minimum_micro=30_000_000) == [*EXACT, *corrections, ("minimum", "", 13_960_000)]


def test_rounding_the_bill() -> None:
    assert rounded_bill(RoundingPlace.BILL) == [*EXACT, ("rounding", "bill", 1_000)]
    whole = rounded_bill(RoundingPlace.BILL, minimum_micro=30_004_000)
    assert whole == [*EXACT, ("minimum", "", 13_975_000), ("rounding", "bill", -4_000)]


def test_lines_without_energy_say_so() -> None:
    priced = version(
        bands=(Band(0, 100, 30),),
        fees=(Fee("f", FeeBasis.PERIOD, 400_000),),
        power_factor=PowerFactor(90, ((0, 500),)),
        minimum_micro=90_000_000,
    )
    for place in RoundingPlace:
        lines = cost(
            tariff(priced, rounding=Rounding(place, RoundingMode.DOWN, 10_000)),
            Terms(),
            used(single(1_000), closed=True, reactive_varh=5),
        )
        components = ["energy", "surcharge", "fixed", "basic", "power_factor"]
        assert [line.component for line in lines[:5]] == components
        assert [(line.wh, line.price_micro) for line in lines[1:5]] == [(0, 0), (0, 30), (0, 400_000), (0, 0)]
        assert {(line.wh, line.price_micro) for line in lines[5:]} == {(0, 0)}
        assert lines[4].micro == 45_000 // (10_000 if place is RoundingPlace.LINE else 1) * (
            10_000 if place is RoundingPlace.LINE else 1
        )


def test_a_bill_is_rounded_from_what_is_exact_not_from_what_was_floored() -> None:
    prices = {PEAK: 1_600, VALLEY: 1_600}
    priced: Version = version(prices=prices, tou=TWO_RATES, registers={})
    use = used(Tranche("v1", "all", 2, {PEAK: 1, VALLEY: 1}))
    assert money(tariff(priced), use) == [("energy", "peak", 1), ("energy", "valley", 1)]
    bill = tariff(priced, rounding=Rounding(RoundingPlace.BILL, RoundingMode.DOWN, 1))
    assert money(bill, use) == [("energy", "peak", 1), ("energy", "valley", 1), ("rounding", "bill", 1)]
    assert cost(bill, Terms(), use)[2].rule == "down to 1 micro-units, by bill"
