"""Keys and commands of a centre for tests: signed as a good one signs, and in every other way."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.jwk import OKPKey

from gateway.domain.uplink_keys import UplinkKey
from protocols.uplink.moments import format_moment
from protocols.uplink.signing import sign, x_of

LIVES_MS = 300_000


def b64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


class Signer:
    """One private key with its counter."""

    def __init__(self, kid: str, seed: int) -> None:
        self.kid, self.counter = kid, 0
        d = b64(bytes([seed]) * 32).decode()
        bare = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": d, "x": b64(_public(seed)).decode()})
        self.private = bare

    def key(self, **scope: Any) -> UplinkKey:
        """Its public half with rights."""
        return UplinkKey(self.kid, x_of(self.private), **{"verbs": ("*",), **scope})

    def fields(self, ident: str, now_ms: int, **change: Any) -> dict[str, Any]:
        """A good cut, and what is to be different."""
        self.counter += 1
        said: dict[str, Any] = {
            "id": ident,
            "gateway": "G1",
            "verb": "cut",
            "meter": "M1",
            "args": {"cause": "emergency"},
            "issued_at": format_moment(now_ms),
            "expires_at": format_moment(now_ms + LIVES_MS),
            "reason": "fire brigade",
            "counter": self.counter,
        }
        said |= change
        return {name: value for name, value in said.items() if value is not None}

    def signed(self, fields: Mapping[str, Any] | bytes) -> bytes:
        """As the centre sends it."""
        payload = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        return sign(payload, self.kid, self.private)

    def by_hand(self, header: bytes, payload: bytes) -> bytes:
        """Any header, signed well."""
        signing = b64(header) + b"." + b64(payload)
        return signing + b"." + b64(jws.JWSRegistry.algorithms["EdDSA"].sign(signing, self.private))


def _public(seed: int) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()
