"""What a line does next: order of urgency, reads that come round, orders that could not be sent, and clocks that are set."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from gateway.domain.jobs import (
    ClockJob,
    ClockReadJob,
    ClockSetJob,
    Failed,
    Fault,
    Group,
    GuestJob,
    HistoryJob,
    Job,
    ReadbackJob,
    ReadJob,
    SwitchJob,
    Want,
)
from gateway.domain.supply import CommandState, Verb
from gateway.services.plan import (
    HOLD_FIRST_MS,
    HOLD_LONGEST_MS,
    MAX_ON_DEMAND,
    READ_TRIES,
    RETRY_PARTS,
    LinePlan,
    Poll,
    Wait,
)
from tests.gateway.services.plan_bench import DAY, OK, SILENT, T0, command, plan, run, work

CUT, RESTORE, ALLOW = command("cut"), command("restore", Verb.RESTORE), command("allow", Verb.ALLOW_CLOSE)
CONFIRM = command("confirm", state=CommandState.ACKNOWLEDGED, read_at_ms=T0)
PAST, OLDER = HistoryJob("m1", Want.DAY, T0 - DAY, T0), HistoryJob("m1", Want.DAY, T0 - 2 * DAY, T0 - DAY, backfill=True)
GUEST, SEARCHER = GuestJob(1), GuestJob(2, search=True)
NOT_SENT = Failed(Fault.SILENT, "the clock could not be read", certain=True)


def test_order_of_urgency() -> None:
    """Each class goes before all behind it; whoever is done is left out."""
    p = plan("m1")
    waiting: list[Job] = [OLDER, PAST, SEARCHER, GUEST, ClockJob("a")]
    commands, seen = [CONFIRM, CUT, RESTORE], []
    for _ in range(9):
        history = [job for job in waiting if isinstance(job, HistoryJob)]
        clock = [job for job in waiting if isinstance(job, ClockJob)]
        guests = [job for job in waiting if isinstance(job, GuestJob)]
        job = p.next(T0, commands, history, clock, guests)
        assert not isinstance(job, Wait)
        p.done(job, OK, T0)
        seen.append(job)
        waiting = [other for other in waiting if other != job]
        commands = [c for c in commands if not (isinstance(job, SwitchJob | ReadbackJob) and c.id == job.command)]
    assert seen == [
        SwitchJob("m-restore", "restore", Verb.RESTORE, T0 + DAY), SwitchJob("m-cut", "cut", Verb.CUT, T0 + DAY),
        ReadbackJob("m-confirm", "confirm"), GUEST, ReadJob("m1", Group.BILLING), PAST, OLDER, SEARCHER, ClockJob("a"),
    ]  # fmt: skip
    assert p.next(T0, []) == Wait(T0 + 60_000)


def test_a_customer_who_may_close_goes_before_a_cut_too() -> None:
    assert isinstance(job := plan().next(T0, [CUT, ALLOW]), SwitchJob) and job.command == "allow"


def test_the_oldest_of_its_kind_goes_first() -> None:
    older = replace(CUT, id="older", created_ms=T0 - 5)
    job = plan().next(T0, [CUT, older])
    assert isinstance(job, SwitchJob) and job.command == "older"
    p = plan("m1", billing_ms=DAY)
    work(p, T0)
    assert p.next(T0, [], (), (), [GUEST]) == GUEST
    assert p.ask("m1", Group.BILLING, T0 + 1)
    assert p.next(T0 + 2, [], (), (), [GUEST, GuestJob(3)]) == GUEST
    assert p.next(T0 + 3, [], (), (), [GuestJob(3)]) == ReadJob("m1", Group.BILLING)


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
    seen = [(now - T0, job) for now, job, _ in run(p, T0, T0 + 119_999, lambda job: (OK, 0))]
    billing = [at for at, job in seen if isinstance(job, ReadJob) and job.group is Group.BILLING]
    assert billing == [15_000, 30_000, 45_000, 60_000, 75_000, 90_000, 105_000]
    assert Counter(job.meter for _, job in seen if isinstance(job, ReadJob) and job.group is Group.INSTANT) == {
        "m1": 5, "m2": 6, "m3": 6, "m4": 6
    }  # fmt: skip


def test_pain_15_a_read_that_was_late_does_not_shift_the_next_one() -> None:
    p = plan("m1", billing_ms=60_000)
    work(p, T0)
    assert work(p, T0 + 85_000) == ReadJob("m1", Group.BILLING)
    assert p.next(T0 + 85_000, []) == Wait(T0 + 120_000)


def test_a_refusal_is_an_answer_and_a_lost_line_says_nothing_about_the_meter() -> None:
    p = plan("m1", billing_ms=60_000)
    for _ in range(2 * READ_TRIES):
        assert work(p, T0, Failed(Fault.LINE_DOWN, "gone")) == ReadJob("m1", Group.BILLING)
    assert work(p, T0, Failed(Fault.REFUSED, "no")) == ReadJob("m1", Group.BILLING)
    assert p.next(T0, []) == Wait(T0 + 60_000)
    assert p.devices(T0)[0].silent_since_ms is None


def test_a_question_that_cannot_be_asked_waits_for_its_next_turn() -> None:
    p = plan("m1", billing_ms=60_000)
    work(p, T0, Failed(Fault.REQUEST, "bad address", certain=True))
    assert p.next(T0, []) == Wait(T0 + 60_000)


def test_a_command_that_could_not_be_sent_pauses_ever_longer_and_does_not_hold_up_others() -> None:
    p = plan("m1")
    other = replace(CUT, id="other", meter="m-other", created_ms=T0 + 1)
    assert work(p, T0, NOT_SENT, CUT, other) == SwitchJob("m-cut", "cut", Verb.CUT, T0 + DAY)
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
        p.done(job, NOT_SENT, now)
    assert max(pauses) <= HOLD_LONGEST_MS
    p.next(now, [])
    assert isinstance(p.next(now, [CUT]), SwitchJob), "a command that is gone leaves no hold behind"


def test_commands_for_meters_that_are_gone_do_not_eat_the_line() -> None:
    """Ten cuts that cannot be sent cost 3 s each time: a busy line gives them its tenth, and the first attempts at once."""
    p = plan(*(f"m{n}" for n in range(50)), billing_ms=1_000)
    cuts = [command(f"c{n}") for n in range(10)]
    assert [isinstance(work(p, T0 + n, NOT_SENT, *cuts), SwitchJob) for n in range(10)] == [True] * 10
    now, spent_ms, tried = T0 + 10, 0, set()
    while now < T0 + 3_600_000:
        job = p.next(now, cuts)
        assert not isinstance(job, Wait)
        took_ms = 3_300 if isinstance(job, SwitchJob) else 120
        now += took_ms
        if isinstance(job, SwitchJob):
            spent_ms += took_ms
            tried.add(job.command)
        p.done(job, NOT_SENT if isinstance(job, SwitchJob) else OK, now)
    assert len(tried) == 10 and 0.08 < spent_ms / 3_600_000 <= 1 / RETRY_PARTS


def test_a_command_for_a_silent_meter_goes_out_as_soon_as_the_meter_is_back() -> None:
    p = plan("m1", switch_ms=60_000)
    cut = replace(CUT, meter="m1")
    for _ in range(READ_TRIES):
        work(p, T0, SILENT)
    for now in (T0, T0 + 1_000, T0 + 3_000, T0 + 7_000):
        assert isinstance(work(p, now, NOT_SENT, cut), SwitchJob)
    assert work(p, T0 + 10_000, OK, cut) == ReadJob("m1", Group.BILLING), "the probe is answered"
    assert isinstance(p.next(T0 + 10_000, [cut]), SwitchJob)


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


def test_a_clock_set_back_does_not_stop_the_line() -> None:
    p = plan("m1", "dead", billing_ms=60_000)
    work(p, T0)
    for _ in range(READ_TRIES):
        work(p, T0, SILENT)
    acknowledged = command("c", state=CommandState.ACKNOWLEDGED, read_at_ms=T0 + 4_000)
    assert p.ask("m1", Group.BILLING, T0)
    back = T0 - DAY
    assert p.next(back, [acknowledged], [PAST]) == ReadbackJob("m-c", "c")
    assert work(p, back) == ReadJob("m1", Group.BILLING)
    assert p.next(back, [], [PAST]) == PAST
    wait = p.next(back, [])
    assert isinstance(wait, Wait) and wait.until_ms is not None and back < wait.until_ms <= back + 60_000
    assert isinstance(p.next(back, [replace(CUT, created_ms=T0)]), SwitchJob)


def test_a_clock_put_forward_makes_no_flood() -> None:
    p = plan("m1", billing_ms=60_000)
    work(p, T0)
    assert isinstance(work(p, T0 + 30 * DAY), ReadJob)
    assert isinstance(p.next(T0 + 30 * DAY, []), Wait)


def test_what_waits_is_counted_by_class_with_its_age() -> None:
    p = plan("m1", "m2", billing_ms=60_000)
    assert p.ask("m2", Group.BILLING, T0)
    commands = [CUT, CONFIRM, command("later", state=CommandState.ACKNOWLEDGED, read_at_ms=T0 + DAY)]
    p.next(T0, commands, [PAST, OLDER], [ClockSetJob("m1"), ClockReadJob("m2")], [GUEST, SEARCHER])
    assert p.queues(T0 + 500) == {
        "restore": (0, 0), "cut": (1, 500), "command": (0, 0), "confirm": (1, 500), "on_demand": (2, 500),
        "schedule": (3, 500), "backfill": (1, 500), "search": (1, 500), "clock": (2, 500),
    }  # fmt: skip
    p.next(T0 + 500, [])
    assert p.queues(T0 + 500)["clock"] == p.queues(T0 + 500)["cut"] == (0, 0)


@pytest.mark.parametrize("polls", [[], [Poll("m1", {})]])
def test_an_empty_plan_waits(polls: list[Poll]) -> None:
    assert LinePlan("a", polls, T0).next(T0, []) == Wait(None)
