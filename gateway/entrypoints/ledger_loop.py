"""What time does to the ledger: transfers that are due come back, months that are long over are closed, in pieces so small that
no payment waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from gateway.services.close_period import CannotClose, begin_balance, close_period, go_on, month_to_close, tell_finding
from gateway.services.ports import Site, Tx
from gateway.services.transfer import EXPIRED_AT_ONCE, expire_and_judge

T = TypeVar("T")

LOOK_S = 60.0
"""Between two looks for what is due, and after a closing: a long journal is closed at a month a minute."""

PIECE = 100
"""Entries audited at once: 2 to 4 ms in which the writer waits for Python's lock, 20 ms on the slowest board."""

PAUSE_S = 0.05
"""Between two pieces, nine tenths of the time: a month of a million entries takes ten minutes, and nobody waits for it."""

UNSOUND_S = 86_400.0
"""Before a journal that was found broken is looked at again: who mends it restarts the gateway anyway."""


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


async def expire_transfers(store: Store, site: Callable[[], Site], clock: WallClock) -> None:
    """Void what is pending beyond its time, until cancelled. Raises Unavailable when the store is."""
    while True:
        now_ms = clock.now_ms()
        more = bool(await store.read(lambda tx, now_ms=now_ms: tx.due_transfers(now_ms, 1)))  # type: ignore[misc]
        while more:
            voided = await store.write(lambda tx, now_ms=now_ms: expire_and_judge(tx, site(), now_ms))  # type: ignore[misc]
            more = voided == EXPIRED_AT_ONCE
            await asyncio.sleep(PAUSE_S)
        await asyncio.sleep(LOOK_S)


async def close_months(store: Store, after_days: Callable[[], int], site: Callable[[], Site], clock: WallClock) -> None:
    """Close what is over, oldest month first, until cancelled. Raises Unavailable when the store is.

    A journal that is broken is told once and not closed. Nothing is kept of a closing that was interrupted: it begins again.
    """
    while True:
        now_ms, zone, days = clock.now_ms(), site().zone, after_days()
        end_ms = await store.read(lambda tx, at=(zone, days, now_ms): month_to_close(tx, *at))  # type: ignore[misc]
        sound = end_ms is None or await close_month(store, end_ms, clock)
        await asyncio.sleep(LOOK_S if sound else UNSOUND_S)


async def close_month(store: Store, end_ms: int, clock: WallClock) -> bool:
    """Audit what no closing covers up to this moment, and close it; False where the journal is broken."""
    try:
        work = await store.read(lambda tx: begin_balance(tx, end_ms))
        balanced = None
        while work is not None and balanced is None:
            await asyncio.sleep(PAUSE_S)
            balanced = await store.read(lambda tx: go_on(tx, work, PIECE))
        if balanced is not None:
            await store.write(lambda tx: close_period(tx, balanced, clock.now_ms()))
    except CannotClose as unsound:
        finding = str(unsound)
        await store.write(lambda tx: tell_finding(tx, finding, clock.now_ms()))
        return False
    return True
