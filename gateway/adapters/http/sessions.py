"""Sessions of the page: a token is given once, and from then on a cookie that no script can read and no other site can use."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import COOKIE, OperatorAuth, person_of, signed_by_page
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json
from gateway.domain.people import Person

LONGEST_S = 12 * 3600
"""A shift; then the token is asked for again."""

IDLE_S = 30 * 60
"""The page asks every few seconds: a session that was quiet so long belongs to nobody any more."""

MOST_SESSIONS = 256
"""At once; beyond it the one that was quiet longest ends."""


@dataclass(frozen=True, slots=True)
class _Session:
    """Whose it is, by name and token at that time: another token, or a revocation, ends it. Steady seconds."""

    name: str
    token_hash: str
    begun_s: float
    used_s: float


class Sessions:
    """All of them, in memory: a restart ends them. steady_s: seconds that only rise. new_id: unguessable."""

    def __init__(self, steady_s: Callable[[], float], new_id: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> None:
        self._steady_s, self._new_id = steady_s, new_id
        self._open: OrderedDict[bytes, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, person: Person) -> str:
        """The id of a new session."""
        session, now_s = self._new_id(), self._steady_s()
        self._open[_digest(session)] = _Session(person.name, person.token_hash, now_s, now_s)
        if len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)
        return session

    def holder(self, session: str) -> tuple[str, str] | None:
        """Name and token digest of whose session this is; None for one that is not, or not any more.

        Looked up by digest, so that what time the look takes tells nothing of an id.
        """
        key, now_s = _digest(session), self._steady_s()
        found = self._open.get(key)
        if found is None:
            return None
        if now_s - found.used_s > IDLE_S or now_s - found.begun_s > LONGEST_S:
            del self._open[key]
            return None
        self._open[key] = replace(found, used_s=now_s)
        self._open.move_to_end(key)
        return found.name, found.token_hash

    def end(self, session: str) -> None:
        """It is over."""
        self._open.pop(_digest(session), None)


class SessionForm(BaseModel):
    """The body that begins one."""

    model_config = ConfigDict(extra="forbid")

    token: StrictStr = Field(min_length=1, max_length=512)


@dataclass(frozen=True, slots=True)
class SessionView:
    """Whose it is, and what they may do."""

    name: str
    roles: tuple[str, ...]


class SessionApi:
    """The handlers."""

    def __init__(self, sessions: Sessions, auth: OperatorAuth) -> None:
        self._sessions, self._auth = sessions, auth

    def router(self) -> APIRouter:
        """The routes; the first needs no identity, for it makes one."""
        router = APIRouter(tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        router.add_api_route("/api/v1/session", self.begin, methods=["POST"], response_class=Response, openapi_extra=_BODY,
                             status_code=201, responses={201: {"model": SessionView}})  # fmt: skip
        router.add_api_route("/api/v1/session", self.who, methods=["GET"], response_class=Response,
                             responses={200: {"model": SessionView}}, dependencies=[Depends(self._auth)])  # fmt: skip
        router.add_api_route("/api/v1/session", self.end, methods=["DELETE"], response_class=Response, status_code=204,
                             dependencies=[Depends(self._auth)])  # fmt: skip
        return router

    async def begin(self, request: Request) -> Response:
        """A session for the holder of this token: 201 with a cookie. Nobody can be signed in by another site."""
        signed_by_page(request)
        form = checked(SessionForm, await read_object(request))
        person = self._auth.holder(request, form.token)
        answer = as_json(SessionView(person.name, person.roles), 201)
        answer.set_cookie(
            COOKIE, self._sessions.begin(person), max_age=LONGEST_S, httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    async def who(self, request: Request) -> Response:
        """Who asks, by token or by session; `anybody` where looking needs neither."""
        person = person_of(request)
        return as_json(SessionView(person.name, person.roles))

    async def end(self, request: Request) -> Response:
        """The session is over; with a token instead of a session nothing is."""
        person_of(request)
        if (session := request.cookies.get(COOKIE)) is not None:
            self._sessions.end(session)
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def _digest(session: str) -> bytes:
    return hashlib.sha256(session.encode("utf-8", "surrogateescape")).digest()


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": SessionForm.model_json_schema()}}}}
