"""From registers to money: use is shared out over a tariff's calendar, and a charge is the difference of what its periods cost.

A period's cost is a function of what was used in it (`period_cost.py`), so that charges over any split add up to the same sum, in
whatever order meters and late readings come (design.md 6).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.domain.calendars import Calendar, Stretch, UnpricedTime, calendar_of
from gateway.domain.period_cost import CostLine, Rows, amounts, cost
from gateway.domain.period_use import STEPS, PeriodUse, Portion, Tranche, accrued, with_portion
from gateway.domain.price_list import GapSplit, Rate, Tariff, Terms
from gateway.domain.readings import TOTAL, Registers
from gateway.domain.steps import share
from gateway.domain.vending import Vended, late_fee, recover_debt, vend, weighted_wh

__all__ = [
    "Charge",
    "ChargeLine",
    "CostLine",
    "PeriodUse",
    "Portion",
    "Series",
    "Tranche",
    "UnpricedRegister",
    "UnpricedTime",
    "Vended",
    "charge",
    "cost",
    "late_fee",
    "periods",
    "portions",
    "price_series",
    "recover_debt",
    "vend",
    "weighted_wh",
]

AS_READ = "as read"


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """By how much a cost line of a period changed: energy in Wh and micro-units; price and rule as they now stand."""

    period: str
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


@dataclass(frozen=True, slots=True)
class Charge:
    """What is posted (the sum of the lines' micro-units), and the uses that changed, as they now stand."""

    lines: tuple[ChargeLine, ...]
    uses: Mapping[str, PeriodUse]

    @property
    def micro(self) -> int:
        """The whole charge."""
        return sum([line.micro for line in self.lines])


@dataclass(frozen=True, slots=True)
class Series:
    """What a profile used and costs, by period."""

    uses: Mapping[str, PeriodUse]
    costs: Mapping[str, tuple[CostLine, ...]]

    @property
    def micro(self) -> int:
        """What the whole profile costs."""
        return sum(line.micro for lines in self.costs.values() for line in lines)


class UnpricedRegister(ValueError):
    """A rate moved that the tariff names no price for, or lacks its register; billing must stop rather than give energy away."""


def portions(tariff: Tariff, start: Registers, end: Registers, *, reactive_varh: int = 0) -> tuple[Portion, ...]:
    """The energy between two registers, in portions that each lie in one period, version, season and step period.

    A span that crosses a boundary without a reading there is shared by time (or over billing months), by largest remainder; so is,
    within a portion, energy of rates that the meter keeps no register for: both are estimated. Registers without a change give
    portions without energy, so that fees can be accrued. Raises UnpricedRegister, UnpricedTime; ValueError when a register or the
    time goes back.
    """
    if end.at_ms < start.at_ms:
        raise ValueError(f"registers of {end.at_ms} cannot follow those of {start.at_ms}")
    book = calendar_of(tariff)
    parts = [
        _Part(stretch, max(stretch.from_ms, start.at_ms), min(stretch.to_ms, end.at_ms), *_basis(stretch))
        for stretch in book.stretches(start.at_ms, end.at_ms)
    ]
    _no_rate_left_out(tariff, start, end, parts)
    if len(parts) == 1:
        read = {name: _moved(tariff, start, end, name) for names in parts[0].registered.values() for name in names}
        return (_portion(book, parts[0], _moved(tariff, start, end, TOTAL), read, reactive_varh, AS_READ),)
    return _shared(tariff, start, end, parts, reactive_varh)


def _shared(tariff: Tariff, start: Registers, end: Registers, parts: Sequence[_Part], reactive_varh: int) -> tuple[Portion, ...]:
    """Without a reading at the boundaries: each register shared over the parts that price it."""
    if tariff.split is GapSplit.BILLING_MONTHS:
        weights, rule = _by_months(parts), "shared over billing months"
    else:
        weights, rule = [part.to_ms - part.from_ms for part in parts], "shared by time"
    totals, reactive = share(_moved(tariff, start, end, TOTAL), weights), share(reactive_varh, weights)
    read: list[dict[str, int]] = [{} for _ in parts]
    for name in {name: None for part in parts for names in part.registered.values() for name in names}:
        where = [weight * _priced(name, part) for part, weight in zip(parts, weights, strict=True)]
        for found, wh in zip(read, share(_moved(tariff, start, end, name), where), strict=True):
            found[name] = wh
    return tuple(
        _portion(calendar_of(tariff), part, total_wh, by_name, varh, rule)
        for part, total_wh, by_name, varh in zip(parts, totals, read, reactive, strict=True)
    )


def periods(shared: Iterable[Portion]) -> frozenset[str]:
    """The names of the uses that a charge of these portions needs."""
    return frozenset(name for portion in shared for name in (portion.period, portion.step_period) if name is not None)


def charge(
    tariff: Tariff,
    terms: Terms,
    uses: Mapping[str, PeriodUse],
    add: Sequence[Portion],
    *,
    take: Sequence[Portion] = (),
    until_ms: int | None = None,
    demand_w: Mapping[str, int] | None = None,
) -> Charge:
    """The charge for portions added and (estimates that a freeze replaces, corrections) taken back.

    uses: of `periods(add)` and `periods(take)`, where there are any yet, and of periods whose fees are to go on. until_ms: fees are
    accrued to there, and periods that have ended are closed. demand_w: the highest measured in a period. ValueError when more is
    taken back than there was, or nothing is known of a period with a demand.
    """
    book = calendar_of(tariff)
    after = dict(uses)
    for sign, moved in ((1, add), (-1, take)):
        for portion in moved:
            for name in (portion.period, portion.step_period):
                if name is not None:
                    use = after.get(name) or _begun(book, portion, name)
                    after[name] = with_portion(use, portion, sign)
    for name, watts in (demand_w or {}).items():
        if name not in after:
            raise ValueError(f"nothing is known of the use of {name}, whose demand was measured")
        after[name] = replace(after[name], demand_w=max(after[name].demand_w, watts))
    if until_ms is not None:
        after = {name: accrued(_as_long(book, use), until_ms) for name, use in after.items()}
    changed = {name: use for name, use in after.items() if use is not uses.get(name)}
    lines: list[ChargeLine] = []
    for name in sorted(changed):
        before = uses.get(name)
        lines += _differences(name, {} if before is None else amounts(tariff, terms, before), amounts(tariff, terms, changed[name]))
    return Charge(tuple(lines), changed)


def price_series(tariff: Tariff, terms: Terms, points: Sequence[tuple[int, int]]) -> Series:
    """What a profile (UTC ms and total register in Wh, rising) costs, rates by the clock: as if `charge` were called at each point.

    Points between which neither rate nor period changes make one portion, so that a year of quarter-hours is as many as it has
    switches. Raises UnpricedRegister where only the meter knows the rates; ValueError when the register goes back.
    """
    book = calendar_of(tariff).by_clock()
    times = [at_ms for at_ms, _ in points]
    if any(later < earlier for (_, earlier), (_, later) in itertools.pairwise(points)) or times != sorted(times):
        raise ValueError("a profile's register or time goes back")
    uses: dict[str, PeriodUse] = {}
    place = 0
    while place < len(points) - 1:
        last = max(bisect_right(times, book.boundary_after(times[place]), place) - 1, place + 1)
        start, end = (Registers(at_ms, {TOTAL: wh}) for at_ms, wh in (points[place], points[last]))
        for portion in portions(book.tariff, start, end):
            for name in (portion.period, portion.step_period):
                if name is not None:
                    uses[name] = with_portion(uses.get(name) or _begun(book, portion, name), portion)
        place = last
    uses = {name: accrued(use, times[-1]) for name, use in uses.items()}
    return Series(uses, {name: cost(book.tariff, terms, use) for name, use in uses.items()})


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch within a span, and how its priced rates are told: by registers of the meter, or by the clock."""

    stretch: Stretch
    from_ms: int
    to_ms: int
    registered: Mapping[Rate, tuple[str, ...]]
    clocked: frozenset[Rate]


def _basis(stretch: Stretch) -> tuple[Mapping[Rate, tuple[str, ...]], frozenset[Rate]]:
    known = stretch.version.registers
    registered = {rate: known[rate] for rate in stretch.season.prices if known.get(rate)}
    return registered, frozenset(rate for rate in stretch.season.prices if rate not in registered)


def _priced(name: str, part: _Part) -> bool:
    return any(name in names for names in part.registered.values())


def _by_months(parts: Sequence[_Part]) -> list[int]:
    """Weights by which every billing month counts alike, however many days it has; one that is only touched, by its share."""
    months_ms = [part.stretch.bill.full[1] - part.stretch.bill.full[0] for part in parts]
    common = math.lcm(*months_ms)
    return [(part.to_ms - part.from_ms) * (common // month_ms) for part, month_ms in zip(parts, months_ms, strict=True)]


def _moved(tariff: Tariff, start: Registers, end: Registers, name: str) -> int:
    if name not in start.wh or name not in end.wh:
        raise UnpricedRegister(f"tariff {tariff.id} prices {name}, which this meter does not give")
    if end.wh[name] < start.wh[name]:
        raise ValueError(f"{name} goes back from {start.wh[name]} to {end.wh[name]} Wh")
    return end.wh[name] - start.wh[name]


def _no_rate_left_out(tariff: Tariff, start: Registers, end: Registers, parts: Sequence[_Part]) -> None:
    named = {name for part in parts for names in part.registered.values() for name in names}
    if not named or TOTAL in named or any(part.clocked for part in parts):
        return
    for name, wh in end.wh.items():
        if name != TOTAL and name not in named and wh != start.wh.get(name, wh):
            raise UnpricedRegister(f"{name} moved and tariff {tariff.id} has no price for it")


def _portion(book: Calendar, part: _Part, total_wh: int, read: Mapping[str, int], reactive_varh: int, rule: str) -> Portion:
    wh = {rate: sum([read[name] for name in names]) for rate, names in part.registered.items()}
    rest_wh = max(total_wh - sum(wh.values()), 0) if part.clocked else 0
    shared = rule != AS_READ and bool(total_wh or any(wh.values()) or reactive_varh)
    if rest_wh:
        by_clock = _by_clock(book, part, rest_wh)
        wh.update(by_clock)
        if len(by_clock) > 1:
            rule = "rates by the clock, " + ("shared by time" if rule == AS_READ else rule)
            shared = True
    stretch = part.stretch
    return Portion(
        stretch.bill.name, stretch.version.id, stretch.season.id, part.from_ms, part.to_ms,
        total_wh, wh, shared, rule, stretch.step_period, reactive_varh,
    )  # fmt: skip


def _by_clock(book: Calendar, part: _Part, wh: int) -> dict[Rate, int]:
    """Energy of rates without a register, by how long each held."""
    held = book.held(part.stretch, part.from_ms, part.to_ms)
    if unpriced := held.keys() - part.stretch.season.prices.keys():
        version, season = part.stretch.version.id, part.stretch.season.id
        raise UnpricedTime(f"{min(unpriced)} holds in season {season} of version {version}, which has no price for it")
    rates = [rate for rate in held if rate in part.clocked]
    return dict(zip(rates, share(wh, [held[rate] for rate in rates]), strict=True)) if rates else {}


def _begun(book: Calendar, portion: Portion, name: str) -> PeriodUse:
    stretch = book.stretch(portion.from_ms)
    span = stretch.steps if name == portion.step_period else stretch.bill
    assert span is not None
    return PeriodUse(name, span.from_ms, span.to_ms)


def _as_long(book: Calendar, use: PeriodUse) -> PeriodUse:
    """A period that a version with other resets came to cut short ends there."""
    to_ms = use.to_ms if use.period.endswith(STEPS) else book.bill(use.from_ms).to_ms
    return use if to_ms == use.to_ms else replace(use, to_ms=to_ms)


def _differences(period: str, before: Rows, after: Rows) -> list[ChargeLine]:
    lines = []
    for key in {**after, **before}:
        wh, price, micro, rule = after.get(key) or (0, *before[key][1:2], 0, before[key][3])
        was = before.get(key)
        if was is not None:
            wh, micro = wh - was[0], micro - was[2]
        if wh or micro:
            component, version, season, rate, step, name = key
            lines.append(ChargeLine(period, component, version, season, rate, step, wh, price, micro, rule, name))
    return lines
