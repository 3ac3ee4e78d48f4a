"""Payments over the banks' interface: the form, the posting, and what is booked under a serial (contract.md 3)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_answers import MERITS, Answers, asking, sending
from gateway.adapters.http.bank_caller import BankCaller, caller_of
from gateway.adapters.http.bank_gate import ASKED
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import KINDS, Problem, unavailable
from gateway.adapters.http.reads import Reads
from gateway.domain.bank_terms import QUERY, TOPUP
from gateway.domain.nonces import Claim, NonceUsed
from gateway.domain.records import Payment
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import DECIMALS, parse_money
from gateway.services.ports import InvalidField, MoneyHeld, NotOpen, TopUpOutcome, TopUpVerdict, Tx, Unavailable

log = structlog.get_logger()

ANSWER_WITHIN_S = 4.5
"""We promise an answer within 5 s; later the bank hears `unavailable` and repeats, while the posting goes on."""

MOST_UNANSWERED = 1024
"""Postings that go on after their bank was told to repeat: beyond it nothing new is taken, for the store is stuck."""

TakeTopUp = Callable[[TopUp, Claim | None], Awaitable[TopUpOutcome]]
"""Post a payment under its nonce. Raises ports.InvalidField, MoneyHeld, NotOpen and Unavailable, and NonceUsed."""


SealReceipt = Callable[[Payment], Awaitable[Payment]]
"""A receipt that was booked before there was a key: signed, durably. Raises ports.Unavailable."""


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
    """The answer to a payment and to its query: `receipt` is one document, byte for byte the same for ever, and `receipt_jws` the
    same signed by the gateway; null where it was booked without a key."""

    receipt: dict[str, str] | None
    receipt_jws: str | None = None
    payment: str = Field(examples=["posted"])
    delivery: str = Field(examples=["none"])
    problem: dict[str, object] | None = None
    reversal: dict[str, object] | None = None


_RECEIPT = {
    "account": "A-0007", "accounting_date": "2026-11-21", "amount": "50.00", "balance_after": "50.00", "bank": "demo",
    "booked_at": "2026-11-21T04:00:00.000Z", "currency": "CNY", "fees": "0.00", "gateway": "gw-1", "holder": "L*****",
    "institution": "", "next": "none", "receipt_no": "gw-1-0000000003", "serial": "20261121-000001", "to_credit": "50.00",
    "to_debt": "0.00",
}  # fmt: skip
_ANSWER = {"receipt": _RECEIPT, "receipt_jws": "eyJhbGciOiJFZERTQSIs...", "payment": "posted", "delivery": "none"}
SHOWN = {"application/json": {"examples": {"posted": {"summary": "Booked, and durable on disk", "value": _ANSWER}}}}

BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": TopUpForm.model_json_schema()}}}}

Serial = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,64}$", examples=["20261121-000001"])]
AccountingDate = Annotated[str, Path(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-11-21"])]
Institution = Annotated[str, Query(pattern=r"^[A-Za-z0-9._:-]{0,64}$")]


class TopUpApi:
    """The handlers. held: why no money is taken now, None when it is."""

    def __init__(
        self, take: TakeTopUp, read: Reads, held: Callable[[], str | None], now_ms: Callable[[], int], seal: SealReceipt
    ) -> None:
        self._take, self._read, self._held, self._now_ms, self._seal = take, read, held, now_ms, seal
        self._running: Counter[PaymentIdentity] = Counter()
        self._unanswered: set[asyncio.Task[TopUpOutcome]] = set()

    def hang(self, router: APIRouter) -> None:
        """The routes, onto a router of bank_gate."""
        envelope: dict[str, object] = {"model": Envelope}
        refused = sending(*MERITS, "serial_conflict", "reversed", "not_open")
        found: Answers = {200: envelope, **asking("invalid", "not_found")}
        router.add_api_route(
            "/topups", self.topup, methods=["POST"], response_class=Response, openapi_extra=BODY,
            status_code=201, responses={201: {**envelope, "content": SHOWN}, 200: envelope, **refused},
        )  # fmt: skip
        for path, handler in (("/topups/{serial}", self.query), ("/topups/{accounting_date}/{serial}", self.query_of_day)):
            router.add_api_route(path, handler, methods=["GET"], response_class=Response, responses=found)

    async def topup(self, request: Request) -> Response:
        """Credit an account once. First time 201; the same identity and content again 200 with the same receipt."""
        said = topup_of(checked(TopUpForm, await read_object(request)), "", date.min)
        caller = await caller_of(request, TOPUP)
        identity = replace(said.identity, bank=caller.bank, scope=caller.terms.scope_of(said.accounting_date))
        topup = replace(said, identity=identity, today=caller.terms.today(self._now_ms()))
        outcome = await self._post(topup, caller.claim)
        _note_other_fields(topup, outcome)
        return answer_of(outcome)

    async def query(self, request: Request, serial: Serial, institution: Institution = "") -> Response:
        """What is booked under a serial: the same envelope as the payment's answer; a stored refusal carries its problem."""
        caller = await caller_of(request, QUERY, spend=True)
        return await self._booked(caller, caller.identity(serial, institution))

    async def query_of_day(
        self, request: Request, accounting_date: AccountingDate, serial: Serial, institution: Institution = ""
    ) -> Response:
        """The same, for a bank whose serials are unique within its accounting date."""
        day = _accounting_date(accounting_date)
        caller = await caller_of(request, QUERY, spend=True)
        return await self._booked(caller, caller.identity(serial, institution, day))

    async def _booked(self, caller: BankCaller, identity: PaymentIdentity) -> Response:
        payment, delivery, reversal = await self._read(lambda tx: _stored(tx, identity))
        if payment is not None:
            if payment.receipt is not None and payment.receipt_jws is None:
                payment = await self._seal(payment)
            return envelope(payment, 200, delivery, reversal)
        if (waits := self._held()) is not None:
            raise unavailable(f"serial {identity.serial} is not booked in what was restored, which proves nothing: {waits}")
        if identity in self._running:
            raise unavailable(f"serial {identity.serial} is being decided now; ask again")
        final = "that is final 60 s after the `expires` of your last signed attempt" if caller.key else "it may still arrive"
        raise Problem("not_found", f"nothing is booked under serial {identity.serial} now; {final}")

    async def _post(self, topup: TopUp, claim: Claim | None) -> TopUpOutcome:
        """The posting runs to its end even when nobody waits any more: a payment is never half asked."""
        if len(self._unanswered) >= MOST_UNANSWERED:
            raise unavailable()
        task = asyncio.ensure_future(self._take(topup, claim))
        self._running[topup.identity] += 1
        self._unanswered.add(task)
        task.add_done_callback(lambda done: self._forget(topup.identity, done))
        done, _ = await asyncio.wait({task}, timeout=ANSWER_WITHIN_S)
        if not done:
            raise unavailable("the payment is not decided yet; ask again with the same serial")
        return decided(task)

    def _forget(self, identity: PaymentIdentity, task: asyncio.Task[TopUpOutcome]) -> None:
        self._unanswered.discard(task)
        self._running[identity] -= 1
        if not self._running[identity]:
            del self._running[identity]
        if not task.cancelled():
            task.exception()  # looked at, so that nothing complains about an error nobody waited for


def decided(task: asyncio.Future[TopUpOutcome]) -> TopUpOutcome:
    """What became of a payment, once it is done; the Problem where that binds nothing."""
    try:
        return task.result()
    except Unavailable:
        raise unavailable() from None
    except MoneyHeld as waits:
        raise unavailable(str(waits)) from None
    except NotOpen as closed:
        raise Problem("not_open", str(closed)) from None
    except InvalidField as error:
        raise Problem("invalid", str(error), field=error.field) from None
    except NonceUsed as used:
        raise Problem("bad_signature", str(used), headers=ASKED) from None


def _note_other_fields(topup: TopUp, outcome: TopUpOutcome) -> None:
    """Fields that are no content keep their first value; a later one is recorded, never a conflict (contract.md 3)."""
    known = outcome.payment
    if outcome.verdict is TopUpVerdict.REPEATED and known.entry is not None:
        said = {"accounting_date": topup.accounting_date.isoformat(), "channel": topup.channel}
        said["paid_at"] = topup.paid_at.isoformat()
        other = {name: text for name, text in said.items() if getattr(known, name) != text}
        if other:
            log.info("bank_repeat_differs", bank=known.identity.bank, serial=known.identity.serial, **other)


def answer_of(outcome: TopUpOutcome) -> Response:
    """What a bank is told of its payment."""
    payment = outcome.payment
    if outcome.verdict is TopUpVerdict.CONFLICT:
        detail = f"serial {payment.identity.serial} was used before with another {outcome.field}"
        raise Problem("serial_conflict", detail, field=outcome.field)
    if payment.status != "posted":
        raise stored_problem(payment, outcome.reversal)
    return envelope(payment, 201 if outcome.verdict is TopUpVerdict.POSTED else 200, outcome.delivery)


def stored_problem(payment: Payment, reversal: str = "") -> Problem:
    """The refusal that is stored for this identity, as it was first said; a code this version does not know is no guess of ours.

    reversal: its document, for a payment that was reversed."""
    if payment.status == "reversed":
        inside = {"receipt": json.loads(payment.receipt or "null"), "reversal": json.loads(reversal or "null")}
        return Problem("reversed", f"the payment under serial {payment.identity.serial} was reversed", extra=inside)
    code = payment.problem or ""
    if code not in KINDS:
        return unavailable(f"serial {payment.identity.serial} is refused for a reason that this version does not know; call us")
    return Problem(code, payment.detail or KINDS[code].title)


def envelope(payment: Payment, status: int, delivery: str, reversal: str = "") -> Response:
    """The stored receipt goes out byte for byte: it is spliced in, never parsed and written anew."""
    sealed = f'"{payment.receipt_jws}"' if payment.receipt_jws else "null"
    members = [f'"receipt": {payment.receipt or "null"}', f'"receipt_jws": {sealed}']
    members += [f'"payment": "{payment.status}"', f'"delivery": "{delivery}"']
    if payment.status == "reversed":
        members.append(f'"reversal": {reversal or "null"}')
    if payment.status == "refused":
        members.append(f'"problem": {json.dumps(stored_problem(payment).document())}')
    return Response("{" + ", ".join(members) + "}", status, {"cache-control": "no-store"}, "application/json")


def _stored(tx: Tx, identity: PaymentIdentity) -> tuple[Payment | None, str, str]:
    """The payment, where its credit is, and the document of its reversal."""
    payment = tx.payment(identity)
    found = None if payment is None or payment.entry is None else tx.delivery(f"delivery-{payment.entry}")
    undone = tx.bank_reversal(identity) if payment is not None and payment.status == "reversed" else None
    return payment, "none" if found is None else found.state.value, "" if undone is None else undone.document


def topup_of(form: TopUpForm, bank: str, today: date) -> TopUp:
    """The payment that a form asks for, of a bank whose serials are unique for ever. Problem `invalid` names the field."""
    identity = PaymentIdentity(bank, form.institution, "", form.serial)
    day = _accounting_date(form.accounting_date)
    return TopUp(identity, form.account, _amount(form), form.currency, _paid_at(form.paid_at), day, today, form.channel)


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
