"""What a line does next: order of urgency, back-off, fairness, and clocks that are set."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.domain.jobs import Answered, ClockJob, Failed, Fault, Group, Job, Outcome, ReadbackJob, ReadJob, SwitchJob
from gateway.domain.supply import Command, CommandState, Verb
from gateway.services.plan import (
    FAIR_RUN,
    HOLD_FIRST_MS,
    HOLD_LONGEST_MS,
    MAX_ON_DEMAND,
    PROBE_FIRST_MS,
    PROBE_LONGEST_MS,
    READ_TRIES,
    LinePlan,
    Poll,
    SilenceChange,
    Wait,
)

T0 = 1_767_225_600_000
DAY = 24 * 3600 * 1000
OK = Answered()
SILENT = Failed(Fault.SILENT, "no answer")


def command(name: str, verb: Verb = Verb.CUT, state: CommandState = CommandState.QUEUED, read_at_ms: int | None = None) -> Command:
    return Command(
        id=name, meter=f"m-{name}", line="a", account=None, verb=verb, cause="", origin="operator", state=state,
        created_ms=T0, expires_ms=T0 + DAY, changed_ms=T0, read_at_ms=read_at_ms,
    )  # fmt: skip


def plan(*meters: str, billing_ms: int = 60_000, clock_every_ms: int | None = None, **periods: int) -> LinePlan:
    groups = {Group.BILLING: billing_ms} | {Group(name.removesuffix("_ms")): ms for name, ms in periods.items()}
    return LinePlan("a", [Poll(meter, groups) for meter in meters], T0, clock_every_ms)


def work(p: LinePlan, now_ms: int, outcome: Outcome = OK, *commands: Command) -> Job | Wait:
    """Take the next job and report this outcome for it."""
    job = p.next(now_ms, commands)
    if not isinstance(job, Wait):
        p.done(job, outcome, now_ms)
    return job


CUT, RESTORE, ALLOW = command("cut"), command("restore", Verb.RESTORE), command("allow", Verb.ALLOW_CLOSE)
CONFIRM = command("confirm", state=CommandState.ACKNOWLEDGED, read_at_ms=T0)


@pytest.mark.parametrize(
    ("commands", "demand", "expected"),
    [
        ([CUT, RESTORE, CONFIRM], True, "restore"),
        ([CUT, ALLOW, CONFIRM], True, "allow"),
        ([CUT, CONFIRM], True, "cut"),
        ([CONFIRM], True, "confirm"),
        ([], True, "on demand"),
        ([], False, "schedule"),
    ],
)
def test_order_of_urgency(commands: list[Command], demand: bool, expected: str) -> None:
    p = plan("m1", "m2", clock_every_ms=DAY)
    if demand:
        assert p.ask("m2", Group.BILLING, T0 + DAY)
    job = p.next(T0 + DAY + 1, commands)
    found = {SwitchJob: "command", ReadbackJob: "command", ReadJob: "read", ClockJob: "clock"}[type(job)]
    assert found == ("read" if expected in ("on demand", "schedule") else "command")
    if isinstance(job, SwitchJob | ReadbackJob):
        assert job.command == expected
    elif isinstance(job, ReadJob):
        assert job.meter == ("m2" if demand else "m1")


def test_the_oldest_of_its_kind_goes_first() -> None:
    older = replace(CUT, id="older", created_ms=T0 - 5)
    job = plan().next(T0, [CUT, older])
    assert isinstance(job, SwitchJob) and job.command == "older"


def test_a_job_says_what_the_command_says() -> None:
    assert plan().next(T0, [CUT]) == SwitchJob("m-cut", "cut", Verb.CUT, T0 + DAY)
    assert plan().next(T0, [CONFIRM]) == ReadbackJob("m-confirm", "confirm")


def test_a_read_back_waits_for_its_time_and_a_sent_command_for_its_outcome() -> None:
    later = command("later", state=CommandState.ACKNOWLEDGED, read_at_ms=T0 + 4000)
    assert plan().next(T0 + 3999, [later]) == Wait(T0 + 4000)
    assert plan().next(T0 + 4000, [later]) == ReadbackJob("m-later", "later")
    assert plan().next(T0 + 9000, [command("sent", state=CommandState.SENT)]) == Wait(None)


def test_everything_is_read_once_at_the_start_money_first_and_then_evenly_spread() -> None:
    p = plan("m1", "m2", "m3", "m4", billing_ms=60_000, instant_ms=20_000)
    first = [work(p, T0) for _ in range(8)]
    assert [(j.group, j.meter) for j in first if isinstance(j, ReadJob)] == [
        (group, f"m{n}") for group in (Group.BILLING, Group.INSTANT) for n in range(1, 5)
    ]
    seen: list[tuple[int, Job]] = []
    now = T0
    while now < T0 + 120_000:
        job = work(p, now)
        if isinstance(job, Wait):
            assert job.until_ms is not None and job.until_ms > now
            now = job.until_ms
        else:
            seen.append((now - T0, job))
    billing = [at for at, job in seen if isinstance(job, ReadJob) and job.group is Group.BILLING]
    assert billing == [15_000, 30_000, 45_000, 60_000, 75_000, 90_000, 105_000]
    assert Counter(job.meter for _, job in seen if isinstance(job, ReadJob) and job.group is Group.INSTANT) == {
        "m1": 5, "m2": 6, "m3": 6, "m4": 6
    }  # fmt: skip


def test_a_silent_meter_is_tried_three_times_then_probed_ever_more_rarely() -> None:
    p = plan("m1", billing_ms=1_000, instant_ms=1_000)
    changes = [p.done(p.next(T0, []), SILENT, T0) for _ in range(READ_TRIES)]  # type: ignore[arg-type]
    assert changes == [None, None, SilenceChange("m1", True, "no answer")]
    probes, now = [], T0
    while now < T0 + DAY:
        job = p.next(now, [])
        if isinstance(job, Wait):
            assert job.until_ms is not None
            now = job.until_ms
            continue
        assert job == ReadJob("m1", Group.BILLING)
        assert p.done(job, SILENT, now) is None
        probes.append(now - T0)
    gaps = [b - a for a, b in pairwise(probes)]
    assert probes[0] == PROBE_FIRST_MS and gaps[:3] == [20_000, 40_000, 80_000] and max(gaps) == PROBE_LONGEST_MS
    assert len(probes) < 160
    [state] = p.devices(now)
    assert state.silent_since_ms == T0 and state.failures == READ_TRIES + len(probes)


def test_a_meter_that_answers_its_probe_is_back_and_read_at_once() -> None:
    p = plan("m1", billing_ms=60_000, instant_ms=60_000)
    for _ in range(READ_TRIES):
        work(p, T0, SILENT)
    now = T0 + PROBE_FIRST_MS
    probe = p.next(now, [])
    assert isinstance(probe, ReadJob)
    assert p.done(probe, OK, now) == SilenceChange("m1", False, "it answers again after 10 s")
    assert p.next(now, []) == ReadJob("m1", Group.INSTANT)
    assert p.devices(now)[0].silent_since_ms is None and p.devices(now)[0].failures == 0


def test_a_refusal_is_an_answer_and_a_lost_line_says_nothing_about_the_meter() -> None:
    p = plan("m1", billing_ms=60_000)
    for _ in range(2 * READ_TRIES):
        job = p.next(T0, [])
        assert isinstance(job, ReadJob)
        assert p.done(job, Failed(Fault.LINE_DOWN, "gone"), T0) is None
    job = p.next(T0, [])
    assert isinstance(job, ReadJob)
    assert p.done(job, Failed(Fault.REFUSED, "no"), T0) is None
    assert p.next(T0, []) == Wait(T0 + 60_000)
    assert p.devices(T0)[0].silent_since_ms is None


def test_a_question_that_cannot_be_asked_waits_for_its_next_turn() -> None:
    p = plan("m1", billing_ms=60_000)
    work(p, T0, Failed(Fault.REQUEST, "bad address", certain=True))
    assert p.next(T0, []) == Wait(T0 + 60_000)


def test_dead_meters_hardly_slow_the_living() -> None:
    """20 meters on a slow line, 10 of them dead: with back-off the living are read on time."""
    names = [f"m{n}" for n in range(20)]
    p = plan(*names, billing_ms=30_000)
    now, reads = T0, Counter[str]()
    while now < T0 + 3_600_000:
        job = p.next(now, [])
        if isinstance(job, Wait):
            assert job.until_ms is not None
            now = job.until_ms
            continue
        assert isinstance(job, ReadJob)
        dead = int(job.meter[1:]) % 2 == 1
        now += 1_100 if dead else 300
        p.done(job, SILENT if dead else OK, now)
        reads[job.meter] += 1
    assert min(reads[f"m{n}"] for n in range(0, 20, 2)) >= 115
    assert max(reads[f"m{n}"] for n in range(1, 20, 2)) <= 20


def test_nothing_starves_on_an_overloaded_line() -> None:
    """Periods that the line cannot keep: everybody still gets the same share."""
    p = plan(*(f"m{n}" for n in range(10)), billing_ms=1_000, instant_ms=1_000)
    reads: Counter[ReadJob] = Counter()
    for n in range(2_000):
        job = work(p, T0 + 300 * n)
        assert isinstance(job, ReadJob)
        reads[job] += 1
    assert len(reads) == 20 and min(reads.values()) >= 95


def test_confirmations_and_demands_leave_every_fifth_turn_to_the_schedule() -> None:
    p = plan("m1", "m2", billing_ms=1_000)
    confirms = [command(f"c{n}", state=CommandState.UNCERTAIN, read_at_ms=T0) for n in range(50)]
    jobs = [work(p, T0 + 1_500 * n, OK, *confirms) for n in range(50)]
    reads = [n for n, job in enumerate(jobs) if isinstance(job, ReadJob)]
    assert reads == list(range(FAIR_RUN, 50, FAIR_RUN + 1))
    assert {job.meter for job in jobs if isinstance(job, ReadJob)} == {"m1", "m2"}


def test_a_command_that_could_not_be_sent_pauses_ever_longer_and_does_not_hold_up_others() -> None:
    p = plan("m1")
    unsent = Failed(Fault.SILENT, "the clock could not be read", certain=True)
    other = replace(CUT, id="other", meter="m-other", created_ms=T0 + 1)
    assert work(p, T0, unsent, CUT, other) == SwitchJob("m-cut", "cut", Verb.CUT, T0 + DAY)
    assert isinstance(job := work(p, T0 + 1, OK, CUT, other), SwitchJob) and job.command == "other"
    assert work(p, T0 + 1, OK, CUT) == ReadJob("m1", Group.BILLING)
    assert isinstance(p.next(T0 + HOLD_FIRST_MS, [CUT]), SwitchJob)
    now, pauses = T0, []
    for _ in range(8):
        while not isinstance(job := p.next(now, [CUT]), SwitchJob):
            if isinstance(job, Wait):
                assert job.until_ms is not None
                pauses.append(job.until_ms - now)
                now = job.until_ms
            else:
                p.done(job, OK, now)
        p.done(job, unsent, now)
    assert max(pauses) <= HOLD_LONGEST_MS
    p.next(now, [])
    assert isinstance(p.next(now, [CUT]), SwitchJob), "a command that is gone leaves no hold behind"


def test_reads_on_demand_are_bounded_not_doubled_and_given_up() -> None:
    p = plan(*(f"m{n}" for n in range(MAX_ON_DEMAND + 1)), billing_ms=DAY)
    while isinstance(p.next(T0, []), ReadJob):
        work(p, T0)
    asked = [p.ask(f"m{n}", Group.BILLING, T0) for n in range(MAX_ON_DEMAND + 1)]
    assert asked == [True] * MAX_ON_DEMAND + [False]
    assert p.ask("m0", Group.BILLING, T0)
    assert not p.ask("m0", Group.SWITCH, T0) and not p.ask("stranger", Group.BILLING, T0)
    assert [work(p, T0, SILENT) for _ in range(3)] == [ReadJob("m0", Group.BILLING)] * 3
    assert work(p, T0) == ReadJob("m1", Group.BILLING)


def test_a_silent_switch_module_does_not_silence_its_meter() -> None:
    p = LinePlan("a", [Poll("m1", {Group.BILLING: 60_000}), Poll("m1", {Group.SWITCH: 60_000})], T0)
    assert work(p, T0) == ReadJob("m1", Group.BILLING)
    for _ in range(READ_TRIES):
        assert work(p, T0, SILENT) == ReadJob("m1", Group.SWITCH)
    assert p.next(T0 + 60_000, []) == ReadJob("m1", Group.SWITCH)
    work(p, T0 + 60_000, SILENT)
    assert p.next(T0 + 60_000, []) == ReadJob("m1", Group.BILLING)


def test_a_clock_set_back_does_not_stop_the_line() -> None:
    p = plan("m1", "dead", billing_ms=60_000)
    work(p, T0)
    for _ in range(READ_TRIES):
        work(p, T0, SILENT)
    acknowledged = command("c", state=CommandState.ACKNOWLEDGED, read_at_ms=T0 + 4_000)
    back = T0 - DAY
    assert p.next(back, [acknowledged]) == ReadbackJob("m-c", "c")
    wait = p.next(back, [])
    assert isinstance(wait, Wait) and wait.until_ms is not None and back < wait.until_ms <= back + 60_000
    assert isinstance(p.next(back, [replace(CUT, created_ms=T0)]), SwitchJob)


def test_a_clock_put_forward_makes_no_flood() -> None:
    p = plan("m1", billing_ms=60_000)
    work(p, T0)
    assert isinstance(work(p, T0 + 30 * DAY), ReadJob)
    assert isinstance(p.next(T0 + 30 * DAY, []), Wait)


def test_the_clock_broadcast_goes_last_and_only_when_wanted() -> None:
    p = plan("m1", billing_ms=1_000, clock_every_ms=DAY)
    now = T0 + DAY
    assert [type(work(p, now)) for _ in range(2)] == [ReadJob, ClockJob]
    assert p.next(now, []) == Wait(now + 1_000)
    assert not any(isinstance(work(plan("m1"), T0 + n * DAY), ClockJob) for n in range(5))


def test_an_empty_plan_waits() -> None:
    assert LinePlan("a", [Poll("m1", {})], T0).next(T0, []) == Wait(None)
