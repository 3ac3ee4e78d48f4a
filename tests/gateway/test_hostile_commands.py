"""Thousands of hostile variants of good commands: none moves a relay, each is refused with its reason, a good one still works."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.adapters.mqtt_down import DownSide
from gateway.adapters.mqtt_session import Arrival, Demands
from gateway.adapters.uplink_keyring import KeyRing
from gateway.domain.events import EventKind, Topic
from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.meters import Meter, SwitchKind
from gateway.domain.supply import CommandState
from gateway.domain.uplink_keys import KeyRole, Why
from gateway.services.ports import Site
from gateway.services.receive_command import EARLY_MS, receive_command, receive_unreadable
from protocols.uplink.moments import format_moment
from protocols.uplink.signing import TOKEN_LIMIT
from tests.gateway.centre_keys import LIVES_MS, Signer, b64
from tests.gateway.services.memory_tx import MemoryTx
from tests.gateway.spoilt import spoilt

T0 = 1_795_262_400_000
SITE = Site("G1", "Asia/Shanghai", clock_trusted=True)
DAY_MS = 24 * 60 * 60 * 1000
ROUNDS, PROOF_ROUNDS = 10, 180
"""Of each of the kinds of attack below, every day and in a proof: then they are more than 5,000."""

REACHED = frozenset(Why) - {Why.CLOCK, Why.NOT_SERVED, Why.NOT_PERMITTED, Why.SWITCHED_OFF}
"""The reasons that the attacks below meet; the others are no hostile command's."""


@dataclass
class Bench:
    """A gateway's down side on a store in memory. One meter; the last word about it stands in the command table."""

    rng: random.Random
    now_ms: int = T0
    tx: MemoryTx = field(default_factory=MemoryTx)
    centre: Signer = field(default_factory=lambda: Signer("centre-1", 1))
    second: Signer = field(default_factory=lambda: Signer("centre-2", 2))
    restorer: Signer = field(default_factory=lambda: Signer("restorer", 3))
    stolen: Signer = field(default_factory=lambda: Signer("stolen", 4))
    old: Signer = field(default_factory=lambda: Signer("old", 5))
    stranger: Signer = field(default_factory=lambda: Signer("centre-1", 6))
    number: int = 0
    seen: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("M1", "M2"):
            self.tx.save_meter(Meter(name, "a", f"00000000000{name[1]}", "dlt645-2007", "p", None, name, SwitchKind.INTERNAL, "a"))
        keys = (
            self.centre.key(meters=("M1",)),
            self.second.key(),
            self.restorer.key(verbs=("restore",)),
            self.stolen.key(revoked_ms=T0 - 1),
            self.old.key(until_ms=T0 - 1, role=KeyRole.CENTRE),
        )
        for key in keys:
            self.tx.save_uplink_key(key)
        self.restart()

    def restart(self) -> None:
        """All that is only in memory is gone."""
        ring = KeyRing(self.tx.uplink_keys())
        self.down = DownSide("G1", ring, signatures="required", commands=True, on_loopback=False, now_ms=lambda: self.now_ms)
        self.down.listener = self

    async def on_command(self, command: IncomingCommand) -> None:
        receive_command(self.tx, command, SITE, self.now_ms)

    async def on_unreadable(self, what: UnreadableCommand) -> None:
        receive_unreadable(self.tx, what, self.now_ms)

    async def on_ack(self, epoch: str, upto: int, also: tuple[tuple[int, int], ...]) -> None:
        raise AssertionError("an ack came out of a hostile command")

    async def on_resend(self, epoch: str, ranges: tuple[tuple[int, int], ...]) -> None:
        raise AssertionError("a resend came out of a hostile command")

    async def send(self, token: bytes, *, retained: bool = False, expiry_s: int | None = None, topic: str = "G1") -> list[Why]:
        """What the events say of it."""
        before = len(self.tx.kept_events)
        arrival = Arrival(f"wattgate/v1/{topic}/down/command", token, retained, Demands(expiry_s=expiry_s))
        await self.down.receive(arrival)
        told = [stored.event for stored in self.tx.kept_events[before:]]
        refusals = [event for event in told if event.kind in (EventKind.COMMAND_REFUSED, EventKind.COMMAND_UNREADABLE)]
        assert all(event.data["reason"] for event in refusals)
        return [Why(str(event.data["code"])) for event in refusals]

    def new(self) -> str:
        self.number += 1
        return f"h-{self.number}"

    def commands(self) -> list[tuple[str, str, int]]:
        """Every command to a switch there is, as it stands."""
        return sorted((each.id, each.state.value, each.changed_ms) for each in self.tx.kept_commands.values())

    def result(self, ident: str) -> dict[str, Any]:
        """The last one that went up for an id."""
        rows = [row.message for row in self.tx.outbox if row.message.topic is Topic.RESULT and row.message.subject == ident]
        return dict(rows[-1].body)


Attack = Callable[[Bench], Awaitable[set[Why]]]


async def expired(bench: Bench) -> set[Why]:
    age = bench.rng.randint(LIVES_MS, 40 * DAY_MS)
    assert (await bench.send(bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms - age)))) == [Why.EXPIRED]
    return {Why.EXPIRED}


async def outlived(bench: Bench) -> set[Why]:
    token = bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms))
    assert (await bench.send(token, expiry_s=0)) == [Why.EXPIRED]
    return {Why.EXPIRED}


async def early(bench: Bench) -> set[Why]:
    ahead = bench.rng.randint(EARLY_MS + 1, DAY_MS)
    change: dict[str, Any] = {}
    if bench.rng.random() < 0.5:
        change = {"not_before": format_moment(bench.now_ms + ahead), "expires_at": format_moment(bench.now_ms + ahead + 1000)}
        ahead = 0
    assert (await bench.send(bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms + ahead, **change)))) == [Why.EARLY]
    return {Why.EARLY}


async def retained(bench: Bench) -> set[Why]:
    token = bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms))
    assert (await bench.send(token, retained=True)) == [Why.RETAINED]
    return {Why.RETAINED}


async def other_gateway(bench: Bench) -> set[Why]:
    named = bench.rng.choice(("G2", "g1", "G1-", "G11", "wattgate"))
    assert (await bench.send(bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms, gateway=named)))) == [Why.FOREIGN]
    return {Why.FOREIGN}


async def beyond_its_rights(bench: Bench) -> set[Why]:
    signer, change = bench.rng.choice(
        (
            (bench.restorer, {}),
            (bench.centre, {"meter": "M2"}),
            (bench.restorer, {"verb": "stop", "meter": None, "args": None}),
            (bench.centre, {"verb": "archive", "meter": None, "args": {"put": {"meters": []}}}),
        )
    )
    assert (await bench.send(signer.signed(signer.fields(bench.new(), bench.now_ms, **change)))) == [Why.NO_RIGHT]
    return {Why.NO_RIGHT}


async def other_verb(bench: Bench) -> set[Why]:
    """The payload is changed under a good signature."""
    token = bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms, verb="restore", args=None))
    head, payload, signature = token.split(b".")
    said = json.loads(urlsafe_b64decode(payload + b"=="))
    name, value = bench.rng.choice(
        (("verb", "cut"), ("meter", "M2"), ("gateway", "G2"), ("counter", 10**6), ("id", bench.new()), ("reason", "x"))
    )
    forged = b".".join((head, b64(json.dumps(said | {name: value}).encode()), signature))
    assert (await bench.send(forged)) == [Why.BAD_SIGNATURE]
    return {Why.BAD_SIGNATURE}


async def swapped_signature(bench: Bench) -> set[Why]:
    one, two = (bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms)).split(b".") for _ in range(2))
    assert (await bench.send(b".".join((*one[:2], two[2])))) == [Why.BAD_SIGNATURE]
    return {Why.BAD_SIGNATURE}


async def missing_signature(bench: Bench) -> set[Why]:
    head, payload, _ = bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms)).split(b".")
    plain = urlsafe_b64decode(payload + b"==")
    token = bench.rng.choice((head + b"." + payload, head + b"." + payload + b".", plain, payload, b"", b".."))
    [why] = await bench.send(token)
    assert why in (Why.UNSIGNED, Why.BAD_SIGNATURE)
    return {why}


async def strangers_signature(bench: Bench) -> set[Why]:
    signer, wanted = bench.rng.choice(
        (
            (bench.stranger, Why.BAD_SIGNATURE),
            (Signer("nobody", 7), Why.UNKNOWN_KEY),
            (bench.stolen, Why.KEY_REVOKED),
            (bench.old, Why.KEY_OUT_OF_TIME),
        )
    )
    assert (await bench.send(signer.signed(signer.fields(bench.new(), bench.now_ms)))) == [wanted]
    return {wanted}


async def algorithm(bench: Bench) -> set[Why]:
    alg = bench.rng.choice(
        ("none", "None", "NONE", "HS256", "HS512", "eddsa", "EDDSA", "Eddsa", "ed25519", "ES256", "RS256", "Ed448", "", None, 1)
    )
    payload = json.dumps(bench.centre.fields(bench.new(), bench.now_ms)).encode()
    signing = b64(json.dumps({"alg": alg, "kid": "centre-1"}).encode()) + b"." + b64(payload)
    public = bench.centre.private.as_bytes(private=False)
    secret = bench.rng.choice((public, urlsafe_b64decode(bench.centre.key().public + "="), bench.centre.key().public.encode()))
    signature = bench.rng.choice(
        (b"", b64(hmac.new(secret, signing, hashlib.sha256).digest()), b64(hmac.new(secret, signing, hashlib.sha512).digest()))
    )
    if bench.rng.random() < 0.3:
        header = json.dumps({"alg": alg, "kid": "centre-1"}).encode()
        assert (await bench.send(bench.centre.by_hand(header, payload))) == [Why.BAD_SIGNATURE]
    [why] = await bench.send(signing + b"." + signature)
    assert why is Why.BAD_SIGNATURE
    return {why}


async def header(bench: Bench) -> set[Why]:
    payload = json.dumps(bench.centre.fields(bench.new(), bench.now_ms)).encode()
    more = bench.rng.choice(("crit", "jku", "jwk", "x5c", "x5u", "x5t", "b64", "zip", "enc", "KID", "alg "))
    known = b'"alg":"EdDSA","kid":"centre-1"'
    head = bench.rng.choice(
        (
            b"{" + known + b',"' + more.encode() + b'":["exp"]}',
            b"{" + known + b',"kid":"centre-2"}',
            b"{" + known + b',"alg":"none"}',
            b'{"alg":"EdDSA"}',
            b'{"alg":"EdDSA","kid":["centre-1"]}',
            b"{" + known + b" " * bench.rng.randint(500, 5000) + b"}",
            b"[" * 4000,
        )
    )
    assert (await bench.send(bench.centre.by_hand(head, payload))) == [Why.BAD_SIGNATURE]
    return {Why.BAD_SIGNATURE}


async def huge(bench: Bench) -> set[Why]:
    size = bench.rng.randint(TOKEN_LIMIT + 1, TOKEN_LIMIT + 10_000)
    token = bench.rng.choice((b"A" * size, b"." * size, bench.centre.signed(b"{}") + b"A" * size))
    assert (await bench.send(token)) == [Why.MALFORMED]
    return {Why.MALFORMED}


async def ill_formed(bench: Bench) -> set[Why]:
    """Signed well, and nothing that a strict reader takes."""
    ident = bench.new()
    said = bench.centre.fields(ident, bench.now_ms)
    text = json.dumps(said)
    deep = bench.rng.randint(600, 3000)
    payload = bench.rng.choice(
        (
            text[:-1] + ', "verb": "restore"}',
            text[:-1] + ', "\\u0076erb": "restore"}',
            json.dumps(said | {"args": {"cause": "emergency", "cause ": 1}}),
            json.dumps(said | {"args": None}),
            text.replace('"cause": "emergency"', '"cause": ' + "[" * deep + "]" * deep),
            text.replace('"emergency"', '"emergency", "cause": "energy_debt"'),
            json.dumps(said | {"force": True}),
            json.dumps(said | {"account": "0123456789abcdef"}),
            json.dumps(said | {"expires_at": None}),
            json.dumps(said | {"counter": bench.rng.choice((1.5, "7", True, -1, 2**63, None))}),
            json.dumps(said | {"expires_at": "2026-11-21 12:00:00"}),
            json.dumps(said | {"expires_at": said["issued_at"]}),
            text.replace("300", "3e2") if "3e2" in text else text + "}",
            text.encode("utf-16").decode("latin-1"),
            "\ufeff" + text,
            "null",
            "[]",
        )
    )
    assert (await bench.send(bench.centre.signed(payload.encode()))) == [Why.MALFORMED]
    return {Why.MALFORMED}


LOOK_ALIKE = str.maketrans({"1": "１", "0": "０", "2": "٢", "M": "Μ", "c": "с", "-": "‐", "G": "Ԍ", "T": "Τ"})


async def look_alikes(bench: Bench) -> set[Why]:
    said = bench.centre.fields(bench.new(), bench.now_ms)
    name = bench.rng.choice(("id", "gateway", "verb", "meter", "issued_at", "expires_at"))
    changed = str(said[name]).translate(LOOK_ALIKE) + bench.rng.choice(("", "\n", "\u200b", "\x00"))
    if changed == said[name]:
        changed += "\u200d"
    [why] = await bench.send(
        bench.centre.signed(json.dumps(said | {name: changed}, ensure_ascii=bench.rng.random() < 0.5).encode())
    )
    assert why is Why.MALFORMED
    return {why}


async def any_byte(bench: Bench) -> set[Why]:
    """A good token with some bytes changed, put in or left out."""
    [why] = await bench.send(spoilt(bench.rng, bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms))))
    assert why in (Why.BAD_SIGNATURE, Why.UNSIGNED, Why.UNKNOWN_KEY)
    return {why}


async def other_spelling(bench: Bench) -> set[Why]:
    token = bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms))
    parts = token.split(b".")
    at = bench.rng.randrange(3)
    parts[at] = bench.rng.choice((parts[at] + b"=", parts[at] + b"==", b" " + parts[at], parts[at] + b"\n", parts[at] + b"A" * 4))
    [why] = await bench.send(b".".join(parts))
    assert why is Why.BAD_SIGNATURE
    return {why}


async def replayed(bench: Bench) -> set[Why]:
    """A command that was obeyed comes again: its answer is told again, and that is all."""
    ident = await obeyed(bench)
    token, verb = bench.seen[ident]
    before = bench.commands()
    bench.now_ms += bench.rng.choice((0, 1000, LIVES_MS * 2))
    if bench.rng.random() < 0.3:
        bench.restart()
    assert await bench.send(token, retained=bench.rng.random() < 0.3) == []
    said = bench.result(ident)
    assert bench.commands() == before and (said["state"], said["verb"]) == ("verified", verb)
    return set()


async def known_id(bench: Bench) -> set[Why]:
    """Another content under an id that was obeyed."""
    ident = await obeyed(bench)
    said = bench.result(ident)
    other = "restore" if said["verb"] == "cut" else "cut"
    args = {"cause": "emergency"} if other == "cut" else None
    token = bench.second.signed(bench.second.fields(ident, bench.now_ms, verb=other, args=args))
    assert await bench.send(token) == [Why.KNOWN_ID]
    assert (bench.result(ident)["state"], bench.result(ident)["verb"]) == ("verified", said["verb"])
    return {Why.KNOWN_ID}


async def known_counter(bench: Bench) -> set[Why]:
    await obeyed(bench)
    fields = bench.second.fields(bench.new(), bench.now_ms)
    bench.second.counter -= 1
    assert await bench.send(bench.second.signed(fields | {"counter": bench.second.counter})) == [Why.KNOWN_COUNTER]
    return {Why.KNOWN_COUNTER}


async def overtaken(bench: Bench) -> set[Why]:
    late = bench.second.fields(bench.new(), bench.now_ms)
    await obeyed(bench)
    assert await bench.send(bench.second.signed(late)) == [Why.SUPERSEDED]
    assert bench.result(late["id"])["state"] == "superseded"
    return {Why.SUPERSEDED}


async def clock_set_back(bench: Bench) -> set[Why]:
    """A command was kept back until it expired; then our clock is set back to when it was good."""
    kept_back = bench.second.signed(bench.second.fields(bench.new(), bench.now_ms))
    then = bench.now_ms
    bench.now_ms += bench.rng.randint(LIVES_MS + 1, DAY_MS)
    await obeyed(bench)
    ahead, bench.now_ms = bench.now_ms, then
    if bench.rng.random() < 0.5:
        bench.restart()
    assert await bench.send(kept_back) == [Why.EXPIRED]
    bench.now_ms = ahead
    return {Why.EXPIRED}


async def clock_set_forward(bench: Bench) -> set[Why]:
    token = bench.second.signed(bench.second.fields(bench.new(), bench.now_ms))
    bench.now_ms += 10 * DAY_MS
    assert await bench.send(token) == [Why.EXPIRED]
    bench.now_ms -= 10 * DAY_MS
    return {Why.EXPIRED}


async def other_topic(bench: Bench) -> set[Why]:
    token = bench.centre.signed(bench.centre.fields(bench.new(), bench.now_ms))
    before = len(bench.tx.kept_events)
    await bench.down.receive(
        Arrival(bench.rng.choice(("wattgate/v1/G1/down/x", "x", "wattgate/v1/G1/up/command")), token, False, Demands())
    )
    [event] = [stored.event for stored in bench.tx.kept_events[before:]]
    assert event.data["code"] == Why.MALFORMED
    return {Why.MALFORMED}


async def money_beyond(bench: Bench) -> set[Why]:
    """Money for nobody, or with a bound that money does not have."""
    args = {
        "bank": "b",
        "serial": "s-1",
        "amount": "50.00",
        "currency": "CNY",
        "accounting_date": "2026-11-21",
        "paid_at": "2026-11-21T12:00:00Z",
    }
    change = bench.rng.choice(
        ({"expires_at": None, "account": None}, {"account": "0123456789abcdef"}, {"expires_at": None, "account": "a\n"})
    )
    fields = bench.second.fields(bench.new(), bench.now_ms, verb="topup", meter=None, args=args, **change)
    [why] = await bench.send(bench.second.signed(fields))
    assert why is Why.MALFORMED
    return {why}


async def obeyed(bench: Bench) -> str:
    """A good command is obeyed: by turns a cut and a restore of the second key. The meter does it at once."""
    ident = bench.new()
    last = bench.tx.last_command("M1")
    verb = "restore" if last is not None and last.verb.value == "cut" else "cut"
    fields = bench.second.fields(ident, bench.now_ms, verb=verb, args={"cause": "emergency"} if verb == "cut" else None)
    token = bench.second.signed(fields)
    assert await bench.send(token) == []
    command = bench.tx.command(ident)
    assert command is not None and command.state is CommandState.QUEUED and bench.result(ident)["state"] == "queued"
    bench.tx.save_command(replace(command, state=CommandState.VERIFIED, evidence=("relay_bit",)))
    bench.seen[ident] = (token, verb if verb == "cut" else command.verb.value)
    return ident


ATTACKS: tuple[Attack, ...] = (
    expired, outlived, early, retained, other_gateway, beyond_its_rights, other_verb, swapped_signature, missing_signature,
    strangers_signature, algorithm, header, huge, ill_formed, look_alikes, any_byte, any_byte, any_byte, any_byte, any_byte,
    other_spelling, replayed, known_id, known_counter, overtaken, clock_set_back, clock_set_forward, other_topic, money_beyond,
)  # fmt: skip
BY_GOOD_ONES = frozenset({replayed, known_id, known_counter, overtaken, clock_set_back})
"""Attacks that begin with a good command, which moves the switch; of them themselves is looked at what comes after."""


async def test_no_hostile_command_moves_anything(proof_scale: int, figure: Callable[[str, object], None]) -> None:
    rng = random.Random(7)
    bench, seen, tried = Bench(rng), Counter[Why](), 0
    for _ in range(ROUNDS if proof_scale == 1 else PROOF_ROUNDS):
        for attack in rng.sample(ATTACKS, len(ATTACKS)):
            before = bench.commands()
            why = await attack(bench)
            tried += 1
            seen.update(why)
            if attack not in BY_GOOD_ONES:
                assert bench.commands() == before, attack
            if rng.random() < 0.02:
                bench.restart()
        await obeyed(bench)
    assert tried > (5000 if proof_scale > 1 else 200)
    assert set(seen) == REACHED
    figure("hostile_commands_refused", tried)
