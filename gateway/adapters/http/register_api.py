"""A person's word about a meter's registers over HTTP: a rollover that was only suspected, a meter that was exchanged."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal

import structlog
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, answers_for
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.views import PROBLEM_DOCUMENT, MeterView, as_json, meter_view
from gateway.domain.requests import RegisterOrder

_KWH = re.compile(r"[0-9]{1,9}(\.[0-9]{1,4})?", re.ASCII)
log = structlog.get_logger()


class RegisterForm(BaseModel):
    """The body. `id` makes it idempotent; `last` and `first`: kWh by register as the displays show them, none for a rollover."""

    model_config = ConfigDict(extra="forbid")

    id: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["change-17"])
    kind: StrictStr = Field(pattern=r"^(rollover|meter_change)$", examples=["meter_change"])
    last: dict[StrictStr, StrictStr] = Field(default_factory=dict, max_length=64, examples=[{"energy_import": "1234.56"}])
    first: dict[StrictStr, StrictStr] = Field(default_factory=dict, max_length=64, examples=[{"energy_import": "0.00"}])
    reason: StrictStr = Field(min_length=1, max_length=500, examples=["meter was broken"])
    by: StrictStr | None = Field(None, min_length=1, max_length=200, examples=["Li Wei"])
    second: StrictStr | None = Field(None, min_length=1, max_length=200, examples=["Wang Fang"])


class RegisterApi:
    """The handlers. accept: the use case, which answers why not."""

    def __init__(self, accept: Callable[[RegisterOrder], Awaitable[str | None]], read: Reads, auth: OperatorAuth) -> None:
        self._accept, self._read, self._auth = accept, read, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": RegisterForm.model_json_schema()}}}}
        router.add_api_route(
            "/api/v1/meters/{meter}/accept-register", self.accept, methods=["POST"], response_class=Response, openapi_extra=schema,
            responses={200: {"model": MeterView}},
        )  # fmt: skip
        return router

    async def accept(self, request: Request, meter: Id) -> Response:
        """Bill the old register to its end and go on with the new one. 409 with the reason where that would not be right."""
        form = checked(RegisterForm, await read_object(request))
        if await self._read(lambda tx: tx.meter(meter)) is None:
            raise Problem("not_found", f"meter {meter} is not known here")
        last, first = _registers("last", form.last), _registers("first", form.first)
        order = RegisterOrder(form.id, meter, form.kind, last, first, form.reason, answers_for(request, form.by), form.second)
        refused = await self._accept(order)
        log.info("accept_register", meter=meter, id=order.id, kind=order.kind, by=order.by, second=order.second, refused=refused)
        if refused is not None:
            raise Problem("refused", refused)
        found = await self._read(lambda tx: meter_view(tx, known) if (known := tx.meter(meter)) else None)
        return as_json(found)


def _registers(field: str, table: dict[str, str]) -> dict[str, Decimal]:
    for name, kwh in table.items():
        if not name.startswith("energy_import") or not _KWH.fullmatch(kwh):
            raise Problem("invalid", f'{field} holds kWh by register, like {{"energy_import": "1234.56"}}', field=field)
    return {name: Decimal(kwh) for name, kwh in table.items()}
