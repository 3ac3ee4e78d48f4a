"""Signed heads of audit log and ledger leave at least every minute while they grow (contract.md 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from gateway.services.anchor import Sign, anchor, worth_anchoring
from gateway.services.ports import Tx

T = TypeVar("T")

ANCHOR_S = 45.0
"""Below the minute that is promised, by what the writer may be busy."""


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class Clock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


async def watch(store: Store, gateway: str, sign: Sign, clock: Clock) -> None:
    """Until cancelled. Raises Unavailable when the store is; whoever runs this starts it again."""
    while True:
        await asyncio.sleep(ANCHOR_S)
        if await store.read(worth_anchoring):
            await store.write(lambda tx: anchor(tx, gateway, sign, clock.now_ms()))
