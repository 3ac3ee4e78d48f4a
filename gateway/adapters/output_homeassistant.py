"""Shows every meter to Home Assistant as a device, by MQTT discovery; its switch is an order like any other (docs/outputs.md)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence

from gateway.adapters.mqtt_session import Broker, MqttSession, Words
from gateway.adapters.output_batches import publish_in_batches
from gateway.adapters.output_orders import RETAINED, Orders
from gateway.domain.outputs import LastOrder, News, Portrait
from gateway.domain.supply import Verb
from gateway.services.ports import SupplyAnswer
from protocols.uplink import homeassistant
from protocols.uplink.homeassistant import OFFLINE, ONLINE, BadOrder, Device, Topics
from protocols.uplink.moments import format_moment

Message = tuple[str, bytes]


class HomeAssistant:
    """`entrypoints.output_loop.Output`. prefix: Home Assistant's discovery prefix. commands: its switches are shown at all."""

    late_too: bool = False
    unsure_s: float = 0.0

    def __init__(
        self,
        broker: Broker,
        gateway: str,
        *,
        version: str,
        now_ms: Callable[[], int],
        rng: random.Random,
        name: str = "homeassistant",
        prefix: str = "homeassistant",
        commands: bool = False,
    ) -> None:
        self.name, self.again = name, asyncio.Event()
        self.orders: Orders | None = None
        self._topics, self._version, self._now_ms, self._commands = Topics(gateway, prefix), version, now_ms, commands
        topics = self._topics
        self._session = MqttSession(
            broker,
            f"wattgate-{gateway}-{name}",
            filters=(topics.birth, topics.all_orders, topics.all_discovered),
            on_message=self._receive,
            greeting=self._status(ONLINE),
            farewell=self._status(OFFLINE),
            rng=rng,
            lasting=False,  # an order that waited at the broker is nobody's wish any more
        )
        self.ready, self.run = self._session.connected, self._session.run
        self._shown: dict[str, tuple[object, ...]] = {}
        self._strays: set[str] = set()
        self._begun = -1
        self._said: dict[str, bytes] = {}
        self._refused: dict[str, LastOrder] = {}

    @property
    def connections(self) -> int:
        """How often the broker was reached."""
        return self._session.connections

    async def begin(self, portraits: Sequence[Portrait]) -> None:
        """Announces every meter and tells its state; what is still announced of others is taken away."""
        self._said.clear()
        self._shown = {portrait.meter: portrait.kind for portrait in portraits}
        self._begun = self.connections
        strays, self._strays = self._strays - self._shown.keys(), set()
        await self._remove(*sorted(strays))
        await self._say([message for each in portraits for message in (self._announcement(each), *self._states(each))])

    async def tell(self, news: News) -> None:
        """The present state of the meters that something happened to."""
        messages: list[Message] = []
        for portrait in news.portraits.values():
            if self._shown.get(portrait.meter) != portrait.kind:
                self._shown[portrait.meter] = portrait.kind
                messages.append(self._announcement(portrait))
            messages += self._states(portrait)
        await self._say(messages)

    async def leave(self, meters: Collection[str]) -> None:
        """These are gone: Home Assistant forgets them."""
        for meter in meters:
            self._shown.pop(meter, None)
            self._refused.pop(meter, None)
        await self._remove(*meters)

    def _status(self, state: str) -> Words:
        return Words(self._topics.status, lambda: state.encode())

    def _announcement(self, portrait: Portrait) -> Message:
        device = Device(
            portrait.meter,
            portrait.model,
            portrait.serial,
            [name for name in sorted(portrait.items) if homeassistant.shown(name)],
            portrait.currency,
            portrait.switch,
            self._commands,
        )
        return self._topics.config(portrait.meter), homeassistant.discovery(self._topics, device, self._version)

    def _states(self, portrait: Portrait) -> list[Message]:
        meter, topics = portrait.meter, self._topics
        availability = topics.availability(meter), (ONLINE if portrait.answering else OFFLINE).encode()
        return [(topics.state(meter), homeassistant.state(values_of(portrait))), *self._order(meter, portrait.order), availability]

    def _order(self, meter: str, order: LastOrder | None) -> list[Message]:
        """The newer of the last command and the last refusal."""
        refused = self._refused.get(meter)
        if refused is not None and (order is None or refused.at_ms >= order.at_ms):
            order = refused
        if order is None:
            return []
        shown: dict[str, str | None] = {"state": order.state, "verb": order.verb, "at": format_moment(order.at_ms)}
        return [(self._topics.order(meter), homeassistant.state(shown | {"command": order.command, "reason": order.reason}))]

    async def _remove(self, *meters: str) -> None:
        topics = [topic for meter in meters for topic in self._topics.retained(meter)]
        for topic in topics:
            self._said.pop(topic, None)
        await publish_in_batches(self._session, [(topic, b"") for topic in topics], retain=True)

    async def _say(self, messages: Sequence[Message]) -> None:
        """Retained, and only what was not said there already."""
        new = [(topic, payload) for topic, payload in messages if self._said.get(topic) != payload]
        await publish_in_batches(self._session, new, retain=True)
        self._said.update(new)

    async def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic == self._topics.birth:
            if payload == ONLINE.encode() and not retained:
                self.again.set()
        elif (meter := self._topics.discovered(topic)) is not None:
            await self._see_announced(meter, payload)
        elif (meter := self._topics.ordered(topic)) is not None and self.orders is not None:
            await self._take_order(self.orders, meter, payload, retained)

    async def _see_announced(self, meter: str, payload: bytes) -> None:
        """What stands at the broker from a former life: of a meter that is gone meanwhile it goes too."""
        if not payload or meter in self._shown:
            return
        if self._begun == self.connections:
            await self._remove(meter)
        else:
            self._strays.add(meter)

    async def _take_order(self, orders: Orders, meter: str, payload: bytes, retained: bool) -> None:
        try:
            if retained:
                raise BadOrder(RETAINED)
            verb = Verb.RESTORE if homeassistant.parse_order(payload) else Verb.CUT
        except BadOrder as wrong:
            await orders.refuse(f"meter {meter}: {wrong}")
            return
        answer = await orders.order(meter, verb)
        if answer.refused is not None and meter in self._shown:
            await self._show_refusal(meter, verb, answer)

    async def _show_refusal(self, meter: str, verb: Verb, answer: SupplyAnswer) -> None:
        command = None if answer.command is None else answer.command.id
        self._refused[meter] = LastOrder(command, verb.value, "refused", True, answer.refused, self._now_ms())
        await self._say(self._order(meter, None))


def values_of(portrait: Portrait) -> dict[str, str | None]:
    """By the names of the discovery. Energies are those that nothing speaks against, powers those in front of transformers."""
    values: dict[str, str | None] = {}
    for name, latest in portrait.items.items():
        if not homeassistant.shown(name):
            continue
        if name.startswith("energy_"):
            values[name] = _thousandth(portrait.energy_wh.get(name))
        elif name.startswith("power") and name != "power_factor":
            values[name] = _thousandth(portrait.power_w.get(name))
        else:
            values[name] = None if latest.item.value is None else f"{latest.item.value:f}"
    if portrait.currency is not None:
        values |= {"balance": portrait.balance, "credit": portrait.credit}
    if portrait.switch:
        supply = portrait.observed.value
        values |= {"supply": supply, "relay": homeassistant.relay_state(supply)}
    return values


def _thousandth(value: int | None) -> str | None:
    if value is None:
        return None
    return f"{'-' if value < 0 else ''}{abs(value) // 1000}.{abs(value) % 1000:03d}"
