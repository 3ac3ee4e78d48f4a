"""Load limits over HTTP: where an account's limiter stands, its release, and a change, which needs two people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json, rfc3339
from gateway.domain.approvals import Approval
from gateway.domain.limit_shown import LimitShown, ParameterShown

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LimitView:
    """phase: within, over, tripped or locked; by: what tripped (limit, cap, malignant). off: a plan holds supply off. left:
    recloses before it locks. next: when time brings the next thing. malignant: its mode; advisory: seen by polling only."""

    account: str
    policy: str
    phase: str
    by: str | None
    since: str
    spent: int
    left: int
    next: str | None
    limit_w: int | None
    limit_ma: int | None
    allowed_w: int | None
    allowed_ma: int | None
    off: bool
    power_w: int | None
    current_ma: int | None
    over_itself: bool
    month_wh: int | None
    month_amount_wh: int | None
    malignant: str | None
    advisory: bool
    restores_today: int
    set_by_people: bool
    parameters: list[ParameterShown]


@dataclass(frozen=True, slots=True)
class AskedView:
    """A change that waits for its second person."""

    approval: str
    act: str
    state: str
    asked_by: str
    expires: str


@dataclass(frozen=True, slots=True)
class AgainView:
    """A meter whose limits are read again."""

    meter: str


class ReasonForm(BaseModel):
    """Why, for the record."""

    model_config = ConfigDict(extra="forbid")

    reason: StrictStr = Field(min_length=1, max_length=500, examples=["the oven was taken away"])


class SetForm(ReasonForm):
    """limit: as the table `limit` of an account in the configuration; null: none. id makes the question idempotent."""

    id: StrictStr | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["limit-17"])
    limit: dict[str, object] | None = Field(examples=[{"power_w": 3000, "delay_s": 120}])


@dataclass(frozen=True, slots=True)
class LimitUseCases:
    """What the interface can have done. Raise LookupError for what is not known, ValueError for what cannot be.

    show: None where there is no limit. ask: id, account, limit, reason, who.
    """

    show: Callable[[str], Awaitable[LimitShown | None]]
    release: Callable[[str, str, str], Awaitable[None]]
    ask: Callable[[str | None, str, Mapping[str, object] | None, str, str], Awaitable[Approval]]
    write_again: Callable[[str, str], Awaitable[None]]


class LimitsApi:
    """The handlers."""

    def __init__(self, cases: LimitUseCases, auth: OperatorAuth) -> None:
        self._cases, self._auth = cases, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        router.add_api_route("/api/v1/accounts/{account}/limit", self.show, methods=["GET"], response_class=Response,
                             responses={200: {"model": LimitView}})  # fmt: skip
        for path, act, form, status, model in (
            ("/api/v1/accounts/{account}/limit", self.ask, SetForm, 202, AskedView),
            ("/api/v1/accounts/{account}/limit/release", self.release, ReasonForm, 200, LimitView),
            ("/api/v1/meters/{meter}/limits/write-again", self.write_again, ReasonForm, 202, AgainView),
        ):
            schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
            router.add_api_route(path, act, methods=["POST"], response_class=Response, openapi_extra=schema, status_code=status,
                                 responses={status: {"model": model}})  # fmt: skip
        return router

    async def show(self, account: Id) -> Response:
        """Where the account's limiter stands, what may be drawn now, and what comes next. 404 where it has no limit."""
        return as_json(await self._shown(account))

    async def release(self, request: Request, account: Id) -> Response:
        """End a lock-out, or what a plan switches off until its next change. 409 where nothing is held open."""
        form, who = checked(ReasonForm, await read_object(request)), person_of(request).who
        await _answered(self._cases.release(account, form.reason, who))
        log.info("limit_released", account=account, by=who, reason=form.reason)
        return as_json(await self._shown(account))

    async def ask(self, request: Request, account: Id) -> Response:
        """Ask for another limit: 202 with what waits for its second person."""
        form, who = checked(SetForm, await read_object(request)), person_of(request).who
        asked = await _answered(self._cases.ask(form.id, account, form.limit, form.reason, who))
        log.info("limit_asked", account=account, by=who, approval=asked.id)
        return as_json(AskedView(asked.id, asked.act, asked.state.value, asked.asked_by, rfc3339(asked.expires_ms)), 202)

    async def write_again(self, request: Request, meter: Id) -> Response:
        """Somebody has looked at a meter that did not take its limits: they are read again, and written where they differ."""
        form, who = checked(ReasonForm, await read_object(request)), person_of(request).who
        await _answered(self._cases.write_again(meter, who))
        log.info("limits_written_again", meter=meter, by=who, reason=form.reason)
        return as_json(AgainView(meter), 202)

    async def _shown(self, account: str) -> LimitView:
        shown = await _answered(self._cases.show(account))
        if shown is None:
            raise Problem("not_found", f"account {account} has no load limit")
        return limit_view(shown)


def limit_view(shown: LimitShown) -> LimitView:
    """As people see it."""
    return LimitView(
        *(shown.account, shown.policy, shown.phase, shown.by, rfc3339(shown.since_ms), shown.spent, shown.left),
        None if shown.next_ms is None else rfc3339(shown.next_ms),
        *(shown.limit_w, shown.limit_ma, shown.allowed_w, shown.allowed_ma, shown.off, shown.power_w, shown.current_ma),
        *(shown.over_itself, shown.month_wh, shown.month_amount_wh, shown.malignant, shown.advisory, shown.restores_today),
        shown.set_by_people,
        list(shown.parameters),
    )


async def _answered(work: Awaitable[T]) -> T:
    try:
        return await work
    except LookupError as unknown:
        raise Problem("not_found", str(unknown)) from None
    except ValueError as wrong:
        raise Problem("refused", str(wrong)) from None
