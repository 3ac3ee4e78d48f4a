"""Looks how long the certificates are still good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from gateway.services.ports import Tx
from gateway.services.watch_certificates import certificates_due, watch_certificates

T = TypeVar("T")

LOOK_S = 600.0
"""They end by days; a renewed one is off the list of findings soon."""


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


async def watch(store: Store, days_left: Callable[[], Mapping[str, int]], clock: WallClock) -> None:
    """Until cancelled. days_left: whole days by certificate; one that cannot be read now is left out."""
    while True:
        left = days_left()
        if await store.read(lambda tx, left=left: certificates_due(tx, left)):  # type: ignore[misc]
            await store.write(lambda tx, left=left: watch_certificates(tx, left, clock.now_ms()))  # type: ignore[misc]
        await asyncio.sleep(LOOK_S)
