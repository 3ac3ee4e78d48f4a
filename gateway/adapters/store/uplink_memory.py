"""What the uplink remembers, on SQLite and PostgreSQL (services/uplink_ports)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import BigInteger, Integer, bindparam, case, func, literal_column, select, update

from gateway.adapters.store.schema_uplink import anchor, uplink_key, uplink_order, waits
from gateway.adapters.store.statements import Part, Row, Statement, inserting, once, upsert
from gateway.domain.uplink_keys import KeyRole, UplinkKey
from gateway.domain.uplink_orders import SWITCHING, Anchor, UplinkOrder
from gateway.services.ports import Duplicate

_k, _o, _a = uplink_key.c, uplink_order.c, anchor.c
_columns = select(*(column for column in _o if column.name != "number"))
_most = bindparam("most", type_=Integer)
_moving = _o.verb.in_([literal_column(f"'{verb}'") for verb in sorted(SWITCHING)])
_changing = ("state", "changed_ms", "code", "reason", "answer")
_scope = ("gateways", "verbs", "meters", "accounts", "causes")

KEYS = Statement(select(uplink_key).order_by(_k.kid))
KEY = Statement(select(uplink_key).where(_k.kid == bindparam("wanted")))
SAVE_KEY = upsert(uplink_key)

ADD = once(uplink_order, "id", without="number")
ORDER = Statement(_columns.where(_o.id == bindparam("wanted")))
SAVE = Statement(
    update(uplink_order).where(_o.id == bindparam("wanted"), waits).values({name: bindparam(f"new_{name}") for name in _changing})
)
_voucher = case((_o.verb == literal_column("'topup'"), literal_column("1")), else_=literal_column("0"))
OPEN = Statement(_columns.where(waits).order_by(_voucher, _o.number).limit(_most))
NEWEST = Statement(_columns.order_by(_o.number.desc()).limit(_most))
BY_COUNTER = Statement(
    select(_o.id)
    .where(_o.kid == bindparam("kid"), _o.counter == bindparam("counter", type_=BigInteger))
    .order_by(_o.number)
    .limit(1)
)
LAST_COUNTER = Statement(select(func.max(_o.counter)).where(_o.kid == bindparam("kid"), _o.meter == bindparam("meter"), _moving))

ADD_ANCHOR = Statement(inserting(anchor))
ANCHORS = Statement(select(anchor).where(_a.number > bindparam("after", type_=BigInteger)).order_by(_a.number).limit(_most))
LAST_ANCHOR = Statement(select(anchor).order_by(_a.number.desc()).limit(1))


class UplinkMemory(Part):
    """The uplink's share of a transaction."""

    def uplink_keys(self) -> Sequence[UplinkKey]:
        return [_key(row) for row in self._session.rows(KEYS)]

    def uplink_key(self, kid: str) -> UplinkKey | None:
        row = self._session.row(KEY, wanted=kid)
        return None if row is None else _key(row)

    def save_uplink_key(self, key: UplinkKey) -> None:
        scope = {**{name: getattr(key, name) for name in _scope}, "most": dict(key.most or {})}
        self._session.change(
            SAVE_KEY,
            kid=key.kid,
            public=key.public,
            role=key.role.value,
            holder=key.holder,
            scope=json.dumps(scope, sort_keys=True),
            created_ms=key.created_ms,
            from_ms=key.from_ms,
            until_ms=key.until_ms,
            revoked_ms=key.revoked_ms,
            filed=key.filed,
        )

    def add_uplink_order(self, order: UplinkOrder) -> None:
        if not self._session.change(ADD, **asdict(order)):
            raise Duplicate(f"order {order.id} is there already")

    def uplink_order(self, order: str) -> UplinkOrder | None:
        row = self._session.row(ORDER, wanted=order)
        return None if row is None else UplinkOrder(*row)

    def save_uplink_order(self, order: UplinkOrder) -> None:
        new = {f"new_{name}": getattr(order, name) for name in _changing}
        if not self._session.change(SAVE, wanted=order.id, **new):
            raise LookupError(f"order {order.id} is answered, or was never added")

    def open_uplink_orders(self, limit: int) -> Sequence[UplinkOrder]:
        return [UplinkOrder(*row) for row in self._session.rows(OPEN, most=limit)]

    def uplink_orders(self, limit: int) -> Sequence[UplinkOrder]:
        return [UplinkOrder(*row) for row in self._session.rows(NEWEST, most=limit)]

    def order_by_counter(self, kid: str, counter: int) -> str | None:
        row = self._session.row(BY_COUNTER, kid=kid, counter=counter)
        return None if row is None else str(row[0])

    def last_counter(self, kid: str, meter: str) -> int | None:
        row = self._session.row(LAST_COUNTER, kid=kid, meter=meter)
        return None if row is None or row[0] is None else int(row[0])

    def add_anchor(self, anchor: Anchor) -> None:
        (audit_number, audit_hash), (ledger_number, ledger_hash) = anchor.audit, anchor.ledger
        self._session.change(
            ADD_ANCHOR,
            number=anchor.number,
            at_ms=anchor.at_ms,
            epoch=anchor.epoch,
            audit_number=audit_number,
            audit_hash=audit_hash,
            ledger_number=ledger_number,
            ledger_hash=ledger_hash,
            jws=anchor.jws,
        )

    def anchors(self, after: int, limit: int) -> Sequence[Anchor]:
        return [_anchor(row) for row in self._session.rows(ANCHORS, after=after, most=limit)]

    def last_anchor(self) -> Anchor | None:
        row = self._session.row(LAST_ANCHOR)
        return None if row is None else _anchor(row)


def _key(row: Row) -> UplinkKey:
    kid, public, role, holder, scope, created_ms, from_ms, until_ms, revoked_ms, filed = row
    kept = json.loads(scope)
    names = {name: tuple(kept[name]) for name in _scope}
    return UplinkKey(
        kid, public, KeyRole(role), holder, **names, most=kept["most"], created_ms=created_ms, from_ms=from_ms, until_ms=until_ms,
        revoked_ms=revoked_ms, filed=bool(filed),
    )  # fmt: skip


def _anchor(row: Row) -> Anchor:
    number, at_ms, epoch, audit_number, audit_hash, ledger_number, ledger_hash, jws = row
    return Anchor(number, at_ms, epoch, (audit_number, audit_hash), (ledger_number, ledger_hash), jws)
