"""The outbox loop in virtual time, on a real store and a link that the test holds in its hand."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, TypeVar

from structlog.testing import capture_logs

from gateway.adapters.store import Store
from gateway.domain.events import EventKind, Json, Outgoing, Topic
from gateway.domain.records import OutboxRow
from gateway.entrypoints.line_loop import Wake
from gateway.entrypoints.outbox_loop import Bounds, OutboxLoop
from gateway.services.acknowledge import EPOCH, acknowledge
from gateway.services.ports import Tx, Unavailable
from gateway.services.thin_outbox import tell_dropped
from tests.simulation.virtual_loop import START_MS, VirtualClock, in_virtual_time

T = TypeVar("T")
ANSWER_S = 10.0


@dataclass(frozen=True)
class Sent:
    """One message as the broker got it, and when."""

    seq: int
    low: int
    backlog: bool
    at: float


class FakeLink:
    """A broker in memory: answers a batch after the next of `delays_s`, loses the acknowledgements of `deaf` numbers once,
    does not take `unwanted` ones, dies when told."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.connections = 0
        self.sent: list[Sent] = []
        self.deaf: set[int] = set()
        self.unwanted: set[int] = set()
        self.delays_s: Iterator[float] = itertools.repeat(0.001)
        self.under_way = 0
        self.most_under_way = 0
        self._lost = asyncio.Event()

    def connect(self) -> None:
        self.connections += 1
        self._lost = asyncio.Event()
        self.connected.set()

    def lose(self) -> None:
        self.connected.clear()
        self._lost.set()

    async def publish(self, rows: Sequence[OutboxRow], *, epoch: str, low: int, late: bool, live_ms: int) -> list[bool | None]:
        if not self.connected.is_set():
            raise ConnectionError("no connection")
        delay_s = next(self.delays_s)
        answers = [self._one(row, low, late or row.message.at_ms < live_ms, delay_s) for row in rows]
        return list(await asyncio.gather(*answers))

    async def _one(self, row: OutboxRow, low: int, backlog: bool, delay_s: float) -> bool | None:
        self.sent.append(Sent(row.seq, low, backlog, asyncio.get_running_loop().time()))
        if row.seq in self.unwanted:
            return False
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            deaf = row.seq in self.deaf
            self.deaf.discard(row.seq)
            async with asyncio.timeout(ANSWER_S if deaf else delay_s):
                await self._lost.wait()
            raise ConnectionError("lost")
        except TimeoutError:
            return None if deaf else True
        finally:
            self.under_way -= 1

    @property
    def seqs(self) -> list[int]:
        return [sent.seq for sent in self.sent]


class Flaky:
    """A store that takes no writes while it is down."""

    def __init__(self, store: Store) -> None:
        self._store, self.read = store, store.read
        self.down = False

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        if self.down:
            raise Unavailable("the disk is full")
        return await self._store.write(usecase)


class House:
    """A store, a link and the loop between them."""

    def __init__(self, path: Path, by: Literal["central", "broker"], bounds: Bounds) -> None:
        self.store = Store.open(str(path / "store.db"), inline=True, rng=Random(1))
        self.link, self.clock, self.wake = FakeLink(), VirtualClock(), Wake()
        self.flaky = Flaky(self.store)
        self.loop = OutboxLoop(self.flaky, self.link, self.wake.listener(), self.clock, by=by, bounds=bounds)
        self.epoch = self.store.read_now(lambda tx: tx.meta(EPOCH)) or ""

    async def add(self, count: int, at_ms: int | None = None) -> None:
        at = self.clock.now_ms() if at_ms is None else at_ms
        body: dict[str, Json] = {"kind": "line_up", "meter": None, "account": None, "data": {}}
        await self.store.write(lambda tx: [tx.add_outgoing(Outgoing(Topic.EVENT, "gateway", at, body)) for _ in range(count)])
        self.wake.notify()

    async def ack(self, upto: int, *also: tuple[int, int]) -> int:
        return await self.store.write(lambda tx: acknowledge(tx, self.epoch, upto, also, self.clock.now_ms()))

    def waiting(self) -> list[int]:
        return [row.seq for row in self.store.read_now(lambda tx: tx.outgoing(0, 10_000))]

    def dropped(self) -> list[object]:
        """The ranges of the events `dropped`, oldest first."""
        events = [stored.event for stored in reversed(self.store.read_now(lambda tx: tx.events(1000)))]
        return [event.data["ranges"] for event in events if event.kind is EventKind.DROPPED]

    def unpublished(self) -> list[int]:
        return [row.seq for row in self.store.read_now(lambda tx: tx.outgoing(0, 10_000)) if row.published_ms is None]


@contextlib.asynccontextmanager
async def house(path: Path, *, by: Literal["central", "broker"] = "central", bounds: Bounds | None = None) -> AsyncIterator[House]:
    inside = House(path, by, bounds or Bounds())
    running = asyncio.create_task(inside.loop.run())
    try:
        yield inside
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.wait((running,))
        inside.store.close()


@in_virtual_time
async def test_rows_go_in_order_are_marked_and_stay_until_the_centre_has_them(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.link.connect()
        await asyncio.sleep(0.1)
        await h.add(5)
        await asyncio.sleep(0.1)
        assert h.link.seqs == [1, 2, 3, 4, 5]
        assert all(sent.low == 1 and not sent.backlog for sent in h.link.sent)
        assert (h.waiting(), h.unpublished()) == ([1, 2, 3, 4, 5], [])
        assert await h.ack(2, (4, 4)) == 3
        await h.add(1)
        await asyncio.sleep(0.1)
        assert h.waiting() == [3, 5, 6]
        assert h.link.sent[-1] == Sent(6, 3, False, h.link.sent[-1].at)


@in_virtual_time
async def test_a_row_wakes_the_loop_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.link.connect()
        await asyncio.sleep(100.5)
        before = asyncio.get_running_loop().time()
        await h.add(1)
        await asyncio.sleep(0.01)
        assert [sent.at for sent in h.link.sent] == [before]


@in_virtual_time
async def test_never_more_than_the_window_is_under_way(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(window=7)) as h:
        h.link.delays_s = itertools.repeat(0.5)
        await h.add(40)
        h.link.connect()
        await asyncio.sleep(0.1)
        await h.add(40)
        await asyncio.sleep(30)
        assert sorted(h.link.seqs) == list(range(1, 81))
        assert h.link.most_under_way == 9  # two batches of half a window, and one of live rows


@in_virtual_time
async def test_a_lost_puback_is_no_reason_to_forget(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.link.deaf = {2}
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(3)
        await asyncio.sleep(ANSWER_S - 1)
        assert h.unpublished() == [1, 2, 3]  # the batch is marked as a whole, once its answers are in
        await asyncio.sleep(2)
        assert (h.link.seqs, h.unpublished()) == ([1, 2, 3, 2], [])


@in_virtual_time
async def test_after_a_reconnect_all_that_was_not_acknowledged_goes_again_as_backlog(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(6)
        await asyncio.sleep(0.1)
        await h.ack(1, (3, 4))
        h.link.lose()
        await h.add(2)
        await asyncio.sleep(5)
        first, h.link.sent = h.link.sent, []
        h.link.connect()
        await asyncio.sleep(1)
        assert [s.seq for s in first] == [1, 2, 3, 4, 5, 6]
        assert h.link.seqs == [2, 5, 6, 7, 8]
        assert all(s.backlog and s.low == 2 for s in h.link.sent)


@in_virtual_time
async def test_a_connection_lost_under_way_leaves_nothing_marked(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.link.delays_s = itertools.repeat(1.0)
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(3)
        await asyncio.sleep(0.5)
        h.link.lose()
        await asyncio.sleep(3)
        assert h.unpublished() == [1, 2, 3]
        h.link.connect()
        await asyncio.sleep(3)
        assert (h.link.seqs, h.unpublished()) == ([1, 2, 3, 1, 2, 3], [])


@in_virtual_time
async def test_live_goes_before_the_backlog_and_the_backlog_at_its_rate(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(window=10, drain_per_s=20)) as h:
        await h.add(100)
        h.link.connect()
        started = asyncio.get_running_loop().time()
        await asyncio.sleep(1.2)
        at = asyncio.get_running_loop().time()
        await h.add(3)
        await asyncio.sleep(10)
        live = [s for s in h.link.sent if s.seq > 100]
        late = [s for s in h.link.sent if s.seq <= 100]
        assert [(s.seq, s.backlog) for s in live] == [(101, False), (102, False), (103, False)]
        assert all(s.at - at < 0.05 for s in live)
        assert [s.seq for s in late] == list(range(1, 101)) and all(s.backlog for s in late)
        for ten_more in range(10, 100):
            assert late[ten_more].at - late[ten_more - 10].at > 0.499 - 0.05
        assert late[-1].at - started < 5.5


@in_virtual_time
async def test_a_broker_that_answers_unevenly_does_not_slow_the_backlog_down(tmp_path: Path) -> None:
    """Every third batch could go 30 ms later than its time: what is late once is not late for ever."""
    async with house(tmp_path, bounds=Bounds(window=10, drain_per_s=20)) as h:
        await h.add(200)
        h.link.delays_s = itertools.cycle((0.23, 0.23, 0.01, 0.01))
        h.link.connect()
        started = asyncio.get_running_loop().time()
        await asyncio.sleep(15)
        assert h.link.seqs == [*range(1, 201)]
        assert 9.8 < h.link.sent[-1].at - started < 10


@in_virtual_time
async def test_an_old_row_is_late_news_whenever_it_is_written(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(live_ms=60_000)) as h:
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(1, at_ms=START_MS - 60_001)
        await h.add(1, at_ms=START_MS - 59_000)
        await asyncio.sleep(0.1)
        assert [(s.seq, s.backlog) for s in h.link.sent] == [(1, True), (2, False)]


@in_virtual_time
async def test_resend_sends_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(window=4)) as h:
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(20)
        await asyncio.sleep(1)
        await h.ack(2, (6, 7), (15, 20))
        h.link.sent.clear()
        assert not h.loop.resend("another", [(1, 20)])
        assert h.loop.resend(h.epoch, [(1, 1), (5, 10), (14, 2**60)])
        await asyncio.sleep(3)
        assert h.link.seqs == [1, 5, 6, 7, 8, 9, 10, *range(14, 21)]  # also what was acknowledged
        assert all(s.backlog and s.low == 3 for s in h.link.sent)
        await asyncio.sleep(20)
        assert len(h.link.sent) == 14
        await h.ack(20)
        h.loop.resend(h.epoch, [(2, 3)])
        await asyncio.sleep(2)
        assert [(s.seq, s.low) for s in h.link.sent[14:]] == [(2, 21), (3, 21)]


@in_virtual_time
async def test_what_is_asked_for_and_still_to_be_sent_waits_for_its_turn(tmp_path: Path) -> None:
    """A backlog of more than a minute: the centre asks for what is on its way. It would come twice, and out of order."""
    async with house(tmp_path, bounds=Bounds(window=10, drain_per_s=20)) as h:
        await h.add(100)
        await h.ack(0, (90, 95))
        h.link.connect()
        await asyncio.sleep(1.2)
        sent = h.link.seqs[-1]
        assert 20 < sent < 40
        assert h.loop.resend(h.epoch, [(15, 16), (50, 100)])
        await asyncio.sleep(10)
        asked = {15, 16, *range(90, 96)}
        assert [seq for seq in h.link.seqs if seq not in asked] == [n for n in range(1, 101) if n not in asked]
        assert [seq for seq in h.link.seqs if seq in asked] == [15, 16, 15, 16, *range(90, 96)]


@in_virtual_time
async def test_what_explains_the_holes_does_not_wait_behind_them(tmp_path: Path) -> None:
    """A thinned month: the centre cannot acknowledge so many holes, and the events that name them are the newest."""
    async with house(tmp_path, bounds=Bounds(window=10, ahead=20)) as h:
        await h.add(100)
        await h.store.write(lambda tx: tell_dropped(tx, [(7, 9)], "why", h.clock.now_ms()))
        h.link.connect()
        await asyncio.sleep(5)
        assert h.link.seqs[-1] == 101 and h.link.seqs.count(101) == 1
        assert 20 <= len(h.link.seqs) <= 40


@in_virtual_time
async def test_a_request_that_comes_with_the_connection_is_not_forgotten(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.add(5)
        await h.ack(5)
        await asyncio.sleep(1)
        h.link.connect()
        assert h.loop.resend(h.epoch, [(2, 3)])
        await asyncio.sleep(2)
        assert h.link.seqs == [2, 3]


@in_virtual_time
async def test_what_is_asked_for_and_not_here_any_more_is_named_once_a_minute(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(window=4)) as h:
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(12)
        await asyncio.sleep(1)
        await h.store.write(lambda tx: tx.drop_outgoing([2, 3, 7, 11, 12]))
        h.link.sent.clear()
        for _ in range(3):
            h.loop.resend(h.epoch, [(1, 4), (6, 8), (10, 99)])
            await asyncio.sleep(5)
        told = h.dropped()
        assert told == [[[2, 3], [7, 7], [11, 12]]]
        assert h.link.seqs[:6] == [1, 4, 6, 8, 10, 13]
        await asyncio.sleep(60)
        h.loop.resend(h.epoch, [(7, 7)])
        await asyncio.sleep(5)
        assert h.dropped() == [*told, [[7, 7]]]


@in_virtual_time
async def test_the_backlog_waits_for_a_centre_that_owes_too_many_answers(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(window=10, ahead=20)) as h:
        await h.add(100)
        h.link.connect()
        await asyncio.sleep(30)
        assert h.link.seqs == list(range(1, 26)), "the bound, and what was under way"
        await h.add(1)
        await asyncio.sleep(1)
        assert h.link.seqs[25:] == [101]
        await h.ack(0, (101, 101))
        h.loop.heard(0, [(101, 101)])
        await asyncio.sleep(6)
        assert h.link.seqs[26:] == list(range(1, 26)), "lost is only what was sent"
        for upto in range(20, 101, 20):
            await h.ack(upto)
            h.loop.heard(upto)
            h.wake.notify()
            await asyncio.sleep(1)
        assert h.link.seqs[51:] == list(range(26, 101)) and h.waiting() == []


@in_virtual_time
async def test_a_broker_that_answers_no_is_asked_again_later_only(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.link.unwanted = {2}
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(3)
        await asyncio.sleep(30)
        assert (h.link.seqs, h.unpublished()) == ([1, 2, 3], [2])
        h.link.unwanted = set()
        await asyncio.sleep(40)
        assert h.unpublished() == []


@in_virtual_time
async def test_what_was_sent_is_known_as_far_as_it_can_be(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await asyncio.sleep(5)
        await h.add(7)
        await asyncio.sleep(5)
        assert h.loop.sent == 0
        h.link.connect()
        await asyncio.sleep(1)
        assert h.loop.sent == 7
        h.loop.heard(5)
        h.loop.heard(7)
        assert sum(h.loop.latency.counts) == 7 and h.loop.latency.sum_s < 10


@in_virtual_time
async def test_a_newer_request_replaces_the_one_before_and_is_bounded(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(resend_ranges=2)) as h:
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(20)
        await asyncio.sleep(1)
        h.link.sent.clear()
        h.loop.resend(h.epoch, [(1, 20)])
        h.loop.resend(h.epoch, [(3, 3), (5, 5), (7, 7)])
        await asyncio.sleep(5)
        assert h.link.seqs == [3, 5]


@in_virtual_time
async def test_the_first_rows_are_sent_again_when_the_centre_stays_silent_ever_more_rarely(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(window=2, probe_s=60, longest_probe_s=200)) as h:
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(3)
        await asyncio.sleep(800)
        probes = [s.at for s in h.link.sent[3:] if s.seq == 1]
        assert set(h.link.seqs[3:]) == {1}
        assert [round(b - a, -1) for a, b in zip([0.0, *probes], probes, strict=False)] == [60, 120, 200, 200, 200]
        await h.ack(3)
        count = len(h.link.sent)
        await asyncio.sleep(1000)
        assert (len(h.link.sent), h.waiting()) == (count, [])


@in_virtual_time
async def test_a_centre_that_is_silent_is_told_once_and_that_it_is_heard_again(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with house(tmp_path, bounds=Bounds(probe_s=60, longest_probe_s=200)) as h:
            h.link.connect()
            await h.add(3)
            await asyncio.sleep(800)
            h.link.lose()
            await asyncio.sleep(1)
            h.link.connect()
            await asyncio.sleep(800)
            h.loop.heard(3)
            await asyncio.sleep(1)
    assert [log["event"] for log in logs] == [
        "the centre has acknowledged nothing for 60 s, although the broker takes our messages; "
        "they wait here and go again now and then",
        "the centre acknowledges again",
    ]


@in_virtual_time
async def test_what_was_lost_behind_the_broker_goes_again_once_the_centre_is_heard(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(window=4, lost_s=5, probe_s=60)) as h:
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(10)
        await asyncio.sleep(20)
        await h.ack(0, (8, 8))
        h.loop.heard(0, [(8, 8)])
        await asyncio.sleep(4)
        await h.add(1)
        await asyncio.sleep(0.5)
        assert h.link.seqs == list(range(1, 12))
        await asyncio.sleep(2)
        assert h.link.seqs[11:] == [1, 2, 3, 4, 5, 6, 7]  # 9 to 11 may still be on their way
        await h.ack(7)
        await asyncio.sleep(30)
        assert len(h.link.sent) == 18
        await h.ack(7, (11, 11))
        h.loop.heard(7, [(11, 11)])
        await asyncio.sleep(6)
        assert h.link.seqs[18:] == [9, 10]


@in_virtual_time
async def test_an_answered_probe_brings_all_that_was_lost_before_it(tmp_path: Path) -> None:
    async with house(tmp_path, bounds=Bounds(window=4, lost_s=5, probe_s=60)) as h:
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(10)
        await asyncio.sleep(65)
        assert h.link.seqs[10:] == [1, 2]
        await h.ack(2)
        h.loop.heard(2)
        await asyncio.sleep(10)
        assert h.link.seqs[12:] == [3, 4, 5, 6, 7, 8, 9, 10]


@in_virtual_time
async def test_with_the_broker_as_judge_a_puback_is_enough(tmp_path: Path) -> None:
    async with house(tmp_path, by="broker") as h:
        h.link.deaf = {2}
        h.link.connect()
        await asyncio.sleep(0)
        await h.add(3)
        await asyncio.sleep(ANSWER_S + 1)
        assert (h.waiting(), h.link.seqs) == ([], [1, 2, 3, 2])


@in_virtual_time
async def test_a_store_that_cannot_is_asked_again(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.add(2)
        h.flaky.down = True
        h.link.connect()
        await asyncio.sleep(2.5)
        assert h.unpublished() == [1, 2] and len(h.link.sent) >= 4
        h.flaky.down = False
        await asyncio.sleep(3)
        assert h.unpublished() == []
