"""The down side with signatures: whose word the centre's is, where answers go, and keys that come and go while it runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.adapters.mqtt_down import MOST_REPLIES, DownSide
from gateway.adapters.mqtt_session import Arrival, Demands
from gateway.adapters.uplink_keyring import KeyRing
from gateway.domain.incoming import UnreadableCommand
from gateway.domain.uplink_keys import KeyRole, Why
from tests.gateway.adapters.test_mqtt_link import Ear
from tests.gateway.centre_keys import Signer

NOW_MS = 1_795_262_400_000
CENTRE, ORDERS = Signer("centre", 1), Signer("orders", 2)
KEYS = (CENTRE.key(role=KeyRole.CENTRE, verbs=()), ORDERS.key())
PLAIN = Demands()
ACK, RESEND = {"epoch": "e", "upto": 3}, {"epoch": "e", "ranges": [[1, 2]]}


def down(*keys: object) -> tuple[DownSide, Ear, KeyRing]:
    ring, ear = KeyRing(KEYS), Ear()
    side = DownSide("G1", ring, signatures=None, commands=True, on_loopback=True, now_ms=lambda: NOW_MS)
    side.listener = ear
    return side, ear, ring


async def told(
    side: DownSide, ear: Ear, kind: str, token: bytes, *, retained: bool = False, demands: Demands = PLAIN
) -> object:
    await side.receive(Arrival(f"wattgate/v1/G1/down/{kind}", token, retained, demands))
    return ear.heard[-1]


async def test_only_the_centres_key_acknowledges() -> None:
    side, ear, _ = down()
    assert await told(side, ear, "ack", CENTRE.signed(ACK)) == ("ack", "e", 3, ())
    assert await told(side, ear, "resend", CENTRE.signed(RESEND)) == ("resend", "e", ((1, 2),))
    for token, why in (
        (ORDERS.signed(ACK), Why.NO_RIGHT),
        (json.dumps(ACK).encode(), Why.UNSIGNED),
        (Signer("centre", 9).signed(ACK), Why.BAD_SIGNATURE),
        (Signer("nobody", 9).signed(ACK), Why.UNKNOWN_KEY),
        (CENTRE.signed(RESEND), Why.MALFORMED),
    ):
        what = await told(side, ear, "ack", token)
        assert isinstance(what, UnreadableCommand) and (what.why, what.id) == (why, None)
    what = await told(side, ear, "ack", CENTRE.signed(ACK), retained=True)
    assert isinstance(what, UnreadableCommand) and what.why is Why.RETAINED


async def test_keys_come_and_go_while_it_runs() -> None:
    side, ear, ring = down()
    ring.fill([replace(KEYS[0], revoked_ms=NOW_MS), *KEYS[1:]])
    what = await told(side, ear, "ack", CENTRE.signed(ACK))
    assert isinstance(what, UnreadableCommand) and what.why is Why.KEY_REVOKED
    ring.fill([])  # without any key, and from a broker on loopback, plain JSON is taken
    assert await told(side, ear, "ack", json.dumps(ACK).encode()) == ("ack", "e", 3, ())
    ring.fill([replace(KEYS[0], public="A" * 42 + "B"), KEYS[1]])
    assert ring.public("centre") is None and ring.public("orders") is not None


@pytest.mark.parametrize(
    ("topic", "kept"),
    (
        ("replies/42", True),
        ("wattgate/v1/G2/down/command", False),
        ("a/+", False),
        ("a/#", False),
        ("$SYS/x", False),
        ("a b", False),
        ("x" * 201, False),
        (None, False),
    ),
)
async def test_answers_go_where_they_are_awaited(topic: str | None, kept: bool) -> None:
    side, ear, _ = down()
    token = ORDERS.signed(ORDERS.fields("c-1", NOW_MS))
    await told(side, ear, "command", token, demands=Demands(response=topic, correlation=b"42"))
    assert side.replies == ({"c-1": (topic, b"42")} if kept else {})
    side.replies.update({f"x-{number}": ("t", None) for number in range(MOST_REPLIES)})
    await told(side, ear, "command", ORDERS.signed(ORDERS.fields("c-2", NOW_MS)), demands=Demands(response="r"))
    assert len(side.replies) <= MOST_REPLIES + 1 and "c-2" in side.replies
