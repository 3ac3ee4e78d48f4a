"""The gateway's own signing key: made at the first start, kept in its data directory, published to whoever checks what it signed.

`identity.jwk` is the private key in use (mode 0600, RFC 8037); `identity-retired.jwks` holds the public halves of those before it,
so that what they signed can be checked for ever.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import OKPKey

IN_USE, RETIRED = "identity.jwk", "identity-retired.jwks"

MOST_RETIRED = 1000
"""Keys that are still published: one a day for years; each takes 150 bytes of an answer."""

Jwk = dict[str, str]


class IdentityError(ValueError):
    """The key file cannot be used; one sentence that says what to do."""


@dataclass(frozen=True)
class Identity:
    """A private Ed25519 key with its id, and the public keys before it. kid: the thumbprint of RFC 7638."""

    kid: str
    key: Ed25519PrivateKey
    x: str
    retired: tuple[Jwk, ...] = ()

    @cached_property
    def okp(self) -> OKPKey:
        """The key as joserfc takes it."""
        d = _text(self.key.private_bytes_raw())
        return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": self.x, "d": d})

    @cached_property
    def seal(self) -> Callable[[str], str]:
        """Signs a document that is in RFC 8785 form already: a compact JWS over its bytes (RFC 7515, 8037)."""
        head = _text(f'{{"alg":"EdDSA","kid":"{self.kid}"}}'.encode()).encode() + b"."
        sign = self.key.sign

        def sealed(document: str) -> str:
            signing = head + urlsafe_b64encode(document.encode()).rstrip(b"=")
            return (signing + b"." + urlsafe_b64encode(sign(signing)).rstrip(b"=")).decode()

        return sealed

    def published(self) -> Sequence[Jwk]:
        """Every public key that has signed, the one in use first."""
        return [_public(self.kid, self.x), *self.retired]


def identity_of(directory: Path, fresh: Callable[[], bytes] = lambda: secrets.token_bytes(32)) -> Identity:
    """The key of this data directory, made where there is none. fresh: 32 random bytes. Raises IdentityError."""
    path = directory / IN_USE
    if not path.exists():
        _write(path, json.dumps(_private(Ed25519PrivateKey.from_private_bytes(fresh()))))
    return _read(path, _retired(directory / RETIRED))


def rotate(directory: Path, fresh: Callable[[], bytes] = lambda: secrets.token_bytes(32)) -> Identity:
    """A new key from now on; the one before stays published. Raises IdentityError."""
    before = identity_of(directory)
    keys = before.published()
    if len(keys) > MOST_RETIRED:
        raise IdentityError(f"{directory / RETIRED}: holds {MOST_RETIRED} keys, and no more are published")
    _write(directory / RETIRED, json.dumps({"keys": keys}))  # first: a key that is in use and retired does no harm
    _write(directory / IN_USE, json.dumps(_private(Ed25519PrivateKey.from_private_bytes(fresh()))))
    return identity_of(directory)


def _read(path: Path, retired: tuple[Jwk, ...]) -> Identity:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise IdentityError(f"{path}: holds a secret and may be read by others; chmod 600 it")
        found = json.loads(path.read_text("utf-8"))
        key = Ed25519PrivateKey.from_private_bytes(_bytes(found["d"]))
    except OSError as problem:
        raise IdentityError(f"{path}: cannot be read: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError) as problem:
        if isinstance(problem, IdentityError):
            raise
        raise IdentityError(f"{path}: is no private Ed25519 key as JWK; put the gateway's own back, from a backup") from None
    jwk = _private(key)
    if found.get("x") != jwk["x"]:
        raise IdentityError(f"{path}: its x is not the public half of its d; put the gateway's own back, from a backup")
    return Identity(jwk["kid"], key, jwk["x"], tuple(each for each in retired if each["kid"] != jwk["kid"]))


def _retired(path: Path) -> tuple[Jwk, ...]:
    if not path.exists():
        return ()
    try:
        keys = json.loads(path.read_text("utf-8"))["keys"]
        return tuple(_public(_kid(each["x"]), each["x"]) for each in keys)
    except OSError as problem:
        raise IdentityError(f"{path}: cannot be read: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise IdentityError(f"{path}: is no set of public Ed25519 keys as JWK") from None


def _write(path: Path, text: str) -> None:
    """All of it or nothing, also in a power failure, and its owner's alone from the first byte."""
    aside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        os.replace(aside, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as problem:
        raise IdentityError(f"{path}: cannot be written: {problem.strerror}") from None


def x_of(key: Ed25519PrivateKey) -> str:
    """The public half of a key: the `x` of its JWK."""
    return _text(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _private(key: Ed25519PrivateKey) -> Jwk:
    x = x_of(key)
    return {**_public(_kid(x), x), "d": _text(key.private_bytes_raw())}


def _public(kid: str, x: str) -> Jwk:
    Ed25519PublicKey.from_public_bytes(_bytes(x))
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "use": "sig", "alg": "EdDSA"}


def _kid(x: str) -> str:
    """RFC 7638: the digest of the required members in their order."""
    members: Mapping[str, str] = {"crv": "Ed25519", "kty": "OKP", "x": x}
    return _text(sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
