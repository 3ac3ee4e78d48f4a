"""The bank's interface over HTTP, put together: what needs a bank's word of money is beside it (contract.md 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_account import BankAccountView, account_view
from gateway.adapters.http.bank_answers import Answers, asking
from gateway.adapters.http.bank_caller import caller_of
from gateway.adapters.http.bank_gate import BankGate, bank_router
from gateway.adapters.http.bank_keys import hang_keys
from gateway.adapters.http.bank_topups import SealReceipt, TakeTopUp, TopUpApi
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import as_json
from gateway.domain.bank_acts import Accepted
from gateway.domain.bank_terms import QUERY, PartnerTerms
from gateway.domain.meters import Account
from gateway.domain.records import Payment
from gateway.services.ports import Tx

AccountId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["A-0007"])]


async def _as_it_is(payment: Payment) -> Payment:
    return payment


@dataclass(frozen=True, slots=True)
class BankUseCases:
    """What the interface can have done. `topup` as bank_topups.TakeTopUp; `read` raises ports.Unavailable.

    held: why no money is taken now, in one sentence; None when it is. seal: as bank_topups.SealReceipt.
    """

    topup: TakeTopUp
    read: Reads
    held: Callable[[], str | None] = lambda: None
    seal: SealReceipt = _as_it_is


@dataclass(frozen=True, slots=True)
class BankTerms:
    """How an account is shown: the highest balance in micro-units, how a holder's name is masked, and what is accepted now."""

    most_balance_micro: int
    masked: Callable[[str], str]
    accepted: Callable[[Tx, Account, PartnerTerms, date], Accepted] | None = None


class BankApi:
    """Accounts, payments and keys behind a gate. now_ms: UTC."""

    def __init__(self, cases: BankUseCases, terms: BankTerms, gate: BankGate, now_ms: Callable[[], int]) -> None:
        self._cases, self._terms, self._gate, self._now_ms = cases, terms, gate, now_ms
        self._topups = TopUpApi(cases.topup, cases.read, cases.held, now_ms, cases.seal)

    def router(self) -> APIRouter:
        """The routes of /bank/v1, to be hung into an application of guard.new_application."""
        router = bank_router(self._gate)
        self._topups.hang(router)
        account: Answers = {200: {"model": BankAccountView}, **asking("invalid", "unknown_account")}
        router.add_api_route("/accounts/{account}", self.account, methods=["GET"], response_class=Response, responses=account)
        hang_keys(router, lambda: [] if self._gate.identity is None else [*self._gate.identity.published()])
        return router

    async def account(self, request: Request, account: AccountId) -> Response:
        """Who would be paid for, with the name masked, and what may be paid in now."""
        caller = await caller_of(request, QUERY, spend=True)
        terms, bank, accepting = self._terms, caller.terms, None
        if (accepted := terms.accepted) is not None:
            today = bank.today(self._now_ms())
            accepting = lambda tx, known: accepted(tx, known, bank, today)  # noqa: E731
        view = await self._cases.read(lambda tx: account_view(tx, account, terms.most_balance_micro, terms.masked, accepting))
        if view is None:
            raise Problem("unknown_account", f"account {account} is not known here")
        if self._cases.held() is not None or not bank.trades(self._now_ms()):
            view = replace(view, accepts_payment=False)
        return as_json(view)
