"""Direct debit over HTTP: mandates, a day's batch, and what the bank said of it. Files are written and read by `wattgate debit`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem, unavailable
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json, rfc3339
from gateway.domain.mandates import Batch, DebitLine, DebitResult, Mandate, MandateState, ResultVerdict
from gateway.domain.units import DECIMALS, format_money, parse_money
from gateway.services.ports import MoneyHeld, NotOpen

MOST_RESULTS = 200
"""Of one call: it is one transaction, and one body of at most 64 KiB."""

MOST_SHOWN = 1000
"""Mandates, batches or lines of one answer; the rest by `after`."""

_MONEY = r"^(0|[1-9][0-9]{0,8})\.[0-9]{1,6}$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
BatchId = Annotated[str, Path(pattern=r"^DD-[A-Za-z0-9_-]{1,64}-[0-9]{8}$")]
Day = Annotated[str, Path(pattern=_DAY)]
Serial = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
OneBank = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
After = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,64}$")]
AfterLine = Annotated[int, Query(ge=0, le=1_000_000_000)]


@dataclass(frozen=True, slots=True)
class DebitUseCases:
    """What people can have done. Each raises Problem for what is refused. check, check_end: why not, or None."""

    check: Callable[[Mandate], Awaitable[str | None]]
    sign: Callable[[Mandate, str], Awaitable[Mandate]]
    check_end: Callable[[str], Awaitable[str | None]]
    end: Callable[[str, str], Awaitable[Mandate]]
    batch: Callable[[str, date, str], Awaitable[Batch]]
    results: Callable[[str, Sequence[DebitResult]], Awaitable[list[ResultVerdict]]]
    resolve: Callable[[str, str, str, str], Awaitable[DebitLine]]


class MandateForm(BaseModel):
    """The body of a mandate. check: only say whether it could be signed."""

    model_config = ConfigDict(extra="forbid")

    id: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["M-0007"])
    bank: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["icbc"])
    account: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["A-0007"])
    payer: StrictStr = Field(min_length=1, max_length=40, examples=["6222020200112233445"])
    currency: StrictStr = Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])
    below: StrictStr = Field(pattern=_MONEY, examples=["10.00"])
    upto: StrictStr = Field(pattern=_MONEY, examples=["100.00"])
    most: StrictStr = Field(pattern=_MONEY, examples=["200.00"])
    check: StrictBool = False


class EndForm(BaseModel):
    """The body of an end. check: only say whether it could be ended."""

    model_config = ConfigDict(extra="forbid")

    check: StrictBool = False


class ResolveForm(BaseModel):
    """What a person did about a debit whose money could not be credited."""

    model_config = ConfigDict(extra="forbid")

    reason: StrictStr = Field(min_length=1, max_length=500, examples=["paid back to the payer, transfer 7781"])


class ResultForm(BaseModel):
    """What the bank said of one line."""

    model_config = ConfigDict(extra="forbid")

    serial: StrictStr = Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    amount: StrictStr = Field(pattern=_MONEY)
    currency: StrictStr = Field(pattern=r"^[A-Z]{3}$")
    paid: StrictBool
    said: StrictStr = Field("", max_length=200)
    paid_on: StrictStr = Field(pattern=_DAY)


class ResultsForm(BaseModel):
    """A part of a result file."""

    model_config = ConfigDict(extra="forbid")

    bank: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    results: list[ResultForm] = Field(min_length=1, max_length=MOST_RESULTS)


@dataclass(frozen=True, slots=True)
class MandateView:
    """A mandate. payer: all but its last four characters hidden."""

    id: str
    bank: str
    account: str
    payer: str
    currency: str
    below: str
    upto: str
    most: str
    state: str
    signed: str
    ended: str | None


@dataclass(frozen=True, slots=True)
class CheckView:
    """Whether it could be done, and why not."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class BatchView:
    """A day's batch."""

    id: str
    bank: str
    accounting_date: str
    currency: str
    count: int
    sum: str
    made: str


@dataclass(frozen=True, slots=True)
class DebitView:
    """A line of a batch; payer in full: it goes to the bank."""

    number: int
    serial: str
    mandate: str
    account: str
    payer: str
    amount: str
    currency: str
    state: str
    said: str


class DebitApi:
    """The handlers. now_ms: UTC."""

    def __init__(self, cases: DebitUseCases, read: Reads, auth: OperatorAuth, now_ms: Callable[[], int]) -> None:
        self._cases, self._read, self._auth, self._now_ms = cases, read, auth, now_ms

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        for path, handler, method, model in (
            ("/mandates", self.mandates, "GET", list[MandateView]),
            ("/mandates", self.sign, "POST", MandateView | CheckView),
            ("/mandates/{mandate}/end", self.end, "POST", MandateView | CheckView),
            ("/debits", self.batches, "GET", list[BatchView]),
            ("/debits/{batch}/lines", self.lines, "GET", list[DebitView]),
            ("/debits/{bank}/{day}", self.batch, "POST", BatchView),
            ("/debits/{bank}/{serial}/resolution", self.resolve, "POST", DebitView),
            ("/debit-results", self.results, "POST", list[str]),
        ):
            router.add_api_route(
                "/api/v1" + path, handler, methods=[method], response_class=Response, responses={200: {"model": model}}
            )
        return router

    async def mandates(self, bank: OneBank = None, after: After = "") -> Response:
        """Mandates by id, of a bank or of all."""
        return as_json([_mandate(each) for each in await self._read(lambda tx: tx.mandates(bank, after, MOST_SHOWN))])

    async def sign(self, request: Request) -> Response:
        """Sign a mandate, or with `check` only say whether it could be."""
        form = checked(MandateForm, await read_object(request))
        money = {name: _micro(getattr(form, name), form.currency, name) for name in ("below", "upto", "most")}
        mandate = Mandate(
            form.id, form.bank, form.account, form.payer, form.currency, money["below"], money["upto"], money["most"],
            MandateState.SIGNED, self._now_ms(),
        )  # fmt: skip
        if form.check:
            return _check(await self._cases.check(mandate))
        return as_json(_mandate(await self._cases.sign(mandate, person_of(request).who)))

    async def end(self, request: Request, mandate: Id) -> Response:
        """End a mandate, or with `check` only say whether it could be."""
        form = checked(EndForm, await read_object(request))
        if form.check:
            return _check(await self._cases.check_end(mandate))
        return as_json(_mandate(await self._cases.end(mandate, person_of(request).who)))

    async def batches(self) -> Response:
        """Batches, the newest days first."""
        return as_json([_batch(each) for each in await self._read(lambda tx: tx.batches(MOST_SHOWN))])

    async def batch(self, request: Request, bank: Id, day: Day) -> Response:
        """Decide what is asked of a bank on a day; the same again is the same batch."""
        await read_object(request)
        return as_json(_batch(await self._cases.batch(bank, _date(day, "day"), person_of(request).who)))

    async def lines(self, batch: BatchId, after: AfterLine = 0) -> Response:
        """The lines of a batch, from behind a number on."""
        found = await self._read(lambda tx: tx.debit_lines(batch) if tx.batch(batch) is not None else None)
        if found is None:
            raise Problem("not_found", f"batch {batch} is not known here")
        return as_json([_line(each) for each in found if each.number > after][:MOST_SHOWN])

    async def resolve(self, request: Request, bank: Id, serial: Serial) -> Response:
        """Say what was done about a debit that raised a finding, which ends. No money moves by this."""
        form = checked(ResolveForm, await read_object(request))
        return as_json(_line(await self._cases.resolve(bank, serial, form.reason, person_of(request).who)))

    async def results(self, request: Request) -> Response:
        """Book what the bank said, a verdict for each line: booked, failed, unbooked, again, unknown, amount or contradicts."""
        form = checked(ResultsForm, await read_object(request))
        results = [
            DebitResult(
                each.serial, _micro(each.amount, each.currency, "amount"), each.currency, each.paid, each.said,
                _date(each.paid_on, "paid_on"),
            )
            for each in form.results
        ]  # fmt: skip
        try:
            return as_json([verdict.value for verdict in await self._cases.results(form.bank, results)])
        except (MoneyHeld, NotOpen) as waits:
            raise unavailable(str(waits)) from None


def _check(why: str | None) -> Response:
    return as_json(CheckView(why is None, why or ""))


def _micro(text: str, currency: str, field: str) -> int:
    try:
        return parse_money(text, currency)
    except ValueError as error:
        raise Problem("invalid", str(error), field=field if currency in DECIMALS else "currency") from None


def _date(text: str, field: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Problem("invalid", f"{field} is not a day that exists", field=field) from None


def _mandate(of: Mandate) -> MandateView:
    below, upto, most = (format_money(micro, of.currency) for micro in (of.below_micro, of.upto_micro, of.most_micro))
    hidden = "*" * max(0, len(of.payer) - 4) + of.payer[-4:]
    ended = None if of.ended_ms is None else rfc3339(of.ended_ms)
    return MandateView(
        of.id, of.bank, of.account, hidden, of.currency, below, upto, most, of.state.value, rfc3339(of.signed_ms), ended
    )


def _batch(of: Batch) -> BatchView:
    total = format_money(of.sum_micro, of.currency)
    return BatchView(of.id, of.bank, of.accounting_date, of.currency, of.count, total, rfc3339(of.made_ms))


def _line(of: DebitLine) -> DebitView:
    amount = format_money(of.amount_micro, of.currency)
    return DebitView(
        of.number, of.serial, of.mandate, of.account, of.payer, amount, of.currency, of.state.value, of.said
    )
