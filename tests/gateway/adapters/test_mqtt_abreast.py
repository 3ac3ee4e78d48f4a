"""What comes from a broker is begun in its order, several at once, and acknowledged in it; what was not done with comes again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest

from gateway.adapters import mqtt_session
from gateway.adapters.mqtt_session import Arrival, Hasty, MqttSession
from tests.gateway.brokers import Mosquitto, running
from tests.gateway.uplink_ends import end, until

MOST = 8


@dataclass
class Clerk:
    """Begins with what comes, and is done when it is told so."""

    begun: list[bytes] = field(default_factory=list)
    may: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bytes = b""

    async def on_arrival(self, arrival: Arrival) -> None:
        self.begun.append(arrival.payload)
        await self.may.wait()
        if arrival.payload == self.fails:
            self.fails = b""
            raise ConnectionError("it could not be written down")


@pytest.fixture
async def broker(tmp_path: Path, mosquitto: str) -> AsyncIterator[Mosquitto]:
    async with running(inside := Mosquitto(tmp_path / "mosquitto", mosquitto)):
        yield inside


def session(broker: Mosquitto, clerk: Clerk, most: int, hasty: Hasty | None = None) -> MqttSession:
    rng = random.Random(1)
    return MqttSession(
        broker.address, "clerk", filters=("t/#",), on_arrival=clerk.on_arrival, rng=rng, abreast=most, hasty=hasty, unanswered=1000
    )


async def say(broker: Mosquitto, count: int) -> list[bytes]:
    said = [f"{number}".encode() for number in range(count)]
    async with aiomqtt.Client("127.0.0.1", broker.port, timeout=60) as client:
        for payload in said:
            await client.publish("t/x", payload, qos=1)
    return said


@pytest.mark.parametrize("most", (1, MOST))
async def test_so_many_are_under_way_at_once_and_begin_in_their_order(broker: Mosquitto, most: int) -> None:
    clerk = Clerk()
    running_session = asyncio.ensure_future((inside := session(broker, clerk, most)).run())
    try:
        await inside.connected.wait()
        said = await say(broker, 3 * MOST)
        await until(lambda: len(clerk.begun) == most, "as many as there may be are begun")
        await asyncio.sleep(0.2)
        assert clerk.begun == said[:most]
        clerk.may.set()
        await until(lambda: clerk.begun == said, "all were done with, in their order")
        assert inside.connections == 1
    finally:
        await end(running_session)


async def test_what_was_not_done_with_comes_again(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_session, "FIRST_PAUSE_S", 0.01)
    clerk = Clerk(fails=b"3")
    clerk.may.set()
    running_session = asyncio.ensure_future((inside := session(broker, clerk, MOST)).run())
    try:
        await inside.connected.wait()
        said = await say(broker, MOST)
        await until(lambda: inside.connections == 2 and clerk.begun[-1] == said[-1], "all came, those after the failure again")
        again = clerk.begun[clerk.begun.index(b"3") + 1 :]
        assert again[again.index(b"3") :] == said[3:] and not {b"0", b"1", b"2"} & {*again[again.index(b"3") :]}
    finally:
        await end(running_session)


async def test_a_hasty_one_overtakes_what_waits_here(broker: Mosquitto) -> None:
    clerk, count = Clerk(), 600
    inside = session(broker, clerk, MOST, lambda arrival: "one" if arrival.payload == b"500" else None)
    running_session = asyncio.ensure_future(inside.run())
    try:
        await inside.connected.wait()
        said = await say(broker, count)
        await until(lambda: b"500" in clerk.begun, "the hasty one is begun")
        assert clerk.begun == [*said[:MOST], b"500"]
        clerk.may.set()
        await until(lambda: len(clerk.begun) == count, "all were done with")
        assert clerk.begun == [*said[:MOST], b"500", *said[MOST:500], *said[501:]]
        assert inside.connections == 1
    finally:
        await end(running_session)
