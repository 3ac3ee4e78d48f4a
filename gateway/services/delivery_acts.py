"""What persons do about money on its way into a meter: send it, take it back, say what became of it."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Authority
from gateway.domain.units import format_money
from gateway.domain.wallet_mirror import FEN
from gateway.domain.wallets import Delivery, DeliveryState
from gateway.services.deliveries import arrived, end_if_due, queue, returned
from gateway.services.ports import Site, Tx
from gateway.services.wallet_word import wallet_of


def deliver_rest(tx: Tx, account_id: str, by: str, reason: str, site: Site, now_ms: int) -> str | None:
    """A person sends what stands undelivered in our books to the account's meter. None when it is on its way, else why not."""
    account, found = tx.account(account_id), wallet_of(tx, account_id)
    if account is None or account.authority is Authority.GATEWAY:
        return f"no meter holds the money of account {account_id}"
    waits = tx.balance(ledger.undelivered(account_id), account.currency)
    if found is None or found[1].memory.switching is not None or waits < FEN:
        why = "nothing waits" if waits < FEN else "the authority is changing" if found else "its wallet is not known"
        return f"nothing can be delivered for account {account_id}: {why}"
    data = {"amount": format_money(waits, account.currency), "reason": reason}
    tx.add_audit(now_ms, by, "deliver_rest", account_id, data)
    queue(tx, account, found[1], waits, site, now_ms)
    return None


def withdraw(tx: Tx, ident: str, by: str, reason: str, now_ms: int) -> str | None:
    """A person takes a delivery back: at once where it was never sent, else as soon as a look shows that it is not in.

    None when done or under way, else why not.
    """
    delivery = tx.delivery(ident)
    if delivery is None:
        return f"delivery {ident} is not known here"
    if not delivery.open:
        return f"delivery {ident} is {delivery.state.value}"
    _audit(tx, "withdraw_delivery", delivery, by, reason, now_ms)
    called = replace(delivery, due_ms=now_ms)
    tx.save_delivery(called)
    end_if_due(tx, called, tx.wallet(delivery.meter), now_ms)
    return None


def why_not_resolved(tx: Tx, ident: str) -> str | None:
    """Why a person cannot decide this delivery; None where one can: its meter's wallet cannot."""
    delivery = tx.delivery(ident)
    if delivery is None:
        return f"delivery {ident} is not known here"
    if delivery.state is not DeliveryState.UNCERTAIN:
        return f"delivery {ident} is {delivery.state.value}: only what is uncertain is resolved by a person"
    told = tx.finding(FindingKind.TRANSFER_UNCERTAIN, ident)
    return None if told is not None else f"the wallet of meter {delivery.meter} will be read and decide by itself"


def resolve(tx: Tx, ident: str, in_meter: bool, by: str, reason: str, now_ms: int) -> str | None:
    """A person has read the meter elsewhere: an uncertain delivery is in it, or never will be. None when done, else why not."""
    refused, delivery = why_not_resolved(tx, ident), tx.delivery(ident)
    if refused is not None or delivery is None:
        return refused
    _audit(tx, "resolve_delivery", delivery, by, reason, now_ms, to="in_meter" if in_meter else "returned")
    if in_meter:
        arrived(tx, delivery, {"by": by, "reason": reason}, now_ms)
    else:
        returned(tx, delivery, reason, now_ms, by)
    return None


def _audit(tx: Tx, act: str, delivery: Delivery, by: str, reason: str, now_ms: int, **more: str) -> None:
    amount = format_money(delivery.micro, delivery.currency)
    data = {"account": delivery.account, "meter": delivery.meter, "amount": amount, "reason": reason, **more}
    tx.add_audit(now_ms, by, act, delivery.id, data)
