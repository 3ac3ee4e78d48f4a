"""What DI2 means for energy and maximum demand of DL/T 645-2007 (tables A.1 and A.2): the rows that freezes and records share."""

from __future__ import annotations

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
RATES, MONTHS = 63, 12


def of_phase(table: dict[int, tuple[str, str, bool]], di2: int) -> tuple[str, str, bool] | None:
    """The entry of the total that DI2 stands for in one phase."""
    for phase, offset in PHASE_OFFSET.items():
        if di2 > offset and di2 - offset in table:
            name, unit, signed = table[di2 - offset]
            return f"{name}_{phase}", unit, signed
    return None
