"""Emergency credit over HTTP: a person takes it for a customer who asks (prepayment.md a7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json
from gateway.domain import ledger
from gateway.domain.units import format_money
from gateway.services.ports import Tx

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CreditView:
    """Where the account stands with it. lent: what has not been given back; `balance` holds it."""

    account: str
    balance: str
    lent: str
    currency: str
    state: str


class CreditApi:
    """The handlers. accept: the use case, why not in one sentence."""

    def __init__(self, accept: Callable[[str, str], Awaitable[str | None]], read: Reads, auth: OperatorAuth) -> None:
        self._accept, self._read, self._auth = accept, read, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        router.add_api_route(
            "/api/v1/accounts/{account}/emergency-credit", self.accept, methods=["POST"], response_class=Response,
            responses={200: {"model": CreditView}},
        )  # fmt: skip
        return router

    async def accept(self, request: Request, account: Id) -> Response:
        """Take the emergency credit that is offered; supply is judged at once. 409 with the reason where there is none."""
        if await self._read(lambda tx: tx.account(account)) is None:
            raise Problem("not_found", f"account {account} is not known here")
        who = person_of(request).who
        refused = await self._accept(account, who)
        log.info("emergency_credit", account=account, by=who, refused=refused)
        if refused is not None:
            raise Problem("refused", refused)
        return as_json(await self._read(lambda tx: _view(tx, account)))


def _view(tx: Tx, ident: str) -> CreditView:
    account = tx.account(ident)
    if account is None:
        raise LookupError(f"account {ident} is not in the archive")
    balance, lent = (tx.balance(book(ident), account.currency) for book in (ledger.customer, ledger.emergency))
    shown = (format_money(balance, account.currency), format_money(-lent, account.currency))
    return CreditView(ident, *shown, account.currency, account.credit.value)
