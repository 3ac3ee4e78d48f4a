"""OBIS codes (IEC 62056-6-1) of the quantities that DL/T 645 reads, by rule; None where that standard has none."""

from __future__ import annotations

import re

from protocols.quantities import quantity

_REGISTERS = {
    "energy_import": "1.8", "energy_export": "2.8", "reactive_energy_import": "3.8", "reactive_energy_export": "4.8",
    **{f"reactive_energy_q{q}": f"{4 + q}.8" for q in range(1, 5)},
    "apparent_energy_import": "9.8", "apparent_energy_export": "10.8",
    "demand_import_max": "1.6", "demand_export_max": "2.6", **{f"reactive_demand_q{q}_max": f"{4 + q}.6" for q in range(1, 5)},
    "apparent_demand_import_max": "9.6", "apparent_demand_export_max": "10.6",
}  # fmt: skip
"""Value groups C and D of what is counted over time; E is the tariff, F the settlement period."""
_INSTANTS = {
    "power": 16, "reactive_power": 3, "apparent_power": 9, "power_factor": 13, "frequency": 14, "current_n": 91,
}  # fmt: skip
_PHASE_FIRST = {"voltage": 32, "current": 31, "power": 36, "reactive_power": 23, "apparent_power": 29, "power_factor": 33}
"""Value group C of phase A; B and C follow at 20 and 40."""
_PHASE = {"a": 0, "b": 20, "c": 40}
_COUNTED_PHASE = {"energy_import": "21.8", "energy_export": "22.8"}
_NAME = re.compile(r"(?P<stem>[a-z0-9_]+?)(?:_t(?P<rate>[1-9]\d?))?(?:_settlement_(?P<past>[1-9]\d?))?")


def obis(name: str) -> str | None:
    """The code of a quantity, with its tariff in E and its settlement period (1 is the last) in F after an asterisk."""
    if known := quantity(name).obis:
        return known
    match = _NAME.fullmatch(name)
    if not match:
        return None
    group = _REGISTERS.get(match["stem"])
    if group:
        return f"1-0:{group}.{match['rate'] or 0}" + (f"*{match['past']}" if match["past"] else "")
    return None if match["rate"] or match["past"] else _instant(name)


def _instant(name: str) -> str | None:
    if name in _INSTANTS:
        return f"1-0:{_INSTANTS[name]}.7.0"
    stem, _, phase = name.rpartition("_")
    if phase not in _PHASE:
        return None
    if stem in _PHASE_FIRST:
        return f"1-0:{_PHASE_FIRST[stem] + _PHASE[phase]}.7.0"
    if stem in _COUNTED_PHASE:
        group, _, kind = _COUNTED_PHASE[stem].partition(".")
        return f"1-0:{int(group) + _PHASE[phase]}.{kind}.0"
    return None
