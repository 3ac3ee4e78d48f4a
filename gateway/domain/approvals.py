"""Acts that need two people (prepayment.md 6): asked by one, decided by another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

ALONE_MS = 15 * 60 * 1000
"""On a one-person site who asked may confirm it so much later (prepayment.md 6)."""


class ApprovalState(StrEnum):
    """ASKED waits; the others are final."""

    ASKED = "asked"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Approval:
    """An act that waits for its second person. act: what will be done (`release_command`, `unprotect`, `credit`, ...); subject: to
    what; body: the act's arguments as JSON text, so that what was approved is what is done. Times in UTC ms."""

    id: str
    act: str
    subject: str
    body: str
    asked_by: str
    asked_ms: int
    expires_ms: int
    state: ApprovalState = ApprovalState.ASKED
    decided_by: str | None = None
    decided_ms: int | None = None
    reason: str = ""


RELEASE = "release_command"
"""The act that a quarantined command waits for; the approval has the command's id."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of an act: the approval as it is now, or why nothing was asked or decided, in one sentence."""

    approval: Approval | None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act of a person, a key or a rule, in a hash chain. who: `operator:NAME`, `uplink:KEY`, `rules` or `console`; hex."""

    number: int
    at_ms: int
    who: str
    act: str
    subject: str
    data: Mapping[str, str]
    previous: str = ""
    hash: str = ""
