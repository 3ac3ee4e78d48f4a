"""What a bank may bring to an account now, as `apply_topup` would take it, and what is owed there (contract.md 3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from gateway.domain import ledger
from gateway.domain.bank_acts import Accepted
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.meters import Account, Authority
from gateway.domain.units import DECIMALS
from gateway.services.apply_topup import MOST_BALANCE_MICRO
from gateway.services.best_balance import lent_to
from gateway.services.ports import Tx
from gateway.services.wallet_word import held_micro, told_micro, wallet_of


def accepted_now(tx: Tx, account: Account, terms: PartnerTerms, today: date) -> Accepted:
    """Reads only. Limits of single channels are not in it: nobody has said by which one it would be paid."""
    unit = int(10 ** (6 - DECIMALS[account.currency]))
    held = held_micro(tx, account)
    most = [MOST_BALANCE_MICRO - max(0, held), *_rooms(tx, account, held)]
    lowest = unit
    if terms.currency == account.currency:
        lowest = max(lowest, terms.limits.least_micro or 0)
        most += _left(tx, account, terms, today.isoformat())
    highest = max(0, min(most))
    highest -= highest % unit
    taken = not account.closed and highest >= lowest and tx.closed_day(terms.bank, today.isoformat()) is None
    return Accepted(held, lowest, highest, dict(_debts(tx, account)), taken)


def _rooms(tx: Tx, account: Account, held: int) -> Iterator[int]:
    """Up to the hoarding limits, ours and the meter's."""
    if account.policy.hoard_micro > 0:
        yield account.policy.hoard_micro - held + (lent_to(tx, account) if account.standing.lent else 0)
    found = wallet_of(tx, account.id) if account.authority is Authority.METER else None
    told = told_micro(tx, account.id) if found is not None else None
    if found is not None and told is not None and found[1].memory.hoarding_micro:
        yield found[1].memory.hoarding_micro - told


def _left(tx: Tx, account: Account, terms: PartnerTerms, day: str) -> Iterator[int]:
    """Of the bank's limits of one payment, of the account's and of all its day, and of its quota."""
    limits = terms.limits
    if limits.payment_micro is not None:
        yield limits.payment_micro
    if limits.account_day_micro is not None or limits.account_day_count is not None:
        taken = tx.account_taken(terms.bank, day, account.id, account.currency)
        if limits.account_day_micro is not None:
            yield limits.account_day_micro - taken.micro
        if limits.account_day_count is not None and taken.count >= limits.account_day_count:
            yield 0
    if limits.day_micro is not None or limits.day_count is not None:
        counted = tx.takings(terms.bank, day, "") or tx.count_takings(terms.bank, day, "", terms.currency)
        if limits.day_micro is not None:
            yield limits.day_micro - counted.micro
        if limits.day_count is not None and counted.count >= limits.day_count:
            yield 0
    if terms.quota_micro is not None:
        yield terms.quota_micro + tx.balance(ledger.bank_clearing(terms.bank), terms.currency)


def _debts(tx: Tx, account: Account) -> Iterator[tuple[str, int]]:
    """What is owed, by kind; a balance below zero says itself what it is."""
    owed = -tx.balance(ledger.debt(account.id), account.currency)
    if owed > 0:
        yield "energy" if account.debt is None or account.debt.cut_relevant else "other", owed
    if account.standing.lent and (lent := lent_to(tx, account)) > 0:
        yield "emergency_credit", lent
