"""After the restore of a backup: money is taken again only when bank and centre agree with the ledger (contract.md 2).

What was paid in, given back or sent up after the backup is unknown here. So payments wait, nobody is cut for debt, and acts of a
named person lead out: missing payments are brought in under their identity, each bank's totals agree, the centre's end is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.agreements import BankAgreed, CentreAgreed, Held, moment
from gateway.domain.events import EventKind, Json
from gateway.domain.records import Taken
from gateway.domain.requests import TopUp
from gateway.domain.units import format_money
from gateway.services import announce
from gateway.services.acknowledge import EPOCH
from gateway.services.apply_topup import apply_topup
from gateway.services.money_held import HELD, SERIES, held, save
from gateway.services.ports import Site, TopUpVerdict, Tx

AROUND_DAYS = 1
"""Accounting dates of yesterday and tomorrow are accepted too, so that the span to be compared is a day longer at both ends."""


def hold_money(tx: Tx, new_epoch: str, backup_ms: int, now_ms: int) -> None:
    """The store has been restored: it gets its new epoch, and money waits. The numbers of the outbox rise on."""
    outbox, epoch, before = tx.outbox_state(), tx.meta(EPOCH) or "", held(tx)
    if before is not None:  # nobody has found out yet what was lost at the restore before this one
        backup_ms = min(backup_ms, before.backup_ms)
    tx.set_meta(EPOCH, new_epoch)
    tx.set_meta(SERIES, f"{new_epoch[:4]}-")
    save(tx, Held(epoch, backup_ms, now_ms, outbox.last, outbox.low))
    announce.event(
        tx, EventKind.STORE_RESTORED, now_ms, epoch=new_epoch, epoch_before=epoch, backup=moment(backup_ms),
        entries=tx.journal_end()[0], outbox=outbox.last,
    )  # fmt: skip


def missing(tx: Tx, zone: str) -> tuple[str, ...]:
    """What must still be agreed before money is taken, and agreements that the ledger no longer bears out. zone: the banks' own."""
    waits = held(tx)
    if waits is None:
        return ()
    found = [sentence for agreed in waits.banks if (sentence := _differs(tx, agreed)) is not None]
    for taken in tx.taken("0000", "9999"):
        found += _open_days(waits, taken, zone)
    if waits.centre is None:
        found.append("it is not said how far the centre has received")
    return tuple(found)


def agree_bank(tx: Tx, agreed: BankAgreed, now_ms: int) -> str | None:
    """A bank's figures, held against the ledger. None when they agree, else the difference, and nothing is kept."""
    waits = held(tx)
    if waits is None:
        return NOT_HELD
    if agreed.last < agreed.first:
        return f"the span ends on {agreed.last}, before it begins"
    if (differs := _differs(tx, agreed)) is not None:
        return differs
    others = [b for b in waits.banks if (b.bank, b.currency, b.first, b.last) != _span(agreed)]
    save(tx, replace(waits, banks=(*others, agreed)))
    announce.event(
        tx, EventKind.BANK_AGREED, now_ms, bank=agreed.bank, first=agreed.first, last=agreed.last, count=agreed.count,
        total=format_money(agreed.micro, agreed.currency), currency=agreed.currency, by=agreed.by,
    )  # fmt: skip
    return None


def agree_centre(tx: Tx, epoch: str, agreed: CentreAgreed, now_ms: int) -> str | None:
    """How far the centre has received, in the epoch before. None when that can be, else why not."""
    waits = held(tx)
    if waits is None:
        return NOT_HELD
    if agreed.seq is not None and epoch != waits.epoch:
        return f"the backup is of epoch {waits.epoch}, and the number is of epoch {epoch or '(none named)'}"
    if agreed.seq is not None and agreed.seq < waits.low - 1:
        return f"the centre had acknowledged up to {waits.low - 1} before the backup, and is now said to have {agreed.seq}"
    save(tx, replace(waits, centre=agreed))
    after = None if agreed.seq is None else max(0, agreed.seq - waits.outbox)
    announce.event(tx, EventKind.CENTRE_AGREED, now_ms, epoch=waits.epoch, seq=agreed.seq, unknown_here=after, reason=agreed.reason,
                   by=agreed.by)  # fmt: skip
    return None


def bring_in(tx: Tx, topups: Sequence[TopUp], by: str, site: Site, now_ms: int) -> int:
    """Payments that a bank knows and a restored ledger does not, all or none: how many were new, the others were here.

    They are booked under the bank's own identity, so that none is booked twice, and supply follows as for any payment. Raises
    NotBroughtIn.
    """
    if held(tx) is None:
        raise NotBroughtIn(NOT_HELD)
    new = 0
    for topup in topups:
        outcome = apply_topup(tx, topup, site, now_ms, missed=True)
        serial = f"serial {topup.identity.serial} of bank {topup.identity.bank}"
        if outcome.verdict is TopUpVerdict.CONFLICT:
            raise NotBroughtIn(f"{serial} is booked here with another {outcome.field}")
        if outcome.verdict is TopUpVerdict.REFUSED:  # a refusal would be kept for ever, and the bank was told that it is booked
            raise NotBroughtIn(f"{serial}: {outcome.payment.detail}")
        new += outcome.verdict is TopUpVerdict.POSTED
    banks: list[Json] = [*sorted({topup.identity.bank for topup in topups})]
    announce.event(tx, EventKind.PAYMENTS_BROUGHT_IN, now_ms, banks=banks, new=new, known=len(topups) - new, by=by)
    return new


def release(tx: Tx, by: str, zone: str, now_ms: int) -> tuple[str, ...]:
    """Money is taken again. What is missing, in sentences; empty when it was released."""
    if held(tx) is None:
        return (NOT_HELD,)
    if still := missing(tx, zone):
        return still
    tx.set_meta(HELD, "")
    announce.event(tx, EventKind.MONEY_RELEASED, now_ms, by=by)
    return ()


NOT_HELD = "money is taken here: no restored backup waits for an agreement"


class NotBroughtIn(Exception):
    """None of the payments was brought in; one sentence."""


def _span(agreed: BankAgreed) -> tuple[str, str, str, str]:
    return agreed.bank, agreed.currency, agreed.first, agreed.last


def _differs(tx: Tx, agreed: BankAgreed) -> str | None:
    """The difference between a bank's figures and the ledger's, in one sentence."""
    here = next(
        (t for t in tx.taken(agreed.first, agreed.last) if (t.bank, t.currency) == (agreed.bank, agreed.currency)),
        Taken(agreed.bank, agreed.currency, 0, 0),
    )
    if (here.count, here.micro) == (agreed.count, agreed.micro):
        return None
    span = agreed.first if agreed.first == agreed.last else f"{agreed.first} to {agreed.last}"
    ours, theirs = (format_money(micro, agreed.currency) for micro in (here.micro, agreed.micro))
    less = format_money(agreed.micro - here.micro, agreed.currency)
    return (
        f"bank {agreed.bank}, {span}: {here.count} payments of {ours} {agreed.currency} here, {agreed.count} of {theirs} there; "
        f"missing here: {agreed.count - here.count} of {less}"
    )


def _open_days(waits: Held, taken: Taken, zone: str) -> Iterator[str]:
    """The accounting dates of a bank that nobody has compared, as one sentence."""
    spans = [(b.first, b.last) for b in waits.banks if (b.bank, b.currency) == (taken.bank, taken.currency)]
    days = [day.isoformat() for day in _days(waits, zone)]
    left = [day for day in days if not any(first <= day <= last for first, last in spans)]
    if left:
        yield f"bank {taken.bank} ({taken.currency}) is not compared for {', '.join(left)}"


def _days(waits: Held, zone: str) -> Iterator[date]:
    """The accounting dates that payments could have which came after the backup and before the restore."""
    first, last = (_local(ms, zone).date() for ms in (waits.backup_ms, waits.restored_ms))
    day = first - timedelta(days=AROUND_DAYS)
    while day <= last + timedelta(days=AROUND_DAYS):
        yield day
        day += timedelta(days=1)


def _local(ms: int, zone: str) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone))
