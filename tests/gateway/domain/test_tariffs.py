"""How energy between two readings is shared out, and how charges follow from it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.domain.price_list import (
    Band,
    CountedOn,
    Fee,
    FeeBasis,
    GapSplit,
    PowerFactor,
    Rate,
    Reset,
    Season,
    StepKind,
    Terms,
    TimeOfUse,
    Version,
    Zone,
)
from gateway.domain.readings import Registers
from gateway.domain.tariffs import (
    ChargeLine,
    PeriodUse,
    Portion,
    Tranche,
    UnpricedRegister,
    UnpricedTime,
    charge,
    periods,
    portions,
    price_series,
)
from tests.gateway.domain.price_bench import (
    T1,
    T2,
    T3,
    TWO_PRICES,
    TWO_RATES,
    TWO_TABLES,
    YEARLY,
    Account,
    at,
    blocks,
    registers,
    tariff,
    version,
)

PEAK, VALLEY, FLAT, SHARP, SINGLE = Rate.PEAK, Rate.VALLEY, Rate.FLAT, Rate.SHARP, Rate.SINGLE
BY_REGISTER = {PEAK: (T1,), VALLEY: (T2,)}


def two_rates(**more: Any) -> Version:
    return version(seasons=TWO_PRICES, tou=TWO_RATES, registers={}, **more)


# --- portions ---


def test_a_reading_within_a_month_is_one_portion() -> None:
    assert portions(tariff(), registers("2026-01-05T10:00", 700), registers("2026-01-05T10:15", 1_000)) == (
        Portion(
            "2026-01-01T00:00", "v1", "all", at("2026-01-05T10:00"), at("2026-01-05T10:15"), 300, {SINGLE: 300}, False, "as read"
        ),
    )


def test_rate_registers_tell_the_rates() -> None:
    priced = tariff(version(seasons=TWO_PRICES, registers={PEAK: (T1, T3), VALLEY: (T2,)}))
    (found,) = portions(
        priced, registers("2026-01-05T00:00", 100, t1=40, t2=50, t3=7), registers("2026-01-06T00:00", 200, t1=60, t2=121, t3=15)
    )
    assert (found.total_wh, found.wh, found.estimated, found.rule) == (100, {PEAK: 28, VALLEY: 71}, False, "as read")


def test_a_boundary_without_a_reading_is_shared_by_time_and_estimated() -> None:
    priced = tariff(version(seasons=TWO_PRICES, registers=BY_REGISTER))
    start, end = registers("2026-01-31T22:00", 0, t1=0, t2=0), registers("2026-02-01T04:00", 1_000, t1=100, t2=899)
    assert portions(priced, start, end, reactive_varh=100) == (
        Portion(
            "2026-01-01T00:00",
            "v1",
            "all",
            start.at_ms,
            at("2026-02-01T00:00"),
            333,
            {PEAK: 33, VALLEY: 300},
            True,
            "shared by time",
            None,
            33,
        ),
        Portion(
            "2026-02-01T00:00",
            "v1",
            "all",
            at("2026-02-01T00:00"),
            end.at_ms,
            667,
            {PEAK: 67, VALLEY: 599},
            True,
            "shared by time",
            None,
            67,
        ),
    )


def test_a_reading_at_the_boundary_makes_nothing_estimated() -> None:
    freeze = registers("2026-02-01T00:00", 400)
    (before,), (after,) = (
        portions(tariff(), registers("2026-01-31T22:00", 0), freeze),
        portions(tariff(), freeze, registers("2026-02-01T04:00", 1_000)),
    )
    assert (before.period, before.total_wh, before.estimated) == ("2026-01-01T00:00", 400, False)
    assert (after.period, after.total_wh, after.estimated) == ("2026-02-01T00:00", 600, False)


def test_registers_that_did_not_move_share_nothing() -> None:
    found = portions(tariff(), registers("2026-01-31T22:00", 5), registers("2026-02-01T04:00", 5))
    assert [(each.period, each.total_wh, each.wh, each.estimated) for each in found] == [
        ("2026-01-01T00:00", 0, {SINGLE: 0}, False),
        ("2026-02-01T00:00", 0, {SINGLE: 0}, False),
    ]
    turned = portions(tariff(), registers("2026-01-31T22:00", 5), registers("2026-01-31T22:00", 9))
    assert [(each.total_wh, each.estimated) for each in turned] == [(4, False)]


def test_only_reactive_energy_is_estimated_too() -> None:
    found = portions(tariff(), registers("2026-01-31T22:00", 5), registers("2026-02-01T04:00", 5), reactive_varh=6)
    assert [(each.reactive_varh, each.estimated) for each in found] == [(2, True), (4, True)]


def test_rates_without_a_register_are_shared_by_the_clock() -> None:
    priced = tariff(two_rates())
    (day,) = portions(priced, registers("2026-01-05T10:00", 0), registers("2026-01-05T10:15", 90))
    assert (day.wh, day.estimated, day.rule) == ({PEAK: 90}, False, "as read")
    (both,) = portions(priced, registers("2026-01-05T05:50", 0), registers("2026-01-05T06:05", 90))
    assert (both.wh, both.estimated, both.rule) == ({VALLEY: 60, PEAK: 30}, True, "rates by the clock, shared by time")
    (none,) = portions(priced, registers("2026-01-05T05:50", 7), registers("2026-01-05T06:05", 7))
    assert (none.wh, none.estimated) == ({}, False)
    month = portions(priced, registers("2026-01-31T21:00", 0), registers("2026-02-01T06:00", 900))
    assert [(each.wh, each.rule) for each in month] == [
        ({PEAK: 100, VALLEY: 200}, "rates by the clock, shared by time"),
        ({VALLEY: 600}, "shared by time"),
    ]


def test_what_registers_leave_is_shared_over_the_rates_without_one() -> None:
    prices = {SHARP: 900_000, PEAK: 617_000, VALLEY: 307_000}
    priced = tariff(version(prices=prices, tou=TWO_RATES, registers={SHARP: (T1,)}))
    (found,) = portions(priced, registers("2026-01-05T05:30", 0, t1=0), registers("2026-01-05T06:30", 100, t1=40))
    assert found.wh == {SHARP: 40, VALLEY: 30, PEAK: 30}
    (short,) = portions(priced, registers("2026-01-05T05:30", 0, t1=0), registers("2026-01-05T06:30", 39, t1=40))
    assert (short.wh, short.estimated) == ({SHARP: 40}, False)
    clocked = tariff(version(prices={PEAK: 1, VALLEY: 2}, tou=TWO_RATES, registers={PEAK: (T1,)}))
    (at_noon,) = portions(clocked, registers("2026-01-05T12:00", 0, t1=0), registers("2026-01-05T13:00", 102, t1=100))
    assert at_noon.wh == {PEAK: 100}  # registers are truncated one by one


def test_seasons_versions_and_step_periods_part_a_span() -> None:
    seasons = (Season("summer", 6, 1, {SINGLE: 2}), Season("winter", 11, 1, {SINGLE: 1}))
    steps = blocks((1, 0), (None, 1), resets=(Reset(15, 12, 6),), kind=StepKind.ADDER)
    priced = tariff(
        version(id="a", seasons=seasons, steps=steps), version(id="b", from_day="2026-06-10", seasons=seasons, steps=steps)
    )
    found = portions(priced, registers("2026-05-31T00:00", 0), registers("2026-06-16T00:00", 16_000))
    assert [(each.period, each.version, each.season, each.step_period, each.total_wh) for each in found] == [
        ("2026-05-01T00:00", "a", "winter", "2025-06-15T12:00/steps", 1_000),
        ("2026-06-01T00:00", "a", "summer", "2025-06-15T12:00/steps", 9_000),
        ("2026-06-01T00:00", "b", "summer", "2025-06-15T12:00/steps", 5_500),
        ("2026-06-01T00:00", "b", "summer", "2026-06-15T12:00/steps", 500),
    ]
    assert periods(found) == {"2026-05-01T00:00", "2026-06-01T00:00", "2025-06-15T12:00/steps", "2026-06-15T12:00/steps"}
    assert periods(portions(tariff(), registers("2026-05-31T00:00", 0), registers("2026-05-31T01:00", 0))) == {"2026-05-01T00:00"}


def test_a_rate_is_shared_only_over_seasons_that_price_it() -> None:
    seasons = (Season("hot", 7, 1, {PEAK: 3, SHARP: 9}), Season("mild", 9, 1, {PEAK: 2}))
    priced = tariff(version(seasons=seasons, registers={PEAK: (T1,), SHARP: (T2,)}))
    start, end = registers("2026-08-31T12:00", 0, t1=0, t2=0), registers("2026-09-01T12:00", 100, t1=60, t2=40)
    assert [(each.season, each.total_wh, each.wh) for each in portions(priced, start, end)] == [
        ("hot", 50, {PEAK: 30, SHARP: 40}),
        ("mild", 50, {PEAK: 30}),
    ]
    with pytest.raises(UnpricedRegister, match=f"{T2} moved and tariff t has no price for it"):
        portions(priced, registers("2026-10-01T12:00", 0, t1=0, t2=0), registers("2026-10-01T13:00", 1, t1=0, t2=1))


@pytest.mark.parametrize(
    ("begin", "end", "wh", "by_time", "by_months"),
    [
        ("2026-01-01T00:00", "2026-04-01T00:00", 90_000, [31_000, 28_000, 31_000], [30_000, 30_000, 30_000]),
        ("2026-01-16T12:00", "2026-03-01T00:00", 87_000, [31_000, 56_000], [29_000, 58_000]),
        ("2026-01-31T23:00", "2026-02-01T01:00", 1_000, [500, 500], [475, 525]),
    ],
)
def test_a_long_gap_is_shared_by_time_or_with_every_month_alike(
    begin: str, end: str, wh: int, by_time: list[int], by_months: list[int]
) -> None:
    start, last = registers(begin, 0), registers(end, wh)
    for split, expected, rule in (
        (GapSplit.TIME, by_time, "shared by time"),
        (GapSplit.BILLING_MONTHS, by_months, "shared over billing months"),
    ):
        found = portions(tariff(split=split), start, last)
        assert [each.total_wh for each in found] == expected
        assert {each.rule for each in found} == {rule}


def test_rates_by_the_clock_within_billing_months() -> None:
    found = portions(
        tariff(two_rates(), split=GapSplit.BILLING_MONTHS), registers("2026-01-01T00:00", 0), registers("2026-03-01T00:00", 48_000)
    )
    assert [each.wh for each in found] == [{VALLEY: 8_000, PEAK: 16_000}] * 2
    assert {each.rule for each in found} == {"rates by the clock, shared over billing months"}


def test_a_rate_that_has_no_price_is_refused() -> None:
    priced = tariff(version(seasons=TWO_PRICES, registers=BY_REGISTER))
    start = registers("2026-01-05T10:00", 0, t1=0, t2=0, t3=5)
    with pytest.raises(UnpricedRegister, match=f"{T3} moved and tariff t has no price for it"):
        portions(priced, start, registers("2026-01-05T10:15", 1, t1=0, t2=0, t3=6))
    assert portions(priced, start, registers("2026-01-05T10:15", 1, t1=1, t2=0, t3=5))
    assert portions(priced, registers("2026-01-05T10:00", 0, t1=0, t2=0), registers("2026-01-05T10:15", 1, t1=1, t2=0, t3=5))
    flat, clock = tariff(), tariff(two_rates())
    for each in (flat, clock):
        assert portions(each, start, registers("2026-01-05T10:15", 1, t1=0, t2=0, t3=6))[0].total_wh == 1


def test_a_register_that_a_price_needs_must_be_there() -> None:
    priced = tariff(version(seasons=TWO_PRICES, registers=BY_REGISTER))
    whole, part = registers("2026-01-05T10:00", 0, t1=0, t2=0), registers("2026-01-05T10:00", 0, t1=0)
    for start, end in ((whole, part), (part, whole)):
        with pytest.raises(UnpricedRegister, match=f"tariff t prices {T2}, which this meter does not give"):
            portions(priced, start, end)
    with pytest.raises(UnpricedRegister, match="prices energy_import, which"):
        portions(tariff(two_rates()), Registers(at("2026-01-05T10:00"), {T1: 0}), registers("2026-01-05T10:15", 0))


def test_a_rate_that_holds_without_a_price_is_refused() -> None:
    tables = {**TWO_TABLES, "hot": (TWO_TABLES["all"][0], *TWO_TABLES["all"][1:])}
    tou = TimeOfUse((Zone(1, 1, "hot"),), tables)
    priced = tariff(version(prices={PEAK: 1}, tou=tou, registers={}))
    assert portions(priced, registers("2026-01-05T12:00", 0), registers("2026-01-05T13:00", 5))[0].wh == {PEAK: 5}
    with pytest.raises(UnpricedTime, match="valley holds in season all of version v1, which has no price for it"):
        portions(priced, registers("2026-01-05T12:00", 0), registers("2026-01-05T23:00", 5))


def test_neither_registers_nor_time_go_back() -> None:
    with pytest.raises(ValueError, match="energy_import goes back from 5 to 4 Wh"):
        portions(tariff(), registers("2026-01-05T10:00", 5), registers("2026-01-05T10:15", 4))
    with pytest.raises(ValueError, match="cannot follow"):
        portions(tariff(), registers("2026-01-05T10:00", 5), registers("2026-01-05T09:59", 5))
    with pytest.raises(UnpricedTime):
        portions(tariff(version(from_day="2026-02-01")), registers("2026-01-31T10:00", 5), registers("2026-02-05T09:59", 5))


# --- charges ---


def test_a_charge_is_the_difference_of_what_periods_cost() -> None:
    account = Account(tariff(version(prices={SINGLE: 1_500}, steps=blocks((1, 0), (None, 1_500), kind=StepKind.ADDER))))
    first = account.use("2026-01-05T00:00", "2026-01-06T00:00", 999)
    assert first.lines == (
        ChargeLine("2026-01-01T00:00", "energy", "v1", "all", SINGLE, None, 999, 1_500, 1_498, "energy at its rate's price"),
        ChargeLine("2026-01-01T00:00", "step", "v1", "", None, 1, 999, 0, 0, "step 1, up to 1 kWh"),
    )
    assert first.micro == 1_498
    second = account.use("2026-01-06T00:00", "2026-01-07T00:00", 3)
    assert [(line.component, line.step, line.wh, line.micro) for line in second.lines] == [
        ("energy", None, 3, 5),
        ("step", 1, 1, 0),
        ("step", 2, 2, 3),
    ]
    use = second.uses["2026-01-01T00:00"]
    assert use == PeriodUse(
        "2026-01-01T00:00", at("2026-01-01T00:00"), at("2026-02-01T00:00"), (Tranche("v1", "all", 1_002, {SINGLE: 1_002}),)
    )
    assert account.use("2026-01-07T00:00", "2026-01-08T00:00", 0).lines == ()


def test_a_band_that_is_crossed_jumps_on_one_line() -> None:
    account = Account(tariff(version(bands=(Band(0, 250, 30), Band(1_000, 400, 90)))))
    account.use("2026-01-05T00:00", "2026-01-06T00:00", 1_000)
    crossed = account.use("2026-01-06T00:00", "2026-01-07T00:00", 10)
    assert [(line.component, line.micro) for line in crossed.lines] == [
        ("energy", 5_000),
        ("surcharge", 505_000 * 4 // 10 - 125_000),
        ("fixed", 60),
    ]
    assert crossed.lines[1].rule == "400 per mille of the energy, as the period is over 1 kWh"


def test_a_line_that_is_no_more_is_taken_off() -> None:
    account = Account(tariff(version(bands=(Band(0, 250, 30), Band(1_000)))))
    account.use("2026-01-05T00:00", "2026-01-06T00:00", 1_000)
    crossed = account.use("2026-01-06T00:00", "2026-01-07T00:00", 10)
    assert [(line.component, line.wh, line.micro) for line in crossed.lines] == [
        ("energy", 10, 5_000),
        ("surcharge", 0, -125_000),
        ("fixed", 0, -30),
    ]
    assert crossed.lines[1].rule == "250 per mille of the energy, as the period is over 0 kWh"
    assert account.micro == account.cost() == 505_000


def test_steps_of_a_year_go_on_over_the_months() -> None:
    account = Account(tariff(version(steps=blocks((100, 0), (None, 50_000), resets=YEARLY, kind=StepKind.ADDER))))
    account.use("2026-01-05T00:00", "2026-01-06T00:00", 99_000)
    done = account.use("2026-03-05T00:00", "2026-03-06T00:00", 3_000)
    assert [(line.period, line.component, line.step, line.wh, line.micro) for line in done.lines] == [
        ("2026-01-01T00:00/steps", "step", 1, 1_000, 0),
        ("2026-01-01T00:00/steps", "step", 2, 2_000, 100_000),
        ("2026-03-01T00:00", "energy", None, 3_000, 1_500_000),
    ]
    assert done.uses["2026-01-01T00:00/steps"].tranches == (Tranche("v1", "", 102_000),)
    late = account.use("2026-02-05T00:00", "2026-02-06T00:00", 10_000)
    assert late.micro == 5_000_000 + 500_000
    assert account.use("2027-01-05T00:00", "2027-01-06T00:00", 10_000).micro == 5_000_000


def test_an_estimate_is_replaced_by_what_was_frozen() -> None:
    priced = tariff(version(id="a"), version(id="b", from_day="2026-02-01", prices={SINGLE: 1_000_000}))
    account = Account(priced)
    start, end, freeze = registers("2026-01-31T22:00", 0), registers("2026-02-01T02:00", 1_000), registers("2026-02-01T00:00", 900)
    guessed = portions(priced, start, end)
    assert account.charge(guessed).micro == 250_000 + 500_000
    known = (*portions(priced, start, freeze), *portions(priced, freeze, end))
    corrected = account.charge(known, take=guessed)
    assert [(line.period, line.wh, line.micro) for line in corrected.lines] == [
        ("2026-01-01T00:00", 400, 200_000),
        ("2026-02-01T00:00", -400, -400_000),
    ]
    assert account.micro == account.cost() == 550_000


def test_more_than_was_added_cannot_be_taken_back() -> None:
    account = Account(tariff(version(seasons=TWO_PRICES, registers=BY_REGISTER)))
    start = registers("2026-01-05T00:00", 0, t1=0, t2=0)
    account.charge(portions(account.tariff, start, registers("2026-01-05T01:00", 10, t1=10, t2=0), reactive_varh=3))
    for much in (
        registers("2026-01-05T01:00", 11, t1=0, t2=0),
        registers("2026-01-05T01:00", 0, t1=11, t2=0),
        registers("2026-01-05T01:00", 0, t1=0, t2=1),
    ):
        with pytest.raises(ValueError, match="more energy is taken back from 2026-01-01T00:00 than was added to it"):
            account.charge(take=portions(account.tariff, start, much))
    with pytest.raises(ValueError, match="more energy"):
        account.charge(take=portions(account.tariff, start, start, reactive_varh=4))
    assert (
        account.charge(take=portions(account.tariff, start, registers("2026-01-05T01:00", 10, t1=10, t2=0), reactive_varh=3)).micro
        == -6_170
    )
    use = account.uses["2026-01-01T00:00"]
    assert (use.tranches, use.reactive_varh) == ((), 0)


def test_fees_are_accrued_to_the_reading_never_back_and_the_month_is_closed() -> None:
    account = Account(tariff(version(fees=(Fee("standing", FeeBasis.DAY, 100),), minimum_micro=5_000)))
    noon = registers("2026-01-05T12:00", 0)
    assert account.span(registers("2026-01-05T00:00", 0), noon).micro == 500
    assert not account.uses["2026-01-01T00:00"].closed
    assert account.span(registers("2026-01-04T00:00", 0), registers("2026-01-05T00:00", 0)).micro == 0
    assert account.uses["2026-01-01T00:00"].until_ms == noon.at_ms
    ending = account.span(noon, registers("2026-02-01T00:01", 0))
    assert [(line.period, line.component, line.name, line.micro) for line in ending.lines] == [
        ("2026-01-01T00:00", "basic", "standing", 2_600),
        ("2026-01-01T00:00", "minimum", "", 1_900),
        ("2026-02-01T00:00", "basic", "standing", 100),
    ]
    january = account.uses["2026-01-01T00:00"]
    assert (january.closed, january.until_ms) == (True, at("2026-02-01T00:00"))
    assert account.charge(until_ms=at("2026-02-01T00:01")).uses == {}
    assert account.charge(until_ms=at("2026-02-02T00:01")).micro == 100
    late = account.use("2026-01-07T00:00", "2026-01-08T00:00", 3)
    assert [(line.component, line.micro) for line in late.lines] == [("energy", 1_500), ("minimum", -1_500)]


def test_a_period_of_steps_bears_no_fees() -> None:
    fees = (Fee("standing", FeeBasis.DAY, 100),)
    account = Account(tariff(version(fees=fees, steps=blocks((1, 0), (None, 1), resets=YEARLY, kind=StepKind.ADDER))))
    account.span(registers("2026-12-31T00:00", 0), registers("2027-01-01T00:00", 0))
    assert account.uses["2026-01-01T00:00/steps"].until_ms is None
    assert account.components() == {"basic": 3_100}


def test_the_highest_demand_counts_and_the_power_factor_when_the_month_ends() -> None:
    factor = PowerFactor(90, ((90, 0), (0, 1_000)))
    account = Account(tariff(version(fees=(Fee("demand", FeeBasis.DEMAND, 1_000_000),), power_factor=factor)))
    month = "2026-01-01T00:00"
    start, middle, end = registers(month, 0), registers("2026-01-20T00:00", 1_000), registers("2026-02-01T00:00", 2_000)
    account.charge(portions(account.tariff, start, middle, reactive_varh=1_000), until_ms=middle.at_ms, demand_w={month: 2_000})
    assert account.components() == {"energy": 500_000, "basic": 2_000_000}
    assert account.charge(demand_w={month: 1_500}).micro == 0
    assert account.charge(demand_w={month: 2_500}).micro == 500_000
    account.charge(portions(account.tariff, middle, end, reactive_varh=500), until_ms=end.at_ms)
    assert account.components() == {"energy": 1_000_000, "basic": 2_500_000, "power_factor": 350_000}
    with pytest.raises(ValueError, match="nothing is known of the use of 2026-02-01T00:00"):
        account.charge(demand_w={"2026-02-01T00:00": 1})


def test_a_version_that_came_later_ends_a_period_that_was_begun_without_it() -> None:
    old = version(id="a", fees=(Fee("standing", FeeBasis.DAY, 100),), steps=blocks((1, 0), (None, 1_000), kind=StepKind.ADDER))
    account = Account(tariff(old))
    account.span(registers("2026-01-01T00:00", 0), registers("2026-01-05T00:00", 2_000))
    account.tariff = tariff(old, version(id="b", from_day="2026-01-11", period=(Reset(15),)))
    done = account.span(registers("2026-01-05T00:00", 2_000), registers("2026-01-12T00:00", 2_700))
    assert [(line.period, line.component, line.version, line.micro) for line in done.lines] == [
        ("2026-01-01T00:00", "energy", "a", 300_000),
        ("2026-01-01T00:00", "step", "a", 600),
        ("2026-01-01T00:00", "basic", "a", 600),
        ("2026-01-11T00:00", "energy", "b", 50_000),
    ]
    assert (account.uses["2026-01-01T00:00"].to_ms, account.uses["2026-01-01T00:00"].closed) == (at("2026-01-11T00:00"), True)


def test_steps_counted_on_purchases_are_not_charged_on_use() -> None:
    account = Account(tariff(version(prices={}, steps=blocks((1, 5), (None, 9), counted_on=CountedOn.PURCHASES))))
    done = account.use("2026-01-05T00:00", "2026-01-06T00:00", 2_000)
    assert (done.lines, done.uses["2026-01-01T00:00"].total_wh) == ((), 2_000)


def test_uses_that_nothing_happened_to_are_not_given_back() -> None:
    account = Account(tariff())
    account.use("2026-01-05T00:00", "2026-01-06T00:00", 2_000)
    assert list(account.use("2026-02-05T00:00", "2026-02-06T00:00", 2_000).uses) == ["2026-02-01T00:00"]
    assert charge(account.tariff, Terms(), account.uses, ()).uses == {}


# --- a profile ---


def test_a_profile_needs_its_rates_by_the_clock_and_must_rise() -> None:
    unknown = tariff(version(seasons=TWO_PRICES, registers=BY_REGISTER))
    points = [(at("2026-01-05T00:00"), 0), (at("2026-01-06T00:00"), 10)]
    with pytest.raises(UnpricedRegister):
        price_series(unknown, Terms(), points)
    known = tariff(version(seasons=TWO_PRICES, registers=BY_REGISTER, tou=TWO_RATES))
    assert price_series(known, Terms(), points).micro == 7 * 617 + 3 * 307
    for wrong in ([points[1], points[0]], [points[0], (points[1][0], -1)], [points[0], (points[0][0] - 1, 10)]):
        with pytest.raises(ValueError, match="goes back"):
            price_series(known, Terms(), wrong)
    assert price_series(known, Terms(), points[:1]) == price_series(known, Terms(), [])
    assert price_series(tariff(), Terms(), points).micro == 5_000


def test_a_year_of_quarter_hours_is_priced_in_a_blink() -> None:
    priced = tariff(two_rates(steps=blocks((3_120, 0), (4_800, 50_000), (None, 300_000), resets=YEARLY, kind=StepKind.ADDER)))
    begin, quarter = at("2026-01-01T00:00"), 900_000
    points = [(begin + number * quarter, number * 150) for number in range(35_041)]
    began = time.process_time()
    series = price_series(priced, Terms(), points)
    assert time.process_time() - began < 10  # some 0.1 s; compared with each other point it would be a quarter of an hour
    peak, valley = 365 * 64 * 150, 365 * 32 * 150
    assert series.micro == (peak * 617_000 + valley * 307_000) // 1_000 + 1_680_000 * 50 + (35_040 * 150 - 4_800_000) * 300
    assert len(series.uses) == 13
