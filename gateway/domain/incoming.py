"""What comes down from the centre, checked for form only: commands, and what cannot be read as one (contract.md 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class IncomingCommand:
    """A command as the centre sent it. Times in UTC ms. Exactly one of meter and account (a pseudonym) is set.

    facts: what the cause of a cut needs, by name (notices, contract, event, plan).
    """

    id: str
    gateway: str
    verb: str
    meter: str | None
    account: str | None
    cause: str | None
    issued_ms: int
    expires_ms: int
    reason: str
    counter: int
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnreadableCommand:
    """What came on a `down` topic and moves nothing. why: one sentence. id: of the command it names, where that can be read."""

    why: str
    id: str | None = None
