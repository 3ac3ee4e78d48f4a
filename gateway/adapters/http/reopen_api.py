"""After the restore of a backup, over HTTP: what a person has compared with banks and centre, until money is taken again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, answers_for
from gateway.adapters.http.bank_topups import TopUpForm, topup_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json, rfc3339
from gateway.domain.agreements import BankAgreed, CentreAgreed, Held
from gateway.domain.requests import TopUp
from gateway.domain.units import parse_money

MOST_PAYMENTS = 100
"""In one request: what fits into a body, and one transaction of some 30 ms."""

Day = Annotated[StrictStr, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-11-21"])]
Bank = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["demo"])]
log = structlog.get_logger()


class ReleaseForm(BaseModel):
    """Whose word it is, by default that of the person that asks."""

    model_config = ConfigDict(extra="forbid")

    by: StrictStr | None = Field(None, min_length=1, max_length=200, examples=["Li Wei, accounts office"])


class BankForm(ReleaseForm):
    """A bank's figures of a span of accounting dates: how many payments, and their sum."""

    bank: Bank
    first: Day
    last: Day
    currency: StrictStr = Field("CNY", pattern=r"^[A-Z]{3}$")
    count: StrictInt = Field(ge=0, lt=1 << 31)
    total: StrictStr = Field(pattern=r"^(0|[1-9][0-9]{0,11})\.[0-9]{1,6}$", examples=["1250.00"])


class CentreForm(ReleaseForm):
    """The last number that the centre has of the epoch before; none of both where there is no centre, but the reason."""

    epoch: StrictStr = Field("", pattern=r"^[0-9a-f]{0,32}$")
    seq: StrictInt | None = Field(None, ge=0, lt=1 << 62)
    reason: StrictStr = Field("", max_length=500)


class PaymentsForm(ReleaseForm):
    """Payments that the bank knows and the ledger may not, as the bank sent them at the time."""

    bank: Bank
    payments: list[TopUpForm] = Field(min_length=1, max_length=MOST_PAYMENTS)


@dataclass(frozen=True, slots=True)
class ReopenView:
    """Whether money waits, why, and what must still be agreed. new: payments that were brought in by this request."""

    held: bool
    reason: str | None
    epoch_before: str | None
    backup: str | None
    missing: list[str]
    new: int = 0


@dataclass(frozen=True, slots=True)
class ReopenUseCases:
    """What the interface can have done. The acts give the reason where they refuse; `bring_in` how many payments were new."""

    waiting: Callable[[], Awaitable[tuple[Held | None, Sequence[str]]]]
    agree_bank: Callable[[BankAgreed], Awaitable[str | None]]
    agree_centre: Callable[[str, CentreAgreed], Awaitable[str | None]]
    bring_in: Callable[[Sequence[TopUp], str], Awaitable[int | str]]
    release: Callable[[str], Awaitable[Sequence[str]]]


class ReopenApi:
    """The handlers."""

    def __init__(self, cases: ReopenUseCases, auth: OperatorAuth) -> None:
        self._cases, self._auth = cases, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        view: dict[int | str, dict[str, object]] = {200: {"model": ReopenView}}
        router.add_api_route("/api/v1/reopen", self.waiting, methods=["GET"], response_class=Response, responses=view)
        for name, handler, form in (
            ("bank", self.bank, BankForm),
            ("centre", self.centre, CentreForm),
            ("payments", self.payments, PaymentsForm),
            ("release", self.release, ReleaseForm),
        ):
            schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
            router.add_api_route(
                f"/api/v1/reopen/{name}", handler, methods=["POST"], response_class=Response, openapi_extra=schema, responses=view,
            )  # fmt: skip
        return router

    async def waiting(self) -> Response:
        """Whether money waits after a restore, and for what."""
        return await self._view()

    async def bank(self, request: Request) -> Response:
        """A bank's figures agree with the ledger. 409 with the difference where they do not."""
        form = checked(BankForm, await read_object(request))
        first, last = (_day(text, name) for name, text in (("first", form.first), ("last", form.last)))
        try:
            micro = parse_money(form.total, form.currency)
        except ValueError as error:
            raise Problem("invalid", str(error), field="total") from None
        agreed = BankAgreed(form.bank, first, last, form.currency, form.count, micro, answers_for(request, form.by))
        return await self._done(await self._cases.agree_bank(agreed), act="bank", by=agreed.by)

    async def centre(self, request: Request) -> Response:
        """How far the centre has received. 409 with the reason where that cannot be."""
        form = checked(CentreForm, await read_object(request))
        if form.seq is None and not form.reason:
            raise Problem("invalid", "say the centre's last number, or why there is none", field="seq")
        agreed = CentreAgreed(form.seq, answers_for(request, form.by), form.reason)
        return await self._done(await self._cases.agree_centre(form.epoch, agreed), act="centre", by=agreed.by)

    async def payments(self, request: Request) -> Response:
        """Bring in what the restored ledger lacks, all of it or nothing; what it has is not booked again."""
        form = checked(PaymentsForm, await read_object(request))
        topups = [topup_of(payment, form.bank, date.fromisoformat(_day(payment.accounting_date, "accounting_date")))
                  for payment in form.payments]  # fmt: skip
        by = answers_for(request, form.by)
        came = await self._cases.bring_in(topups, by)
        if isinstance(came, str):
            raise Problem("refused", came)
        log.info("reopen", act="payments", by=by, new=came)
        return await self._view(new=came)

    async def release(self, request: Request) -> Response:
        """Money is taken again. 409 with what is missing."""
        form = checked(ReleaseForm, await read_object(request))
        by = answers_for(request, form.by)
        missing = await self._cases.release(by)
        if missing:
            raise Problem("refused", "; ".join(missing), extra={"missing": list(missing)})
        return await self._done(None, act="release", by=by)

    async def _done(self, refused: str | None, *, act: str, by: str) -> Response:
        log.info("reopen", act=act, by=by, refused=refused)
        if refused is not None:
            raise Problem("refused", refused)
        return await self._view()

    async def _view(self, *, new: int = 0) -> Response:
        held, missing = await self._cases.waiting()
        if held is None:
            return as_json(ReopenView(False, None, None, None, [], new))
        return as_json(ReopenView(True, held.sentence, held.epoch, rfc3339(held.backup_ms), list(missing), new))


def _day(text: str, field: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise Problem("invalid", f"{field} is not a day that exists", field=field) from None
