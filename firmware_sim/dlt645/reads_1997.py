"""The same meter in the identifiers of DL/T 645-1997 (notes 9): two bytes, fewer digits, no signs."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from firmware_sim.clockwork import local
from firmware_sim.dlt645 import parameter_io
from firmware_sim.dlt645.readings import HIGHEST_DEMAND, ROLLOVER, Reading
from firmware_sim.dlt645.tables import segments, zones
from firmware_sim.registers import FORWARD, Q1, Q2, Q3, Q4, REVERSE
from protocols.bcd import encode_bcd
from protocols.dlt645.items import Item

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

BLOCK = 0xF
PAST = {0x0: 0, 0x4: 1, 0x8: 2}
ACTIVE = {1: (FORWARD,), 2: (REVERSE,)}
REACTIVE = {1: (Q1, Q2), 2: (Q3, Q4), 3: (Q1,), 4: (Q4,), 5: (Q2,), 6: (Q3,)}
"""High nibble of DI0 -> which quantities add up; the numbering of the quadrants is 1997's own."""
SAME = {
    "C010": "04000101", "C011": "04000102", "C022": "04000801", "C030": "04000409", "C031": "0400040A", "C032": "04000402",
    "C033": "0400040E", "C034": "04000401", "C111": "04000103", "C112": "04000104", "C113": "04000302", "C115": "04000303",
    "C116": "04000304", "C117": "04000B01", "C211": "04000105", "C310": "04000201", "C311": "04000202", "C312": "04000203",
    "C313": "04000204", "C510": "04000A01", "C511": "04000A02",
}  # fmt: skip
"""What is kept once, under its 2007 name, in the same bytes."""
_NO_TIME = bytes(4)


def read(device: Device, di: str, item: Item) -> bytes | None:
    """The payload of 4 hex digits; None: no such data."""
    if di in SAME:
        return parameter_io.read(device, SAME[di])
    families: dict[str, Callable[[], bytes | None]] = {
        "9": lambda: _register(device, di, _energy, 4),
        "A": lambda: _register(device, di, _demand, 3),
        "B": lambda: _variable(device, di, item),
        "C": lambda: _parameter(device, di),
    }
    return families[di[0]]() if di[0] in families else None


def _register(device: Device, di: str, value: Callable[[Reading, tuple[int, ...], int], bytes], length: int) -> bytes | None:
    """Energy, demand or the time of a demand: now or one or two settlements back, one rate or all."""
    nibble = int(di[1], 16)
    quantities = (REACTIVE if nibble & 1 else ACTIVE).get(int(di[2], 16))
    past, rate = PAST.get(nibble & ~1), int(di[3], 16)
    if quantities is None or past is None or (rate != BLOCK and rate > device.meter.spec.rates):
        return None
    wanted = range(device.meter.spec.rates + 1) if rate == BLOCK else (rate,)
    settled = device.settlement.settled
    if past > len(settled):
        return b"\xff" * (length * len(wanted))
    reading = settled[past - 1] if past else device.reading()
    return b"".join(value(reading, quantities, each) for each in wanted)


def _energy(reading: Reading, quantities: tuple[int, ...], rate: int) -> bytes:
    return encode_bcd(sum(reading.totals[quantity][rate] for quantity in quantities) % ROLLOVER, 4)


def _demand(reading: Reading, quantities: tuple[int, ...], rate: int) -> bytes:
    return encode_bcd(min(max(reading.peaks[quantity][rate][0] for quantity in quantities) // 100, HIGHEST_DEMAND), 3)


def _demand_time(reading: Reading, quantities: tuple[int, ...], rate: int) -> bytes:
    _, at_us = max(reading.peaks[quantity][rate] for quantity in quantities)
    return _minute(at_us) if at_us else _NO_TIME


def _minute(clock_us: int) -> bytes:
    """MMDDhhmm."""
    return bytes.fromhex(local(clock_us).strftime("%m%d%H%M"))[::-1]


def _variable(device: Device, di: str, item: Item) -> bytes | None:
    if di[1] == "6":
        return _limit(device, di) if di in ("B634", "B635") else _instant(device, di, item)
    if di[1] == "2":
        return _happened(device, di)
    if di[1] == "3":
        return _breaks(device, di)
    return _register(device, di, _demand_time, 4)


def _instant(device: Device, di: str, item: Item) -> bytes | None:
    """Magnitudes: 1997 has no signs. A phase that the meter has not got is filled with FF."""
    meter, flow = device.meter, device.meter.flow
    phases = range(meter.spec.phases)
    values = {
        "1": [Decimal(meter.voltage_mv(p)) / 1000 for p in phases],
        "2": [Decimal(abs(meter.measured_ma(p))) / 1000 for p in phases],
        "3": [Decimal(abs(power)) / 10**6 for power in (flow.total_mw, *flow.active_mw)],
        "4": [Decimal(abs(power)) / 10**6 for power in (flow.total_mvar, *flow.reactive_mvar)],
        "5": [Decimal(meter.pf_milli) / 1000] * (1 + len(phases)),
    }[di[2]]
    first = 0 if di[2] in "345" else 1
    number = int(di[3], 16)
    if number != BLOCK and not first <= number < first + len(values):
        return None
    decimals = {"1": 0, "2": 2, "3": 4, "4": 2, "5": 3}[di[2]]
    chosen = values if number == BLOCK else [values[number - first]]
    cut = [value.quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN) for value in chosen]
    return item.write([*cut, *[None] * (len(item.fields) - len(cut))])


def _limit(device: Device, di: str) -> bytes:
    """XX.XX kW, where 2007 keeps two digits more."""
    number = device.parameters.number("04000E01" if di == "B634" else "04000E02")
    return encode_bcd(min(number // 100, 9999), 2)


def _happened(device: Device, di: str) -> bytes | None:
    """When and how often the meter was programmed and its demand reset, and how long its battery worked."""
    kinds = {"0": parameter_io.PROGRAMMING, "1": "033002"}
    if di == "B214":
        return encode_bcd(device.log.kind("031100").seconds // 60, 3)
    kind = device.log.kind(kinds["01"[int(di[3], 16) & 1]])
    if di in ("B212", "B213"):
        return encode_bcd(kind.count % 10_000, 2)
    return bytes.fromhex(kind.records[0]["at"][2:10])[::-1] if kind.records else _NO_TIME


def _breaks(device: Device, di: str) -> bytes | None:
    """Phase breaks: how often, how long, when the last began and ended; of all phases the sum, and the latest."""
    what, phase = di[2], int(di[3], 16)
    kinds = [device.log.kind(f"0304{p:02X}") for p in ((1, 2, 3) if phase == 0 else (phase,))]
    if what == "1":
        return encode_bcd(sum(kind.count for kind in kinds) % 10_000, 2)
    if what == "2":
        return encode_bcd(sum(kind.seconds for kind in kinds) // 60, 3)
    name = {"3": "started_at", "4": "ended_at"}[what]
    times = [kind.records[0][name] for kind in kinds if kind.records and name in kind.records[0]]
    return bytes.fromhex(max(times)[2:10])[::-1] if times else _NO_TIME


def _parameter(device: Device, di: str) -> bytes | None:
    """Status, zones, day tables, holidays."""
    meter, kind, number = device.meter, di[1:3], int(di[3], 16)
    timetable, active = meter.timetable, device.watches.active
    if di == "C020":
        return bytes([(meter.flow.total_mw < 0) << 4 | (meter.flow.total_mvar < 0) << 5])
    if di == "C021":
        dead = sum(1 << phase for phase, level in enumerate(meter.levels) if not level)
        return bytes([dead | sum(1 << 4 + phase for phase in range(meter.spec.phases) if f"0303{phase + 1:02X}" in active)])
    if di == "C314":
        return encode_bcd(min(99, len(timetable.holidays)), 1)
    if kind == "32":
        return _row(zones(timetable.zones[timetable.zone_set]), number)
    if kind == "41":
        dates = [f"{month:02d}{day:02d}{table:02d}" for (_, month, day), table in sorted(timetable.holidays.items())]
        return _row(dates, number)
    table = int(kind, 16) - 0x32
    days = timetable.days[timetable.day_set]
    return _row(segments(days[min(table, len(days)) - 1]), number) if 1 <= table <= 8 else None


def _row(rows: list[str], number: int) -> bytes | None:
    return bytes.fromhex(rows[number - 1])[::-1] if 1 <= number <= len(rows) else None
