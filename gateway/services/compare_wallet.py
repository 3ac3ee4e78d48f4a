"""Our books beside a meter's word: exact to the hundredth that it shows (domain/wallet_mirror.py), or a finding for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.jobs import WalletSeen
from gateway.domain.meters import Account, Authority
from gateway.domain.units import format_money
from gateway.domain.wallet_mirror import Span, align, offset, span_of
from gateway.domain.wallets import Act, Delivery, DeliveryState, Switching, Wallet, WalletMemory
from gateway.services import announce, findings
from gateway.services.found_purchase import found_purchase, record_found
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry

HELD_MS = 60_000
"""After power came back two reads so far apart must agree: chip and working balance may differ until then (prepayment.md f)."""

ALIGN_MOST_MICRO = 1_000_000
"""What books and wallet may differ by when they are compared for the first time: what was used while the authority was switched.
One unit of money; more is for a person to look at."""


def compare(tx: Tx, account: Account, wallet: Wallet, seen: WalletSeen, books: Span, site: Site, now_ms: int) -> Wallet:
    """Our books beside the meter's word. What is on its way, or may be, is not compared."""
    memory = wallet.memory
    under_way = any(d.state is not DeliveryState.QUEUED or d.act is Act.REFUND for d in on_its_way(tx, wallet))
    freezing = memory.switching is Switching.FREEZE and memory.frozen_micro is not None
    if memory.strange or under_way or freezing:
        return wallet
    now = offset(span_of(seen.remaining, seen.overdrawn), books)
    if wallet.held_since_ms is not None:
        if memory.held is None or memory.held.meet(now) is None:
            return keep(tx, wallet, replace(memory, held=now, held_ms=now_ms))
        if now_ms - memory.held_ms < HELD_MS:
            return wallet
        wallet = replace(wallet, held_since_ms=None)
        memory = replace(memory, held=None)
    if memory.offset is None:
        return _first(tx, account, wallet, memory, now, now_ms)
    both = memory.offset.meet(now)
    if both is not None:
        findings.over(tx, FindingKind.WALLET_DIFFERS, wallet.meter, now_ms, account=account.id)
        return keep(tx, wallet, replace(memory, offset=both, differs=None, elsewhere=0))
    micro = found_purchase(memory, now)
    if micro and record_found(tx, account, wallet, micro, site, now_ms):
        findings.over(tx, FindingKind.WALLET_DIFFERS, wallet.meter, now_ms, account=account.id)
        both = memory.offset.meet(now.moved(-micro))
        return keep(tx, wallet, replace(memory, offset=both, differs=None, elsewhere=0))
    return _differ(tx, account, wallet, replace(memory, differs=now), now, now_ms)


def _first(tx: Tx, account: Account, wallet: Wallet, memory: WalletMemory, now: Span, now_ms: int) -> Wallet:
    """The first comparison: what was in the meter before us is taken over, a little from a change of authority is adjusted."""
    micro = align(now)
    if micro and memory.adopt:
        post_entry(tx, ledger.opening(account.id, account.currency, micro, now_ms))
    elif abs(micro) > ALIGN_MOST_MICRO:
        return _differ(tx, account, wallet, replace(memory, differs=now), now, now_ms)
    elif micro:
        _adjust(tx, account, wallet.meter, micro, "rules", "used while the authority was switched", now_ms)
    return keep(tx, wallet, replace(memory, offset=now.moved(-micro), adopt=False, differs=None))


def _differ(tx: Tx, account: Account, wallet: Wallet, memory: WalletMemory, now: Span, now_ms: int) -> Wallet:
    told = now if memory.offset is None else Span(now.low - memory.offset.high, now.high - memory.offset.low)
    shown = format_money(align(told), account.currency)
    text = f"the wallet of meter {wallet.meter} holds {shown} {account.currency} more than our books say (count {wallet.count})"
    findings.found(tx, FindingKind.WALLET_DIFFERS, wallet.meter, text, now_ms, {"micro": str(align(told))}, account=account.id)
    return keep(tx, wallet, memory)


def watch(tx: Tx, account: Account, wallet: Wallet, now_ms: int) -> None:
    """We hold the money: the wallet must be at zero, or stand where it was frozen."""
    if wallet.memory.strange:
        return
    if (why := both_spendable(wallet, account)) is not None:
        findings.found(tx, FindingKind.WALLET_DIFFERS, wallet.meter, why, now_ms, account=account.id)
    else:
        findings.over(tx, FindingKind.WALLET_DIFFERS, wallet.meter, now_ms, account=account.id)


def both_spendable(wallet: Wallet, account: Account) -> str | None:
    """Why money could be spent at the meter although we hold the account's; None where it cannot."""
    word, frozen = wallet.word_micro, wallet.memory.frozen_micro
    if account.authority is Authority.METER or not wallet.known or word <= 0 or word == frozen:
        return None
    return f"the wallet of meter {wallet.meter} holds {format_money(word, account.currency)} although the gateway holds the money"


def why_not_accepted(tx: Tx, meter: str) -> str | None:
    """Why there is nothing to accept of this meter's word; None where there is."""
    wallet = tx.wallet(meter)
    differs = wallet is not None and wallet.memory.differs is not None
    return None if differs else f"the wallet of meter {meter} does not differ from our books"


def accept_word(tx: Tx, meter: str, by: str, reason: str, now_ms: int) -> str | None:
    """A person takes the meter's word for right: our books follow, by an entry. None when done, else why not."""
    wallet, known = tx.wallet(meter), tx.meter(meter)
    account = tx.account(known.account) if known is not None and known.account is not None else None
    if wallet is None or account is None or wallet.memory.differs is None:
        return why_not_accepted(tx, meter)
    now, memory = wallet.memory.differs, wallet.memory
    micro = align(now)
    if micro:
        _adjust(tx, account, meter, micro, by, reason, now_ms)
    keep(tx, wallet, replace(memory, offset=now.moved(-micro), differs=None, next_ms=now_ms))
    findings.over(tx, FindingKind.WALLET_DIFFERS, meter, now_ms, account=account.id)
    return None


def _adjust(tx: Tx, account: Account, meter: str, micro: int, by: str, reason: str, now_ms: int) -> None:
    ref = {"by": by, "reason": reason, "wallet": meter}
    posted = post_entry(tx, ledger.adjustment(account.id, account.currency, micro, now_ms, ref))
    tx.add_audit(now_ms, by, "align_wallet", meter, {"micro": str(micro), "entry": str(posted.number), "reason": reason})
    announce.event(tx, EventKind.WALLET_ALIGNED, now_ms, meter=meter, account=account.id, micro=str(micro), reason=reason)


def on_its_way(tx: Tx, wallet: Wallet) -> Sequence[Delivery]:
    """Those that this wallet can decide, oldest first."""
    found = tx.open_deliveries(meter=wallet.meter)
    return [delivery for delivery in found if delivery.epoch == wallet.memory.epoch and not nameless(delivery)]


def nameless(delivery: Delivery) -> bool:
    """Whether it may be in a meter under a count that nobody knows: no look can decide that, a person must."""
    return delivery.act is Act.TOP_UP and delivery.count is None and delivery.state is DeliveryState.UNCERTAIN


def keep(tx: Tx, wallet: Wallet, memory: WalletMemory) -> Wallet:
    """Store the wallet with this memory of it."""
    kept = replace(wallet, memory=memory)
    tx.save_wallet(kept)
    return kept
