"""The gateway's end of the uplink over MQTT (contract.md 5): outbox rows go up, acks, resend requests and commands come down."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, Protocol

from gateway.adapters.mqtt_session import Broker, MqttSession, Words
from gateway.adapters.uplink_payloads import Payloads, command_from
from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.records import OutboxRow
from protocols.uplink import messages
from protocols.uplink.messages import BadMessage, Status
from protocols.uplink.moments import format_moment
from protocols.uplink.topics import NATIVE, Down, DownTopic, Topics

__all__ = ["Broker", "Listener", "MqttLink", "MqttSession"]


class Listener(Protocol):
    """What the link tells. Each call returns when it is done with the message; errors of the store are its own affair."""

    async def on_ack(self, epoch: str, upto: int, also: tuple[tuple[int, int], ...]) -> None: ...
    async def on_resend(self, epoch: str, ranges: tuple[tuple[int, int], ...]) -> None: ...
    async def on_command(self, command: IncomingCommand) -> None: ...
    async def on_unreadable(self, what: UnreadableCommand) -> None: ...


def status_words(topics: Topics, gateway: str, state: Literal["online", "offline"], now_ms: Callable[[], int]) -> Words:
    """The retained status of a gateway, `online` or `offline`."""
    return Words(topics.status(gateway), lambda: messages.encode(Status(state=state, at=format_moment(now_ms()))))


class MqttLink:
    """One gateway at one broker. commands: whether (unsigned) commands are taken, and then only from a broker on loopback."""

    def __init__(
        self,
        broker: Broker,
        gateway: str,
        *,
        pseudonym_key: bytes,
        commands: bool,
        now_ms: Callable[[], int],
        rng: random.Random,
        topics: Topics = NATIVE,
        window: int = 100,
    ) -> None:
        self.listener: Listener | None = None
        self._commands, self._on_loopback = commands, broker.on_loopback
        self._topics = topics
        self._payloads = Payloads(gateway, pseudonym_key, topics)
        self._session = MqttSession(
            broker,
            f"wattgate-{gateway}",
            filters=(topics.all_down(gateway),),
            on_message=self._receive,
            greeting=status_words(topics, gateway, "online", now_ms),
            farewell=status_words(topics, gateway, "offline", now_ms),
            rng=rng,
            inflight=window,
        )
        self.connected = self._session.connected
        self.run = self._session.run

    @property
    def connections(self) -> int:
        """How often the link came up; another number means that what was under way may be lost."""
        return self._session.connections

    async def publish(self, row: OutboxRow, *, epoch: str, low: int, backlog: bool) -> None:
        """Returns when the broker has the row. ConnectionError: no connection or lost; TimeoutError: no answer."""
        topic, payload = self._payloads.encode(row, epoch=epoch, low=low, backlog=backlog)
        await self._session.publish(topic, payload)

    async def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        where = self._topics.parse(topic)
        if self.listener is None:
            return
        if not isinstance(where, DownTopic):
            await self.listener.on_unreadable(UnreadableCommand(f"nothing is expected on the topic {topic[:200]!r}"))
            return
        try:
            await self._hand_over(self.listener, where.kind, payload, retained)
        except BadMessage as wrong:
            await self.listener.on_unreadable(UnreadableCommand(str(wrong), wrong.id))

    async def _hand_over(self, listener: Listener, kind: Down, payload: bytes, retained: bool) -> None:
        if kind is Down.COMMAND:
            command = messages.decode_command(payload)
            if retained:
                raise BadMessage("a retained command moves nothing: it would be obeyed again after every reconnect", command.id)
            if not self._commands:
                raise BadMessage("commands over MQTT are switched off here", command.id)
            if not self._on_loopback:
                raise BadMessage("an unsigned command is taken from a broker on the loopback interface only", command.id)
            await listener.on_command(command_from(command))
        elif retained:
            raise BadMessage(f"a retained {kind.value} is old news and counts for nothing")
        elif kind is Down.ACK:
            ack = messages.decode_ack(payload)
            await listener.on_ack(ack.epoch, ack.upto, ack.also)
        else:
            resend = messages.decode_resend(payload)
            await listener.on_resend(resend.epoch, resend.ranges)
