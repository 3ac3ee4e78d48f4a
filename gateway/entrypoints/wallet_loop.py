"""What time does to money on its way into meters: it comes back at its deadline, a doubt that lasts is a finding, and a payment
that its bank wants back stands when nobody could say in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from gateway.services.deliveries import expire_deliveries
from gateway.services.ports import Site, Tx
from gateway.services.reverse_topup import decide_reversals

T = TypeVar("T")

LOOK_S = 60.0
"""Between two looks: deadlines are hours."""


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


async def expire(store: Store, clock: WallClock, site: Callable[[], Site]) -> None:
    """Until cancelled. Raises Unavailable when the store is."""
    while True:
        now_ms = clock.now_ms()
        if await store.read(lambda tx: bool(tx.open_deliveries())):
            await store.write(lambda tx, now_ms=now_ms: expire_deliveries(tx, now_ms))  # type: ignore[misc]
        if await store.read(lambda tx: bool(tx.pending_reversals())):
            await store.write(lambda tx, now_ms=now_ms: decide_reversals(tx, site(), now_ms))  # type: ignore[misc]
        await asyncio.sleep(LOOK_S)
