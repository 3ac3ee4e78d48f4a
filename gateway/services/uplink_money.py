"""Money that the centre orders: payments of the banks whose front it is, and refunds (contract.md 3 and 5)."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone

from gateway.domain.events import Json
from gateway.domain.incoming import IncomingCommand
from gateway.domain.life import Act, RefundRest, Refusal
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.supply import CommandState
from gateway.domain.units import parse_money
from gateway.domain.uplink_keys import Why
from gateway.domain.uplink_orders import UplinkOrder
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import InvalidField, MoneyHeld, NotOpen, Site, TopUpOutcome, TopUpVerdict, Tx
from gateway.services.refund_rest import refund_rest
from gateway.services.uplink_answers import QUEUED, Received, conclude, record, refuse

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 (a value, not the clock)

TOOK = (TopUpVerdict.POSTED, TopUpVerdict.REPEATED)


def pay_in(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Received:
    """Book it, or wait where no money is taken now; a refusal on the merits is final, as for the bank itself."""
    try:
        outcome = apply_topup(tx, _topup(command), site, now_ms)
    except (MoneyHeld, NotOpen) as held:
        record(tx, command, QUEUED.value, now_ms, reason=str(held))
        return Received(later=True)
    except (InvalidField, ValueError) as wrong:
        return refuse(tx, command, Why.NOT_PERMITTED, str(wrong), now_ms)
    why, told = _refused(outcome), _told(outcome)
    if why is not None:
        return refuse(tx, command, Why.NOT_PERMITTED, why, now_ms, told)
    record(tx, command, CommandState.DONE.value, now_ms, answer=told)
    return Received()


def pay_in_again(tx: Tx, order: UplinkOrder, command: IncomingCommand, site: Site, now_ms: int) -> bool:
    """The payment that waited. False: it still does."""
    try:
        outcome = apply_topup(tx, _topup(command), site, now_ms)
    except (MoneyHeld, NotOpen):
        return False
    except (InvalidField, ValueError) as wrong:
        conclude(tx, order, CommandState.REFUSED, now_ms, Why.NOT_PERMITTED.value, str(wrong))
        return True
    why, told = _refused(outcome), _told(outcome)
    if why is not None:
        conclude(tx, order, CommandState.REFUSED, now_ms, Why.NOT_PERMITTED.value, why, told)
    else:
        conclude(tx, order, CommandState.DONE, now_ms, answer=told)
    return True


def put_by(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Received:
    """Put money aside for the customer; another person pays it out (services/refund_rest)."""
    account = tx.account(str(command.account))
    if account is None:
        return refuse(tx, command, Why.NOT_PERMITTED, "this account is not known here", now_ms)
    amount = command.args.get("amount")
    act = Act(command.id, command.who, command.reason or "ordered by the centre", command.digest, command.who)
    try:
        micro = None if amount is None else parse_money(str(amount), account.currency)
        told = refund_rest(tx, RefundRest(act, account.id, str(command.args.get("via", "counter")), micro), site, now_ms)
    except (Refusal, MoneyHeld, ValueError) as wrong:
        return refuse(tx, command, Why.NOT_PERMITTED, str(wrong), now_ms)
    record(tx, command, CommandState.DONE.value, now_ms, answer=told)
    return Received()


def _topup(command: IncomingCommand) -> TopUp:
    """The centre has judged the day when the bank paid: it is that day's, whenever the voucher arrives. ValueError."""
    args = {name: str(value) for name, value in command.args.items()}
    identity = PaymentIdentity(args["bank"], args.get("institution", ""), args.get("scope", ""), args["serial"])
    day = date.fromisoformat(args["accounting_date"])
    paid_at = _EPOCH + timedelta(milliseconds=int(args["paid_at_ms"]))
    micro = parse_money(args["amount"], args["currency"])
    return TopUp(identity, str(command.account), micro, args["currency"], paid_at, day, day, args.get("channel") or "centre")


def _refused(outcome: TopUpOutcome) -> str | None:
    """Why the voucher brings nothing. One whose payment is undone here is not taken: the centre would tell its bank of a credit."""
    if outcome.field is not None:
        return f"the payment is known with another {outcome.field}"
    if outcome.payment.status == "reversed":
        return "the payment is reversed in this gateway's ledger"
    if outcome.verdict in TOOK and outcome.payment.status != "refused":
        return None
    return outcome.payment.detail or "the payment is refused"


def _told(outcome: TopUpOutcome) -> dict[str, Json]:
    """What our ledger has under this identity; nothing of a payment that is another one."""
    paid = outcome.payment
    if outcome.field is not None:
        return {}
    told: dict[str, Json] = {"payment": paid.status, "delivery": outcome.delivery, "entry": paid.entry}
    return told | {"reversal": json.loads(outcome.reversal)} if outcome.reversal else told
