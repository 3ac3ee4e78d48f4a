"""Orders what meters are to show, and takes it back: alarms of the ladder, protection in the meter and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import structlog

from gateway.services.keep_signs import due_signs, keep_sign
from gateway.services.ports import Site, Tx, Unavailable

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOOK_S = 2.0
"""Between two looks: a meter's answer takes longer."""


class Store(Protocol):
    """The store, as much of it as the loop needs."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


async def watch(store: Store, site: Callable[[], Site], clock: WallClock, wake: Callable[[], None]) -> None:
    """Until cancelled. wake: lines look for what was ordered."""
    while True:
        try:
            if await look(store, site(), clock.now_ms()):
                wake()
        except Unavailable as failed:
            log.error("signs_wait", text=str(failed))
        await asyncio.sleep(LOOK_S)


async def look(store: Store, site: Site, now_ms: int) -> int:
    """How many were due. Each is a use case of its own, so that one that fails stops no other; the store commits them together."""
    due = await store.read(lambda tx: due_signs(tx, site, now_ms))
    done = [store.write(partial(keep_sign, sign=sign, meter_id=meter, site=site, now_ms=now_ms)) for sign, meter in due]
    for (sign, meter), result in zip(due, await asyncio.gather(*done, return_exceptions=True), strict=True):
        if isinstance(result, Unavailable):
            raise result
        if isinstance(result, Exception):
            log.error("sign_error", sign=sign.value, meter=meter, exc_info=result)
    return len(due)
