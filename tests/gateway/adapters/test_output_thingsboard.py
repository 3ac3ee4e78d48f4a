"""What a ThingsBoard at the same broker gets, on Mosquitto with MQTT 5 and 3.1.1."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.mqtt_session import Broker
from gateway.adapters.output_thingsboard import MOST_SETS, ThingsBoard
from gateway.domain.events import EventKind
from gateway.domain.meters import Contact
from gateway.services import announce
from tests.gateway.brokers import Mosquitto, running
from tests.gateway.output_ends import House, Watcher, meter, watching

TELEMETRY, ATTRIBUTES, RPC = "v1/gateway/telemetry", "v1/gateway/attributes", "v1/gateway/rpc"

NONSENSE = b"nonsense"


@pytest.fixture(params=[5, 4], ids=["MQTT 5", "MQTT 3.1.1"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path, mosquitto: str) -> AsyncIterator[Mosquitto]:
    inside = Mosquitto(tmp_path / "broker", mosquitto)
    inside.address = Broker(port=inside.port, protocol=request.param)
    async with running(inside):
        yield inside


@pytest.fixture
def house(tmp_path: Path, broker: Mosquitto) -> House:
    return House(tmp_path, broker, meter("m1"), meter("m2"))


def output(house: House) -> ThingsBoard:
    return ThingsBoard(house.broker.address, "gw-1", now_ms=house.clock.now_ms, rng=random.Random(1))


def points(watcher: Watcher, ident: str) -> list[tuple[int, dict[str, Any]]]:
    """All sets of values of a device, in the order they came."""
    sent = [json.loads(seen.payload, parse_float=str) for seen in watcher.on(TELEMETRY)]
    return [(each["ts"], each["values"]) for message in sent for each in message.get(ident, [])]


def latest(watcher: Watcher, ident: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for _, more in sorted(points(watcher, ident), key=lambda point: point[0]):
        values |= more
    return values


def attributes(watcher: Watcher, ident: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for seen in watcher.on(ATTRIBUTES):
        found |= seen.json.get(ident, {})
    return found


async def called(watcher: Watcher, number: int, device: str, method: str, params: object = None) -> dict[str, Any]:
    """A remote call, and the answer that carries its number."""
    await watcher.say(RPC, json.dumps({"device": device, "data": {"id": number, "method": method, "params": params}}).encode())

    def answer() -> dict[str, Any] | None:
        heard = (seen.json for seen in watcher.on(RPC) if seen.payload != NONSENSE)
        return next((each["data"] for each in heard if each.get("id") == number and each["device"] == device), None)

    return await watcher.until(answer, f"an answer to {method}")


async def test_meters_are_devices_with_attributes_and_telemetry_under_its_own_time(house: House) -> None:
    with house.acting() as street:
        street.read("m1", total="120.10", t1="120.10", t2="0.00", power="0.230", contact=Contact.CLOSED)
        read_ms = street.now_ms
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await watcher.until(lambda: points(watcher, "m1"), "telemetry")
        assert [seen.json["device"] for seen in watcher.on("v1/gateway/connect")] == ["m1", "m2"]
        at_ms, values = points(watcher, "m1")[0]
        assert (at_ms, values["energy_import"], values["power"]) == (read_ms, "120.10", "0.230")
        assert (latest(watcher, "m1")["balance"], latest(watcher, "m1")["credit"]) == ("20.00", "normal")
        assert (attributes(watcher, "m1")["model"], attributes(watcher, "m1")["supply"]) == ("dlt645-single", "closed")
        with house.acting() as street:
            street.topup("50")
            street.read("m2", power="1.5")
        await watcher.until(lambda: latest(watcher, "m2").get("balance") == "70.00" and latest(watcher, "m2").get("power"), "both")
        assert (latest(watcher, "m2")["credit"], latest(watcher, "m2")["quality"]) == ("normal", "single")


async def test_what_was_missed_follows_under_its_own_time_in_small_messages(house: House) -> None:
    async with watching(house.broker.address) as watcher:
        async with house.showing(output(house)):
            with house.acting() as street:
                street.read("m1", power="1.0")
            await watcher.until(lambda: latest(watcher, "m1").get("power") == "1.0", "live")
        times = []
        with house.acting() as street:
            for n in range(3 * MOST_SETS):
                street.later(s=1).read("m1", power=f"{n}.5")
                times.append(street.now_ms)
        before = len(watcher.on(TELEMETRY))
        async with house.showing(output(house)):
            await watcher.until(lambda: {*times} <= {at_ms for at_ms, _ in points(watcher, "m1")}, "all that was missed")
        messages = [seen.json for seen in watcher.on(TELEMETRY)[before:]]
        assert all(sum(map(len, message.values())) <= MOST_SETS for message in messages)


async def test_a_silent_meter_is_disconnected(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await watcher.until(lambda: len(watcher.on("v1/gateway/connect")) == 2, "both connected")
        now_ms = house.clock.now_ms()
        await house.write(lambda tx: announce.event(tx, EventKind.METER_SILENT, now_ms, meter="m1"))
        assert (await watcher.first("v1/gateway/disconnect")).json == {"device": "m1"}
        await watcher.until(lambda: latest(watcher, "m1").get("event") == "meter_silent", "the event")
        await house.write(lambda tx: announce.event(tx, EventKind.METER_BACK, now_ms, meter="m1"))
        await watcher.until(lambda: len(watcher.on("v1/gateway/connect")) == 3, "back")
        house.present = {"m1"}
        await watcher.until(lambda: watcher.on("v1/gateway/disconnect")[-1].json == {"device": "m2"}, "gone")


async def test_a_remote_call_is_an_order_and_its_outcome_is_telemetry(house: House) -> None:
    with house.acting() as street:
        street.read("m1", power="0.1", contact=Contact.CLOSED)
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await watcher.until(lambda: attributes(watcher, "m1").get("supply") == "closed", "closed")
        assert await called(watcher, 1, "m1", "getSupply") == {"supply": "closed"}
        assert await called(watcher, 2, "m1", "setSupply", False) == {"command": "thingsboard-1", "state": "queued"}
        with house.acting() as street:
            street.carry_out(Contact.OPEN)
        await watcher.until(lambda: latest(watcher, "m1").get("command_state") == "verified", "verified")
        await watcher.until(lambda: attributes(watcher, "m1").get("supply") == "open", "open")
        assert latest(watcher, "m1")["command"] == "thingsboard-1"
        assert (await called(watcher, 3, "m1", "restore"))["state"] == "queued"


async def test_calls_that_move_nothing_are_answered_with_their_reason(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await watcher.until(lambda: len(watcher.on("v1/gateway/connect")) == 2, "both connected")
        for number, (method, params) in enumerate([("explode", None), ("setSupply", "off"), ("setSupply", 0)], start=1):
            answer = await called(watcher, number, "m1", method, params)
            assert answer["state"] == "refused" and "not served" in answer["reason"]
        assert "not in the archive" in (await called(watcher, 9, "m9", "restore"))["reason"]
        await watcher.say(RPC, NONSENSE)
        assert await called(watcher, 10, "m1", "getSupply") == {"supply": "unknown"}  # it goes on
        assert house.store.read_now(lambda tx: tx.open_commands()) == []
        found = house.store.read_now(lambda tx: tx.events(50))
        assert len([each for each in found if each.event.kind is EventKind.COMMAND_UNREADABLE]) == 5


async def test_calls_are_off_where_the_configuration_does_not_say_otherwise(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house), commands=False):
        await watcher.until(lambda: len(watcher.on("v1/gateway/connect")) == 2, "both connected")
        for number, method in enumerate(("cut", "restore", "allow_close"), start=1):
            assert "commands = true" in (await called(watcher, number, "m1", method))["reason"]
        assert house.store.read_now(lambda tx: tx.open_commands()) == []
