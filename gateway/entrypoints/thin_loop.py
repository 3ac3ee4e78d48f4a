"""Keeps the outbox within its bounds, a little at a time, and tells when it fills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from gateway.services.ports import Essential, Site, Tx
from gateway.services.thin_outbox import OutboxBounds, Thinning, outbox_changed, thin_outbox, watch_outbox

T = TypeVar("T")

LOOK_S = 30.0
"""Between two looks: at 1,000 rows a second the bound is passed by less than a hundredth."""

BREATH_S = 0.05
"""Between two shares: the store's writer is there for payments; a share takes a few times as long as what it makes room for."""

REST_S = 3600.0
"""After nothing was left that may go: until readings have grown old that were young."""


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


async def watch(store: Store, bounds: Callable[[], OutboxBounds], site: Callable[[], Site], clock: WallClock) -> None:
    """Until cancelled. Raises Unavailable when the store is; whoever runs this starts it again."""
    while True:
        room = await keep(store, bounds(), site, clock)
        await asyncio.sleep(LOOK_S if room else REST_S)


async def keep(store: Store, bounds: OutboxBounds, site: Callable[[], Site], clock: WallClock) -> bool:
    """One look; False: the outbox is full, and nothing is left that may go."""
    if not await store.read(lambda tx: outbox_changed(tx, bounds)):
        return True
    full = await store.write(Essential(lambda tx: watch_outbox(tx, bounds, clock.now_ms())))
    return full < bounds.begin or await thin(store, bounds, site, clock)


async def thin(store: Store, bounds: OutboxBounds, site: Callable[[], Site], clock: WallClock) -> bool:
    """Until there is room again; False: nothing is left that may go."""
    thinning, more = Thinning(), True
    while more:
        more = await store.write(Essential(lambda tx: thin_outbox(tx, bounds, thinning, site(), clock.now_ms())))
        await asyncio.sleep(BREATH_S)
    return await store.write(Essential(lambda tx: watch_outbox(tx, bounds, clock.now_ms()))) < bounds.begin
