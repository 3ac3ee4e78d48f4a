"""Guests on a line: a turn between its own jobs, in its own task, and a clear word when there is none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.domain.jobs import Job, Outcome
from gateway.domain.supply import Verb
from gateway.entrypoints.guests import GUEST_S, MAX_GUESTS, Busy, Guests, LineGone
from gateway.entrypoints.line_loop import Link
from gateway.services.ports import Unavailable
from tests.gateway.entrypoints.line_bench import Bench
from tests.simulation.virtual_loop import in_virtual_time

CONTROL = 0x1C


class Watched:
    """A meter's link that notes whenever it is at work."""

    def __init__(self, link: Link, at_work: list[str]) -> None:
        self._link, self._at_work = link, at_work

    async def perform(self, job: Job) -> Outcome:
        self._at_work.append("own")
        try:
            return await self._link.perform(job)
        finally:
            self._at_work.append("done")


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def nothing() -> str:
    return "nothing"


@in_virtual_time
async def test_a_guest_has_its_turn_between_two_jobs_in_the_loops_own_task(tmp_path: Path) -> None:
    """20 meters at 2400 baud, whose readings come round faster than they can be read."""
    async with Bench(tmp_path, meters=20) as bench:
        at_work: list[str] = []
        for name in bench.names:
            bench.links[name] = Watched(bench.links[name], at_work)
        loop = bench.loops["rs"]

        async def work() -> str:
            at_work.append("guest")
            await asyncio.sleep(0.2)
            at_work.append("gone")
            task = asyncio.current_task()
            assert task is not None
            return getattr(task.get_coro(), "__qualname__", "")

        await asyncio.sleep(5)
        begun = now_s()
        assert await loop.guest(work) == "LineLoop.run"
        assert now_s() - begun < 2.5, "a few exchanges at most"
        await asyncio.sleep(5)
        for begin, end in zip(at_work[::2], at_work[1::2], strict=False):
            assert (begin, end) in (("own", "done"), ("guest", "gone")), "one at a time"


@in_virtual_time
async def test_a_search_waits_for_others_but_not_for_ever(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=20) as bench:
        await asyncio.sleep(5)
        order: list[str] = []

        async def work(name: str) -> None:
            order.append(name)

        searches = [asyncio.create_task(bench.loops["rs"].guest(lambda: work("search"), search=True)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.gather(*(bench.loops["rs"].guest(lambda: work("read")) for _ in range(3)))
        assert order == ["read", "read", "read"]
        begun = now_s()
        await asyncio.gather(*searches)
        assert now_s() - begun < 2 * 33 * 0.6


@in_virtual_time
async def test_an_idle_line_takes_a_guest_at_once_and_an_order_goes_first(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=1) as bench:
        await asyncio.sleep(5.5)
        begun = now_s()
        assert await bench.loops["rs"].guest(nothing, search=True) == "nothing"
        assert now_s() - begun < 0.5
        sent: list[float] = []

        async def work() -> None:
            sent.extend(bench.frames(CONTROL))

        guests = [asyncio.create_task(bench.loops["rs"].guest(work)) for _ in range(2)]
        await bench.order("m1", Verb.CUT, "cut")
        await asyncio.gather(*guests)
        assert len(sent) == 2, "the order had been sent when the first guest was let in"


@in_virtual_time
async def test_what_a_guest_raises_is_its_own(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        loop = bench.loops["rs"]

        async def work() -> None:
            raise ZeroDivisionError("a fault of the guest")

        with pytest.raises(ZeroDivisionError):
            await loop.guest(work)
        before = bench.readings("m1")
        assert await loop.guest(nothing) == "nothing"
        await asyncio.sleep(30)
        assert bench.running and bench.readings("m1") > before


@in_virtual_time
async def test_the_queue_is_bounded_and_who_leaves_makes_room(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        loop = bench.loops["rs"]
        async with loop.turn:
            ran: list[int] = []

            async def work(n: int) -> int:
                ran.append(n)
                return n

            tasks = [asyncio.create_task(loop.guest(lambda n=n: work(n))) for n in range(MAX_GUESTS)]  # type: ignore[misc]
            await asyncio.sleep(1)
            with pytest.raises(Busy, match=f"{MAX_GUESTS} requests wait"):
                await loop.guest(nothing)
            tasks[3].cancel()
            await asyncio.sleep(0)
            last = asyncio.create_task(loop.guest(nothing))
            await asyncio.sleep(1)
            assert not ran, "whoever holds the turn holds up the line"
        assert await last == "nothing"
        await asyncio.wait(tasks)
        assert ran == [n for n in range(MAX_GUESTS) if n != 3] and tasks[3].cancelled()


@in_virtual_time
async def test_a_guest_that_is_cancelled_during_its_turn_harms_nobody(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        ended: list[float] = []

        async def work() -> None:
            await asyncio.sleep(3)
            ended.append(now_s())

        task = asyncio.create_task(bench.loops["rs"].guest(work))
        await asyncio.sleep(2)
        task.cancel()
        await asyncio.sleep(30)
        assert task.cancelled() and ended, "an exchange on the wire cannot be called back"
        assert bench.running and bench.readings("m1") > 0


@in_virtual_time
async def test_a_guest_is_told_at_once_that_the_line_or_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Bench(tmp_path) as bench:
        loop = bench.loops["rs"]
        await asyncio.sleep(5)

        async def unplug() -> None:
            bench.street.lines["rs"].unplug()

        first, second = (asyncio.create_task(loop.guest(work)) for work in (unplug, nothing))
        with pytest.raises(LineGone, match="down"):
            await second
        await first
        begun = now_s()
        with pytest.raises(LineGone, match="down"):
            await loop.guest(nothing)
        assert now_s() == begun
        bench.street.lines["rs"].plug()
        await asyncio.sleep(3)
        assert await loop.guest(nothing) == "nothing"
        bench.weak.full = True
        await asyncio.sleep(40)
        assert await loop.guest(nothing) == "nothing", "a store that cannot be written is no reason"

        async def unreadable(query: object) -> object:
            raise Unavailable("the disk is gone")

        monkeypatch.setattr(bench.weak, "read", unreadable)
        with pytest.raises(LineGone, match="store"):
            await loop.guest(nothing)
        monkeypatch.undo()
        bench.weak.full = False
        await asyncio.sleep(5)
        assert await loop.guest(nothing) == "nothing"


@in_virtual_time
async def test_guests_do_not_wait_for_a_line_that_has_ended(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        loop = bench.loops["rs"]

        async def hang() -> None:
            await asyncio.sleep(1_000)

        inside = asyncio.create_task(loop.guest(hang))
        await asyncio.sleep(3)
        waits = asyncio.create_task(loop.guest(nothing))
        await asyncio.sleep(1)
    for task in (inside, waits):
        with pytest.raises(LineGone):
            await task
    with pytest.raises(LineGone):
        await loop.guest(nothing)


@in_virtual_time
async def test_a_guest_that_hangs_is_put_out(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:

        async def hang() -> None:
            await bench.loops["rs"].guest(nothing)  # waits for itself

        with pytest.raises(TimeoutError):
            await bench.loops["rs"].guest(hang)
        assert now_s() < GUEST_S + 5
        before = bench.readings("m1")
        await asyncio.sleep(30)
        assert bench.readings("m1") > before


async def test_one_that_has_gone_costs_no_turn() -> None:
    guests, ran = Guests(), []

    async def work() -> None:
        ran.append(1)

    task = asyncio.create_task(guests.enter(work, search=False))
    await asyncio.sleep(0)
    [job] = guests.jobs
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await guests.serve(job)
    assert guests.jobs == () and not ran
