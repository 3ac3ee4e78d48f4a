"""What came in: parsed, or kept as it is where only its envelope can be read."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.uplink import messages
from protocols.uplink.messages import BadMessage, Envelope, UpMessage
from protocols.uplink.topics import UpTopic


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message whose body is none of ours: why, and the bytes."""

    why: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message of a gateway. received_ms: our own clock, UTC."""

    where: UpTopic
    envelope: Envelope
    content: UpMessage | Unreadable
    received_ms: int

    @property
    def stream(self) -> tuple[str, str]:
        """Gateway and epoch: within these, numbers are dense and never used again."""
        return self.where.gateway, self.envelope.epoch


def read(where: UpTopic, payload: bytes, received_ms: int) -> Arrival:
    """An arrival of what came on a topic. BadMessage when not even the envelope can be read: it cannot be acknowledged either."""
    try:
        content = messages.decode_up(where.kind, payload)
    except BadMessage as wrong:
        return Arrival(where, messages.decode_envelope(payload), Unreadable(str(wrong), payload), received_ms)
    return Arrival(where, content, content, received_ms)
