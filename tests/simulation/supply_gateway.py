"""A gateway that may cut, in virtual time: everything between its file and the meters. It can be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TypeVar, cast
from unittest.mock import patch

from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.meter_links.dlt645_clock import ClockBroadcast
from gateway.adapters.store import MIB, Store, reserve
from gateway.bootstrap.archive import archive_of, site_of
from gateway.bootstrap.crew import Crew
from gateway.bootstrap.examine import examine, passwords_of
from gateway.bootstrap.lines import Before, BuiltLine, MeterLink, build_lines
from gateway.bootstrap.trust import Trust
from gateway.domain.events import Event, EventKind
from gateway.domain.meters import Account, Meter
from gateway.domain.paths import PathKind
from gateway.domain.requests import PaymentIdentity, SupplyOrder, TopUp
from gateway.domain.supply import Command, Verb
from gateway.domain.trusted_time import Look
from gateway.entrypoints import (
    credit_loop,
    cut_loop,
    disk_loop,
    limit_loop,
    line_loop,
    line_store,
    notice_loop,
    sign_loop,
    trust_loop,
)
from gateway.entrypoints.line_loop import LineLoop, Wake
from gateway.entrypoints.outbox_loop import Bounds, OutboxLoop
from gateway.services.apply_topup import apply_topup
from gateway.services.load_archive import load_archive
from gateway.services.order_supply import order_supply
from gateway.services.plan import LinePlan
from gateway.services.ports import Essential, Site, SupplyAnswer, TopUpVerdict, Tx
from gateway.services.run_command import recover
from gateway.settings import load
from tests.simulation.supply_line import Listened, Listening
from tests.simulation.supply_world import Plan, World, settings_text

T = TypeVar("T")
EVERY_LOOK = (limit_loop, line_loop, line_store, credit_loop, cut_loop, notice_loop, sign_loop, trust_loop)
DIES = 100
"""Cancellations after which a process is gone; one that cleans up swallows the first."""


@dataclass
class WorldTrust(Trust):
    """The process's own eyes, on the world's clocks."""

    world: World | None = None

    def look(self) -> Look:
        assert self.world is not None
        return Look(self.now_ms(), _steady_ms(), "boot", self.world.synchronised)


class WeakStore:
    """The store, until the process is dead: then nothing is written any more, and nobody is told."""

    def __init__(self, store: Store) -> None:
        self.store, self.dead = store, False
        self.after: Callable[[], None] = lambda: None

    @property
    def written(self) -> int:
        return self.store.written

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        if self.dead:
            await asyncio.Event().wait()
        result = await self.store.write(usecase)
        self.after()
        return result

    async def read(self, query: Callable[[Tx], T]) -> T:
        return await self.store.read(query)


class SupplyGateway:
    """heard: called when a meter has answered a job, with the meter and what it was asked for."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.plan, self._folder = plan, folder
        self.world = World(plan.houses)
        file = folder / "gateway.toml"
        file.write_text(settings_text(plan))
        passwords = folder / "passwords.toml"
        passwords.write_text('[control]\nlevel = 2\npassword = "000000"\n')
        passwords.chmod(0o600)
        self.settings = load(file)
        assert (errors := examine(self.settings, folder).errors) == [], errors
        self._passwords = passwords_of(self.settings, folder)
        self.heard: Listening = lambda meter, job, outcome: None
        self._tasks: list[asyncio.Task[None]] = []
        self._open = contextlib.ExitStack()
        self._serial = 0

    async def __aenter__(self) -> SupplyGateway:
        for module in EVERY_LOOK:
            self._open.enter_context(patch.object(module, "LOOK_S", self.plan.look_s))
        self._open.enter_context(patch.object(line_store, "PAST_LOOK_S", 600.0))
        self._open.enter_context(patch.object(reserve, "PAUSE_S", 0.0))
        self.world.broker.up()
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.die()
        self._open.close()

    # the process

    async def start(self) -> None:
        """The process comes up as it does in bootstrap/process."""
        self.store = _store(self._folder / "store.db")
        disk = self.store._reserve
        assert disk is not None
        room = disk._free
        disk._free = lambda: (0, None) if self.world.disk_full else room()  # type: ignore[method-assign]
        self.weak, self.wake, outbox_wake = WeakStore(self.store), Wake(), Wake()
        self.weak.after = outbox_wake.notify
        clock = cast(Clock, self.world.clock)
        self.trust = WorldTrust(lambda: self.settings, self.world.clock.now_ms, lambda: self.world.bank_listens, world=self.world)
        empty = self.settings.model_copy(update={"meter": []})
        bauds = {line.id: line.baud for line in self.settings.line}
        drivers = {id: Driver(tap, baud=bauds[id], clock=clock) for id, tap in self.world.taps.items()}
        before = Before(empty, {id: BuiltLine(id, driver, 0) for id, driver in drivers.items()})
        self.crew = Crew(build_lines(self.settings, self._passwords, clock, before), self._line_loop)
        for line in self.crew.lines.values():
            ears = {id(link): self._listened(name, link) for name, link in (*line.reads.items(), *line.switches.items())}
            line.reads = {name: ears[id(link)] for name, link in line.reads.items()}
            line.switches = {name: ears[id(link)] for name, link in line.switches.items()}
        self.store.read_now(lambda tx: trust_loop.remember(tx, self.trust))
        archive, site, now_ms = archive_of(self.settings, self._folder), self.site(), self.now_ms()

        def begin(tx: Tx) -> None:
            load_archive(tx, archive, site, now_ms)
            recover(tx, site, now_ms)

        self.store.write_now(begin)
        bounds = Bounds(idle_s=self.plan.look_s)
        outbox = OutboxLoop(self.weak, self.world.broker, outbox_wake.listener(), self.world.clock, by="broker", bounds=bounds)
        weak, told = self.weak, self.wake.notify
        work = [
            self.crew.run(), outbox.run(), self._bank(),
            credit_loop.rejudge(weak, self.site, clock, told),
            limit_loop.watch(weak, self.site, clock),
            cut_loop.watch(weak, self.site, clock, lambda why: None, told),
            notice_loop.deliver(weak, lambda: {"sms": self.world.phone}, self.site, clock),
            sign_loop.watch(weak, self.site, clock, told),
            disk_loop.watch(weak, self._look_at_disk, clock, self.plan.look_s),
            trust_loop.watch(weak, self.trust, clock),
        ]  # fmt: skip
        self._tasks = [asyncio.create_task(each) for each in work]

    async def die(self) -> None:
        """From now on this process does nothing, and writes nothing down."""
        self.weak.dead = True
        for _ in range(DIES):
            for task in self._tasks:
                task.cancel()
            await asyncio.sleep(0)
        assert all(task.done() for task in self._tasks), [task for task in self._tasks if not task.done()]
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self.store.close()
        for how in ended:
            if isinstance(how, Exception):
                raise how

    async def run(self, seconds: float) -> None:
        """Time passes. Raises what ended one of the gateway's loops."""
        if not self._tasks:
            await asyncio.sleep(seconds)
            return
        done, _ = await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def until(self, so: Callable[[], bool], within_s: float, step_s: float = 5.0) -> bool:
        """Whether it came to that in time."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + within_s
        while not so():
            if loop.time() >= ends:
                return False
            await self.run(step_s)
        return True

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return bool(self._tasks)

    def site(self) -> Site:
        """As the process has it."""
        return replace(site_of(self.settings, self.trust), steady_ms=_steady_ms(), disk_ok=self.store.low is None)

    def now_ms(self) -> int:
        """Our wall clock, right or wrong."""
        return self.world.clock.now_ms()

    # what people do

    async def act(self, usecase: Callable[[Tx, Site, int], T], *, essential: bool = False) -> T:
        """A use case of somebody outside; the lines look for commands after it."""
        site, now_ms = self.site(), self.now_ms()

        def work(tx: Tx) -> T:
            return usecase(tx, site, now_ms)

        result: T = await self.weak.write(Essential(work) if essential else work)
        self.wake.notify()
        return result

    async def pay(self, house: str, amount: str) -> bool:
        """Whether the bank was told yes."""
        self._serial += 1
        today = datetime.fromtimestamp(self.now_ms() / 1000, UTC).date()
        paid = TopUp(
            PaymentIdentity("bank", "", "", f"S-{self._serial}"), f"A-{house}", round(float(amount) * 1_000_000), "CNY",
            datetime.fromtimestamp(self.now_ms() / 1000, UTC), today, today,
        )  # fmt: skip
        outcome = await self.act(lambda tx, site, now_ms: apply_topup(tx, paid, site, now_ms))
        return outcome.verdict is TopUpVerdict.POSTED

    async def order(self, house: str, verb: Verb, ident: str, lives_s: int = 600) -> SupplyAnswer:
        """As an operator orders in an emergency."""
        expires_ms = self.now_ms() + lives_s * 1000
        order = SupplyOrder(ident, house, verb, "emergency", "operator", expires_ms)
        return await self.act(lambda tx, site, now_ms: order_supply(tx, order, site, now_ms), essential=True)

    async def reload(self, plan: Plan) -> None:
        """The file says something else about accounts from now on."""
        file = self._folder / "gateway.toml"
        file.write_text(settings_text(plan))
        settings = load(file)
        archive = archive_of(settings, self._folder)
        await self.act(lambda tx, site, now_ms: load_archive(tx, archive, site, now_ms))
        self.settings, self.plan = settings, plan

    # what is seen

    def meter(self, house: str) -> Meter:
        found = self.store.read_now(lambda tx: tx.meter(house))
        assert found is not None
        return found

    def account(self, house: str) -> Account:
        found = self.store.read_now(lambda tx: tx.account(f"A-{house}"))
        assert found is not None
        return found

    def command(self, ident: str) -> Command | None:
        return self.store.read_now(lambda tx: tx.command(ident))

    def last(self, house: str) -> Command:
        found = self.store.read_now(lambda tx: tx.last_command(house))
        assert found is not None
        return found

    def commands(self, house: str) -> list[Command]:
        """Oldest first."""
        return list(reversed(self.store.read_now(lambda tx: tx.commands_of(house, 1000))))

    def held(self, house: str) -> str:
        """Why its cut for debt is held now."""
        return self.store.read_now(lambda tx: tx.meta(f"held:energy_debt:A-{house}")) or ""

    def events(self, *kinds: EventKind) -> list[Event]:
        """Oldest first."""
        found = self.store.read_now(lambda tx: tx.events(100_000))
        return [stored.event for stored in reversed(found) if stored.event.kind in kinds]

    def _listened(self, name: str, link: MeterLink) -> MeterLink:
        return cast(MeterLink, Listened(link, name, lambda *what: self.heard(*what)))

    async def _look_at_disk(self) -> str | None:
        return self.store.look_at_disk()

    async def _bank(self) -> None:
        """An echo every two minutes."""
        while True:
            if self.world.bank_calls:
                self.trust.hear(PathKind.BANK)
            await asyncio.sleep(120)

    def _line_loop(self, line: BuiltLine) -> LineLoop:
        plan = LinePlan(line.id, line.polls, self.now_ms())
        broadcast = ClockBroadcast(line.driver, self.settings.meter_zone, clock=self.world.clock)
        return LineLoop(line.driver, plan, line.reads, line.switches, self.weak, self.site, self.world.clock, self.wake, broadcast)


def _steady_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)


@functools.cache
def _new_store() -> bytes:
    """A store as it is made, once for all gateways."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "store.db")
        Store.open(str(file), inline=True, rng=Random(1)).close()
        return file.read_bytes()


def _store(file: Path) -> Store:
    """The store of this file. A process that dies here leaves the machine running: what is written needs no disk to last."""
    if not file.exists():
        file.write_bytes(_new_store())
    store = Store.open(str(file), inline=True, reserve_bytes=MIB)
    connection = store.database.writer.raw_connection()
    connection.cursor().execute("PRAGMA synchronous=OFF")
    connection.close()
    return store
