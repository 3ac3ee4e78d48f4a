"""Nonces of signed requests, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Integer, bindparam, delete, select

from gateway.adapters.store.schema_bank_nonces import bank_nonce
from gateway.adapters.store.statements import Part, Statement, once
from gateway.domain.nonces import Claim

_n = bank_nonce.c

ADD_NONCE = once(bank_nonce, "key", "nonce", without="number", returning="number")
OLDEST = Statement(select(_n.number, _n.key, _n.nonce, _n.expires_ms).order_by(_n.number).limit(bindparam("most", type_=Integer)))
DROP = Statement(delete(bank_nonce).where(_n.number <= bindparam("upto", type_=BigInteger)))


class Nonces(Part):
    """Their share of a transaction."""

    def add_nonce(self, claim: Claim) -> int | None:
        found = self._session.rows(ADD_NONCE, key=claim.key, nonce=claim.nonce, expires_ms=claim.expires_ms)
        return int(found[0][0]) if found else None

    def oldest_nonces(self, most: int) -> Sequence[tuple[int, Claim]]:
        return [(int(number), Claim(*rest)) for number, *rest in self._session.rows(OLDEST, most=most)]

    def drop_nonces(self, upto: int) -> None:
        self._session.change(DROP, upto=upto)
