"""Who holds an account's money changes, and the money with it, exactly once: at no moment can it be spent in two places.

Into the meter: the wallet is seen at zero, the authority goes over, the balance follows as a delivery. Out of it: the wallet is
emptied by refunds, or seen to stand still while energy flows; then the authority comes back. Each step follows a look at the
wallet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Account, Authority, Meter
from gateway.domain.supply import CutCause
from gateway.domain.transfers import Transfer
from gateway.domain.units import format_money
from gateway.domain.wallet_mirror import FEN, Span, unfit
from gateway.domain.wallets import Act, Switching, Wallet, WalletMemory
from gateway.services import announce, transfer
from gateway.services.deliveries import end_if_due, queue
from gateway.services.ports import Site, Tx
from gateway.services.switching import lift
from gateway.services.wallet_word import wallet_of

AGAIN_MS = 60_000
"""Between two looks at a wallet that is to change hands: a register moves within it where anything flows."""

WATCH_MS = 6 * 60 * 60 * 1000
"""How often a wallet is looked at that holds nothing any more: four times a day it is shown that it does not."""

STANDS_MICRO = 2 * FEN
"""Used since by our books while the wallet shows the same: then it does not count. One could hide in what is not shown."""

_CUSTOMER = re.compile(r"[0-9]{12}", re.ASCII)


def ask_for_meter(tx: Tx, account_id: str, customer: str, by: str, reason: str, now_ms: int) -> str | None:
    """A person wants the meter to hold the money. customer: 12 digits that its purchases name, empty for those in the meter.

    None when it is under way, or done; else why not. It happens at the next look at the wallet, if that is at zero.
    """
    account, meters = tx.account(account_id), tx.meters_of(account_id)
    if account is None:
        return f"account {account_id} is not known here"
    if account.authority is Authority.METER:
        return None
    refused = why_not_in_meter(tx, account, meters, customer)
    if refused is not None:
        return refused
    known = tx.wallet(meters[0].id) or Wallet(meters[0].id, 0, 0)
    memory = replace(known.memory, customer=customer or known.memory.customer, switching=Switching.TO_METER, by=by, next_ms=now_ms)
    tx.save_wallet(replace(known, memory=memory))
    tx.add_audit(now_ms, by, "ask_authority", account_id, {"to": "meter", "reason": reason})
    return None


def ask_for_gateway(tx: Tx, account_id: str, how: Switching, by: str, reason: str, now_ms: int, *, refundable: bool) -> str | None:
    """A person wants us to hold the money: by refund, or because the meter was told to stop counting (freeze).

    refundable: the meter has a function that takes money out. None when it is under way, or done; else why not. What was not sent
    comes back; what was sent is waited for.
    """
    account, found = tx.account(account_id), wallet_of(tx, account_id)
    if account is None:
        return f"account {account_id} is not known here"
    if account.authority is Authority.GATEWAY:
        return None
    if how is Switching.TO_METER or found is None or not found[1].known:
        return f"the wallet of account {account_id} was never read: nobody knows what is in it"
    _, wallet = found
    if how is Switching.REFUND and not refundable and wallet.word_micro > 0:
        return "this meter has no function for a refund: let its wallet be used up, or set it to remote control and freeze it"
    for delivery in tx.open_deliveries(meter=wallet.meter):
        if delivery.act is Act.TOP_UP:
            called = replace(delivery, due_ms=now_ms)
            tx.save_delivery(called)
            end_if_due(tx, called, wallet, now_ms)
    tx.save_wallet(replace(wallet, memory=replace(wallet.memory, switching=how, by=by, next_ms=now_ms, frozen_micro=None)))
    tx.add_audit(now_ms, by, "ask_authority", account_id, {"to": "gateway", "how": how.value, "reason": reason})
    return None


def call_off(tx: Tx, account_id: str, by: str, reason: str, now_ms: int) -> str | None:
    """Leave the authority where it is. None when done, else why not."""
    found = wallet_of(tx, account_id)
    if found is None or found[1].memory.switching is None:
        return f"no change of authority is under way for account {account_id}"
    tx.add_audit(now_ms, by, "call_off_authority", account_id, {"reason": reason})
    _ended(tx, found[1], now_ms, f"called off: {reason}", account_id)
    return None


def why_not_in_meter(tx: Tx, account: Account, meters: Sequence[Meter], customer: str) -> str | None:
    """Why no meter can hold this account's money."""
    tariff = tx.price_list(account.tariff)
    if account.closed:
        return f"account {account.id} is closed"
    if len(meters) != 1:
        return f"account {account.id} has {len(meters)} meters: money in a meter needs exactly one"
    if customer and not _CUSTOMER.fullmatch(customer):
        return "a customer number has 12 digits"
    if meters[0].ratio != 1:
        return f"meter {meters[0].id} counts behind transformers: its wallet would price secondary values"
    reason = None if tariff is None else unfit(tariff)
    return None if reason is None else f"no meter can count for account {account.id}: its tariff {reason}"


def go_on(tx: Tx, account: Account, meter: Meter, wallet: Wallet, books: Span | None, site: Site, now_ms: int) -> Wallet:
    """The next step of a change of authority, after a look at the wallet. books: our balance at that look, None where it cannot be
    told yet. Gives the wallet as it then is."""
    memory = wallet.memory
    if memory.switching is None or memory.strange:
        return wallet
    again = _remember(tx, wallet, replace(memory, next_ms=now_ms + AGAIN_MS))
    if books is None or any(delivery.open for delivery in tx.open_deliveries(meter=wallet.meter)):
        return again
    if memory.switching is Switching.TO_METER:
        return _into_meter(tx, account, meter, again, site, now_ms)
    if tx.finding(FindingKind.WALLET_DIFFERS, wallet.meter) is not None:
        return again
    if memory.switching is Switching.REFUND:
        return _emptied(tx, account, again, site, now_ms)
    return _frozen(tx, account, again, books, now_ms)


def _into_meter(tx: Tx, account: Account, meter: Meter, wallet: Wallet, site: Site, now_ms: int) -> Wallet:
    memory = wallet.memory
    balance, inside = tx.balance(ledger.customer(account.id), account.currency), wallet.word_micro
    stays = inside if inside == memory.frozen_micro else 0
    if inside != stays:
        shown = format_money(inside, account.currency)
        return _ended(tx, wallet, now_ms, f"the wallet shows {shown} of its own: it must stand at zero first", account.id)
    if balance < stays or tx.balance(ledger.emergency(account.id), account.currency):
        return _ended(tx, wallet, now_ms, "a debt does not go into a meter: the balance is too low", account.id)
    lift(tx, account, CutCause.ENERGY_DEBT, site, now_ms)
    _authority(tx, account, Authority.METER, memory.by, now_ms)
    fresh = replace(memory, switching=None, frozen_micro=None, offset=None, next_ms=now_ms + AGAIN_MS)
    wallet = _remember(tx, wallet, fresh)
    micro = (balance - stays) // FEN * FEN
    if micro:
        to_undelivered(tx, account, micro, now_ms)
        queue(tx, account, wallet, micro, site, now_ms)
    return wallet


def _emptied(tx: Tx, account: Account, wallet: Wallet, site: Site, now_ms: int) -> Wallet:
    """What is used meanwhile makes the meter refuse; then the next look asks for less."""
    if wallet.word_micro <= 0:
        return _out_of_meter(tx, account, wallet, None, now_ms)
    if any(delivery.changed_ms == now_ms for delivery in tx.deliveries(1, account.id)):
        return wallet  # a refund was refused just now
    left = min(wallet.word_micro, tx.balance(ledger.customer(account.id), account.currency))
    if left > 0 and wallet.memory.offset is not None:
        queue(tx, account, wallet, left, site, now_ms, act=Act.REFUND)
    return wallet


def _frozen(tx: Tx, account: Account, wallet: Wallet, books: Span, now_ms: int) -> Wallet:
    memory, word = wallet.memory, wallet.word_micro
    if word <= 0:
        return _out_of_meter(tx, account, wallet, None, now_ms)
    if memory.frozen_micro is None or memory.frozen_books is None:
        return _remember(tx, wallet, replace(memory, frozen_micro=word, frozen_books=books.low))
    if word != memory.frozen_micro:
        before, now = (format_money(micro, account.currency) for micro in (memory.frozen_micro, word))
        why = f"the wallet still counts, from {before} to {now}: set the meter to remote control"
        return _ended(tx, wallet, now_ms, why, account.id)
    if memory.frozen_books - books.high < STANDS_MICRO:
        return wallet
    return _out_of_meter(tx, account, wallet, word, now_ms)


def _out_of_meter(tx: Tx, account: Account, wallet: Wallet, frozen_micro: int | None, now_ms: int) -> Wallet:
    """The wallet is at zero, or counts no more: from here on the money is ours to hold."""
    memory, undelivered = wallet.memory, ledger.undelivered(account.id)
    waits = tx.balance(undelivered, account.currency)
    if waits:
        _move(tx, account, undelivered, ledger.customer(account.id), waits, now_ms)
    _authority(tx, account, Authority.GATEWAY, memory.by, now_ms)
    done = replace(memory, switching=None, frozen_micro=frozen_micro, frozen_books=None, offset=None, next_ms=now_ms + WATCH_MS)
    return _remember(tx, wallet, done)


def _authority(tx: Tx, account: Account, to: Authority, by: str, now_ms: int) -> None:
    current = tx.account(account.id) or account
    tx.save_account(replace(current, authority=to))
    tx.add_audit(now_ms, by or "rules", "switch_authority", account.id, {"to": to.value})
    announce.event(tx, EventKind.AUTHORITY_CHANGED, now_ms, account=account.id, to=to.value)


def _ended(tx: Tx, wallet: Wallet, now_ms: int, why: str, account: str) -> Wallet:
    """It does not happen."""
    announce.event(tx, EventKind.AUTHORITY_KEPT, now_ms, meter=wallet.meter, account=account, reason=why)
    kept = None if wallet.memory.switching is Switching.FREEZE else wallet.memory.frozen_micro
    return _remember(tx, wallet, replace(wallet.memory, switching=None, frozen_micro=kept, frozen_books=None, next_ms=now_ms))


def _remember(tx: Tx, wallet: Wallet, memory: WalletMemory) -> Wallet:
    kept = replace(wallet, memory=memory)
    tx.save_wallet(kept)
    return kept


def to_undelivered(tx: Tx, account: Account, micro: int, now_ms: int) -> None:
    """Money of the balance is on its way to a meter from here on."""
    _move(tx, account, ledger.customer(account.id), ledger.undelivered(account.id), micro, now_ms)


def _move(tx: Tx, account: Account, source: str, target: str, micro: int, now_ms: int) -> None:
    ident = f"authority:{account.id}:{now_ms}:{target.partition(':')[0]}"
    transfer.begin(tx, Transfer(ident, account.id, account.currency, micro, source, target, now_ms))
    transfer.post(tx, ident, now_ms, {"reason": "the authority over this money changes"})
