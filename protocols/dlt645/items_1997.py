"""The data identifiers of DL/T 645-1997 that we know, as rules over DI1 DI0 (dlt645.md 9)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from protocols.dlt645.items import PHASES, Field, Item, block, rated
from protocols.dlt645.values import Digits, Format, Number, Stamp, Word

DIRECTIONS = {1: "import", 2: "export", 3: "q1", 4: "q4", 5: "q2", 6: "q3"}
"""High nibble of DI0; 3 to 6 are quadrants of reactive quantities only."""
INSTANT = {
    1: ("voltage", "V", Number(2), False),
    2: ("current", "A", Number(2, 2), False),
    3: ("power", "kW", Number(3, 4), True),
    4: ("reactive_power", "kvar", Number(2, 2), True),
    5: ("power_factor", "", Number(2, 3), True),
}
"""High nibble of DI0 in B6xx -> name, unit, format, whether a total (low nibble 0) exists."""
_TIME = Stamp("MMDDhhmm")
_RATES, _BLOCK = 14, 0xF
_AA = b"\xaa"
_PAST = {0x0: 0, 0x4: 1, 0x8: 2}
"""Low nibble of DI1 without its lowest bits -> months back."""

_SINGLE: dict[str, tuple[str, Format, str]] = {
    "B210": ("programmed_at", _TIME, ""),
    "B211": ("demand_reset_at", _TIME, ""),
    "B212": ("programming_count", Number(2), ""),
    "B213": ("demand_reset_count", Number(2), ""),
    "B214": ("battery_minutes", Number(3), "min"),
    "B634": ("power_limit_high", Number(2, 2), "kW"),
    "B635": ("power_limit_low", Number(2, 2), "kW"),
    "C010": ("clock_date", Stamp("YYMMDDWW"), ""),
    "C011": ("clock_time", Stamp("hhmmss"), ""),
    "C020": ("status_c020", Word(1), ""),
    "C021": ("status_c021", Word(1), ""),
    "C022": ("weekend_word", Word(1), ""),
    "C030": ("active_constant", Number(3), "imp/kWh"),
    "C031": ("reactive_constant", Number(3), "imp/kvarh"),
    "C032": ("meter_number", Digits(6), ""),
    "C033": ("customer_number", Digits(6), ""),
    "C034": ("device_number", Digits(6), ""),
    "C111": ("demand_period", Number(1), "min"),
    "C112": ("demand_slip", Number(1), "min"),
    "C117": ("reading_day", Stamp("DDhh"), ""),
    "C211": ("pulse_width", Number(2), "ms"),
    "C310": ("zone_count", Number(1), ""),
    "C311": ("day_table_count", Number(1), ""),
    "C312": ("segment_count", Number(1), ""),
    "C313": ("rate_count", Number(1), ""),
    "C314": ("holiday_count", Number(1), ""),
    "C510": ("load_record_start", _TIME, ""),
    "C511": ("load_record_interval", Number(2), "min"),
}
"""Items of one value."""


def _register(di: str, stem: str, units: tuple[str, str], form: Format, suffix: str = "") -> Item | None:
    """Energy (9), maximum demand (A) and its time (B0 to B9): DI1 low nibble past and active/reactive, DI0 direction and tariff."""
    kind, reactive = int(di[1], 16) & ~1 & 0xF, int(di[1], 16) & 1
    direction, rate = int(di[2], 16), int(di[3], 16)
    if kind not in _PAST or direction not in DIRECTIONS or (direction > 2 and not reactive):
        return None
    name = f"{'reactive_' if reactive else ''}{stem}_{DIRECTIONS[direction]}{suffix}"

    def field(rate: int) -> Field:
        return Field(rated(name, rate, _PAST[kind]), form, units[reactive])

    if rate == _BLOCK:
        return block(di, (field(n) for n in range(_RATES + 1)), _AA)
    return Item(di, (field(rate),))


def _energy(di: str) -> Item | None:
    return _register(di, "energy", ("kWh", "kvarh"), Number(4, 2))


def _demand(di: str) -> Item | None:
    return _register(di, "demand", ("kW", "kvar"), Number(3, 4), "_max")


def _variable(di: str) -> Item | None:
    if di[1] != "6":
        return _register(di, "demand", ("", ""), _TIME, "_max_at")
    kind, phase = int(di[2], 16), int(di[3], 16)
    if kind not in INSTANT:
        return None
    name, unit, number, has_total = INSTANT[kind]
    names = {**({0: name} if has_total else {}), **{n: f"{name}_{p}" for n, p in PHASES.items()}}
    if phase == _BLOCK:
        return block(di, (Field(each, number, unit) for each in names.values()), _AA)
    return Item(di, (Field(names[phase], number, unit),)) if phase in names else None


_RULES: dict[str, Callable[[str], Item | None]] = {"9": _energy, "A": _demand, "B": _variable}
"""High nibble of DI1 -> the rule that knows its identifiers."""


@lru_cache(maxsize=1024)  # the useful identifiers are a few hundred of 2**16
def describe(di: str) -> Item | None:
    """The item of 4 hex digits DI1 DI0, or None when we do not know it."""
    if di in _SINGLE:
        name, form, unit = _SINGLE[di]
        return Item(di, (Field(name, form, unit),))
    return _RULES[di[0]](di) if di[0] in _RULES else None
