"""Nonces of signed requests, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Integer, bindparam, delete, func, select

from gateway.adapters.store.later import Later
from gateway.adapters.store.schema_bank_nonces import bank_nonce
from gateway.adapters.store.statements import Lookup, Part, Rows, Session, Statement, once
from gateway.domain.nonces import Claim

_n = bank_nonce.c

_columns = ("number", "key", "nonce", "expires_ms")

ADD_NONCE = once(bank_nonce, "key", "nonce", returning="number")
ADD_NONCES = Rows(bank_nonce, _columns)
NEWEST = Statement(select(func.max(_n.number)))
USED = Lookup(select(_n.key, _n.nonce), (_n.key, _n.nonce))
OLDEST = Statement(select(*(_n[name] for name in _columns)).order_by(_n.number).limit(bindparam("most", type_=Integer)))
DROP = Statement(delete(bank_nonce).where(_n.number <= bindparam("upto", type_=BigInteger)))


class Nonces(Part):
    """Their share of a transaction. Those that were looked for beforehand and are new wait for the end of the batch."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._new_nonces = Later(lambda rows: session.insert(ADD_NONCES, rows))
        self._unused: set[tuple[str, str]] = set()
        self._newest: int | None = None

    def foresee_nonces(self, claims: Sequence[Claim]) -> None:
        """Looks for all of these at once, before anything is added."""
        asked = [(claim.key, claim.nonce) for claim in claims]
        self._unused = {*asked} - {(key, nonce) for key, nonce in self._session.look_up(USED, asked)}

    def add_nonce(self, claim: Claim) -> int | None:
        key, number = (claim.key, claim.nonce), self._next_number()
        if key in self._unused:
            self._unused.discard(key)  # only once: after a failure, too, it is looked for again
            self._new_nonces.add(number, *key, claim.expires_ms)
        else:
            self._new_nonces.flush()
            if not self._session.rows(ADD_NONCE, number=number, key=claim.key, nonce=claim.nonce, expires_ms=claim.expires_ms):
                return None
        self._newest = number
        return number

    def _next_number(self) -> int:
        if self._newest is None:
            [(newest,)] = self._session.rows(NEWEST)
            self._newest = int(newest or 0)
        return self._newest + 1

    def oldest_nonces(self, most: int) -> Sequence[tuple[int, Claim]]:
        self._new_nonces.flush()
        return [(int(number), Claim(*rest)) for number, *rest in self._session.rows(OLDEST, most=most)]

    def drop_nonces(self, upto: int) -> None:
        self._new_nonces.flush()
        self._session.change(DROP, upto=upto)
