"""Looks whether the disk has room, and tells it when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import structlog

from gateway.services.ports import Essential, Tx, Unavailable
from gateway.services.tell_disk import tell_disk

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""Every write looks too; this is for when room comes back while nothing is written."""


class Store(Protocol):
    """The store, as much of it as the loop needs."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


async def watch(store: Store, look: Callable[[], Awaitable[str | None]], clock: WallClock, look_s: float = LOOK_S) -> None:
    """Until cancelled. look: why only what is essential is written, None while there is room."""
    told: bool | None = None
    while True:
        low = await look()
        if told is not (low is not None):
            try:
                await store.write(Essential(lambda tx, low=low: tell_disk(tx, low, clock.now_ms())))  # type: ignore[misc]
            except Unavailable as failed:
                log.error("disk_low_not_written", text=str(failed))
            else:
                if low is not None or told:
                    log.warning("disk_low" if low else "disk_has_room", text=low)
                told = low is not None
        await asyncio.sleep(look_s)
