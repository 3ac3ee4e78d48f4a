"""Our books beside a meter's own arithmetic (prepayment.md f): exact to the hundredth that it shows, without any tolerance.

A meter counts 0.01 kWh at 0.0001 per kWh, which is one micro-unit, and shows hundredths truncated toward zero. So what it shows is
a span of 10,000 micro-units, and what our books can be at that moment another one: of the register before and after the question.
Their difference narrows with every reading; when nothing is left of it, one of the two has counted otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain.price_list import CountedOn, StepKind, Tariff

FEN = 10_000
"""Micro-units in a hundredth."""

PRICE_STEP = 100
"""Micro-units per kWh in the 0.0001 that a meter's price has."""


@dataclass(frozen=True, slots=True)
class Span:
    """Micro-units, both ends included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"a span from {self.low} to {self.high} holds nothing")

    def holds(self, micro: int) -> bool:
        """Whether this amount is possible."""
        return self.low <= micro <= self.high

    def moved(self, micro: int) -> Span:
        """The same, so much higher."""
        return Span(self.low + micro, self.high + micro)

    def meet(self, other: Span) -> Span | None:
        """What both allow; None where nothing is."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return Span(low, high) if low <= high else None


def shown(micro: int) -> tuple[int, int]:
    """(remaining, overdrawn) in hundredths, as a meter shows a balance: truncated toward zero, one of them 0."""
    fen = abs(micro) // FEN
    return (fen, 0) if micro >= 0 else (0, fen)


def span_of(remaining: int, overdrawn: int) -> Span:
    """Every balance that is shown like that. ValueError where both are above zero."""
    if remaining and overdrawn:
        raise ValueError(f"a wallet shows {remaining} left and {overdrawn} overdrawn at once")
    if overdrawn:
        return Span(-overdrawn * FEN - FEN + 1, -overdrawn * FEN)
    return Span(remaining * FEN if remaining else 1 - FEN, remaining * FEN + FEN - 1)


def offset(meter: Span, books: Span) -> Span:
    """What the meter has more than the books, given what both can be."""
    return Span(meter.low - books.high, meter.high - books.low)


def align(difference: Span) -> int:
    """The least that must be added to the books so that both can be equal."""
    return difference.low if difference.low > 0 else min(difference.high, 0)


def unfit(tariff: Tariff) -> str | None:
    """Why no meter counts by this tariff as our books do, in the words after "its tariff"; None where one can."""
    for version in tariff.versions:
        if version.fees or version.bands or version.minimum_micro or version.power_factor or version.free_wh:
            return "has fees, bands, a minimum or free energy, which a meter does not know"
        if version.tou is not None:
            return "shares energy out by time, where a meter counts by register"
        prices = [price for season in version.seasons for price in season.prices.values()]
        steps = version.steps
        if steps is not None and (steps.kind is not StepKind.ADDER or steps.counted_on is not CountedOn.USE):
            return "has steps that are no adders on what is used"
        if any(price % PRICE_STEP for price in prices):
            return "has prices finer than 0.0001 per kWh, which is a meter's step"
    return "rounds what a meter does not round" if tariff.rounding is not None else None
