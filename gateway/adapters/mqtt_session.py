"""A connection to an MQTT broker, made again for ever: back-off, version, will, and publishes that fail at once when it is lost."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
import structlog
from aiomqtt import Client, Message, MqttError, ProtocolVersion, Will
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Between two attempts, doubled each time: at most one attempt a second, and a broker that is back is found soon."""

JITTER = 0.5
"""Up to this share is added to a pause, so that a street of gateways does not knock at the same moment."""

KEEPALIVE_S = 15
"""A half-open connection is seen after at most twice this."""

ANSWER_S = 10
"""A broker that does not acknowledge within this is stuck; the caller decides what to do."""

FAREWELL_S = 1.0
"""For the last words and the disconnect at a clean stop, so that SIGTERM ends us within 5 s whatever the broker does."""

SESSION_EXPIRY_S = 24 * 60 * 60
"""How long the broker keeps commands for us while we are away (MQTT 5); they expire sooner than that."""

INCOMING_LIMIT = 2000
"""Messages received but not handled; beyond it they are dropped and come again: acks by the next ack, readings by resend."""

_UNSUPPORTED_VERSION = (1, 132)

_silent = logging.getLogger("wattgate.mqtt.client")
_silent.disabled = True  # it tells every packet of a broker that is gone; we tell it once


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is. protocol: 5, 4 (3.1.1) or None: 5 first, and 3.1.1 where the broker refuses that."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    protocol: int | None = None

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine can reach the broker on the way we take."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Words:
    """A retained message that is said at a certain moment; payload is made at that moment."""

    topic: str
    payload: Callable[[], bytes]


OnMessage = Callable[[str, bytes, bool], Awaitable[None]]
"""Topic, payload, whether it is a retained one."""


class MqttSession:
    """Keeps one client connected. `connected` is set while it is; `connections` counts how often it became so.

    greeting is said (retained) after each connect and subscribe, farewell at a clean stop and by the broker if we vanish.
    publish() raises ConnectionError at once while there is no connection and the moment it is lost, TimeoutError without answer.
    inflight: messages that may wait for the broker's acknowledgement. lasting: the broker keeps what comes while we are away.
    """

    def __init__(
        self,
        broker: Broker,
        identifier: str,
        *,
        filters: tuple[str, ...],
        on_message: OnMessage,
        greeting: Words | None = None,
        farewell: Words | None = None,
        rng: random.Random,
        inflight: int = 100,
        lasting: bool = True,
    ) -> None:
        self.connected = asyncio.Event()
        self.connections = 0
        self._broker, self._identifier = broker, identifier
        self._filters, self._on_message = filters, on_message
        self._greeting, self._farewell = greeting, farewell
        self._rng, self._inflight, self._lasting = rng, inflight, lasting
        self._protocol = broker.protocol or 5
        self._client: Client | None = None
        self._pending: set[asyncio.Task[None]] = set()
        self._gone = False

    async def run(self) -> None:
        """Connects, serves, connects again; ends only by cancellation. Runs in a TaskGroup."""
        pause = FIRST_PAUSE_S
        while True:
            before = (self.connections, self._protocol)
            reason = await self._serve()
            if (self.connections, self._protocol) != before:
                pause = FIRST_PAUSE_S
            if not self._gone and self._protocol == before[1]:
                log.warning(f"the MQTT broker {self._broker} is gone ({reason}); trying again until it is back")
                self._gone = True
            await asyncio.sleep(pause * (1 + JITTER * self._rng.random()))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hands a message to the broker (QoS 1) and returns when the broker has it."""
        if self._client is None:
            raise ConnectionError(f"there is no connection to the MQTT broker {self._broker}")
        call = asyncio.create_task(self._client.publish(topic, payload, qos=1, retain=retain, timeout=ANSWER_S))
        self._pending.add(call)
        try:
            await asyncio.wait((call,))
        finally:
            self._pending.discard(call)
            unfinished = call.cancel()
        if unfinished or call.cancelled():
            raise ConnectionError(f"the connection to the MQTT broker {self._broker} was lost")
        if isinstance(failed := call.exception(), MqttError):
            if isinstance(failed, aiomqtt.MqttCodeError):
                raise ConnectionError(f"the MQTT broker {self._broker} took no message: {failed}")
            raise TimeoutError(f"the MQTT broker {self._broker} gave no acknowledgement within {ANSWER_S} s")
        call.result()

    async def _serve(self) -> str:
        """One connection from its beginning to its end; why it ended."""
        client = self._new_client()
        try:
            async with asyncio.timeout(2 * ANSWER_S):
                await client.__aenter__()
        except (MqttError, OSError, ValueError) as failed:
            _drop(client)
            self._other_version(failed)
            return str(failed)
        try:
            await self._open(client)
            async for message in client.messages:
                await self._receive(message)
        except (MqttError, ConnectionError, TimeoutError) as lost:
            return str(lost)
        finally:
            await self._close(client)
        return "the connection ended"

    async def _open(self, client: Client) -> None:
        client.pending_calls_threshold = self._inflight + 10
        for topic in self._filters:
            await client.subscribe(topic, **self._subscription())
        self._client = client
        if self._greeting is not None:
            await self.publish(self._greeting.topic, self._greeting.payload(), retain=True)
        self.connections += 1
        self.connected.set()
        log.info(f"the MQTT broker {self._broker} is {'back' if self._gone else 'connected'}", protocol=self._protocol)
        self._gone = False

    async def _receive(self, message: Message) -> None:
        payload = message.payload if isinstance(message.payload, bytes) else b""
        await self._on_message(str(message.topic), payload, message.retain)

    async def _close(self, client: Client) -> None:
        """Says goodbye where that is still possible, and lets every waiting publish fail."""
        greeted = self._client is client
        self.connected.clear()
        try:
            async with asyncio.timeout(FAREWELL_S):
                if greeted and self._farewell is not None and not client._disconnected.done():  # no public way to ask
                    await client.publish(self._farewell.topic, self._farewell.payload(), qos=1, retain=True)
                await client.__aexit__(None, None, None)
        except (MqttError, TimeoutError, OSError):
            _drop(client)
        finally:
            self._client = None
            for call in tuple(self._pending):
                call.cancel()

    def _other_version(self, failed: Exception) -> None:
        rc = getattr(failed, "rc", None)
        code = rc.value if isinstance(rc, ReasonCode) else rc
        if self._broker.protocol is None and code in _UNSUPPORTED_VERSION:
            self._protocol = 9 - self._protocol  # 5 or 4

    def _subscription(self) -> dict[str, Any]:
        if self._protocol == 5:
            return {"options": SubscribeOptions(qos=1, retainAsPublished=True)}
        return {"qos": 1}

    def _new_client(self) -> Client:
        version: dict[str, Any]
        if self._protocol == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY_S if self._lasting else 0
            version = {"protocol": ProtocolVersion.V5, "clean_start": not self._lasting, "properties": properties}
        else:
            version = {"protocol": ProtocolVersion.V311, "clean_session": not self._lasting}
        will = None if self._farewell is None else Will(self._farewell.topic, self._farewell.payload(), qos=1, retain=True)
        return Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password,
            logger=_silent,
            identifier=self._identifier,
            will=will,
            timeout=ANSWER_S,
            keepalive=KEEPALIVE_S,
            max_queued_incoming_messages=INCOMING_LIMIT,
            max_inflight_messages=self._inflight,
            **version,
        )


def _drop(client: Client) -> None:
    """Cut a connection that does not answer: the broker then says our last words for us."""
    sock = client._client.socket()
    if sock is not None:
        client._client._sock_close()  # paho has no public way that does not write first
