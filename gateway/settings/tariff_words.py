"""The words that a tariff's file is made of: what stands there as text, and the integers that the domain counts in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from gateway.domain.price_list import Rate, Reset, Switch
from gateway.domain.units import parse_price

DAY_MIN = 1440
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LEAP_YEAR = 2000
"""A year that has 02-29, to tell a day of a year from what is none."""

_KWH = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([0-9]{1,3}))?", re.ASCII)
_SHARE = re.compile(r"(-?)(0|[1-9][0-9]{0,3})(?:\.([0-9]{1,2}))?([%‰])")
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])", re.ASCII)
_YEARDAY = re.compile(r"([0-9]{2})-([0-9]{2})", re.ASCII)
_FACTOR = re.compile(r"([01])\.([0-9]{2})", re.ASCII)
_RESET = re.compile(r"(?:([0-9]{2})-)?([0-9]{2})(?: ([01][0-9]|2[0-3]):00)?", re.ASCII)

EVERY = {"month": (Reset(1),), "year": (Reset(1, 0, 1),)}


def _text(value: object, like: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be written in quotes, like {like}")
    return value


def minute(text: str) -> int:
    """The minute of the day of "08:00"; "24:00" is its end. ValueError otherwise."""
    match = _TIME.fullmatch(text)
    if not match or (found := int(match[1]) * 60 + int(match[2])) > DAY_MIN:
        raise ValueError(f"{text!r} is no time of the day; write one like 08:00")
    return found


def clock(of_day: int) -> str:
    """A minute of the day as people write it."""
    return f"{of_day // 60:02d}:{of_day % 60:02d}"


def year_day(text: object) -> tuple[int, int]:
    """Month and day of "05-01". ValueError otherwise."""
    match = _YEARDAY.fullmatch(_text(text, '"05-01"'))
    if match:
        month, day = int(match[1]), int(match[2])
        try:
            date(LEAP_YEAR, month, day)
        except ValueError:
            match = None
    if not match:
        raise ValueError(f"{text!r} is no day of a year; write month and day like 05-01")
    return month, day


def iso_day(value: object) -> str:
    """An ISO date, given back as it is. ValueError otherwise."""
    text = _text(value, '"2026-01-01"')
    try:
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no date; write one like 2026-01-01")


def _wh(value: object) -> int:
    match = _KWH.fullmatch(text := _text(value, '"240"'))
    if not match:
        raise ValueError(f"an energy is a string in kWh with at most 3 decimals, like 240, not {text!r}")
    return int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0"))


def _micro(value: object) -> int:
    return parse_price(_text(value, '"0.617"'))


def _amount(value: object) -> int:
    try:
        return _micro(value)
    except ValueError:
        raise ValueError(f"an amount is a decimal string with at most 6 decimals, like 28.50, not {value!r}") from None


def _ten_thousandths(value: object) -> int:
    match = _SHARE.fullmatch(text := _text(value, '"40%"'))
    hundredths = int(match[2]) * 100 + int((match[3] or "").ljust(2, "0")) if match else 0
    if not match or (match[4] == "‰" and hundredths % 10):
        raise ValueError(f"a share is a string like 40%, 0.75% or 2‰, not {text!r}")
    return (-1 if match[1] else 1) * (hundredths if match[4] == "%" else hundredths // 10)


def _per_mille(value: object) -> int:
    share = _ten_thousandths(value)
    if share < 0 or share % 10:
        raise ValueError(f"a share here is not below zero and no finer than 0.1%, not {value!r}")
    return share // 10


def _factor(value: object) -> int:
    match = _FACTOR.fullmatch(text := _text(value, '"0.90"'))
    if not match or (found := int(match[1]) * 100 + int(match[2])) > 100:
        raise ValueError(f"a power factor is a string like 0.90, not {text!r}")
    return found


def written_factor(of_hundred: int) -> str:
    """A power factor as people write it."""
    return f"{of_hundred // 100}.{of_hundred % 100:02d}"


def _weekday(value: object) -> int:
    text = _text(value, '"sat"')
    if text not in DAYS:
        raise ValueError(f"{text!r} is no day of the week; they are {', '.join(DAYS)}")
    return DAYS.index(text) + 1


def resets(value: object) -> tuple[Reset, ...]:
    """Moments of "month", "year", or a list like ["01 08:00"] (every month) and ["07-01", "10-01"] (every year). ValueError."""
    if isinstance(value, str) and value in EVERY:
        return EVERY[value]
    if not isinstance(value, list) or not value:
        raise ValueError('is "month", "year", or a list like ["01 00:00"] (every month) or ["01-01", "07-01"] (every year)')
    return tuple(_reset(text) for text in value)


def _reset(value: object) -> Reset:
    match = _RESET.fullmatch(text := _text(value, '"07-01 00:00"'))
    if not match:
        raise ValueError(f"{text!r} is no moment to begin anew; write one like 07-01, 07-01 08:00, or 01 00:00 for every month")
    hour = int(match[3] or 0)
    if match[1]:
        month, day = year_day(f"{match[1]}-{match[2]}")
        return Reset(day, hour, month)
    if not 1 <= int(match[2]) <= 28:
        raise ValueError(f"{text!r}: every month has the days 01 to 28 only")
    return Reset(int(match[2]), hour)


def day_table(spans: Mapping[Rate, Sequence[str]]) -> tuple[Switch, ...]:
    """The switches of a day whose rates hold in spans like "08:00-22:00" (also over midnight).

    Raises ValueError that names every minute without a rate and every one with two.
    """
    holds: list[list[Rate]] = [[] for _ in range(DAY_MIN)]
    for rate, texts in spans.items():
        for text in texts:
            for of_day in _minutes(text):
                holds[of_day].append(rate)
    faults = [_fault(start, end, rates) for start, end, rates in _runs(holds) if len(rates) != 1]
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(Switch(start, rates[0]) for start, _, rates in _runs(holds))


def _minutes(text: str) -> Sequence[int]:
    start, dash, end = text.partition("-")
    try:
        first, last = minute(start), minute(end)
        if not dash or first in (last, DAY_MIN):
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is no part of a day; write one like 08:00-22:00 or 22:00-06:00") from None
    return range(first, last) if first < last else [*range(first, DAY_MIN), *range(last)]


def _runs(holds: Sequence[list[Rate]]) -> list[tuple[int, int, list[Rate]]]:
    """(first minute, the one after its last, what holds) for every stretch of a day."""
    starts = [m for m in range(len(holds)) if m == 0 or holds[m] != holds[m - 1]]
    return [(start, end, holds[start]) for start, end in zip(starts, [*starts[1:], len(holds)], strict=True)]


def _fault(start: int, end: int, rates: Sequence[Rate]) -> str:
    if not rates:
        return f"no rate holds from {clock(start)} to {clock(end)}"
    return f"from {clock(start)} to {clock(end)} hold {' and '.join(rates)}"


def _rate(value: object) -> Rate:
    try:
        return Rate(_text(value, '"peak"'))
    except ValueError:
        raise ValueError(f"{value!r} is no rate; they are {', '.join(Rate)}") from None


def _named(value: str) -> str:
    if not value or len(value) > 64:
        raise ValueError("a name has 1 to 64 characters")
    return value


EnergyWh = Annotated[int, BeforeValidator(_wh)]
KwhPrice = Annotated[int, BeforeValidator(_micro)]
Amount = Annotated[int, BeforeValidator(_amount)]
PerMille = Annotated[int, BeforeValidator(_per_mille)]
TenThousandths = Annotated[int, BeforeValidator(_ten_thousandths)]
Factor = Annotated[int, BeforeValidator(_factor)]
YearDay = Annotated[tuple[int, int], BeforeValidator(year_day)]
Day = Annotated[str, BeforeValidator(iso_day)]
Weekday = Annotated[int, BeforeValidator(_weekday)]
Resets = Annotated[tuple[Reset, ...], BeforeValidator(resets)]
RateName = Annotated[Rate, BeforeValidator(_rate)]
Name = Annotated[str, AfterValidator(_named)]
