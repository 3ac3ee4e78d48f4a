"""When what holds: every minute has one rate, and boundaries are where a walk by the minute finds them, in any zone."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain import calendars
from gateway.domain.calendars import Calendar, UnpricedTime, calendar_of
from gateway.domain.price_list import CountedOn, Rate, Reset, Season, StepKind, Switch, Tariff, Terms, TimeOfUse, Version, Zone
from gateway.domain.tariff_check import check
from tests.gateway.domain.price_bench import TWO_PRICES, TWO_RATES, YEARLY, at, blocks, tariff, version

MINUTE_MS = 60_000
ZONES = sorted(zone for zone in available_timezones() if zone not in ("localtime", "Factory"))
RATES = (Rate.SHARP, Rate.PEAK, Rate.FLAT, Rate.VALLEY, Rate.DEEP_VALLEY)
DAYS = st.tuples(st.integers(1, 12), st.integers(1, 28))
HOURS = 3_600_000


# --- an independent walk by the wall clock ---


def walk(tariff: Tariff, from_ms: int, minutes: int) -> Iterator[tuple[int, Rate, tuple[object, ...]]]:
    """Each minute, its rate, and all else that holds. What has begun once has begun, though a clock be set back across midnight."""
    zone, latest = ZoneInfo(tariff.zone), datetime.min
    for at_ms in range(from_ms, from_ms + minutes * MINUTE_MS, MINUTE_MS):
        wall = datetime.fromtimestamp(at_ms // 1000, zone).replace(tzinfo=None)
        latest = max(latest, wall)
        held = [each for each in tariff.versions if each.from_day <= latest.date().isoformat()][-1]
        marks = latest_reset(held.period, latest), latest_reset(held.steps.resets, latest) if held.steps else None
        yield at_ms, rate_by_wall(held, wall), (held.id, season_by_wall(held, latest), *marks)


def rate_by_wall(version: Version, wall: datetime) -> Rate:
    tou = version.tou
    assert tou is not None
    day = wall.date()
    if day.isoformat() in tou.holidays:
        table = tou.holidays[day.isoformat()]
    elif day.isoweekday() in tou.weekend and tou.weekend_table:
        table = tou.weekend_table
    else:
        table = next(
            (zone.table for zone in reversed(tou.zones) if (zone.month, zone.day) <= (day.month, day.day)), tou.zones[-1].table
        )
    minute, rate = wall.hour * 60 + wall.minute, None
    for switch in tou.tables[table]:
        if switch.minute <= minute:
            rate = switch.rate
    assert rate is not None
    return rate


def season_by_wall(version: Version, wall: datetime) -> str:
    passed = [season.id for season in version.seasons if (season.month, season.day) <= (wall.month, wall.day)]
    return (passed or [season.id for season in version.seasons])[-1]


def latest_reset(resets: tuple[Reset, ...], wall: datetime) -> datetime:
    return next(each for each in reversed(all_resets(resets, wall.year)) if each <= wall)


@functools.lru_cache
def all_resets(resets: tuple[Reset, ...], year: int) -> list[datetime]:
    return sorted(
        datetime(each, month, reset.day, reset.hour)
        for each in (year - 1, year)
        for reset in resets
        for month in range(1, 13)
        if reset.month in (None, month)
    )


# --- random valid calendars ---


@st.composite
def tables(draw: st.DrawFn) -> tuple[Switch, ...]:
    minutes = sorted({0, *draw(st.lists(st.integers(1, 1439), max_size=6))})
    return tuple(Switch(minute, draw(st.sampled_from(RATES))) for minute in minutes)


@st.composite
def times_of_use(draw: st.DrawFn, year: int) -> TimeOfUse:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True))
    zones = sorted(draw(st.sets(DAYS, min_size=1, max_size=14)))
    weekend = draw(st.sampled_from([(), (6, 7), (5,)]))
    holidays = draw(st.sets(st.dates(date(year, 1, 1), date(year, 12, 31)), max_size=6))
    pick = st.sampled_from(names)
    return TimeOfUse(
        tuple(Zone(*day, draw(pick)) for day in zones),
        {name: draw(tables()) for name in names},
        weekend,
        draw(pick) if weekend else None,
        {day.isoformat(): draw(pick) for day in holidays},
        f"{year}-12-31",
    )


@st.composite
def resets(draw: st.DrawFn) -> tuple[Reset, ...]:
    day, hour = draw(st.integers(1, 28)), draw(st.integers(0, 23))
    months = draw(st.sets(st.integers(1, 12), max_size=4))
    return tuple(Reset(day, hour, month) for month in sorted(months)) or (Reset(day, hour),)


@st.composite
def calendars_of_all_kinds(draw: st.DrawFn) -> tuple[Tariff, int]:
    """A tariff and a day of its time; where clocks are set that year, mostly a day on which they are."""
    zone, year = draw(st.sampled_from(ZONES)), draw(st.integers(1975, 2036))
    seasons = tuple(
        Season(f"s{place}", *day, dict.fromkeys(RATES, 100_000))
        for place, day in enumerate(sorted(draw(st.sets(DAYS, min_size=1, max_size=4))))
    )
    starts = [
        "1970-01-01",
        *sorted({each.isoformat() for each in draw(st.sets(st.dates(date(year, 1, 1), date(year, 12, 31)), max_size=2))}),
    ]
    period, steps = draw(resets()), draw(st.none() | resets())
    versions = tuple(
        version(
            id=f"v{place}",
            from_day=day,
            seasons=seasons,
            tou=draw(times_of_use(year)),
            period=period,
            registers={},
            steps=None if steps is None else blocks((10, 0), (None, 1000), resets=steps, kind=StepKind.ADDER),
        )
        for place, day in enumerate(starts)
    )
    turns = clock_turns(zone, year)
    any_day = st.dates(date(year, 1, 1), date(year, 12, 31)).map(lambda day: at(f"{day}T00:00", "UTC"))
    return tariff(*versions, zone=zone), draw(st.one_of(st.sampled_from(turns), any_day) if turns else any_day)


@functools.cache
def clock_turns(zone: str, year: int) -> list[int]:
    """The days of a year, UTC, on which a zone's clocks are set."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(number) for number in range(365)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    set_on = [day for day, (before, after) in zip(days, itertools.pairwise(offsets), strict=False) if before != after]
    return [int(day.timestamp()) * 1000 for day in set_on]


@settings(max_examples=40, deadline=None)
@given(calendars_of_all_kinds())
def test_every_minute_has_one_rate_and_boundaries_are_where_a_walk_finds_them(made: tuple[Tariff, int]) -> None:
    priced, day_ms = made
    assert check(priced) == ()
    book, from_ms, minutes = Calendar(priced), day_ms - 12 * HOURS, 48 * 60
    boundaries, before = [], None
    for at_ms, rate, rest in walk(priced, from_ms, minutes):
        assert book.rate(at_ms) is rate
        stretch = book.stretch(at_ms)
        assert (stretch.version.id, stretch.season.id) == rest[:2]
        assert stretch.from_ms <= at_ms < stretch.to_ms
        if before is not None and before != (rate, *rest):
            boundaries.append(at_ms)
        before = (rate, *rest)
    found, at_ms = [], from_ms
    while (at_ms := book.boundary_after(at_ms)) < from_ms + minutes * MINUTE_MS:
        found.append(at_ms)
    assert found == boundaries


@settings(max_examples=40, deadline=None)
@given(calendars_of_all_kinds(), st.integers(0, 3 * 1440), st.integers(0, 3 * 1440))
def test_how_long_rates_hold_is_counted_by_the_minute(made: tuple[Tariff, int], begin: int, minutes: int) -> None:
    priced, day_ms = made
    book = Calendar(priced)
    from_ms = day_ms - 24 * HOURS + begin * MINUTE_MS
    for stretch in book.stretches(from_ms, from_ms + minutes * MINUTE_MS):
        part_ms, part_end_ms = max(stretch.from_ms, from_ms), min(stretch.to_ms, from_ms + minutes * MINUTE_MS)
        expected: dict[Rate, int] = {}
        for at_ms in range(part_ms, part_end_ms, MINUTE_MS):
            wall = datetime.fromtimestamp(at_ms // 1000, ZoneInfo(priced.zone)).replace(tzinfo=None)
            rate = rate_by_wall(stretch.version, wall)
            expected[rate] = expected.get(rate, 0) + MINUTE_MS
        if part_ms < part_end_ms:
            assert book.held(stretch, part_ms, part_end_ms) == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_a_whole_year_by_the_quarter_of_an_hour(zone: str) -> None:
    tou = TimeOfUse(
        (Zone(3, 1, "a"), Zone(10, 20, "b")),
        {
            "a": (Switch(0, Rate.VALLEY), Switch(150, Rate.PEAK)),
            "b": (Switch(0, Rate.FLAT), Switch(45, Rate.SHARP), Switch(1425, Rate.FLAT)),
        },
        (7,),
        "b",
        {"2026-03-29": "a", "2026-12-25": "b"},
        "2026-12-31",
    )
    priced = tariff(version(prices=dict.fromkeys(RATES, 1), tou=tou, registers={}), zone=zone)
    book, from_ms = Calendar(priced), at("2026-01-01T00:00", zone)
    year = (at("2027-01-01T00:00", zone) - from_ms) // MINUTE_MS
    held: dict[Rate, int] = {}
    for at_ms in range(from_ms, from_ms + year * MINUTE_MS, 15 * MINUTE_MS):
        rate = rate_by_wall(priced.versions[0], datetime.fromtimestamp(at_ms // 1000, ZoneInfo(zone)).replace(tzinfo=None))
        assert book.rate(at_ms) is rate
        held[rate] = held.get(rate, 0) + 15 * MINUTE_MS
    months = [book.held(each, each.from_ms, each.to_ms) for each in book.stretches(from_ms, from_ms + year * MINUTE_MS)]
    assert len(months) == 12
    assert {rate: sum(month.get(rate, 0) for month in months) for rate in held} == held


# --- examples by hand ---


def stretch_facts(priced: Tariff, when: str) -> tuple[str, str, str, str, str | None]:
    found = calendar_of(priced).stretch(at(when, priced.zone))
    zone = ZoneInfo(priced.zone)
    ends = datetime.fromtimestamp(found.to_ms // 1000, zone).replace(tzinfo=None).isoformat(timespec="minutes")
    return found.version.id, found.season.id, found.bill.name, ends, found.steps.name if found.steps else None


def test_versions_seasons_and_resets_cut_the_year() -> None:
    seasons = (Season("summer", 6, 1, {Rate.SINGLE: 2}), Season("winter", 11, 15, {Rate.SINGLE: 1}))
    dated = blocks((10, 0), (None, 1), resets=(Reset(1, 8, 1), Reset(1, 8, 7)))
    old = version(id="old", from_day="2025-01-10", seasons=seasons, steps=dated, period=(Reset(5),))
    priced = tariff(old, version(id="new", from_day="2026-06-20", seasons=seasons, steps=dated, period=(Reset(5),)))
    assert stretch_facts(priced, "2025-01-10T00:00") == (
        "old",
        "winter",
        "2025-01-05T00:00",
        "2025-02-05T00:00",
        "2025-01-01T08:00",
    )
    assert stretch_facts(priced, "2026-05-31T23:59") == (
        "old",
        "winter",
        "2026-05-05T00:00",
        "2026-06-01T00:00",
        "2026-01-01T08:00",
    )
    assert stretch_facts(priced, "2026-06-01T00:00") == (
        "old",
        "summer",
        "2026-05-05T00:00",
        "2026-06-05T00:00",
        "2026-01-01T08:00",
    )
    assert stretch_facts(priced, "2026-06-19T23:59") == (
        "old",
        "summer",
        "2026-06-05T00:00",
        "2026-06-20T00:00",
        "2026-01-01T08:00",
    )
    assert stretch_facts(priced, "2026-06-20T00:00") == (
        "new",
        "summer",
        "2026-06-05T00:00",
        "2026-07-01T08:00",
        "2026-01-01T08:00",
    )
    assert stretch_facts(priced, "2026-07-01T08:00") == (
        "new",
        "summer",
        "2026-06-05T00:00",
        "2026-07-05T00:00",
        "2026-07-01T08:00",
    )
    assert stretch_facts(priced, "2026-12-31T00:00") == (
        "new",
        "winter",
        "2026-12-05T00:00",
        "2027-01-01T08:00",
        "2026-07-01T08:00",
    )


def test_before_its_first_version_a_tariff_has_no_price() -> None:
    priced = tariff(version(from_day="2026-01-02"))
    assert stretch_facts(priced, "2026-01-02T00:00")[2] == "2026-01-01T00:00"
    with pytest.raises(UnpricedTime, match="tariff t begins on 2026-01-02, later than this energy"):
        calendar_of(priced).stretch(at("2026-01-01T23:59"))
    assert calendar_of(priced).bill(at("2026-01-01T23:59")).name == "2026-01-01T00:00"
    assert calendar_of(priced).bill(at("2026-02-03T00:00")).name == "2026-02-01T00:00"


def test_a_version_with_other_resets_cuts_short_what_comes_before_and_begins_anew() -> None:
    first = version(id="a", steps=blocks((1, 0), (None, 1)))
    second = version(id="b", from_day="2026-01-20", steps=blocks((1, 0), (None, 1)))
    third = version(id="c", from_day="2026-03-10", steps=blocks((1, 0), (None, 1), resets=YEARLY), period=(Reset(15),))
    fourth = version(id="d", from_day="2026-03-20", period=(Reset(15),))
    book = Calendar(tariff(first, second, third, fourth))
    january, march = book.stretch(at("2026-01-25T00:00")), book.stretch(at("2026-03-05T00:00"))
    assert january.bill == january.steps
    assert january.bill.from_ms == at("2026-01-01T00:00")
    assert (march.bill.from_ms, march.bill.to_ms) == (at("2026-03-01T00:00"), at("2026-03-10T00:00"))
    assert march.bill.full == (at("2026-03-01T00:00"), at("2026-04-01T00:00"))
    cut = book.stretch(at("2026-03-12T00:00"))
    assert (cut.bill.name, cut.bill.to_ms, cut.bill.full[0]) == ("2026-03-10T00:00", at("2026-03-15T00:00"), at("2026-02-15T00:00"))
    assert cut.steps is not None
    assert (cut.steps.from_ms, cut.steps.to_ms) == (at("2026-03-10T00:00"), at("2026-03-20T00:00"))
    assert cut.steps.full == (at("2026-01-01T00:00"), at("2027-01-01T00:00"))
    last = book.stretch(at("2026-03-20T00:00"))
    assert (last.steps, last.bill.name) == (None, "2026-03-15T00:00")
    assert last.bill.to_ms == at("2026-04-15T00:00")


def test_resets_at_skipped_and_repeated_hours() -> None:
    def period(zone: str, when: str, *resets: Reset) -> tuple[int, int]:
        span = Calendar(tariff(version(from_day="1970-01-01", period=resets), zone=zone)).bill(at(when, zone))
        return span.from_ms, span.to_ms

    sunday = at("2026-03-29T00:00", "UTC") + HOURS  # clocks jump from 2 to 3
    assert period("Europe/Berlin", "2026-04-02T00:00", Reset(28, 2), Reset(29, 2, 3))[0] == at("2026-03-29T00:00", "UTC") + HOURS
    assert period("Europe/Berlin", "2026-03-29T01:59", Reset(28, 2), Reset(29, 2, 3))[1] == sunday
    troll = at("2026-03-29T00:00", "UTC") + HOURS  # clocks jump from 1 to 3
    assert period("Antarctica/Troll", "2026-03-29T12:00", Reset(29, 2, 3))[0] == troll
    first = at("2026-10-25T00:00", "UTC")  # 2 o'clock, for the first time
    assert period("Europe/Berlin", "2026-10-25T12:00", Reset(25, 2, 10))[0] == first
    assert period("Pacific/Apia", "2011-12-31T12:00", Reset(30, 0, 12))[0] == at("2011-12-31T00:00", "Pacific/Apia")
    assert period("Asia/Shanghai", "2026-02-28T12:00", Reset(31))[0] == at("2026-02-28T00:00")


def test_a_tariff_without_times_has_one_rate_and_the_stretchs_boundaries() -> None:
    book = Calendar(tariff())
    assert book.rate(at("2026-01-31T12:00")) is Rate.SINGLE
    assert book.boundary_after(at("2026-01-31T12:00")) == at("2026-02-01T00:00")
    stretch = book.stretch(at("2026-01-31T12:00"))
    assert book.held(stretch, 1000, 5000) == {Rate.SINGLE: 4000}
    assert book.held(stretch, 1000, 1000) == {Rate.SINGLE: 1}


def test_a_moment_has_its_rate() -> None:
    book = Calendar(tariff(version(seasons=TWO_PRICES, tou=TWO_RATES)))
    stretch = book.stretch(at("2026-01-31T12:00"))
    for when, rate in (("2026-01-31T21:59", Rate.PEAK), ("2026-01-31T22:00", Rate.VALLEY), ("2026-01-31T08:00", Rate.PEAK)):
        assert book.held(stretch, at(when), at(when)) == {rate: 1}
    night = book.held(stretch, at("2026-01-30T21:00"), at("2026-01-31T07:30"))
    assert night == {Rate.PEAK: 150 * MINUTE_MS, Rate.VALLEY: 480 * MINUTE_MS}


def test_holidays_go_before_weekends_and_weekends_before_zones() -> None:
    tables = {
        name: (Switch(0, rate),)
        for name, rate in (("z", Rate.PEAK), ("w", Rate.VALLEY), ("h", Rate.DEEP_VALLEY), ("s", Rate.SHARP))
    }
    zones = Zone(3, 1, "z"), Zone(7, 1, "s")
    tou = TimeOfUse(zones, tables, (6,), "w", {"2026-01-03": "h", "2026-01-05": "h"}, "2026-12-31")
    for zone in ("America/New_York", "Asia/Shanghai"):
        book = Calendar(tariff(version(prices={}, tou=tou, registers={}), zone=zone))
        days = {
            day: book.rate(at(f"{day}T23:59", zone))
            for day in ("2026-01-02", "2026-01-03", "2026-01-05", "2026-01-10", "2026-01-11")
        }
        assert list(days.values()) == [Rate.SHARP, Rate.DEEP_VALLEY, Rate.DEEP_VALLEY, Rate.VALLEY, Rate.SHARP]
        assert book.rate(at("2026-06-30T00:00", zone)) is Rate.PEAK
        assert book.rate(at("2026-07-01T00:00", zone)) is Rate.SHARP
        assert book.boundary_after(at("2026-01-02T12:00", zone)) == at("2026-01-03T00:00", zone)
    plain = Calendar(tariff(version(prices={}, tou=TimeOfUse(zones, tables, (6,)), registers={})))
    assert plain.rate(at("2026-01-10T12:00")) is Rate.SHARP


def test_one_rate_all_day_has_no_boundary_but_the_periods() -> None:
    tou = TimeOfUse((Zone(1, 1, "all"),), {"all": (Switch(0, Rate.FLAT), Switch(600, Rate.FLAT))})
    book = Calendar(tariff(version(prices={Rate.FLAT: 1}, tou=tou, registers={})))
    assert book.boundary_after(at("2026-01-05T12:00")) == at("2026-02-01T00:00")
    two = Calendar(tariff(version(seasons=TWO_PRICES, tou=TWO_RATES)))
    assert two.boundary_after(at("2026-01-31T23:00")) == at("2026-02-01T00:00")
    assert two.boundary_after(at("2026-01-05T22:00")) == at("2026-01-06T06:00")
    assert two.boundary_after(at("2026-01-05T21:59")) == at("2026-01-05T22:00")


def test_days_are_counted_as_they_begin() -> None:
    book = Calendar(tariff(zone="Europe/Berlin"))

    def days(begin: str, end: str) -> int:
        return book.days(at(begin, "Europe/Berlin"), at(end, "Europe/Berlin"))

    assert days("2026-03-01T00:00", "2026-04-01T00:00") == 31  # an hour short
    assert days("2026-10-01T00:00", "2026-11-01T00:00") == 31  # an hour long
    assert days("2026-03-01T00:00", "2026-03-01T00:00") == 0
    assert days("2026-03-01T00:00", "2026-03-01T00:01") == 1
    assert days("2026-03-01T00:00", "2026-03-02T00:00") == 1
    assert days("2026-03-01T00:00", "2026-03-02T00:01") == 2
    assert days("2026-03-05T00:00", "2026-03-01T00:00") == 0


@pytest.mark.parametrize(
    ("since", "months"),
    [
        (None, 12),
        ("2025-03-01", 12),
        ("2026-01-01", 12),
        ("2026-01-31", 12),
        ("2026-02-01", 11),
        ("2026-11-30", 2),
        ("2026-12-31", 1),
    ],
)
def test_steps_of_a_year_shrink_by_months_in_service(since: str | None, months: int) -> None:
    book = Calendar(tariff(version(id="v", steps=blocks((1200, 0), (None, 1), resets=YEARLY))))
    steps = book.stretch(at("2026-12-31T12:00")).steps
    assert steps is not None
    assert book.rungs("v", steps, Terms(since))[0].to_wh == months * 100_000
    assert book.rungs("v", steps, Terms(since)) is book.rungs("v", steps, Terms(since))


def test_months_in_service_are_counted_back_from_the_reset() -> None:
    resets = (Reset(15, 6, 1),)
    book = Calendar(tariff(version(id="v", steps=blocks((1200, 0), (None, 1), resets=resets))))
    steps = book.stretch(at("2026-12-31T12:00")).steps
    assert steps is not None
    tops = {
        since: book.rungs("v", steps, Terms(since))[0].to_wh
        for since in ("2026-01-16", "2026-02-15", "2026-02-16", "2027-01-15", "2027-01-16")
    }
    assert tops == {
        "2026-01-16": 1_200_000,
        "2026-02-15": 1_200_000,
        "2026-02-16": 1_100_000,
        "2027-01-15": 100_000,
        "2027-01-16": 0,
    }


def test_thresholds_of_fewer_resets_a_year_belong_to_their_months() -> None:
    half = (Reset(1, month=1), Reset(1, month=7))
    book = Calendar(tariff(version(id="v", steps=blocks((600, 0), (None, 1), resets=half))))
    steps = book.stretch(at("2026-12-31T12:00")).steps
    assert steps is not None
    assert book.rungs("v", steps, Terms("2026-11-05"))[0].to_wh == 200_000


def test_steps_scale_by_days_persons_or_not_at_all() -> None:
    def top(since: str | None = None, persons: int = 0, **more: Any) -> int | None:
        book = Calendar(tariff(version(id="v", steps=blocks((30, 0), (None, 1), **more))))
        steps = book.stretch(at("2026-01-31T12:00")).steps
        assert steps is not None
        return book.rungs("v", steps, Terms(since, persons))[0].to_wh

    assert top(per_days=30) == 31_000
    assert top("2026-01-22", per_days=30) == 10_000
    assert top("2026-01-22") == 30_000
    assert top("2026-06-01", per_days=30) == 0
    assert top(persons=5, per_person_wh=1000) == 35_000
    assert top(persons=5, per_person_wh=1001, per_days=30) == 35_005 * 31 // 30 == 36_171
    yearly = blocks((1200, 0), (None, 1), resets=YEARLY, by_service=False)
    book = Calendar(tariff(version(id="v", steps=yearly)))
    steps = book.stretch(at("2026-01-31T12:00")).steps
    assert steps is not None
    assert book.rungs("v", steps, Terms("2026-12-01"))[0].to_wh == 1_200_000


def test_a_version_that_begins_within_a_year_of_steps_has_its_share_of_them() -> None:
    old, new = version(id="a"), version(id="b", from_day="2026-07-01", steps=blocks((1200, 0), (None, 1), resets=YEARLY))
    book = Calendar(tariff(old, new))
    steps = book.stretch(at("2026-12-31T12:00")).steps
    assert steps is not None
    assert book.rungs("b", steps, Terms())[0].to_wh == 600_000
    ending = version(id="c", from_day="2027-07-01")
    cut = Calendar(tariff(new, ending)).stretch(at("2027-03-01T00:00")).steps
    assert cut is not None  # what comes later must not change what was charged
    assert Calendar(tariff(new, ending)).rungs("b", cut, Terms())[0].to_wh == 1_200_000


def test_calendars_are_built_once_and_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tariff(), tariff()
    assert calendar_of(one) is calendar_of(one)
    assert calendar_of(one) is not calendar_of(other)
    for name in ("KEPT_STRETCHES", "KEPT_DAYS", "KEPT_CALENDARS", "KEPT_LADDERS"):
        monkeypatch.setattr(calendars, name, 2)
    before = calendar_of(one)
    assert calendar_of(tariff()) is not before
    assert calendar_of(one) is not before
    assert len(calendars._calendars) <= 2
    priced = tariff(version(id="v", seasons=TWO_PRICES, tou=TWO_RATES, steps=blocks((1, 0), (None, 1))))
    book = Calendar(priced)
    for month in (3, 1, 5, 2, 4, 1):
        when = at(f"2026-{month:02}-15T12:00")
        stretch = book.stretch(when)
        assert stretch.bill.from_ms == at(f"2026-{month:02}-01T00:00")
        assert book.rate(when) is Rate.PEAK
        assert stretch.steps is not None
        assert book.rungs("v", stretch.steps, Terms(f"2026-{month:02}-03"))[0].to_wh == 1000
        assert (len(book._known[0]), len(book._days), len(book._ladders), len(book._since)) <= (2, 2, 2, 2)


def test_reigns_of_versions() -> None:
    priced = tariff(version(id="a", from_day="2026-01-10"), version(id="b", from_day="2026-01-20"))
    book = Calendar(priced)

    def reigns(begin: str, end: str) -> list[tuple[str, int, int]]:
        return [(each.id, from_ms, to_ms) for each, from_ms, to_ms in book.reigns(at(begin), at(end))]

    whole = [("a", at("2026-01-10T00:00"), at("2026-01-20T00:00")), ("b", at("2026-01-20T00:00"), at("2026-02-01T00:00"))]
    assert reigns("2026-01-01T00:00", "2026-02-01T00:00") == whole
    assert reigns("2026-01-12T00:00", "2026-01-20T00:00") == [("a", at("2026-01-12T00:00"), at("2026-01-20T00:00"))]
    assert reigns("2026-01-01T00:00", "2026-01-10T00:00") == []
    assert reigns("2026-01-20T00:00", "2026-01-20T00:00") == []


def test_steps_on_purchases_have_their_period_too() -> None:
    steps = blocks((1, 1), (None, 2), counted_on=CountedOn.PURCHASES)
    found = Calendar(tariff(version(steps=steps, prices={}))).stretch(at("2026-01-05T00:00"))
    assert found.steps == found.bill
