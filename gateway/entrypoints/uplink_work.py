"""Orders of the centre that take more than one transaction, done from what is kept: a crash loses none and does none twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import structlog

from gateway.domain.uplink_orders import UplinkOrder
from gateway.services.ports import Site, Tx, Unavailable
from gateway.services.receive_command import BROKEN
from gateway.services.uplink_answers import QUEUED
from gateway.services.uplink_due import again_of, clock_of, expire_due, reading_of
from gateway.services.uplink_line import wish_clock
from gateway.services.uplink_verbs import finish

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOOK_S = 0.5
"""Orders are few, and who gave one waits; without any open one a look costs one query."""

MOST = 100
"""Open orders looked at in one turn; the others have the next one."""


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class Clock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an order. refused: why not; waits: for a second person, asked for under the order's own id."""

    answer: Mapping[str, object] = field(default_factory=dict)
    refused: str | None = None
    waits: bool = False


class Hands(Protocol):
    """What changes the archive, and asks lines for readings."""

    async def do(self, order: UplinkOrder) -> Done:
        """Once under this id, however often it is asked. Raises Unavailable."""

    def ask(self, meter: str) -> bool:
        """Read this meter soon; False where no line has it."""

    def look_at_clocks(self) -> None:
        """Clocks are looked at soon."""


class UplinkWork:
    """Takes orders in hand until they are answered. asked: reads that a line knows of, lost by a restart and asked for again.
    failed: what an error of ours stopped once. closed: banks whose vouchers still wait, of this turn."""

    def __init__(self, store: Store, hands: Hands, site: Callable[[], Site], clock: Clock) -> None:
        self._store, self._hands, self._site, self._clock = store, hands, site, clock
        self._asked: set[str] = set()
        self._failed: set[str] = set()
        self._closed: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.turn()
            except Unavailable as failed:
                log.error("uplink_orders_wait", text=str(failed))
            await asyncio.sleep(LOOK_S)

    async def turn(self) -> None:
        """Every open order once."""
        orders = await self._store.read(lambda tx: tx.open_uplink_orders(MOST))
        now_ms = self._clock.now_ms()
        if any(order.expires_ms is not None and order.expires_ms <= now_ms for order in orders):
            await self._store.write(lambda tx: expire_due(tx, now_ms))
            orders = await self._store.read(lambda tx: tx.open_uplink_orders(MOST))
        self._closed.clear()
        for order in orders:
            if order.state == QUEUED.value:
                try:
                    await self._one(order, now_ms)
                except Unavailable:
                    raise
                except Exception:
                    log.exception(f"the order {order.id} ({order.verb}) met an error that we do not know")
                    await self._broken(order, now_ms)
        self._asked &= {order.id for order in orders}
        self._failed &= {order.id for order in orders}

    async def _broken(self, order: UplinkOrder, now_ms: int) -> None:
        """What an error of ours stops twice is refused; those after it are done all the same."""
        if order.id in self._failed:
            await self._store.write(lambda tx: finish(tx, order, now_ms, BROKEN, {}))
        self._failed.add(order.id)

    async def _one(self, order: UplinkOrder, now_ms: int) -> None:
        match order.verb:
            case "topup":
                await self._pay_in(order, now_ms)
            case "read":
                await self._read(order, now_ms)
            case "sync_time":
                await self._sync(order, now_ms)
            case _:
                done = await self._hands.do(order)
                await self._store.write(lambda tx: finish(tx, order, now_ms, done.refused, done.answer, waits=done.waits))

    async def _pay_in(self, order: UplinkOrder, now_ms: int) -> None:
        """One that still waits speaks for all of its bank in this turn: each try is a transaction."""
        bank = str(order.arguments.get("bank"))
        if bank not in self._closed and not await self._store.write(lambda tx: again_of(tx, order, self._site(), now_ms)):
            self._closed.add(bank)

    async def _read(self, order: UplinkOrder, now_ms: int) -> None:
        meter = str(order.meter)
        if order.id not in self._asked:
            self._asked.add(order.id)
            if not self._hands.ask(meter):
                await self._store.write(lambda tx: finish(tx, order, now_ms, f"no line reads meter {meter}", {}))
                return
        if await self._store.read(lambda tx: reading_of(tx, order)) is not None:
            await self._store.write(lambda tx: finish(tx, order, now_ms, None, {"items": reading_of(tx, order)}))

    async def _sync(self, order: UplinkOrder, now_ms: int) -> None:
        if order.id not in self._asked:
            self._asked.add(order.id)
            refused = await self._store.write(lambda tx: wish_clock(tx, str(order.meter), self._site()))
            if refused is not None:
                await self._store.write(lambda tx: finish(tx, order, now_ms, refused, {}))
                return
            self._hands.look_at_clocks()
        off_ms = await self._store.read(lambda tx: clock_of(tx, order))
        if off_ms is not None:
            await self._store.write(lambda tx: finish(tx, order, now_ms, None, {"offset_ms": off_ms}))
