"""Old periods are closed by an entry that fixes their balances; nothing of them is deleted (prepayment.md 8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from gateway.domain import ledger
from gateway.domain.audit import digest
from gateway.domain.events import EventKind
from gateway.domain.records import Closing
from gateway.domain.slots import DAY_MS, local_of, midnight
from gateway.services import announce
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from gateway.services.verify_ledger import Verification, resume


class CannotClose(ValueError):
    """Why a period cannot be closed, in one sentence."""


@dataclass(frozen=True, slots=True)
class Balanced:
    """The books of a period's end, recomputed: entry number, its hash, and the state that later entries are judged by."""

    upto: int
    hash: str
    state: str


@dataclass(slots=True)
class Balancing:
    """Books on their way from the last closing to the end of a period. upto: its last entry.

    What is posted never changes, so that each piece of the way may have a read transaction of its own.
    """

    upto: int
    walk: Verification


def begin_balance(tx: Tx, before_ms: int) -> Balancing | None:
    """Where the last closing left the books, to be taken to the last entry before this moment; None where nothing is new.

    CannotClose where the last closing is not sound.
    """
    upto = tx.entry_before(before_ms)
    closings = tx.closings()
    if upto == 0 or (closings and closings[-1].upto >= upto):
        return None
    walk = Verification(tx, closings={closing.upto: closing for closing in closings})
    if closings and (finding := resume(walk, closings[-1])) is not None:
        raise CannotClose(finding)
    return Balancing(upto, walk)


def go_on(tx: Tx, work: Balancing, entries: int) -> Balanced | None:
    """Recompute so many entries more; the books when they are at the end. Reads only. CannotClose where they are not sound."""
    walk = work.walk
    walk.tx = walk.banks.tx = tx
    target = min(work.upto, walk.number + entries)
    walk.walk(target)
    if walk.finding is not None:
        raise CannotClose(walk.finding)
    if walk.number < target:
        raise CannotClose(f"the journal stops at entry {walk.number}, but entry {work.upto} was posted")
    return Balanced(walk.number, walk.books.audit.hash, walk.books.state()) if walk.number == work.upto else None


def balance_period(tx: Tx, before_ms: int) -> Balanced | None:
    """The whole way at once: as long as a verification. None where nothing is new; CannotClose where the books are not sound."""
    work = begin_balance(tx, before_ms)
    return None if work is None else go_on(tx, work, work.upto)


def close_period(tx: Tx, books: Balanced, now_ms: int) -> Closing | None:
    """Post the entry that closes what was balanced; None where it is closed already. CannotClose where that is not our journal."""
    closings = tx.closings()
    if closings and closings[-1].upto >= books.upto:
        return None
    last = tx.entry(books.upto)
    if last is None or last.hash != books.hash:
        raise CannotClose(f"entry {books.upto} is not the one that was balanced")
    ref = {"period_end_ms": str(last.entry.at_ms)}
    posted = post_entry(tx, ledger.closing(books.upto, books.hash, digest(books.state), now_ms, ref))
    closing = Closing(posted.number, books.upto, books.hash)
    tx.add_closing(closing, books.state)
    return closing


def month_to_close(tx: Tx, zone: str, after_days: int, now_ms: int) -> int | None:
    """The end of the oldest month (of this zone) with entries that no closing covers; None until it is over for so many days.

    UTC ms. Months in which nothing but closings was posted are passed over.
    """
    closings = tx.closings()
    first = closings[-1].upto + 1 if closings else 1
    own = {closing.entry for closing in closings}
    while first in own:
        first += 1
    rows = tx.journal_rows(first - 1, 1)
    if not rows:
        return None
    place = ZoneInfo(zone)
    begun = local_of(rows[0].booked_ms, place).date().replace(day=1)
    end_ms = midnight((begun + timedelta(days=31)).replace(day=1), place)
    return end_ms if now_ms >= end_ms + after_days * DAY_MS else None


FINDING = "ledger_finding"
"""Key in `meta`: what was last found wrong with the journal, so that it is told once."""


def tell_finding(tx: Tx, finding: str, now_ms: int) -> None:
    """An event, unless this was the last one told."""
    if tx.meta(FINDING) != finding:
        tx.set_meta(FINDING, finding)
        announce.event(tx, EventKind.LEDGER_UNSOUND, now_ms, text=finding)
