"""No-cut calendars by name, file and configuration, checked: what the settings say, in the domain's words."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from gateway.adapters.profiles import config_folder
from gateway.bootstrap.policies import policies_of, table_of
from gateway.domain import no_cut
from gateway.settings import Settings, SettingsError
from gateway.settings.calendars import NoCutCalendar
from gateway.settings.words import fault


def calendars_of(entries: Sequence[NoCutCalendar], folder: Path, zone: str) -> list[no_cut.NoCutCalendar]:
    """Those of a configuration in this folder; zone: of a calendar that names none. Raises SettingsError with every error."""
    found, errors = [], []
    for entry in entries:
        try:
            found.append((_file(entry, folder) if entry.file else entry).calendar(zone))
        except SettingsError as problem:
            errors += [f"no_cut_calendar {entry.id}: {text}" for text in problem.errors]
    if errors:
        raise SettingsError(errors)
    return found


def examine_calendars(settings: Settings, folder: Path) -> list[str]:
    """What is wrong with the calendars, and which of them accounts name in vain."""
    names = {entry.id for entry in settings.no_cut_calendar}
    policies = policies_of(settings)
    wanted = [(account.id, table_of(account, policies).calendar) for account in settings.account]
    errors = [f"account {of}: there is no no_cut_calendar {name}" for of, name in wanted if name and name not in names]
    try:
        calendars_of(settings.no_cut_calendar, folder, settings.gateway.zone)
    except SettingsError as problem:
        return problem.errors + errors
    return errors


def ended_calendars(settings: Settings, folder: Path, today: date) -> list[str]:
    """A sentence for each calendar that no longer knows today. A start lives with it, by the built-in rule; whoever checks or
    reloads a configuration is there to bring the next one."""
    try:
        known = calendars_of(settings.no_cut_calendar, folder, settings.gateway.zone)
    except SettingsError:
        return []
    ended = [calendar for calendar in known if no_cut.ended(calendar, today)]
    return [f"no_cut_calendar {c.id}: ended on {c.valid_to}; load the next one, or take it out" for c in ended]


@cache
def shipped() -> dict[str, Path]:
    """config/calendars, by name."""
    return {path.stem: path for path in sorted((config_folder() / "calendars").glob("*.toml"))}


def _file(entry: NoCutCalendar, folder: Path) -> NoCutCalendar:
    """The calendar of a file: a path with .toml from `folder` on, else one that wattgate ships. Raises SettingsError."""
    assert entry.file is not None
    known = shipped()
    if not entry.file.endswith(".toml") and entry.file not in known:
        names = ", ".join(known)
        raise SettingsError([f"there is no calendar {entry.file}; write a path that ends with .toml, or one of {names}"])
    path = folder / entry.file if entry.file.endswith(".toml") else known[entry.file]
    try:
        calendar = NoCutCalendar.model_validate(tomllib.loads(path.read_text("utf-8")) | {"id": entry.id})
    except OSError as problem:
        raise SettingsError([f"{path}: cannot be read: {problem.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError([f"{path}: is not TOML: {problem}"]) from None
    except ValidationError as problem:
        raise SettingsError([f"{path}: {fault(error, 'the calendar')}" for error in problem.errors()]) from None
    if calendar.file is not None:
        raise SettingsError([f"{path}: names another file; a calendar's file holds the calendar itself"])
    return calendar
