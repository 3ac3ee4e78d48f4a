"""Banks' keys as they stand in a configuration and in the files beside it."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.adapters.sm2 import sm2_check
from protocols.bank.signatures import Algorithm, BankKey

LEAST_SECRET = 32
"""Bytes of an HMAC's key: as long as what SHA-256 gives, or the signature is weaker than it looks (RFC 2104)."""


def key_of(kid: str, algorithm: str, public: str | None, path: Path, secret: Callable[[Path], str]) -> BankKey:
    """A key as a configuration names it: algorithm and public half, or the file. secret: reads a file that only we may read, and
    raises what it likes. ValueError in one sentence."""
    if algorithm == "hmac-sha256":
        return hmac_key(kid, secret(path), path)
    if algorithm == "sm2-sm3":
        return sm2_key(kid, public or "")
    return ed25519_file(kid, path) if public is None else ed25519_key(kid, public)


def ed25519_key(kid: str, x: str) -> BankKey:
    """x: of its JWK, base64url of 32 bytes."""
    return BankKey(kid, Algorithm.ED25519, Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(x + "=")))


def ed25519_file(kid: str, path: Path) -> BankKey:
    """A public key in PEM. ValueError in one sentence."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as problem:
        raise ValueError(f"{path}: cannot be read: {problem.strerror}") from None
    except ValueError:
        raise ValueError(f"{path}: is no public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{path}: is no Ed25519 key")
    return BankKey(kid, Algorithm.ED25519, key)


def hmac_key(kid: str, text: str, path: Path) -> BankKey:
    """text: the secret in hex, as it stands in that file. ValueError in one sentence."""
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{path}: is no key in hex") from None
    if len(secret) < LEAST_SECRET:
        raise ValueError(f"{path}: an HMAC's key has at least {LEAST_SECRET} bytes, this one {len(secret)}")
    return BankKey(kid, Algorithm.HMAC_SHA256, secret)


def sm2_key(kid: str, public: str) -> BankKey:
    """public: hex. ValueError in one sentence, also where the library is missing."""
    return BankKey(kid, Algorithm.SM2_SM3, sm2_check(public))
