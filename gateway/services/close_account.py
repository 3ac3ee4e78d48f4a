"""A customer goes for good: last registers, last charge and fees, what is owed, the light, the rest of the money, the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.credit import CreditState
from gateway.domain.events import EventKind, Json
from gateway.domain.ledger import Entry
from gateway.domain.life import CloseAccount, Installed, OnDebt, RefundRest, Refusal, SupplyAfter
from gateway.domain.limits import WITHIN_LIMIT
from gateway.domain.meters import NO_MEMORY, NO_STANDING, Account, Meter
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import CutCause, Verb
from gateway.domain.units import DECIMALS, MICRO, format_money
from gateway.services import announce
from gateway.services.accrue_fees import accrue_fees, fees_due
from gateway.services.acts import Answer, done, known, must_be_two
from gateway.services.findings import over
from gateway.services.money_held import must_be_open
from gateway.services.move_meter import hand_over, tell_moved
from gateway.services.order_supply import order_supply
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry
from gateway.services.refund_rest import put_aside
from gateway.services.switching import CUT_LIVES_MS

CLOSE = "close_account"
"""As it stands in the audit log."""

_Recovery = Callable[[str, str, int, int, Mapping[str, str]], Entry]

MOST_CATCH_UP = 64
"""Rounds of 31 days in which fees are caught up: five years in which nobody looked."""


def close_account(tx: Tx, order: CloseAccount, site: Site, now_ms: int) -> Answer:
    """Close it for ever; what became of its money and meters. Raises Refusal or MoneyHeld; then nothing has changed.

    Fees of whole days are booked up to the last midnight. From then on payments are refused (account_closed).
    """
    act = order.act
    if (told := known(tx, act, CLOSE)) is not None:
        return told
    account = _may_be_closed(tx, order)
    for _ in range(MOST_CATCH_UP):
        if not fees_due(tx, account.id, now_ms) or not accrue_fees(tx, account.id, site, now_ms):
            break
    meters: list[Json] = [_let_go(tx, installed, order, site, now_ms) for installed in order.meters]
    _settle(tx, account, order, now_ms)
    closed = replace(
        tx.account(account.id) or account, closed=True, credit=CreditState.NORMAL, warned_ms=None, limit_state=WITHIN_LIMIT,
        standing=NO_STANDING, limit_memory=NO_MEMORY, protect_until_ms=None,
    )  # fmt: skip
    tx.save_account(closed)
    refund = _refund(tx, closed, order, now_ms)
    for finding in tx.findings():
        if finding.subject == account.id:
            over(tx, finding.kind, account.id, now_ms, account=account.id)
    balance = format_money(tx.balance(ledger.customer(account.id), account.currency), account.currency)
    told = {"account": account.id, "balance": balance, "currency": account.currency, "meters": meters, "refund": refund}
    announce.event(tx, EventKind.ACCOUNT_CLOSED, now_ms, account=account.id, by=act.by, balance=balance, currency=account.currency)
    announce.balance(tx, closed, now_ms)
    refunded = str(refund["amount"]) if refund is not None else ""
    said = {"balance": balance, "refund": refunded, "supply": order.supply.value, "on_debt": order.on_debt.value}
    return done(tx, act, CLOSE, account.id, told, now_ms, said)


def _may_be_closed(tx: Tx, order: CloseAccount) -> Account:
    account = tx.account(order.account)
    if account is None:
        raise Refusal(f"account {order.account} is not known here")
    if account.closed:
        raise Refusal(f"account {account.id} is closed already")
    must_be_open(tx)
    if {meter.id for meter in tx.meters_of(account.id)} != {installed.meter.id for installed in order.meters}:
        raise Refusal(f"the meters of account {account.id} have changed meanwhile; ask again")
    if on_way := tx.balance(ledger.undelivered(account.id), account.currency):
        shown = format_money(on_way, account.currency)
        raise Refusal(
            f"{shown} {account.currency} of account {account.id} are on their way to its meter: wait until that is decided"
        )
    return account


def _let_go(tx: Tx, installed: Installed, order: CloseAccount, site: Site, now_ms: int) -> Json:
    """The last bill of a meter, and its light."""
    old = tx.meter(installed.meter.id) or installed.meter
    if order.supply is SupplyAfter.CUT and old.cuttable:
        _cut(tx, old, order, site, now_ms)
        old = tx.meter(old.id) or old
    at = hand_over(tx, old, installed, order.act, site, now_ms)
    return tell_moved(tx, old, installed.meter, at, order.act, now_ms)


def _cut(tx: Tx, meter: Meter, order: CloseAccount, site: Site, now_ms: int) -> None:
    """By the contract, with all that such a cut needs; the agreement that ends is the plan that was signed."""
    ident = f"{order.act.id[:31]}-{meter.id[:32]}"
    until_ms, cause = now_ms + CUT_LIVES_MS, CutCause.CONTRACT_TIME_TABLE.value
    account = tx.account(order.account)
    facts = {"plan": f"the end of {account.agreement}"} if account is not None and account.agreement else {}
    wanted = SupplyOrder(
        ident, meter.id, Verb.CUT, cause, "operator", until_ms, order.act.who, facts=facts, reason=order.act.reason
    )
    refused = order_supply(tx, wanted, site, now_ms).refused
    if refused is not None:
        raise Refusal(f"supply of meter {meter.id} cannot be cut ({refused}): close the account with supply on")


def _settle(tx: Tx, account: Account, order: CloseAccount, now_ms: int) -> None:
    """Credit pays what was lent, and by agreement what is owed from before; what then is owed is decided by the order."""
    ref = {"account": account.id, "request": order.act.id}
    _set_off(tx, account, ledger.emergency(account.id), ledger.emergency_recovery, ref, now_ms)
    if account.debt is not None:
        agreed = ref | {"agreement": account.debt.agreement}
        _set_off(tx, account, ledger.debt(account.id), ledger.debt_recovery, agreed, now_ms)
    names = (ledger.customer(account.id), ledger.emergency(account.id), ledger.debt(account.id))
    owed = {name: -balance for name in names if (balance := tx.balance(name, account.currency)) < 0}
    if not owed or order.on_debt is OnDebt.KEEP:
        return
    shown = f"{format_money(sum(owed.values()), account.currency)} {account.currency}"
    if order.on_debt is OnDebt.REFUSE:
        raise Refusal(f"account {account.id} owes {shown}: take the payment first, or say what becomes of it (keep or write_off)")
    must_be_two(tx, order.act, f"{shown} are written off")
    for name, micro in owed.items():
        why = ref | {"by": order.act.by, "reason": order.act.reason}
        post_entry(tx, ledger.written_off(name, account.currency, micro, now_ms, why))


def _set_off(tx: Tx, account: Account, name: str, entry: _Recovery, ref: dict[str, str], now_ms: int) -> None:
    has, owed = tx.balance(ledger.customer(account.id), account.currency), -tx.balance(name, account.currency)
    if has > 0 and owed > 0:
        post_entry(tx, entry(account.id, account.currency, min(has, owed), now_ms, ref))


def _refund(tx: Tx, account: Account, order: CloseAccount, now_ms: int) -> Answer | None:
    """What is left is put aside for whoever pays it out; parts that no coin has are given up, so that nothing remains."""
    step = MICRO // 10 ** DECIMALS[account.currency]
    has = tx.balance(ledger.customer(account.id), account.currency)
    if order.refund is None or has <= 0:
        return None
    if part := has % step:
        ref = {"by": order.act.by, "reason": "less than a coin, when the account was closed", "request": order.act.id}
        post_entry(tx, ledger.adjustment(account.id, account.currency, -part, now_ms, ref))
    return put_aside(tx, RefundRest(order.act, account.id, order.refund), account, now_ms) if has >= step else None
