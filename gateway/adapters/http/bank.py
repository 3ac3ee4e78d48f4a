"""The bank's interface over HTTP, first form: top-up, query by serial, account query (contract.md 3). Signatures come later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_account import BankAccountView, account_view
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import KINDS, Problem, unavailable
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json
from gateway.domain.records import Payment
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import DECIMALS, parse_money
from gateway.services.ports import InvalidField, MoneyHeld, TopUpOutcome, TopUpVerdict, Tx, Unavailable

ANSWER_WITHIN_S = 4.5
"""We promise an answer within 5 s; later the bank hears `unavailable` and repeats, while the posting goes on."""

MOST_UNANSWERED = 1024
"""Postings that go on after their bank was told to repeat: beyond it nothing new is taken, for the store is stuck."""


@dataclass(frozen=True, slots=True)
class BankUseCases:
    """What the interface can have done. `topup` raises ports.InvalidField, MoneyHeld and Unavailable, `read` the latter.

    held: why no money is taken now, in one sentence; None when it is. heard: told of every call that is a bank's.
    """

    topup: Callable[[TopUp], Awaitable[TopUpOutcome]]
    read: Reads
    held: Callable[[], str | None] = lambda: None
    heard: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class BankTerms:
    """How money is taken in: IANA zone of accounting dates, highest balance in micro-units, how a holder's name is masked."""

    zone: str
    most_balance_micro: int
    masked: Callable[[str], str]


class TopUpForm(BaseModel):
    """The body of a top-up. Every value is a string; money has exactly the currency's decimals."""

    model_config = ConfigDict(extra="forbid")

    serial: StrictStr = Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$", examples=["20261121-000001"])
    account: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["A-0007"])
    amount: StrictStr = Field(pattern=r"^(0|[1-9][0-9]{0,8})\.[0-9]{1,6}$", examples=["50.00"])
    currency: StrictStr = Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])
    paid_at: StrictStr = Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
        examples=["2026-11-21T10:15:00+08:00"],
    )
    accounting_date: StrictStr = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-11-21"])
    institution: StrictStr = Field("", pattern=r"^[A-Za-z0-9._:-]{0,64}$", examples=["WX-PAY"])
    channel: StrictStr = Field("", pattern=r"^[A-Za-z0-9._:-]{0,64}$", examples=["app"])


class Envelope(BaseModel):
    """The answer to a payment and to its query: `receipt` is one document, byte for byte the same for ever."""

    receipt: dict[str, str] | None
    payment: str = Field(examples=["posted"])
    delivery: str = Field(examples=["none"])
    problem: dict[str, object] | None = None


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": TopUpForm.model_json_schema()}}}}

Serial = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
AccountId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Institution = Annotated[str, Query(pattern=r"^[A-Za-z0-9._:-]{0,64}$")]
BankHeader = Annotated[str, Header(alias="x-bank", pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class BankApi:
    """The handlers. now_ms: UTC. Without signatures the header x-bank (or `demo`) says which bank speaks: loopback only."""

    def __init__(self, cases: BankUseCases, terms: BankTerms, now_ms: Callable[[], int]) -> None:
        self._cases, self._terms, self._now_ms = cases, terms, now_ms
        self._zone = ZoneInfo(terms.zone)
        self._running: set[asyncio.Task[TopUpOutcome]] = set()

    def router(self) -> APIRouter:
        """The routes of /bank/v1, to be hung into an application of guard.new_application."""
        hear = [Depends(self._hear)]
        router = APIRouter(prefix="/bank/v1", tags=["bank"], responses={"default": PROBLEM_DOCUMENT}, dependencies=hear)
        envelope: dict[str, object] = {"model": Envelope}
        router.add_api_route(
            "/topups", self.topup, methods=["POST"], response_class=Response, openapi_extra=_BODY,
            status_code=201, responses={201: envelope, 200: envelope},
        )  # fmt: skip
        for path, handler, model in (
            ("/topups/{serial}", self.query, Envelope),
            ("/accounts/{account}", self.account, BankAccountView),
        ):
            router.add_api_route(path, handler, methods=["GET"], response_class=Response, responses={200: {"model": model}})
        return router

    async def _hear(self) -> None:
        self._cases.heard()

    async def topup(self, request: Request, x_bank: BankHeader = "demo") -> Response:
        """Credit an account once. First time 201; the same identity and content again 200 with the same receipt."""
        topup = topup_of(checked(TopUpForm, await read_object(request)), x_bank, self._today())
        outcome = await self._post(topup)
        if outcome.verdict is TopUpVerdict.CONFLICT:
            detail = f"serial {topup.identity.serial} was used before with another {outcome.field}"
            raise Problem("serial_conflict", detail, field=outcome.field)
        if outcome.payment.status != "posted":
            raise _stored_problem(outcome.payment)
        return _envelope(outcome.payment, 201 if outcome.verdict is TopUpVerdict.POSTED else 200, outcome.delivery)

    async def query(self, serial: Serial, institution: Institution = "", x_bank: BankHeader = "demo") -> Response:
        """What is booked under a serial: the same envelope as the payment's answer; a stored refusal carries its problem."""
        identity = PaymentIdentity(x_bank, institution, "", serial)
        payment, delivery = await self._cases.read(lambda tx: _booked(tx, identity))
        if payment is None and (waits := self._cases.held()) is not None:
            raise unavailable(f"serial {serial} is not booked in what was restored, which proves nothing: {waits}")
        if payment is None:
            raise Problem("not_found", f"nothing is booked under serial {serial} now")
        return _envelope(payment, 200, delivery)

    async def account(self, account: AccountId) -> Response:
        """Who would be paid for, with the name masked, and what may be paid in now."""
        view = await self._cases.read(lambda tx: account_view(tx, account, self._terms.most_balance_micro, self._terms.masked))
        if view is None:
            raise Problem("unknown_account", f"account {account} is not known here")
        return as_json(view)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._now_ms() / 1000, self._zone).date()

    async def _post(self, topup: TopUp) -> TopUpOutcome:
        """The posting runs to its end even when nobody waits any more: a payment is never half asked."""
        if len(self._running) >= MOST_UNANSWERED:
            raise unavailable()
        task = asyncio.ensure_future(self._cases.topup(topup))
        self._running.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait({task}, timeout=ANSWER_WITHIN_S)
        if not done:
            raise unavailable("the payment is not decided yet; ask again with the same serial")
        try:
            return task.result()
        except Unavailable:
            raise unavailable() from None
        except MoneyHeld as waits:
            raise unavailable(str(waits)) from None
        except InvalidField as error:
            raise Problem("invalid", str(error), field=error.field) from None

    def _forget(self, task: asyncio.Task[TopUpOutcome]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nothing complains about an error nobody waited for


def topup_of(form: TopUpForm, bank: str, today: date) -> TopUp:
    """The payment that a bank's form asks for. Problem `invalid` names the field."""
    return TopUp(
        identity=PaymentIdentity(bank, form.institution, "", form.serial),
        account=form.account,
        amount_micro=_amount(form),
        currency=form.currency,
        paid_at=_paid_at(form.paid_at),
        accounting_date=_accounting_date(form.accounting_date),
        today=today,
        channel=form.channel,
    )


def _amount(form: TopUpForm) -> int:
    """Micro-units, greater than zero, with exactly the currency's decimals."""
    try:
        micro = parse_money(form.amount, form.currency)
    except ValueError as error:
        known = form.currency in DECIMALS
        raise Problem("invalid", str(error), field="amount" if known else "currency") from None
    if micro == 0:
        raise Problem("invalid", "amount must be greater than zero", field="amount")
    return micro


def _paid_at(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem("invalid", "paid_at is not a moment that exists", field="paid_at") from None


def _accounting_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Problem("invalid", "accounting_date is not a day that exists", field="accounting_date") from None


def _stored_problem(payment: Payment) -> Problem:
    """The refusal that is stored for this identity, as it was first said; a code this version does not know is no guess of ours."""
    code = "reversed" if payment.status == "reversed" else payment.problem or ""
    if code not in KINDS:
        return unavailable(f"serial {payment.identity.serial} is refused for a reason that this version does not know; call us")
    return Problem(code, payment.detail or KINDS[code].title)


def _booked(tx: Tx, identity: PaymentIdentity) -> tuple[Payment | None, str]:
    """The payment, and where its credit is."""
    payment = tx.payment(identity)
    found = None if payment is None or payment.entry is None else tx.delivery(f"delivery-{payment.entry}")
    return payment, "none" if found is None else found.state.value


def _envelope(payment: Payment, status: int, delivery: str) -> Response:
    """The stored receipt goes out byte for byte: it is spliced in, never parsed and written anew."""
    members = [f'"receipt": {payment.receipt or "null"}', f'"payment": "{payment.status}"', f'"delivery": "{delivery}"']
    if payment.status == "refused":
        members.append(f'"problem": {json.dumps(_stored_problem(payment).document())}')
    return Response("{" + ", ".join(members) + "}", status, {"cache-control": "no-store"}, "application/json")
