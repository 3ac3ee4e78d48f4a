"""Supply protect of an account over HTTP: who owns it, and until when (prepayment.md 4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog
from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictStr, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.approvals_api import ApprovalView, approval_view
from gateway.adapters.http.auth import OperatorAuth, answers_for, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, CommandView, as_json, command_view, rfc3339
from gateway.domain.approvals import Decision
from gateway.domain.requests import Protection
from gateway.services.ports import Tx

_MOMENT = TypeAdapter(AwareDatetime)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ProtectView:
    """Until when the account is protected, null when it is not; `commands` are those under way at its switches.

    blocks: `all` cuts or `commercial` ones. in_meter: the meter is told so too, and refuses overload trips as well. approval: what
    waits for a second person.
    """

    account: str
    protected_until: str | None
    commands: list[CommandView]
    blocks: str | None = None
    in_meter: bool = False
    approval: ApprovalView | None = None


class UnprotectForm(BaseModel):
    """The body that ends it. `owner` answers for it, by default the person that asks."""

    model_config = ConfigDict(extra="forbid")

    owner: StrictStr | None = Field(None, min_length=1, max_length=200, examples=["Li Wei, district office"])
    reason: StrictStr = Field(min_length=1, max_length=500, examples=["oxygen concentrator at home"])


class ProtectForm(UnprotectForm):
    """The body that begins or prolongs it. `until` is RFC 3339 and mandatory: nothing protects for ever."""

    until: StrictStr = Field(max_length=40, examples=["2026-12-01T00:00:00+08:00"])
    blocks: StrictStr = Field("all", pattern="^(all|commercial)$")
    in_meter: bool = False


class ProtectApi:
    """The handlers. protect: the use case. now_ms: UTC."""

    def __init__(
        self, protect: Callable[[Protection], Awaitable[Decision]], read: Reads, auth: OperatorAuth, now_ms: Callable[[], int]
    ) -> None:
        self._protect, self._read, self._auth, self._now_ms = protect, read, auth, now_ms

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        for verb, handler, form in (("protect", self.protect, ProtectForm), ("unprotect", self.unprotect, UnprotectForm)):
            schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}}
            router.add_api_route(
                f"/api/v1/accounts/{{account}}/{verb}", handler, methods=["POST"], response_class=Response, openapi_extra=schema,
                responses={200: {"model": ProtectView}},
            )  # fmt: skip
        return router

    async def protect(self, request: Request, account: Id) -> Response:
        """Protect an account's supply; a cut for debt is lifted. 409 with the reason where it cannot be."""
        form = checked(ProtectForm, await read_object(request))
        try:
            until = _MOMENT.validate_python(form.until)
        except ValidationError:
            raise Problem("invalid", "until is a moment with its zone, like 2026-12-01T00:00:00+08:00", field="until") from None
        return await self._done(_wanted(request, account, int(until.timestamp() * 1000), form))

    async def unprotect(self, request: Request, account: Id) -> Response:
        """End the protection, which waits for a second person (202); nobody is cut by that."""
        form = checked(UnprotectForm, await read_object(request))
        return await self._done(_wanted(request, account, None, form))

    async def _done(self, wanted: Protection) -> Response:
        if await self._read(lambda tx: tx.account(wanted.account)) is None:
            raise Problem("not_found", f"account {wanted.account} is not known here")
        done = await self._protect(wanted)
        until_ms, refused = wanted.until_ms, done.refused
        log.info("protect", account=wanted.account, owner=wanted.owner, by=wanted.who, until_ms=until_ms, refused=refused)
        if refused is not None:
            raise Problem("refused", refused)
        view = await self._read(lambda tx: _view(tx, wanted.account, self._now_ms()))
        if done.approval is None:
            return as_json(view)
        return as_json(replace(view, approval=approval_view(done.approval)), 202)


def _wanted(request: Request, account: str, until_ms: int | None, form: UnprotectForm) -> Protection:
    wanted = Protection(account, until_ms, answers_for(request, form.owner), form.reason, person_of(request).who)
    return replace(wanted, blocks=form.blocks, in_meter=form.in_meter) if isinstance(form, ProtectForm) else wanted


def _view(tx: Tx, account_id: str, now_ms: int) -> ProtectView:
    account = tx.account(account_id)
    protected = account if account is not None and account.protected(now_ms) else None
    commands = [command for meter in tx.meters_of(account_id) for command in tx.open_commands(meter=meter.id)]
    shown = [command_view(command) for command in commands]
    if protected is None or protected.protect_until_ms is None:
        return ProtectView(account_id, None, shown)
    flags = protected.protect
    return ProtectView(account_id, rfc3339(protected.protect_until_ms), shown, flags.blocks, flags.in_meter)
