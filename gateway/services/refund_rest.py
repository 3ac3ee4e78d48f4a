"""Money goes back to a customer: put aside by one person, paid out by another with a receipt, or given back to the account.

A two-phase transfer from the customer's balance to whoever pays it out (prepayment.md c2 and "What we decided" 6).
"""

from __future__ import annotations

import json

from gateway.domain import ledger
from gateway.domain.events import EventKind, Json
from gateway.domain.life import Act, RefundRest, Refusal
from gateway.domain.meters import Account
from gateway.domain.requests import valid_id, valid_serial
from gateway.domain.transfers import RESOLVED, Transfer, TransferRefused
from gateway.domain.units import DECIMALS, MICRO, format_money
from gateway.services import announce, transfer
from gateway.services.acts import Answer, done, known
from gateway.services.change_meter import nothing_inside
from gateway.services.judge_account import judge_account
from gateway.services.money_held import must_be_open
from gateway.services.ports import Site, Tx

REFUND, PAY, VOID = "refund", "refund_paid", "refund_voided"
"""As they stand in the audit log."""

ALONE_MS = 15 * 60 * 1000
"""Who is alone on a site pays out no sooner than this after having put the money aside (prepayment.md 6)."""


def refund_rest(tx: Tx, order: RefundRest, site: Site, now_ms: int) -> Answer:
    """Put money of an account aside, to be paid out. Raises Refusal or MoneyHeld; then nothing has changed."""
    act = order.act
    if (told := known(tx, act, REFUND)) is not None:
        return told
    account = _account(tx, order.account)
    told = put_aside(tx, order, account, now_ms)
    if not account.closed:
        judge_account(tx, account.id, site, now_ms)
    return done(tx, act, REFUND, account.id, told, now_ms, _texts(told))


def put_aside(tx: Tx, order: RefundRest, account: Account, now_ms: int) -> Answer:
    """The transfer's first half; what is told of it. Judges nobody. Raises Refusal or MoneyHeld."""
    must_be_open(tx)
    if not valid_id(order.via):
        raise Refusal("a refund is paid out by `counter` or a bank's id")
    for meter in tx.meters_of(account.id):
        nothing_inside(tx, meter)
    has, step = tx.balance(ledger.customer(account.id), account.currency), MICRO // 10 ** DECIMALS[account.currency]
    micro = has - has % step if order.micro is None else order.micro
    if micro <= 0 or micro % step:
        raise Refusal(
            f"account {account.id} has nothing to refund" if micro <= 0 else f"nobody can pay out parts of 0.01 {account.currency}"
        )
    wanted = Transfer(
        f"refund:{order.act.id}", account.id, account.currency, micro,
        ledger.customer(account.id), ledger.bank_clearing(order.via), now_ms,
    )  # fmt: skip
    try:
        begun = transfer.begin(tx, wanted)
    except TransferRefused:
        shown = format_money(has, account.currency)
        raise Refusal(f"account {account.id} has {shown} {account.currency}, less than is to be refunded") from None
    tx.set_meta(begun.id, json.dumps({"by": order.act.by, "via": order.via}))
    amount = format_money(micro, account.currency)
    told: Answer = {"refund": order.act.id, "account": account.id, "amount": amount, "currency": account.currency, "via": order.via}
    announce.event(tx, EventKind.REFUND_BEGUN, now_ms, meter=None, account=account.id, by=order.act.by, **_but(told, "account"))
    announce.balance(tx, account, now_ms)
    return told | {"state": "pending"}


def pay_refund(tx: Tx, act: Act, refund: str, receipt: str, site: Site, now_ms: int) -> Answer:
    """It was paid out, against this receipt, by another person than put it aside. Raises Refusal."""
    if (told := known(tx, act, PAY)) is not None:
        return told
    pending, kept = _pending(tx, refund)
    if not valid_serial(receipt):
        raise Refusal("a receipt's number is 1 to 64 letters, digits, ., _, : or -")
    alone = act.by.strip().casefold() == str(kept["by"]).strip().casefold()
    if alone and not (site.one_person and now_ms - pending.begun_ms >= ALONE_MS):
        after = "; alone, 15 minutes after having put it aside" if site.one_person else ""
        raise Refusal(f"another person than {kept['by']}, who put it aside, pays it out{after}")
    ended = transfer.post(tx, pending.id, now_ms, {"receipt": receipt, "by": act.by, "via": str(kept["via"])})
    told = {**_told(refund, ended), "via": str(kept["via"]), "receipt": receipt}
    announce.event(
        tx, EventKind.REFUND_PAID, now_ms, meter=None, account=ended.account, by=act.by, **_but(told, "account", "state")
    )
    return done(tx, act, PAY, ended.account, told, now_ms, _texts(told))


def void_refund(tx: Tx, act: Act, refund: str, site: Site, now_ms: int) -> Answer:
    """It was not paid out, and goes back to the account. Raises Refusal."""
    if (told := known(tx, act, VOID)) is not None:
        return told
    pending, _ = _pending(tx, refund)
    ended = transfer.void(tx, pending.id, now_ms, {"reason": act.reason, "by": act.by})
    account = _account(tx, ended.account)
    if not account.closed:
        account = judge_account(tx, account.id, site, now_ms)
    told = _told(refund, ended)
    announce.event(tx, EventKind.REFUND_VOIDED, now_ms, meter=None, account=account.id, by=act.by, **_but(told, "account", "state"))
    announce.balance(tx, account, now_ms)
    return done(tx, act, VOID, account.id, told, now_ms, _texts(told))


def _account(tx: Tx, ident: str) -> Account:
    account = tx.account(ident)
    if account is None:
        raise Refusal(f"account {ident} is not known here")
    return account


def _pending(tx: Tx, refund: str) -> tuple[Transfer, dict[str, Json]]:
    found = tx.transfer(f"refund:{refund}")
    kept: dict[str, Json] = json.loads(tx.meta(f"refund:{refund}") or "{}")
    if found is None:
        raise Refusal(f"refund {refund} is not known here")
    if found.state in RESOLVED:
        raise Refusal(f"refund {refund} was {'paid out' if found.state == 'posted' else 'given back to the account'} already")
    return found, kept


def _told(refund: str, ended: Transfer) -> Answer:
    amount = format_money(ended.micro, ended.currency)
    return {"refund": refund, "account": ended.account, "amount": amount, "currency": ended.currency, "state": ended.state.value}


def _but(told: Answer, *names: str) -> Answer:
    return {key: value for key, value in told.items() if key not in names}


def _texts(told: Answer) -> dict[str, str]:
    return {key: str(value) for key, value in told.items()}
