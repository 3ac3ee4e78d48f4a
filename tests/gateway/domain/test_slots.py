"""Moments of the past over changes of summer time: none twice, none left out, all on the local clock's grid."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.jobs import Want
from gateway.domain.slots import (
    BACKFILL_LONGEST_MS,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PAUSE_MS,
    day_of,
    local_of,
    midnight,
    moment_of,
    moments,
    ms_of,
    pause_ms,
    repeated,
    run_from,
)

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("Europe/Berlin", "Asia/Shanghai", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu", "America/St_Johns", "UTC")
zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.integers(ms_of(datetime(2015, 1, 1, tzinfo=UTC)), ms_of(datetime(2040, 1, 1, tzinfo=UTC)))
lengths = st.integers(0, 10 * DAY_MS)
QUARTER = 15 * MINUTE_MS


def utc(text: str) -> int:
    return ms_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


def of_day(day: date, zone: ZoneInfo, step_ms: int) -> list[int]:
    """The curve's points of one local day, its first midnight included."""
    return [*moments(Want.CURVE, midnight(day, zone) - 1, midnight(day + timedelta(days=1), zone) - 1, zone, step_ms)]


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 28), 24), (date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 10, 26), 24)]
)
@pytest.mark.parametrize("step_min", [5, 10, 15, 30, 60])
def test_pain_23_a_day_has_as_many_points_as_steps(day: date, hours: int, step_min: int) -> None:
    points = of_day(day, BERLIN, step_min * MINUTE_MS)
    assert len(points) == hours * 60 // step_min and points[0] == midnight(day, BERLIN)
    assert {b - a for a, b in pairwise(points)} == {step_min * MINUTE_MS}


def test_pain_23_midnights_of_berlin_follow_summer_time() -> None:
    days = [*moments(Want.DAY, utc("2026-03-27T23:00"), utc("2026-03-30T12:00"), BERLIN)]
    assert days == [utc("2026-03-28T23:00"), utc("2026-03-29T22:00")]
    months = [*moments(Want.MONTH, utc("2026-02-28T22:00"), utc("2026-05-01T00:00"), BERLIN)]
    assert months == [utc("2026-02-28T23:00"), utc("2026-03-31T22:00"), utc("2026-04-30T22:00")]
    assert [*moments(Want.EVENTS, 0, utc("2026-01-01T00:00"), BERLIN)] == []


@given(zones, instants, lengths, lengths, st.sampled_from([Want.DAY, Want.MONTH, Want.CURVE]))
def test_pain_23_parts_of_a_time_have_together_what_the_whole_has(zone: ZoneInfo, start: int, a: int, b: int, want: Want) -> None:
    middle, end = start + a, start + a + b
    whole = [*moments(want, start, end, zone)]
    assert whole == [*moments(want, start, middle, zone), *moments(want, middle, end, zone)]
    assert whole == sorted(set(whole)) and all(start < at_ms <= end for at_ms in whole)


@given(zones, instants)
def test_pain_23_every_day_begins_once_and_is_the_day_it_begins(zone: ZoneInfo, start: int) -> None:
    begun = [*moments(Want.DAY, start, start + 40 * DAY_MS, zone)]
    names = [day_of(at_ms, zone) for at_ms in begun]
    assert len(names) == len(set(names)) in (39, 40, 41)
    assert all(day_of(at_ms - 1, zone) != name for at_ms, name in zip(begun, names, strict=True))


@given(zones, instants)
def test_pain_23_a_meters_local_time_means_the_moment_it_was_taken_from(zone: ZoneInfo, start: int) -> None:
    """In the order of a ring's records, also through the hour that the clock shows twice."""
    before: int | None = None
    for at_ms in moments(Want.CURVE, start, start + DAY_MS, zone, QUARTER):
        meter_local = local_of(at_ms, zone).replace(tzinfo=None, fold=0)
        if before is None and repeated(at_ms, zone):
            continue  # the first record that is seen may be taken for the first passage; who asks there begins an hour earlier
        assert moment_of(meter_local, zone, before) == at_ms
        before = at_ms


def test_pain_23_the_repeated_hour_of_berlin() -> None:
    half_past_two = datetime(2026, 10, 25, 2, 30)
    first, second = utc("2026-10-25T00:30"), utc("2026-10-25T01:30")
    assert (moment_of(half_past_two, BERLIN), moment_of(half_past_two, BERLIN, first)) == (first, second)
    assert moment_of(half_past_two, BERLIN, first - QUARTER) == first
    assert (repeated(first, BERLIN), repeated(second, BERLIN)) == (False, True)


def test_one_question_takes_what_lies_together() -> None:
    assert run_from([1, 2, 3, 9, 10], 1, 9) == [1, 2, 3]
    assert run_from([1, 2, 3, 9, 10], 1, 2) == [1, 2]
    assert run_from([5], 1, 9) == [5]


def test_pauses_are_short_within_the_window_and_grow_after_it() -> None:
    assert [pause_ms(n, 3, late=False) for n in (1, 2, 3)] == [PAUSE_MS, 2 * PAUSE_MS, 3 * PAUSE_MS]
    after = [pause_ms(n, 3, late=False) for n in range(4, 16)]
    assert after[0] == 15 * MINUTE_MS and after == sorted(after) and after[-1] == BACKFILL_LONGEST_MS
    assert [pause // MINUTE_MS for pause in after[:5]] == [15, 15, 30, 30, 60]
    assert pause_ms(1, 3, late=True, heard=True) == 5 * MINUTE_MS and pause_ms(1, 3, late=False, heard=True) == PAUSE_MS
    assert pause_ms(1, 3, late=True) == 15 * MINUTE_MS and pause_ms(10_000, 0, late=True) == BACKFILL_LONGEST_MS == 6 * HOUR_MS
