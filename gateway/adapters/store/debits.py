"""Traces of bank lines, mandates and debits, on SQLite and PostgreSQL (services/debit_ports)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import BindParameter, bindparam, or_, select, update

from gateway.adapters.store import schema_debit as schema
from gateway.adapters.store.statements import Part, Row, Statement, inserting, once
from gateway.domain.mandates import Batch, DebitLine, DebitState, Mandate, MandateState
from gateway.domain.traces import Trace
from gateway.services.ports import Duplicate

MOST_TRACES = 64
"""Payments of a bank that say the same in field 90: beyond some terminals of one institution in one second it is no naming."""

_t, _m, _b, _l = schema.trace.c, schema.mandate.c, schema.batch.c, schema.line.c
_bank: BindParameter[str] = bindparam("bank")

TRACES = Statement(
    select(schema.trace)
    .where(_t.bank == bindparam("bank"), _t.original == bindparam("original"))
    .order_by(_t.scope, _t.serial).limit(MOST_TRACES)
)  # fmt: skip
ADD_TRACE = once(schema.trace, "bank", "original", "scope", "serial")

MANDATE = Statement(select(schema.mandate).where(_m.id == bindparam("wanted")))
MANDATES = Statement(
    select(schema.mandate)
    .where(or_(_bank == "", _m.bank == _bank), _m.id > bindparam("after"))
    .order_by(_m.id).limit(bindparam("most"))
)  # fmt: skip
SIGNED = Statement(select(_m.id).where(_m.account == bindparam("account"), _m.state == "signed"))
ADD_MANDATE = once(schema.mandate, "id")
END_MANDATE = Statement(
    update(schema.mandate).where(_m.id == bindparam("wanted")).values(state=bindparam("now"), ended_ms=bindparam("at"))
)

BATCH = Statement(select(schema.batch).where(_b.id == bindparam("wanted")))
BATCHES = Statement(select(schema.batch).order_by(_b.accounting_date.desc(), _b.id).limit(bindparam("most")))
ADD_BATCH = once(schema.batch, "id")
ADD_LINE = Statement(inserting(schema.line))
LINE = Statement(select(schema.line).where(_l.bank == bindparam("bank"), _l.serial == bindparam("serial")))
LINES = Statement(select(schema.line).where(_l.batch == bindparam("wanted")).order_by(_l.number))
OPEN_LINE = Statement(select(schema.line).where(_l.mandate == bindparam("wanted"), _l.state == "sent"))
SAVE_LINE = Statement(
    update(schema.line)
    .where(_l.batch == bindparam("in_batch"), _l.number == bindparam("at"), _l.state == "sent")
    .values(state=bindparam("now"), said=bindparam("words"))
)


class Debits(Part):
    """Their share of a transaction."""

    def traces(self, bank: str, original: str) -> Sequence[Trace]:
        return [
            Trace(bank, original, scope, serial, json.loads(parts), bool(early))
            for _, _, scope, serial, parts, early in self._session.rows(TRACES, bank=bank, original=original)
        ]

    def add_trace(self, trace: Trace) -> None:
        if not self._session.change(ADD_TRACE, **{**asdict(trace), "parts": json.dumps(dict(trace.parts), sort_keys=True)}):
            raise Duplicate(f"trace {trace.original} with serial {trace.serial}")

    def mandate(self, mandate: str) -> Mandate | None:
        row = self._session.row(MANDATE, wanted=mandate)
        return None if row is None else _mandate(row)

    def mandates(self, bank: str | None, after: str, limit: int) -> Sequence[Mandate]:
        return [_mandate(row) for row in self._session.rows(MANDATES, bank=bank or "", after=after, most=limit)]

    def save_mandate(self, mandate: Mandate) -> None:
        signed = self._session.row(SIGNED, account=mandate.account)
        if mandate.state is MandateState.SIGNED and signed is not None and signed[0] != mandate.id:
            raise Duplicate(f"account {mandate.account} has mandate {signed[0]}")
        if not self._session.change(ADD_MANDATE, **asdict(mandate)):
            self._session.change(END_MANDATE, wanted=mandate.id, now=mandate.state, at=mandate.ended_ms)

    def batch(self, batch: str) -> Batch | None:
        row = self._session.row(BATCH, wanted=batch)
        return None if row is None else Batch(*row)

    def batches(self, limit: int) -> Sequence[Batch]:
        return [Batch(*row) for row in self._session.rows(BATCHES, most=limit)]

    def add_batch(self, batch: Batch, lines: Sequence[DebitLine]) -> None:
        waiting = next((each.mandate for each in lines if self.open_debit(each.mandate) is not None), None)
        if waiting is not None:
            raise Duplicate(f"mandate {waiting} waits for a result")
        if not self._session.change(ADD_BATCH, **asdict(batch)):
            raise Duplicate(f"batch {batch.id}")
        for line in lines:
            self._session.change(ADD_LINE, **asdict(line))

    def debit_line(self, bank: str, serial: str) -> DebitLine | None:
        row = self._session.row(LINE, bank=bank, serial=serial)
        return None if row is None else _line(row)

    def debit_lines(self, batch: str) -> Sequence[DebitLine]:
        return [_line(row) for row in self._session.rows(LINES, wanted=batch)]

    def open_debit(self, mandate: str) -> DebitLine | None:
        row = self._session.row(OPEN_LINE, wanted=mandate)
        return None if row is None else _line(row)

    def save_debit_line(self, line: DebitLine) -> None:
        self._session.change(SAVE_LINE, in_batch=line.batch, at=line.number, now=line.state, words=line.said)


def _mandate(row: Row) -> Mandate:
    return Mandate(*(*row[:8], MandateState(row[8]), *row[9:]))


def _line(row: Row) -> DebitLine:
    return DebitLine(*(*row[:9], DebitState(row[9]), row[10]))
