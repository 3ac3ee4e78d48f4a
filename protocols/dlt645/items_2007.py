"""The data identifiers of DL/T 645-2007 and its supplements, as rules over DI3 DI2 DI1 DI0 (dlt645.md 8).

Here: energy (table A.1), maximum demand (A.2) and instantaneous values (A.3). The other families have modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from protocols.dlt645 import items_events, items_freezes, items_parameters, items_prepaid, items_security, load_profile
from protocols.dlt645.items import PHASES, Basis, Field, Item, Layer, Row, block, rated, single
from protocols.dlt645.registers import DEMAND, ENERGY, MONTHS, RATES, of_phase
from protocols.dlt645.values import MINUTE, Number

INSTANT = {
    0x01: ("voltage", "V", Number(2, 1), False),
    0x02: ("current", "A", Number(3, 3, True), False),
    0x03: ("power", "kW", Number(3, 4, True), True),
    0x04: ("reactive_power", "kvar", Number(3, 4, True), True),
    0x05: ("apparent_power", "kVA", Number(3, 4, True), True),
    0x06: ("power_factor", "", Number(2, 3, True), True),
    0x07: ("phase_angle", "deg", Number(2, 1), False),
    0x08: ("voltage_distortion", "%", Number(2, 2), False),
    0x09: ("current_distortion", "%", Number(2, 2), False),
}
"""DI2 -> name, unit, format, whether DI1 = 00 is a total (which then also leads the block)."""
HARMONICS = {0x0A: "voltage_harmonic", 0x0B: "current_harmonic"}
ORDERS = 21
_FF = 0xFF
_PRICE = Number(4, 4)
_A1, _A2, _A3 = (Basis(Layer.V2007, f"DL/T 645-2007 A.{n}") for n in (1, 2, 3))
_SUPPLEMENT = Basis(Layer.GRID_2009, "dlt645.md 8.3, supplement")

_A3_SINGLE: dict[str, Row] = {
    "02800001": ("current_n", Number(3, 3, True), "A"),
    "02800002": ("frequency", Number(2, 2), "Hz"),
    "02800003": ("power_average", Number(3, 4, True), "kW"),
    "02800004": ("demand", Number(3, 4, True), "kW"),
    "02800005": ("reactive_demand", Number(3, 4, True), "kvar"),
    "02800006": ("apparent_demand", Number(3, 4, True), "kVA"),
    "02800007": ("temperature", Number(2, 1, True), "°C"),
    "02800008": ("clock_battery_voltage", Number(2, 2), "V"),
    "02800009": ("outage_battery_voltage", Number(2, 2), "V"),
    "0280000A": ("battery_minutes", Number(4), "min"),
}
_A3_SUPPLEMENT: dict[str, Row] = {
    "0280000B": ("price_step", _PRICE, "currency/kWh"),
    "02800020": ("price", _PRICE, "currency/kWh"),
    "02800021": ("price_rate", _PRICE, "currency/kWh"),
    "02800022": ("authentication_minutes", Number(2), "min"),
    "02800023": ("ir_authentication_minutes", Number(1), "min"),
}


def _register(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """Energy (00) and maximum demand (01): DI2 quantity, DI1 tariff or FF for all (phases: 00), DI0 settlement or FF for all."""
    demand = di.startswith("01")
    table, basis = (DEMAND, _A2) if demand else (ENERGY, _A1)
    found = table.get(di2) or (None if di1 else of_phase(table, di2))
    if not found:
        return None if demand else items_prepaid.describe(di, di2, di1, di0)
    name, unit, signed = found

    def field(rate: int, past: int) -> Field:
        number = Number(3, 4, signed) if demand else Number(4, 2, signed)
        return Field(rated(name, rate, past), number, unit, MINUTE if demand else None)

    if di1 <= RATES and di0 <= MONTHS:
        return Item(di, (field(di1, di0),), basis=basis)
    if di1 == _FF and di0 <= MONTHS:
        return block(di, (field(rate, di0) for rate in range(RATES + 1)), basis=basis)
    if di1 <= RATES and di0 == _FF:
        return block(di, (field(di1, past) for past in range(MONTHS + 1)), basis=basis)
    return None


def _instant(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """Instantaneous values (02): DI2 quantity, DI1 phase (00 total, FF block)."""
    if di in _A3_SINGLE:
        return single(di, _A3_SINGLE[di], _A3)
    if di in _A3_SUPPLEMENT:
        return single(di, _A3_SUPPLEMENT[di], _SUPPLEMENT)
    if di2 in HARMONICS:
        return _harmonic(di, HARMONICS[di2], di1, di0)
    if di2 not in INSTANT or di0:
        return None
    name, unit, number, has_total = INSTANT[di2]
    names = {**({0: name} if has_total else {}), **{n: f"{name}_{p}" for n, p in PHASES.items()}}
    if di1 == _FF:
        return block(di, (Field(each, number, unit) for each in names.values()), basis=_A3)
    return Item(di, (Field(names[di1], number, unit),), basis=_A3) if di1 in names else None


def _harmonic(di: str, name: str, phase: int, order: int) -> Item | None:
    if phase not in PHASES:
        return None
    orders = range(1, ORDERS + 1) if order == _FF else (order,) if 1 <= order <= ORDERS else ()
    fields = tuple(Field(f"{name}_{PHASES[phase]}_{n}", Number(2, 2), "%") for n in orders)
    return Item(di, fields, block=order == _FF, basis=_A3) if fields else None


_RULES: dict[int, Callable[[str, int, int, int], Item | None]] = {
    0x00: _register,
    0x01: _register,
    0x02: _instant,
    0x03: items_events.describe,
    0x04: items_parameters.describe,
    0x05: items_freezes.describe,
    0x06: load_profile.describe,
    0x07: items_security.describe,
    0x1D: items_events.describe,
    0x1E: items_events.describe,
}
"""DI3 -> the rule that knows its identifiers."""


@lru_cache(maxsize=1024)  # a meter park asks for a few dozen identifiers, but answers may name any of 2**32
def describe(di: str) -> Item | None:
    """The item of 8 hex digits DI3 DI2 DI1 DI0, or None when we do not know it."""
    di3, di2, di1, di0 = bytes.fromhex(di)
    return _RULES[di3](di, di2, di1, di0) if di3 in _RULES else None
