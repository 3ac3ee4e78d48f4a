"""The banks' books put together: what their routes have done, in the words of the interface (contract.md 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog
from fastapi import APIRouter

from gateway.adapters.http.bank_books_api import BankBooksApi, BooksUseCases
from gateway.adapters.http.bank_caller import BankCaller
from gateway.adapters.http.bank_days_api import BankDaysApi, DayUseCases
from gateway.adapters.http.bank_gate import ASKED
from gateway.adapters.http.bank_spool import Spooled
from gateway.adapters.http.problems import KINDS, Problem, unavailable
from gateway.domain.bank_acts import BookedRefund, BookedSettlement, Quote, Refund, Reversal, ReversalOutcome, Settlement
from gateway.domain.bank_terms import SerialScope
from gateway.domain.day_file import DayFileError, read_day_file
from gateway.domain.differences import Action, DayBook, NotResolved, Resolution, TooManyDifferences, Wanted
from gateway.domain.nonces import Claim, NonceUsed
from gateway.domain.requests import TopUp
from gateway.services.ports import InvalidField, MoneyHeld, NotOpen, Site, Tx, Unavailable
from gateway.services.quote_topup import NotAccepted, Quoted, quote
from gateway.services.reconcile_day import Compared, DayIsClosed, begin_upload, close_day, compare_day, fail_upload, keep_result
from gateway.services.refund_payment import NoRefund, refund_payment
from gateway.services.resolve_difference import resolve_difference
from gateway.services.settle_day import OtherSettlement, settle_day
from gateway.services.take_reversal import take_reversal

T = TypeVar("T")
log = structlog.get_logger()

MOST_JOBS = 2
"""Long files compared at one moment: each takes a reader of the store, and a third of a processor, for half a minute."""

UPLOADS = "uploads"
"""The folder of the data directory that files come in through."""


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class BankBooks:
    """The use cases on one store. wake: lines look for commands, for supply may have come back or go."""

    def __init__(
        self, store: Store, site: Callable[[], Site], now_ms: Callable[[], int], wake: Callable[[], None], data: Path
    ) -> None:
        self._store, self._site, self._now_ms, self._wake, self._data = store, site, now_ms, wake, data
        self._jobs: dict[tuple[str, str, int], asyncio.Task[None]] = {}

    def hang(self, router: APIRouter) -> None:
        """The routes, onto a router of bank_gate."""
        cases = BooksUseCases(self.quote, self.reverse, self.refund, self.settle)
        BankBooksApi(cases, self._now_ms).hang(router)
        days = DayUseCases(self.upload, self.close, self.resolve, self.running, self._store.read, self._data / UPLOADS)
        BankDaysApi(days).hang(router)

    async def quote(self, topup: TopUp) -> Quote:
        try:
            await self._write(lambda tx: quote(tx, topup, self._site(), self._now_ms()))
        except Quoted as quoted:
            return quoted.quote
        except NotAccepted as refused:
            raise _problem(refused.code, refused.detail) from None
        raise unavailable()

    async def reverse(self, reversal: Reversal, claim: Claim | None) -> ReversalOutcome:
        try:
            return await self._write(lambda tx: take_reversal(tx, reversal, claim, self._site(), self._now_ms()))
        except NonceUsed as used:
            raise Problem("bad_signature", str(used), headers=ASKED) from None

    async def refund(self, wanted: Refund, who: str) -> tuple[BookedRefund, str]:
        try:
            done = await self._write(lambda tx: refund_payment(tx, wanted, who, self._site(), self._now_ms()))
        except NoRefund as refused:
            raise _no_refund(refused) from None
        return done.refund, done.approval

    async def settle(self, wanted: Settlement) -> tuple[BookedSettlement, bool]:
        try:
            return await self._write(lambda tx: settle_day(tx, wanted, self._site(), self._now_ms()))
        except OtherSettlement as other:
            raise Problem("serial_conflict", str(other), field=other.field) from None

    async def upload(self, caller: BankCaller, day: date, file: Spooled, close: bool, at_once: bool) -> DayBook:
        """Compare a file; at_once: wait for it. The file is closed when nobody needs it any more."""
        if not at_once and len(self._jobs) >= MOST_JOBS:
            raise unavailable(f"{MOST_JOBS} long files are being compared; upload it again in a minute")
        try:
            book = await self._write(lambda tx: begin_upload(tx, caller.bank, day.isoformat(), file.sha256, self._now_ms()))
        except DayIsClosed as closed:
            raise Problem("day_closed", str(closed)) from None
        if at_once:
            try:
                return await self._compare(book, caller, day, file, close)
            except (DayFileError, TooManyDifferences) as wrong:
                raise Problem("invalid", str(wrong), field="body") from None
            finally:
                file.close()
        key = (book.bank, book.accounting_date, book.version)
        self._jobs[key] = asyncio.ensure_future(self._job(book, caller, day, file, close))
        self._jobs[key].add_done_callback(lambda _: self._jobs.pop(key, None))
        return book

    async def _job(self, book: DayBook, caller: BankCaller, day: date, file: Spooled, close: bool) -> None:
        try:
            await self._compare(book, caller, day, file, close)
        except (DayFileError, TooManyDifferences, Unavailable) as wrong:
            log.warning("reconciliation_failed", bank=book.bank, accounting_date=book.accounting_date, reason=str(wrong))
        finally:
            file.close()

    async def _compare(self, book: DayBook, caller: BankCaller, day: date, file: Spooled, close: bool) -> DayBook:
        scope = caller.terms.serial_scope
        try:
            compared = await self._store.read(partial(_compare, book.bank, day, file, scope))
        except (DayFileError, TooManyDifferences, Unavailable) as wrong:
            why = str(wrong) or "it could not be compared now: upload it again"
            with suppress(Unavailable):
                await self._store.write(lambda tx: fail_upload(tx, book, why))
            raise
        return await self._write(lambda tx: keep_result(tx, book, compared, self._now_ms(), close=close))

    def running(self, book: DayBook) -> bool:
        return (book.bank, book.accounting_date, book.version) in self._jobs

    async def close(self, caller: BankCaller, day: date, who: str) -> DayBook:
        def closing(tx: Tx) -> DayBook | None:
            book = tx.day_book(caller.bank, day.isoformat())
            return None if book is None else close_day(tx, book, who, self._now_ms())

        book = await self._write(closing)
        if book is None:
            raise Problem("not_found", f"no file of {day} was uploaded")
        return book

    async def resolve(self, caller: BankCaller, day: date, number: int, action: Action, reason: str, who: str) -> Resolution:
        wanted = Wanted(caller.bank, day.isoformat(), number, action, reason, who)
        try:
            return await self._write(lambda tx: resolve_difference(tx, wanted, self._site(), self._now_ms()))
        except NotResolved as refused:
            raise _problem(refused.code, refused.detail, refused.field) from None

    async def _write(self, usecase: Callable[[Tx], T]) -> T:
        try:
            return await self._store.write(usecase)
        except MoneyHeld as waits:
            raise unavailable(str(waits)) from None
        except NotOpen as closed:
            raise Problem("not_open", str(closed)) from None
        except InvalidField as error:
            raise Problem("invalid", str(error), field=error.field) from None
        finally:
            self._wake()


def _compare(bank: str, day: date, file: Spooled, scope: SerialScope, tx: Tx) -> Compared:
    return compare_day(tx, bank, day, read_day_file(file.chunks()), scope)


def _no_refund(refused: NoRefund) -> Problem:
    """It binds nothing; and what tells a bank to give a payer his money back must not be said of the giving back itself."""
    problem = _problem(refused.code, refused.detail, refused.field)
    if refused.code != "serial_conflict":
        action = KINDS[problem.code].action
        problem.extra = {"final": False, "action": "call_us" if action == "refund_payer" else action}
    return problem


def _problem(code: str, detail: str, field: str | None = None) -> Problem:
    return Problem(code, detail, field=field) if code in KINDS else unavailable(detail)
