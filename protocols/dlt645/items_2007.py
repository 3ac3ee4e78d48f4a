"""The data identifiers of DL/T 645-2007 that we know, as rules over DI3 DI2 DI1 DI0 (dlt645.md 8)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from protocols.dlt645.items import PHASES, Field, Item, block, rated
from protocols.dlt645.values import MINUTE, SECOND, Digits, Format, Number, Stamp, Text, Word

ENERGY = {
    0x00: ("energy_combined", "kWh", True),
    0x01: ("energy_import", "kWh", False),
    0x02: ("energy_export", "kWh", False),
    0x03: ("reactive_energy_combined_1", "kvarh", True),
    0x04: ("reactive_energy_combined_2", "kvarh", True),
    **{4 + q: (f"reactive_energy_q{q}", "kvarh", False) for q in range(1, 5)},
    0x09: ("apparent_energy_import", "kVAh", False),
    0x0A: ("apparent_energy_export", "kVAh", False),
    0x80: ("energy_associated", "kWh", False),
    0x81: ("energy_fundamental_import", "kWh", False),
    0x82: ("energy_fundamental_export", "kWh", False),
    0x83: ("energy_harmonic_import", "kWh", False),
    0x84: ("energy_harmonic_export", "kWh", False),
    0x85: ("energy_copper_loss", "kWh", False),
    0x86: ("energy_iron_loss", "kWh", False),
}
"""DI2 -> name, unit, signed."""
DEMAND = {
    0x01: ("demand_import_max", "kW", False),
    0x02: ("demand_export_max", "kW", False),
    0x03: ("reactive_demand_combined_1_max", "kvar", True),
    0x04: ("reactive_demand_combined_2_max", "kvar", True),
    **{4 + q: (f"reactive_demand_q{q}_max", "kvar", False) for q in range(1, 5)},
    0x09: ("apparent_demand_import_max", "kVA", False),
    0x0A: ("apparent_demand_export_max", "kVA", False),
}
PHASE_OFFSET = {"a": 0x14, "b": 0x28, "c": 0x3C}
"""Added to DI2 of a total for the same quantity of one phase."""
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
RATES, MONTHS, ORDERS = 63, 12, 21
_FF = 0xFF
_ENERGY, _MONEY, _PRICE, _COUNT = Number(4, 2), Number(4, 2), Number(4, 4), Number(3)

_SINGLE: dict[str, tuple[str, Format, str]] = {
    "00900100": ("energy_remaining", _ENERGY, "kWh"),
    "00900101": ("energy_overdraft", _ENERGY, "kWh"),
    "00900200": ("balance", _MONEY, "currency"),
    "00900201": ("overdraft", _MONEY, "currency"),
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
    "0280000B": ("price_step", _PRICE, "currency/kWh"),
    "02800020": ("price", _PRICE, "currency/kWh"),
    "02800021": ("price_rate", _PRICE, "currency/kWh"),
    "02800022": ("authentication_minutes", Number(2), "min"),
    "03110000": ("power_down_count", _COUNT, ""),
    "03300000": ("programming_count", _COUNT, ""),
    "03300100": ("meter_clear_count", _COUNT, ""),
    "03300200": ("demand_reset_count", _COUNT, ""),
    "03300300": ("event_clear_count", _COUNT, ""),
    "03300400": ("clock_set_count", _COUNT, ""),
    "03300D00": ("cover_open_count", _COUNT, ""),
    "03300E00": ("terminal_cover_open_count", _COUNT, ""),
    "04000101": ("clock_date", Stamp("YYMMDDWW"), ""),
    "04000102": ("clock_time", Stamp("hhmmss"), ""),
    "04000103": ("demand_period", Number(1), "min"),
    "04000104": ("demand_slip", Number(1), "min"),
    "04000105": ("pulse_width", Number(2), "ms"),
    "04000106": ("zone_table_switch_at", MINUTE, ""),
    "04000107": ("day_table_switch_at", MINUTE, ""),
    "04000108": ("price_set_switch_at", MINUTE, ""),
    "04000109": ("ladder_set_switch_at", MINUTE, ""),
    "0400010C": ("clock", Stamp("YYMMDDWWhhmmss"), ""),
    "04000201": ("zone_count", Number(1), ""),
    "04000202": ("day_table_count", Number(1), ""),
    "04000203": ("segment_count", Number(1), ""),
    "04000204": ("rate_count", Number(1), ""),
    "04000205": ("holiday_count", Number(2), ""),
    "04000206": ("harmonic_order_count", Number(1), ""),
    "04000207": ("ladder_step_count", Number(1), ""),
    "04000208": ("key_count", Number(1), ""),
    "04000301": ("display_item_count", Number(1), ""),
    "04000302": ("display_seconds", Number(1), "s"),
    "04000303": ("energy_decimals", Number(1), ""),
    "04000304": ("power_decimals", Number(1), ""),
    "04000305": ("key_item_count", Number(1), ""),
    "04000306": ("ct_ratio", Number(3), ""),
    "04000307": ("pt_ratio", Number(3), ""),
    "04000401": ("address", Digits(6), ""),
    "04000402": ("meter_number", Digits(6), ""),
    "04000403": ("asset_code", Text(32), ""),
    "04000404": ("rated_voltage", Text(6), ""),
    "04000405": ("rated_current", Text(6), ""),
    "04000406": ("max_current", Text(6), ""),
    "04000407": ("active_class", Text(4), ""),
    "04000408": ("reactive_class", Text(4), ""),
    "04000409": ("active_constant", Number(3), "imp/kWh"),
    "0400040A": ("reactive_constant", Number(3), "imp/kvarh"),
    "0400040B": ("model", Text(10), ""),
    "0400040C": ("production_date", Text(10), ""),
    "0400040D": ("protocol_version", Text(16), ""),
    "0400040E": ("customer_number", Digits(6), ""),
    "04000601": ("combination_word_active", Word(1), ""),
    "04000602": ("combination_word_reactive_1", Word(1), ""),
    "04000603": ("combination_word_reactive_2", Word(1), ""),
    **{f"0400070{n}": (f"speed_word_{n}", Word(1), "") for n in range(1, 6)},
    **{f"04000B0{n}": (f"settlement_day_{n}", Stamp("DDhh"), "") for n in range(1, 4)},
    "04000E01": ("power_limit_import", Number(3, 4), "kW"),
    "04000E02": ("power_limit_export", Number(3, 4), "kW"),
    "04000E03": ("voltage_limit_high", Number(2, 1), "V"),
    "04000E04": ("voltage_limit_low", Number(2, 1), "V"),
    "04000F01": ("energy_alarm_1", _ENERGY, "kWh"),
    "04000F02": ("energy_alarm_2", _ENERGY, "kWh"),
    "04000F03": ("energy_hoarding_limit", _ENERGY, "kWh"),
    "04000F04": ("energy_overdraft_limit", _ENERGY, "kWh"),
    "04001001": ("balance_alarm_1", _MONEY, "currency"),
    "04001002": ("balance_alarm_2", _MONEY, "currency"),
    "04001003": ("overdraft_limit", _MONEY, "currency"),
    "04001004": ("hoarding_limit", _MONEY, "currency"),
    "04001005": ("reconnect_balance", _MONEY, "currency"),
    "04001101": ("run_feature_word", Word(1), ""),
    "04001301": ("signal_level", Number(1), ""),
    "04001401": ("trip_delay", Number(2), "min"),
    "04001402": ("trip_current_limit", Number(3, 3), "A"),
    "04001403": ("trip_guard_delay", Number(2), "min"),
    "04800001": ("software_version", Text(32), ""),
    "04800002": ("hardware_version", Text(32), ""),
    "04800003": ("factory_code", Text(32), ""),
    "1D000001": ("trip_count", _COUNT, ""),
    "1E000001": ("close_count", _COUNT, ""),
}
"""Items of one value."""


def _phase_of(table: dict[int, tuple[str, str, bool]], di2: int) -> tuple[str, str, bool] | None:
    """The entry of the total that DI2 stands for in one phase."""
    for phase, offset in PHASE_OFFSET.items():
        if di2 > offset and di2 - offset in table:
            name, unit, signed = table[di2 - offset]
            return f"{name}_{phase}", unit, signed
    return None


def _register(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """Energy (00) and maximum demand (01): DI2 quantity, DI1 tariff or FF for all (phases: 00), DI0 settlement or FF for all."""
    demand = di.startswith("01")
    table = DEMAND if demand else ENERGY
    found = table.get(di2) or (None if di1 else _phase_of(table, di2))
    if not found:
        return None
    name, unit, signed = found

    def field(rate: int, past: int) -> Field:
        number = Number(3, 4, signed) if demand else Number(4, 2, signed)
        return Field(rated(name, rate, past), number, unit, MINUTE if demand else None)

    if di1 <= RATES and di0 <= MONTHS:
        return Item(di, (field(di1, di0),))
    if di1 == _FF and di0 <= MONTHS:
        return block(di, (field(rate, di0) for rate in range(RATES + 1)))
    if di1 <= RATES and di0 == _FF:
        return block(di, (field(di1, past) for past in range(MONTHS + 1)))
    return None


def _instant(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """Instantaneous values (02): DI2 quantity, DI1 phase (00 total, FF block)."""
    if di2 in HARMONICS:
        return _harmonic(di, HARMONICS[di2], di1, di0)
    if di2 not in INSTANT or di0:
        return None
    name, unit, number, has_total = INSTANT[di2]
    names = {**({0: name} if has_total else {}), **{n: f"{name}_{p}" for n, p in PHASES.items()}}
    if di1 == _FF:
        return block(di, (Field(each, number, unit) for each in names.values()))
    return Item(di, (Field(names[di1], number, unit),)) if di1 in names else None


def _harmonic(di: str, name: str, phase: int, order: int) -> Item | None:
    if phase not in PHASES:
        return None
    orders = range(1, ORDERS + 1) if order == _FF else (order,) if 1 <= order <= ORDERS else ()
    fields = tuple(Field(f"{name}_{PHASES[phase]}_{n}", Number(2, 2), "%") for n in orders)
    return Item(di, fields, block=order == _FF) if fields else None


def _status(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """Status words 04000501 to 04000507 and their block."""
    if (di2, di1) != (0x00, 0x05):
        return None
    words = range(1, 8) if di0 == _FF else (di0,) if 1 <= di0 <= 7 else ()
    fields = tuple(Field(f"status_{n}", Word(2)) for n in words)
    return Item(di, fields, block=di0 == _FF) if fields else None


def _switching(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """When and by whom the relay was last opened (1D) and closed (1E): 1D0001nn time, 1D0002nn operator."""
    verb = "trip" if di.startswith("1D") else "close"
    if di2 or not 1 <= di0 <= 10 or di1 not in (1, 2):
        return None
    return Item(di, (Field(f"{verb}_at_{di0}", SECOND) if di1 == 1 else Field(f"{verb}_operator_{di0}", Digits(4)),))


_RULES: dict[int, Callable[[str, int, int, int], Item | None]] = {
    0x00: _register,
    0x01: _register,
    0x02: _instant,
    0x04: _status,
    0x1D: _switching,
    0x1E: _switching,
}
"""DI3 -> the rule that knows its identifiers."""


@lru_cache(maxsize=1024)  # a meter park asks for a few dozen identifiers, but answers may name any of 2**32
def describe(di: str) -> Item | None:
    """The item of 8 hex digits DI3 DI2 DI1 DI0, or None when we do not know it."""
    if di in _SINGLE:
        name, form, unit = _SINGLE[di]
        return Item(di, (Field(name, form, unit),))
    di3, di2, di1, di0 = bytes.fromhex(di)
    return _RULES[di3](di, di2, di1, di0) if di3 in _RULES else None
