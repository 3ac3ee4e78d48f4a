"""Supply protect of an account: whoever asks owns it, and it ends by itself (prepayment.md 4)."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.events import EventKind
from gateway.domain.requests import Protection
from gateway.services import announce
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx

LONGEST_MS = 366 * 24 * 60 * 60 * 1000
"""Longer than a year is no protection but an account that is never cut, which its archive says."""


def protect_account(tx: Tx, wanted: Protection, site: Site, now_ms: int) -> str | None:
    """Begin, prolong or end the protection of an account. None when done, else why not, in one sentence.

    Beginning lifts a cut for debt and orders the light back. Ending cuts nobody: debt is judged anew at the next reading, and
    only a new notice leads to a cut.
    """
    account = tx.account(wanted.account)
    if account is None:
        return f"account {wanted.account} is not known here"
    until_ms = wanted.until_ms
    if until_ms is not None and not now_ms < until_ms <= now_ms + LONGEST_MS:
        return "protection ends in the future, at most 366 days from now"
    if until_ms is None and not account.protected(now_ms):
        return f"account {account.id} is not protected"
    protected = replace(account, protect_until_ms=until_ms)
    if until_ms is None:
        protected = replace(protected, warned_ms=None)
    tx.save_account(protected)
    kind = EventKind.SUPPLY_UNPROTECTED if until_ms is None else EventKind.SUPPLY_PROTECTED
    announce.event(tx, kind, now_ms, account=account.id, owner=wanted.owner, reason=wanted.reason, until_ms=until_ms)
    if until_ms is not None:
        judge_account(tx, account.id, site, now_ms)
    return None
