"""What banks paid in at the centre, and the signed vouchers that take it to the gateways (prepayment.md, what we decided, 1).

The bank leg is final with our answer. Where the customer's credit is follows from what the gateway says of the voucher.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Row, bindparam, insert, select

from gateway.central import audit, bank_limits, closed_days, nonces, orders, receipts, schema
from gateway.central.accounts import Accounts, KnownAccount
from gateway.central.orders import Order, Signer
from gateway.central.store import CentralStore
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.nonces import Claim
from gateway.domain.records import Payment
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import format_money

_p = schema.payment.c

WAITING = ("queued", "sent")
"""Deliveries of which the gateway has not had its last word."""

CONTENT = ("account", "amount_micro", "currency")


@dataclass(frozen=True, slots=True)
class Booked:
    """A payment as it stands. delivery: where the credit is. reversal: the document that the bank was told, empty without one.

    reversal_state: as domain/bank_acts has it, or empty. voucher: the order that takes it to its gateway, None without one.
    """

    payment: Payment
    delivery: str
    gateway: str
    voucher: str | None
    reversal: str
    reversal_state: str
    reversal_serial: str
    reversal_date: str
    reversal_reason: str
    reversal_requested: str
    reversal_ms: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a payment is not taken, stored for ever under its identity."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Desk:
    """Who takes money in. signer: of vouchers. centre: its name in receipts. seal: signs receipts, None without a key."""

    signer: Signer
    centre: str
    seal: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A top-up as it came. owner: of the account, or why there is none. who: as the audit log names the bank. claim: its nonce."""

    topup: TopUp
    owner: KnownAccount | Refusal
    terms: PartnerTerms
    who: str
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. conflict: the field in which it differs from what is booked under its identity."""

    booked: Booked
    new: bool
    conflict: str | None = None


class OutOfTime(Exception):
    """A new payment's accounting date is not one that is taken now; one sentence."""


class NotOpen(Exception):
    """The bank's no-trade window; one sentence."""


def voucher_of(identity: PaymentIdentity) -> str:
    """The command id of a payment's voucher, for ever the same: whoever relays it a second time relays the same command."""
    text = json.dumps([identity.bank, identity.institution, identity.scope, identity.serial])
    return f"v-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def post(store: CentralStore, asked: Asked, desk: Desk, now_ms: Callable[[], int]) -> Outcome:
    """Books a payment and its voucher in one transaction; a known identity gives what is booked.

    OutOfTime, NotOpen, nonces.TooLate and NonceUsed bind nothing. now_ms: read when it is this payment's turn to be written.
    """

    def work(connection: Connection) -> Outcome:
        now, topup = now_ms(), asked.topup
        known = booked(connection, topup.identity)
        conflict = None if known is None else _differs(known.payment, topup)
        nonces.once(store, connection, asked.claim, now, known=known is not None and conflict is None)
        if known is not None:
            _note_later(connection, known.payment, asked, now)
            return Outcome(known, new=False, conflict=conflict)
        _must_be_taken(topup, asked.terms, now)
        return Outcome(judged(store, connection, asked, desk, now), new=True)

    return store.write(work)


def must_trade(terms: PartnerTerms, now_ms: int) -> None:
    """NotOpen in the bank's no-trade window."""
    if not terms.trades(now_ms):
        raise NotOpen(f"bank {terms.bank} does not trade at this time of day: repeat the payment with the same serial")


def owner_of(accounts: Accounts, account: str, currency: str) -> KnownAccount | Refusal:
    """Who is paid for, or why nobody can be."""
    known = accounts.of(account)
    if known is None:
        return Refusal("unknown_account", f"account {account} is not known here")
    if known.currency != currency:
        return Refusal("currency_mismatch", f"account {account} is kept in {known.currency}")
    return known


def _must_be_taken(topup: TopUp, terms: PartnerTerms, now_ms: int) -> None:
    must_trade(terms, now_ms)
    if abs(topup.accounting_date - topup.today) > timedelta(days=1):
        raise OutOfTime(f"accounting_date {topup.accounting_date} is not between yesterday and tomorrow ({topup.today} here)")


def judged(store: CentralStore, connection: Connection, asked: Asked, desk: Desk, now_ms: int) -> Booked:
    """A new payment, posted or refused on its merits for ever."""
    topup, owner = asked.topup, refusal(connection, asked) or asked.owner
    row = _row(topup, now_ms)
    said = {
        "account": topup.account,
        "amount": format_money(topup.amount_micro, topup.currency),
        "currency": topup.currency,
        "accounting_date": topup.accounting_date.isoformat(),
    }
    if isinstance(owner, Refusal):
        row |= {"gateway": "", "status": "refused", "delivery": "none", "problem": owner.code, "detail": owner.detail}
        act, said = "topup_refused", said | {"code": owner.code}
    else:
        order = _voucher(topup, owner)
        orders.add(store, connection, [order], desk.signer, now_ms)
        number = f"{desk.centre}-{voucher_of(topup.identity)[2:18]}"
        document = receipts.receipt(topup, owner.holder, owner.gateway, number, now_ms)
        row |= {"gateway": owner.gateway, "status": "posted", "delivery": "queued", "voucher": order.id}
        row |= {"receipt": document, "receipt_jws": None if desk.seal is None else desk.seal(document)}
        act, said = "topup_posted", said | {"receipt_no": number, "gateway": owner.gateway, "voucher": voucher_of(topup.identity)}
    connection.execute(insert(schema.payment), row)
    found = must_be_booked(connection, topup.identity)
    if found.payment.status == "posted":
        bank_limits.count_in(connection, found.payment)
    audit.add(connection, now_ms, asked.who, act, subject_of(topup.identity), said)
    return found


def refusal(connection: Connection, asked: Asked, *, keep: bool = True) -> Refusal | None:
    """What a payment is refused for on its merits, None where it is taken. keep: False changes nothing, for a quote."""
    if isinstance(asked.owner, Refusal):
        return asked.owner
    bank, day = asked.topup.identity.bank, asked.topup.accounting_date.isoformat()
    if closed_days.is_closed(connection, bank, day):
        return Refusal("day_closed", f"accounting date {day} of bank {bank} is closed")
    over = bank_limits.over_limit(connection, asked.topup, asked.terms, keep=keep)
    return None if over is None else Refusal(*over)


def subject_of(identity: PaymentIdentity) -> str:
    """A payment as the audit log names it."""
    return "/".join((identity.bank, identity.institution, identity.scope, identity.serial))


def booked(connection: Connection, identity: PaymentIdentity) -> Booked | None:
    """What is booked under an identity; `delivery` is `sent` once the broker had the voucher."""
    who = {"b": identity.bank, "i": identity.institution, "c": identity.scope, "s": identity.serial}
    row = connection.execute(_BOOKED, who).one_or_none()
    return None if row is None else booked_of(row, sent=row.sent_ms is not None)


_BOOKED = (
    select(schema.payment, schema.order.c.sent_ms)
    .outerjoin(schema.order, schema.order.c.id == _p.voucher)
    .where(_p.bank == bindparam("b"), _p.institution == bindparam("i"), _p.scope == bindparam("c"), _p.serial == bindparam("s"))
)
"""Made once: to make it costs as much as to run it."""


def must_be_booked(connection: Connection, identity: PaymentIdentity) -> Booked:
    """What was written just now."""
    found = booked(connection, identity)
    assert found is not None
    return found


def booked_of(row: Row[tuple[object, ...]], *, sent: bool = False) -> Booked:
    """A row of central_payment. sent: the broker has its voucher."""
    return Booked(
        payment=Payment(
            identity=PaymentIdentity(row.bank, row.institution, row.scope, row.serial),
            account=row.account,
            amount_micro=row.amount_micro,
            currency=row.currency,
            accounting_date=row.accounting_date,
            paid_at=row.paid_at,
            channel=row.channel,
            status=row.status,
            at_ms=row.at_ms,
            receipt=row.receipt,
            problem=row.problem,
            detail=row.detail,
            receipt_jws=row.receipt_jws,
        ),
        delivery="sent" if row.delivery == "queued" and sent else row.delivery,
        gateway=row.gateway,
        voucher=row.voucher,
        reversal=row.reversal or "",
        reversal_state=row.reversal_state,
        reversal_serial=row.reversal_serial,
        reversal_date=row.reversal_date,
        reversal_reason=row.reversal_reason,
        reversal_requested=row.reversal_requested,
        reversal_ms=row.reversal_ms,
    )


def under(identity: PaymentIdentity) -> Sequence[ColumnElement[bool]]:
    """The row of an identity."""
    return (
        _p.bank == identity.bank,
        _p.institution == identity.institution,
        _p.scope == identity.scope,
        _p.serial == identity.serial,
    )


def _differs(known: Payment, topup: TopUp) -> str | None:
    """The field of the content that is another one. A refusal and a tombstone stand whatever comes."""
    if known.receipt is None:
        return None
    field = next((name for name in CONTENT if getattr(known, name) != getattr(topup, name)), None)
    return "amount" if field == "amount_micro" else field


def _note_later(connection: Connection, known: Payment, asked: Asked, now_ms: int) -> None:
    said = {name: value for name, value in _later(asked.topup).items() if getattr(known, name) != value}
    if known.receipt is not None and said:
        audit.add(connection, now_ms, asked.who, "topup_repeated_otherwise", subject_of(known.identity), said)


def _later(topup: TopUp) -> dict[str, str]:
    return {
        "accounting_date": topup.accounting_date.isoformat(),
        "paid_at": topup.paid_at.isoformat(),
        "channel": topup.channel,
    }


def _row(topup: TopUp, now_ms: int) -> dict[str, object]:
    identity = topup.identity
    return {
        "bank": identity.bank,
        "institution": identity.institution,
        "scope": identity.scope,
        "serial": identity.serial,
        "account": topup.account,
        "amount_micro": topup.amount_micro,
        "currency": topup.currency,
        **_later(topup),
        "at_ms": now_ms,
        "reversal_state": "",
        "reversal_serial": "",
        "reversal_date": "",
        "reversal_ms": 0,
    }


def _voucher(topup: TopUp, account: KnownAccount) -> Order:
    identity = topup.identity
    args: dict[str, object] = {
        "bank": identity.bank,
        "serial": identity.serial,
        "amount": format_money(topup.amount_micro, topup.currency),
        "currency": topup.currency,
        "accounting_date": topup.accounting_date.isoformat(),
        "paid_at": topup.paid_at.isoformat(),
        "institution": identity.institution,
        "scope": identity.scope,
        "channel": topup.channel,
    }
    return Order("topup", account.gateway, account=account.pseudonym, args=args, id=voucher_of(identity))
