"""Notices and findings over HTTP: what was told, whom nothing reaches, and a person's word that one was delivered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id, Limit
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json, rfc3339
from gateway.domain.findings import Finding
from gateway.domain.notices import NEVER_MS, Notice, NoticeState, bad_contacts, failed, masked
from gateway.domain.slots import DAY_MS
from gateway.services.ports import Tx

MOST_NUMBER = (1 << 63) - 1
"""Numbers of notices are those of a database."""

Number = Annotated[int, Path(ge=1, le=MOST_NUMBER)]
Since = Annotated[AwareDatetime | None, Query()]
OneAccount = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
OneState = Annotated[NoticeState | None, Query()]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NoticeView:
    """One notice. to: masked. next: when it is tried next, null where it is not. detail: what came of the last try."""

    number: int
    account: str
    step: str
    channel: str
    to: str
    state: str
    created: str
    changed: str
    tries: int
    next: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class BadContactView:
    """A contact that its provider refuses. to: masked."""

    account: str
    channel: str
    to: str


@dataclass(frozen=True, slots=True)
class FailuresView:
    """What a person must see to: notices since then that reached nobody, newest first, and contacts that are bad."""

    failed: list[NoticeView]
    bad_contacts: list[BadContactView]


@dataclass(frozen=True, slots=True)
class FindingView:
    """What needs a person, since when."""

    kind: str
    subject: str
    since: str
    text: str
    data: Mapping[str, str]


class ConfirmForm(BaseModel):
    """The body of a confirmation. note: how, for the record."""

    model_config = ConfigDict(extra="forbid")

    note: StrictStr = Field(default="", max_length=200, examples=["handed to the tenant"])


class ConfirmStepForm(ConfirmForm):
    """The same for a step of the ladder that was told by hand, whatever became of its other notices."""

    step: StrictStr = Field(min_length=1, max_length=64, examples=["exhausted"])
    channel: StrictStr = Field(min_length=1, max_length=64, examples=["paper"])


class DeliveryForm(BaseModel):
    """What a provider reports later. delivered: it arrived, or never will."""

    model_config = ConfigDict(extra="forbid")

    delivered: StrictBool
    detail: StrictStr = Field(default="", max_length=200)


@dataclass(frozen=True, slots=True)
class NoticeUseCases:
    """What the interface can have done. Raise LookupError for what is not known, ValueError for what cannot be."""

    confirm: Callable[[int, str, str], Awaitable[Notice]]
    confirm_step: Callable[[str, str, str, str, str], Awaitable[Notice]]
    report: Callable[[int, bool, str, str], Awaitable[Notice]]


class NoticesApi:
    """The handlers. now_ms: UTC."""

    def __init__(self, cases: NoticeUseCases, read: Reads, auth: OperatorAuth, now_ms: Callable[[], int]) -> None:
        self._cases, self._read, self._auth, self._now_ms = cases, read, auth, now_ms

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        for path, look, model in (
            ("/api/v1/notices", self.notices, list[NoticeView]),
            ("/api/v1/notices/failed", self.failures, FailuresView),
            ("/api/v1/findings", self.findings, list[FindingView]),
        ):
            router.add_api_route(path, look, methods=["GET"], response_class=Response, responses={200: {"model": model}})
        for path, act, form in (
            ("/api/v1/notices/{number}/confirm", self.confirm, ConfirmForm),
            ("/api/v1/notices/{number}/delivery", self.delivery, DeliveryForm),
            ("/api/v1/accounts/{account}/notices/confirm", self.confirm_step, ConfirmStepForm),
        ):
            schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
            router.add_api_route(path, act, methods=["POST"], response_class=Response, openapi_extra=schema,
                                 responses={200: {"model": NoticeView}})  # fmt: skip
        return router

    async def notices(
        self, account: OneAccount = None, state: OneState = None, since: Since = None, limit: Limit = 100
    ) -> Response:
        """The newest notices, newest first, by default of the last day."""
        since_ms = self._since(since)
        return as_json(await self._read(lambda tx: [notice_view(each) for each in tx.notices(account, since_ms, limit, state)]))

    async def failures(self, since: Since = None, limit: Limit = 1000) -> Response:
        """The list of the day: what reached nobody, and whom nothing reaches."""
        since_ms = self._since(since)

        def query(tx: Tx) -> FailuresView:
            lost = [notice_view(each) for each in tx.notices(None, since_ms, limit, NoticeState.FAILED) if failed(each)]
            reaches = ((account.id, bad_contacts(account.reach.contacts)) for account in tx.accounts())
            return FailuresView(lost, [BadContactView(of, each.channel, masked(each.to)) for of, bad in reaches for each in bad])

        return as_json(await self._read(query))

    async def findings(self) -> Response:
        """What needs a person now."""
        return as_json(await self._read(lambda tx: [finding_view(each) for each in tx.findings()]))

    async def confirm(self, request: Request, number: Number) -> Response:
        """Say that this notice was delivered by hand."""
        form = checked(ConfirmForm, await read_object(request))
        who = person_of(request).who
        return await self._done(self._cases.confirm(number, who, form.note), who)

    async def confirm_step(self, request: Request, account: Id) -> Response:
        """Say that the customer was told of this step by hand: on paper, by a call or a visit."""
        form = checked(ConfirmStepForm, await read_object(request))
        who = person_of(request).who
        return await self._done(self._cases.confirm_step(account, form.step, form.channel, who, form.note), who)

    async def delivery(self, request: Request, number: Number) -> Response:
        """Take over what the provider reports of a notice that it had accepted."""
        form = checked(DeliveryForm, await read_object(request))
        who = person_of(request).who
        return await self._done(self._cases.report(number, form.delivered, who, form.detail), who)

    async def _done(self, work: Awaitable[Notice], who: str) -> Response:
        try:
            notice = await work
        except LookupError as unknown:
            raise Problem("not_found", str(unknown)) from None
        except ValueError as wrong:
            raise Problem("refused", str(wrong)) from None
        log.info("notice_reported", notice=notice.number, state=notice.state.value, by=who)
        return as_json(notice_view(notice))

    def _since(self, since: AwareDatetime | None) -> int:
        return self._now_ms() - DAY_MS if since is None else int(since.timestamp() * 1000)


def notice_view(notice: Notice) -> NoticeView:
    """As people see it."""
    waits = notice.state is NoticeState.QUEUED and notice.next_ms != NEVER_MS
    return NoticeView(
        notice.number,
        notice.account,
        notice.step,
        notice.channel,
        masked(notice.to),
        notice.state.value,
        rfc3339(notice.created_ms),
        rfc3339(notice.changed_ms),
        notice.tries,
        rfc3339(notice.next_ms) if waits else None,
        notice.detail,
    )


def finding_view(finding: Finding) -> FindingView:
    """As people see it."""
    return FindingView(finding.kind.value, finding.subject, rfc3339(finding.since_ms), finding.text, finding.data)
