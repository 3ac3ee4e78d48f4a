"""Two-phase transfers: money on its way is pending, and arrives or comes back exactly once (prepayment.md 1 and c2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.domain.transfers import (
    RESOLVED,
    Transfer,
    TransferEvent,
    TransferRefused,
    TransferState,
    after,
    begin_entry,
    resolve_entry,
    resolved,
)
from gateway.services import announce
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry

EXPIRED_AT_ONCE = 100
"""Transfers voided in one transaction: some 50 ms in which no payment can be booked; the rest is due as much a moment later."""

_ENDS = {
    TransferEvent.POST: TransferState.POSTED,
    TransferEvent.VOID: TransferState.VOIDED,
    TransferEvent.EXPIRE: TransferState.VOIDED,
}


def begin(tx: Tx, wanted: Transfer) -> Transfer:
    """Put the money aside. The same id with the same content gives the transfer as it stands, whatever became of it.

    TransferRefused: the id is known with another content, or the source has not so much.
    """
    known = tx.transfer(wanted.id)
    if known is not None:
        if not known.same(wanted):
            raise TransferRefused(f"transfer {wanted.id} is known with another content")
        return known
    has = tx.balance(wanted.source, wanted.currency)
    if has < wanted.micro:
        raise TransferRefused(f"{wanted.source} has {has} micro-{wanted.currency}: {wanted.micro} cannot leave it")
    fresh = replace(wanted, state=TransferState.PENDING, resolved=None, resolved_ms=None)
    begun = replace(fresh, pending=post_entry(tx, begin_entry(fresh)).number)
    tx.add_transfer(begun)
    return begun


def post(tx: Tx, ident: str, now_ms: int, why: Mapping[str, str]) -> Transfer:
    """The money arrived. Again: the transfer as it ended. TransferRefused where it was voided."""
    return _end(tx, ident, TransferEvent.POST, now_ms, why)


def void(tx: Tx, ident: str, now_ms: int, why: Mapping[str, str]) -> Transfer:
    """It surely did not, and goes back. Again: the transfer as it ended. TransferRefused where it was posted."""
    return _end(tx, ident, TransferEvent.VOID, now_ms, why)


def doubt(tx: Tx, ident: str, now_ms: int) -> Transfer:
    """Nobody can say: from here on no time-out voids it. TransferRefused where it has ended."""
    known = _known(tx, ident)
    if known.state is TransferState.UNCERTAIN:
        return known
    uncertain = replace(known, state=after(known, TransferEvent.DOUBT, now_ms))
    tx.save_transfer(uncertain)
    return uncertain


def expire_due(tx: Tx, now_ms: int, limit: int = EXPIRED_AT_ONCE) -> int:
    """Void what is pending beyond its time; how many."""
    due = tx.due_transfers(now_ms, limit)
    for transfer in due:
        _end(tx, transfer.id, TransferEvent.EXPIRE, now_ms, {"reason": "its time is over"})
    return len(due)


def expire_and_judge(tx: Tx, site: Site, now_ms: int) -> int:
    """Like expire_due; whose money came back is judged by it, and may have supply again."""
    accounts = {transfer.account: None for transfer in tx.due_transfers(now_ms, EXPIRED_AT_ONCE)}
    voided = expire_due(tx, now_ms)
    for account in accounts:
        if tx.account(account) is not None:
            announce.balance(tx, judge_account(tx, account, site, now_ms), now_ms)
    return voided


def _end(tx: Tx, ident: str, event: TransferEvent, now_ms: int, why: Mapping[str, str]) -> Transfer:
    known = _known(tx, ident)
    if known.state in RESOLVED and known.state is _ENDS[event]:
        return known
    state = after(known, event, now_ms)
    ended = resolved(known, state, post_entry(tx, resolve_entry(known, state, now_ms, why)).number, now_ms)
    tx.save_transfer(ended)
    return ended


def _known(tx: Tx, ident: str) -> Transfer:
    known = tx.transfer(ident)
    if known is None:
        raise TransferRefused(f"transfer {ident} is not known here")
    return known
