"""From the gateway's outbox through a real broker into the central store, and back: acks, commands, and what breaks between."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from pathlib import Path

import aiomqtt
import pytest
from sqlalchemy import select

from gateway.adapters.mqtt_link import Broker
from gateway.adapters.mqtt_session import MqttSession, Words
from gateway.central import schema
from gateway.domain.events import EventKind
from gateway.domain.meters import Meter, SwitchKind
from gateway.domain.supply import CommandState
from protocols.uplink.moments import format_moment
from tests.gateway.brokers import Mosquitto, Nats, RealBroker, free_port, running
from tests.gateway.uplink_ends import WITHIN_S, SystemClock, centre, gateway, until


@pytest.fixture(params=("nats", "mosquitto"))
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> RealBroker:
    if request.param == "nats":
        return Nats(tmp_path / "broker")
    return Mosquitto(tmp_path / "broker", request.getfixturevalue("mosquitto"))


async def test_what_is_written_here_is_safe_there_and_leaves(tmp_path: Path, broker: RealBroker) -> None:
    address = Broker(port=broker.port)  # its version is for us to find
    async with running(broker), centre(tmp_path, address) as c, gateway(tmp_path, address) as g:
        await c.central.session.connected.wait()
        await g.link.connected.wait()
        await g.add(*range(250))
        await until(lambda: g.waiting() == 0, "the outbox is empty")
        assert c.numbers() == list(range(250))
        assert c.count(schema.message) == 250
        state = g.store.read_now(lambda tx: tx.outbox_state())
        assert (state.published, state.acknowledged) == (250, 250)
        async with aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as spy:
            await spy.subscribe("wattgate/v1/+/status")
            status = await asyncio.wait_for(anext(spy.messages), WITHIN_S)
        assert status.retain and json.loads(status.payload)["state"] == "online"


async def test_a_killed_broker_costs_nothing(tmp_path: Path, broker: RealBroker) -> None:
    total, at_once = 2000, 25
    async with running(broker), centre(tmp_path, broker.address) as c, gateway(tmp_path, broker.address) as g:
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
    async with running(broker), gateway(tmp_path, broker.address) as g:
        await g.link.connected.wait()
        await g.add(*range(300))
        await until(lambda: g.store.read_now(lambda tx: tx.outbox_state().published) == 300, "all is published")
        assert g.waiting() == 300
        async with centre(tmp_path, broker.address) as c:
            await until(lambda: c.count(schema.message) > 0, "the probe arrives")
            await g.add(*range(300, 320))
        async with centre(tmp_path, broker.address) as c:
            await until(lambda: g.waiting() == 0, "the outbox is empty")
            assert c.numbers() == list(range(320))


async def test_a_gateway_killed_between_publish_and_mark_sends_again_and_is_stored_once(tmp_path: Path, broker: RealBroker) -> None:
    async with running(broker), centre(tmp_path, broker.address) as c:
        async with gateway(tmp_path, broker.address) as g:
            await g.link.connected.wait()
            await g.add(*range(200))
            await until(lambda: c.count(schema.message) > 0, "something arrived")
        async with gateway(tmp_path, broker.address) as g:
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
        "expires_at": format_moment(now_ms + 300_000),
        "reason": "fire",
        "counter": 1,
    }
    return json.dumps(fields | change)


async def test_commands_come_down_and_their_results_go_up(tmp_path: Path, broker: RealBroker) -> None:
    down = "wattgate/v1/G1/down/command"
    sender = aiomqtt.Client("127.0.0.1", broker.port, timeout=60)
    async with running(broker), centre(tmp_path, broker.address) as c, sender:
        await sender.publish(down, command("r-1"), qos=1, retain=True)
        await c.central.session.connected.wait()
        async with gateway(tmp_path, broker.address) as g:
            await g.link.connected.wait()
            meter = Meter("M1", "a", "000000000001", "dlt645-2007", "p", None, "P1", SwitchKind.INTERNAL, "a")
            await g.store.write(lambda tx: tx.save_meter(meter))
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
                r = schema.result.c
                results = connection.execute(select(r.command, r.state).order_by(r.command)).all()
                kinds = connection.scalars(select(schema.event.c.kind)).all()
            assert [tuple(row) for row in results] == [
                ("c-1", "queued"),
                ("c-1", "queued"),
                ("c-2", "refused"),
                ("c-3", "refused"),
                ("r-1", "refused"),
            ]
            told = [EventKind.CUT_ORDERED, EventKind.ACK_REFUSED, EventKind.COMMAND_REFUSED, *[EventKind.COMMAND_UNREADABLE] * 3]
            assert sorted(kinds) == sorted(told)


async def test_the_will_speaks_for_a_gateway_that_vanished(tmp_path: Path, broker: RealBroker) -> None:
    """It must not be back before: the broker may see both at once then, and say nothing."""
    topic = "wattgate/v1/G1/status"
    async with running(broker), aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as spy:
        await spy.subscribe(topic, qos=1)
        said = (str(message.payload, "ascii") async for message in spy.messages if isinstance(message.payload, bytes))
        here, gone = Words(topic, lambda: b"online"), Words(topic, lambda: b"offline")
        session = MqttSession(
            broker.address, "wattgate-G1", filters=(), greeting=here, farewell=gone, rng=random.Random(1), will_delay_s=1
        )
        link = asyncio.create_task(session.run())
        assert await asyncio.wait_for(anext(said), WITHIN_S) == "online"
        session._broker = Broker(port=free_port(), protocol=broker.address.protocol)  # nobody is there
        cut(session)
        assert await asyncio.wait_for(anext(said), WITHIN_S) == "offline"
        session._broker = broker.address
        assert await asyncio.wait_for(anext(said), WITHIN_S) == "online"
        link.cancel()
        assert await asyncio.wait_for(anext(said), WITHIN_S) == "offline"
        await asyncio.wait((link,))


async def test_a_connection_that_is_back_at_once_was_never_away(tmp_path: Path, mosquitto: str) -> None:
    broker = Mosquitto(tmp_path / "broker", mosquitto)
    async with running(broker), aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as spy:
        await spy.subscribe("wattgate/v1/G1/status", qos=1)
        said = spy.messages
        async with gateway(tmp_path, broker.address) as g:
            states = [json.loads((await asyncio.wait_for(anext(said), WITHIN_S)).payload)["state"]]
            cut(g.link._session)
            states.append(json.loads((await asyncio.wait_for(anext(said), WITHIN_S)).payload)["state"])
            assert states == ["online", "online"]


def cut(session: MqttSession) -> None:
    """The wire is cut, nothing is said."""
    client = session._client
    assert client is not None
    client._client.socket()._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
