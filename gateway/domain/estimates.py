"""Energy that was shared out over boundaries for want of a reading there: what a late freeze replaces (prepayment.md a6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gateway.domain.calendars import Stretch, calendar_of
from gateway.domain.price_list import Tariff
from gateway.domain.readings import TOTAL, Registers
from gateway.domain.tariffs import Portion, portions

MOST_POINTS = 512
"""Readings within one span that are priced apart: five days of quarter-hours; the rest of a longer gap is shared by time."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A charge with estimated portions. entry: the newest of its chain of corrections. points: the registers that it is priced by,
    rising, at least its two ends.
    """

    entry: int
    meter: str
    account: str
    tariff: str
    points: tuple[Registers, ...]

    @property
    def from_ms(self) -> int:
        """Where its span begins, UTC ms."""
        return self.points[0].at_ms

    @property
    def to_ms(self) -> int:
        """Where it ends."""
        return self.points[-1].at_ms


def boundaries(tariff: Tariff, from_ms: int, to_ms: int) -> Iterator[int]:
    """The moments within a span at which its price changes: version, season, period, steps; and rate, where the meter keeps no
    register for each. Raises UnpricedTime.
    """
    book = calendar_of(tariff)
    at_ms = from_ms
    while True:
        stretch = book.stretch(at_ms)
        at_ms = book.boundary_after(at_ms) if _clocked(stretch) else stretch.to_ms
        if at_ms >= to_ms:
            return
        yield at_ms


def priced_registers(tariff: Tariff) -> frozenset[str]:
    """The meter's registers that some price of the tariff is for."""
    return frozenset(
        name
        for version in tariff.versions
        for season in version.seasons
        for rate in season.prices
        for name in version.registers.get(rate, ())
    )


def by_rate(tariff: Tariff) -> bool:
    """Whether a bill by this tariff needs a meter's rate registers."""
    return bool(priced_registers(tariff) - {TOTAL})


def fits(tariff: Tariff, points: Sequence[Registers], new: Registers) -> bool:
    """Whether registers of a moment lie between those around it, and are all that the tariff needs."""
    needed = {TOTAL} | (priced_registers(tariff) & points[0].wh.keys())
    before = [point for point in points if point.at_ms < new.at_ms]
    after = [point for point in points if point.at_ms > new.at_ms]
    if not before or not after or len(before) + len(after) < len(points) or not needed <= new.wh.keys():
        return False
    return all(before[-1].wh[name] <= new.wh[name] <= after[0].wh[name] for name in needed)


def with_point(points: Sequence[Registers], new: Registers) -> tuple[Registers, ...]:
    """The points with another one in its place."""
    return tuple(sorted((*points, new), key=lambda point: point.at_ms))


def portions_by(tariff: Tariff, points: Sequence[Registers]) -> tuple[Portion, ...]:
    """The energy between the first and the last, exact at every point between. Raises UnpricedRegister, UnpricedTime."""
    return tuple(portion for start, end in pairwise(points) for portion in portions(tariff, start, end))


def _clocked(stretch: Stretch) -> bool:
    version = stretch.version
    return version.tou is not None and any(not version.registers.get(rate) for rate in stretch.season.prices)
