"""Caps on load by contract: by a time-table of the local day, and after an amount of energy of the month (prepayment.md d).

A cap is lower than the limit itself and holds by a plan that was signed; what is off holds supply open. Caps hold by what the wall
clock shows, so that a repeated hour bears the same cap twice.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS

MOST_PERIODS = 8
"""Periods of a day: as many as dormitory meters have (prepayment.md d)."""

LOOK_AHEAD_DAYS = 8
"""How far a change of cap is looked for: a week and a day, beyond which only a holiday could bring one."""

_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Cap:
    """What may be drawn from this minute of the local day on, in W and in mA of each phase; None: no cap. off: nothing at all."""

    from_minute: int
    power_w: int | None = None
    current_ma: int | None = None
    off: bool = False


@dataclass(frozen=True, slots=True)
class CapTable:
    """Caps of the day by a signed plan, in order of their minutes; before the first one the day's last holds.

    holiday: on holidays, empty: as on workdays. rest: ISO weekdays that are holidays, `work` ISO dates that are none all the same.
    days: ISO dates that are holidays; calendar: id of the no-cut calendar whose days are; by_tariff: those of the account's tariff
    are. zone: IANA name, "": the site's.
    """

    plan: str
    workday: tuple[Cap, ...]
    holiday: tuple[Cap, ...] = ()
    rest: tuple[int, ...] = (6, 7)
    days: tuple[str, ...] = ()
    work: tuple[str, ...] = ()
    calendar: str | None = None
    by_tariff: bool = False
    zone: str = ""

    @property
    def switches_off(self) -> bool:
        """Whether there is a time at which it holds supply open."""
        return any(cap.off for cap in (*self.workday, *self.holiday))


@dataclass(frozen=True, slots=True)
class MonthCap:
    """What holds by a signed plan when a bill period's energy is above this amount: a lower power in W, or `off`."""

    energy_wh: int
    plan: str
    power_w: int | None = None
    off: bool = False


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be drawn at a moment, in W and in mA of each phase; None: as much as flows. off: by contract nothing at all."""

    power_w: int | None = None
    current_ma: int | None = None
    off: bool = False


@dataclass(frozen=True, slots=True)
class Special:
    """Days that stand out in a calendar or a tariff, as ISO dates: holidays, and rest days that are worked."""

    holidays: Container[str] = ()
    worked: Container[str] = ()


NO_DAYS = Special()


@dataclass(frozen=True, slots=True)
class Draw:
    """What is drawn: W in all, and mA of the phase that draws most; None where that is not known."""

    power_w: int | None = None
    current_ma: int | None = None

    def beyond(self, allowed: Allowed) -> bool:
        """Whether it is more than that."""
        return _more(self.power_w, allowed.power_w) or _more(self.current_ma, allowed.current_ma)


def lower(a: int | None, b: int | None) -> int | None:
    """The lower of two caps; None is none."""
    return b if a is None else a if b is None else min(a, b)


def is_holiday(table: CapTable, day: date, special: Special = NO_DAYS) -> bool:
    """Whether the caps of holidays hold on this local day; what the table says of a day goes first."""
    name = day.isoformat()
    if name in table.work or name in table.days:
        return name not in table.work
    if name in special.worked or name in special.holidays:
        return name not in special.worked
    return day.isoweekday() in table.rest


def caps_of(table: CapTable, day: date, special: Special = NO_DAYS) -> tuple[Cap, ...]:
    """The caps of this local day."""
    return table.holiday if table.holiday and is_holiday(table, day, special) else table.workday


def cap_at(table: CapTable, at_ms: int, zone: str, special: Special = NO_DAYS) -> Cap:
    """The cap that holds at a moment (UTC ms). zone: where the table names none."""
    return _held(table, _local(at_ms, ZoneInfo(table.zone or zone)), special)


def next_change_ms(table: CapTable, at_ms: int, zone: str, special: Special = NO_DAYS) -> int | None:
    """When another cap holds for the first time after this moment; None where that is not within LOOK_AHEAD_DAYS."""
    there = ZoneInfo(table.zone or zone)
    now = _held(table, _local(at_ms, there), special)
    begin = _local(at_ms, there).date()
    for number in range(LOOK_AHEAD_DAYS + 1):
        day = begin + timedelta(days=number)
        for moment_ms in _moments(table, day, there, special):
            if moment_ms > at_ms and not _same(_held(table, _local(moment_ms, there), special), now):
                return moment_ms
    return None


def _moments(table: CapTable, day: date, zone: ZoneInfo, special: Special) -> list[int]:
    """When a cap may begin to hold on this local day: midnight, the minutes of its caps, and where the clock is changed."""
    minutes = {0, *(cap.from_minute for cap in caps_of(table, day, special))}
    midnight = datetime(day.year, day.month, day.day)
    walls = [midnight + timedelta(minutes=minute) for minute in minutes]
    found = {_utc_ms(wall.replace(tzinfo=zone, fold=fold)) for wall in walls for fold in (0, 1)}
    start_ms, end_ms = (_utc_ms((midnight + timedelta(days=n)).replace(tzinfo=zone)) for n in (0, 1))
    if _offset(start_ms, zone) != _offset(end_ms, zone):
        found.add(_changed_ms(start_ms, end_ms, zone))
    return sorted(found)


def _changed_ms(low_ms: int, high_ms: int, zone: ZoneInfo) -> int:
    """The first millisecond of the second one's offset between two moments."""
    before = _offset(low_ms, zone)
    while high_ms - low_ms > 1:
        middle_ms = (low_ms + high_ms) // 2
        if _offset(middle_ms, zone) == before:
            low_ms = middle_ms
        else:
            high_ms = middle_ms
    return high_ms


def _held(table: CapTable, local: datetime, special: Special) -> Cap:
    caps, minute = caps_of(table, local.date(), special), local.hour * 60 + local.minute
    return next((cap for cap in reversed(caps) if cap.from_minute <= minute), caps[-1])


def _same(a: Cap, b: Cap) -> bool:
    return (a.power_w, a.current_ma, a.off) == (b.power_w, b.current_ma, b.off)


def _more(drawn: int | None, cap: int | None) -> bool:
    return drawn is not None and cap is not None and drawn > cap


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    return (_EPOCH + at_ms * _MS).astimezone(zone)


def _utc_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MS


def _offset(at_ms: int, zone: ZoneInfo) -> timedelta | None:
    return _local(at_ms, zone).utcoffset()
