"""What real brokers make of what a session asks for: sessions that last, messages that expire, versions, who is let in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.adapters.mqtt_session import Arrival, Broker, Demands, MqttSession
from tests.gateway.brokers import Mosquitto, Nats, RealBroker, running
from tests.gateway.uplink_ends import end, until


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> RealBroker:
    if request.param == "nats":
        return Nats(tmp_path / "broker")
    return Mosquitto(tmp_path / "broker", request.getfixturevalue("mosquitto"))


def protocol_of(broker: RealBroker, wanted: int | None) -> Broker:
    return replace(broker.address, protocol=wanted)


@contextlib.asynccontextmanager
async def there(
    broker: Broker, name: str, heard: list[Arrival] | None = None, filters: tuple[str, ...] = ()
) -> AsyncIterator[MqttSession]:
    async def take(arrival: Arrival) -> None:
        if heard is not None:
            heard.append(arrival)

    session = MqttSession(broker, name, filters=filters, on_arrival=take, rng=random.Random(1))
    task = asyncio.create_task(session.run())
    try:
        await asyncio.wait_for(session.connected.wait(), 100)
        yield session
    finally:
        await end(task)


@pytest.mark.parametrize(("broker", "protocol"), (("mosquitto", 5), ("mosquitto", 4), ("nats", None)), indirect=["broker"])
async def test_what_is_said_while_we_are_away_comes_when_we_are_back(broker: RealBroker, protocol: int | None) -> None:
    address, heard = protocol_of(broker, protocol), list[Arrival]()
    async with running(broker), there(address, "other") as other:
        async with there(address, "we", heard, ("down/#",)) as session:
            assert session._protocol == (protocol or 4), "the version that the broker has"
        await asyncio.sleep(0.5)  # else the bundled broker sends it to the connection that ends, and again after 30 s
        await other.publish("down/command", b"while away")
        async with there(address, "we", heard, ("down/#",)):
            await until(lambda: len(heard) == 1, "it has come")
        async with there(address, "we", heard, ("down/#",)):
            await other.publish("down/command", b"new")
            await until(lambda: len(heard) == 2, "it has come")
    assert [(each.payload, each.retained) for each in heard] == [(b"while away", False), (b"new", False)], "each once"


@pytest.mark.parametrize("broker", ("mosquitto",), indirect=True)
async def test_what_has_expired_while_we_were_away_does_not_come(broker: RealBroker) -> None:
    address, heard = protocol_of(broker, 5), list[Arrival]()
    async with running(broker), there(address, "other") as other:
        async with there(address, "we", heard, ("down/#",)):
            pass
        await other.publish("down/command", b"late", demands=Demands(expiry_s=1))
        await other.publish("down/command", b"good", demands=Demands(60, "there", b"42"))
        await asyncio.sleep(2.2)
        async with there(address, "we", heard, ("down/#",)):
            await until(lambda: bool(heard), "it has come")
    [good] = heard
    assert (good.payload, good.demands.response, good.demands.correlation) == (b"good", "there", b"42")
    assert good.demands.expiry_s is not None and good.demands.expiry_s <= 59, "what it has waited is taken off"


NOBODY = "nobody:$7$101$c2FsdHNhbHRzYWx0$" + "A" * 86 + "==\n"
"""A user whose password nobody knows."""


@pytest.mark.parametrize("protocol", (5, 4))
async def test_a_broker_that_does_not_know_us_says_so(mosquitto: str, protocol: int, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(NOBODY)
    config = f"listener {{port}} 127.0.0.1\nallow_anonymous false\npersistence false\npassword_file {tmp_path / 'users'}\n"
    broker = Mosquitto(tmp_path / "broker", mosquitto, config + ("user root\n" if os.getuid() == 0 else ""))
    address = replace(protocol_of(broker, protocol), username="we", password="wrong")
    session = MqttSession(address, "we", filters=(), rng=random.Random(1))
    with capture_logs() as logs:
        async with running(broker):
            task = asyncio.create_task(session.run())
            await until(lambda: session.attempts >= 2, "it is tried again")
            await end(task)
    [told] = [str(log["event"]) for log in logs]
    assert told.endswith("our certificate or user name do not agree (reason code 135)); trying again until it is back")
