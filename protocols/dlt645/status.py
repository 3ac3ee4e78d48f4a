"""The status words of DL/T 645: bits by name, and what word 3 says about the relay (dlt645.md 8.5)."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.dlt645.codes import bit_names
from protocols.errors import Malformed

_PHASE = (
    "voltage_lost", "under_voltage", "over_voltage", "current_lost", "over_current", "overload", "flow_reversed", "phase_broken",
    "current_broken",
)  # fmt: skip
_NAMES_2007: dict[int, tuple[str, ...]] = {
    1: (
        "external_switch_pulse", "demand_by_interval", "clock_battery_low", "outage_battery_low", "active_reversed",
        "reactive_reversed", "", "", "control_circuit_error", "esam_error", "", "", "program_error", "memory_error", "overdraft",
        "clock_error",
    ),
    2: ("active_reversed_a", "active_reversed_b", "active_reversed_c", "", "reactive_reversed_a", "reactive_reversed_b",
        "reactive_reversed_c"),
    3: (
        "second_day_tables", "supply_auxiliary", "supply_battery", "programming_allowed", "relay_open", "", "command_open",
        "pre_trip_alarm", "prepaid_energy", "prepaid_money", "", "", "protect", "authenticated", "local_account", "remote_account",
    ),
    4: _PHASE,
    5: _PHASE,
    6: _PHASE,
    7: (
        "voltage_reverse_sequence", "current_reverse_sequence", "voltage_unbalance", "current_unbalance", "auxiliary_lost",
        "power_down", "demand_over", "power_factor_low", "severe_current_unbalance", "cover_open", "terminal_cover_open",
    ),
}  # fmt: skip
_NAMES_1997 = {
    "C020": ("manual_reading", "demand_by_interval", "battery_low", "active_reversed", "reactive_reversed"),
    "C021": ("dead_a", "dead_b", "dead_c", "", "over_voltage_a", "over_voltage_b", "over_voltage_c"),
}
_FREEZE = (
    "import",
    "export",
    "combined_reactive_1",
    "combined_reactive_2",
    "quadrants",
    "import_demand",
    "export_demand",
    "variables",
)
_LOAD = ("voltage_current_frequency", "powers", "power_factor", "energies", "quadrant_energies", "demand")
_REACTIVE = tuple(f"{sign}_q{q}" for q in range(1, 5) for sign in ("plus", "minus"))
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_SPEED = ("", "600", "1200", "2400", "4800", "9600", "19200")
_REPORT = (*("",) * 14, "trip", "close")
_WORDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "combination_word_active": (1, ("plus_import", "minus_import", "plus_export", "minus_export")),
    "combination_word_reactive_1": (1, _REACTIVE),
    "combination_word_reactive_2": (1, _REACTIVE),
    **{f"speed_word_{n}": (1, _SPEED) for n in range(1, 6)},
    "weekend_word": (1, _DAYS),
    "load_record_mode_word": (1, _LOAD),
    "freeze_mode_word": (1, _FREEZE),
    "active_report_mode_word": (8, _REPORT),
    "active_report_status": (12, _REPORT),
    "key_status": (4, tuple(f"production_key_{n}" for n in range(32))),
}
"""Quantity -> bytes, bits by name (appendix C; dlt645.md 8.5). A day whose bit in the weekend word is clear is a rest day."""


def status_flags(word: int, value: int) -> tuple[str, ...]:
    """The set bits of status word 1 to 7 by name, lowest first; bits that differ between documents are called "bit N"."""
    return bit_names(value.to_bytes(2, "little"), _NAMES_2007[word])


def quantity_flags(name: str, value: int) -> tuple[str, ...] | None:
    """The set bits of a quantity that is a word of bits (`status_3`, `status_c020`, `freeze_mode_word`); None for every other."""
    if name in _WORDS:
        length, names = _WORDS[name]
        return bit_names(value.to_bytes(length, "little"), names)
    if not name.startswith("status_"):
        return None
    rest = name.removeprefix("status_")
    if rest.isdecimal():
        return status_flags(int(rest), value)
    return bit_names(bytes([value]), _NAMES_1997[rest.upper()])


@dataclass(frozen=True, slots=True)
class RelayState:
    """Status word 3 (04000503). relay_open is the contact as the meter sees it, command_open what it was last told."""

    relay_open: bool
    command_open: bool
    pre_trip_alarm: bool
    protect: bool
    programming_allowed: bool
    authenticated: bool
    supply: str
    """"main", "auxiliary" or "battery"; "unknown" for the code 11."""
    prepaid: str
    """"none", "energy" or "money"; "unknown" for the code 11."""


def relay_state(status_3: int | bytes) -> RelayState:
    """Reads status word 3, as its number or as its 2 bytes in wire order. Raises Malformed for a filler (FFFF)."""
    word = status_3 if isinstance(status_3, int) else int.from_bytes(status_3, "little")
    if not 0 <= word < 0xFFFF:
        raise Malformed(f"status word 3 is {word:04X}, which is no state")
    return RelayState(
        relay_open=bool(word & 1 << 4),
        command_open=bool(word & 1 << 6),
        pre_trip_alarm=bool(word & 1 << 7),
        protect=bool(word & 1 << 12),
        programming_allowed=bool(word & 1 << 3),
        authenticated=bool(word & 1 << 13),
        supply=("main", "auxiliary", "battery", "unknown")[word >> 1 & 3],
        prepaid=("none", "energy", "money", "unknown")[word >> 8 & 3],
    )
