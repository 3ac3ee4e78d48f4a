"""What a DL/T 645 meter remembers: daily freezes, month ends, the load profile and its own records of events (dlt645.md 8.4 to 9).

Every step is one exchange, so that a cut never waits for more. A step that brings no values gives an empty answer; the same job is
then asked for again and goes on from there. Meters run on local time: their times become UTC by the gateway's zone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from gateway.adapters.lines.driver import WallClock
from gateway.adapters.meter_links.dlt645_events import EventRound
from gateway.adapters.meter_links.dlt645_past import Ask, NotThere, past_reading
from gateway.domain.jobs import Answered, HistoryJob, Want
from gateway.domain.readings import Reading, Source
from gateway.domain.slots import MINUTE_MS, day_of, local_of, midnight, moment_of, repeated
from protocols.dlt645.load_profile import GROUPS, LoadRecord, parse_records
from protocols.dlt645.master import ReadAnswer
from protocols.dlt645.values import decode_minute
from protocols.errors import Malformed, Refused, RequestError
from protocols.profiles import MeterHistory, MeterProfile
from protocols.quantities import Measurement

NEAR_MIDNIGHT_MS = 30 * MINUTE_MS
"""A meter's clock is at most so wrong: around midnight its freezes may move on by one between two questions."""

MOST_RECORDS = 16
"""Of one question for a curve: an hour and a half of five minutes each, in three frames."""

FIRST_OF_MONTH = "0100"
"""Day and hour of a settlement that is the end of a calendar month."""

NOTHING = MeterHistory(0, 0, "", 15, ())
"""Of a meter without a memory."""

EMPTY = -1
"""In the place of a freeze's moment: there is none under this number."""


class Live(Protocol):
    """The present registers of the meter, which stand in for a freeze where it has none."""

    def __call__(self) -> Awaitable[Reading]: ...


class Dlt645History:
    """The memory of one meter. ask: one read of an identifier. zone: the meter's own."""

    def __init__(self, meter: str, profile: MeterProfile, zone: str, *, clock: WallClock, ask: Ask, live: Live) -> None:
        self._meter, self._kept, self._zone = meter, profile.history or NOTHING, ZoneInfo(zone)
        self._old = profile.protocol == "dlt645-1997"
        self._clock, self._ask, self._live = clock, ask, live
        self._events = EventRound(meter, self._kept.events, self._zone, ask)
        self._freezes: dict[int, int] = {}
        self._freezes_of: tuple[str, bool] = ("", False)
        self._unproved: tuple[int, Reading] | None = None
        self._settles: str | None = None
        self._not_frozen: set[int] = set()
        self._not_found: dict[int, list[int]] = {}
        self._refused: set[HistoryJob] = set()  # once: a refusal names no question, and the line may have garbled ours

    async def perform(self, job: HistoryJob) -> Answered:
        """One step of this job. Raises what the driver raises, and NotThere for what the meter has not."""
        try:
            done = await self._step(job)
        except NotThere:
            raise
        except Refused:
            if job in self._refused:
                self._refused.clear()
                raise
            self._refused.add(job)
            return Answered()
        self._refused.discard(job)
        return done

    async def _step(self, job: HistoryJob) -> Answered:
        match job.want:
            case Want.DAY if not self._kept.day:
                return Answered(await self._live())
            case Want.DAY:
                return await self._day(job.from_ms)
            case Want.MONTH:
                return await self._month(job.from_ms)
            case Want.CURVE if self._kept.curve:
                return await self._curve(job.from_ms, job.to_ms)
            case Want.EVENTS if self._kept.events:
                return await self._events.step()
        raise RequestError(f"the profile of meter {self._meter} keeps no {job.want}")

    async def _day(self, at_ms: int) -> Answered:
        """The daily freeze of this moment: first its number is found by the freezes' own times, then it is read."""
        near = self._near_midnight()
        if self._unproved is not None:
            return await self._prove(at_ms)
        number = next((n for n, taken_ms in self._freezes.items() if taken_ms == at_ms), None)
        if number is None:
            await self._look(self._candidate(at_ms))
            return Answered()
        answer = await self._ask(f"050601{number:02X}")
        reading = past_reading(self._meter, answer, answer.value.items, Source.FREEZE, at_ms, f"_freeze_daily_{number}")
        if near:
            self._unproved = number, reading
            return Answered()
        del self._freezes[number]  # a second reading that is to confirm this one finds the number for itself
        return Answered(history=(reading,))

    async def _prove(self, at_ms: int) -> Answered:
        """Around midnight: the freeze still has the number under which it was read."""
        assert self._unproved is not None
        (number, reading), self._unproved = self._unproved, None
        if reading.taken_ms == at_ms and await self._look(number) == at_ms:
            return Answered(history=(reading,))
        self._freezes.clear()
        return Answered()

    async def _look(self, number: int) -> int:
        """When the freeze of this number was taken, EMPTY if there is none."""
        try:
            when = decode_minute((await self._ask(f"050600{number:02X}")).value.data)
        except Refused as refused:
            if number == 1:
                raise
            if not any("data" in flag for flag in refused.flags):
                raise
            when = None
        taken_ms = EMPTY if when is None else moment_of(when, self._zone)
        self._freezes[number] = taken_ms
        return taken_ms

    def _candidate(self, at_ms: int) -> int:
        """The number to look at next; the freezes lie in order, the latest first. Raises NotThere when it cannot be there."""
        newer = [(n, taken_ms) for n, taken_ms in self._freezes.items() if taken_ms > at_ms]
        low = max((n for n, _ in newer), default=0) + 1
        high = min((n for n, taken_ms in self._freezes.items() if taken_ms < at_ms), default=self._kept.day + 1) - 1
        if low > high:
            again = self._not_found.setdefault(at_ms, [n for n in (low - 1, high + 1) if n in self._freezes])
            if again:  # a time that a bad line garbled unnoticed must not lose a day: its neighbours are looked at once more
                return again.pop()
            self._freezes.clear()  # and who asks once more finds everything anew
            del self._not_found[at_ms]
            raise NotThere(f"meter {self._meter} kept no daily freeze of {self._local(at_ms)}")
        since_ms = max(newer)[1] if newer else midnight(local_of(self._clock.now_ms(), self._zone).date(), self._zone)
        days = (local_of(since_ms, self._zone).date() - local_of(at_ms, self._zone).date()).days
        guess = low + max(days - bool(newer), 0)
        return guess if guess <= high else (low + high) // 2 if high < self._kept.day else high

    def _near_midnight(self) -> bool:
        """Whether freezes may move on now. What was seen on another day, or then, no longer tells the numbers of now."""
        now_ms = self._clock.now_ms()
        local = local_of(now_ms, self._zone)
        into_ms = (local.hour * 60 + local.minute) * MINUTE_MS
        near = not NEAR_MIDNIGHT_MS <= into_ms < 24 * 60 * MINUTE_MS - NEAR_MIDNIGHT_MS
        if self._freezes_of != (today := (day_of(now_ms, self._zone), near)):
            self._freezes_of, self._unproved = today, None
            self._freezes.clear()
            self._not_frozen.clear()
            self._not_found.clear()
        return near

    async def _month(self, at_ms: int) -> Answered:
        """The daily freeze of the 1st, whose own time proves it; where the meter has none, the settlement of that moment."""
        self._near_midnight()
        days = (local_of(self._clock.now_ms(), self._zone).date() - local_of(at_ms, self._zone).date()).days
        if days < self._kept.day and at_ms not in self._not_frozen:
            try:
                return await self._day(at_ms)
            except Refused:
                if not self._kept.month:
                    raise
                self._not_frozen.add(at_ms)
                return Answered()
        if self._settles is None:
            fields = (await self._ask("C117" if self._old else "04000B01")).value.fields
            self._settles = str(fields[0].value) if fields else "unknown"
            return Answered()
        return Answered(history=(await self._settlement(at_ms),))

    async def _settlement(self, at_ms: int) -> Reading:
        if self._settles != FIRST_OF_MONTH:
            raise NotThere(f"meter {self._meter} settles on day and hour {self._settles}, not with the month")
        now, then = local_of(self._clock.now_ms(), self._zone), local_of(at_ms, self._zone)
        past = (now.year * 12 + now.month) - (then.year * 12 + then.month) + 1
        if now.day == 1 and self._near_midnight():
            raise NotThere(f"meter {self._meter} may be settling at this moment")
        if not 1 <= past <= self._kept.month:
            raise NotThere(f"meter {self._meter} keeps {self._kept.month} settlements, and not that of {self._local(at_ms)}")
        answer = await self._ask({1: "941F", 2: "981F"}[past] if self._old else f"0001FF{past:02X}")
        return past_reading(self._meter, answer, answer.value.items, Source.FREEZE, at_ms, f"_settlement_{past}")

    async def _curve(self, from_ms: int, to_ms: int) -> Answered:
        """The records from the first moment on; what lies before it is not ours, what lies behind it is taken along."""
        interval_ms = self._kept.interval_min * MINUTE_MS
        count = (to_ms - from_ms) // interval_ms + 1
        if repeated(from_ms, self._zone):  # the local time of the first passage is found first
            count += 60 * MINUTE_MS // interval_ms
        start = local_of(from_ms, self._zone).replace(tzinfo=None)
        answer = await self._ask(self._kept.curve, count=min(count, MOST_RECORDS), when=start)
        points = _records(answer.value) if self._kept.curve.startswith("060") else _points(answer.value, interval_ms)
        found: list[Reading] = []
        before_ms: int | None = None
        for when, values in points:
            before_ms = moment_of(when, self._zone, before_ms)
            if before_ms >= from_ms and values:
                found.append(past_reading(self._meter, answer, values, Source.CURVE, before_ms))
        if not found:
            raise NotThere(f"the load profile of meter {self._meter} has nothing from {self._local(from_ms)} on")
        return Answered(history=tuple(found))

    def _local(self, at_ms: int) -> str:
        return f"{local_of(at_ms, self._zone):%Y-%m-%d %H:%M}"


Point = tuple[datetime, Sequence[Measurement]]


def _records(answer: ReadAnswer) -> list[Point]:
    """Those records that have a time and are not marked as spoilt by the meter."""
    records = parse_records(answer.data)
    return [(record.when, _values(record)) for record in records if record.when is not None and not record.damaged]


def _values(record: LoadRecord) -> list[Measurement]:
    return [
        Measurement(field.quantity, value, field.unit)
        for group, values in zip(GROUPS, record.groups, strict=True)
        for field, value in zip(group, values or (), strict=False)
    ]


def _points(answer: ReadAnswer, interval_ms: int) -> list[Point]:
    """A curve (0610): the time of its first point, then a value every interval."""
    if not answer.data:
        return []
    first = decode_minute(answer.data[:5])
    if first is None:
        raise Malformed("the curve has no time")
    rows: dict[int, list[Measurement]] = {}
    for item in answer.items:
        name, _, number = item.quantity.rpartition("_curve_")
        rows.setdefault(int(number), []).append(Measurement(name, item.value, item.unit))
    return [(first + timedelta(milliseconds=interval_ms * (n - 1)), values) for n, values in sorted(rows.items())]
