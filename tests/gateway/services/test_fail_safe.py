"""The fail-safe rules F1 to F9: each refuses where it must, lets its healthy twin cut, and has an end (prepayment.md 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.domain.clocks import ClockState, MeterClock
from gateway.domain.findings import FindingKind
from gateway.domain.jobs import ClockSeen, Failed, Fault, SwitchJob
from gateway.domain.limits import LoadLimit
from gateway.domain.meters import Contact
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.paths import PathVerdict
from gateway.domain.requests import Protection
from gateway.domain.supply import MAX_ATTEMPTS, Verb
from gateway.services.find_unreachable import find_unreachable
from gateway.services.paths import judge_paths
from gateway.services.plan import LinePlan
from gateway.services.ports import Tx
from gateway.services.protect_account import protect_account
from tests.gateway.services.house import POLICY, SILENT, House, account, local, meter
from tests.gateway.services.memory_tx import MemoryStore

CLOSED, OPEN = Contact.CLOSED, Contact.OPEN
HOUR_MS = 3_600_000


def nearly(house: House) -> House:
    """1.00 left after a first reading; 2 kWh more take it away."""
    house.settle(balance="6").exhaust(total="10.00")
    return house


def owes(house: House) -> None:
    """The reading that says that the credit is gone, at the present moment."""
    house.later(minutes=1).block(total="12.01")


def held(house: House) -> str:
    """Why the newest held cut is held."""
    texts = [event.data["missing"] for event in house.events() if event.kind == "cut_held"]
    return str(texts[-1]) if texts else ""


def cut_at_last(house: House) -> None:
    """The end: the debtor is cut after all, and it is verified."""
    assert house.carry_out(OPEN).state == "verified"
    assert house.account().credit == "cut"


# F1


def stale(house: House) -> House:
    """Out of credit by a change of the threshold, two hours after the last reading."""
    nearly(house).later(hours=2)
    house.kinds()
    house.change(policy=replace(POLICY, cut_micro=2_000_000))
    assert house.account().credit == "exhausted"
    return house


def test_F1_without_a_fresh_confirmed_reading_nobody_is_cut(house: House) -> None:
    stale(house)
    assert house.orders() == [] and "no confirmed reading of the last 15 minutes (F1)" in held(house)


def test_F1_twin_with_a_fresh_reading_the_same_debtor_is_cut_and_that_is_the_end(house: House) -> None:
    stale(house).block(total="10.01")
    assert house.orders() == ["cut queued"]
    cut_at_last(house)


def test_F1_an_estimated_or_single_reading_is_no_evidence(house: House) -> None:
    stale(house).read(total="10.01", contact=CLOSED)
    assert house.orders() == []
    house.later(s=20).read(total="10.01", contact=CLOSED)  # the second one confirms it
    assert house.orders() == ["cut queued"]


def test_F1_ends_with_a_finding_and_a_field_order_when_the_meter_stays_away(house: House) -> None:
    nearly(house)

    def look() -> bool:
        def usecase(tx: Tx) -> bool:
            known = tx.account("A-1")
            assert known is not None
            find_unreachable(tx, known, house.now_ms)
            return tx.finding(FindingKind.UNREACHABLE_EXHAUSTED, "A-1") is not None

        return house.do(usecase)

    assert not look()
    house.later(hours=23)
    assert not look()
    house.later(hours=72)  # 600 kW could have flowed: 1.00 was gone within the first minute
    assert look()


# F2


def test_F2_without_a_way_to_top_up_nobody_is_cut_for_debt(house: House) -> None:
    nearly(house).site = replace(house.site, path_alive=False)
    owes(house)
    assert house.orders() == [] and "no way to top up is alive (F2)" in held(house)


def test_F2_twin_and_end_when_a_path_is_alive_again_the_debtor_is_cut(house: House) -> None:
    nearly(house).site = replace(house.site, path_alive=False)
    owes(house)
    house.site = replace(house.site, path_alive=True)
    house.later(minutes=1).block(total="12.01")
    cut_at_last(house)


def test_F2_holds_only_debt(house: House) -> None:
    nearly(house).site = replace(house.site, path_alive=False)
    assert house.order(Verb.CUT).refused is None


def test_F2_a_dead_path_is_a_finding(house: House) -> None:
    house.do(lambda tx: judge_paths(tx, PathVerdict(False, "the bank has been silent for 11 min"), house.now_ms))
    assert house.do(lambda tx: tx.finding(FindingKind.NO_TOPUP_PATH, "gateway")) is not None
    house.do(lambda tx: judge_paths(tx, PathVerdict(True), house.now_ms))
    assert house.do(lambda tx: tx.finding(FindingKind.NO_TOPUP_PATH, "gateway")) is None


# F3


def test_F3_with_a_clock_that_nobody_vouches_for_nobody_is_cut_and_restores_go_on(house: House) -> None:
    nearly(house)
    owes(house)
    house.carry_out(OPEN)
    house.site = replace(house.site, clock_trusted=False)
    house.topup("20.00")
    assert house.carry_out(CLOSED).verb == "restore"
    house.later(minutes=10).block(total="70.00")
    assert house.orders()[2:] == [] and "the clock is not trusted (F3)" in held(house)


def test_F3_twin_and_end_when_it_is_vouched_for_the_debtor_is_cut(house: House) -> None:
    nearly(house).site = replace(house.site, clock_trusted=False)
    owes(house)
    assert house.orders() == []
    house.site = replace(house.site, clock_trusted=True)
    house.later(minutes=1).block(total="12.01")
    cut_at_last(house)


@pytest.mark.parametrize(("by_meter", "cut"), [(True, False), (False, True)])
def test_F3_a_wrong_meter_clock_holds_only_where_it_priced_the_energy(house: House, by_meter: bool, cut: bool) -> None:
    tariff = "two-rate" if by_meter else "flat"
    house.settle(accounts=[account(tariff=tariff)], balance="6").exhaust(total="5.00")
    wrong = MeterClock("m1", ClockState.OFF, ClockSeen(6 * 60_000, 1_000, house.now_ms))
    house.do(lambda tx: tx.save_clock(wrong))
    house.kinds()
    house.later(minutes=1).block(total="14.00")
    assert (house.orders() == ["cut queued"]) is cut
    if not cut:
        assert "the clock of meter m1 is wrong and priced its energy (F3)" in held(house)
        house.do(lambda tx: tx.save_clock(replace(wrong, seen=ClockSeen(2_000, 1_000, house.now_ms))))  # it was corrected
        house.later(minutes=1).block(total="14.00")
        cut_at_last(house)


# F4


def protect(house: House, hours: int) -> None:
    wanted = Protection("A-1", house.now_ms + hours * HOUR_MS, "Li Wei", "oxygen concentrator")
    assert house.do(lambda tx: protect_account(tx, wanted, house.site, house.now_ms)) is None


CALENDAR = NoCutCalendar("exams", "Asia/Shanghai", (), ("2026-11-24",), "2026-12-31")


def by_calendar(house: House) -> None:
    house.do(lambda tx: tx.save_no_cut_calendar(CALENDAR))
    house.change(policy=replace(POLICY, calendar="exams"))


F4: dict[str, tuple[Callable[[House], None], Callable[[House], None], str]] = {
    "protect": (lambda h: protect(h, 1), lambda h: setattr(h, "now_ms", h.now_ms + 2 * HOUR_MS), "supply protect is on"),
    "never_cut": (
        lambda h: h.change(never_cut=True),
        lambda h: h.change(never_cut=False),
        "the account is flagged never to be cut",
    ),
    "hours": (
        lambda h: setattr(h, "now_ms", local("2026-11-24 17:00")),
        lambda h: setattr(h, "now_ms", local("2026-11-25 09:00")),
        "these are no-cut hours (F4)",
    ),
    "calendar": (
        by_calendar,
        lambda h: setattr(h, "now_ms", local("2026-11-25 00:00")),
        "2026-11-24 is a no-cut day of calendar exams (F4)",
    ),
}


@pytest.mark.parametrize("rule", F4)
def test_F4_refuses_visibly_and_its_end_is_the_twin(house: House, rule: str) -> None:
    begin, end, said = F4[rule]
    nearly(house)
    begin(house)
    house.kinds()
    owes(house)
    assert house.orders() == [] and said in held(house)
    end(house)
    for _ in range(2):  # after protection a new notice comes first
        house.later(minutes=1).block(total="12.01")
    cut_at_last(house)


def test_F4_a_calendar_that_has_ended_leaves_the_built_in_rule(house: House) -> None:
    nearly(house)
    house.do(lambda tx: tx.save_no_cut_calendar(replace(CALENDAR, days=(), valid_to="2026-11-23")))
    house.change(policy=replace(POLICY, calendar="exams", no_cut_hours=False))
    house.now_ms = local("2026-11-24 18:00")
    owes(house)
    assert house.orders() == [] and "calendar exams ended on 2026-11-23" in held(house)
    house.now_ms = local("2026-11-25 10:00")
    house.block(total="12.01")
    cut_at_last(house)


# F5


def test_F4_a_calendar_that_is_not_here_leaves_the_built_in_rule(house: House) -> None:
    nearly(house)
    house.change(policy=replace(POLICY, calendar="lost", no_cut_hours=False))
    house.now_ms = local("2026-11-24 18:00")
    owes(house)
    assert house.orders() == [] and "no-cut hours" in held(house)


@pytest.mark.parametrize("moment", ["sent", "acknowledged", "lost"])
def test_F5_after_a_restart_the_relay_is_read_and_no_cut_is_blindly_repeated(house: House, moment: str) -> None:
    nearly(house)
    owes(house)
    job = house.start()
    if moment != "sent":
        house.finish(job, Failed(Fault.SILENT, "no answer")) if moment == "lost" else house.finish(job)
    assert house.restart() == 1
    [cut] = house.open()
    assert (cut.state, house.start(cut.id)) == ("uncertain", None)
    assert house.look(cut, OPEN, power_w=0).state == "verified"  # the twin: it was sent once, and that was enough


def test_F5_an_expired_cut_is_dead_and_a_restore_whose_credit_stands_is_sent_again(house: House) -> None:
    nearly(house)
    owes(house)
    [cut] = house.open()
    house.now_ms = cut.expires_ms
    house.restart()
    assert house.start(cut.id) is None and house.command(cut.id).state == "expired"
    house.later(minutes=1).block(total="12.01")
    house.carry_out(OPEN)
    house.topup("20.00")
    restore = house.send(SILENT)
    house.restart()
    for _ in range(2):
        restore = house.look(restore, OPEN)
    assert restore.state == "queued"
    assert house.carry_out(CLOSED).state == "verified"


def test_F5_restarts_use_up_no_try_of_a_cut(house: House) -> None:
    nearly(house)
    owes(house)
    for _ in range(MAX_ATTEMPTS + 2):
        [cut] = house.open()
        assert house.start(cut.id) is not None
        house.restart()
        for _ in range(2):  # seen closed twice: only then it is sent again
            cut = house.look(cut, CLOSED)
        assert cut.state == "queued"
    cut_at_last(house)


def test_F5_restarts_use_up_no_try_of_a_restore(house: House) -> None:
    nearly(house)
    owes(house)
    house.carry_out(OPEN)
    house.topup("20.00")
    for _ in range(MAX_ATTEMPTS + 2):  # each time the process dies before it is known whether the order left
        [restore] = house.open()
        assert house.start(restore.id) is not None
        house.restart()
        for _ in range(2):
            restore = house.look(restore, OPEN)
        assert restore.state == "queued"
    assert house.carry_out(CLOSED).state == "verified"


# F6


def unwritable(house: House, *reasons: str) -> None:
    assert isinstance(house.store, MemoryStore)
    house.store.tx.unwritable = {*reasons}


@pytest.fixture
def memory() -> House:
    """Only the store in memory has a log that can be made to fail."""
    return House(MemoryStore())


def test_F6_where_the_audit_log_cannot_be_written_nobody_is_cut_and_restores_go_on(memory: House) -> None:
    nearly(memory)
    owes(memory)
    memory.carry_out(OPEN)
    unwritable(memory, "disk full")
    memory.topup("20.00")
    assert memory.carry_out(CLOSED).state == "verified"
    memory.later(minutes=10).block(total="70.00")
    assert memory.orders()[2:] == [] and "the audit log cannot be written (F6)" in held(memory)
    refused = memory.order(Verb.CUT).refused
    assert refused == "no permission to cut: the audit log cannot be written (F6)"


def test_F6_a_cut_that_is_queued_when_the_log_fills_is_not_sent(memory: House) -> None:
    nearly(memory)
    owes(memory)
    unwritable(memory, "disk full")
    assert memory.start() is None
    assert memory.orders() == ["cut cancelled"]


def test_F6_twin_and_end_when_the_log_can_be_written_again_the_debtor_is_cut(memory: House) -> None:
    nearly(memory)
    unwritable(memory, "disk full")
    owes(memory)
    unwritable(memory)
    memory.later(minutes=1).block(total="12.01")
    cut_at_last(memory)
    acts = [(row.who, row.act) for row in memory.do(lambda tx: tx.audit_rows(0, 100))]
    assert acts == [("rules", "permit_cut"), ("rules", "send_cut")]


def test_F6_without_room_on_the_disk_no_cause_cuts(house: House) -> None:
    nearly(house).site = replace(house.site, disk_ok=False)
    owes(house)
    assert house.orders() == [] and "what a cut leaves behind cannot be written (F6)" in held(house)
    assert "(F6)" in str(house.order(Verb.CUT).refused)
    house.site = replace(house.site, disk_ok=True)
    house.later(minutes=1).block(total="12.01")
    cut_at_last(house)


# F7


def test_F7_a_top_up_answered_before_the_decision_is_in_it(house: House) -> None:
    nearly(house)
    owes(house)
    [cut] = house.open()
    house.topup("20.00")
    assert house.start(cut.id) is None and house.orders() == ["cut superseded"]


def test_F7_twin_without_the_top_up_the_same_cut_is_sent(house: House) -> None:
    nearly(house)
    owes(house)
    assert house.start() is not None


# F8


def test_F8_a_paid_restore_is_first_on_its_line(house: House) -> None:
    house.settle(meter("m1"), meter("m2", account="A-2"), meter("m3"), accounts=[account(), account("A-2")], balance="100")
    house.order(Verb.CUT, ident="m1", id="O-1")
    house.carry_out(OPEN)
    house.order(Verb.CUT, ident="m2", id="O-2")
    house.order(Verb.CUT, ident="m3", id="O-3")
    house.later(s=1).order(Verb.RESTORE, ident="m1", id="O-4")
    plan = LinePlan("bus-1", [], house.now_ms)
    first = plan.next(house.now_ms, house.open())
    assert isinstance(first, SwitchJob) and (first.command, first.verb) == ("O-4", Verb.RESTORE)


# F9

LIMIT = LoadLimit(power_w=2000, delay_ms=10_000, pause_ms=30_000, recloses=1)


def overload(house: House) -> list[str]:
    for _ in range(4):
        house.later(s=5).read(power="2.500", contact=CLOSED)
    return [kind for kind in house.kinds() if kind.startswith(("limit", "cut"))]


def test_F9_an_overload_trips_at_once_without_notice_evidence_or_clock(house: House) -> None:
    house.settle(accounts=[account(limit=LIMIT, agreement=None)], balance="100")
    house.site = replace(house.site, clock_trusted=False, path_alive=False)
    house.now_ms = local("2026-11-29 03:00")
    house.kinds()
    assert overload(house) == ["limit_exceeded", "cut_ordered", "limit_cut"]
    permission = house.do(lambda tx: tx.permissions(1))[0]
    assert (permission.cause, permission.origin, permission.evidence["measured"]) == ("safety", "limit", "m1 2.500 kW")


def test_F9_never_trips_a_protected_house_and_trips_it_when_protection_ends(house: House) -> None:
    house.settle(accounts=[account(limit=LIMIT)], balance="100")
    protect(house, 1)
    house.kinds()
    assert overload(house) == ["limit_exceeded", "cut_held"]
    house.later(hours=1.1)
    assert overload(house)[-2:] == ["cut_ordered", "limit_cut"]
