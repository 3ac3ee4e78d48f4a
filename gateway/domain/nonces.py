"""A nonce of a signed request: one key says it once (contract.md 3, RFC 9421 section 7.2.2)."""

from __future__ import annotations

from dataclasses import dataclass


class NonceUsed(Exception):
    """This nonce was used before, and not for what is asked now."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a checked signature claims once. key: its kid; expires_ms: UTC ms, after which the signature is refused anyway."""

    key: str
    nonce: str
    expires_ms: int
