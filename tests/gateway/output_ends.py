"""An output as its process puts it together, on a real store and a real broker, and a client there that sees everything."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiomqtt
from aiomqtt import Client, ProtocolVersion

from gateway.adapters.mqtt_session import Broker
from gateway.adapters.output_homeassistant import HomeAssistant
from gateway.adapters.output_sparkplug import Sparkplug
from gateway.adapters.output_thingsboard import ThingsBoard
from gateway.adapters.store import Store
from gateway.domain.meters import Meter
from gateway.domain.outputs import OutsideCuts
from gateway.entrypoints.line_loop import Wake
from gateway.entrypoints.output_loop import Orders, OutputLoop, Pace
from gateway.services.ports import Tx
from tests.gateway.brokers import RealBroker
from tests.gateway.services.house import House as Street
from tests.gateway.services.house import account, meter
from tests.gateway.uplink_ends import SystemClock, end

T = TypeVar("T")
Profile = HomeAssistant | Sparkplug | ThingsBoard
WITHIN_S = 120  # a second or two; on a machine with other work, far more


@dataclass(frozen=True)
class Seen:
    """A message as a foreign client saw it."""

    topic: str
    payload: bytes
    retain: bool
    qos: int

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Watcher:
    """A client of the same broker: keeps all it sees, and says what it is told."""

    def __init__(self, client: Client) -> None:
        self._client, self._news = client, asyncio.Event()
        self.seen: list[Seen] = []

    async def listen(self) -> None:
        async for message in self._client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            self.seen.append(Seen(str(message.topic), payload, message.retain, message.qos))
            self._news.set()

    async def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await self._client.publish(topic, payload, qos=1, retain=retain)

    def on(self, topic: str) -> list[Seen]:
        return [each for each in self.seen if aiomqtt.Topic(each.topic).matches(topic)]

    async def until(self, true: Callable[[], T | None], what: str) -> T:
        """Waits for news until this is true; gives what it found."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    self._news.clear()
                    if found := true():
                        return found
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {WITHIN_S} s: {what}; seen: {self.seen[-20:]}") from None

    async def first(self, topic: str, after: int = 0) -> Seen:
        return await self.until(lambda: next((s for s in self.seen[after:] if aiomqtt.Topic(s.topic).matches(topic)), None), topic)


@contextlib.asynccontextmanager
async def watching(broker: Broker, *filters: str) -> AsyncIterator[Watcher]:
    """Another client, which sees the retain flag only of what was retained before."""
    async with Client(broker.host, broker.port, protocol=ProtocolVersion.V311, timeout=60) as client:
        watcher = Watcher(client)
        for topic in filters or ("#",):
            await client.subscribe(topic, qos=1)
        task = asyncio.create_task(watcher.listen())
        try:
            yield watcher
        finally:
            task.cancel()
            await asyncio.wait((task,))


def cut_the_wire(output: Profile) -> None:
    """As a power failure would: no last words of ours."""
    client = output._session._client
    assert client is not None
    wire = getattr(client._client.socket(), "_sock")  # noqa: B009 - of gateway.adapters.mqtt_socket
    assert isinstance(wire, socket.socket)
    wire.shutdown(socket.SHUT_RDWR)


class House:
    """Meters and their money in a store, and outputs that show them."""

    def __init__(self, folder: Path, broker: RealBroker, *meters: Meter, balance: str = "20") -> None:
        self.broker, self.clock, self.wake = broker, SystemClock(), Wake()
        self.store = Store.open(str(folder / "gateway.db"))
        self.street = Street(self.store, now_ms=self.clock.now_ms()).settle(*(meters or (meter(),)), balance=balance)
        self.present = {each.id for each in meters or (meter(),)}
        self.silent: set[str] = set()

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        result = await self.store.write(usecase)
        self.wake.notify()
        return result

    async def read(self, query: Callable[[Tx], T]) -> T:
        return await self.store.read(query)

    @contextlib.contextmanager
    def acting(self) -> Iterator[Street]:
        """What meters and people do now; then the loops are told."""
        self.street.now_ms = max(self.street.now_ms + 1, time.time_ns() // 1_000_000)
        yield self.street
        self.wake.notify()

    @contextlib.asynccontextmanager
    async def showing(
        self, output: Profile, *, commands: bool = True, cuts: OutsideCuts = OutsideCuts("emergency")  # noqa: B008
    ) -> AsyncIterator[Profile]:
        numbers = itertools.count(1)
        output.orders = Orders(
            *(self, output.name, self.clock, lambda: self.street.site),
            new_id=lambda: str(next(numbers)),
            woken=self.wake.notify,
            commands=commands,
            cuts=cuts,
        )
        loop = OutputLoop(
            *(self, output, self.wake.listener(), self.clock),
            meters=lambda: self.present,
            silent=lambda: set(self.silent),
            pace=Pace(look_s=0.5, save_s=0.2, idle_s=0.1, retry_s=0.1),
        )
        tasks = [asyncio.create_task(output.run()), asyncio.create_task(loop.run())]
        try:
            yield output
        finally:
            await end(*tasks)


__all__ = ["House", "Seen", "Watcher", "account", "cut_the_wire", "meter", "watching"]
