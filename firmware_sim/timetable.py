"""Which rate runs when: zone and day tables in two sets, holidays and weekends, all by the meter's own calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

MAX_ZONES, MAX_TABLES, MAX_CHANGES, MAX_HOLIDAYS = 14, 8, 14, 254  # DL/T 645 04000201 to 04000205
EVERY_DAY_WORKS = 0x7F


@dataclass(frozen=True, slots=True)
class RateChange:
    """From this minute of the meter's day on, energy counts for `rate` (1..rates)."""

    minute: int
    rate: int


Day = tuple[RateChange, ...]
"""Rate changes in rising order, the first at minute 0."""


@dataclass(frozen=True, slots=True)
class Zone:
    """From this day of the year on, day table `table` (1..8) is in force."""

    month: int
    day: int
    table: int


DEFAULT_DAY = (
    RateChange(0, 4), RateChange(7 * 60, 3), RateChange(8 * 60, 2), RateChange(11 * 60, 3),
    RateChange(18 * 60, 1), RateChange(21 * 60, 2), RateChange(22 * 60, 3), RateChange(23 * 60, 4),
)  # fmt: skip
WHOLE_YEAR = (Zone(1, 1, 1),)


class Timetable:
    """Two sets of zone tables and of day tables; `zone_set` and `day_set` (0 or 1) tell which run.

    weekend_word: bit 0 Sunday to bit 6 Saturday, 0 for a day of rest, which follows `weekend_table`. holidays: tables by
    (year, month, day). Who changes a table calls `changed`.
    """

    def __init__(self, day: Day) -> None:
        self.days: list[tuple[Day, ...]] = [(day,), (day,)]
        self.zones: list[tuple[Zone, ...]] = [WHOLE_YEAR, WHOLE_YEAR]
        self.holidays: dict[tuple[int, int, int], int] = {}
        self.weekend_word = EVERY_DAY_WORKS
        self.weekend_table = 1
        self.zone_set = self.day_set = 0
        self._known: tuple[int, Day] | None = None

    def changed(self) -> None:
        """Forget what was worked out from the old tables."""
        self._known = None

    def day(self, midnight_us: int) -> Day:
        """The changes of the day that begins at this midnight of the meter's clock."""
        if self._known is None or self._known[0] != midnight_us:
            self._known = midnight_us, self._day(datetime.fromtimestamp(midnight_us // 1_000_000, UTC))
        return self._known[1]

    def zone(self, date: datetime) -> int:
        """Which zone (1..14) this date lies in; before the first of the year, the last goes on."""
        zones = self.zones[self.zone_set]
        begun = [n for n, zone in enumerate(zones, 1) if (zone.month, zone.day) <= (date.month, date.day)]
        return begun[-1] if begun else len(zones)

    def table(self, date: datetime) -> int:
        """Which day table (1..8) is in force on this date: a holiday's, else a day of rest's, else the zone's."""
        holiday = self.holidays.get((date.year, date.month, date.day))
        if holiday is not None:
            return holiday
        if not self.weekend_word >> date.isoweekday() % 7 & 1:
            return self.weekend_table
        return self.zones[self.zone_set][self.zone(date) - 1].table

    def _day(self, date: datetime) -> Day:
        tables = self.days[self.day_set]
        return tables[min(self.table(date), len(tables)) - 1]
