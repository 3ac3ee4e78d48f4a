"""Shows the meters to ThingsBoard as the devices of a gateway (docs/outputs.md); its remote calls are orders like any other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from gateway.adapters.mqtt_session import Broker, MqttSession
from gateway.adapters.output_batches import publish_in_batches
from gateway.adapters.output_orders import RETAINED, Orders
from gateway.domain.events import Json, Topic
from gateway.domain.outputs import News, Portrait
from gateway.domain.records import OutboxRow
from gateway.domain.supply import Verb
from protocols.uplink import thingsboard
from protocols.uplink.thingsboard import ATTRIBUTES, CONNECT, DISCONNECT, RPC, TELEMETRY, BadCall, Call, Value

MOST_SETS = 50
"""Sets of values in one message: about 20 KB, where ThingsBoard takes 64 KB by default."""

VERBS = {"cut": Verb.CUT, "restore": Verb.RESTORE, "allow_close": Verb.ALLOW_CLOSE}
SET, GET = "setSupply", "getSupply"

Point = tuple[str, int, dict[str, Value]]
Message = tuple[str, bytes]


class ThingsBoard:
    """`entrypoints.output_loop.Output`. The gateway's access token is the broker's user name."""

    late_too: bool = True
    unsure_s: float = 0.0

    def __init__(
        self, broker: Broker, gateway: str, *, now_ms: Callable[[], int], rng: random.Random, name: str = "thingsboard"
    ) -> None:
        self.name, self.again = name, asyncio.Event()
        self.orders: Orders | None = None
        self._now_ms = now_ms
        self._session = MqttSession(
            broker, f"wattgate-{gateway}-{name}", filters=(RPC,), on_message=self._receive, rng=rng, lasting=False
        )
        self.ready, self.run = self._session.connected, self._session.run
        self._connected: set[str] = set()
        self._said: dict[str, dict[str, Value]] = {}

    @property
    def connections(self) -> int:
        """How often the broker was reached."""
        return self._session.connections

    async def begin(self, portraits: Sequence[Portrait]) -> None:
        """Connects every meter that answers and tells what all of them are and measured last."""
        self._connected.clear()
        self._said.clear()
        messages = [message for portrait in portraits for message in self._states(portrait)]
        now_ms = self._now_ms()
        messages += _telemetry([point for portrait in portraits for point in _present(portrait, now_ms)])
        await publish_in_batches(self._session, messages)

    async def tell(self, news: News) -> None:
        """Rows as telemetry under their own times, then what is another now than it was."""
        messages = _telemetry([point for row in news.rows for point in _points(row, news.portraits)])
        if not news.late:
            messages += [message for portrait in news.portraits.values() for message in self._states(portrait)]
        await publish_in_batches(self._session, messages)

    async def leave(self, meters: Collection[str]) -> None:
        """These are gone."""
        for meter in meters:
            self._said.pop(meter, None)
        await publish_in_batches(self._session, [message for meter in meters for message in self._switched(meter, False)])

    def _states(self, portrait: Portrait) -> list[Message]:
        """What is another now than it was when it was made last; a failure makes everything anew."""
        messages, attributes = self._switched(portrait.meter, portrait.answering), _attributes(portrait)
        if self._said.get(portrait.meter) != attributes:
            messages.append((ATTRIBUTES, thingsboard.attributes({portrait.meter: attributes})))
            self._said[portrait.meter] = attributes
        return messages

    def _switched(self, meter: str, on: bool) -> list[Message]:
        if on == (meter in self._connected):
            return []
        (self._connected.add if on else self._connected.discard)(meter)
        return [(CONNECT if on else DISCONNECT, thingsboard.device(meter))]

    async def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        if self.orders is None:
            return
        try:
            if retained:
                raise BadCall(RETAINED)
            call = thingsboard.parse_call(payload)
        except BadCall as wrong:
            await self.orders.refuse(str(wrong))
            return
        if call is not None:
            await self._session.publish(RPC, thingsboard.answer(call, await self._called(self.orders, call)))

    async def _called(self, orders: Orders, call: Call) -> dict[str, Value]:
        """What the caller is told: the command that now exists, or why there is none. Its outcome comes as telemetry."""
        if call.method == GET:
            return {"supply": self._said.get(call.device, {}).get("supply")}
        verb = VERBS.get(call.method)
        if call.method == SET and isinstance(call.params, bool):
            verb = Verb.RESTORE if call.params else Verb.CUT
        if verb is None:
            served = ", ".join((*VERBS, SET, GET))
            refused = f"the method {call.method[:40]!r} is not served; {served} are, {SET} with true or false"
            await orders.refuse(refused)
            return {"state": "refused", "reason": refused}
        answer = await orders.order(call.device, verb)
        if answer.refused is not None or answer.command is None:
            return {"state": "refused", "reason": answer.refused}
        return {"command": answer.command.id, "state": answer.command.state.value}


def _telemetry(points: Sequence[Point]) -> list[Message]:
    messages = []
    for first in range(0, len(points), MOST_SETS):
        by_device: dict[str, list[tuple[int, dict[str, Value]]]] = {}
        for meter, at_ms, values in points[first : first + MOST_SETS]:
            by_device.setdefault(meter, []).append((at_ms, values))
        messages.append((TELEMETRY, thingsboard.telemetry(by_device)))
    return messages


def _attributes(portrait: Portrait) -> dict[str, Value]:
    """What a meter is, and what of its present is a state rather than a measurement."""
    return {
        "model": portrait.model,
        "serial": portrait.serial,
        "line": portrait.line,
        "currency": portrait.currency,
        "supply": portrait.observed.value if portrait.switch else None,
        "supply_desired": portrait.desired.value if portrait.switch else None,
    }


def _present(portrait: Portrait, now_ms: int) -> Iterator[Point]:
    """The newest values, each set under the time it was read at, and the balance as it is."""
    by_time: dict[int, dict[str, Value]] = {}
    for name, latest in portrait.items.items():
        by_time.setdefault(latest.answered_ms, {})[name] = latest.item.value
    yield from ((portrait.meter, at_ms, values) for at_ms, values in sorted(by_time.items()))
    if portrait.currency is not None:
        yield portrait.meter, now_ms, {"balance": _number(portrait.balance), "credit": portrait.credit}


def _points(row: OutboxRow, portraits: Mapping[str, Portrait]) -> Iterator[Point]:
    """A row as telemetry of the meters it is about, as far as there are any."""
    message, body = row.message, row.message.body
    if message.topic is Topic.BALANCE:
        values: dict[str, Value] = {"balance": _number(body.get("balance")), "credit": str(body.get("credit"))}
        yield from ((name, message.at_ms, values) for name, seen in portraits.items() if seen.account == message.subject)
        return
    meter = message.subject if message.topic is Topic.READING else body.get("meter")
    if not isinstance(meter, str) or meter not in portraits:
        return
    if message.topic is Topic.READING:
        at_ms = body.get("taken_ms") or body.get("answered_ms")
        yield meter, at_ms if isinstance(at_ms, int) else message.at_ms, _values(body)
    elif message.topic is Topic.EVENT:
        yield meter, message.at_ms, {"event": str(body.get("kind"))}
    elif message.topic is Topic.RESULT:
        said = {"command": "command", "verb": "command_verb", "state": "command_state", "reason": "command_reason"}
        yield meter, message.at_ms, {shown: _text(body.get(name)) for name, shown in said.items()}


def _values(body: Mapping[str, Json]) -> dict[str, Value]:
    items = body.get("items")
    found = (item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()
    values: dict[str, Value] = {str(item["quantity"]): _number(item["value"]) for item in found}
    return values | {"quality": str(body.get("quality")), "source": str(body.get("source"))}


def _number(value: Json) -> Value:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return str(value)


def _text(value: Json) -> str | None:
    return None if value is None else str(value)
