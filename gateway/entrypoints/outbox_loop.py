"""Moves the outbox to the broker: live rows first, the backlog at a bounded rate, and again what nobody acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import structlog

from gateway.domain.records import OutboxRow
from gateway.services.acknowledge import EPOCH, acknowledge
from gateway.services.ports import Essential, Tx, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Store(Protocol):
    """The store, as much of it as the loop needs."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class Link(Protocol):
    """The way to the broker. publish ends when the broker has the row. ConnectionError: no connection; TimeoutError: no answer."""

    connected: asyncio.Event

    @property
    def connections(self) -> int:
        """How often it was connected: another number means that what was under way may be lost."""

    async def publish(self, row: OutboxRow, *, epoch: str, low: int, backlog: bool) -> None: ...


class Wake(Protocol):
    """Tells that rows may have been written. What is told between two calls of take is not lost."""

    def take(self) -> bool:
        """Whether something was told since the last call."""

    async def wait(self, timeout_s: float, /) -> None:
        """Until something is told (it stays to be taken), or the time is over."""


class Clock(Protocol):
    """UTC wall clock in milliseconds."""

    def now_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the loop keeps to.

    window: rows handed to the broker and not yet acknowledged by it; more would only queue in the client library.
    drain_per_s: rows of the backlog a second; a tidal wave after an outage drowns the centre and the live rows.
    live_ms: an older row is late news (`backlog`), whenever it is sent.
    lost_s: when the lowest row stays unacknowledged this long although the centre has acknowledged a higher one, it was lost behind
    the broker (whose acknowledgement is no durability), and all up to the higher one go again.
    probe_s: when it stays so with nothing higher acknowledged, the first rows go again, in case the centre has come back.
    Both pauses are doubled up to longest_probe_s while the lowest row stays the same.
    idle_s: how often is looked without being woken. retry_s: after a lost connection or an unavailable store.
    resend_ranges: ranges kept of one resend request; the centre asks again for the rest.
    """

    window: int = 100
    drain_per_s: int = 2000
    live_ms: int = 60_000
    lost_s: float = 5.0
    probe_s: float = 60.0
    longest_probe_s: float = 3600.0
    idle_s: float = 1.0
    retry_s: float = 0.2
    resend_ranges: int = 1000


DEFAULT_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to send in one go. low: the lowest number still to be delivered. drained: they count against drain_per_s."""

    rows: Sequence[OutboxRow]
    low: int
    drained: bool


@dataclass(slots=True)
class Progress:
    """How far one connection is. Numbers up to `mark` were there when it began: they are the backlog; higher ones are live.

    again: rows without the broker's acknowledgement in time. resend: ranges to be sent again. drain_at: loop time from which the
    next drained rows may go. heard: the highest number the centre has acknowledged. stuck, since, repeats: the lowest row at the
    last look, the loop time since when (or since it was sent again), and how often that was. probed: the highest number that had
    been sent at the last probe, 0 once that was answered.
    """

    mark: int = 0
    live_after: int = 0
    back_after: int = 0
    again: Sequence[OutboxRow] = ()
    resend: list[tuple[int, int]] = field(default_factory=list)
    drain_at: float = 0.0
    heard: int = 0
    stuck: int = 0
    since: float = 0.0
    repeats: int = 0
    probed: int = 0


class OutboxLoop:
    """One gateway's outbox. by: who must have a row before it leaves, the `central` system (default) or only the `broker`."""

    def __init__(
        self,
        store: Store,
        link: Link,
        wake: Wake,
        clock: Clock,
        *,
        by: Literal["central", "broker"] = "central",
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self._store, self._link, self._wake, self._clock = store, link, wake, clock
        self._by, self._bounds = by, bounds
        self._at = Progress()
        self._epoch = ""
        self._waits_for_store = False

    async def run(self) -> None:
        """Serves one connection after another; ends only by cancellation. The store must have its epoch."""
        while True:
            await self._link.connected.wait()
            try:
                await self._serve(self._link.connections)
            except ConnectionError:
                await asyncio.sleep(self._bounds.retry_s)  # the link says itself what happened
            except Unavailable as failed:
                if not self._waits_for_store:
                    log.error(f"the outbox waits, the store is unavailable: {failed}")
                self._waits_for_store = True
                await asyncio.sleep(self._bounds.idle_s)

    def resend(self, epoch: str, ranges: Iterable[tuple[int, int]]) -> bool:
        """Sends these ranges again as far as they still wait here; a new request replaces the one before. False: another epoch."""
        if epoch != self._epoch:
            return False
        self._at.resend = list(ranges)[: self._bounds.resend_ranges]
        return True

    def heard(self, upto: int) -> None:
        """The centre has acknowledged this number; what it was sent before and does not have is lost, or on its last way.

        After a probe it answers for all that was sent before the probe.
        """
        at = self._at
        if upto >= at.stuck:
            upto, at.probed = max(upto, at.probed), 0
        if at.heard <= at.stuck < upto:
            at.since, at.repeats = asyncio.get_running_loop().time(), 0
        at.heard = max(at.heard, upto)

    async def _serve(self, connection: int) -> None:
        epoch, last = await self._store.read(lambda tx: (tx.meta(EPOCH), tx.outbox_state().last))
        if epoch is None:
            raise LookupError("the store has no epoch: it was not prepared")
        self._epoch = epoch
        self._at = Progress(mark=last, live_after=last)
        while self._link.connected.is_set() and self._link.connections == connection:
            self._wake.take()  # before the look: what is written after it wakes us
            batch = await self._next()
            if batch is None:
                await self._wake.wait(self._pause())
            else:
                await self._send(batch)

    def _pause(self) -> float:
        """Until the next look: drained rows go on as soon as they may."""
        ahead = self._at.drain_at - asyncio.get_running_loop().time()
        return min(ahead, self._bounds.idle_s) if ahead > 0 else self._bounds.idle_s

    async def _next(self) -> Batch | None:
        """What is most urgent: unanswered rows, live rows, backlog, and what must go again."""
        at, now = self._at, asyncio.get_running_loop().time()
        lowest, live = await self._store.read(lambda tx: (tx.outgoing(0, 1), tx.outgoing(at.live_after, self._bounds.window)))
        if not lowest:
            at.again = ()
            return None
        low = lowest[0].seq
        if at.again:
            rows, at.again = at.again, ()
            return Batch(rows, low, False)
        if live:
            at.live_after = live[-1].seq
            return Batch(live, low, False)
        self._watch_lowest(low, now)
        if now < at.drain_at:
            return None
        rows = await self._backlog() or await self._missed() or await self._repeated(low, now)
        return Batch(rows, low, True) if rows else None

    async def _waiting(self, first: int, last: int | None = None) -> Sequence[OutboxRow]:
        rows = await self._store.read(lambda tx: tx.outgoing(first - 1, self._bounds.window))
        return rows if last is None else [row for row in rows if row.seq <= last]

    async def _backlog(self) -> Sequence[OutboxRow]:
        at = self._at
        if at.back_after >= at.mark:
            return ()
        rows = await self._waiting(at.back_after + 1, at.mark)
        at.back_after = rows[-1].seq if rows else at.mark
        return rows

    async def _missed(self) -> Sequence[OutboxRow]:
        """The next rows of the first range that still has some; those that were acknowledged meanwhile are not sent."""
        while missing := self._at.resend:
            first, last = missing.pop(0)
            rows = await self._waiting(first, last)
            if rows and rows[-1].seq < last:
                missing.insert(0, (rows[-1].seq + 1, last))
            if rows:
                return rows
        return ()

    def _watch_lowest(self, low: int, now: float) -> None:
        at = self._at
        if low != at.stuck:
            at.stuck, at.since, at.repeats = low, now, 0

    async def _repeated(self, low: int, now: float) -> Sequence[OutboxRow]:
        """What goes again because the lowest row stays unacknowledged; nothing while it is not yet time."""
        at, bounds = self._at, self._bounds
        lost = low < at.heard
        pause = (bounds.lost_s if lost else bounds.probe_s) * 2 ** min(at.repeats, 30)
        if now - at.since < min(pause, bounds.longest_probe_s):
            return ()
        at.since, at.repeats = now, at.repeats + 1
        if not lost:
            at.probed = at.live_after
            return await self._waiting(low)
        at.resend = [(low, at.heard)]
        return await self._missed()

    async def _send(self, batch: Batch) -> None:
        """Hands a batch over, at most a window of rows, and marks what the broker has in one transaction."""
        now_ms = self._clock.now_ms()
        if batch.drained:
            self._at.drain_at = asyncio.get_running_loop().time() + len(batch.rows) / self._bounds.drain_per_s
        answers = await asyncio.gather(*(self._publish(row, batch, now_ms) for row in batch.rows), return_exceptions=True)
        done = [row.seq for row, answer in zip(batch.rows, answers, strict=True) if answer is None]
        if done:
            await self._store.write(Essential(lambda tx: self._mark(tx, done, now_ms)))
            self._waits_for_store = False
        self._at.again = [row for row, answer in zip(batch.rows, answers, strict=True) if isinstance(answer, TimeoutError)]
        for answer in answers:
            if answer is not None and not isinstance(answer, TimeoutError):
                raise answer

    async def _publish(self, row: OutboxRow, batch: Batch, now_ms: int) -> None:
        late = batch.drained or now_ms - row.message.at_ms > self._bounds.live_ms
        await self._link.publish(row, epoch=self._epoch, low=batch.low, backlog=late)

    def _mark(self, tx: Tx, seqs: Sequence[int], now_ms: int) -> None:
        tx.mark_published(seqs, now_ms)
        if self._by == "broker":
            acknowledge(tx, self._epoch, 0, tuple((seq, seq) for seq in seqs), now_ms)
