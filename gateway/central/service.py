"""The central system's work: receive, store, only then acknowledge; ask for what is missing; relay orders (contract.md 5)."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import msgspec
import structlog

from gateway.adapters.mqtt_session import Broker, MqttSession
from gateway.central import arrivals, heads, ingest, lease, orders, states
from gateway.central.arrivals import Arrival, Unreadable
from gateway.central.ingest import Saved
from gateway.central.orders import Signer, Written
from gateway.central.store import CentralStore, StoreBroken, StoreFailed
from gateway.central.streams import Asker
from protocols.uplink import messages
from protocols.uplink.messages import Ack, BadMessage
from protocols.uplink.moments import parse_moment
from protocols.uplink.topics import Down, StatusTopic, Topics, UpTopic

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 1000
"""Messages in one transaction: the disk is synced once for all of them, and the first waits some 100 ms at most."""

GATHER_S = 0.1
"""How long the first message of a batch waits for others: few syncs and few acknowledgements, and still soon."""

ACK_ROUNDS, ACKS_AT_LEAST = 20, 10
"""Of the gateways that wait for an acknowledgement this share is told in each round of GATHER_S, but at least so many: a few are
told at once, thousands within 2 s. Each costs as much as several messages, and a gateway waits for thousands of rows anyway."""

WAITING = 5000
"""Messages received and not yet stored; beyond it nothing more is read from the broker until the store keeps up."""

TOGETHER = 64
"""What banks ask for in one transaction: few commits, and the first waits a quarter of a second at most."""

CHORES_S = 1.0
"""How often is looked for orders that nobody sent, or of which nothing was heard."""

HOLES_EVERY_S = 5.0
"""How often is looked for holes; they are asked for after a minute, so a few seconds do not matter."""

STORE_PAUSE_S = 1.0
"""Between two tries while the store cannot; nothing is acknowledged meanwhile, so nothing is lost."""

AT_ONCE = 100
"""Messages handed to the broker and not yet acknowledged by it."""


def wall_ms() -> int:
    """UTC in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Counts:
    """What this instance did since its start. left: messages that would have opened too many holes."""

    received: int = 0
    stored: int = 0
    left: int = 0
    unread: int = 0
    acks: int = 0
    asked: int = 0
    sent: int = 0
    stored_ms: int = 0
    failing: bool = False


class Central:
    """One instance. It runs until cancelled, or until the store is broken (StoreBroken).

    signer: its key for acks and resends; None: unsigned, for a broker on loopback. share: the group that shares the messages.
    anchors: whose signed heads are believed.
    """

    def __init__(
        self,
        store: CentralStore,
        broker: Broker,
        topics: Topics,
        *,
        identifier: str = "wattgate-central",
        signer: Signer | None = None,
        share: str | None = None,
        anchors: heads.Trust = heads.NOBODY,
        now_ms: Callable[[], int] = wall_ms,
        rng: random.Random | None = None,
    ) -> None:
        self.store, self._topics, self._now_ms = store, topics, now_ms
        self._signer, self._anchors = signer, anchors
        self._holder = f"{identifier}-{secrets.token_hex(4)}"
        self._queue: asyncio.Queue[Arrival] = asyncio.Queue(WAITING)
        self._thread = ThreadPoolExecutor(1, "central-store")
        self._acks: dict[str, Ack] = {}
        self._to_ack, self._to_send = asyncio.Event(), asyncio.Event()
        self._relayed: dict[str, Written] = {}
        self._under_way: set[str] = set()
        self._asker = Asker()
        self._broken, self._ended = StoreBroken(), asyncio.Event()
        self._waiting: list[tuple[Callable[[], object], asyncio.Future[Any]]] = []
        self._grouping: asyncio.Task[None] | None = None
        self.session = MqttSession(
            broker,
            identifier,
            filters=(topics.all_status(), topics.all_up() if share is None else f"$share/{share}/{topics.all_up()}"),
            on_message=self._receive,
            rng=rng or random.Random(),
            inflight=AT_ONCE,
            lasting=share is None,
        )
        self.counts = Counts()

    @property
    def stored(self) -> int:
        """Messages that this instance stored."""
        return self.counts.stored

    async def run(self) -> None:
        """Receives for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for part in (
                    self.session.run(),
                    self._ingest(),
                    self._acknowledge(),
                    self._relay(),
                    self._chores(),
                    self._stop_broken(),
                ):
                    group.create_task(part)
        except* StoreBroken as broken:
            raise broken.exceptions[0] from None
        finally:
            self._thread.shutdown(wait=True)

    def send_soon(self, written: Sequence[Written]) -> None:
        """Sends orders that stand in the store, without waiting for it; what fails is sent later by whoever does the chores."""
        new = {one.id: one for one in written if not one.final and one.id not in self._under_way}
        if new:
            self._relayed |= new
            self._to_send.set()

    async def in_store(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs something on the store in the thread that has it. Where it breaks, everything ends: also what a bank asked for.
        StoreFailed once we have stopped."""
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))
        except RuntimeError:
            raise StoreFailed("the central system is stopping") from None
        try:
            return await running
        except StoreBroken as broken:
            self._broken = broken
            self._ended.set()
            raise

    async def beside(self, work: Callable[[], T]) -> T:
        """As in_store, in one transaction with whatever else waits for it by then: one commit for all."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._grouping is None or self._grouping.done():
            self._grouping = asyncio.create_task(self._write_waiting())
        return await done

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            outcomes: Sequence[object]
            try:
                outcomes = await self.in_store(self.store.together, [work for work, _ in batch])
            except Exception as failed:
                outcomes = [failed] * len(batch)
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                if done.cancelled():
                    continue
                if isinstance(outcome, Exception):
                    done.set_exception(outcome)
                else:
                    done.set_result(outcome)

    async def _stop_broken(self) -> None:
        await self._ended.wait()
        raise self._broken

    async def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        where = self._topics.parse(topic)
        try:
            if isinstance(where, UpTopic) and not retained:
                self.counts.received += 1
                await self._queue.put(arrivals.read(where, payload, self._now_ms()))
            elif isinstance(where, StatusTopic):
                said = messages.decode_status(payload)
                await self.in_store(states.save, self.store, where.gateway, said.state, parse_moment(said.at))
            else:
                log.warning("a message on a topic that carries none was left alone", topic=topic[:200], retained=retained)
        except (BadMessage, StoreFailed) as wrong:
            self.counts.unread += 1
            log.warning("a message could not be taken in", topic=topic[:200], reason=str(wrong))

    async def _ingest(self) -> None:
        while True:
            batch = [await self._queue.get()]
            if self._queue.qsize() < BATCH - 1:
                await asyncio.sleep(GATHER_S)
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            saved = await self._save(batch)
            self.counts.stored += saved.new
            self.counts.left += saved.left
            self.counts.stored_ms = self._now_ms()
            self._acks |= saved.acks
            self._to_ack.set()

    async def _save(self, batch: list[Arrival]) -> Saved:
        while True:
            try:
                saved = await self.in_store(ingest.save, self.store, batch, self._anchors)
                self.counts.failing = False
                return saved
            except StoreBroken:
                raise
            except StoreFailed as failed:
                if not self.counts.failing:
                    log.error(f"nothing is stored or acknowledged now: {failed}")
                self.counts.failing = True
                await asyncio.sleep(STORE_PAUSE_S)
            except Exception as strange:
                if len(batch) == 1 and isinstance(batch[0].content, Unreadable):
                    raise
                return await self._save_each(batch, strange)

    async def _save_each(self, batch: list[Arrival], strange: Exception) -> Saved:
        """One message that the store does not take must not stop the others for ever: it is kept as it came, as unreadable."""
        if len(batch) == 1:
            [bad] = batch
            log.error("the store takes no such message; it is kept as unreadable", topic=str(bad.where), error=str(strange)[:500])
            why = f"the store does not take it: {type(strange).__name__}"
            kept = Unreadable(why, bad.content.payload if isinstance(bad.content, Unreadable) else messages.encode(bad.content))
            return await self._save([Arrival(bad.where, bad.envelope, kept, bad.received_ms)])
        half = len(batch) // 2
        first, second = await self._save(batch[:half]), await self._save(batch[half:])
        return Saved(first.new + second.new, first.acks | second.acks, first.left + second.left)

    async def _acknowledge(self) -> None:
        """Says what is safe, the newest for each gateway, those first that have waited longest. Who hears nothing sends again, and
        is told again."""
        while True:
            if not self._acks:
                self._to_ack.clear()
                await self._to_ack.wait()
            share = max(ACKS_AT_LEAST, -(-len(self._acks) // ACK_ROUNDS))
            due = [(gateway, self._acks.pop(gateway)) for gateway in list(self._acks)[:share]]
            told = await self._tell_all([(gateway, Down.ACK, self._signed(ack)) for gateway, ack in due])
            self.counts.acks += sum(told)
            await asyncio.sleep(GATHER_S)

    async def _relay(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            waiting, self._relayed = list(self._relayed.values()), {}
            self._under_way = {one.id for one in waiting}
            told = await self._tell_all([(one.gateway, Down.COMMAND, one.token) for one in waiting])
            sent = [one.id for one, done in zip(waiting, told, strict=True) if done]
            self.counts.sent += len(sent)
            try:
                await self.in_store(orders.mark_sent, self.store, sent, self._now_ms())
            except StoreBroken:
                raise
            except StoreFailed as failed:
                log.warning(f"orders were sent, which could not be written down; they go again: {failed}")
            self._under_way = set()

    async def _chores(self) -> None:
        """What one of all instances does."""
        clock = asyncio.get_running_loop().time
        asked, leased = clock(), 0.0
        mine = False
        while True:
            await asyncio.sleep(CHORES_S)
            try:
                if clock() - leased >= lease.LEASE_MS / 3000 or not mine:
                    mine, leased = await self.in_store(lease.take, self.store, lease.CHORES, self._holder, self._now_ms()), clock()
                if not mine or not self.session.connected.is_set():
                    continue
                self.send_soon(await self.in_store(self.store.read, lambda c: orders.due(c, self._now_ms())))
                if clock() - asked >= HOLES_EVERY_S:
                    asked = clock()
                    await self._ask(asked)
            except StoreBroken:
                raise
            except StoreFailed as failed:
                log.warning(f"the chores wait for the store: {failed}")

    async def _ask(self, now: float) -> None:
        streams = await self.in_store(self.store.read, ingest.missing)
        requests = list(self._asker.requests(streams, now))
        for gateway, resend in requests:
            log.info("asking a gateway for what is missing", gateway=gateway, ranges=len(resend.ranges), first=resend.ranges[0])
        told = await self._tell_all([(gateway, Down.RESEND, self._signed(resend)) for gateway, resend in requests])
        self.counts.asked += sum(told)
        if lost := self._asker.lost():
            await self.in_store(ingest.give_up, self.store, lost, self._now_ms())

    def _signed(self, message: msgspec.Struct) -> bytes:
        payload = messages.encode(message)
        return payload if self._signer is None else self._signer.sign(payload)

    async def _tell_all(self, what: Sequence[tuple[str, Down, bytes]]) -> list[bool]:
        """Says something to each of many gateways; whether the broker took it. What it did not take is said again in time."""
        told: list[bool] = []
        for at in range(0, len(what), AT_ONCE):
            told += await asyncio.gather(*(self._tell(*each) for each in what[at : at + AT_ONCE]))
        return told

    async def _tell(self, gateway: str, kind: Down, payload: bytes) -> bool:
        try:
            await self.session.publish(self._topics.down(gateway, kind), payload)
            return True
        except (ConnectionError, TimeoutError):
            log.debug("the broker took no message", gateway=gateway, kind=kind.value)
            return False
