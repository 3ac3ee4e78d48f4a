"""What banks ask for beside paying: quotes, reversals, refunds, settlements (contract.md 3)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_answers import MERITS, Answers, sending
from gateway.adapters.http.bank_caller import BankCaller, caller_of
from gateway.adapters.http.bank_forms import (
    Day,
    Institution,
    QuoteForm,
    RefundForm,
    ReversalForm,
    Serial,
    SettlementForm,
    day_of,
    moment_of,
    money,
)
from gateway.adapters.http.bank_topups import stored_problem
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import as_json
from gateway.domain.bank_acts import (
    BookedRefund,
    BookedSettlement,
    Quote,
    Refund,
    RefundState,
    Reversal,
    ReversalOutcome,
    ReversalVerdict,
    Settlement,
)
from gateway.domain.bank_terms import QUERY, REFUND, REVERSAL, SETTLE, SerialScope
from gateway.domain.nonces import Claim
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import format_money

QUOTED = ""
"""A quote has no serial: it leaves nothing behind that would need one."""


@dataclass(frozen=True, slots=True)
class BooksUseCases:
    """What these routes can have done. Each raises Problem for whatever is refused, and ports.Unavailable.

    refund: with who asks; the id of the approval that it waits for. settle: whether it was new.
    """

    quote: Callable[[TopUp], Awaitable[Quote]]
    reverse: Callable[[Reversal, Claim | None], Awaitable[ReversalOutcome]]
    refund: Callable[[Refund, str], Awaitable[tuple[BookedRefund, str]]]
    settle: Callable[[Settlement], Awaitable[tuple[BookedSettlement, bool]]]


class QuoteView(BaseModel):
    """What a top-up would do now."""

    account: str
    amount: str = Field(examples=["50.00"])
    currency: str
    to_credit: str
    to_debt: str
    fees: str
    balance_after: str
    next: str = Field(examples=["restored"])


class ReversalView(BaseModel):
    """The payment's envelope with its reversal; both documents are byte for byte the same for ever."""

    receipt: dict[str, str] | None
    receipt_jws: str | None = None
    payment: str = Field(examples=["reversed"])
    delivery: str = Field(examples=["none"])
    reversal: dict[str, str | None] | None
    problem: dict[str, object] | None = None


class RefundView(BaseModel):
    """A refund: `asked` until a second person agrees, then `paid`; `voided` when nobody did."""

    refund: dict[str, str] | None
    state: str = Field(examples=["asked"])
    serial: str
    original_serial: str
    account: str
    amount: str
    currency: str
    approval: str


class SettlementView(BaseModel):
    """The money arrived. outstanding: what the bank still owes in all; outstanding_of_day: of this accounting date."""

    settlement_no: str
    bank: str
    fund_batch: str
    accounting_date: str
    amount: str
    currency: str
    outstanding: str
    outstanding_of_day: str
    booked_at: str
    gateway: str


class BankBooksApi:
    """The handlers. now_ms: UTC."""

    def __init__(self, cases: BooksUseCases, now_ms: Callable[[], int]) -> None:
        self._cases, self._now_ms = cases, now_ms

    def hang(self, router: APIRouter) -> None:
        """The routes, onto a router of bank_gate."""
        _post(router, "/quotes", self.quote, QuoteForm, {200: {"model": QuoteView}, **sending(*MERITS, "not_open")})
        undone = sending("delivered", "day_closed")
        taken: Answers = {200: {"model": ReversalView}, 202: {"model": ReversalView}, **undone}
        _post(router, "/topups/{serial}/reversal", self.reverse, ReversalForm, taken)
        _post(router, "/topups/{accounting_date}/{serial}/reversal", self.reverse_of_day, ReversalForm, taken)
        why = ("not_found", "serial_conflict", "reversed", "delivered", "day_closed", "currency_mismatch", "amount_out_of_range")
        given: Answers = {202: {"model": RefundView}, 200: {"model": RefundView}, **sending(*why)}
        _post(router, "/refunds", self.refund, RefundForm, given, 202)
        settled: Answers = {201: {"model": SettlementView}, 200: {"model": SettlementView}, **sending("serial_conflict")}
        _post(router, "/settlements", self.settle, SettlementForm, settled, 201)

    async def quote(self, request: Request) -> Response:
        """What a top-up would do now: fees, debt share, credit, and what happens to supply. Changes nothing."""
        form = checked(QuoteForm, await read_object(request))
        micro = money(form.amount, form.currency)
        caller = await caller_of(request, QUERY, spend=True)
        today, now = caller.terms.today(self._now_ms()), datetime.fromtimestamp(self._now_ms() / 1000, UTC)
        identity = PaymentIdentity(caller.bank, "", caller.terms.scope_of(today), QUOTED)
        return as_json(_quote(await self._cases.quote(TopUp(identity, form.account, micro, form.currency, now, today, today))))

    async def reverse(self, request: Request, serial: Serial, institution: Institution = "") -> Response:
        """Undo a payment, whole, until its day is closed; also one that has not come yet. Again: the same answer."""
        return await self._reverse(request, serial, institution, None)

    async def reverse_of_day(
        self, request: Request, accounting_date: Day, serial: Serial, institution: Institution = ""
    ) -> Response:
        """The same, for a bank whose serials are unique within its accounting date."""
        return await self._reverse(request, serial, institution, day_of(accounting_date))

    async def _reverse(self, request: Request, serial: str, institution: str, payment_day: date | None) -> Response:
        form = checked(ReversalForm, await read_object(request))
        micro, day = money(form.amount, form.currency), day_of(form.accounting_date)
        at = moment_of(form.requested_at, "requested_at")
        caller = await caller_of(request, REVERSAL)
        identity = caller.identity(serial, institution, payment_day)
        wanted = Reversal(identity, form.reversal_serial, day, micro, form.currency, form.reason, at)
        return reversal_answer(await self._cases.reverse(wanted, caller.claim))

    async def refund(self, request: Request) -> Response:
        """Money of a payment goes back on a later day: put aside now (202), given out when a second person agrees (200)."""
        form = checked(RefundForm, await read_object(request))
        micro, day = money(form.amount, form.currency), day_of(form.accounting_date)
        paid_on = None
        if form.original_accounting_date is not None:
            paid_on = day_of(form.original_accounting_date, "original_accounting_date")
        caller = await caller_of(request, REFUND, spend=True)
        if caller.terms.serial_scope is SerialScope.ACCOUNTING_DATE and paid_on is None:
            raise Problem("invalid", "original_accounting_date is missing", field="original_accounting_date")
        original = caller.identity(form.original_serial, form.institution, paid_on)
        identity = PaymentIdentity(caller.bank, form.institution, caller.terms.scope_of(day), form.serial)
        today = caller.terms.today(self._now_ms())
        wanted = Refund(identity, original, day, today, micro, form.currency, form.reason)
        booked, approval = await self._cases.refund(wanted, who(caller))
        return _refund(booked, approval)

    async def settle(self, request: Request) -> Response:
        """The money of an accounting date arrived. First time 201; the same fund batch with the same content again 200."""
        form = checked(SettlementForm, await read_object(request))
        day = day_of(form.accounting_date)
        micro = _large(form.amount, form.currency)
        caller = await caller_of(request, SETTLE, spend=True)
        booked, new = await self._cases.settle(Settlement(caller.bank, form.fund_batch, day, micro, form.currency))
        return Response(booked.document, 201 if new else 200, {"cache-control": "no-store"}, "application/json")


def who(caller: BankCaller) -> str:
    """As the audit log names who asks: a key stands for a person or a machine of the bank."""
    return f"bank:{caller.bank}/{caller.key}" if caller.key else f"bank:{caller.bank}"


def reversal_answer(outcome: ReversalOutcome) -> Response:
    """What a bank is told of its reversal. The stored documents go out byte for byte: spliced in, never parsed and written anew."""
    payment, reversal = outcome.payment, outcome.reversal
    if outcome.verdict in (ReversalVerdict.DELIVERED, ReversalVerdict.DAY_CLOSED):
        receipt: dict[str, object] = json.loads(payment.receipt or "null") or {}
        raise Problem(outcome.verdict.value, outcome.detail, extra={"receipt": receipt, "delivery": outcome.delivery})
    sealed = f'"{payment.receipt_jws}"' if payment.receipt_jws else "null"
    document = reversal.document if reversal is not None and reversal.document else "null"
    members = [f'"receipt": {payment.receipt or "null"}', f'"receipt_jws": {sealed}', f'"payment": "{payment.status}"']
    members += [f'"delivery": "{outcome.delivery}"', f'"reversal": {document}']
    if payment.status == "refused":
        members.append(f'"problem": {json.dumps(stored_problem(payment).document())}')
    status = 202 if outcome.verdict is ReversalVerdict.PENDING else 200
    return Response("{" + ", ".join(members) + "}", status, {"cache-control": "no-store"}, "application/json")


def _quote(quote: Quote) -> dict[str, str]:
    of = quote.currency
    return {
        "account": quote.account,
        "amount": format_money(quote.amount_micro, of),
        "currency": of,
        "to_credit": format_money(quote.to_credit_micro, of),
        "to_debt": format_money(quote.to_debt_micro, of),
        "fees": format_money(quote.fees_micro, of),
        "balance_after": format_money(quote.balance_micro, of),
        "next": quote.next,
    }


def _refund(booked: BookedRefund, approval: str) -> Response:
    told = {
        "refund": json.loads(booked.document) if booked.document else None,
        "state": booked.state.value,
        "serial": booked.identity.serial,
        "original_serial": booked.original.serial,
        "account": booked.account,
        "amount": format_money(booked.amount_micro, booked.currency),
        "currency": booked.currency,
        "approval": approval,
    }
    return as_json(told, 202 if booked.state is RefundState.ASKED else 200)


def _large(amount: str, currency: str) -> int:
    """A settlement is the sum of a day: more than one payment may be."""
    whole, _, rest = amount.rpartition(".")
    head, tail = whole[:-9], whole[-9:].lstrip("0") or "0"
    micro = money(f"{tail}.{rest}", currency) if tail != "0" or rest.strip("0") else 0
    micro += int(head or 0) * 10**15
    if not micro or len(rest) != 2:
        raise Problem("invalid", "amount must be greater than zero, with two decimals", field="amount")
    return micro


def _post(
    router: APIRouter,
    path: str,
    handler: Callable[..., Awaitable[Response]],
    form: type[BaseModel],
    answers: Answers,
    status: int = 200,
) -> None:
    schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
    router.add_api_route(
        path, handler, methods=["POST"], response_class=Response, openapi_extra=schema, status_code=status, responses=answers
    )
