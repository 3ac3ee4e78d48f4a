"""Old periods are closed by an entry that fixes their balances; nothing of them is deleted (prepayment.md 8)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain import ledger
from gateway.domain.audit import digest
from gateway.services.ports import Closing, Tx
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


def balance_period(tx: Tx, before_ms: int) -> Balanced | None:
    """Recompute the books up to the last entry before this moment, from the last closing on; None where nothing is new.

    Reads only, and takes as long as a verification. CannotClose where the books are not sound.
    """
    upto = tx.entry_before(before_ms)
    closings = tx.closings()
    if upto == 0 or (closings and closings[-1].upto >= upto):
        return None
    walk = Verification(tx, closings={closing.upto: closing for closing in closings})
    if closings:
        walk.finding = resume(walk, closings[-1])
    walk.walk(upto)
    if walk.finding is not None:
        raise CannotClose(walk.finding)
    return Balanced(upto, walk.books.audit.hash, walk.books.state())


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
