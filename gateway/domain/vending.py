"""Money that is not a period's: energy sold ahead, energy weighted for a meter that counts only one, late fees, debts recovered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.domain.calendars import Stretch, calendar_of
from gateway.domain.period_cost import NANO, CostLine
from gateway.domain.price_list import CountedOn, LateFee, Rate, RoundingMode, StepKind, Tariff, Terms
from gateway.domain.steps import Rung, climbed

VEND_WH = 100
"""What a sale is rounded to: a credit token counts 0.1 kWh (IEC 62055-41)."""


@dataclass(frozen=True, slots=True)
class Vended:
    """Energy sold, by step, and the money that was too little for more."""

    energy_wh: int
    lines: tuple[CostLine, ...]
    rest_micro: int


def vend(
    tariff: Tariff, terms: Terms, bought_wh: int, amount_micro: int, *, at_ms: int | None = None, unit_wh: int = VEND_WH
) -> Vended:
    """The energy that an amount buys after so much was bought in the step period, in whole units.

    A tariff that rounds for the customer rounds up and keeps no rest; any other rounds down. at_ms: when, for version, season and
    step period; None: as the newest version begins. ValueError where the price depends on when the energy is used, its steps count
    use, or its last step is free.
    """
    if bought_wh < 0 or amount_micro < 0:
        raise ValueError("neither energy bought nor money paid can be negative")
    book = calendar_of(tariff)
    stretch = book.stretch(book.starts[-1] if at_ms is None else at_ms)
    rungs = _rungs(tariff, stretch, terms)
    up = tariff.rounding is not None and tariff.rounding.mode is RoundingMode.FOR_CUSTOMER
    energy_wh = _bought(rungs, bought_wh, amount_micro * NANO, up)
    energy_wh = -(-energy_wh // unit_wh) * unit_wh if up else energy_wh // unit_wh * unit_wh
    left, lines = amount_micro, []
    for number, wh, rung in climbed(rungs, bought_wh, bought_wh + energy_wh):
        micro = min(wh * rung.amount // NANO, left)
        left -= micro
        step = number if len(rungs) > 1 else None
        place = stretch.version.id, stretch.season.id, Rate.SINGLE
        lines.append(CostLine("energy", *place, step, wh, rung.amount, micro, rung.rule))
    return Vended(energy_wh, tuple(lines), left)


def _rungs(tariff: Tariff, stretch: Stretch, terms: Terms) -> Sequence[Rung]:
    """The steps with the whole price of their energy."""
    steps, price = stretch.version.steps, stretch.season.prices.get(Rate.SINGLE)
    if steps is not None and (steps.counted_on is CountedOn.USE or stretch.steps is None):
        raise ValueError(f"the steps of tariff {tariff.id} count what is used, so that nobody can say what energy ahead costs")
    if price is None and (steps is None or steps.kind is StepKind.ADDER or stretch.season.prices):
        raise ValueError(f"a price of tariff {tariff.id} depends on when energy is used: it cannot be sold ahead")
    if steps is None or stretch.steps is None:
        rungs: Sequence[Rung] = (Rung(0, None, 0, "one price"),)
    else:
        rungs = calendar_of(tariff).rungs(stretch.version.id, stretch.steps, terms)
    if not (price or 0) + rungs[-1].amount:
        raise ValueError(f"the last step of tariff {tariff.id} is free: it cannot be sold")
    return [Rung(rung.from_wh, rung.to_wh, (price or 0) + rung.amount, rung.rule) for rung in rungs]


def _bought(rungs: Sequence[Rung], bought_wh: int, nano: int, up: bool) -> int:
    """What the money buys, to the Wh: a Wh begun counts (up), or does not."""
    at_wh = bought_wh
    for rung in rungs:
        room_wh = None if rung.to_wh is None else max(rung.to_wh - at_wh, 0)
        if room_wh is None or room_wh * rung.amount > nano:
            return at_wh - bought_wh + (-(-nano // rung.amount) if up else nano // rung.amount)
        at_wh, nano = at_wh + room_wh, nano - room_wh * rung.amount
    raise AssertionError("the last step has no end")


def weighted_wh(prices: Mapping[Rate, int], baseline_micro: int, wh: Mapping[Rate, int]) -> int:
    """Energy of rates as energy of the baseline price, floored to the Wh: what a meter that counts one credit takes off."""
    return sum(amount * prices[rate] for rate, amount in wh.items()) // baseline_micro


def late_fee(rule: LateFee, arrears_micro: int, days_same_year: int, days_next_year: int) -> int:
    """The fee in micro-units for arrears so many days late in the year they fell due and after its end (prepayment.md a5)."""
    if arrears_micro <= 0 or days_same_year + days_next_year <= 0:
        return 0
    per_mille = rule.per_mille * days_same_year + rule.per_mille_next_year * days_next_year
    return max(arrears_micro * per_mille // 1000, rule.least_micro)


def recover_debt(
    debt_micro: int, paid_micro: int, share_per_mille: int, weekly_cap_micro: int | None, recovered_this_week_micro: int
) -> int:
    """The part of a payment that goes to a debt: its share, no more than the debt and what the week's cap leaves (None: no cap)."""
    part = min(debt_micro, paid_micro * share_per_mille // 1000)
    if weekly_cap_micro is not None:
        part = min(part, weekly_cap_micro - recovered_this_week_micro)
    return max(part, 0)
