"""Transfers come back in their time; months are closed one a minute, across restarts, and never over a broken journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.credit import CreditState
from gateway.domain.events import EventKind
from gateway.domain.records import Closing
from gateway.domain.slots import DAY_MS
from gateway.domain.transfers import Transfer
from gateway.entrypoints.ledger_loop import LOOK_S, PAUSE_S, PIECE, UNSOUND_S, close_months, expire_transfers
from gateway.services import transfer
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from gateway.services.transfer import EXPIRED_AT_ONCE
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.services.house import House, local
from tests.gateway.services.memory_tx import MemoryStore, MemoryTx
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time

T = TypeVar("T")
AFTER_DAYS = 40
MONTHS = ("2025-06", "2025-07", "2025-09", "2025-10")
EACH = 2 * PIECE + 7
"""Entries of a month: three pieces."""


class Counting:
    """A store that counts what is asked of it, and lets somebody in before each read."""

    def __init__(self, store: Store | MemoryStore) -> None:
        self.store, self.reads, self.writes = store, 0, 0
        self.before_read: Callable[[], object] = lambda: None

    async def read(self, query: Callable[[Tx], T]) -> T:
        self.reads += 1
        self.before_read()
        return await self.store.read(query)

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        self.writes += 1
        return await self.store.write(usecase)


@contextmanager
def running(work: Coroutine[Any, Any, None]) -> Iterator[None]:
    task = asyncio.create_task(work)
    yield
    assert not task.done(), task
    task.cancel()


def give(tx: Tx, at_ms: int) -> None:
    post_entry(tx, ledger.adjustment("A-1", "CNY", 1, at_ms, {"by": "test", "reason": "a month's money"}))


def settle(house: House) -> None:
    """Four months with entries, none in August, and some of this year."""

    def months(tx: Tx) -> None:
        for month in MONTHS:
            for n in range(EACH):
                give(tx, local(f"{month}-02 00:00") + n)

    house.now_ms = local("2025-06-01 00:00")
    house.settle(balance="10")
    house.do(months)


def closings(house: House) -> list[Closing]:
    return house.do(lambda tx: [*tx.closings()])


def unsound(house: House) -> list[str]:
    events = house.do(lambda tx: [stored.event for stored in tx.events(100)])
    return [str(event.data["text"]) for event in events if event.kind is EventKind.LEDGER_UNSOUND]


def closer(house: House, store: Counting, clock: VirtualClock) -> Coroutine[Any, Any, None]:
    return close_months(store, lambda: AFTER_DAYS, lambda: house.site, clock)


@in_virtual_time
async def test_months_are_closed_one_a_minute_and_the_last_when_its_time_comes() -> None:
    house, clock = House(MemoryStore()), VirtualClock(local("2025-12-10 12:00"))
    settle(house)
    assert isinstance(house.store, MemoryStore)
    store = Counting(house.store)
    store.before_read = lambda: house.do(lambda tx: give(tx, clock.now_ms()))  # payments go on between the pieces
    ends = [1 + EACH * n for n in range(1, 5)]
    with running(closer(house, store, clock)):
        for count in (1, 2, 3, 3, 3):
            await asyncio.sleep(0.9 * LOOK_S)
            assert [closing.upto for closing in closings(house)] == ends[:count]
            await asyncio.sleep(0.1 * LOOK_S)
        clock.set(local("2025-12-11 00:00"))  # October is over for forty days
        await asyncio.sleep(LOOK_S + 1)
        assert [closing.upto for closing in closings(house)][:4] == ends
        writes = store.writes
        await asyncio.sleep(10 * LOOK_S)
        assert store.writes == writes == 4, "looking writes nothing"
    number, finding = house.do(verify_ledger)
    assert finding is None and house.do(lambda tx: verify_ledger(tx, from_closing=True)) == (number, None)
    assert unsound(house) == []


@in_virtual_time
async def test_an_idle_ledger_is_not_closed_again_for_its_own_closings() -> None:
    house, clock = House(MemoryStore()), VirtualClock(local("2025-12-31 00:00"))
    assert isinstance(house.store, MemoryStore)
    store = Counting(house.store)
    with running(closer(house, store, clock)):
        await asyncio.sleep(5 * LOOK_S)
        assert closings(house) == [], "there is no journal"
        settle(house)
        await asyncio.sleep(5 * LOOK_S)
        clock.set(local("2027-12-31 00:00"))
        await asyncio.sleep(10 * LOOK_S)
        assert len(closings(house)) == 4
        house.do(lambda tx: give(tx, clock.now_ms()))
        clock.set(local("2028-12-31 00:00"))
        await asyncio.sleep(3 * LOOK_S)
        assert len(closings(house)) == 5


def in_folder(work: Callable[[House, Store], Coroutine[Any, Any, None]], path: Path) -> None:
    """One life of a gateway on this file, in virtual time."""

    @in_virtual_time
    async def life() -> None:
        with closing(Store.open(str(path), inline=True)) as store:
            await work(House(store), store)

    life()


def test_a_restart_in_the_middle_begins_the_month_again(tmp_path: Path) -> None:
    now_ms = local("2025-12-31 00:00")

    async def interrupted(house: House, store: Store) -> None:
        settle(house)
        counting = Counting(store)
        with running(closer(house, counting, VirtualClock(now_ms))):
            await asyncio.sleep(LOOK_S + 5.5 * PAUSE_S)
        reads_of_a_month = 2 + 3
        assert (len(closings(house)), counting.reads) == (1, 2 * reads_of_a_month - 1), "the second month lacked a piece"

    async def finished(house: House, store: Store) -> None:
        with running(closer(house, Counting(store), VirtualClock(now_ms))):
            await asyncio.sleep(5 * LOOK_S)
        assert [each.upto for each in closings(house)] == [1 + EACH * n for n in range(1, 5)]
        assert house.do(verify_ledger)[1] is None

    in_folder(interrupted, tmp_path / "wattgate.db")
    in_folder(finished, tmp_path / "wattgate.db")


@in_virtual_time
async def test_a_broken_journal_is_told_once_and_not_closed_and_the_gateway_runs_on() -> None:
    house, clock = House(MemoryStore()), VirtualClock(local("2025-12-31 00:00"))
    settle(house)
    assert isinstance(house.store, MemoryStore)
    journal, bad = house.store.tx.journal, 1 + EACH + EACH // 2
    sound = journal[bad - 1]
    journal[bad - 1] = replace(sound, entry=replace(sound.entry, at_ms=sound.entry.at_ms + 1))
    store = Counting(house.store)
    for _ in range(2):  # also not by the next start
        with running(closer(house, store, clock)):
            await asyncio.sleep(3 * LOOK_S)
            reads = store.reads
            await asyncio.sleep(UNSOUND_S - 4 * LOOK_S)
            assert store.reads == reads, "it is not audited again and again"
            await asyncio.sleep(6 * LOOK_S)
            assert store.reads > reads
        assert len(closings(house)) == 1
        assert unsound(house) == [f"entry {bad} was changed: its hash does not match its content"]
    journal[bad - 1] = sound
    with running(closer(house, store, clock)):
        await asyncio.sleep(5 * LOOK_S)
    assert len(closings(house)) == 4


@in_virtual_time
async def test_entries_that_cannot_be_read_are_no_end_of_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    house, clock = House(MemoryStore()), VirtualClock(local("2025-12-31 00:00"))
    settle(house)
    assert isinstance(house.store, MemoryStore)
    read = MemoryTx.journal_rows
    monkeypatch.setattr(MemoryTx, "journal_rows", lambda tx, after, limit: read(tx, after, min(limit, max(0, EACH - after))))
    with running(closer(house, Counting(house.store), clock)):
        await asyncio.sleep(3 * LOOK_S)
    assert closings(house) == []
    assert unsound(house) == [f"the journal stops at entry {EACH}, but entry {EACH + 1} was posted"]


def held(n: int, due_ms: int | None, micro: int = 100) -> Transfer:
    return Transfer(f"T-{n}", "A-1", "CNY", micro, "customer:A-1", "undelivered:A-1", 0, due_ms)


@in_virtual_time
async def test_transfers_come_back_when_they_are_due_and_supply_with_them() -> None:
    house, clock = House(MemoryStore()), VirtualClock(local("2026-11-24 10:00"))
    house.settle(balance="10").block()
    assert isinstance(house.store, MemoryStore)
    store = Counting(house.store)
    with running(expire_transfers(store, lambda: house.site, clock)):
        await asyncio.sleep(10 * LOOK_S)
        assert (store.reads, store.writes) == (10, 0)
        due_ms = clock.now_ms() + 90_000
        for n in range(2 * EXPIRED_AT_ONCE + 1):
            house.do(lambda tx, n=n: transfer.begin(tx, held(n, due_ms)))  # type: ignore[misc]
        house.do(lambda tx: transfer.begin(tx, held(-1, None)))
        house.do(lambda tx: transfer.begin(tx, held(-2, due_ms + DAY_MS, tx.balance("customer:A-1", "CNY"))))
        house.now_ms = clock.now_ms()
        house.change(holder="Li Wei")
        assert house.account().credit is CreditState.EXHAUSTED
        await asyncio.sleep(LOOK_S)
        assert store.writes == 0
        await asyncio.sleep(LOOK_S + 1)
        assert store.writes == 3
        assert house.do(lambda tx: tx.balance("customer:A-1", "CNY")) == 100 * (2 * EXPIRED_AT_ONCE + 1)
        assert house.account().credit is not CreditState.EXHAUSTED
    assert house.do(verify_ledger)[1] is None
