"""The slow loop opens what comes due, tidies once an hour, and leaves the store alone when there is nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from gateway.adapters.timetable import next_fire
from gateway.domain.jobs import Want
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.price_list import Fee, FeeBasis
from gateway.domain.readings import Item, Quality, Reading, Source
from gateway.domain.schemes import Scheme
from gateway.domain.slots import DAY_MS, HOUR_MS
from gateway.entrypoints.upkeep_loop import LOOK_S, ROUND_S, keep_up, tidy
from gateway.services.ports import Site, Tx
from gateway.services.retention import THINNED_AT_ONCE, Keep
from tests.gateway.services import house
from tests.gateway.services.house import FLAT, account
from tests.gateway.services.memory_tx import MemoryStore
from tests.simulation.virtual_loop import START_MS, VirtualClock, in_virtual_time

T = TypeVar("T")
SITE = Site("g", "Asia/Shanghai", clock_trusted=True)
CURVE = Scheme("curve", Want.CURVE, "10 * * * *", HOUR_MS, 900_000, 1, 1, 9_900, {"m1": Source.CURVE})


class CountingStore(MemoryStore):
    """Counts its transactions that write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.tx.save_price_list(FLAT)
        self.tx.save_account(account())
        self.tx.save_meter(house.meter("m1"))

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        self.writes += 1
        return await super().write(usecase)


@in_virtual_time
async def test_slots_are_opened_within_a_look_of_their_time() -> None:
    store, clock = CountingStore(), VirtualClock()
    store.tx.save_scheme(CURVE)
    task = asyncio.create_task(keep_up(store, next_fire, Keep, lambda: SITE, clock))
    await asyncio.sleep(600 + LOOK_S)
    opened, writes = len(store.tx.kept_slots), store.writes
    assert max(at_ms for _, _, at_ms in store.tx.kept_slots) == START_MS
    await asyncio.sleep(3_000 - 2 * LOOK_S)
    assert (len(store.tx.kept_slots), store.writes) == (opened, writes), "a write would wake every line"
    await asyncio.sleep(600 + 3 * LOOK_S)
    assert len(store.tx.kept_slots) == opened + 4
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@in_virtual_time
async def test_fees_are_booked_at_midnight_and_nothing_is_written_until_then() -> None:
    store, clock = CountingStore(), VirtualClock()
    daily = replace(FLAT.versions[0], fees=(Fee("standing", FeeBasis.DAY, 500_000),))
    store.tx.save_price_list(replace(FLAT, versions=(daily,)))
    task = asyncio.create_task(keep_up(store, next_fire, Keep, lambda: SITE, clock))
    await asyncio.sleep(LOOK_S)
    begun = store.tx.kept_accruals["A-1"].until_ms
    assert begun <= START_MS < begun + DAY_MS
    for days in (1, 2):
        await asyncio.sleep((begun + days * DAY_MS - clock.now_ms()) / 1000 - LOOK_S)
        assert len(store.tx.journal) == days - 1
        await asyncio.sleep(2 * LOOK_S)
        assert len(store.tx.journal) == days
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@in_virtual_time
async def test_a_round_thins_everything_in_shares_and_ends() -> None:
    store, clock = CountingStore(), VirtualClock()
    many = 2 * THINNED_AT_ONCE + 10
    for n in range(many):
        old_ms = START_MS - 500 * DAY_MS + n
        store.tx.add_reading(Reading("m1", (Item("power", None, "kW"),), old_ms, old_ms), "p", Quality.SINGLE, old_ms)
    await tidy(store, Keep(), SITE, clock)
    assert not store.tx.kept_readings
    before = store.writes
    await tidy(store, Keep(), SITE, clock)
    assert store.writes - before == 2, "judging the days, and a look at the messages"
    assert ROUND_S > LOOK_S


@in_virtual_time
async def test_a_calendar_that_ends_soon_is_found_without_being_asked() -> None:
    store, clock = CountingStore(), VirtualClock()
    store.tx.save_no_cut_calendar(NoCutCalendar("cn", "Asia/Shanghai", (), (), "2026-03-03"))
    upkeep = asyncio.create_task(keep_up(store, next_fire, lambda: Keep(396, 7, 90), lambda: SITE, clock))
    await asyncio.sleep(60)
    assert store.tx.findings() == [], "61 days before its end"
    clock.set(START_MS + DAY_MS)
    await asyncio.sleep(60)
    assert [finding.kind for finding in store.tx.findings()] == ["calendar_ending"]
    clock.set(START_MS + 62 * DAY_MS)
    await asyncio.sleep(60)
    assert [finding.kind for finding in store.tx.findings()] == ["calendar_ended"]
    upkeep.cancel()
    with suppress(asyncio.CancelledError):
        await upkeep
