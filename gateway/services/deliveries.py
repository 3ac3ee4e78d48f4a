"""Money on its way into a meter: durable before the first byte, under one purchase count for ever, and decided by what is read.

The bank's leg stands in the ledger already (`undelivered:`); this is the meter's leg, a two-phase transfer (prepayment.md 1, c2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.jobs import Answered, Fault, Outcome, WalletWriteJob
from gateway.domain.meters import Account
from gateway.domain.records import Payment
from gateway.domain.supply import REFUSED_PASSWORDS, REFUSED_WITHIN_MS
from gateway.domain.transfers import Transfer
from gateway.domain.units import format_money
from gateway.domain.wallet_mirror import FEN
from gateway.domain.wallets import (
    KEYS_REFUSED,
    Act,
    Delivery,
    DeliveryEvent,
    DeliveryState,
    Verdict,
    Wallet,
    after,
)
from gateway.services import announce, findings, transfer
from gateway.services.money_held import held
from gateway.services.ports import Site, Tx
from gateway.services.wallet_word import wallet_of

SETTLED_MS = 10 * 60 * 1000
"""What was sent may still take effect this long: a meter's authentication holds 5 minutes, and no converter keeps bytes so long.
So long after the last byte an unmoved count proves that the money is not in."""

UNSENT_FIRST_MS, UNSENT_LONGEST_MS = 30_000, 15 * 60 * 1000
"""Before another try of what could not be sent at all, a fourth of its age: a crypto service that is away is back within minutes,
and one that is away for a day makes no flood of events."""

REFUSED_FIRST_MS, REFUSED_LONGEST_MS = 60_000, 60 * 60 * 1000
"""Pauses after a meter's no, doubling: it will hardly change its mind, and its deadline ends it."""

UNKNOWN_PAUSE_MS = 15 * 60 * 1000
"""Between two looks at a wallet that is hardly the one that was asked: a person has to find out."""

DOUBT_TOLD_MS = 10 * 60 * 1000
"""A delivery that is uncertain for longer is a finding; the look that decides it mostly comes within a second."""


def queue(
    tx: Tx, account: Account, wallet: Wallet, micro: int, site: Site, now_ms: int, *, entry: int = 0, act: Act = Act.TOP_UP
) -> Delivery | None:
    """Put money aside for this wallet, or of it, in whole hundredths; None where that is nothing. TransferRefused as `begin`."""
    micro -= micro % FEN
    if micro <= 0:
        return None
    ident = f"delivery-{entry}" if entry else f"{wallet.meter[:36]}-{act.value}-{now_ms}"
    undelivered, own = ledger.undelivered(account.id), ledger.customer(account.id)
    source, target = (undelivered, own) if act is Act.TOP_UP else (own, undelivered)
    transfer.begin(tx, Transfer(ident, account.id, account.currency, micro, source, target, now_ms))
    due_ms = now_ms + site.delivery_deadline_ms if act is Act.TOP_UP else None
    delivery = Delivery(
        ident, account.id, wallet.meter, act, micro, account.currency, now_ms, due_ms,
        epoch=wallet.memory.epoch, changed_ms=now_ms, entry=entry,
    )  # fmt: skip
    tx.add_delivery(delivery)
    _tell(tx, delivery, now_ms)
    return delivery


def deliver_payment(
    tx: Tx, account: Account, micro: int, entry: int, site: Site, now_ms: int, *, missed: bool = False
) -> Delivery | None:
    """What a payment brought is on its way to the meter that holds the account's money; None where it waits in our books: nobody
    knows the wallet, or the authority is changing.

    missed: the restored ledger lacked it, so that it may be in the meter already: a person finds out before anything is sent.
    """
    found = wallet_of(tx, account.id)
    if found is None or found[1].memory.switching is not None:
        return None
    delivery = queue(tx, account, found[1], micro, site, now_ms, entry=entry)
    if delivery is None or not missed:
        return delivery
    transfer.doubt(tx, delivery.id, now_ms)
    lost = replace(delivery, attempts=1, sent_ms=now_ms, reason="it was paid before the restored backup ends or after it")
    doubted = _step(tx, lost, DeliveryEvent.DOUBT, now_ms)
    tell_doubt(tx, doubted, now_ms)
    return doubted


def delivery_state(tx: Tx, payment: Payment) -> str:
    """Where the customer's credit is (contract.md 3): `none` where no meter holds the account's money."""
    found = tx.delivery(f"delivery-{payment.entry}") if payment.entry is not None else None
    return "none" if found is None else found.state.value


def start_delivery(tx: Tx, ident: str, now_ms: int) -> WalletWriteJob | None:
    """Mark a queued delivery as sent, before its first byte leaves, and let no time-out take its money back any more.

    None where it is not to be sent now: too late, the meter is another one, or it refused two identities or MACs within a day.
    """
    delivery = tx.delivery(ident)
    wallet = tx.wallet(delivery.meter) if delivery is not None else None
    if delivery is None or wallet is None or delivery.state is not DeliveryState.QUEUED or delivery.next_ms > now_ms:
        return None
    memory = wallet.memory
    if delivery.epoch != memory.epoch or memory.strange or (delivery.act is Act.TOP_UP and delivery.count is None):
        return None
    if overdue(delivery, now_ms):
        end_if_due(tx, delivery, wallet, now_ms)
        return None
    if held(tx) is not None:  # after the restore of a backup nobody knows yet what else was done with this money
        tx.save_delivery(replace(delivery, next_ms=now_ms + UNSENT_FIRST_MS))
        return None
    refused = [at_ms for at_ms in memory.refused if now_ms - at_ms < REFUSED_WITHIN_MS]
    if len(refused) >= REFUSED_PASSWORDS:
        why = "not sent: the meter refused two identities or MACs within a day"
        tx.save_delivery(replace(delivery, next_ms=min(refused) + REFUSED_WITHIN_MS, reason=why))
        return None
    transfer.doubt(tx, ident, now_ms)
    sent = replace(delivery, attempts=delivery.attempts + 1, sent_ms=now_ms, look_ms=None)
    return job_of(_step(tx, sent, DeliveryEvent.SEND, now_ms), wallet)


def job_of(delivery: Delivery, wallet: Wallet) -> WalletWriteJob:
    """What the line is asked to do for it. The first purchase opens the account, until the meter refuses it as opened."""
    customer = wallet.memory.customer or wallet.memory.seen_customer or ""
    opening = delivery.count == 1 and delivery.refusals % 2 == 0
    fen, count = delivery.micro // FEN, delivery.count or 0
    return WalletWriteJob(delivery.meter, delivery.id, delivery.act, fen, count, customer, delivery.created_ms, opening)


def finish_delivery(tx: Tx, ident: str, outcome: Outcome, now_ms: int) -> None:
    """Write down what was answered. That proves nothing, a yes as little as a no: the wallet is read at once."""
    delivery = tx.delivery(ident)
    if delivery is None or delivery.state is not DeliveryState.SENT:
        return
    if isinstance(outcome, Answered):
        tx.save_delivery(replace(delivery, look_ms=now_ms, reason="accepted, not read back yet"))
        return
    if outcome.text.startswith(KEYS_REFUSED):
        _refused_keys(tx, delivery.meter, now_ms)
    told = replace(delivery, reason=outcome.text)
    if outcome.certain:
        pause_ms = min(max(UNSENT_FIRST_MS, (now_ms - delivery.created_ms) // 4), UNSENT_LONGEST_MS)
        unsent = replace(told, attempts=delivery.attempts - 1, next_ms=now_ms + pause_ms)
        _step(tx, unsent, DeliveryEvent.NOT_SENT, now_ms)
    else:
        refusals = delivery.refusals + (outcome.fault is Fault.REFUSED)
        _step(tx, replace(told, refusals=refusals, look_ms=now_ms), DeliveryEvent.DOUBT, now_ms)


def settle(tx: Tx, delivery: Delivery, verdict: Verdict, wallet: Wallet, now_ms: int) -> Delivery:
    """What the wallet, which was just read, says about a delivery: it is in, it may be sent again, or somebody must find out."""
    if verdict is Verdict.TAKEN or (verdict is Verdict.DONE and not delivery.sent):
        renewed = replace(delivery, count=None, look_ms=None, next_ms=now_ms, reason="another purchase had its count")
        return _step(tx, renewed, DeliveryEvent.SEEN_UNDONE, now_ms)
    if verdict is Verdict.DONE:
        return arrived(tx, delivery, {"by": "read_back"}, now_ms)
    if verdict is Verdict.UNDONE:
        pause_ms = 0 if delivery.state is DeliveryState.QUEUED else _pause_ms(delivery.refusals)
        again = replace(delivery, look_ms=None, next_ms=max(delivery.next_ms, now_ms + pause_ms))
        return end_if_due(tx, _step(tx, again, DeliveryEvent.SEEN_UNDONE, now_ms), wallet, now_ms)
    why = wallet.memory.strange or "the wallet says neither yes nor no"
    doubted = replace(delivery, look_ms=now_ms + UNKNOWN_PAUSE_MS, reason=why)
    if delivery.sent:
        doubted = _step(tx, doubted, DeliveryEvent.DOUBT, now_ms)
        tell_doubt(tx, doubted, now_ms)
    else:
        tx.save_delivery(doubted)
    return doubted


def overdue(delivery: Delivery, now_ms: int) -> bool:
    """Whether its time is over."""
    return delivery.due_ms is not None and now_ms >= delivery.due_ms


def end_if_due(tx: Tx, delivery: Delivery, wallet: Wallet | None, now_ms: int) -> Delivery:
    """Give back what is overdue and surely not in: never sent, or its count read unmoved long enough after its last byte.

    What was sent shortly before is looked at once more; what is uncertain stays so.
    """
    if delivery.state is not DeliveryState.QUEUED or not overdue(delivery, now_ms):
        return delivery
    if delivery.attempts == 0 or delivery.sent_ms is None:
        return returned(tx, delivery, delivery.reason or "never sent", now_ms)
    settled_ms = delivery.sent_ms + SETTLED_MS
    if wallet is not None and wallet.memory.epoch == delivery.epoch and wallet.read_ms >= settled_ms:
        return returned(tx, delivery, "read unmoved", now_ms)
    waiting = replace(delivery, look_ms=max(settled_ms, now_ms))
    tx.save_delivery(waiting)
    return waiting


def returned(tx: Tx, delivery: Delivery, why: str, now_ms: int, by: str = "rules") -> Delivery:
    """The money goes back to where it came from."""
    transfer.void(tx, delivery.id, now_ms, {"reason": why, "by": by})
    return _step(tx, replace(delivery, look_ms=None, reason=why), DeliveryEvent.RETURN, now_ms)


def expire_deliveries(tx: Tx, now_ms: int) -> int:
    """End what is overdue, and tell a person of what has been uncertain for long; how many came back."""
    back = 0
    for delivery in tx.open_deliveries():
        if delivery.state is DeliveryState.UNCERTAIN and now_ms - delivery.changed_ms >= DOUBT_TOLD_MS:
            tell_doubt(tx, delivery, now_ms)
        elif overdue(delivery, now_ms) and (delivery.look_ms is None or delivery.look_ms > now_ms):
            back += not end_if_due(tx, delivery, tx.wallet(delivery.meter), now_ms).open
    return back


def recover_deliveries(tx: Tx, now_ms: int) -> int:
    """After a restart what was on the wire is uncertain and is read before anything else (F5); how many.

    After the restore of a backup that is all that was on its way: it may have been sent since. What had no count yet would have had
    the next ones, in this order.
    """
    restored, found, counts = held(tx) is not None, 0, dict[str, int]()
    for delivery in tx.open_deliveries():
        wallet = tx.wallet(delivery.meter)
        if delivery.state is not DeliveryState.SENT and not (restored and delivery.state is DeliveryState.QUEUED and wallet):
            continue
        count = delivery.count
        if delivery.act is Act.TOP_UP:
            count = count or counts.get(delivery.meter, wallet.count if wallet else 0) + 1
            counts[delivery.meter] = count
        why = "a backup was restored" if restored else "the gateway restarted"
        if delivery.state is DeliveryState.QUEUED:
            transfer.doubt(tx, delivery.id, now_ms)
            delivery = replace(delivery, attempts=max(1, delivery.attempts), sent_ms=delivery.sent_ms or now_ms)
        _step(tx, replace(delivery, count=count, look_ms=now_ms, reason=why), DeliveryEvent.DOUBT, now_ms)
        found += 1
    return found


def tell_doubt(tx: Tx, delivery: Delivery, now_ms: int) -> None:
    """Its money can be spent by nobody until the count is read."""
    shown = f"{format_money(delivery.micro, delivery.currency)} {delivery.currency}"
    text = f"{shown} for meter {delivery.meter} may or may not be in its wallet: {delivery.reason or 'it was not read since'}"
    findings.found(tx, FindingKind.TRANSFER_UNCERTAIN, delivery.id, text, now_ms, account=delivery.account)


def arrived(tx: Tx, delivery: Delivery, why: Mapping[str, str], now_ms: int) -> Delivery:
    """The money is in the meter, or out of it."""
    ref = why if delivery.count is None else {**why, "count": str(delivery.count), "meter": delivery.meter}
    transfer.post(tx, delivery.id, now_ms, ref)
    return _step(tx, replace(delivery, look_ms=None, reason=""), DeliveryEvent.SEEN_DONE, now_ms)


def _step(tx: Tx, delivery: Delivery, happened: DeliveryEvent, now_ms: int) -> Delivery:
    """Move it by its table, store it, and tell a change."""
    state = after(delivery, happened)
    moved = replace(delivery, state=state, changed_ms=delivery.changed_ms if state is delivery.state else now_ms)
    tx.save_delivery(moved)
    if state is not DeliveryState.UNCERTAIN and delivery.state is DeliveryState.UNCERTAIN:
        findings.over(tx, FindingKind.TRANSFER_UNCERTAIN, delivery.id, now_ms, account=delivery.account)
    if state is not delivery.state:
        _tell(tx, moved, now_ms)
    return moved


def _tell(tx: Tx, delivery: Delivery, now_ms: int) -> None:
    announce.event(
        tx,
        EventKind.DELIVERY_CHANGED,
        now_ms,
        meter=delivery.meter,
        account=delivery.account,
        delivery=delivery.id,
        act=delivery.act.value,
        amount=format_money(delivery.micro, delivery.currency),
        currency=delivery.currency,
        state=delivery.state.value,
        count=delivery.count,
        reason=delivery.reason or None,
    )


def _pause_ms(refusals: int) -> int:
    return min(REFUSED_FIRST_MS << min(refusals - 1, 10), REFUSED_LONGEST_MS) if refusals else 0


def _refused_keys(tx: Tx, meter: str, now_ms: int) -> None:
    wallet = tx.wallet(meter)
    if wallet is not None:
        fresh = tuple(at_ms for at_ms in wallet.memory.refused if now_ms - at_ms < REFUSED_WITHIN_MS)
        tx.save_wallet(replace(wallet, memory=replace(wallet.memory, refused=(*fresh, now_ms))))
