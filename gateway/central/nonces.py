"""A bank's signature moves something once, whichever instance it reaches: its nonce is used up in the transaction of what it asks
for (contract.md 3).

What was forgotten stays refused: no signature is taken that expires before the youngest nonce of its key that was forgotten, so
that a clock which is set back makes nothing good again.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from gateway.central import schema
from gateway.central.store import CentralStore
from gateway.domain.nonces import Claim, NonceUsed

KEPT_MS = 24 * 60 * 60 * 1000
"""After its signature expired: so far a clock may be set back before a bank's new requests meet the floor below."""

LATE_MS = 30 * 1000
"""After its signature expired nothing begins: the bank may take a 404 as final 60 s after that (contract.md 3)."""

DROP_EVERY, DROP_MOST = 64, 256
"""Each so-and-so-many-th nonce clears away up to so many old ones, so that the table shrinks faster than it grows."""

FLOOR = "nonce_floor:"
"""In central_meta, by key: when the youngest nonce that was forgotten expired, UTC ms."""

_n, _m = schema.nonce.c, schema.meta.c


class TooLate(Exception):
    """The signature expired while the request waited: the bank may count on nothing more happening."""


def spend(store: CentralStore, connection: Connection, claim: Claim, now_ms: int) -> None:
    """Use up a nonce for what may not be asked for twice in the same words. NonceUsed where it was used."""
    if not _first_use(store, connection, claim, now_ms):
        raise NonceUsed("this nonce was used before: sign again with a fresh one")


def once(store: CentralStore, connection: Connection, claim: Claim | None, now_ms: int, *, known: bool) -> None:
    """Use up the nonce of a payment or reversal. One that was used before may only repeat what is `known`; else NonceUsed."""
    if claim is None:
        return
    if now_ms > claim.expires_ms + LATE_MS:
        raise TooLate("the signature expired while the request waited")
    if not _first_use(store, connection, claim, now_ms) and not known:
        raise NonceUsed("this nonce was used before, and not for this: sign again with a fresh one")


def _first_use(store: CentralStore, connection: Connection, claim: Claim, now_ms: int) -> bool:
    floor = connection.scalar(select(_m.value).where(_m.key == FLOOR + claim.key))
    if floor is not None and claim.expires_ms <= int(floor):
        return False
    row = {"kid": claim.key, "nonce": claim.nonce, "expires_ms": claim.expires_ms}
    number = connection.scalar(store.dialect.insert(schema.nonce).values(row).on_conflict_do_nothing().returning(_n.number))
    if number is not None and number % DROP_EVERY == 0:
        _forget_old(store, connection, now_ms)
    return number is not None


def _forget_old(store: CentralStore, connection: Connection, now_ms: int) -> None:
    """The oldest in the order of their coming, up to the first that is to be kept."""
    last, youngest = 0, dict[str, int]()
    for row in connection.execute(select(schema.nonce).order_by(_n.number).limit(DROP_MOST)):
        if row.expires_ms + KEPT_MS >= now_ms:
            break
        last, youngest[row.kid] = row.number, max(row.expires_ms, youngest.get(row.kid, 0))
    if not last:
        return
    connection.execute(delete(schema.nonce).where(_n.number <= last))
    names = [FLOOR + kid for kid in youngest]
    floors = {row.key: int(row.value) for row in connection.execute(select(schema.meta).where(_m.key.in_(names)))}
    changed: list[dict[str, object]] = [
        {"key": FLOOR + kid, "value": str(max(at_ms, floors.get(FLOOR + kid, 0)))} for kid, at_ms in youngest.items()
    ]
    store.upsert(connection, schema.meta, changed)
