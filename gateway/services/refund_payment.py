"""Money of a payment goes back through its bank on a later day: put aside at once, given out when a second person agrees
(contract.md 3, refunds)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import timedelta

from gateway.domain import ledger
from gateway.domain.approvals import Approval
from gateway.domain.bank_acts import BookedRefund, Refund, RefundState, ReversalState
from gateway.domain.events import EventKind, Json
from gateway.domain.meters import Account, Authority
from gateway.domain.records import Payment
from gateway.domain.requests import PaymentIdentity
from gateway.domain.transfers import Transfer, TransferRefused
from gateway.domain.units import format_money
from gateway.services import announce, transfer
from gateway.services.approve import Act, ask
from gateway.services.judge_account import judge_account
from gateway.services.money_held import SERIES, must_be_open
from gateway.services.ports import InvalidField, Site, Tx
from gateway.services.stamp import rfc3339

REFUND = "bank_refund"
"""The act that waits for its second person."""


class NoRefund(Exception):
    """Why money does not go back: a code of contract.md 3, and a sentence. Binds nothing."""

    def __init__(self, code: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.field = code, detail, field


@dataclass(frozen=True, slots=True)
class RefundOutcome:
    """A refund as it stands, and the id of the approval that it waits for."""

    refund: BookedRefund
    approval: str


def refund_payment(tx: Tx, wanted: Refund, who: str, site: Site, now_ms: int) -> RefundOutcome:
    """Put the money aside and ask for a second person; the same again: as it stands. Raises NoRefund, InvalidField, MoneyHeld.

    A refund that nobody approved in time, or that was refused, goes back to the account and stays voided: another serial asks anew.
    """
    if wanted.amount_micro <= 0:
        raise InvalidField("amount", "a refund is greater than zero")
    approval = approval_of(wanted.identity)
    known = tx.bank_refund(wanted.identity)
    if known is not None:
        for name in ("original", "amount_micro", "currency"):
            if getattr(known, name) != getattr(wanted, name):
                field = {"original": "original_serial", "amount_micro": "amount"}.get(name, name)
                raise NoRefund("serial_conflict", f"serial {wanted.identity.serial} was used before with another {field}", field)
        return RefundOutcome(known, approval)
    must_be_open(tx)
    if abs(wanted.accounting_date - wanted.today) > timedelta(days=1):
        raise InvalidField("accounting_date", f"accounting_date {wanted.accounting_date} is not between yesterday and tomorrow")
    payment, account = _refundable(tx, wanted)
    booked = BookedRefund(
        wanted.identity, wanted.original, wanted.accounting_date.isoformat(), account.id, wanted.amount_micro, wanted.currency,
        wanted.reason, RefundState.ASKED, now_ms,
    )  # fmt: skip
    source = ledger.undelivered(account.id) if account.authority is Authority.METER else ledger.customer(account.id)
    target = ledger.bank_clearing(payment.identity.bank)
    try:
        transfer.begin(tx, Transfer(booked.transfer, account.id, wanted.currency, wanted.amount_micro, source, target, now_ms))
    except TransferRefused:
        has = format_money(max(0, tx.balance(source, wanted.currency)), wanted.currency)
        raise NoRefund("amount_out_of_range", f"account {account.id} has {has} {wanted.currency} left to give back") from None
    tx.add_bank_refund(booked)
    body: dict[str, Json] = {
        "identity": [*_parts(wanted.identity)], "account": account.id, "reason": wanted.reason, "currency": wanted.currency,
        "amount": format_money(wanted.amount_micro, wanted.currency), "original_serial": wanted.original.serial,
    }  # fmt: skip
    refused = ask(tx, approval, REFUND, account.id, body, who, site, now_ms, account=account.id).refused
    if refused is not None:
        raise NoRefund("unavailable", refused)
    if not account.closed:
        account = judge_account(tx, account.id, site, now_ms)
    announce.event(tx, EventKind.REFUND_BEGUN, now_ms, account=account.id, by=who, **_told(booked))
    announce.balance(tx, account, now_ms)
    return RefundOutcome(booked, approval)


def approval_of(identity: PaymentIdentity) -> str:
    """The id under which a refund waits for its second person."""
    return f"refund-{hashlib.sha256(json.dumps(_parts(identity)).encode()).hexdigest()[:24]}"


def _refundable(tx: Tx, wanted: Refund) -> tuple[Payment, Account]:
    payment, serial = tx.payment(wanted.original), wanted.original.serial
    account = tx.account(payment.account) if payment is not None else None
    if payment is None or account is None or payment.entry is None:
        raise NoRefund("not_found", f"nothing is booked under serial {serial}")
    if payment.status == "reversed":
        raise NoRefund("reversed", f"the payment under serial {serial} was reversed")
    undone = tx.bank_reversal(wanted.original)
    if undone is not None and undone.state is ReversalState.PENDING:
        raise NoRefund("unavailable", f"a reversal of serial {serial} is not decided yet: ask again in a quarter of an hour")
    if tx.payment(wanted.identity) is not None:
        raise NoRefund("serial_conflict", f"serial {wanted.identity.serial} is a payment's own", "serial")
    if wanted.currency != payment.currency:
        raise NoRefund("currency_mismatch", f"the payment under serial {serial} is in {payment.currency}", "currency")
    if (day := tx.closed_day(wanted.identity.bank, wanted.accounting_date.isoformat())) is not None:
        raise NoRefund("day_closed", f"accounting date {day.accounting_date} of bank {day.bank} is closed")
    given = sum(each.amount_micro for each in tx.refunds_of(wanted.original) if each.state is not RefundState.VOIDED)
    if wanted.amount_micro > payment.amount_micro - given:
        left = format_money(payment.amount_micro - given, payment.currency)
        raise NoRefund("amount_out_of_range", f"of the payment under serial {serial} 0.01 to {left} {payment.currency} can go back")
    if account.authority is Authority.METER and tx.balance(ledger.undelivered(account.id), wanted.currency) < wanted.amount_micro:
        raise NoRefund("delivered", f"the credit of account {account.id} is in its meter, or on its way there")
    return payment, account


def _give(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    booked = _asked(tx, approval)
    if booked is None:
        return "the refund is decided already"
    if tx.closed_day(booked.identity.bank, booked.accounting_date) is not None:
        _take_back(tx, booked, "its accounting date was closed", site, now_ms)
        return f"accounting date {booked.accounting_date} is closed: ask for it on another one"
    ref = {"bank": booked.identity.bank, "serial": booked.identity.serial, "original_serial": booked.original.serial}
    ref |= {"accounting_date": booked.accounting_date, "by": approval.asked_by, "second": who, "reason": booked.reason}
    ended = transfer.post(tx, booked.transfer, now_ms, ref)
    number = f"{site.gateway}-{tx.meta(SERIES) or ''}{ended.resolved:010d}"
    told = {"refund_no": number, **_told(booked), "paid_at": rfc3339(now_ms), "gateway": site.gateway}
    document = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    tx.save_bank_refund(replace(booked, state=RefundState.PAID, entry=ended.resolved, document=document))
    announce.event(tx, EventKind.REFUND_PAID, now_ms, account=booked.account, by=who, **_told(booked))
    return None


def _void(tx: Tx, approval: Approval, why: str, now_ms: int) -> None:
    booked = _asked(tx, approval)
    if booked is not None:
        _take_back(tx, booked, why, None, now_ms)


def _take_back(tx: Tx, booked: BookedRefund, why: str, site: Site | None, now_ms: int) -> None:
    transfer.void(tx, booked.transfer, now_ms, {"reason": why})
    tx.save_bank_refund(replace(booked, state=RefundState.VOIDED))
    account = tx.account(booked.account)
    announce.event(tx, EventKind.REFUND_VOIDED, now_ms, account=booked.account, **{**_told(booked), "reason": why})
    if account is not None:
        if site is not None and not account.closed:
            account = judge_account(tx, account.id, site, now_ms)
        announce.balance(tx, account, now_ms)


def _asked(tx: Tx, approval: Approval) -> BookedRefund | None:
    bank, institution, scope, serial = json.loads(approval.body)["identity"]
    booked = tx.bank_refund(PaymentIdentity(bank, institution, scope, serial))
    return booked if booked is not None and booked.state is RefundState.ASKED else None


def _told(booked: BookedRefund) -> dict[str, str]:
    return {
        "bank": booked.identity.bank,
        "institution": booked.identity.institution,
        "serial": booked.identity.serial,
        "original_serial": booked.original.serial,
        "accounting_date": booked.accounting_date,
        "amount": format_money(booked.amount_micro, booked.currency),
        "currency": booked.currency,
        "reason": booked.reason,
    }


def _parts(identity: PaymentIdentity) -> tuple[str, str, str, str]:
    return identity.bank, identity.institution, identity.scope, identity.serial


REFUNDING = Act(_give, _void)
"""What an approval of REFUND does, and what its end without one."""
