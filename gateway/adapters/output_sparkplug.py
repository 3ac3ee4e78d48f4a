"""Shows the gateway as a Sparkplug B edge node and every meter as a device of it (docs/outputs.md; specification 3.0)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from gateway.adapters.mqtt_session import Broker, MqttSession, Words
from gateway.adapters.output_orders import RETAINED, Orders
from gateway.domain.events import Json, Topic
from gateway.domain.meters import Contact
from gateway.domain.outputs import News, Portrait
from gateway.domain.readings import Quality as OurQuality
from gateway.domain.readings import Source
from gateway.domain.records import OutboxRow
from gateway.domain.supply import Verb
from protocols.uplink.sparkplug import (
    SEQUENCES,
    BadPayload,
    EdgeNode,
    Message,
    Quality,
    Rebirth,
    Sample,
    Type,
    Write,
    host_topic,
    parse_host,
)

UNSURE_S = 45.0
"""Sparkplug publishes with QoS 0: what left so long before a connection broke (three keep-alives) may be lost, and goes again. It
also bounds what can pile up for a broker that reads slowly: what the loop's pace lets through until the keep-alive ends it."""

CLOSED, STATE, DESIRED = "Supply/Closed", "Supply/State", "Supply/Desired"
BALANCE, CREDIT = "Account/Balance", "Account/Credit"
COMMAND, VERB, RESULT, REASON = "Command/Id", "Command/Verb", "Command/State", "Command/Reason"

Told = tuple[object, Quality]
"""A value as it was told last, in the type that it travels in."""


class Numbers(Protocol):
    """Remembers the bdSeq over restarts: it goes on with every CONNECT (topics-nbirth-bdseq-increment)."""

    async def last(self) -> int | None:
        """None before the first."""

    async def note(self, bd_seq: int) -> None:
        """Written down when this returns."""


class Sparkplug:
    """`entrypoints.output_loop.Output`. primary_host: births wait until this host application is online, and end when it goes."""

    late_too: bool = True
    unsure_s: float = UNSURE_S

    def __init__(
        self,
        broker: Broker,
        gateway: str,
        *,
        version: str,
        now_ms: Callable[[], int],
        rng: random.Random,
        name: str = "sparkplug",
        group: str = "wattgate",
        primary_host: str | None = None,
        typed_data: bool = False,
    ) -> None:
        self.name, self.again, self.ready = name, asyncio.Event(), asyncio.Event()
        self.orders: Orders | None = None
        self.numbers: Numbers | None = None
        self._first = 0
        self._node = EdgeNode(group, gateway, typed_data=typed_data)
        self._version, self._gateway, self._now_ms = version, gateway, now_ms
        self._host_topic = None if primary_host is None else host_topic(primary_host)
        self._session = MqttSession(
            broker,
            f"wattgate-{gateway}-{name}",
            filters=(*self._node.filters, *filter(None, [self._host_topic])),
            on_message=self._receive,
            farewell=Words(self._node.death_topic, self._death, retain=False),
            rng=rng,
            lasting=False,  # principles-persistence-clean-session-50 and -311
            mortal=True,  # operational-behavior-edge-node-intentional-disconnect-ndeath
        )
        if self._host_topic is None:
            self.ready = self._session.connected
        self._host_ms = 0
        self._turn = asyncio.Lock()
        self._told: dict[str, dict[str, Told]] = {}
        self._seen: dict[str, dict[str, str]] = {}
        self._what: dict[str, tuple[object, ...]] = {}

    @property
    def connections(self) -> int:
        """How often the broker was reached."""
        return self._session.connections

    async def run(self) -> None:
        """Connects again and again; ends only by cancellation."""
        if self.numbers is not None and self._session.attempts == 0 and (last := await self.numbers.last()) is not None:
            self._first = last + 1
        await self._session.run()

    async def begin(self, portraits: Sequence[Portrait]) -> None:
        """The births of the node and of every meter that answers. The host may ask for them again."""
        now_ms = self._now_ms()
        own = [
            Sample("Properties/Software", Type.STRING, f"wattgate {self._version}", now_ms),
            Sample("Properties/Gateway", Type.STRING, self._gateway, now_ms),
        ]
        self._told.clear()
        if self.numbers is not None:
            await self.numbers.note(self._bd_seq)
        await self._send(lambda: self._node.birth(self._bd_seq, own, now_ms))
        for portrait in portraits:
            if portrait.answering:
                await self._birth(portrait)

    async def tell(self, news: News) -> None:
        """Values row by row, then what is another now than when it was told last; silent meters die."""
        for row in news.rows:
            for meter, samples in self._samples(row, news):
                await self._data(news.portraits[meter], samples)
        for portrait in news.portraits.values():
            if not portrait.answering:
                await self._death_of(portrait.meter)
            elif not news.late or portrait.meter not in self._node.devices:
                await self._data(portrait, _fixed(portrait, self._now_ms()))

    async def leave(self, meters: Collection[str]) -> None:
        """These are gone."""
        for meter in meters:
            self._seen.pop(meter, None)
            self._what.pop(meter, None)
            await self._death_of(meter)

    @property
    def _bd_seq(self) -> int:
        return (self._first + self._session.number) % SEQUENCES

    def _death(self) -> bytes:
        """Made for every attempt to connect and once more at the end; whether the host is there must be heard anew after both."""
        if self._host_topic is not None:
            self.ready.clear()
        return self._node.death(self._bd_seq, self._now_ms())

    async def _send(self, make: Callable[[], Message | None]) -> None:
        """In the order of their numbers. ConnectionError also where nothing is born on this connection yet."""
        async with self._turn:
            if (message := make()) is None:
                return
            if not self._node.alive:
                raise ConnectionError("the edge node is not born on this connection")
            await self._session.publish(message.topic, message.payload, qos=0)

    async def _birth(self, portrait: Portrait) -> None:
        samples = _in_order(self._all(portrait))
        self._told[portrait.meter] = {sample.name: _told(sample) for sample in samples}
        self._what[portrait.meter] = portrait.nature
        await self._send(lambda: self._node.device_birth(portrait.meter, samples, self._now_ms()))

    async def _death_of(self, meter: str) -> None:
        if meter in self._node.devices:
            self._told.pop(meter, None)
            await self._send(lambda: self._node.device_death(meter, self._now_ms()))

    async def _data(self, portrait: Portrait, samples: Sequence[Sample]) -> None:
        """Tells the values, after a birth where the device was not born, or not as it is now, or not with all of them. What is as
        it was told is not told again (operational-behavior-data-publish-dbirth-change)."""
        meter = portrait.meter
        if another := self._what.get(meter) != portrait.nature:
            self._seen.pop(meter, None)
        self._seen.setdefault(meter, {}).update((sample.name, sample.unit) for sample in samples)
        if another or not self._node.born_with(meter, [sample.name for sample in samples]):
            await self._birth(portrait)
        told, fresh = self._told[meter], list[Sample]()
        for sample in _in_order(samples):
            if sample.historical or told.get(sample.name) != _told(sample):
                fresh.append(sample)
            if not sample.historical:
                told[sample.name] = _told(sample)
        if fresh:
            await self._send(lambda: self._node.data(meter, fresh, self._now_ms()))

    def _all(self, portrait: Portrait) -> list[Sample]:
        """The present of every metric, and null for those that only the past ever had."""
        samples = _fixed(portrait, self._now_ms())
        for name, latest in portrait.items.items():
            quality = _quality(name in portrait.doubtful)
            samples.append(Sample(name, _type(name), latest.item.value, latest.answered_ms, quality, unit=latest.item.unit))
        known, past = {sample.name for sample in samples}, self._seen.get(portrait.meter, {})
        return samples + [Sample(name, _type(name), None, self._now_ms(), unit=past[name]) for name in past if name not in known]

    def _samples(self, row: OutboxRow, news: News) -> Iterator[tuple[str, list[Sample]]]:
        """What a row says, by meter; only of meters that there still are."""
        message, late = row.message, news.late
        if message.topic is Topic.READING and message.subject in news.portraits:
            yield message.subject, _reading(message.body, late)
        elif message.topic is Topic.BALANCE:
            found = [meter for meter, portrait in news.portraits.items() if portrait.account == message.subject]
            yield from ((meter, _balance(message.body, message.at_ms, late)) for meter in found)
        elif message.topic is Topic.RESULT and (meter := str(message.body.get("meter"))) in news.portraits:
            yield meter, _result(message.body, message.at_ms, late)

    async def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic == self._host_topic:
            self._hear_host(payload)
            return
        try:
            if retained:
                raise BadPayload(RETAINED)
            wishes = self._node.read(topic, payload)
        except BadPayload as wrong:
            if self.orders is not None:
                await self.orders.refuse(str(wrong))
            return
        for wish in wishes:
            if isinstance(wish, Rebirth):
                self.again.set()
            elif self.orders is not None:
                await self._write(self.orders, wish)

    def _hear_host(self, payload: bytes) -> None:
        """The primary host's word, the latest counts. ConnectionError: it went, so our session ends with its NDEATH
        (message-flow-edge-node-birth-publish-phid-offline)."""
        try:
            told = parse_host(payload)
        except BadPayload:
            return
        if told.at_ms < self._host_ms:
            return
        self._host_ms = told.at_ms
        if told.online:
            self.ready.set()
        elif self.ready.is_set():
            raise ConnectionError("the primary host application went offline")

    async def _write(self, orders: Orders, wish: Write) -> None:
        if wish.metric != CLOSED or not isinstance(wish.value, bool):
            await orders.refuse(f"meter {wish.device}: only {CLOSED} can be written, with true or false")
            return
        verb = Verb.RESTORE if wish.value else Verb.CUT
        answer = await orders.order(wish.device, verb)
        if answer.refused is None:
            return
        body: dict[str, Json] = {"command": None, "verb": verb.value, "state": "refused", "reason": answer.refused}
        samples = _result(body, self._now_ms(), late=False)
        names = [sample.name for sample in samples]

        def told() -> Message | None:
            """Nothing before the births that are due (rebirth-action-1)."""
            born = self._node.born_with(wish.device, names) and not self.again.is_set()
            return self._node.data(wish.device, samples, self._now_ms()) if born else None

        await self._send(told)


_FIXED: Mapping[str, Type] = {
    BALANCE: Type.DOUBLE,
    CREDIT: Type.STRING,
    CLOSED: Type.BOOLEAN,
    STATE: Type.STRING,
    DESIRED: Type.STRING,
    COMMAND: Type.STRING,
    VERB: Type.STRING,
    RESULT: Type.STRING,
    REASON: Type.STRING,
}


def _fixed(portrait: Portrait, now_ms: int) -> list[Sample]:
    """What every device has, whatever its meter measures."""
    order, observed = portrait.order, portrait.observed
    closed = {Contact.CLOSED: True, Contact.OPEN: False, Contact.ALLOWED: False}.get(observed)
    seen_ms = now_ms if portrait.observed_ms is None else portrait.observed_ms
    samples = [] if portrait.currency is None else _account(portrait.balance, portrait.credit, portrait.currency, now_ms)
    if portrait.switch:
        samples += [
            Sample(CLOSED, Type.BOOLEAN, closed, seen_ms),
            Sample(STATE, Type.STRING, observed.value, seen_ms),
            Sample(DESIRED, Type.STRING, portrait.desired.value, now_ms),
        ]
        body: dict[str, Json] = {}
        if order is not None:
            body = {"command": order.command, "verb": order.verb, "state": order.state, "reason": order.reason}
        samples += _result(body, now_ms if order is None else order.at_ms, late=False)
    return samples


def _account(balance: Json, credit: Json, currency: Json, at_ms: int, *, late: bool = False) -> list[Sample]:
    return [
        Sample(BALANCE, Type.DOUBLE, _text(balance), at_ms, historical=late, unit=str(currency)),
        Sample(CREDIT, Type.STRING, _text(credit), at_ms, historical=late),
    ]


def _balance(body: Mapping[str, Json], at_ms: int, late: bool) -> list[Sample]:
    return _account(body.get("balance"), body.get("credit"), body.get("currency"), at_ms, late=late)


def _result(body: Mapping[str, Json], at_ms: int, late: bool) -> list[Sample]:
    names = ((COMMAND, "command"), (VERB, "verb"), (RESULT, "state"), (REASON, "reason"))
    return [Sample(metric, Type.STRING, _text(body.get(name)), at_ms, historical=late) for metric, name in names]


def _reading(body: Mapping[str, Json], late: bool) -> list[Sample]:
    """The values of a reading under the moment they are of."""
    at_ms = body.get("taken_ms") or body["answered_ms"]
    past = late or body["source"] != Source.LIVE
    quality = _quality(body["quality"] == OurQuality.SUSPECT)
    items = body["items"] if isinstance(body["items"], list) else []
    return [
        Sample(
            str(item["quantity"]),
            _type(str(item["quantity"])),
            _text(item["value"]),
            at_ms if isinstance(at_ms, int) else 0,
            quality,
            historical=past,
            unit=str(item["unit"]),
        )
        for item in items
        if isinstance(item, dict)
    ]


def _quality(doubtful: bool) -> Quality:
    return Quality.BAD if doubtful else Quality.GOOD


def _in_order(samples: Iterable[Sample]) -> list[Sample]:
    """By their times (operational-behavior-data-publish-dbirth-order)."""
    return sorted(samples, key=lambda sample: sample.at_ms)


def _told(sample: Sample) -> Told:
    value = sample.value
    return float(value) if sample.type is Type.DOUBLE and value is not None else value, sample.quality


def _type(name: str) -> Type:
    """Clocks and status words are digits, not amounts."""
    if name in _FIXED:
        return _FIXED[name]
    return Type.STRING if name == "clock" or name.startswith("status_") else Type.DOUBLE


def _text(value: Json) -> str | None:
    return None if value is None else str(value)
