"""Guests on a line: single exchanges for a person at a tool, in the line's own task and between its own work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from gateway.domain.jobs import GuestJob

T = TypeVar("T")

MAX_GUESTS = 16
"""Guests that may wait for one line: more people and tools than one bus ever has. The next one is told so at once."""

GUEST_S = 60.0
"""What a guest may take: far more than the slowest exchange (6 s late, then babbling), so that only a fault of ours is cut off."""


class Busy(Exception):
    """A guest is not let in, one sentence: too many wait already."""


class LineGone(Busy):
    """A guest is not let in, or has waited in vain: the line, or what stands behind it, is away."""


@dataclass(frozen=True, slots=True)
class _Guest:
    work: Callable[[], Awaitable[object]]
    result: asyncio.Future[object]


class Guests:
    """The queue of guests of one line."""

    def __init__(self) -> None:
        self._waiting: dict[GuestJob, _Guest] = {}
        self._number = 0

    @property
    def jobs(self) -> tuple[GuestJob, ...]:
        """Who waits, oldest first."""
        return tuple(self._waiting)

    async def enter(self, work: Callable[[], Awaitable[T]], *, search: bool) -> T:
        """Wait for the turn and for what `work` brings. Raises Busy, LineGone, and what it raises."""
        if len(self._waiting) >= MAX_GUESTS:
            raise Busy(f"{MAX_GUESTS} requests wait for this line already: try again when some are done")
        self._number += 1
        job = GuestJob(self._number, search)
        result: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[job] = _Guest(work, result)
        try:
            return cast(T, await result)
        finally:
            self._waiting.pop(job, None)

    async def serve(self, job: GuestJob) -> None:
        """This one's turn. What its work raises is its own. One that has gone meanwhile costs nothing."""
        guest = self._waiting.pop(job, None)
        if guest is None or guest.result.done():
            return
        try:
            async with asyncio.timeout(GUEST_S):
                value = await guest.work()
        except Exception as error:
            if not guest.result.done():
                guest.result.set_exception(error)
        except BaseException:
            _send_away(guest, "the gateway stops")
            raise
        else:
            if not guest.result.done():
                guest.result.set_result(value)

    def send_away(self, why: str) -> None:
        """Nobody who waits will have a turn."""
        for guest in self._waiting.values():
            _send_away(guest, why)
        self._waiting.clear()


def _send_away(guest: _Guest, why: str) -> None:
    if not guest.result.done():
        guest.result.set_exception(LineGone(why))
