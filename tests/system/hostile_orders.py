"""Hostile variants of good orders, each with the reason under which it must be refused; whoever makes them even holds real keys.

`Forger.any()` draws one kind after the other. Times are by the gateway's clock.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gateway.domain.uplink_keys import Why
from gateway.services.receive_command import EARLY_MS
from protocols.uplink.moments import format_moment
from protocols.uplink.signing import TOKEN_LIMIT
from tests.gateway.centre_keys import LIVES_MS, Signer, b64
from tests.gateway.spoilt import spoilt
from tests.system.relay_stand import COMMAND, ROOT, key_table

DAY_MS = 24 * 60 * 60 * 1000
AWAY_MS = 600_000
"""Longer than any of them is on its way here, with thousands in front of it."""

LOOK_ALIKE = str.maketrans({"1": "１", "0": "０", "2": "٢", "m": "ｍ", "c": "с", "-": "‐", "G": "Ԍ", "T": "Τ"})
PAST, FUTURE = "2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Hostile:
    """A message that must move nothing. whys: under one of these it is counted; none where only a known answer is told again.

    ident: the id that the refusal must name, where the signature is good. state: of the last result of that id, if not refused.
    """

    kind: str
    token: bytes
    whys: frozenset[Why]
    ident: str | None = None
    topic: str = COMMAND
    retain: bool = False
    state: str = "refused"


@dataclass
class Obeyed:
    """A good order that was obeyed, as it was sent. late: counters below its own that nobody has used."""

    ident: str
    token: bytes
    verb: str
    meter: str
    counter: int
    late: list[int]


@dataclass
class Forger:
    """Knows the keys, the meters, and the good orders that were obeyed."""

    rng: random.Random
    now_ms: Callable[[], int]
    meters: list[str]
    obeyed: list[Obeyed] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        names = ("centre-1", "centre-2", "restorer", "street", "debts", "purse", "stolen", "old", "young", "elsewhere", "acks")
        self.keys = {name: Signer(name, seed) for seed, name in enumerate(names, 1)}
        self.thief = Signer("centre-1", 99)
        self._turn: list[Callable[[Forger], Hostile]] = []

    def tables(self) -> str:
        """All keys as the configuration has them; `stolen` is revoked by the test."""
        scope: dict[str, dict[str, object]] = {
            "restorer": {"verbs": ["restore"]},
            "street": {"meters": [self.meters[0]]},
            "debts": {"causes": ["energy_debt"]},
            "purse": {"verbs": ["topup"], "most_topup": "10.00"},
            "old": {"until": PAST},
            "young": {"from": FUTURE},
            "elsewhere": {"gateways": ["G2"]},
            "acks": {"role": "centre", "verbs": []},
        }
        return "".join(key_table(signer, **{"verbs": ["*"], **scope.get(name, {})}) for name, signer in self.keys.items())

    def any(self) -> Hostile:
        """Of every kind as many as of each other, in another order each time."""
        if not self._turn:
            kinds = [kind for kind in KINDS if self.obeyed or kind not in OF_OBEYED]
            self._turn = self.rng.sample(kinds, len(kinds))
        return self._turn.pop()(self)

    def new(self) -> str:
        self.number += 1
        return f"h-{self.number}"

    def fields(self, by: str = "centre-1", **change: Any) -> dict[str, Any]:
        """A good cut by this key but for what is changed."""
        at_ms = self.now_ms() + change.pop("ahead_ms", 0)
        meter = self.rng.choice(self.meters)
        return self.keys[by].fields(change.pop("id", self.new()), at_ms, **{"meter": meter, **change})

    def known(self, kind: str, why: Why, by: str = "centre-1", state: str = "refused", **change: Any) -> Hostile:
        """Well signed: it is refused by its id."""
        fields = self.fields(by, **change)
        return Hostile(kind, self.keys[by].signed(fields), frozenset({why}), fields["id"], state=state)

    def nameless(self, kind: str, token: bytes, *whys: Why) -> Hostile:
        return Hostile(kind, token, frozenset(whys))

    def payload(self) -> bytes:
        return json.dumps(self.fields()).encode()

    def good(self) -> bytes:
        """A good cut, which must not arrive as it is."""
        return self.keys["centre-1"].signed(self.fields())

    def order(self, verb: str, meter: str, late: int = 0) -> Obeyed:
        """A good order, and room for so many that come too late."""
        signer = self.keys["centre-1"]
        first = signer.counter + 1
        signer.counter += late
        args = {"cause": "emergency"} if verb == "cut" else None
        fields = self.fields(id=f"good-{self.new()}", meter=meter, verb=verb, args=args)
        return Obeyed(fields["id"], signer.signed(fields), verb, meter, fields["counter"], list(range(first, first + late)))


def _expired(f: Forger) -> Hostile:
    return f.known("expired", Why.EXPIRED, state="expired", ahead_ms=-f.rng.randint(LIVES_MS + 1, 40 * DAY_MS))


def _early(f: Forger) -> Hostile:
    ahead = f.rng.randint(EARLY_MS + AWAY_MS, DAY_MS)
    if f.rng.random() < 0.5:
        return f.known("early", Why.EARLY, ahead_ms=ahead)
    begin, end = (format_moment(f.now_ms() + ahead + more) for more in (0, 1000))
    return f.known("early", Why.EARLY, not_before=begin, expires_at=end)


def _retained(f: Forger) -> Hostile:
    fields = f.fields()
    return Hostile("retained", f.keys["centre-1"].signed(fields), frozenset({Why.RETAINED}), fields["id"], retain=True)


def _foreign(f: Forger) -> Hostile:
    return f.known("other gateway", Why.FOREIGN, gateway=f.rng.choice(("G2", "g1", "G1-", "G11", "wattgate")))


def _beyond(f: Forger) -> Hostile:
    money = {"amount": "10.01", "currency": "CNY", "bank": "b", "serial": "s-1", "accounting_date": "2026-11-21"}
    topup = {"verb": "topup", "meter": None, "account": "0123456789abcdef", "expires_at": None}
    by, change = f.rng.choice(
        (
            ("restorer", {}),
            ("restorer", {"verb": "stop", "meter": None, "args": None}),
            ("street", {"meter": f.meters[-1]}),
            ("street", {"verb": "go", "meter": None, "args": None, "expires_at": None}),
            ("street", {"verb": "archive", "meter": None, "args": {"put": {"meters": []}}, "expires_at": None}),
            ("debts", {}),
            ("purse", {}),
            ("purse", {**topup, "args": {**money, "paid_at": "2026-11-21T12:00:00Z"}}),
            ("elsewhere", {}),
            ("acks", {}),
        )
    )
    return f.known("beyond its rights", Why.NO_RIGHT, by, **change)


def _dead_key(f: Forger) -> Hostile:
    by, why = f.rng.choice((("stolen", Why.KEY_REVOKED), ("old", Why.KEY_OUT_OF_TIME), ("young", Why.KEY_OUT_OF_TIME)))
    found = f.known("dead key", why, by)
    return found if why is Why.KEY_OUT_OF_TIME else f.nameless("dead key", found.token, why)


def _tampered(f: Forger) -> Hostile:
    """The payload is changed under a good signature."""
    head, payload, signature = f.good().split(b".")
    said = json.loads(urlsafe_b64decode(payload + b"=="))
    name, value = f.rng.choice(
        (("verb", "restore"), ("meter", "m9"), ("gateway", "G2"), ("counter", 10**6), ("id", f.new()), ("reason", "x"))
    )
    forged = b".".join((head, b64(json.dumps(said | {name: value}).encode()), signature))
    return f.nameless("other verb, same signature", forged, Why.BAD_SIGNATURE)


def _swapped(f: Forger) -> Hostile:
    one, two = f.good().split(b"."), f.good().split(b".")
    return f.nameless("swapped signature", b".".join((*one[:2], two[2])), Why.BAD_SIGNATURE)


def _unsigned(f: Forger) -> Hostile:
    head, payload, _ = f.good().split(b".")
    plain = urlsafe_b64decode(payload + b"==")
    token = f.rng.choice((head + b"." + payload, head + b"." + payload + b".", plain, payload, b"{}", b".."))
    return f.nameless("missing signature", token, Why.UNSIGNED, Why.BAD_SIGNATURE)


def _stranger(f: Forger) -> Hostile:
    """Signed by somebody else under a name that is known, or by nobody known."""
    if f.rng.random() < 0.3:
        return f.nameless("stranger", Signer("nobody", 98).signed(f.payload()), Why.UNKNOWN_KEY)
    other = f.rng.choice((f.thief, f.keys["restorer"], f.keys["stolen"]))
    token = Signer.by_hand(other, b'{"alg":"EdDSA","kid":"centre-1"}', f.payload())
    return f.nameless("another's kid", token, Why.BAD_SIGNATURE)


def _algorithm(f: Forger) -> Hostile:
    """No algorithm, a MAC keyed with the public key, or a name that is not quite ours; some of them with the real signature."""
    alg = f.rng.choice(("none", "None", "HS256", "HS512", "eddsa", "EDDSA", "ed25519", "ES256", "RS256", "Ed448", "", None, 1))
    header, payload, centre = json.dumps({"alg": alg, "kid": "centre-1"}).encode(), f.payload(), f.keys["centre-1"]
    signing = b64(header) + b"." + b64(payload)
    public = centre.key().public
    secret = f.rng.choice((centre.private.as_bytes(private=False), urlsafe_b64decode(public + "="), public.encode()))
    macs = [b64(hmac.new(secret, signing, kind).digest()) for kind in (hashlib.sha256, hashlib.sha512)]
    token = f.rng.choice((signing + b".", *(signing + b"." + mac for mac in macs), centre.by_hand(header, payload)))
    return f.nameless("algorithm", token, Why.BAD_SIGNATURE)


_CURVE = ec.derive_private_key(7, ec.SECP256R1())


def _es256(f: Forger) -> Hostile:
    """Good by a key of another curve, which comes with it."""
    numbers = _CURVE.public_key().public_numbers()
    x, y = (b64(each.to_bytes(32, "big")).decode() for each in (numbers.x, numbers.y))
    header: dict[str, object] = {"alg": "ES256", "kid": "centre-1"}
    if f.rng.random() < 0.7:
        header["jwk"] = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    signing = b64(json.dumps(header).encode()) + b"." + b64(f.payload())
    parts = decode_dss_signature(_CURVE.sign(signing, ec.ECDSA(hashes.SHA256())))
    signature = b"".join(part.to_bytes(32, "big") for part in parts)
    return f.nameless("ES256", signing + b"." + b64(signature), Why.BAD_SIGNATURE)


def _header(f: Forger) -> Hostile:
    """A header that would choose the key or the meaning; signed with the real key, or with the one that it brings."""
    own = {"kty": "OKP", "crv": "Ed25519", "x": f.thief.key().public}
    choices: tuple[dict[str, object], ...] = (
        {"jwk": own},
        {"jku": "http://127.0.0.1:1/keys.json"},
        {"x5u": "http://127.0.0.1:1/a.pem"},
        {"x5c": ["AA=="]},
        {"crit": ["exp"], "exp": 4_000_000_000},
        {"crit": []},
        {"b64": True},
        {"zip": "DEF"},
        {"KID": "centre-2"},
        {"kid": ["centre-1"]},
        {"kid": "../centre-1"},
        {"typ": 1},
        {"pad": "x" * f.rng.randint(500, 5000)},
    )
    header = json.dumps({"alg": "EdDSA", "kid": "centre-1", **f.rng.choice(choices)}).encode()
    text = b'{"alg":"EdDSA","kid":"centre-1",%b}' % f.rng.choice((b'"kid":"centre-2"', b'"alg":"none"', b'"\\u006bid":"restorer"'))
    signer = f.rng.choice((f.keys["centre-1"], f.thief))
    raw = f.rng.choice((header, header, header, text, b'{"alg":"EdDSA"}', b"[" * 4000))
    return f.nameless("header", signer.by_hand(raw, f.payload()), Why.BAD_SIGNATURE)


def _unencoded(f: Forger) -> Hostile:
    """RFC 7797: the payload as it is, signed so."""
    header, payload = b64(b'{"alg":"EdDSA","kid":"centre-1","b64":false,"crit":["b64"]}'), f.payload()
    coded = f.keys["centre-1"].by_hand(b'{"alg":"EdDSA","kid":"centre-1","b64":false,"crit":["b64"]}', payload)
    token = f.rng.choice((header + b"." + payload + b"." + coded.rsplit(b".", 1)[1], coded))
    return f.nameless("b64 = false", token, Why.BAD_SIGNATURE, Why.UNSIGNED)


def _huge(f: Forger) -> Hostile:
    size = f.rng.randint(TOKEN_LIMIT + 1, TOKEN_LIMIT + 10_000)
    token = f.rng.choice((b"A" * size, b"." * size, f.good() + b"A" * size))
    return f.nameless("huge", token, Why.MALFORMED)


def _ill_formed(f: Forger) -> Hostile:
    """Signed well, and nothing that a strict reader takes. Where the id can be read, it is told."""
    said = f.fields()
    text, deep = json.dumps(said), f.rng.randint(600, 3000)
    nested = text.replace('"cause": "emergency"', '"cause": ' + "[" * deep + "]" * deep)
    payload = f.rng.choice(
        (
            text[:-1] + ', "verb": "restore"}',
            text[:-1] + ', "\\u0076erb": "restore"}',
            text.replace('"emergency"', '"emergency", "cause": "energy_debt"'),
            nested,
            text + "}",
            text.encode("utf-16").decode("latin-1"),
            "\ufeff" + text,
            "null",
            "[]",
            *(json.dumps(said | change) for change in _CHANGES),
            json.dumps(said | {"counter": f.rng.choice((1.5, "7", True, -1, 2**63, None))}),
            json.dumps(said | {"expires_at": said["issued_at"]}),
        )
    )
    return f.nameless("ill formed", f.keys["centre-1"].signed(payload.encode()), Why.MALFORMED)


_CHANGES: tuple[dict[str, Any], ...] = (
    {"args": {"cause": "emergency", "cause ": 1}},
    {"args": None},
    {"force": True},
    {"account": "0123456789abcdef"},
    {"expires_at": None},
    {"expires_at": "2026-11-21 12:00:00"},
)


def _look_alikes(f: Forger) -> Hostile:
    said = f.fields()
    name = f.rng.choice(("id", "gateway", "verb", "meter", "issued_at", "expires_at"))
    changed = str(said[name]).translate(LOOK_ALIKE) + f.rng.choice(("", "\n", "\u200b", "\x00"))
    if changed == said[name]:
        changed += "\u200d"
    text = json.dumps(said | {name: changed}, ensure_ascii=f.rng.random() < 0.5)
    return f.nameless("look-alikes", f.keys["centre-1"].signed(text.encode()), Why.MALFORMED)


def _any_byte(f: Forger) -> Hostile:
    """A good token with some bytes changed, put in or left out."""
    return f.nameless("any byte", spoilt(f.rng, f.good()), Why.BAD_SIGNATURE, Why.UNSIGNED, Why.UNKNOWN_KEY)


def _spelling(f: Forger) -> Hostile:
    parts, at = f.good().split(b"."), f.rng.randrange(3)
    parts[at] = f.rng.choice((parts[at] + b"=", parts[at] + b"==", b" " + parts[at], parts[at] + b"\n", parts[at] + b"AAAA"))
    return f.nameless("other spelling", b".".join(parts), Why.BAD_SIGNATURE)


def _topic(f: Forger) -> Hostile:
    topic, why = f.rng.choice(((f"{ROOT}/down/x", Why.MALFORMED), (f"{ROOT}/down/ack", Why.NO_RIGHT)))
    return Hostile("other topic", f.good(), frozenset({why}), topic=topic)


def _replayed(f: Forger) -> Hostile:
    known = f.rng.choice(f.obeyed)
    return Hostile("replayed", known.token, frozenset(), known.ident, retain=f.rng.random() < 0.2, state="verified")


def _known_id(f: Forger) -> Hostile:
    known = f.rng.choice(f.obeyed)
    verb, args = ("restore", None) if known.verb == "cut" else ("cut", {"cause": "emergency"})
    change = {"verb": verb, "args": args, "meter": known.meter, "id": known.ident}
    return f.known("known id", Why.KNOWN_ID, f.rng.choice(("centre-1", "centre-2")), "verified", **change)


def _known_counter(f: Forger) -> Hostile:
    return f.known("known counter", Why.KNOWN_COUNTER, counter=f.rng.choice(f.obeyed).counter)


def _overtaken(f: Forger) -> Hostile:
    """Signed before an order that was obeyed, and delivered after it. Where none is left unused it is another one that expired."""
    left = [each for each in f.obeyed if each.late]
    if not left:
        return _expired(f)
    known = f.rng.choice(left)
    return f.known("overtaken", Why.SUPERSEDED, state="superseded", meter=known.meter, counter=known.late.pop())


OF_OBEYED = (_replayed, _known_id, _known_counter, _overtaken)
KINDS: tuple[Callable[[Forger], Hostile], ...] = (
    _expired, _early, _retained, _foreign, _beyond, _dead_key, _tampered, _swapped, _unsigned, _stranger, _algorithm, _es256,
    _header, _unencoded, _huge, _ill_formed, _look_alikes, _any_byte, _any_byte, _any_byte, _spelling, _topic, *OF_OBEYED,
)  # fmt: skip
