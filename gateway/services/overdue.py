"""What of an account's bills is overdue, where it has no prepayment agreement (prepayment.md a5)."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from gateway.domain import ledger
from gateway.domain.credit import PostPaid
from gateway.domain.meters import Account
from gateway.domain.slots import local_of, midnight
from gateway.services.ports import Tx

LOOKED_AT = 1_000
"""Moves of a balance per read: a month of quarter-hours is three of them."""


def overdue(tx: Tx, account: Account, profile: PostPaid, zone: str, now_ms: int) -> int:
    """Micro-units owed at the end of the last local month whose bill has been overdue for so long, and not paid since."""
    book, currency = ledger.customer(account.id), account.currency
    number = tx.entry_before(_month_end(now_ms - profile.due.ms - profile.overdue.ms, ZoneInfo(zone)))
    owed = -tx.balance_at(book, currency, number)
    end = tx.journal_end()[0]
    while owed > 0 and number < end:
        moves = tx.moves_on(book, number, end, LOOKED_AT)
        owed -= sum(move.micro for move in moves if move.micro > 0 and move.currency == currency)
        if len(moves) < LOOKED_AT:
            break
        number = moves[-1].number
    return max(owed, 0)


def _month_end(at_ms: int, zone: ZoneInfo) -> int:
    """When the local month of this moment began: the last one had ended by then."""
    day = local_of(at_ms, zone).date()
    return midnight(date(day.year, day.month, 1), zone)
