"""Messages as gateways send them."""

from __future__ import annotations

import json

from gateway.central import arrivals
from gateway.central.arrivals import Arrival
from protocols.uplink.topics import Up, UpTopic

NOW_MS = 1_795_262_400_000
NOON = "2026-11-21T12:00:00.000Z"

EVENT: dict[str, object] = {"kind": "line_up", "at": NOON, "account": "00ff", "data": {"line": "a", "text": "灯"}}
READING: dict[str, object] = {
    "point": "P1",
    "items": [
        {"quantity": "energy_import", "obis": "1-0:1.8.0", "value": "123.40", "unit": "kWh"},
        {"quantity": "voltage_a", "obis": None, "value": None, "unit": "V"},
    ],
    "quality": "confirmed",
    "source": "live",
    "asked": NOON,
    "answered": "2026-11-21T12:00:00.123Z",
    "stored": "2026-11-21T12:00:01.000Z",
}
BALANCE: dict[str, object] = {"balance": "-1.25", "currency": "CNY", "credit": "exhausted", "at": NOON}
RESULT: dict[str, object] = {
    "command": "c-1",
    "meter": "M1",
    "verb": "cut",
    "cause": "emergency",
    "origin": "uplink",
    "state": "verified",
    "final": True,
    "evidence": ["relay_bit", "load"],
    "reason": None,
    "at": NOON,
}
ANCHOR: dict[str, object] = {"at": NOON, "jws": "a.b.c"}
BODIES = {Up.EVENT: EVENT, Up.READING: READING, Up.BALANCE: BALANCE, Up.RESULT: RESULT, Up.ANCHOR: ANCHOR}
SUBJECTS = {Up.EVENT: "gateway", Up.READING: "M1", Up.BALANCE: "00ff", Up.RESULT: "c-1", Up.ANCHOR: ""}


def arrival(seq: int, kind: Up = Up.EVENT, *, gateway: str = "G1", epoch: str = "e1", low: int = 1, **change: object) -> Arrival:
    """One message, with some fields changed. kind_, with ranges (of what was dropped) or data: of an event."""
    if "kind_" in change:
        change = {"kind": change["kind_"], "data": change.get("data") or {"ranges": change["ranges"], "reason": "full"}}
    fields = {"epoch": epoch, "seq": seq, "low": low, "backlog": False} | BODIES[kind] | change
    return arrivals.read(UpTopic(gateway, kind, SUBJECTS[kind]), json.dumps(fields).encode(), NOW_MS)
