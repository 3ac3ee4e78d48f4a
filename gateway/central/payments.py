"""What banks paid in at the centre, and the signed vouchers that take it to the gateways (prepayment.md, what we decided, 1).

The bank leg is final with our answer. Where the customer's credit is follows from what the gateway says of the voucher.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from gateway.central import findings, orders, schema
from gateway.central.accounts import KnownAccount
from gateway.central.orders import Order, Signer
from gateway.central.store import CentralStore
from gateway.domain.bank_acts import DECIDED_WITHIN_MS, Reversal, ReversalState, ReversalVerdict
from gateway.domain.day_file import REVERSAL, TOPUP, DayLine
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import format_money
from protocols.uplink.messages import ResultMessage
from protocols.uplink.moments import format_moment

_p = schema.payment.c

WAITING = ("queued", "sent")
"""Deliveries of which the gateway has not had its last word."""


@dataclass(frozen=True, slots=True)
class Booked:
    """A payment as it stands. receipt: the document, byte for byte the same for ever. status: posted, refused, reversed."""

    account: str
    amount_micro: int
    currency: str
    accounting_date: str
    status: str
    delivery: str
    receipt: str | None
    reversal: str | None
    reversal_state: str
    reversal_ms: int
    problem: str | None
    detail: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a payment is not taken, stored for ever under its identity."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. conflict: the field in which it differs from what is booked under its identity."""

    booked: Booked
    new: bool
    conflict: str | None = None


class OutOfTime(Exception):
    """A new payment's accounting date is not one that is taken now; one sentence."""


def voucher_of(identity: PaymentIdentity) -> str:
    """The command id of a payment's voucher, for ever the same: whoever relays it a second time relays the same command."""
    text = json.dumps([identity.bank, identity.institution, identity.scope, identity.serial])
    return f"v-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def post(store: CentralStore, topup: TopUp, account: KnownAccount | Refusal, signer: Signer, centre: str, now_ms: int) -> Outcome:
    """Books a payment and its voucher in one transaction; a known identity gives what is booked. OutOfTime binds nothing."""

    def work(connection: Connection) -> Outcome:
        known = booked(connection, topup.identity)
        if known is not None:
            return Outcome(known, new=False, conflict=None if known.status != "posted" else _differs(known, topup))
        if abs(topup.accounting_date - topup.today) > timedelta(days=1):
            raise OutOfTime(f"accounting_date {topup.accounting_date} is not between yesterday and tomorrow ({topup.today} here)")
        row = _row(topup, now_ms)
        if isinstance(account, Refusal):
            row |= {"gateway": "", "status": "refused", "delivery": "none", "problem": account.code, "detail": account.detail}
        else:
            order = _voucher(topup, account)
            orders.add(store, connection, [order], signer, now_ms)
            receipt = _receipt(connection, topup, account, centre, now_ms)
            row |= {"gateway": account.gateway, "status": "posted", "delivery": "queued", "receipt": receipt, "voucher": order.id}
        connection.execute(insert(schema.payment).values(row))
        return Outcome(_again(connection, topup.identity), new=True)

    return store.write(work)


def booked(connection: Connection, identity: PaymentIdentity) -> Booked | None:
    """What is booked under an identity; `delivery` is `sent` once the broker had the voucher."""
    o = schema.order.c
    query = select(schema.payment, o.sent_ms).outerjoin(schema.order, o.id == _p.voucher).where(*_under(identity))
    row = connection.execute(query).one_or_none()
    return None if row is None else _booked(row)


def _booked(row: Row[tuple[object, ...]]) -> Booked:
    found = Booked(**{field.name: getattr(row, field.name) for field in fields(Booked)})
    return replace(found, delivery="sent") if found.delivery == "queued" and row.sent_ms is not None else found


def _under(identity: PaymentIdentity) -> Sequence[ColumnElement[bool]]:
    return (
        _p.bank == identity.bank,
        _p.institution == identity.institution,
        _p.scope == identity.scope,
        _p.serial == identity.serial,
    )


def _differs(known: Booked, topup: TopUp) -> str | None:
    names = {"account": topup.account, "amount_micro": topup.amount_micro, "currency": topup.currency}
    field = next((name for name, value in names.items() if getattr(known, name) != value), None)
    return "amount" if field == "amount_micro" else field


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
        "accounting_date": topup.accounting_date.isoformat(),
        "paid_at": topup.paid_at.isoformat(),
        "channel": topup.channel,
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


def _receipt(connection: Connection, topup: TopUp, account: KnownAccount, centre: str, now_ms: int) -> str:
    """The centre's receipt, as canonical JSON. What only the gateway knows (debt, balance, what happens to supply) is empty."""
    document = {
        "receipt_no": f"{centre}-{voucher_of(topup.identity)[2:18]}",
        "bank": topup.identity.bank,
        "institution": topup.identity.institution,
        "serial": topup.identity.serial,
        "accounting_date": topup.accounting_date.isoformat(),
        "account": topup.account,
        "holder": account.holder,
        "amount": format_money(topup.amount_micro, topup.currency),
        "currency": topup.currency,
        "to_credit": "",
        "to_debt": "",
        "fees": "",
        "balance_after": "",
        "booked_at": format_moment(now_ms),
        "gateway": account.gateway,
        "next": "",
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def follow(connection: Connection, gateway: str, said: ResultMessage, now_ms: int) -> None:
    """Takes over what a gateway says of a voucher. A refusal on the merits leaves the bank leg as it is and becomes a finding."""
    if not said.final:
        return
    query = select(schema.payment).where(_p.voucher == said.command, _p.gateway == gateway, _p.delivery.in_(WAITING))
    row = connection.execute(query).one_or_none()
    if row is None:
        return
    where = update(schema.payment).where(_p.voucher == said.command)
    if said.state == "done":
        stands = {"reversal_state": ReversalState.STANDS.value} if row.reversal_state == ReversalState.PENDING else {}
        connection.execute(where.values(delivery="none", **stands))
        return
    reason = said.reason or f"the gateway ended it as {said.state}"
    if row.reversal_state == ReversalState.PENDING:
        undone = _reversal_document(row, row.reversal_serial, row.reversal_date, now_ms)
        done = {"reversal_state": ReversalState.DONE.value, "reversal": undone}
        connection.execute(where.values(status="reversed", delivery="none", detail=reason, **done))
        return
    connection.execute(where.values(delivery="uncertain", detail=reason))
    amount = format_money(row.amount_micro, row.currency)
    paid = f"bank {row.bank} was told yes for {amount} {row.currency} to account {row.account} (serial {row.serial})"
    findings.add(connection, gateway, "voucher_refused", said.command, f"{paid}, but {gateway} did not take it: {reason}", now_ms)


def reverse(store: CentralStore, asked: Reversal, now_ms: int) -> tuple[ReversalVerdict, Booked]:
    """Undoes a payment where its gateway has refused the voucher; a voucher under way waits for the gateway's word.

    Unknown: a tombstone refuses the payment for ever. Refused: there is nothing to reverse. BadReversal: another amount.
    """

    def work(connection: Connection) -> tuple[ReversalVerdict, Booked]:
        known = booked(connection, asked.identity)
        if known is None:
            connection.execute(insert(schema.payment).values(_tombstone(asked, now_ms)))
            return ReversalVerdict.TOMBSTONE, _again(connection, asked.identity)
        if known.status == "refused":
            return ReversalVerdict.NOTHING, known
        if known.reversal_state == ReversalState.TOMBSTONE:
            return ReversalVerdict.TOMBSTONE, known
        if (known.amount_micro, known.currency) != (asked.amount_micro, asked.currency):
            raise BadReversal("amount" if known.currency == asked.currency else "currency")
        verdict, change = _judge(known, asked, now_ms)
        if change:
            connection.execute(update(schema.payment).where(*_under(asked.identity)).values(change))
            known = _again(connection, asked.identity)
        return verdict, known

    return store.write(work)


class BadReversal(Exception):
    """A reversal is whole; the text is the field in which this one differs from its payment."""


def _judge(known: Booked, asked: Reversal, now_ms: int) -> tuple[ReversalVerdict, dict[str, object]]:
    """What becomes of a reversal of a payment that we took, and what changes by it."""
    first = {
        "reversal_serial": asked.reversal_serial,
        "reversal_date": asked.accounting_date.isoformat(),
        "reversal_ms": now_ms,
    }
    if known.status == "reversed":
        return ReversalVerdict.REVERSED, {}
    if known.delivery == "uncertain":  # the gateway refused it: the money is nowhere but with us
        undone = _document(asked.reversal_serial, asked.accounting_date.isoformat(), asked.amount_micro, asked.currency, now_ms)
        done = {"status": "reversed", "delivery": "none", "reversal_state": ReversalState.DONE.value, "reversal": undone}
        return ReversalVerdict.REVERSED, first | done
    if known.delivery not in WAITING or known.reversal_state == ReversalState.STANDS:
        return ReversalVerdict.DELIVERED, {}
    if known.reversal_state != ReversalState.PENDING:
        return ReversalVerdict.PENDING, first | {"reversal_state": ReversalState.PENDING.value}
    if now_ms - known.reversal_ms >= DECIDED_WITHIN_MS:
        return ReversalVerdict.DELIVERED, {"reversal_state": ReversalState.STANDS.value}
    return ReversalVerdict.PENDING, {}


def _again(connection: Connection, identity: PaymentIdentity) -> Booked:
    found = booked(connection, identity)
    assert found is not None
    return found


def _tombstone(asked: Reversal, now_ms: int) -> dict[str, object]:
    identity, day = asked.identity, asked.accounting_date.isoformat()
    return {
        "bank": identity.bank,
        "institution": identity.institution,
        "scope": identity.scope,
        "serial": identity.serial,
        "account": "",
        "gateway": "",
        "amount_micro": asked.amount_micro,
        "currency": asked.currency,
        "accounting_date": day,
        "paid_at": asked.requested_at.isoformat(),
        "channel": "",
        "status": "reversed",
        "delivery": "none",
        "at_ms": now_ms,
        "reversal": _document(asked.reversal_serial, day, asked.amount_micro, asked.currency, now_ms),
        "reversal_state": ReversalState.TOMBSTONE.value,
        "reversal_serial": asked.reversal_serial,
        "reversal_date": day,
        "reversal_ms": now_ms,
    }


def _reversal_document(row: Row[tuple[object, ...]], serial: str, day: str, now_ms: int) -> str:
    return _document(serial, day, row.amount_micro, row.currency, now_ms)


def _document(serial: str, day: str, amount_micro: int, currency: str, now_ms: int) -> str:
    document = {
        "reversal_serial": serial,
        "accounting_date": day,
        "amount": format_money(amount_micro, currency),
        "currency": currency,
        "reversed_at": format_moment(now_ms),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def day_lines(connection: Connection, bank: str, day: str) -> list[DayLine]:
    """What the bank and we owe each other of an accounting date: every payment that we took, and every reversal that undid one."""
    query = (
        select(schema.payment)
        .where(_p.bank == bank, _p.accounting_date == day, _p.receipt.is_not(None))
        .order_by(_p.at_ms, _p.serial)
    )
    lines = []
    for row in connection.execute(query):
        amount = format_money(row.amount_micro, row.currency)
        paid = DayLine(row.serial, row.account, amount, row.currency, TOPUP, "", row.paid_at, row.channel, row.institution)
        lines.append(paid)
        if row.status == "reversed":
            lines.append(paid._replace(serial=row.reversal_serial, type=REVERSAL, original_serial=row.serial))
    return lines
