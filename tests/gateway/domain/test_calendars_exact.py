"""What a calendar works out, to the millisecond, and that it works it out once."""

from __future__ import annotations

import pytest

from gateway.domain.calendars import DAY_MS, Calendar
from gateway.domain.price_list import Rate, Reset, Season, Switch, Terms, TimeOfUse, Zone
from tests.gateway.domain.price_bench import TWO_PRICES, TWO_RATES, YEARLY, at, blocks, tariff, version

PEAK, VALLEY = Rate.PEAK, Rate.VALLEY
EIGHT_TO_EIGHT = TimeOfUse((Zone(1, 1, "all"),), {"all": (Switch(0, VALLEY), Switch(8 * 60, PEAK), Switch(20 * 60, VALLEY))})


def test_the_switches_of_a_day_in_utc_stand_once_each() -> None:
    book = Calendar(tariff(version(seasons=TWO_PRICES, tou=EIGHT_TO_EIGHT)))
    midnight_ms = at("2026-01-05T08:00")  # in Shanghai, where a switch is
    found = book.day(book.stretch(midnight_ms), midnight_ms // DAY_MS)
    assert found == ((midnight_ms, at("2026-01-05T20:00")), (PEAK, VALLEY))


def test_what_was_worked_out_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Calendar(tariff(version(seasons=TWO_PRICES, tou=TWO_RATES, steps=blocks((1, 0), (None, 1)))))
    stretch, terms = book.stretch(at("2026-01-05T00:00")), Terms("2026-01-03")
    assert stretch.steps is not None
    day, since_ms, rungs = book.day(stretch, 20_000), book.since_ms(terms), book.rungs("v1", stretch.steps, terms)
    for name in ("_find", "_switches", "_midnight", "_scale"):
        monkeypatch.delattr(Calendar, name)
    assert book.stretch(at("2026-01-31T23:59")) is stretch
    assert (book.day(stretch, 20_000), book.since_ms(terms), book.rungs("v1", stretch.steps, terms)) == (day, since_ms, rungs)
    assert since_ms == at("2026-01-03T00:00")


def test_steps_of_a_year_are_sorted_by_when_their_version_began() -> None:
    old, new = (
        version(id=name, from_day=day, steps=blocks((None, 1), resets=YEARLY))
        for name, day in (("z", "2020-01-01"), ("a", "2026-05-10"))
    )
    book = Calendar(tariff(old, new))
    year = at("2026-01-01T00:00"), at("2027-01-01T00:00")
    assert book.order("z", "", *year) == (at("2020-01-01T00:00"), year[0])
    assert book.order("a", "", *year) == (at("2026-05-10T00:00"), at("2026-05-10T00:00"))


def test_a_year_of_steps_ends_where_the_third_version_counts_otherwise() -> None:
    yearly = blocks((None, 1), resets=YEARLY)
    days = ("2020-01-01", yearly), ("2026-01-20", yearly), ("2026-03-10", None)
    book = Calendar(tariff(*(version(id=str(number), from_day=day, steps=steps) for number, (day, steps) in enumerate(days))))
    found = book.stretch(at("2026-01-05T00:00"))
    assert found.steps is not None
    assert (found.to_ms, found.steps.to_ms) == (at("2026-01-20T00:00"), at("2026-03-10T00:00"))


def test_a_season_goes_on_over_new_year() -> None:
    seasons = tuple(Season(name, month, 1, {Rate.SINGLE: 1}) for name, month in (("summer", 6), ("winter", 11)))
    book = Calendar(tariff(version(seasons=seasons, period=(Reset(1, month=7),))))
    for when in ("2025-12-05T00:00", "2026-01-05T00:00"):
        found = book.stretch(at(when))
        assert (found.season.id, found.from_ms, found.to_ms) == ("winter", at("2025-11-01T00:00"), at("2026-06-01T00:00"))


def test_a_reset_at_a_skipped_hour_is_a_whole_number() -> None:
    book = Calendar(tariff(version(period=(Reset(28, 2), Reset(29, 2, 3))), zone="Europe/Berlin"))
    assert repr(book.bill(at("2026-03-30T00:00", "Europe/Berlin")).from_ms) == "1774746000000"  # 2026-03-29T01:00Z
