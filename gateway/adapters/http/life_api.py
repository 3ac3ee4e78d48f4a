"""The life of accounts and meters over HTTP: each act whole or refused in one sentence, and the same answer for the same id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog
from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.life_forms import (
    ChangeForm,
    CloseForm,
    CtForm,
    LifeForm,
    MoveForm,
    OpenForm,
    PaidForm,
    RefundForm,
    form_of,
    kwh_of,
)
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json
from gateway.domain.events import Json
from gateway.domain.life import Act, Kwh, NeedsSecond, Refusal
from gateway.services.ports import MoneyHeld

log = structlog.get_logger()
Answer = dict[str, Json]
ByMeter = dict[str, Kwh]


class Wrong(Exception):
    """A table or a file that is wrong: nothing was done; every error in a sentence."""

    def __init__(self, errors: Sequence[str]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(self.errors))


class LifeCases(Protocol):
    """What the interface can have done. All raise Refusal, Wrong, MoneyHeld or ports.Unavailable, and then nothing is done."""

    def open(self, form: OpenForm, act: Act, kwh: Sequence[Kwh | None]) -> Awaitable[Answer]: ...
    def close(self, account: str, form: CloseForm, act: Act, final: ByMeter) -> Awaitable[Answer]: ...
    def move(self, form: MoveForm, act: Act, kwh: Sequence[Kwh | None]) -> Awaitable[Answer]: ...
    def change(self, meter: str, form: ChangeForm, act: Act, last: Kwh, first: Kwh) -> Awaitable[Answer]: ...
    def change_ct(self, meter: str, form: CtForm, act: Act, kwh: Kwh) -> Awaitable[Answer]: ...
    def refund(self, account: str, form: RefundForm, act: Act) -> Awaitable[Answer]: ...
    def pay_refund(self, refund: str, receipt: str, act: Act) -> Awaitable[Answer]: ...
    def void_refund(self, refund: str, act: Act) -> Awaitable[Answer]: ...
    def remove(self, meter: str, act: Act) -> Awaitable[Answer]: ...


class LifeApi:
    """The handlers."""

    def __init__(self, cases: LifeCases, auth: OperatorAuth) -> None:
        self._cases, self._auth = cases, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        routes: Sequence[tuple[str, Callable[..., Awaitable[Response]], type[BaseModel]]] = (
            ("/api/v1/accounts", self.open, OpenForm),
            ("/api/v1/accounts/{account}/close", self.close, CloseForm),
            ("/api/v1/accounts/{account}/refunds", self.refund, RefundForm),
            ("/api/v1/refunds/{refund}/paid", self.paid, PaidForm),
            ("/api/v1/refunds/{refund}/void", self.void, LifeForm),
            ("/api/v1/moves", self.move, MoveForm),
            ("/api/v1/meters/{meter}/change", self.change, ChangeForm),
            ("/api/v1/meters/{meter}/change-ct", self.change_ct, CtForm),
            ("/api/v1/meters/{meter}/remove", self.remove, LifeForm),
        )
        for path, handler, form in routes:
            schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
            router.add_api_route(path, handler, methods=["POST"], response_class=Response, openapi_extra=schema)
        return router

    async def open(self, request: Request) -> Response:
        """Open an account with its agreement, meters, first registers and what is taken over."""
        form, act = await form_of(request, OpenForm)
        kwh = [None if each.kwh is None else kwh_of("meters", each.kwh) for each in form.meters]
        return await answered("open_account", act, self._cases.open(form, act, kwh))

    async def close(self, request: Request, account: Id) -> Response:
        """Bill it to its end, decide on light and money, and close it for ever."""
        form, act = await form_of(request, CloseForm)
        final: ByMeter = {meter: kwh_of("final", kwh) for meter, kwh in form.final.items()}
        return await answered("close_account", act, self._cases.close(account, form, act, final))

    async def move(self, request: Request) -> Response:
        """Let meters pass to other accounts: where one bill ends the next begins."""
        form, act = await form_of(request, MoveForm)
        kwh = [None if each.kwh is None else kwh_of("meters", each.kwh) for each in form.meters]
        return await answered("move_meters", act, self._cases.move(form, act, kwh))

    async def change(self, request: Request, meter: Id) -> Response:
        """Another device at the same metering point."""
        form, act = await form_of(request, ChangeForm)
        last, first = kwh_of("last", form.last), kwh_of("first", form.first)
        return await answered("change_meter", act, self._cases.change(meter, form, act, last, first))

    async def change_ct(self, request: Request, meter: Id) -> Response:
        """Other transformers in front of a meter, from a register on."""
        form, act = await form_of(request, CtForm)
        return await answered("change_ct", act, self._cases.change_ct(meter, form, act, kwh_of("kwh", form.kwh)))

    async def refund(self, request: Request, account: Id) -> Response:
        """Put money aside that goes back to the customer."""
        form, act = await form_of(request, RefundForm)
        return await answered("refund", act, self._cases.refund(account, form, act))

    async def paid(self, request: Request, refund: Id) -> Response:
        """It was paid out, by another person than put it aside."""
        form, act = await form_of(request, PaidForm)
        return await answered("refund_paid", act, self._cases.pay_refund(refund, form.receipt, act))

    async def void(self, request: Request, refund: Id) -> Response:
        """It was not, and goes back to the account."""
        _, act = await form_of(request, LifeForm)
        return await answered("refund_voided", act, self._cases.void_refund(refund, act))

    async def remove(self, request: Request, meter: Id) -> Response:
        """Take a meter for which nobody pays out of the archive; its past stays."""
        _, act = await form_of(request, LifeForm)
        return await answered("remove_meter", act, self._cases.remove(meter, act))


async def answered(what: str, act: Act, work: Awaitable[Answer]) -> Response:
    """200 with what was done; 409 with the reason, 422 with every error of a table, 503 while no money is taken."""
    try:
        answer = await work
    except NeedsSecond as refused:
        log.info(what, id=act.id, by=act.by, refused=str(refused))
        raise Problem("refused", str(refused), extra={"needs": "second_person", "approval": act.id}) from None
    except Refusal as refused:
        log.info(what, id=act.id, by=act.by, refused=str(refused))
        raise Problem("refused", str(refused)) from None
    except Wrong as wrong:
        raise Problem("invalid", f"nothing was changed: {wrong.errors[0]}", extra={"errors": wrong.errors}) from None
    except MoneyHeld as held:
        raise Problem("unavailable", str(held)) from None
    log.info(what, id=act.id, by=act.by)
    return as_json(answer)
