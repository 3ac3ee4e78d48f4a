"""Keys of the centre over HTTP: which there are, added by two people, revoked by one (contract.md 5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictStr, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.approvals_api import ApprovalView, approval_view
from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json, rfc3339
from gateway.domain.approvals import Decision
from gateway.domain.uplink_keys import KeyRole, UplinkKey
from protocols.uplink.commands import ARGS
from protocols.uplink.messages import BadMessage
from protocols.uplink.signing import public_key

_MOMENT = TypeAdapter(AwareDatetime)
Verb = Annotated[StrictStr, Field(pattern=f"^({'|'.join(ARGS)}|\\*)$")]
Named = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]{1,64}\*?$")]
Micro = Annotated[StrictStr, Field(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$")]
log = structlog.get_logger()


class KeyForm(BaseModel):
    """The body that adds one: kid, `x` of its JWK, and what it may. id makes the question idempotent."""

    model_config = ConfigDict(extra="forbid")

    id: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["add-centre-2"])
    kid: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["centre-2"])
    public: StrictStr = Field(pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")
    role: Literal["commands", "centre"] = "commands"
    holder: StrictStr = Field("", max_length=200)
    verbs: list[Verb] = Field(default_factory=list, max_length=32, examples=[["cut", "restore"]])
    gateways: list[Named] = Field(default_factory=list, max_length=1000)
    meters: list[Named] = Field(default_factory=list, max_length=1000)
    accounts: list[Named] = Field(default_factory=list, max_length=1000)
    causes: list[Named] = Field(default_factory=list, max_length=16)
    most_topup: Micro | None = None
    most_refund: Micro | None = None
    begins: StrictStr | None = Field(None, max_length=40)
    until: StrictStr | None = Field(None, max_length=40)


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key. state: in_force, early, over or revoked."""

    kid: str
    public: str
    role: str
    holder: str
    verbs: tuple[str, ...]
    gateways: tuple[str, ...]
    meters: tuple[str, ...]
    accounts: tuple[str, ...]
    causes: tuple[str, ...]
    filed: bool
    begins: str | None
    until: str | None
    revoked: str | None


@dataclass(frozen=True, slots=True)
class KeyUseCases:
    """What the interface can have done; the last argument is who asks."""

    everything: Callable[[], Awaitable[Sequence[UplinkKey]]]
    add: Callable[[str, UplinkKey, str], Awaitable[Decision]]
    revoke: Callable[[str, str], Awaitable[str | None]]


class KeysApi:
    """The handlers."""

    def __init__(self, cases: KeyUseCases, auth: OperatorAuth) -> None:
        self._cases, self._auth = cases, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": KeyForm.model_json_schema()}}}}
        router.add_api_route("/api/v1/keys", self.everything, methods=["GET"], response_class=Response,
                             responses={200: {"model": list[KeyView]}})  # fmt: skip
        router.add_api_route("/api/v1/keys", self.add, methods=["POST"], response_class=Response, openapi_extra=schema,
                             status_code=202, responses={202: {"model": ApprovalView}})  # fmt: skip
        router.add_api_route("/api/v1/keys/{kid}/revoke", self.revoke, methods=["POST"], response_class=Response,
                             responses={200: {"model": KeyView}})  # fmt: skip
        return router

    async def everything(self) -> Response:
        """All keys by kid, the revoked too."""
        return as_json([_view(key) for key in await self._cases.everything()])

    async def add(self, request: Request) -> Response:
        """Ask for a new key: 202 with what waits for its second person. 409 with the reason where there can be none."""
        form, who = checked(KeyForm, await read_object(request)), person_of(request).who
        try:
            public_key(form.public)
        except BadMessage as wrong:
            raise Problem("invalid", str(wrong), field="public") from None
        asked = await self._cases.add(form.id, _key(form), who)
        if asked.approval is None or asked.refused is not None:
            raise Problem("refused", asked.refused or "it cannot be added")
        log.info("uplink_key_asked", kid=form.kid, by=who)
        return as_json(approval_view(asked.approval), 202)

    async def revoke(self, request: Request, kid: Id) -> Response:
        """Nothing that it signs counts any more. 409 where there is none, or it is revoked."""
        refused = await self._cases.revoke(kid, person_of(request).who)
        if refused is not None:
            raise Problem("refused", refused)
        log.info("uplink_key_revoked", kid=kid, by=person_of(request).who)
        return as_json(next(_view(key) for key in await self._cases.everything() if key.kid == kid))


def _key(form: KeyForm) -> UplinkKey:
    most = {"topup": form.most_topup, "refund": form.most_refund}
    return UplinkKey(
        form.kid, form.public, KeyRole(form.role), form.holder,
        tuple(form.gateways), tuple(form.verbs), tuple(form.meters), tuple(form.accounts), tuple(form.causes),
        {verb: _micro(amount) for verb, amount in most.items() if amount is not None},
        from_ms=_ms("begins", form.begins), until_ms=_ms("until", form.until),
    )  # fmt: skip


def _micro(amount: str) -> int:
    whole, _, part = amount.partition(".")
    return int(whole) * 1_000_000 + int(part.ljust(6, "0"))


def _ms(field: str, text: str | None) -> int | None:
    try:
        return None if text is None else int(_MOMENT.validate_python(text).timestamp() * 1000)
    except ValidationError:
        raise Problem("invalid", f"{field} is a moment with its zone, like 2026-12-01T00:00:00+08:00", field=field) from None


def _view(key: UplinkKey) -> KeyView:
    begins, until, revoked = (None if at is None else rfc3339(at) for at in (key.from_ms, key.until_ms, key.revoked_ms))
    return KeyView(
        *(key.kid, key.public, key.role.value, key.holder, key.verbs, key.gateways, key.meters, key.accounts, key.causes),
        key.filed, begins, until, revoked,
    )  # fmt: skip
