"""What a person has to look at: each once, open until somebody closes it."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.central import audit, schema

log = structlog.get_logger(__name__)

LISTED = 1000
"""Findings in one list: more at once nobody reads, and the oldest come first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """kind: numbers_lost, dropped_unclear, voucher_refused, reversed_at_gateway, anchor_contradiction, anchor_rewound,
    anchor_unproved."""

    id: int
    gateway: str
    kind: str
    subject: str
    text: str
    at_ms: int


def add(connection: Connection, gateway: str, kind: str, subject: str, text: str, at_ms: int) -> bool:
    """Opens a finding, unless it was there before; whether it is new."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"gateway": gateway, "kind": kind, "subject": subject[:200], "text": text[:1000], "at_ms": at_ms}
    done = connection.execute(dialect.insert(schema.finding).values(row).on_conflict_do_nothing())
    if done.rowcount:
        log.error(f"finding at gateway {gateway}: {text}", kind=kind, subject=subject)
    return bool(done.rowcount)


def listed(connection: Connection) -> list[Finding]:
    """The open ones, oldest first."""
    f = schema.finding.c
    query = select(f.id, f.gateway, f.kind, f.subject, f.text, f.at_ms).where(f.closed_ms.is_(None)).order_by(f.id).limit(LISTED)
    return [Finding(*row) for row in connection.execute(query)]


def close(connection: Connection, number: int, who: str, now_ms: int) -> bool:
    """Closes one; False where there is no such open one."""
    f = schema.finding.c
    statement = update(schema.finding).where(f.id == number, f.closed_ms.is_(None)).values(closed_ms=now_ms, closed_by=who)
    if not connection.execute(statement).rowcount:
        return False
    audit.add(connection, now_ms, f"operator:{who}", "finding_closed", str(number), {})
    return True
