"""Who may do what: persons of the operator with their roles (contract.md 4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
