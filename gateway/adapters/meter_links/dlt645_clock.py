"""The clock of a DL/T 645 meter: compared with ours, written under a password, or told the time with the whole line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.adapters.lines.driver import Driver, NoAnswer, Timed, WallClock
from gateway.adapters.lines.transport import LineDown
from gateway.adapters.meter_links.outcomes import Asker, NotSent, never_raises
from gateway.domain.clocks import calm, is_off, local_time, may_write
from gateway.domain.jobs import Answered, ClockJob, ClockSeen, Job
from protocols.dlt645.master import BroadcastTime, Read, ReadAnswer
from protocols.dlt645.values import decode_clock, encode_date, encode_time
from protocols.errors import Malformed, ProtocolError, RequestError

OFFSET_FRESH_S = 3600
"""A meter's clock is compared with ours at most so long before a command's expiry is computed from it (prepayment.md 5, F3)."""

STEP_MS = 1000
"""A meter shows whole seconds, so that its clock is somewhere between this one and the next."""

LEAD_MS = 250
"""What passes until a time that is sent takes effect, about: a write of 31 bytes takes 140 ms at 2400 baud, broadcasts less."""

NOT_NOW = "the clock is not set near midnight, the full hour or the quarter"

_EPOCH = datetime(1970, 1, 1)
MS = timedelta(milliseconds=1)

WriteFields = Callable[[str, bytes], Awaitable[object]]
"""Writes an identifier, guarded by the meter's password. Raises what links raise."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """local: what the clock showed; the answer's time in UTC ms; the round trip in ms; when it was read on the loop's own time."""

    local: datetime
    at_ms: int
    trip_ms: int
    read_s: float


class Dlt645Clock:
    """One meter's clock. identifiers: date and time, or both in one. zone: the time that it ought to show."""

    def __init__(self, asker: Asker, address: str, identifiers: Sequence[str], preamble: int, zone: str, clock: WallClock) -> None:
        self._asker, self._address, self._identifiers, self._preamble = asker, address, identifiers, preamble
        self._zone, self._clock = zone, clock
        self._shown: _Shown | None = None

    @property
    def seen(self) -> ClockSeen | None:
        """The last comparison, None when there is none of the last hour."""
        fresh = self._fresh()
        return None if fresh is None else self._compared(fresh)

    async def look(self) -> ClockSeen:
        """Compare it with ours now, in the middle of the round trip. Raises what the line and the meter raise."""
        self._shown = await self._read()
        return self._compared(self._shown)

    async def expiry(self, at_ms: int) -> datetime:
        """The last second of this clock that is over at a moment (UTC ms), by a comparison of the last hour. Raises NotSent.

        A meter obeys until the second of its expiry has passed: one more would be after the moment.
        """
        shown = self._fresh()
        if shown is None:
            try:
                shown = self._shown = await self._read()
            except (LineDown, NoAnswer, ProtocolError) as error:
                raise NotSent("not sent, the meter's clock could not be read") from error
        return _EPOCH + timedelta(seconds=((shown.local - _EPOCH) // MS + at_ms - shown.at_ms) // 1000 - 1)

    def forget(self) -> None:
        """It may have been set: compare it anew."""
        self._shown = None

    async def correct(self, write: WriteFields) -> ClockSeen | None:
        """Set it, unless it is seen right, which is given back. Raises RequestError near a freeze, NotSent, what `write` raises."""
        try:
            seen = await self.look()
        except (LineDown, NoAnswer, ProtocolError) as error:
            raise NotSent("not sent, the meter's clock could not be read") from error
        if not is_off(seen):
            return seen
        now_ms = self._clock.now_ms()
        if not may_write(seen, now_ms, self._zone):
            raise RequestError(NOT_NOW)
        dated = local_time(now_ms, self._zone).date() == local_time(now_ms + seen.offset_ms, self._zone).date()
        self.forget()
        if len(self._identifiers) == 1:
            await write(self._identifiers[0], encode_time(self._wanted()) + encode_date(self._wanted()))
            return None
        if not dated:
            await write(self._identifiers[0], encode_date(self._wanted()))
        await write(self._identifiers[1], encode_time(self._wanted()))
        return None

    def _wanted(self) -> datetime:
        return to_send(self._clock.now_ms(), self._zone)

    def _fresh(self) -> _Shown | None:
        shown = self._shown
        return shown if shown is not None and asyncio.get_running_loop().time() - shown.read_s <= OFFSET_FRESH_S else None

    def _compared(self, shown: _Shown) -> ClockSeen:
        middle_ms = shown.at_ms - shown.trip_ms // 2
        offset_ms = (shown.local - local_time(middle_ms, self._zone)) // MS + STEP_MS // 2
        return ClockSeen(offset_ms, (shown.trip_ms + STEP_MS) // 2, shown.at_ms)

    async def _read(self) -> _Shown:
        read_s = asyncio.get_running_loop().time()
        parts = [await self._part(di) for di in self._identifiers]
        if len(parts) == 1:  # 0400010C: both in one
            local = decode_clock(parts[0].value.data[3:], parts[0].value.data[:3])
        else:
            local = decode_clock(parts[0].value.data, parts[1].value.data)
            if local is not None and (local.hour, local.minute) == (0, 0):  # the date may be yesterday's
                local = decode_clock((await self._part(self._identifiers[0])).value.data, parts[1].value.data)
        if local is None:
            raise Malformed("the clock holds no date")
        last = parts[-1]
        return _Shown(local, last.answered_ms, last.answered_ms - last.asked_ms, read_s)

    async def _part(self, di: str) -> Timed[ReadAnswer]:
        return await self._asker.read(lambda: Read(self._address, di, self._preamble))


class ClockBroadcast:
    """Tells a line's meters the time of their zone; each obeys once a day within five minutes of its own (dlt645.md 3, code 08)."""

    def __init__(self, driver: Driver, zone: str, *, clock: WallClock) -> None:
        self._asker, self._zone, self._clock = Asker(driver), zone, clock

    @never_raises
    async def perform(self, job: Job) -> Answered:
        """Send it, but never near midnight, the full hour or a quarter, when meters freeze their registers."""
        now_ms = self._clock.now_ms()
        if not isinstance(job, ClockJob):
            raise RequestError("only the clock is broadcast")
        if not calm(local_time(now_ms, self._zone)):
            raise RequestError(NOT_NOW)
        await self._asker.once(BroadcastTime(to_send(now_ms, self._zone)))
        return Answered()


def to_send(now_ms: int, zone: str) -> datetime:
    """The local time to send now: the whole second nearest to when it takes effect."""
    return local_time((now_ms + LEAD_MS + 500) // 1000 * 1000, zone)
