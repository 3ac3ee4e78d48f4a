"""A meter's wallet as its line reads it: what is due, what it says of deliveries, and whether our books say the same.

The meter's word is the balance; our books beside it are exact to the hundredth that it shows (domain/wallet_mirror.py).
"""

from __future__ import annotations

from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.findings import FindingKind
from gateway.domain.jobs import Answered, Outcome, WalletReadJob, WalletSeen, WalletWork
from gateway.domain.meters import Account, Authority, Meter
from gateway.domain.readings import TOTAL, Doubt, Reading, energy_registers
from gateway.domain.wallet_mirror import FEN, Span, offset, span_of
from gateway.domain.wallets import (
    Act,
    Delivery,
    DeliveryEvent,
    DeliveryState,
    Verdict,
    Wallet,
    WalletMemory,
    after,
    judge_purchase,
)
from gateway.services import announce, findings
from gateway.services.compare_wallet import HELD_MS, compare, keep, nameless, on_its_way, watch
from gateway.services.deliveries import job_of, queue, returned, settle
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx
from gateway.services.record_reading import record_reading
from gateway.services.reverse_topup import decide_reversals
from gateway.services.switch_authority import WATCH_MS, go_on, to_undelivered

LIMITS_MS = 24 * 60 * 60 * 1000
"""How often the hoarding limit is read again: only people change it."""

LOOKED_AT = 100
"""Deliveries of an account in which ours between two looks are found: a meter takes one at a time."""

UNREAD_PAUSE_MS = 5 * 60 * 1000
"""A scheduled read that brought nothing is tried again after this, whatever the schedule."""


def due_wallets(tx: Tx, line: str, now_ms: int) -> tuple[WalletWork, ...]:
    """What waits for this line: of each meter its oldest delivery, else its read by schedule. Not what is on the wire."""
    works: dict[str, WalletWork] = {}
    busy = set()
    for delivery in tx.open_deliveries(line=line):
        wallet = tx.wallet(delivery.meter)
        if delivery.meter in busy or wallet is None or wallet.memory.epoch != delivery.epoch or nameless(delivery):
            continue
        busy.add(delivery.meter)
        if (work := _work(delivery, wallet, now_ms)) is not None:
            works[delivery.meter] = work
    for wallet in tx.wallets(line):
        due_ms = wallet.memory.next_ms
        if due_ms is not None and wallet.meter not in works:
            works[wallet.meter] = WalletWork(_look(wallet, None, now_ms), due_ms, urgent=wallet.memory.switching is not None)
    return tuple(works.values())


def _work(delivery: Delivery, wallet: Wallet, now_ms: int) -> WalletWork | None:
    if delivery.look_ms is not None:
        return WalletWork(_look(wallet, delivery, now_ms), delivery.look_ms, urgent=True)
    if delivery.state is not DeliveryState.QUEUED:
        return None
    if delivery.act is Act.TOP_UP and delivery.count is None:
        return WalletWork(_look(wallet, delivery, now_ms), delivery.next_ms, urgent=True)
    return WalletWork(job_of(delivery, wallet), delivery.next_ms, urgent=True)


def _look(wallet: Wallet, delivery: Delivery | None, now_ms: int) -> WalletReadJob:
    limits = wallet.memory.limits_ms is None or not 0 <= now_ms - wallet.memory.limits_ms < LIMITS_MS
    return WalletReadJob(wallet.meter, delivery.id if delivery else "", delivery.count if delivery else None, limits)


def record_wallet(tx: Tx, job: WalletReadJob, outcome: Outcome, site: Site, now_ms: int) -> None:
    """Write down what a look at a wallet brought, and what follows: deliveries are decided, books compared, authority changed."""
    meter, wallet = tx.meter(job.meter), tx.wallet(job.meter)
    account = tx.account(meter.account) if meter is not None and meter.account is not None else None
    if meter is None or wallet is None or account is None:
        return
    seen = outcome.wallet if isinstance(outcome, Answered) else None
    if seen is None:
        if not job.delivery:
            keep(tx, wallet, replace(wallet.memory, next_ms=now_ms + UNREAD_PAUSE_MS))
        return
    used = _record_registers(tx, meter, account, seen, site, now_ms)
    before = wallet
    wallet = _taken_over(tx, account, wallet, seen, site, now_ms)
    _decide(tx, account, wallet, seen, used, now_ms)
    micro = tx.balance(ledger.customer(account.id), account.currency)
    wallet = _count_others(tx, account, before, tx.wallet(meter.id) or wallet)
    books = None if used is None else Span(micro, micro + used)
    account = tx.account(account.id) or account
    if books is not None and account.authority is Authority.METER:
        wallet = compare(tx, account, wallet, seen, books, site, now_ms)
    elif account.authority is Authority.GATEWAY and wallet.memory.switching is None:
        watch(tx, account, wallet, now_ms)
    decide_reversals(tx, site, now_ms, account.id)
    account = tx.account(account.id) or account
    go_on(tx, account, meter, wallet, books, site, now_ms)
    account = judge_account(tx, account.id, site, now_ms)
    announce.balance(tx, account, now_ms)


def _count_others(tx: Tx, account: Account, before: Wallet, wallet: Wallet) -> Wallet:
    """Remember the purchases that this look found and that are none of ours: typed or carried to the meter by somebody."""
    if not before.known or wallet.memory.strange or wallet.count <= before.count:
        return wallet
    ours = [
        delivery
        for delivery in tx.deliveries(LOOKED_AT, account.id)
        if (delivery.meter, delivery.epoch, delivery.state) == (wallet.meter, wallet.memory.epoch, DeliveryState.IN_METER)
        and delivery.count is not None
        and before.count < delivery.count <= wallet.count
    ]
    others = wallet.count - before.count - len(ours)
    return keep(tx, wallet, replace(wallet.memory, elsewhere=wallet.memory.elsewhere + others)) if others > 0 else wallet


def _record_registers(tx: Tx, meter: Meter, account: Account, seen: WalletSeen, site: Site, now_ms: int) -> int | None:
    """Record the registers in front of the wallet and behind it; micro-units used between the two, None where our books do not
    stand at the one behind it."""
    own, found = ledger.customer(account.id), []
    for reading in (seen.before, seen.after):
        if reading is not None:
            record_reading(tx, reading, None, site, now_ms)
            if _billed_to(tx, meter, reading):
                found.append((reading, tx.balance(own, account.currency)))
    if seen.before is None or seen.after is None or not found or found[-1][0] is not seen.after:
        return None
    if len(found) == 2:
        return found[0][1] - found[1][1]
    return 0 if _total(meter, seen.before) == _total(meter, seen.after) else None


def _billed_to(tx: Tx, meter: Meter, reading: Reading) -> bool:
    billing = tx.billing(meter.id)
    wh = energy_registers(reading.items, meter.ratio)
    if billing is None or billing.confirmed is None or billing.held is not None or wh is None or isinstance(wh, Doubt):
        return False
    return dict(billing.confirmed.wh) == wh


def _total(meter: Meter, reading: Reading) -> int | None:
    wh = energy_registers(reading.items, meter.ratio)
    return None if wh is None or isinstance(wh, Doubt) else wh[TOTAL]


def _taken_over(tx: Tx, account: Account, wallet: Wallet, seen: WalletSeen, site: Site, now_ms: int) -> Wallet:
    """The wallet's word replaces what we knew, unless it is hardly the same wallet: then a person has to say so first."""
    memory = wallet.memory
    strange = _strange(wallet, seen)
    period_ms = site.wallet_read_ms if account.authority is Authority.METER else WATCH_MS
    next_ms = now_ms + (min(HELD_MS, period_ms) if wallet.held_since_ms is not None else period_ms)
    if strange:
        findings.found(tx, FindingKind.WALLET_DIFFERS, wallet.meter, strange, now_ms, account=account.id)
        return keep(tx, wallet, replace(memory, strange=strange, next_ms=next_ms))
    if memory.strange:
        findings.over(tx, FindingKind.WALLET_DIFFERS, wallet.meter, now_ms, account=account.id)
    kept = replace(memory, strange="", next_ms=next_ms, seen_customer=seen.count.customer)
    if seen.hoarding is not None:
        kept = replace(kept, hoarding_micro=seen.hoarding * FEN, limits_ms=now_ms)
    count, opened = seen.count.count, wallet.opened or seen.count.count > 0
    word = replace(
        wallet, count=count, balance_micro=seen.remaining * FEN, overdraft_micro=seen.overdrawn * FEN, read_ms=now_ms, opened=opened
    )
    return keep(tx, word, kept)


def _strange(wallet: Wallet, seen: WalletSeen) -> str:
    """Why this is hardly the wallet that we knew; empty where it may be."""
    memory, customer = wallet.memory, seen.count.customer
    if wallet.known and seen.count.count < wallet.count:
        went = f"the purchase count of meter {wallet.meter} went back from {wallet.count} to {seen.count.count}"
        return f"{went}: is it another meter?"
    ours = memory.customer or memory.seen_customer
    if customer is not None and ours and customer != ours:
        return f"the wallet of meter {wallet.meter} belongs to customer {customer}, not {ours}: is it another meter?"
    return ""


def _decide(tx: Tx, account: Account, wallet: Wallet, seen: WalletSeen, used: int | None, now_ms: int) -> None:
    """What the oldest delivery has come to, and under which count the next one goes."""
    customer = wallet.memory.customer or wallet.memory.seen_customer or ""
    for delivery in on_its_way(tx, wallet):
        if delivery.act is Act.REFUND:
            _decide_refund(tx, account, wallet, delivery, seen, used, now_ms)
        elif delivery.count is not None:
            delivery = settle(tx, delivery, judge_purchase(delivery, seen.count, customer), wallet, now_ms)
        if delivery.act is Act.TOP_UP and delivery.count is None and delivery.open:
            pause_ms = UNREAD_PAUSE_MS if wallet.memory.strange else 0
            count = None if wallet.memory.strange else seen.count.count + 1
            tx.save_delivery(replace(delivery, count=count, next_ms=max(delivery.next_ms, now_ms + pause_ms)))
        if delivery.open:
            return


def _decide_refund(
    tx: Tx, account: Account, wallet: Wallet, delivery: Delivery, seen: WalletSeen, used: int | None, now_ms: int
) -> None:
    """A refund moves no count: only the balance tells. Our books stand without the money since it was put aside."""
    known = wallet.memory.offset
    if not delivery.sent:
        return
    verdict = Verdict.UNKNOWN
    if used is not None and known is not None and not wallet.memory.strange:
        micro = tx.balance(ledger.customer(account.id), account.currency)
        now = offset(span_of(seen.remaining, seen.overdrawn), Span(micro, micro + used))
        done, undone = now.meet(known) is not None, now.meet(known.moved(delivery.micro)) is not None
        if done is not undone:
            verdict = Verdict.DONE if done else Verdict.UNDONE
    settled = settle(tx, delivery, verdict, wallet, now_ms)
    if verdict is Verdict.UNDONE and settled.open and settled.refusals:
        returned(tx, settled, settled.reason, now_ms)  # the next look asks for what is left then


def watch_wallet(tx: Tx, meter: str, customer: str, now_ms: int, *, adopt: bool = False) -> None:
    """Read this meter's wallet from now on. customer: 12 digits, empty for the meter's own. adopt: what is in it is theirs."""
    known = tx.wallet(meter)
    if known is None:
        tx.save_wallet(Wallet(meter, 0, 0, memory=WalletMemory(customer=customer, next_ms=now_ms, adopt=adopt)))
    elif customer and known.memory.customer != customer:
        keep(tx, known, replace(known.memory, customer=customer, next_ms=now_ms))


def watch_account(tx: Tx, account_id: str, customer: str, now_ms: int) -> None:
    """Read the wallet of the meter that holds this account's money from now on; nothing where we hold it."""
    account = tx.account(account_id)
    if account is not None and account.authority is Authority.METER and not account.closed:
        for meter in tx.meters_of(account_id):
            watch_wallet(tx, meter.id, customer, now_ms, adopt=True)


def power_returned(tx: Tx, meter: str, now_ms: int) -> None:
    """A meter answers again: its books are not compared before two reads HELD_MS apart agree."""
    wallet = tx.wallet(meter)
    if wallet is not None and wallet.memory.next_ms is not None:
        keep(tx, replace(wallet, held_since_ms=now_ms), replace(wallet.memory, held=None, next_ms=now_ms))


def change_wallet(tx: Tx, meter: str, by: str, site: Site, now_ms: int) -> None:
    """Another meter hangs behind this name. What was in the old one, and on its way there, goes into the new one, under its counts.

    The old wallet is dead: whoever says that a meter was changed says so too.
    """
    wallet, found = tx.wallet(meter), tx.meter(meter)
    account = tx.account(found.account) if found is not None and found.account is not None else None
    if wallet is None or account is None:
        return
    memory = WalletMemory(customer=wallet.memory.customer or wallet.memory.seen_customer or "", epoch=wallet.memory.epoch + 1)
    fresh = Wallet(meter, 0, 0, memory=replace(memory, next_ms=now_ms))
    tx.save_wallet(fresh)
    tx.add_audit(now_ms, by, "change_wallet", meter, {"count": str(wallet.count), "word_micro": str(wallet.word_micro)})
    findings.over(tx, FindingKind.WALLET_DIFFERS, meter, now_ms, account=account.id)
    for delivery in tx.open_deliveries(meter=meter):
        _into_new(tx, delivery, memory.epoch, now_ms)
    if account.authority is Authority.METER:
        rest = tx.balance(ledger.customer(account.id), account.currency)
        if rest >= FEN:
            to_undelivered(tx, account, rest // FEN * FEN, now_ms)
            queue(tx, account, fresh, rest, site, now_ms)


def _into_new(tx: Tx, delivery: Delivery, epoch: int, now_ms: int) -> None:
    """A purchase that the old meter may have taken is one for the new meter; a refund of the old meter is over."""
    if delivery.act is Act.REFUND:
        if delivery.state is DeliveryState.SENT:
            delivery = replace(delivery, state=after(delivery, DeliveryEvent.DOUBT))
        returned(tx, delivery, "the meter was changed", now_ms)
        return
    state = DeliveryState.QUEUED if delivery.state is DeliveryState.QUEUED else after(delivery, DeliveryEvent.SEEN_UNDONE)
    never = replace(delivery, attempts=0, refusals=0, sent_ms=None, look_ms=None, reason="the meter was changed")
    tx.save_delivery(replace(never, state=state, epoch=epoch, count=None, next_ms=now_ms, changed_ms=now_ms))
    findings.over(tx, FindingKind.TRANSFER_UNCERTAIN, delivery.id, now_ms, account=delivery.account)
