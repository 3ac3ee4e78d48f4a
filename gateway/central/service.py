"""The central system as a process: receive, store, and only then acknowledge; ask for what is missing (contract.md 5)."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec
import structlog

from gateway.adapters import event_loop
from gateway.adapters.mqtt_link import Broker, MqttSession
from gateway.central import arrivals
from gateway.central.arrivals import Arrival
from gateway.central.config import CentralConfig
from gateway.central.logs import log_to_stderr
from gateway.central.store import CentralStore, StoreBroken, StoreFailed
from gateway.central.streams import Streams
from protocols.uplink import messages
from protocols.uplink.messages import BadMessage
from protocols.uplink.moments import parse_moment
from protocols.uplink.topics import Down, StatusTopic, Topics, UpTopic

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 500
"""Messages in one transaction: the disk is synced once for all of them, and the first waits some 20 ms at most."""

WAITING = 5000
"""Messages received and not yet stored; beyond it nothing more is read from the broker until the store keeps up."""

HOLES_EVERY_S = 5.0
"""How often is looked for holes; they are asked for after a minute, so a few seconds do not matter."""

STORE_PAUSE_S = 1.0
"""Between two tries while the store cannot; nothing is acknowledged meanwhile, so nothing is lost."""


class Central:
    """One instance. It runs until cancelled, or until the store is broken (StoreBroken)."""

    def __init__(
        self,
        store: CentralStore,
        broker: Broker,
        topics: Topics,
        *,
        identifier: str = "wattgate-central",
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        rng: random.Random | None = None,
    ) -> None:
        self._store, self._topics, self._now_ms = store, topics, now_ms
        self._queue: asyncio.Queue[Arrival] = asyncio.Queue(WAITING)
        self._thread = ThreadPoolExecutor(1, "central-store")
        self._streams = Streams({})
        self.session = MqttSession(
            broker,
            identifier,
            filters=(topics.all_status(), topics.all_up()),
            on_message=self._receive,
            rng=rng or random.Random(),
        )
        self.stored = 0

    async def run(self) -> None:
        """Receives for ever."""
        self._streams = Streams(await self._in_store(self._store.received))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.session.run())
                group.create_task(self._ingest())
                group.create_task(self._ask())
        except* StoreBroken as broken:
            raise broken.exceptions[0] from None
        finally:
            self._thread.shutdown(wait=True)

    async def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        where = self._topics.parse(topic)
        try:
            if isinstance(where, UpTopic) and not retained:
                await self._queue.put(arrivals.read(where, payload, self._now_ms()))
            elif isinstance(where, StatusTopic):
                said = messages.decode_status(payload)
                await self._in_store(self._store.save_state, where.gateway, said.state, parse_moment(said.at))
            else:
                log.warning("a message on a topic that carries none was left alone", topic=topic[:200], retained=retained)
        except (BadMessage, StoreFailed) as wrong:
            log.warning("a message could not be taken in", topic=topic[:200], reason=str(wrong))

    async def _ingest(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._save(batch)
            for gateway, ack in self._streams.take(batch).items():
                await self._tell(gateway, Down.ACK, ack)

    async def _save(self, batch: list[Arrival]) -> None:
        told = False
        while True:
            try:
                self.stored += await self._in_store(self._store.save, batch)
                return
            except StoreBroken:
                raise
            except StoreFailed as failed:
                if not told:
                    log.error(f"nothing is stored or acknowledged now: {failed}")
                told = True
                await asyncio.sleep(STORE_PAUSE_S)

    async def _ask(self) -> None:
        while True:
            await asyncio.sleep(HOLES_EVERY_S)
            if not self.session.connected.is_set():
                continue
            for gateway, resend in list(self._streams.missing(asyncio.get_running_loop().time())):
                log.info("asking a gateway for what is missing", gateway=gateway, ranges=len(resend.ranges), first=resend.ranges[0])
                await self._tell(gateway, Down.RESEND, resend)

    async def _tell(self, gateway: str, kind: Down, message: msgspec.Struct) -> None:
        """Says something to a gateway. When the broker is gone it is not said: the gateway sends again, and gets it then."""
        try:
            await self.session.publish(self._topics.down(gateway, kind), messages.encode(message))
        except (ConnectionError, TimeoutError):
            log.debug("the broker took no message", gateway=gateway, kind=kind.value)

    async def _in_store(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))


def serve(config: CentralConfig, folder: Path, *, say_ready: bool = False) -> None:
    """Runs in the foreground until SIGTERM or Ctrl-C. ConfigError and StoreUnusable say what is wrong."""
    log_to_stderr()
    broker = config.broker(folder)
    store = CentralStore.open(config.store_url(folder))
    try:
        event_loop.run(_serve(Central(store, broker, config.topics(), identifier=config.central.id), say_ready))
    finally:
        store.close()


async def _serve(central: Central, say_ready: bool) -> None:
    running = asyncio.create_task(central.run())
    ready = asyncio.create_task(_say_ready(central)) if say_ready else None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("the central system was stopped", stored=central.stored)
    finally:
        if ready is not None:
            ready.cancel()


async def _say_ready(central: Central) -> None:
    await central.session.connected.wait()
    print(json.dumps({"ready": True}), flush=True)
