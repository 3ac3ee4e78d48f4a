"""When what of a tariff holds: its versions, seasons, periods and rates by the local calendar, in any IANA zone.

Days begin at local midnight, resets at their local hour; of the two of a repeated hour the first counts, a skipped one is where the
clock jumped. A rate holds by what the wall clock shows, so that a repeated hour bears the same rate twice (prepayment.md a6).
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.period_use import STEPS
from gateway.domain.price_list import CountedOn, Rate, Reset, Season, Steps, Switch, Tariff, Terms, TimeOfUse, Version
from gateway.domain.readings import TOTAL
from gateway.domain.steps import Rung, ladder

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS

KEPT_STRETCHES = 1_024
"""Stretches a calendar remembers: a lifetime of months; then it begins anew."""

KEPT_DAYS = 4_096
"""Days of switches a calendar remembers: ten years; then it begins anew."""

KEPT_LADDERS = 4_096
"""Ladders of steps a calendar remembers: one for each period and kind of account; then it begins anew."""

KEPT_CALENDARS = 256
"""Tariffs whose calendars are remembered: far more than a site has; then they are built anew."""

_EVER_MS = 1 << 62
_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class UnpricedTime(ValueError):
    """No version of the tariff holds then; billing must stop rather than give energy away."""


@dataclass(frozen=True, slots=True)
class Span:
    """A period from one reset to the next, UTC ms. name: its local begin, ISO minutes.

    full: from and to by the resets alone; a version with other resets cuts what comes before it short, and begins anew.
    """

    from_ms: int
    to_ms: int
    name: str
    full: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which version, season, bill period and step period stay the same. index: of the version.

    steps: the period of the steps, None where there are none or nothing says when they begin anew (then none is charged, a6).
    step_period: the name of the use that they are counted in where it is not the bill's; versions to come do not change that.
    """

    from_ms: int
    to_ms: int
    index: int
    version: Version
    season: Season
    bill: Span
    steps: Span | None
    step_period: str | None = None


class Calendar:
    """The calendar of one tariff; remembers what it worked out."""

    def __init__(self, tariff: Tariff) -> None:
        self.tariff = tariff
        self.zone = ZoneInfo(tariff.zone)
        self.starts = [self._midnight(version.from_day) for version in tariff.versions]
        self.versions = {version.id: version for version in tariff.versions}
        self.begins = dict(zip(self.versions, self.starts, strict=True))
        self.seasons = {(version.id, season.id): season for version in tariff.versions for season in version.seasons}
        self._known: tuple[tuple[int, ...], tuple[Stretch, ...]] = ((), ())
        self._days: dict[tuple[int, int], tuple[tuple[int, ...], tuple[Rate, ...]]] = {}
        self._by_clock: Calendar | None = None
        self.energy_only = not any(
            each.free_wh or each.bands or each.fees or each.minimum_micro or each.power_factor for each in tariff.versions
        )
        self._since: dict[str, int] = {}
        self._ladders: dict[tuple[str, int, Terms], tuple[Rung, ...]] = {}

    def stretch(self, at_ms: int) -> Stretch:
        """The stretch that a moment lies in. Raises UnpricedTime before the first version."""
        froms, stretches = self._known
        place = bisect_right(froms, at_ms)
        if place and at_ms < stretches[place - 1].to_ms:
            return stretches[place - 1]
        found = self._find(at_ms)
        if len(froms) >= KEPT_STRETCHES:
            froms, stretches, place = (), (), 0
        self._known = (
            (*froms[:place], found.from_ms, *froms[place:]),
            (*stretches[:place], found, *stretches[place:]),
        )
        return found

    def stretches(self, from_ms: int, to_ms: int) -> Iterator[Stretch]:
        """The stretches that touch a span, in order; at least the one in which it begins."""
        found = self.stretch(from_ms)
        yield found
        while found.to_ms < to_ms:
            found = self.stretch(found.to_ms)
            yield found

    def by_clock(self) -> Calendar:
        """The calendar of the same tariff for a meter without rate registers."""
        if self._by_clock is None:
            registers = {Rate.SINGLE: (TOTAL,)}
            versions = [replace(each, registers=registers) if each.tou is not None else each for each in self.tariff.versions]
            self._by_clock = calendar_of(replace(self.tariff, versions=tuple(versions)))
        return self._by_clock

    def rate(self, at_ms: int) -> Rate:
        """The rate that holds at a moment; SINGLE where time does not matter."""
        stretch = self.stretch(at_ms)
        if stretch.version.tou is None:
            return Rate.SINGLE
        froms, rates = self.day(stretch, at_ms // DAY_MS)
        return rates[bisect_right(froms, at_ms) - 1]

    def boundary_after(self, at_ms: int) -> int:
        """The next moment at which period, version, season or rate change."""
        stretch = self.stretch(at_ms)
        if stretch.version.tou is None:
            return stretch.to_ms
        rate = self.rate(at_ms)
        for number in range(at_ms // DAY_MS, stretch.to_ms // DAY_MS + 1):
            for from_ms, held in zip(*self.day(stretch, number), strict=True):
                if from_ms > at_ms and held is not rate:
                    return min(from_ms, stretch.to_ms)
        return stretch.to_ms

    def held(self, stretch: Stretch, from_ms: int, to_ms: int) -> dict[Rate, int]:
        """For how many ms each rate holds in a span within a stretch; for a mere moment, its rate for 1."""
        if stretch.version.tou is None:
            return {Rate.SINGLE: max(to_ms - from_ms, 1)}
        found: dict[Rate, int] = {}
        last_ms = max(to_ms, from_ms + 1)
        for number in range(from_ms // DAY_MS, (last_ms - 1) // DAY_MS + 1):
            froms, rates = self.day(stretch, number)
            for begin, end, rate in zip(froms, (*froms[1:], (number + 1) * DAY_MS), rates, strict=True):
                if (ms := min(end, last_ms) - max(begin, from_ms)) > 0:
                    found[rate] = found.get(rate, 0) + ms
        return found

    def day(self, stretch: Stretch, number: int) -> tuple[tuple[int, ...], tuple[Rate, ...]]:
        """From when on which rate holds within a UTC day (number: since 1970), by the time of use of the stretch's version."""
        key = stretch.index, number
        found = self._days.get(key)
        if found is None:
            if len(self._days) >= KEPT_DAYS:
                self._days = {}
            assert stretch.version.tou is not None
            found = self._days[key] = self._switches(stretch.version.tou, number * DAY_MS, (number + 1) * DAY_MS)
        return found

    def bill(self, at_ms: int) -> Span:
        """The bill period of a moment; of the first version's where none holds yet."""
        return self.stretch(max(at_ms, self.starts[0])).bill

    def order(self, version: str, season: str, from_ms: int, to_ms: int) -> tuple[int, int]:
        """What sorts the energy of a period by when its version and season (or "", any) first held in it."""
        begin_ms = max(from_ms, self.begins[version])
        held = (each for each in self.stretches(begin_ms, to_ms) if each.season.id == season)
        return self.begins[version], next((each.from_ms for each in held), begin_ms)

    def reigns(self, from_ms: int, to_ms: int) -> Iterator[tuple[Version, int, int]]:
        """Which version holds from when to when in a span; nothing before the first."""
        for version, begin_ms, end_ms in zip(self.tariff.versions, self.starts, (*self.starts[1:], _EVER_MS), strict=True):
            if max(begin_ms, from_ms) < min(end_ms, to_ms):
                yield version, max(begin_ms, from_ms), min(end_ms, to_ms)

    def since_ms(self, terms: Terms) -> int:
        """When the account came into service; long ago where nothing is said."""
        if terms.since_day is None:
            return -_EVER_MS
        found = self._since.get(terms.since_day)
        if found is None:
            if len(self._since) >= KEPT_DAYS:
                self._since = {}
            found = self._since[terms.since_day] = self._midnight(terms.since_day)
        return found

    def days(self, from_ms: int, to_ms: int) -> int:
        """How many local days have begun in a span, counted from its begin; none where it ends first."""
        return max(-((self._wall_ms(from_ms) - self._wall_ms(to_ms)) // DAY_MS), 0)

    def service_days(self, span: Span, terms: Terms) -> int:
        """The days of a period in which the account is in service; a version that cuts the period short does not count."""
        return self.days(max(span.from_ms, self.since_ms(terms)), span.full[1])

    def rungs(self, version: str, span: Span, terms: Terms) -> tuple[Rung, ...]:
        """The steps of a version in a step period, for an account: by its persons, and by its days or months in service."""
        key = version, span.from_ms, terms
        found = self._ladders.get(key)
        if found is None:
            if len(self._ladders) >= KEPT_LADDERS:
                self._ladders = {}
            steps = self.versions[version].steps
            assert steps is not None
            found = self._ladders[key] = ladder(steps, terms.persons, self._scale(steps, span, terms))
        return found

    def _scale(self, steps: Steps, span: Span, terms: Terms) -> tuple[int, int]:
        if steps.per_days is not None:
            return self.service_days(span, terms), steps.per_days
        if not steps.by_service:
            return 1, 1
        return self._months(max(span.from_ms, self.since_ms(terms)), span.full[1]), self._months(*span.full)

    def _months(self, from_ms: int, to_ms: int) -> int:
        """How many months a span touches, counted back from its end."""
        first, last = self._local(from_ms), self._local(to_ms)
        months = (last.year - first.year) * 12 + last.month - first.month
        return max(months + ((first.day, first.time()) < (last.day, last.time())), 0)

    def _find(self, at_ms: int) -> Stretch:
        index = bisect_right(self.starts, at_ms) - 1
        if index < 0:
            raise UnpricedTime(f"tariff {self.tariff.id} begins on {self.tariff.versions[0].from_day}, later than this energy")
        version = self.tariff.versions[index]
        bill = self._span(at_ms, version.period, self._run(index, [each.period for each in self.tariff.versions]))
        resets = [each.steps.resets if each.steps else () for each in self.tariff.versions]
        steps = self._span(at_ms, resets[index], self._run(index, resets)) if resets[index] else None
        season, season_ms, season_end_ms = self._season(version, at_ms)
        apart = None
        if steps is not None and version.steps is not None and version.steps.counted_on is CountedOn.USE:
            apart = steps.name + STEPS if (steps.from_ms, steps.full[1]) != (bill.from_ms, bill.full[1]) else None
        end_ms = self.starts[index + 1] if index + 1 < len(self.starts) else _EVER_MS
        return Stretch(
            max(self.starts[index], bill.from_ms, season_ms, -_EVER_MS if steps is None else steps.from_ms),
            min(end_ms, bill.to_ms, season_end_ms, _EVER_MS if steps is None else steps.to_ms),
            index, version, season, bill, steps, apart,
        )  # fmt: skip

    def _run(self, index: int, resets: Sequence[tuple[Reset, ...]]) -> tuple[int, int]:
        """From when to when the versions around this one have the same resets. The first version cuts no period short."""
        first, after = index, index + 1
        while first and resets[first - 1] == resets[index]:
            first -= 1
        while after < len(resets) and resets[after] == resets[index]:
            after += 1
        return self.starts[first] if first else -_EVER_MS, self.starts[after] if after < len(resets) else _EVER_MS

    def _span(self, at_ms: int, resets: tuple[Reset, ...], run: tuple[int, int]) -> Span:
        year = self._local(at_ms).year
        found = sorted(
            self._moment(each, month, reset.day, reset.hour)
            for each in (year - 1, year, year + 1)
            for reset in resets
            for month in (range(1, 13) if reset.month is None else (reset.month,))
        )
        place = bisect_right(found, at_ms)
        full = found[place - 1], found[place]
        from_ms = max(full[0], run[0])
        name = self._local(from_ms).replace(tzinfo=None).isoformat(timespec="minutes")
        return Span(from_ms, min(full[1], run[1]), name, full)

    def _season(self, version: Version, at_ms: int) -> tuple[Season, int, int]:
        if len(version.seasons) == 1:
            return version.seasons[0], -_EVER_MS, _EVER_MS
        year = self._local(at_ms).year
        found = sorted(
            (self._moment(each, season.month, season.day), place)
            for each in (year - 1, year, year + 1)
            for place, season in enumerate(version.seasons)
        )
        after = bisect_right(found, at_ms, key=lambda row: row[0])
        return version.seasons[found[after - 1][1]], found[after - 1][0], found[after][0]

    def _moment(self, year: int, month: int, day: int, hour: int = 0) -> int:
        wall = datetime(year, month, min(day, monthrange(year, month)[1]), hour, tzinfo=self.zone)
        at_ms = (wall - _EPOCH) // _MS
        if self._local(at_ms).hour == hour:
            return at_ms
        before_ms = (wall.replace(fold=1) - _EPOCH) // _MS  # skipped: by the new offset it lies before the jump
        return next(self._pieces(before_ms, at_ms + 1))[1]

    def _midnight(self, day: str) -> int:
        found = date.fromisoformat(day)
        return self._moment(found.year, found.month, found.day)

    def _switches(self, tou: TimeOfUse, from_ms: int, to_ms: int) -> tuple[tuple[int, ...], tuple[Rate, ...]]:
        froms: list[int] = []
        rates: list[Rate] = []
        for begin, end, offset_ms in self._pieces(from_ms, to_ms):
            for number in range((begin + offset_ms) // DAY_MS, (end - 1 + offset_ms) // DAY_MS + 1):
                day_ms = number * DAY_MS - offset_ms
                table = table_of(tou, date.fromordinal(_EPOCH_DAY + number))
                for switch, until in zip(table, (*(each.minute for each in table[1:]), 1440), strict=True):
                    at_ms = max(day_ms + switch.minute * MINUTE_MS, begin)
                    if at_ms < min(day_ms + until * MINUTE_MS, end) and (not rates or rates[-1] is not switch.rate):
                        froms.append(at_ms)
                        rates.append(switch.rate)
        return tuple(froms), tuple(rates)

    def _pieces(self, from_ms: int, to_ms: int) -> Iterator[tuple[int, int, int]]:
        """Spans with one offset from UTC each. A clock that is set and set back within the span is not seen: no zone does that."""
        offset_ms, last_ms = self._offset_ms(from_ms), self._offset_ms(to_ms - 1)
        if offset_ms == last_ms:
            yield from_ms, to_ms, offset_ms
            return
        before_s, after_s = from_ms // 1000, to_ms // 1000
        while after_s - before_s > 1:
            middle_s = (before_s + after_s) // 2
            before_s, after_s = (middle_s, after_s) if self._offset_ms(middle_s * 1000) == offset_ms else (before_s, middle_s)
        yield from_ms, after_s * 1000, offset_ms
        yield from self._pieces(after_s * 1000, to_ms)

    def _offset_ms(self, at_ms: int) -> int:
        return self._wall_ms(at_ms) - at_ms

    def _wall_ms(self, at_ms: int) -> int:
        """What the wall clock shows, as if it were UTC."""
        offset = self._local(at_ms).utcoffset()
        assert offset is not None
        return at_ms + (offset.days * 86_400 + offset.seconds) * 1000

    def _local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms // 1000, self.zone)


def table_of(tou: TimeOfUse, day: date) -> tuple[Switch, ...]:
    """The switches of a local day: a holiday's before a weekend's before those of its zone of the year."""
    name = tou.holidays.get(day.isoformat())
    if name is None and tou.weekend_table is not None and day.isoweekday() in tou.weekend:
        name = tou.weekend_table
    if name is None:
        begun = [zone for zone in tou.zones if (zone.month, zone.day) <= (day.month, day.day)]
        name = (begun or tou.zones)[-1].table
    return tou.tables[name]


_calendars: dict[int, Calendar] = {}


def calendar_of(tariff: Tariff) -> Calendar:
    """The calendar of a tariff, built once for each object (mappings have no hash; holding the tariff keeps its id)."""
    found = _calendars.get(id(tariff))
    if found is None:
        if len(_calendars) >= KEPT_CALENDARS:
            _calendars.clear()
        found = _calendars[id(tariff)] = Calendar(tariff)
    return found
