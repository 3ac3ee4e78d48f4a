"""A small site in virtual time: simulated meters on their lines, real drivers, links, plans, loops, rules and SQLite store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Self, TypeVar

from gateway.adapters.lines.driver import Driver
from gateway.adapters.meter_links.dlt645_link import Dlt645Link, Password
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profiles import profile
from gateway.adapters.store import Store
from gateway.domain.credit import CreditPolicy
from gateway.domain.events import EventKind
from gateway.domain.jobs import Group
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import Command, Verb
from gateway.entrypoints.line_loop import Housekeeping, Line, LineLoop, Link, Wake
from gateway.services.order_supply import order_supply
from gateway.services.plan import LinePlan, Poll
from gateway.services.ports import Essential, Site, SupplyAnswer, Tx, Unavailable
from tests.gateway.price_lists import flat
from tests.simulation.virtual_loop import VirtualClock
from tests.simulation.virtual_street import VirtualStreet

T = TypeVar("T")

MAINS_W = 800
SITE = Site(gateway="g1", zone="Asia/Shanghai", clock_trusted=True)
PERIODS = {Group.BILLING: 30_000, Group.SWITCH: 60_000, Group.INSTANT: 10_000}


class WeakStore:
    """The real store, which can be told to be unavailable for writing, or slow."""

    def __init__(self, store: Store) -> None:
        self.store, self.full, self.slow_s = store, False, 0.0
        self.refused = self.reads = self.writes = 0

    @property
    def written(self) -> int:
        return self.store.written

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        self.writes += 1
        if self.full:
            self.refused += 1
            raise Unavailable("the disk is full")
        await asyncio.sleep(self.slow_s)
        return await self.store.write(usecase)

    async def read(self, query: Callable[[Tx], T]) -> T:
        self.reads += 1
        return await self.store.read(query)


class Book:
    def password(self, name: str) -> Password:
        return Password("123456")


class Bench:
    """Meters m1.. on the RS-485 line `rs`, and `c1` on `net`, switched by a module on `coils`. The rest is for the line `rs`."""

    def __init__(
        self,
        folder: Path,
        meters: int = 2,
        baud: int = 2400,
        housekeeping: Housekeeping | None = None,
        clock_link: Link | None = None,
        reserve_bytes: int | None = None,
    ) -> None:
        self.clock, self.wake = VirtualClock(), Wake()
        self._kept = {"rs": (clock_link, housekeeping)}
        self.names = [f"m{n}" for n in range(1, meters + 1)]
        self.street = VirtualStreet({"line": _lines(baud), "meter": [*map(_dlt, self.names), _contactor()]})
        self.store = Store.open(str(folder / "store.db"), inline=True, rng=Random(1), reserve_bytes=reserve_bytes)
        self.weak = WeakStore(self.store)
        self.drivers = {
            name: Driver(line, baud=baud if name == "rs" else None, clock=self.clock, numbered=name != "rs")
            for name, line in self.street.lines.items()
        }
        self.links: dict[str, Link] = {name: self._dlt645(name) for name in self.names}
        now_ms = self.clock.now_ms()
        self.loops = {
            "rs": self._loop("rs", LinePlan("rs", [Poll(m, PERIODS) for m in self.names], now_ms), self.links, self.links),
            "net": self._loop("net", _without_switch("net", "c1", now_ms), {"c1": self._modbus("net", 1, "eastron-sdm630")}, {}),
            "coils": self._loop(
                "coils",
                LinePlan("coils", [Poll("c1", {Group.SWITCH: 60_000})], now_ms),
                {},
                {"c1": self._modbus("coils", 9, "relay-module-8")},
            ),
        }
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.store.write(self._archive)
        self.start(*self.loops)
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.store.close()

    def start(self, *lines: str) -> None:
        self._tasks += [asyncio.create_task(self.loops[line].run()) for line in lines]

    @property
    def running(self) -> bool:
        """No loop has ended."""
        return all(not task.done() for task in self._tasks)

    async def order(self, meter: str, verb: Verb, name: str, lives_s: int = 600) -> Command:
        """Order as an operator does, and wake the loops."""
        answer = await self.ask(meter, verb, name, lives_s)
        assert answer.command is not None, answer.refused
        return answer.command

    async def ask(self, meter: str, verb: Verb, name: str, lives_s: int = 600) -> SupplyAnswer:
        """The same, with the answer that he gets."""
        now_ms, site = self.clock.now_ms(), self.site()
        order = SupplyOrder(name, meter, verb, "emergency", "operator", now_ms + lives_s * 1000)
        answer: SupplyAnswer = await self.store.write(Essential(lambda tx: order_supply(tx, order, site, now_ms)))
        self.wake.notify()
        return answer

    def site(self) -> Site:
        """The site, as the store's disk is now."""
        return replace(SITE, disk_ok=self.store.low is None)

    def command(self, name: str) -> Command:
        found = self.store.read_now(lambda tx: tx.command(name))
        assert found is not None
        return found

    def events(self, *kinds: EventKind) -> list[tuple[str, str | None]]:
        """Kind and meter of these events, oldest first."""
        found = self.store.read_now(lambda tx: tx.events(1000))
        return [(e.event.kind.value, e.event.meter) for e in reversed(found) if e.event.kind in kinds]

    def readings(self, meter: str) -> int:
        return len(self.store.read_now(lambda tx: tx.readings(meter, 0, 100_000)))

    def contact_closed(self, meter: str) -> bool:
        return self.street.station(meter).meter.relay.contact_closed

    def frames(self, control: int, meter: str | None = None) -> list[float]:
        """When frames with this control code left on the RS-485 line, to any meter or to this one."""
        wire = None if meter is None else bytes.fromhex(_address(meter))[::-1]
        sent = [(at, bare(data)) for at, data in self.street.lines["rs"].sent]
        return [at for at, data in sent if data[8] == control and wire in (None, data[1:7])]

    def _loop(self, name: str, plan: LinePlan, reads: dict[str, Link], switches: dict[str, Link]) -> LineLoop:
        line: Line = self.drivers[name]
        kept = self._kept.get(name, (None, None))
        return LineLoop(line, plan, reads, switches, self.weak, self.site, self.clock, self.wake, *kept)

    def _dlt645(self, name: str) -> Dlt645Link:
        return Dlt645Link(self.drivers["rs"], name, _address(name), profile("dlt645-single"), clock=self.clock, passwords=Book())

    def _modbus(self, line: str, unit: int, model: str) -> ModbusLink:
        return ModbusLink(self.drivers[line], "c1", unit, profile(model), clock=self.clock, framing="tcp", channel=0)

    def _archive(self, tx: Tx) -> None:
        tx.save_price_list(flat(500_000))
        for name in [*self.names, "c1"]:
            coil = name == "c1"
            direct = CreditPolicy(low_micro=0, cut_micro=-(10**12), close_micro=-(10**12), reconnect_direct=True)
            tx.save_account(Account(f"a-{name}", "Somebody", "CNY", "flat", direct))
            kind, switch_line = (SwitchKind.CONTACTOR, "coils") if coil else (SwitchKind.INTERNAL, "rs")
            line, address, protocol = ("net", "1", "modbus") if coil else ("rs", _address(name), "dlt645-2007")
            tx.save_meter(Meter(name, line, address, protocol, "profile", f"a-{name}", name, kind, switch_line))


def bare(frame: bytes) -> bytes:
    """A DL/T 645 frame without what may stand before it: its control code is byte 8."""
    return frame.lstrip(b"\xfe")


def _lines(baud: int) -> list[dict[str, object]]:
    return [
        {"id": "rs", "kind": "tcp", "baud": baud},
        {"id": "net", "kind": "modbus-tcp"},
        {"id": "coils", "kind": "modbus-tcp"},
    ]


def _dlt(name: str) -> dict[str, object]:
    return {
        "id": name, "line": "rs", "model": "dlt645-single", "address": _address(name), "password": "123456",
        "load": {"power_w": MAINS_W}, "initial_kwh": 100, "clock_offset_s": -600,
    }  # fmt: skip


def _contactor() -> dict[str, object]:
    return {
        "id": "c1", "line": "net", "model": "sdm630", "unit": 1, "load": {"power_w": 2000}, "initial_kwh": 10,
        "switch": {"line": "coils", "unit": 9, "coil": 0},
    }  # fmt: skip


def _address(name: str) -> str:
    return f"2019060401{int(name[1:]):02d}"


def _without_switch(line: str, meter: str, now_ms: int) -> LinePlan:
    return LinePlan(line, [Poll(meter, {g: ms for g, ms in PERIODS.items() if g is not Group.SWITCH})], now_ms)
