"""From rows of the outbox to topics and payloads of the native uplink, and from commands to plain values (contract.md 5)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.domain.events import Json, Outgoing
from gateway.domain.records import OutboxRow
from protocols.errors import ProtocolError
from protocols.uplink import messages
from protocols.uplink.moments import format_moment
from protocols.uplink.topics import NATIVE, Topics, Up

UNSENDABLE = "unsendable"
"""Kind of the event that stands in for a row that makes no valid message: the sequence stays dense, and the fault is seen."""


def pseudonym(key: bytes, account: str) -> str:
    """What stands for an account on MQTT: 16 hex digits of HMAC-SHA256, the same for the same key."""
    return hmac.new(key, account.encode(), hashlib.sha256).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Payloads:
    """Makes topics and payloads for one gateway. key: secret of the pseudonyms; it must outlive the store."""

    gateway: str
    key: bytes
    topics: Topics = NATIVE

    def encode(self, row: OutboxRow, *, epoch: str, low: int, backlog: bool) -> tuple[str, bytes]:
        """Topic and payload of a row. A row that makes no valid message becomes an event that says so."""
        kind = Up(row.message.topic.value)
        envelope: dict[str, Json] = {"epoch": epoch, "seq": row.seq, "low": low, "backlog": backlog}
        try:
            payload = messages.encode(messages.build(kind, envelope | self._body(kind, row.message)))
            return self.topics.up(self.gateway, kind, self._subject(kind, row.message.subject)), payload
        except (ProtocolError, ValueError, OverflowError) as wrong:
            return self._unsendable(envelope, row.message, str(wrong))

    def _subject(self, kind: Up, subject: str) -> str:
        return pseudonym(self.key, subject) if kind is Up.BALANCE else subject

    def _body(self, kind: Up, message: Outgoing) -> dict[str, Json]:
        body = dict(message.body) if kind is Up.READING else self._without_accounts(message.body, message.body.get("account"))
        if kind is Up.READING:  # it has no account: the message would not be valid
            for name in ("asked", "answered", "stored"):
                body[name] = _moment(body.pop(f"{name}_ms", None))
            if (taken := body.pop("taken_ms", None)) is not None:
                body["taken"] = _moment(taken)
        else:
            body["at"] = format_moment(message.at_ms)
        return body

    def _without_accounts(self, body: Mapping[str, Json], about: Json) -> dict[str, Json]:
        return {name: self._hidden(name, value, about) for name, value in body.items()}

    def _hidden(self, name: str, value: Json, about: Json) -> Json:
        """Also the person who answers for an exception, and the account that an event is about where that is its subject too."""
        if isinstance(value, str):
            names = name in ("account", "owner") or (name == "subject" and value == about)
            return pseudonym(self.key, value) if names else value
        if isinstance(value, dict):
            return self._without_accounts(value, about)
        return [self._hidden(name, element, about) for element in value] if isinstance(value, list) else value

    def _unsendable(self, envelope: dict[str, Json], message: Outgoing, why: str) -> tuple[str, bytes]:
        data: dict[str, Json] = {"topic": message.topic.value, "subject": message.subject[:64], "reason": why[:500]}
        fields = envelope | {"kind": UNSENDABLE, "at": format_moment(message.at_ms), "data": data}
        return self.topics.up(self.gateway, Up.EVENT, "gateway"), messages.encode(messages.build(Up.EVENT, fields))


def _moment(at_ms: Json) -> Json:
    return format_moment(at_ms) if isinstance(at_ms, int) else at_ms
