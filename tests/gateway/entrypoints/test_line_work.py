"""What a line does besides its own readings: the meters' past, their clocks, another configuration; and what it costs the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.domain.events import EventKind
from gateway.domain.jobs import (
    Answered,
    ClockJob,
    ClockReadJob,
    ClockSetJob,
    Failed,
    Fault,
    Group,
    HistoryJob,
    Job,
    Outcome,
    ReadJob,
    Want,
)
from gateway.domain.readings import Reading
from gateway.domain.supply import CommandState, Verb
from gateway.entrypoints.line_loop import Housekeeping, Link
from gateway.entrypoints.line_store import CLOCK_AHEAD, CLOCK_LOOK_S, LOOK_S, PAST_AHEAD, PAST_LOOK_S, ClockWork
from gateway.services.plan import Poll
from gateway.services.ports import Site, Tx
from tests.gateway.entrypoints.line_bench import PERIODS, Bench, bare
from tests.simulation.virtual_loop import in_virtual_time

CONTROL, READ = 0x1C, 0x11
SILENT = Failed(Fault.SILENT, "no answer")


def day(meter: str, n: int, *, backfill: bool = False) -> HistoryJob:
    return HistoryJob(meter, Want.DAY, n, n, backfill)


@dataclass
class Chores:
    """Stand-ins for the four use cases; what was done is due no more."""

    past: list[HistoryJob] = field(default_factory=list)
    clocks: list[ClockWork] = field(default_factory=list)
    done: list[tuple[Job, Outcome]] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    clock_looks: list[float] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    most: int = 10_000

    def due_history(self, tx: Tx, line: str, now_ms: int, limit: int) -> Sequence[HistoryJob]:
        assert line == "rs"
        self.looks.append(now_s())
        self._break("due_history")
        return self.past[: min(limit, self.most)]

    def record_history(self, tx: Tx, job: HistoryJob, outcome: Outcome, site: Site, now_ms: int) -> None:
        self._break("record_history")
        self.done.append((job, outcome))
        self.past.remove(job)

    def due_clock(self, tx: Tx, line: str, site: Site, now_ms: int) -> Sequence[ClockWork]:
        self.clock_looks.append(now_s())
        self._break("due_clock")
        return self.clocks

    def record_clock(self, tx: Tx, job: ClockWork, outcome: Outcome, site: Site, now_ms: int) -> None:
        self.done.append((job, outcome))
        self._break("record_clock")
        self.clocks.remove(job)

    def kept(self) -> Housekeeping:
        return Housekeeping(self.due_history, self.record_history, self.due_clock, self.record_clock)

    def _break(self, name: str) -> None:
        if name in self.broken:
            raise LookupError(f"a fault of ours in {name}")


class Answers:
    """A link that also knows a past and a clock; all else goes to the meter. asked: what it was asked of those."""

    def __init__(self, link: Link, outcome: Outcome | None = None) -> None:
        self._link, self._outcome = link, outcome or Answered()
        self.asked: list[tuple[float, Job]] = []

    async def perform(self, job: Job) -> Outcome:
        if not isinstance(job, HistoryJob | ClockReadJob | ClockSetJob | ClockJob):
            return await self._link.perform(job)
        self.asked.append((now_s(), job))
        await asyncio.sleep(0.3)
        return self._outcome


class Nobody:
    """Whoever broadcasts has no meter behind him."""

    async def perform(self, job: Job) -> Outcome:
        raise AssertionError(f"{job} is not his")


def now_s() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_the_past_is_fetched_between_readings_and_written_down(tmp_path: Path) -> None:
    chores = Chores(past=[day(f"m{1 + n % 2}", n) for n in range(PAST_AHEAD + 8)])
    async with Bench(tmp_path, housekeeping=chores.kept()) as bench:
        for name in bench.names:
            bench.links[name] = Answers(bench.links[name])
        wanted = list(chores.past)
        await asyncio.sleep(60)
        assert [job for job, _ in chores.done] == wanted and all(isinstance(o, Answered) for _, o in chores.done)
        assert bench.readings("m1") >= 6, "and everything else goes on"
        again = [b - a for a, b in pairwise(chores.looks)]
        assert max(again) <= PAST_LOOK_S + LOOK_S and len(chores.looks) < 60 / PAST_LOOK_S + 4


@in_virtual_time
async def test_what_one_meter_has_is_fetched_without_a_pause_though_only_one_of_it_is_due_at_a_time(tmp_path: Path) -> None:
    chores = Chores(past=[day("m1", n) for n in range(30)], most=1)
    async with Bench(tmp_path, housekeeping=chores.kept()) as bench:
        for name in bench.names:
            bench.links[name] = Answers(bench.links[name])
        await asyncio.sleep(30)
        assert len(chores.done) == 30


@in_virtual_time
async def test_a_fetch_in_vain_is_written_down_too(tmp_path: Path) -> None:
    chores = Chores(past=[day("m1", 1), day("stranger", 2)])
    async with Bench(tmp_path, housekeeping=chores.kept()) as bench:
        bench.links["m1"] = Answers(bench.links["m1"], SILENT)
        await asyncio.sleep(20)
        outcomes = dict(chores.done)
        assert outcomes[day("m1", 1)] == SILENT
        unknown = outcomes[day("stranger", 2)]
        assert isinstance(unknown, Failed) and unknown.fault is Fault.REFUSED and unknown.certain
        assert bench.events(EventKind.METER_SILENT) == []


@in_virtual_time
async def test_the_past_of_dead_meters_hides_nobodys(tmp_path: Path) -> None:
    """Forty days that m1 cannot give stand before one of m2; when m1 is back, what it missed is fetched."""
    dead = [day("m1", n) for n in range(PAST_AHEAD + 8)]
    chores = Chores(past=list(dead))
    async with Bench(tmp_path, housekeeping=chores.kept()) as bench:
        bench.street.station("m1").faults.set("silent")
        await asyncio.sleep(60)
        for name in bench.names:
            bench.links[name] = Answers(bench.links[name])
        chores.done.clear()
        missing = list(chores.past)
        assert len(missing) > PAST_AHEAD, "a silent meter is hardly asked"
        chores.past.append(day("m2", 99))
        await asyncio.sleep(3 * PAST_LOOK_S)
        assert [job for job, _ in chores.done] == [day("m2", 99)]
        reads = bench.weak.reads
        await asyncio.sleep(60)
        assert bench.weak.reads - reads < 3 * 60 * 2, "nor is the store asked all the time"
        bench.street.station("m1").faults.clear("silent")
        await asyncio.sleep(300)
        assert [job for job, _ in chores.done[1:]] == missing


@in_virtual_time
async def test_clocks_are_looked_up_once_a_minute_and_go_to_whom_they_concern(tmp_path: Path) -> None:
    clock_link = Answers(Nobody())
    chores = Chores(clocks=[ClockReadJob("m1"), ClockSetJob("m2"), ClockJob("rs")])
    async with Bench(tmp_path, housekeeping=chores.kept(), clock_link=clock_link) as bench:
        links = {name: Answers(bench.links[name]) for name in bench.names}
        bench.links.update(links)
        await asyncio.sleep(10)
        assert {job for job, _ in chores.done} == {ClockReadJob("m1"), ClockSetJob("m2"), ClockJob("rs")}
        asked = [[job for _, job in link.asked] for link in (links["m1"], links["m2"], clock_link)]
        assert asked == [[ClockReadJob("m1")], [ClockSetJob("m2")], [ClockJob("rs")]]
        chores.clocks = [ClockReadJob("m1")] * 1_000
        await asyncio.sleep(4 * CLOCK_LOOK_S)
        assert 4 <= len(chores.clock_looks) <= 5
        assert len(chores.done) <= 3 + 5 * CLOCK_AHEAD


@in_virtual_time
async def test_pain_18_faults_of_what_keeps_house_hold_up_no_order_and_no_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.entrypoints.line_store.PAST_REJECTED_S", 180.0)
    chores = Chores(past=[day("m1", 1), day("m2", 2)], clocks=[ClockReadJob("m1")])
    chores.broken = {"due_history", "due_clock"}
    async with Bench(tmp_path, housekeeping=chores.kept()) as bench:
        for name in bench.names:
            bench.links[name] = Answers(bench.links[name], SILENT)
        with capture_logs() as logs:
            await bench.order("m1", Verb.CUT, "cut")
            await asyncio.sleep(10)
            assert bench.command("cut").state is CommandState.VERIFIED
            chores.broken = {"record_history", "record_clock"}
            await asyncio.sleep(120)
        assert bench.readings("m2") >= 10
        assert bench.events(EventKind.METER_SILENT) == []
        kinds = [entry["event"] for entry in logs if entry["log_level"] == "error"]
        assert set(kinds) == {"housekeeping_error", "history_rejected", "clock_rejected"}
        assert kinds.count("history_rejected") == 2, "each is left alone then"
        chores.broken = set()
        await asyncio.sleep(120)
        assert {job for job, _ in chores.done if isinstance(job, HistoryJob)} == {day("m1", 1), day("m2", 2)}


@in_virtual_time
async def test_a_turn_costs_the_store_one_round_trip(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=20) as bench:
        await asyncio.sleep(30)
        reads, writes, recorded = bench.weak.reads, bench.weak.writes, bench.loops["rs"].recorded
        await asyncio.sleep(60)
        recorded = bench.loops["rs"].recorded - recorded
        quiet_loops = 2 * 60 / LOOK_S + 60
        assert recorded > 90 and bench.weak.writes - writes < recorded + 60
        assert bench.weak.reads - reads < quiet_loops + 60 / PAST_LOOK_S + 5, "the busy line itself reads for its housekeeping only"


@in_virtual_time
async def test_pain_32_meters_come_and_go_while_the_line_works(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=3) as bench:
        loop, links = bench.loops["rs"], dict(bench.links)
        two = {name: links[name] for name in ("m1", "m2")}
        loop.change([Poll(name, PERIODS) for name in two], two, two)
        await asyncio.sleep(60)
        assert not bench.frames(READ, "m3") and bench.readings("m1") > 5
        at, before = now_s(), len(bench.frames(READ, "m1"))
        rest = {name: links[name] for name in ("m1", "m3")}
        loop.change([Poll(name, PERIODS) for name in rest], rest, rest)
        await asyncio.sleep(30)
        assert at < bench.frames(READ, "m3")[0] < at + 2, "read at once"
        assert not [t for t in bench.frames(READ, "m2") if t > at + 1]
        assert 4 <= len(bench.frames(READ, "m1")) - before <= 7, "neither more nor less than without the change"
        assert [state.meter for state in loop.plan.devices(bench.clock.now_ms())] == ["m1", "m3"]


@in_virtual_time
async def test_what_another_device_answered_is_not_recorded_for_the_new_one(tmp_path: Path) -> None:
    class Late:
        """Answers 5 s later, when another link has its place."""

        async def perform(self, job: Job) -> Outcome:
            await asyncio.sleep(5)
            now_ms = bench.clock.now_ms()
            return Answered(Reading("m1", (), now_ms, now_ms))

    async with Bench(tmp_path) as bench:
        loop, real = bench.loops["rs"], dict(bench.links)
        bench.links["m1"] = Late()
        await asyncio.sleep(2)
        loop.change([Poll(name, {Group.BILLING: 3_600_000}) for name in real], real, real, {"m1"})
        await asyncio.sleep(3.5)
        assert bench.readings("m1") == 0
        await asyncio.sleep(5)
        assert bench.readings("m1") == 1


@in_virtual_time
async def test_what_an_order_did_is_recorded_even_when_its_meter_goes_meanwhile(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(5)
        await bench.order("m1", Verb.CUT, "cut")
        line = bench.street.lines["rs"]
        real = line.send

        async def send(data: bytes) -> None:
            await real(data)
            if bare(data)[8] == CONTROL:
                bench.loops["rs"].change([], {}, {})

        line.send = send  # type: ignore[method-assign]
        await asyncio.sleep(2)
        assert bench.command("cut").state is CommandState.ACKNOWLEDGED


@in_virtual_time
async def test_whoever_holds_the_turn_finds_the_line_between_two_jobs(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=20) as bench:
        await asyncio.sleep(5)
        async with bench.loops["rs"].turn:
            sent = len(bench.street.lines["rs"].sent)
            await asyncio.sleep(10)
            assert len(bench.street.lines["rs"].sent) == sent
        await asyncio.sleep(5)
        assert len(bench.street.lines["rs"].sent) > sent


@in_virtual_time
async def test_a_line_that_goes_during_a_fetch_says_nothing_about_the_meter(tmp_path: Path) -> None:
    chores = Chores(past=[day("m1", 1)])
    async with Bench(tmp_path, housekeeping=chores.kept()) as bench:
        bench.links["m1"] = Answers(bench.links["m1"], Failed(Fault.LINE_DOWN, "gone"))
        await asyncio.sleep(20)
        assert [type(outcome) for _, outcome in chores.done] == [Failed]
        assert bench.loops["rs"].plan.devices(bench.clock.now_ms())[0].failures == 0
        assert isinstance(bench.loops["rs"].plan.next(bench.clock.now_ms() + 60_000, []), ReadJob)
