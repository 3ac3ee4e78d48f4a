"""What the centre signs for banks: its receipts and answers, by a key of its own that stays published for ever (contract.md 3).

Several instances may sign with one key or each with its own: what is published is what the store knows of all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, select

from gateway.adapters.identity import Identity, x_of
from gateway.central import schema
from gateway.central.orders import Signer
from gateway.central.store import CentralStore
from gateway.domain.requests import TopUp
from gateway.domain.units import format_money
from protocols.uplink.moments import format_moment


class KeyTaken(Exception):
    """Another key has signed under this id before; one sentence."""


def identity_of(signer: Signer) -> Identity:
    """Our key as the banks' gate takes it."""
    key = signer.key.private_key
    assert isinstance(key, Ed25519PrivateKey)  # central/keys takes no other
    return Identity(signer.kid, key, x_of(key))


def publish(store: CentralStore, identity: Identity, now_ms: int) -> None:
    """From now on it is one of ours, for ever. KeyTaken."""

    def work(connection: Connection) -> str | None:
        store.insert_new(connection, schema.receipt_key, {"kid": identity.kid, "x": identity.x, "since_ms": now_ms})
        return connection.scalar(select(schema.receipt_key.c.x).where(schema.receipt_key.c.kid == identity.kid))

    if store.write(work) != identity.x:
        raise KeyTaken(f"another key has signed receipts as {identity.kid}: make a key with an id of its own")


def published(connection: Connection) -> list[dict[str, str]]:
    """Every public key that ever signed here, newest first, as a JWK."""
    k = schema.receipt_key.c
    query = select(k.kid, k.x).order_by(k.since_ms.desc(), k.kid)
    form = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA"}
    return [{**form, "kid": kid, "x": x} for kid, x in connection.execute(query)]


UNKNOWN = ("to_credit", "to_debt", "fees", "balance_after", "next")
"""Members of receipts and quotes that the gateway alone could fill: it has the debts, the balance and the switch. Empty here."""


def receipt(topup: TopUp, holder: str, gateway: str, number: str, now_ms: int) -> str:
    """The centre's receipt in RFC 8785 form. What only the gateway knows is empty."""
    identity = topup.identity
    document = {
        "receipt_no": number,
        "bank": identity.bank,
        "institution": identity.institution,
        "serial": identity.serial,
        "accounting_date": topup.accounting_date.isoformat(),
        "account": topup.account,
        "holder": holder,
        "amount": format_money(topup.amount_micro, topup.currency),
        "currency": topup.currency,
        "booked_at": format_moment(now_ms),
        "gateway": gateway,
        **dict.fromkeys(UNKNOWN, ""),
    }
    return canonical(document)


def canonical(document: Mapping[str, str | None]) -> str:
    """RFC 8785 form of a flat document of text."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
