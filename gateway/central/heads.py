"""Anchors: what a gateway signs of its books is held against what it signed before. A book only grows (contract.md 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import msgspec
from joserfc.jwk import OKPKey
from msgspec import Meta
from sqlalchemy import Connection, insert, select

from gateway.central import findings, schema
from gateway.central.arrivals import Arrival
from protocols.uplink import signing
from protocols.uplink.messages import AnchorMessage, BadMessage, Count, Id, convert_object, parse_object

Trust = Callable[[str], Mapping[str, OKPKey]]
"""The public keys of a gateway's anchors by their ids; none: its anchors are kept and not judged."""


def nobody(_gateway: str) -> Mapping[str, OKPKey]:
    """No gateway's anchors are judged."""
    return {}


NOBODY: Trust = nobody


def trust_of(keys: Mapping[str, Mapping[str, OKPKey]]) -> Trust:
    """Whom the configuration trusts."""
    return lambda gateway: keys.get(gateway, {})


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last entry of a book, 0 and an empty hash where there is none."""

    number: Count
    hash: Annotated[str, Meta(max_length=128)]


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed: number: of the anchor, one more each time."""

    gateway: Id
    number: Count
    at_ms: Count
    epoch: Id
    audit: Head
    ledger: Head


def check(connection: Connection, new: Sequence[Arrival], trust: Trust) -> None:
    """Holds new anchors against those before, whatever order they come in. What does not agree is a finding."""
    for arrival in new:
        gateway, said = arrival.where.gateway, arrival.content
        keys = trust(gateway)
        if not isinstance(said, AnchorMessage) or not keys:
            continue
        try:
            claim = _opened(said.jws, keys)
            if claim.gateway != gateway:
                raise BadMessage(f"it is an anchor of gateway {claim.gateway}")
        except BadMessage as wrong:
            _found(connection, arrival, "anchor_unproved", f"{said.epoch}:{said.seq}", f"an anchor proves nothing: {wrong}")
            continue
        for book, head in (("audit", claim.audit), ("ledger", claim.ledger)):
            _compare(connection, arrival, claim, book, head)


def _opened(jws: str, keys: Mapping[str, OKPKey]) -> Claim:
    signed = signing.open_signed(jws.encode("ascii", "replace"), keys.get)
    return convert_object(parse_object(signed.payload, "this anchor"), Claim, "this anchor")


def _compare(connection: Connection, arrival: Arrival, claim: Claim, book: str, head: Head) -> None:
    h, gateway = schema.head.c, claim.gateway
    of_book = (h.gateway == gateway, h.book == book)
    contrary = select(h.anchor).where(*of_book, h.number == head.number, h.hash != head.hash).limit(1)
    other = connection.scalar(contrary)
    if other is not None:
        text = f"entry {head.number} of the {book} has another hash in anchor {claim.number} than in anchor {other}"
        _found(connection, arrival, "anchor_contradiction", f"{book}:{head.number}", f"{text}: the book was rewritten")
    same = (*of_book, h.epoch == claim.epoch)
    longer = connection.scalar(select(h.number).where(*same, h.anchor < claim.number, h.number > head.number).limit(1))
    shorter = connection.scalar(select(h.number).where(*same, h.anchor > claim.number, h.number < head.number).limit(1))
    if longer is not None or shorter is not None:
        high, low = (longer, head.number) if longer is not None else (head.number, shorter)
        text = f"the {book} had {high} entries and later only {low}, without a restore from a backup"
        _found(connection, arrival, "anchor_rewound", f"{book}:{claim.epoch}:{claim.number}", text)
    row = {"book": book, "gateway": gateway, "epoch": claim.epoch, "anchor": claim.number, "number": head.number, "hash": head.hash}
    number = connection.scalar(
        select(schema.message.c.id).where(
            schema.message.c.gateway == gateway,
            schema.message.c.epoch == arrival.envelope.epoch,
            schema.message.c.seq == arrival.envelope.seq,
        )
    )
    connection.execute(insert(schema.head).values(message=number, **row))


def _found(connection: Connection, arrival: Arrival, kind: str, subject: str, text: str) -> None:
    findings.add(connection, arrival.where.gateway, kind, subject, text, arrival.received_ms)
