"""Which moments a meter's memory holds values of, in UTC and by the zone's own calendar, and when a missing one is asked for again.

Meters run on local time (dlt645.md 11.20): a day begins at local midnight, a curve's points lie on the local clock's grid. Days of
23 and 25 hours have as many points as they have steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from gateway.domain.jobs import Want

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
GRAIN_MS = 15 * MINUTE_MS
"""Every zone is whole quarters of an hour away from UTC; grids of more than that are found on this one."""

BACK_MS = {Want.DAY: 3 * DAY_MS, Want.MONTH: 31 * DAY_MS, Want.CURVE: 3 * DAY_MS, Want.EVENTS: 0}
"""How far back the gateway goes by itself after it was off: the last three days and the last month's end; older only on request.
Of events one look tells everything."""

PAUSE_MS = 60_000
"""Between the tries within a window, times the number of the try: a moment's noise has passed, the window has not."""

BACKFILL_FIRST_MS = 15 * MINUTE_MS
BACKFILL_LONGEST_MS = 6 * HOUR_MS
"""After the window every second pause is twice as long, up to this: more than half of what a very noisy line asks stays unanswered,
and pauses that doubled each time would outgrow that. A meter that answers is asked at once for all that it owes."""

GARBLED_MS = 5 * MINUTE_MS
"""After the window, where something came: the meter would give it, and only a whole answer is wanting."""


def local_of(at_ms: int, zone: tzinfo) -> datetime:
    """The zone's wall clock at a moment, aware."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone)


def ms_of(local: datetime) -> int:
    """The moment of an aware time, UTC ms."""
    return (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def day_of(at_ms: int, zone: tzinfo) -> str:
    """The local date of a moment, ISO."""
    return local_of(at_ms, zone).date().isoformat()


def midnight(day: date, zone: tzinfo) -> int:
    """When a local day begins, UTC ms; where midnight is skipped, at the skip."""
    return ms_of(datetime.combine(day, time(), zone).astimezone(UTC))


def moments(want: Want, after_ms: int, upto_ms: int, zone: tzinfo, step_ms: int = GRAIN_MS) -> Iterator[int]:
    """The moments of a want with after < moment <= upto, rising. EVENTS have none of their own: the look itself is one."""
    if want is Want.CURVE:
        yield from _grid(after_ms, upto_ms, zone, step_ms)
        return
    day = local_of(after_ms, zone).date()
    while want is not Want.EVENTS and (at_ms := midnight(day, zone)) <= upto_ms:
        if at_ms > after_ms and (want is Want.DAY or day.day == 1):
            yield at_ms
        day += timedelta(days=1)


def _grid(after_ms: int, upto_ms: int, zone: tzinfo, step_ms: int) -> Iterator[int]:
    grain_ms = GRAIN_MS if step_ms % GRAIN_MS == 0 else MINUTE_MS
    at_ms = after_ms // grain_ms * grain_ms + grain_ms
    while at_ms <= upto_ms:
        local = local_of(at_ms, zone)
        if (local.hour * 60 + local.minute) * MINUTE_MS % step_ms == 0:
            yield at_ms
        at_ms += grain_ms


def moment_of(meter_local: datetime, zone: tzinfo, after_ms: int | None = None) -> int:
    """The moment (UTC ms) that a meter's naive local time means. Of the two in a repeated hour the first, unless that is not later
    than `after_ms`, the moment of the record before."""
    first = ms_of(meter_local.replace(tzinfo=zone, fold=0).astimezone(UTC))
    second = ms_of(meter_local.replace(tzinfo=zone, fold=1).astimezone(UTC))
    return second if after_ms is not None and first <= after_ms < second else first


def repeated(at_ms: int, zone: tzinfo) -> bool:
    """Whether this moment lies in the second passage of an hour that the local clock shows twice."""
    return bool(local_of(at_ms, zone).fold)


def run_from(moments_ms: Sequence[int], gap_ms: int, most: int) -> Sequence[int]:
    """The first moments (rising) that lie no farther apart than the gap: what one question may bring."""
    end = 1
    while end < min(len(moments_ms), most) and moments_ms[end] - moments_ms[end - 1] <= gap_ms:
        end += 1
    return moments_ms[:end]


def pause_ms(tries: int, retries: int, late: bool, heard: bool = False) -> int:
    """How long to wait after so many fruitless tries (1 and more), in its window or after it. heard: something came, garbled."""
    if tries <= retries and not late:
        return tries * PAUSE_MS
    if heard:
        return GARBLED_MS
    return min(BACKFILL_FIRST_MS << min(max(tries - retries - 1, 0) // 2, 10), BACKFILL_LONGEST_MS)
