"""What hangs on entries of the journal: reversals, two-phase transfers, closings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import BigInteger, Integer, bindparam, literal_column, or_, select, update

from gateway.adapters.store import schema
from gateway.adapters.store.statements import Part, Row, Statement, inserting, once
from gateway.domain.records import Closing
from gateway.domain.transfers import Transfer, TransferState
from gateway.services.ports import Duplicate

_r, _t, _c = schema.reversal.c, schema.transfer.c, schema.closing.c
_after, _upto, _number = (bindparam(name, type_=BigInteger) for name in ("after", "upto", "number"))

ADD_REVERSAL = once(schema.reversal, "reverses")
REVERSALS = Statement(select(schema.reversal).where(_r.entry > _after, _r.entry <= _upto))
REVERSED_BY = Statement(select(_r.entry).where(_r.reverses == _number))

TRANSFER = Statement(select(schema.transfer).where(_t.id == bindparam("transfer")))
ADD_TRANSFER = once(schema.transfer, "id")
SAVE_TRANSFER = Statement(
    update(schema.transfer)
    .where(_t.id == bindparam("transfer"))
    .values({name: bindparam(f"new_{name}") for name in ("state", "resolved", "resolved_ms")})
)
DUE = Statement(
    select(schema.transfer)
    .where(_t.state == "pending", _t.due_ms.is_not(None), _t.due_ms <= bindparam("now_ms"))
    .order_by(_t.due_ms)
    .limit(bindparam("most", type_=Integer))
)
_open = _t.state.in_([literal_column("'pending'"), literal_column("'uncertain'")])
OPEN = Statement(select(schema.transfer).where(_t.account == bindparam("owner"), _open).order_by(_t.id))
TRANSFERS = Statement(
    select(schema.transfer).where(
        or_((_t.pending > _after) & (_t.pending <= _upto), (_t.resolved > _after) & (_t.resolved <= _upto))
    )
)

CLOSINGS = Statement(select(_c.entry, _c.upto, _c.hash).order_by(_c.entry))
CLOSING_STATE = Statement(select(_c.state).where(_c.entry == _number))
ADD_CLOSING = Statement(inserting(schema.closing))


class Transfers(Part):
    """Their share of a transaction."""

    def add_reversal(self, entry: int, reverses: int) -> None:
        if not self._session.change(ADD_REVERSAL, entry=entry, reverses=reverses):
            raise Duplicate(f"entry {reverses} is reversed already")

    def reversals(self, after: int, upto: int) -> Mapping[int, int]:
        return {entry: reverses for entry, reverses in self._session.rows(REVERSALS, after=after, upto=upto)}

    def reversed_by(self, number: int) -> int | None:
        row = self._session.row(REVERSED_BY, number=number)
        return None if row is None else int(row[0])

    def transfer(self, transfer: str) -> Transfer | None:
        row = self._session.row(TRANSFER, transfer=transfer)
        return None if row is None else _transfer(row)

    def add_transfer(self, transfer: Transfer) -> None:
        if not self._session.change(ADD_TRANSFER, **asdict(transfer)):
            raise Duplicate(f"transfer {transfer.id} is known already")

    def save_transfer(self, transfer: Transfer) -> None:
        new = {"new_state": transfer.state, "new_resolved": transfer.resolved, "new_resolved_ms": transfer.resolved_ms}
        if not self._session.change(SAVE_TRANSFER, transfer=transfer.id, **new):
            raise LookupError(f"transfer {transfer.id} was never added")

    def due_transfers(self, now_ms: int, limit: int) -> Sequence[Transfer]:
        return [_transfer(row) for row in self._session.rows(DUE, now_ms=now_ms, most=limit)]

    def open_transfers(self, account: str) -> Sequence[Transfer]:
        return [_transfer(row) for row in self._session.rows(OPEN, owner=account)]

    def transfers(self, after: int, upto: int) -> Sequence[Transfer]:
        return [_transfer(row) for row in self._session.rows(TRANSFERS, after=after, upto=upto)]

    def closings(self) -> Sequence[Closing]:
        return [Closing(*row) for row in self._session.rows(CLOSINGS)]

    def closing_state(self, entry: int) -> str | None:
        row = self._session.row(CLOSING_STATE, number=entry)
        return None if row is None else str(row[0])

    def add_closing(self, closing: Closing, state: str) -> None:
        self._session.change(ADD_CLOSING, entry=closing.entry, upto=closing.upto, hash=closing.hash, state=state)


def _transfer(row: Row) -> Transfer:
    ident, account, currency, micro, source, target, begun_ms, due_ms, state, *end = row
    return Transfer(ident, account, currency, micro, source, target, begun_ms, due_ms, TransferState(state), *end)
