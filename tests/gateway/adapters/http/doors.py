"""People at the door of a small application: users with each role, one revoked, and what a listener sees of their calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import httpx2
from fastapi import FastAPI

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.sessions import Sessions
from gateway.domain.people import Person, Role, hash_of

PAGE = {"x-wattgate-page": "1"}


def token(name: str) -> str:
    return f"the-token-of-{name}"


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token(name)}"}


def person(name: str, *roles: Role, revoked: bool = False) -> Person:
    return Person(name, roles, hash_of(token(name)), 0, 1 if revoked else None)


EVERYBODY = (
    *(person(role.value, role) for role in Role),
    person("two", Role.APPROVER, Role.AUDITOR),
    person("gone", *Role, revoked=True),
)


@dataclass
class Door:
    """steady_s is what a test puts forward."""

    people: Sequence[Person] = EVERYBODY
    steady_s: float = 0.0
    open_get: bool = False
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = Sessions(lambda: self.steady_s)
        self.auth = OperatorAuth(
            lambda: self.people, open_get=self.open_get, sessions=self.sessions, steady_s=lambda: self.steady_s
        )

    def application(self) -> FastAPI:
        return new_application("door", "0")

    def change(self, name: str, **changes: object) -> None:
        self.people = [replace(p, **changes) if p.name == name else p for p in self.people]  # type: ignore[arg-type]


def client(app: FastAPI, host: str = "127.0.0.1") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app, client=(host, 1)), base_url="http://door")
