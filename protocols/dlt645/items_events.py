"""Event counters and records (03, 1D, 1E) of DL/T 645-2007, table A.4, by position (dlt645.md 8.4).

Names: the event, its phase where it has one, how many records back (1 is the last), then the value:
`voltage_lost_a_1_energy_import_delta`. Fields with `_delta` are what a register gained while the event lasted.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocols.dlt645.items import PHASES, Basis, Field, Item, Layer, Row, block, single
from protocols.dlt645.items_prepaid import purchase
from protocols.dlt645.values import MINUTE, SECOND, Code, Digits, Format, Number, Stamp

_A4 = Basis(Layer.V2007, "DL/T 645-2007 A.4")
_A4_ORDER = Basis(
    Layer.V2007, "DL/T 645-2007 A.4; the sizes as in dlt645.md 8.4, the order of the fields seen in no capture", weak=True
)
_SUPPLEMENT = Basis(Layer.GRID_2009, "dlt645.md 8.4, supplement")
_TRIP_ENERGY = Basis(Layer.GRID_2009, "dlt645.md 8.4, order of the six registers", weak=True)
_COUNTED_2013 = Basis(Layer.GRID_2013, "public concentrator code", weak=True)
RECORDS = 10
_COUNT, _MINUTES, _ENERGY, _RATIO = Number(3), Number(3), Number(4, 2), Number(2, 2)
_POWER = Number(3, 4, True)

_TOTALS = (
    ("energy_import", "kWh"),
    ("energy_export", "kWh"),
    ("reactive_energy_combined_1", "kvarh"),
    ("reactive_energy_combined_2", "kvarh"),
)
_INSTANTS: tuple[Row, ...] = (
    ("voltage", Number(2, 1), "V"),
    ("current", Number(3, 3, True), "A"),
    ("power", _POWER, "kW"),
    ("reactive_power", _POWER, "kvar"),
    ("power_factor", Number(2, 3, True), ""),
)
_DIRECTIONS = (
    ("energy_import", "kWh"),
    ("energy_export", "kWh"),
    *((f"reactive_energy_q{q}", "kvarh") for q in range(1, 5)),
)
_PHASED = {
    0x01: "voltage_lost", 0x02: "under_voltage", 0x03: "over_voltage", 0x04: "phase_broken",
    0x0B: "current_lost", 0x0C: "over_current", 0x0D: "current_broken", 0x0E: "flow_reversed", 0x0F: "overload",
}  # fmt: skip
"""DI2 -> events of one phase each: DI1 phase, DI0 record, 0000 all counters."""
_WITH_AMPERE_HOURS, _WITH_INSTANTS = range(0x01, 0x05), (*range(0x01, 0x05), *range(0x0B, 0x0E))
_WHOLE = {
    0x05: "all_voltages_lost", 0x06: "auxiliary_lost", 0x07: "voltage_reverse_sequence", 0x08: "current_reverse_sequence",
    0x09: "voltage_unbalance", 0x0A: "current_unbalance",
}  # fmt: skip
"""DI2 -> events of the whole meter: DI1 is 00, DI0 record, 00 count and minutes."""
_UNBALANCES = (0x09, 0x0A)
_DEMAND_OVER = dict(enumerate(("demand_import", "demand_export", *(f"reactive_demand_q{q}" for q in range(1, 5))), 1))
_ACTS = {
    0x00: "programming", 0x01: "meter_clear", 0x02: "demand_reset", 0x03: "event_clear", 0x04: "clock_set",
    0x05: "day_table_programming", 0x06: "zone_table_programming", 0x07: "weekend_programming", 0x08: "holiday_programming",
    0x09: "combination_active_programming", 0x0A: "combination_reactive_1_programming",
    0x0B: "combination_reactive_2_programming", 0x0C: "settlement_day_programming", 0x0D: "cover_open",
    0x0E: "terminal_cover_open",
}  # fmt: skip
"""DI1 of 0330 -> what was done to the meter."""
_WITH_REGISTERS = (0x01, 0x02, 0x0D, 0x0E)
_ACTS_2013 = {"03300F": "price_programming", "033010": "ladder_programming", "033012": "key_update", "033013": "card_error"} | {
    "033500": "magnetic_field", "033600": "switch_misoperation", "033700": "power_supply_fault"
}  # fmt: skip
_SWITCHED: dict[int, Row] = {
    1: ("at", SECOND, ""),
    2: ("operator", Digits(4), ""),
    **{n: (name, _ENERGY, unit) for n, (name, unit) in enumerate(_DIRECTIONS, 3)},
}
"""DI1 of 1D00 and 1E00 -> name, format, unit."""


def describe(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """Counters and records; None for an event that we do not know, or a record older than ten."""
    if di[:6] in _ACTS_2013 and di0 == 0:
        return single(di, (f"{_ACTS_2013[di[:6]]}_count", _COUNT, ""), _COUNTED_2013)
    if not di.startswith("03"):
        return _switching(di, di2, di1, di0)
    if di2 in (0x32, 0x33):
        return purchase(di, di2, di1, di0)
    if di2 == 0x10:
        return _qualification(di, di1, di0)
    if di0 > RECORDS:
        return None
    if di2 in _PHASED:
        return _of_phase(di, di2, di1, di0)
    if di2 in _WHOLE and not di1:
        return _of_meter(di, di2, di0)
    if di2 == 0x11 and not di1:
        return _power_down(di, di0)
    if di2 == 0x12:
        return _demand_over(di, di1, di0)
    return _act(di, di1, di0) if di2 == 0x30 and di1 in _ACTS else None


def _item(di: str, stem: str, fields: Iterable[Field], basis: Basis = _A4_ORDER) -> Item:
    return Item(di, tuple(Field(f"{stem}_{f.quantity}", f.format, f.unit, f.at) for f in fields), basis=basis)


def _many(names: Iterable[tuple[str, str]], form: Format, suffix: str = "", at: Stamp | None = None) -> list[Field]:
    return [Field(name + suffix, form, unit, at) for name, unit in names]


_SPAN = (Field("started_at", SECOND), Field("ended_at", SECOND))
_BY = (Field("at", SECOND), Field("operator", Code(4)))


def _of_phase(di: str, di2: int, phase: int, record: int) -> Item | None:
    """131, 115 or 76 bytes: span, gains of the meter, then of each phase with (but for 0E, 0F) its values at the start."""
    name = _PHASED[di2]
    if not phase and not record:
        fields = (Field(f"{name}_{p}_{what}", f, u) for p in PHASES.values() for what, f, u in _COUNTERS)
        return Item(di, tuple(fields), basis=_A4)
    if phase not in PHASES or not record:
        return None
    fields_ = [*_SPAN, *_many(_TOTALS, _ENERGY, "_delta")]
    for p in PHASES.values():
        fields_ += _many(_TOTALS, _ENERGY, f"_{p}_delta")
        if di2 in _WITH_INSTANTS:
            fields_ += [Field(f"{what}_{p}", f, u) for what, f, u in _INSTANTS]
    if di2 in _WITH_AMPERE_HOURS:
        fields_ += [Field(f"ampere_hours{p}", _ENERGY, "Ah") for p in ("", *(f"_{p}" for p in PHASES.values()))]
    return _item(di, f"{name}_{PHASES[phase]}_{record}", fields_)


_COUNTERS: tuple[Row, ...] = (("count", _COUNT, ""), ("minutes", _MINUTES, "min"))


def _of_meter(di: str, di2: int, record: int) -> Item:
    """15 (05: the current stands between start and end), 12 (06), 76 (07, 08) or 78 bytes (09, 0A: with the worst unbalance)."""
    name = _WHOLE[di2]
    if not record:
        return Item(di, tuple(Field(f"{name}_{what}", f, u) for what, f, u in _COUNTERS), basis=_A4)
    start, end = _SPAN
    if di2 == 0x05:
        return _item(di, f"{name}_{record}", (start, Field("current", Number(3, 3), "A"), end))
    if di2 == 0x06:
        return _item(di, f"{name}_{record}", _SPAN, _A4)
    worst = [Field("unbalance_max", _RATIO, "%")] if di2 in _UNBALANCES else []
    gains = [f for p in ("", *(f"_{p}" for p in PHASES.values())) for f in _many(_TOTALS, _ENERGY, f"{p}_delta")]
    return _item(di, f"{name}_{record}", [start, end, *worst, *gains])


def _power_down(di: str, record: int) -> Item:
    return _item(di, f"power_down_{record}", _SPAN, _A4) if record else single(di, ("power_down_count", _COUNT, ""), _A4)


def _demand_over(di: str, kind: int, record: int) -> Item | None:
    """DI1 00: the six counters; 01 to 06 which demand was over its limit: span, demand, its time."""
    if not kind and not record:
        return Item(di, tuple(Field(f"{name}_over_count", _COUNT) for name in _DEMAND_OVER.values()), basis=_A4)
    if kind not in _DEMAND_OVER or not record:
        return None
    name = _DEMAND_OVER[kind]
    worst = Field("max", Number(3, 4), "kvar" if name.startswith("reactive") else "kW", MINUTE)
    return _item(di, f"{name}_over_{record}", (*_SPAN, worst))


def _qualification(di: str, phase: int, month: int) -> Item | None:
    """How long the voltage was within its limits: DI1 00 all, 01 to 03 phase; DI0 00 this month, 01 to 0C months back."""
    if phase not in (0, *PHASES) or month > 12:
        return None
    minutes, percent, volts, at = Number(3), Number(3, 2), Number(2, 1), Stamp("MMDDhhmm")
    rows = (
        ("observed", minutes, "min"), ("qualified", percent, "%"), ("out_of_limits", percent, "%"), ("over", minutes, "min"),
        ("under", minutes, "min"), ("highest", volts, "V"), ("highest_at", at, ""), ("lowest", volts, "V"), ("lowest_at", at, ""),
    )  # fmt: skip
    stem = "voltage_quality" + (f"_{PHASES[phase]}" if phase else "") + (f"_month_{month}" if month else "")
    return _item(di, stem, (Field(*row) for row in rows))


def _act(di: str, act: int, record: int) -> Item:
    name = _ACTS[act]
    if not record:
        return single(di, (f"{name}_count", _COUNT, ""), _A4)
    return _item(di, f"{name}_{record}", _act_fields(act), _A4_ORDER if act in _WITH_REGISTERS else _A4)


def _act_fields(act: int) -> Iterable[Field]:
    """The layouts differ from act to act; 04 puts the operator first and has two times, 0D and 0E have no operator."""
    everywhere = [(name + suffix, unit) for suffix in ("", "_a", "_b", "_c") for name, unit in _DIRECTIONS]
    if act == 0x04:
        return (Field("operator", Code(4)), Field("before", SECOND), Field("after", SECOND))
    if act in (0x0D, 0x0E):
        return (*_SPAN, *_many(_DIRECTIONS, _ENERGY, "_before"), *_many(_DIRECTIONS, _ENERGY, "_after"))
    return (*_BY, *(_many(everywhere, _ENERGY) if act == 0x01 else _many(everywhere, Number(3, 4), "_demand", MINUTE)
                    if act == 0x02 else _old_values(act)))  # fmt: skip


def _old_values(act: int) -> list[Field]:
    """What the programming replaced."""
    times = [f"{table}_{n}" for table in range(1, 17) for n in range(1, 15)]  # 2 sets x 8 day tables, 14 segments each
    rows: dict[int, list[Field]] = {
        0x00: [Field(f"identifier_{n}", Code(4)) for n in range(1, 11)],
        0x03: [Field("identifier", Code(4))],
        0x05: [Field(f"segment_{t}", Stamp("hhmmNN")) for t in times],
        0x06: [Field(f"zone_{n}", Stamp("MMDDNN")) for n in range(1, 29)],
        0x07: [Field("weekend_table", Number(1))],
        0x08: [Field(f"holiday_{n}", Stamp("YYMMDDNN")) for n in range(1, 255)],
        0x0C: [Field(f"settlement_day_{n}", Stamp("DDhh")) for n in range(1, 4)],
    }
    return rows.get(act) or [Field("word", Code(1))]


def _switching(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """How often, when, by whom and at which registers the relay was opened (1D) and closed (1E); FF: all of a record."""
    verb = "trip" if di.startswith("1D") else "close"
    if di[2:] == "000001":
        return single(di, (f"{verb}_count", _COUNT, ""), _SUPPLEMENT)
    if di2 or not 1 <= di0 <= RECORDS:
        return None
    if di1 == 0xFF:
        return block(di, (Field(f"{verb}_{n}_{di0}", f, u) for n, f, u in _SWITCHED.values()), basis=_TRIP_ENERGY)
    if di1 not in _SWITCHED:
        return None
    name, form, unit = _SWITCHED[di1]
    return single(di, (f"{verb}_{name}_{di0}", form, unit), _SUPPLEMENT if di1 < 3 else _TRIP_ENERGY)
