"""What forked gateways do on a store: the real store, locks and use cases, with meters and a bank that this side only pretends."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import TypeVar

from gateway.adapters.store import Store, StoreError, lock, store_file
from gateway.domain.credit import CreditState
from gateway.domain.events import EventKind
from gateway.domain.jobs import Answered
from gateway.domain.meters import Contact
from gateway.domain.readings import Item, Reading
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.supply import Command, CommandState, SwitchReading, Verb
from gateway.services import announce
from gateway.services.apply_topup import apply_topup
from gateway.services.load_archive import Archive, Opening, load_archive
from gateway.services.ports import Site, TopUpOutcome, Tx, Unavailable
from gateway.services.record_reading import record_reading
from gateway.services.run_command import finish_readback, finish_switch, recover, start_command
from tests.gateway.services.house import FLAT, TUESDAY_TEN, House, account, meter, yuan
from tests.system.forks import say

T = TypeVar("T")

FATAL, GAVE_UP, NO_STORE = 3, 4, 5
"""Exit codes: the store failed for good, it went on saying no, it could not be opened."""

TRIES = 4  # a fault that is injected hits once; whoever repeats so often has met something else
CHECKPOINT_PAGES = 16  # small, so that the short run below checkpoints too
PAID_AT = datetime(2026, 11, 24, 2, tzinfo=UTC)
SITE = Site("gw-1", "Asia/Shanghai", clock_trusted=True)


@contextmanager
def opened(data: str, fatal: list[str]) -> Iterator[Store]:
    """The data directory locked and its store open, as the gateway does it."""
    with lock(Path(data)), Store.open(str(store_file(Path(data))), on_fatal=fatal.append) as store:
        yield store


# one top-up, one bill, one cut, one restore


def seed(data: str) -> int:
    """A house with a little credit, its meter read once."""
    with opened(data, []) as store:
        House(store).settle(balance="2.00").block(total="0.00")
    return 0


def canonical(data: str, now_ms: int, contact: str) -> int:
    """A top-up, a bill that is higher, the cut that follows, a top-up that restores; each step said when it was answered.

    Run again after a fault it repeats all under the same identities. contact: where the meter's relay stands.
    """
    fatal: list[str] = []
    try:
        with opened(data, fatal) as store:
            with store.database.writer.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            _Canonical(House(store, now_ms), Contact(contact), fatal).run()
    except StoreError as why:
        say("refused", str(why))
        return NO_STORE
    except _Ended as ended:
        return ended.code
    say("end")
    return 0


class _Ended(Exception):
    """The run ends before its end."""

    def __init__(self, code: int) -> None:
        self.code = code


class _Canonical:
    def __init__(self, house: House, contact: Contact, fatal: list[str]) -> None:
        self.house, self.contact, self.fatal = house, contact, fatal

    def run(self) -> None:
        house = self.house
        self.step("start", house.restart)
        self.pay("S-1", "5.00")
        house.later(minutes=1)
        self.step("bill", lambda: house.block(total="20.00", contact=self.contact))
        self.carry_out()
        self.pay("S-2", "50.00")
        self.carry_out()

    def step(self, name: str, act: Callable[[], T]) -> T:
        """One use case, repeated as whoever waits for its answer would; after a failed fsync the process ends (F6)."""
        for _ in range(TRIES):
            try:
                done = act()
            except Unavailable as why:
                say("unavailable", name, str(why))
                if self.fatal:
                    say("fatal", *self.fatal)
                    raise _Ended(FATAL) from None
                continue
            if self.fatal:
                raise AssertionError(f"{name} was answered although {self.fatal}")
            return done
        raise _Ended(GAVE_UP)

    def pay(self, serial: str, amount: str) -> None:
        outcome = self.step(serial, lambda: self.house.topup(amount, serial))
        say("paid", serial, outcome.verdict.value, outcome.payment.receipt)

    def carry_out(self) -> None:
        """What the line does: every open command to its end."""
        house = self.house
        for _ in range(20):
            commands = self.step("open", house.open)
            if not commands:
                return
            self.forward(commands[0])
        raise AssertionError(f"commands do not end: {house.orders()}")

    def forward(self, command: Command) -> None:
        house = self.house
        if command.state is CommandState.SENT:
            self.step("recover", house.restart)
        elif command.state is CommandState.QUEUED:
            job = self.step("send", lambda: house.start(command.id))
            if job is not None:
                say("wire", job.verb.value)
                self.contact = Contact.OPEN if job.verb is Verb.CUT else Contact.CLOSED
                self.step("acknowledge", lambda: house.later(s=0.1).finish(job))
        else:
            seen = self.step("look", lambda: house.look(command, self.contact, power_w=0))
            say("seen", seen.verb.value, seen.state.value)


# many callers at once, to be killed in the middle


STREET = ("poor-1", "poor-2", "saver", "rich")
WH_A_SECOND = 2_000  # of virtual time, in which a run of 50 ms is SPEED times as long: some yuan for each house
SPEED = 200
CALLERS = 12


def street() -> Archive:
    """Two houses that run out of credit all the time, and two that do not."""
    opening = {"poor-1": "1.00", "poor-2": "3.00", "saver": "1000.00", "rich": "1000.00"}
    accounts = [Opening(account(name), yuan(opening[name])) for name in STREET]
    return Archive([FLAT], accounts, [meter(name, account=name, max_power_w=10**9) for name in STREET])


def storm(data: str, run: int, seed: int, contacts: Mapping[str, str], again: Sequence[Sequence[object]], heal: bool) -> int:
    """Top-ups by many callers, readings, cuts and restores through the writer's thread, until killed; `heal`: to a quiet end.

    again: payments (serial, account, micro) to be repeated under their identity. contacts: where the relays stand.
    """
    fatal: list[str] = []
    with opened(data, fatal) as store:
        asyncio.run(_Storm(store, run, Random(seed), contacts).rage([(str(s), str(a), int(str(m))) for s, a, m in again], heal))
    say("end")
    return 0


class _Storm:
    def __init__(self, store: Store, run: int, rng: Random, contacts: Mapping[str, str]) -> None:
        self.store, self.rng, self.run = store, rng, run
        self.contacts = {name: Contact(contacts.get(name, "closed")) for name in STREET}
        self.begun = time.monotonic()
        self.serials = itertools.count()

    def now_ms(self) -> int:
        """Every run is ten minutes after the one before."""
        return TUESDAY_TEN + self.run * 600_000 + int((time.monotonic() - self.begun) * 1000 * SPEED)

    async def rage(self, again: Sequence[tuple[str, str, int]], heal: bool) -> None:
        await self.store.write(self.start)
        say("started")
        for payment in again:
            await self.pay(*payment, known=True)
        if heal:
            await self.once_round()
            return
        work = [*(self.save() for _ in range(CALLERS)), *(self.household(name) for name in STREET[:2]), self.read(), self.line()]
        await asyncio.gather(*work)

    def start(self, tx: Tx) -> None:
        """What every start of the gateway does."""
        load_archive(tx, street(), SITE, self.now_ms())
        announce.event(tx, EventKind.GATEWAY_STARTED, self.now_ms(), in_flight=recover(tx, SITE, self.now_ms()))

    async def pay(self, serial: str, account_id: str, micro: int, *, known: bool = False) -> None:
        day = PAID_AT.date()
        topup = TopUp(PaymentIdentity("bank", "", "", serial), account_id, micro, "CNY", PAID_AT, day, day)
        if not known:
            say("asked", serial, account_id, micro)
        outcome: TopUpOutcome = await self.store.write(lambda tx: apply_topup(tx, topup, SITE, self.now_ms()))
        say("paid", serial, outcome.verdict.value, outcome.payment.entry)

    def serial(self) -> str:
        return f"{self.run}-{next(self.serials)}"

    async def save(self) -> None:
        while True:
            await self.pay(self.serial(), self.rng.choice(STREET[2:]), self.rng.randrange(1, 1000) * 10_000)

    async def household(self, name: str) -> None:
        """Pays when it is dark."""
        while True:
            await asyncio.sleep(0.002)
            if await self.credit(name) is CreditState.CUT:
                await self.pay(self.serial(), name, self.rng.randrange(1, 8) * 1_000_000)

    async def credit(self, name: str) -> CreditState:
        known = await self.store.read(lambda tx: tx.account(name))
        assert known is not None
        return known.credit

    async def read(self) -> None:
        while True:
            for name in STREET:
                await self.poll(name)

    async def poll(self, name: str) -> None:
        """A block of the meter's registers, which confirms itself, and its relay."""
        now_ms = self.now_ms()
        kwh = Decimal((now_ms - TUESDAY_TEN) // 1000 * WH_A_SECOND // 600 // 10 * 10).scaleb(-3)
        values = {"energy_import": kwh, "energy_import_t1": kwh, "energy_import_t2": Decimal("0.00")}
        reading = Reading(name, tuple(Item(key, value, "kWh") for key, value in values.items()), now_ms - 100, now_ms)
        seen = SwitchReading(self.contacts[name], "relay_bit", now_ms)
        await self.store.write(lambda tx: record_reading(tx, reading, seen, SITE, now_ms))

    async def line(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            for command in await self.store.read(lambda tx: tx.open_commands()):
                await self.forward(command)

    async def forward(self, command: Command) -> None:
        name = command.meter
        if command.state is CommandState.QUEUED:
            job = await self.store.write(lambda tx: start_command(tx, command.id, SITE, self.now_ms()))
            if job is not None:
                self.contacts[name] = Contact.OPEN if job.verb is Verb.CUT else Contact.CLOSED
                say("wire", name, self.contacts[name].value)
                await self.store.write(lambda tx: finish_switch(tx, job.command, Answered(), SITE, self.now_ms()))
        elif command.read_at_ms is not None and command.read_at_ms <= self.now_ms():
            seen = Answered(switch=SwitchReading(self.contacts[name], "relay_bit", self.now_ms(), 0))
            await self.store.write(lambda tx: finish_readback(tx, command.id, seen, SITE, self.now_ms()))

    async def once_round(self) -> None:
        """Every meter is read, and every command carried out."""
        for name in STREET:
            await self.poll(name)
        async with asyncio.timeout(180):
            while commands := await self.store.read(lambda tx: tx.open_commands()):
                for command in commands:
                    await self.forward(command)
                await asyncio.sleep(0.002)


BODIES: Mapping[str, Callable[..., int]] = {"seed": seed, "canonical": canonical, "storm": storm}
