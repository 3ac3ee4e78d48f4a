"""A running gateway shown to Home Assistant, Sparkplug and ThingsBoard at once, beside its native uplink: one button pressed in
Home Assistant opens the contact of a simulated meter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.adapters.mqtt_session import Broker
from tests.gateway.brokers import Mosquitto, running
from tests.gateway.output_ends import Watcher, watching
from tests.gateway.sparkplug_host import Host
from tests.system.processes import until, wattgate
from tests.system.stand import House, Stand, tracebacks
from tests.uplink_schemas import hold_topic

STREET = (House("m1", "201900000001", 30_000, "100.00"), House("m2", "201900000002", 500, "100.00"))
BASE = "wattgate/homeassistant/G1"
CLASSES = {"status", "reading", "event", "balance", "result"}
OUTPUTS = """
[[output]]
kind = "homeassistant"
host = "127.0.0.1"
port = {port}
commands = true
cut_cause = "emergency"

[[output]]
kind = "sparkplug"
host = "127.0.0.1"
port = {port}
group = "street"

[[output]]
kind = "thingsboard"
host = "127.0.0.1"
port = {port}

[[output]]
kind = "thingsboard"
id = "nobody-there"
host = "127.0.0.1"
port = 1
"""


@pytest.fixture
async def broker(tmp_path: Path, mosquitto: str) -> AsyncIterator[Mosquitto]:
    async with running(inside := Mosquitto(tmp_path / "mosquitto", mosquitto)):
        yield inside


@pytest.fixture
async def stand(tmp_path: Path, broker: Mosquitto) -> AsyncIterator[Stand]:
    made = Stand(tmp_path, STREET, speed=1)
    made.config.write_text(OUTPUTS.format(port=broker.port) + made.config.read_text())
    try:
        yield made
    finally:
        await made.close()


def relay(watcher: Watcher) -> object:
    states = watcher.on(f"{BASE}/m1/state")
    return states[-1].json.get("relay") if states else None


async def test_one_gateway_four_ways(stand: Stand, broker: Mosquitto, tmp_path: Path) -> None:
    checked = await wattgate("check", "-c", stand.config)
    assert checked.code == 0, checked
    await stand.broker.start()
    await stand.sim.start()
    native = Broker(port=stand.mqtt_port, protocol=4)
    async with watching(broker.address) as shown, watching(native, "wattgate/v1/#") as up:
        await stand.gateway.start()
        await shown.until(lambda: relay(shown) == "ON", "Home Assistant sees the supply")
        state = await shown.until(lambda: shown.on(f"{BASE}/m1/state")[-1].json.get("energy_import"), "an energy")
        assert float(state) >= 1
        await shown.until(lambda: any(b"energy_import" in s.payload for s in shown.on("v1/gateway/telemetry")), "telemetry")
        await shown.until(lambda: {"m1", "m2"} <= {*Host().hear(*shown.seen).devices}, "births")
        await shown.say(f"{BASE}/m1/relay/set", b"OFF")
        await shown.until(lambda: relay(shown) == "OFF", "the relay was read back")
        assert (await stand.truth("m1"))["contact"] == "open"
        assert (await stand.truth("m2"))["contact"] == "closed"
        host = Host().hear(*shown.seen)
        assert host.breaches == []
        await shown.until(lambda: Host().hear(*shown.seen).present["m1"]["Supply/Closed"] is False, "Sparkplug sees it too")
        await shown.until(lambda: shown.on(f"{BASE}/m1/order")[-1].json["state"] == "verified", "the order's end")
        await up.until(lambda: [s for s in up.seen if "/up/result/homeassistant-" in s.topic], "its results on the native uplink")
        await up.until(lambda: up.on("wattgate/v1/G1/up/balance/+"), "a balance after a charge")
        await up.until(lambda: {hold_topic(seen.topic, seen.payload) for seen in up.seen} >= CLASSES, "every kind of message")
        await shown.say(f"{BASE}/m1/relay/set", b"ON")
        await shown.until(lambda: relay(shown) == "ON", "supply is back")
        assert (await stand.truth("m1"))["contact"] == "closed"
        assert await stand.gateway.end() == 0
        await until(lambda: _ended(shown), "last words", 120)
    assert tracebacks(tmp_path) == []


async def _ended(watcher: Watcher) -> bool:
    host = Host().hear(*watcher.seen)
    return watcher.on(f"{BASE}/status")[-1].payload == b"offline" and not host.alive and host.breaches == []
