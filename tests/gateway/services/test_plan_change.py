"""A plan that gets another configuration while it is at work: only what differs is disturbed."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.jobs import Group, HistoryJob, Job, ReadJob, Want
from gateway.services.plan import READ_TRIES, Condition, LinePlan, Poll, Wait
from tests.gateway.services.plan_bench import DAY, OK, SILENT, T0, plan, run, take, work

GROUPS = {Group.BILLING: 900_000, Group.INSTANT: 60_000, Group.SWITCH: 300_000}
CHANGED_MS = T0 + 1_000_000


def street(count: int = 1_000) -> list[Poll]:
    return [Poll(f"m{n}", GROUPS) for n in range(count)]


def at_work(polls: list[Poll], to_ms: int = CHANGED_MS) -> LinePlan:
    """A plan that has run for a while; of every hundred meters one is dead."""
    p = LinePlan("a", polls, T0)
    for _ in run(p, T0, to_ms, lambda job: (SILENT, 1_100) if isinstance(job, ReadJob) and job.meter.endswith("77") else (OK, 2)):
        pass
    return p


def test_touching_one_of_a_thousand_meters_disturbs_only_that_meter() -> None:
    p, twin = at_work(street()), at_work(street())
    before = {state.meter: state for state in p.devices(CHANGED_MS)}
    assert before["m177"].condition is Condition.SILENT and before["m177"].failures > READ_TRIES
    p.change(street(), CHANGED_MS, {"m500"})
    after = {state.meter: state for state in p.devices(CHANGED_MS)}
    assert {meter for meter in before if before[meter] != after[meter]} == {"m500"}
    assert after["m500"].next_ms == CHANGED_MS and after["m500"].condition is Condition.ANSWERING

    def later(q: LinePlan) -> list[tuple[int, Job]]:
        found = run(q, CHANGED_MS, CHANGED_MS + 100_000, lambda job: (OK, 0))
        return [(now, job) for now, job, _ in found if isinstance(job, ReadJob) and job.meter != "m500"]

    assert later(p) == later(twin), "the order and the times of all others are what they would have been"


def test_the_same_configuration_again_changes_nothing() -> None:
    p = at_work(street(100))
    before = p.devices(CHANGED_MS)
    p.change(street(100), CHANGED_MS)
    assert p.devices(CHANGED_MS) == before


def test_meters_that_come_are_read_at_once_and_those_that_go_leave_nothing() -> None:
    p = plan("m1", "m2", billing_ms=DAY)
    work(p, T0), work(p, T0)
    assert p.ask("m1", Group.BILLING, T0)
    p.change([Poll("m2", {Group.BILLING: DAY}), Poll("m3", {Group.BILLING: DAY})], T0 + 1)
    assert work(p, T0 + 1) == ReadJob("m3", Group.BILLING)
    assert isinstance(p.next(T0 + 1, []), Wait), "what was asked of m1 is gone too"
    assert not p.ask("m1", Group.BILLING, T0 + 1)
    assert [state.meter for state in p.devices(T0 + 1)] == ["m2", "m3"]
    p.change([], T0 + 2)
    assert p.next(T0 + 2, []) == Wait(None) and p.devices(T0 + 2) == ()


def test_a_meter_may_go_while_it_is_asked() -> None:
    p = plan("m1", "m2")
    job = take(p, T0)
    p.change([Poll("m2", GROUPS)], T0)
    assert p.done(job, SILENT, T0) is None
    assert p.done(HistoryJob("m1", Want.DAY, 0, 1), SILENT, T0) is None
    assert [state.failures for state in p.devices(T0)] == [0]


def test_another_period_keeps_the_rest_of_the_device() -> None:
    p = plan("m1", "m2", billing_ms=3_600_000, instant_ms=60_000)
    for _ in range(4):
        work(p, T0)
    quicker = {Group.BILLING: 900_000, Group.INSTANT: 60_000, Group.SWITCH: 60_000}
    p.change([Poll("m1", quicker), Poll("m2", {Group.BILLING: 3_600_000})], T0 + 1_000)
    assert work(p, T0 + 1_000) == ReadJob("m1", Group.SWITCH), "what is new of it"
    first, second = p.devices(T0 + 1_000)
    assert first.next_ms == T0 + 60_000 and second.groups == (Group.BILLING,) and second.next_ms == T0 + 1_800_000
    due = {job: now for now, job, _ in run(p, T0 + 1_000, T0 + 899_999, lambda job: (OK, 0))}
    assert ReadJob("m1", Group.BILLING) not in due
    assert p.next(T0 + 900_000, []) == ReadJob("m1", Group.BILLING)


def test_a_meter_and_its_switch_module_are_told_apart() -> None:
    polls = [Poll("m1", {Group.BILLING: 60_000}), Poll("m1", {Group.SWITCH: 60_000})]
    p = LinePlan("a", polls, T0)
    work(p, T0)
    for _ in range(READ_TRIES):
        work(p, T0, SILENT)
    p.change([replace(polls[0], periods_ms={Group.BILLING: 60_000, Group.INSTANT: 60_000}), polls[1]], T0)
    assert [state.condition for state in p.devices(T0)] == [Condition.ANSWERING, Condition.SILENT]
    p.change([Poll("m1", GROUPS)], T0)
    assert [state.condition for state in p.devices(T0)] == [Condition.ANSWERING], "one device now: what the meter was"
