"""What comes down is written down: commands for certain, noise within bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar, cast

import pytest

from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.uplink_keys import Why
from gateway.entrypoints import downlink
from gateway.entrypoints.downlink import MOST_NOISE, NOISE_MS, Downlink
from gateway.entrypoints.outbox_loop import OutboxLoop
from gateway.services.ports import Site, Tx, Unavailable
from tests.gateway.services.memory_tx import MemoryTx

T = TypeVar("T")
SITE = Site("G1", "Asia/Shanghai", clock_trusted=True)
GONE = IncomingCommand("c-1", "G2", "stop", None, None, None, 0, None, "", 1)


class Store:
    """In memory; fails as often as it is told to."""

    def __init__(self) -> None:
        self.tx, self.fails = MemoryTx(), 0

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        if self.fails:
            self.fails -= 1
            raise Unavailable("not now")
        return usecase(self.tx)

    async def read(self, query: Callable[[Tx], T]) -> T:
        return query(self.tx)


class Clock:
    ms = 10**12

    def now_ms(self) -> int:
        return self.ms


async def test_a_flood_of_noise_is_counted_and_a_little_of_it_recorded() -> None:
    store, clock, counted = Store(), Clock(), Counter[str | None]()
    down = Downlink(store, cast(OutboxLoop, None), clock, lambda: SITE, count=lambda verb, why: counted.update([why]))
    for _ in range(10 * MOST_NOISE):
        await down.on_unreadable(UnreadableCommand("this is not signed", None, Why.UNSIGNED))
    assert counted == {Why.UNSIGNED: 10 * MOST_NOISE} and len(store.tx.kept_events) == MOST_NOISE
    await down.on_unreadable(UnreadableCommand("this command is wrong", "c-1"))  # signed well, and named
    assert len(store.tx.kept_events) == MOST_NOISE + 1
    assert f"{9 * MOST_NOISE} more messages" in str(store.tx.kept_events[-1].event.data["reason"])
    clock.ms += NOISE_MS
    await down.on_unreadable(UnreadableCommand("this is not signed", None, Why.UNSIGNED))
    assert len(store.tx.kept_events) == MOST_NOISE + 2


async def test_a_command_that_cannot_be_written_stays_with_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downlink, "PAUSE_S", 0.0)
    store, counted = Store(), Counter[str | None]()
    down = Downlink(store, cast(OutboxLoop, None), Clock(), lambda: SITE, count=lambda verb, why: counted.update([why]))
    store.fails = 100
    with pytest.raises(ConnectionError, match="could not be written down"):
        await down.on_command(GONE)
    assert not counted
    store.fails = 2
    await down.on_command(GONE)
    assert counted == {Why.FOREIGN: 1} and store.tx.uplink_order("c-1") is not None
