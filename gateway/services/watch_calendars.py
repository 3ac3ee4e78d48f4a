"""No-cut calendars of the configuration enter the store, and whoever lets one end is told in time (F4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.no_cut import NoCutCalendar, ended
from gateway.domain.slots import day_of
from gateway.services import announce
from gateway.services.findings import found, over
from gateway.services.ports import Tx

TOLD_DAYS = (14, 60)
"""Days before its end at which a calendar is a finding, and told of again (prepayment.md 5, F4)."""

KINDS = (FindingKind.CALENDAR_ENDING, FindingKind.CALENDAR_ENDED)


def load_calendars(tx: Tx, configured: Sequence[NoCutCalendar]) -> None:
    """Bring the store's calendars in line with the configuration."""
    known = {calendar.id: calendar for calendar in tx.no_cut_calendars()}
    for calendar in configured:
        if known.pop(calendar.id, None) != calendar:
            tx.save_no_cut_calendar(calendar)
    for gone in known:
        tx.drop_no_cut_calendar(gone)


def calendars_due(tx: Tx, now_ms: int) -> bool:
    """Whether watch_calendars has something to say."""
    wanted, standing = _wanted(tx, now_ms), _standing(tx)
    return {key: told for key, (_, told) in wanted.items()} != standing


def watch_calendars(tx: Tx, now_ms: int) -> None:
    """A finding for each calendar that ends within 60 days, told of again at 14, and for each that has ended or that an account
    names and there is none: there the built-in rule holds."""
    wanted, standing = _wanted(tx, now_ms), _standing(tx)
    for kind, subject in standing.keys() - wanted.keys():
        over(tx, kind, subject, now_ms)
    for (kind, subject), (text, told) in wanted.items():
        before = standing.get((kind, subject))
        if before == told:
            continue
        found(tx, kind, subject, text, now_ms, {"told": told})
        if before is not None:
            announce.event(tx, EventKind.FINDING_OPENED, now_ms, finding=kind.value, subject=subject, text=text)


def _wanted(tx: Tx, now_ms: int) -> Mapping[tuple[FindingKind, str], tuple[str, str]]:
    """Kind and calendar -> sentence, and how far it was told."""
    wanted: dict[tuple[FindingKind, str], tuple[str, str]] = {}
    known = {calendar.id: calendar for calendar in tx.no_cut_calendars()}
    for calendar in known.values():
        today = date.fromisoformat(day_of(now_ms, ZoneInfo(calendar.zone)))
        left = (date.fromisoformat(calendar.valid_to) - today).days
        stage = next((days for days in TOLD_DAYS if left <= days), None)
        if ended(calendar, today):
            text = f"calendar {calendar.id} ended on {calendar.valid_to}: the built-in no-cut hours hold until the next is loaded"
            wanted[FindingKind.CALENDAR_ENDED, calendar.id] = (text, calendar.valid_to)
        elif stage is not None:
            text = f"calendar {calendar.id} ends on {calendar.valid_to}: load the next one"
            wanted[FindingKind.CALENDAR_ENDING, calendar.id] = (text, f"{calendar.valid_to} {stage}")
    for name in sorted({account.policy.calendar for account in tx.accounts() if account.policy.calendar} - known.keys()):
        text = f"there is no calendar {name}, which accounts name: the built-in no-cut hours hold for them"
        wanted[FindingKind.CALENDAR_ENDED, name] = (text, "")
    return wanted


def _standing(tx: Tx) -> dict[tuple[FindingKind, str], str]:
    return {(each.kind, each.subject): each.data.get("told", "") for each in tx.findings() if each.kind in KINDS}
