"""A no-cut calendar in the settings: `[[no_cut_calendar]]` of a configuration, and a file of its own (config/calendars)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import chain
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.domain import no_cut
from gateway.domain.no_cut import DAY_MIN, WEEK_MIN, Window
from gateway.settings.tariff_words import DAYS, Day, iso_day, minute
from gateway.settings.words import Id, Table, Zone

MOST_SPECIAL_DAYS = 1_000
"""Days of a calendar that stand out: the holidays of decades; more is a mistake in writing a span."""

_DAY, _TIME = "[A-Za-z]{3}", "[0-9]{2}:[0-9]{2}"
_SPAN = re.compile(rf"({_DAY}) ({_TIME}) ?- ?({_DAY}) ({_TIME})", re.ASCII)
_DAILY = re.compile(rf"(?:({_DAY})(?:-({_DAY}))? )?({_TIME}) ?- ?({_TIME})", re.ASCII)


def _weekday(text: str) -> int:
    if text.lower() not in DAYS:
        raise ValueError(f"{text!r} is no day of the week; they are {', '.join(DAYS)}")
    return DAYS.index(text.lower())


def _windows(text: str) -> tuple[Window, ...]:
    """Of "Fri 12:00 - Mon 09:00", or of "Mon-Thu 17:00-09:00", which is one for each day that it begins on. ValueError."""
    if span := _SPAN.fullmatch(text):
        starts, ends = (_weekday(span[n]) * DAY_MIN + minute(span[n + 1]) for n in (1, 3))
        if starts == ends:
            raise ValueError(f"{text!r} begins where it ends")
        return (Window(starts % WEEK_MIN, ends),)
    daily = _DAILY.fullmatch(text)
    if not daily:
        raise ValueError(f"{text!r} is no window; write one like Fri 12:00 - Mon 09:00, or Mon-Thu 17:00-09:00")
    first, last = (_weekday(daily[1]), _weekday(daily[2] or daily[1])) if daily[1] else (0, 6)
    starts, ends = minute(daily[3]), minute(daily[4])
    if starts == ends:
        raise ValueError(f"{text!r} begins where it ends; a whole day is 00:00-24:00")
    ends += DAY_MIN if ends < starts else 0
    days = [(first + n) % 7 for n in range((last - first) % 7 + 1)]
    return tuple(_window(day * DAY_MIN + starts, day * DAY_MIN + ends) for day in days)


def _window(starts: int, ends: int) -> Window:
    return Window(starts % WEEK_MIN, ends if ends <= WEEK_MIN else ends - WEEK_MIN)


def _days(text: object) -> tuple[str, ...]:
    """Of "2026-10-01", or of a span like "2026-10-01/2026-10-07", both ends included. ValueError."""
    first, slash, last = text.partition("/") if isinstance(text, str) else (text, "", "")
    start = date.fromisoformat(iso_day(first))
    end = date.fromisoformat(iso_day(last)) if slash else start
    if not 0 <= (end - start).days < MOST_SPECIAL_DAYS:
        raise ValueError(f"{text!r} is no span of days; write its first and its last day like 2026-10-01/2026-10-07")
    return tuple((start + timedelta(days=n)).isoformat() for n in range((end - start).days + 1))


def _until(value: object) -> int:
    if not isinstance(value, str) or not 0 < (found := minute(value)) <= DAY_MIN:
        raise ValueError(f"must be a time of the day in quotes like 11:00, not {value!r}")
    return found


def _checked(text: str) -> str:
    _windows(text)
    return text


WindowText = Annotated[str, AfterValidator(_checked)]
SpecialDays = Annotated[tuple[str, ...], BeforeValidator(_days)]
Minute = Annotated[int, BeforeValidator(_until)]


class NoCutCalendar(Table):
    """When nobody is cut for debt (F4), either here or in a file of its own. windows: of each week; days: whole days, as holidays;
    workdays: worked although they lie in a weekend; until_next_workday: how long what begins with a holiday goes on; valid_to:
    the last day that it knows; source: who says so."""

    id: Id
    file: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    zone: Zone | None = None
    source: str | None = None
    windows: list[WindowText] = []
    days: Annotated[list[SpecialDays], Field(max_length=MOST_SPECIAL_DAYS)] = []
    workdays: Annotated[list[SpecialDays], Field(max_length=MOST_SPECIAL_DAYS)] = []
    until_next_workday: Minute | None = None
    valid_to: Day | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if self.file is not None:
            if foreign := sorted(self.model_fields_set - {"id", "file"}):
                raise ValueError(f"a calendar in a file of its own has no {', '.join(foreign)} here")
            return self
        if self.valid_to is None:
            raise ValueError("needs valid_to, the last day that it knows: no calendar holds for ever")
        if self.valid_to < max(_flat(self.days), default=""):
            raise ValueError(f"valid_to {self.valid_to} lies before its last day")
        if both := sorted({*_flat(self.days)} & {*_flat(self.workdays)}):
            raise ValueError(f"{both[0]} is both a protected day and a workday")
        if no_cut.never_ends(self.calendar("Etc/UTC")):
            raise ValueError("its windows leave no minute of the week: who must never be cut has never_cut")
        return self

    def calendar(self, zone: str) -> no_cut.NoCutCalendar:
        """In the domain's words; zone: where it names none. Not for one that stands in a file."""
        assert self.valid_to is not None, "a calendar in a file is loaded from there"
        return no_cut.NoCutCalendar(
            id=self.id,
            zone=self.zone or zone,
            windows=tuple(window for text in self.windows for window in _windows(text)),
            days=tuple(sorted({*_flat(self.days)})),
            valid_to=self.valid_to,
            until_next_workday_minute=self.until_next_workday,
            workdays=tuple(sorted({*_flat(self.workdays)})),
        )


def _flat(spans: list[tuple[str, ...]]) -> Iterator[str]:
    return chain.from_iterable(spans)
