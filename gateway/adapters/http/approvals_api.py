"""What waits for a second person over HTTP: asked, listed, approved, refused (prepayment.md 6)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import ORDER_LIVES_MS, Id
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json, rfc3339
from gateway.domain.approvals import Approval, ApprovalState, Decision
from gateway.domain.events import Json
from gateway.domain.meters import Account
from gateway.domain.units import parse_money
from gateway.services.ports import Tx

MOST_METERS = 1_000
"""Meters of one batch: what one transaction orders within a second."""

Limit = Annotated[int, Query(ge=1, le=1000)]
MeterId = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Facts = dict[Annotated[StrictStr, Field(pattern="^(contract|event|plan|notices)$")], Annotated[StrictStr, Field(max_length=200)]]
log = structlog.get_logger()


class ReasonForm(BaseModel):
    """Why, for the record."""

    model_config = ConfigDict(extra="forbid")

    id: StrictStr | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,48}$", examples=["act-17"])
    reason: StrictStr = Field(min_length=1, max_length=500, examples=["agreed by phone with Wang Fang"])


class BatchForm(ReasonForm):
    """Cuts of several meters at once; more than ten wait for a second person."""

    meters: list[MeterId] = Field(min_length=1, max_length=MOST_METERS, examples=[["m-1", "m-2"]])
    cause: StrictStr = Field(pattern=r"^[a-z_]{1,40}$", examples=["demand_response"])
    facts: Facts = Field(default_factory=dict, examples=[{"contract": "C-7", "event": "DR-11"}])


class PlanForm(ReasonForm):
    """A plan of a time-table for two people to sign; permissions name it by its id. text: what it says."""

    meters: list[MeterId] = Field(min_length=1, max_length=100_000)
    text: StrictStr = Field(min_length=1, max_length=10_000)


class CreditForm(ReasonForm):
    """A credit for which there is neither a bank's serial nor a counter's receipt."""

    amount: StrictStr = Field(max_length=20, examples=["50.00"])


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """An act that waits for its second person, or did."""

    id: str
    act: str
    subject: str
    body: dict[str, object]
    asked_by: str
    asked: str
    expires: str
    state: str
    decided_by: str | None
    decided: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class BatchView:
    """What became of a batch: why not, by meter; or the approval that it waits for."""

    refused: dict[str, str]
    approval: ApprovalView | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Meters to cut. lives_ms: how long each order lives once it is given."""

    id: str
    meters: tuple[str, ...]
    cause: str
    facts: dict[str, str]
    reason: str
    lives_ms: int = ORDER_LIVES_MS


@dataclass(frozen=True, slots=True)
class ApprovalUseCases:
    """What the interface can have done. ask: id, act, subject, body, account, who. new_id: fresh ids for acts that bring none."""

    approve: Callable[[str, str], Awaitable[Decision]]
    refuse: Callable[[str, str, str], Awaitable[Decision]]
    ask: Callable[[str, str, str, dict[str, Json], str | None, str], Awaitable[Decision]]
    batch: Callable[[Batch, str], Awaitable[dict[str, str] | Decision]]
    new_id: Callable[[], str]


class ApprovalsApi:
    """The handlers."""

    def __init__(self, cases: ApprovalUseCases, read: Reads, auth: OperatorAuth) -> None:
        self._cases, self._read, self._auth = cases, read, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        shown: dict[int | str, dict[str, Any]] = {200: {"model": list[ApprovalView]}}
        router.add_api_route("/api/v1/approvals", self.approvals, methods=["GET"], response_class=Response, responses=shown)
        for path, handler, form, model in (
            ("/api/v1/approvals/{approval}/approve", self.approve, ReasonForm, ApprovalView),
            ("/api/v1/approvals/{approval}/refuse", self.refuse, ReasonForm, ApprovalView),
            ("/api/v1/cuts", self.cuts, BatchForm, BatchView),
            ("/api/v1/plans", self.plan, PlanForm, ApprovalView),
            ("/api/v1/accounts/{account}/credit", self.credit, CreditForm, ApprovalView),
            ("/api/v1/accounts/{account}/lift-never-cut", self.lift_never_cut, ReasonForm, ApprovalView),
        ):
            schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
            router.add_api_route(
                path, handler, methods=["POST"], response_class=Response, openapi_extra=schema, responses={200: {"model": model}}
            )
        return router

    async def approvals(self, limit: Limit = 100, asked: bool = True) -> Response:
        """Newest first; `asked=false` shows those that are decided too."""
        return as_json(await self._read(lambda tx: [approval_view(each) for each in tx.approvals(limit, asked=asked)]))

    async def approve(self, request: Request, approval: Id) -> Response:
        """Do what another person asked for. 409 with the reason where it cannot be done, or where nobody else has asked."""
        checked(ReasonForm, await read_object(request))
        return _decided(await self._cases.approve(approval, person_of(request).who))

    async def refuse(self, request: Request, approval: Id) -> Response:
        """It is not done."""
        form = checked(ReasonForm, await read_object(request))
        return _decided(await self._cases.refuse(approval, person_of(request).who, form.reason))

    async def cuts(self, request: Request) -> Response:
        """Cut several meters. Up to ten are ordered at once, each judged for itself; more wait for a second person (202)."""
        form = checked(BatchForm, await read_object(request))
        batch = Batch(form.id or self._cases.new_id(), tuple(dict.fromkeys(form.meters)), form.cause, dict(form.facts), form.reason)
        done = await self._cases.batch(batch, person_of(request).who)
        log.info("cut_batch", id=batch.id, meters=len(batch.meters), cause=batch.cause, by=person_of(request).who)
        if isinstance(done, dict):
            return as_json(BatchView(done, None))
        if done.approval is None or done.refused is not None:
            raise Problem("refused", done.refused or "nothing came of it", extra={"id": batch.id})
        return as_json(BatchView({}, approval_view(done.approval)), 202)

    async def plan(self, request: Request) -> Response:
        """Lay a plan down for another person to sign."""
        form = checked(PlanForm, await read_object(request))
        body: dict[str, Json] = {"meters": list(dict.fromkeys(form.meters)), "text": form.text, "reason": form.reason}
        return await self._ask(request, form, "plan", "gateway", body)

    async def credit(self, request: Request, account: Id) -> Response:
        """Ask for a credit on the word of two people."""
        form = checked(CreditForm, await read_object(request))
        known = await self._account(account)
        try:
            micro = parse_money(form.amount, known.currency)
        except ValueError as problem:
            raise Problem("invalid", f"amount: {problem}", field="amount") from None
        if micro <= 0:
            raise Problem("invalid", "amount: a credit is more than nothing", field="amount")
        body: dict[str, Json] = {"micro": micro, "currency": known.currency, "reason": form.reason}
        return await self._ask(request, form, "credit", account, body, account)

    async def lift_never_cut(self, request: Request, account: Id) -> Response:
        """Ask that an account may be cut again."""
        form = checked(ReasonForm, await read_object(request))
        await self._account(account)
        return await self._ask(request, form, "lift_never_cut", account, {"reason": form.reason}, account)

    async def _account(self, account: str) -> Account:
        known: Account | None = await self._read(lambda tx: tx.account(account))
        if known is None:
            raise Problem("not_found", f"account {account} is not known here")
        return known

    async def _ask(
        self, request: Request, form: ReasonForm, act: str, subject: str, body: dict[str, Json], account: str | None = None
    ) -> Response:
        ident, who = form.id or self._cases.new_id(), person_of(request).who
        return _decided(await self._cases.ask(ident, act, subject, body, account, who), 202)


def _decided(decision: Decision, status: int = 200) -> Response:
    if decision.refused is not None or decision.approval is None:
        raise Problem("refused", decision.refused or "nothing waits under this id")
    return as_json(approval_view(decision.approval), status)


def approval_view(approval: Approval) -> ApprovalView:
    """An approval as it leaves."""
    return ApprovalView(
        approval.id,
        approval.act,
        approval.subject,
        json.loads(approval.body),
        approval.asked_by,
        rfc3339(approval.asked_ms),
        rfc3339(approval.expires_ms),
        approval.state.value,
        approval.decided_by,
        None if approval.decided_ms is None else rfc3339(approval.decided_ms),
        approval.reason,
    )


def waiting(tx: Tx, limit: int, act: str) -> list[Approval]:
    """Those of one act that wait, newest first."""
    return [each for each in tx.approvals(limit, asked=True) if each.act == act and each.state is ApprovalState.ASKED]
