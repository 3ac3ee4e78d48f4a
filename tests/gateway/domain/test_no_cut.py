"""No-cut calendars against published hours, and against a walk over every minute."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.no_cut import BUILT_IN, WEEK_MIN, NoCutCalendar, Window, ended, forbids, never_ends, next_allowed

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "prepayment.json").read_text("utf-8"))["non_disconnect_windows"]
LONDON, SHANGHAI = ZoneInfo("Europe/London"), ZoneInfo("Asia/Shanghai")
DAY, TEN, ELEVEN = 1440, 10 * 60, 11 * 60
BANK_HOLIDAY = "2026-08-31"

BOOST = NoCutCalendar(
    "boost",
    "Europe/London",
    (*(Window(day * DAY + 16 * 60, (day + 1) * DAY + TEN) for day in range(4)), Window(4 * DAY + 16 * 60, TEN)),
    (BANK_HOLIDAY,),
    "2027-12-31",
)
EDF = NoCutCalendar(
    "edf",
    "Europe/London",
    (*(Window(day * DAY + 18 * 60, (day + 1) * DAY + ELEVEN) for day in range(4)), Window(4 * DAY + 18 * 60, ELEVEN)),
    (BANK_HOLIDAY,),
    "2027-12-31",
    until_next_workday_minute=ELEVEN,
)
OF_SUPPLIER = {"Boost smart": BOOST, "EDF": EDF}


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def in_no_cut_hours(wall: datetime) -> bool:
    """F4 in words: no cut 17:00-09:00, and from Friday 12:00 to Monday 09:00."""
    return wall.hour >= 17 or wall.hour < 9 or wall.weekday() >= 5 or (wall.weekday() == 4 and wall.hour >= 12)


def moment_of(words: str) -> datetime:
    """ "Tue 10:00 after holiday Monday" around the bank holiday on Monday 31 August 2026, everything else in a week without one."""
    name, time, *rest = words.split(" ", 2)
    monday = date.fromisoformat(BANK_HOLIDAY) if any("holiday" in r and "not" not in r for r in rest) else date(2026, 9, 14)
    day = monday + timedelta(days=["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].index(name))
    hour, minute = time.split(":")
    return datetime(day.year, day.month, day.day, int(hour), int(minute), tzinfo=LONDON)


CASES = [(vector["supplier"], words, expected) for vector in VECTORS for words, expected in vector["derived_tests"]]


def test_there_are_vectors() -> None:
    assert len(CASES) == 13 and {supplier for supplier, _, _ in CASES} == OF_SUPPLIER.keys()


@pytest.mark.parametrize(("supplier", "words", "expected"), CASES, ids=lambda part: re.sub(r"\W+", "-", part))
def test_published_hours(supplier: str, words: str, expected: str) -> None:
    why = forbids(OF_SUPPLIER[supplier], moment_of(words))
    assert (why is None) == (expected == "cut allowed"), why


@pytest.mark.parametrize(
    ("wall", "allowed"),
    [
        ("2026-08-28T17:59", True),
        ("2026-08-28T18:00", False),  # Friday evening
        ("2026-08-31T12:00", False),  # the bank holiday
        ("2026-09-01T10:59", False),  # until 11:00 of the next working day
        ("2026-09-01T11:00", True),
    ],
)
def test_a_bank_holiday_goes_on_until_the_next_working_day(wall: str, allowed: bool) -> None:
    assert (forbids(EDF, datetime.fromisoformat(wall).replace(tzinfo=LONDON)) is None) == allowed


def test_the_evening_windows_alone_would_have_let_go_sooner() -> None:
    plain = NoCutCalendar("plain", "Europe/London", (), (BANK_HOLIDAY,), "2027-12-31")
    lasting = NoCutCalendar("lasting", "Europe/London", (), (BANK_HOLIDAY,), "2027-12-31", until_next_workday_minute=ELEVEN)
    after = datetime(2026, 9, 1, 10, 59, tzinfo=LONDON)
    assert forbids(plain, after) is None
    assert forbids(lasting, after) == "the holiday before 2026-09-01 protects until its hour of calendar lasting (F4)"


def test_a_worked_saturday_has_the_hours_of_a_workday() -> None:
    weekend = (*BUILT_IN,)
    worked = NoCutCalendar("cn", "Asia/Shanghai", weekend, ("2026-10-01",), "2026-12-31", 9 * 60, ("2026-10-10",))
    saturday = datetime(2026, 10, 10, 10, 0, tzinfo=SHANGHAI)
    assert forbids(worked, saturday) is None
    assert forbids(worked, saturday + timedelta(days=7)) == "these are no-cut hours of calendar cn (F4)"
    assert forbids(worked, saturday.replace(hour=17)) is not None and forbids(worked, saturday.replace(hour=8)) is not None


def test_the_day_after_a_holiday_may_be_a_worked_saturday() -> None:
    calendar = NoCutCalendar("cn", "Asia/Shanghai", BUILT_IN, ("2026-10-09",), "2026-12-31", 11 * 60, ("2026-10-10",))
    saturday = datetime(2026, 10, 10, 10, 59, tzinfo=SHANGHAI)
    assert forbids(calendar, saturday) is not None
    assert forbids(calendar, saturday.replace(hour=11)) is None


def test_a_moment_is_judged_by_the_calendars_own_clock() -> None:
    beijing = datetime(2026, 9, 15, 17, 30, tzinfo=SHANGHAI)  # 10:30 in London
    assert forbids(BOOST, beijing) is None
    assert forbids(BOOST, beijing.replace(tzinfo=None)) is not None


def test_an_ended_calendar_gives_way_to_the_built_in_rule_and_frees_nobody() -> None:
    calendar = NoCutCalendar("old", "Asia/Shanghai", (), ("2026-12-31",), "2026-12-31")
    assert not ended(calendar, date(2026, 12, 31)) and ended(calendar, date(2027, 1, 1))
    noon = datetime(2027, 1, 4, 12, 0, tzinfo=SHANGHAI)
    assert forbids(calendar, noon) is None
    assert forbids(calendar, noon.replace(hour=18)) == "these are no-cut hours (F4): calendar old ended on 2026-12-31"


def test_the_built_in_rule_is_that_of_f4_in_every_minute() -> None:
    monday = datetime(2026, 9, 14)
    for minute in range(WEEK_MIN):
        wall = monday + timedelta(minutes=minute)
        assert (forbids(None, wall) is not None) == in_no_cut_hours(wall), wall
    assert forbids(None, monday) == "these are no-cut hours (F4)"


# --- against a minute walk, which knows nothing of windows, edges or zones but what the clock shows ---

SPANS = st.builds(Window, st.integers(0, WEEK_MIN - 1), st.integers(0, WEEK_MIN))
WINDOWS = st.lists(SPANS.filter(lambda w: w.from_minute != w.to_minute % WEEK_MIN), max_size=4).map(tuple)
FIRST = date(2026, 3, 20)
DATES = st.lists(st.integers(0, 20).map(lambda n: (FIRST + timedelta(days=n)).isoformat()), max_size=5)


@st.composite
def calendars(draw: st.DrawFn) -> NoCutCalendar:
    zone = draw(st.sampled_from(["Europe/London", "Asia/Shanghai", "America/Santiago", "Australia/Lord_Howe"]))
    days, workdays = tuple(draw(DATES)), tuple(draw(DATES))
    until = draw(st.none() | st.integers(1, DAY))
    valid_to = draw(st.sampled_from(["2026-04-02", "2027-12-31"]))
    return NoCutCalendar("any", zone, draw(WINDOWS), days, valid_to, until, workdays)


def in_window(windows: tuple[Window, ...], minute: int) -> bool:
    for window in windows:
        start, end = window.from_minute, window.to_minute
        if start < end:
            if start <= minute < end:
                return True
        elif minute >= start or minute < end:
            return True
    return False


def model(calendar: NoCutCalendar, wall: datetime) -> bool:
    """Protected?"""
    day, minute = wall.date(), wall.hour * 60 + wall.minute

    def rest(d: date) -> bool:
        if d.isoformat() in calendar.days:
            return True
        if d.isoformat() in calendar.workdays:
            return False
        return all(in_window(calendar.windows, d.weekday() * DAY + m) for m in range(DAY))

    if day.isoformat() > calendar.valid_to:
        return in_no_cut_hours(wall)
    if day.isoformat() in calendar.days:
        return True
    if calendar.until_next_workday_minute is not None and minute < calendar.until_next_workday_minute and not rest(day):
        back = day - timedelta(days=1)
        while rest(back) and (day - back).days < 40:
            if back.isoformat() in calendar.days:
                return True
            back -= timedelta(days=1)
    weekday = 2 if day.isoformat() in calendar.workdays else day.weekday()
    return in_window(calendar.windows, weekday * DAY + minute)


@settings(max_examples=150, deadline=None)
@given(calendars(), st.integers(0, 20 * DAY))
def test_a_moment_is_as_the_minute_model_says(calendar: NoCutCalendar, minutes: int) -> None:
    at = datetime(2026, 3, 20, tzinfo=UTC) + timedelta(minutes=minutes)
    assert (forbids(calendar, at) is not None) == model(calendar, at.astimezone(ZoneInfo(calendar.zone)))


@settings(max_examples=settings().max_examples // 4, deadline=None)
@given(calendars(), st.integers(0, 16 * DAY), st.integers(0, 59_999))
def test_the_next_allowed_moment_is_the_first_minute_of_a_walk(calendar: NoCutCalendar, minutes: int, within_ms: int) -> None:
    at = datetime(2026, 3, 20, tzinfo=UTC) + timedelta(minutes=minutes, milliseconds=within_ms)
    zone, found = ZoneInfo(calendar.zone), next_allowed(calendar, ms(at), "Etc/UTC")
    if forbids(calendar, at) is None:
        assert found == ms(at)
        return
    step = at.replace(second=0, microsecond=0)
    for _ in range(9 * DAY):
        step += timedelta(minutes=1)
        if not model(calendar, step.astimezone(zone)):
            assert found == ms(step)
            return
    assert found is None or found > ms(step)


@pytest.mark.parametrize(
    ("window_end", "day", "expected"),
    [
        ((1, 30), (2026, 3, 29), "2026-03-29T01:00:00+00:00"),  # 01:00-02:00 is skipped: allowed at the jump
        ((1, 30), (2026, 10, 25), "2026-10-25T00:30:00+00:00"),  # shown twice: allowed when first reached,
        ((3, 0), (2026, 10, 25), "2026-10-25T03:00:00+00:00"),
    ],
)
def test_where_the_clock_is_moved(window_end: tuple[int, int], day: tuple[int, int, int], expected: str) -> None:
    sunday, (hour, minute) = 6 * DAY, window_end
    calendar = NoCutCalendar("dst", "Europe/London", (Window(sunday, sunday + hour * 60 + minute),), (), "2027-12-31")
    midnight = datetime(*day, tzinfo=LONDON)
    found = next_allowed(calendar, ms(midnight), "Etc/UTC")
    assert found is not None and datetime.fromtimestamp(found // 1000, UTC).isoformat() == expected


def test_a_repeated_hour_is_protected_both_times() -> None:
    sunday = 6 * DAY
    calendar = NoCutCalendar("dst", "Europe/London", (Window(sunday + 60, sunday + 90),), (), "2027-12-31")
    for fold, utc in ((0, "00:15"), (1, "01:15")):
        wall = datetime(2026, 10, 25, 1, 15, tzinfo=LONDON, fold=fold)
        assert wall.astimezone(UTC).strftime("%H:%M") == utc and forbids(calendar, wall) is not None
        assert forbids(calendar, datetime.fromisoformat(f"2026-10-25T{utc}+00:00")) is not None


def test_next_allowed_without_a_calendar_is_by_the_zone_given() -> None:
    friday = datetime(2026, 9, 18, 12, 0, tzinfo=SHANGHAI)
    assert next_allowed(None, ms(friday), "Asia/Shanghai") == ms(datetime(2026, 9, 21, 9, 0, tzinfo=SHANGHAI))
    assert next_allowed(None, ms(friday) - 1, "Asia/Shanghai") == ms(friday) - 1


def test_a_calendar_that_never_lets_go_is_known() -> None:
    always = NoCutCalendar("always", "Etc/UTC", (Window(0, WEEK_MIN),), (), "2099-12-31")
    assert never_ends(always) and next_allowed(always, ms(datetime(2026, 9, 18, tzinfo=UTC)), "Etc/UTC") is None
    assert not never_ends(BOOST)
