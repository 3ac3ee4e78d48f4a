"""Clock and ways to pay in virtual time: heartbeats age, what was heard outlives the process, and findings begin and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from gateway.domain.findings import FindingKind
from gateway.domain.paths import HEARTBEAT_LIMIT_MS, PathKind, PathsSeen, PathTerms, PathVerdict, judge
from gateway.domain.trusted_time import SETTLE_MS, Evidence, Look, TimeSource, TimeTerms, TimeVerdict, at
from gateway.domain.trusted_time import judge as judge_time
from gateway.entrypoints.trust_loop import LOOK_S, remember, watch
from gateway.services import paths
from gateway.services.ports import Tx, Unavailable
from tests.gateway.services.memory_tx import MemoryStore
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time

T = TypeVar("T")
BANK, CENTRE = PathKind.BANK, PathKind.CENTRE
NO_PATH, NO_CLOCK = FindingKind.NO_TOPUP_PATH, FindingKind.CLOCK_NOT_TRUSTED
LIMIT_S = HEARTBEAT_LIMIT_MS // 1000
BEATING = PathTerms((BANK,), heartbeat=True)
NOON = datetime(2026, 1, 1, 12, 0)


class Counting:
    """The store, how often it was written, and whether it can be now."""

    def __init__(self) -> None:
        self.store, self.writes, self.broken = MemoryStore(), 0, False

    async def read(self, query: Callable[[Tx], T]) -> T:
        if self.broken:
            raise Unavailable("the disk is full")
        return await self.store.read(query)

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        self.writes += 1
        return await self.store.write(usecase)

    def stands(self, kind: FindingKind) -> bool:
        return self.store.read_now(lambda tx: tx.finding(kind, "gateway")) is not None


@dataclass
class Machine:
    """A gateway's memory on a machine whose clocks are the loop's. listening: the bank's listener takes calls."""

    store: Counting
    clock: VirtualClock
    terms: PathTerms = BEATING
    listening: bool = True
    evidence: Evidence = field(default_factory=Evidence)
    heard: dict[PathKind, int] = field(default_factory=dict)
    fresh: set[PathKind] = field(default_factory=set)

    def time_terms(self) -> TimeTerms:
        return TimeTerms((TimeSource.NTP,))

    def look(self) -> Look:
        return Look(self.clock.now_ms(), round(self.clock.monotonic() * 1000), "boot-1", synchronised=True)

    def paths(self) -> PathVerdict:
        seen = PathsSeen({BANK} if self.listening else (), self.heard)
        return judge(self.terms, seen, self.clock.now_ms(), NOON)

    def time(self) -> TimeVerdict:
        look = self.look()
        return judge_time(self.time_terms(), at(self.evidence, look), look)

    def call(self) -> None:
        self.heard[BANK] = self.clock.now_ms()
        self.fresh.add(BANK)

    @contextmanager
    def running(self) -> Iterator[None]:
        task = asyncio.create_task(watch(self.store, self, self.clock))
        yield
        assert not task.done(), task
        task.cancel()

    def again(self) -> Machine:
        """The process after this one, as it begins."""
        other = Machine(self.store, self.clock, self.terms)
        self.store.store.read_now(lambda tx: remember(tx, other))
        return other


@in_virtual_time
async def test_a_bank_that_calls_is_there_and_one_that_falls_silent_is_not() -> None:
    machine = Machine(Counting(), VirtualClock())
    with machine.running():
        await asyncio.sleep(2 * LOOK_S)
        assert not machine.paths().alive and machine.store.stands(NO_PATH), "it was never heard"
        for _ in range(60):
            machine.call()
            await asyncio.sleep(30)
        assert machine.paths().alive and not machine.store.stands(NO_PATH)
        await asyncio.sleep(LIMIT_S - 61)
        assert machine.paths().alive
        await asyncio.sleep(61)
        assert not machine.paths().alive
        await asyncio.sleep(LOOK_S)
        assert machine.store.stands(NO_PATH)
        machine.call()
        assert machine.paths().alive, "at once, from memory"
        await asyncio.sleep(LOOK_S)
        assert not machine.store.stands(NO_PATH)


@in_virtual_time
async def test_a_busy_bank_costs_one_write_a_minute_and_an_idle_one_none() -> None:
    machine = Machine(Counting(), VirtualClock(), PathTerms())
    with machine.running():
        await asyncio.sleep(60)
        before = machine.store.writes
        for _ in range(600):
            machine.call()
            await asyncio.sleep(1)
        assert 9 <= machine.store.writes - before <= 11
        before = machine.store.writes
        await asyncio.sleep(6 * 3600)
        assert machine.store.writes == before and machine.paths().alive, "where no heartbeat is configured, silence is no sign"


@in_virtual_time
async def test_a_heartbeat_outlives_the_process_by_what_is_left_of_it() -> None:
    machine = Machine(Counting(), VirtualClock())
    with machine.running():
        machine.call()
        await asyncio.sleep(2 * LOOK_S)
    machine = machine.again()
    assert machine.paths().alive
    await asyncio.sleep(LIMIT_S - 11)
    assert machine.paths().alive
    await asyncio.sleep(2)
    assert not machine.paths().alive and not machine.again().paths().alive


@in_virtual_time
async def test_the_centre_is_heard_by_its_messages_in_the_store() -> None:
    machine = Machine(Counting(), VirtualClock(), PathTerms((CENTRE,)))
    with machine.running():
        await asyncio.sleep(2 * LOOK_S)
        assert not machine.paths().alive
        machine.store.store.write_now(lambda tx: paths.heard(tx, CENTRE, machine.clock.now_ms()))
        await asyncio.sleep(LOOK_S)
        assert machine.paths().alive
        await asyncio.sleep(LIMIT_S)
        assert not machine.paths().alive


@in_virtual_time
async def test_a_clock_that_is_set_back_does_not_prolong_a_heartbeat() -> None:
    machine = Machine(Counting(), VirtualClock())
    with machine.running():
        machine.call()
        await asyncio.sleep(2 * LOOK_S)
        machine.clock.set(machine.clock.now_ms() - 86_400_000)
        assert not machine.paths().alive
        await asyncio.sleep(2 * LOOK_S)
        assert not machine.paths().alive
        machine.call()
        await asyncio.sleep(2 * LOOK_S)
        assert machine.paths().alive and machine.again().paths().alive


@in_virtual_time
async def test_a_listener_that_is_shut_is_no_path_whoever_called() -> None:
    machine = Machine(Counting(), VirtualClock())
    with machine.running():
        machine.call()
        machine.listening = False
        await asyncio.sleep(2 * LOOK_S)
        assert not machine.paths().alive and machine.store.stands(NO_PATH)


@in_virtual_time
async def test_a_jump_is_seen_at_once_and_trust_comes_back() -> None:
    machine = Machine(Counting(), VirtualClock())
    with machine.running():
        await asyncio.sleep(3600)
        assert machine.time().trusted and not machine.store.stands(NO_CLOCK)
        machine.clock.set(machine.clock.now_ms() + 86_400_000)
        assert not machine.time().trusted, "before the loop has looked"
        await asyncio.sleep(LOOK_S)
        assert machine.store.stands(NO_CLOCK) and not machine.again().time().trusted
        await asyncio.sleep(SETTLE_MS / 1000 + LOOK_S)
        assert machine.time().trusted and not machine.store.stands(NO_CLOCK)


@in_virtual_time
async def test_what_was_heard_while_the_store_was_away_is_kept_when_it_is_back() -> None:
    machine = Machine(Counting(), VirtualClock())
    with machine.running():
        await asyncio.sleep(2 * LOOK_S)
        machine.store.broken = True
        machine.call()
        await asyncio.sleep(60)
        assert machine.paths().alive
        machine.store.broken = False
        await asyncio.sleep(2 * LOOK_S)
    assert machine.again().paths().alive
