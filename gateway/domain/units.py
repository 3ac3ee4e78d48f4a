"""Money in micro-units of the currency, energy in watt-hours: integers inside, decimal strings at the edges."""

from __future__ import annotations

import re
from decimal import Decimal

MICRO = 1_000_000
"""Micro-units per unit of currency (prepayment.md f: 0.01 kWh x 0.0001 yuan/kWh is exactly one)."""

DECIMALS = {"CNY": 2, "EUR": 2, "GBP": 2, "USD": 2, "ZAR": 2, "LKR": 2}
"""Decimals of the currencies we know; another currency is refused where it is configured."""

_MONEY = re.compile(r"(0|[1-9][0-9]{0,8})\.([0-9]+)", re.ASCII)
_PRICE = re.compile(r"(0|[1-9][0-9]{0,5})(?:\.([0-9]{1,6}))?", re.ASCII)


def parse_money(text: str, currency: str) -> int:
    """Micro-units of a decimal string with exactly the currency's decimals ("50.00"); ValueError says what is wrong."""
    decimals = DECIMALS.get(currency)
    if decimals is None:
        raise ValueError(f"currency {currency!r} is not known here")
    match = _MONEY.fullmatch(text)
    if not match or len(match[2]) != decimals:
        raise ValueError(f"money in {currency} is written with exactly {decimals} decimals, like {'50.' + '0' * decimals}")
    return int(match[1]) * MICRO + int(match[2]) * int(10 ** (6 - decimals))


def format_money(micro: int, currency: str) -> str:
    """The decimal string a person sees, truncated toward zero (contract.md 3); rules use the exact number."""
    decimals = DECIMALS[currency]
    step = int(10 ** (6 - decimals))
    shown = abs(micro) // step
    sign = "-" if micro < 0 and shown else ""
    return f"{sign}{shown // 10**decimals}.{shown % 10**decimals:0{decimals}d}"


def parse_signed_money(text: str, currency: str) -> int:
    """Like parse_money, with an optional leading minus: thresholds and limits of a policy may lie below zero."""
    return -parse_money(text[1:], currency) if text.startswith("-") else parse_money(text, currency)


def parse_price(text: str) -> int:
    """Micro-units per kWh of a decimal string with at most 6 decimals ("0.617"); ValueError otherwise."""
    match = _PRICE.fullmatch(text)
    if not match:
        raise ValueError(f"a price per kWh is a decimal string with at most 6 decimals, like 0.617, not {text!r}")
    return int(match[1]) * MICRO + int((match[2] or "").ljust(6, "0"))


def kwh_to_wh(kwh: Decimal) -> int:
    """Whole watt-hours of a register in kWh; ValueError when the register is finer than 1 Wh."""
    wh = kwh.scaleb(3)
    if wh != wh.to_integral_value():
        raise ValueError(f"{kwh} kWh is finer than 1 Wh")
    return int(wh)


def kw_to_w(kw: Decimal) -> int:
    """Watts of a power in kW, truncated toward zero (a limit is compared in whole watts)."""
    return int(kw.scaleb(3))
