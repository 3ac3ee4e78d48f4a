"""The users of a gateway: in memory for every call, in the store for good, and the first of them in the token file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from gateway.adapters.http.auth import SHORTEST_TOKEN
from gateway.adapters.http.people_api import Issued, PeopleUseCases
from gateway.adapters.store import Store
from gateway.domain.people import FIRST, Person, Role, hash_of
from gateway.services.people import add_person, first_wanted, keep_first, new_token, revoke_person
from gateway.services.ports import Tx
from gateway.settings import secret_file

T = TypeVar("T")


class Acts(Protocol):
    """A store as this needs it."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...


def random_token() -> str:
    """256 random bits, in letters that fit a header and a file."""
    return secrets.token_urlsafe(32)


class People:
    """Everybody there is. Only this process changes them: it has the data directory's lock."""

    def __init__(self, store: Acts, token_file: Path, now_ms: Callable[[], int]) -> None:
        self._store, self._file, self._now_ms = store, token_file, now_ms
        self._known: tuple[Person, ...] = ()

    def known(self) -> Sequence[Person]:
        """By name, the revoked too."""
        return self._known

    def begin(self, store: Store, *, first: bool) -> None:
        """Look them up. first: the token file opens for the first person, and is made where there is none. Raises ValueError."""
        if first and store.read_now(first_wanted):
            token = operator_token(self._file)
            if len(token) < SHORTEST_TOKEN:
                raise ValueError(f"the operator's token in {self._file} has less than {SHORTEST_TOKEN} characters")
            store.write_now(lambda tx: keep_first(tx, hash_of(token), self._now_ms()))
        self._known = tuple(store.read_now(lambda tx: tx.people()))

    def cases(self) -> PeopleUseCases:
        """What the interface can have done."""
        return PeopleUseCases(self.known, self._add, self._renew, self._revoke)

    async def _add(self, name: str, roles: Sequence[Role], who: str) -> Issued:
        return await self._issue(lambda tx, digest: add_person(tx, name, roles, digest, who, self._now_ms()))

    async def _renew(self, name: str, who: str) -> Issued:
        issued = await self._issue(lambda tx, digest: new_token(tx, name, digest, who, self._now_ms()))
        if name == FIRST and issued.refused is None:
            self._file.unlink(missing_ok=True)
            _write(self._file, issued.token)
        return issued

    async def _revoke(self, name: str, who: str) -> str | None:
        refused = await self._act(lambda tx: revoke_person(tx, name, who, self._now_ms()))
        if name == FIRST and refused is None:
            self._file.unlink(missing_ok=True)
        return refused

    async def _issue(self, usecase: Callable[[Tx, str], str | None]) -> Issued:
        token = random_token()
        refused = await self._act(lambda tx: usecase(tx, hash_of(token)))
        return Issued(token) if refused is None else Issued(refused=refused)

    async def _act(self, usecase: Callable[[Tx], str | None]) -> str | None:
        refused, self._known = await self._store.write(lambda tx: (usecase(tx), tuple(tx.people())))
        return refused


def operator_token(path: Path) -> str:
    """The operator's token; made (0600) where there is none yet."""
    if path.exists():
        return secret_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    token = random_token()
    _write(path, token)
    return token


def _write(path: Path, token: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
