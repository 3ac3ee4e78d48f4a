"""Where money stands in a line's order: behind what gives supply back, in front of every read; a silent meter holds nobody up."""

from __future__ import annotations

from gateway.domain.jobs import Failed, Fault, Group, ReadJob, SwitchJob, WalletReadJob, WalletWork, WalletWriteJob
from gateway.domain.supply import Command, CommandState, Verb
from gateway.domain.wallets import Act
from gateway.services.plan import LinePlan, Poll, Wait

NOW = 1_000_000
WRITE = WalletWriteJob("m1", "delivery-1", Act.TOP_UP, 5_000, 8, "000000004711", NOW)
LOOK = WalletReadJob("m1", "delivery-1", 8)


def plan() -> LinePlan:
    return LinePlan("bus-1", [Poll("m1", {Group.BILLING: 60_000}), Poll("m2", {Group.BILLING: 60_000})], NOW)


def command(verb: Verb) -> Command:
    return Command("c", "m2", "bus-1", "A", verb, "x", "rules", CommandState.QUEUED, NOW + 1, NOW + 600_000, NOW + 1)


def work(job: WalletReadJob | WalletWriteJob, *, urgent: bool = True, due_ms: int = NOW) -> tuple[WalletWork, ...]:
    return (WalletWork(job, due_ms, urgent),)


def test_a_restore_goes_first_then_a_cut_then_money_then_reads() -> None:
    for verb in (Verb.RESTORE, Verb.ALLOW_CLOSE, Verb.CUT):
        assert isinstance(plan().next(NOW + 2, [command(verb)], wallets=work(WRITE)), SwitchJob)
    for job in (WRITE, LOOK):
        assert plan().next(NOW + 2, [], wallets=work(job)) == job


def test_a_look_by_schedule_waits_behind_reads_and_has_its_turn() -> None:
    line, seen = plan(), []
    for turn in range(12):
        job = line.next(NOW + turn * 70_000, [], wallets=work(WalletReadJob("m1"), urgent=False))
        assert not isinstance(job, Wait)
        seen.append(job)
        line.done(job, Failed(Fault.REFUSED, "no"), NOW + turn * 70_000)
    assert isinstance(seen[0], ReadJob) and WalletReadJob("m1") in seen


def test_what_is_not_due_is_not_done() -> None:
    assert plan().next(NOW, [], wallets=work(WRITE, due_ms=NOW + 5)) != WRITE
    assert plan().next(NOW + 5, [], wallets=work(WRITE, due_ms=NOW + 5)) == WRITE


def test_a_silent_meters_money_waits_longer_each_time_and_is_taken_up_when_it_is_back() -> None:
    line, at, tries = plan(), NOW, []
    while at < NOW + 120_000:
        if line.next(at, [], wallets=work(LOOK)) == LOOK:
            tries.append(at - NOW)
            line.done(LOOK, Failed(Fault.SILENT, "no answer"), at + 500)
        at += 500
    assert len(tries) < 12 and tries[1] - tries[0] < tries[-1] - tries[-2]
