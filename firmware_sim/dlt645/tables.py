"""Time tables, prices and steps as the identifiers 0401 to 0406, read and written (DL/T 645-2007 A.5 and supplements)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from firmware_sim.dlt645.readings import ALL
from firmware_sim.prices import MAX_RATES
from firmware_sim.timetable import MAX_CHANGES, MAX_HOLIDAYS, MAX_TABLES, MAX_ZONES, Day, RateChange, Zone
from firmware_sim.wallet import Steps
from protocols.bcd import decode_bcd, encode_bcd
from protocols.dlt645.codes import Err

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

MAX_STEPS = 6  # thresholds; one more price
MAX_DATES = 6
BLOCK = 4 * MAX_STEPS + 4 * (MAX_STEPS + 1) + 3 * MAX_DATES
_UNUSED_DATE = "999999"


def read(device: Device, di: str) -> bytes | None:
    """A table, a price or a step; None for what this meter has not got."""
    di2, di1, di0 = bytes.fromhex(di)[1:]
    if di2 in (1, 2) and not di1:
        return _zones(device, di2 - 1) if not di0 else _day(device, di2 - 1, di0)
    if di2 == 3 and not di1:
        return _holiday(device, di0)
    if di2 == 5 and di1 in (1, 2):
        return _prices(device, di1 - 1, di0)
    return _steps(device, di1, di0) if di2 == 6 else None


def write(device: Device, di: str, data: bytes) -> Err:
    """Set a table, a price or a step; 0 when it was done."""
    di2, di1, di0 = bytes.fromhex(di)[1:]
    acts: dict[int, Callable[[], Err]] = {
        1: lambda: _set_table(device, 0, di0, data),
        2: lambda: _set_table(device, 1, di0, data),
        3: lambda: _set_holiday(device, di0, data),
        5: lambda: _set_prices(device, di1 - 1, di0, data),
        6: lambda: _set_steps(device, di1, di0, data),
    }
    if di2 not in acts or read(device, di) is None:
        return Err.NO_DATA
    error = acts[di2]()
    if not error:
        device.meter.timetable.changed()
        device.tables_changed()
    return error


def digits(data: bytes, size: int) -> list[str] | None:
    """Groups of `size` bytes as decimal digits, high pair first; None when some are not decimal."""
    found = [data[at : at + size][::-1].hex() for at in range(0, len(data), size)]
    return found if len(data) % size == 0 and all(each.isdecimal() for each in found) else None


def segments(day: Day) -> list[str]:
    """hhmmNN of a day table, the unused ones repeating the last."""
    rows = [f"{change.minute // 60:02d}{change.minute % 60:02d}{change.rate:02d}" for change in day]
    return rows + [rows[-1]] * (MAX_CHANGES - len(rows))


def zones(year: Sequence[Zone]) -> list[str]:
    """MMDDNN of a zone table, the unused ones repeating the last."""
    rows = [f"{zone.month:02d}{zone.day:02d}{zone.table:02d}" for zone in year]
    return rows + [rows[-1]] * (MAX_ZONES - len(rows))


def _wire(rows: Sequence[str]) -> bytes:
    return b"".join(bytes.fromhex(row)[::-1] for row in rows)


def _zones(device: Device, which: int) -> bytes:
    return _wire(zones(device.meter.timetable.zones[which]))


def _day(device: Device, which: int, number: int) -> bytes | None:
    days = device.meter.timetable.days[which]
    return _wire(segments(days[min(number, len(days)) - 1])) if number <= MAX_TABLES else None


def _holiday(device: Device, number: int) -> bytes | None:
    if not 1 <= number <= MAX_HOLIDAYS:
        return None
    found = sorted(device.meter.timetable.holidays.items())
    if number > len(found):
        return bytes(4)
    (year, month, day), table = found[number - 1]
    return _wire([f"{year % 100:02d}{month:02d}{day:02d}{table:02d}"])


def _set_table(device: Device, which: int, number: int, data: bytes) -> Err:
    rows = digits(data, 3)
    if not rows or len(rows) > MAX_ZONES:
        return Err.OTHER if rows is None else Err.SEGMENTS if number else Err.ZONES
    rows = [row for at, row in enumerate(rows) if at == 0 or row != rows[at - 1]]
    if not number:
        year = tuple(Zone(int(row[:2]), int(row[2:4]), int(row[4:])) for row in rows)
        if not all(1 <= zone.month <= 12 and 1 <= zone.day <= 31 and 1 <= zone.table <= MAX_TABLES for zone in year):
            return Err.OTHER
        device.meter.timetable.zones[which] = year
        return Err(0)
    day = _parse_day(rows, device.meter.spec.rates)
    if isinstance(day, Err):
        return day
    days = list(device.meter.timetable.days[which])
    days += [days[-1]] * (number - len(days))
    days[number - 1] = day
    device.meter.timetable.days[which] = tuple(days)
    return Err(0)


def _parse_day(rows: list[str], rates: int) -> Day | Err:
    """Rising times; before the first of them the last of the day runs on."""
    day = tuple(RateChange(int(row[:2]) * 60 + int(row[2:4]), int(row[4:])) for row in rows)
    minutes = [change.minute for change in day]
    if minutes != sorted(set(minutes)) or minutes[-1] >= 24 * 60 or any(int(row[2:4]) > 59 for row in rows):
        return Err.OTHER
    if not all(1 <= change.rate <= rates for change in day):
        return Err.RATES
    return day if not minutes[0] else (RateChange(0, day[-1].rate), *day)


def _set_holiday(device: Device, number: int, data: bytes) -> Err:
    rows = digits(data, 4)
    if not rows or len(rows) != 1:
        return Err.OTHER
    year, month, day, table = (int(rows[0][at : at + 2]) for at in range(0, 8, 2))
    try:
        date = datetime(2000 + year, month, day)
    except ValueError:
        return Err.OTHER
    if not 1 <= table <= MAX_TABLES:
        return Err.OTHER
    holidays = device.meter.timetable.holidays
    kept = sorted(holidays)
    if number <= len(kept):
        del holidays[kept[number - 1]]
    holidays[date.year, date.month, date.day] = table
    return Err(0)


def _prices(device: Device, which: int, rate: int) -> bytes | None:
    rates = device.prices.rates[which]
    if device.wallet is None or device.in_kwh or (rate != ALL and not 1 <= rate <= MAX_RATES):
        return None
    wanted = rates[: device.meter.spec.rates] if rate == ALL else [rates[rate - 1]]
    return b"".join(encode_bcd(price, 4) for price in wanted)


def _set_prices(device: Device, which: int, rate: int, data: bytes) -> Err:
    prices = numbers(data, 4)
    if prices is None or len(prices) > MAX_RATES or (rate != ALL and len(prices) != 1):
        return Err.OTHER
    first = 0 if rate == ALL else rate - 1
    device.prices.rates[which][first : first + len(prices)] = prices
    return Err(0)


def numbers(data: bytes, size: int) -> list[int] | None:
    """BCD numbers of `size` bytes; None when there is none or one is none."""
    found = [decode_bcd(data[at : at + size]) for at in range(0, len(data), size)]
    whole = [number for number in found if number is not None]
    return whole if whole and len(whole) == len(found) and len(data) % size == 0 else None


def _filled(steps: Steps) -> tuple[list[int], list[int]]:
    """Six thresholds and seven prices, the unused ones repeating the last (thresholds: 0 when there is none)."""
    thresholds = [*steps.thresholds, *([steps.thresholds[-1] if steps.thresholds else 0] * MAX_STEPS)][:MAX_STEPS]
    adders = [*steps.adders, *([steps.adders[-1]] * MAX_STEPS)][: MAX_STEPS + 1]
    return thresholds, adders


def _steps(device: Device, which: int, step: int) -> bytes | None:
    """2009: DI1 00/02 thresholds, 01/03 prices of set 1/2. 2013: 04/05 the block of set 1/2."""
    if device.wallet is None or device.in_kwh or which > 5:
        return None
    steps = device.prices.steps[which - 4 if which > 3 else which // 2]
    thresholds, adders = _filled(steps)
    if which > 3:
        dates = [f"{month:02d}{day:02d}{hour:02d}" for month, day, hour in steps.settlements]
        dates += [_UNUSED_DATE] * (MAX_DATES - len(dates))
        return b"".join(encode_bcd(each, 4) for each in (*thresholds, *adders)) + _wire(dates) if step == ALL else None
    values = adders if which % 2 else thresholds
    if step == ALL:
        return b"".join(encode_bcd(each, 4) for each in values)
    return encode_bcd(values[step - 1], 4) if 1 <= step <= len(values) else None


def _set_steps(device: Device, which: int, step: int, data: bytes) -> Err:
    place = which - 4 if which > 3 else which // 2
    old = device.prices.steps[place]
    if which > 3:
        made = _parse_block(data)
    else:
        lists = _filled(old)
        changed = numbers(data, 4)
        first = 0 if step == ALL else step - 1
        if changed is None or first + len(changed) > len(lists[which % 2]):
            return Err.OTHER
        lists[which % 2][first : first + len(changed)] = changed
        made = _made(*lists, old.settlements)
    if made is None:
        return Err.OTHER
    device.prices.steps[place] = made
    return Err(0)


def _parse_block(data: bytes) -> Steps | None:
    if len(data) != BLOCK:
        return None
    at = 4 * MAX_STEPS
    thresholds, adders = numbers(data[:at], 4), numbers(data[at : BLOCK - 3 * MAX_DATES], 4)
    rows = digits(data[BLOCK - 3 * MAX_DATES :], 3)
    if thresholds is None or adders is None or rows is None:
        return None
    dates = [(int(row[:2]), int(row[2:4]), int(row[4:])) for row in rows]
    used = tuple(date for date in dates if 1 <= date[0] <= 12 and 1 <= date[1] <= 28 and date[2] < 24)
    return _made(thresholds, adders, used)


def _made(thresholds: list[int], adders: list[int], dates: tuple[tuple[int, int, int], ...]) -> Steps | None:
    """Steps of six thresholds, of which 0 and repetitions are unused; None when they do not rise."""
    used = [each for at, each in enumerate(thresholds) if each and (at == 0 or each != thresholds[at - 1])]
    if used != sorted(set(used)):
        return None
    return Steps(tuple(used), tuple(adders[: len(used) + 1]), dates)
