"""What the session says and hears on the wire, byte by byte at a broker that the test holds: MQTT 5 and 3.1.1."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from gateway.adapters import mqtt_session
from gateway.adapters.mqtt_session import Arrival, Broker, Demands, Hasty, MqttSession, Words
from tests.gateway.adapters.scripted_broker import Publish, ScriptedBroker
from tests.gateway.uplink_ends import end, until

DAY_S = 86_400
Take = Callable[[Arrival], Awaitable[None]]


@contextlib.asynccontextmanager
async def met(
    broker: ScriptedBroker,
    protocol: int | None = 5,
    on_arrival: Take | None = None,
    inflight: int = 100,
    *,
    lasting: bool = True,
    seen: Hasty | None = None,
    unanswered: int | None = None,
) -> AsyncIterator[MqttSession]:
    """A session at this broker that need not have got in."""
    async with broker.serving():
        session = MqttSession(
            Broker(port=broker.port, protocol=protocol, username="G1", password="secret"),
            "wattgate-G1",
            filters=("down/#",),
            on_arrival=on_arrival,
            greeting=Words("status", lambda: b"online"),
            farewell=Words("status", lambda: b"offline"),
            rng=random.Random(1),
            inflight=inflight,
            lasting=lasting,
            hasty=seen,
            unanswered=unanswered,
        )
        running = asyncio.create_task(session.run())
        try:
            yield session
        finally:
            await end(running)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts at once: what a test is about that does not ask when."""
    monkeypatch.setattr(mqtt_session, "FIRST_PAUSE_S", 0.01)


async def test_what_mqtt_5_is_told_at_the_beginning() -> None:
    broker = ScriptedBroker()
    async with met(broker) as session:
        await session.connected.wait()
    [said] = broker.connects
    assert (said.level, said.clean, said.keepalive_s) == (5, False, 15), "the session that the broker keeps is taken up"
    assert said.properties == {"SessionExpiryInterval": DAY_S, "ReceiveMaximum": 100}
    assert said.will == Publish("status", b"offline", 1, True, {"WillDelayInterval": 10})
    assert (said.username, said.password) == ("G1", "secret")
    assert broker.subscribed == [("down/#", 0b1001)], "QoS 1, and the retain flag as it was published"
    assert [(each.payload, each.retain) for each in broker.heard] == [(b"online", True), (b"offline", True)]
    assert broker.farewells == [0]


async def test_what_3_1_1_is_told_at_the_beginning() -> None:
    broker = ScriptedBroker()
    async with met(broker, 4) as session:
        await session.connected.wait()
        await session.publish("t", b"x", demands=Demands(expiry_s=1, response="r", correlation=b"c"))
    [said] = broker.connects
    assert (said.level, said.clean, said.properties) == (4, False, None)
    assert said.will == Publish("status", b"offline", 1, True, None)
    assert broker.subscribed == [("down/#", 1)]
    assert [each.payload for each in broker.heard] == [b"online", b"x", b"offline"]


async def test_who_needs_no_session_leaves_none() -> None:
    broker = ScriptedBroker()
    async with met(broker, lasting=False) as session:
        await session.connected.wait()
    [said] = broker.connects
    assert said.clean and said.properties == {"SessionExpiryInterval": 0, "ReceiveMaximum": 100}
    assert said.will is not None and said.will.properties == {}, "the will speaks when the session ends"


async def test_a_broker_is_told_how_much_it_may_send_before_an_answer() -> None:
    async with met(broker := ScriptedBroker(), unanswered=1000) as session:
        await session.connected.wait()
    assert broker.connects[0].properties == {"SessionExpiryInterval": DAY_S, "ReceiveMaximum": 1000}


@pytest.mark.parametrize(("said", "most"), (({}, 100), ({"ReceiveMaximum": 7}, 7), ({"ReceiveMaximum": 5000}, 100)))
async def test_never_more_is_under_way_than_the_broker_takes(said: dict[str, int], most: int) -> None:
    broker, count = ScriptedBroker(said=said, answer_s=0.1), 5 * most
    async with met(broker) as session:
        await session.connected.wait()
        answers = await session.publish_all((("t", b"%d" % n) for n in range(count)), count)
    assert answers == [None] * count and broker.most == most
    assert [each.payload for each in broker.heard[1 : count + 1]] == [b"%d" % n for n in range(count)]


async def test_demands_go_out_and_come_in() -> None:
    broker, arrivals = ScriptedBroker(), list[Arrival]()

    async def take(arrival: Arrival) -> None:
        arrivals.append(arrival)

    async with met(broker, on_arrival=take) as session:
        await session.connected.wait()
        await session.publish("t", b"x", demands=Demands(expiry_s=9, response="r", correlation=b"c"))
        broker.send("down/command", b"do", 7, MessageExpiryInterval=8, ResponseTopic="there", CorrelationData=b"42")
        broker.send("down/command", b"and", 8)
        await until(lambda: len(arrivals) == 2, "both have come")
    assert broker.heard[1].properties == {"MessageExpiryInterval": 9, "ResponseTopic": "r", "CorrelationData": "63"}
    assert [each.demands for each in arrivals] == [Demands(8, "there", b"42"), Demands()]


async def test_a_message_is_acknowledged_when_it_is_written_down_and_else_comes_again(hasty: None) -> None:
    broker, durable = ScriptedBroker(), asyncio.Event()
    begun = asyncio.Event()

    async def take(arrival: Arrival) -> None:
        begun.set()
        await durable.wait()
        if arrival.payload == b"disk full":
            raise ConnectionError("the store cannot")

    async with met(broker, on_arrival=take) as session:
        await session.connected.wait()
        broker.send("down/command", b"do", 7)
        await begun.wait()
        await asyncio.sleep(0.1)
        assert broker.acked == []
        durable.set()
        await until(lambda: broker.acked == [7], "it is acknowledged")
        broker.send("down/command", b"disk full", 8)
        await until(lambda: session.connections == 2, "the connection is made again, so that the broker sends it again")
    assert broker.acked == [7]


REFUSALS = (
    (5, 134, "it does not know this user name and password (reason code 134)"),
    (5, 135, "it does not allow us in; its list of clients and our certificate or user name do not agree (reason code 135)"),
    (5, 133, "it does not take our client identifier (reason code 133)"),
    (5, 136, "it is not available (reason code 136)"),
    (5, 151, "a quota of the broker is used up (reason code 151)"),
    (5, 138, "it has banned us (reason code 138)"),
    (5, -1, "it hung up without an answer; do TLS and the port agree?"),
    (5, 159, "connection rate exceeded (reason code 159)"),
    (4, 2, "it does not take our client identifier (reason code 133)"),
    (4, 3, "it is not available (reason code 136)"),
    (4, 4, "it does not know this user name and password (reason code 134)"),
    (4, 5, "it does not allow us in; its list of clients and our certificate or user name do not agree (reason code 135)"),
)


@pytest.mark.parametrize(("protocol", "code", "says"), REFUSALS)
async def test_a_refusal_is_told_once_in_the_brokers_words(hasty: None, protocol: int, code: int, says: str) -> None:
    broker = ScriptedBroker(code=code)
    with capture_logs() as logs:
        async with met(broker, protocol) as session:
            await until(lambda: len(broker.connects) >= 3, "it is tried again")
            assert not session.connected.is_set()
            broker.code = 0
            await session.connected.wait()
    at = f"the MQTT broker 127.0.0.1:{broker.port} is"
    assert [log["event"] for log in logs][:2] == [f"{at} gone ({says}); trying again until it is back", f"{at} back"]


@pytest.mark.parametrize(
    ("code", "says"),
    (
        (139, "it is shutting down"),
        (141, "nothing came through between it and us for too long"),
        (142, "another client with our identifier has connected; two gateways must not have the same id"),
        (147, "we sent more at once than it takes"),
        (149, "a message was larger than it takes"),
        (152, "an administrator of the broker has ended the connection"),
    ),
)
async def test_why_a_connection_was_ended_is_told(hasty: None, code: int, says: str) -> None:
    broker = ScriptedBroker()
    with capture_logs() as logs:
        async with met(broker) as session:
            await session.connected.wait()
            broker.disconnect(code)
            await until(lambda: session.connections == 2, "it is back")
    assert f"({says} (reason code {code})); trying again" in str([log["event"] for log in logs])


async def test_a_broker_that_lets_us_in_and_ends_it_at_once_is_tried_once_a_second() -> None:
    broker = ScriptedBroker()
    async with met(broker) as session:
        for n in range(1, 4):
            await until(lambda: session.connections == n, "it is back")  # noqa: B023
            broker.disconnect(139)
    pauses = [b - a for a, b in pairwise(broker.times)]
    assert len(pauses) >= 2 and min(pauses) >= 1.0, pauses


async def test_who_else_has_our_id_is_not_fought_for_ever(hasty: None) -> None:
    """Each would throw the other out at every attempt: the pauses grow although each attempt succeeds."""
    broker = ScriptedBroker()
    async with met(broker) as session:
        for n in range(1, 7):
            await until(lambda: session.connections == n, "it is back")  # noqa: B023
            broker.disconnect(142)
    pauses = [b - a for a, b in pairwise(broker.times)]
    assert pauses[-1] > 8 * 0.01 and pauses[-1] > pauses[0]


async def test_a_broker_of_3_1_1_is_met_in_its_own_version_and_remembered(hasty: None) -> None:
    broker = ScriptedBroker(only_4=True)
    with capture_logs() as logs:
        async with met(broker, protocol=None) as session:
            await until(lambda: session.connections == 1, "it is in")
            broker._writer.close()  # type: ignore[union-attr]
            await until(lambda: session.connections == 2, "it is in again")
    assert [said.level for said in broker.connects] == [5, 4, 4]
    assert "reason code" not in str(logs)


async def test_a_broker_that_takes_no_message_says_why_and_the_connection_stays() -> None:
    broker = ScriptedBroker()
    async with met(broker) as session:
        await session.connected.wait()
        for code, says in ((151, "a quota of the broker is used up"), (144, "it does not take this topic")):
            broker.puback = code
            with pytest.raises(ConnectionError, match=f"took no message: {says}"):
                await session.publish("t", b"x")
        broker.puback = 0
        await session.publish("t", b"x")
        assert session.connections == 1


async def test_a_broker_that_sends_more_than_it_was_asked_to_waits_and_nothing_is_dropped() -> None:
    """As Mosquitto 2.0 does. What is dropped unacknowledged would fill the broker's window until the connection ends."""
    broker, gate, heard, seen = ScriptedBroker(), asyncio.Event(), list[int](), list[bytes]()

    async def take(arrival: Arrival) -> None:
        await gate.wait()
        heard.append(int(arrival.payload))

    def see(arrival: Arrival) -> None:
        seen.append(arrival.payload)

    async with met(broker, on_arrival=take, seen=see) as session:
        await session.connected.wait()
        for n in range(1, 6_001):
            broker.send("down/x", b"%d" % n, n)
            if n % 500 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(1)
        waiting = len(seen) + session._client._queue.qsize()  # type: ignore[union-attr]
        gate.set()
        await until(lambda: len(heard) == 6_000, "all have come")
        await until(lambda: len(broker.acked) == 6_000, "all are acknowledged")
    assert heard == list(range(1, 6_001)) == broker.acked and session.connections == 1
    assert 0 < waiting <= mqtt_session.INCOMING_LIMIT
