"""What a Home Assistant at the same broker sees of the meters, on Mosquitto with MQTT 5 and 3.1.1."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.mqtt_session import Broker
from gateway.adapters.output_homeassistant import HomeAssistant
from gateway.domain.credit import CreditState
from gateway.domain.events import EventKind
from gateway.domain.meters import Contact, SwitchKind
from gateway.domain.supply import CommandState
from gateway.domain.units import DECIMALS
from gateway.services import announce
from protocols.uplink.homeassistant import CREDIT_STATES, SUPPLY_STATES
from tests.gateway.brokers import Mosquitto, running
from tests.gateway.output_ends import House, Watcher, cut_the_wire, meter, watching
from tests.gateway.uplink_ends import until

BASE = "wattgate/homeassistant/gw-1"
CONFIG = "homeassistant/device/wattgate_gw-1"


@pytest.fixture(params=[5, 4], ids=["MQTT 5", "MQTT 3.1.1"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path, mosquitto: str) -> AsyncIterator[Mosquitto]:
    inside = Mosquitto(tmp_path / "broker", mosquitto)
    inside.address = Broker(port=inside.port, protocol=request.param)
    async with running(inside):
        yield inside


@pytest.fixture
def house(tmp_path: Path, broker: Mosquitto) -> House:
    return House(tmp_path, broker, meter("m1"), meter("m2"))


def output(house: House, **options: Any) -> HomeAssistant:
    more = {"commands": True, **options}
    return HomeAssistant(
        house.broker.address, "gw-1", version="0.1.0", now_ms=house.clock.now_ms, rng=random.Random(1), **more
    )


async def values(watcher: Watcher, ident: str, **wanted: object) -> dict[str, object]:
    """The first state of a meter in which all this is so."""

    def found() -> dict[str, object] | None:
        states = [seen.json for seen in watcher.on(f"{BASE}/{ident}/state") if seen.payload]
        return next((state for state in states if all(state.get(key) == value for key, value in wanted.items())), None)

    return await watcher.until(found, f"{ident} with {wanted}")


async def test_a_fresh_home_assistant_finds_every_meter_with_its_values(house: House) -> None:
    with house.acting() as street:
        street.read("m1", total="120.10", t1="120.10", t2="0.00", power="0.230", contact=Contact.CLOSED)
    async with watching(house.broker.address) as before, house.showing(output(house)):
        await values(before, "m1")
        await before.first(f"{BASE}/m2/availability")
        async with watching(house.broker.address, "homeassistant/#", f"{BASE}/#") as fresh:  # comes later: all is retained
            config = (await fresh.first(f"{CONFIG}/m1/config")).json
            await fresh.first(f"{CONFIG}/m2/config")
            state = await values(fresh, "m1")
            assert all(seen.retain for seen in fresh.seen)
            assert {entity["name"] for entity in config["components"].values()} >= {"Energy", "Power", "Balance", "Credit", "Relay"}
            assert (state["energy_import"], state["power"], state["balance"]) == ("120.100", "0.230", "20.00")
            assert (state["credit"], state["supply"], state["relay"]) == ("normal", "closed", "ON")
            assert (await fresh.first(f"{BASE}/m1/availability")).payload == b"online"
            assert (await fresh.first(f"{BASE}/status")).payload == b"online"
            shown = config["components"]
            assert all(key in state for key in shown if key not in ("order",))


async def test_a_topup_and_a_reading_change_what_is_shown(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await values(watcher, "m1", balance="20.00")
        with house.acting() as street:
            street.topup("50")
        await values(watcher, "m1", balance="70.00")
        await values(watcher, "m2", balance="70.00")  # both are that account's
        with house.acting() as street:
            street.read("m1", power="1.5")
        await values(watcher, "m1", power="1.500")
        config = await watcher.first(f"{CONFIG}/m1/config", after=len(watcher.on("#")) - 30)
        assert config.json["components"]["relay"]["optimistic"] is False
        newest = [seen.json for seen in watcher.on(f"{CONFIG}/m1/config")][-1]
        assert "power" in newest["components"]  # it was announced again when the meter first showed a power


async def test_the_switch_moves_when_the_relay_was_read_back_and_not_before(house: House) -> None:
    with house.acting() as street:
        street.read("m1", power="0.1", contact=Contact.CLOSED)
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await values(watcher, "m1", relay="ON")
        await watcher.say(f"{BASE}/m1/relay/set", b"OFF")
        order = await watcher.until(
            lambda: next((s.json for s in watcher.on(f"{BASE}/m1/order") if s.json["state"] == "queued"), None), "queued"
        )
        assert order["verb"] == "cut"
        with house.acting() as street:
            sent = street.send()
        await watcher.until(lambda: any(s.json["state"] == "acknowledged" for s in watcher.on(f"{BASE}/m1/order")), "acknowledged")
        assert all(seen.json["relay"] == "ON" for seen in watcher.on(f"{BASE}/m1/state"))  # ordered is not cut
        with house.acting() as street:
            assert street.look(sent, Contact.OPEN, power_w=0).state is CommandState.VERIFIED
        await values(watcher, "m1", relay="OFF", supply="open")
        await watcher.until(lambda: watcher.on(f"{BASE}/m1/order")[-1].json["state"] == "verified", "verified")
        await watcher.say(f"{BASE}/m1/relay/set", b"ON")
        await watcher.until(lambda: watcher.on(f"{BASE}/m1/order")[-1].json["verb"] in ("restore", "allow_close"), "a restore")


@pytest.mark.parametrize(
    ("payload", "retained", "why"),
    [(b"OFF", True, "a retained command moves nothing"), (b"off", False, "asks for ON or OFF"), (b"\x00" * 99, False, "asks for")],
)
async def test_what_moves_nothing(house: House, payload: bytes, retained: bool, why: str) -> None:
    async with watching(house.broker.address) as watcher:
        if retained:
            await watcher.say(f"{BASE}/m1/relay/set", payload, retain=True)
        async with house.showing(output(house)):
            await values(watcher, "m1")
            if not retained:
                await watcher.say(f"{BASE}/m1/relay/set", payload)

            def refused() -> list[str]:
                found = house.store.read_now(lambda tx: tx.events(50))
                return [str(e.event.data["reason"]) for e in found if e.event.kind is EventKind.COMMAND_UNREADABLE]

            await until(lambda: bool(refused()), "the event")
            assert len(refused()) == 1 and why in refused()[0]
            assert house.store.read_now(lambda tx: tx.open_commands()) == []


async def test_a_refused_order_is_shown_with_its_reason(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house), commands=False):
        await values(watcher, "m1")
        await watcher.say(f"{BASE}/m1/relay/set", b"OFF")
        order = (await watcher.first(f"{BASE}/m1/order")).json
        assert (order["state"], order["verb"], order["command"]) == ("refused", "cut", None)
        assert "commands = true" in order["reason"]


async def test_when_home_assistant_comes_up_everything_is_announced_again(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await watcher.first(f"{BASE}/m2/availability")
        await watcher.say("homeassistant/status", b"online")
        await watcher.until(lambda: len(watcher.on(f"{CONFIG}/m2/config")) == 2, "announced twice")
        await watcher.until(lambda: len(watcher.on(f"{BASE}/m2/state")) == 2, "told twice")


async def test_a_silent_meter_is_not_available(house: House) -> None:
    async with watching(house.broker.address) as watcher, house.showing(output(house)):
        await watcher.first(f"{BASE}/m2/availability")
        now_ms = house.clock.now_ms()
        await house.write(lambda tx: announce.event(tx, EventKind.METER_SILENT, now_ms, meter="m2"))
        await watcher.until(lambda: watcher.on(f"{BASE}/m2/availability")[-1].payload == b"offline", "offline")
        await house.write(lambda tx: announce.event(tx, EventKind.METER_BACK, now_ms, meter="m2"))
        await watcher.until(lambda: watcher.on(f"{BASE}/m2/availability")[-1].payload == b"online", "online")


async def test_a_meter_that_goes_is_taken_away_also_when_it_went_meanwhile(house: House) -> None:
    async with watching(house.broker.address) as watcher:
        async with house.showing(output(house)):
            await watcher.first(f"{BASE}/m2/availability")
            house.present = {"m1"}
            await watcher.until(lambda: watcher.on(f"{CONFIG}/m2/config")[-1].payload == b"", "taken away")
            house.present = {"m1", "m2"}
            await watcher.until(lambda: watcher.on(f"{CONFIG}/m2/config")[-1].payload != b"", "back")
            await watcher.until(lambda: watcher.on(f"{BASE}/m2/availability")[-1].payload == b"online", "online")
        house.present = {"m2"}  # while nobody was there to say so
        async with house.showing(output(house)):
            await watcher.until(lambda: watcher.on(f"{CONFIG}/m1/config")[-1].payload == b"", "taken away")
        async with watching(house.broker.address, "homeassistant/#", f"{BASE}/#") as fresh:
            await fresh.first(f"{CONFIG}/m2/config")
            await fresh.first(f"{BASE}/m2/availability")
            assert not [seen.topic for seen in fresh.seen if "/m1/" in seen.topic]


async def test_the_last_words_are_the_gateways_own_or_the_brokers(house: House) -> None:
    async with watching(house.broker.address) as watcher:
        async with house.showing(output(house)) as shown:
            await watcher.first(f"{BASE}/m2/availability")
            cut_the_wire(shown)
            await watcher.until(lambda: b"offline" in [s.payload for s in watcher.on(f"{BASE}/status")], "the will")
            await watcher.until(lambda: watcher.on(f"{BASE}/status")[-1].payload == b"online", "back")
        await watcher.until(lambda: watcher.on(f"{BASE}/status")[-1].payload == b"offline", "a clean end")


async def test_a_meter_of_nobody_without_a_switch(tmp_path: Path, broker: Mosquitto) -> None:
    house = House(tmp_path, broker, replace(meter("m1"), account=None, switch=SwitchKind.NONE))
    with house.acting() as street:
        street.read("m1", power="0.5")
    async with watching(broker.address) as watcher, house.showing(output(house)):
        assert await values(watcher, "m1") == {"power": "0.500"}
        config = (await watcher.first(f"{CONFIG}/m1/config")).json
        assert {*config["components"]} == {"power"}


def test_states_that_home_assistant_may_show_are_all_there_are() -> None:
    """It refuses a state that is not among a sensor's options."""
    assert {*CREDIT_STATES} == {state.value for state in CreditState}
    assert {*SUPPLY_STATES} == {contact.value for contact in Contact}


def test_every_currency_is_a_unit_of_money_to_home_assistant() -> None:
    """ISO 4217 as three capitals."""
    assert DECIMALS and all(re.fullmatch("[A-Z]{3}", currency) for currency in DECIMALS)
