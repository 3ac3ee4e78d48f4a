"""What freezes, load records and event records keep of a moment."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from firmware_sim.clockwork import local
from firmware_sim.dlt645 import instants
from firmware_sim.dlt645.freezes import HOURLY, Frozen
from firmware_sim.dlt645.instants import CURRENT, FACTOR, PHASES, POWER, REACTIVE, VOLTAGE
from firmware_sim.dlt645.readings import ALL, HIGHEST_DEMAND, REACTIVE_1, REACTIVE_2, ROLLOVER, Reading, energies, energy, peaks
from firmware_sim.registers import FORWARD, Q1, Q2, Q3, Q4, REVERSE
from firmware_sim.watches import Moment
from protocols.bcd import decode_bcd, encode_bcd

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

VARIABLES = 0x10
_FREEZE_BITS = ((1,), (2,), (3,), (4,), (5, 6, 7, 8), (9,), (0x0A,), (VARIABLES,))
"""Bit of the freeze mode word (04000902) -> which ii it freezes."""
_LETTERS = "abc"
_QUADRANTS = {f"reactive_energy_q{n}": quantity for n, quantity in enumerate((Q1, Q2, Q3, Q4), 1)}
_DIRECTIONS = {"energy_import": FORWARD, "energy_export": REVERSE} | _QUADRANTS
_COMBINED = {"reactive_energy_combined_1": REACTIVE_1, "reactive_energy_combined_2": REACTIVE_2}


def frozen(device: Device, kind: int) -> Frozen:
    """The registers of this moment by ii; an hourly freeze has forward and reverse totals alone."""
    reading, words = device.reading(), device.words
    if kind == HOURLY:
        return {ii: energy(reading, words, ii, 0) or b"" for ii in (1, 2)}
    mode = device.parameters.word("04000902")
    wanted = [ii for bit, group in enumerate(_FREEZE_BITS) if mode >> bit & 1 for ii in group]
    return {ii: _frozen(device, reading, ii) for ii in wanted}


def _frozen(device: Device, reading: Reading, ii: int) -> bytes:
    if ii == VARIABLES:
        return _powers(device)
    data = energies(reading, device.words, ii, ALL) if ii <= 8 else peaks(reading, ii - 8, ALL)
    return data or b""


def _powers(device: Device) -> bytes:
    return b"".join(instants.read(device, family, ALL, 0) or b"" for family in (POWER, REACTIVE))


def sample(device: Device, group: int) -> bytes:
    """One class of a load record (0 to 5)."""
    if group == 0:
        phases = b"".join(instants.of_phase(device.meter, family, p) for family in (VOLTAGE, CURRENT) for p in range(PHASES))
        return phases + encode_bcd(device.meter.frequency_mhz // 10, 2)
    if group == 1:
        return _powers(device)
    if group == 2:
        return instants.read(device, FACTOR, ALL, 0) or b""
    if group == 5:
        return b"".join(instants.single(device, di) or b"" for di in ("02800004", "02800005"))
    reading, words = device.reading(), device.words
    return b"".join(energy(reading, words, di2, 0) or b"" for di2 in ((1, 2, 3, 4) if group == 3 else (5, 6, 7, 8)))


def moment(device: Device) -> Moment:
    """Registers and instants by the names that event records have."""
    meter, reading = device.meter, device.reading()
    counts = {name: reading.totals[_DIRECTIONS[name]][0] for name in ("energy_import", "energy_export")}
    counts |= {name: _signed(energy(reading, device.words, di2, 0)) for name, di2 in _COMBINED.items()}
    values: dict[str, str] = {}
    for phase in range(meter.spec.phases):
        letter = _LETTERS[phase]
        counts |= {f"{name}_{letter}": reading.phases[_DIRECTIONS[name]][phase] for name in ("energy_import", "energy_export")}
        counts |= {f"reactive_energy_combined_1_{letter}": reading.phases[Q1][phase]}
        counts |= {f"reactive_energy_combined_2_{letter}": reading.phases[Q3][phase]}
        values |= _instants(device, phase)
    return Moment(device.stamp(), counts, values)


def directions(device: Device, suffix: str = "", phases: bool = False) -> dict[str, str]:
    """The six registers of energy by direction and quadrant, and with `phases` those of each phase too."""
    reading = device.reading()
    found = {f"{name}{suffix}": _register(reading.totals[quantity][0]) for name, quantity in _DIRECTIONS.items()}
    for phase in range(device.meter.spec.phases) if phases else ():
        found |= {f"{name}_{_LETTERS[phase]}{suffix}": _register(reading.phases[q][phase]) for name, q in _DIRECTIONS.items()}
    return found


def maxima(device: Device) -> dict[str, str]:
    """The six maximum demands with their times, as "kW@time"."""
    peaks_ = device.reading().peaks
    found = {}
    for name, quantity in _DIRECTIONS.items():
        power_mw, at_us = peaks_[quantity][0]
        if at_us:
            found[f"{name}_demand"] = f"{_decimal(min(power_mw // 100, HIGHEST_DEMAND), 4)}@{local(at_us):%Y-%m-%dT%H:%M}"
    return found


def _instants(device: Device, phase: int) -> dict[str, str]:
    meter, letter = device.meter, _LETTERS[phase]
    places = {"voltage": (VOLTAGE, 1), "current": (CURRENT, 3), "power": (POWER, 4), "reactive_power": (REACTIVE, 4)}
    found = {}
    for name, (family, decimals) in (places | {"power_factor": (FACTOR, 3)}).items():
        data = instants.of_phase(meter, family, phase)
        found[f"{name}_{letter}"] = _decimal(decode_bcd(data, signed=family != VOLTAGE) or 0, decimals)
    return found


def _signed(data: bytes | None) -> int:
    return decode_bcd(data or b"\0", signed=True) or 0


def _register(count: int) -> str:
    return _decimal(count % ROLLOVER, 2)


def _decimal(count: int, decimals: int) -> str:
    return str(Decimal(count).scaleb(-decimals))
