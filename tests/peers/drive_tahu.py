"""Runs in the venv of PyPI's tahutils and does what tests/peers/child.py is asked for, with Eclipse Tahu's own module."""

from __future__ import annotations

import json
import sys

from google.protobuf.json_format import MessageToDict
from google.protobuf.unknown_fields import UnknownFieldSet
from tahutils.tahu import sparkplug_b
from tahutils.tahu.sparkplug_b_pb2 import Payload


def decode(text: str) -> dict[str, object]:
    """A payload in hex as Tahu reads it, and how many fields it does not know."""
    payload = Payload.FromString(bytes.fromhex(text))
    unknown = sum(len(UnknownFieldSet(message)) for message in (payload, *payload.metrics))
    read = MessageToDict(payload, preserving_proto_field_name=True)
    seq, at = (getattr(payload, name) if payload.HasField(name) else None for name in ("seq", "timestamp"))
    return {"unknown": unknown, "seq": seq, "timestamp": at, "metrics": read.get("metrics", [])}


def boolean(name: str, value: bool) -> str:
    """A command as Tahu's helper makes it."""
    payload = Payload()
    sparkplug_b.addMetric(payload, name, None, sparkplug_b.MetricDataType.Boolean, value)
    return payload.SerializeToString().hex()


CALLS = {"decode": decode, "boolean": boolean}

for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        answer = {"value": CALLS[name](*arguments)}
    except Exception as error:  # the caller is told
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))
