"""The bank's interface over HTTP, put together: what needs a bank's word of money is beside it (contract.md 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_account import BankAccountView, account_view
from gateway.adapters.http.bank_caller import caller_of
from gateway.adapters.http.bank_gate import BankGate, bank_router
from gateway.adapters.http.bank_keys import hang_keys
from gateway.adapters.http.bank_topups import TakeTopUp, TopUpApi
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import as_json
from gateway.domain.bank_terms import QUERY

AccountId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


@dataclass(frozen=True, slots=True)
class BankUseCases:
    """What the interface can have done. `topup` as bank_topups.TakeTopUp; `read` raises ports.Unavailable.

    held: why no money is taken now, in one sentence; None when it is.
    """

    topup: TakeTopUp
    read: Reads
    held: Callable[[], str | None] = lambda: None


@dataclass(frozen=True, slots=True)
class BankTerms:
    """How an account is shown: the highest balance in micro-units, and how a holder's name is masked."""

    most_balance_micro: int
    masked: Callable[[str], str]


class BankApi:
    """Accounts, payments and keys behind a gate. now_ms: UTC."""

    def __init__(self, cases: BankUseCases, terms: BankTerms, gate: BankGate, now_ms: Callable[[], int]) -> None:
        self._cases, self._terms, self._gate = cases, terms, gate
        self._topups = TopUpApi(cases.topup, cases.read, cases.held, now_ms)

    def router(self) -> APIRouter:
        """The routes of /bank/v1, to be hung into an application of guard.new_application."""
        router = bank_router(self._gate)
        self._topups.hang(router)
        account: dict[int | str, dict[str, object]] = {200: {"model": BankAccountView}}
        router.add_api_route("/accounts/{account}", self.account, methods=["GET"], response_class=Response, responses=account)
        identity = self._gate.identity
        hang_keys(router, lambda: [] if identity is None else [*identity.published()])
        return router

    async def account(self, request: Request, account: AccountId) -> Response:
        """Who would be paid for, with the name masked, and what may be paid in now."""
        await caller_of(request, QUERY, spend=True)
        view = await self._cases.read(lambda tx: account_view(tx, account, self._terms.most_balance_micro, self._terms.masked))
        if view is None:
            raise Problem("unknown_account", f"account {account} is not known here")
        return as_json(view)
