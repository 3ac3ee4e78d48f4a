"""A bank's day at the centre's door over HTTP: its file against what was paid here, the difference book, our own file."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import structlog
from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_answers import SIGNED, Answers, asking, problems, sending
from gateway.adapters.http.bank_books_api import who
from gateway.adapters.http.bank_caller import BankCaller, caller_of
from gateway.adapters.http.bank_days_api import AT_ONCE, SHOWN, After, DayView, DifferenceView, Limit, Number, Version
from gateway.adapters.http.bank_forms import Day, ResolutionForm, day_of
from gateway.adapters.http.bank_spool import FileResponse, Spooled, spool
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import Problem, unavailable
from gateway.adapters.http.views import as_json
from gateway.central import day_books
from gateway.central.accounts import KnownAccount
from gateway.central.day_books import Book, DayIsClosed
from gateway.central.day_lines import day_lines
from gateway.central.payments import Desk, Refusal
from gateway.central.resolving import Till, resolve_one
from gateway.central.service import Central
from gateway.central.store import StoreFailed
from gateway.domain.bank_terms import RECONCILE
from gateway.domain.day_file import write_day_file
from gateway.domain.differences import Action, NotResolved, Wanted

log = structlog.get_logger(__name__)

T = TypeVar("T")

JOBS = 2
"""Long files compared at once: each holds a processor for half a minute a million lines."""


class BankDays:
    """The handlers. owner: of an account, by its currency. now_ms: UTC."""

    def __init__(
        self, central: Central, desk: Desk, owner: Callable[[str, str], KnownAccount | Refusal], now_ms: Callable[[], int]
    ) -> None:
        self._central, self._desk, self._owner, self._now_ms = central, desk, owner, now_ms
        self._jobs: set[asyncio.Task[None]] = set()

    def hang(self, router: APIRouter) -> None:
        """The routes, onto a router of bank_gate."""
        of_day = "/reconciliations/{accounting_date}"
        view: Answers = {200: {"model": DayView}}
        file = {"requestBody": {"content": {"text/csv": {"schema": {"type": "string"}}}}}
        refused = problems(*SIGNED, "media_type", "invalid", "not_found", "day_closed", "differences_open")
        router.add_api_route(
            of_day, self.upload, methods=["POST"], response_class=Response, openapi_extra=file,
            responses={**view, 202: {"model": DayView}, **refused},
        )  # fmt: skip
        known = asking("invalid", "not_found")
        router.add_api_route(of_day, self.book, methods=["GET"], response_class=Response, responses={**view, **known})
        csv: Answers = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **asking("invalid")}
        router.add_api_route(f"{of_day}/statement", self.statement, methods=["GET"], response_class=Response, responses=csv)
        body = {"requestBody": {"required": True, "content": {"application/json": {"schema": ResolutionForm.model_json_schema()}}}}
        why = sending("not_found", "day_closed", "serial_conflict", "delivered", "refused")
        router.add_api_route(
            f"{of_day}/differences/{{id}}/resolution", self.resolve, methods=["POST"], response_class=Response,
            openapi_extra=body, responses={200: {"model": DifferenceView}, 202: {"model": DifferenceView}, **why},
        )  # fmt: skip

    async def upload(self, request: Request, accounting_date: Day, close: bool = False) -> Response:
        """Compare the bank's file with what was paid here: 200 with the result, over 10,000 lines 202 with a job to poll.

        `close=true` closes the day when nothing differs, else 409 `differences_open`; without a body by the newest upload.
        """
        day = day_of(accounting_date)
        if close and request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
            caller = await caller_of(request, RECONCILE, spend=True)
            return await self._close(caller, day.isoformat())
        file = await spool(request, Path(tempfile.gettempdir()))
        try:
            caller = await caller_of(request, RECONCILE, spend=True)
            if file.lines > AT_ONCE and len(self._jobs) >= JOBS:
                raise unavailable(f"{JOBS} long files are being compared; upload it again in a minute")
            book = await self._write(lambda c: day_books.begin(c, caller.bank, day.isoformat(), file.sha256, self._now_ms()))
        except BaseException:
            file.close()
            raise
        job = asyncio.create_task(self._compare(caller, day, file, book))
        self._jobs.add(job)
        job.add_done_callback(self._done)
        if file.lines > AT_ONCE:
            return await self._told(book.bank, book.day, book.version, 0, 0, 202)
        await asyncio.shield(job)
        if close:
            return await self._close(caller, book.day)
        return await self._told(book.bank, book.day, book.version, 0, SHOWN)

    async def _compare(self, caller: BankCaller, day: date, file: Spooled, book: Book) -> None:
        """It runs to its end even when nobody waits any more."""
        try:
            compared = await self._read(lambda c: day_books.compare(c, caller.bank, day, file.chunks(), caller.terms))
            await self._write(lambda c: day_books.keep(c, book, *compared))
        finally:
            file.close()

    def _done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        if not job.cancelled() and (wrong := job.exception()) is not None:
            log.error("a day's file could not be compared; its upload is failed after a while", error=str(wrong))

    async def _close(self, caller: BankCaller, day: str) -> Response:
        why = await self._write(lambda c: day_books.close(c, caller.bank, day, who(caller), self._now_ms()))
        book = await self._read(lambda c: day_books.newest(c, caller.bank, day))
        if book is None:
            raise Problem("not_found", f"no file of {day} was uploaded")
        shown = await self._read(lambda c: day_books.view(c, book, self._now_ms(), 0, SHOWN))
        if why is not None:
            raise Problem("differences_open", why, extra={"reconciliation": shown})
        return as_json(shown)

    async def book(
        self, request: Request, accounting_date: Day, version: Version = None, after: After = 0, limit: Limit = SHOWN
    ) -> Response:
        """The difference book: of the newest upload, or of this version; `after` and `limit` page through its differences."""
        day = day_of(accounting_date).isoformat()
        caller = await caller_of(request, RECONCILE, spend=True)
        return await self._told(caller.bank, day, version, after, limit)

    async def _told(self, bank: str, day: str, version: int | None, after: int, limit: int, status: int = 200) -> Response:
        def look(connection: Connection) -> dict[str, object] | None:
            book = day_books.newest(connection, bank, day, version)
            return None if book is None else day_books.view(connection, book, self._now_ms(), after, limit)

        found = await self._read(look)
        if found is None:
            raise Problem("not_found", f"no file of {day} was uploaded" + (f" as version {version}" if version else ""))
        return as_json(found, status)

    async def statement(self, request: Request, accounting_date: Day) -> Response:
        """Our own file of that day, in the same format."""
        day = day_of(accounting_date).isoformat()
        caller = await caller_of(request, RECONCILE, spend=True)
        file = await self._read(lambda c: _written(c, caller.bank, day))
        return FileResponse(file, {"cache-control": "no-store"}, "text/csv")

    async def resolve(self, request: Request, accounting_date: Day, id: Number) -> Response:
        """Say what becomes of a difference: 202 until a second person says the same, here or at the console; then 200."""
        form = checked(ResolutionForm, await read_object(request))
        day = day_of(accounting_date).isoformat()
        caller = await caller_of(request, RECONCILE, spend=True)
        wanted = Wanted(caller.bank, day, id, Action(form.action), form.reason, who(caller))
        till, store = Till(self._desk, self._owner, caller.terms), self._central.store
        try:
            done, view = await self._central.in_store(resolve_one, store, wanted, till, self._now_ms)
        except NotResolved as refused:
            raise Problem(refused.code, refused.detail, field=refused.field) from None
        except StoreFailed:
            raise unavailable() from None
        return as_json(view, 200 if done else 202)

    async def _read(self, query: Callable[[Connection], T]) -> T:
        try:
            return await asyncio.to_thread(self._central.store.read, query)
        except StoreFailed:
            raise unavailable() from None

    async def _write(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._central.in_store(self._central.store.write, work)
        except StoreFailed:
            raise unavailable() from None
        except DayIsClosed as closed:
            raise Problem("day_closed", str(closed)) from None


def _written(connection: Connection, bank: str, day: str) -> Spooled:
    """Too long for memory, and signed as a whole: it is on disk before its first byte leaves."""
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (whoever sends it closes it)
    digest, size, lines = hashlib.sha256(), 0, 0
    for text in write_day_file(day_lines(connection, bank, day)):
        line = text.encode()
        size, lines = size + len(line), lines + 1
        digest.update(line)
        file.write(line)
    file.flush()
    return Spooled(file, size, lines, digest.hexdigest())
