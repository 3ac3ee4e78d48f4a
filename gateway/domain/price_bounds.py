"""Between which prices energy lies whose time is not known: what a customer may still be given back, and what may have flowed
where nobody could read (prepayment.md 3 and 5, F1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.domain import tariffs
from gateway.domain.calendars import calendar_of
from gateway.domain.estimates import Estimate, portions_by
from gateway.domain.period_use import PeriodUse, Portion
from gateway.domain.price_list import CountedOn, Tariff, Terms, Version

TEN_THOUSAND, THOUSAND = 10_000, 1_000
WH_OF_KWH = 1_000


def open_portions(tariff: Tariff, estimates: Iterable[Estimate]) -> tuple[Portion, ...]:
    """What of these charges is only shared out."""
    return tuple(p for each in estimates for p in portions_by(tariff, each.points) if p.estimated)


def most_back(tariff: Tariff, terms: Terms, uses: Mapping[str, PeriodUse], shared: Sequence[Portion]) -> int:
    """The most, in micro-units, that readings of the boundaries could still give back of energy that was shared out.

    What the energy costs on top of all else that is known of its periods, less what it costs at the tariff's lowest price: no
    other split leaves the customer more.
    """
    if not shared:
        return 0
    posted = -tariffs.charge(tariff, terms, uses, (), take=shared).micro
    versions = _between(tariff, min(p.from_ms for p in shared), max(p.to_ms for p in shared))
    by_rate = sum(wh for portion in shared for wh in portion.wh.values())
    total = sum(portion.total_wh for portion in shared)
    least = min(_least(version, by_rate, total) for version in versions)
    return max(posted - least, 0)


def highest_cost(tariff: Tariff, wh: int, from_ms: int, to_ms: int) -> int:
    """What this energy costs at most, in micro-units, used at any time of the span."""
    return max(_most(version, wh) for version in _between(tariff, from_ms, to_ms))


def _between(tariff: Tariff, from_ms: int, to_ms: int) -> Sequence[Version]:
    starts = calendar_of(tariff).starts
    ends = [*starts[1:], None]
    found = [
        version
        for version, start, end in zip(tariff.versions, starts, ends, strict=True)
        if start <= to_ms and (end is None or end > from_ms)
    ]
    return found or tariff.versions[:1]


def _amounts(version: Version) -> Sequence[int]:
    steps = version.steps
    return steps.amounts if steps is not None and steps.counted_on is CountedOn.USE else (0,)


def _prices(version: Version) -> Sequence[int]:
    return [price for season in version.seasons for price in season.prices.values()] or [0]


def _least(version: Version, by_rate_wh: int, total_wh: int) -> int:
    """Nothing at all where the period may bear the energy anyway: free, under a minimum, or better for the power factor."""
    if version.free_wh or version.minimum_micro or version.power_factor or version.bands:
        return 0
    return (min(_prices(version)) * by_rate_wh + min(_amounts(version)) * total_wh) // WH_OF_KWH


def _most(version: Version, wh: int) -> int:
    price = max(_prices(version)) + max(_amounts(version))
    surcharge = max((band.surcharge_per_mille for band in version.bands), default=0)
    factor = max((change for _, change in version.power_factor.adjust), default=0) if version.power_factor else 0
    energy = -(-wh * price // WH_OF_KWH)
    return energy * (THOUSAND + surcharge) * (TEN_THOUSAND + max(factor, 0)) // (THOUSAND * TEN_THOUSAND)
