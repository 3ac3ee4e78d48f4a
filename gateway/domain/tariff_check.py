"""What is wrong with a tariff, in sentences that name the version, the table, and the day or minute where prices fail."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.calendars import table_of
from gateway.domain.price_list import (
    MOST_SWITCHES,
    MOST_TABLES,
    MOST_ZONES,
    CountedOn,
    Rate,
    Reset,
    RoundingPlace,
    Season,
    StepKind,
    Steps,
    Switch,
    Tariff,
    TimeOfUse,
    Version,
)
from gateway.domain.units import DECIMALS

LAST_DAY, LAST_HOUR = 28, 23
"""The latest reset: every month has it (DL/T 645-2007, settlement days 1 to 28)."""

ANY_YEAR = 2024
"""A leap year, on whose days a calendar is tried out."""


def check(tariff: Tariff) -> tuple[str, ...]:
    """What is wrong, a sentence each, none where the tariff may be used."""
    found = list(_itself(tariff))
    for version in tariff.versions:
        found += (f"version {version.id}: {wrong}" for wrong in _version(tariff, version))
    return tuple(found)


def _itself(tariff: Tariff) -> Iterator[str]:
    if tariff.currency not in DECIMALS:
        yield f"currency {tariff.currency!r} is not known here"
    try:
        ZoneInfo(tariff.zone)
    except (KeyError, OSError, ValueError):  # not there, a folder of zones, no name at all
        yield f"{tariff.zone!r} is no time zone"
    if not tariff.versions:
        yield "there is no version"
    if len({version.id for version in tariff.versions}) < len(tariff.versions):
        yield "two versions have the same id"
    days = [version.from_day for version in tariff.versions]
    for version in tariff.versions:
        if _day(version.from_day) is None:
            yield f"version {version.id}: {version.from_day!r} is no day like 2026-01-31"
    for before, after in itertools.pairwise(days):
        if after <= before:
            yield f"the version from {after} must begin later than the one from {before} before it"
    if tariff.rounding is not None and tariff.rounding.unit_micro <= 0:
        yield "rounding needs a unit above zero"
    fee = tariff.late_fee
    if fee is not None and min(fee.per_mille, fee.per_mille_next_year, fee.least_micro) < 0:
        yield "a late fee cannot be negative"


def _version(tariff: Tariff, version: Version) -> Iterator[str]:
    yield from _resets("the bill's period", version.period)
    calendar = [*_seasons(version.seasons), *_time_of_use(version.tou)]
    yield from calendar
    if not calendar:
        yield from _rates(version)
    if version.steps is not None:
        yield from _steps(version.steps)
        yield from _steps_apart(tariff, version, version.steps)
    yield from _amounts(version)


def _resets(what: str, resets: Sequence[Reset]) -> Iterator[str]:
    if not resets:
        yield f"nothing says when {what} begins"
    if len(set(resets)) < len(resets):
        yield f"{what} begins twice at the same time"
    for reset in resets:
        months = (1, 12) if reset.month is None else (reset.month, reset.month)
        if not (1 <= reset.day <= LAST_DAY and 0 <= reset.hour <= LAST_HOUR and 1 <= months[0] <= months[1] <= 12):
            month = "every month" if reset.month is None else f"month {reset.month}"
            yield f"{what} begins in {month}, day {reset.day}, hour {reset.hour}: only days to {LAST_DAY}, hours to {LAST_HOUR} do"


def _seasons(seasons: Sequence[Season]) -> Iterator[str]:
    if not seasons:
        yield "no season: no day of the year has a price"
    if len({season.id for season in seasons}) < len(seasons) or any(not season.id for season in seasons):
        yield "each season needs an id of its own"
    yield from _in_order("season", [(season.month, season.day) for season in seasons])
    for season in seasons:
        if any(price < 0 for price in season.prices.values()):
            yield f"season {season.id}: a price cannot be negative"


def _in_order(what: str, days: Sequence[tuple[int, int]]) -> Iterator[str]:
    for month, day in days:
        if _day(f"{ANY_YEAR}-{month:02}-{day:02}") is None:
            yield f"a {what} begins on {month:02}-{day:02}, which no year has"
    for before, after in itertools.pairwise(days):
        if after == before:
            yield f"two {what}s begin on {after[0]:02}-{after[1]:02}"
        elif after < before:
            yield f"the {what} from {after[0]:02}-{after[1]:02} must come before the one from {before[0]:02}-{before[1]:02}"


def _time_of_use(tou: TimeOfUse | None) -> Iterator[str]:
    if tou is None:
        return
    if not tou.zones:
        yield "no zone of the year: no day has a table"
    for what, many, most in (("zones of the year", len(tou.zones), MOST_ZONES), ("day tables", len(tou.tables), MOST_TABLES)):
        if many > most:
            yield f"{many} {what}, and meters know {most}"
    yield from _in_order("zone", [(zone.month, zone.day) for zone in tou.zones])
    for name, table in tou.tables.items():
        yield from (f"table {name}: {wrong}" for wrong in _table(table))
    named = [(f"the zone from {zone.month:02}-{zone.day:02}", zone.table) for zone in tou.zones]
    named += [("the weekend", tou.weekend_table)] if tou.weekend_table is not None else []
    named += [(f"the holiday {day}", table) for day, table in tou.holidays.items()]
    for who, name in named:
        if name not in tou.tables:
            yield f"{who} uses table {name}, which there is not"
    if any(not 1 <= day <= 7 for day in tou.weekend) or len(set(tou.weekend)) < len(tou.weekend):
        yield "a weekend has days from 1 (Monday) to 7 (Sunday), each once"
    if bool(tou.weekend) != (tou.weekend_table is not None):
        yield "a weekend needs both its days and its table"
    yield from _holidays(tou)


def _holidays(tou: TimeOfUse) -> Iterator[str]:
    for day in tou.holidays:
        if _day(day) is None:
            yield f"the holiday {day!r} is no day like 2026-01-31"
        elif tou.holidays_until is not None and day > tou.holidays_until:
            yield f"the holiday {day} lies after {tou.holidays_until}, until when holidays are said to be known"
    if tou.holidays_until is not None and _day(tou.holidays_until) is None:
        yield f"holidays are known until {tou.holidays_until!r}, which is no day like 2026-01-31"
    if tou.holidays and tou.holidays_until is None:
        yield "nothing says until when holidays are known"


def _table(switches: Sequence[Switch]) -> Iterator[str]:
    if len(switches) > MOST_SWITCHES:
        yield f"{len(switches)} switches, and meters know {MOST_SWITCHES}"
    if not switches:
        yield "no rate holds from 00:00 to 24:00"
        return
    if switches[0].minute > 0:
        yield f"no rate holds from 00:00 to {_clock(switches[0].minute)}"
    for switch in switches:
        if not 0 <= switch.minute < 1440:
            yield f"minute {switch.minute} is not of the day (0 to 1439)"
    for before, after in itertools.pairwise(switches):
        if after.minute == before.minute:
            yield f"{before.rate} and {after.rate} both hold from {_clock(after.minute)}"
        elif after.minute < before.minute:
            yield f"{after.rate} from {_clock(after.minute)} overlaps {before.rate} from {_clock(before.minute)}"


def _rates(version: Version) -> Iterator[str]:
    """Whether each rate that may hold has a price, and each price something that says when it holds."""
    block = version.steps is not None and version.steps.kind is StepKind.BLOCK
    for season in version.seasons:
        if block and season.prices:
            yield f"season {season.id}: the blocks are the prices, and the season has some of its own"
        if not block and not season.prices:
            yield f"season {season.id}: it has no price"
    if version.tou is not None and not block:
        yield from _unpriced(version, version.tou)
    priced = {rate: None for season in version.seasons for rate in season.prices}
    for rate in priced:
        if version.tou is None and rate is not Rate.SINGLE and not version.registers.get(rate):
            yield f"nothing says when rate {rate} holds: no register of the meter, no table"
    names = [name for rate, registers in version.registers.items() if rate in priced for name in registers]
    for name in {name: None for name in names if names.count(name) > 1}:
        yield f"register {name} is priced twice"


def _unpriced(version: Version, tou: TimeOfUse) -> Iterator[str]:
    """The first day and minute of each rate that holds in a season without having a price there."""
    said: set[tuple[str, Rate]] = set()
    year = [date(ANY_YEAR, 1, 1) + timedelta(number) for number in range(366)]
    ordinary = replace(tou, weekend=(), holidays={})
    tables = [(day, table_of(ordinary, day)) for day in year]
    if tou.weekend_table is not None:  # in some year, any day is one
        tables += [(day, tou.tables[tou.weekend_table]) for day in year]
    tables += [(date.fromisoformat(day), tou.tables[table]) for day, table in tou.holidays.items()]
    for day, table in tables:
        begun = [season for season in version.seasons if (season.month, season.day) <= (day.month, day.day)]
        season = (begun or version.seasons)[-1]
        for switch in table:
            if switch.rate not in season.prices and (season.id, switch.rate) not in said:
                said.add((season.id, switch.rate))
                when = f"on {day:%m-%d} from {_clock(switch.minute)}"
                yield f"{when} rate {switch.rate} holds, and season {season.id} has no price for it"


def _steps(steps: Steps) -> Iterator[str]:
    yield from _resets("step use", steps.resets)
    parted = len(steps.thresholds_wh) + 1
    if len(steps.amounts) != parted:
        yield f"{parted - 1} thresholds part {parted} steps, and {len(steps.amounts)} have an amount"
    for before, after in itertools.pairwise((0, *steps.thresholds_wh)):
        if after <= before:
            yield f"thresholds must rise, and {after} Wh comes after {before}"
    if any(amount < 0 for amount in steps.amounts):
        yield "a step's amount cannot be negative"
    if steps.persons < 0 or steps.per_person_wh < 0 or (steps.per_days is not None and steps.per_days <= 0):
        yield "persons, energy per person and days of a step must not be negative"


def _steps_apart(tariff: Tariff, version: Version, steps: Steps) -> Iterator[str]:
    """What counts on a bill cannot count steps that have a period of their own."""
    if steps.counted_on is CountedOn.PURCHASES or steps.resets == version.period:
        return
    bearing = {
        "a surcharge on the energy": any(band.surcharge_per_mille for band in version.bands),
        "a minimum": bool(version.minimum_micro),
        "a power factor": version.power_factor is not None,
        "rounding of the bill": tariff.rounding is not None and tariff.rounding.place is RoundingPlace.BILL,
    }
    for what, there in bearing.items():
        if there:
            yield f"{what} needs steps that begin anew with the bill's period"


def _amounts(version: Version) -> Iterator[str]:
    if version.free_wh < 0 or version.minimum_micro < 0:
        yield "neither free energy nor the minimum can be negative"
    for before, after in itertools.pairwise(version.bands):
        if after.over_wh <= before.over_wh:
            yield f"bands must rise, and the one over {after.over_wh} Wh comes after the one over {before.over_wh}"
    if any(min(band.over_wh, band.surcharge_per_mille, band.fixed_micro) < 0 for band in version.bands):
        yield "nothing of a band can be negative"
    if len({fee.id for fee in version.fees}) < len(version.fees):
        yield "two fees have the same id"
    if any(min(fee.micro, fee.least_kw) < 0 for fee in version.fees):
        yield "a fee cannot be negative"
    factor = version.power_factor
    if factor is not None:
        rows = [row for row, _ in factor.adjust]
        if not rows or rows != sorted(set(rows), reverse=True) or not all(0 <= row <= 100 for row in (*rows, factor.standard)):
            yield "power factors are rows from 100 per cent down, each once"


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
