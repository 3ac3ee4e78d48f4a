"""Permissions that cuts rest on, and the budgets that cuts come out of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import BigInteger, Integer, bindparam, delete, select, update

from gateway.adapters.store import schema_supply as schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.heads import PERMISSION, Heads
from gateway.adapters.store.statements import Part, Row, Statement, inserting
from gateway.domain.permissions import CutPermission

_p, _s = schema.permission.c, schema.spent.c
_most = bindparam("most", type_=Integer)
_newest = select(schema.permission).order_by(_p.number.desc()).limit(_most)

ADD = Statement(inserting(schema.permission))
ONE = Statement(select(schema.permission).where(_p.number == bindparam("wanted")))
SAVE = Statement(
    update(schema.permission)
    .where(_p.number == bindparam("wanted"))
    .values(until_ms=bindparam("new_until"), withdrawn_ms=bindparam("new_withdrawn"))
)
NEWEST = Statement(_newest)
NEWEST_OF = Statement(_newest.where(_p.account == bindparam("account")))

SPEND = Statement(inserting(schema.spent, "number"))
_since = _s.at_ms > bindparam("since", type_=BigInteger)
_spent = select(_s.meter, _s.at_ms).where(_s.budget == bindparam("budget"), _since).order_by(_s.at_ms, _s.number)
SPENT = Statement(_spent)
SPENT_BY = Statement(_spent.where(_s.key == bindparam("key")))
_newest_spent = (
    select(_s.number)
    .where(_s.budget == bindparam("budget"), _s.key == bindparam("key"), _s.meter == bindparam("meter"))
    .order_by(_s.number.desc())
    .limit(1)
    .scalar_subquery()
)
UNSPEND = Statement(delete(schema.spent).where(_s.number == _newest_spent))
FORGET = Statement(delete(schema.spent).where(_s.at_ms < bindparam("before", type_=BigInteger)))


class Permissions(Part):
    """Their share of a transaction."""

    _heads: Heads

    def add_permission(self, permission: CutPermission) -> CutPermission:
        number = self._heads.get(PERMISSION)[0] + 1
        self._session.change(
            ADD,
            number=number,
            account=permission.account,
            cause=permission.cause,
            origin=permission.origin,
            given_ms=permission.given_ms,
            until_ms=permission.until_ms,
            evidence=encode(permission.evidence),
            withdrawn_ms=permission.withdrawn_ms,
        )
        self._heads.move(PERMISSION, number)
        return replace(permission, number=number)

    def permission(self, number: int) -> CutPermission | None:
        row = self._session.row(ONE, wanted=number)
        return None if row is None else _permission(row)

    def save_permission(self, permission: CutPermission) -> None:
        """Changes its end; LookupError for one that was never added, ValueError where it is about something else now."""
        known = self.permission(permission.number)
        if known is None:
            raise LookupError(f"permission {permission.number} was never added")
        if replace(known, until_ms=permission.until_ms, withdrawn_ms=permission.withdrawn_ms) != permission:
            raise ValueError("what a permission is about never changes")
        new = {"new_until": permission.until_ms, "new_withdrawn": permission.withdrawn_ms}
        self._session.change(SAVE, wanted=permission.number, **new)

    def permissions(self, limit: int, account: str | None = None) -> Sequence[CutPermission]:
        if account is None:
            return [_permission(row) for row in self._session.rows(NEWEST, most=limit)]
        return [_permission(row) for row in self._session.rows(NEWEST_OF, most=limit, account=account)]

    def spend(self, budget: str, key: str, meter: str, at_ms: int) -> None:
        self._session.change(SPEND, budget=budget, key=key, meter=meter, at_ms=at_ms)

    def spent(self, budget: str, key: str | None, since_ms: int) -> Sequence[tuple[str, int]]:
        if key is None:
            return [(meter, at_ms) for meter, at_ms in self._session.rows(SPENT, budget=budget, since=since_ms)]
        return [(meter, at_ms) for meter, at_ms in self._session.rows(SPENT_BY, budget=budget, key=key, since=since_ms)]

    def unspend(self, budget: str, key: str, meter: str) -> None:
        self._session.change(UNSPEND, budget=budget, key=key, meter=meter)

    def forget_spent(self, before_ms: int) -> None:
        self._session.change(FORGET, before=before_ms)


def _permission(row: Row) -> CutPermission:
    number, account, cause, origin, given_ms, until_ms, evidence, withdrawn_ms = row
    return CutPermission(number, account, cause, origin, given_ms, until_ms, decode(evidence, dict[str, str]), withdrawn_ms)
