"""ThingsBoard's gateway API: the payloads of its documentation, made and read."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from protocols.uplink.thingsboard import BadCall, Call, answer, attributes, device, parse_call, telemetry


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
