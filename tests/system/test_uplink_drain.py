"""A day's backlog of a street goes into a real broker while the gateway is killed again and again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiomqtt
import pytest

from gateway.adapters.mqtt_session import Broker
from gateway.adapters.store import store_file
from gateway.central import schema
from tests.conftest import Figure
from tests.gateway.brokers import Mosquitto, Nats, RealBroker, running
from tests.gateway.uplink_ends import Centre, centre, gateway, until
from tests.system.processes import Process, free_port
from tests.system.proofs import central_gaps, rows
from tests.system.uplink_day import arrived, fill, simulated
from tests.system.uplink_street import Day, lies, lived, told

CONFIG = """
[http]
listen = "127.0.0.1:{http}"
[mqtt]
host = "127.0.0.1"
port = {mqtt}
version = "{version}"
[uplink]
drain_per_s = {drain}
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as a stranger at the broker hears it."""

    topic: str
    seq: int
    backlog: bool


class Spy:
    """Hears everything that goes up. first: by number, as it was heard first and in the order of that."""

    def __init__(self) -> None:
        self.first: dict[int, Arrival] = {}

    async def listen(self, broker: Broker, ready: asyncio.Event) -> None:
        """Until cancelled."""
        async with aiomqtt.Client(
            broker.host, broker.port, identifier="spy", timeout=60, max_queued_incoming_messages=1_000_000
        ) as client:
            await client.subscribe("wattgate/v1/G1/up/#", qos=1)
            ready.set()
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                body = json.loads(message.payload)
                self.first.setdefault(body["seq"], Arrival(message.topic.value, body["seq"], body["backlog"]))


@contextlib.asynccontextmanager
async def listening(broker: Broker) -> AsyncIterator[Spy]:
    spy, ready = Spy(), asyncio.Event()
    task = asyncio.create_task(spy.listen(broker, ready))
    try:
        await ready.wait()
        yield spy
    finally:
        task.cancel()
        await asyncio.wait((task,))


def overtaken(arrivals: Iterable[Arrival]) -> list[str]:
    """What came behind a newer one of its own topic, within the backlog or within the live ones."""
    newest: dict[tuple[str, bool], int] = {}
    found = []
    for each in arrivals:
        before = newest.get((each.topic, each.backlog), 0)
        if each.seq < before:
            found.append(f"{each.topic}: {each.seq} after {before}, backlog {each.backlog}")
        newest[each.topic, each.backlog] = max(before, each.seq)
    return found


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Day:
    """24 h of 200 meters as a proof, an hour of 4 every day."""
    meters, hours = (200, 24) if pytestconfig.getoption("proof") else (4, 1)
    return lived(tmp_path_factory.mktemp("street"), meters, hours)


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> RealBroker:
    if request.param == "nats":
        return Nats(tmp_path / "broker")
    return Mosquitto(tmp_path / "broker", request.getfixturevalue("mosquitto"))


both = pytest.mark.parametrize("broker", ("mosquitto", "nats"), indirect=True)


@both
async def test_a_days_backlog_with_the_gateway_killed_in_between(
    tmp_path: Path, broker: RealBroker, street: Day, proof_scale: int, figure: Figure
) -> None:
    """Each time killed (SIGKILL) after a part has arrived; what was read in virtual time is told in real time."""
    kills = 3 if proof_scale == 1 else 12
    shutil.copytree(street.folder, tmp_path / "house")
    house, version = tmp_path / "house", {5: "5", 4: "3.1.1"}[broker.address.protocol or 5]
    with (house / "gateway.toml").open("a") as config:
        config.write(CONFIG.format(http=free_port(), mqtt=broker.port, version=version, drain=max(20, street.messages // 10)))
    async with running(broker), listening(broker.address) as spy, centre(tmp_path, broker.address) as c:
        await c.central.session.connected.wait()
        begin = time.monotonic()
        for n in range(kills):
            killed = gateway_of(house, f"gateway-{n}")
            await killed.spawn()
            part = min(street.messages, c.count(schema.message) + street.messages // (kills + 1))
            await until(partial(came, c, part), "a part has arrived", 300)
            await killed.kill()
        last = gateway_of(house, "gateway-last")
        await last.spawn()
        try:
            await until(lambda: waiting(house, street.messages) == 0, "all of the day is acknowledged", 900)
            seconds = time.monotonic() - begin
            await until(lambda: spy.first.keys() >= set(range(1, street.messages + 1)), "the stranger has heard all", 300)
        finally:
            await last.end()
    central = tmp_path / "central.db"
    assert central_gaps(central, store_file(house / "data"), street.messages) == []
    assert lies(central, street) == [], "each reading once, in order, and equal to what the meters held"
    [row] = rows(store_file(house / "data"), "SELECT COUNT(*) AS n FROM reading")
    assert sum(1 for _ in told(central)) == row["n"], "each reading that the gateway has stored"
    assert overtaken(spy.first.values()) == []
    figure(f"messages of {len(street.meters)} meters drained through {kills} kills of the gateway", street.messages)
    figure("readings of them, each at the centre once and in order", row["n"])
    figure("seconds for them", round(seconds, 1))


@both
async def test_live_ones_overtake_the_backlog_and_each_kind_stays_in_order(tmp_path: Path, broker: RealBroker) -> None:
    old, new = simulated(10, 300), simulated(10, 20, seed=9)
    async with running(broker), listening(broker.address) as spy, centre(tmp_path, broker.address) as c:
        await c.central.session.connected.wait()
        async with gateway(tmp_path, broker.address) as g:
            fill(g.store, old)
            await until(lambda: bool(spy.first), "the backlog is under way")
            for quarter in range(20):
                now_ms = time.time_ns() // 1_000_000
                await asyncio.to_thread(fill, g.store, {meter: [(now_ms, each[quarter][1])] for meter, each in new.items()})
                g.wake.notify()
            await until(lambda: g.waiting() == 0, "the outbox is empty", 300)
            await until(lambda: len(spy.first) == 3200, "the stranger has heard all")
    arrivals = list(spy.first.values())
    assert overtaken(arrivals) == []
    late = [each.backlog for each in arrivals]
    assert sum(late) == 3000 and late.index(False) < 2990 and late[-1], "live ones have overtaken"
    assert {meter: len(each) for meter, each in arrived(tmp_path / "central.db").items()} == dict.fromkeys(old, 320)


def gateway_of(folder: Path, name: str) -> Process:
    return Process(name, "gateway", "run", "-c", folder / "gateway.toml", folder=folder)


def came(centre: Centre, part: int) -> bool:
    return centre.count(schema.message) >= part


def waiting(folder: Path, upto: int) -> int:
    """Of the first `upto` messages."""
    sql = f"SELECT COUNT(*) AS n FROM outbox WHERE acknowledged_ms IS NULL AND seq <= {upto}"
    [row] = rows(store_file(folder / "data"), sql)
    return int(row["n"])
