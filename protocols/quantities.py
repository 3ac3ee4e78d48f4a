"""The one table of quantities: name, unit, OBIS code. The same names on the wire, in the store, over MQTT and HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Quantity:
    """A physical quantity by its contract name; `obis` is None where contract.md gives no code."""

    name: str
    unit: str
    obis: str | None = None


class Measurement(NamedTuple):
    """One value as the meter gave it; a tuple, like the frame it came in.

    value: Decimal with the register's own resolution (Decimal("1.20") keeps the zero); None for a filler or non-decimal digits.
    coarse: what a float says that can no longer hold the register's resolution: to be seen, not to be billed; value is None then.
    """

    quantity: str
    value: Decimal | None
    unit: str
    coarse: Decimal | None = None


_FIXED = (
    Quantity("energy_import", "kWh", "1-0:1.8.0"),
    Quantity("energy_export", "kWh", "1-0:2.8.0"),
    Quantity("energy_combined", "kWh"),
    Quantity("voltage_a", "V", "1-0:32.7.0"),
    Quantity("voltage_b", "V", "1-0:52.7.0"),
    Quantity("voltage_c", "V", "1-0:72.7.0"),
    Quantity("current_a", "A", "1-0:31.7.0"),
    Quantity("current_b", "A", "1-0:51.7.0"),
    Quantity("current_c", "A", "1-0:71.7.0"),
    Quantity("current_n", "A", "1-0:91.7.0"),
    Quantity("power", "kW", "1-0:16.7.0"),
    Quantity("power_a", "kW"),
    Quantity("power_b", "kW"),
    Quantity("power_c", "kW"),
    Quantity("reactive_power", "kvar"),
    Quantity("apparent_power", "kVA"),
    Quantity("power_factor", ""),
    Quantity("frequency", "Hz", "1-0:14.7.0"),
    Quantity("demand_import_max", "kW"),
    Quantity("balance", "currency"),
    Quantity("overdraft", "currency"),
    Quantity("clock", ""),
    *(Quantity(f"status_{n}", "") for n in range(1, 8)),
)
_BY_NAME = {q.name: q for q in _FIXED}
_RATE = re.compile(r"energy_import_t([1-9]|[1-5]\d|6[0-3])\Z")


def quantity(name: str) -> Quantity:
    """The quantity of this contract name. Unknown names (vendor items) come back with an empty unit and no OBIS code."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    if rate := _RATE.match(name):
        return Quantity(name, "kWh", f"1-0:1.8.{rate[1]}")
    if name.startswith(("reactive_energy", "energy_reactive")):
        return Quantity(name, "kvarh")
    if name.startswith(("energy_",)):
        return Quantity(name, "kWh")
    return Quantity(name, "")
