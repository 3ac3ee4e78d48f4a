"""What a period costs, by what was used in it: one pure function, so that a charge is a difference and any split adds up.

Inside, amounts are nano-units: Wh times micro per kWh. Shares by days, per mille or power factor are floored to the nano-unit.
What holds for a whole period (fixed charge, fees that are not by the day, minimum, power factor) is of the version it began with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

from gateway.domain.calendars import Calendar, calendar_of
from gateway.domain.period_use import STEPS, PeriodUse, Tranche
from gateway.domain.price_list import (
    Band,
    CountedOn,
    Fee,
    FeeBasis,
    PowerFactor,
    Rate,
    Rounding,
    RoundingMode,
    RoundingPlace,
    StepKind,
    Tariff,
    Terms,
    Version,
)
from gateway.domain.steps import Rung, climbed, kwh, share

NANO = 1_000
"""Nano-units of a micro-unit."""

PRICE_OF_ENERGY = ("energy", "step", "allowance")
"""The components that a band's surcharge is counted on."""

PRICED_BY_FACTOR = (*PRICE_OF_ENERGY, "basic")
"""The components that a power factor changes: not the surcharges, which are for others' purposes."""

ENERGY, FREE = "energy at its rate's price", "free of charge"

Key = tuple[str, str, str, Rate | None, int | None, str]
"""Component, version, season, rate, step, and the fee's id or what is rounded."""

Amount = tuple[int, int, int, str]
"""Energy in Wh, price in micro, amount, rule."""

Rows = dict[Key, Amount]


@dataclass(frozen=True, slots=True)
class CostLine:
    """One cumulative line of a period. component: energy | step | allowance | surcharge | fixed | basic | power_factor | minimum |
    rounding. name: a fee's id, or what is rounded. wh: that bears the price, negative where it is free; 0 where none does.
    """

    component: str
    version: str
    season: str
    rate: Rate | None
    step: int | None
    wh: int
    price_micro: int
    micro: int
    rule: str
    name: str = ""


def cost(tariff: Tariff, terms: Terms, use: PeriodUse) -> tuple[CostLine, ...]:
    """What a period costs up to where its use stands, as lines whose sum is posted."""
    return tuple(
        CostLine(component, version, season, rate, step, wh, price, micro, rule, name)
        for (component, version, season, rate, step, name), (wh, price, micro, rule) in amounts(tariff, terms, use).items()
    )


def amounts(tariff: Tariff, terms: Terms, use: PeriodUse) -> Rows:
    """The lines of `cost` by their key, in micro-units."""
    book = calendar_of(tariff)
    rows: Rows = {}
    tranches: Sequence[Tranche] = use.tranches
    if len(tranches) > 1:
        tranches = sorted(tranches, key=lambda each: book.order(each.version, each.season, use.from_ms, use.to_ms))
    if use.period.endswith(STEPS):
        _steps(book, terms, use, tranches, rows)
        return _posted(tariff.rounding, rows)
    _energy(book, tranches, rows)
    _steps(book, terms, use, tranches, rows)
    if not book.energy_only:
        _allowance(book, terms, use, tranches, rows)
        first = book.stretch(min(max(use.from_ms, book.since_ms(terms), book.starts[0]), use.to_ms - 1)).version
        _surcharges(book, terms, use, tranches, rows)
        _fixed(book, terms, use, first, rows)
        if use.until_ms is not None:
            _fees(book, terms, use, first, rows)
        if use.closed and first.power_factor is not None and use.reactive_varh:
            _power_factor(first, first.power_factor, use, rows)
        if use.closed:
            return _posted(tariff.rounding, rows, first)
    return _posted(tariff.rounding, rows)


def _energy(book: Calendar, tranches: Sequence[Tranche], rows: Rows) -> None:
    for tranche in tranches:
        for rate, price in book.seasons[tranche.version, tranche.season].prices.items():
            if wh := tranche.wh.get(rate, 0):
                rows["energy", tranche.version, tranche.season, rate, None, ""] = (wh, price, wh * price, ENERGY)


def _steps(book: Calendar, terms: Terms, use: PeriodUse, tranches: Sequence[Tranche], rows: Rows) -> None:
    """Steps over the total, version after version: what was used under one moves the next one's steps on."""
    used_wh = 0
    for tranche in tranches:
        kind, rungs = _rungs(book, terms, use, tranche.version)
        if not rungs:
            continue
        component = "energy" if kind is StepKind.BLOCK else "step"
        for number, wh, rung in climbed(rungs, used_wh, used_wh + tranche.total_wh):
            key = (component, tranche.version, "", None, number, "")
            wh += rows[key][0] if key in rows else 0
            rows[key] = (wh, rung.amount, wh * rung.amount, rung.rule)
        used_wh += tranche.total_wh


def _rungs(book: Calendar, terms: Terms, use: PeriodUse, version_id: str) -> tuple[StepKind | None, tuple[Rung, ...]]:
    """The steps of a version that count in this use; none where they have a period of their own."""
    version = book.versions[version_id]
    if version.steps is None or version.steps.counted_on is CountedOn.PURCHASES:
        return None, ()
    stretch = book.stretch(max(use.from_ms, book.begins[version_id]))
    if stretch.steps is None or (stretch.step_period or stretch.bill.name) != use.period:
        return version.steps.kind, ()
    return version.steps.kind, book.rungs(version_id, stretch.steps, terms)


def _allowance(book: Calendar, terms: Terms, use: PeriodUse, tranches: Sequence[Tranche], rows: Rows) -> None:
    """Takes off again what is free: the first energy of the period, in proportion to its rates; of blocks the lowest."""
    used_wh = stepped_wh = 0
    for tranche in tranches:
        version = book.versions[tranche.version]
        free_wh = max(min(used_wh + tranche.total_wh, version.free_wh) - used_wh, 0)
        kind, rungs = _rungs(book, terms, use, tranche.version)
        if kind is StepKind.BLOCK and version.steps is not None:
            lowest = rungs or (Rung(0, None, version.steps.amounts[0], ""),)
            for number, wh, rung in climbed(lowest, stepped_wh, stepped_wh + free_wh):
                rows["allowance", tranche.version, tranche.season, None, number, ""] = (-wh, rung.amount, -wh * rung.amount, FREE)
        elif free_wh:
            prices = book.seasons[tranche.version, tranche.season].prices
            rates = [rate for rate in prices if rate in tranche.wh]
            for rate, wh in zip(rates, share(free_wh, [tranche.wh[rate] for rate in rates]), strict=True):
                rows["allowance", tranche.version, tranche.season, rate, None, ""] = (-wh, prices[rate], -wh * prices[rate], FREE)
        used_wh += tranche.total_wh
        stepped_wh += tranche.total_wh if rungs else 0


def _surcharges(book: Calendar, terms: Terms, use: PeriodUse, tranches: Sequence[Tranche], rows: Rows) -> None:
    for version_id in dict.fromkeys(tranche.version for tranche in tranches):
        band, over_wh = _band(book, terms, use, book.versions[version_id])
        if band is not None and band.surcharge_per_mille:
            nano = sum(row[2] for key, row in rows.items() if key[0] in PRICE_OF_ENERGY and key[1] == version_id)
            rule = f"{band.surcharge_per_mille} per mille of the energy, as the period is over {kwh(over_wh)} kWh"
            rows["surcharge", version_id, "", None, None, ""] = (0, 0, nano * band.surcharge_per_mille // 1000, rule)


def _fixed(book: Calendar, terms: Terms, use: PeriodUse, first: Version, rows: Rows) -> None:
    band, over_wh = _band(book, terms, use, first)
    begun = use.total_wh or (use.until_ms is not None and use.until_ms > use.from_ms)
    if band is not None and band.fixed_micro and begun:
        rule = f"fixed charge of a period over {kwh(over_wh)} kWh"
        rows["fixed", first.id, "", None, None, ""] = (0, band.fixed_micro, band.fixed_micro * NANO, rule)


def _band(book: Calendar, terms: Terms, use: PeriodUse, version: Version) -> tuple[Band | None, int]:
    """The band of the period's total, and over how much it begins. One that begins over 0 holds where nothing is used, too."""
    found: tuple[Band | None, int] = None, 0
    for band in version.bands:
        over_wh = band.over_wh
        if version.steps is not None and version.steps.per_days is not None:
            over_wh = over_wh * book.service_days(book.bill(use.from_ms), terms) // version.steps.per_days
        if use.total_wh > over_wh or not over_wh:
            found = band, over_wh
    return found


def _fees(book: Calendar, terms: Terms, use: PeriodUse, first: Version, rows: Rows) -> None:
    assert use.until_ms is not None
    since_ms = max(use.from_ms, book.since_ms(terms))
    of_days = book.days(*book.bill(use.from_ms).full)
    for version, begin_ms, end_ms in book.reigns(use.from_ms, min(use.until_ms, use.to_ms)):
        days = book.days(max(begin_ms, since_ms), end_ms)
        for fee in version.fees:
            whole, rule = _whole(fee, terms, use)
            if fee.basis is FeeBasis.DAY:
                nano, rule = whole * days, f"{days} days"
            elif fee.prorated and fee.basis is not FeeBasis.DEMAND:
                nano, rule = whole * days // of_days, f"{rule}, {days} of {of_days} days"
            else:
                nano = whole if version is first and use.until_ms > since_ms else 0
            if nano:
                rows["basic", version.id, "", None, None, fee.id] = (0, fee.micro, nano, rule)


def _whole(fee: Fee, terms: Terms, use: PeriodUse) -> tuple[int, str]:
    """A fee's nano-units for a whole period (or a day), and what it is counted by."""
    if fee.basis is FeeBasis.KVA:
        return fee.micro * terms.contract_va, f"{kwh(terms.contract_va)} kVA"
    if fee.basis is FeeBasis.DEMAND:
        demand_w = max(use.demand_w, fee.least_kw * 1000)
        return fee.micro * demand_w, f"highest demand {kwh(demand_w)} kW"
    return fee.micro * NANO, "each period"


def _power_factor(version: Version, rule: PowerFactor, use: PeriodUse, rows: Rows) -> None:
    factor = power_factor(use.total_wh, use.reactive_varh)
    change = next((change for least, change in rule.adjust if least <= factor), rule.adjust[-1][1])
    if change:
        nano = sum(row[2] for key, row in rows.items() if key[0] in PRICED_BY_FACTOR)
        why = f"power factor {factor} % against {rule.standard} %: {change} per ten thousand"
        rows["power_factor", version.id, "", None, None, ""] = (0, 0, nano * change // 10_000, why)


def power_factor(active_wh: int, reactive_varh: int) -> int:
    """The average power factor in per cent, half up: P / sqrt(P^2 + Q^2). 100 where nothing flowed."""
    square = active_wh**2 + reactive_varh**2
    return (isqrt((200 * active_wh) ** 2 // square) + 1) // 2 if square else 100


def _posted(rule: Rounding | None, rows: Rows, ended: Version | None = None) -> Rows:
    """The rows in micro-units, rounded where the rule says, and what an ended period lacks to its minimum."""
    place = None if rule is None else rule.place
    if ended is not None and place is RoundingPlace.BILL:
        _minimum(ended, NANO, rows)
    if rule is not None and place is RoundingPlace.LINE:
        posted = {key: (wh, price, rounded(nano, rule), why) for key, (wh, price, nano, why) in rows.items()}
    else:
        posted = {key: (wh, price, nano // NANO, why) for key, (wh, price, nano, why) in rows.items()}
    if rule is not None and place is not RoundingPlace.LINE:
        groups: dict[Key, list[Key]] = {}
        for key in rows:
            groups.setdefault(_group(rule.place, key), []).append(key)
        for group, keys in groups.items():
            micro = rounded(sum(rows[key][2] for key in keys), rule) - sum(posted[key][2] for key in keys)
            posted[group] = (0, 0, micro, f"{rule.mode} to {rule.unit_micro} micro-units, by {rule.place}")
    if ended is not None and place is not RoundingPlace.BILL:
        _minimum(ended, 1, posted)
    return posted


def _group(place: RoundingPlace, key: Key) -> Key:
    """The rounding line of what is rounded together: a bill; or a rate, and what has none by its component."""
    if place is RoundingPlace.BILL:
        return ("rounding", "", "", None, None, "bill")
    return ("rounding", "", "", key[3], None, "" if key[3] else key[0])


def _minimum(version: Version, unit: int, rows: Rows) -> None:
    lacks = version.minimum_micro * unit - sum(row[2] for row in rows.values())
    if version.minimum_micro and lacks > 0:
        rows["minimum", version.id, "", None, None, ""] = (0, 0, lacks, "what the period lacks to its minimum")


def rounded(nano: int, rule: Rounding) -> int:
    """An amount of nano-units in micro-units, as the rule rounds a charge."""
    unit = rule.unit_micro * NANO
    if rule.mode is RoundingMode.HALF_UP:
        units = (2 * abs(nano) + unit) // (2 * unit) * (1 if nano > 0 else -1)
    elif rule.mode is RoundingMode.DOWN:
        units = abs(nano) // unit * (1 if nano > 0 else -1)
    else:
        units, rest = divmod(nano, unit)
        units += rule.mode is RoundingMode.HALF_EVEN and 2 * rest + units % 2 > unit
    return units * rule.unit_micro
