"""A signed request moves something once: its nonce is used up in the transaction of what it asks for (contract.md 3).

Nonces are forgotten long after their signatures have expired. What a clock that is set back could make valid again is refused all
the same: no signature is taken that expires before the youngest nonce of its key that was forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway.domain.nonces import Claim, NonceUsed
from gateway.services.ports import Tx, Unavailable

T = TypeVar("T")

KEPT_MS = 24 * 60 * 60 * 1000
"""After its signature expired: so far a clock may be set back before a bank's new requests meet the floor below."""

LATE_MS = 30 * 1000
"""After its signature expired nothing begins: the bank may take a 404 as final 60 s after that (contract.md 3)."""

DROP_EVERY, DROP_MOST = 64, 256
"""Each so-and-so-many-th nonce clears away up to so many old ones, so that the table shrinks faster than it grows."""

FLOOR = "nonce_floor:"
"""In `meta`, by key: when the youngest nonce that was forgotten expired, UTC ms."""


def first_use(tx: Tx, claim: Claim, now_ms: int) -> bool:
    """Use up a nonce; False where its key has used it before, or may have."""
    floor = tx.meta(FLOOR + claim.key)
    if floor is not None and claim.expires_ms <= int(floor):
        return False
    number = tx.add_nonce(claim)
    if number is not None and number % DROP_EVERY == 0:
        _forget_old(tx, now_ms)
    return number is not None


def spend(tx: Tx, claim: Claim | None, now_ms: int) -> None:
    """Use up a nonce for something that may not be asked for twice in the same words. NonceUsed where it was used."""
    if claim is not None and not first_use(tx, claim, now_ms):
        raise NonceUsed("this nonce was used before: sign again with a fresh one")


def once(tx: Tx, claim: Claim | None, now_ms: int, known: Callable[[], bool], act: Callable[[], T]) -> T:
    """Do `act` under a nonce. One that was used before may only repeat what is `known`; else NonceUsed.

    Unavailable where the signature expired so long ago that the bank may count on nothing more happening.
    """
    if claim is None:
        return act()
    if now_ms > claim.expires_ms + LATE_MS:
        raise Unavailable("the signature expired while the request waited")
    if not first_use(tx, claim, now_ms) and not known():
        raise NonceUsed("this nonce was used before, and not for this: sign again with a fresh one")
    return act()


def _forget_old(tx: Tx, now_ms: int) -> None:
    last, youngest = 0, dict[str, int]()
    for number, claim in tx.oldest_nonces(DROP_MOST):
        if claim.expires_ms + KEPT_MS >= now_ms:
            break
        last = number
        youngest[claim.key] = max(claim.expires_ms, youngest.get(claim.key, 0))
    if last:
        tx.drop_nonces(last)
    for key, expires_ms in youngest.items():
        tx.set_meta(FLOOR + key, str(max(expires_ms, int(tx.meta(FLOOR + key) or 0))))
