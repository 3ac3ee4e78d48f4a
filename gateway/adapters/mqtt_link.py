"""The gateway's end of the uplink over MQTT (contract.md 5): outbox rows go up, acks, resend requests and commands come down."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Literal

import structlog

from gateway.adapters.mqtt_down import DownSide, Listener, Signatures
from gateway.adapters.mqtt_session import Broker, Demands, MqttSession, NotTaken, Words
from gateway.adapters.uplink_keyring import KeyRing
from gateway.adapters.uplink_payloads import Payloads
from gateway.domain.events import Topic
from gateway.domain.records import OutboxRow
from gateway.domain.uplink_orders import ReplyTo
from protocols.uplink import messages
from protocols.uplink.messages import Status
from protocols.uplink.moments import format_moment
from protocols.uplink.topics import NATIVE, Topics

__all__ = ["Broker", "Listener", "MqttLink", "MqttSession"]

log = structlog.get_logger(__name__)

ABREAST = 32
"""Messages of the centre that may wait for the store at once: half a batch of its writer. One by one a raid of 1,000 cuts on a busy
store takes a minute."""

UNANSWERED = 1000
"""Messages of the centre that the broker may send before the first of them is done with: a `stop` overtakes what waits here, and
nothing that waits at the broker. It is what the session reads at most."""


Kept = Callable[[Sequence[str]], Awaitable[Mapping[str, ReplyTo]]]
"""Where the answers to these orders are awaited besides, of those that said so."""


def status_words(topics: Topics, gateway: str, state: Literal["online", "offline"], now_ms: Callable[[], int]) -> Words:
    """The retained status of a gateway, `online` or `offline`."""
    return Words(topics.status(gateway), lambda: messages.encode(Status(state=state, at=format_moment(now_ms()))))


class MqttLink:
    """One gateway at one broker. commands: whether they are taken; signatures "off": unsigned ones, from a broker on loopback."""

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
        signatures: Signatures | None = None,
        keys: KeyRing | None = None,
    ) -> None:
        self._told: str | None = None
        ring, near = KeyRing() if keys is None else keys, broker.on_loopback
        self.down = DownSide(
            gateway, ring, signatures=signatures, commands=commands, on_loopback=near, now_ms=now_ms, topics=topics
        )
        self._payloads = Payloads(gateway, pseudonym_key, topics)
        self._session = MqttSession(
            broker,
            f"wattgate-{gateway}",
            filters=(topics.all_down(gateway),),
            on_arrival=self.down.receive,
            greeting=status_words(topics, gateway, "online", now_ms),
            farewell=status_words(topics, gateway, "offline", now_ms),
            rng=rng,
            inflight=window,
            abreast=ABREAST,
            hasty=lambda arrival: self.down.hasty(arrival, self.connections),
            unanswered=UNANSWERED,
        )
        self.kept: Kept | None = None
        """Finds what the store keeps of orders that came before the last start; None: nothing is."""
        self.connected = self._session.connected
        self.run = self._session.run

    @property
    def listener(self) -> Listener | None:
        """Who is told what comes down."""
        return self.down.listener

    @listener.setter
    def listener(self, listener: Listener) -> None:
        self.down.listener = listener

    @property
    def connections(self) -> int:
        """How often the link came up; another number means that what was under way may be lost."""
        return self._session.connections

    async def publish(self, rows: Sequence[OutboxRow], *, epoch: str, low: int, late: bool, live_ms: int) -> list[bool | None]:
        """Hands rows over in this order, and ends when the broker has answered: for each whether it has the row, None without an
        answer in time. late: all of them are; else those that are older than live_ms (UTC). ConnectionError: no connection."""
        copies: list[tuple[OutboxRow, bytes]] = []

        def messages() -> Iterator[tuple[str, bytes]]:
            for row in rows:
                backlog = late or row.message.at_ms < live_ms
                topic, payload = self._payloads.encode(row, epoch=epoch, low=low, backlog=backlog)
                if row.message.topic is Topic.RESULT:
                    copies.append((row, payload))
                yield topic, payload

        answers = await self._session.publish_all(messages(), len(rows), patient=late)
        refused = next((answer for answer in answers if isinstance(answer, NotTaken)), None)
        if refused is not None and str(refused) != self._told:
            log.error(f"the MQTT broker does not take what we send: {refused}")
        self._told = None if refused is None else str(refused)
        await self._reply(copies)
        return [True if answer is None else False if isinstance(answer, NotTaken) else None for answer in answers]

    async def _reply(self, results: Sequence[tuple[OutboxRow, bytes]]) -> None:
        """Results go to the topic that their command asked for as well; nothing hangs on these copies."""
        near = self.down.replies
        unknown = [row.message.subject for row, _ in results if row.published_ms is None and row.message.subject not in near]
        kept = await self.kept(unknown) if unknown and self.kept is not None else {}
        for row, payload in results:
            wanted = near.get(row.message.subject) or kept.get(row.message.subject)
            if wanted is not None:
                await self._session.publish_all([(wanted.topic, payload)], 1, demands=Demands(correlation=wanted.correlation))
                if row.message.body.get("final") is True:
                    near.pop(row.message.subject, None)
