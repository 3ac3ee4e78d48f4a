"""From the gateway's outbox through a real broker into the central store, and back: acks, commands, and what breaks between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiomqtt
import pytest
from sqlalchemy import Table, func, select

from gateway.adapters.mqtt_link import Broker, MqttLink
from gateway.adapters.store import Store
from gateway.central import schema
from gateway.central.service import Central
from gateway.central.store import CentralStore
from gateway.domain.events import EventKind, Json, Outgoing, Topic
from gateway.domain.meters import Meter, SwitchKind
from gateway.domain.supply import CommandState
from gateway.entrypoints.downlink import Downlink
from gateway.entrypoints.line_loop import Wake
from gateway.entrypoints.outbox_loop import Bounds, OutboxLoop
from gateway.services.acknowledge import EPOCH
from gateway.services.ports import Site
from protocols.uplink.moments import format_moment
from protocols.uplink.topics import NATIVE
from tests.gateway.brokers import Mosquitto, Nats, RealBroker, running

WITHIN_S = 30
KEY = b"k" * 32


class SystemClock:
    """The real clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


@pytest.fixture(params=("nats", "mosquitto"))
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> RealBroker:
    if request.param == "nats":
        return Nats(tmp_path / "broker")
    return Mosquitto(tmp_path / "broker", request.getfixturevalue("mosquitto"))


class House:
    """A gateway's uplink: store, link and loops as bootstrap puts them together."""

    def __init__(self, folder: Path, port: int) -> None:
        self.store = Store.open(str(folder / "gateway.db"))
        self.wake, clock = Wake(), SystemClock()
        self.link = MqttLink(
            Broker(port=port), "G1", pseudonym_key=KEY, commands=True, now_ms=clock.now_ms, rng=random.Random(1)
        )
        self.outbox = OutboxLoop(self.store, self.link, self.wake.listener(), clock, bounds=Bounds(lost_s=0.5, probe_s=2))
        self.link.listener = Downlink(self.store, self.outbox, clock, lambda: Site("G1", "Asia/Shanghai", clock_trusted=True))
        self.epoch = self.store.read_now(lambda tx: tx.meta(EPOCH)) or ""

    async def add(self, *numbers: int) -> None:
        """One event for each number, as live rows."""
        at_ms = SystemClock().now_ms()

        def rows(tx: object) -> None:
            for n in numbers:
                body: dict[str, Json] = {"kind": "line_up", "meter": None, "account": "A-1", "data": {"n": n}}
                tx.add_outgoing(Outgoing(Topic.EVENT, "gateway", at_ms, body))  # type: ignore[attr-defined]

        await self.store.write(rows)
        self.wake.notify()

    def waiting(self) -> int:
        return self.store.read_now(lambda tx: tx.outbox_state().waiting)


@contextlib.asynccontextmanager
async def gateway(folder: Path, port: int) -> AsyncIterator[House]:
    house = House(folder, port)
    tasks = [asyncio.create_task(house.link.run()), asyncio.create_task(house.outbox.run())]
    try:
        yield house
    finally:
        await end(*tasks)
        house.store.close()


class Centre:
    """A central system and a view of its store."""

    def __init__(self, folder: Path, port: int) -> None:
        self.store = CentralStore.open(str(folder / "central.db"))
        self.central = Central(self.store, Broker(port=port), NATIVE, rng=random.Random(2))

    def count(self, table: Table) -> int:
        with self.store._database.reader.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0

    def numbers(self) -> list[int]:
        with self.store._database.reader.connect() as connection:
            return sorted(json.loads(data)["n"] for data in connection.scalars(select(schema.event.c.data)))


@contextlib.asynccontextmanager
async def centre(folder: Path, port: int) -> AsyncIterator[Centre]:
    inside = Centre(folder, port)
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


async def until(true: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(WITHIN_S):
            while not true():  # noqa: ASYNC110 - processes outside tell nobody
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within {WITHIN_S} s: {what}")


async def test_what_is_written_here_is_safe_there_and_leaves(tmp_path: Path, broker: RealBroker) -> None:
    async with running(broker), centre(tmp_path, broker.port) as c, gateway(tmp_path, broker.port) as g:
        await g.link.connected.wait()
        await g.add(*range(250))
        await until(lambda: g.waiting() == 0, "the outbox is empty")
        assert c.numbers() == list(range(250))
        assert c.count(schema.message) == 250
        state = g.store.read_now(lambda tx: tx.outbox_state())
        assert (state.published, state.acknowledged) == (250, 250)
        async with aiomqtt.Client("127.0.0.1", broker.port) as spy:
            await spy.subscribe("wattgate/v1/+/status")
            status = await asyncio.wait_for(anext(spy.messages), 5)
        assert status.retain and json.loads(status.payload)["state"] == "online"  # type: ignore[arg-type]


async def test_a_killed_broker_costs_nothing(tmp_path: Path, broker: RealBroker) -> None:
    total, at_once = 4000, 50
    async with running(broker), centre(tmp_path, broker.port) as c, gateway(tmp_path, broker.port) as g:
        await g.link.connected.wait()
        await c.central.session.connected.wait()
        for first in range(0, total, at_once):
            await g.add(*range(first, first + at_once))
            if first == total // 2:
                await until(lambda: c.count(schema.message) > total // 8, "the stream is flowing")
                assert g.waiting() > 0
                await broker.kill()
                await broker.start()
        await until(lambda: g.waiting() == 0, "the outbox is empty")
        assert c.numbers() == list(range(total))
        assert c.count(schema.message) == total
        assert g.link.connections >= 2


async def test_a_centre_that_comes_late_or_again_gets_everything(tmp_path: Path, broker: RealBroker) -> None:
    async with running(broker), gateway(tmp_path, broker.port) as g:
        await g.link.connected.wait()
        await g.add(*range(300))
        await until(lambda: g.store.read_now(lambda tx: tx.outbox_state().published) == 300, "all is published")
        assert g.waiting() == 300
        async with centre(tmp_path, broker.port) as c:
            await until(lambda: c.count(schema.message) > 0, "the probe arrives")
            await g.add(*range(300, 320))
        async with centre(tmp_path, broker.port) as c:
            await until(lambda: g.waiting() == 0, "the outbox is empty")
            assert c.numbers() == list(range(320))


async def test_a_gateway_killed_between_publish_and_mark_sends_again_and_is_stored_once(tmp_path: Path, broker: RealBroker) -> None:
    async with running(broker), centre(tmp_path, broker.port) as c:
        async with gateway(tmp_path, broker.port) as g:
            await g.link.connected.wait()
            await g.add(*range(200))
            await until(lambda: c.count(schema.message) > 0, "something arrived")
        async with gateway(tmp_path, broker.port) as g:
            await until(lambda: g.waiting() == 0, "the outbox is empty")
            assert c.numbers() == list(range(200))


def command(id: str, **change: object) -> str:
    now_ms = SystemClock().now_ms()
    fields = {
        "id": id,
        "gateway": "G1",
        "verb": "cut",
        "meter": "M1",
        "args": {"cause": "emergency"},
        "issued_at": format_moment(now_ms),
        "expires_at": format_moment(now_ms + 60_000),
        "reason": "fire",
        "counter": 1,
    }
    return json.dumps(fields | change)


async def test_commands_come_down_and_their_results_go_up(tmp_path: Path, broker: RealBroker) -> None:
    down = "wattgate/v1/G1/down/command"
    async with running(broker), centre(tmp_path, broker.port) as c, gateway(tmp_path, broker.port) as g:
        meter = Meter("M1", "a", "000000000001", "dlt645-2007", "p", None, "P1", SwitchKind.INTERNAL, "a")
        await g.store.write(lambda tx: tx.save_meter(meter))
        async with aiomqtt.Client("127.0.0.1", broker.port) as sender:
            await sender.publish(down, command("r-1"), qos=1, retain=True)
            await g.link.connected.wait()
            await sender.publish(down, command("c-1"), qos=1)
            await sender.publish(down, command("c-1"), qos=1)
            await sender.publish(down, command("c-2", gateway="G2"), qos=1)
            await sender.publish(down, command("c-3", force=True), qos=1)
            await sender.publish(down, b"\xff\x00", qos=1)
            await sender.publish("wattgate/v1/G1/down/ack", json.dumps({"epoch": "other", "upto": 1}), qos=1)
        await until(lambda: g.waiting() == 0 and c.count(schema.result) == 5 and c.count(schema.event) == 6, "all is answered")
        [only] = g.store.read_now(lambda tx: tx.commands(100))
        assert (only.id, only.state) == ("c-1", CommandState.QUEUED)
        with c.store._database.reader.connect() as connection:
            results = connection.execute(select(schema.result.c["command", "state"]).order_by(schema.result.c.command)).all()
            kinds = connection.scalars(select(schema.event.c.kind)).all()
        assert [tuple(row) for row in results] == [
            ("c-1", "queued"),
            ("c-1", "queued"),
            ("c-2", "refused"),
            ("c-3", "refused"),
            ("r-1", "refused"),
        ]
        assert sorted(kinds) == sorted(
            [EventKind.CUT_ORDERED, EventKind.ACK_REFUSED, *[EventKind.COMMAND_UNREADABLE] * 4]
        )


async def test_the_will_speaks_for_a_gateway_that_vanished(tmp_path: Path, broker: RealBroker) -> None:
    async with running(broker), aiomqtt.Client("127.0.0.1", broker.port) as spy:
        await spy.subscribe("wattgate/v1/G1/status", qos=1)
        said = spy.messages
        async with gateway(tmp_path, broker.port) as g:
            assert json.loads((await asyncio.wait_for(anext(said), 10)).payload)["state"] == "online"  # type: ignore[arg-type]
            client = g.link._session._client
            assert client is not None
            client._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # the wire is cut, nothing is said
            assert json.loads((await asyncio.wait_for(anext(said), 10)).payload)["state"] == "offline"  # type: ignore[arg-type]
            assert json.loads((await asyncio.wait_for(anext(said), 10)).payload)["state"] == "online"  # type: ignore[arg-type]
        assert json.loads((await asyncio.wait_for(anext(said), 10)).payload)["state"] == "offline"  # type: ignore[arg-type]
