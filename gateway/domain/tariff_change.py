"""How a tariff may change that customers were already priced by: what has begun stays, what is to come may be anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from gateway.domain.price_list import Tariff, Version
from gateway.domain.tariff_check import check

ALWAYS = "1970-01-01"
"""The day from which a tariff holds whose configuration names no versions: no reading is older."""


class VersionHolds(ValueError):
    """A change of what has begun, in one sentence."""


def successor(stored: Tariff, configured: Tariff, today: str) -> Tariff:
    """The tariff as it goes on. today: the local date, ISO; its versions have begun.

    Versions that have begun and that the configuration no longer names stay. One that names no versions changes its prices from
    tomorrow on. A holiday may be added for a day to come. Raises VersionHolds.
    """
    for what in ("currency", "zone", "split", "rounding"):
        if getattr(stored, what) != getattr(configured, what):
            raise VersionHolds(f"tariff {stored.id}: its {what} cannot be changed, as accounts have been priced by it")
    begun = {version.from_day: version for version in stored.versions if version.from_day <= today}
    tomorrow = (date.fromisoformat(today) + timedelta(days=1)).isoformat()
    if [version.from_day for version in configured.versions] == [ALWAYS] and begun:
        to_come = _of_no_day(begun[max(begun)], configured.versions[0], tomorrow)
    else:
        to_come = _dated(begun, configured, today, tomorrow)
        begun |= {version.from_day: version for version in configured.versions if version.from_day in begun}
    changed = replace(configured, versions=(*begun.values(), *to_come))
    for fault in check(changed) if to_come else ():
        raise VersionHolds(f"tariff {stored.id}: {fault}")
    return changed


def _of_no_day(now: Version, wanted: Version, tomorrow: str) -> tuple[Version, ...]:
    if replace(wanted, id=now.id, from_day=now.from_day) == now:
        return ()
    return (replace(wanted, id=tomorrow, from_day=tomorrow),)


def _dated(begun: dict[str, Version], configured: Tariff, today: str, tomorrow: str) -> tuple[Version, ...]:
    for version in configured.versions:
        if version.from_day >= tomorrow:
            continue
        known = begun.get(version.from_day)
        if known is None:
            began = f"version {version.id} begins on {version.from_day}, when others held"
            raise VersionHolds(f"tariff {configured.id}: {began}; let a new version begin on {tomorrow} or later")
        if _of_past(known, today) != _of_past(version, today):
            held = f"version {version.id} holds since {version.from_day} and cannot be changed"
            raise VersionHolds(f"tariff {configured.id}: {held}; add a version that begins on {tomorrow} or later")
    return tuple(version for version in configured.versions if version.from_day >= tomorrow)


def _of_past(version: Version, today: str) -> Version:
    """The version without the holidays to come."""
    if version.tou is None:
        return version
    past = {day: table for day, table in version.tou.holidays.items() if day <= today}
    return replace(version, tou=replace(version.tou, holidays=past, holidays_until=None))
