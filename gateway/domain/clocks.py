"""Keeping the meters' clocks right: what a look at a clock means, what may be done about it, and when.

Rules and numbers: field-lessons.md 1 ("Clock rules"); dlt645.md 3 (08) and 10.7; prepayment.md 5, F3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from gateway.domain.jobs import ClockSeen

TOLERANCE_MS = 10_000
"""A meter's clock may be so far off (field-lessons.md 1)."""

REACH_MS = 5 * 60 * 1000
"""A broadcast is obeyed within five minutes of the meter's own time (dlt645.md 3)."""

MARGIN_MS = 5_000
"""Taken off the reach: what the meter drifts until it hears the broadcast, and its own step."""

MONTH_MS = 31 * 24 * 60 * 60 * 1000
MOST_WRITES = 2
"""A clock that is wrong again after so many written corrections in a month is broken (field-lessons.md 1)."""

MOST_UNHEEDED = 2
"""Broadcasts without effect, after which a meter is written to: some ignore them."""

BLOCKED_MS = 7 * 24 * 60 * 60 * 1000
"""A write that was refused, or that nobody has a password for, is tried again no sooner."""

RETRY_MS = 2 * 60 * 60 * 1000
"""After a fruitless look at a clock: twelve looks a day cost a line nothing."""

VERIFY_MS = 5_000
"""A corrected clock is read back so long after it was told."""

MIDNIGHT_MIN = 30
HOUR_MIN = 5
SLOT_MIN = 15
"""Minutes around midnight and the full hour in which no clock is set: meters freeze their registers then. And none is moved
across a quarter of an hour, where load profiles have a row: one would be there twice or not at all."""

AGREEING = 5
AGREE_MS = 60_000
"""So many clocks that agree to within this outweigh ours (prepayment.md 5, F3)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ClockState(StrEnum):
    """What is known of a meter's clock. SENT: it was told the time, and has not been read since."""

    UNSEEN = "unseen"
    RIGHT = "right"
    OFF = "off"
    SENT = "sent"
    FAULT = "fault"


class ClockHappening(StrEnum):
    """What may happen to it. HOPELESS: it is off, and nothing that may be done has helped or will."""

    SEEN_RIGHT = "seen_right"
    SEEN_OFF = "seen_off"
    TOLD = "told"
    HOPELESS = "hopeless"


_S, _H = ClockState, ClockHappening

TRANSITIONS: dict[tuple[ClockState, ClockHappening], ClockState] = {
    **{(state, _H.SEEN_RIGHT): _S.RIGHT for state in _S},
    **{(state, _H.SEEN_OFF): _S.OFF for state in _S},
    **{(state, _H.HOPELESS): _S.FAULT for state in _S},
    (_S.UNSEEN, _H.TOLD): _S.UNSEEN,
    (_S.RIGHT, _H.TOLD): _S.RIGHT,
    (_S.OFF, _H.TOLD): _S.SENT,
    (_S.SENT, _H.TOLD): _S.SENT,
    (_S.FAULT, _H.TOLD): _S.FAULT,
}


class Remedy(StrEnum):
    """What helps a clock that is off."""

    NONE = "none"
    BROADCAST = "broadcast"
    WRITE = "write"
    HOPELESS = "hopeless"


@dataclass(frozen=True, slots=True)
class MeterClock:
    """A meter's clock, as a durable record. Times in UTC ms.

    seen: the last look. tried_ms: the last attempt at one, tries: fruitless ones since. sent: by which remedy it was told the
    time, and when. off_ms: how far off it was found before. unheeded: broadcasts in a row without effect. written: times of
    written corrections; refused: times at which the meter refused their password; blocked_ms: when a write proved impossible.
    """

    meter: str
    state: ClockState = ClockState.UNSEEN
    seen: ClockSeen | None = None
    tried_ms: int = 0
    tries: int = 0
    sent: Remedy | None = None
    sent_ms: int | None = None
    off_ms: int | None = None
    unheeded: int = 0
    written: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    blocked_ms: int | None = None


def is_off(seen: ClockSeen) -> bool:
    """Whether the clock is surely further off than it may be."""
    return abs(seen.offset_ms) > TOLERANCE_MS + seen.within_ms


def in_reach(seen: ClockSeen) -> bool:
    """Whether a broadcast will surely be obeyed."""
    return abs(seen.offset_ms) + seen.within_ms <= REACH_MS - MARGIN_MS


def remedy(clock: MeterClock, now_ms: int) -> Remedy:
    """What the rules would do about this clock now, if the moment allows it."""
    seen = clock.seen
    if seen is None or not is_off(seen):
        return Remedy.NONE
    if in_reach(seen) and clock.unheeded < MOST_UNHEEDED:
        return Remedy.BROADCAST
    blocked = clock.blocked_ms is not None and now_ms - clock.blocked_ms < BLOCKED_MS
    return Remedy.HOPELESS if blocked or len(_lately(clock.written, now_ms)) >= MOST_WRITES else Remedy.WRITE


def looked(clock: MeterClock, seen: ClockSeen) -> MeterClock:
    """The record after a look at the clock."""
    off = is_off(seen)
    unheeded = 0 if not off else clock.unheeded + (clock.sent is Remedy.BROADCAST)
    after = replace(clock, seen=seen, tried_ms=seen.at_ms, tries=0, sent=None, unheeded=unheeded)
    if not off:
        return replace(after, state=TRANSITIONS[clock.state, _H.SEEN_RIGHT], off_ms=None)
    happened = _H.HOPELESS if remedy(after, seen.at_ms) is Remedy.HOPELESS else _H.SEEN_OFF
    return replace(after, state=TRANSITIONS[clock.state, happened], off_ms=seen.offset_ms)


def missed(clock: MeterClock, now_ms: int) -> MeterClock:
    """The record after a fruitless look: nothing is known that was not known before, and it is nobody's fault."""
    return replace(clock, tried_ms=now_ms, tries=clock.tries + 1)


def told(clock: MeterClock, how: Remedy, now_ms: int) -> MeterClock:
    """The record after the time was sent. Whether it was heeded is seen by the next look, never assumed."""
    written = (*_lately(clock.written, now_ms), now_ms) if how is Remedy.WRITE else clock.written
    state = TRANSITIONS[clock.state, _H.TOLD]
    return replace(clock, state=state, sent=how, sent_ms=now_ms, written=written, tries=0)


def blocked(clock: MeterClock, now_ms: int) -> MeterClock:
    """The record after a write that this meter does not take, or that nothing can be sent for."""
    return replace(clock, state=TRANSITIONS[clock.state, _H.HOPELESS], blocked_ms=now_ms, sent=None)


def refused(clock: MeterClock, now_ms: int) -> MeterClock:
    """The meter refused the password of a write: one of the two of its day is spent (prepayment.md 9)."""
    return replace(clock, refused=(*_lately(clock.refused, now_ms), now_ms))


def look_due_ms(clock: MeterClock, zone: str) -> int:
    """When the clock is to be looked at next: right after it was told the time, else once a day at a time of its own."""
    if clock.state is ClockState.SENT and clock.sent_ms is not None:
        due_ms = clock.sent_ms + VERIFY_MS
    elif clock.seen is None:
        due_ms = 0
    else:
        due_ms = _next_slot_ms(clock.meter, clock.seen.at_ms, zone)
    return max(due_ms, clock.tried_ms + RETRY_MS) if clock.tries else due_ms


def calm(local: datetime) -> bool:
    """Whether clocks may be set by up to REACH_MS at this local time."""
    return not near_freeze(local) and HOUR_MIN <= local.minute % SLOT_MIN < 2 * HOUR_MIN


def near_freeze(local: datetime) -> bool:
    """Whether midnight or a full hour is near."""
    minute = local.hour * 60 + local.minute
    return not MIDNIGHT_MIN <= minute < 24 * 60 - MIDNIGHT_MIN or not HOUR_MIN <= local.minute < 60 - HOUR_MIN


def may_write(seen: ClockSeen, now_ms: int, zone: str) -> bool:
    """Whether this clock may be written now: neither from nor to a time at which the meter freezes its registers."""
    return calm(local_time(now_ms, zone)) and not near_freeze(local_time(now_ms + seen.offset_ms, zone))


def crowd_offset_ms(clocks: Sequence[ClockSeen]) -> int | None:
    """What most of at least five clocks agree on, as their median offset from ours; None where they do not."""
    offsets = sorted(seen.offset_ms for seen in clocks)
    if len(offsets) < AGREEING:
        return None
    median = offsets[len(offsets) // 2]
    agreeing = sum(abs(offset - median) <= AGREE_MS for offset in offsets)
    return median if agreeing >= AGREEING and 2 * agreeing > len(offsets) else None


def we_are_off(clocks: Sequence[ClockSeen]) -> bool:
    """Whether the meters agree that it is our time, or our zone, that is wrong: then none of them may be set."""
    crowd = crowd_offset_ms(clocks)
    return crowd is not None and abs(crowd) > REACH_MS


def local_time(at_ms: int, zone: str) -> datetime:
    """The naive wall-clock time of the zone."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def _next_slot_ms(meter: str, after_ms: int, zone: str) -> int:
    """The meter's own minute of the day, between one and eleven at night: spread, and away from midnight."""
    spread = int.from_bytes(hashlib.sha256(meter.encode()).digest()[:4]) % (22 * 60)
    day = local_time(after_ms, zone).replace(hour=1, minute=0, second=0, microsecond=0)
    for days in (0, 1, 2):
        slot = (day + timedelta(days=days, minutes=spread)).replace(tzinfo=ZoneInfo(zone))
        slot_ms = (slot - _EPOCH) // timedelta(milliseconds=1)
        if slot_ms > after_ms:
            return slot_ms
    raise AssertionError("the day after tomorrow is later than today")


def _lately(times_ms: Sequence[int], now_ms: int) -> tuple[int, ...]:
    return tuple(at_ms for at_ms in times_ms if now_ms - at_ms < MONTH_MS)
