"""A customer takes the emergency credit that is offered, or somebody does it for him (prepayment.md a7)."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.credit import in_force
from gateway.domain.units import format_money
from gateway.services.best_balance import lent_to
from gateway.services.judge_account import judge_account
from gateway.services.lend_credit import lend, may_lend
from gateway.services.ports import Site, Tx


def accept_credit(tx: Tx, account_id: str, who: str, site: Site, now_ms: int) -> str | None:
    """Lend it, and judge supply at once. None when done, else why not, in one sentence. who: for the audit log."""
    account = tx.account(account_id)
    if account is None:
        return f"account {account_id} is not known here"
    policy, lent = in_force(account.policy, account.agreement), lent_to(tx, account)
    if not policy.emergency_micro:
        return f"there is no emergency credit for account {account.id}"
    if lent or account.standing.lent:
        return f"account {account.id} took its emergency credit: it is offered again when that is repaid"
    balance = tx.balance(ledger.customer(account.id), account.currency)
    if balance > policy.emergency_at_micro:
        at = format_money(policy.emergency_at_micro, account.currency)
        return f"emergency credit is offered at {at} {account.currency} or below"
    if not may_lend(account, lent, balance):
        return f"emergency credit would not give supply back to account {account.id}: more is owed"
    lend(tx, account, who, now_ms)
    tx.save_account(replace(account, standing=replace(account.standing, lent=True, offered_ms=None)))
    judge_account(tx, account.id, site, now_ms)
    return None
