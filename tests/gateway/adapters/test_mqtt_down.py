"""The down side with signatures: whose word the centre's is, where answers go, and keys that come and go while it runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.adapters.mqtt_down import HASTY_KEPT, HASTY_LIMIT, MOST_CORRELATION, MOST_REPLIES, DownSide
from gateway.adapters.mqtt_session import Arrival, Demands
from gateway.adapters.uplink_keyring import KeyRing
from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.uplink_keys import KeyRole, Why
from gateway.domain.uplink_orders import ReplyTo
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


@pytest.mark.parametrize(
    ("scope", "why"),
    [
        ({"gateways": ("G1",)}, None),
        ({"gateways": ("H*", "G*")}, None),
        ({"gateways": ("G2",)}, Why.NO_RIGHT),
        ({"gateways": ("G1-*",)}, Why.NO_RIGHT),
        ({"until_ms": NOW_MS}, Why.KEY_OUT_OF_TIME),
        ({"from_ms": NOW_MS + 1}, Why.KEY_OUT_OF_TIME),
        ({"revoked_ms": NOW_MS - 1}, Why.KEY_REVOKED),
        ({"role": KeyRole.COMMANDS}, Why.NO_RIGHT),
    ],
)
@pytest.mark.parametrize(("kind", "word"), [("ack", ACK), ("resend", RESEND)])
async def test_whose_word_about_the_outbox_counts(
    kind: str, word: dict[str, Any], scope: dict[str, Any], why: Why | None
) -> None:
    side, ear, ring = down()
    signer = Signer("another", 20)
    ring.fill([signer.key(**{"role": KeyRole.CENTRE, "verbs": (), **scope})])
    said = await told(side, ear, kind, signer.signed(word))
    if why is None:
        assert isinstance(said, tuple) and said[0] == kind
    else:
        assert isinstance(said, UnreadableCommand) and (said.why, said.id) == (why, None)
    other, tampered = signer.signed(word | {"epoch": "f"}), signer.signed(word)
    said = await told(side, ear, kind, tampered.rsplit(b".", 1)[0] + b"." + other.rsplit(b".", 1)[1])
    assert isinstance(said, UnreadableCommand) and said.why is Why.BAD_SIGNATURE


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
    ("scope", "why", "named"),
    [
        ({"revoked_ms": NOW_MS - 1}, Why.KEY_REVOKED, None),
        ({"until_ms": NOW_MS}, Why.KEY_OUT_OF_TIME, "c-1"),
        ({"from_ms": NOW_MS + 1}, Why.KEY_OUT_OF_TIME, "c-1"),
    ],
)
async def test_what_a_dead_key_signs_is_noise(scope: dict[str, Any], why: Why, named: str | None) -> None:
    side, ear, ring = down()
    ring.fill([ORDERS.key(**scope)])
    what = await told(side, ear, "command", ORDERS.signed(ORDERS.fields("c-1", NOW_MS)))
    assert isinstance(what, UnreadableCommand) and (what.why, what.id) == (why, named)


async def test_a_key_that_cannot_be_used_asks_for_signatures_all_the_same() -> None:
    side, ear, ring = down()
    ring.fill([replace(KEYS[1], public="A" * 42 + "B")])
    what = await told(side, ear, "command", json.dumps(ORDERS.fields("c-1", NOW_MS)).encode())
    assert isinstance(what, UnreadableCommand) and what.why is Why.BAD_SIGNATURE


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
    said = await told(side, ear, "command", token, demands=Demands(response=topic, correlation=b"42"))
    assert side.replies == ({"c-1": ReplyTo(topic, b"42")} if kept and topic else {})
    assert isinstance(said, IncomingCommand) and said.reply == side.replies.get("c-1")
    much = Demands(response=topic, correlation=b"x" * (MOST_CORRELATION + 1))
    said = await told(side, ear, "command", token, demands=much)
    assert isinstance(said, IncomingCommand) and said.reply is None
    side.replies.update({f"x-{number}": ReplyTo("t") for number in range(MOST_REPLIES)})
    await told(side, ear, "command", ORDERS.signed(ORDERS.fields("c-2", NOW_MS)), demands=Demands(response="r"))
    assert len(side.replies) <= MOST_REPLIES + 1 and "c-2" in side.replies


COMMAND_TOPIC = "wattgate/v1/G1/down/command"


def stop(signer: Signer = ORDERS, **change: Any) -> bytes:
    return signer.signed(signer.fields("stop-1", NOW_MS, **{"verb": "stop", "meter": None, "args": None, **change}))


async def test_a_signed_stop_goes_ahead_in_the_name_of_its_key() -> None:
    side, ear, _ = down()
    assert side.hasty(Arrival(COMMAND_TOPIC, stop(), False, PLAIN), 1) == "orders"
    assert side.hasty(Arrival(COMMAND_TOPIC, stop(CENTRE), False, PLAIN), 1) == "centre"
    assert ear.heard == [], "nothing is done with it before it is received"


@pytest.mark.parametrize(
    "token",
    [
        stop(Signer("orders", 9)),
        stop(Signer("nobody", 9)),
        stop(reason="x" * HASTY_LIMIT),
        stop(verb="stopp"),
        stop(args={"stop": "stop"}),
        stop(counter=None),
        ORDERS.signed(ORDERS.fields("c-1", NOW_MS, reason='say "stop"', args={"cause": "stop"})),
        ORDERS.signed(ORDERS.fields("stop", NOW_MS)),
        ORDERS.signed(ORDERS.fields("go-1", NOW_MS, verb="go", meter=None, args=None, reason="stop")),
        ORDERS.signed(b'"stop"'),
        stop().replace(b".", b"", 1),
        stop()[:-1],
        b'{"verb":"stop"}',
        b"..",
        b"",
    ],
)
async def test_whatever_else_keeps_its_turn(token: bytes) -> None:
    side, _, _ = down()
    assert side.hasty(Arrival(COMMAND_TOPIC, token, False, PLAIN), 1) is None


async def test_a_stop_that_cannot_count_keeps_its_turn() -> None:
    side, _, ring = down()
    good = Arrival(COMMAND_TOPIC, stop(), False, PLAIN)
    for worse in (replace(good, retained=True), replace(good, topic="wattgate/v1/G1/down/ack"), replace(good, topic="strange")):
        assert side.hasty(worse, 1) is None
    for scope in ({"revoked_ms": NOW_MS - 1}, {"until_ms": NOW_MS}, {"from_ms": NOW_MS + 1}):
        ring.fill([ORDERS.key(**scope)])
        assert side.hasty(good, 1) is None
    ring.fill([])
    assert side.hasty(good, 1) is None, "nothing is signed where there is no key"
    ring.fill(KEYS)
    assert side.hasty(good, 1) == "orders"


async def test_a_copy_of_a_stop_goes_ahead_only_once_in_a_connection() -> None:
    side, _, _ = down()
    first = Arrival(COMMAND_TOPIC, stop(), False, PLAIN)
    assert [side.hasty(first, 1) for _ in range(3)] == ["orders", None, None]
    assert [side.hasty(first, 2) for _ in range(3)] == ["orders", None, None], "it comes again where it was not done with"
    for number in range(HASTY_KEPT):
        assert side.hasty(Arrival(COMMAND_TOPIC, stop(id=f"s-{number}"), False, PLAIN), 2) == "orders"
    assert len(side._went_ahead) == HASTY_KEPT
