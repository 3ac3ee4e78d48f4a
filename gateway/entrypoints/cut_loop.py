"""What time brings to cuts that wait, and whether cuts are stopped at all: looked at every second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog

from gateway.services.ports import Site, Tx, Unavailable
from gateway.services.stop_switch import stopped
from gateway.services.watch_cuts import cuts_wait, watch_cuts

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""The stop switch is seen within a second (prepayment.md 6); a budget by the minute needs no closer look."""

ANYWAY_S = 60.0
"""Also when nothing waits: the limiter's clock is written down, and forgets at most this much when the power fails."""


class Store(Protocol):
    """The store, as much of it as the loop needs."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


async def watch(
    store: Store, site: Callable[[], Site], clock: WallClock, tell: Callable[[str | None], None], wake: Callable[[], None]
) -> None:
    """Until cancelled. tell: who stopped the cuts, None while they go on. wake: lines look for what was ordered."""
    loop, anyway_s = asyncio.get_running_loop(), float("-inf")
    while True:
        try:
            why, waits = await store.read(lambda tx: (stopped(tx), cuts_wait(tx)))
            tell(why)
            if waits or loop.time() >= anyway_s:
                here, now_ms = site(), clock.now_ms()
                if await store.write(lambda tx, here=here, now_ms=now_ms: watch_cuts(tx, here, now_ms)):  # type: ignore[misc]
                    wake()
                anyway_s = loop.time() + ANYWAY_S
        except Unavailable as failed:
            log.error("cuts_wait", text=str(failed))
        await asyncio.sleep(LOOK_S)
