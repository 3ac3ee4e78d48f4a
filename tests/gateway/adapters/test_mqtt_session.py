"""How a connection is made again, in virtual time and with a client that the test holds in its hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from aiomqtt import MqttError, ProtocolVersion
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_ERR_SUCCESS
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from structlog.testing import capture_logs

from gateway.adapters import mqtt_session
from gateway.adapters.mqtt_session import LONGEST_PAUSE_S, Broker, MqttSession, Words
from tests.simulation.virtual_loop import in_virtual_time


class FakeClient:
    """Stands for aiomqtt's client. `world` is what all of them share."""

    class World:
        def __init__(self) -> None:
            self.attempts: list[tuple[float, ProtocolVersion]] = []
            self.up = False
            self.only_4 = False
            self.answers = True
            self.answer = "Success"
            self.mid = 0
            self.lost = asyncio.Event()
            self.said: list[tuple[str, bytes, bool]] = []
            self.filters: list[str] = []

    world: World

    def __init__(self, *_: object, protocol: ProtocolVersion, **__: object) -> None:
        self.protocol = protocol
        self.on_publish: Any = None
        self.on_log: Any = None
        self.on_disconnect: Any = None
        self._disconnected = asyncio.get_running_loop().create_future()
        self._client = self

    def _create_socket(self) -> None:
        raise AssertionError("nothing is connected here")

    def socket(self) -> None:
        return None

    async def __aenter__(self) -> FakeClient:
        self.world.attempts.append((asyncio.get_running_loop().time(), self.protocol))
        if not self.world.up:
            raise MqttError("[Errno 111] Connection refused")
        if self.world.only_4 and self.protocol is ProtocolVersion.V5:
            raise MqttConnectError(ReasonCode(PacketTypes.CONNACK, "Unsupported protocol version"))
        self.world.lost = asyncio.Event()
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._disconnected.done():
            self._disconnected.set_result(None)

    async def subscribe(self, topic: str, **_: object) -> None:
        self.world.filters.append(topic)

    def manual_ack_set(self, on: bool) -> None:
        assert on

    def disable_logger(self) -> None: ...

    def on_connect(self, *_: object) -> None: ...

    def on_socket_open(self, *_: object) -> None: ...

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: object = None) -> SimpleNamespace:
        """As paho has it."""
        assert qos == 1
        world = self.world
        world.said.append((topic, payload, retain))
        world.mid += 1
        if world.answers:
            code = ReasonCode(PacketTypes.PUBACK, world.answer)
            asyncio.get_running_loop().call_soon(self.on_publish, self, None, world.mid, code, None)
        return SimpleNamespace(rc=MQTT_ERR_SUCCESS, mid=world.mid)

    @property
    def messages(self) -> AsyncIterator[object]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[object]:
        await self.world.lost.wait()
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        raise MqttError("Disconnected during message iteration")
        yield


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    monkeypatch.setattr(mqtt_session, "Client", FakeClient)
    return FakeClient


def session(broker: Broker = Broker(protocol=5), seed: int = 1) -> MqttSession:  # noqa: B008 - frozen
    async def nothing(topic: str, payload: bytes, retained: bool) -> None: ...

    return MqttSession(
        broker,
        "wattgate-G1",
        filters=("a/#",),
        on_message=nothing,
        greeting=Words("s", lambda: b"here"),
        farewell=Words("s", lambda: b"gone"),
        rng=random.Random(seed),
    )


@in_virtual_time
async def test_a_broker_that_is_gone_is_told_once_and_tried_at_most_once_a_second(client: type[FakeClient]) -> None:
    client.world = FakeClient.World()
    s = session()
    with capture_logs() as logs:
        running = asyncio.create_task(s.run())
        await asyncio.sleep(300)
        with pytest.raises(ConnectionError, match="no connection"):
            await s.publish("t", b"x")
        times = [at for at, _ in client.world.attempts]
        pauses = [b - a for a, b in pairwise(times)]
        assert min(pauses) >= 1.0 and max(pauses) <= 1.5 * LONGEST_PAUSE_S and len(times) > 10
        assert pauses[:3] == sorted(pauses[:3])
        client.world.up = True
        await asyncio.wait_for(s.connected.wait(), 1.5 * LONGEST_PAUSE_S)
        await asyncio.sleep(1)
    assert [log["event"] for log in logs] == [
        "the MQTT broker 127.0.0.1:1883 is gone (nothing listens there); trying again until it is back",
        "the MQTT broker 127.0.0.1:1883 is back",
    ]
    assert (client.world.filters, client.world.said) == (["a/#"], [("s", b"here", True)])
    running.cancel()
    await asyncio.wait((running,))
    assert client.world.said[-1] == ("s", b"gone", True)


@in_virtual_time
async def test_a_street_of_gateways_does_not_knock_at_the_same_moment(client: type[FakeClient]) -> None:
    knocks = []
    for seed in range(5):
        client.world = FakeClient.World()
        running = asyncio.create_task(session(seed=seed).run())
        await asyncio.sleep(300)
        running.cancel()
        await asyncio.wait((running,))
        pauses = [b - a for (a, _), (b, _) in pairwise(client.world.attempts)]
        assert all(base <= pause <= 1.5 * base for pause, base in zip(pauses, (1, 2, 4, 8, 16, *[30] * 20), strict=False)), pauses
        knocks += [sum(pauses[:n]) for n in range(1, len(pauses) + 1)]
    assert len({round(knock, 1) for knock in knocks}) > 0.9 * len(knocks)


@in_virtual_time
async def test_what_waits_fails_the_moment_the_connection_is_lost(client: type[FakeClient]) -> None:
    client.world = FakeClient.World()
    client.world.up = True
    s = session()
    running = asyncio.create_task(s.run())
    await s.connected.wait()
    client.world.answers = False
    waiting = [asyncio.create_task(s.publish("t", b"x")) for _ in range(3)]
    await asyncio.sleep(2)
    assert not any(task.done() for task in waiting)
    client.world.lost.set()
    lost_at = asyncio.get_running_loop().time()
    await asyncio.wait(waiting)
    assert asyncio.get_running_loop().time() - lost_at < 0.01
    assert all(isinstance(task.exception(), ConnectionError) for task in waiting)
    assert not s.connected.is_set()
    client.world.answers = True
    await s.connected.wait()
    assert s.connections == 2
    running.cancel()
    await asyncio.wait((running,))


@in_virtual_time
async def test_an_acknowledgement_that_does_not_come_is_a_timeout(client: type[FakeClient]) -> None:
    client.world = FakeClient.World()
    client.world.up = True
    s = session()
    running = asyncio.create_task(s.run())
    await s.connected.wait()
    client.world.answers = False
    with pytest.raises(TimeoutError, match="no acknowledgement within 10 s"):
        await s.publish("t", b"x")
    running.cancel()
    await asyncio.wait((running,))


@in_virtual_time
async def test_an_older_broker_is_met_in_its_own_version(client: type[FakeClient]) -> None:
    client.world = FakeClient.World()
    client.world.up = client.world.only_4 = True
    s = session(Broker())
    with capture_logs() as logs:
        running = asyncio.create_task(s.run())
        await s.connected.wait()
    assert [version for _, version in client.world.attempts] == [ProtocolVersion.V5, ProtocolVersion.V311]
    assert client.world.attempts[1][0] >= 1.0
    assert [log["event"] for log in logs] == ["the MQTT broker 127.0.0.1:1883 is connected"]
    running.cancel()
    await asyncio.wait((running,))


@pytest.mark.parametrize(
    ("host", "loopback"),
    (("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.8.9.1", True), ("10.0.0.1", False), ("broker.example", False)),
)
def test_what_counts_as_loopback(host: str, loopback: bool) -> None:
    assert Broker(host).on_loopback is loopback


@pytest.mark.parametrize("refused", [True, False])
@in_virtual_time
async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(client: type[FakeClient], refused: bool) -> None:
    """asyncio.wait_for, in which the client library waits, loses it then (Python 3.11)."""
    client.world, answer = FakeClient.World(), asyncio.get_running_loop().create_future()

    async def enter(self: FakeClient) -> FakeClient:
        await asyncio.wait_for(answer, 10)
        return self

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "__aenter__", enter)
        running = asyncio.create_task(session().run())
        await asyncio.sleep(1)
        if refused:
            answer.set_exception(MqttError("refused"))
        else:
            answer.set_result(None)
        running.cancel()
        await asyncio.wait((running,), timeout=600)
    assert running.cancelled()
