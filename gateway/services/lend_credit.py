"""Emergency credit: lent by an entry of the ledger, given back out of what is paid (prepayment.md a7)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.domain import ledger
from gateway.domain.credit import given_back, in_force, lends
from gateway.domain.events import EventKind
from gateway.domain.meters import Account, Authority
from gateway.domain.units import DECIMALS, format_money
from gateway.services import announce
from gateway.services.best_balance import lent_to
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry

BY_ITSELF = "rules"
"""Who lends where the policy says that nobody has to ask."""


def lend(tx: Tx, account: Account, by: str, now_ms: int) -> int:
    """Lend what the policy says; micro-units. The caller has asked whether it may, remembers it, and judges the account."""
    micro = in_force(account.policy, account.agreement).emergency_micro
    shown = format_money(micro, account.currency)
    post_entry(tx, ledger.emergency_credit(account.id, account.currency, micro, now_ms, {"account": account.id, "by": by}))
    tx.add_audit(now_ms, by, "lend_credit", account.id, {"amount": shown, "currency": account.currency})
    announce.event(tx, EventKind.EMERGENCY_LENT, now_ms, account=account.id, amount=shown, currency=account.currency, by=by)
    return micro


def may_lend(account: Account, lent_micro: int, balance_micro: int) -> bool:
    """Whether emergency credit may be taken now; the meter's own wallet lends by itself."""
    policy = in_force(account.policy, account.agreement)
    if lent_micro > 0 or account.authority is Authority.METER or account.closed:
        return False
    return lends(policy, account.credit, account.standing, balance_micro)


def take_back(tx: Tx, account: Account, before_micro: int, entry: int, now_ms: int) -> int:
    """Out of a payment (posted by this entry) on this balance, the share that goes to emergency credit; in whole units of money."""
    lent = lent_to(tx, account) if account.standing.lent else 0
    if not lent:
        return 0
    after = tx.balance(ledger.customer(account.id), account.currency)
    micro = given_back(in_force(account.policy, account.agreement), before_micro, after, lent)
    micro -= micro % int(10 ** (6 - DECIMALS[account.currency]))  # so that the receipt's parts sum to the amount
    if micro:
        _recover(tx, account, micro, {"topup": str(entry)}, now_ms)
    return micro


def take_rest(tx: Tx, account: Account, micro: int, now_ms: int) -> None:
    """All that is still lent, once nobody needs it."""
    _recover(tx, account, micro, {"reason": "not used"}, now_ms)


def _recover(tx: Tx, account: Account, micro: int, why: Mapping[str, str], now_ms: int) -> None:
    post_entry(tx, ledger.emergency_recovery(account.id, account.currency, micro, now_ms, {"account": account.id, **why}))
