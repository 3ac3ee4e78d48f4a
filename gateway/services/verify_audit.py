"""Whether the audit log is what was written: every row chained to the one before, none missing at its end (prepayment.md 5)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.domain.approvals import AuditRow
from gateway.domain.audit_chain import AuditWalk
from gateway.services.ports import Tx

PAGE = 1000
"""Rows read at once."""


def audit_log(tx: Tx) -> Iterator[AuditRow]:
    """All of it, oldest first."""
    after = 0
    while page := tx.audit_rows(after, PAGE):
        yield from page
        after = page[-1].number


def verify_audit(tx: Tx) -> str | None:
    """The first thing wrong, in one sentence."""
    walk = AuditWalk()
    walk.take(audit_log(tx))
    walk.end(tx.audit_end())
    return walk.finding
