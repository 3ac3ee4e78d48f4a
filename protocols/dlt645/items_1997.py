"""The data identifiers of DL/T 645-1997 that we know, as rules over DI1 DI0 (dlt645.md 9)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from protocols.dlt645.items import PHASES, Basis, Field, Item, Layer, Row, block, rated, single
from protocols.dlt645.values import Code, Digits, Format, Number, Stamp, Word

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

_TABLE = Basis(Layer.V1997, "DL/T 645-1997, dlt645.md 9")
_WEAK = Basis(Layer.V1997, "dlt645.md 9, one peer's table", weak=True)
ZONES, SEGMENTS, DAY_TABLES, HOLIDAYS = 14, 10, 8, 13
_BYTE = Number(1)

_SINGLE: dict[str, Row] = {
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
    "C111": ("demand_period", _BYTE, "min"),
    "C112": ("demand_slip", _BYTE, "min"),
    "C117": ("reading_day", Stamp("DDhh"), ""),
    "C211": ("pulse_width", Number(2), "ms"),
    "C212": ("password", Code(4), ""),
    "C310": ("zone_count", _BYTE, ""),
    "C311": ("day_table_count", _BYTE, ""),
    "C312": ("segment_count", _BYTE, ""),
    "C313": ("rate_count", _BYTE, ""),
    "C314": ("holiday_count", _BYTE, ""),
    "C510": ("load_record_start", _TIME, ""),
    "C511": ("load_record_interval", Number(2), "min"),
}
"""Items of one value."""
_DISPUTED: dict[str, Row] = {
    "C113": ("display_seconds", _BYTE, "s"),
    "C114": ("display_stop_seconds", _BYTE, "s"),
    "C115": ("energy_decimals", _BYTE, ""),
    "C116": ("power_decimals", _BYTE, ""),
    "C118": ("load_day", _BYTE, ""),
    "C119": ("active_initial_reading", Number(4, 1), "kWh"),
    "C11A": ("reactive_initial_reading", Number(4, 1), "kvarh"),
}
"""Their place in the list, or their decimals, are known from one source alone."""
_BREAKS: dict[int, tuple[str, Format, str]] = {
    1: ("count", Number(2), ""),
    2: ("minutes", Number(3), "min"),
    3: ("started_at", _TIME, ""),
    4: ("ended_at", _TIME, ""),
}
"""High nibble of DI0 in B3xx -> what is told of phase breaks; low nibble 0 all, 1 to 3 one phase."""


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
        return block(di, (field(n) for n in range(_RATES + 1)), _AA, _TABLE)
    return Item(di, (field(rate),), basis=_TABLE)


def _energy(di: str) -> Item | None:
    return _register(di, "energy", ("kWh", "kvarh"), Number(4, 2))


def _demand(di: str) -> Item | None:
    return _register(di, "demand", ("kW", "kvar"), Number(3, 4), "_max")


def _variable(di: str) -> Item | None:
    if di[1] == "3":
        return _phase_break(di)
    if di[1] != "6":
        return _register(di, "demand", ("", ""), _TIME, "_max_at")
    kind, phase = int(di[2], 16), int(di[3], 16)
    if kind not in INSTANT:
        return None
    name, unit, number, has_total = INSTANT[kind]
    names = {**({0: name} if has_total else {}), **{n: f"{name}_{p}" for n, p in PHASES.items()}}
    if phase == _BLOCK:
        return block(di, (Field(each, number, unit) for each in names.values()), _AA, _TABLE)
    return Item(di, (Field(names[phase], number, unit),), basis=_TABLE) if phase in names else None


def _phase_break(di: str) -> Item | None:
    what, phase = int(di[2], 16), int(di[3], 16)
    places = {0: "", **{n: f"_{p}" for n, p in PHASES.items()}}
    if what not in _BREAKS or phase not in places:
        return None
    name, form, unit = _BREAKS[what]
    return single(di, (f"phase_broken{places[phase]}_{name}", form, unit), _TABLE)


def _times(di: str) -> Item | None:
    """Zones (C32n), the segments of day tables 1 to 8 (C33n to C3An) and holidays (C41n), from 1 on."""
    kind, number = int(di[1:3], 16), int(di[3], 16)
    if kind == 0x32 and 1 <= number <= ZONES:
        return single(di, (f"zone_{number}", Stamp("MMDDNN"), ""), _TABLE)
    if 0x33 <= kind < 0x33 + DAY_TABLES and 1 <= number <= SEGMENTS:
        return single(di, (f"day_{kind - 0x32}_segment_{number}", Stamp("hhmmNN"), ""), _TABLE)
    if kind == 0x41 and 1 <= number <= HOLIDAYS:
        return single(di, (f"holiday_{number}", Stamp("MMDDNN"), ""), _WEAK)  # how many there are is not certain
    return None


_RULES: dict[str, Callable[[str], Item | None]] = {"9": _energy, "A": _demand, "B": _variable, "C": _times}
"""High nibble of DI1 -> the rule that knows its identifiers."""


@lru_cache(maxsize=1024)  # the useful identifiers are a few hundred of 2**16
def describe(di: str) -> Item | None:
    """The item of 4 hex digits DI1 DI0, or None when we do not know it."""
    for rows, basis in ((_SINGLE, _TABLE), (_DISPUTED, _WEAK)):
        if di in rows:
            return single(di, rows[di], basis)
    return _RULES[di[0]](di) if di[0] in _RULES else None
