"""Payments at the counter over HTTP: a person with the role of an operator, never a bank's signature (contract.md 2 and 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.bank_topups import BODY, Envelope, TopUpForm, answer_of, decided, topup_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.views import PROBLEM_DOCUMENT
from gateway.domain.requests import TopUp
from gateway.services.ports import TopUpOutcome

TakeCounter = Callable[[TopUp, str], Awaitable[TopUpOutcome]]
"""Post a payment that a person took: with who it was, as the audit log names people."""


class CounterApi:
    """The handler. bank: of these payments' identity; today: its accounting date now."""

    def __init__(self, take: TakeCounter, auth: OperatorAuth, bank: str, today: Callable[[], date]) -> None:
        self._take, self._auth, self._bank, self._today = take, auth, bank, today

    def router(self) -> APIRouter:
        """The route, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        answers: dict[int | str, dict[str, object]] = {201: {"model": Envelope}, 200: {"model": Envelope}}
        router.add_api_route(
            "/api/v1/topups", self.topup, methods=["POST"], response_class=Response, openapi_extra=BODY,
            status_code=201, responses=answers,
        )  # fmt: skip
        return router

    async def topup(self, request: Request) -> Response:
        """Book a payment taken at the counter, once for each receipt: `serial` is its number."""
        topup = topup_of(checked(TopUpForm, await read_object(request)), self._bank, self._today())
        task = asyncio.ensure_future(self._take(topup, person_of(request).who))
        await asyncio.wait({task})
        return answer_of(decided(task))
