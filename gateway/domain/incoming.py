"""What comes down from the centre, checked for form and signature only (contract.md 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.domain.events import Json
from gateway.domain.uplink_keys import Why
from gateway.domain.uplink_orders import ReplyTo


@dataclass(frozen=True, slots=True)
class IncomingCommand:
    """A command as the centre sent it. Times in UTC ms; expires_ms: None for what never expires. account: its real id.

    facts: what the cause of a cut needs, by name (notices, contract, event, plan). args: all that the verb needs. kid: whose
    signature is good, empty for an unsigned command. digest: of what it asks for; token: as it came. retained: it was delivered
    with that flag. lives_ms: what its message has left to live, where the broker says so. reply: where its answers are awaited
    besides.
    """

    id: str
    gateway: str
    verb: str
    meter: str | None
    account: str | None
    cause: str | None
    issued_ms: int
    expires_ms: int | None
    reason: str
    counter: int
    facts: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, Json] = field(default_factory=dict)
    not_before_ms: int | None = None
    kid: str = ""
    digest: str = ""
    token: str = ""
    retained: bool = False
    lives_ms: int | None = None
    reply: ReplyTo | None = None

    @property
    def who(self) -> str:
        """How the audit log names whoever ordered it."""
        return f"uplink:{self.kid}" if self.kid else "uplink"


@dataclass(frozen=True, slots=True)
class UnreadableCommand:
    """What came on a `down` topic and moves nothing. text: one sentence. id: of the command it names, where that can be read and
    whoever sent it may be believed."""

    text: str
    id: str | None = None
    why: Why = Why.MALFORMED
