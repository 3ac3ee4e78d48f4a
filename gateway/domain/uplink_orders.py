"""What came down from the centre, as it is kept for ever: the order, who signed it, and what it was answered (contract.md 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.domain.events import Json
from gateway.domain.supply import CommandState

SWITCHING: Final = frozenset({"cut", "restore", "allow_close"})
"""Verbs that move a switch: of one meter and key the one with the highest counter is the last word."""

LATER: Final = frozenset({"archive", "open_account", "close_account", "change_meter", "sync_time", "read"})
"""Verbs that take more than one transaction: they are done from what is kept (entrypoints/uplink_work)."""

ORDERED: Final = "ordered"
"""State of an order whose life goes on as a command at a meter, under the same id."""

WAITING: Final = frozenset({CommandState.QUEUED.value, CommandState.QUARANTINED.value})
"""States that are not final: it is being done, or waits for a second person."""


REPLY: Final = "$reply"
"""Where `UplinkOrder.args` keeps a ReplyTo; no argument of a verb has such a name."""


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Topic and correlation data of whoever awaits the answers to an order besides (MQTT 5)."""

    topic: str
    correlation: bytes | None = None


def args_text(args: Mapping[str, Json], reply: ReplyTo | None) -> str:
    """Arguments as an order keeps them."""
    if reply is None:
        return json.dumps(dict(args), sort_keys=True)
    correlation = None if reply.correlation is None else reply.correlation.hex()
    return json.dumps({**args, REPLY: [reply.topic, correlation]}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class UplinkOrder:
    """One command as it came. kid: empty for an unsigned one. digest: of what it asks for; the same id with another one is not it.

    counter: of its key. token: the signed form itself, the proof of who ordered it. args: as args_text gives them. state: a
    CommandState or ORDERED. code: why it was refused (uplink_keys.Why). answer: JSON of what it brought. Times in UTC ms.
    """

    id: str
    kid: str
    counter: int
    verb: str
    meter: str | None
    account: str | None
    digest: str
    issued_ms: int
    expires_ms: int | None
    received_ms: int
    args: str
    said: str
    token: str
    state: str
    changed_ms: int
    code: str = ""
    reason: str = ""
    answer: str = "{}"

    @property
    def waits(self) -> bool:
        """Whether it is still to be answered for good."""
        return self.state in WAITING

    @property
    def arguments(self) -> dict[str, Json]:
        """As its verb has them."""
        args: dict[str, Json] = json.loads(self.args)
        args.pop(REPLY, None)
        return args

    @property
    def reply(self) -> ReplyTo | None:
        """Where else its answers are awaited."""
        if REPLY not in self.args:
            return None
        topic, correlation = json.loads(self.args)[REPLY]
        return ReplyTo(topic, None if correlation is None else bytes.fromhex(correlation))


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where audit log and ledger ended at a moment, and the signed form of it that left."""

    number: int
    at_ms: int
    epoch: str
    audit: tuple[int, str]
    ledger: tuple[int, str]
    jws: str
