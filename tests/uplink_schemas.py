"""Whether a message is what the documents under docs/uplink say: by its class, or by the topic that it came on."""

from __future__ import annotations

import json

import jsonschema_rs
import msgspec

from protocols.uplink.schemas import CHANNELS, schema_of
from protocols.uplink.topics import NATIVE, DownTopic, StatusTopic, UpTopic

VALIDATORS = {channel.name: jsonschema_rs.validator_for(schema_of(channel), validate_formats=True) for channel in CHANNELS}
FORMS: dict[type[msgspec.Struct], str] = {channel.form: channel.name for channel in CHANNELS}


def hold(name: str, payload: bytes) -> None:
    """The payload is a message of this name; else the test fails with what is wrong."""
    errors = VALIDATORS[name].iter_errors(json.loads(payload))
    found = [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in errors]
    assert not found, f"{name} {payload[:500]!r} is not what its schema says: {found}"


def hold_topic(topic: str, payload: bytes) -> str:
    """The same for what came on a topic of the native uplink, unsigned; gives the name of its class."""
    match NATIVE.parse(topic):
        case UpTopic(_, kind, _) | DownTopic(_, kind):
            name = kind.value
        case StatusTopic():
            name = "status"
        case None:
            raise AssertionError(f"{topic} is no topic of ours")
    hold(name, payload)
    return name
