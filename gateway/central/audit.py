"""The centre's audit log: every act of money in a hash chain, written in the transaction that does it (domain/audit_chain)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from sqlalchemy import Connection, insert, select, update

from gateway.central import schema
from gateway.central.store import CentralStore
from gateway.domain.approvals import AuditRow
from gateway.domain.audit_chain import AuditWalk, chain
from gateway.domain.ledger import GENESIS

END = "audit_end"
"""In central_meta: number and hash of the last row, so that none can go missing behind it."""

PAGE = 1000
"""Rows in one read of a walk."""

_add, _begin = insert(schema.audit), insert(schema.meta)
_go_on = update(schema.meta).where(schema.meta.c.key == END)
_end = select(schema.meta.c.value).where(schema.meta.c.key == END)


def add(connection: Connection, at_ms: int, who: str, act: str, subject: str, data: Mapping[str, str]) -> None:
    """The next row. who: `bank:BANK/KEY`, `gateway:ID`, `key:KID` or `operator:NAME`. One transaction writes at a time."""
    known = connection.scalar(_end)
    row = chain(_read(known), at_ms, who, act, subject, data)
    values = {"number": row.number, "at_ms": at_ms, "who": who, "act": act, "subject": subject}
    values |= {"data": json.dumps(dict(row.data), ensure_ascii=False, sort_keys=True), "previous": row.previous, "hash": row.hash}
    connection.execute(_add, values)
    end = {"value": f"{row.number} {row.hash}"}
    connection.execute(_begin if known is None else _go_on, {"key": END, **end} if known is None else end)


def rows(connection: Connection) -> Iterator[AuditRow]:
    """All of it, oldest first."""
    a, after = schema.audit.c, 0
    while page := connection.execute(select(schema.audit).where(a.number > after).order_by(a.number).limit(PAGE)).all():
        for row in page:
            said = row._mapping
            yield AuditRow(**{**said, "data": json.loads(said["data"])})
        after = page[-1].number


def walk(store: CentralStore, tell: Callable[[AuditRow], None] = lambda row: None) -> tuple[int, str | None]:
    """Tells every row and verifies the chain: how many there are, and the first thing that is wrong with them."""

    def work(connection: Connection) -> tuple[int, str | None]:
        walked = AuditWalk()
        for row in rows(connection):
            tell(row)
            walked.take((row,))
        walked.end(_read(connection.scalar(_end)))
        return walked.number, walked.finding

    return store.read(work)


def _read(end: str | None) -> tuple[int, str]:
    if end is None:
        return 0, GENESIS
    number, _, value = end.partition(" ")
    return int(number), value
