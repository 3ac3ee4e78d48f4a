"""A bank's day: its file against our books, the difference book, our own file, and what two people decide (contract.md 3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_answers import SIGNED, Answers, asking, problems, sending
from gateway.adapters.http.bank_books_api import who
from gateway.adapters.http.bank_caller import BankCaller, caller_of
from gateway.adapters.http.bank_forms import Day, ResolutionForm, day_of
from gateway.adapters.http.bank_spool import FileResponse, Spooled, spool, spool_out
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import Problem, unavailable
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import as_json, rfc3339
from gateway.domain.bank_terms import RECONCILE
from gateway.domain.day_file import HEADER, DayLine, shown, write_day_file
from gateway.domain.differences import Action, DayBook, Difference, Resolution
from gateway.domain.records import DayKey
from gateway.domain.units import format_money
from gateway.services.ports import Tx

AT_ONCE = 10_000
"""Lines of a file that is answered at once, within a second; a longer one is a job (contract.md 3)."""

FRAME = 2
"""Its header and its line of totals, which are none of them."""

SHOWN = 1_000
"""Differences on one page, unless asked otherwise."""

LINES = 2_000
"""Lines of a statement per read: each is a short look into the store, so that a slow reader keeps none open."""

MOST_SIGNED = 2 * AT_ONCE
"""Of a statement that is answered in one piece: what was booked since it was counted is in it too."""

MOST_WRITING = 2
"""Long statements that are being written to disk at one moment: each takes a third of a processor, for some ten seconds."""

EXAMPLE = f"{HEADER}\n20261121-000001,A-0007,50.00,CNY,topup,,2026-11-21T10:15:00+08:00,app,\n#1,50.00\n"

Limit = Annotated[int, Query(ge=1, le=10_000)]
After = Annotated[int, Query(ge=0, le=10**9)]
Version = Annotated[int | None, Query(ge=1, le=10**9)]
Number = Annotated[int, Path(ge=1, le=10**9, examples=[1])]


@dataclass(frozen=True, slots=True)
class DayUseCases:
    """What these routes can have done. Each raises Problem for whatever is refused, and ports.Unavailable.

    upload: compare a file; the result, or where it is long its running job. running: whether a job of this book is still at work.
    """

    upload: Callable[[BankCaller, date, Spooled, bool, bool], Awaitable[DayBook]]
    close: Callable[[BankCaller, date, str], Awaitable[DayBook]]
    resolve: Callable[[BankCaller, date, int, Action, str, str], Awaitable[Resolution]]
    running: Callable[[DayBook], bool]
    read: Reads
    folder: FilePath


class DifferenceView(BaseModel):
    """One difference: the bank's line (`there`), ours (`here`), and what was decided about it."""

    id: int
    kind: str = Field(examples=["missing_here"])
    detail: str
    line: int | None
    serial: str | None
    there: dict[str, str] | None
    here: dict[str, str] | None
    accounting_date_here: str | None
    actions: list[str]
    state: str = Field(examples=["open"])
    resolution: dict[str, str | None] | None


class DayView(BaseModel):
    """The difference book of an accounting date. Sums are nets: top-ups minus reversals and refunds, `currency` the bank's own."""

    bank: str
    accounting_date: str
    version: int
    job: str
    state: str = Field(examples=["done"])
    uploaded_at: str
    sha256: str
    lines: int
    statement_lines: int
    statement_sums: dict[str, str]
    matched: int
    net_sum: str = Field(examples=["150.00"])
    net_sums: dict[str, str]
    currency: str
    kinds: dict[str, int]
    open: int
    differences: list[DifferenceView]
    closed: bool
    note: str


class BankDaysApi:
    """The handlers."""

    def __init__(self, cases: DayUseCases) -> None:
        self._cases, self._read, self._writing = cases, cases.read, 0

    def hang(self, router: APIRouter) -> None:
        """The routes, onto a router of bank_gate."""
        view: Answers = {200: {"model": DayView}}
        of_day = "/reconciliations/{accounting_date}"
        file = {"requestBody": {"content": {"text/csv": {"schema": {"type": "string"}, "example": EXAMPLE}}}}
        known = asking("invalid", "not_found")
        compared = problems(*SIGNED, "media_type", "invalid", "not_found", "day_closed", "differences_open")
        router.add_api_route(
            of_day, self.upload, methods=["POST"], response_class=Response, openapi_extra=file,
            responses={**view, 202: {"model": DayView}, **compared},
        )  # fmt: skip
        router.add_api_route(of_day, self.book, methods=["GET"], response_class=Response, responses={**view, **known})
        csv: Answers = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
        csv |= asking("invalid")
        router.add_api_route(f"{of_day}/statement", self.statement, methods=["GET"], response_class=Response, responses=csv)
        schema = {
            "requestBody": {"required": True, "content": {"application/json": {"schema": ResolutionForm.model_json_schema()}}}
        }
        why = sending("not_found", "day_closed", "serial_conflict", "delivered", "refused")
        resolved: Answers = {200: {"model": DifferenceView}, 202: {"model": DifferenceView}, **why}
        router.add_api_route(
            f"{of_day}/differences/{{id}}/resolution", self.resolve, methods=["POST"], response_class=Response,
            openapi_extra=schema, responses=resolved,
        )  # fmt: skip

    async def upload(self, request: Request, accounting_date: Day, close: bool = False) -> Response:
        """Compare the bank's file with our books: 200 with the result, over 10,000 lines 202 with a job to poll.

        Each upload is a new version. `close=true` closes the day when every difference is resolved, else 409 `differences_open`;
        without a body it is about the newest upload.
        """
        day = day_of(accounting_date)
        if close and request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
            caller = await caller_of(request, RECONCILE, spend=True)
            return await self._closing(caller, await self._cases.close(caller, day, who(caller)))
        file = await spool(request, self._cases.folder)
        try:
            caller = await caller_of(request, RECONCILE, spend=True)
            waits = file.lines <= AT_ONCE + FRAME
            book = await self._cases.upload(caller, day, file, close, waits)
        except BaseException:
            file.close()
            raise
        if book.state == "running":
            view = await self._view(caller, book, 0, 0)
            return as_json(view, 202)
        return await self._closing(caller, book) if close else as_json(await self._view(caller, book, 0, SHOWN))

    async def book(
        self, request: Request, accounting_date: Day, version: Version = None, after: After = 0, limit: Limit = SHOWN
    ) -> Response:
        """The difference book: of the newest upload, or of this version; `after` and `limit` page through its differences."""
        day = day_of(accounting_date)
        caller = await caller_of(request, RECONCILE, spend=True)
        book = await self._read(lambda tx: tx.day_book(caller.bank, day.isoformat(), version))
        if book is None:
            raise Problem("not_found", f"no file of {day} was uploaded" + (f" as version {version}" if version else ""))
        return as_json(await self._view(caller, book, after, limit))

    async def statement(self, request: Request, accounting_date: Day) -> Response:
        """Our own file of that day, in the same format."""
        day = day_of(accounting_date).isoformat()
        caller = await caller_of(request, RECONCILE, spend=True)
        count, _ = await self._read(lambda tx: tx.day_totals(caller.bank, day))
        headers = {"cache-control": "no-store"}
        if count > AT_ONCE:
            return FileResponse(await self._long(caller.bank, day), headers, "text/csv")
        page = await self._read(lambda tx: tx.day_lines(caller.bank, day, None, MOST_SIGNED))
        return Response("".join(write_day_file(line for _, line in page)), 200, headers, "text/csv")

    async def _long(self, bank: str, day: str) -> Spooled:
        """Too long for memory, and signed as a whole: it is on disk before its first byte leaves."""
        if self._writing >= MOST_WRITING:
            raise unavailable(f"{MOST_WRITING} long statements are being written; ask again in a minute")
        self._writing += 1
        try:
            return await spool_out(_streamed(self._read, bank, day), self._cases.folder)
        finally:
            self._writing -= 1

    async def resolve(self, request: Request, accounting_date: Day, id: Number) -> Response:
        """Say what becomes of a difference: 202 until a second person says the same, or approves it; then 200."""
        form = checked(ResolutionForm, await read_object(request))
        day = day_of(accounting_date)
        caller = await caller_of(request, RECONCILE, spend=True)
        done = await self._cases.resolve(caller, day, id, Action(form.action), form.reason, who(caller))
        view = await self._read(lambda tx: _one(tx, caller.bank, day.isoformat(), id))
        return as_json(view, 200 if done.state == "done" else 202)

    async def _closing(self, caller: BankCaller, book: DayBook) -> Response:
        view = await self._view(caller, book, 0, SHOWN)
        if not book.closed:
            raise Problem("differences_open", book.note or "differences are open", extra={"reconciliation": view})
        return as_json(view)

    async def _view(self, caller: BankCaller, book: DayBook, after: int, limit: int) -> dict[str, object]:
        return await self._read(lambda tx: _day_view(tx, book, caller.terms.currency, self._cases.running(book), after, limit))


async def _streamed(read: Reads, bank: str, day: str) -> AsyncIterator[str]:
    """The statement, page by page; what is booked meanwhile may be in it."""
    after: DayKey | None = None
    yield HEADER + "\n"
    count = cents = 0
    while page := await read(partial(_page, bank, day, after)):
        count, cents = count + len(page), cents + sum(line.cents for _, line in page)
        yield "".join([line.text() + "\n" for _, line in page])
        after = page[-1][0]
    yield f"#{count},{shown(cents)}\n"


def _page(bank: str, day: str, after: DayKey | None, tx: Tx) -> Sequence[tuple[DayKey, DayLine]]:
    return tx.day_lines(bank, day, after, LINES)


def _day_view(tx: Tx, book: DayBook, currency: str, running: bool, after: int, limit: int) -> dict[str, object]:
    bank, day = book.bank, book.accounting_date
    lost = book.state == "running" and not running
    page = tx.differences(bank, day, book.version, after, limit) if limit else ()
    decided = tx.resolutions(bank, day) if page else {}
    return {
        "bank": bank,
        "accounting_date": day,
        "version": book.version,
        "job": f"{bank}-{day}-{book.version}",
        "poll": f"/bank/v1/reconciliations/{day}?version={book.version}",
        "state": "failed" if lost else book.state,
        "uploaded_at": rfc3339(book.at_ms),
        "sha256": book.sha256,
        "lines": book.lines,
        "statement_lines": book.ours,
        "statement_sums": _sums(book.our_micro),
        "matched": book.matched,
        "net_sum": format_money(book.matched_micro.get(currency, 0), currency),
        "net_sums": _sums(book.matched_micro),
        "currency": currency,
        "kinds": dict(book.found),
        "open": sum(tx.count_open(bank, day, book.version).values()),
        "differences": [_difference_view(number, each, decided.get(each.about)) for number, each in page],
        "closed": tx.closed_day(bank, day) is not None,
        "note": "the gateway was restarted meanwhile: upload the file again" if lost else book.note,
    }


def _one(tx: Tx, bank: str, day: str, number: int) -> dict[str, object]:
    book = tx.day_book(bank, day)
    version = 0 if book is None else book.version
    [(_, found)] = tx.differences(bank, day, version, number - 1, 1)
    return _difference_view(number, found, tx.resolution(bank, day, found.about))


def _difference_view(number: int, found: Difference, decided: Resolution | None) -> dict[str, object]:
    line = found.line
    state = "open" if decided is None else "resolved" if decided.state == "done" else "asked"
    return {
        "id": number,
        "kind": found.kind.value,
        "detail": found.detail,
        "line": found.there.number if found.there is not None else None,
        "serial": None if line is None else line.serial,
        "there": _line(found.there),
        "here": _line(found.here),
        "accounting_date_here": found.date_here or None,
        "actions": sorted(found.actions),
        "state": state,
        "resolution": None if decided is None else _resolution(decided),
    }


def _line(line: DayLine | None) -> dict[str, str] | None:
    if line is None:
        return None
    values = line._asdict()
    del values["number"]
    return values


def _resolution(decided: Resolution) -> dict[str, str | None]:
    return {
        "action": decided.action.value,
        "reason": decided.reason,
        "approval": decided.approval,
        "asked_by": decided.asked_by,
        "asked_at": rfc3339(decided.asked_ms),
        "decided_by": decided.decided_by,
        "decided_at": None if decided.decided_ms is None else rfc3339(decided.decided_ms),
        "told": decided.told or None,
    }


def _sums(micro: Mapping[str, int]) -> dict[str, str]:
    return {currency: format_money(value, currency) for currency, value in micro.items()}
