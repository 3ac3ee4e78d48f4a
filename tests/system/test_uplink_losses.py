"""What brokers and networks lose comes again: every message at the centre exactly once, and equal to what was stored here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.adapters import mqtt_session
from gateway.adapters.mqtt_session import Broker
from tests.conftest import Figure
from tests.gateway.brokers import Mosquitto, Nats, RealBroker, free_port, running
from tests.gateway.uplink_ends import House, centre, gateway, until
from tests.system.shipped_broker import Authority, Shipped
from tests.system.uplink_day import Told, arrived, fill, simulated, stored
from tests.system.wire import Mood, Wire

LOSS = "0.3"
NET = 4 * (os.getpid() % 2**14)  # of four addresses in 10.213.0.0/16: other tests may run on this machine
THERE, HERE = (f"10.213.{(NET + n) // 256}.{(NET + n) % 256}" for n in (2, 1))


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> RealBroker:
    if request.param == "nats":
        return Nats(tmp_path / "broker")
    return Mosquitto(tmp_path / "broker", request.getfixturevalue("mosquitto"))


both = pytest.mark.parametrize("broker", ("nats", "mosquitto"), indirect=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes half a minute in the field takes some seconds here."""
    monkeypatch.setattr(mqtt_session, "KEEPALIVE_S", 2)
    monkeypatch.setattr(mqtt_session, "ANSWER_S", 1)
    monkeypatch.setattr(mqtt_session, "LONGEST_PAUSE_S", 2.0)


def published(house: House) -> int:
    return house.store.read_now(lambda tx: tx.outbox_state()).published


def here(folder: Path) -> Told:
    """What the centre has by meter and time. Its store must be closed: we read it with another SQLite than it has."""
    return {meter: sorted(each) for meter, each in arrived(folder / "central.db").items()}


async def empty(house: House, within_s: float = 300) -> None:
    await until(lambda: house.waiting() == 0, "the outbox is empty", within_s)


@contextlib.asynccontextmanager
async def on(wire: Wire) -> AsyncIterator[Wire]:
    await wire.start()
    try:
        yield wire
    finally:
        await wire.stop()


@both
async def test_a_broker_that_forgets_what_it_acknowledged(tmp_path: Path, broker: RealBroker, proof_scale: int) -> None:
    """The centre is away, the broker says yes to everything, is killed, and its disk is wiped."""
    told = simulated(10, 40 * min(proof_scale, 20))
    count = sum(map(len, told.values()))
    async with running(broker), gateway(tmp_path, broker.address) as g:
        async with centre(tmp_path, broker.address) as c:
            await c.central.session.connected.wait()  # it has a session that the broker should keep
        fill(g.store, told)
        g.wake.notify()
        await until(lambda: published(g) == count, "the broker has acknowledged all", 300)
        assert g.waiting() == count
        await broker.kill()
        shutil.rmtree(tmp_path / "broker")
        (tmp_path / "broker").mkdir()
        await broker.start()
        async with centre(tmp_path, broker.address):
            await empty(g)
    assert here(tmp_path) == told and stored(tmp_path / "central.db") == count


@pytest.mark.parametrize("wiped", (False, True))
async def test_the_shipped_broker_killed_with_what_it_has_not_forwarded(
    tmp_path: Path, mosquitto: str, wiped: bool, proof_scale: int
) -> None:
    """TLS and certificates of its own for each; killed the moment after its acknowledgements, before it writes its disk."""
    told = simulated(10, 40 * min(proof_scale, 20))
    count, authority = sum(map(len, told.values())), Authority.new()
    broker = Shipped(tmp_path / "broker", mosquitto, authority)
    us, them = (broker.address(authority.issue(tmp_path / name, name)) for name in ("G1", "centre"))
    broker.start()
    try:
        async with gateway(tmp_path, us) as g:
            async with centre(tmp_path, them) as c:
                await c.central.session.connected.wait()
            fill(g.store, told)
            g.wake.notify()
            await until(lambda: published(g) == count, "the broker has acknowledged all", 300)
            broker.kill()
            if wiped:
                broker.wipe()
            broker.start()
            async with centre(tmp_path, them):
                await empty(g)
    finally:
        broker.kill()
    assert here(tmp_path) == told


@both
@pytest.mark.usefixtures("impatient")
async def test_a_wire_that_flaps(tmp_path: Path, broker: RealBroker, proof_scale: int) -> None:
    told = simulated(10, 60)
    async with running(broker), on(Wire(broker.port)) as wire:
        address = Broker(port=wire.port, protocol=broker.address.protocol)
        async with centre(tmp_path, broker.address) as c, gateway(tmp_path, address) as g:
            await c.central.session.connected.wait()
            fill(g.store, told)
            begin = time.monotonic()
            for n in range(3 * min(proof_scale, 10)):
                await g.link.connected.wait()
                g.wake.notify()
                await asyncio.sleep(0.02 * (n % 3))
                wire.cut()
                await until(lambda: not g.link.connected.is_set(), "the gateway has noticed")
            assert wire.accepted <= time.monotonic() - begin + 2, "at most one attempt a second"
            await empty(g)
    assert arrived(tmp_path / "central.db") == told


@pytest.mark.parametrize(("broker", "mood"), (("nats", Mood.STALL), ("mosquitto", Mood.SWALLOW)), indirect=["broker"])
@pytest.mark.usefixtures("impatient")
async def test_a_link_that_stands_and_carries_nothing(tmp_path: Path, broker: RealBroker, mood: Mood) -> None:
    """Half-open: neither end hears that the other is gone. A stall ends, and what was held back comes late."""
    first, second = simulated(10, 10), simulated(10, 10, seed=8)
    async with running(broker), on(Wire(broker.port)) as wire:
        address = Broker(port=wire.port, protocol=broker.address.protocol)
        async with centre(tmp_path, broker.address), gateway(tmp_path, address) as g:
            await g.link.connected.wait()
            before = g.link.connections
            wire.be(mood)
            fill(g.store, first)
            g.wake.notify()
            await until(lambda: not g.link.connected.is_set(), "the gateway sees by itself that nothing comes back")
            wire.be(Mood.PASS)
            fill(g.store, second)
            await empty(g)
            assert g.link.connections > before
    assert here(tmp_path) == {meter: sorted([*first[meter], *second[meter]]) for meter in first}


@pytest.fixture
def lossy(mosquitto: str, tmp_path: Path) -> Iterator[int]:
    """A port of Mosquitto in a network of its own, behind a cable that loses packets both ways; skipped where that cannot be."""
    if os.getuid() != 0:
        pytest.skip("losing packets needs root: run the tests as root to see what 30 % loss does.")
    if shutil.which("ip") is None or shutil.which("iptables") is None:
        pytest.skip("losing packets needs ip and iptables: install the Debian packages iproute2 and iptables.")
    name, port = f"wg{os.getpid() % 100_000}", free_port()
    inside = ["ip", "netns", "exec", name]
    lose = ["-m", "statistic", "--mode", "random", "--probability", LOSS, "-j", "DROP"]
    config = tmp_path / "lossy.conf"
    config.write_text(f"listener {port} {THERE}\nallow_anonymous true\nmax_queued_messages 100000\n")
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"this machine gives us no network of our own: {made.stderr.strip()}")
        for command in (
            ["ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name],
            ["ip", "addr", "add", f"{HERE}/30", "dev", f"{name}a"],
            ["ip", "link", "set", f"{name}a", "up"],
            [*inside, "ip", "addr", "add", f"{THERE}/30", "dev", f"{name}b"],
            [*inside, "ip", "link", "set", f"{name}b", "up"],
            [*inside, "iptables", "-A", "INPUT", *lose],
            [*inside, "iptables", "-A", "OUTPUT", *lose],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"this machine cannot lose packets for us: {' '.join(command)}: {done.stderr.strip()}")
        with subprocess.Popen([*inside, mosquitto, "-c", str(config)], stderr=subprocess.DEVNULL) as running_broker:
            try:
                yield port
            finally:
                running_broker.kill()
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


async def test_a_third_of_all_packets_lost(tmp_path: Path, lossy: int, proof_scale: int, figure: Figure) -> None:
    """Both ways, and for both ends; the wire is there because unsigned acknowledgements are taken on loopback only."""
    told = simulated(10, 3 * proof_scale)
    begin = time.monotonic()
    async with on(Wire(lossy, THERE)) as wire:
        address = Broker(port=wire.port, protocol=5)
        async with centre(tmp_path, address) as c, gateway(tmp_path, address) as g:
            await until(g.link.connected.is_set, "the gateway has come through", 300)
            await until(c.central.session.connected.is_set, "the centre has come through", 300)
            fill(g.store, told)
            g.wake.notify()
            await empty(g, 300 + 10 * proof_scale)
    assert here(tmp_path) == told
    figure("messages through 30 % packet loss", sum(map(len, told.values())))
    figure("seconds for them", round(time.monotonic() - begin, 1))
