"""The down side of the link: signature and form of what comes from the centre; nothing else gets any further (contract.md 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal, Protocol

from gateway.adapters.mqtt_session import Arrival
from gateway.adapters.uplink_commands import incoming
from gateway.adapters.uplink_keyring import KeyRing
from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.uplink_keys import Refused, Why
from gateway.domain.uplink_orders import ReplyTo
from protocols.uplink import messages
from protocols.uplink.commands import decode_command
from protocols.uplink.messages import BadMessage
from protocols.uplink.signing import BadSignature, Signed, open_signed, peek
from protocols.uplink.topics import NATIVE, Down, DownTopic, Topics

Signatures = Literal["required", "off"]

MOST_REPLIES = 10_000
"""Commands whose own answer topic is at hand while they are under way, the newest asker's first; the store keeps the first."""

MOST_CORRELATION = 1024
"""Bytes of correlation data: it is kept with the order for ever, and a UUID takes 16."""

HASTY_VERB = "stop"
"""What need not wait for the orders before it: it harms nobody, and what waits leaves for the lines meanwhile. `go` waits, so that
nothing comes between it and what it was said after."""

HASTY_LIMIT = 4096
"""Bytes of a message that may be looked into before its turn: a `stop` with the longest reason that is of use takes 1,000."""

HASTY_KEPT = 1000
"""Hasty messages whose copies keep their turn, the oldest forgotten first: who replays what he overheard overtakes nobody by it."""


class Listener(Protocol):
    """What the link tells. Each call returns when it is done with the message; errors of the store are its own affair."""

    async def on_ack(self, epoch: str, upto: int, also: tuple[tuple[int, int], ...]) -> None: ...
    async def on_resend(self, epoch: str, ranges: tuple[tuple[int, int], ...]) -> None: ...
    async def on_command(self, command: IncomingCommand) -> None: ...
    async def on_unreadable(self, what: UnreadableCommand) -> None: ...


class _Unfit(Exception):
    def __init__(self, why: Why, text: str, id: str | None = None) -> None:
        self.what = UnreadableCommand(text, id, why)
        super().__init__(text)


class DownSide:
    """What comes to one gateway. commands: whether they are taken. signatures: "off" is plain JSON, from a broker on loopback only;
    None is so while there is no key."""

    def __init__(
        self,
        gateway: str,
        keys: KeyRing,
        *,
        signatures: Signatures | None,
        commands: bool,
        on_loopback: bool,
        now_ms: Callable[[], int],
        topics: Topics = NATIVE,
    ) -> None:
        self.listener: Listener | None = None
        self.replies: dict[str, ReplyTo] = {}
        self._gateway, self._keys, self._signatures = gateway, keys, signatures
        self._commands, self._on_loopback, self._now_ms, self._topics = commands, on_loopback, now_ms, topics
        self._went_ahead: dict[bytes, int] = {}

    @property
    def _signed(self) -> bool:
        return self._keys.asked if self._signatures is None else self._signatures == "required"

    async def receive(self, arrival: Arrival) -> None:
        """One message, to its end."""
        listener = self.listener
        if listener is None:
            return
        where = self._topics.parse(arrival.topic)
        try:
            if not isinstance(where, DownTopic):
                raise _Unfit(Why.MALFORMED, f"nothing is expected on the topic {arrival.topic[:200]!r}")
            await self._hand_over(listener, where.kind, arrival)
        except _Unfit as unfit:
            await listener.on_unreadable(unfit.what)
        except BadSignature as wrong:
            await listener.on_unreadable(UnreadableCommand(str(wrong), None, Why(wrong.fault)))
        except BadMessage as wrong:
            await listener.on_unreadable(UnreadableCommand(str(wrong), wrong.id, Why.MALFORMED))

    async def _hand_over(self, listener: Listener, kind: Down, arrival: Arrival) -> None:
        if kind is Down.COMMAND:
            await listener.on_command(self.command(arrival))
            return
        payload = self._word_of_the_centre(arrival.payload)
        if arrival.retained:
            raise _Unfit(Why.RETAINED, f"a retained {kind.value} is old news and counts for nothing")
        if kind is Down.ACK:
            ack = messages.decode_ack(payload)
            await listener.on_ack(ack.epoch, ack.upto, ack.also)
        else:
            resend = messages.decode_resend(payload)
            await listener.on_resend(resend.epoch, resend.ranges)

    def hasty(self, arrival: Arrival, connection: int) -> str | None:
        """Of a `stop` the key that signed it, in whose name it is judged before the orders that came earlier; None keeps its turn.
        connection: its number; what the last one had not done with may go ahead again.

        What the payload says is looked at first, so that only of what calls itself a stop the signature is checked twice; a forged
        one costs that check and stays where it is. Nothing else rests on this: what goes ahead is judged in full by `receive`.
        """
        token = arrival.payload
        if not self._signed or arrival.retained or len(token) > HASTY_LIMIT or f'"{HASTY_VERB}"'.encode() not in peek(token):
            return None
        where = self._topics.parse(arrival.topic)
        try:
            signed = open_signed(token, self._keys.public)
            verb = decode_command(signed.payload).verb
        except BadMessage:
            return None
        this = hashlib.sha256(token).digest()
        ours = isinstance(where, DownTopic) and where.kind is Down.COMMAND and verb == HASTY_VERB
        if not ours or self._went_ahead.get(this) == connection or self._keys.trusted(signed.kid, self._now_ms()) is not None:
            return None
        if len(self._went_ahead) >= HASTY_KEPT:
            self._went_ahead.pop(next(iter(self._went_ahead)))
        self._went_ahead[this] = connection
        return signed.kid

    def command(self, arrival: Arrival) -> IncomingCommand:
        """The command that a message brings; its rights, time and target are still to be judged."""
        signed = self._opened(arrival.payload)
        foul = self._keys.trusted(signed.kid, self._now_ms()) if signed.kid else None
        try:
            command = decode_command(signed.payload)
        except BadMessage as wrong:  # whom it names is believed only where its signature counts
            raise _Unfit(Why.MALFORMED, str(wrong), wrong.id if foul is None else None) from None
        if foul is not None:  # a stolen key shall tell the centre nothing
            raise _Unfit(*foul, command.id if foul[0] is Why.KEY_OUT_OF_TIME else None)
        lives_s, reply = arrival.demands.expiry_s, self._reply_to(arrival)
        found = incoming(
            command, kid=signed.kid, token=arrival.payload, retained=arrival.retained, expiry_s=lives_s, reply=reply
        )
        if not self._commands:
            raise _Unfit(Why.SWITCHED_OFF, "commands over MQTT are switched off here", command.id)
        if not self._signed and arrival.retained:
            raise _Unfit(
                Why.RETAINED, "a retained command moves nothing: it would be obeyed again after every reconnect", command.id
            )
        if reply is not None:
            if len(self.replies) >= MOST_REPLIES:
                self.replies.pop(next(iter(self.replies)))
            self.replies[command.id] = reply
        return found

    def _opened(self, payload: bytes) -> Signed:
        if self._signed:
            return open_signed(payload, self._keys.public)
        if not self._on_loopback:
            text = "an unsigned command is taken from a broker on the loopback interface only"
            raise _Unfit(Why.UNSIGNED, text, _named(payload))
        return Signed("", payload)

    def _word_of_the_centre(self, payload: bytes) -> bytes:
        if not self._signed:
            return payload
        signed = open_signed(payload, self._keys.public)
        refused: Refused | None = self._keys.centre(signed.kid, self._gateway, self._now_ms())
        if refused is not None:
            raise _Unfit(*refused)
        return signed.payload

    def _reply_to(self, arrival: Arrival) -> ReplyTo | None:
        """Where else the answers are awaited. Not below our own root: there they would be taken for something else."""
        topic, correlation = arrival.demands.response, arrival.demands.correlation
        if not topic or len(topic) > 200 or topic.startswith((f"{self._topics.root}/", "$")) or {"+", "#", " ", "\0"} & set(topic):
            return None
        return None if correlation is not None and len(correlation) > MOST_CORRELATION else ReplyTo(topic, correlation)


def _named(payload: bytes) -> str | None:
    try:
        return decode_command(payload).id
    except BadMessage as wrong:
        return wrong.id
