"""A bank takes a payment back, whole, on its day; also one that has not come yet (contract.md 3)."""

from __future__ import annotations

import json
from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.bank_acts import (
    DECIDED_WITHIN_MS,
    BookedReversal,
    ClosedDay,
    Origin,
    RefundState,
    Reversal,
    ReversalOutcome,
    ReversalState,
    ReversalVerdict,
)
from gateway.domain.events import EventKind
from gateway.domain.ledger import EntryKind
from gateway.domain.meters import Account, Authority
from gateway.domain.records import Payment
from gateway.domain.units import format_money
from gateway.domain.wallets import Delivery, DeliveryState
from gateway.services import announce
from gateway.services.bank_limits import count_out
from gateway.services.correct_entry import CannotCorrect, reverse
from gateway.services.deliveries import delivery_state, end_if_due
from gateway.services.judge_account import judge_account
from gateway.services.money_held import SERIES, must_be_open
from gateway.services.ports import InvalidField, Site, Tx
from gateway.services.post_entry import Overdrawn
from gateway.services.stamp import rfc3339
from gateway.services.wallet_word import held_micro

SHARES = frozenset({EntryKind.DEBT_RECOVERY, EntryKind.EMERGENCY_RECOVERY})
"""What a payment gave away in the entries right behind its own; it comes back first."""

MOST_SHARES = 2
"""One share for a debt and one for what was lent."""


def reverse_topup(tx: Tx, reversal: Reversal, site: Site, now_ms: int) -> ReversalOutcome:
    """Undo a payment, or say why it stands; the same identity again, whatever its reversal_serial, gets the same answer.

    Unknown: a tombstone with this identity refuses the payment for ever. Refused: there is nothing to reverse. Held here: undone
    at once, also below zero. In a meter: see `decide`. InvalidField (another amount or currency than was paid) and MoneyHeld bind
    nothing.
    """
    payment = tx.payment(reversal.identity)
    if payment is None:
        return _bury(tx, reversal, site, now_ms)
    if payment.status == "refused":
        return ReversalOutcome(ReversalVerdict.NOTHING, payment, repeated=True)
    for name in ("amount_micro", "currency"):
        if getattr(payment, name) != getattr(reversal, name):
            shown = f"{format_money(payment.amount_micro, payment.currency)} {payment.currency}"
            raise InvalidField(
                name.removesuffix("_micro"), f"serial {payment.identity.serial} is one of {shown}: it is reversed whole"
            )
    known = tx.bank_reversal(reversal.identity)
    if known is not None:
        if known.state is ReversalState.PENDING:
            known = decide(tx, known, payment, site, now_ms)
        return _outcome(tx, known, repeated=True)
    if (closed := _closed(tx, reversal, payment)) is not None:
        detail = f"accounting date {closed.accounting_date} of bank {closed.bank} is closed: ask for a refund"
        return ReversalOutcome(ReversalVerdict.DAY_CLOSED, payment, delivery=delivery_state(tx, payment), detail=detail)
    given = [each.identity.serial for each in tx.refunds_of(payment.identity) if each.state is not RefundState.VOIDED]
    if given:
        detail = f"money of serial {payment.identity.serial} went back by refund {given[0]}: give the rest back so too"
        return ReversalOutcome(ReversalVerdict.DELIVERED, payment, delivery=delivery_state(tx, payment), detail=detail)
    must_be_open(tx)
    asked = _booked(reversal, payment.account, ReversalState.PENDING, now_ms)
    tx.add_bank_reversal(asked)
    return _outcome(tx, decide(tx, asked, payment, site, now_ms), repeated=False)


def _closed(tx: Tx, reversal: Reversal, payment: Payment) -> ClosedDay | None:
    """The payment's day, or that on which the bank has the reversal, if one of them is closed: its total is agreed."""
    days = (
        {payment.accounting_date, reversal.accounting_date.isoformat()}
        if reversal.origin is Origin.BANK
        else {payment.accounting_date}
    )
    found = (tx.closed_day(payment.identity.bank, day) for day in sorted(days))
    return next((day for day in found if day is not None), None)


def decide(tx: Tx, asked: BookedReversal, payment: Payment, site: Site, now_ms: int) -> BookedReversal:
    """Undo the payment if that can be now; DECIDED_WITHIN_MS after it was asked for the payment stands.

    Money on its way into a meter is called back: at once where no byte of it was sent, else when its purchase count is read.
    """
    account = tx.account(payment.account)
    delivery = tx.delivery(f"delivery-{payment.entry}")
    if delivery is not None and delivery.open:
        delivery = _call_back(tx, delivery, now_ms)
    if delivery is not None and delivery.open:
        if now_ms - asked.at_ms < DECIDED_WITHIN_MS:
            return asked
        tx.save_delivery(replace(delivery, due_ms=max(now_ms, delivery.created_ms + site.delivery_deadline_ms)))
        return _stands(tx, asked, "nobody could say in time whether the credit is in the meter", now_ms)
    if delivery is not None and delivery.state is DeliveryState.IN_METER:
        return _stands(tx, asked, "the credit is in the meter", now_ms)
    if account is None or not _still_here(tx, account, payment):
        return _stands(tx, asked, "the credit is in the meter, or on its way there with other money", now_ms)
    return _undo(tx, asked, payment, account, site, now_ms)


def decide_reversals(tx: Tx, site: Site, now_ms: int, account: str | None = None) -> int:
    """Whatever reversals wait, of this account or of all: decide what can be decided; how many still wait."""
    waits = 0
    for asked in tx.pending_reversals():
        if account is not None and asked.account != account:
            continue
        payment = tx.payment(asked.identity)
        if payment is not None:
            waits += decide(tx, asked, payment, site, now_ms).state is ReversalState.PENDING
    return waits


def _call_back(tx: Tx, delivery: Delivery, now_ms: int) -> Delivery:
    called = delivery if delivery.due_ms is not None and delivery.due_ms <= now_ms else replace(delivery, due_ms=now_ms)
    if called is not delivery:
        tx.save_delivery(called)
    return end_if_due(tx, called, tx.wallet(delivery.meter), now_ms)


def _still_here(tx: Tx, account: Account, payment: Payment) -> bool:
    """Whether a payment that was meant for a meter can leave our books again."""
    original = tx.entry(payment.entry or 0)
    own = ledger.undelivered(account.id)
    if original is None or all(leg.account != own for leg in original.entry.legs):
        return account.authority is Authority.GATEWAY  # it went to the balance, which may have gone into a meter since
    shares = sum(leg.micro for entry in _shares(tx, payment) for leg in entry.entry.legs if leg.account == own)
    return tx.balance(own, payment.currency) >= payment.amount_micro + shares


def _shares(tx: Tx, payment: Payment) -> list[ledger.PostedEntry]:
    """What of it went to debts, not undone yet; the newest first."""
    number = payment.entry or 0
    found = [
        posted
        for posted in tx.entries(number, MOST_SHARES)
        if posted.entry.kind in SHARES and posted.entry.ref.get("topup") == str(number) and tx.reversed_by(posted.number) is None
    ]
    return found[::-1]


def _undo(tx: Tx, asked: BookedReversal, payment: Payment, account: Account, site: Site, now_ms: int) -> BookedReversal:
    ref = {"bank": asked.identity.bank, "reversal_serial": asked.reversal_serial, "accounting_date": asked.accounting_date}
    ref["reason"] = asked.reason
    try:
        for share in _shares(tx, payment):
            reverse(tx, share.number, ref, now_ms)
        posted = reverse(tx, payment.entry or 0, ref, now_ms)
    except (CannotCorrect, Overdrawn) as refused:
        return _stands(tx, asked, str(refused), now_ms)
    tx.mark_reversed(asked.identity)
    count_out(tx, payment, site.banks.get(payment.identity.bank))
    account = tx.account(account.id) or account
    if not account.closed:
        account = judge_account(tx, account.id, site, now_ms)
    number = f"{site.gateway}-{tx.meta(SERIES) or ''}{posted.number:010d}"
    balance = format_money(held_micro(tx, account), account.currency)
    done = replace(asked, state=ReversalState.DONE, decided_ms=now_ms, entry=posted.number)
    done = replace(done, document=_document(done, number, site, now_ms, balance_after=balance))
    tx.save_bank_reversal(done)
    said = {"account": account.id, "amount": format_money(asked.amount_micro, asked.currency), "reason": asked.reason}
    who = f"bank:{asked.identity.bank}"
    tx.add_audit(now_ms, who, "reverse_topup", asked.identity.serial, {**said, "entry": str(posted.number)})
    announce.balance(tx, account, now_ms)
    announce.event(
        tx, EventKind.TOPUP_REVERSED, now_ms, account=account.id, amount=said["amount"], currency=asked.currency,
        bank=asked.identity.bank, institution=asked.identity.institution, scope=asked.identity.scope, serial=asked.identity.serial,
        reversal=asked.reversal_serial, accounting_date=asked.accounting_date, reason=asked.reason,
    )  # fmt: skip
    return done


def _stands(tx: Tx, asked: BookedReversal, why: str, now_ms: int) -> BookedReversal:
    """The payment stays posted: whoever asked settles it with a refund or at reconciliation."""
    detail = f"the payment under serial {asked.identity.serial} stands: {why}"
    stands = replace(asked, state=ReversalState.STANDS, decided_ms=now_ms, detail=detail)
    tx.save_bank_reversal(stands)
    return stands


def _bury(tx: Tx, reversal: Reversal, site: Site, now_ms: int) -> ReversalOutcome:
    """Nothing is booked under it: remember that nothing ever will be."""
    must_be_open(tx)
    tomb = Payment(
        reversal.identity, "", reversal.amount_micro, reversal.currency, reversal.accounting_date.isoformat(),
        reversal.requested_at.isoformat(), "", "reversed", now_ms,
    )  # fmt: skip
    tx.add_payment(tomb)
    done = replace(_booked(reversal, "", ReversalState.TOMBSTONE, now_ms), decided_ms=now_ms)
    done = replace(done, document=_document(done, None, site, now_ms))
    tx.add_bank_reversal(done)
    return ReversalOutcome(ReversalVerdict.TOMBSTONE, tomb, done)


def _booked(reversal: Reversal, account: str, state: ReversalState, now_ms: int) -> BookedReversal:
    return BookedReversal(
        reversal.identity, reversal.reversal_serial, reversal.accounting_date.isoformat(), account, reversal.amount_micro,
        reversal.currency, reversal.reason, reversal.requested_at.isoformat(), reversal.origin, state, now_ms,
    )  # fmt: skip


def _document(done: BookedReversal, number: str | None, site: Site, now_ms: int, **more: str) -> str:
    """What the bank is told, as canonical JSON; stored and sent byte for byte the same for ever."""
    document = {
        "reversal_no": number,
        "bank": done.identity.bank,
        "institution": done.identity.institution,
        "serial": done.identity.serial,
        "reversal_serial": done.reversal_serial,
        "accounting_date": done.accounting_date,
        "amount": format_money(done.amount_micro, done.currency),
        "currency": done.currency,
        "reason": done.reason,
        "reversed_at": rfc3339(now_ms),
        "gateway": site.gateway,
        **more,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


_VERDICTS = {
    ReversalState.DONE: ReversalVerdict.REVERSED,
    ReversalState.TOMBSTONE: ReversalVerdict.TOMBSTONE,
    ReversalState.PENDING: ReversalVerdict.PENDING,
    ReversalState.STANDS: ReversalVerdict.DELIVERED,
}


def _outcome(tx: Tx, known: BookedReversal, *, repeated: bool) -> ReversalOutcome:
    payment = tx.payment(known.identity)
    assert payment is not None  # each reversal has its payment, or its tombstone
    return ReversalOutcome(_VERDICTS[known.state], payment, known, delivery_state(tx, payment), known.detail, repeated)
