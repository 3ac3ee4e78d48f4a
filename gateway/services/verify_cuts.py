"""Recompute that no cut was sent without a live permission (prepayment.md, "What we decided" 8)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.domain.approvals import AuditRow
from gateway.domain.permissions import CutPermission
from gateway.domain.supply import Command, Verb
from gateway.services.ports import Tx

SINCE = "permissions_since"
"""Key in `meta`: the first start of a gateway that sends no cut without one; what was cut before had none."""

SENT = "send_cut"
"""The act in the audit log that stands before the first byte of a cut."""

PAGE = 5_000
"""Audit rows per read, as of the ledger's entries."""

MOST_COMMANDS = 1_000_000
"""Commands that are looked through: cuts of a century on a site of the size that this is made for."""


def verify_cuts(tx: Tx) -> str | None:
    """The first cut that was sent without a live permission, in one sentence; None when there is none."""
    since_ms = int(tx.meta(SINCE) or 0)
    if not since_ms:
        return None
    for row in _sent(tx):
        finding = _on_a_live_one(tx, row)
        if finding is not None:
            return finding
    named = {row.data.get("command") for row in _sent(tx)}
    for command in tx.commands(MOST_COMMANDS):
        if command.verb is Verb.CUT and command.attempts > 0 and command.created_ms >= since_ms:
            finding = _with_its_own(tx, command, named)
            if finding is not None:
                return finding
    return None


def _sent(tx: Tx) -> Iterator[AuditRow]:
    after = 0
    while rows := tx.audit_rows(after, PAGE):
        yield from (row for row in rows if row.act == SENT)
        after = rows[-1].number


def _on_a_live_one(tx: Tx, row: AuditRow) -> str | None:
    ident, number = row.data.get("command"), row.data.get("permission", "")
    permission = tx.permission(int(number)) if number.isdecimal() else None
    if permission is None:
        return f"audit row {row.number}: cut {ident} was sent on permission {number}, which there is not"
    if not permission.given_ms <= row.at_ms < permission.until_ms:
        return f"audit row {row.number}: cut {ident} was sent on permission {number} when that did not live"
    if permission.withdrawn_ms is not None and permission.withdrawn_ms < row.at_ms:
        return f"audit row {row.number}: cut {ident} was sent on permission {number} after that was withdrawn"
    return None


def _with_its_own(tx: Tx, command: Command, named: set[str | None]) -> str | None:
    if command.id not in named:
        return f"cut {command.id} was sent, and the audit log does not say so"
    permission = None if command.permission is None else tx.permission(command.permission)
    if permission is None:
        return f"cut {command.id} was sent and names no permission"
    return (
        None
        if _covers(permission, command)
        else f"cut {command.id} was sent on permission {permission.number}, which is not for it"
    )


def _covers(permission: CutPermission, command: Command) -> bool:
    meter = permission.evidence.get("meter") if permission.account is None else command.meter
    return (permission.account, permission.cause, meter) == (command.account, command.cause, command.meter)
