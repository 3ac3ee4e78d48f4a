"""Who may do what: persons of the operator with their roles (contract.md 4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

FIRST = "operator"
"""The person that the first start makes: it may do everything, and its token is that of the data directory's token file."""

CONSOLE = "console"
"""Whoever acts by hand on the data directory of a gateway that does not run, and names nobody."""

RESERVED = frozenset({FIRST, CONSOLE, "rules", "uplink"})
"""Names that nobody else may have: the audit log uses them."""

MOST_PEOPLE = 500
"""Persons of one gateway, the revoked ones included: a token is compared with that of each."""


class Role(StrEnum):
    """admin: users and settings; operator: orders, money at the counter; approver: the second person; auditor: looks only."""

    ADMIN = "admin"
    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Person:
    """One identity. token_hash: hex digest of its token, which is shown once. revoked_ms: UTC ms, None while it is in force."""

    name: str
    roles: tuple[Role, ...]
    token_hash: str
    created_ms: int
    revoked_ms: int | None = None

    @property
    def in_force(self) -> bool:
        """Whether it may still do anything."""
        return self.revoked_ms is None

    @property
    def who(self) -> str:
        """How the audit log names it."""
        return CONSOLE if self.name == CONSOLE else f"operator:{self.name}"


def hash_of(token: str) -> str:
    """What is kept of a token: its SHA-256 in hex.

    Our tokens are 256 random bits, so that there is nothing to guess and a slow, salted hash would only cost time.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def unfit_name(name: str) -> str | None:
    """Why nobody can be called so."""
    if not _NAME.fullmatch(name):
        return "a name is 1 to 64 letters, digits, _ or -"
    return f"the name {name} is the gateway's own" if name in RESERVED else None


def admins(people: Iterable[Person]) -> list[str]:
    """Who may change users, by name."""
    return sorted(person.name for person in people if person.in_force and Role.ADMIN in person.roles)
