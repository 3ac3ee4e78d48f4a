"""What gateways say of the money that the centre sent them: credited, refused, or undone in their ledger (contract.md 3 and 5).

The bank was told yes before. So what the gateway does not take is a finding; what its ledger has undone is undone here as well, and
a finding too, for the bank may not know. A day that is closed and an answer that was final stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from sqlalchemy import Connection, select

from gateway.central import audit, findings, schema
from gateway.central.closed_days import is_closed
from gateway.central.payments import WAITING, Booked, booked, booked_of, subject_of
from gateway.central.receipts import canonical
from gateway.central.reversals import STANDS, changed, undo
from gateway.domain.bank_acts import ReversalState
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import format_money
from protocols.uplink.messages import EventMessage, ResultMessage

UNDONE = "topup_reversed"
"""Kind of the event of a gateway whose ledger has undone a payment."""

REVERSED = "reversed_at_gateway"
"""Kind of the finding."""

LONGEST = 200
"""Characters of a gateway's words that are taken over: no serial or reason that a bank may send is longer."""

_p = schema.payment.c


def result(connection: Connection, gateway: str, said: ResultMessage, now_ms: int) -> None:
    """Takes over a gateway's last word of a voucher. A refusal on the merits leaves the bank leg as it is and becomes a finding."""
    if not said.final:
        return
    query = select(schema.payment).where(_p.voucher == said.command, _p.gateway == gateway, _p.delivery.in_(WAITING))
    row = connection.execute(query).one_or_none()
    if row is None:
        return
    known = booked_of(row)
    if said.answer.get("payment") == "reversed":  # of older gateways also with `done`
        _undone(connection, known, gateway, said.answer.get("reversal"), now_ms)
    elif said.state == "done":
        _credited(connection, known, gateway, now_ms)
    else:
        _refused(connection, known, gateway, said.reason or f"the gateway ended it as {said.state}", now_ms)


def event(connection: Connection, gateway: str, said: EventMessage, now_ms: int) -> None:
    """Takes over that a gateway's ledger has undone a payment of ours, after it was credited or before its voucher came."""
    data = said.data
    names = [data.get(name, "") for name in ("bank", "institution", "scope", "serial")]
    identity = PaymentIdentity(*(name if isinstance(name, str) else "" for name in names))
    known = booked(connection, identity) if said.kind == UNDONE and identity.serial else None
    if known is None or known.gateway != gateway or known.payment.status != "posted":
        return
    told = {"reversal_serial": data.get("reversal"), **{name: data.get(name) for name in ("accounting_date", "reason")}}
    _undone(connection, known, gateway, told, now_ms)


def _credited(connection: Connection, known: Booked, gateway: str, now_ms: int) -> None:
    stands = STANDS if known.reversal_state == ReversalState.PENDING else {}
    changed(connection, known, {"delivery": "none", **stands})
    audit.add(connection, now_ms, f"gateway:{gateway}", "voucher_credited", subject_of(known.payment.identity), _of(known))


def _refused(connection: Connection, known: Booked, gateway: str, reason: str, now_ms: int) -> None:
    who, told = f"gateway:{gateway}", _of(known) | {"reason": reason}
    audit.add(connection, now_ms, who, "voucher_refused", subject_of(known.payment.identity), told)
    if known.reversal_state == ReversalState.PENDING:
        undo(connection, changed(connection, known, {"detail": reason}), who, gateway, now_ms)
        return
    changed(connection, known, {"delivery": "uncertain", "detail": reason})
    _find(connection, known, gateway, "voucher_refused", f"but {gateway} did not take it: {reason}", now_ms)


def _undone(connection: Connection, known: Booked, gateway: str, document: object, now_ms: int) -> None:
    told: Mapping[str, object] = document if isinstance(document, dict) else {}
    paid, who = known.payment, f"gateway:{gateway}"
    serial, day, reason = (_text(told.get(name)) for name in ("reversal_serial", "accounting_date", "reason"))
    day = day if _is_day(day) else paid.accounting_date
    days = {paid.accounting_date, known.reversal_date or day}
    closed = any(is_closed(connection, paid.identity.bank, each) for each in days)
    if closed or known.reversal_state == ReversalState.STANDS:
        changed(connection, known, {"delivery": "uncertain", "detail": f"{gateway} has reversed it"})
        audit.add(connection, now_ms, who, REVERSED, subject_of(paid.identity), _of(known) | {"reason": reason})
        why = "the day is closed here" if closed else "its bank was told here that it stands"
        _find(connection, known, gateway, REVERSED, f"but {gateway} has reversed it, and {why}", now_ms)
        return
    if known.reversal_state:
        undo(connection, known, who, gateway, now_ms)
    else:
        first = {
            "reversal_state": ReversalState.PENDING.value,
            "reversal_serial": serial or f"gateway-{gateway}",
            "reversal_date": day,
            "reversal_reason": reason,
            "reversal_ms": now_ms,
        }
        flat = {name: value for name, value in told.items() if value is None or isinstance(value, str)}
        whole = canonical(flat) if len(flat) == len(told) and flat.get("serial") == paid.identity.serial else ""
        undo(connection, changed(connection, known, first), who, gateway, now_ms, whole)
    _find(connection, known, gateway, REVERSED, f"and {gateway} has reversed it: see that the bank knows", now_ms)


def _find(connection: Connection, known: Booked, gateway: str, kind: str, what: str, now_ms: int) -> None:
    paid = known.payment
    amount = format_money(paid.amount_micro, paid.currency)
    text = f"bank {paid.identity.bank} was told yes for {amount} {paid.currency} to account {paid.account}"
    text = f"{text} (serial {paid.identity.serial}), {what}"
    findings.add(connection, gateway, kind, known.voucher or subject_of(paid.identity), text, now_ms)


def _of(known: Booked) -> dict[str, str]:
    return {"account": known.payment.account, "amount": format_money(known.payment.amount_micro, known.payment.currency)}


def _text(said: object) -> str:
    return said[:LONGEST] if isinstance(said, str) else ""


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
