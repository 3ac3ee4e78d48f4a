"""What registers or a profile cost under a tariff, as it is typed. Times are the tariff's zone's where they name none."""

from __future__ import annotations

import contextlib
import csv
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.cli.answers import Failure
from gateway.domain.calendars import Calendar, calendar_of
from gateway.domain.price_list import Tariff, Terms
from gateway.domain.readings import TOTAL, Registers
from gateway.domain.tariffs import Charge, PeriodUse, Portion, UnpricedRegister, charge, portions
from gateway.domain.units import kwh_to_wh

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLI = timedelta(milliseconds=1)

REGISTER = re.compile(r"t([1-9]|[1-5][0-9]|6[0-3])", re.ASCII)

HEADERS = {("time", "kwh"): False, ("time", "register"): True}
"""Columns of a profile's CSV: kWh used from this time to the next line's, or what the register shows at this time."""


@dataclass(frozen=True, slots=True)
class Before:
    """What is known beside the registers: used in the steps' period before them, demand and reactive energy of the period."""

    used_wh: int = 0
    demand_w: int | None = None
    reactive_varh: int = 0


NOTHING, UNKNOWN = Before(), Terms()


@dataclass(frozen=True, slots=True)
class Priced:
    """Series of registers and what they cost."""

    tariff: Tariff
    series: tuple[tuple[Registers, ...], ...]
    portions: tuple[Portion, ...]
    charge: Charge

    @property
    def wh(self) -> int:
        """All energy."""
        return sum(portion.total_wh for portion in self.portions)

    @property
    def estimated_wh(self) -> int:
        """What was shared out for want of a reading or a register."""
        return sum(portion.total_wh for portion in self.portions if portion.estimated)


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """What cannot be priced as a failure with its sentence."""
    try:
        yield
    except (UnpricedRegister, ValueError) as problem:
        raise Failure(str(problem)) from None


def price(tariff: Tariff, terms: Terms, series: Sequence[Sequence[Registers]], before: Before = NOTHING) -> Priced:
    """The cost from the first register to the last. Fees are those from the first moment on. Raises like tariffs.portions.

    Rates are told by the meter's registers where all values have them, else by the clock.
    """
    names = {name for version in tariff.versions for registers in version.registers.values() for name in registers}
    if any(names - registers.wh.keys() for each in series for registers in each):
        tariff = calendar_of(tariff).by_clock().tariff
    found: list[Portion] = []
    for each in series:
        for start, end in _spans(calendar_of(tariff), each):
            found += portions(tariff, start, end)
    if not found:
        raise Failure("there is no energy to price: it takes two good values")
    begin, end_ms = found[0], max(portion.to_ms for portion in found)
    if before.reactive_varh:
        found[-1] = replace(found[-1], reactive_varh=before.reactive_varh)
    earlier = replace(begin, to_ms=begin.from_ms, total_wh=before.used_wh, wh={}, reactive_varh=0)
    uses: Mapping[str, PeriodUse] = charge(tariff, terms, {}, [earlier], until_ms=begin.from_ms).uses
    demand = None if before.demand_w is None else {portion.period: before.demand_w for portion in found}
    charged = charge(tariff, terms, uses, found, until_ms=end_ms, demand_w=demand)
    return Priced(tariff, tuple(tuple(each) for each in series), tuple(found), charged)


def _spans(book: Calendar, series: Sequence[Registers]) -> Iterator[tuple[Registers, Registers]]:
    """Neighbours, but as one where neither rate nor period changes between: a year of quarter-hours has 35,040 of them."""
    times = [registers.at_ms for registers in series]
    place = 0
    while place < len(series) - 1:
        last = max(bisect_right(times, book.boundary_after(times[place]), place) - 1, place + 1)
        yield series[place], series[last]
        place = last


# What is typed


def terms(since: str | None, persons: int | None, kva: str | None, known: Terms = UNKNOWN) -> Terms:
    """What the tariff must know of the account: what is typed, else what is known. Raises Failure."""
    if since is not None:
        try:
            date.fromisoformat(since)
        except ValueError:
            raise Failure(f"--since {since}: is no date; write one like 2026-01-01", 2) from None
    return Terms(
        known.since_day if since is None else since,
        known.persons if persons is None else persons,
        known.contract_va if kva is None else thousandths("--kva", kva),
    )


def before(used: str | None, demand: str | None, reactive: str | None) -> Before:
    """The same, of the time before and of the period. Raises Failure."""
    watts = None if demand is None else thousandths("--demand", demand)
    return Before(thousandths("--used", used), watts, thousandths("--reactive", reactive))


def registers(typed: tuple[str, str], zone: str) -> Registers:
    """A moment and its registers: "100", or "100,t1=60,t2=40". Raises Failure."""
    at, text = typed
    wh: dict[str, int] = {}
    for part in text.split(","):
        name, equals, number = part.rpartition("=")
        if equals and not REGISTER.fullmatch(name):
            raise Failure(f"{part}: a rate register is written like t1=60", 2)
        wh[f"{TOTAL}_{name}" if equals else TOTAL] = thousandths("a register", number)
    if TOTAL not in wh:
        raise Failure(f"{text}: the total comes first, like 100,t1=60,t2=40", 2)
    return Registers(moment(at, zone), wh)


def moment(text: str, zone: str) -> int:
    """UTC ms of an ISO time, in this zone where it names none. Raises Failure."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(f"{text}: is no time; write one like 2026-01-01T00:00", 2) from None
    return ((found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))) - EPOCH) // MILLI


def csv_profile(path: Path, zone: str) -> tuple[Registers, ...]:
    """The registers of a CSV with the columns time,kwh or time,register. Raises Failure that names the line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise Failure(f"{path}: cannot be read: {problem}") from None
    header = tuple(cell.lower() for cell in rows[0]) if rows else ()
    if header not in HEADERS:
        raise Failure(f"{path}: its first line must be time,kwh (used from then to the next line) or time,register")
    values: list[tuple[int, int]] = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2:
            raise Failure(f"{path}: line {number} has not two columns")
        at_ms, wh = moment(row[0], zone), thousandths(f"{path}: line {number}", row[1])
        if values and at_ms <= values[-1][0]:
            raise Failure(f"{path}: line {number} is not later than the one before")
        if values and HEADERS[header] and wh < values[-1][1]:
            raise Failure(f"{path}: line {number} shows less than the one before")
        values.append((at_ms, wh))
    if len(values) < 2:
        raise Failure(f"{path}: a profile has at least two lines")
    return tuple(Registers(at_ms, {TOTAL: wh}) for at_ms, wh in (values if HEADERS[header] else _summed(values)))


def _summed(used: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Registers from what was used from each time on; the last line lasts as long as the one before it."""
    found, total = [], 0
    for at_ms, wh in used:
        found.append((at_ms, total))
        total += wh
    return [*found, (2 * used[-1][0] - used[-2][0], total)]


def thousandths(what: str, text: str | None) -> int:
    """Wh, W or VA of a number in kWh, kW or kVA; 0 for none. Raises Failure."""
    if text is None:
        return 0
    try:
        value = Decimal(text)
        if not value.is_finite() or value < 0:
            raise ValueError
        return kwh_to_wh(value)
    except (InvalidOperation, ValueError):
        raise Failure(f"{what}: {text!r} is not a number like 12.5 with at most 3 decimals", 2) from None
