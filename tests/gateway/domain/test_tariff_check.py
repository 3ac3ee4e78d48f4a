"""What is refused of a tariff, and in which words: the version, the table, and the day or minute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.domain.price_list import (
    Band,
    CountedOn,
    Fee,
    FeeBasis,
    LateFee,
    PowerFactor,
    Rate,
    Reset,
    Rounding,
    RoundingMode,
    RoundingPlace,
    Season,
    StepKind,
    Switch,
    TimeOfUse,
    Zone,
)
from gateway.domain.tariff_check import check
from tests.gateway.domain.price_bench import T1, TWO_PRICES, TWO_RATES, TWO_TABLES, YEARLY, blocks, tariff, version

PEAK, VALLEY, SHARP, SINGLE = Rate.PEAK, Rate.VALLEY, Rate.SHARP, Rate.SINGLE
ALL = TWO_TABLES["all"]


def wrong(**of_version: Any) -> list[str]:
    """What is said of one version, without its name."""
    said = check(tariff(version(**of_version)))
    assert all(sentence.startswith("version v1: ") for sentence in said)
    return [sentence.removeprefix("version v1: ") for sentence in said]


def tou(**changes: Any) -> list[str]:
    return wrong(seasons=TWO_PRICES, registers={}, tou=replace(TWO_RATES, **changes))


def table(*switches: tuple[int, Rate]) -> list[str]:
    return tou(tables={"all": tuple(Switch(*switch) for switch in switches)})


def test_good_tariffs() -> None:
    assert check(tariff()) == ()
    assert tou() == []
    assert tou(weekend=(6, 7), weekend_table="all", holidays={"2026-10-01": "all"}, holidays_until="2026-10-01") == []
    assert wrong(seasons=TWO_PRICES, registers={PEAK: (T1,), VALLEY: ("t2",)}) == []
    assert wrong(prices={}, steps=blocks((10, 0), (None, 0))) == []
    assert wrong(prices={}, steps=replace(blocks((10, 0), (None, 0)), thresholds_wh=(1,))) == []
    assert wrong(prices={}, tou=TWO_RATES, steps=blocks((10, 0), (None, 0))) == []
    assert wrong(steps=blocks((None, 0), kind=StepKind.ADDER)) == []
    assert wrong(bands=(Band(0), Band(1)), fees=(Fee("a", FeeBasis.DAY, 0), Fee("b", FeeBasis.DAY, 0)), minimum_micro=1) == []
    assert wrong(power_factor=PowerFactor(90, ((100, -75), (0, 1))), steps=blocks((None, 0), kind=StepKind.ADDER)) == []
    full = {name: tuple(Switch(minute, PEAK) for minute in range(14)) for name in "abcdefgh"}
    zones = tuple(Zone(1, day, "a") for day in range(1, 15))
    assert tou(tables=full, zones=zones) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"currency": "XYZ"}, "currency 'XYZ' is not known here"),
        ({"zone": "Europe/Atlantis"}, "'Europe/Atlantis' is no time zone"),
        ({"zone": ""}, "'' is no time zone"),
        ({"zone": "Europe"}, "'Europe' is no time zone"),
        ({"zone": "../etc"}, "'../etc' is no time zone"),
        ({"versions": ()}, "there is no version"),
        ({"versions": (version(id="a"), version(id="a", from_day="2021-01-01"))}, "two versions have the same id"),
        ({"versions": (version(id="a", from_day="2021-02-29"),)}, "version a: '2021-02-29' is no day like 2026-01-31"),
        ({"versions": (version(id="a", from_day="20210201"),)}, "version a: '20210201' is no day like 2026-01-31"),
        (
            {"versions": (version(id="a"), version(id="b"))},
            "the version from 2020-01-01 must begin later than the one from 2020-01-01 before it",
        ),
        (
            {"versions": (version(id="a"), version(id="b", from_day="2019-12-31"))},
            "the version from 2019-12-31 must begin later than the one from 2020-01-01 before it",
        ),
        ({"rounding": Rounding(RoundingPlace.LINE, RoundingMode.DOWN, 0)}, "rounding needs a unit above zero"),
        ({"late_fee": LateFee(-1, 0)}, "a late fee cannot be negative"),
        ({"late_fee": LateFee(0, -1)}, "a late fee cannot be negative"),
        ({"late_fee": LateFee(0, 0, -1)}, "a late fee cannot be negative"),
    ],
)
def test_the_tariff_itself(changes: dict[str, Any], sentence: str) -> None:
    assert check(replace(tariff(), **changes)) == (sentence,)


def test_smallest_good_rounding_and_late_fee() -> None:
    assert check(tariff(rounding=Rounding(RoundingPlace.LINE, RoundingMode.DOWN, 1), late_fee=LateFee(0, 0, 0))) == ()


@pytest.mark.parametrize(
    ("resets", "sentences"),
    [
        ((), ["nothing says when {} begins"]),
        ((Reset(1), Reset(1)), ["{} begins twice at the same time"]),
        ((Reset(29),), ["{} begins in every month, day 29, hour 0: only days to 28, hours to 23 do"]),
        ((Reset(0),), ["{} begins in every month, day 0, hour 0: only days to 28, hours to 23 do"]),
        ((Reset(1, 24),), ["{} begins in every month, day 1, hour 24: only days to 28, hours to 23 do"]),
        ((Reset(1, -1),), ["{} begins in every month, day 1, hour -1: only days to 28, hours to 23 do"]),
        ((Reset(1, 0, 13),), ["{} begins in month 13, day 1, hour 0: only days to 28, hours to 23 do"]),
        ((Reset(1, 0, 0),), ["{} begins in month 0, day 1, hour 0: only days to 28, hours to 23 do"]),
        ((Reset(28, 23, 12), Reset(1, 0, 1)), []),
    ],
)
def test_resets(resets: tuple[Reset, ...], sentences: list[str]) -> None:
    assert wrong(period=resets) == [sentence.format("the bill's period") for sentence in sentences]
    steps = blocks((None, 0), kind=StepKind.ADDER, resets=resets)
    assert wrong(steps=steps) == [sentence.format("step use") for sentence in sentences]


@pytest.mark.parametrize(
    ("seasons", "sentences"),
    [
        ((), ["no season: no day of the year has a price"]),
        ((Season("", 1, 1, {SINGLE: 1}),), ["each season needs an id of its own"]),
        ((Season("a", 1, 1, {SINGLE: 1}), Season("a", 2, 1, {SINGLE: 1})), ["each season needs an id of its own"]),
        ((Season("a", 2, 30, {SINGLE: 1}),), ["a season begins on 02-30, which no year has"]),
        ((Season("a", 2, 29, {SINGLE: 1}),), []),
        ((Season("a", 3, 1, {SINGLE: 1}), Season("b", 3, 1, {SINGLE: 1})), ["two seasons begin on 03-01"]),
        (
            (Season("a", 3, 2, {SINGLE: 1}), Season("b", 2, 28, {SINGLE: 1})),
            ["the season from 02-28 must come before the one from 03-02"],
        ),
        ((Season("a", 1, 1, {SINGLE: -1}),), ["season a: a price cannot be negative"]),
        ((Season("a", 1, 1, {SINGLE: 0}),), []),
        ((Season("a", 1, 1, {}),), ["season a: it has no price"]),
        ((Season("a", 1, 1, {PEAK: 1, SINGLE: 1}),), ["nothing says when rate peak holds: no register of the meter, no table"]),
    ],
)
def test_seasons(seasons: tuple[Season, ...], sentences: list[str]) -> None:
    found = check(tariff(replace(version(), seasons=seasons)))
    assert [sentence.removeprefix("version v1: ") for sentence in found] == sentences


def test_blocks_have_no_other_price() -> None:
    assert wrong(steps=blocks((1, 1), (None, 2))) == ["season all: the blocks are the prices, and the season has some of its own"]


def test_no_register_is_priced_twice() -> None:
    assert wrong(seasons=TWO_PRICES, registers={PEAK: (T1, "x"), VALLEY: (T1,), SHARP: ("x",)}) == [
        f"register {T1} is priced twice"
    ]


@pytest.mark.parametrize(
    ("switches", "sentences"),
    [
        ([], ["no rate holds from 00:00 to 24:00"]),
        ([(1, PEAK)], ["no rate holds from 00:00 to 00:01"]),
        ([(375, PEAK), (400, VALLEY)], ["no rate holds from 00:00 to 06:15"]),
        ([(0, PEAK), (1440, VALLEY)], ["minute 1440 is not of the day (0 to 1439)"]),
        ([(-1, PEAK)], ["minute -1 is not of the day (0 to 1439)"]),
        ([(0, PEAK), (360, VALLEY), (360, PEAK)], ["valley and peak both hold from 06:00"]),
        ([(0, PEAK), (361, VALLEY), (360, PEAK)], ["peak from 06:00 overlaps valley from 06:01"]),
        ([(minute, PEAK) for minute in range(15)], ["15 switches, and meters know 14"]),
        ([(0, PEAK), (1439, VALLEY)], []),
    ],
)
def test_day_tables(switches: list[tuple[int, Rate]], sentences: list[str]) -> None:
    assert table(*switches) == [f"table all: {sentence}" for sentence in sentences]


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"zones": ()}, ["no zone of the year: no day has a table"]),
        ({"zones": tuple(Zone(1, day, "all") for day in range(1, 16))}, ["15 zones of the year, and meters know 14"]),
        ({"tables": {name: ALL for name in ("all", *"abcdefgh")}}, ["9 day tables, and meters know 8"]),
        ({"zones": (Zone(4, 31, "all"),)}, ["a zone begins on 04-31, which no year has"]),
        ({"zones": (Zone(4, 1, "all"), Zone(4, 1, "all"))}, ["two zones begin on 04-01"]),
        ({"zones": (Zone(4, 2, "all"), Zone(4, 1, "all"))}, ["the zone from 04-01 must come before the one from 04-02"]),
        ({"zones": (Zone(4, 2, "none"),)}, ["the zone from 04-02 uses table none, which there is not"]),
        ({"weekend": (6,), "weekend_table": "none"}, ["the weekend uses table none, which there is not"]),
        ({"weekend": (0,), "weekend_table": "all"}, ["a weekend has days from 1 (Monday) to 7 (Sunday), each once"]),
        ({"weekend": (8,), "weekend_table": "all"}, ["a weekend has days from 1 (Monday) to 7 (Sunday), each once"]),
        ({"weekend": (6, 6), "weekend_table": "all"}, ["a weekend has days from 1 (Monday) to 7 (Sunday), each once"]),
        ({"weekend": (6,)}, ["a weekend needs both its days and its table"]),
        ({"weekend_table": "all"}, ["a weekend needs both its days and its table"]),
        ({"weekend": (1, 7), "weekend_table": "all"}, []),
        (
            {"holidays": {"2026-10-01": "none"}, "holidays_until": "2026-12-31"},
            ["the holiday 2026-10-01 uses table none, which there is not"],
        ),
        (
            {"holidays": {"2026-02-30": "all"}, "holidays_until": "2026-12-31"},
            ["the holiday '2026-02-30' is no day like 2026-01-31"],
        ),
        ({"holidays": {"2026-10-01": "all"}}, ["nothing says until when holidays are known"]),
        (
            {"holidays": {"2027-01-01": "all"}, "holidays_until": "2026-12-31"},
            ["the holiday 2027-01-01 lies after 2026-12-31, until when holidays are said to be known"],
        ),
        ({"holidays": {"2026-12-31": "all"}, "holidays_until": "2026-12-31"}, []),
        ({"holidays_until": "soon"}, ["holidays are known until 'soon', which is no day like 2026-01-31"]),
    ],
)
def test_time_of_use(changes: dict[str, Any], sentences: list[str]) -> None:
    assert tou(**changes) == sentences


def test_the_first_day_and_minute_without_a_price_is_named() -> None:
    seasons = (Season("summer", 7, 1, {PEAK: 1, VALLEY: 1, SHARP: 2}), Season("mild", 9, 15, {PEAK: 1, VALLEY: 1}))
    hot = (Switch(0, VALLEY), Switch(660, SHARP), Switch(780, PEAK))

    def said(**more: Any) -> list[str]:
        return wrong(seasons=seasons, registers={}, **more)

    def times(*zones: Zone, **more: Any) -> TimeOfUse:
        return TimeOfUse(zones, {"all": ALL, "hot": hot}, **more)

    assert said(tou=times(Zone(7, 1, "hot"), Zone(9, 15, "all"))) == []
    assert said(tou=times(Zone(7, 1, "hot"), Zone(9, 16, "all"))) == [
        "on 09-15 from 11:00 rate sharp holds, and season mild has no price for it"
    ]
    assert said(tou=times(Zone(6, 30, "hot"), Zone(9, 15, "all"))) == [
        "on 06-30 from 11:00 rate sharp holds, and season mild has no price for it"
    ]
    assert said(tou=times(Zone(2, 29, "hot"), Zone(3, 1, "all"))) == [
        "on 02-29 from 11:00 rate sharp holds, and season mild has no price for it"
    ]
    weekend = times(Zone(1, 1, "all"), weekend=(7,), weekend_table="hot")
    assert said(tou=weekend) == ["on 01-01 from 11:00 rate sharp holds, and season mild has no price for it"]
    holiday = times(Zone(1, 1, "all"), holidays={"2026-08-01": "hot", "2026-10-01": "hot"}, holidays_until="2026-12-31")
    assert said(tou=holiday) == ["on 10-01 from 11:00 rate sharp holds, and season mild has no price for it"]
    both = wrong(prices={PEAK: 1}, registers={}, tou=times(Zone(1, 1, "hot")))
    assert both == [
        "on 01-01 from 00:00 rate valley holds, and season all has no price for it",
        "on 01-01 from 11:00 rate sharp holds, and season all has no price for it",
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"amounts": (1,)}, "1 thresholds part 2 steps, and 1 have an amount"),
        ({"amounts": (1, 2, 3)}, "1 thresholds part 2 steps, and 3 have an amount"),
        ({"thresholds_wh": (0,)}, "thresholds must rise, and 0 Wh comes after 0"),
        ({"thresholds_wh": (9, 9), "amounts": (1, 2, 3)}, "thresholds must rise, and 9 Wh comes after 9"),
        ({"amounts": (1, -1)}, "a step's amount cannot be negative"),
        ({"persons": -1}, "persons, energy per person and days of a step must not be negative"),
        ({"per_person_wh": -1}, "persons, energy per person and days of a step must not be negative"),
        ({"per_days": 0}, "persons, energy per person and days of a step must not be negative"),
    ],
)
def test_steps(changes: dict[str, Any], sentence: str) -> None:
    assert wrong(prices={}, steps=replace(blocks((1, 1), (None, 2)), **changes)) == [sentence]


def test_what_the_bill_counts_needs_steps_of_its_period() -> None:
    adders = blocks((1, 1), (None, 2), kind=StepKind.ADDER, resets=YEARLY)
    bearing: dict[str, dict[str, Any]] = {
        "a surcharge on the energy": {"bands": (Band(0, 1),)},
        "a minimum": {"minimum_micro": 1},
        "a power factor": {"power_factor": PowerFactor(90, ((0, 0),))},
    }
    for what, more in bearing.items():
        assert wrong(steps=adders, **more) == [f"{what} needs steps that begin anew with the bill's period"]
        for good in (replace(adders, resets=(Reset(1),)), replace(adders, counted_on=CountedOn.PURCHASES)):
            assert wrong(steps=good, **more) == []
    assert wrong(steps=adders, bands=(Band(0, 0, 1),)) == []
    for place in RoundingPlace:
        said = check(tariff(version(steps=adders), rounding=Rounding(place, RoundingMode.DOWN, 1)))
        bill = place is RoundingPlace.BILL
        assert said == (("version v1: rounding of the bill needs steps that begin anew with the bill's period",) if bill else ())


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"free_wh": -1}, "neither free energy nor the minimum can be negative"),
        ({"minimum_micro": -1}, "neither free energy nor the minimum can be negative"),
        ({"bands": (Band(5), Band(5))}, "bands must rise, and the one over 5 Wh comes after the one over 5"),
        ({"bands": (Band(-1),)}, "nothing of a band can be negative"),
        ({"bands": (Band(0, -1),)}, "nothing of a band can be negative"),
        ({"bands": (Band(0, 0, -1),)}, "nothing of a band can be negative"),
        ({"fees": (Fee("a", FeeBasis.DAY, 1), Fee("a", FeeBasis.KVA, 1))}, "two fees have the same id"),
        ({"fees": (Fee("a", FeeBasis.DAY, -1),)}, "a fee cannot be negative"),
        ({"fees": (Fee("a", FeeBasis.DEMAND, 1, -1),)}, "a fee cannot be negative"),
        ({"power_factor": PowerFactor(90, ())}, "power factors are rows from 100 per cent down, each once"),
        ({"power_factor": PowerFactor(90, ((80, 1), (90, 0)))}, "power factors are rows from 100 per cent down, each once"),
        ({"power_factor": PowerFactor(90, ((80, 1), (80, 0)))}, "power factors are rows from 100 per cent down, each once"),
        ({"power_factor": PowerFactor(90, ((101, 1),))}, "power factors are rows from 100 per cent down, each once"),
        ({"power_factor": PowerFactor(90, ((90, 1), (-1, 1)))}, "power factors are rows from 100 per cent down, each once"),
        ({"power_factor": PowerFactor(101, ((90, 1),))}, "power factors are rows from 100 per cent down, each once"),
    ],
)
def test_amounts(more: dict[str, Any], sentence: str) -> None:
    assert wrong(**more) == [sentence]


def test_every_version_is_checked() -> None:
    said = check(tariff(version(id="a", free_wh=-1), version(id="b", from_day="2021-01-01", free_wh=-1)))
    assert said == (
        "version a: neither free energy nor the minimum can be negative",
        "version b: neither free energy nor the minimum can be negative",
    )
