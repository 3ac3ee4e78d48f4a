"""Meters that do not answer: what they cost, how they are found again, and what is said of them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from gateway.domain.jobs import (
    ClockReadJob,
    ClockSetJob,
    Failed,
    Fault,
    Group,
    HistoryJob,
    Job,
    Outcome,
    ReadbackJob,
    ReadJob,
    SwitchJob,
    Want,
)
from gateway.domain.supply import CommandState, Verb
from gateway.services.plan import (
    PROBE_FIRST_MS,
    PROBE_LONGEST_MS,
    READ_TRIES,
    STEADY_MS,
    Condition,
    LinePlan,
    Poll,
    SilenceChange,
    Wait,
)
from tests.gateway.services.plan_bench import DAY, GARBLED, OK, SILENT, T0, command, plan, run, take, work

READ_MS, TIMEOUT_MS = 120, 1_100
"""An exchange at 9600 baud with a meter that takes 50 ms, and its gap; one of 600 ms in vain and 500 ms for late bytes."""

PAST = HistoryJob("m1", Want.DAY, T0 - DAY, T0)


def fall_silent(p: LinePlan, now_ms: int, fault: Failed = SILENT) -> list[SilenceChange | None]:
    return [p.done(take(p, now_ms), fault, now_ms) for _ in range(READ_TRIES)]


def test_pain_2_a_silent_meter_is_tried_three_times_then_probed_ever_more_rarely_and_never_given_up() -> None:
    p = plan("m1", billing_ms=1_000, instant_ms=1_000)
    assert fall_silent(p, T0) == [None, None, SilenceChange("m1", True, "no answer")]
    jobs = list(run(p, T0, T0 + DAY, lambda job: (SILENT, 0)))
    assert {job for _, job, _ in jobs} == {ReadJob("m1", Group.BILLING)}
    probes = [now - T0 for now, _, _ in jobs]
    gaps = [b - a for a, b in pairwise(probes)]
    assert probes[0] == PROBE_FIRST_MS and gaps[:3] == [20_000, 40_000, 80_000] and max(gaps) == PROBE_LONGEST_MS
    assert 140 < len(probes) < 160
    [state] = p.devices(T0 + DAY)
    assert state.silent_since_ms == T0 and state.failures == READ_TRIES + len(probes)


@pytest.mark.parametrize("dead", [1, 10])
def test_pain_1_dead_meters_cost_at_most_a_twentieth_of_a_cycle_after_the_first(dead: int) -> None:
    """100 meters at 9600 baud, some dead, on a line that reads as fast as it can."""
    p = plan(*(f"m{n}" for n in range(100)), billing_ms=1_000)
    deaf = {f"m{n}" for n in range(0, 100, 100 // dead)}
    living_ms, begun_ms, seen, cycles = (100 - dead) * READ_MS, T0, set[str](), list[int]()
    for now, job, outcome in run(p, T0, T0 + 3_600_000, lambda job: _answer(job, deaf)):
        assert isinstance(job, ReadJob)
        seen |= {job.meter} if outcome is OK else set()
        if len(seen) == 100 - dead:
            cycles.append(now - begun_ms)
            begun_ms, seen = now, set()
    assert cycles[0] <= living_ms + dead * READ_TRIES * TIMEOUT_MS, "three tries of each dead meter, once"
    assert sum(cycles[1:]) / len(cycles[1:]) <= living_ms / 0.95
    assert max(cycles[1:]) <= living_ms + 2 * TIMEOUT_MS, "a probe is one try, and never many in a row"


def test_pain_8_ten_dead_meters_of_a_hundred_cost_a_line_that_reads_every_15_minutes_next_to_nothing() -> None:
    p, tries, answers = plan(*(f"m{n}" for n in range(100)), billing_ms=900_000), Counter[str](), Counter[str]()
    deaf = {f"m{n}" for n in range(0, 100, 10)}
    for _, job, outcome in run(p, T0, T0 + 3_600_000, lambda job: _answer(job, deaf)):
        assert isinstance(job, ReadJob)
        tries[job.meter] += 1
        answers[job.meter] += outcome is OK
    assert all(answers[f"m{n}"] in ((0,) if f"m{n}" in deaf else (4, 5)) for n in range(100))
    assert all(10 <= tries[meter] <= 16 for meter in deaf)
    assert sum(tries[meter] for meter in deaf) * TIMEOUT_MS < 0.05 * 3_600_000


def _answer(job: Job, deaf: set[str]) -> tuple[Outcome, int]:
    return (SILENT, TIMEOUT_MS) if isinstance(job, ReadJob) and job.meter in deaf else (OK, READ_MS)


def test_a_meter_that_answers_its_probe_is_back_and_read_at_once() -> None:
    p = plan("m1", billing_ms=60_000, instant_ms=60_000, switch_ms=60_000)
    fall_silent(p, T0)
    now = T0 + PROBE_FIRST_MS
    assert p.next(now - 1, [], [PAST]) == Wait(now), "nothing else is asked of it meanwhile"
    assert p.done(take(p, now), OK, now) == SilenceChange("m1", False, "it answers again after 10 s")
    assert [work(p, now), work(p, now)] == [ReadJob("m1", Group.SWITCH), ReadJob("m1", Group.INSTANT)]
    assert p.next(now, [], [PAST]) == PAST
    assert p.devices(now)[0].silent_since_ms is None and p.devices(now)[0].failures == 0


def test_each_state_is_visible_with_its_beginning() -> None:
    p = plan("m1", billing_ms=60_000)
    seen = []
    for at, outcome in ((0, OK), (60_000, SILENT), (61_000, SILENT), (62_000, SILENT), (72_000, OK), (90_000, OK)):
        if not isinstance(job := p.next(T0 + at, []), Wait):
            p.done(job, outcome, T0 + at)
        [state] = p.devices(T0 + at)
        seen.append((state.condition, state.since_ms - T0, state.failures, state.next_ms - T0, state.overdue_ms))
    assert seen == [
        (Condition.ANSWERING, 0, 0, 60_000, 0), (Condition.FAILING, 60_000, 1, 60_000, 0),
        (Condition.FAILING, 60_000, 2, 60_000, 1_000), (Condition.SILENT, 62_000, 3, 72_000, 0),
        (Condition.ANSWERING, 72_000, 0, 120_000, 0), (Condition.ANSWERING, 72_000, 0, 120_000, 0),
    ]  # fmt: skip


def test_a_meter_that_comes_and_goes_costs_little_and_makes_few_events() -> None:
    """It answers one probe, then nothing until the next: three events, and pauses that go on doubling; steady again, it is told."""
    p, now, changes, tries = plan("m1", billing_ms=60_000, instant_ms=1_000), T0, list[SilenceChange](), 0
    while now < T0 + 6 * 3_600_000:
        if isinstance(job := p.next(now, []), Wait):
            assert job.until_ms is not None
            now = job.until_ms
            continue
        was_silent = p.devices(now)[0].condition is Condition.SILENT
        tries += 1
        if change := p.done(job, OK if was_silent else SILENT, now):
            changes.append(change)
    assert [change.silent for change in changes] == [True, False, True]
    assert tries < (READ_TRIES + 1) * (6 * 3_600_000 // PROBE_LONGEST_MS + 10)
    told = [p.done(job, OK, at) for at in range(now, now + 3 * STEADY_MS, 1_000) if not isinstance(job := p.next(at, []), Wait)]
    [back] = [change for change in told if change is not None]
    assert not back.silent and p.devices(now + 3 * STEADY_MS)[0].condition is Condition.ANSWERING


def test_noise_slows_probes_less_than_silence() -> None:
    p = plan("m1", billing_ms=1_000)
    assert fall_silent(p, T0, GARBLED)[-1] == SilenceChange("m1", True, GARBLED.text)
    noisy = [now for now, _, _ in run(p, T0, T0 + 600_000, lambda job: (GARBLED, 0))]
    assert len(noisy) == 600_000 // PROBE_FIRST_MS - 1


def test_a_line_with_five_percent_of_byte_errors_reads_every_meter_and_its_past_every_day() -> None:
    """32 meters at 9600 baud: of 100 exchanges 56 stay without an answer, 28 bring garbage (field-lessons.md, finding 5)."""
    names, rng = [f"m{n}" for n in range(32)], Random(5)
    p = plan(*names, billing_ms=900_000, instant_ms=60_000, switch_ms=300_000)
    now, read, past, changes = T0, Counter[str](), set[str](), 0
    while now < T0 + DAY // 2:
        missing = [HistoryJob(name, Want.DAY, T0 - DAY, T0) for name in names if name not in past]
        if isinstance(job := p.next(now, [], missing), Wait):
            assert job.until_ms is not None
            now = job.until_ms
            continue
        chance = rng.random()
        outcome, took_ms = (OK, 230) if chance < 0.16 else (GARBLED, 900) if chance < 0.44 else (SILENT, 1_100)
        now += took_ms
        changes += p.done(job, outcome, now) is not None
        if outcome is OK and isinstance(job, ReadJob):
            read[job.meter] += job.group is Group.BILLING
        elif outcome is OK and isinstance(job, HistoryJob):
            past.add(job.meter)
    assert past == set(names) and min(read[name] for name in names) >= 10
    assert changes <= 5 * 32, "it makes no flood of events"


def test_a_silent_switch_module_does_not_silence_its_meter() -> None:
    p = LinePlan("a", [Poll("m1", {Group.BILLING: 60_000}), Poll("m1", {Group.SWITCH: 60_000})], T0)
    assert work(p, T0) == ReadJob("m1", Group.BILLING)
    for _ in range(READ_TRIES):
        assert work(p, T0, SILENT) == ReadJob("m1", Group.SWITCH)
    assert p.next(T0, [], [PAST]) == PAST
    assert p.next(T0 + 60_000, []) == ReadJob("m1", Group.SWITCH)
    work(p, T0 + 60_000, SILENT)
    assert p.next(T0 + 60_000, []) == ReadJob("m1", Group.BILLING)


def test_an_order_that_is_answered_brings_a_silent_meter_back() -> None:
    p = plan("m1", switch_ms=60_000)
    fall_silent(p, T0)
    order = SwitchJob("m1", "x", Verb.CUT, T0 + DAY)
    assert p.done(order, SILENT, T0 + 1_000) is None
    assert p.done(order, OK, T0 + 2_000) == SilenceChange("m1", False, "it answers again after 2 s")


def test_a_silent_fetch_of_the_past_counts_but_a_read_has_the_last_word() -> None:
    """Some meters say nothing to an identifier they do not know."""
    p = plan("m1", billing_ms=3_600_000)
    work(p, T0)
    for n in range(READ_TRIES - 1):
        assert p.next(T0 + n, [], [PAST]) == PAST
        assert p.done(PAST, SILENT, T0 + n) is None
    assert p.devices(T0 + 5)[0].condition is Condition.FAILING
    assert p.next(T0 + 5, [], [PAST]) == ReadJob("m1", Group.BILLING), "read at once, and no more is asked meanwhile"
    assert p.done(ReadJob("m1", Group.BILLING), OK, T0 + 5) is None
    assert p.next(T0 + 6, [], [PAST]) == PAST
    p.done(PAST, SILENT, T0 + 6)
    p.done(PAST, SILENT, T0 + 7)
    assert p.done(take(p, T0 + 8), SILENT, T0 + 8) == SilenceChange("m1", True, "no answer")
    assert isinstance(p.next(T0 + 9, [], [PAST]), Wait)


def test_a_fetch_that_is_answered_or_refused_is_heard() -> None:
    for outcome in (OK, Failed(Fault.REFUSED, "no such data")):
        p = plan("m1")
        work(p, T0, SILENT)
        p.done(PAST, outcome, T0)
        assert p.devices(T0)[0].failures == 0
    p.done(PAST, GARBLED, T0)
    assert p.devices(T0)[0].failures == 0, "it is there"
    p.done(HistoryJob("stranger", Want.DAY, 0, 1), SILENT, T0)


def test_pain_18_what_keeps_house_never_raises_a_meters_fault() -> None:
    p = plan("m1", billing_ms=3_600_000)
    work(p, T0)
    for job in (ClockReadJob("m1"), ClockSetJob("m1")):
        for n in range(3 * READ_TRIES):
            assert p.next(T0 + n, [], (), [job]) == job
            assert p.done(job, SILENT, T0 + n) is None
    assert p.devices(T0)[0].condition is Condition.ANSWERING and p.devices(T0)[0].failures == 0


def test_neither_past_nor_clock_of_a_silent_meter_are_asked_for_and_they_hide_nobody() -> None:
    p = plan("m1", "m2", billing_ms=3_600_000)
    fall_silent(p, T0)
    work(p, T0)
    other = HistoryJob("m2", Want.DAY, 0, 1)
    assert p.next(T0, [], [PAST, other]) == other
    assert p.next(T0, [], (), [ClockReadJob("m1"), ClockSetJob("m1"), ClockReadJob("m2")]) == ClockReadJob("m2")
    assert not p.reachable("m1") and p.reachable("m2") and p.reachable("stranger")


def test_read_backs_of_a_silent_meter_are_bounded_on_a_busy_line() -> None:
    p = LinePlan("a", [Poll("m-1", {Group.SWITCH: 60_000}), *(Poll(f"m{n}", {Group.BILLING: 1_000}) for n in range(40))], T0)
    uncertain = command("1", state=CommandState.UNCERTAIN, read_at_ms=T0)  # of meter m-1
    for _ in range(READ_TRIES):
        p.done(ReadJob("m-1", Group.SWITCH), SILENT, T0)
    now, spent_ms = T0, 0
    while now < T0 + 600_000:
        job = p.next(now, [uncertain])
        assert not isinstance(job, Wait)
        vain = isinstance(job, ReadbackJob) or (isinstance(job, ReadJob) and job.meter == "m-1")
        now += TIMEOUT_MS if vain else READ_MS
        spent_ms += TIMEOUT_MS * isinstance(job, ReadbackJob)
        p.done(job, SILENT if vain else OK, now)
    assert 0.05 < spent_ms / 600_000 < 0.15


def test_queues_of_due_times_do_not_grow() -> None:
    p, rng, now = plan(*(f"m{n}" for n in range(20)), billing_ms=DAY, instant_ms=60_000), Random(1), T0
    for _ in range(20_000):
        job = p.next(now, [])
        if isinstance(job, Wait):
            assert job.until_ms is not None
            now = job.until_ms
        else:
            p.done(job, rng.choice((OK, SILENT, GARBLED)), now)
    assert len(p._devices._due) <= 2 * 40 + 65 and len(p._devices._probes) <= 2 * 20 + 65
