"""The banks' interface at the centre (contract.md 3): posts durably and answers; light may come later, never the answer.

`delivery` says where the credit is: `queued`, `sent` (the broker has the voucher), `none` (the gateway has credited it),
`uncertain` (the gateway refused it; a finding, until a person decides).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_answers import Answers, asking, problems, sending
from gateway.adapters.http.bank_books_api import QUOTED, QuoteView, ReversalView, reversal_answer, who
from gateway.adapters.http.bank_caller import BankCaller, anybody, caller_of
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
from gateway.adapters.http.bank_gate import ASKED, BankGate, bank_router
from gateway.adapters.http.bank_keys import JwkSet
from gateway.adapters.http.bank_topups import BODY, Envelope, TopUpForm, envelope, stored_problem, topup_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import Problem, unavailable
from gateway.adapters.http.views import as_json
from gateway.central import bank_limits, nonces, orders, payments, receipts, report
from gateway.central.accounts import Accounts, KnownAccount
from gateway.central.bank_days import BankDays
from gateway.central.payments import Asked, Booked, Desk, Outcome, Refusal
from gateway.central.reversals import BadReversal, reverse
from gateway.central.service import Central, wall_ms
from gateway.central.store import StoreFailed
from gateway.domain.bank_acts import BookedReversal, Origin, Reversal, ReversalOutcome, ReversalState, ReversalVerdict
from gateway.domain.bank_terms import QUERY, REFUND, REVERSAL, SETTLE, TOPUP
from gateway.domain.nonces import Claim, NonceUsed
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import MICRO, format_money

T = TypeVar("T")

ANSWER_WITHIN_S = 4.5
"""We promise an answer within 5 s; later the bank hears `unavailable` and repeats, while the posting goes on."""

MOST_UNANSWERED = 1024
"""Postings that go on after their bank was told to repeat: beyond it nothing new is taken, for the store is stuck."""

LEAST_MICRO = MICRO // 100

MERITS = ("unknown_account", "currency_mismatch", "limit_exceeded", "amount_out_of_range", "day_closed")
"""What the centre itself refuses a payment for."""

AccountId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

ELSEWHERE: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("/refunds", REFUND, RefundForm),
    ("/settlements", SETTLE, SettlementForm),
)
"""What needs the ledger: asked of the gateway that owns the account."""


class AccountView(BaseModel):
    """An account as far as the centre knows it: the balance as its gateway last told it, empty before it told one."""

    account: str
    holder: str
    balance: str
    currency: str
    supply: str
    lowest: str
    highest: str
    debts: dict[str, str]
    accepts_payment: bool


class BankFront:
    """The handlers, behind a gate that says who speaks. centre: its name in receipts, which are signed by the gate's key."""

    def __init__(
        self, central: Central, accounts: Accounts, desk: Desk, gate: BankGate, now_ms: Callable[[], int] = wall_ms
    ) -> None:
        self._central, self._accounts, self._desk, self._gate, self._now_ms = central, accounts, desk, gate, now_ms
        self._days = BankDays(central, desk, self._owner, now_ms)
        self._running: Counter[PaymentIdentity] = Counter()
        self._unanswered: set[asyncio.Task[object]] = set()

    def router(self) -> APIRouter:
        """The routes of /bank/v1."""
        router = bank_router(self._gate)
        paid: Answers = {200: {"model": Envelope}}
        refused = sending(*MERITS, "serial_conflict", "reversed", "not_open")
        router.add_api_route(
            "/topups", self.topup, methods=["POST"], response_class=Response, openapi_extra=BODY,
            status_code=201, responses={**paid, 201: {"model": Envelope}, **refused},
        )  # fmt: skip
        found: Answers = {**paid, **asking("invalid", "not_found")}
        for path, query in (("/topups/{serial}", self.query), ("/topups/{accounting_date}/{serial}", self.query_of_day)):
            router.add_api_route(path, query, methods=["GET"], response_class=Response, responses=found)
        undone: Answers = {200: {"model": ReversalView}, 202: {"model": ReversalView}, **sending("delivered", "day_closed")}
        for path, reversal in (
            ("/topups/{serial}/reversal", self.reversal),
            ("/topups/{accounting_date}/{serial}/reversal", self.reversal_of_day),
        ):
            _post(router, path, reversal, ReversalForm, undone)
        _post(router, "/quotes", self.quote, QuoteForm, {200: {"model": QuoteView}, **sending(*MERITS, "not_open")})
        shown: Answers = {200: {"model": AccountView}, **asking("invalid", "unknown_account")}
        router.add_api_route("/accounts/{account}", self.account, methods=["GET"], response_class=Response, responses=shown)
        self._days.hang(router)
        keys: Answers = {200: {"model": JwkSet}, **problems("unavailable", "too_large", head_only=True)}
        router.add_api_route("/keys", self.keys, methods=["GET"], response_class=Response, responses=keys)
        for path, scope, form in ELSEWHERE:
            _post(router, path, _elsewhere(scope, form), form, sending(), 403)
        return router

    async def topup(self, request: Request) -> Response:
        """Take a payment once. First time 201; the same identity and content again 200 with the same receipt."""
        said = topup_of(checked(TopUpForm, await read_object(request)), "", date.min)
        caller = await caller_of(request, TOPUP)
        identity = replace(said.identity, bank=caller.bank, scope=caller.terms.scope_of(said.accounting_date))
        topup = replace(said, identity=identity, today=caller.terms.today(self._now_ms()))
        asked = Asked(topup, self._owner(topup.account, topup.currency), caller.terms, who(caller), caller.claim)
        outcome = await self._answered(topup.identity, lambda: payments.post(self._central.store, asked, self._desk, self._now_ms))
        if outcome.new and outcome.booked.voucher is not None:
            await self._relay(outcome.booked.voucher)
        return _paid(outcome)

    def _owner(self, account: str, currency: str) -> KnownAccount | Refusal:
        return payments.owner_of(self._accounts, account, currency)

    async def _relay(self, voucher: str) -> None:
        """At once where that can be; whoever does the chores sends what stays behind."""
        try:
            written = await self._read(lambda c: orders.state(c, voucher))
        except Problem:
            return
        self._central.send_soon([] if written is None else [written])

    async def query(self, request: Request, serial: Serial, institution: Institution = "") -> Response:
        """What is booked under a serial: the same envelope as the payment's answer; a stored refusal carries its problem."""
        caller = await caller_of(request, QUERY, spend=True)
        return await self._booked(caller, caller.identity(serial, institution))

    async def query_of_day(self, request: Request, accounting_date: Day, serial: Serial, institution: Institution = "") -> Response:
        """The same, for a bank whose serials are unique within its accounting date."""
        on = day_of(accounting_date)
        caller = await caller_of(request, QUERY, spend=True)
        return await self._booked(caller, caller.identity(serial, institution, on))

    async def _booked(self, caller: BankCaller, identity: PaymentIdentity) -> Response:
        found = await self._read(lambda c: payments.booked(c, identity))
        if found is not None:
            return envelope(found.payment, 200, found.delivery, found.reversal)
        if identity in self._running:
            raise unavailable(f"serial {identity.serial} is being decided now; ask again")
        final = "that is final 60 s after the `expires` of your last signed attempt" if caller.key else "it may still arrive"
        raise Problem("not_found", f"nothing is booked under serial {identity.serial} now; {final}")

    async def reversal(self, request: Request, serial: Serial, institution: Institution = "") -> Response:
        """Undo a payment that its gateway did not take; one under way is decided by the gateway's word: 202, ask again."""
        return await self._reverse(request, serial, institution, None)

    async def reversal_of_day(
        self, request: Request, accounting_date: Day, serial: Serial, institution: Institution = ""
    ) -> Response:
        """The same, for a bank whose serials are unique within its accounting date."""
        return await self._reverse(request, serial, institution, day_of(accounting_date))

    async def _reverse(self, request: Request, serial: str, institution: str, paid_on: date | None) -> Response:
        form = checked(ReversalForm, await read_object(request))
        micro, day = money(form.amount, form.currency), day_of(form.accounting_date)
        at = moment_of(form.requested_at, "requested_at")
        caller = await caller_of(request, REVERSAL)
        identity = caller.identity(serial, institution, paid_on)
        asked = Reversal(identity, form.reversal_serial, day, micro, form.currency, form.reason, at)
        centre = self._desk.centre
        try:
            verdict, found = await self._answered(
                identity, lambda: reverse(self._central.store, asked, who(caller), caller.claim, centre, self._now_ms)
            )
        except BadReversal as wrong:
            raise Problem("invalid", f"serial {serial} has another {wrong}: it is reversed whole", field=str(wrong)) from None
        return reversal_answer(_outcome(verdict, found))

    async def quote(self, request: Request) -> Response:
        """Whether a top-up would be taken now. What it does at the gateway, which has debts and fees, is empty. Changes nothing."""
        form = checked(QuoteForm, await read_object(request))
        micro = money(form.amount, form.currency)
        caller = await caller_of(request, QUERY, spend=True)
        now_ms = self._now_ms()
        today, now = caller.terms.today(now_ms), datetime.fromtimestamp(now_ms / 1000, UTC)
        identity = PaymentIdentity(caller.bank, "", caller.terms.scope_of(today), QUOTED)
        topup = TopUp(identity, form.account, micro, form.currency, now, today, today)
        asked = Asked(topup, self._owner(form.account, form.currency), caller.terms, who(caller))
        try:
            payments.must_trade(caller.terms, now_ms)
        except payments.NotOpen as closed:
            raise Problem("not_open", str(closed)) from None
        refused = await self._read(lambda c: payments.refusal(c, asked, keep=False))
        if refused is not None:
            raise Problem(refused.code, refused.detail)
        quoted = {"account": form.account, "amount": form.amount, "currency": form.currency}
        return as_json(quoted | dict.fromkeys(receipts.UNKNOWN, ""))

    async def account(self, request: Request, account: AccountId) -> Response:
        """Who would be paid for. The balance is the last that the gateway told; what may be paid in is by the bank's limits."""
        caller = await caller_of(request, QUERY, spend=True)
        known = self._accounts.of(account)
        if known is None:
            raise Problem("unknown_account", f"account {account} is not known here")
        balance = await self._read(lambda c: report.last_balance(c, known.gateway, known.pseudonym))
        limits = caller.terms.limits
        highest = min(limits.payment_micro or bank_limits.MOST_MICRO, bank_limits.MOST_MICRO)
        return as_json(
            {
                "account": account,
                "holder": known.holder,
                "balance": balance or "",
                "currency": known.currency,
                "supply": "unknown",
                "lowest": format_money(max(limits.least_micro or 0, LEAST_MICRO), known.currency),
                "highest": format_money(highest, known.currency),
                "debts": {},
                "accepts_payment": True,
            }
        )

    async def keys(self, request: Request) -> Response:
        """The public keys that check `receipt_jws` and the signatures of our answers, of all instances."""
        anybody(request)
        return as_json({"keys": await self._read(receipts.published)})

    async def spend(self, claim: Claim) -> None:
        """Uses up the nonce of what may not be asked for twice, for the gate."""
        store = self._central.store
        try:
            await self._central.beside(lambda: store.write(lambda c: nonces.spend(store, c, claim, self._now_ms())))
        except StoreFailed:
            raise unavailable() from None

    async def _read(self, query: Callable[[Connection], T]) -> T:
        try:
            return await asyncio.to_thread(self._central.store.read, query)
        except StoreFailed:
            raise unavailable() from None

    async def _answered(self, identity: PaymentIdentity, work: Callable[[], T]) -> T:
        """It runs to its end even when nobody waits any more: a payment is never half asked."""
        if len(self._unanswered) >= MOST_UNANSWERED:
            raise unavailable()
        task = asyncio.ensure_future(self._central.beside(work))
        self._running[identity] += 1
        self._unanswered.add(task)
        task.add_done_callback(lambda done: self._forget(identity, done))
        done, _ = await asyncio.wait({task}, timeout=ANSWER_WITHIN_S)
        if not done:
            raise unavailable("the payment is not decided yet; ask again with the same serial")
        return _decided(task)

    def _forget(self, identity: PaymentIdentity, task: asyncio.Task[T]) -> None:
        self._unanswered.discard(task)
        self._running[identity] -= 1
        if not self._running[identity]:
            del self._running[identity]
        if not task.cancelled():
            task.exception()  # looked at, so that nothing complains about an error nobody waited for


def _decided(task: asyncio.Task[T]) -> T:
    """What became of it, once it is done; the Problem where that binds nothing."""
    try:
        return task.result()
    except (StoreFailed, nonces.TooLate):
        raise unavailable() from None
    except payments.NotOpen as closed:
        raise Problem("not_open", str(closed)) from None
    except payments.OutOfTime as wrong:
        raise Problem("invalid", str(wrong), field="accounting_date") from None
    except NonceUsed as used:
        raise Problem("bad_signature", str(used), headers=ASKED) from None


def _paid(outcome: Outcome) -> Response:
    found = outcome.booked
    if outcome.conflict is not None:
        detail = f"serial {found.payment.identity.serial} was used before with another {outcome.conflict}"
        raise Problem("serial_conflict", detail, field=outcome.conflict)
    if found.payment.status != "posted":
        raise stored_problem(found.payment, found.reversal)
    return envelope(found.payment, 201 if outcome.new else 200, found.delivery)


def _outcome(verdict: ReversalVerdict, found: Booked) -> ReversalOutcome:
    payment = found.payment
    detail = f"the credit of serial {payment.identity.serial} is with its gateway, or nobody could say in time"
    if verdict is ReversalVerdict.DAY_CLOSED:
        detail = f"the accounting date of serial {payment.identity.serial} or of its reversal is closed: ask for a refund"
    booked = None
    if found.reversal_state:
        booked = BookedReversal(
            payment.identity, found.reversal_serial, found.reversal_date, payment.account, payment.amount_micro, payment.currency,
            found.reversal_reason, found.reversal_requested, Origin.BANK, ReversalState(found.reversal_state), found.reversal_ms,
            document=found.reversal,
        )  # fmt: skip
    return ReversalOutcome(verdict, payment, booked, found.delivery, detail)


def _post(
    router: APIRouter, path: str, handler: Callable[..., object], form: type[BaseModel], answers: Answers, status: int = 200
) -> None:
    """status: of the document, where a call is never answered with 200."""
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
    router.add_api_route(
        path, handler, methods=["POST"], response_class=Response, openapi_extra=body, responses=answers, status_code=status
    )


def _elsewhere(scope: str, form: type[BaseModel]) -> Callable[[Request], object]:
    async def elsewhere(request: Request) -> Response:
        """Not at this door: the ledger that it needs is the gateway's."""
        checked(form, await read_object(request))
        caller = await caller_of(request, scope, spend=True)
        raise Problem("forbidden", f"bank {caller.bank} asks this of the gateway that owns the account: the centre keeps no ledger")

    return elsewhere
