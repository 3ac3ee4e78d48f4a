"""Quarantined cuts and the stop switch over HTTP (prepayment.md 6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.approvals_api import ApprovalUseCases, Limit, ReasonForm, waiting
from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, CommandView, as_json, command_view
from gateway.domain.approvals import RELEASE, Decision
from gateway.services.ports import Tx

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class QuarantineView:
    """A cut that waits for another person. by: whose order it is."""

    command: CommandView
    by: str


@dataclass(frozen=True, slots=True)
class StopView:
    """Whether cuts are stopped, and by whom and why."""

    stopped: bool
    why: str | None


@dataclass(frozen=True, slots=True)
class StopUseCases:
    """Arguments: who, reason. resume answers why not. stopped: who stopped the cuts and why, None while they go on."""

    stopped: Callable[[Tx], str | None]
    stop: Callable[[str, str], Awaitable[None]]
    resume: Callable[[str, str], Awaitable[str | None]]


class QuarantineApi:
    """The handlers."""

    def __init__(self, approvals: ApprovalUseCases, stopping: StopUseCases, read: Reads, auth: OperatorAuth) -> None:
        self._approvals, self._stopping, self._read, self._auth = approvals, stopping, read, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": ReasonForm.model_json_schema()}}}}
        for path, look, model in (
            ("/api/v1/quarantine", self.quarantine, list[QuarantineView]),
            ("/api/v1/stop-cuts", self.stop_state, StopView),
        ):
            router.add_api_route(path, look, methods=["GET"], response_class=Response, responses={200: {"model": model}})
        for path, act, answer in (
            ("/api/v1/quarantine/{command}/release", self.release, CommandView),
            ("/api/v1/quarantine/{command}/refuse", self.refuse, CommandView),
            ("/api/v1/stop-cuts", self.stop, StopView),
            ("/api/v1/resume-cuts", self.resume, StopView),
        ):
            router.add_api_route(
                path, act, methods=["POST"], response_class=Response, openapi_extra=schema, responses={200: {"model": answer}}
            )
        return router

    async def quarantine(self, limit: Limit = 100) -> Response:
        """The cuts that wait, newest first."""

        def query(tx: Tx) -> list[QuarantineView]:
            found = [(tx.command(each.id), each.asked_by) for each in waiting(tx, limit, RELEASE)]
            return [QuarantineView(command_view(command), by) for command, by in found if command is not None]

        return as_json(await self._read(query))

    async def release(self, request: Request, command: Id) -> Response:
        """Vouch for another person's cut: it is judged anew and goes out. 409 with the reason where it cannot."""
        checked(ReasonForm, await read_object(request))
        return await self._decided(command, await self._approvals.approve(command, person_of(request).who))

    async def refuse(self, request: Request, command: Id) -> Response:
        """The cut is not made."""
        form = checked(ReasonForm, await read_object(request))
        return await self._decided(command, await self._approvals.refuse(command, person_of(request).who, form.reason))

    async def _decided(self, command: str, decision: Decision) -> Response:
        if decision.refused is not None:
            raise Problem("refused", decision.refused)
        known = await self._read(lambda tx: tx.command(command))
        if known is None:
            raise Problem("not_found", f"command {command} is not known here")
        return as_json(command_view(known))

    async def stop_state(self) -> Response:
        """Whether cuts are stopped."""
        return as_json(await self._read(self._state))

    async def stop(self, request: Request) -> Response:
        """No cut leaves any more, but for overloads and danger to life."""
        form = checked(ReasonForm, await read_object(request))
        await self._stopping.stop(person_of(request).who, form.reason)
        log.warning("cuts_stopped", by=person_of(request).who, reason=form.reason)
        return as_json(await self._read(self._state))

    async def resume(self, request: Request) -> Response:
        """Cuts are judged again."""
        form = checked(ReasonForm, await read_object(request))
        refused = await self._stopping.resume(person_of(request).who, form.reason)
        if refused is not None:
            raise Problem("refused", refused)
        log.warning("cuts_resumed", by=person_of(request).who, reason=form.reason)
        return as_json(await self._read(self._state))

    def _state(self, tx: Tx) -> StopView:
        why = self._stopping.stopped(tx)
        return StopView(why is not None, why)
