"""Judges all accounts again where something asked for it, and now and then because time passes: grace ends, meters fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Protocol, TypeVar

import structlog

from gateway.services.ports import Site, Tx, Unavailable
from gateway.services.rejudge import ask, go_on, under_way

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""How long a change of policy waits at most for its first account; a look is one row."""

ROUND_S = 1_800.0
"""Between two rounds that nobody asked for: what depends on time alone is counted in hours."""

SHARE_S = 0.012
"""After so long a share takes no other account: with the last one and its commit less than 20 ms in which nobody can pay."""

PAUSE_S = 0.005
"""Between two shares: whoever waits goes first. A hundred shares a second still judge 10,000 accounts in a few seconds."""

SHARE = 50
"""Accounts looked up for a share: 3 ms where nothing is known of them."""


class Store(Protocol):
    """The store, as much of it as the loop needs."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


async def share(store: Store, site: Site, now_ms: int) -> bool:
    """Judge the next accounts; whether more are left."""

    def judged(tx: Tx) -> bool:
        end = perf_counter() + SHARE_S
        return go_on(tx, site, now_ms, SHARE, lambda: perf_counter() >= end)

    return await store.write(judged)


async def rejudge(store: Store, site: Callable[[], Site], clock: WallClock, wake: Callable[[], None]) -> None:
    """Until cancelled. wake: the lines look for commands, after each share."""
    waited_s = 0.0
    while True:
        try:
            if waited_s >= ROUND_S:
                await store.write(ask)
                waited_s = 0.0
            if await store.read(under_way):
                while await share(store, site(), clock.now_ms()):
                    wake()
                    await asyncio.sleep(PAUSE_S)
                wake()
        except Unavailable as failed:
            log.error("credit_waits", text=str(failed))
        await asyncio.sleep(LOOK_S)
        waited_s += LOOK_S
