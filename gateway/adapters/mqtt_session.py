"""A connection to an MQTT broker, made again for ever: back-off, version, TLS, will, and publishes that fail once it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from aiomqtt import Client, Message, MqttError, ProtocolVersion, Will
from aiomqtt.exceptions import MqttCodeError
from paho.mqtt.client import MQTT_ERR_SUCCESS, MQTT_LOG_ERR
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.adapters.mqtt_broker import HUNG_UP, TAKEN_OVER, Broker, Tls, code_of, told
from gateway.adapters.mqtt_intake import Intake
from gateway.adapters.mqtt_receipts import Answer, NotTaken, Receipts
from gateway.adapters.mqtt_socket import join
from gateway.adapters.mqtt_turns import Turns

__all__ = ["Arrival", "Broker", "Demands", "MqttSession", "NotTaken", "OnMessage", "Tls", "Words"]

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

WILL_DELAY_S = 10
"""How long the broker waits with our last words (MQTT 5): a connection that is back within some attempts was never away."""

FILES_S = 20.0
"""Between two looks at the certificate's files: a new one is in use within a minute."""

INCOMING_LIMIT = 2000
"""Messages received but not handled; from half of it on nothing more is read."""

_UNSUPPORTED_VERSION = (1, 132)
_BEFORE_WHY = "failed to receive on socket: "
_SAID_NOTHING = 128  # also what the client library says of a connection that broke

_WITH_WILL = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")

_silent = logging.getLogger("wattgate.mqtt.client")
_silent.disabled = True  # it tells every packet of a broker that is gone; we tell it once


@dataclass(frozen=True, slots=True)
class Words:
    """A message that is said at a certain moment, by default a retained one; payload is made at that moment."""

    topic: str
    payload: Callable[[], bytes]
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Demands:
    """What a message asks for beside itself (MQTT 5). expiry_s: nobody wants it after so many seconds.

    response, correlation: where the answer is awaited, and what it must carry.
    """

    expiry_s: int | None = None
    response: str | None = None
    correlation: bytes | None = None

    def properties(self) -> Properties | None:
        """As they go out with a message."""
        if self == _NOTHING:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in (
            ("MessageExpiryInterval", self.expiry_s),
            ("ResponseTopic", self.response),
            ("CorrelationData", self.correlation),
        ):
            if value is not None:
                setattr(properties, name, value)
        return properties


_NOTHING = Demands()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that came, with what it asks for."""

    topic: str
    payload: bytes
    retained: bool
    demands: Demands


OnMessage = Callable[[str, bytes, bool], Awaitable[None]]
"""Topic, payload, whether it is a retained one. A ConnectionError out of it ends this connection, with the farewell."""

OnArrival = Callable[[Arrival], Awaitable[None]]

Hasty = Callable[[Arrival], str | None]
"""In whose name a message may be handled before those that came earlier (mqtt_turns); None where it keeps its turn."""


class MqttSession:
    """Keeps one client connected. `connected` is set while it is; `connections` counts how often it became so, `attempts` how often
    it was tried. `number`: of this CONNECT, from 0; an attempt that reached nobody leaves its number to the next one.

    greeting is said after each connect and subscribe, farewell at a clean stop and by the broker if we vanish.
    publish() raises ConnectionError at once while there is no connection and the moment it is lost, TimeoutError without answer.
    A message that comes is acknowledged when on_message (or on_arrival, which sees more) is done with it.
    inflight: messages that may wait for the broker's acknowledgement; fewer where the broker takes fewer.
    abreast: messages that came and may be handled at once. lasting: the broker keeps what comes while we are away.
    hasty: which messages need not wait for those before them. unanswered: messages that the broker may send before the first of
    them is acknowledged (MQTT 5), by default as many as inflight.
    will_delay_s: the broker's, with the farewell.
    mortal: every end of a connection is told, also where we are back at once; with MQTT 5 by the broker too.
    """

    def __init__(
        self,
        broker: Broker,
        identifier: str,
        *,
        filters: tuple[str, ...],
        on_message: OnMessage | None = None,
        on_arrival: OnArrival | None = None,
        greeting: Words | None = None,
        farewell: Words | None = None,
        rng: random.Random,
        inflight: int = 100,
        lasting: bool = True,
        will_delay_s: int = WILL_DELAY_S,
        mortal: bool = False,
        abreast: int = 1,
        hasty: Hasty | None = None,
        unanswered: int | None = None,
    ) -> None:
        self.connected = asyncio.Event()
        self.connections = self.attempts = self.number = 0
        self._sent, self._mortal, self._abreast = False, mortal, abreast
        self._broker, self._identifier = broker, identifier
        self._filters, self._on_message, self._on_arrival = filters, on_message, on_arrival
        self._greeting, self._farewell, self._will_delay_s = greeting, farewell, will_delay_s
        self._rng, self._inflight, self._lasting = rng, inflight, lasting
        self._protocol, self._most = broker.protocol or 5, inflight
        self._client: Client | None = None
        self._receipts: Receipts | None = None
        self._context: ssl.SSLContext | None = None
        self._stamp: object = None
        self._gone = False
        self._hasty, self._unanswered = hasty, inflight if unanswered is None else unanswered
        self._room = max(INCOMING_LIMIT, 2 * inflight) // 2

    async def run(self) -> None:
        """Connects, serves, connects again; ends only by cancellation. Runs in a TaskGroup."""
        pause = FIRST_PAUSE_S
        while True:
            before = (self.connections, self._protocol)
            failed = await self._serve()
            _end_if_cancelled()
            if (self.connections, self._protocol) != before and code_of(failed) != TAKEN_OVER:
                pause = FIRST_PAUSE_S
            if not self._gone and self._protocol == before[1] and not isinstance(failed, _Renewed):
                log.warning(f"the MQTT broker {self._broker} is gone ({told(failed)}); trying again until it is back")
                self._gone = True
            await asyncio.sleep(pause * (1 + JITTER * self._rng.random()))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1, demands: Demands = _NOTHING
    ) -> None:
        """Hands a message to the broker and returns when the broker has it; with QoS 0, when it has left."""
        if qos == 0:
            self._throw(topic, payload, retain)
            return
        [answer] = await self.publish_all(((topic, payload),), 1, retain=retain, demands=demands)
        if isinstance(answer, NotTaken):
            raise NotTaken(f"the MQTT broker {self._broker} took no message: {answer}")
        if isinstance(answer, TimeoutError):
            raise TimeoutError(f"the MQTT broker {self._broker} gave {answer}")

    async def publish_all(
        self,
        messages: Iterable[tuple[str, bytes]],
        count: int,
        *,
        retain: bool = False,
        demands: Demands = _NOTHING,
        patient: bool = False,
    ) -> list[Answer]:
        """Hands over `count` topics and payloads in this order (QoS 1), taken as there is room for them. For each None, why the
        broker did not take it, or that it was late. patient: others that are not may overtake it.

        ConnectionError once there is no connection: nothing is known of any of them then.
        """
        if self._receipts is None:
            raise ConnectionError(f"there is no connection to the MQTT broker {self._broker}")
        properties = demands.properties() if self._protocol == 5 else None
        return await self._receipts.hand_over(messages, count, retain=retain, properties=properties, patient=patient)

    def _throw(self, topic: str, payload: bytes, retain: bool) -> None:
        if self._client is None or self._client._client.publish(topic, payload, 0, retain).rc != MQTT_ERR_SUCCESS:
            raise ConnectionError(f"there is no connection to the MQTT broker {self._broker}")

    async def _serve(self) -> Exception:
        """One connection from its beginning to its end; why it ended."""
        try:
            client = self._new_client()
        except OSError as failed:
            return OSError(f"our certificate or its key cannot be used: {failed}")
        try:
            async with asyncio.timeout(2 * ANSWER_S):
                with _impatient(client):
                    await client.__aenter__()
        except (MqttError, OSError, ValueError) as failed:
            _drop(client)
            self._other_version(failed)
            return failed
        try:
            await self._open(client)
            _end_if_cancelled()
            return await self._listen(client)
        except (MqttError, ConnectionError, TimeoutError) as lost:
            return _reason(lost)
        finally:
            await self._close(client)

    async def _open(self, client: Client) -> None:
        for topic in self._filters:
            codes = await client.subscribe(topic, **self._subscription())
            if refused := [code for code in codes or () if getattr(code, "value", code) >= 0x80]:
                log.error(f"the MQTT broker {self._broker} lets us hear nothing on {topic}: {refused[0]}")
        self._client = client
        self._receipts = Receipts(client._client, self._most, ANSWER_S)  # aiomqtt has no way to send many at once
        if self._greeting is not None:
            await self.publish(self._greeting.topic, self._greeting.payload(), retain=self._greeting.retain)
        self.connections += 1
        self.connected.set()
        log.info(f"the MQTT broker {self._broker} is {'back' if self._gone else 'connected'}", protocol=self._protocol)
        self._gone = False

    async def _listen(self, client: Client) -> Exception:
        """Until the connection is lost, or our certificate was renewed."""
        hearing = asyncio.ensure_future(self._hear(client))
        renewing = asyncio.ensure_future(self._renewed())
        try:
            await asyncio.wait((hearing, renewing), return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()
                return ConnectionError("the connection ended")
            log.info(f"the certificate was renewed: the connection to the MQTT broker {self._broker} is made again with it")
            if not self._mortal:
                await self._leave(client)
            return _Renewed()
        finally:
            hearing.cancel()
            renewing.cancel()
            await asyncio.wait((hearing, renewing))

    async def _hear(self, client: Client) -> None:
        """Messages are begun in the order in which they came, but for hasty ones; acknowledged in it once they are done with."""

        def done(message: Message) -> None:
            client._client.ack(message.mid, message.qos)
            intake.go_on()

        turns = Turns(self._receive, done, self._abreast, self._name_of)
        intake = Intake(client, self._room, lambda: turns.waiting)
        await turns.run(client.messages)

    def _name_of(self, message: Message) -> str | None:
        return None if self._hasty is None else self._hasty(_arrival(message))

    async def _receive(self, message: Message) -> None:
        arrival = _arrival(message)
        if self._on_message is not None:
            await self._on_message(arrival.topic, arrival.payload, arrival.retained)
        if self._on_arrival is not None:
            await self._on_arrival(arrival)

    async def _renewed(self) -> None:
        """Ends when the files of the certificate have changed and are good; until then the old connection stays."""
        tls = self._broker.tls
        seen = self._stamp
        while True:
            await asyncio.sleep(FILES_S)
            if tls is None or (stamp := tls.stamp()) in (self._stamp, seen):
                continue
            seen = stamp
            try:
                tls.context()
            except OSError as wrong:
                log.error(f"the renewed certificate cannot be used, the connection stays as it is: {wrong}")
            else:
                return

    async def _leave(self, client: Client) -> None:
        """A clean end without last words: we are back in a moment."""
        with contextlib.suppress(MqttError, TimeoutError, OSError):
            async with asyncio.timeout(FAREWELL_S):
                await client.__aexit__(None, None, None)

    async def _close(self, client: Client) -> None:
        """Says goodbye where that is still possible, and lets every waiting publish fail."""
        greeted = self._client is client
        self.connected.clear()
        try:
            async with asyncio.timeout(FAREWELL_S):
                if greeted and self._farewell is not None and not client._disconnected.done():  # no public way to ask
                    await self.publish(self._farewell.topic, self._farewell.payload(), retain=self._farewell.retain)
                if self._mortal and self._protocol == 5:
                    client._client.disconnect(_WITH_WILL)  # aiomqtt gives no reason of its own, and waits for this one
                    await client._wait_for(client._disconnected, timeout=None)
                await client.__aexit__(None, None, None)
        except (MqttError, TimeoutError, OSError):
            _drop(client)
        finally:
            if self._receipts is not None:
                self._receipts.lost(f"the connection to the MQTT broker {self._broker} was lost")
            self._client = self._receipts = None

    def _other_version(self, failed: Exception) -> None:
        if self._broker.protocol is None and code_of(failed) in _UNSUPPORTED_VERSION:
            self._protocol = 9 - self._protocol  # 5 or 4

    def _subscription(self) -> dict[str, Any]:
        if self._protocol == 5:
            return {"options": SubscribeOptions(qos=1, retainAsPublished=True)}
        return {"qos": 1}

    def _new_client(self) -> Client:
        """OSError: the certificate cannot be used, and none could before."""
        self.attempts += 1
        self.number += self._sent
        self._sent = False
        client = Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password,
            logger=_silent,
            identifier=self._identifier,
            will=self._will(),
            tls_context=self._secured(),
            timeout=ANSWER_S,
            keepalive=KEEPALIVE_S,
            max_queued_incoming_messages=2 * self._room,
            max_inflight_messages=0,  # the receipts see to it; the client walks through all of them at each answer
            **self._version(),
        )
        client._client.disable_logger()  # it would be called twice a message
        join(client._client)
        client._client.manual_ack_set(True)  # what is not handled yet when the connection is lost comes again
        client._client.on_connect = self._mind(client._client.on_connect)
        client._client.on_socket_open = self._count(client._client.on_socket_open)
        return client

    def _secured(self) -> ssl.SSLContext | None:
        """With the files as they are; where they cannot be used now, as they were."""
        tls = self._broker.tls
        if tls is None:
            return None
        stamp = tls.stamp()
        if self._context is None or stamp != self._stamp:
            try:
                self._context, self._stamp = tls.context(), stamp
            except OSError:
                if self._context is None:
                    raise
        return self._context

    def _mind(self, theirs: Any) -> Any:
        """Never more under way than the broker said it takes at once (MQTT 5, receive maximum)."""

        def on_connect(client: Any, userdata: Any, flags: Any, code: Any, properties: Any = None) -> None:
            self._most = min(self._inflight, getattr(properties, "ReceiveMaximum", self._inflight))
            theirs(client, userdata, flags, code, properties)

        return on_connect

    def _count(self, theirs: Any) -> Any:
        """CONNECT follows at once; it is called in the thread that connects."""

        def on_socket_open(client: Any, userdata: Any, sock: Any) -> None:
            self._sent = True
            theirs(client, userdata, sock)

        return on_socket_open

    def _version(self) -> dict[str, Any]:
        if self._protocol != 5:
            return {"protocol": ProtocolVersion.V311, "clean_session": not self._lasting}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S if self._lasting else 0
        properties.ReceiveMaximum = self._unanswered
        return {"protocol": ProtocolVersion.V5, "clean_start": not self._lasting, "properties": properties}

    def _will(self) -> Will | None:
        last = self._farewell
        if last is None:
            return None
        properties = None
        if self._protocol == 5 and self._will_delay_s and self._lasting:  # it speaks at the latest when the session ends
            properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
            properties.WillDelayInterval = self._will_delay_s
        return Will(last.topic, last.payload(), qos=1, retain=last.retain, properties=properties)


class _Renewed(Exception):
    """We ended the connection ourselves, to make it again with another certificate."""


def _end_if_cancelled() -> None:
    """Where a cancellation comes together with what the client library waits for, asyncio.wait_for loses it (Python 3.11)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextlib.contextmanager
def _impatient(client: Client) -> Iterator[None]:
    """An attempt ends with the connection, and says why: the client library would go on waiting for the broker's answer."""
    paho, said = client._client, list[str]()
    theirs = paho.on_disconnect

    def on_log(client: Any, userdata: Any, level: int, text: str) -> None:
        said.extend([text] if level == MQTT_LOG_ERR else [])

    def on_disconnect(*about: Any) -> None:
        if not client._connected.done():
            client._connected.set_exception(MqttError(said[-1].removeprefix(_BEFORE_WHY) if said else HUNG_UP))
        if theirs is not None:
            theirs(*about)

    paho.on_log, paho.on_disconnect = on_log, on_disconnect
    try:
        yield
    finally:
        paho.on_log, paho.on_disconnect = None, theirs


def _reason(lost: Exception) -> Exception:
    """What the broker said as it ended the connection; the client library hides it behind what it was doing itself."""
    said = lost.__cause__
    if not isinstance(said, MqttCodeError):
        return lost
    return ConnectionError("the connection broke") if code_of(said) == _SAID_NOTHING else said


def _arrival(message: Message) -> Arrival:
    payload = message.payload if isinstance(message.payload, bytes) else b""
    return Arrival(str(message.topic), payload, message.retain, _demands(message.properties))


def _demands(properties: Properties | None) -> Demands:
    return Demands(
        getattr(properties, "MessageExpiryInterval", None),
        getattr(properties, "ResponseTopic", None),
        getattr(properties, "CorrelationData", None),
    )


def _drop(client: Client) -> None:
    """Cut a connection that does not answer: the broker then says our last words for us."""
    sock = client._client.socket()
    if sock is not None:
        client._client._sock_close()  # paho has no public way that does not write first
