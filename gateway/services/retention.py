"""What is forgotten, so that the store stays bounded: fine readings become daily sums, settled slots and safe messages go.

Every call does a bounded share, in one transaction; the money's own rows are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from gateway.domain.events import Topic
from gateway.domain.jobs import Want
from gateway.domain.readings import Item, Quality
from gateway.domain.records import DaySum, StoredReading
from gateway.domain.schemes import SlotState
from gateway.domain.slots import DAY_MS, day_of
from gateway.services.collect import give_up
from gateway.services.open_slots import KEPT_MS
from gateway.services.ports import Site, Tx

THINNED_AT_ONCE = 500
"""Readings, slots or messages of one call: a few tens of milliseconds in which no payment can be booked."""

_FLEETING = ("status_", "clock")
"""Words of bits and times: a day's sum of them says nothing."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How many days what is kept. readings: fine ones, 13 months. messages: acknowledged readings in the outbox; money: others."""

    readings: int = 396
    messages: int = 7
    money: int = 90


def something_old(tx: Tx, meter: str, keep: Keep, now_ms: int) -> bool:
    """Whether there is anything of this meter to thin or forget. Reads only."""
    oldest = tx.readings(meter, 0, 1)
    if oldest and oldest[0].reading.answered_ms < now_ms - keep.readings * DAY_MS:
        return True
    return any(tx.slots(meter, want, 0, now_ms - KEPT_MS - 1, 1) for want in Want)


def thin(tx: Tx, meter: str, keep: Keep, site: Site, now_ms: int, limit: int = THINNED_AT_ONCE) -> int:
    """Turn this meter's oldest readings into daily sums where their time is over; how many."""
    before_ms = now_ms - keep.readings * DAY_MS
    old = [stored for stored in tx.readings(meter, 0, limit) if stored.reading.answered_ms < before_ms]
    zone, sums = ZoneInfo(site.meter_zone), dict[tuple[str, str], DaySum]()
    for stored in old:
        if stored.quality is Quality.SUSPECT:
            continue
        day = day_of(stored.reading.at_ms, zone)
        for item in stored.reading.items:
            if item.value is not None and not item.quantity.startswith(_FLEETING):
                key = (day, item.quantity)
                sums[key] = _added(sums.get(key) or tx.day_sum(meter, *key), stored, item, day)
    for day_sum in sums.values():
        tx.save_day_sum(day_sum)
    tx.drop_readings([stored.id for stored in old])
    return len(old)


def forget_slots(tx: Tx, meter: str, site: Site, now_ms: int, limit: int = THINNED_AT_ONCE) -> int:
    """Forget this meter's slots of long ago; what was still expected is given up first. How many."""
    before_ms, gone = now_ms - KEPT_MS, 0
    for want in Want:
        old = tx.slots(meter, want, 0, before_ms - 1, limit)
        waiting = [slot for slot in old if slot.state is SlotState.EXPECTED and slot.late_ms < before_ms]
        give_up(tx, waiting, "it was asked for in vain for too long", site, now_ms)
        gone += tx.drop_slots(meter, want, old[-1].at_ms + 1) if old else 0
    return gone


def forget_messages(tx: Tx, keep: Keep, now_ms: int, limit: int = THINNED_AT_ONCE) -> int:
    """Forget messages that the centre has long acknowledged; how many (contract.md 5, keep_acknowledged)."""
    shares: Iterable[tuple[Sequence[Topic], int]] = (
        ((Topic.READING,), keep.messages),
        (tuple(topic for topic in Topic if topic is not Topic.READING), keep.money),
    )
    return sum(tx.drop_acknowledged(topics, now_ms - days * DAY_MS, limit) for topics, days in shares)


def _added(before: DaySum | None, stored: StoredReading, item: Item, day: str) -> DaySum:
    """The day's sum with one value more, whichever order they come in."""
    value, at_ms = item.value, stored.reading.at_ms
    assert value is not None
    if before is None:
        return DaySum(stored.reading.meter, day, item.quantity, item.unit, 1, value, at_ms, value, at_ms, value, value)
    first, first_ms = (value, at_ms) if at_ms < before.first_ms else (before.first, before.first_ms)
    last, last_ms = (value, at_ms) if at_ms >= before.last_ms else (before.last, before.last_ms)
    return replace(
        before,
        count=before.count + 1,
        first=first,
        first_ms=first_ms,
        last=last,
        last_ms=last_ms,
        lowest=min(before.lowest, value),
        highest=max(before.highest, value),
    )
