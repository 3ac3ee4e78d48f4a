"""Who asks, and whether they may: tokens and sessions to persons, and persons to roles (contract.md 4)."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import structlog
from starlette.requests import Request

from gateway.adapters.http.problems import Problem
from gateway.adapters.http.roles import LOOKING, needed
from gateway.adapters.http.wrong_tokens import WrongTokens
from gateway.domain.people import FIRST, RESERVED, Person, Role, hash_of

COOKIE = "wattgate_session"
"""Of the page's session; HttpOnly and SameSite=Strict."""

PAGE_HEADER = "x-wattgate-page"
"""What the page sends with every act: no other site can have a browser send it without asking us first."""

GUEST = Person("anybody", (Role.AUDITOR,), "", 0)
"""Who looks where looking needs no token."""

SEND = "send the operator's or a user's token: Authorization: Bearer TOKEN"

log = structlog.get_logger()

SHORTEST_TOKEN = 16
"""Characters: 96 bits in base64; less can be guessed over the network in time."""


def read_token(path: Path) -> str:
    """The operator's token from a file that only its owner can read. ValueError says what is wrong with the file."""
    try:
        mode = path.stat().st_mode & 0o777
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the operator's token cannot be read from {path}: {error}") from None
    if mode & 0o077:
        raise ValueError(f"{path} holds a secret and may be read by others (mode {mode:04o}): chmod 600 {path}")
    if len(token) < SHORTEST_TOKEN:
        raise ValueError(f"the token in {path} is shorter than {SHORTEST_TOKEN} characters")
    return token


class Holders(Protocol):
    """Whose session a cookie is."""

    def holder(self, session: str) -> tuple[str, str] | None:
        """Name and token digest; None for none."""


class OperatorAuth:
    """A FastAPI dependency: who asks, and whether they may. Handlers find the answer by person_of.

    known: everybody there is, the revoked too, or the token of one person who may do everything. open_get: looking needs no token
    (the demo, on loopback); acting always needs it. sessions: the page's. steady_s: seconds that only rise.
    """

    def __init__(
        self,
        known: str | Callable[[], Iterable[Person]],
        *,
        open_get: bool = False,
        sessions: Holders | None = None,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(known, str):
            known = _one(known)
        self._known, self._open_get, self._sessions = known, open_get, sessions
        self._wrong = WrongTokens(steady_s)

    async def __call__(self, request: Request) -> None:
        """Problems `unauthorized` without an identity, `forbidden` without the role, `rate_limited` after many wrong tokens."""
        person = self._person(request)
        roles = needed(request.method, request.scope["route"].path)
        if not roles & {*person.roles}:
            if person is GUEST:
                raise _unauthorized(SEND)
            wanted: list[str] = sorted(roles)
            detail = f"this needs the role {' or '.join(wanted)}; {person.name} has {', '.join(person.roles)}"
            raise Problem("forbidden", detail, extra={"needs": wanted})
        request.state.person = person

    def holder(self, request: Request, token: str) -> Person:
        """Whose token this is, compared in constant time with everybody's. Problems `unauthorized`, `rate_limited`."""
        host = request.client.host if request.client else ""
        if wait_s := self._wrong.wait_s(host):
            detail = f"too many wrong tokens came from {host}: wait {wait_s} s"
            raise Problem("rate_limited", detail, headers={"retry-after": str(wait_s)})
        given = hash_of(token.strip()).encode()
        same = [person for person in self._known() if hmac.compare_digest(person.token_hash.encode(), given)]
        for person in same:
            if person.in_force:
                return person
        self._wrong.add(host)
        log.warning("wrong_token", host=host, path=request.url.path, revoked=same[0].name if same else None)
        raise _unauthorized(f"the token of {same[0].name} is revoked" if same else "this is not the operator's token, nor a user's")

    def _person(self, request: Request) -> Person:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme and (scheme.lower() != "bearer" or not given.strip()):
            raise _unauthorized(SEND)
        if given:
            return self.holder(request, given)
        session = request.cookies.get(COOKIE) if self._sessions is not None else None
        if session is not None and (person := self._of_session(session)) is not None:
            if request.method not in LOOKING:
                signed_by_page(request)
            return person
        if self._open_get and request.method in LOOKING:
            return GUEST
        raise _unauthorized(SEND if session is None else "the session is over: sign in again")

    def _of_session(self, session: str) -> Person | None:
        held = self._sessions.holder(session) if self._sessions is not None else None
        return next((p for p in self._known() if p.in_force and (p.name, p.token_hash) == held), None)


def person_of(request: Request) -> Person:
    """Who asks: what OperatorAuth found out."""
    person: Person = request.state.person
    return person


def answers_for(request: Request, named: str | None) -> str:
    """Who is written down for an act: the person that asks, beside the name that they gave.

    Behind the first token, and at the console, stands whoever has it: there the name that was given is all that is known.
    """
    person = person_of(request)
    if named is None or named == person.name:
        return person.name
    return named if person.name in RESERVED else f"{named} ({person.name})"


def signed_by_page(request: Request) -> None:
    """Problem `forbidden` for what another site's page could have sent: its forms cannot set this header."""
    if not request.headers.get(PAGE_HEADER):
        raise Problem("forbidden", f"with a session this needs the header {PAGE_HEADER}, which only our own page sends")


def _one(token: str) -> Callable[[], Iterable[Person]]:
    if len(token) < SHORTEST_TOKEN:
        raise ValueError(f"an operator's token has at least {SHORTEST_TOKEN} characters")
    person = Person(FIRST, tuple(Role), hash_of(token), 0)
    return lambda: (person,)


def _unauthorized(detail: str) -> Problem:
    return Problem("unauthorized", detail, headers={"www-authenticate": 'Bearer realm="wattgate"'})
