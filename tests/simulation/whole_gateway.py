"""A whole gateway on simulated pairs in virtual time: settings, archive, store, links, plans, line loops, collection, limits.

Only what faces outward is missing: no listener, no broker, no process. Every answer is held against the meter that gave it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import cast
from unittest.mock import patch
from zoneinfo import ZoneInfo

from firmware_sim.wire import Wire
from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.meter_links.dlt645_clock import ClockBroadcast
from gateway.adapters.store import Store
from gateway.adapters.timetable import next_fire
from gateway.bootstrap.archive import archive_of, site_of
from gateway.bootstrap.crew import Crew
from gateway.bootstrap.examine import examine, passwords_of
from gateway.bootstrap.lines import Before, BuiltLine, MeterLink, build_lines
from gateway.bootstrap.schemes import keep_of
from gateway.domain.events import Event, EventKind
from gateway.domain.jobs import Want
from gateway.domain.records import StoredReading
from gateway.domain.requests import SupplyOrder
from gateway.domain.schemes import Slot, SlotState
from gateway.domain.supply import Command, Verb
from gateway.entrypoints import limit_loop, line_loop, line_store, upkeep_loop
from gateway.entrypoints.line_loop import Housekeeping, LineLoop, Wake
from gateway.services import collect, keep_clock
from gateway.services.load_archive import load_archive
from gateway.services.order_supply import order_supply
from gateway.services.plan import LinePlan
from gateway.settings import load
from tests.simulation.auditor import Audited, Auditor
from tests.simulation.memory_line import WireLine
from tests.simulation.virtual_loop import START_MS, VirtualClock
from tests.simulation.virtual_street import VirtualStreet

ZONE, OFFSET_MIN = ZoneInfo("America/Sao_Paulo"), -180
"""Virtual time begins at 21:00 there, on the last evening of a year."""

BORN_MS = START_MS
"""When the meters come into the world: of the time before they know nothing."""

LOOK_S, PAST_LOOK_S = 15.0, 30.0
"""How often the loops of a patient gateway look for work that nothing has told them of: a month of looks every second is a month
of nothing but looks. It makes collection slower, never better."""

ONLY_FREEZES = "".join(f'[[scheme]]\nid = "{id}"\nenabled = false\n' for id in ("month", "curve", "events"))


@dataclass(frozen=True, slots=True)
class Pair:
    """An RS-485 pair with meters ID-1, ID-2 and so on. noise: the share of bytes that lose a bit. delay_ms, tail_ms: as in the
    simulator's file."""

    id: str
    meters: int
    baud: int = 9600
    noise: float = 0.0
    delay_ms: tuple[int, int] = (25, 180)
    tail_ms: int = 500
    power_w: int = 730

    @property
    def names(self) -> list[str]:
        return [f"{self.id}-{n}" for n in range(1, self.meters + 1)]


@dataclass(frozen=True, slots=True)
class Polls:
    """Seconds between two reads of each group."""

    billing_s: int = 900
    instant_s: int = 60
    switch_s: int = 300


class WholeGateway:
    """schemes: tables of the configuration about collection. patient: see LOOK_S."""

    def __init__(
        self, folder: Path, pairs: Sequence[Pair], polls: Polls = Polls(), schemes: str = "", *, patient: bool = False
    ) -> None:
        file = folder / "gateway.toml"
        file.write_text(_settings(pairs, polls, schemes))
        passwords = folder / "passwords.toml"
        passwords.write_text('[control]\nlevel = 2\npassword = "000000"\n')
        passwords.chmod(0o600)
        self.settings = load(file)
        assert examine(self.settings, folder).errors == []
        self._archive = archive_of(self.settings, folder)
        self.clock, self.wake = VirtualClock(), Wake()
        self.names = [name for pair in pairs for name in pair.names]
        self.street = VirtualStreet(_street(pairs))
        self.auditor = Auditor(self.street, self.clock)
        self.store = Store.open(str(folder / "store.db"), inline=True, rng=Random(1))
        self.site = site_of(self.settings)
        self.drivers = {pair.id: Driver(self.street.lines[pair.id], baud=pair.baud, clock=self.clock) for pair in pairs}
        empty = self.settings.model_copy(update={"meter": []})
        clock = cast(Clock, self.clock)
        before = Before(empty, {id: BuiltLine(id, driver, 0) for id, driver in self.drivers.items()})
        self.crew = Crew(build_lines(self.settings, passwords_of(self.settings, folder), clock, before), self._line_loop)
        for line in self.crew.lines.values():
            audited = {name: cast(MeterLink, Audited(link, name, self.auditor)) for name, link in line.reads.items()}
            line.reads, line.switches = audited, {name: audited[name] for name in line.switches}
        self._patient, self._curves = patient, schemes != ONLY_FREEZES
        self._tasks: list[asyncio.Task[None]] = []
        self._open = contextlib.ExitStack()

    async def __aenter__(self) -> WholeGateway:
        for module, name, look_s in _looks() if self._patient else ():
            self._open.enter_context(patch.object(module, name, look_s))
        now_ms = self.clock.now_ms()
        await self.store.write(lambda tx: load_archive(tx, self._archive, self.site, now_ms))
        self._tasks = [
            asyncio.create_task(self.crew.run()),
            asyncio.create_task(limit_loop.watch(self.store, lambda: self.site, self.clock)),
            asyncio.create_task(
                upkeep_loop.keep_up(self.store, next_fire, lambda: keep_of(self.settings), lambda: self.site, self.clock)
            ),
            asyncio.create_task(self.auditor.watch(ZONE, curves=self._curves)),
        ]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self.store.close()
        self._open.close()
        for how in ended:
            if isinstance(how, Exception):
                raise how

    async def run(self, seconds: float) -> None:
        """Time passes. Raises what ended one of the gateway's loops."""
        done, _ = await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def until(self, local: str) -> None:
        """Until this local time, as in 2026-01-02 00:05."""
        await self.run(max(0.0, (at(local) - self.clock.now_ms()) / 1000))

    def wire(self, pair: str) -> Wire:
        """The pair itself, with its counters."""
        line = self.street.lines[pair]
        assert isinstance(line, WireLine)
        return line.wire

    def silence(self, meter: str) -> None:
        """The meter hears nothing any more."""
        self.street.station(meter).faults.set("silent")

    def hear(self, meter: str) -> None:
        """The meter hears again."""
        self.street.station(meter).faults.clear("silent")

    async def order(self, meter: str, verb: Verb, number: str, lives_s: int = 600) -> Command:
        """As an operator orders; the loops are told after the commit."""
        now_ms = self.clock.now_ms()
        order = SupplyOrder(number, meter, verb, "emergency", "operator", now_ms + lives_s * 1000)
        answer = await self.store.write(lambda tx: order_supply(tx, order, self.site, now_ms))
        assert answer.command is not None, answer.refused
        self.wake.notify()
        return answer.command

    def command(self, number: str) -> Command:
        found = self.store.read_now(lambda tx: tx.command(number))
        assert found is not None
        return found

    def readings(self, meter: str, since_ms: int = 0) -> list[StoredReading]:
        """By the time of their storing."""
        return list(self.store.read_now(lambda tx: tx.readings(meter, since_ms, 1_000_000)))

    def slots(self, want: Want = Want.DAY) -> list[Slot]:
        """Of all meters, since they are there."""
        return [
            slot
            for meter in self.names
            for slot in self.store.read_now(lambda tx, meter=meter: tx.slots(meter, want, BORN_MS + 1, 1 << 60, 100_000))  # type: ignore[misc]
        ]

    def missing(self, want: Want = Want.DAY) -> list[Slot]:
        """What should be there and is not."""
        return [slot for slot in self.slots(want) if slot.state is not SlotState.READ]

    def events(self, *kinds: EventKind) -> list[Event]:
        """Oldest first."""
        found = self.store.read_now(lambda tx: tx.events(100_000))
        return [stored.event for stored in reversed(found) if stored.event.kind in kinds]

    def loop(self, pair: str) -> LineLoop:
        return self.crew.loops[pair]

    def contact_closed(self, meter: str) -> bool:
        return self.street.station(meter).meter.relay.contact_closed

    def _line_loop(self, line: BuiltLine) -> LineLoop:
        plan = LinePlan(line.id, line.polls, self.clock.now_ms())
        broadcast = ClockBroadcast(line.driver, self.settings.meter_zone, clock=self.clock)
        keep_house = Housekeeping(collect.due_history, collect.record_history, keep_clock.due_clock, keep_clock.record_clock)
        site = self.site
        return LineLoop(
            line.driver, plan, line.reads, line.switches, self.store, lambda: site, self.clock, self.wake, broadcast, keep_house
        )


def at(local: str) -> int:
    """The moment of a local time, UTC ms."""
    return round(datetime.fromisoformat(local).replace(tzinfo=ZONE).timestamp() * 1000)


def _looks() -> Iterator[tuple[object, str, float]]:
    yield from ((module, "LOOK_S", LOOK_S) for module in (line_loop, line_store, limit_loop))
    yield line_store, "PAST_LOOK_S", PAST_LOOK_S
    yield upkeep_loop, "LOOK_S", PAST_LOOK_S


def _street(pairs: Sequence[Pair]) -> dict[str, object]:
    lines = [
        {
            "id": p.id, "kind": "tcp", "baud": p.baud, "noise": str(p.noise), "delay_ms": list(p.delay_ms), "tail_ms": p.tail_ms
        }
        for p in pairs
    ]  # fmt: skip
    meters = [
        {
            "id": name, "line": pair.id, "model": "dlt645-single", "address": _address(n, k), "initial_kwh": 100 * (k + 1),
            "load": {"kind": "constant", "power_w": pair.power_w},
        }
        for n, pair in enumerate(pairs)
        for k, name in enumerate(pair.names)
    ]  # fmt: skip
    return {"sim": {"utc_offset_min": OFFSET_MIN}, "line": lines, "meter": meters}


def _address(pair: int, meter: int) -> str:
    return f"2026{pair:03d}{meter + 1:05d}"


def _settings(pairs: Sequence[Pair], polls: Polls, schemes: str) -> str:
    out = [
        '[gateway]\nid = "G1"\nzone = "America/Sao_Paulo"\npasswords = "passwords.toml"\n[clock]\nsource = "vouched"',
        "[limits]\nordered_per_hour = 1000\nordered_per_day = 1000",
        f"[[scheme]]\nbilling_s = {polls.billing_s}\ninstant_s = {polls.instant_s}\nswitch_s = {polls.switch_s}\n{schemes}",
        '[[tariff]]\nid = "flat"\ncurrency = "CNY"\nkind = "flat"\nprice = "0.617"',
    ]
    for n, pair in enumerate(pairs):
        out.append(f'[[line]]\nid = "{pair.id}"\nkind = "tcp"\nhost = "127.0.0.1"\nport = {n + 1}\nbaud = {pair.baud}')
        for k, name in enumerate(pair.names):
            out.append(
                f'[[account]]\nid = "A-{name}"\ncurrency = "CNY"\ntariff = "flat"\nopening = "90000.00"\n'
                f'[[meter]]\nid = "{name}"\nline = "{pair.id}"\naddress = "{_address(n, k)}"\nprofile = "dlt645-single"\n'
                f'account = "A-{name}"'
            )
    return "\n".join(out)
