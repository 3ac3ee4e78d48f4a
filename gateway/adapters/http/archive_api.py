"""The archive beside the configuration file over HTTP: tables of one kind taken in from a file, and given out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Path
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.body import checked, parse_object
from gateway.adapters.http.life_api import Answer, answered
from gateway.adapters.http.life_forms import ArchiveForm, act_of
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json
from gateway.domain.life import Act

MOST_ARCHIVE_BYTES = 16 * 1024 * 1024
"""20,000 tables of 800 bytes."""

WITHIN_S = 60
"""For such a body to arrive: 2 Mbit/s."""

AT_ONCE = 1
"""Bodies of that size are read one after another: more would only take memory from what answers banks."""

What = Annotated[str, Path(pattern="^(meters|accounts)$")]
Rules = Annotated[str, Path(pattern="^(tariffs|schemes|calendars)$")]
"""What holds for many at once: whoever may reload the configuration may bring it."""


class ArchiveCases(Protocol):
    """What the interface can have done. `take` raises what LifeCases raise."""

    def take(self, what: str, form: ArchiveForm, act: Act) -> Awaitable[Answer]: ...
    def give(self, what: str) -> Sequence[dict[str, object]]:
        """The tables that stand in the store alone."""


class ArchiveApi:
    """The handlers."""

    def __init__(self, cases: ArchiveCases, auth: OperatorAuth) -> None:
        self._cases, self._auth = cases, auth
        self._reading = asyncio.Semaphore(AT_ONCE)

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": ArchiveForm.model_json_schema()}}}}
        path = "/api/v1/archive/{what}"
        router.add_api_route(path, self.take, methods=["POST"], response_class=Response, openapi_extra=schema)
        router.add_api_route(path, self.give, methods=["GET"], response_class=Response)
        path = "/api/v1/rules/{what}"
        router.add_api_route(path, self.take_rules, methods=["POST"], response_class=Response, openapi_extra=schema)
        router.add_api_route(path, self.give_rules, methods=["GET"], response_class=Response)
        return router

    async def take(self, request: Request, what: What) -> Response:
        """All of a file's tables, or none of them."""
        async with self._reading:
            form = checked(ArchiveForm, parse_object(await _bytes(request)))
            act = act_of(request, form)
            return await answered(f"import_{what}", act, self._cases.take(what, form, act))

    async def take_rules(self, request: Request, what: Rules) -> Response:
        """The same for tariffs, collection schemes and no-cut calendars."""
        return await self.take(request, what)

    async def give(self, what: What) -> Response:
        """The tables that stand in the store alone, as the configuration file would have them."""
        return as_json({what: self._cases.give(what)})

    async def give_rules(self, what: Rules) -> Response:
        """The same for tariffs, collection schemes and no-cut calendars."""
        return await self.give(what)


async def _bytes(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem("media_type", "the body must be application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(WITHIN_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_ARCHIVE_BYTES:
                    detail = f"a file may have at most {MOST_ARCHIVE_BYTES >> 20} MiB: split it"
                    raise Problem("too_large", detail, headers={"connection": "close"})
    except TimeoutError:
        raise Problem("malformed", f"the body did not arrive within {WITHIN_S} s", headers={"connection": "close"}) from None
    except ClientDisconnect:
        raise Problem("malformed", "the body ended early") from None
    return bytes(body)
