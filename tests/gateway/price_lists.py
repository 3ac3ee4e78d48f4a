"""Price lists in a word: one price at any time, or one for each of the meter's rate registers."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.domain.price_list import Rate, Season, Tariff, Version
from gateway.domain.readings import TOTAL
from gateway.domain.tariff_change import ALWAYS

ZONE = "Asia/Shanghai"
RATES = (Rate.PEAK, Rate.VALLEY, Rate.SHARP, Rate.FLAT)


def flat(micro: int, id: str = "flat", currency: str = "CNY") -> Tariff:
    """So many micro-units per kWh of the total register."""
    return _always(id, currency, {Rate.SINGLE: micro}, {Rate.SINGLE: (TOTAL,)})


def by_register(prices: Mapping[str, int], id: str = "two-rate", currency: str = "CNY") -> Tariff:
    """Micro-units per kWh of these rate registers."""
    rates = dict(zip(prices, RATES, strict=False))
    return _always(id, currency, {rates[name]: micro for name, micro in prices.items()}, {rates[name]: (name,) for name in prices})


def _always(id: str, currency: str, prices: Mapping[Rate, int], registers: Mapping[Rate, tuple[str, ...]]) -> Tariff:
    return Tariff(id, currency, ZONE, (Version(ALWAYS, ALWAYS, (Season("year", 1, 1, prices),), registers),))
