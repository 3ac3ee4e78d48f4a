"""What an account used in a period, as far as it is known: the whole state that a tariff's money depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.domain.price_list import Rate

STEPS = "/steps"
"""Ends the name of a step period that is not the bill's (a year's steps on monthly bills): its use is kept apart."""


@dataclass(frozen=True, slots=True)
class Portion:
    """The part of a span between two registers that lies in one bill period, version, season and step period, UTC ms.

    total_wh moves the steps, wh (by rate) the price of the time. step_period: None where the bill's period is the steps' too, or
    there are none. estimated: the energy was shared out, for want of a reading at a boundary; rule: how.
    """

    period: str
    version: str
    season: str
    from_ms: int
    to_ms: int
    total_wh: int
    wh: Mapping[Rate, int]
    estimated: bool = False
    rule: str = ""
    step_period: str | None = None
    reactive_varh: int = 0


@dataclass(frozen=True, slots=True)
class Tranche:
    """Energy of a period under one version and season. In a step period of its own, only the total counts, and no season."""

    version: str
    season: str
    total_wh: int
    wh: Mapping[Rate, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PeriodUse:
    """What was used in a period (its local begin, ISO minutes; or that and STEPS). Times UTC ms.

    tranches: in order of version and season id, none of them zero. until_ms: fees are accrued to there, None: not at all yet.
    demand_w: the highest. reactive_varh: 0 where it is not measured. closed: the period has ended, its minimum and power factor
    hold.
    """

    period: str
    from_ms: int
    to_ms: int
    tranches: tuple[Tranche, ...] = ()
    until_ms: int | None = None
    demand_w: int = 0
    reactive_varh: int = 0
    closed: bool = False

    @property
    def total_wh(self) -> int:
        """All energy of the period."""
        return sum([tranche.total_wh for tranche in self.tranches])


def with_portion(use: PeriodUse, portion: Portion, sign: int = 1) -> PeriodUse:
    """The use after a portion was added (sign 1) or taken back (-1). ValueError where more is taken back than there was."""
    if use.period == portion.step_period:
        return replace(use, tranches=_moved(use, portion.version, "", sign * portion.total_wh, {}, sign))
    tranches = _moved(use, portion.version, portion.season, sign * portion.total_wh, portion.wh, sign)
    return replace(use, tranches=tranches, reactive_varh=_not_below(use, use.reactive_varh + sign * portion.reactive_varh))


def accrued(use: PeriodUse, until_ms: int) -> PeriodUse:
    """The use with its fees accrued to a moment, never back; closed when the period has ended by then."""
    until_ms = min(until_ms, use.to_ms)
    if use.period.endswith(STEPS) or until_ms <= (use.from_ms if use.until_ms is None else use.until_ms):
        return use
    return replace(use, until_ms=until_ms, closed=use.closed or until_ms == use.to_ms)


def _moved(use: PeriodUse, version: str, season: str, total_wh: int, wh: Mapping[Rate, int], sign: int) -> tuple[Tranche, ...]:
    kept = {(tranche.version, tranche.season): tranche for tranche in use.tranches}
    found = kept.pop((version, season), None)
    moved = {} if found is None else dict(found.wh)
    for rate, amount in wh.items():
        moved[rate] = _not_below(use, moved.get(rate, 0) + sign * amount)
        if not moved[rate]:
            del moved[rate]
    total_wh = _not_below(use, total_wh + (0 if found is None else found.total_wh))
    if total_wh or moved:
        kept[version, season] = Tranche(version, season, total_wh, moved)
    return tuple(kept[key] for key in sorted(kept))


def _not_below(use: PeriodUse, amount: int) -> int:
    if amount < 0:
        raise ValueError(f"more energy is taken back from {use.period} than was added to it")
    return amount
