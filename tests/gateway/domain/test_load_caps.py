"""Caps by the time of the day: night mode, holidays, edges where the clock is changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.load_caps import (
    DAY_MS,
    LOOK_AHEAD_DAYS,
    Allowed,
    Cap,
    CapTable,
    Draw,
    Special,
    cap_at,
    caps_of,
    is_holiday,
    lower,
    next_change_ms,
)

BERLIN, SHANGHAI, SANTIAGO = "Europe/Berlin", "Asia/Shanghai", "America/Santiago"
DAY, NIGHT = Cap(6 * 60, 2000), Cap(23 * 60, 500)
DORMITORY = CapTable("plan 7", (DAY, NIGHT))
WITH_HOLIDAYS = CapTable("plan 7", (DAY, NIGHT), (Cap(0, 3000),), days=("2026-10-01",), work=("2026-10-10",))


def utc(text: str, zone: str = SHANGHAI, fold: int = 0) -> int:
    """UTC milliseconds of a wall-clock time."""
    wall = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return round(wall.timestamp() * 1000)


@pytest.mark.parametrize(
    ("wall", "cap"),
    [("00:00", NIGHT), ("05:59", NIGHT), ("06:00", DAY), ("22:59", DAY), ("23:00", NIGHT), ("23:59", NIGHT)],
)
def test_night_mode_holds_over_midnight(wall: str, cap: Cap) -> None:
    assert cap_at(DORMITORY, utc(f"2026-03-04 {wall}"), SHANGHAI) == cap
    assert cap_at(replace(DORMITORY, zone=SHANGHAI), utc(f"2026-03-04 {wall}"), BERLIN) == cap


def test_an_edge_is_the_minutes_first_millisecond() -> None:
    edge_ms = utc("2026-03-04 06:00")
    assert (cap_at(DORMITORY, edge_ms - 1, SHANGHAI), cap_at(DORMITORY, edge_ms, SHANGHAI)) == (NIGHT, DAY)


@pytest.mark.parametrize(
    ("day", "special", "holiday"),
    [
        ("2026-10-02", Special(), False),  # a Friday
        ("2026-10-03", Special(), True),
        ("2026-10-04", Special(), True),
        ("2026-10-05", Special(), False),
        ("2026-10-01", Special(), True),  # the table's own
        ("2026-10-10", Special(), False),  # a Saturday that is worked
        ("2026-10-02", Special({"2026-10-02"}), True),
        ("2026-10-03", Special((), {"2026-10-03"}), False),
        ("2026-10-10", Special({"2026-10-10"}), False),  # what the table says goes first
        ("2026-10-01", Special((), {"2026-10-01"}), True),
        ("2026-10-02", Special({"2026-10-02"}, {"2026-10-02"}), False),
    ],
)
def test_which_days_are_holidays(day: str, special: Special, holiday: bool) -> None:
    at = date.fromisoformat(day)
    assert is_holiday(WITH_HOLIDAYS, at, special) is holiday
    assert caps_of(WITH_HOLIDAYS, at, special) == ((Cap(0, 3000),) if holiday else (DAY, NIGHT))
    assert cap_at(WITH_HOLIDAYS, utc(f"{day} 02:00"), SHANGHAI, special) == (Cap(0, 3000) if holiday else NIGHT)


def test_without_caps_of_their_own_holidays_are_as_workdays() -> None:
    assert caps_of(DORMITORY, date(2026, 10, 3)) == (DAY, NIGHT)
    assert caps_of(replace(WITH_HOLIDAYS, rest=(1,)), date(2026, 10, 3)) == (DAY, NIGHT)


@pytest.mark.parametrize(
    ("table", "zone", "at", "change"),
    [
        (DORMITORY, SHANGHAI, "2026-03-04 05:59", "2026-03-04 06:00"),
        (DORMITORY, SHANGHAI, "2026-03-04 06:00", "2026-03-04 23:00"),
        (DORMITORY, SHANGHAI, "2026-03-04 23:00", "2026-03-05 06:00"),
        (WITH_HOLIDAYS, SHANGHAI, "2026-10-02 23:30", "2026-10-03 00:00"),
        (WITH_HOLIDAYS, SHANGHAI, "2026-10-03 12:00", "2026-10-05 00:00"),
        (DORMITORY, BERLIN, "2026-03-28 23:30", "2026-03-29 06:00"),  # the short night
    ],
)
def test_the_next_change(table: CapTable, zone: str, at: str, change: str) -> None:
    assert next_change_ms(table, utc(at, zone), zone) == utc(change, zone)


def test_no_change_where_all_caps_are_alike() -> None:
    assert next_change_ms(CapTable("plan", (Cap(0, 700),)), utc("2026-03-04 12:00"), SHANGHAI) is None
    assert next_change_ms(CapTable("plan", (Cap(0, 700), Cap(60, 700))), utc("2026-03-04 12:00"), SHANGHAI) is None
    for other in (Cap(60, 701), Cap(60, 700, 5), Cap(60, off=True)):
        assert next_change_ms(CapTable("plan", (Cap(0, 700), other)), utc("2026-03-04 12:00"), SHANGHAI) == utc("2026-03-05 00:00")


def test_the_edges_of_a_special_day_are_its_own() -> None:
    table = CapTable("plan", (Cap(0, 700),), (Cap(0, 700), Cap(600, 900)), rest=())
    found = next_change_ms(table, utc("2026-03-04 12:00"), SHANGHAI, Special({"2026-03-06"}))
    assert found == utc("2026-03-06 10:00")


def test_the_day_that_is_looked_at_is_the_zones_own() -> None:
    """01:30 in Shanghai is still yesterday in Greenwich, and late evening in Santiago is tomorrow there."""
    for zone, at in ((SHANGHAI, "2026-03-04 01:30"), (SANTIAGO, "2026-03-04 22:30")):
        table = CapTable("plan", (Cap(0, 1), Cap(2 * 60, 2), Cap(23 * 60, 3)))
        assert next_change_ms(table, utc(at, zone), zone) == utc(f"{at[:11]}{'02' if zone == SHANGHAI else '23'}:00", zone)


def test_a_holiday_is_seen_a_week_and_a_day_ahead() -> None:
    table = CapTable("plan", (Cap(0, 700),), (Cap(0, 900),), rest=())
    at_ms = utc("2026-03-04 12:00")
    for days, seen in ((LOOK_AHEAD_DAYS, True), (LOOK_AHEAD_DAYS + 1, False)):
        day = date(2026, 3, 4) + timedelta(days=days)
        found = next_change_ms(table, at_ms, SHANGHAI, Special({day.isoformat()}))
        assert found == (utc(f"{day} 00:00") if seen else None)


EARLY = CapTable("plan", (Cap(0, 100), Cap(150, 200), Cap(300, 300)))


def test_the_repeated_hour_bears_its_caps_twice() -> None:
    first, again = utc("2026-10-25 02:30", BERLIN), utc("2026-10-25 02:00", BERLIN, fold=1)
    assert cap_at(EARLY, first - 1, BERLIN).power_w == 100
    assert next_change_ms(EARLY, first - 1, BERLIN) == first
    assert cap_at(EARLY, first, BERLIN).power_w == 200
    assert next_change_ms(EARLY, first, BERLIN) == again  # 03:00 becomes 02:00, when the earlier cap holds once more
    assert cap_at(EARLY, again, BERLIN).power_w == 100
    assert next_change_ms(EARLY, again, BERLIN) == utc("2026-10-25 02:30", BERLIN, fold=1)


def test_in_the_skipped_hour_a_cap_begins_where_the_clock_jumps() -> None:
    jump = utc("2026-03-29 03:00", BERLIN)
    assert next_change_ms(EARLY, utc("2026-03-29 01:59", BERLIN), BERLIN) == jump
    assert (cap_at(EARLY, jump - 1, BERLIN).power_w, cap_at(EARLY, jump, BERLIN).power_w) == (100, 200)


@pytest.mark.parametrize(("a", "b", "least"), [(None, None, None), (1, None, 1), (None, 2, 2), (1, 2, 1), (2, 1, 1)])
def test_the_lower_of_two_caps(a: int | None, b: int | None, least: int | None) -> None:
    assert lower(a, b) == least


@pytest.mark.parametrize(
    ("draw", "may", "beyond"),
    [
        (Draw(2000, 9), Allowed(2000, 9), False),
        (Draw(2001, 9), Allowed(2000, 9), True),
        (Draw(2000, 10), Allowed(2000, 9), True),
        (Draw(None, None), Allowed(0, 0), False),
        (Draw(10**9, 10**9), Allowed(None, None), False),
        (Draw(10**9, 10**9), Allowed(None, None, True), False),
    ],
)
def test_what_is_beyond_a_cap(draw: Draw, may: Allowed, beyond: bool) -> None:
    assert draw.beyond(may) is beyond


def walked(table: CapTable, at_ms: int, zone: str, days: int) -> int | None:
    """The same by walking every minute: the first at which another cap holds."""
    there, minute_ms = ZoneInfo(zone), 60_000

    def held(moment_ms: int) -> Cap:
        wall = datetime.fromtimestamp(moment_ms / 1000, UTC).astimezone(there)
        caps = table.holiday if table.holiday and wall.isoweekday() in table.rest else table.workday
        past = [cap for cap in caps if cap.from_minute <= wall.hour * 60 + wall.minute]
        return replace(past[-1] if past else caps[-1], from_minute=0)

    moment_ms = (at_ms // minute_ms + 1) * minute_ms
    while moment_ms < at_ms + days * DAY_MS:
        if held(moment_ms) != held(at_ms):
            return moment_ms
        moment_ms += minute_ms
    return None


CAPS = st.lists(
    st.tuples(st.integers(0, 1439), st.sampled_from([100, 200, None])), min_size=1, max_size=4, unique_by=lambda c: c[0]
)


@given(CAPS, CAPS, st.sampled_from([BERLIN, SANTIAGO, "Australia/Lord_Howe", "Asia/Gaza"]), st.integers(0, 47), st.booleans())
def test_the_next_change_is_where_walking_finds_it(
    workday: list[tuple[int, int | None]], holiday: list[tuple[int, int | None]], zone: str, hours: int, autumn: bool
) -> None:
    def caps(of: list[tuple[int, int | None]]) -> tuple[Cap, ...]:
        return tuple(Cap(minute, power_w) for minute, power_w in sorted(of, key=lambda c: c[0]))

    changed = {
        BERLIN: ("2026-03-28", "2026-10-24"),
        SANTIAGO: ("2026-04-04", "2026-09-05"),
        "Asia/Gaza": ("2026-03-27", "2026-10-23"),
    }
    start = changed.get(zone, ("2026-04-04", "2026-10-03"))[autumn]
    table, at_ms = CapTable("plan", caps(workday), caps(holiday)), utc(f"{start} 00:00", zone) + hours * 3_600_000
    found = next_change_ms(table, at_ms, zone)
    if found is None or found < at_ms + 2 * DAY_MS:
        assert found == walked(table, at_ms, zone, 2 if found is not None else 3)
