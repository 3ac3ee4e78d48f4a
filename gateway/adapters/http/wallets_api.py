"""Money in meters over HTTP: wallets as they were read, deliveries, and changes of authority (prepayment.md 1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id, Limit
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json, rfc3339
from gateway.domain.approvals import Decision
from gateway.domain.units import format_money
from gateway.domain.wallets import Delivery, Switching, Wallet
from gateway.services.ports import Tx

MOST = 1000
AccountOf = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WalletView:
    """A wallet as last read. authority: who holds the account's money; balance: below zero where it is overdrawn; switching: the
    change of authority that is under way; trouble: why it is not compared with our books."""

    meter: str
    account: str
    authority: str
    balance: str
    currency: str
    purchase_count: int
    customer: str | None
    read: str | None
    switching: str | None
    frozen: bool
    trouble: str | None


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """Money on its way into a meter, or out of it."""

    delivery: str
    account: str
    meter: str
    act: str
    amount: str
    currency: str
    state: str
    count: int | None
    attempts: int
    created: str
    changed: str
    due: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class WaitsView:
    """What waits for its second person."""

    approval: str
    act: str
    state: str
    asked_by: str
    expires: str


class Reason(BaseModel):
    """Why, for the record."""

    model_config = ConfigDict(extra="forbid")

    reason: StrictStr = Field(min_length=1, max_length=500, examples=["read at the meter"])


class AuthorityForm(Reason):
    """to: who shall hold the money; keep ends a change that is under way. how: by refund, or because the meter was told to stop
    counting. customer: 12 digits that purchases name, where the meter has none yet."""

    to: Literal["meter", "gateway", "keep"]
    how: Literal["refund", "freeze"] = "refund"
    customer: StrictStr = Field("", pattern=r"^([0-9]{12})?$", examples=["000000004711"])


class ResolveForm(Reason):
    """in_meter: what somebody found at the meter."""

    in_meter: StrictBool


@dataclass(frozen=True, slots=True)
class WalletCases:
    """What the interface can have done; they answer why not, None when it is done or under way. The last two wait for a second
    person: subject, (what was found,) why, by whom."""

    to_meter: Callable[[str, str, str, str], Awaitable[str | None]]
    to_gateway: Callable[[str, Switching, str, str], Awaitable[str | None]]
    call_off: Callable[[str, str, str], Awaitable[str | None]]
    deliver: Callable[[str, str, str], Awaitable[str | None]]
    withdraw: Callable[[str, str, str], Awaitable[str | None]]
    resolve: Callable[[str, bool, str, str], Awaitable[Decision]]
    accept: Callable[[str, str, str], Awaitable[Decision]]


class WalletsApi:
    """The handlers."""

    def __init__(self, cases: WalletCases, read: Reads, auth: OperatorAuth) -> None:
        self._cases, self._read, self._auth = cases, read, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        for path, look, model in (("wallets", self.wallets, WalletView), ("deliveries", self.deliveries, DeliveryView)):
            router.add_api_route(
                f"/api/v1/{path}",
                look,
                methods=["GET"],
                response_class=Response,
                responses={200: {"model": list[model]}},  # type: ignore[valid-type]
            )
        for path, act, form, status in (
            ("accounts/{account}/authority", self.authority, AuthorityForm, 202),
            ("accounts/{account}/deliver", self.deliver, Reason, 202),
            ("deliveries/{delivery}/withdraw", self.withdraw, Reason, 202),
            ("deliveries/{delivery}/resolve", self.resolve, ResolveForm, 202),
            ("wallets/{meter}/accept", self.accept, Reason, 202),
        ):
            schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
            router.add_api_route(
                f"/api/v1/{path}", act, methods=["POST"], response_class=Response, openapi_extra=schema, status_code=status
            )
        return router

    async def wallets(self) -> Response:
        """Every meter's wallet that is read, by meter."""
        return as_json(await self._read(lambda tx: [view for wallet in tx.wallets() if (view := _wallet(tx, wallet)) is not None]))

    async def deliveries(self, account: AccountOf = None, limit: Limit = MOST) -> Response:
        """Deliveries, newest first."""
        return as_json(await self._read(lambda tx: [_delivery(found) for found in tx.deliveries(limit, account)]))

    async def authority(self, request: Request, account: Id) -> Response:
        """Ask for a change of who holds the money; it happens step by step, after looks at the wallet. 409 where it cannot be."""
        form, who = checked(AuthorityForm, await read_object(request)), person_of(request).who
        if form.to == "meter":
            refused = await self._cases.to_meter(account, form.customer, who, form.reason)
        elif form.to == "gateway":
            refused = await self._cases.to_gateway(account, Switching(form.how), who, form.reason)
        else:
            refused = await self._cases.call_off(account, who, form.reason)
        log.info("authority_asked", account=account, to=form.to, by=who, refused=refused)
        return _done(refused, {"account": account, "to": form.to})

    async def deliver(self, request: Request, account: Id) -> Response:
        """Send what stands undelivered in our books to the account's meter, as a new delivery."""
        form, who = checked(Reason, await read_object(request)), person_of(request).who
        return _done(await self._cases.deliver(account, who, form.reason), {"account": account})

    async def withdraw(self, request: Request, delivery: Id) -> Response:
        """Take a delivery back: at once where it was never sent, else when a look shows that it is not in the meter."""
        form, who = checked(Reason, await read_object(request)), person_of(request).who
        return _done(await self._cases.withdraw(delivery, who, form.reason), {"delivery": delivery})

    async def resolve(self, request: Request, delivery: Id) -> Response:
        """Somebody found out elsewhere what became of an uncertain delivery: 202 with what waits for its second person."""
        form, who = checked(ResolveForm, await read_object(request)), person_of(request).who
        return _waits(await self._cases.resolve(delivery, form.in_meter, who, form.reason))

    async def accept(self, request: Request, meter: Id) -> Response:
        """Our books are to follow what the meter shows: 202 with what waits for its second person."""
        form, who = checked(Reason, await read_object(request)), person_of(request).who
        return _waits(await self._cases.accept(meter, who, form.reason))


def _done(refused: str | None, body: dict[str, str]) -> Response:
    if refused is not None:
        raise Problem("refused", refused)
    return as_json(body, 202)


def _waits(decision: Decision) -> Response:
    asked = decision.approval
    if asked is None or decision.refused is not None:
        raise Problem("refused", decision.refused or "nothing was asked")
    return as_json(WaitsView(asked.id, asked.act, asked.state.value, asked.asked_by, rfc3339(asked.expires_ms)), 202)


def _wallet(tx: Tx, wallet: Wallet) -> WalletView | None:
    meter = tx.meter(wallet.meter)
    account = tx.account(meter.account) if meter is not None and meter.account is not None else None
    if account is None:
        return None
    memory = wallet.memory
    return WalletView(
        wallet.meter,
        account.id,
        account.authority.value,
        format_money(wallet.word_micro, account.currency),
        account.currency,
        wallet.count,
        memory.customer or memory.seen_customer,
        rfc3339(wallet.read_ms) if wallet.known else None,
        memory.switching.value if memory.switching is not None else None,
        memory.switching is None and memory.frozen_micro is not None,
        memory.strange or ("held since power came back" if wallet.held_since_ms is not None else None),
    )


def _delivery(found: Delivery) -> DeliveryView:
    return DeliveryView(
        found.id,
        found.account,
        found.meter,
        found.act.value,
        format_money(found.micro, found.currency),
        found.currency,
        found.state.value,
        found.count,
        found.attempts,
        rfc3339(found.created_ms),
        rfc3339(found.changed_ms),
        None if found.due_ms is None else rfc3339(found.due_ms),
        found.reason or None,
    )
