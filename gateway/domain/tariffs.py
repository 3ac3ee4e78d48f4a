"""From registers to money: the charge between two readings is the difference of the cumulative cost at each (design.md 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.domain.readings import Registers


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices in micro-units per kWh by energy register: flat prices the total, two-rate prices the meter's rate registers."""

    id: str
    currency: str
    prices: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Line:
    """One explained line of a charge: register, its two readings in Wh, price in micro per kWh, amount in micro-units."""

    register: str
    from_wh: int
    to_wh: int
    price_micro_per_kwh: int
    amount_micro: int


class UnpricedRegister(ValueError):
    """A rate register moved that the tariff names no price for; billing must stop rather than give energy away."""


def charge(tariff: Tariff, before: Registers, after: Registers) -> tuple[Line, ...]:
    """The priced lines between two confirmed readings; charges over any split of the same span add up to the same sum.

    Each register's cumulative cost is floor(Wh x price / 1000); the remainder below a micro-unit is carried by it.
    Raises UnpricedRegister when the meter lacks a priced register, or a rate moved that has no price.
    """
    lines = []
    for register, price in tariff.prices.items():
        if register not in before.wh or register not in after.wh:
            raise UnpricedRegister(f"tariff {tariff.id} prices {register}, which this meter does not give")
        start, end = before.wh[register], after.wh[register]
        lines.append(Line(register, start, end, price, _cost(end, price) - _cost(start, price)))
    _no_rate_left_out(tariff, before, after)
    return tuple(lines)


def _cost(wh: int, price_micro_per_kwh: int) -> int:
    return wh * price_micro_per_kwh // 1000


def _no_rate_left_out(tariff: Tariff, before: Registers, after: Registers) -> None:
    if "energy_import" in tariff.prices:
        return
    for register, end in after.wh.items():
        moved = end != before.wh.get(register, end)
        if moved and register != "energy_import" and register not in tariff.prices:
            raise UnpricedRegister(f"{register} moved and tariff {tariff.id} has no price for it")
