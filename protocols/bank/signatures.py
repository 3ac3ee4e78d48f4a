"""Signed requests and answers of banks: HTTP message signatures (RFC 9421) over a content digest (RFC 9530; contract.md 3).

A request is signed once, over at least `@method`, `@target-uri` and, where it has a body, `content-digest`, with `created`,
`expires`, `nonce` and `keyid`. Which key, whose and until when, is the caller's; so is whether a nonce was seen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519, HMAC_SHA256, HTTPSignatureAlgorithm
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from protocols.errors import ProtocolError

LIFE_S = 300
"""From `created` to `expires` at most: so long may a request be under way, and its nonce must be remembered (contract.md 3)."""

AHEAD_S = 60
"""A clock of the bank's may be ahead of ours: `created` may lie this far in our future."""

MOST_NONCE, MOST_FIELD = 128, 2048
"""Characters of a nonce, which goes into a table, and of each of the three headers, which are parsed before anybody is known."""

COVERED = ("@method", "@target-uri")
DIGEST = "content-digest"
_HASHES = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):", re.ASCII)
_KEYID = re.compile(r';[ ]*keyid="([^"\\]*)"', re.ASCII)
_REQUIRED = ("created", "expires", "nonce")
_PARAMETER = re.compile(r';(created|expires|keyid|nonce|alg)=(?:([1-9][0-9]{0,11})|"([A-Za-z0-9._:+/=-]+)")', re.ASCII)
_USUAL = re.compile(
    r'(?P<label>[a-z][a-z0-9_-]*)=(?P<stated>\("@method" "@target-uri"(?P<digest> "content-digest")?\)'
    r'(?P<parameters>(?:;(?:created|expires)=[1-9][0-9]{0,11}|;(?:keyid|nonce|alg)="[A-Za-z0-9._:+/=-]+")+))',
    re.ASCII,
)
_TOLD = re.compile(
    r"(?P<label>[a-z][a-z0-9_-]*)=:(?P<signature>(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?):", re.ASCII
)
_URL = re.compile(r"https?://[a-z0-9.\[\]:-]+(/[A-Za-z0-9._~-]+)+(\?[A-Za-z0-9._~=&-]+)?", re.ASCII)

Headers = Sequence[tuple[str, str]]


class BadSignature(ProtocolError):
    """The request is not signed as agreed; the text is one sentence that tells its sender what to look at."""


class SignatureExpired(BadSignature):
    """The signature is good, but its time is over."""


class Algorithm(StrEnum):
    """How a key signs, by the name of RFC 9421's registry; SM2 with SM3 (GB/T 32918) has none there."""

    ED25519 = "ed25519"
    HMAC_SHA256 = "hmac-sha256"
    SM2_SM3 = "sm2-sm3"


Sm2Check = Callable[[bytes, bytes], bool]
"""(signature, message) -> whether it is good; in by whoever has the library."""


@dataclass(frozen=True, slots=True)
class BankKey:
    """A key that requests are checked with. key: of the algorithm's kind; `hmac-sha256`: at least 32 bytes."""

    kid: str
    algorithm: Algorithm
    key: Ed25519PublicKey | bytes | Sm2Check


@dataclass(frozen=True, slots=True)
class Checked:
    """What a good signature said of itself. created_s, expires_s: seconds since 1970."""

    kid: str
    nonce: str
    created_s: int
    expires_s: int


class Fields:
    """Header lines in their order, as the library reads and writes them."""

    def __init__(self, lines: Headers = ()) -> None:
        self.lines = [(name.lower(), value) for name, value in lines]

    def items(self) -> Iterator[tuple[str, str]]:
        return iter(self.lines)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.lines)

    def __contains__(self, wanted: str) -> bool:
        return any(name == wanted.lower() for name, _ in self.lines)

    def __setitem__(self, name: str, value: str) -> None:
        self.lines.append((name.lower(), value))

    def __delitem__(self, gone: str) -> None:
        self.lines = [line for line in self.lines if line[0] != gone.lower()]


@dataclass(slots=True)
class Request:
    """A request as it is signed. url: the absolute one that the bank calls, not what stands in `host`."""

    method: str
    url: str
    headers: Fields


class _Sm2(HTTPSignatureAlgorithm):
    """SM2 with SM3: the key is who checks."""

    algorithm_id = Algorithm.SM2_SM3.value

    def __init__(self, public_key: Sm2Check, private_key: object = None) -> None:
        self._check = public_key

    def verify(self, signature: bytes, message: bytes) -> None:
        if not self._check(signature, message):
            raise InvalidSignature


_ALGORITHMS: Mapping[Algorithm, type[HTTPSignatureAlgorithm]] = {
    Algorithm.ED25519: ED25519,
    Algorithm.HMAC_SHA256: HMAC_SHA256,
    Algorithm.SM2_SM3: _Sm2,
}


class _Resolver(HTTPSignatureKeyResolver):
    def __init__(self, kid: str, public: object = None, private: object = None) -> None:
        self._kid, self._public, self._private = kid, public, private

    def resolve_public_key(self, key_id: str) -> object:
        return self._public if key_id == self._kid else None

    def resolve_private_key(self, key_id: str) -> object:
        return self._private


class _Verifier(HTTPMessageVerifier):
    """The library's, without its reading of the clock: times are judged by what is passed in."""

    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        return


def check_request(request: Request, body: bytes, key_of: Callable[[str], BankKey | None], now_s: int) -> Checked:
    """Who signed this request, once all of it is good. BadSignature or SignatureExpired say in one sentence what is not.

    key_of: a key that may be used now by its kid. request.headers: as they came, each line by itself.
    """
    stated = _lines(request.headers, "signature-input")
    kid = _one(_KEYID.findall(stated))
    key = key_of(kid)
    if key is None:
        raise BadSignature(f"the key {kid[:64]!a} is not known here, or not valid now")
    signature = _lines(request.headers, "signature")
    if (usual := _usual(request, stated, signature, body, key)) is not None:
        return _in_time(kid, usual, now_s)
    verifier = _Verifier(signature_algorithm=_ALGORITHMS[key.algorithm], key_resolver=_Resolver(kid, public=key.key))
    try:
        found = verifier.verify(request, max_age=None)
    except HTTPMessageSignaturesException as wrong:
        raise BadSignature(_sentence(wrong)) from None
    if len(found) != 1:
        raise BadSignature("exactly one signature is expected")
    covered, stated_of = found[0].covered_components, found[0].parameters
    for name in COVERED:
        if f'"{name}"' not in covered:
            raise BadSignature(f"the signature does not cover {name}")
    if body or DIGEST in request.headers:
        if f'"{DIGEST}"' not in covered:
            raise BadSignature(f"the signature does not cover {DIGEST}")
        _check_digest(covered[f'"{DIGEST}"'], body)
    return _in_time(kid, stated_of, now_s)


def _usual(request: Request, stated: str, signature: str, body: bytes, key: BankKey) -> Mapping[str, object] | None:
    """What a signature in the usual form states, if it is good; None leaves it to the library, which also knows why it is not.

    Reason: of the 0.3 ms of a check the library's parsers take 0.2. In this form a signature base is the very text of the headers:
    the components are those we ask for, no string has an escape, no number another spelling.
    """
    form, told = _USUAL.fullmatch(stated), _TOLD.fullmatch(signature)
    if form is None or told is None or form["label"] != told["label"] or key.algorithm is Algorithm.SM2_SM3:
        return None
    if request.method not in ("GET", "POST") or not _URL.fullmatch(request.url):
        return None
    lines = [f'"@method": {request.method}', f'"@target-uri": {request.url}']
    if form["digest"]:
        digests = [value for name, value in request.headers.items() if name == DIGEST]
        if len(digests) != 1 or _MEMBER.fullmatch(digests[0]) is None:
            return None
        _check_digest(digests[0], body)
        lines.append(f'"{DIGEST}": {digests[0]}')
    elif body or DIGEST in request.headers:
        return None
    pairs = _PARAMETER.findall(form["parameters"])
    found: dict[str, object] = {name: text or int(number) for name, number, text in pairs}
    if len(found) != len(pairs) or found.get("alg", key.algorithm) != key.algorithm:
        return None
    base = "\n".join([*lines, f'"@signature-params": {form["stated"]}']).encode("ascii")
    return found if _fits(key, base64.b64decode(told["signature"]), base) else None


def _fits(key: BankKey, signature: bytes, base: bytes) -> bool:
    if isinstance(key.key, bytes):
        return hmac.compare_digest(hmac.digest(key.key, base, "sha256"), signature)
    assert isinstance(key.key, Ed25519PublicKey)
    try:
        key.key.verify(signature, base)
    except InvalidSignature:
        return False
    return True


def _lines(headers: Fields, name: str) -> str:
    lines = [value for each, value in headers.items() if each == name]
    if not lines:
        raise BadSignature(f"the header {name} is missing: requests are signed (RFC 9421)")
    value = ", ".join(lines)
    if len(value) > MOST_FIELD:
        raise BadSignature(f"the header {name} has more than {MOST_FIELD} characters")
    return value


def _one(kids: list[str]) -> str:
    if len(kids) != 1:
        raise BadSignature("the signature names no keyid" if not kids else "exactly one signature with one keyid is expected")
    return kids[0]


def _sentence(wrong: Exception) -> str:
    """The library's reason where it has one; a signature that does not fit has none."""
    text = str(wrong)[:200]
    said = text if text.isascii() and text.isprintable() else ""
    return f"the signature is not good: {said}" if said else "the signature does not fit what was sent"


def _check_digest(field: str, body: bytes) -> None:
    """RFC 9530, by ourselves: every member is a digest we know, and each fits the body."""
    members = field.split(",")
    for member in members:
        found = _MEMBER.fullmatch(member.strip(" \t"))
        if found is None or len(field) > MOST_FIELD:
            raise BadSignature("content-digest is not a list of digests like sha-256=:...:")
        name, told = found.groups()
        if name not in _HASHES:
            raise BadSignature(f"content-digest by {name[:32]} is not taken: sha-256 and sha-512 are")
        try:
            digest = binascii.a2b_base64(told, strict_mode=True)
        except binascii.Error:
            raise BadSignature("content-digest is not base64") from None
        if not hmac.compare_digest(digest, _HASHES[name](body).digest()):
            raise BadSignature("content-digest is not that of the body")


def _in_time(kid: str, stated: Mapping[str, object], now_s: int) -> Checked:
    for name in _REQUIRED:
        if name not in stated:
            raise BadSignature(f"the signature states no {name}")
    created_s, expires_s, nonce = stated["created"], stated["expires"], stated["nonce"]
    assert isinstance(created_s, int) and isinstance(expires_s, int) and isinstance(nonce, str)  # held by the library
    if not 1 <= len(nonce) <= MOST_NONCE:
        raise BadSignature(f"a nonce has 1 to {MOST_NONCE} characters")
    if not 0 < expires_s - created_s <= LIFE_S:
        raise BadSignature(f"expires is to be after created, by at most {LIFE_S} s")
    if created_s > now_s + AHEAD_S:
        raise BadSignature(f"created is {created_s - now_s} s ahead of our clock: one of the two clocks is wrong")
    if now_s > expires_s:
        raise SignatureExpired(f"the signature expired {now_s - expires_s} s ago")
    return Checked(kid, nonce, created_s, expires_s)


def digest_of(body: bytes, name: str = "sha-256") -> str:
    """The content-digest of a body."""
    return digest_as(_HASHES[name](body).digest(), name)


def digest_as(hashed: bytes, name: str = "sha-256") -> str:
    """The content-digest of a body of which the hash is known."""
    return f"{name}=:{binascii.b2a_base64(hashed, newline=False).decode()}:"


def sign_request(
    method: str,
    url: str,
    body: bytes | None,
    kid: str,
    key: Ed25519PrivateKey | bytes,
    *,
    created_s: int,
    nonce: str,
    life_s: int = LIFE_S,
    digest: str = "sha-256",
) -> dict[str, str]:
    """The headers that a bank adds to its request. key: Ed25519, or an HMAC's secret. body: None where there is none."""
    algorithm = HMAC_SHA256 if isinstance(key, bytes) else ED25519
    signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=_Resolver(kid, private=key))
    request = Request(method, url, Fields([] if body is None else [(DIGEST, digest_of(body, digest))]))
    signer.sign(
        request,
        key_id=kid,
        created=datetime.fromtimestamp(created_s, UTC),
        expires=datetime.fromtimestamp(created_s + life_s, UTC),
        nonce=nonce,
        label="bank",
        covered_component_ids=COVERED if body is None else (*COVERED, DIGEST),
        body=body,
        use_existing_digest=body is not None,
    )
    return dict(request.headers.items())


def sign_response(
    status: int,
    content_type: str,
    body: bytes | str,
    request: Request,
    kid: str,
    key: Ed25519PrivateKey,
    created_s: int,
) -> list[tuple[str, str]]:
    """The headers that sign an answer, bound to the request it answers (RFC 9421 section 2.4). body: or its content-digest.

    Written out here because it is always the same five or six lines; the library checks it in the tests.
    """
    digest = body if isinstance(body, str) else digest_of(body)
    lines = [
        ('"@status"', str(status)),
        ('"content-type"', content_type),
        (f'"{DIGEST}"', digest),
        ('"@method";req', request.method),
        ('"@target-uri";req', request.url),
    ]
    signatures = [value for name, value in request.headers.items() if name == "signature"]
    if signatures:
        lines.append(('"signature";req', ", ".join(value.strip() for value in signatures)))
    stated = f'({" ".join(name for name, _ in lines)});created={created_s};keyid="{kid}";alg="{Algorithm.ED25519}"'
    base = "\n".join(f"{name}: {value}" for name, value in [*lines, ('"@signature-params"', stated)])
    signature = binascii.b2a_base64(key.sign(base.encode("latin-1")), newline=False).decode()
    return [(DIGEST, digest), ("signature-input", f"gateway={stated}"), ("signature", f"gateway=:{signature}:")]
