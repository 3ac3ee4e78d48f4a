"""A line that is always busy: orders go between two exchanges of a job, and a slow store holds up no question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.domain.jobs import ClockJob, ClockReadJob, ClockSetJob, Group, Job, Outcome, ReadbackJob, ReadJob, SwitchJob
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import CommandState, Verb
from gateway.entrypoints.line_loop import INTERRUPTIBLE, Housekeeping
from gateway.services.order_supply import order_supply
from gateway.services.ports import Tx
from tests.gateway.entrypoints.line_bench import SITE, Bench, bare
from tests.simulation.virtual_loop import in_virtual_time

CONTROL, READ = 0x1C, 0x11
STATUS, POWER, DATE, TIME = "04000503", "02030000", "04000101", "04000102"
GAP_S, CHAR_S = 0.02, 11 / 2400


def frames(bench: Bench, since_s: float) -> list[tuple[str, str]]:
    """Meter and identifier asked for on the RS-485 line, or `control`."""
    return [(_meter(data), _what(data)) for at, data in bench.street.lines["rs"].sent if at >= since_s]


def _meter(frame: bytes) -> str:
    return f"m{int(bare(frame)[1:7][::-1].hex()[-2:])}"


def _what(frame: bytes) -> str:
    data = bare(frame)
    return "control" if data[8] == CONTROL else bytes(byte - 0x33 & 0xFF for byte in data[10:14])[::-1].hex()


class During:
    """A link that does something once, as soon as the first question of a job of this kind has left."""

    def __init__(self, bench: Bench, meter: str, kind: type[Job], act: Callable[[], Awaitable[object]]) -> None:
        self.link, self.kind, self.act, self.at_s = bench.links[meter], kind, act, 0.0
        self._line = bench.street.lines["rs"]
        self._send = self._line.send

    async def perform(self, job: Job) -> Outcome:
        if isinstance(job, self.kind) and not self.at_s:
            self._line.send = self._first  # type: ignore[method-assign]
        return await self.link.perform(job)

    async def _first(self, data: bytes) -> None:
        self._line.send = self._send  # type: ignore[method-assign]
        self.at_s = asyncio.get_running_loop().time()
        await self._send(data)
        await self.act()


@in_virtual_time
async def test_an_order_goes_between_the_two_exchanges_of_a_read_back(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=3) as bench:
        await bench.order("m2", Verb.RESTORE, "before")  # so that its clock is known
        await asyncio.sleep(10)
        during = During(bench, "m1", ReadbackJob, lambda: bench.order("m2", Verb.CUT, "cut2"))
        bench.links["m1"] = during
        await bench.order("m1", Verb.CUT, "cut1")
        await asyncio.sleep(20)
        seen = frames(bench, during.at_s)
        assert seen[:3] == [("m1", STATUS), ("m2", "control"), ("m1", POWER)]
        for name in ("cut1", "cut2"):
            done = bench.command(name)
            assert done.state is CommandState.VERIFIED and "load" in done.evidence


@in_virtual_time
async def test_an_order_to_the_meter_that_is_looked_at_waits_for_the_whole_look(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=3) as bench:
        during = During(bench, "m1", ReadbackJob, lambda: bench.order("m1", Verb.RESTORE, "restore"))
        bench.links["m1"] = during
        await bench.order("m1", Verb.CUT, "cut")
        await asyncio.sleep(20)
        assert frames(bench, during.at_s)[:3] == [("m1", STATUS), ("m1", POWER), ("m1", "control")]
        assert bench.command("restore").state is CommandState.VERIFIED and bench.contact_closed("m1")


@in_virtual_time
async def test_nothing_goes_between_an_orders_clock_and_the_order(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=3) as bench:
        await asyncio.sleep(10)
        at_s = asyncio.get_running_loop().time()
        await bench.order("m1", Verb.CUT, "cut1")
        await _question_after(bench, at_s)
        await bench.order("m2", Verb.RESTORE, "restore2")
        await asyncio.sleep(4)
        seen = frames(bench, at_s)
        start = seen.index(("m1", DATE))
        assert seen[start : start + 4] == [("m1", DATE), ("m1", TIME), ("m1", "control"), ("m2", DATE)]


@in_virtual_time
async def test_a_clock_that_was_looked_at_within_the_hour_is_not_read_before_an_order(tmp_path: Path) -> None:
    """By the line's own housekeeping, which is what usually looks."""
    clocks = [ClockReadJob("m1")]
    house = Housekeeping(due_clock=lambda tx, line, site, now_ms: clocks, record_clock=lambda *looked: clocks.clear())
    async with Bench(tmp_path, housekeeping=house) as bench:
        await asyncio.sleep(30)
        assert not clocks
        at_s = asyncio.get_running_loop().time()
        await bench.order("m1", Verb.CUT, "cut")
        await asyncio.sleep(1)
        assert ("m1", "control") in (seen := frames(bench, at_s)) and not {DATE, TIME} & {what for _, what in seen}
        await asyncio.sleep(3700)
        at_s = asyncio.get_running_loop().time()
        await bench.order("m1", Verb.RESTORE, "restore")
        await asyncio.sleep(1)
        assert [what for meter, what in frames(bench, at_s) if what in (DATE, TIME, "control")] == [DATE, TIME, "control"]


@in_virtual_time
async def test_pain_17_a_cut_on_a_saturated_line_waits_for_one_exchange_whenever_it_comes(tmp_path: Path) -> None:
    """Cuts and restores at all moments of what the line does, read-backs of earlier ones included."""
    longest_s = (16 + 40) * CHAR_S + 0.5
    async with Bench(tmp_path, meters=20) as bench:
        line, waits = bench.street.lines["rs"], list[float]()
        for n in range(60):
            await asyncio.sleep(3.37)
            at_s, meter = asyncio.get_running_loop().time(), f"m{n % 20 + 1}"
            await bench.order(meter, (Verb.CUT, Verb.RESTORE)[n // 20 % 2], f"x{n}")
            await asyncio.sleep(2)
            first = next(at for at, data in line.sent if at >= at_s and _meter(data) == meter and _what(data) in (DATE, "control"))
            waits.append(first - at_s)
            in_flight = [at for at, _ in line.sent if at_s <= at < first]
            assert not in_flight, "no question goes before it"
        assert max(waits) < longest_s + GAP_S and min(waits) < longest_s / 4
        await asyncio.sleep(30)
        assert {bench.command(f"x{n}").state for n in range(60)} == {CommandState.VERIFIED}


async def _question_after(bench: Bench, at_s: float) -> None:
    """Until one has left on the RS-485 line."""
    for _ in range(1_000):
        if bench.street.lines["rs"].sent[-1][0] >= at_s:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was asked")


async def _rate(bench: Bench, seconds: float) -> tuple[int, float]:
    """Questions in so many seconds, and the longest time between two."""
    at_s = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    sent = [at for at, _ in bench.street.lines["rs"].sent if at >= at_s]
    return len(sent), max(b - a for a, b in pairwise(sent))


@in_virtual_time
async def test_a_store_that_is_slower_than_the_gap_costs_no_time_of_the_line(tmp_path: Path) -> None:
    """A flash card that takes 100 ms for each commit; what was heard is all recorded, at most one reading behind."""
    async with Bench(tmp_path, meters=20) as bench:
        await asyncio.sleep(40)
        quick, _ = await _rate(bench, 60)
        bench.weak.slow_s, before = 0.1, bench.loops["rs"].recorded
        slow, _ = await _rate(bench, 60)
        assert slow >= 0.97 * quick and bench.loops["rs"].recorded - before >= slow - 2
        bench.weak.slow_s = 2.0
        _, pause_s = await _rate(bench, 60)
        assert 1.9 < pause_s < 2.6, "one is written while one is asked, never more"


@in_virtual_time
async def test_an_order_that_a_reading_brings_is_the_next_but_one_exchange_of_a_slow_store(tmp_path: Path) -> None:
    """It is seen the moment it is written, though nobody else tells the line."""
    async with Bench(tmp_path, meters=20) as bench:
        await asyncio.sleep(10)
        bench.weak.slow_s = 0.1
        house: list[float] = []

        def recorded(tx: Tx, *arguments: object) -> None:
            if not house:
                house.append(asyncio.get_running_loop().time())
                now_ms = bench.clock.now_ms()
                order_supply(tx, SupplyOrder("x", "m9", Verb.CUT, "emergency", "operator", now_ms + 600_000), SITE, now_ms)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gateway.entrypoints.line_loop.record_reading", recorded)
            await asyncio.sleep(3)
        after = frames(bench, house[0])
        assert after.index(("m9", DATE)) <= 1


@in_virtual_time
async def test_what_is_written_behind_and_fails_is_told_and_the_line_goes_on(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=3) as bench:
        await asyncio.sleep(10)
        with capture_logs() as logs, pytest.MonkeyPatch.context() as patch:

            def broken(*arguments: object) -> None:
                raise LookupError("a fault of ours")

            patch.setattr("gateway.entrypoints.line_loop.record_reading", broken)
            await asyncio.sleep(300)
        pauses = [entry["pause_s"] for entry in logs if entry["event"] == "line_loop_error" and entry["line"] == "rs"]
        assert pauses[:5] == [2.0, 4.0, 8.0, 16.0, 32.0] and bench.running
        before = bench.readings("m1")
        await asyncio.sleep(90)
        assert bench.readings("m1") > before


@in_virtual_time
async def test_what_is_written_behind_is_kept_when_the_line_ends(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=1) as bench:
        await asyncio.sleep(10)
        bench.weak.slow_s = 5.0
        loop, at_s = bench.loops["rs"], asyncio.get_running_loop().time()
        loop.plan.ask("m1", Group.BILLING, bench.clock.now_ms())
        await _question_after(bench, at_s)
        await asyncio.sleep(2)
        before = loop.recorded
        task = bench._tasks[0]
        task.cancel()
        await asyncio.wait([task])
        assert loop.recorded == before + 1


def test_a_read_may_be_interrupted_but_not_what_carries_a_time() -> None:
    assert issubclass(ReadJob, INTERRUPTIBLE)
    assert not any(issubclass(job, INTERRUPTIBLE) for job in (ClockJob, ClockSetJob, SwitchJob))
