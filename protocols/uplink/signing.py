"""Compact JWS of the uplink: what comes down is signed, and so are our anchors (contract.md 5; RFC 7515, 8037, 9864).

Stricter than the RFC: one alphabet, one spelling of each signature, a header of `alg` and `kid` (and `typ`) and nothing else.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from protocols.uplink.messages import PAYLOAD_LIMIT, BadMessage, parse_object
from protocols.uplink.topics import valid_id

TOKEN_LIMIT = PAYLOAD_LIMIT
"""Bytes of the whole compact form: what the contract allows on any topic; looked at before anything is parsed."""

HEADER_LIMIT = 512
"""Characters of the header: `alg`, a kid of 64 and `typ` take 200; it is parsed before the signature is known to be good."""

SIGNATURE_CHARS = 86
"""Characters of 64 bytes: an Ed25519 signature has no other length."""

ALGORITHM, ALGORITHMS = "EdDSA", ("EdDSA", "Ed25519")
CURVE = "Ed25519"
FIELDS = frozenset({"alg", "kid", "typ"})
"""All that a header may hold: `crit`, `b64`, `jku`, `jwk`, `x5c`, `x5u` would say how to check, and that is the key's to say."""

Fault = Literal["malformed", "unsigned", "unknown_key", "bad_signature"]

_EDDSA = JWSRegistry.algorithms[ALGORITHM]
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
"""base64url as binascii takes it; the other two of the standard alphabet, and padding, become what it refuses."""


class BadSignature(BadMessage):
    """A token that nobody we know signed, or that is no token of ours. kid: whom it names, where that can be read. fault: of which
    sort."""

    def __init__(self, text: str, kid: str | None = None, fault: Fault = "bad_signature") -> None:
        self.kid, self.fault = kid, fault
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Signed:
    """A payload whose signature by `kid` is good; neither its form nor the key's rights are judged yet."""

    kid: str
    payload: bytes


def sign(payload: bytes, kid: str, key: OKPKey) -> bytes:
    """The compact JWS of a payload. key: a private Ed25519 key. BadMessage where it would be larger than TOKEN_LIMIT."""
    if not valid_id(kid) or key.curve_name != CURVE or not key.is_private:
        raise BadMessage(f"the key {kid[:64]!r} cannot sign: a private {CURVE} key with an id of letters, digits, _ or - can")
    signing = _encoded(f'{{"alg":"{ALGORITHM}","kid":"{kid}"}}'.encode()) + b"." + _encoded(payload)
    token = signing + b"." + _encoded(_EDDSA.sign(signing, key))
    if len(token) > TOKEN_LIMIT:
        raise BadMessage(f"a signed message of {len(token)} bytes is larger than the {TOKEN_LIMIT} that are allowed")
    return token


def open_signed(token: bytes, key_of: Callable[[str], OKPKey | None]) -> Signed:
    """The payload of a token and whose it is, once the signature is good. key_of: a known key by its id, None for a stranger.

    BadSignature says in one sentence why it is not.
    """
    if len(token) > TOKEN_LIMIT:
        text = f"the signed message has {len(token)} bytes, more than the {TOKEN_LIMIT} that are allowed"
        raise BadSignature(text, fault="malformed")
    parts = token.split(b".", 3)
    if len(parts) != 3:
        raise BadSignature("the message is not signed: it is no compact JWS", fault="unsigned")
    kid = _kid_of(parts[0])
    key = key_of(kid)
    if key is None:
        raise BadSignature(f"the key {kid} is not known here", kid, "unknown_key")
    if key.curve_name != CURVE:
        raise BadSignature(f"the key {kid} is no {CURVE} key", kid)
    if len(parts[2]) != SIGNATURE_CHARS:
        raise BadSignature(
            "the signature is missing or has not the length of one", kid, "bad_signature" if parts[2] else "unsigned"
        )
    payload, signature = _decoded(parts[1], "payload"), _decoded(parts[2], "signature")
    if not _good(parts[0] + b"." + parts[1], signature, key):
        raise BadSignature(f"the signature is not that of the key {kid}", kid)
    return Signed(kid, payload)


def peek(token: bytes) -> bytes:
    """What a token claims to say, nothing of it checked: good for the order of work, and for nothing else. Empty where it cannot be
    read."""
    try:
        return _decoded(token.split(b".", 2)[1], "payload")
    except (BadMessage, IndexError):
        return b""


def public_key(x: str) -> OKPKey:
    """A public key from the `x` of its JWK (base64url of 32 bytes). BadMessage for what is none."""
    try:
        if len(_decoded(x.encode("ascii", "replace"), "key")) == 32:
            key = OKPKey.import_key({"kty": "OKP", "crv": CURVE, "x": x})
            key.get_op_key("verify")
            return key
    except (BadMessage, JoseError, ValueError):
        pass
    raise BadMessage(f"a public key is the x of an {CURVE} JWK: 43 characters of base64url")


def private_key(jwk: bytes) -> OKPKey:
    """A private key from its JWK as JSON. BadMessage for what is none."""
    fields = parse_object(jwk, "this key")
    if fields.get("kty") != "OKP" or fields.get("crv") != CURVE or not isinstance(fields.get("d"), str):
        raise BadMessage(f"this is no private {CURVE} key as JWK (kty OKP, crv {CURVE}, x and d)")
    try:
        key = OKPKey.import_key({name: value for name, value in fields.items() if isinstance(value, str)})
        open_signed(sign(b"", "self", key), lambda _: public_key(str(fields.get("x"))))
        return key
    except (JoseError, ValueError, BadMessage):
        raise BadMessage("this key cannot be used: its x is not the public half of its d") from None


def x_of(key: OKPKey) -> str:
    """The public half of a key: the `x` of its JWK."""
    return str(key.as_dict(private=False)["x"])


@lru_cache(maxsize=256)
def _kid_of(segment: bytes) -> str:
    """Who claims to have signed; the header's rules hold. Headers repeat: each key has one."""
    if len(segment) > HEADER_LIMIT:
        raise BadSignature(f"the header has {len(segment)} characters, more than the {HEADER_LIMIT} that are allowed")
    try:
        header = parse_object(_decoded(segment, "header"), "the header")
    except BadMessage as wrong:
        raise BadSignature(str(wrong)) from None
    if strange := sorted(header.keys() - FIELDS):
        raise BadSignature(f"the header holds {strange[0][:64]!r}; only alg, kid and typ are taken")
    kid, alg = header.get("kid"), header.get("alg")
    if not isinstance(kid, str) or not valid_id(kid):
        raise BadSignature("the header names no key: kid is missing or no id")
    if alg not in ALGORITHMS:
        raise BadSignature(f"the algorithm {str(alg)[:32]!r} is not that of the key: {' and '.join(ALGORITHMS)} are", kid)
    if not isinstance(header.get("typ", ""), str):
        raise BadSignature("typ in the header is no text", kid)
    return kid


def _good(signing: bytes, signature: bytes, key: OKPKey) -> bool:
    try:
        return _EDDSA.verify(signing, signature, key)
    except (JoseError, ValueError):
        return False


def _encoded(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def _decoded(text: bytes, what: str) -> bytes:
    """Canonical base64url without padding: other spellings of the same bytes would be other tokens with one signature."""
    try:
        raw = binascii.a2b_base64(text.translate(_TO_STANDARD) + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        raise BadSignature(f"the {what} is not base64url") from None
    left = len(raw) % 3  # only there bits are over
    if left and _encoded(raw[-left:]) != text[-left - 1 :]:
        raise BadSignature(f"the {what} is spelt in another way than base64url has it")
    return raw
