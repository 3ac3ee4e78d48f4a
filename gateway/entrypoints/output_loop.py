"""Shows the store to a foreign system beside the native uplink: the present when it connects, then what happens, row by row.

It reads the outbox's rows under a cursor of its own and acknowledges none of them: an output that is slow, broken or away holds
up nobody but itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from gateway.domain.events import EventKind, Topic
from gateway.domain.outputs import MOVES_METERS, News, OutsideCuts, Portrait, Unmoved, supply_order
from gateway.domain.records import OutboxRow
from gateway.domain.supply import Verb
from gateway.entrypoints.outbox_loop import Clock, Store, Wake
from gateway.services.acknowledge import EPOCH
from gateway.services.order_from_output import order_from_output, refuse_from_output
from gateway.services.portray import Kinds, concerned, kinds, portray
from gateway.services.ports import Essential, Site, SupplyAnswer, Tx, Unavailable

log = structlog.get_logger(__name__)


class Output(Protocol):
    """One foreign system. begin, tell and leave end when it has all of it.

    ready: it may be told; connections: another number means that it must be told everything again. again: it asks for that.
    late_too: it wants what happened while it was away; unsure_s: what was told so long before a connection ended may be lost.
    ConnectionError: it is gone; TimeoutError: it gives no answer.
    """

    name: str
    ready: asyncio.Event
    again: asyncio.Event
    late_too: bool
    unsure_s: float

    @property
    def connections(self) -> int: ...
    async def begin(self, portraits: Sequence[Portrait]) -> None: ...
    async def tell(self, news: News) -> None: ...
    async def leave(self, meters: Collection[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """What the loop keeps to.

    window: rows read and told at a time. drain_per_s: late rows a second, so that live ones stay quick. live_ms: an older row is
    late news. look_s: how often meters that came or went without an event are looked for. save_s: how often the cursor is written
    down; rows after it are told again after a crash. again_s: between two tellings of everything, however often it is asked for.
    idle_s: how often is looked without being woken. retry_s: after a failure, doubled up to longest_retry_s until something was
    told: a broker that takes nothing of ours is not asked without end.
    """

    window: int = 200
    drain_per_s: int = 1000
    live_ms: int = 60_000
    look_s: float = 15.0
    save_s: float = 5.0
    again_s: float = 1.0
    idle_s: float = 1.0
    retry_s: float = 1.0
    longest_retry_s: float = 60.0


DEFAULT_PACE = Pace()

EVERY = 2**63 - 1
"""No sequence number is higher."""

ORDERS_PER_MINUTE = 120
"""Orders of one output that are looked at; more than people press, and few enough that a flood fills no disk with refusals."""


UNAVAILABLE = SupplyAnswer(None, "the store is unavailable: nothing was done, ask again")


@dataclass(slots=True)
class Place:
    """How far one connection is: rows up to `mark` were there when it began, and are told up to `back`; later ones up to `live`.

    sure: up to here nothing can be lost any more. told: the same that is not sure yet, by the loop's second in which it was told.
    painted: the rows up to here are in the present that was told whole, so they are news of the past.
    """

    mark: int
    live: int
    back: int
    sure: int
    told: deque[tuple[float, int]] = field(default_factory=deque)
    painted: int = 0
    again_at: float = 0.0
    drain_at: float = 0.0
    look_at: float = 0.0
    save_at: float = 0.0
    known: Kinds = field(default_factory=dict)


class OutputLoop:
    """One output. meters: those that are read now, None: all of the store. silent: those that do not answer, asked for at each
    beginning; then events tell. dropped: rows that were gone from the store before they were told. told_ms: when it was last
    told a row, UTC.
    """

    def __init__(
        self,
        store: Store,
        output: Output,
        wake: Wake,
        clock: Clock,
        *,
        meters: Callable[[], Collection[str]] | None = None,
        silent: Callable[[], Collection[str]] = frozenset,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._store, self._output, self._wake, self._clock = store, output, wake, clock
        self._meters, self._ask_silent, self._pace = meters, silent, pace
        self._silent: set[str] = set()
        self._key, self._epoch = f"output:{output.name}", ""
        self._saved: int | None = None
        self._trouble, self._retry_s = "", pace.retry_s
        self._place: Place | None = None
        self.dropped = 0
        self.told_ms: int | None = None

    def waiting(self, last: int) -> int:
        """Rows up to `last` that it is still to be told; one that shows the present alone misses none while it is away."""
        place = self._place
        if place is None or not (self._output.late_too or self._output.ready.is_set()):
            return 0
        return max(0, last - place.live) + max(0, place.mark - place.back)

    async def leave(self) -> None:
        """Takes leave of every meter that it was told, once `run` has ended. ConnectionError, TimeoutError as above."""
        if self._place is not None and self._place.known:
            await self._output.leave(sorted(self._place.known))

    async def run(self) -> None:
        """Serves one connection after another; ends only by cancellation. The store must have its epoch."""
        with contextlib.suppress(Unavailable):
            self._place = await self._find()
            await self._save(self._place)  # what happens while its broker is away is not missed
        while True:
            await self._output.ready.wait()
            try:
                await self._serve(self._output.connections)
            except (ConnectionError, TimeoutError, Unavailable) as failed:
                self._say(f"output {self._output.name} waits: {failed}")
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(2 * self._retry_s, self._pace.longest_retry_s)

    async def _serve(self, connection: int) -> None:
        output, place = self._output, await self._begin()
        self._place = place
        self._say("")
        self._retry_s = self._pace.retry_s
        while output.ready.is_set() and output.connections == connection:
            if output.again.is_set():
                await asyncio.sleep(place.again_at - self._now())
                output.again.clear()
                await self._all(place)
            self._wake.take()  # before the look: what is written after it wakes us
            told = await self._step(place)
            await self._save(place)
            if not told:
                await self._wake.wait(self._pause(place))

    async def _find(self) -> Place:
        """How far it was told."""

        def read(tx: Tx) -> tuple[str, int, str | None]:
            return tx.meta(EPOCH) or "", tx.outbox_state().last, tx.meta(self._key)

        self._epoch, last, saved = await self._store.read(read)
        epoch, _, at = (saved or "").partition(" ")
        cursor = min(int(at), last) if self._output.late_too and epoch == self._epoch and at.isdecimal() else last
        self._saved = cursor if saved == f"{self._epoch} {cursor}" else None
        return Place(mark=last, live=last, back=cursor, sure=cursor)

    async def _begin(self) -> Place:
        place = await self._find()
        self._output.again.clear()
        await self._save(place)  # from here on nothing is missed, also where this connection is the first and short
        await self._all(place)
        return place

    async def _all(self, place: Place) -> None:
        """The present of every meter."""
        present = None if self._meters is None else self._meters()

        def read(tx: Tx) -> tuple[Kinds, dict[str, Portrait], int]:
            return (known := kinds(tx, present)), portray(tx, known, self._silent), tx.outbox_state().last

        self._silent, gone = set(self._ask_silent()), set(place.known)
        place.known, portraits, place.painted = await self._store.read(read)
        place.look_at = self._now() + self._pace.look_s
        place.again_at = self._now() + self._pace.again_s
        if gone := gone - set(place.known):
            await self._output.leave(sorted(gone))
        await self._output.begin(list(portraits.values()))

    async def _step(self, place: Place) -> bool:
        """Tells what is most urgent: live rows, then meters that came or went, then late rows. False: there was nothing."""
        if await self._live(place):
            return True
        if self._now() >= place.look_at:
            await self._look(place)
        return await self._late(place)

    async def _live(self, place: Place) -> bool:
        rows, portraits = await self._store.read(lambda tx: self._read(tx, place.known, place.live, EVERY, live=True))
        if not rows:
            return False
        if self._output.again.is_set():
            return True  # all is told anew first
        oldest_ms = self._clock.now_ms() - self._pace.live_ms
        old = [row for row in rows if row.seq <= place.painted or row.message.at_ms < oldest_ms]
        if old:
            await self._output.tell(News(old, portraits, late=True))
        past = {row.seq for row in old}
        await self._output.tell(News([row for row in rows if row.seq not in past], portraits))
        self.told_ms, self.dropped = self._clock.now_ms(), self.dropped + rows[-1].seq - place.live - len(rows)
        place.live = rows[-1].seq
        if any(row.message.topic is Topic.EVENT and row.message.body.get("kind") in MOVES_METERS for row in rows):
            place.look_at = self._now()
        self._count(place)
        return True

    async def _late(self, place: Place) -> bool:
        if place.back >= place.mark or self._now() < place.drain_at:
            return False
        rows, portraits = await self._store.read(lambda tx: self._read(tx, place.known, place.back, place.mark, live=False))
        if self._output.again.is_set():
            return True
        if rows:
            place.drain_at = self._now() + len(rows) / self._pace.drain_per_s
            await self._output.tell(News(rows, portraits, late=True))
            self.told_ms = self._clock.now_ms()
        upto = rows[-1].seq if rows else place.mark
        self.dropped += upto - place.back - len(rows)
        place.back = upto
        self._count(place)
        return bool(rows)

    def _read(self, tx: Tx, known: Kinds, after: int, upto: int, *, live: bool) -> tuple[Sequence[OutboxRow], dict[str, Portrait]]:
        rows = tx.news(after, upto, self._pace.window)
        if live:
            _note_silent(rows, self._silent)
        return rows, portray(tx, (meter for meter in concerned(tx, rows) if meter in known), self._silent)

    async def _look(self, place: Place) -> None:
        """Announces meters that came or are something else now, and takes leave of those that are gone."""
        present = None if self._meters is None else self._meters()

        def read(tx: Tx) -> tuple[Kinds, dict[str, Portrait]]:
            now = kinds(tx, present)
            return now, portray(tx, (name for name in now if now[name] != place.known.get(name)), self._silent)

        before = place.known
        place.known, changed = await self._store.read(read)
        place.look_at = self._now() + self._pace.look_s
        if gone := before.keys() - place.known.keys():
            await self._output.leave(sorted(gone))
        if changed:
            await self._output.tell(News((), changed))

    def _count(self, place: Place) -> None:
        """What was just told will be sure after `unsure_s`."""
        second, cursor = float(int(self._now()) + 1), place.live if place.back >= place.mark else place.back
        if place.told and place.told[-1][0] == second:
            place.told.pop()
        place.told.append((second, cursor))

    async def _save(self, place: Place) -> None:
        """Writes the cursor down, as far as it is sure."""
        now = self._now()
        while place.told and place.told[0][0] + self._output.unsure_s <= now:
            place.sure = place.told.popleft()[1]
        cursor = place.sure
        if self._output.late_too and now >= place.save_at and cursor != self._saved:
            place.save_at = now + self._pace.save_s
            try:
                await self._store.write(lambda tx: tx.set_meta(self._key, f"{self._epoch} {cursor}"))
                self._saved = cursor
            except Unavailable as failed:  # what is told need not wait for it
                self._say(f"output {self._output.name} cannot note how far it is: {failed}")

    def _pause(self, place: Place) -> float:
        ahead = place.drain_at - self._now() if place.back < place.mark else self._pace.idle_s
        return min(max(ahead, 0.0), self._pace.idle_s)

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.warning(trouble)
        self._trouble = trouble

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _note_silent(rows: Iterable[OutboxRow], silent: set[str]) -> None:
    for row in rows:
        kind = row.message.body.get("kind") if row.message.topic is Topic.EVENT else None
        if kind == EventKind.METER_SILENT:
            silent.add(row.message.subject)
        elif kind == EventKind.METER_BACK:
            silent.discard(row.message.subject)


class Orders:
    """What foreign systems ask of switches, one output each. cuts: how a cut of it is ordered; commands: whether any is taken."""

    def __init__(
        self,
        store: Store,
        name: str,
        clock: Clock,
        site: Callable[[], Site],
        *,
        new_id: Callable[[], str],
        woken: Callable[[], None],
        commands: bool = False,
        cuts: OutsideCuts = OutsideCuts(),  # noqa: B008 - frozen
    ) -> None:
        self._store, self._name, self._clock, self._site = store, name, clock, site
        self._new_id, self._woken, self._commands, self._cuts = new_id, woken, commands, cuts
        self._looked_at: deque[float] = deque(maxlen=ORDERS_PER_MINUTE)
        self.counted: Counter[tuple[str, str]] = Counter()

    async def order(self, meter: str, verb: Verb) -> SupplyAnswer:
        """Judges an order and answers for it; never raises."""
        now_ms = self._clock.now_ms()
        if self._flooded():
            self.counted["", Unmoved.TOO_MANY] += 1
            return SupplyAnswer(None, f"more than {ORDERS_PER_MINUTE} orders a minute are not looked at")
        if not self._commands:
            why = f"output {self._name} takes no commands: its configuration does not say commands = true"
            return await self._refuse(why, Unmoved.NOT_SERVED)
        order = supply_order(f"{self._name[:20]}-{self._new_id()}", meter, verb, self._name, self._cuts, now_ms)
        if isinstance(order, str):
            return await self._refuse(order, Unmoved.NOT_SERVED)
        answer = await self._written(lambda tx: order_from_output(tx, order, self._site(), now_ms))
        if answer is not UNAVAILABLE:
            self.counted[("", Unmoved.REFUSED) if answer.refused is not None else (verb.value, "")] += 1
        self._woken()
        return answer

    async def refuse(self, why: str) -> SupplyAnswer:
        """Records what asked for nothing that could be ordered."""
        if self._flooded():
            self.counted["", Unmoved.TOO_MANY] += 1
            return SupplyAnswer(None, why)
        return await self._refuse(why, Unmoved.UNREADABLE)

    async def _refuse(self, why: str, kind: Unmoved) -> SupplyAnswer:
        self.counted["", kind] += 1
        now_ms = self._clock.now_ms()

        def write(tx: Tx) -> SupplyAnswer:
            refuse_from_output(tx, f"output:{self._name}", why, now_ms)
            return SupplyAnswer(None, why)

        return await self._written(write)

    async def _written(self, usecase: Callable[[Tx], SupplyAnswer]) -> SupplyAnswer:
        try:
            return await self._store.write(Essential(usecase))
        except Unavailable as failed:
            log.error(f"an order of output {self._name} could not be judged: {failed}")
            self.counted["", Unmoved.UNAVAILABLE] += 1
            return UNAVAILABLE

    def _flooded(self) -> bool:
        now = asyncio.get_running_loop().time()
        if len(self._looked_at) == ORDERS_PER_MINUTE and now - self._looked_at[0] < 60:
            return True
        self._looked_at.append(now)
        return False
