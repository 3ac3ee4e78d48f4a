"""Nothing starves on a line, whatever comes: turns are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.jobs import ClockJob, ClockReadJob, Group, GuestJob, HistoryJob, Job, ReadbackJob, ReadJob, SwitchJob, Want
from gateway.domain.supply import SIGNS, Command, CommandState, Verb
from gateway.services.plan import COMMAND_RUN, PATIENCE, LinePlan, Poll, Queue, Wait
from gateway.services.plan_shares import Allowance, Turns
from tests.gateway.services.plan_bench import OK, T0, command, plan, work

STEP_MS = 300


def queue_of(job: Job) -> Queue | None:
    """Where it waited; None for an order."""
    match job:
        case SwitchJob():
            return None
        case ReadbackJob():
            return Queue.CONFIRM
        case HistoryJob():
            return Queue.BACKFILL if job.backfill else Queue.PAST
        case GuestJob():
            return Queue.SEARCH if job.search else Queue.ON_DEMAND
        case ReadJob():
            return Queue.READS
    return Queue.CLOCK


class Crowd:
    """A line on which everything of these kinds always waits: what is done is there again at once, under a new name."""

    def __init__(self, meters: int, *queues: Queue) -> None:
        self.plan = LinePlan("a", [Poll(f"m{n}", {Group.BILLING: 1_000}) for n in range(meters)], T0)
        self.queues, self.number, self.now_ms = queues, 0, T0

    def turn(self, orders: Sequence[Command] = ()) -> Job | Wait:
        """One turn among all of them; the time it takes makes every read due again."""
        self.number += 1
        n, confirms = self.number, list[Command]()
        if Queue.CONFIRM in self.queues:
            confirms = [command(f"r{n}", state=CommandState.UNCERTAIN, read_at_ms=T0)]
        past = [queue for queue in self.queues if queue in (Queue.PAST, Queue.BACKFILL)]
        history = [HistoryJob("m0", Want.DAY, n, n, backfill=queue is Queue.BACKFILL) for queue in past]
        guests = [GuestJob(n, search=q is Queue.SEARCH) for q in self.queues if q in (Queue.ON_DEMAND, Queue.SEARCH)]
        clock = [ClockJob("a")] if Queue.CLOCK in self.queues else []
        job = self.plan.next(self.now_ms, [*orders, *confirms], history, clock, guests)
        self.now_ms += STEP_MS
        if not isinstance(job, Wait):
            self.plan.done(job, OK, self.now_ms)
        return job


def test_confirmations_and_demands_leave_every_fifth_turn_to_the_schedule() -> None:
    p = plan("m1", "m2", billing_ms=1_000)
    confirms = [command(f"c{n}", state=CommandState.UNCERTAIN, read_at_ms=T0) for n in range(50)]
    jobs = [work(p, T0 + 1_500 * n, OK, *confirms) for n in range(50)]
    reads = [n for n, job in enumerate(jobs) if isinstance(job, ReadJob)]
    assert reads == list(range(PATIENCE[Queue.READS], 50, PATIENCE[Queue.READS] + 1))
    assert {job.meter for job in jobs if isinstance(job, ReadJob)} == {"m1", "m2"}


@pytest.mark.parametrize("queue", [Queue.PAST, Queue.BACKFILL, Queue.SEARCH, Queue.CLOCK])
def test_a_saturated_schedule_starves_nobody_behind_it(queue: Queue) -> None:
    crowd = Crowd(20, queue)
    served = [n for n in range(500) if isinstance(job := crowd.turn(), Job) and queue_of(job) is queue]
    assert served[0] <= PATIENCE[queue]
    assert {b - a for a, b in pairwise(served)} == {PATIENCE[queue] + 1}


def test_on_an_idle_line_the_least_urgent_goes_at_once() -> None:
    for queue in Queue:
        if queue is not Queue.READS:
            assert isinstance(job := Crowd(0, queue).turn(), Job) and queue_of(job) is queue


def test_shares_of_a_line_that_is_too_slow_for_everything() -> None:
    crowd = Crowd(40, *Queue)
    seen = Counter(queue_of(job) for _ in range(3_200) if isinstance(job := crowd.turn(), Job))
    for queue in list(Queue)[1:]:
        assert seen[queue] >= 0.8 * 3_200 / (PATIENCE[queue] + 1), queue
    assert seen[Queue.CONFIRM] == max(seen.values())


def test_every_read_of_an_overloaded_line_has_the_same_share() -> None:
    p = plan(*(f"m{n}" for n in range(10)), billing_ms=1_000, instant_ms=1_000)
    reads: Counter[ReadJob] = Counter()
    for n in range(2_000):
        job = work(p, T0 + STEP_MS * n)
        assert isinstance(job, ReadJob)
        reads[job] += 1
    assert len(reads) == 20 and min(reads.values()) >= 95


def test_pain_17_a_command_is_the_very_next_exchange_however_much_is_read() -> None:
    crowd = Crowd(100, *Queue)
    for n in range(300):
        crowd.turn()
        assert isinstance(job := crowd.turn([command(f"x{n}")]), SwitchJob) and job.command == f"x{n}"


def test_a_stream_of_commands_that_never_ends_stops_no_reading_for_ever() -> None:
    crowd = Crowd(3)
    kinds = [isinstance(crowd.turn([command(f"x{n}")]), SwitchJob) for n in range(10 * (COMMAND_RUN + 1))]
    assert [n for n, order in enumerate(kinds) if not order] == [COMMAND_RUN + n * (COMMAND_RUN + 1) for n in range(10)]


def test_commands_that_hold_up_nobody_are_not_counted() -> None:
    p = plan()
    assert all(isinstance(work(p, T0 + n, OK, command(f"x{n}")), SwitchJob) for n in range(3 * COMMAND_RUN))
    assert p.ask("m1", Group.BILLING, T0) is False


ALL_QUEUES, ALL_VERBS = 2 ** len(Queue) - 1, 2 ** len(Verb) - 1


@given(
    meters=st.integers(0, 30),
    always=st.integers(0, ALL_QUEUES),
    turns=st.lists(st.tuples(st.integers(0, ALL_QUEUES), st.integers(0, ALL_VERBS)), max_size=120),
)
def test_nobody_waits_longer_than_is_stated(meters: int, always: int, turns: list[tuple[int, int]]) -> None:
    """Any mix, changing at any moment: a restore beats a cut, an order is next, and every queue has its turn in time."""
    crowd, waits, orders_in_row = Crowd(meters), dict.fromkeys(Queue, 0), 0
    for n, (queues, orders) in enumerate(turns):
        crowd.queues = tuple(queue for queue in Queue if (queues | always) >> queue & 1)
        verbs = {verb for bit, verb in enumerate(Verb) if orders >> bit & 1}
        due = any(device.next_ms <= crowd.now_ms for device in crowd.plan.devices(crowd.now_ms))
        waiting = {q for q in crowd.queues if q is not Queue.READS} | ({Queue.READS} if due else set())
        job = crowd.turn([command(f"{verb}{n}", verb) for verb in verbs])
        assert isinstance(job, Wait) == (not waiting and not verbs)
        if isinstance(job, Wait):
            continue
        served = queue_of(job)
        if isinstance(job, SwitchJob):
            assert job.verb is not Verb.CUT or verbs - SIGNS == {Verb.CUT}
            assert job.verb not in SIGNS or verbs <= SIGNS
        elif verbs:
            assert orders_in_row == COMMAND_RUN, "an order waited"
        orders_in_row = orders_in_row + 1 if served is None and waiting else 0
        assert orders_in_row <= COMMAND_RUN
        for queue in Queue:
            waits[queue] = waits[queue] + 1 if queue in waiting and queue is not served else 0
            assert waits[queue] < LinePlan.longest_wait(queue)


@pytest.mark.parametrize("orders", [1, COMMAND_RUN, 10**6])
def test_nobody_waits_longer_than_is_stated_under_a_stream_of_orders(orders: int) -> None:
    """So many orders in a row, then a turn without one, while everything else waits all the time."""
    crowd, waits, longest = Crowd(5, *Queue), dict.fromkeys(Queue, 0), dict.fromkeys(Queue, 0)
    for n in range(4_000):
        job = crowd.turn([command(f"x{n}")] if n % (orders + 1) else [])
        assert not isinstance(job, Wait)
        waits = {queue: 0 if queue is queue_of(job) else waits[queue] + 1 for queue in Queue}
        longest = {queue: max(longest[queue], waits[queue]) for queue in Queue}
    assert all(longest[queue] < LinePlan.longest_wait(queue) for queue in Queue)


@given(st.lists(st.sets(st.integers(0, 5), min_size=1), max_size=200), st.lists(st.integers(0, 9), min_size=6, max_size=6))
def test_turns_pass_over_nobody_longer_than_they_say(rounds: list[set[int]], patience: list[int]) -> None:
    turns, passed = Turns(patience), [0] * 6
    for waiting in rounds:
        chosen = turns.choose(sorted(waiting))
        passed = [passed[q] + 1 if q in waiting and q != chosen else 0 for q in range(6)]
        assert chosen in waiting and all(passed[q] <= turns.longest(q) for q in range(6))


def test_an_allowance_is_a_share_of_the_time() -> None:
    allowance, now_ms, spent_ms = Allowance(25), T0, 0
    while now_ms < T0 + 1_000_000:
        if allowance.free(now_ms):
            now_ms, spent_ms = now_ms + 1_100, spent_ms + 1_100
            allowance.spend(1_100, now_ms)
        else:
            now_ms += 100
    assert 0.03 < (spent_ms - 1_100) / 1_000_000 <= 0.04


def test_a_meter_asked_for_its_clock_and_a_broadcast_wait_in_one_queue() -> None:
    p = plan("m1", billing_ms=1_000)
    clock = (ClockReadJob("m1"), ClockJob("a"))
    seen = [p.next(T0 + 1_000 * n, [], (), clock) for n in range(PATIENCE[Queue.CLOCK] + 1)]
    assert isinstance(seen[0], ReadJob) and seen[-1] == ClockReadJob("m1")


FETCH = HistoryJob("m1", Want.DAY, T0, T0)


@settings(deadline=None)
@given(st.lists(st.integers(0, COMMAND_RUN + 8), min_size=1, max_size=4), st.integers(0, 3))
def test_orders_go_between_the_exchanges_of_a_job_and_none_of_these_waits_for_ever(waiting: list[int], stream: int) -> None:
    """waiting: how many orders come before each exchange of one long job; stream: how many more with each that is sent."""
    p, number = plan("m1"), 0
    open_orders: list[Command] = []
    assert p.next(T0, [], [FETCH]) != Wait(None)
    for count in waiting:
        open_orders += [command(f"x{(number := number + 1)}") for _ in range(count)]
        sent = 0
        while (order := p.interrupt(FETCH, T0, open_orders)) is not None:
            assert order.command == open_orders[0].id, "the oldest first"
            p.done(order, OK, T0)
            open_orders = open_orders[1:] + [command(f"x{(number := number + 1)}") for _ in range(stream)]
            sent += 1
        assert sent == COMMAND_RUN or (sent < COMMAND_RUN and not open_orders)
    p.done(FETCH, OK, T0)


def test_only_orders_that_are_due_go_between_and_the_most_urgent_first() -> None:
    p = plan("m1")
    confirm = command("c", state=CommandState.ACKNOWLEDGED, read_at_ms=T0)
    assert p.interrupt(FETCH, T0, [confirm]) is None
    cut, restore = command("cut"), command("restore", Verb.RESTORE)
    assert (first := p.interrupt(FETCH, T0, [confirm, cut, restore])) is not None and first.verb is Verb.RESTORE
    p.put_off("cut", T0)
    assert p.interrupt(FETCH, T0, [confirm, cut]) is None


@pytest.mark.parametrize("look", [ReadbackJob("m-x", "before"), ReadJob("m-x", Group.SWITCH)])
def test_a_look_at_a_switch_is_not_mixed_with_an_order_to_it(look: Job) -> None:
    """What it shows then belongs to two states: open, with the power that flows since it was closed."""
    p = plan("m-x")
    mine, other = command("x"), command("y")
    assert p.interrupt(look, T0, [mine]) is None
    assert (order := p.interrupt(look, T0, [mine, other])) is not None and order.meter == other.meter
    assert (order := p.interrupt(ReadJob("m-x", Group.BILLING), T0, [mine])) is not None and order.meter == mine.meter
