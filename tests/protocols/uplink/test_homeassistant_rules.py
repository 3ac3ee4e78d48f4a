"""Every discovery message that we can make, held against Home Assistant's own rules as a table (tests/vectors)."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocols.uplink.homeassistant import Device, Topics, discovery, shown

RULES: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "homeassistant-rules.json").read_text())
PHASES = ("a", "b", "c", "n")
QUANTITIES = (
    *("energy_import", *(f"energy_import_t{n}" for n in range(1, 64)), "energy_export", "energy_combined"),
    *("power", "reactive_power", "apparent_power", "power_factor", "frequency", "clock", "status_1", "demand_import_max"),
    *(f"{kind}_{phase}" for kind in ("voltage", "current", "power", "reactive_power", "power_factor") for phase in PHASES),
)
TOPICS = Topics("G1")


def documents() -> Iterator[dict[str, Any]]:
    everything = [name for name in QUANTITIES if shown(name)]
    assert len(everything) > 70
    for quantities, currency, switch, commands in itertools.product(
        ([], ["energy_import"], everything), (None, "CNY", "EUR"), (False, True), (False, True)
    ):
        device = Device("m1", "dlt645-single", "202611210107", quantities, currency, switch, commands)
        yield json.loads(discovery(TOPICS, device, "0.1.0"))


def entities() -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Document, key, and the entity with what it takes from the root; without those that are only taken away."""
    for document in documents():
        common = {key: document[key] for key in RULES["shared"] if key in document}
        for key, entity in document["components"].items():
            if entity.keys() != {"platform"}:
                yield document, key, common | entity


def test_the_root_and_its_parts_have_no_key_that_is_not_known() -> None:
    for document in documents():
        assert {*RULES["required"]} <= document.keys() <= {*RULES["root"]}
        assert document["device"].keys() <= {*RULES["device"]} and document["device"]["identifiers"]
        assert "name" in document["origin"] and document["origin"].keys() <= {*RULES["origin"]}
        assert document["availability_mode"] in RULES["availability_modes"]
        assert all("topic" in each and each.keys() <= {*RULES["availability"]} for each in document["availability"])


def test_an_entity_has_no_key_that_its_platform_does_not_know_and_all_it_needs() -> None:
    for _, key, entity in entities():
        platform = entity["platform"]
        assert entity.keys() <= {*RULES["shared"], *RULES["entity"], *RULES[platform]}, key
        assert entity.keys() >= {*RULES["needs"][platform], "unique_id", "name"}, key
        assert entity.get("entity_category") in (None, *RULES["entity_categories"])


def test_class_unit_and_state_class_go_together() -> None:
    seen = set()
    for _, key, entity in entities():
        if (name := entity.get("device_class")) is None:
            assert "state_class" not in entity and "unit_of_measurement" not in entity, key
            continue
        rule, unit, state_class = RULES["classes"][name], entity.get("unit_of_measurement"), entity.get("state_class")
        assert state_class is None or state_class in rule["state_classes"], key
        assert unit in rule["units"] if rule["units"] != "ISO 4217" else re.fullmatch("[A-Z]{3}", str(unit)), key
        assert (name == "enum") is ("options" in entity), key
        assert state_class is not None or name in ("enum", "monetary"), f"{key} has no statistics"
        seen.add(name)
    assert seen == {*RULES["classes"]}


def test_what_is_not_shared_stands_with_each_entity() -> None:
    """The switch's orders leave Home Assistant with the entity's own quality of service."""
    assert "qos" not in RULES["shared"]
    for _, key, entity in entities():
        assert entity["qos"] == 1, key


def test_each_value_is_found_in_the_state_by_its_key() -> None:
    for _, key, entity in entities():
        found = re.fullmatch(r"\{\{ value_json\.(\w+) \}\}", entity["value_template"])
        assert found and found[1] == ("state" if key == "order" else key)


def test_the_switch_is_never_optimistic_and_asks_where_we_listen() -> None:
    switches = [entity for _, _, entity in entities() if entity["platform"] == "switch"]
    assert switches
    for entity in switches:
        assert entity["optimistic"] is False and entity["retain"] is False
        assert TOPICS.ordered(entity["command_topic"]) == "m1" and entity["state_topic"] == TOPICS.state("m1")


def test_identities_are_unique_and_the_same_whatever_else_is_shown() -> None:
    known: dict[str, str] = {}
    for document, key, entity in entities():
        assert known.setdefault(key, entity["unique_id"]) == entity["unique_id"]
        assert document["device"]["identifiers"] == ["wattgate.G1.m1"]
    assert len({*known.values()}) == len(known)


@pytest.mark.parametrize("meter", ["m1", "A-b_9", "x" * 64])
def test_where_it_is_announced_is_what_home_assistant_listens_to(meter: str) -> None:
    """<prefix>/<component>/[<node>/]<object>/config, with letters, digits, _ and - in the last two."""
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config", TOPICS.config(meter))
