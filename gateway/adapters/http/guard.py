"""The outermost layer of every listener: bounds what runs at once and turns whatever goes wrong inside into a problem document."""

from __future__ import annotations

from collections import Counter

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.adapters.http.problems import Problem, from_status, unavailable
from gateway.services.ports import Unavailable

MOST_AT_ONCE = 256
"""Requests inside the application at one moment: four batches of the group-commit writer; more would only wait longer."""

KEPT_FREE = 8
"""One address has at most seven of eight of these places: whoever fills them with slow bodies leaves 32 to the others."""

_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""/metrics is ours; the framework's own would run for every request and report to nobody."""

log = structlog.get_logger()


class Guard:
    """ASGI middleware. Beyond `most` requests at once, or an address's share of them, and on any error it answers `unavailable`;
    errors are logged, not shown."""

    def __init__(self, app: ASGIApp, most: int = MOST_AT_ONCE) -> None:
        self._app, self._most, self._inside = app, most, 0
        self._of = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._inside >= self._most:
            await unavailable(f"{self._most} requests are being answered; ask again shortly").response()(scope, receive, send)
            return
        host, share = (scope.get("client") or ("",))[0], self._most - self._most // KEPT_FREE
        if self._of[host] >= share:
            busy = unavailable(f"{share} requests from {host} are being answered; ask again shortly")
            await busy.response()(scope, receive, send)
            return
        self._inside += 1
        self._of[host] += 1
        try:
            await self._run(scope, receive, send)
        finally:
            self._inside -= 1
            self._of[host] -= 1
            if not self._of[host]:
                del self._of[host]

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, note_start)
        except Exception as error:
            if not isinstance(error, Unavailable):
                log.error("http_failed", path=scope.get("path"), method=scope.get("method"), exc_info=error)
            if started:
                raise
            await unavailable().response()(scope, receive, send)


def new_application(title: str, version: str) -> FastAPI:
    """A FastAPI application that speaks only in problem documents and has no pages of its own."""
    app = FastAPI(title=title, version=version, docs_url=None, redoc_url=None, redirect_slashes=False, telemetry=_NO_TELEMETRY)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_middleware(Guard)
    return app


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return from_status(error.status_code, error.headers).response()


async def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return wrong_part(error).response()


def wrong_part(error: RequestValidationError) -> Problem:
    """A part of path, query or headers that is not as the route wants it, by its name."""
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else "request"
    return Problem("invalid", f"{name}: {first['msg']}", field=name)
