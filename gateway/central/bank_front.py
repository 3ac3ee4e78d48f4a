"""The banks' interface at the centre (contract.md 3): posts durably and answers; light may come later, never the answer.

`delivery` says where the credit is: `queued`, `sent` (the broker has the voucher), `none` (the gateway has credited it),
`uncertain` (the gateway refused it; a finding, until a person decides).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.adapters.http.bank_caller import BankCaller, caller_of
from gateway.adapters.http.bank_gate import BankGate, bank_router
from gateway.adapters.http.bank_topups import TopUpForm
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import KINDS, Problem, unavailable
from gateway.central import orders, payments, report
from gateway.central.accounts import Accounts, KnownAccount
from gateway.central.orders import Signer
from gateway.central.payments import Booked, Outcome, Refusal
from gateway.central.service import Central, wall_ms
from gateway.central.store import StoreFailed
from gateway.domain.bank_acts import Reversal, ReversalVerdict
from gateway.domain.bank_terms import QUERY, RECONCILE, REVERSAL, TOPUP
from gateway.domain.day_file import write_day_file
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import DECIMALS, parse_money

T = TypeVar("T")

ANSWER_WITHIN_S = 4.5
"""We promise an answer within 5 s; later the bank hears `unavailable` and repeats, while the posting goes on."""

MOST_UNANSWERED = 1024
"""Postings that go on after their bank was told to repeat: beyond it nothing new is taken, for the store is stuck."""

_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

Serial = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
AccountId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Day = Annotated[str, Path(pattern=_DAY)]
Institution = Annotated[str, Query(pattern=r"^[A-Za-z0-9._:-]{0,64}$")]


class ReversalForm(BaseModel):
    """The body of a reversal."""

    model_config = ConfigDict(extra="forbid")

    reversal_serial: StrictStr = Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$", examples=["R-000001"])
    accounting_date: StrictStr = Field(pattern=_DAY, examples=["2026-11-21"])
    amount: StrictStr = Field(pattern=r"^(0|[1-9][0-9]{0,8})\.[0-9]{1,6}$", examples=["50.00"])
    currency: StrictStr = Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])
    reason: StrictStr = Field(max_length=500, examples=["no answer"])
    requested_at: StrictStr = Field(pattern=_MOMENT, examples=["2026-11-21T10:16:00+08:00"])


class BankFront:
    """The handlers, behind a gate that says who speaks."""

    def __init__(
        self,
        central: Central,
        accounts: Accounts,
        signer: Signer,
        centre: str,
        gate: BankGate,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._central, self._accounts, self._signer, self._centre = central, accounts, signer, centre
        self._gate, self._now_ms = gate, now_ms
        self._running: set[asyncio.Task[object]] = set()

    def router(self) -> APIRouter:
        """The routes of /bank/v1."""
        router = bank_router(self._gate)
        for path, handler, method in (
            ("/topups", self.topup, "POST"),
            ("/topups/{serial}", self.query, "GET"),
            ("/topups/{serial}/reversal", self.reversal, "POST"),
            ("/accounts/{account}", self.account, "GET"),
            ("/reconciliations/{day}/statement", self.statement, "GET"),
        ):
            router.add_api_route(path, handler, methods=[method], response_class=Response)
        return router

    async def topup(self, request: Request) -> Response:
        """Take a payment once. First time 201; the same identity and content again 200 with the same receipt."""
        form = checked(TopUpForm, await read_object(request))
        paid_at, day, micro = _moment(form.paid_at, "paid_at"), _day(form.accounting_date), _micro(form.amount, form.currency)
        caller = await caller_of(request, TOPUP, spend=True)
        topup = TopUp(
            identity=PaymentIdentity(caller.bank, form.institution, caller.terms.scope_of(day), form.serial),
            account=form.account,
            amount_micro=micro,
            currency=form.currency,
            paid_at=paid_at,
            accounting_date=day,
            today=caller.terms.today(self._now_ms()),
            channel=form.channel,
        )
        outcome = await self._answered(lambda: self._post(topup))
        if outcome.conflict is not None:
            detail = f"serial {topup.identity.serial} was used before with another {outcome.conflict}"
            raise Problem("serial_conflict", detail, field=outcome.conflict)
        if outcome.booked.status != "posted":
            raise _problem(outcome.booked)
        if outcome.new:
            await self._relay(topup.identity)
        return _envelope(outcome.booked, 201 if outcome.new else 200)

    def _post(self, topup: TopUp) -> Outcome:
        return payments.post(self._central.store, topup, self._owner(topup), self._signer, self._centre, self._now_ms())

    def _owner(self, topup: TopUp) -> KnownAccount | Refusal:
        account = self._accounts.of(topup.account)
        if account is None:
            return Refusal("unknown_account", f"account {topup.account} is not known here")
        if account.currency != topup.currency:
            return Refusal("currency_mismatch", f"account {account.account} is kept in {account.currency}")
        return account

    async def _relay(self, identity: PaymentIdentity) -> None:
        voucher = payments.voucher_of(identity)
        self._central.send_soon([one for one in [await self._read(lambda c: orders.state(c, voucher))] if one is not None])

    async def query(self, request: Request, serial: Serial, institution: Institution = "") -> Response:
        """What is booked under a serial: the same envelope as the payment's answer; a stored refusal carries its problem."""
        identity = (await caller_of(request, QUERY, spend=True)).identity(serial, institution)
        found = await self._read(lambda c: payments.booked(c, identity))
        if found is None:
            raise Problem("not_found", f"nothing is booked under serial {serial} now")
        return _envelope(found, 200)

    async def reversal(self, request: Request, serial: Serial, institution: Institution = "") -> Response:
        """Undo a payment that its gateway did not take; one under way is decided by the gateway's word: 202, ask again."""
        form = checked(ReversalForm, await read_object(request))
        day, micro, at = _day(form.accounting_date), _micro(form.amount, form.currency), _moment(form.requested_at, "requested_at")
        caller = await caller_of(request, REVERSAL, spend=True)
        asked = Reversal(caller.identity(serial, institution), form.reversal_serial, day, micro, form.currency, form.reason, at)
        try:
            verdict, found = await self._answered(lambda: payments.reverse(self._central.store, asked, self._now_ms()))
        except payments.BadReversal as wrong:
            raise Problem("invalid", f"serial {serial} has another {wrong}: it is reversed whole", field=str(wrong)) from None
        if verdict is ReversalVerdict.DELIVERED:
            raise Problem("delivered", f"the credit of serial {serial} is with its gateway, or nobody could say in time")
        return _envelope(found, 202 if verdict is ReversalVerdict.PENDING else 200)

    async def account(self, request: Request, account: AccountId) -> Response:
        """Who would be paid for. The balance is the last that the gateway told; what may be paid in is the gateway's to say."""
        await caller_of(request, QUERY, spend=True)
        known = self._accounts.of(account)
        if known is None:
            raise Problem("unknown_account", f"account {account} is not known here")
        balance = await self._read(lambda c: report.last_balance(c, known.gateway, known.pseudonym))
        view = {"account": account, "holder": known.holder, "balance": balance or "", "currency": known.currency}
        return _json(view | {"supply": "unknown", "lowest": "", "highest": "", "debts": {}, "accepts_payment": True})

    async def statement(self, request: Request, day: Day) -> Response:
        """Our file of that day, in the form of the bank's own."""
        caller: BankCaller = await caller_of(request, RECONCILE, spend=True)
        lines = await self._read(lambda c: payments.day_lines(c, caller.bank, day))
        return PlainTextResponse("".join(write_day_file(lines)), 200, {"cache-control": "no-store"}, "text/csv")

    async def _read(self, query: Callable[[Connection], T]) -> T:
        try:
            return await asyncio.to_thread(self._central.store.read, query)
        except StoreFailed:
            raise unavailable() from None

    async def _answered(self, work: Callable[[], T]) -> T:
        """It runs to its end even when nobody waits any more: a payment is never half asked."""
        if len(self._running) >= MOST_UNANSWERED:
            raise unavailable()
        task = asyncio.ensure_future(self._central.in_store(work))
        self._running.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait({task}, timeout=ANSWER_WITHIN_S)
        if not done:
            raise unavailable("the payment is not decided yet; ask again with the same serial")
        try:
            return task.result()
        except StoreFailed:
            raise unavailable() from None
        except payments.OutOfTime as wrong:
            raise Problem("invalid", str(wrong), field="accounting_date") from None

    def _forget(self, task: asyncio.Task[T]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nothing complains about an error nobody waited for


def _micro(amount: str, currency: str) -> int:
    """Micro-units, greater than zero, with exactly the currency's decimals."""
    try:
        micro = parse_money(amount, currency)
    except ValueError as wrong:
        raise Problem("invalid", str(wrong), field="amount" if currency in DECIMALS else "currency") from None
    if micro == 0:
        raise Problem("invalid", "amount must be greater than zero", field="amount")
    return micro


def _moment(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem("invalid", f"{name} is not a moment that exists", field=name) from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Problem("invalid", "accounting_date is not a day that exists", field="accounting_date") from None


def _problem(found: Booked) -> Problem:
    """The refusal that is stored for this identity, as it was first said."""
    code = "reversed" if found.status == "reversed" else found.problem or "unavailable"
    return Problem(code, found.detail or KINDS[code].title)


def _envelope(found: Booked, status: int) -> Response:
    """The stored receipt goes out byte for byte: it is spliced in, never parsed and written anew."""
    members = [f'"receipt": {found.receipt or "null"}', f'"payment": "{found.status}"', f'"delivery": "{found.delivery}"']
    if found.reversal is not None:
        members.append(f'"reversal": {found.reversal}')
    if found.status == "refused":
        members.append(f'"problem": {json.dumps(_problem(found).document())}')
    return Response("{" + ", ".join(members) + "}", status, {"cache-control": "no-store"}, "application/json")


def _json(value: object) -> Response:
    return Response(json.dumps(value, ensure_ascii=False), 200, {"cache-control": "no-store"}, "application/json")
