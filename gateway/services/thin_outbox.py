"""What goes when the outbox is full: what the centre has first, then old readings, thinner and thinner; never money and events.

Everything dropped before the centre had it is named by an event `dropped` (contract.md 5). Every call does a bounded share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from gateway.domain.events import EventKind, Json, Topic
from gateway.domain.findings import FindingKind
from gateway.domain.readings import Source
from gateway.domain.records import OutboxRow, OutboxSize
from gateway.domain.slots import DAY_MS, day_of
from gateway.services import announce
from gateway.services.findings import found, over
from gateway.services.ports import Site, Tx

SHARE = 1000
"""Rows looked at, or forgotten, in one transaction: some tens of milliseconds in which no payment can be booked."""

RANGES = 1000
"""Ranges in one event `dropped`: 20 KiB, and what the centre takes at once."""

KEPT = 200_000
"""Spans of which is remembered that they have kept one: 40 MiB. Of some of those that are forgotten then, another one stays."""

SUBJECT = "outbox"

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class OutboxBounds:
    """What the outbox may take. older_days: readings older than this are the first to be thinned.

    alarm, begin, enough: per cent of either bound at which a person is told, thinning begins, and it ends; 10 below the alarm
    it is over.
    """

    rows: int = 4_000_000
    bytes: int = 2 * 1024 * 1024 * 1024
    older_days: int = 7
    alarm: int = 80
    begin: int = 100
    enough: int = 90

    def stages(self) -> Sequence[tuple[int, int]]:
        """Days from which on, and which span keeps one reading of a kind, in the order in which they are gone through."""
        ages = dict.fromkeys((self.older_days, min(1, self.older_days), 0))
        return [(days, span_ms) for days in ages for span_ms in (HOUR_MS, DAY_MS)]


@dataclass(slots=True)
class Thinning:
    """How far it is: the stage, the last number looked at, and which spans of a meter's readings have kept one."""

    stage: int = 0
    after: int = 0
    kept: set[tuple[str, ...]] = field(default_factory=set)


def fill(size: OutboxSize, bounds: OutboxBounds) -> int:
    """How full it is, in per cent of the bound that is nearer."""
    return max(100 * size.rows // bounds.rows, 100 * size.bytes // bounds.bytes)


def watch_outbox(tx: Tx, bounds: OutboxBounds, now_ms: int) -> int:
    """Opens and closes the finding; how full the outbox is, in per cent."""
    size = tx.outbox_size()
    full = fill(size, bounds)
    if full >= bounds.alarm:
        if tx.finding(FindingKind.OUTBOX_FULL, SUBJECT) is None:  # how full changes with every look
            text = f"the outbox is {full} % full: at {bounds.begin} % old readings are thinned out"
            found(tx, FindingKind.OUTBOX_FULL, SUBJECT, text, now_ms, {"rows": str(size.rows), "bytes": str(size.bytes)})
    elif full < bounds.alarm - 10:
        over(tx, FindingKind.OUTBOX_FULL, SUBJECT, now_ms)
    return full


def outbox_changed(tx: Tx, bounds: OutboxBounds) -> bool:
    """Whether watch_outbox would do anything, or thinning has to begin. Reads only."""
    full, told = fill(tx.outbox_size(), bounds), tx.finding(FindingKind.OUTBOX_FULL, SUBJECT) is not None
    return full >= bounds.begin or (full >= bounds.alarm) > told or (told and full < bounds.alarm - 10)


def thin_outbox(tx: Tx, bounds: OutboxBounds, thinning: Thinning, site: Site, now_ms: int) -> bool:
    """One share of what must go; whether there is more to do. False: it is small enough, or nothing is left that may go."""
    if fill(tx.outbox_size(), bounds) <= bounds.enough:
        return False
    safe = tx.drop_acknowledged((Topic.READING,), now_ms + 1, SHARE)
    if safe or tx.drop_acknowledged([topic for topic in Topic if topic is not Topic.READING], now_ms + 1, SHARE):
        return True
    stages = bounds.stages()
    if thinning.stage >= len(stages):
        return False
    days, span_ms = stages[thinning.stage]
    rows = tx.waiting_of(Topic.READING, thinning.after, SHARE)
    old = [row for row in rows if row.message.at_ms < now_ms - days * DAY_MS]
    zone = ZoneInfo(site.meter_zone)
    gone = [row.seq for row in old if not _stays(row, span_ms, zone, thinning)]
    if gone:
        tx.drop_outgoing(gone)
        tell_dropped(tx, list(_runs(gone)), f"the outbox was full: readings older than {days} days were thinned out", now_ms)
    if len(old) == len(rows) == SHARE:
        thinning.after = rows[-1].seq
    else:
        thinning.stage, thinning.after, thinning.kept = thinning.stage + 1, 0, set()
    return True


def tell_dropped(tx: Tx, ranges: Sequence[tuple[int, int]], why: str, now_ms: int) -> None:
    """Name what will not come to the centre any more; it counts these numbers as received."""
    for start in range(0, len(ranges), RANGES):
        told: list[Json] = [[first, last] for first, last in ranges[start : start + RANGES]]
        announce.event(tx, EventKind.DROPPED, now_ms, ranges=told, reason=why)


def _stays(row: OutboxRow, span_ms: int, zone: ZoneInfo, thinning: Thinning) -> bool:
    """A freeze always does; of the others the first of its kind in each span."""
    body = row.message.body
    if body.get("source") == Source.FREEZE.value:
        return True
    at_ms = body.get("answered_ms")
    at_ms = at_ms if isinstance(at_ms, int) else row.message.at_ms
    span = day_of(at_ms, zone) if span_ms == DAY_MS else str(at_ms // span_ms)
    key = (row.message.subject, span, *_quantities(body.get("items")))
    if key in thinning.kept:
        return False
    if len(thinning.kept) >= KEPT:
        thinning.kept.clear()
    thinning.kept.add(key)
    return True


def _quantities(items: Json) -> Iterator[str]:
    """What a reading is of: a poll of voltages must not stand for the register that is billed."""
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield str(item.get("quantity"))


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for number in numbers:
        if first is not None and last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last
