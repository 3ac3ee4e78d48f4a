"""How complete a day's collection is, and a person's wish for more of a meter's past."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json
from gateway.domain.jobs import Want
from gateway.domain.schemes import WHOLE, Completeness
from gateway.services.ports import Tx

MOST_DAYS = 92
"""Days of one answer: a quarter."""

Day = Annotated[date | None, Query()]
Wish = Callable[[str, Want, int, int], Awaitable[int]]
"""(meter, want, from, to in UTC ms) -> values that are now waited for. LookupError and ValueError say why not."""


@dataclass(frozen=True, slots=True)
class CompletenessView:
    """A scheme on a line on one day of the gateway's zone. complete: per cent of what was expected, like 99.50; in_time counts what
    was read within its window."""

    day: str
    scheme: str
    line: str
    expected: int
    read: int
    in_time: int
    unavailable: int
    complete: str


@dataclass(frozen=True, slots=True)
class WaitingView:
    """How many values are waited for."""

    meter: str
    want: str
    waiting: int


class HistoryForm(BaseModel):
    """What of a meter's past is wanted, both ends included."""

    model_config = ConfigDict(extra="forbid")

    want: Literal["day", "month", "curve"]
    since: AwareDatetime
    until: AwareDatetime


class CompletenessApi:
    """The handlers. zone: the gateway's. wish: asks for more of the past."""

    def __init__(self, read: Reads, wish: Wish, auth: OperatorAuth, zone: str, now_ms: Callable[[], int]) -> None:
        self._read, self._wish, self._auth = read, wish, auth
        self._zone, self._now_ms = ZoneInfo(zone), now_ms

    def router(self) -> APIRouter:
        """Both routes, for whoever has the operator's token."""
        router = APIRouter(responses={"default": PROBLEM_DOCUMENT}, dependencies=[Depends(self._auth)], tags=["operator"])
        router.add_api_route("/api/v1/completeness", self.completeness, methods=["GET"], response_class=Response,
                             responses={200: {"model": list[CompletenessView]}})  # fmt: skip
        router.add_api_route("/api/v1/meters/{meter}/history", self.history, methods=["POST"], response_class=Response,
                             status_code=202, responses={202: {"model": WaitingView}}, openapi_extra=_BODY)  # fmt: skip
        return router

    async def completeness(self, day: Day = None, until: Day = None) -> Response:
        """One day, by default today, or several up to and with `until`; by day, scheme and line."""
        first = day or datetime.fromtimestamp(self._now_ms() // 1000, UTC).astimezone(self._zone).date()
        last = until or first
        if last - first > timedelta(days=MOST_DAYS):
            raise Problem("invalid", f"until is more than {MOST_DAYS} days after day")

        def query(tx: Tx) -> list[CompletenessView]:
            return [_view(row) for row in tx.completeness(first.isoformat(), last.isoformat())]

        return as_json(await self._read(query))

    async def history(self, request: Request, meter: str) -> Response:
        """202 with the number of values that the gateway now fetches from the meter's own memory, after all that is more urgent."""
        form = checked(HistoryForm, await read_object(request))
        from_ms, to_ms = (int(moment.timestamp()) * 1000 for moment in (form.since, form.until))
        try:
            waiting = await self._wish(meter, Want(form.want), from_ms, to_ms)
        except LookupError as unknown:
            raise Problem("not_found", str(unknown)) from None
        except ValueError as wrong:
            raise Problem("invalid", str(wrong)) from None
        return as_json(WaitingView(meter, form.want, waiting), 202)


def _view(row: Completeness) -> CompletenessView:
    tally, share = row.tally, row.tally.complete
    counts = (tally.expected, tally.read, tally.in_time, tally.unavailable)
    return CompletenessView(row.day, row.scheme, row.line, *counts, f"{share * 100 // WHOLE}.{share % 100:02d}")


_BODY = {"requestBody": {"content": {"application/json": {"schema": HistoryForm.model_json_schema()}}, "required": True}}
