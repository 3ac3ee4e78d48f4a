"""What a Sparkplug host at the same broker sees of the gateway, on Mosquitto with MQTT 5 and 3.1.1."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters import mqtt_session
from gateway.adapters.mqtt_session import Broker
from gateway.adapters.output_sparkplug import Sparkplug
from gateway.domain.events import EventKind, Json, Outgoing, Topic
from gateway.domain.meters import Contact, SwitchKind
from gateway.services import announce
from protocols.uplink.sparkplug_b_pb2 import Metric, Payload
from tests.gateway.brokers import Mosquitto, running
from tests.gateway.output_ends import House, Watcher, cut_the_wire, meter, watching
from tests.gateway.sparkplug_host import Host
from tests.gateway.uplink_ends import until

ROOT = "spBv1.0/street"


@pytest.fixture(params=[5, 4], ids=["MQTT 5", "MQTT 3.1.1"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path, mosquitto: str) -> AsyncIterator[Mosquitto]:
    inside = Mosquitto(tmp_path / "broker", mosquitto)
    inside.address = Broker(port=inside.port, protocol=request.param)
    async with running(inside):
        yield inside


@pytest.fixture
def house(tmp_path: Path, broker: Mosquitto) -> House:
    return House(tmp_path, broker, meter("m1"), meter("m2"))


def output(house: House, **options: Any) -> Sparkplug:
    node = Sparkplug(
        *(house.broker.address, "gw-1"),
        version="0.1.0",
        now_ms=house.clock.now_ms,
        rng=random.Random(1),
        group="street",
        **options,
    )
    node.unsure_s = 0.0  # else a test would wait for it
    return node


def host(watcher: Watcher) -> Host:
    heard = Host().hear(*watcher.seen)
    assert heard.breaches == []
    return heard


async def born(watcher: Watcher, *devices: str) -> Host:
    await watcher.until(lambda: {*devices} <= {*host(watcher).devices}, f"births of {devices}")
    return host(watcher)


async def shown(watcher: Watcher, device: str, **wanted: object) -> dict[str, object]:
    named = {key.replace("__", "/"): value for key, value in wanted.items()}

    def there() -> bool:
        present = host(watcher).present.get(device, {})
        return all(present.get(key) == value for key, value in named.items())

    await watcher.until(there, f"{device} with {named}")
    return host(watcher).present[device]


def cursor(house: House) -> str:
    return house.store.read_now(lambda tx: tx.meta("output:sparkplug")) or ""


def wish(**metric: Any) -> bytes:
    return bytes(Payload(timestamp=1, metrics=[Metric(**metric)]).SerializeToString())


async def test_births_with_the_present_and_data_by_alias(house: House) -> None:
    with house.acting() as street:
        street.read("m1", total="120.10", t1="120.10", t2="0.00", power="0.230", contact=Contact.CLOSED)
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        heard = await born(watcher, "m1", "m2")
        assert (heard.births, heard.bd_seq, heard.kinds[:3]) == (1, 0, ["NBIRTH", "DBIRTH", "DBIRTH"])
        m1 = heard.present["m1"]
        assert (m1["energy_import"], m1["power"], m1["Account/Balance"], m1["Account/Credit"]) == (120.1, 0.23, 20.0, "normal")
        assert (m1["Supply/Closed"], m1["Supply/State"], m1["Command/State"]) == (True, "closed", None)
        with house.acting() as street:
            street.topup("50")
            street.read("m1", power="1.5")
        await shown(watcher, "m1", power=1.5, Account__Balance=70.0)
        await shown(watcher, "m2", Account__Balance=70.0)
        assert host(watcher).kinds.count("DBIRTH") == 2


async def test_a_quantity_that_was_not_born_brings_another_birth(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await born(watcher, "m1", "m2")
        with house.acting() as street:
            street.read("m1", power="1.5")
        await shown(watcher, "m1", power=1.5)
        assert host(watcher).kinds.count("DBIRTH") == 3


async def test_a_result_of_a_meter_without_a_switch_is_told_too(tmp_path: Path, broker: Mosquitto) -> None:
    """Its alarm may be ordered, though it is born without the metrics of a switch."""
    house = House(tmp_path, broker, meter("m1", switch=SwitchKind.NONE))
    async with watching(broker.address) as watcher, house.showing(output(house)):
        heard = await born(watcher, "m1")
        assert not [name for name in heard.present["m1"] if name.startswith(("Supply/", "Command/"))]
        body: dict[str, Json] = {"command": "c-1", "meter": "m1", "verb": "alarm", "state": "done", "reason": None}
        now_ms = house.clock.now_ms()
        await house.write(lambda tx: tx.add_outgoing(Outgoing(Topic.RESULT, "c-1", now_ms, body)))
        await shown(watcher, "m1", Command__State="done", Command__Id="c-1")


async def test_a_doubtful_value_is_marked(house: House) -> None:
    with house.acting() as street:
        street.block("m1", total="100.00")
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await born(watcher, "m1", "m2")
        with house.acting() as street:
            street.later(minutes=1).block("m1", total="0.00")
        await watcher.until(
            lambda: any(told.value == 0.0 and told.quality == 0 for told in host(watcher).told["m1"]), "a value of bad quality"
        )
        await watcher.say(f"{ROOT}/NCMD/gw-1", wish(name="Node Control/Rebirth", datatype=11, boolean_value=True))
        await watcher.until(lambda: host(watcher).births == 2, "another birth")
        await born(watcher, "m1")
        doubtful = [told for told in host(watcher).told["m1"] if told.name == "energy_import"][-1]
        assert (doubtful.value, doubtful.quality) == (0.0, 0), "nor does a birth make it good"
        with house.acting() as street:
            street.later(minutes=1).block("m1", total="101.00")
        await shown(watcher, "m1", energy_import=101.0)
        assert [told.quality for told in host(watcher).told["m1"] if told.name == "energy_import"][-1] == 192


async def test_a_rebirth_is_given_when_a_host_asks(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await born(watcher, "m1", "m2")
        await watcher.say(f"{ROOT}/NCMD/gw-1", wish(name="Node Control/Rebirth", datatype=11, boolean_value=True))
        await watcher.until(lambda: host(watcher).births == 2, "another birth")
        heard = await born(watcher, "m1", "m2")
        assert heard.bd_seq == 0  # the connection is the same


async def test_silent_meters_die_and_are_born_again(house: House) -> None:
    house.silent = {"m2"}
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await born(watcher, "m1")
        assert "m2" not in host(watcher).devices
        now_ms = house.clock.now_ms()
        await house.write(lambda tx: announce.event(tx, EventKind.METER_BACK, now_ms, meter="m2"))
        await born(watcher, "m2")
        await house.write(lambda tx: announce.event(tx, EventKind.METER_SILENT, now_ms, meter="m1"))
        await watcher.until(lambda: {*host(watcher).devices} == {"m2"}, "a death")
        house.present = {"m1"}
        await watcher.until(lambda: not host(watcher).devices, "the other is gone")
        assert host(watcher).kinds.count("DDEATH") == 2


async def test_what_was_missed_comes_as_historical_and_changes_no_present(house: House) -> None:
    async with watching(house.broker.address) as watcher:
        async with house.showing(output(house)):
            with house.acting() as street:
                street.read("m1", power="1.0")
            await shown(watcher, "m1", power=1.0)
            last = house.store.read_now(lambda tx: tx.outbox_state().last)
            await until(lambda: cursor(house).endswith(f" {last}"), "the cursor is written down")
        with house.acting() as street:
            for n in range(2, 6):
                street.later(s=1).read("m1", power=f"{n}.0")
        async with house.showing(output(house)):
            await watcher.until(lambda: sum(told.historical for told in host(watcher).told["m1"]) == 4, "four late values")
            heard = host(watcher)
            late = [(told.name, told.value) for told in heard.told["m1"] if told.historical]
            assert late == [("power", 2.0), ("power", 3.0), ("power", 4.0), ("power", 5.0)]
            times = [told.at_ms for told in heard.told["m1"] if told.historical]
            assert times == sorted(times) and times[-1] - times[0] == 3000
            assert heard.present["m1"]["power"] == 5.0


async def test_what_a_meter_left_before_it_fell_silent_is_told_all_the_same(house: House) -> None:
    async with watching(house.broker.address) as watcher:
        async with house.showing(output(house)):
            await born(watcher, "m1", "m2")
        with house.acting() as street:
            street.read("m1", power="3.5")
        house.silent = {"m1"}
        async with house.showing(output(house)):
            await watcher.until(lambda: (True, 3.5) in [(t.historical, t.value) for t in host(watcher).told["m1"]], "it is told")
            await watcher.until(lambda: {*host(watcher).devices} == {"m2"}, "and m1 is dead")


async def test_the_will_and_the_clean_end_are_deaths_of_that_very_birth(house: House) -> None:
    async with watching(house.broker.address) as watcher:
        async with house.showing(output(house)) as node:
            await born(watcher, "m1", "m2")
            cut_the_wire(node)
            await watcher.until(lambda: host(watcher).deaths == 1, "the will")
            await watcher.until(lambda: host(watcher).births == 2, "born again")
            heard = await born(watcher, "m1", "m2")
            assert heard.bd_seq == 1
        await watcher.until(lambda: host(watcher).deaths == 2, "a clean end")
        assert not host(watcher).alive
        async with watching(house.broker.address) as fresh:  # nothing of it stands retained
            await fresh.say("x", b"")
            await fresh.first("x")
            assert [seen.topic for seen in fresh.seen] == ["x"]


async def test_a_write_is_an_order_and_its_outcome_a_metric(house: House) -> None:
    with house.acting() as street:
        street.read("m1", power="0.1", contact=Contact.CLOSED)
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        heard = await born(watcher, "m1", "m2")
        alias = next(alias for alias, name in heard.devices["m1"].items() if name == "Supply/Closed")
        await watcher.say(f"{ROOT}/DCMD/gw-1/m1", wish(alias=alias, datatype=11, boolean_value=False))
        present = await shown(watcher, "m1", Command__State="queued", Command__Verb="cut")
        assert present["Supply/Closed"] is True and present["Supply/Desired"] in ("open", "closed")
        with house.acting() as street:
            street.carry_out(Contact.OPEN)
        present = await shown(watcher, "m1", Command__State="verified", Supply__Closed=False, Supply__State="open")
        assert str(present["Command/Id"]).startswith("sparkplug-")
        states = [told.value for told in host(watcher).told["m1"] if told.name == "Command/State" and told.value]
        assert states == ["queued", "sent", "acknowledged", "verified"]


@pytest.mark.parametrize(
    ("topic", "payload", "why"),
    [
        ("DCMD/gw-1/m1", wish(name="power", double_value=1.0), "only Supply/Closed can be written"),
        ("DCMD/gw-1/m1", wish(name="Supply/Closed", string_value="open"), "only Supply/Closed can be written"),
        ("DCMD/gw-1/m9", wish(name="Supply/Closed", boolean_value=True), "meter m9 is not in the archive"),
        ("DCMD/gw-1/m1", b"\xff\xff", "no Sparkplug B payload"),
    ],
)
async def test_what_moves_nothing_is_an_event(house: House, topic: str, payload: bytes, why: str) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await born(watcher, "m1", "m2")
        await watcher.say(f"{ROOT}/{topic}", payload)

        def reasons() -> list[str]:
            found = house.store.read_now(lambda tx: tx.events(50))
            return [str(each.event.data["reason"]) for each in found if each.event.kind is EventKind.COMMAND_UNREADABLE]

        await until(lambda: bool(reasons()), "the event")
        assert len(reasons()) == 1 and why in reasons()[0]
        assert house.store.read_now(lambda tx: tx.open_commands()) == []


async def test_a_refused_write_is_answered(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house), commands=False):
        await born(watcher, "m1", "m2")
        await watcher.say(f"{ROOT}/DCMD/gw-1/m1", wish(name="Supply/Closed", boolean_value=False))
        present = await shown(watcher, "m1", Command__State="refused")
        assert "commands = true" in str(present["Command/Reason"])


def state(online: bool, at_ms: int) -> bytes:
    return f'{{"online": {str(online).lower()}, "timestamp": {at_ms}}}'.encode()


async def test_nothing_is_told_while_the_primary_host_is_away(house: House) -> None:
    topic = "spBv1.0/STATE/SCADA"
    now_ms = time.time_ns() // 1_000_000
    async with watching(house.broker.address) as watcher:
        await watcher.say(topic, state(False, now_ms), retain=True)
        async with house.showing(output(house, primary_host="SCADA")) as node:
            await watcher.say("x", b"1")
            await watcher.first("x")
            await until(lambda: node.connections == 1, "connected")
            await watcher.say(f"{ROOT}/DCMD/gw-1/m1", wish(name="Supply/Closed", string_value="open"))
            await asyncio.sleep(0.3)
            assert host(watcher).kinds == [] and node.connections == 1, "nor is a refusal told"
            await watcher.say(topic, state(True, now_ms + 1), retain=True)
            await born(watcher, "m1", "m2")
            await watcher.say(topic, state(False, now_ms - 5))  # the death of a former life
            with house.acting() as street:
                street.topup("1")
            await shown(watcher, "m1", Account__Balance=21.0)
            await watcher.say(topic, state(False, now_ms + 2), retain=True)
            await watcher.until(lambda: not host(watcher).alive, "our death")
            await until(lambda: node.connections == 2, "connected again")
            await asyncio.sleep(0.3)
            assert (host(watcher).births, host(watcher).alive) == (1, False)
            await watcher.say(topic, state(True, now_ms + 3), retain=True)
            heard = await born(watcher, "m1", "m2")
            assert heard.births == 2 and heard.bd_seq is not None and heard.bd_seq > 0


async def test_the_number_of_a_birth_counts_connects_and_not_attempts(
    house: House, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """topics-nbirth-bdseq-increment: a broker that is away for a while was never connected to."""
    monkeypatch.setattr(mqtt_session, "FIRST_PAUSE_S", 0.1)
    async with house.showing(output(house)) as node:
        await until(lambda: node.connections == 1, "connected")
        await broker.kill()
        await until(lambda: node._session.attempts >= 4, "it is tried")
        await broker.start()
        async with watching(broker.address) as watcher:
            await watcher.say(f"{ROOT}/NCMD/gw-1", wish(name="Node Control/Rebirth", datatype=11, boolean_value=True))
            await until(lambda: node.connections == 2, "connected again")
            await watcher.say(f"{ROOT}/NCMD/gw-1", wish(name="Node Control/Rebirth", datatype=11, boolean_value=True))
            heard = await born(watcher, "m1", "m2")
            assert heard.bd_seq == 1 and node._session.attempts >= 5


async def test_a_meter_that_is_another_now_is_born_again_without_what_only_the_old_one_had(house: House) -> None:
    with house.acting() as street:
        street.read("m1", total="120.10", power="0.230", contact=Contact.CLOSED)
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        heard = await born(watcher, "m1", "m2")
        assert "Supply/Closed" in heard.devices["m1"].values()
        births = heard.kinds.count("DBIRTH")
        other = meter("m1", switch=SwitchKind.NONE, profile="dlt645-three")
        await house.write(lambda tx: tx.save_meter(other))
        await watcher.until(lambda: host(watcher).kinds.count("DBIRTH") == births + 1, "another birth")
        names = {*host(watcher).devices["m1"].values()}
        assert "energy_import" in names and not [name for name in names if name.startswith("Supply/")]
        await house.write(lambda tx: tx.save_meter(meter("m3")))
        house.present.add("m3")
        await born(watcher, "m1", "m2", "m3")
