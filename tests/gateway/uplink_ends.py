"""The two ends of the uplink as their processes put them together, on a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select

from gateway.adapters.mqtt_link import Broker, MqttLink
from gateway.adapters.store import Store
from gateway.central import schema
from gateway.central.service import Central
from gateway.central.store import CentralStore
from gateway.domain.events import Json, Outgoing, Topic
from gateway.entrypoints.downlink import Downlink
from gateway.entrypoints.line_loop import Wake
from gateway.entrypoints.outbox_loop import Bounds, OutboxLoop
from gateway.services.acknowledge import EPOCH
from gateway.services.ports import Site, Tx
from protocols.uplink.topics import NATIVE

WITHIN_S = 180  # a second or two; on a machine with other work, far more
KEY = b"k" * 32


class SystemClock:
    """The real clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class House:
    """A gateway's uplink: store, link and loops as bootstrap puts them together."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.store = Store.open(str(folder / "gateway.db"))
        self.wake, clock = Wake(), SystemClock()
        rng = random.Random(1)
        self.link = MqttLink(broker, "G1", pseudonym_key=KEY, commands=True, now_ms=clock.now_ms, rng=rng)
        self.outbox = OutboxLoop(self.store, self.link, self.wake.listener(), clock, bounds=Bounds(lost_s=0.5, probe_s=2))
        self.link.listener = Downlink(self.store, self.outbox, clock, lambda: Site("G1", "Asia/Shanghai", clock_trusted=True))
        self.epoch = self.store.read_now(lambda tx: tx.meta(EPOCH)) or ""

    async def add(self, *numbers: int) -> None:
        """One event for each number, as live rows."""
        at_ms = SystemClock().now_ms()

        def rows(tx: Tx) -> None:
            for n in numbers:
                body: dict[str, Json] = {"kind": "line_up", "meter": None, "account": "A-1", "data": {"n": n}}
                tx.add_outgoing(Outgoing(Topic.EVENT, "gateway", at_ms, body))

        await self.store.write(rows)
        self.wake.notify()

    def waiting(self) -> int:
        return self.store.read_now(lambda tx: tx.outbox_state().waiting)


@contextlib.asynccontextmanager
async def gateway(folder: Path, broker: Broker) -> AsyncIterator[House]:
    house = House(folder, broker)
    tasks = [asyncio.create_task(house.link.run()), asyncio.create_task(house.outbox.run())]
    try:
        yield house
    finally:
        await end(*tasks)
        house.store.close()


class Centre:
    """A central system and a view of its store."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.store = CentralStore.open(str(folder / "central.db"))
        self.central = Central(self.store, broker, NATIVE, rng=random.Random(2))

    def count(self, table: Table) -> int:
        with self.store._database.reader.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0

    def numbers(self) -> list[int]:
        with self.store._database.reader.connect() as connection:
            return sorted(json.loads(data)["n"] for data in connection.scalars(select(schema.event.c.data)))


@contextlib.asynccontextmanager
async def centre(folder: Path, broker: Broker) -> AsyncIterator[Centre]:
    inside = Centre(folder, broker)
    task = asyncio.create_task(inside.central.run())
    try:
        yield inside
    finally:
        await end(task)
        inside.store.close()


async def end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def until(true: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not true():  # noqa: ASYNC110 - processes outside tell nobody
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within {within_s} s: {what}")
