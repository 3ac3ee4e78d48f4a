"""Statements of account over HTTP: JSON for programs and the page, CSV and PDF to keep (contract.md 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT
from gateway.adapters.reports.statement_csv import statement_csv
from gateway.adapters.reports.statement_pdf import statement_pdf
from gateway.adapters.reports.statement_view import StatementView, statement_json
from gateway.domain.statement import CannotState, Statement

State = Callable[[str, date | None, date | None], Awaitable[Statement]]
"""The use case: account, first and last day. Raises LookupError, CannotState."""

Format = Literal["json", "csv", "pdf"]
KINDS: dict[Format, tuple[str, Callable[[Statement], bytes]]] = {
    "json": ("application/json", statement_json),
    "csv": ("text/csv; charset=utf-8; header=present", statement_csv),
    "pdf": ("application/pdf", statement_pdf),
}
"""Content type, and who writes it."""

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Day = Annotated[str | None, Query(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-10-01"])]


class StatementApi:
    """The handler. At most one statement is read and written at a time: they take long beside everything else."""

    def __init__(self, state: State, auth: OperatorAuth) -> None:
        self._state, self._auth, self._one = state, auth, asyncio.Lock()

    def router(self) -> APIRouter:
        """For an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        router.add_api_route(
            "/api/v1/accounts/{account}/statement",
            self.statement,
            methods=["GET"],
            response_class=Response,
            responses={
                200: {
                    "model": StatementView,
                    "description": "The statement; csv and pdf as a file",
                    "content": {
                        "text/csv": {"schema": {"type": "string"}},
                        "application/pdf": {"schema": {"type": "string", "format": "binary"}},
                    },
                }
            },
        )
        return router

    async def statement(
        self,
        account: Id,
        first: Annotated[Day, Query(alias="from")] = None,
        last: Annotated[Day, Query(alias="to")] = None,
        kind: Annotated[Format, Query(alias="format")] = "json",
    ) -> Response:
        """What moved an account's balance in these local days, both included; without `from` and `to` this month."""
        days = _day("from", first), _day("to", last)
        async with self._one:
            try:
                statement = await self._state(account, *days)
            except LookupError as unknown:
                raise Problem("not_found", str(unknown)) from None
            except CannotState as wrong:
                raise Problem("invalid", str(wrong)) from None
            content_type, write = KINDS[kind]
            body = await asyncio.to_thread(write, statement)
        headers = {"cache-control": "no-store"}
        if kind != "json":
            name = f"statement-{statement.account}-{statement.from_day}-{statement.to_day}.{kind}"
            headers["content-disposition"] = f'attachment; filename="{name}"'
        return Response(body, 200, headers, content_type)


def _day(field: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise Problem("invalid", f"{field} is a day like 2026-10-31, and {text} is none", field=field) from None
