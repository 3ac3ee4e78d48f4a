"""Several instances on one store and a real broker: killed, fed twice and out of order; each message once, each acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiomqtt
import pytest

from gateway.adapters.mqtt_link import Broker
from gateway.bootstrap.new_keys import write_new_key
from gateway.central import contents, keys, schema
from gateway.central.arrivals import Arrival
from gateway.central.service import Central
from gateway.central.store import CentralStore
from protocols.uplink import messages, signing
from protocols.uplink.messages import EventMessage
from protocols.uplink.topics import NATIVE, Down, Up
from tests.gateway.brokers import RealBroker, running
from tests.gateway.central.conftest import READY_S, count, emptied, rows
from tests.gateway.uplink_ends import end, until


@contextlib.asynccontextmanager
async def instance(url: str, broker: Broker, name: str, *, share: str | None = "centre") -> AsyncIterator[Central]:
    store = CentralStore.open(url)
    central = Central(store, broker, NATIVE, identifier=name, share=share, rng=random.Random(1))
    task = asyncio.create_task(central.run())
    try:
        await asyncio.wait_for(central.session.connected.wait(), READY_S)
        yield central
    finally:
        await end(task)
        store.close()


def event(seq: int, *, low: int = 1, epoch: str = "e1") -> bytes:
    said = EventMessage(epoch=epoch, seq=seq, low=low, backlog=False, kind="line_up", at="2026-11-22T08:00:00Z", data={"n": seq})
    return messages.encode(said)


class Gateways:
    """Several gateways behind one connection: they send until everything is acknowledged, as an outbox does, but less patiently."""

    def __init__(self, client: aiomqtt.Client, names: tuple[str, ...], most: int) -> None:
        self._client, self._most = client, most
        self.open = {name: set(range(1, most + 1)) for name in names}
        self._rng = random.Random(5)

    async def run(self) -> None:
        await self._client.subscribe(NATIVE.root + "/+/down/ack", qos=1)
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(self._hear())
            while any(self.open.values()):
                for name, numbers in self.open.items():
                    await self._send(name, sorted(numbers)[:50])
                await asyncio.sleep(0.1)
            hearing.cancel()

    async def _send(self, name: str, numbers: list[int]) -> None:
        numbers = [n for n in numbers for _ in range(self._rng.choice((1, 1, 2)))]
        self._rng.shuffle(numbers)
        for n in numbers:
            await self._client.publish(NATIVE.up(name, Up.EVENT, "gateway"), event(n, low=min(self.open[name], default=1)), qos=1)

    async def _hear(self) -> None:
        async for message in self._client.messages:
            assert isinstance(message.payload, bytes)
            ack = messages.decode_ack(message.payload)
            gone = {n for first, last in ((1, ack.upto), *ack.also) for n in range(first, last + 1)}
            self.open[message.topic.value.split("/")[2]] -= gone


def each_once(store: CentralStore, names: tuple[str, ...], most: int) -> None:
    stored = sorted((row["gateway"], row["seq"]) for row in rows(store, schema.message))
    assert stored == sorted((name, n) for name in names for n in range(1, most + 1))
    assert sorted((row["gateway"], json.loads(str(row["data"]))["n"]) for row in rows(store, schema.event)) == stored


async def test_two_instances_share_the_messages_and_acknowledge_them_together(url: str, broker: RealBroker) -> None:
    names, most = ("G1", "G2", "G3"), 60
    async with running(broker), instance(url, broker.address, "c-1") as one, instance(url, broker.address, "c-2") as two:
        async with aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as client:
            await asyncio.wait_for(Gateways(client, names, most).run(), READY_S)
        assert one.counts.received and two.counts.received
        assert one.stored + two.stored == most * len(names)
        each_once(one.store, names, most)


async def test_an_instance_that_is_gone_leaves_its_share_to_the_other(url: str, broker: RealBroker) -> None:
    """Its session ends with it: what the broker had handed to it comes again from the gateways, which heard no acknowledgement."""
    client = aiomqtt.Client("127.0.0.1", broker.port, timeout=60)
    async with running(broker), instance(url, broker.address, "c-1") as one, client:
        gateways = Gateways(client, ("G1", "G2"), 200)
        async with instance(url, broker.address, "c-2") as two:
            sending = asyncio.create_task(gateways.run())
            await until(lambda: two.stored > 0, "the second takes its share")
        await asyncio.wait_for(sending, READY_S)
        each_once(one.store, ("G1", "G2"), 200)


async def test_pain_25_what_was_committed_but_not_acknowledged_is_acknowledged_by_the_next(url: str, broker: RealBroker) -> None:
    async with running(broker), aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as client:
        await client.subscribe("wattgate/v1/G1/down/ack", qos=1)
        async with instance(url, broker.address, "c-1", share=None) as dying:
            dying._acks = Deaf()  # it dies between the commit and the acknowledgement
            for n in (1, 2, 4):
                await client.publish(NATIVE.up("G1", Up.EVENT, "gateway"), event(n), qos=1)
            await until(lambda: dying.stored == 3, "they are stored")
        async with instance(url, broker.address, "c-2", share=None) as heir:
            await client.publish(NATIVE.up("G1", Up.EVENT, "gateway"), event(2), qos=1)
            message = await asyncio.wait_for(anext(aiter(client.messages)), READY_S)
            assert json.loads(bytes(message.payload)) == {"epoch": "e1", "upto": 2, "also": [[4, 4]]}
            assert (heir.stored, count(heir.store, schema.message)) == (0, 3)


class Deaf(dict[str, messages.Ack]):
    """Forgets what is put in."""

    def __ior__(self, _other: object) -> Deaf:  # type: ignore[override,misc]
        return self


async def test_acks_and_requests_are_signed(tmp_path: Path, broker: RealBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.central.service.HOLES_EVERY_S", 0.1)
    monkeypatch.setattr("gateway.central.service.CHORES_S", 0.05)
    public = signing.public_key(write_new_key(tmp_path / "centre.jwk", "centre-1"))
    store = CentralStore.open(str(tmp_path / "central.db"))
    async with running(broker), aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as client:
        await client.subscribe("wattgate/v1/G1/down/#", qos=1)
        central = Central(store, broker.address, NATIVE, signer=keys.load(tmp_path / "centre.jwk"), rng=random.Random(1))
        task = asyncio.create_task(central.run())
        await central.session.connected.wait()
        await client.publish(NATIVE.up("G1", Up.EVENT, "gateway"), event(7, low=4), qos=1)
        found: dict[str, signing.Signed] = {}
        while found.keys() != {Down.ACK.value, Down.RESEND.value}:  # each may come more than once
            m = await asyncio.wait_for(anext(aiter(client.messages)), READY_S)
            found[m.topic.value.rpartition("/")[2]] = signing.open_signed(bytes(m.payload), lambda _: public)
        assert {signed.kid for signed in found.values()} == {"centre-1"}
        assert json.loads(found[Down.ACK.value].payload)["also"] == [[7, 7]]
        assert json.loads(found[Down.RESEND.value].payload)["ranges"] == [[1, 3]]
        await end(task)
    store.close()


async def test_strange_messages_do_not_stop_the_others(url: str, broker: RealBroker) -> None:
    up = NATIVE.up("G1", Up.EVENT, "gateway")
    async with running(broker), instance(url, broker.address, "c-1", share=None) as central:
        async with aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as client:
            for payload in (
                b"",
                b"\xff",
                b"[]",
                b'{"epoch": "e1"}',
                event(0 + 1)[:-1],
                b'{"epoch":"e1","seq":2,"low":1,"backlog":false}',
            ):
                await client.publish(up, payload, qos=1)
            await client.publish("wattgate/v1/G1/up/rumour/x", event(9), qos=1)
            await client.publish("wattgate/v1/G 1/up/event/x", event(9), qos=1)
            await client.publish(NATIVE.status("G1"), b"gone", qos=1)
            await client.publish(up, event(1), qos=1)
            await until(lambda: central.stored == 2, "the good one and the unreadable one are stored")
        [kept] = rows(central.store, schema.unreadable)
        assert b'"seq":2' in bytes(kept["payload"])  # type: ignore[call-overload]
        assert central.counts.unread == 6


async def test_a_message_that_the_store_does_not_take_is_kept_as_unreadable(
    url: str, broker: RealBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(number: int, arrival: Arrival) -> object:
        if arrival.envelope.seq == 3 and isinstance(arrival.content, EventMessage):
            raise ValueError("the store chokes on it")
        return rows_of(number, arrival)

    rows_of = contents.content_rows
    monkeypatch.setattr("gateway.central.contents.content_rows", fails)
    async with running(broker), instance(url, broker.address, "c-1", share=None) as central:
        async with aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as client:
            for n in range(1, 7):
                await client.publish(NATIVE.up("G1", Up.EVENT, "gateway"), event(n), qos=1)
            await until(lambda: central.stored == 6, "all are stored")
        assert [row["why"] for row in rows(central.store, schema.unreadable)] == ["the store does not take it: ValueError"]
        assert rows(central.store, schema.stream)[0]["upto"] == 6


KILLS = 3
PROOF_KILLS = 40

CONFIG = """
[central]
id = "{name}"
url = "{url}"
share = "centre"

[mqtt]
port = {port}
"""


async def process(folder: Path, name: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "gateway", "central", "-c", str(folder / f"{name}.toml"), "--ready"]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    assert child.stdout is not None
    assert await asyncio.wait_for(child.stdout.readline(), READY_S)
    return child


async def test_pain_25_nothing_is_lost_or_doubled_when_instances_are_killed(
    tmp_path: Path, postgres: str, broker: RealBroker, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    kills = KILLS if proof_scale == 1 else PROOF_KILLS
    most, rng = 150 * kills, random.Random(11)
    store = CentralStore.open(postgres)
    alive: dict[str, asyncio.subprocess.Process] = {}
    try:
        async with running(broker), aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as client:
            for name in ("c-1", "c-2"):
                (tmp_path / f"{name}.toml").write_text(CONFIG.format(name=name, url=postgres, port=broker.port))
                alive[name] = await process(tmp_path, name)
            sending = asyncio.create_task(Gateways(client, ("G1", "G2"), most).run())
            for _ in range(kills):
                seen = count(store, schema.message)
                await until(lambda: sending.done() or count(store, schema.message) > seen + 20, "they go on")  # noqa: B023
                victim = rng.choice(sorted(alive))
                alive[victim].send_signal(signal.SIGKILL)
                await alive[victim].wait()
                alive[victim] = await process(tmp_path, victim)
            await asyncio.wait_for(sending, 10 * READY_S)
        each_once(store, ("G1", "G2"), most)
        figure(
            "the centre's instances killed (-9) under load, messages lost or doubled", f"{kills} kills, {2 * most} messages, none"
        )
    finally:
        for child in alive.values():
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        store.close()
        emptied(postgres)
