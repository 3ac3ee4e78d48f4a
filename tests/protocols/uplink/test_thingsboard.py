"""ThingsBoard's gateway API: the payloads of its documentation, made and read."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from protocols.uplink.thingsboard import (
    ATTRIBUTES,
    CONNECT,
    DISCONNECT,
    RPC,
    TELEMETRY,
    BadCall,
    Call,
    Value,
    answer,
    attributes,
    device,
    parse_call,
    telemetry,
)


def test_a_device_comes_and_goes() -> None:
    assert device("m1") == b'{"device":"m1"}'


def test_telemetry_by_device_and_time_with_the_meters_own_digits() -> None:
    sent = telemetry({"m1": [(5, {"energy_import": Decimal("120.10"), "quality": "single", "x": None}), (6, {"on": True})]})
    assert sent == b'{"m1":[{"ts":5,"values":{"energy_import":120.10,"quality":"single"}},{"ts":6,"values":{"on":true}}]}'


def test_attributes_without_what_is_unknown() -> None:
    assert json.loads(attributes({"m1": {"model": "x", "supply": None}})) == {"m1": {"model": "x"}}


def test_a_call_and_its_answer() -> None:
    call = parse_call(  # with what later versions may add
        b'{"device": "m1", "data": {"id": 7, "method": "setSupply", "params": {"on": 1.5}, "new": 1}, "more": []}'
    )
    assert call == Call("m1", 7, "setSupply", {"on": 1.5})
    assert call is not None
    ours = answer(call, {"state": "queued", "reason": None})
    assert ours == b'{"device":"m1","id":7,"data":{"state":"queued"}}'
    assert parse_call(ours) is None  # heard again on the same topic


def test_the_words_of_its_documentation() -> None:
    """The examples of its MQTT Gateway API: connect, telemetry, attributes, a server-side call and the reply."""
    assert json.loads(device("Device A")) == {"device": "Device A"}
    hot, hotter = dict[str, Value](temperature=42, humidity=80), dict[str, Value](temperature=43, humidity=82)
    first, second = (1483228800000, hot), (1483228801000, hotter)
    assert json.loads(telemetry({"Device A": [first, second], "Device B": [first]})) == {
        "Device A": [
            {"ts": 1483228800000, "values": {"temperature": 42, "humidity": 80}},
            {"ts": 1483228801000, "values": {"temperature": 43, "humidity": 82}},
        ],
        "Device B": [{"ts": 1483228800000, "values": {"temperature": 42, "humidity": 80}}],
    }
    values = dict[str, Value](attribute1="value1", attribute2=42)
    assert json.loads(attributes({"Device A": values, "Device B": values})) == {"Device A": values, "Device B": values}
    call = parse_call(b'{"device": "Device A", "data": {"id": 1, "method": "toggle_gpio", "params": {"pin": 1}}}')
    assert call == Call("Device A", 1, "toggle_gpio", {"pin": 1})
    assert call is not None
    assert json.loads(answer(call, {"success": True})) == {"device": "Device A", "id": 1, "data": {"success": True}}
    topics = [topic.removeprefix("v1/gateway/") for topic in (CONNECT, DISCONNECT, TELEMETRY, ATTRIBUTES, RPC)]
    assert topics == ["connect", "disconnect", "telemetry", "attributes", "rpc"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[]",
        b"{",
        b'{"device": "m1"}',
        b'{"device": 1, "data": {"id": 1, "method": "x"}}',
        b'{"device": "m1", "data": {"id": "1", "method": "x"}}',
        b'{"device": "m1", "data": {"id": 1}}',
        b'{"device": "m1", "data": {"id": 1, "method": "x", "params": "' + b"x" * 300_000 + b'"}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_call(payload: bytes) -> None:
    with pytest.raises(BadCall):
        parse_call(payload)
