"""All registers of a meter at one moment, and what the identifiers of energy (00) and maximum demand (01) make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from firmware_sim.clockwork import local
from firmware_sim.demand import Demand, Peak
from firmware_sim.meter import Meter
from firmware_sim.registers import (
    APPARENT_FORWARD,
    APPARENT_REVERSE,
    FORWARD,
    Q1,
    Q2,
    Q3,
    Q4,
    QUANTITIES,
    REVERSE,
)
from protocols.bcd import encode_bcd
from protocols.dlt645.registers import PHASE_OFFSET
from protocols.dlt645.values import encode_minute

ROLLOVER = 10**8  # a register holds 999999.99
SIGNED_ROLLOVER = 8 * 10**7  # with a sign 799999.99
HIGHEST_DEMAND = 999_999  # XX.XXXX kW
FILLER = b"\xff"
ALL = 0xFF
PLAIN = {1: FORWARD, 2: REVERSE, 5: Q1, 6: Q2, 7: Q3, 8: Q4, 9: APPARENT_FORWARD, 10: APPARENT_REVERSE}
"""DI2 -> quantity."""
QUADRANTS = (Q1, Q2, Q3, Q4)
COMBINED, REACTIVE_1, REACTIVE_2 = 0, 3, 4
_COMBINED_PEAKS = {REACTIVE_1: (Q1, Q4), REACTIVE_2: (Q2, Q3)}
_ASSOCIATED, _FUNDAMENTAL, _HARMONIC, _LOSSES = 0x80, (0x81, 0x82), (0x83, 0x84), (0x85, 0x86)
HARMONIC_PERCENT = 2  # of the active energy of every load here


@dataclass(frozen=True, slots=True)
class Reading:
    """Counts of 0.01 by quantity: totals[quantity][rate] with the total at 0, phases[quantity][phase]; peaks as in Demand."""

    clock_us: int
    totals: tuple[tuple[int, ...], ...]
    phases: tuple[tuple[int, ...], ...]
    peaks: tuple[tuple[Peak, ...], ...]


@dataclass(frozen=True, slots=True)
class Words:
    """The combination words: active (04000601), reactive 1 and 2 (04000602/03)."""

    active: int = 0x05
    reactive_1: int = 0x41
    reactive_2: int = 0x14

    @property
    def signs(self) -> tuple[int, int]:
        """How forward and reverse active energy are combined."""
        return _sign(self.active, 0), _sign(self.active, 1)


def take(meter: Meter, demand: Demand) -> Reading:
    """The registers as they stand."""
    rows = meter.registers
    rates = range(meter.spec.rates + 1)
    phases = range(meter.spec.phases)
    return Reading(
        meter.clock_us,
        tuple(tuple(rows.count(quantity, rate) for rate in rates) for quantity in range(QUANTITIES)),
        tuple(tuple(rows.phase_count(quantity, phase) for phase in phases) for quantity in range(QUANTITIES)),
        tuple(tuple(row) for row in demand.peaks),
    )


def energy(reading: Reading, words: Words, di2: int, rate: int) -> bytes | None:
    """One register (4 bytes); rate 0 is the total. None: this meter has no such register."""
    place = _phase_place(di2)
    if place is not None:
        di2, phase = place
        if rate or phase >= len(reading.phases[0]) or len(reading.phases[0]) == 1:
            return None
        counts = {quantity: row[phase] for quantity, row in enumerate(reading.phases)}
    elif rate < len(reading.totals[0]):
        counts = {quantity: row[rate] for quantity, row in enumerate(reading.totals)}
    else:
        return None
    return _register(counts, words, di2)


def energies(reading: Reading, words: Words, di2: int, rate: int) -> bytes | None:
    """One register, or with rate FF the block of total and rates."""
    wanted = range(len(reading.totals[0])) if rate == ALL else (rate,)
    parts = [energy(reading, words, di2, each) for each in wanted]
    return None if None in parts else b"".join(part or b"" for part in parts)


def peak(reading: Reading, di2: int, rate: int) -> bytes | None:
    """A maximum and its time (8 bytes), of all phases or one. The combined reactive ones are the higher of the two quadrants that
    the combination words of the factory add up."""
    row, phase = 0, _phase_place(di2)
    if phase is not None:
        di2, row = phase[0], QUANTITIES * (1 + phase[1])
    quantities = _COMBINED_PEAKS.get(di2) or ((PLAIN[di2],) if di2 in PLAIN else ())
    if not quantities or row >= len(reading.peaks) or rate >= len(reading.peaks[row]):
        return None
    power_mw, at_us = max(reading.peaks[row + quantity][rate] for quantity in quantities)
    highest = HIGHEST_DEMAND if di2 in PLAIN else 799_999
    when = encode_minute(local(at_us)) if at_us else bytes(5)
    return encode_bcd(min(power_mw // 100, highest), 3, signed=di2 not in PLAIN) + when


def peaks(reading: Reading, di2: int, rate: int) -> bytes | None:
    """One maximum, or with rate FF those of total and rates."""
    wanted = range(len(reading.peaks[0])) if rate == ALL else (rate,)
    parts = [peak(reading, di2, each) for each in wanted]
    return None if None in parts else b"".join(part or b"" for part in parts)


def of_periods(now: Reading, settled: list[Reading], period: int, read: Callable[[Reading], bytes | None]) -> bytes | None:
    """The value of a settlement period (0 now, 1 the last ...), or with FF now and the last twelve; FF where none has ended yet."""
    present = read(now)
    if present is None:
        return None
    empty = FILLER * len(present)
    past = [read(each) or empty for each in settled]
    values = [present, *past, *([empty] * (12 - len(past)))]
    if period == ALL:
        return b"".join(values)
    return values[period] if period < len(values) else None


def _register(counts: dict[int, int], words: Words, di2: int) -> bytes | None:
    if di2 in PLAIN:
        return _unsigned(counts[PLAIN[di2]])
    if di2 == COMBINED:
        forward, reverse = words.signs
        return _signed(forward * counts[FORWARD] + reverse * counts[REVERSE])
    if di2 in (REACTIVE_1, REACTIVE_2):
        word = words.reactive_1 if di2 == REACTIVE_1 else words.reactive_2
        return _signed(sum(_sign(word, n) * counts[quantity] for n, quantity in enumerate(QUADRANTS)))
    if di2 == _ASSOCIATED:
        return _unsigned(counts[FORWARD])
    for direction, quantity in enumerate((FORWARD, REVERSE)):
        if di2 == _FUNDAMENTAL[direction]:
            return _unsigned(counts[quantity] - counts[quantity] * HARMONIC_PERCENT // 100)
        if di2 == _HARMONIC[direction]:
            return _unsigned(counts[quantity] * HARMONIC_PERCENT // 100)
    return _unsigned(0) if di2 in _LOSSES else None


def _phase_place(di2: int) -> tuple[int, int] | None:
    """(DI2 of the total, phase) of a phase's register."""
    for phase, offset in enumerate(PHASE_OFFSET.values()):
        total = di2 - offset
        if total in PLAIN or total in (REACTIVE_1, REACTIVE_2) or _ASSOCIATED <= total <= _LOSSES[1]:
            return total, phase
    return None


def _sign(word: int, pair: int) -> int:
    """Bits come in pairs: added, taken off."""
    return (word >> 2 * pair & 1) - (word >> 2 * pair + 1 & 1)


def _unsigned(count: int) -> bytes:
    return encode_bcd(count % ROLLOVER, 4)


def _signed(count: int) -> bytes:
    turned = abs(count) % SIGNED_ROLLOVER
    return encode_bcd(-turned if count < 0 else turned, 4, signed=True)
