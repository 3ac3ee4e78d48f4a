"""No-cut calendars (F4): when supply must not be cut for money, with an end, so that no forgotten file frees anybody for ever.

All by what the wall clock of the calendar's zone shows: a repeated hour is protected twice, a skipped one never comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY_MIN = 1440
WEEK_MIN = 7 * DAY_MIN

WORKDAY = 2
"""A weekend's day that is worked is looked up as a Wednesday: the one day whose neighbours are workdays wherever a week ends."""

MOST_DAYS = 400
"""Days that next_allowed looks ahead: a year and its longest holidays; a calendar that protects longer never lets go."""

KEPT_PLANS = 256
"""Week plans remembered: far more calendars than a site has; then they are made anew."""

_EPOCH, _MINUTE_MS = datetime(1970, 1, 1, tzinfo=UTC), 60_000


@dataclass(frozen=True, slots=True)
class Window:
    """Protected from a minute of the week to another (0: Monday 00:00, 10080: its end); `to` not after `from` goes over the end."""

    from_minute: int
    to_minute: int


@dataclass(frozen=True, slots=True)
class NoCutCalendar:
    """When nobody is cut for debt. days: ISO dates protected whole (holidays, exams, heat alerts), local.

    until_next_workday_minute: protection that begins with a holiday lasts until this minute of the next day that is neither a
    holiday nor wholly inside the week's windows; None: it ends with the day. valid_to: last ISO date that this file knows.
    workdays: ISO dates that are worked although the week's windows protect them: special days switch in both directions.
    """

    id: str
    zone: str
    windows: tuple[Window, ...]
    days: tuple[str, ...]
    valid_to: str
    until_next_workday_minute: int | None = None
    workdays: tuple[str, ...] = ()


BUILT_IN = (
    *(Window(day * DAY_MIN + 17 * 60, (day + 1) * DAY_MIN + 9 * 60) for day in range(4)),
    Window(4 * DAY_MIN + 12 * 60, 9 * 60),
)
"""F4 where no calendar is left: no cut 17:00-09:00, and from Friday 12:00 to Monday 09:00."""

_NONE_LEFT = NoCutCalendar("", "", BUILT_IN, (), "9999-12-31")


@lru_cache(KEPT_PLANS)
def _plan(windows: tuple[Window, ...]) -> bytes:
    """One byte for each minute of the week."""
    plan = bytearray(WEEK_MIN)
    for window in windows:
        minutes = (window.to_minute - window.from_minute) % WEEK_MIN or WEEK_MIN
        for minute in range(window.from_minute, window.from_minute + minutes):
            plan[minute % WEEK_MIN] = 1
    return bytes(plan)


@lru_cache(KEPT_PLANS)
def _whole_days(windows: tuple[Window, ...]) -> frozenset[int]:
    """The weekdays of which every minute is protected."""
    plan = _plan(windows)
    return frozenset(day for day in range(7) if all(plan[day * DAY_MIN : (day + 1) * DAY_MIN]))


def ended(calendar: NoCutCalendar, day: date) -> bool:
    """Whether the calendar no longer knows this local day; then the built-in rule holds."""
    return day.isoformat() > calendar.valid_to


def never_ends(calendar: NoCutCalendar) -> bool:
    """Whether its windows leave no minute of a week in which a cut is allowed: it would free everybody for ever."""
    return all(_plan(calendar.windows))


def forbids(calendar: NoCutCalendar | None, local: datetime) -> str | None:
    """Why nobody may be cut for debt at this moment, in one sentence; None: the calendar allows it.

    local: with its zone, then it is turned into the calendar's, or the calendar's own wall time. calendar None, or one that has
    ended: the built-in rule, on that wall time.
    """
    if calendar is not None and local.tzinfo is not None:
        local = local.astimezone(ZoneInfo(calendar.zone))
    if calendar is None or ended(calendar, local.date()):
        hours = _why(_NONE_LEFT, local)
        return hours if hours is None or calendar is None else f"{hours}: calendar {calendar.id} ended on {calendar.valid_to}"
    return _why(calendar, local)


def _why(calendar: NoCutCalendar, local: datetime) -> str | None:
    day, minute = local.date(), local.hour * 60 + local.minute
    of = f" of calendar {calendar.id}" if calendar.id else ""
    if day.isoformat() in calendar.days:
        return f"{day.isoformat()} is a no-cut day{of} (F4)"
    until = calendar.until_next_workday_minute
    if until is not None and minute < until and _after_holiday(calendar, day):
        return f"the holiday before {day.isoformat()} protects until its hour{of} (F4)"
    weekday = WORKDAY if day.isoformat() in calendar.workdays else day.weekday()
    return f"these are no-cut hours{of} (F4)" if _plan(calendar.windows)[weekday * DAY_MIN + minute] else None


def _rests(calendar: NoCutCalendar, day: date) -> bool:
    """A holiday, or a day that the week protects whole and nobody works."""
    text = day.isoformat()
    return text in calendar.days or (text not in calendar.workdays and day.weekday() in _whole_days(calendar.windows))


def _after_holiday(calendar: NoCutCalendar, day: date) -> bool:
    """Whether this workday follows days of rest of which one is a holiday."""
    if _rests(calendar, day):
        return False
    for _ in range(MOST_DAYS):
        day -= timedelta(days=1)
        if day.isoformat() in calendar.days:
            return True
        if not _rests(calendar, day):
            return False
    return False


def next_allowed(calendar: NoCutCalendar | None, at_ms: int, zone: str) -> int | None:
    """The first moment from `at_ms` on (UTC ms) that the calendar allows; None: not within MOST_DAYS.

    zone: of the built-in rule, where there is no calendar.
    """
    tz = ZoneInfo(zone if calendar is None else calendar.zone)
    at = _EPOCH + timedelta(milliseconds=at_ms)
    if forbids(calendar, at.astimezone(tz)) is None:
        return at_ms
    first = at.astimezone(tz).date()
    for ahead in range(MOST_DAYS):
        for moment in _edges(calendar, first + timedelta(days=ahead), tz):
            if moment > at and forbids(calendar, moment.astimezone(tz)) is None:
                return (moment - _EPOCH) // timedelta(milliseconds=1)
    return None


def _edges(calendar: NoCutCalendar | None, day: date, tz: ZoneInfo) -> list[datetime]:
    """The moments of a local day at which protection may change: the edges of windows, and where the clock jumps."""
    windows = BUILT_IN if calendar is None else (*BUILT_IN, *calendar.windows)
    minutes = {0, *(window.to_minute % DAY_MIN for window in windows)}
    if calendar is not None and calendar.until_next_workday_minute is not None:
        minutes.add(calendar.until_next_workday_minute % DAY_MIN)
    midnight = datetime(day.year, day.month, day.day)
    walls = (midnight + timedelta(minutes=minute) for minute in minutes)
    moments = {wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for wall in walls for fold in (0, 1)}
    return sorted({*moments, *_jumps(midnight, tz)})


def _jumps(midnight: datetime, tz: ZoneInfo) -> Iterator[datetime]:
    """When the clock is moved on this day, to the minute: the wall may then stand behind a window's end at once."""
    low, high = (wall.replace(tzinfo=tz).astimezone(UTC) for wall in (midnight, midnight + timedelta(days=1)))
    before = low.astimezone(tz).utcoffset()
    if high.astimezone(tz).utcoffset() == before:
        return
    while high - low > timedelta(minutes=1):
        middle = low + (high - low) // timedelta(minutes=2) * timedelta(minutes=1)
        low, high = (middle, high) if middle.astimezone(tz).utcoffset() == before else (low, middle)
    yield high
