"""Our Sparkplug B payloads in foreign hands: Eclipse Tahu's Python module (PyPI tahutils) and its JavaScript one (npm
sparkplug-payload) read births, data, deaths and rebirths, and Tahu's commands are read by us."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from protocols.uplink.sparkplug import EdgeNode, Message, Quality, Rebirth, Sample, Type, Write
from tests.peers.child import Peer, node_folder

AT = 1_795_262_400_000
PRESENT = [
    Sample("energy_import", Type.DOUBLE, Decimal("120.10"), AT, unit="kWh"),
    Sample("power", Type.DOUBLE, Decimal("-0.230"), AT, unit="kW"),
    Sample("status_1", Type.STRING, "0000000000000000", AT),
    Sample("Supply/Closed", Type.BOOLEAN, True, AT),
    Sample("Supply/State", Type.STRING, "closed", AT),
    Sample("Command/Reason", Type.STRING, None, AT),
]
FRESH = [Sample("power", Type.DOUBLE, "1.5", AT + 1), Sample("Supply/Closed", Type.BOOLEAN, False, AT + 1)]


def session(*, typed_data: bool) -> tuple[EdgeNode, list[Message]]:
    """A life: births, data, a late and a doubtful value, a device's death, a rebirth, and the will."""
    edge = EdgeNode("street", "G1", typed_data=typed_data)
    messages = [
        edge.birth(3, [Sample("Properties/Software", Type.STRING, "wattgate", AT)], AT),
        edge.device_birth("m1", PRESENT, AT),
        edge.data("m1", FRESH, AT + 1),
        edge.data("m1", [Sample("power", Type.DOUBLE, "0.7", AT - 9, Quality.BAD, historical=True)], AT + 2),
        edge.device_death("m1", AT + 3),
        edge.birth(3, [], AT + 4),
        edge.device_birth("m1", PRESENT, AT + 4),
        Message(edge.death_topic, edge.death(3, AT)),
    ]
    return edge, messages


@pytest.fixture(scope="module")
def tahu() -> Iterator[Peer]:
    with Peer("tahutils", "drive_tahu.py") as call:
        yield call


def by_tahu(call: Peer, messages: list[Message]) -> list[dict[str, Any]]:
    decoded = [call("decode", message.payload.hex()) for message in messages]
    return [each for each in decoded if isinstance(each, dict)]


def test_tahu_reads_the_whole_life(tahu: Peer) -> None:
    _, messages = session(typed_data=False)
    read = by_tahu(tahu, messages)
    assert [each["seq"] for each in read] == [0, 1, 2, 3, 4, 0, 1, None]
    assert all(each["unknown"] == 0 for each in read)
    birth = {metric["name"]: metric for metric in read[0]["metrics"]}
    assert (birth["bdSeq"]["long_value"], birth["bdSeq"]["datatype"]) == ("3", Type.INT64)
    assert (birth["Node Control/Rebirth"]["boolean_value"], birth["Node Control/Rebirth"]["datatype"]) == (False, Type.BOOLEAN)
    assert [metric["long_value"] for metric in read[-1]["metrics"]] == ["3"]


def test_tahu_reads_values_types_units_times_and_history(tahu: Peer) -> None:
    _, messages = session(typed_data=False)
    read = by_tahu(tahu, messages)
    device = {metric["name"]: metric for metric in read[1]["metrics"]}
    assert device["energy_import"]["double_value"] == 120.1 and device["energy_import"]["datatype"] == Type.DOUBLE
    assert device["energy_import"]["properties"] == {"keys": ["engUnit"], "values": [{"type": 12, "string_value": "kWh"}]}
    assert device["Command/Reason"]["is_null"] is True
    named = {metric["alias"]: name for name, metric in device.items()}
    fresh, late = read[2]["metrics"], read[3]["metrics"]
    assert [(named[m["alias"]], m["timestamp"]) for m in fresh] == [("power", str(AT + 1)), ("Supply/Closed", str(AT + 1))]
    assert all("name" not in m and "datatype" not in m for m in (*fresh, *late))
    (old,) = late
    assert (old["is_historical"], old["double_value"], old["timestamp"]) == (True, 0.7, str(AT - 9))
    assert old["properties"] == {"keys": ["Quality"], "values": [{"type": 3, "int_value": 0}]}


@pytest.mark.parametrize("on", [True, False])
def test_we_read_what_tahu_orders(tahu: Peer, on: bool) -> None:
    edge, _ = session(typed_data=False)
    rebirth = bytes.fromhex(str(tahu("boolean", "Node Control/Rebirth", on)))
    assert edge.read("spBv1.0/street/NCMD/G1", rebirth) == [Rebirth()] * on
    write = bytes.fromhex(str(tahu("boolean", "Supply/Closed", on)))
    assert edge.read("spBv1.0/street/DCMD/G1/m1", write) == [Write("m1", "Supply/Closed", on)]


def by_javascript(messages: list[Message]) -> list[dict[str, Any]]:
    run = subprocess.run(
        ["node", str(Path(__file__).parent / "node" / "sparkplug.cjs")],
        input="".join(f"{message.payload.hex()}\n" for message in messages),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | {"NODE_PATH": str(node_folder() / "node_modules")},
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_host_that_needs_types_reads_every_value() -> None:
    """The JavaScript decoder gives null for a value without its type; `typed_data` is for such hosts."""
    read = by_javascript(session(typed_data=True)[1])
    device = {metric["name"]: metric for metric in read[1]["metrics"]}
    assert {name: (m["type"], m["value"]) for name, m in device.items()} == {
        "energy_import": ("Double", 120.1),
        "power": ("Double", -0.23),
        "status_1": ("String", "0000000000000000"),
        "Supply/Closed": ("Boolean", True),
        "Supply/State": ("String", "closed"),
        "Command/Reason": ("String", None),
    }
    assert [metric["value"] for metric in read[2]["metrics"]] == [1.5, False]
    (late,) = read[3]["metrics"]
    assert (late["value"], late["isHistorical"], late["properties"]["Quality"]["value"]) == (0.7, True, 0)
    assert [each.get("seq") for each in read] == ["0", "1", "2", "3", "4", "0", "1", None]
    untyped = by_javascript(session(typed_data=False)[1])
    assert [metric["value"] for metric in untyped[2]["metrics"]] == [None, None]
