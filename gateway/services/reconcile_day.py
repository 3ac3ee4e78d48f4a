"""A bank's day file beside our books: compared by a reader, kept by the writer; nothing is corrected by itself (contract.md 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from gateway.domain.bank_acts import BookedReversal, ClosedDay, Origin, RefundState, ReversalState
from gateway.domain.bank_terms import SerialScope
from gateway.domain.day_file import REFUND, REVERSAL, TOPUP, DayLine, Record, moment
from gateway.domain.differences import DayBook, Difference, Known, Matching, differences, digest
from gateway.domain.events import EventKind, Json
from gateway.domain.records import DayKey, Payment
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import format_money
from gateway.services import announce
from gateway.services.ports import Tx

PAGE = 5_000
"""Lines of our statement per read: 2 MB."""

CENT = 10_000


class DayIsClosed(Exception):
    """The accounting date is closed, in one sentence; nothing was kept."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found; `our_micro` and `ours` are what our statement was then."""

    lines: int
    ours: int
    our_micro: Mapping[str, int]
    matched: int
    matched_micro: Mapping[str, int]
    found: tuple[Difference, ...]


def statement(tx: Tx, bank: str, day: str) -> Iterator[DayLine]:
    """Our own lines of an accounting date, as its file would have them."""
    after: DayKey | None = None
    while page := tx.day_lines(bank, day, after, PAGE):
        yield from (line for _, line in page)
        after = page[-1][0]


def compare_day(tx: Tx, bank: str, day: date, records: Iterable[Record], scope: SerialScope = SerialScope.EVER) -> Compared:
    """The file's records (domain.day_file) beside our statement. Only reads. DayFileError and TooManyDifferences as they come."""
    ours, matching = day.isoformat(), Matching()
    matching.add_ours(statement(tx, bank, ours))
    matching.take(records)
    left = [line for line in statement(tx, bank, ours) if digest(line) in matching.left] if matching.left else []
    look = _Look(tx, bank, day, scope)
    found = differences(matching, left, look, ours)
    return Compared(
        matching.lines, matching.ours, _micro(matching.our_cents), matching.matched, _micro(matching.matched_cents), tuple(found)
    )


def begin_upload(tx: Tx, bank: str, day: str, sha256: str, now_ms: int) -> DayBook:
    """A file came: it gets its version. DayIsClosed."""
    if tx.closed_day(bank, day) is not None:
        raise DayIsClosed(f"accounting date {day} of bank {bank} is closed")
    before = tx.day_book(bank, day)
    book = DayBook(bank, day, 1 if before is None else before.version + 1, "running", now_ms, sha256)
    tx.save_day_book(book)
    return book


def keep_result(tx: Tx, book: DayBook, compared: Compared, now_ms: int, *, close: bool = False) -> DayBook:
    """Write down what a comparison found, and close the day where that is asked for and nothing is open.

    What was decided about a difference in an earlier version holds for the same one in this.
    """
    counts: dict[str, int] = {}
    for each in compared.found:
        counts[each.kind.value] = counts.get(each.kind.value, 0) + 1
    done = replace(
        book, state="done", lines=compared.lines, ours=compared.ours, our_micro=compared.our_micro, matched=compared.matched,
        matched_micro=compared.matched_micro, found=dict(sorted(counts.items())),
    )  # fmt: skip
    tx.save_day_book(done)
    tx.add_differences(book.bank, book.accounting_date, book.version, compared.found)
    by_kind: dict[str, Json] = {**counts}
    announce.event(
        tx, EventKind.DAY_RECONCILED, now_ms, bank=book.bank, accounting_date=book.accounting_date, version=book.version,
        lines=compared.lines, matched=compared.matched, differences=len(compared.found), kinds=by_kind,
    )  # fmt: skip
    return close_day(tx, done, f"bank:{book.bank}", now_ms) if close else done


def fail_upload(tx: Tx, book: DayBook, why: str) -> DayBook:
    """The file could not be compared."""
    failed = replace(book, state="failed", note=why)
    tx.save_day_book(failed)
    return failed


def close_day(tx: Tx, book: DayBook, who: str, now_ms: int) -> DayBook:
    """Close an accounting date by the newest upload of its file: the book, closed, or with the reason why not in its note.

    Every difference is resolved, and our books still say what was compared.
    """
    bank, day = book.bank, book.accounting_date
    if tx.closed_day(bank, day) is not None:
        return replace(book, closed=True)
    if (why := _not_closed(tx, book)) is not None:
        return replace(book, note=why)
    tx.close_day(ClosedDay(bank, day, book.version, book.ours, dict(book.our_micro), now_ms))
    done = replace(book, closed=True, note="")
    tx.save_day_book(done)
    sums = {currency: format_money(micro, currency) for currency, micro in book.our_micro.items()}
    tx.add_audit(now_ms, who, "close_day", f"{bank}/{day}", {"lines": str(book.ours), "version": str(book.version), **sums})
    announce.event(tx, EventKind.DAY_CLOSED, now_ms, bank=bank, accounting_date=day, lines=book.ours, totals={**sums})
    return done


def _not_closed(tx: Tx, book: DayBook) -> str | None:
    bank, day = book.bank, book.accounting_date
    still = tx.count_open(bank, day, book.version)
    if book.state != "done" or still:
        text = ", ".join(f"{count} {kind}" for kind, count in still.items()) or f"the file is {book.state}"
        return f"accounting date {day} of bank {bank} has differences that nobody resolved: {text}"
    lines, totals = tx.day_totals(bank, day)
    if (lines, dict(totals)) != (book.ours, dict(book.our_micro)):
        return f"{lines - book.ours:+d} lines were booked on {day} since its file was compared: upload it again"
    if any(each.accounting_date == day and each.identity.bank == bank for each in tx.pending_reversals()):
        return f"a reversal of {day} waits for a meter's purchase count: close it in a quarter of an hour"
    return None


def _micro(cents: Mapping[str, int]) -> dict[str, int]:
    return {currency: value * CENT for currency, value in sorted(cents.items())}


class _Look:
    """Looks up in our books what a line is about."""

    def __init__(self, tx: Tx, bank: str, day: date, scope: SerialScope) -> None:
        self._tx, self._bank = tx, bank
        near = (day.toordinal() + beside for beside in (0, -1, 1))
        days = [date.fromordinal(each) for each in near if 1 <= each <= date.max.toordinal()]
        self._scopes = tuple(each.isoformat() for each in days) if scope is SerialScope.ACCOUNTING_DATE else ("",)

    def __call__(self, line: DayLine) -> Known:
        if line.type == REFUND:
            return self._refund(line)
        payment = self._payment(line.institution, line.original_serial if line.type == REVERSAL else line.serial)
        if payment is None:
            return Known(None, "", "")
        undone = self._tx.bank_reversal(payment.identity)
        standing = "tombstone" if payment.status == "reversed" and payment.entry is None else payment.status
        if line.type == TOPUP:
            aside = undone is not None and undone.state is ReversalState.DONE and undone.origin is Origin.RESOLUTION
            here = payment.entry is not None and not aside
            return Known(payment_line(payment) if here else None, payment.accounting_date, standing)
        if undone is None or undone.state is not ReversalState.DONE or undone.origin is not Origin.BANK:
            return Known(None, "", standing)
        return Known(_reversal_line(undone), undone.accounting_date, standing)

    def _payment(self, institution: str, serial: str) -> Payment | None:
        found = (self._tx.payment(PaymentIdentity(self._bank, institution, scope, serial)) for scope in self._scopes)
        return next((payment for payment in found if payment is not None), None)

    def _refund(self, line: DayLine) -> Known:
        for scope in self._scopes:
            given = self._tx.bank_refund(PaymentIdentity(self._bank, line.institution, scope, line.serial))
            if given is not None and given.state is RefundState.PAID:
                amount, original = format_money(given.amount_micro, given.currency), given.original.serial
                at = moment(given.at_ms)
                mine = DayLine(line.serial, given.account, amount, given.currency, REFUND, original, at, "", line.institution)
                return Known(mine, given.accounting_date, "posted")
        return Known(None, "", "")


def payment_line(payment: Payment) -> DayLine:
    """As the statement of its day has it."""
    amount, who = format_money(payment.amount_micro, payment.currency), payment.identity
    return DayLine(
        who.serial, payment.account, amount, payment.currency, TOPUP, "", payment.paid_at, payment.channel, who.institution
    )


def _reversal_line(undone: BookedReversal) -> DayLine:
    amount, who = format_money(undone.amount_micro, undone.currency), undone.identity
    return DayLine(
        undone.reversal_serial, undone.account, amount, undone.currency, REVERSAL, who.serial, undone.requested_at, "",
        who.institution,
    )  # fmt: skip
