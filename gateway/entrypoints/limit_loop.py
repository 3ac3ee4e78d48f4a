"""Gives supply back where a load limiter's pause has run out, and keeps what plans switch off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog

from gateway.services.ports import Essential, Site, Tx, Unavailable
from gateway.services.watch_limits import prime_limits, put_off_limit, watch_limit

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""Pauses are counted in seconds, so looking more often would change nothing that a household sees."""

PRIME_S = 3600.0
"""How often all limits are looked through, besides at the start and when the clock was set back: for what a change of the
configuration or of a calendar moved. Ten thousand accounts take a few seconds, in steps between which payments go first."""

PRIME_STEP = 50
"""Accounts in one transaction of that."""

BACK_MS = 2_000
"""A clock that was set back by less lengthens a pause by no more than that."""

MOST_DUE = 32
"""Accounts that are looked at in one go; a payment waits behind them for some 20 ms."""


class Store(Protocol):
    """The store, as much of it as the loop needs."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


async def watch(store: Store, site: Callable[[], Site], clock: WallClock) -> None:
    """Until cancelled."""
    loop, seen_ms, prime_s = asyncio.get_running_loop(), 0, float("-inf")
    while True:
        now_ms = clock.now_ms()
        try:
            if loop.time() >= prime_s or now_ms < seen_ms - BACK_MS:
                await _prime(store, now_ms)
                prime_s = loop.time() + PRIME_S
            while await _step(store, site(), now_ms) == MOST_DUE:
                log.info("limits_due", text="more accounts are due than are looked at in one go")
            seen_ms = now_ms
        except Unavailable as failed:
            log.error("limits_wait", text=str(failed))
        await asyncio.sleep(LOOK_S)


async def _prime(store: Store, now_ms: int) -> None:
    after: str | None = ""
    while after is not None:
        after = await store.write(lambda tx, after=after: prime_limits(tx, after, PRIME_STEP, now_ms))  # type: ignore[misc]


async def _step(store: Store, site: Site, now_ms: int) -> int:
    """How many were due. Each is a use case of its own, so that one that fails stops no other; the store commits them together."""
    due = await store.read(lambda tx: tx.limits_due(now_ms, MOST_DUE))
    done = [store.write(Essential(lambda tx, who=who: watch_limit(tx, who, site, now_ms))) for who in due]  # type: ignore[misc]
    for who, result in zip(due, await asyncio.gather(*done, return_exceptions=True), strict=True):
        if isinstance(result, Unavailable):
            raise result
        if isinstance(result, Exception):
            log.error("limit_error", account=who, exc_info=result)
            await store.write(lambda tx, who=who: put_off_limit(tx, who, now_ms))  # type: ignore[misc]
    return len(due)
