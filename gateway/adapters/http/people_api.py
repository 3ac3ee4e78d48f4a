"""Users over HTTP: who there is, added, revoked, given a new token (contract.md 2 and 4). A token is in one answer only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.operator import Id
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json, rfc3339
from gateway.domain.people import Person, Role

RoleName = Annotated[StrictStr, Field(pattern=f"^({'|'.join(Role)})$")]
log = structlog.get_logger()


class UserForm(BaseModel):
    """The body that adds one."""

    model_config = ConfigDict(extra="forbid")

    name: StrictStr = Field(min_length=1, max_length=64, examples=["li-wei"])
    roles: list[RoleName] = Field(min_length=1, max_length=len(Role), examples=[["operator"]])


@dataclass(frozen=True, slots=True)
class UserView:
    """A user. revoked: since when it may do nothing, null while it may."""

    name: str
    roles: tuple[str, ...]
    created: str
    revoked: str | None


@dataclass(frozen=True, slots=True)
class TokenView:
    """A user's new token, shown this once."""

    name: str
    token: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token, or why there is none."""

    token: str = ""
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class PeopleUseCases:
    """What the interface can have done; the last argument is who asks."""

    everybody: Callable[[], Sequence[Person]]
    add: Callable[[str, Sequence[Role], str], Awaitable[Issued]]
    renew: Callable[[str, str], Awaitable[Issued]]
    revoke: Callable[[str, str], Awaitable[str | None]]


class PeopleApi:
    """The handlers."""

    def __init__(self, cases: PeopleUseCases, auth: OperatorAuth) -> None:
        self._cases, self._auth = cases, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        schema = {"requestBody": {"required": True, "content": {"application/json": {"schema": UserForm.model_json_schema()}}}}
        token: dict[int | str, dict[str, object]] = {201: {"model": TokenView}}
        router.add_api_route("/api/v1/users", self.everybody, methods=["GET"], response_class=Response,
                             responses={200: {"model": list[UserView]}})  # fmt: skip
        router.add_api_route("/api/v1/users", self.add, methods=["POST"], response_class=Response, openapi_extra=schema,
                             status_code=201, responses=token)  # fmt: skip
        router.add_api_route("/api/v1/users/{name}/token", self.renew, methods=["POST"], response_class=Response,
                             status_code=201, responses=token)  # fmt: skip
        router.add_api_route("/api/v1/users/{name}/revoke", self.revoke, methods=["POST"], response_class=Response,
                             responses={200: {"model": UserView}})  # fmt: skip
        return router

    async def everybody(self) -> Response:
        """All users by name, the revoked too."""
        return as_json([_view(person) for person in self._cases.everybody()])

    async def add(self, request: Request) -> Response:
        """A new user, or a revoked one that comes back: 201 with its token. 409 with the reason where there can be none."""
        form = checked(UserForm, await read_object(request))
        return _issued(form.name, await self._cases.add(form.name, [Role(role) for role in form.roles], person_of(request).who))

    async def renew(self, request: Request, name: Id) -> Response:
        """A new token; the one before opens nothing any more, sessions included."""
        return _issued(name, await self._cases.renew(name, person_of(request).who))

    async def revoke(self, request: Request, name: Id) -> Response:
        """It may do nothing any more. 409 for the last admin."""
        refused = await self._cases.revoke(name, person_of(request).who)
        if refused is not None:
            raise Problem("refused", refused)
        log.info("user_revoked", name=name, by=person_of(request).who)
        return as_json(next(_view(person) for person in self._cases.everybody() if person.name == name))


def _issued(name: str, issued: Issued) -> Response:
    if issued.refused is not None:
        raise Problem("refused", issued.refused)
    log.info("token_issued", name=name)
    return as_json(TokenView(name, issued.token), 201)


def _view(person: Person) -> UserView:
    revoked = None if person.revoked_ms is None else rfc3339(person.revoked_ms)
    return UserView(person.name, tuple(person.roles), rfc3339(person.created_ms), revoked)
