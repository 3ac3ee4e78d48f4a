"""Waiting for a moment as exactly as the machine can: timers of event loops count milliseconds, a fiftieth of a fast exchange."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

EARLY_S = 0.0015
"""Timers are set so much before the moment: they ring up to a millisecond beside it (measured, uvloop and asyncio on epoll)."""

LONGEST_S = 2 * EARLY_S
"""The rest of a wait takes turns with all other work of the loop, at most so long at once, whatever became of the clock."""

TICK_S = 0.001
"""The shortest wait that is left to a timer: shorter ones ring at once, again and again."""

PARTS = 20
"""Of one processor's time at most one part in so many goes into such rests, of all lines together: two fast lines need it."""

MOST_S = 64
"""Gaps a second, of all lines together, beyond which there are no such rests: then the processor is worth more than half a
millisecond of a line (128 lines made an eighth fewer exchanges of the same processor's time)."""

RECENT = 16
"""Gaps whose pace counts."""


class _Share:
    """The part of the processor's time that all lines of the process have for exactness."""

    def __init__(self) -> None:
        self.free_at_s = 0.0
        self._last_s, self._between_s = 0.0, 1.0

    def free(self, now_s: float) -> bool:
        return now_s >= self.free_at_s and self._between_s * MOST_S >= 1

    def count(self, now_s: float) -> None:
        """One more gap begins."""
        self._between_s += (min(now_s - self._last_s, 1.0) - self._between_s) / RECENT
        self._last_s = now_s

    def spend(self, cost_s: float, now_s: float) -> None:
        self.free_at_s = now_s + cost_s * (PARTS - 1)


_SHARE = _Share()


class Punctual:
    """One line's way to wait, on whatever loop runs it; a loop with a time of its own moves it by timers only."""

    def __init__(self) -> None:
        self._clock: Callable[[], float] | None = None
        self._by_timers = False

    def now(self) -> float:
        """Seconds of the loop's time, also where the loop itself reads its clock but once a turn, and to the millisecond."""
        if self._clock is None:
            loop = asyncio.get_running_loop()
            real = type(loop).__module__.startswith("uvloop") or type(loop).time is asyncio.BaseEventLoop.time
            self._clock, self._by_timers = (time.monotonic, False) if real else (loop.time, True)
        return self._clock()

    def nap_s(self, left_s: float) -> float:
        """How long to sleep of this wait: all of it where no exactness is to be had; 0 when only `finish` is left."""
        now_s = self.now()
        if self._by_timers:
            return left_s
        ends = left_s <= EARLY_S + TICK_S
        if not ends:
            _SHARE.count(now_s)
        if not _SHARE.free(now_s):
            return max(left_s, TICK_S)
        return 0.0 if ends else left_s - EARLY_S

    async def finish(self, until_s: float) -> None:
        """The rest of a wait that is shorter than timers can tell; it may end too early, when it would take too long."""
        begun_s = now_s = self.now()
        while now_s < until_s and now_s - begun_s < LONGEST_S:
            await asyncio.sleep(0)
            now_s = self.now()
        _SHARE.spend(now_s - begun_s, now_s)
