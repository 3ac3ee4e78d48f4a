"""Parameters (04) of DL/T 645-2007, table A.5, and what the supplements added (dlt645.md 8.5)."""

from __future__ import annotations

from protocols.dlt645.items import Basis, Field, Item, Layer, Row, block, single
from protocols.dlt645.values import MINUTE, Code, Digits, Number, Raw, Stamp, Text, Word

_A5 = Basis(Layer.V2007, "DL/T 645-2007 A.5")
_APPENDIX_C = Basis(Layer.V2007, "DL/T 645-2007 C")
_SUPPLEMENT = Basis(Layer.GRID_2009, "dlt645.md 8.5, supplement")
_LADDER_2009 = Basis(Layer.GRID_2009, "dlt645.md 8.5, 2009 ladder")
_LADDER_2013 = Basis(Layer.GRID_2013, "dlt645.md 8.5, 2013 ladder; 4 or 6 annual dates", weak=True)
_GUARD = Basis(Layer.GRID_2013, "dlt645.md 8.5, 2014")
_ONE_FIRMWARE = Basis(Layer.VENDOR, "dlt645.md 8.5, vendor", weak=True)
_ENERGY, _MONEY, _PRICE, _BYTE = Number(4, 2), Number(4, 2), Number(4, 4), Number(1)
_ZONE, _SEGMENT, _HOLIDAY = Stamp("MMDDNN"), Stamp("hhmmNN"), Stamp("YYMMDDNN")
ZONES = SEGMENTS = 14
DAY_TABLES, HOLIDAYS, PRICES, STEPS, STEP_DATES, DISPLAY_ITEMS = 8, 254, 63, 6, 6, 254

_BASE: dict[str, Row] = {
    "04000101": ("clock_date", Stamp("YYMMDDWW"), ""),
    "04000102": ("clock_time", Stamp("hhmmss"), ""),
    "04000103": ("demand_period", _BYTE, "min"),
    "04000104": ("demand_slip", _BYTE, "min"),
    "04000105": ("pulse_width", Number(2), "ms"),
    "04000106": ("zone_table_switch_at", MINUTE, ""),
    "04000107": ("day_table_switch_at", MINUTE, ""),
    "04000201": ("zone_count", _BYTE, ""),
    "04000202": ("day_table_count", _BYTE, ""),
    "04000203": ("segment_count", _BYTE, ""),
    "04000204": ("rate_count", _BYTE, ""),
    "04000205": ("holiday_count", Number(2), ""),
    "04000206": ("harmonic_order_count", _BYTE, ""),
    "04000301": ("display_item_count", _BYTE, ""),
    "04000302": ("display_seconds", _BYTE, "s"),
    "04000303": ("energy_decimals", _BYTE, ""),
    "04000304": ("power_decimals", _BYTE, ""),
    "04000305": ("key_item_count", _BYTE, ""),
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
    "04000601": ("combination_word_active", Word(1), ""),
    "04000602": ("combination_word_reactive_1", Word(1), ""),
    "04000603": ("combination_word_reactive_2", Word(1), ""),
    **{f"0400070{n}": (f"speed_word_{n}", Word(1), "") for n in range(1, 6)},
    "04000801": ("weekend_word", Word(1), ""),
    "04000802": ("weekend_table", _BYTE, ""),
    "04000901": ("load_record_mode_word", Word(1), ""),
    "04000902": ("freeze_mode_word", Word(1), ""),
    "04000A01": ("load_record_start", Stamp("MMDDhhmm"), ""),
    **{f"04000A0{n}": (f"load_record_interval_{n - 1}", Number(2), "min") for n in range(2, 8)},
    **{f"04000B0{n}": (f"settlement_day_{n}", Stamp("DDhh"), "") for n in range(1, 4)},
    **{f"04000C{n:02X}": (f"password_{n - 1}", Code(4), "") for n in range(1, 11)},
    **{f"04000D{n:02X}": (f"loss_coefficient_{n}", Number(2, 3), "") for n in range(1, 13)},
    "04000E01": ("power_limit_import", Number(3, 4), "kW"),
    "04000E02": ("power_limit_export", Number(3, 4), "kW"),
    "04000E03": ("voltage_limit_high", Number(2, 1), "V"),
    "04000E04": ("voltage_limit_low", Number(2, 1), "V"),
    "04800001": ("software_version", Text(32), ""),
    "04800002": ("hardware_version", Text(32), ""),
    "04800003": ("factory_code", Text(32), ""),
}
_ADDED: dict[str, Row] = {
    "04000108": ("price_set_switch_at", MINUTE, ""),
    "04000109": ("ladder_set_switch_at", MINUTE, ""),
    "0400010C": ("clock", Stamp("YYMMDDWWhhmmss"), ""),
    "04000207": ("ladder_step_count", _BYTE, ""),
    "04000208": ("key_count", _BYTE, ""),
    "04000306": ("ct_ratio", Number(3), ""),
    "04000307": ("pt_ratio", Number(3), ""),
    "0400040E": ("customer_number", Digits(6), ""),
    "04000508": ("key_status", Word(4), ""),
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
    "04001104": ("active_report_mode_word", Word(8), ""),
    "04001201": ("hourly_freeze_start", MINUTE, ""),
    "04001202": ("hourly_freeze_interval", _BYTE, "min"),
    "04001203": ("daily_freeze_time", Stamp("hhmm"), ""),
    "04001301": ("signal_level", _BYTE, ""),
    "04001401": ("trip_delay", Number(2), "min"),
    "04001404": ("ir_authentication_minutes", _BYTE, "min"),
    "04001405": ("report_reset_delay", _BYTE, "min"),
    "04800004": ("software_filing_number", Raw(8), ""),
}
_GUARDED: dict[str, Row] = {
    "04001402": ("trip_current_limit", Number(3, 3), "A"),
    "04001403": ("trip_guard_delay", Number(2), "min"),
}
_VENDOR: dict[str, Row] = {"04001006": ("refund_amount", _MONEY, "currency")}


def describe(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """A parameter, a table of them or a status word; None for what no document has."""
    for rows, basis in ((_BASE, _A5), (_ADDED, _SUPPLEMENT), (_GUARDED, _GUARD), (_VENDOR, _ONE_FIRMWARE)):
        if di in rows:
            return single(di, rows[di], basis)
    if di2 == 0x00:
        return _status(di, di0) if di1 == 0x05 else _report(di) if di == "04001501" else None
    if di2 in (0x01, 0x02):
        return _time_table(di, di2, di1, di0)
    if di2 == 0x03:
        return single(di, (f"holiday_{di0}", _HOLIDAY, ""), _A5) if not di1 and 1 <= di0 <= HOLIDAYS else None
    if di2 == 0x04 and di1 in (1, 2) and 1 <= di0 <= DISPLAY_ITEMS:
        return _display(di, ("auto", "key")[di1 - 1], di0)
    if di2 == 0x05:
        return _prices(di, di1, di0)
    return _ladder(di, di1, di0) if di2 == 0x06 else None


def _status(di: str, number: int) -> Item | None:
    """Status words 04000501 to 04000507 and their block."""
    words = range(1, 8) if number == 0xFF else (number,) if 1 <= number <= 7 else ()
    fields = tuple(Field(f"status_{n}", Word(2)) for n in words)
    return Item(di, fields, block=number == 0xFF, basis=_APPENDIX_C) if fields else None


def _report(di: str) -> Item:
    """04001501: 12 bytes of flags; then, on some meters, AA, counts and AA (15 or 16 bytes in all), which are left as they are."""
    fields = (Field("active_report_status", Word(12)), Field("active_report_counts", Raw(3)), Field("active_report_end", Raw(1)))
    return block(di, fields, basis=Basis(Layer.GRID_2009, "dlt645.md 8.5, 04001501", weak=True))


def _time_table(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """Set 1 (DI2 01) or 2: DI0 00 the zones of the year, 01 to 08 the segments of a day table; unused ones repeat the last."""
    if di1 or di0 > DAY_TABLES:
        return None
    if not di0:
        return block(di, (Field(f"set_{di2}_zone_{n}", _ZONE) for n in range(1, ZONES + 1)), basis=_A5)
    return block(di, (Field(f"set_{di2}_day_{di0}_segment_{n}", _SEGMENT) for n in range(1, SEGMENTS + 1)), basis=_A5)


def _display(di: str, kind: str, place: int) -> Item:
    """An identifier on the display; supplements add the number of the part that is shown."""
    fields = (Field(f"display_{kind}_{place}", Code(4)), Field(f"display_{kind}_{place}_part", _BYTE))
    return block(di, fields, basis=_A5)


def _prices(di: str, which: int, rate: int) -> Item | None:
    """Tariff prices: DI1 01 the current set, 02 the standby set; DI0 rate 01 to 3F, FF all."""
    if which not in (1, 2):
        return None
    name = ("price_t", "price_standby_t")[which - 1]
    if rate == 0xFF:
        return block(di, (Field(f"{name}{n}", _PRICE, "currency/kWh") for n in range(1, PRICES + 1)), basis=_SUPPLEMENT)
    return single(di, (f"{name}{rate}", _PRICE, "currency/kWh"), _SUPPLEMENT) if 1 <= rate <= PRICES else None


def _ladder(di: str, which: int, step: int) -> Item | None:
    """Steps. 2009: DI1 00/02 thresholds, 01/03 prices of set 1/2, DI0 step or FF. 2013: 04/05 block of the current/standby set."""
    if which in (0x04, 0x05) and step == 0xFF:
        return _ladder_block(di, ("ladder", "ladder_standby")[which - 4])
    if which > 3:
        return None
    stem = "ladder" if which < 2 else "ladder_standby"
    form, name, unit = (_PRICE, "price", "currency/kWh") if which % 2 else (_ENERGY, "threshold", "kWh")
    highest = STEPS + which % 2
    if step == 0xFF:
        return block(di, (Field(f"{stem}_{name}_{n}", form, unit) for n in range(1, highest + 1)), basis=_LADDER_2009)
    return single(di, (f"{stem}_{name}_{step}", form, unit), _LADDER_2009) if 1 <= step <= highest else None


def _ladder_block(di: str, stem: str) -> Item:
    """70 bytes: 6 thresholds, 7 prices, 6 days of the year on which the steps begin anew; one firmware has 4 such days (64)."""
    thresholds = [Field(f"{stem}_threshold_{n}", _ENERGY, "kWh") for n in range(1, STEPS + 1)]
    prices = [Field(f"{stem}_price_{n}", _PRICE, "currency/kWh") for n in range(1, STEPS + 2)]
    dates = [Field(f"{stem}_settlement_{n}", Stamp("MMDDhh")) for n in range(1, STEP_DATES + 1)]
    return block(di, [*thresholds, *prices, *dates], basis=_LADDER_2013)
