"""POST /api/v1/reload: the running gateway loads its configuration again and says what changed, or why nothing did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """Names of what came, went and is different now."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new configuration changed. keys: single keys; passwords: the file of passwords held others."""

    lines: Parts = Parts()
    meters: Parts = Parts()
    accounts: Parts = Parts()
    tariffs: Parts = Parts()
    schemes: Parts = Parts()
    outputs: Parts = Parts()
    keys: tuple[str, ...] = ()
    passwords: bool = False

    def __bool__(self) -> bool:
        named = (self.lines, self.meters, self.accounts, self.tariffs, self.schemes, self.outputs)
        return any(map(bool, named)) or bool(self.keys) or self.passwords


class NotReloaded(Exception):
    """Nothing was changed; `errors` are sentences. valid: the configuration as such is good, but it cannot be taken over now."""

    def __init__(self, errors: Sequence[str], *, valid: bool) -> None:
        super().__init__("\n".join(errors))
        self.errors, self.valid = tuple(errors), valid


class ReloadForm(BaseModel):
    """The body, which may be left out. file: the configuration that the caller means, refused when the gateway runs on another."""

    model_config = ConfigDict(extra="forbid")

    file: StrictStr | None = Field(None, max_length=4096, examples=["/etc/wattgate/gateway.toml"])


class ReloadApi:
    """The handler. reload: takes the file that is meant, if any was named; raises NotReloaded."""

    def __init__(self, reload: Callable[[str | None], Awaitable[Changes]], auth: OperatorAuth) -> None:
        self._reload, self._auth = reload, auth

    def router(self) -> APIRouter:
        """Its one route, for whoever has the operator's token."""
        router = APIRouter(responses={"default": PROBLEM_DOCUMENT}, dependencies=[Depends(self._auth)], tags=["operator"])
        router.add_api_route("/api/v1/reload", self.reload, methods=["POST"], response_class=Response,
                             responses={200: {"model": Changes}}, openapi_extra=_BODY)  # fmt: skip
        return router

    async def reload(self, request: Request) -> Response:
        """200 with what changed. 422: the configuration is wrong, `errors` has every sentence; 409: it needs a restart, or time."""
        empty = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
        form = ReloadForm(file=None) if empty else checked(ReloadForm, await read_object(request))
        try:
            return as_json(await self._reload(form.file))
        except NotReloaded as refused:
            detail = f"nothing was changed: {refused.errors[0]}"
            raise Problem("refused" if refused.valid else "invalid", detail, extra={"errors": list(refused.errors)}) from None


_BODY = {"requestBody": {"required": False, "content": {"application/json": {"schema": ReloadForm.model_json_schema()}}}}
