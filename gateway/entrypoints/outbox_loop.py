"""Moves the outbox to the broker: live rows first, the backlog at a bounded rate, and again what nobody acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import structlog

from gateway.domain.events import EventKind, Topic
from gateway.domain.records import OutboxRow, OutboxState
from gateway.entrypoints.outbox_latency import Latency
from gateway.services.acknowledge import EPOCH, acknowledge
from gateway.services.ports import Essential, Tx, Unavailable
from gateway.services.thin_outbox import tell_dropped

log = structlog.get_logger(__name__)

T = TypeVar("T")
Range = tuple[int, int]


class Store(Protocol):
    """The store, as much of it as the loop needs."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class Link(Protocol):
    """The way to the broker."""

    connected: asyncio.Event

    @property
    def connections(self) -> int:
        """How often it was connected: another number means that what was under way may be lost."""

    async def publish(self, rows: Sequence[OutboxRow], *, epoch: str, low: int, late: bool, live_ms: int) -> Sequence[bool | None]:
        """Hands rows over in this order, and ends when the broker has answered: for each whether it has the row, None without an
        answer in time. late: all of them are; else those that are older than live_ms (UTC). ConnectionError: no connection."""


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

    window: rows handed to the link and not yet answered by the broker, in two halves, so that one is read while the other is under
    way; half as many live ones may go beside them.
    drain_per_s: rows of the backlog a second; a tidal wave after an outage drowns the centre and the live rows.
    ahead: rows of the backlog that the centre may still owe an answer: a live row waits behind them in its broker.
    live_ms: an older row is late news (`backlog`), whenever it is sent.
    lost_s: when the lowest row stays unacknowledged this long although the centre has acknowledged a higher one, it was lost behind
    the broker (whose acknowledgement is no durability), and all up to the higher one go again.
    probe_s: when it stays so with nothing higher acknowledged, the first rows go again, in case the centre has come back.
    Both pauses are doubled up to longest_probe_s while the lowest row stays the same.
    mark_rows: rows that the broker has before that is written down; sooner once nothing is under way. A crash sends them again.
    idle_s: how often is looked without being woken. retry_s: after a lost connection or an unavailable store.
    resend_ranges: ranges kept of one resend request; the centre asks again for the rest.
    tell_gone_s: between two events about rows that were asked for and are not here any more.
    """

    window: int = 1000
    drain_per_s: int = 10_000
    ahead: int = 2_000
    live_ms: int = 60_000
    lost_s: float = 5.0
    probe_s: float = 60.0
    longest_probe_s: float = 3600.0
    mark_rows: int = 2000
    idle_s: float = 1.0
    retry_s: float = 0.2
    resend_ranges: int = 1000
    tell_gone_s: float = 60.0

    @property
    def share(self) -> int:
        """Rows of one batch."""
        return max(1, self.window // SHARES)

    @property
    def drained_share(self) -> int:
        """Of the backlog: no more than a tenth of a second may bring."""
        return max(1, min(self.share, self.drain_per_s // 10))


SHARES = 2
"""Batches under way at the same time, beside one of live rows."""

LATE_S = 0.05
"""How late a batch of the backlog may be without making the next ones late: the broker's answers come unevenly. By it, a batch more
than drain_per_s allows may go in a second."""

DEFAULT_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to send in one go. low: the lowest number still to be delivered. drained: they count against drain_per_s."""

    rows: Sequence[OutboxRow]
    low: int
    drained: bool


@dataclass(frozen=True, slots=True)
class Look:
    """The outbox at one moment. back: the next rows of the backlog, None while the centre owes too many answers."""

    state: OutboxState
    live: Sequence[OutboxRow]
    back: Sequence[OutboxRow] | None


@dataclass(slots=True)
class Progress:
    """How far one connection is. Numbers up to `mark` were there when it began: they are the backlog; higher ones are live.

    again: rows without the broker's answer in time. asked: ranges that the centre asked for; gone: what of them is not here any
    more. lost: ranges to be sent again as far as they wait. turn: the backlog was last. drain_at: loop time from which the next
    drained rows may go. heard: the highest number the centre has acknowledged. stuck, since, repeats: the lowest row at the last
    look, the loop time since when (or since it was sent again), and how often that was. probed: the highest number that had been
    sent at the last probe, 0 once that was answered. done: what the broker has and is not yet written down. named: the
    last event looked at for what was dropped.
    """

    mark: int = 0
    live_after: int = 0
    back_after: int = 0
    again: list[OutboxRow] = field(default_factory=list)
    asked: list[Range] = field(default_factory=list)
    gone: list[Range] = field(default_factory=list)
    lost: list[Range] = field(default_factory=list)
    turn: bool = False
    drain_at: float = 0.0
    heard: int = 0
    stuck: int = 0
    since: float = 0.0
    repeats: int = 0
    probed: int = 0
    done: list[int] = field(default_factory=list)
    named: int = 0

    @property
    def reached(self) -> int:
        """All rows up to here have been sent on this connection."""
        return self.live_after if self.back_after >= self.mark else self.back_after


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
        self._waits_for_store = self._unheard = False
        self._told_gone_at = -bounds.tell_gone_s
        self._under_way: set[asyncio.Task[None]] = set()
        self._marking: asyncio.Task[None] | None = None
        self.latency = Latency()
        self.sent: int | None = None
        """No higher number can be known to the centre; None: this is not known yet. Of what was there at the start nobody knows."""

    async def run(self) -> None:
        """Serves one connection after another; ends only by cancellation. The store must have its epoch."""
        while True:
            try:
                if self.sent is None:
                    self._epoch, self.sent = await self._store.read(lambda tx: (tx.meta(EPOCH) or "", tx.outbox_state().last))
                await self._link.connected.wait()
                await self._serve(self._link.connections)
            except ConnectionError:
                await asyncio.sleep(self._bounds.retry_s)  # the link says itself what happened
            except Unavailable as failed:
                if not self._waits_for_store:
                    log.error(f"the outbox waits, the store is unavailable: {failed}")
                self._waits_for_store = True
                await asyncio.sleep(self._bounds.idle_s)

    def resend(self, epoch: str, ranges: Iterable[Range]) -> bool:
        """Sends these ranges again, also what was acknowledged, as far as it is kept; a new request replaces the one before.

        What is not here any more is named by an event `dropped`. False: another epoch.
        """
        if epoch != self._epoch:
            return False
        self._at.asked, self._at.gone = list(ranges)[: self._bounds.resend_ranges], []
        return True

    def heard(self, upto: int, also: Sequence[Range] = ()) -> None:
        """The centre has acknowledged these; what it was sent before and does not have is lost, or on its last way.

        After a probe it answers for all that was sent before the probe.
        """
        now, at = asyncio.get_running_loop().time(), self._at
        if self._unheard:
            log.info("the centre acknowledges again")
            self._unheard = False
        self.latency.acknowledged([(0, upto), *also], now)
        highest = max((upto, *(last for _, last in also)))
        if highest >= at.stuck:
            highest, at.probed = max(highest, at.probed), 0
        if at.heard <= at.stuck < highest:
            at.since, at.repeats = now, 0
        at.heard = max(at.heard, highest)

    async def _serve(self, connection: int) -> None:
        epoch, last = await self._store.read(lambda tx: (tx.meta(EPOCH), tx.outbox_state().last))
        if epoch is None:
            raise LookupError("the store has no epoch: it was not prepared")
        self._epoch = epoch
        self._at = Progress(mark=last, live_after=last, asked=self._at.asked)
        self.latency.begin()
        try:
            while self._link.connected.is_set() and self._link.connections == connection:
                self._wake.take()  # before the look: what is written after it wakes us
                self._settle()
                busy = len(self._under_way)
                batch = await self._next(crowded=busy >= SHARES) if busy <= SHARES else None
                if batch is not None:
                    self._under_way.add(asyncio.create_task(self._send(batch)))
                elif not self._mark_now():
                    await self._rest(busy)
        finally:
            await self._end()

    def _settle(self) -> None:
        """Forgets what has ended. Raises what it failed with."""
        ended = {task for task in self._under_way if task.done()}
        self._under_way -= ended
        if self._marking is not None and self._marking.done():
            ended, self._marking = {*ended, self._marking}, None
        failed = [error for task in ended if (error := task.exception()) is not None]
        if failed:
            raise failed[0]
        if self._marking is None and len(self._at.done) >= self._bounds.mark_rows:
            self._mark_now(while_busy=True)

    async def _rest(self, busy: int) -> None:
        """Until something has ended, or there may be something to send."""
        waits: set[asyncio.Task[None]] = {*self._under_way, *([self._marking] if self._marking else [])}
        woken = None if busy > SHARES else asyncio.create_task(self._wait())
        await asyncio.wait(waits | ({woken} if woken else set()), return_when=asyncio.FIRST_COMPLETED)
        if woken is not None:
            woken.cancel()
            await asyncio.wait((woken,))

    async def _wait(self) -> None:
        await self._wake.wait(self._pause())

    async def _end(self) -> None:
        tasks = {*self._under_way, *([self._marking] if self._marking else [])}
        self._under_way, self._marking = set(), None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # the first one was told

    def _pause(self) -> float:
        """Until the next look: drained rows go on as soon as they may."""
        ahead = self._at.drain_at - asyncio.get_running_loop().time()
        return min(ahead, self._bounds.idle_s) if ahead > 0 else self._bounds.idle_s

    async def _next(self, *, crowded: bool) -> Batch | None:
        """What is most urgent: unanswered rows, live rows, backlog and what was asked for in turns, and what must go again.

        crowded: only live rows, which go beside the batches that are under way.
        """
        at, now = self._at, asyncio.get_running_loop().time()
        drains = now >= at.drain_at and not crowded
        look = await self._store.read(lambda tx: self._look(tx, drains))
        low, last, share = look.state.low, look.state.last, self._bounds.share
        if low > last:
            at.again = []
        if at.again and not crowded:
            late, at.again = at.again[:share], at.again[share:]
            return Batch(late, low, False)
        if look.live:
            at.live_after = look.live[-1].seq
            return Batch(look.live, low, False)
        self._watch_lowest(low if low <= last else 0, now)
        if not drains:
            return None
        rows = await self._drained(look, now)
        at.drain_at = max(at.drain_at, now - LATE_S) + len(rows) / self._bounds.drain_per_s
        return Batch(rows, low, True) if rows else None

    def _look(self, tx: Tx, drains: bool) -> Look:
        at, share, state = self._at, self._bounds.drained_share, tx.outbox_state()
        live = tx.outgoing(at.live_after, self._bounds.share) if state.last > at.live_after else ()
        back: Sequence[OutboxRow] | None = ()
        if drains and not live and at.back_after < at.mark:
            waiting = () if (far := self._too_far(tx, state.low)) else tx.outgoing(at.back_after, share)
            back = None if far else [row for row in waiting if row.seq <= at.mark]
        return Look(state, live, back)

    def _too_far(self, tx: Tx, low: int) -> bool:
        """Whether the centre owes so many answers that the backlog must wait for it."""
        reached, ahead = self._at.back_after, self._bounds.ahead
        return self._by == "central" and reached - low >= ahead and tx.waiting_between(low, reached) >= ahead

    async def _drained(self, look: Look, now: float) -> Sequence[OutboxRow]:
        at, back = self._at, look.back
        if (at.asked or at.gone) and not (back and not at.turn):
            at.turn = False
            if rows := await self._asked(look.state.last):
                return rows
        if back:
            at.back_after, at.turn = back[-1].seq, True
            return back
        if back is not None:
            at.back_after = at.mark
        if look.state.low > look.state.last:
            return ()
        if back is None and (rows := await self._named()):
            return rows
        return await self._missed() or await self._repeated(look.state.low, now)

    async def _asked(self, newest: int) -> Sequence[OutboxRow]:
        """The next rows of what the centre asked for; notes what is not here any more."""
        at, share = self._at, self._bounds.drained_share
        while at.asked:
            first, last = at.asked.pop(0)
            last = min(last, newest)
            rows = await self._kept(first, last)
            seen = rows[-1].seq if len(rows) == share else last
            at.gone += _holes(first, seen, rows)
            if seen < last:
                at.asked.insert(0, (seen + 1, last))
            if rows:
                return [row for row in rows if not self._to_come(row)]
        if at.gone:
            await self._tell_gone()
        return ()

    async def _named(self) -> Sequence[OutboxRow]:
        """The next events that name what was dropped: because of those holes the centre may owe its answers, and they stand far
        behind them."""
        at, share = self._at, self._bounds.drained_share
        while True:
            after = max(at.named, at.back_after)
            rows = await self._store.read(lambda tx: tx.waiting_of(Topic.EVENT, after, share))  # noqa: B023 - at once
            if not rows:
                return ()
            at.named = rows[-1].seq
            if found := [row for row in rows if row.message.body.get("kind") == EventKind.DROPPED.value]:
                return found

    def _to_come(self, row: OutboxRow) -> bool:
        """Whether it waits and is still to be sent on this connection, in its turn."""
        at = self._at
        return row.acknowledged_ms is None and (at.back_after < row.seq <= at.mark or row.seq > at.live_after)

    async def _kept(self, first: int, last: int) -> Sequence[OutboxRow]:
        return await self._store.read(lambda tx: tx.news(first - 1, last, self._bounds.drained_share))

    async def _tell_gone(self) -> None:
        now, gone = asyncio.get_running_loop().time(), self._at.gone
        self._at.gone = []
        if now < self._told_gone_at + self._bounds.tell_gone_s:
            return  # a centre that does not listen must not fill our outbox
        self._told_gone_at = now
        now_ms = self._clock.now_ms()
        await self._store.write(lambda tx: tell_dropped(tx, gone, "asked for, and not kept any more", now_ms))

    async def _waiting(self, first: int, last: int | None = None) -> Sequence[OutboxRow]:
        rows = await self._store.read(lambda tx: tx.outgoing(first - 1, self._bounds.drained_share))
        return rows if last is None else [row for row in rows if row.seq <= last]

    async def _missed(self) -> Sequence[OutboxRow]:
        """The next rows of the first lost range that still has some; those that were acknowledged meanwhile are not sent."""
        while lost := self._at.lost:
            first, last = lost.pop(0)
            rows = await self._waiting(first, last)
            if rows and rows[-1].seq < last:
                lost.insert(0, (rows[-1].seq + 1, last))
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
        if low > at.reached:
            return ()
        lost = low < at.heard
        pause = (bounds.lost_s if lost else bounds.probe_s) * 2 ** min(at.repeats, 30)
        if now - at.since < min(pause, bounds.longest_probe_s):
            return ()
        at.since, at.repeats = now, at.repeats + 1
        if not lost:
            self._tell_silence()
            at.probed = at.reached
            return await self._waiting(low, at.reached)
        at.lost = [(low, min(at.heard, at.reached))]
        return await self._missed()

    def _tell_silence(self) -> None:
        if not self._unheard:
            text = f"the centre has acknowledged nothing for {self._bounds.probe_s:g} s, although the broker takes our messages"
            log.warning(f"{text}; they wait here and go again now and then")
        self._unheard = True

    async def _send(self, batch: Batch) -> None:
        """Hands a batch over, and notes what the broker has."""
        at, rows, now = self._at, batch.rows, asyncio.get_running_loop().time()
        self.sent = max(self.sent or 0, rows[-1].seq)
        self.latency.sent([row.seq for row in rows], now)
        live_ms = self._clock.now_ms() - self._bounds.live_ms
        taken = await self._link.publish(rows, epoch=self._epoch, low=batch.low, late=batch.drained, live_ms=live_ms)
        at.done += [row.seq for row, has in zip(rows, taken, strict=True) if has]
        at.again += [row for row, has in zip(rows, taken, strict=True) if has is None]

    def _mark_now(self, *, while_busy: bool = False) -> bool:
        """Begins to write down what the broker has; whether there was something to write and nothing else to do."""
        at = self._at
        if self._marking is not None or not at.done or (self._under_way and not while_busy):
            return False
        done, at.done = at.done, []
        self._marking = asyncio.create_task(self._write_marks(done))
        return True

    async def _write_marks(self, done: Sequence[int]) -> None:
        now_ms = self._clock.now_ms()
        await self._store.write(Essential(lambda tx: self._mark(tx, done, now_ms)))
        self._waits_for_store = False

    def _mark(self, tx: Tx, seqs: Sequence[int], now_ms: int) -> None:
        tx.mark_published(seqs, now_ms)
        if self._by == "broker":
            acknowledge(tx, self._epoch, 0, _ranges(seqs), now_ms)


def _holes(first: int, last: int, rows: Sequence[OutboxRow]) -> list[Range]:
    """The numbers from first to last that no row has."""
    holes, expected = [], first
    for row in rows:
        if row.seq > expected:
            holes.append((expected, row.seq - 1))
        expected = row.seq + 1
    return [*holes, (expected, last)] if expected <= last else holes


def _ranges(numbers: Iterable[int]) -> tuple[Range, ...]:
    """The numbers as inclusive ranges without holes."""
    found: list[Range] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)
