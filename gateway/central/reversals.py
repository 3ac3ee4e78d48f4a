"""A bank takes a payment back that it made at the centre (contract.md 3); what gateways say of it: central/vouchers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, insert, update

from gateway.central import audit, bank_limits, nonces, schema
from gateway.central.closed_days import is_closed
from gateway.central.payments import WAITING, Booked, booked, must_be_booked, subject_of, under
from gateway.central.receipts import canonical
from gateway.central.store import CentralStore
from gateway.domain.bank_acts import DECIDED_WITHIN_MS, Reversal, ReversalState, ReversalVerdict
from gateway.domain.nonces import Claim
from gateway.domain.units import format_money
from protocols.uplink.moments import format_moment

STANDS = {"reversal_state": ReversalState.STANDS.value}
"""Of a row: the bank was told that its payment stands."""


class BadReversal(Exception):
    """A reversal is whole; the text is the field in which this one differs from its payment."""


def reverse(
    store: CentralStore, asked: Reversal, who: str, claim: Claim | None, centre: str, now_ms: Callable[[], int]
) -> tuple[ReversalVerdict, Booked]:
    """Undoes a payment where its gateway has refused the voucher; a voucher under way waits for the gateway's word.

    Unknown: a tombstone refuses the payment for ever. Refused: there is nothing to reverse. who: as the audit log names the bank.
    BadReversal (another amount), nonces.TooLate and NonceUsed bind nothing.
    """

    def work(connection: Connection) -> tuple[ReversalVerdict, Booked]:
        now, known = now_ms(), booked(connection, asked.identity)
        nonces.once(store, connection, claim, now, known=known is not None and _asked_before(known, asked))
        if known is None:
            return ReversalVerdict.TOMBSTONE, _bury(connection, asked, who, centre, now)
        if known.payment.status == "refused":
            return ReversalVerdict.NOTHING, known
        if (wrong := _differs(known, asked)) is not None:
            raise BadReversal(wrong)
        return _judged(connection, known, asked, who, centre, now)

    return store.write(work)


def _asked_before(known: Booked, asked: Reversal) -> bool:
    return known.payment.status == "refused" or (bool(known.reversal_state) and _differs(known, asked) is None)


def _differs(known: Booked, asked: Reversal) -> str | None:
    if known.payment.currency != asked.currency:
        return "currency"
    return None if known.payment.amount_micro == asked.amount_micro else "amount"


def _judged(
    connection: Connection, known: Booked, asked: Reversal, who: str, centre: str, now_ms: int
) -> tuple[ReversalVerdict, Booked]:
    """What becomes of a reversal of a payment that we took, or of one that has its tombstone."""
    state, subject = known.reversal_state, subject_of(asked.identity)
    if state == ReversalState.TOMBSTONE:
        return ReversalVerdict.TOMBSTONE, known
    if known.payment.status == "reversed":
        return ReversalVerdict.REVERSED, known
    said = {"reversal_serial": asked.reversal_serial, "amount": format_money(asked.amount_micro, asked.currency)}
    if state == ReversalState.STANDS:  # the bank was told so, and that is final: what the gateway said since is for a person
        return ReversalVerdict.DELIVERED, known
    days = {known.payment.accounting_date, asked.accounting_date.isoformat()}
    if not state and any(is_closed(connection, asked.identity.bank, day) for day in days):
        return ReversalVerdict.DAY_CLOSED, known
    if known.delivery == "uncertain":  # the gateway refused it: the money is nowhere but with us
        first = first_asked(connection, known, asked, now_ms)
        return ReversalVerdict.REVERSED, undo(connection, first, who, centre, now_ms)
    if known.delivery not in WAITING:
        return ReversalVerdict.DELIVERED, known
    if state != ReversalState.PENDING:
        audit.add(connection, now_ms, who, "reversal_asked", subject, said)
        return ReversalVerdict.PENDING, first_asked(connection, known, asked, now_ms)
    if now_ms - known.reversal_ms < DECIDED_WITHIN_MS:
        return ReversalVerdict.PENDING, known
    audit.add(connection, now_ms, who, "reversal_too_late", subject, said)
    return ReversalVerdict.DELIVERED, changed(connection, known, STANDS)


def first_asked(connection: Connection, known: Booked, asked: Reversal, now_ms: int) -> Booked:
    """The payment with the reversal that is asked of it, which is not decided."""
    first = {
        "reversal_state": ReversalState.PENDING.value,
        "reversal_serial": asked.reversal_serial,
        "reversal_date": asked.accounting_date.isoformat(),
        "reversal_reason": asked.reason,
        "reversal_requested": asked.requested_at.isoformat(),
        "reversal_ms": now_ms,
    }
    return changed(connection, known, first)


def undo(connection: Connection, known: Booked, who: str, centre: str, now_ms: int, document: str = "") -> Booked:
    """The payment is undone, as its reversal asked first. document: what the bank was told of it elsewhere."""
    done = {"status": "reversed", "delivery": "none", "reversal_state": ReversalState.DONE.value}
    found = changed(connection, known, {**done, "reversal": document or _document(known, centre, now_ms)})
    bank_limits.count_out(connection, found.payment)
    amount = format_money(known.payment.amount_micro, known.payment.currency)
    said = {"account": known.payment.account, "amount": amount, "reversal_serial": known.reversal_serial}
    audit.add(connection, now_ms, who, "topup_reversed", subject_of(known.payment.identity), said)
    return found


def changed(connection: Connection, known: Booked, values: Mapping[str, object]) -> Booked:
    """The payment with these columns of its row otherwise."""
    identity = known.payment.identity
    connection.execute(update(schema.payment).where(*under(identity)).values(values))
    return must_be_booked(connection, identity)


def _bury(connection: Connection, asked: Reversal, who: str, centre: str, now_ms: int) -> Booked:
    """Nothing is booked under it: remember that nothing ever will be."""
    identity, day, at = asked.identity, asked.accounting_date.isoformat(), asked.requested_at.isoformat()
    row = {
        "bank": identity.bank,
        "institution": identity.institution,
        "scope": identity.scope,
        "serial": identity.serial,
        "account": "",
        "gateway": "",
        "amount_micro": asked.amount_micro,
        "currency": asked.currency,
        "accounting_date": day,
        "paid_at": at,
        "channel": "",
        "status": "reversed",
        "delivery": "none",
        "at_ms": now_ms,
        "reversal_state": ReversalState.TOMBSTONE.value,
        "reversal_serial": asked.reversal_serial,
        "reversal_date": day,
        "reversal_reason": asked.reason,
        "reversal_requested": at,
        "reversal_ms": now_ms,
    }
    connection.execute(insert(schema.payment).values(row))
    said = {"reversal_serial": asked.reversal_serial, "amount": format_money(asked.amount_micro, asked.currency)}
    audit.add(connection, now_ms, who, "reversed_before_it_came", subject_of(identity), said)
    tomb = must_be_booked(connection, identity)
    return changed(connection, tomb, {"reversal": _document(tomb, centre, now_ms)})


def _document(known: Booked, centre: str, now_ms: int) -> str:
    """What the bank is told of a reversal, as canonical JSON; byte for byte the same for ever."""
    payment = known.payment
    document = {
        "reversal_no": None,
        "bank": payment.identity.bank,
        "institution": payment.identity.institution,
        "serial": payment.identity.serial,
        "reversal_serial": known.reversal_serial,
        "accounting_date": known.reversal_date,
        "amount": format_money(payment.amount_micro, payment.currency),
        "currency": payment.currency,
        "reason": known.reversal_reason,
        "reversed_at": format_moment(now_ms),
        "gateway": known.gateway or centre,
    }
    return canonical(document)
