"""Reading and writing of parameters (04): clock, tables, limits and plain values, and what a write leaves in the event log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from firmware_sim.clockwork import local, local_us
from firmware_sim.dlt645 import status_words, tables
from firmware_sim.events import Record
from firmware_sim.timetable import MAX_TABLES
from protocols.bcd import decode_digits, encode_bcd, encode_digits
from protocols.dlt645.codes import Err
from protocols.dlt645.items import Item
from protocols.dlt645.values import decode_clock, encode_date, encode_time

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

DATE, TIME, CLOCK = "04000101", "04000102", "0400010C"
ADDRESS, CUSTOMER = "04000401", "0400040E"
PASSWORDS = "04000C"
CLOCK_SET, PROGRAMMING = "033004", "033000"
_FIXED = ("04000201", "04000202", "04000203", "04000204", "04000205", "04000206", "04000207", "04000208", "040005", "0480")
"""What the meter says of itself and nobody can write."""
_TABLES = ("0401", "0402", "0403", "0405", "0406")
_OLD_VALUES = {
    "04000801": "", "04000802": "033007", "04000601": "033009", "04000602": "03300A", "04000603": "03300B",
    "04000B01": "03300C", "04000B02": "03300C", "04000B03": "03300C",
}  # fmt: skip
"""Which event keeps what a write replaces."""


def read(device: Device, di: str) -> bytes | None:
    """None: no such data."""
    views = _views(device)
    if di in views:
        return views[di]()
    if di.startswith("0400050") and "1" <= di[7] <= "7":
        return status_words.word(device, int(di[7]))
    if di[:4] in _TABLES:
        return tables.read(device, di)
    return None if di.startswith(PASSWORDS) else device.parameters.get(di)


def write(device: Device, di: str, data: bytes, item: Item, operator: str) -> Err:
    """Set a parameter whose writer has been judged. 0: done, and noted."""
    if di in (DATE, TIME, CLOCK):
        return _set_clock(device, di, data, operator)
    if read(device, di) is None or di.startswith(_FIXED):
        return Err.NO_DATA
    before = _old_values(device, di)
    error = tables.write(device, di, data) if di[:4] in _TABLES else _set_plain(device, di, data, item)
    if not error:
        stamp: Record = {"at": device.stamp(), "operator": operator}
        device.log.add(PROGRAMMING, stamp | {"identifier_1": di})
        for kind, old in before.items():
            device.log.add(kind, stamp | old)
    return error


def _views(device: Device) -> dict[str, Callable[[], bytes]]:
    """What follows from the meter's state."""
    timetable, clock = device.meter.timetable, local(device.meter.clock_us)
    days = timetable.days[timetable.day_set]
    return {
        DATE: lambda: encode_date(clock),
        TIME: lambda: encode_time(clock),
        CLOCK: lambda: encode_time(clock) + encode_date(clock),
        "04000201": lambda: encode_bcd(len(timetable.zones[timetable.zone_set]), 1),
        "04000202": lambda: encode_bcd(len(days), 1),
        "04000203": lambda: encode_bcd(max(len(day) for day in days), 1),
        "04000204": lambda: encode_bcd(device.meter.spec.rates, 1),
        "04000205": lambda: encode_bcd(len(timetable.holidays), 2),
        "04000207": lambda: encode_bcd(len(device.prices.steps[0].thresholds), 1),
        ADDRESS: lambda: encode_digits(device.address),
        CUSTOMER: lambda: encode_digits(device.wallet.customer if device.wallet else "0" * 12),
        "040005FF": lambda: b"".join(status_words.word(device, n) for n in range(1, 8)),
    }


def _set_clock(device: Device, di: str, data: bytes, operator: str) -> Err:
    now = local(device.meter.clock_us)
    date, time = encode_date(now), encode_time(now)
    if di == CLOCK:
        time, date = data[:3], data[3:]
    elif di == DATE:
        date = data
    else:
        time = data
    clock = decode_clock(date, time)
    if clock is None:
        return Err.OTHER
    before = device.stamp()
    device.meter.set_clock(local_us(clock))
    device.log.add(CLOCK_SET, {"operator": operator, "before": before, "after": device.stamp()})
    return Err(0)


def _set_plain(device: Device, di: str, data: bytes, item: Item) -> Err:
    found = item.read(data)
    if found is None or any(value.value is None for value in found):
        return Err.OTHER
    if di == ADDRESS:
        device.address = decode_digits(data)
    elif di == CUSTOMER:
        if device.wallet is None:
            return Err.NO_DATA
        device.wallet.customer = decode_digits(data)
    else:
        device.parameters.set(di, data)
        device.parameter_changed(di)
    return Err(0)


def _old_values(device: Device, di: str) -> dict[str, Record]:
    """By kind of event: what this write replaces."""
    timetable = device.meter.timetable
    if di[:4] in ("0401", "0402"):
        if di.endswith("00"):
            rows = [row for year in timetable.zones for row in tables.zones(year)]
            return {"033006": {f"zone_{n}": row for n, row in enumerate(rows, 1)}}
        days = [day for tables_ in timetable.days for day in (*tables_, *[tables_[-1]] * (MAX_TABLES - len(tables_)))]
        numbered = [(t, n, row) for t, day in enumerate(days, 1) for n, row in enumerate(tables.segments(day), 1)]
        return {"033005": {f"segment_{t}_{n}": row for t, n, row in numbered}}
    if di.startswith("0403"):
        rows = [f"{y % 100:02d}{m:02d}{d:02d}{table:02d}" for (y, m, d), table in sorted(timetable.holidays.items())]
        return {"033008": {f"holiday_{n}": row for n, row in enumerate(rows, 1)}}
    kind = _OLD_VALUES.get(di, "")
    if kind == "03300C":
        return {kind: {f"settlement_day_{n}": _hex(device, f"04000B0{n}") for n in (1, 2, 3)}}
    if kind:
        return {kind: {"weekend_table" if kind == "033007" else "word": _hex(device, di)}}
    return {}


def _hex(device: Device, di: str) -> str:
    return (device.parameters.get(di) or b"")[::-1].hex()
