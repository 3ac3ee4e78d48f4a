"""Simulated meters with their freezes, curves and records on one line, and a gateway that collects them, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from gateway.adapters.lines.driver import Driver
from gateway.adapters.meter_links.dlt645_link import Dlt645Link, Password
from gateway.adapters.profiles import profile
from gateway.adapters.store import Store
from gateway.adapters.timetable import next_fire
from gateway.bootstrap.schemes import schemes_of
from gateway.domain.events import Event, EventKind
from gateway.domain.jobs import Answered, Group, HistoryJob, ReadJob, Want
from gateway.domain.meters import Meter, SwitchKind
from gateway.domain.records import StoredReading
from gateway.domain.schemes import Slot, SlotState, Tally
from gateway.domain.slots import ms_of
from gateway.entrypoints import upkeep_loop
from gateway.entrypoints.line_loop import Housekeeping, LineLoop, Link, Wake
from gateway.services.collect import due_history, record_history
from gateway.services.load_archive import Archive, load_archive
from gateway.services.plan import LinePlan, Poll
from gateway.services.ports import Site
from gateway.services.record_reading import record_reading
from gateway.services.retention import Keep
from gateway.settings import Settings
from tests.simulation.virtual_loop import VirtualClock
from tests.simulation.virtual_street import VirtualStreet

ZONE, OFFSET_MIN = "America/Sao_Paulo", -180
"""The meters come into the world at 21:00 local time, on the last evening of a year."""

SITE = Site(gateway="g1", zone=ZONE, clock_trusted=True, meter_zone=ZONE)
POLL_MS = 1_800_000
LOAD_W = 730
TURN_S = 30.0


class Book:
    def password(self, name: str) -> Password:
        return Password("123456")


class CollectionBench:
    """Meters m1.. on line `rs`, which can be unplugged. schemes: what the configuration says about collection. whole: with the
    gateway's own loops, which look every second."""

    def __init__(
        self, folder: Path, meters: int = 2, schemes: list[dict[str, object]] | None = None, baud: int = 9600, whole: bool = False
    ) -> None:
        self.whole = whole
        self.clock = VirtualClock()
        self.names = [f"m{n}" for n in range(1, meters + 1)]
        self.street = VirtualStreet(_street(self.names, baud))
        self.line = self.street.lines["rs"]
        self.store = Store.open(str(folder / "store.db"), inline=True, rng=Random(1))
        self.driver = Driver(self.line, baud=baud, clock=self.clock)
        self.settings = _settings(self.names, schemes or [])
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> CollectionBench:
        now_ms = self.clock.now_ms()
        archive = Archive([], [], [*map(_installed, self.names)], schemes_of(self.settings))
        await self.store.write(lambda tx: load_archive(tx, archive, SITE, now_ms))
        self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()
        self.store.close()

    def start(self) -> None:
        """The gateway runs, as after a start of its process."""
        links: dict[str, Link] = {name: self._link(name) for name in self.names}
        if not self.whole:
            self._tasks = [asyncio.create_task(self._collect(links))]
            return
        plan = LinePlan("rs", [Poll(name, {Group.BILLING: POLL_MS}) for name in self.names], self.clock.now_ms())
        work = Housekeeping(due_history, record_history)
        loop = LineLoop(self.driver, plan, links, {}, self.store, lambda: SITE, self.clock, Wake(), housekeeping=work)
        upkeep = upkeep_loop.keep_up(self.store, next_fire, Keep, lambda: SITE, self.clock)
        self._tasks = [asyncio.create_task(loop.run()), asyncio.create_task(upkeep)]

    async def _collect(self, links: dict[str, Link]) -> None:
        """What line loop and upkeep do, without looking every second: hours then pass in no time."""
        polled_ms = 0
        while True:
            await upkeep_loop.open_due(self.store, next_fire, SITE, self.clock)
            if await self.driver.ensure_open() is None:
                due = self.clock.now_ms() >= polled_ms + POLL_MS
                polled_ms = self.clock.now_ms() if due else polled_ms
                for name in self.names if due else ():
                    await self._poll(name, links[name])
                while jobs := await self.store.read(lambda tx: due_history(tx, "rs", self.clock.now_ms(), 9)):
                    for job in jobs:
                        await self._fetch(job, links[job.meter])
            await asyncio.sleep(TURN_S)

    async def _poll(self, name: str, link: Link) -> None:
        outcome, now_ms = await link.perform(ReadJob(name, Group.BILLING)), self.clock.now_ms()
        if isinstance(outcome, Answered) and outcome.reading is not None:
            reading = outcome.reading
            await self.store.write(lambda tx: record_reading(tx, reading, None, SITE, now_ms))

    async def _fetch(self, job: HistoryJob, link: Link) -> None:
        outcome = await link.perform(job)
        now_ms = self.clock.now_ms()
        await self.store.write(lambda tx: record_history(tx, job, outcome, SITE, now_ms))

    async def stop(self) -> None:
        """The gateway is off."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    async def until(self, text: str) -> None:
        """Until this local time."""
        await asyncio.sleep(max(0, at(text) - self.clock.now_ms()) / 1000)

    def tally(self, day: str, scheme: str) -> Tally:
        """What is counted of a day."""
        found = self.store.read_now(lambda tx: tx.completeness(day, day))
        return next((row.tally for row in found if row.scheme == scheme), Tally())

    def slots(self, meter: str, want: Want) -> list[Slot]:
        return list(self.store.read_now(lambda tx: tx.slots(meter, want, 0, 1 << 60, 100_000)))

    def missing(self, want: Want) -> list[tuple[str, str]]:
        """Meters and local times of what is due and not read."""
        slots = [slot for name in self.names for slot in self.slots(name, want) if slot.state is not SlotState.READ]
        return [(slot.meter, shown(slot.at_ms)) for slot in slots]

    def past(self, meter: str, source: str) -> list[StoredReading]:
        """What is stored of the past, by its own time."""
        found = self.store.read_now(lambda tx: tx.readings(meter, 0, 100_000))
        return sorted((r for r in found if r.reading.source == source), key=lambda r: r.reading.at_ms)

    def events(self, kind: EventKind) -> list[Event]:
        """Oldest first."""
        found = self.store.read_now(lambda tx: tx.events(10_000))
        return [stored.event for stored in reversed(found) if stored.event.kind is kind]

    def write(self, usecase: object) -> object:
        return self.store.write_now(usecase)  # type: ignore[arg-type]

    def _link(self, name: str) -> Dlt645Link:
        device = profile("dlt645-single")
        return Dlt645Link(self.driver, name, _address(name), device, clock=self.clock, passwords=Book(), zone=ZONE)


def at(text: str, zone: str = ZONE) -> int:
    """The moment of a local time, UTC ms."""
    return ms_of(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def shown(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1000, ZoneInfo(ZONE)):%Y-%m-%d %H:%M}"


def _street(names: list[str], baud: int) -> dict[str, object]:
    lines = [{"id": "rs", "kind": "tcp", "baud": baud}]
    return {"sim": {"utc_offset_min": OFFSET_MIN}, "line": lines, "meter": [*map(_meter, names)]}


def _meter(name: str) -> dict[str, object]:
    return {
        "id": name, "line": "rs", "model": "dlt645-single", "address": _address(name), "password": "123456",
        "load": {"power_w": LOAD_W}, "initial_kwh": 100,
    }  # fmt: skip


def _address(name: str) -> str:
    return f"2019060401{int(name[1:]):02d}"


def _installed(name: str) -> Meter:
    return Meter(name, "rs", _address(name), "dlt645-2007", "dlt645-single", None, name, SwitchKind.NONE, "rs")


def _settings(names: list[str], schemes: list[dict[str, object]]) -> Settings:
    return Settings.model_validate(
        {
            "gateway": {"id": "g1", "zone": ZONE},
            "line": [{"id": "rs", "kind": "tcp", "host": "127.0.0.1", "port": 1}],
            "meter": [{"id": n, "line": "rs", "address": _address(n), "profile": "dlt645-single"} for n in names],
            "scheme": schemes,
        }
    )
