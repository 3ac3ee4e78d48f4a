"""Gives supply back where a load limiter's pause has run out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog

from gateway.services.ports import Site, Tx, Unavailable
from gateway.services.watch_limits import limits_due_ms, watch_limits

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""Pauses are counted in seconds, so looking more often would change nothing that a household sees."""


class Store(Protocol):
    """The store, as much of it as the loop needs."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


async def watch(store: Store, site: Callable[[], Site], clock: WallClock) -> None:
    """Until cancelled."""
    while True:
        try:
            due_ms = await store.read(limits_due_ms)
            now_ms = clock.now_ms()
            if due_ms is not None and due_ms <= now_ms:
                here = site()
                await store.write(lambda tx, here=here, now_ms=now_ms: watch_limits(tx, here, now_ms))  # type: ignore[misc]
        except Unavailable as failed:
            log.error("limits_wait", text=str(failed))
        await asyncio.sleep(LOOK_S)
