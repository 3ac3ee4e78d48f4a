"""What comes down is handed over, or refused with a reason."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from gateway.adapters.mqtt_link import Broker, MqttLink
from gateway.adapters.mqtt_session import Arrival, Demands
from gateway.domain.incoming import IncomingCommand, UnreadableCommand

NOON_MS = 1_795_262_400_000
COMMAND: dict[str, object] = {
    "id": "c-1",
    "gateway": "G1",
    "verb": "cut",
    "meter": "M1",
    "args": {"cause": "emergency"},
    "issued_at": "2026-11-21T12:00:00.000Z",
    "expires_at": "2026-11-21T12:05:00+00:00",
    "reason": "fire",
    "counter": 4,
}


class Ear:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    async def on_ack(self, epoch: str, upto: int, also: tuple[tuple[int, int], ...]) -> None:
        self.heard.append(("ack", epoch, upto, also))

    async def on_resend(self, epoch: str, ranges: tuple[tuple[int, int], ...]) -> None:
        self.heard.append(("resend", epoch, ranges))

    async def on_command(self, command: IncomingCommand) -> None:
        self.heard.append(command)

    async def on_unreadable(self, what: UnreadableCommand) -> None:
        self.heard.append(what)


async def heard(kind: str, payload: object, *, retained: bool = False, host: str = "127.0.0.1", commands: bool = True) -> object:
    link = MqttLink(Broker(host), "G1", pseudonym_key=b"k", commands=commands, now_ms=lambda: 0, rng=random.Random(1))
    ear = link.listener = Ear()
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    await link.down.receive(Arrival(f"wattgate/v1/G1/{kind}", raw, retained, Demands()))
    [only] = ear.heard
    return only


async def test_acks_requests_and_commands_are_handed_over() -> None:
    assert await heard("down/ack", {"epoch": "e", "upto": 3, "also": [[5, 6]]}) == ("ack", "e", 3, ((5, 6),))
    assert await heard("down/resend", {"epoch": "e", "ranges": [[5, 6]]}) == ("resend", "e", ((5, 6),))
    command = await heard("down/command", COMMAND)
    assert isinstance(command, IncomingCommand)
    assert replace(command, digest="", token="") == IncomingCommand(
        "c-1", "G1", "cut", "M1", None, "emergency", NOON_MS, NOON_MS + 300_000, "fire", 4, args={"cause": "emergency"}
    )


@pytest.mark.parametrize(
    ("kind", "payload", "change", "why", "id"),
    (
        ("down/command", COMMAND, {"retained": True}, "a retained command moves nothing", "c-1"),
        ("down/command", COMMAND, {"host": "10.0.0.7"}, "loopback interface only", "c-1"),
        ("down/command", COMMAND, {"commands": False}, "switched off", "c-1"),
        ("down/command", COMMAND | {"meter": None}, {}, "account or meter", "c-1"),
        ("down/command", b"{", {}, "not the JSON", None),
        ("down/ack", {"epoch": "e", "upto": 3}, {"retained": True}, "a retained ack is old news", None),
        ("down/ack", {"upto": 3}, {}, "missing required field `epoch`", None),
        ("down/other", {}, {}, "nothing is expected on the topic", None),
    ),
)
async def test_the_rest_is_refused(kind: str, payload: object, change: dict[str, object], why: str, id: str | None) -> None:
    what = await heard(kind, payload, **change)  # type: ignore[arg-type]
    assert isinstance(what, UnreadableCommand)
    assert why in what.text and what.id == id
