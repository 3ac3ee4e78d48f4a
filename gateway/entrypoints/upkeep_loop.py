"""Opens slots as time passes, tells what is missing, and forgets what is old: a little at a time, so that nothing waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from gateway.domain.slots import day_of
from gateway.services.accrue_fees import accrue_fees, fees_due
from gateway.services.collect import miss_live
from gateway.services.completeness import forget_days, judge_days
from gateway.services.open_slots import NextFire, open_slots, something_due
from gateway.services.ports import Site, Tx
from gateway.services.retention import Keep, forget_messages, forget_slots, something_old, thin
from gateway.services.watch_calendars import calendars_due, watch_calendars

T = TypeVar("T")

LOOK_S = 10.0
"""Between two looks at the clock: what is due at a minute is asked for within that minute."""

ROUND_S = 3600.0
"""Between two rounds through all that may be old."""

BREATH_S = 0.2
"""Between two shares of a round: the store's writer is there for payments."""

OPENED_AT_ONCE = 1000
"""Moments opened in one look: three days of every hour for some schemes. More waits for the next look."""

MISSED_AT_ONCE = 500
"""Live readings that did not come, settled in one look; more wait for the next."""


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


async def keep_up(store: Store, next_fire: NextFire, keep: Callable[[], Keep], site: Callable[[], Site], clock: WallClock) -> None:
    """Until cancelled. Raises Unavailable when the store is; whoever runs this starts it again.

    The first round waits for its time too: what was missed while nobody was there may be had by then.
    """
    loop = asyncio.get_running_loop()
    round_at, day = loop.time() + ROUND_S, ""
    while True:
        await open_due(store, next_fire, site(), clock)
        today = day_of(clock.now_ms(), ZoneInfo(site().zone))
        if today != day or loop.time() >= round_at:
            await book_fees(store, site(), clock)
            await look_at_calendars(store, clock)
            day = today
        if loop.time() >= round_at:
            await tidy(store, keep(), site(), clock)
            round_at = loop.time() + ROUND_S
        await asyncio.sleep(LOOK_S)


async def open_due(store: Store, next_fire: NextFire, site: Site, clock: WallClock) -> None:
    """Open what has come due and give up what only that time could bring."""
    now_ms = clock.now_ms()
    if not await store.read(lambda tx: something_due(tx, next_fire, site, now_ms)):
        return  # a write would make every line look for work
    for _ in range(OPENED_AT_ONCE):
        if not await store.write(lambda tx: open_slots(tx, next_fire, site, now_ms)):
            break
    await store.write(lambda tx: miss_live(tx, site, now_ms, MISSED_AT_ONCE))


async def book_fees(store: Store, site: Site, clock: WallClock) -> None:
    """What time has brought each account since it was last looked at: at the start, at every local midnight, and every round, for
    tariffs of another zone and accounts that are new."""
    now_ms = clock.now_ms()
    due = await store.read(lambda tx: [account.id for account in tx.accounts() if fees_due(tx, account.id, now_ms)])
    for account in due:
        more = True
        while more:
            more = await store.write(lambda tx, account=account: accrue_fees(tx, account, site, now_ms))  # type: ignore[misc]
            await asyncio.sleep(BREATH_S if more else 0)


async def look_at_calendars(store: Store, clock: WallClock) -> None:
    """Whether one ends soon, or has."""
    now_ms = clock.now_ms()
    if await store.read(lambda tx: calendars_due(tx, now_ms)):
        await store.write(lambda tx: watch_calendars(tx, now_ms))


async def tidy(store: Store, keep: Keep, site: Site, clock: WallClock) -> None:
    """One round: days judged, then meter by meter and message by message what is old."""
    now_ms = clock.now_ms()
    await store.write(lambda tx: (judge_days(tx, site, now_ms), forget_days(tx, site, now_ms)))
    meters = deque(await store.read(lambda tx: [meter.id for meter in tx.meters()]))
    while meters:
        meter = meters[0]
        if not await store.read(lambda tx, meter=meter: something_old(tx, meter, keep, now_ms)):  # type: ignore[misc]
            meters.popleft()
        elif not await store.write(lambda tx, meter=meter: _share(tx, meter, keep, site, now_ms)):  # type: ignore[misc]
            meters.popleft()  # what is left of it waits for something else
        await asyncio.sleep(BREATH_S)
    more = True
    while more:
        more = bool(await store.write(lambda tx: forget_messages(tx, keep, now_ms)))
        await asyncio.sleep(BREATH_S)


def _share(tx: Tx, meter: str, keep: Keep, site: Site, now_ms: int) -> int:
    """What was forgotten of one meter."""
    return thin(tx, meter, keep, site, now_ms) + forget_slots(tx, meter, site, now_ms)
