"""A line for a person at a tool: how it is set, and one raw read as its guest (contract.md 2: tools ask the running gateway)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal, Protocol

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem, unavailable
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json, rfc3339
from gateway.adapters.line_tools.raw import NotARead, RawRead, raw_read
from gateway.adapters.lines.transport import LineDown

GUEST_WITHIN_S = 60.0
"""A guest that has not had its turn by then is told so: the line has more urgent work than it can do."""


@dataclass(frozen=True, slots=True)
class LineView:
    """How a line is set. device: where it leads; baud: of the wire; parity: N, E or O, null where it is not ours to set."""

    line: str
    kind: str
    device: str
    baud: int | None
    parity: str | None


@dataclass(frozen=True, slots=True)
class Relayed:
    """What came back. asked_ms, answered_ms: first byte out and last byte in, UTC ms; None where nobody answered."""

    data: bytes
    asked_ms: int
    answered_ms: int | None


@dataclass(frozen=True, slots=True)
class ExchangeView:
    """`hex`: every byte that came back, empty when none did; `answered`: null where it was no answer."""

    hex: str
    asked: str
    answered: str | None


class ExchangeForm(BaseModel):
    """The body of a raw read. search: it may wait for everything else that the line has to do."""

    model_config = ConfigDict(extra="forbid")

    hex: StrictStr = Field(pattern=r"^([0-9A-Fa-f]{2}){1,300}$", examples=["FEFEFEFE68010000000000681104333334339D16"])
    protocol: Literal["dlt645", "modbus-rtu", "modbus-tcp"] = Field(examples=["dlt645"])
    first_byte_timeout_ms: StrictInt = Field(600, ge=20, le=10_000, examples=[600])
    search: StrictBool = Field(False, examples=[True])


class Guests(Protocol):
    """The lines of the running gateway."""

    def line(self, line: str) -> LineView | None:
        """None where there is none of this name."""

    async def exchange(self, line: str, read: RawRead, first_byte_timeout_ms: int, search: bool) -> Relayed:
        """One read when the line has time for it. Raises LineDown, and Crowded when too many wait."""


class Crowded(Exception):
    """Too many guests wait for a line; one sentence."""


class LineToolsApi:
    """The handlers; both want the operator's token as the operator's API does."""

    def __init__(self, guests: Guests, auth: OperatorAuth) -> None:
        self._guests, self._auth = guests, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        router.add_api_route(
            "/api/v1/lines/{line}", self.line, methods=["GET"], response_class=Response, responses={200: {"model": LineView}}
        )
        router.add_api_route(
            "/api/v1/lines/{line}/exchange", self.exchange, methods=["POST"], response_class=Response, openapi_extra=_BODY,
            responses={200: {"model": ExchangeView}},
        )  # fmt: skip
        return router

    async def line(self, line: Id) -> Response:
        """How this line is set."""
        return as_json(self._known(line))

    async def exchange(self, request: Request, line: Id) -> Response:
        """Ask these bytes on the line once, between the gateway's own work; only reads, anything else is 422."""
        form = checked(ExchangeForm, await read_object(request))
        known = self._known(line)
        if (known.kind == "modbus-tcp") != (form.protocol == "modbus-tcp"):
            raise Problem("invalid", f"line {line} is {known.kind} and does not carry {form.protocol}", field="protocol")
        try:
            read = raw_read(bytes.fromhex(form.hex), form.protocol)
        except NotARead as refused:
            raise Problem("invalid", str(refused), field="hex") from None
        try:
            async with asyncio.timeout(GUEST_WITHIN_S):
                relayed = await self._guests.exchange(line, read, form.first_byte_timeout_ms, form.search)
        except TimeoutError:
            raise unavailable(f"line {line} did not come to it within {GUEST_WITHIN_S:.0f} s: it has more urgent work") from None
        except Crowded as crowded:
            raise Problem("rate_limited", str(crowded)) from None
        except LineDown as down:
            raise unavailable(f"line {line} is down: {down}") from None
        answered = None if relayed.answered_ms is None else rfc3339(relayed.answered_ms)
        return as_json(ExchangeView(relayed.data.hex().upper(), rfc3339(relayed.asked_ms), answered))

    def _known(self, line: str) -> LineView:
        found = self._guests.line(line)
        if found is None:
            raise Problem("not_found", f"line {line} is not known here")
        return found


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": ExchangeForm.model_json_schema()}}}}
