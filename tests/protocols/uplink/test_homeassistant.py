"""What Home Assistant reads: discovery, states, and what its switch asks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from protocols.errors import RequestError
from protocols.uplink.homeassistant import BadOrder, Device, Topics, discovery, parse_order, relay_state, shown, state

TOPICS = Topics("G1")
QUANTITIES = ("energy_import", "energy_import_t2", "power", "voltage_a", "current_n", "frequency", "power_factor")
DEVICE = Device("m1", "dlt645-single", "202611210107", QUANTITIES, "CNY", switch=True, commands=True)


def document(device: Device = DEVICE) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(discovery(TOPICS, device, "0.1.0"))
    return read


def test_one_message_describes_the_whole_device() -> None:
    read = document()
    assert read["device"] == {
        "identifiers": ["wattgate.G1.m1"],
        "name": "Meter m1",
        "model": "dlt645-single",
        "serial_number": "202611210107",
        "manufacturer": "wattgate",
    }
    assert read["origin"] == {"name": "wattgate", "sw_version": "0.1.0"}
    assert read["state_topic"] == "wattgate/homeassistant/G1/m1/state"
    assert (read["availability_mode"], [each["topic"] for each in read["availability"]]) == (
        "all",
        ["wattgate/homeassistant/G1/status", "wattgate/homeassistant/G1/m1/availability"],
    )
    assert {*read["components"]} == {*QUANTITIES, "balance", "credit", "supply", "order", "relay"}
    assert all(entity["platform"] in ("sensor", "switch") for entity in read["components"].values())


@pytest.mark.parametrize(
    ("key", "name", "device_class", "state_class", "unit"),
    [
        ("energy_import", "Energy", "energy", "total_increasing", "kWh"),
        ("energy_import_t2", "Energy rate 2", "energy", "total_increasing", "kWh"),
        ("power", "Power", "power", "measurement", "kW"),
        ("voltage_a", "Voltage L1", "voltage", "measurement", "V"),
        ("current_n", "Current N", "current", "measurement", "A"),
        ("frequency", "Frequency", "frequency", "measurement", "Hz"),
        ("power_factor", "Power factor", "power_factor", "measurement", None),
        ("balance", "Balance", "monetary", None, "CNY"),
        ("credit", "Credit", "enum", None, None),
        ("supply", "Supply", "enum", None, None),
    ],
)
def test_every_sensor_has_its_class(key: str, name: str, device_class: str, state_class: str | None, unit: str | None) -> None:
    entity = document()["components"][key]
    shape = (entity["name"], entity["device_class"], entity.get("state_class"), entity.get("unit_of_measurement"))
    assert shape == (name, device_class, state_class, unit)
    assert entity["value_template"] == f"{{{{ value_json.{key} }}}}"
    assert entity["unique_id"] == f"wattgate.G1.m1.{key}"


def test_the_switch_shows_what_was_read_back_and_nothing_else() -> None:
    relay = document()["components"]["relay"]
    assert relay["optimistic"] is False and relay["retain"] is False
    assert relay["command_topic"] == "wattgate/homeassistant/G1/m1/relay/set"
    assert relay["value_template"] == "{{ value_json.relay }}"
    assert [relay_state(supply) for supply in ("closed", "open", "allowed", "unknown")] == ["ON", "OFF", "OFF", None]


def test_without_commands_there_is_no_switch_and_one_of_before_goes() -> None:
    read = document(replace(DEVICE, commands=False))
    assert read["components"]["relay"] == {"platform": "switch"}
    assert "supply" in read["components"]


def test_what_a_meter_has_not_is_not_shown() -> None:
    read = document(replace(DEVICE, quantities=("energy_import",), currency=None, switch=False))
    assert {*read["components"]} == {"energy_import"}


@pytest.mark.parametrize("quantity", ["clock", "status_1", "energy_export", "reactive_power", "demand_import_max", "balance", "x"])
def test_what_nobody_wants_at_home(quantity: str) -> None:
    assert not shown(quantity)


def test_unknown_is_null() -> None:
    assert state({"energy_import": "1.20", "power": None}) == b'{"energy_import":"1.20","power":null}'


def test_identities_of_two_gateways_never_meet() -> None:
    """Letters, digits, _ and - may stand in both ids, so the border between them is none of these."""
    one = json.loads(discovery(Topics("a_b"), replace(DEVICE, meter="c"), "1"))
    two = json.loads(discovery(Topics("a"), replace(DEVICE, meter="b_c"), "1"))
    assert one["device"]["identifiers"] != two["device"]["identifiers"]


class TestTopics:
    def test_where_things_are(self) -> None:
        topics = Topics("G1", "ha/discovery")
        assert topics.birth == "ha/discovery/status"
        assert topics.config("m1") == "ha/discovery/device/wattgate_G1/m1/config"
        assert topics.all_discovered == "ha/discovery/device/wattgate_G1/+/config"
        assert topics.discovered(topics.config("m1")) == "m1"
        assert topics.ordered("wattgate/homeassistant/G1/m1/relay/set") == "m1"
        assert topics.retained("m1")[0] == topics.config("m1") and len({*topics.retained("m1")}) == 4

    @pytest.mark.parametrize(
        "topic",
        [
            "homeassistant/device/wattgate_G1/m1/x",
            "homeassistant/device/wattgate_G2/m1/config",
            "homeassistant/device/wattgate_G1/m 1/config",
            "x/homeassistant/device/wattgate_G1/m1/config",
            "wattgate/homeassistant/G1/m1/relay",
            "wattgate/homeassistant/G1/m1/relay/set/x",
            "wattgate/homeassistant/G2/m1/relay/set",
            "wattgate/homeassistant/G1//relay/set",
        ],
    )
    def test_what_is_none_of_ours(self, topic: str) -> None:
        assert TOPICS.discovered(topic) is None and TOPICS.ordered(topic) is None

    @pytest.mark.parametrize(("gateway", "prefix"), [("a/b", "homeassistant"), ("G1", "a+"), ("G1", ""), ("#", "homeassistant")])
    def test_what_makes_no_topic(self, gateway: str, prefix: str) -> None:
        with pytest.raises(RequestError):
            Topics(gateway, prefix)

    def test_a_meter_that_makes_no_topic(self) -> None:
        with pytest.raises(RequestError, match="no id of a meter"):
            TOPICS.config("a/b")


@pytest.mark.parametrize("payload", [b"", b"on", b"ON ", b"TRUE", b"\xff", b"ON" * 1000])
def test_a_switch_asks_for_on_or_off(payload: bytes) -> None:
    assert parse_order(b"ON") is True and parse_order(b"OFF") is False
    with pytest.raises(BadOrder, match="asks for ON or OFF"):
        parse_order(payload)
