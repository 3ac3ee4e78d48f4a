"""Plans to be tested: their commands, outcomes and turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.domain.jobs import Answered, Failed, Fault, Group, Job, Outcome
from gateway.domain.supply import Command, CommandState, Verb
from gateway.services.plan import LinePlan, Poll, Wait

T0 = 1_767_225_600_000
DAY = 24 * 3600 * 1000
OK = Answered()
SILENT = Failed(Fault.SILENT, "no answer")
GARBLED = Failed(Fault.GARBLED, "12 bytes came, but no frame that answers")


def command(name: str, verb: Verb = Verb.CUT, state: CommandState = CommandState.QUEUED, read_at_ms: int | None = None) -> Command:
    return Command(
        id=name, meter=f"m-{name}", line="a", account=None, verb=verb, cause="", origin="operator", state=state,
        created_ms=T0, expires_ms=T0 + DAY, changed_ms=T0, read_at_ms=read_at_ms,
    )  # fmt: skip


def plan(*meters: str, billing_ms: int = 60_000, **periods: int) -> LinePlan:
    groups = {Group.BILLING: billing_ms} | {Group(name.removesuffix("_ms")): ms for name, ms in periods.items()}
    return LinePlan("a", [Poll(meter, groups) for meter in meters], T0)


def work(p: LinePlan, now_ms: int, outcome: Outcome = OK, *commands: Command) -> Job | Wait:
    """Take the next job and report this outcome for it."""
    job = p.next(now_ms, commands)
    if not isinstance(job, Wait):
        p.done(job, outcome, now_ms)
    return job


def take(p: LinePlan, now_ms: int) -> Job:
    """The next job, which there must be."""
    job = p.next(now_ms, [])
    assert not isinstance(job, Wait)
    return job


def run(p: LinePlan, from_ms: int, to_ms: int, answer: Callable[[Job], tuple[Outcome, int]]) -> Iterator[tuple[int, Job, Outcome]]:
    """The line at work without commands: each job, when it was over, what came of it. answer: that, and how long it took in ms."""
    now_ms = from_ms
    while now_ms < to_ms:
        job = p.next(now_ms, [])
        if isinstance(job, Wait):
            assert job.until_ms is not None and job.until_ms > now_ms
            now_ms = job.until_ms
            continue
        outcome, took_ms = answer(job)
        now_ms += took_ms
        p.done(job, outcome, now_ms)
        yield now_ms, job, outcome
