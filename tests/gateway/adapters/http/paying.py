"""A bank with a key, for tests of the signed interface."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver
from http_message_signatures.algorithms import ED25519

from gateway.adapters.http.bank_gate import Banks, KnownBank, KnownKey
from gateway.domain.bank_terms import PartnerTerms
from protocols.bank.signatures import LIFE_S, Algorithm, BankKey, Fields, sign_request
from tests.gateway.adapters.http.street import Street

URL = "https://pay.example.org"
KEY, NEXT, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))
PAY = {
    "serial": "S-1",
    "account": "A-1",
    "amount": "50.00",
    "currency": "CNY",
    "paid_at": "2026-11-21T11:59:30+08:00",
    "accounting_date": "2026-11-21",
}
TOPUPS = "/bank/v1/topups"
_numbers = itertools.count(1)


def known_key(kid: str, key: Ed25519PrivateKey, bank: str = "north", **when: int) -> dict[str, KnownKey]:
    return {kid: KnownKey(bank, BankKey(kid, Algorithm.ED25519, key.public_key()), **when)}


NORTH = KnownBank(PartnerTerms("north"))
BANKS = Banks(url=URL, banks={"north": NORTH}, keys=known_key("north-1", KEY))


def with_north(**changes: object) -> Banks:
    """The bank north with other terms."""
    return replace(BANKS, banks={"north": replace(NORTH, **changes)})  # type: ignore[arg-type]


@dataclass
class SignedBank:
    """Signs what it sends by the street's clock. ahead_s: its own clock is that much ahead."""

    street: Street
    http: httpx2.AsyncClient
    kid: str = "north-1"
    key: Ed25519PrivateKey | bytes = KEY
    ahead_s: int = 0
    life_s: int = LIFE_S
    said: list[str] = field(default_factory=list)

    async def send(self, method: str, path: str, body: bytes | None = None, nonce: str = "") -> httpx2.Response:
        headers = self.sign(method, path, body, nonce)
        return await self.http.request(method, path, content=body, headers=headers)

    def sign(self, method: str, path: str, body: bytes | None, nonce: str = "") -> dict[str, str]:
        self.said.append(nonce or f"nonce-{next(_numbers)}")
        created_s = self.street.now_ms // 1000 + self.ahead_s
        signed = sign_request(
            method, URL + path, body, self.kid, self.key, created_s=created_s, nonce=self.said[-1], life_s=self.life_s
        )
        return signed if body is None else {"content-type": "application/json", **signed}

    async def pay(self, nonce: str = "", **changes: str) -> httpx2.Response:
        return await self.send("POST", TOPUPS, json.dumps({**PAY, **changes}).encode(), nonce)

    async def ask(self, path: str, nonce: str = "") -> httpx2.Response:
        return await self.send("GET", path, nonce=nonce)


class _AnyTime(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        return


def verified(answer: httpx2.Response, path: str, key: Ed25519PublicKey, kid: str) -> frozenset[str]:
    """What the gateway's signature of this answer covers, by the library of others; it raises for one that is not good."""

    class Got:
        status_code = answer.status_code
        headers = Fields([*answer.headers.items()])

        class request:
            method, url, headers = answer.request.method, URL + path, Fields([*answer.request.headers.items()])

    resolver = MappingKeyResolver(public_keys={kid: key}, private_keys={})
    found = _AnyTime(signature_algorithm=ED25519, key_resolver=resolver).verify(Got(), body=answer.content)
    return frozenset(found[0].covered_components)


def signed_headers(answer: httpx2.Response) -> Mapping[str, str]:
    """What signs an answer."""
    return {name: answer.headers[name] for name in ("content-digest", "signature-input", "signature")}
