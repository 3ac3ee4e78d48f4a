"""No-cut calendars (F4): when supply must not be cut for money, with an end, so that no forgotten file frees anybody for ever."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Protected from a minute of the week to another (0: Monday 00:00, 10080: its end); `to` before `from` goes over the end."""

    from_minute: int
    to_minute: int


@dataclass(frozen=True, slots=True)
class NoCutCalendar:
    """When nobody is cut for debt. days: ISO dates protected whole (holidays, exams, heat alerts), local.

    until_next_workday_minute: protection that begins with a holiday lasts until this minute of the next day that is neither a
    holiday nor in a weekend window; None: it ends with the day. valid_to: last ISO date that this file knows.
    """

    id: str
    zone: str
    windows: tuple[Window, ...]
    days: tuple[str, ...]
    valid_to: str
    until_next_workday_minute: int | None = None
