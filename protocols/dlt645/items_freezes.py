"""Frozen registers (05) of DL/T 645-2007, table A.6: 05 kk ii nn (dlt645.md 8.6).

kk what froze, ii which register, nn how many freezes back (1 is the last). The block of everything (ii = FF) is not known here:
its parts depend on the freeze mode word, and no document in our hands says how they are divided.
"""

from __future__ import annotations

from protocols.dlt645.items import PHASES, Basis, Field, Item, Layer, block, rated, single
from protocols.dlt645.registers import DEMAND, ENERGY, RATES
from protocols.dlt645.values import MINUTE, Number

_A6 = Basis(Layer.V2007, "DL/T 645-2007 A.6")
_SUPPLEMENT = Basis(Layer.GRID_2009, "dlt645.md 8.6, supplement")
_DEEP = Basis(Layer.VENDOR, "dlt645.md 8.6, one firmware keeps 365 days", weak=True)
KINDS = {
    0x00: ("timed", 12), 0x01: ("instant", 3), 0x02: ("zone_switch", 2), 0x03: ("day_table_switch", 2), 0x04: ("hourly", 254),
    0x05: ("price_switch", 2), 0x06: ("daily", 254), 0x07: ("ladder_switch", 2),
}  # fmt: skip
"""kk -> name, how many there are."""
_SUPPLEMENTED, _DAILY, _DAILY_DEPTH = (0x04, 0x05, 0x06, 0x07), 0x06, 62


def describe(di: str, kind: int, which: int, past: int) -> Item | None:
    """The frozen register; None for kinds and depths that no document has."""
    name, depth = KINDS.get(kind, ("", 0))
    if not 1 <= past <= depth:
        return None
    basis = _DEEP if kind == _DAILY and past > _DAILY_DEPTH else _SUPPLEMENT if kind in _SUPPLEMENTED else _A6
    suffix = f"_freeze_{name}_{past}"
    if which == 0x00:
        return single(di, (f"freeze_{name}_{past}_at", MINUTE, ""), basis)
    if 0x01 <= which <= 0x08:
        stem, unit, signed = ENERGY[which]
        form = Number(4, 2, signed)
        return block(di, (Field(rated(stem, rate) + suffix, form, unit) for rate in range(RATES + 1)), basis=basis)
    if which in (0x09, 0x0A):
        stem, unit, signed = DEMAND[which - 8]
        return block(
            di, (Field(rated(stem, rate) + suffix, Number(3, 4, signed), unit, MINUTE) for rate in range(RATES + 1)), basis=basis
        )
    if which == 0x10:
        places = ("", *(f"_{p}" for p in PHASES.values()))
        powers = (("power", "kW"), ("reactive_power", "kvar"))
        fields = (Field(stem + place + suffix, Number(3, 4, True), unit) for stem, unit in powers for place in places)
        return Item(di, tuple(fields), basis=basis)
    return None
