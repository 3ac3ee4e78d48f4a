"""What prepayment added to energy (00): remaining credit, overdraft, consumption of the running step (dlt645.md 8.1)."""

from __future__ import annotations

from protocols.dlt645.items import Basis, Item, Layer, Row, single
from protocols.dlt645.values import MINUTE, Format, Number

_SUPPLEMENT = Basis(Layer.GRID_2009, "dlt645.md 8.1, supplement")
_FREE = Basis(Layer.VENDOR, "dlt645.md 8.1, 00900220", weak=True)
_PURCHASES = Basis(Layer.GRID_2009, "dlt645.md 8.4, purchase record")
_MONEY = Number(4, 2)
PERIODS = 12

_CREDIT: dict[str, tuple[Row, Basis]] = {
    "00900100": (("energy_remaining", _MONEY, "kWh"), _SUPPLEMENT),
    "00900101": (("energy_overdraft", _MONEY, "kWh"), _SUPPLEMENT),
    "00900200": (("balance", _MONEY, "currency"), _SUPPLEMENT),
    "00900201": (("overdraft", _MONEY, "currency"), _SUPPLEMENT),
    "00900220": (("free_amount", _MONEY, "currency"), _FREE),
}
_CONSUMPTION = {0x0B: "energy_step_period", 0x0C: "energy_month", 0x0D: "energy_year"}


def describe(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """Credit (0090xxxx), and what was used in the step period, month or year (000B to 000D00nn; 00 the running one)."""
    if di in _CREDIT:
        row, basis = _CREDIT[di]
        return single(di, row, basis)
    if di2 in _CONSUMPTION and not di1 and di0 <= PERIODS:
        name = _CONSUMPTION[di2] + (f"_past_{di0}" if di0 else "")
        return single(di, (name, _MONEY, "kWh"), _SUPPLEMENT)
    return None


def purchase(di: str, di2: int, di1: int, di0: int) -> Item | None:
    """0332 (energy) and 0333 (money): DI1 which value of the purchase; DI0 how many purchases back, 01 to 0A."""
    kind, unit = {0x32: ("energy", "kWh"), 0x33: ("money", "currency")}[di2]
    if not 1 <= di0 <= 10:
        return None
    rows: dict[int, tuple[str, Format, str]] = {
        1: ("at", MINUTE, ""),
        2: ("count", Number(2), ""),
        3: ("amount", _MONEY, unit),
        4: ("before", _MONEY, unit),
        5: ("after", _MONEY, unit),
        6: ("cumulative", _MONEY, unit),
    }
    stem = f"purchase_{kind}"
    if di1 not in rows:
        return None
    name, form, unit = rows[di1]
    return single(di, (f"{stem}_{name}_{di0}", form, unit), _PURCHASES)
