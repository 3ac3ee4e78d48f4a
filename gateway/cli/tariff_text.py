"""A tariff as people read it: its year, day by day and rate by rate; and the lines of a charge."""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from gateway.domain.price_list import (
    Band,
    CountedOn,
    Fee,
    FeeBasis,
    PowerFactor,
    Rate,
    Reset,
    StepKind,
    Steps,
    Switch,
    Tariff,
    TimeOfUse,
    Version,
)
from gateway.domain.units import MICRO, format_money

LEAP_YEAR = 2000
"""A year that has 02-29, to tell the day before a zone begins."""

FEE_BASES = {
    FeeBasis.DAY: "a day",
    FeeBasis.PERIOD: "a period",
    FeeBasis.KVA: "per kVA and period",
    FeeBasis.DEMAND: "per kW of the highest demand",
}


def price_text(micro: int) -> str:
    """A price or an amount with all its decimals, but at least two: 617000 is 0.617, 500000 is 0.50."""
    whole, rest = divmod(abs(micro), MICRO)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micro < 0 else ''}{whole}.{decimals}"


def kwh_text(wh: int) -> str:
    """Watt-hours in kWh: 240000 is 240, 2500 is 2.5."""
    whole, rest = divmod(abs(wh), 1000)
    return f"{'-' if wh < 0 else ''}{whole}" + (f".{rest:03d}".rstrip("0") if rest else "")


def share_text(ten_thousandths: int) -> str:
    """A share in per cent: 50 is 0.5%."""
    return price_text(ten_thousandths * (MICRO // 100)).rstrip("0").rstrip(".") + "%"


def tariff_text(tariff: Tariff) -> Iterator[str]:
    """The lines of `tariffs show`."""
    yield f"{tariff.id}: prices in {tariff.currency}, times of {tariff.zone}"
    if tariff.rounding is not None:
        rule = tariff.rounding
        yield f"rounded: each {rule.place.value}, {rule.mode.value.replace('_', ' ')}, to {price_text(rule.unit_micro)}"
    yield f"a late reading without a freeze is shared out by {tariff.split.value.replace('_', ' ')}"
    if tariff.late_fee is not None:
        fee = tariff.late_fee
        least = f", at least {format_money(fee.least_micro, tariff.currency)}" if fee.least_micro else ""
        after = (
            f", {share_text(fee.per_mille_next_year * 10)} after the year's end" if fee.per_mille_next_year != fee.per_mille else ""
        )
        yield f"late fee: {share_text(fee.per_mille * 10)} a day{after}{least}"
    for version, until in zip(tariff.versions, [*(v.from_day for v in tariff.versions[1:]), None], strict=True):
        yield ""
        yield from _version(version, until, tariff.currency)


def _version(version: Version, until: str | None, currency: str) -> Iterator[str]:
    yield f"version {version.id}: from {version.from_day}" + (f" to before {until}" if until else "")
    yield f"  a bill begins {_resets(version.period)}"
    for season in version.seasons:
        name = "all year" if len(version.seasons) == 1 else f"season {season.id}, from {_day(season.month, season.day)}"
        yield f"  {name}: " + ", ".join(f"{_rate(rate)}{price_text(micro)}" for rate, micro in season.prices.items()) + " per kWh"
    for rate, registers in version.registers.items():
        yield f"  {rate.value} energy is read from {', '.join(registers)}"
    if version.tou is not None:
        yield from _time_of_use(version.tou)
    if version.steps is not None:
        yield from _steps(version.steps)
    if version.free_wh:
        yield f"  free: the first {kwh_text(version.free_wh)} kWh of each period"
    yield from (f"  {_band(band, currency)}" for band in version.bands)
    yield from (f"  {_fee(fee)}" for fee in version.fees)
    if version.minimum_micro:
        yield f"  minimum of a period: {format_money(version.minimum_micro, currency)}"
    if version.power_factor is not None:
        yield f"  {_power_factor(version.power_factor)}"


def _time_of_use(tou: TimeOfUse) -> Iterator[str]:
    for zone, following in zip(tou.zones, [*tou.zones[1:], tou.zones[0]], strict=True):
        last = date(LEAP_YEAR, following.month, following.day) - timedelta(days=1)
        yield f"  zone {_day(zone.month, zone.day)} to {_day(last.month, last.day)}: day table {zone.table}"
    if tou.weekend_table is not None:
        days = ", ".join(calendar.day_abbr[day - 1] for day in tou.weekend)
        yield f"  {days}: day table {tou.weekend_table}"
    for table in sorted(set(tou.holidays.values())):
        yield f"  holidays: day table {table} on {', '.join(sorted(d for d, t in tou.holidays.items() if t == table))}"
    if tou.holidays_until is not None:
        yield f"  holidays are known until {tou.holidays_until}"
    for name, switches in tou.tables.items():
        yield f"  day table {name}: {', '.join(_spans(switches))}"


def _spans(switches: Sequence[Switch]) -> Iterator[str]:
    for switch, end in zip(switches, [*(s.minute for s in switches[1:]), 1440], strict=True):
        yield f"{_time(switch.minute)}-{_time(end)} {switch.rate.value}"


def _steps(steps: Steps) -> Iterator[str]:
    counted = "bought" if steps.counted_on is CountedOn.PURCHASES else "used"
    what = "price of the energy" if steps.kind is StepKind.BLOCK else "added to the price"
    yield f"  steps ({what}), counted on what was {counted} since {_resets(steps.resets)}:"
    sign = "+" if steps.kind is StepKind.ADDER else ""
    for number, micro in enumerate(steps.amounts):
        last = f"to {kwh_text(steps.thresholds_wh[number])} kWh" if number < len(steps.thresholds_wh) else "above"
        yield f"    {number + 1}. {last}: {sign}{price_text(micro)}"
    if steps.persons:
        yield f"    each person over {steps.persons} adds {kwh_text(steps.per_person_wh)} kWh to every threshold"
    if steps.per_days is not None:
        yield f"    thresholds scale with the days of the period / {steps.per_days}"


def _band(band: Band, currency: str) -> str:
    parts = [f"surcharge {share_text(band.surcharge_per_mille * 10)}"] if band.surcharge_per_mille else []
    parts += [f"fixed {price_text(band.fixed_micro)} {currency}"] if band.fixed_micro else []
    return f"a period of more than {kwh_text(band.over_wh)} kWh: {', '.join(parts) or 'nothing'}"


def _fee(fee: Fee) -> str:
    least = f", at least {fee.least_kw} kW" if fee.least_kw else ""
    whole = "" if fee.prorated or fee.basis not in (FeeBasis.PERIOD, FeeBasis.KVA) else ", whole also for a part of a period"
    return f"fee {fee.id}: {price_text(fee.micro)} {FEE_BASES[fee.basis]}{least}{whole}"


def _power_factor(rule: PowerFactor) -> str:
    best, worst = rule.adjust[0], rule.adjust[-1]
    return (
        f"power factor: standard {_factor(rule.standard)}, from {share_text(best[1])} at {_factor(best[0])} "
        f"to {share_text(worst[1])} at {_factor(worst[0])}"
    )


def _factor(of_hundred: int) -> str:
    return f"{of_hundred // 100}.{of_hundred % 100:02d}"


def _rate(rate: Rate) -> str:
    return "" if rate is Rate.SINGLE else f"{rate.value} "


def _resets(resets: Sequence[Reset]) -> str:
    return " and ".join(
        f"{_day(reset.month, reset.day) if reset.month else f'day {reset.day} of every month'} {_time(reset.hour * 60)}"
        for reset in resets
    )


def _day(month: int, day: int) -> str:
    return f"{month:02d}-{day:02d}"


def _time(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
