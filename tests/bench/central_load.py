"""Many gateways in one process, as a broker sees them: readings at an even rate, answers to commands, acknowledgements looked at.

usage: python -m tests.bench.central_load PORT SECONDS X, where X is the public key of the centre
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocols.uplink import messages, signing
from protocols.uplink.messages import Ack
from protocols.uplink.moments import format_moment
from protocols.uplink.topics import NATIVE, Down, DownTopic, Up
from tests.bench.bench_central import GATEWAYS, READINGS_S, SETTLE_S

ENVELOPE = '{"epoch":"e","seq":%d,"low":%d,"backlog":false,'
NOON = "2026-11-22T12:00:00.000Z"
ITEMS = ("energy_import", "energy_import_t1", "energy_import_t2", "energy_import_t3", "energy_import_t4")
READING = (
    ENVELOPE
    + '"point":"P%d","items":['
    + ",".join(f'{{"quantity":"{name}","obis":"1-0:1.8.{n}","value":"%s","unit":"kWh"}}' for n, name in enumerate(ITEMS))
    + f'],"quality":"confirmed","source":"live","asked":"{NOON}","answered":"{NOON}","stored":"{NOON}"}}'
)
RESULT = ENVELOPE + '"command":"%s","state":"%s","final":%s,"at":"%s"}'
"""As a gateway encodes them; its own work of making them is not what is measured."""


@dataclass(slots=True)
class Gateway:
    """One gateway's numbers. sent: those that wait for an acknowledgement, and when they went."""

    name: str
    seq: int = 0
    sent: deque[tuple[int, float]] = field(default_factory=deque)


class Load:
    """All of them behind one connection."""

    def __init__(self, port: int, public: str) -> None:
        self._key = signing.public_key(public)
        self._gateways = [Gateway(f"G{n}") for n in range(GATEWAYS)]
        self._by_name = {g.name: g for g in self._gateways}
        self.delays: list[float] = []
        self._acks = 0
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="gateways", protocol=mqtt.MQTTv311)
        self.client.max_inflight_messages_set(1000)
        self.client.max_queued_messages_set(0)
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe([(f"{NATIVE.root}/+/down/{kind}", 1) for kind in ("ack", "command")])

    def run(self, seconds: float) -> None:
        begun = time.monotonic()
        for n in range(int(seconds * READINGS_S)):
            due = begun + n / READINGS_S
            while (left := due - time.monotonic()) > 0:
                self.client.loop(min(left, 0.05))
            self._read(self._gateways[n % GATEWAYS], n)
            if n % 4 == 0:
                self.client.loop(0)
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            self.client.loop(0.05)

    def _read(self, gateway: Gateway, n: int) -> None:
        low, seq = self._next(gateway)
        value = f"{n // 100}.{n % 100:02d}"
        self.client.publish(NATIVE.up(gateway.name, Up.READING, f"M{n % 100_000}"), READING % (seq, low, n, *[value] * 5), qos=1)

    def _next(self, gateway: Gateway) -> tuple[int, int]:
        gateway.seq += 1
        gateway.sent.append((gateway.seq, time.monotonic()))
        return gateway.sent[0][0], gateway.seq

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        where = NATIVE.parse(message.topic)
        assert isinstance(where, DownTopic)
        gateway = self._by_name[where.gateway]
        if where.kind is Down.ACK:
            self._acks += 1
            payload = signing.open_signed(bytes(message.payload), lambda _: self._key).payload if self._acks % 20 == 1 else None
            ack = msgspec.json.decode(payload or signing._decoded(bytes(message.payload).split(b".")[1], "payload"), type=Ack)
            now = time.monotonic()
            while gateway.sent and gateway.sent[0][0] <= ack.upto:
                self.delays.append(now - gateway.sent.popleft()[1])
            return
        self._obey(gateway, bytes(message.payload))

    def _obey(self, gateway: Gateway, token: bytes) -> None:
        command = messages.parse_object(signing._decoded(token.split(b".")[1], "payload"), "this command")
        for state, final in (("queued", "false"), ("sent", "false"), ("verified", "true")):
            low, seq = self._next(gateway)
            at = format_moment(time.time_ns() // 1_000_000)
            said = RESULT % (seq, low, command["id"], state, final, at)
            self.client.publish(NATIVE.up(gateway.name, Up.RESULT, str(command["id"])), said, qos=1)


def main() -> None:
    load = Load(int(sys.argv[1]), sys.argv[3])
    load.client.loop(0.2)
    print("ready", flush=True)
    begun = time.process_time()
    load.run(float(sys.argv[2]))
    delays = sorted(load.delays)
    found = {
        "cpu_s": time.process_time() - begun,
        "ack_p50_ms": 1000 * delays[len(delays) // 2],
        "ack_p99_ms": 1000 * delays[len(delays) * 99 // 100],
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
