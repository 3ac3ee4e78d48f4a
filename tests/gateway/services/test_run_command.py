"""The life of a command on its line (contract.md 5; prepayment.md "What we decided" 5 F5 and 10)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.jobs import Answered, Failed, Fault, SwitchJob
from gateway.domain.limits import LoadLimit
from gateway.domain.meters import Contact
from gateway.domain.supply import MAX_ATTEMPTS, MAX_READBACKS, Command, CommandState, SwitchReading, Verb
from gateway.services.run_command import finish_readback
from tests.gateway.services.house import BROKE, DOWN, NAK, PASSWORD, POLICY, SILENT, House, account, meter

BY_NIGHT = replace(POLICY, no_cut_hours=False)
CLOSED, OPEN, ALLOWED, UNKNOWN = Contact.CLOSED, Contact.OPEN, Contact.ALLOWED, Contact.UNKNOWN


@pytest.fixture
def debtor(house: House) -> House:
    """A house without credit, its cut queued."""
    house.settle(balance="1").exhaust()
    house.kinds()
    return house


@pytest.fixture
def dark(debtor: House) -> House:
    """A house that was cut and has just paid, its restore queued."""
    debtor.carry_out(OPEN)
    debtor.topup("20.00")
    debtor.kinds()
    return debtor


@pytest.mark.parametrize("lost", [SILENT, BROKE, Failed(Fault.GARBLED, "noise"), Failed(Fault.REQUEST, "our own fault")])
def test_a_lost_answer_is_uncertain_and_the_relay_is_read_first(debtor: House, lost: Failed) -> None:
    cut = debtor.send(lost)
    assert (cut.state, cut.reason, cut.read_at_ms) == ("uncertain", lost.text, debtor.now_ms + 4000)
    assert (debtor.kinds(), debtor.start(cut.id)) == (["command_uncertain"], None)
    cut = debtor.look(cut, OPEN, power_w=0)
    assert (cut.state, cut.attempts, cut.reason) == ("verified", 1, None)  # it had arrived


def test_a_lost_command_is_sent_again_only_after_two_looks_and_at_most_three_times(debtor: House) -> None:
    [cut] = debtor.open()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        cut = debtor.send(SILENT)
        assert (cut.state, cut.attempts) == ("uncertain", attempt)
        cut = debtor.look(cut, CLOSED)
        assert (cut.state, debtor.start(cut.id)) == ("uncertain", None)
        cut = debtor.look(cut, CLOSED)
        assert cut.state == ("queued" if attempt < MAX_ATTEMPTS else "failed")
        debtor.block(total="10.00")
    assert (cut.reason, debtor.kinds()[-1]) == ("the switch did not move", "command_failed")


def test_a_silent_switch_is_read_for_ever_and_nothing_is_sent_blindly(debtor: House) -> None:
    cut = debtor.send(SILENT)
    for _ in range(50):
        cut = debtor.look(cut, None)
        assert (cut.state, cut.attempts, cut.readbacks) == ("uncertain", 1, 0)
    assert debtor.look(cut, OPEN).state == "verified"


@pytest.mark.parametrize("answer", [SILENT, None])
def test_a_switch_that_cannot_be_told_ends_as_failed_and_nothing_is_repeated(debtor: House, answer: Failed | None) -> None:
    cut = debtor.send(answer) if answer else debtor.send()
    for _ in range(MAX_READBACKS):
        assert (cut.final, cut.attempts) == (False, 1)
        cut = debtor.look(cut, UNKNOWN)
    assert (cut.state, cut.attempts) == ("failed", 1)


def test_an_acknowledged_switch_that_does_not_move_is_read_five_times_then_failed(debtor: House) -> None:
    cut = debtor.send()
    for reads in range(1, MAX_READBACKS + 1):
        assert cut.state == "acknowledged"
        cut = debtor.look(cut, CLOSED)
        assert cut.readbacks == reads
    assert (cut.state, cut.reason, cut.attempts) == ("failed", "the switch did not move", 1)
    assert debtor.relay() == "open (credit:energy_debt), seen closed"


def test_a_bit_that_settles_late_is_waited_for(debtor: House) -> None:
    cut = debtor.look(debtor.send(), CLOSED)
    assert (cut.state, cut.read_at_ms) == ("acknowledged", debtor.now_ms + 3000)
    assert debtor.look(cut, OPEN).state == "verified"


@pytest.mark.parametrize("outcome", [None, SILENT], ids=["acknowledged", "lost answer"])
def test_a_welded_relay_fails_after_a_minute_of_current(debtor: House, outcome: Failed | None) -> None:
    cut = debtor.send(outcome) if outcome else debtor.send()
    begun = debtor.now_ms
    while not cut.final:
        assert debtor.now_ms - begun < 65_000
        cut = debtor.look(cut, OPEN, power_w=900)
    assert (cut.state, cut.reason, cut.attempts) == ("failed", "current_while_open", 1)
    assert debtor.now_ms - begun >= 60_000
    [event] = [e for e in debtor.events() if e.kind == "command_failed"]
    assert (event.meter, event.data["reason"]) == ("m1", "current_while_open")
    assert debtor.account().credit == "exhausted"  # the house has its light: it is not cut
    debtor.later(minutes=2).block(total="12.00", contact=OPEN)
    assert (debtor.account().credit, debtor.orders()) == ("exhausted", ["cut failed"])
    debtor.later(minutes=9).block(total="14.00", contact=OPEN)
    assert debtor.orders() == ["cut failed", "cut queued"]


def test_a_welded_relay_that_then_refuses_is_not_forgotten(debtor: House) -> None:
    debtor.change(policy=BY_NIGHT)
    cut = debtor.send()
    while not cut.final:
        cut = debtor.look(cut, OPEN, power_w=900)
    debtor.later(minutes=10).block(total="12.00", contact=OPEN)
    debtor.send(NAK)
    debtor.later(hours=12).block(total="14.00", contact=OPEN)
    assert debtor.orders() == ["cut failed", "cut refused", "cut queued"]


@pytest.mark.parametrize("outcome", [None, SILENT], ids=["acknowledged", "lost answer"])
def test_after_current_was_seen_a_bit_alone_does_not_verify(debtor: House, outcome: Failed | None) -> None:
    cut = debtor.send(outcome) if outcome else debtor.send()
    cut = debtor.look(cut, OPEN, power_w=900)
    for _ in range(3):
        cut = debtor.look(cut, OPEN, power_w=None)
        assert not cut.final
    assert debtor.look(cut, OPEN, power_w=0).evidence == ("relay_bit", "load")


def test_current_of_an_earlier_cut_contradicts_no_later_one(debtor: House) -> None:
    cut = debtor.send()
    while not cut.final:
        cut = debtor.look(cut, OPEN, power_w=900)
    debtor.later(minutes=12).block(total="14.00", contact=OPEN)
    assert debtor.look(debtor.send(), OPEN, power_w=None).state == "verified"


def test_current_that_stops_within_the_minute_verifies(debtor: House) -> None:
    cut = debtor.send()
    for _ in range(10):
        cut = debtor.look(cut, OPEN, power_w=900)
    assert debtor.look(cut, OPEN, power_w=5).evidence == ("relay_bit", "load")


def test_a_failed_cut_is_ordered_again_after_a_pause_and_not_before(debtor: House) -> None:
    cut = debtor.send()
    while not cut.final:
        cut = debtor.look(cut, CLOSED)
    failed_ms = debtor.now_ms
    while debtor.now_ms - failed_ms < debtor.site.retry_failed_ms - 60_000:
        debtor.later(minutes=1).block(total="10.00")
        assert debtor.orders() == ["cut failed"]
    debtor.later(minutes=1).block(total="10.00")
    assert debtor.orders() == ["cut failed", "cut queued"]


def test_a_refused_cut_is_final_and_spares_the_meters_password(debtor: House) -> None:
    debtor.change(policy=BY_NIGHT)
    cut = debtor.send(PASSWORD)
    assert (cut.state, cut.reason, debtor.kinds()) == ("refused", PASSWORD.text, ["command_failed"])
    debtor.later(hours=11.9).block(total="10.00")
    assert debtor.orders() == ["cut refused"]
    debtor.later(hours=0.2).block(total="10.00")
    assert debtor.orders() == ["cut refused", "cut queued"]


def test_a_refusal_that_is_not_about_the_password_is_tried_again_like_a_failure(debtor: House) -> None:
    debtor.send(NAK)
    debtor.later(minutes=9).block(total="10.00")
    assert debtor.orders() == ["cut refused"]
    debtor.later(minutes=1).block(total="10.00")
    assert debtor.orders() == ["cut refused", "cut queued"]


def test_an_overloads_cut_does_not_wait_half_a_day_for_a_password(house: House) -> None:
    house.settle(accounts=[account(limit=LoadLimit(2000, 10_000, 30_000, 0))], balance="100").block(total="0.00")
    for _ in range(4):
        house.later(s=5).read(power="5.000", contact=CLOSED)
    house.send(PASSWORD)
    house.later(minutes=10).block(total="0.00")
    assert house.orders() == ["cut refused", "cut queued"]


def test_a_meter_is_not_asked_a_third_time_within_a_day_whoever_restarts(debtor: House) -> None:
    debtor.send(PASSWORD)
    first_ms = debtor.now_ms
    debtor.order(Verb.CUT, id="O-1")
    debtor.send(PASSWORD)
    debtor.kinds()
    debtor.restart()
    for n in range(2, 5):
        debtor.order(Verb.CUT, id=f"O-{n}")
        assert debtor.start(f"O-{n}") is None
        spared = debtor.command(f"O-{n}")
        assert (spared.state, spared.attempts) == ("refused", 0)
        assert spared.reason == "not sent: the meter refused the password twice within a day"
    assert debtor.kinds().count("command_failed") == 3
    debtor.now_ms = first_ms + 24 * 3_600_000 - 1
    debtor.order(Verb.CUT, id="O-8")
    assert debtor.start("O-8") is None
    debtor.later(s=0.001).order(Verb.CUT, id="O-9")
    assert debtor.start("O-9") is not None  # our own refusals do not count


def test_refusals_of_another_meter_or_for_another_reason_spare_nobody(house: House) -> None:
    house.settle(meter("m1"), meter("m2"), balance="100")
    for n, (ident, answer) in enumerate([("m2", PASSWORD), ("m2", PASSWORD), ("m1", NAK), ("m1", NAK), ("m1", PASSWORD)]):
        house.order(Verb.CUT, id=f"O-{n}", ident=ident)
        house.send(answer, f"O-{n}")
    house.order(Verb.CUT, id="O-9")
    assert house.start("O-9") is not None


def test_what_certainly_did_not_leave_is_queued_again_and_costs_no_attempt(debtor: House) -> None:
    for _ in range(2 * MAX_ATTEMPTS):
        cut = debtor.send(DOWN)
        assert (cut.state, cut.attempts) == ("queued", 0)
    assert debtor.carry_out(OPEN).state == "verified"


def test_what_we_ourselves_cannot_ask_fails_instead_of_turning_for_ever(debtor: House) -> None:
    cut = debtor.send(Failed(Fault.REQUEST, "the profile has no switch", certain=True))
    assert (cut.state, cut.reason) == ("failed", "the profile has no switch")
    debtor.later(minutes=10).block(total="10.00")
    assert debtor.orders() == ["cut failed", "cut queued"]


# restores


def test_a_failed_restore_of_a_paid_house_is_ordered_again(dark: House) -> None:
    restore = dark.send()
    while not restore.final:
        restore = dark.look(restore, OPEN)
    assert restore.state == "failed"
    dark.later(minutes=9).block(total="10.00", contact=OPEN)
    assert dark.orders() == ["cut verified", "restore failed"]
    dark.later(minutes=1).block(total="10.00", contact=OPEN)
    assert dark.orders() == ["cut verified", "restore failed", "restore queued"]
    dark.carry_out(CLOSED)
    assert dark.relay() == "closed, seen closed"


def test_a_refused_restore_is_ordered_again_after_its_pause(dark: House) -> None:
    dark.send(NAK)
    dark.later(minutes=9).block(total="10.00", contact=OPEN)
    assert dark.orders() == ["cut verified", "restore refused"]
    dark.later(minutes=1).block(total="10.00", contact=OPEN)
    assert dark.orders() == ["cut verified", "restore refused", "restore queued"]


def test_a_lost_restore_is_read_then_sent_again(dark: House) -> None:
    restore = dark.send(SILENT)
    for _ in range(2):
        restore = dark.look(restore, OPEN)
    assert restore.state == "queued"
    assert dark.carry_out(CLOSED).state == "verified"


def test_a_restore_that_could_not_be_sent_for_a_day_is_ordered_anew(dark: House) -> None:
    [restore] = dark.open()
    dark.now_ms = restore.expires_ms
    assert dark.start(restore.id) is None
    assert dark.orders() == ["cut verified", "restore expired", "restore queued"]


def test_a_restore_of_a_switch_never_seen_is_ordered_anew_too(house: House) -> None:
    house.settle(meter(feedback=False), balance="1")
    house.block(total="0.00", contact=None)
    house.later(minutes=1).block(total="10.00", contact=None)
    house.carry_out(OPEN, kind="command_only")
    house.topup("20.00")
    [restore] = house.open()
    house.now_ms = restore.expires_ms
    assert house.start(restore.id) is None
    assert house.orders() == ["cut command_only", "restore expired", "restore queued"]


# expiry


def test_an_expired_cut_is_dead_and_judged_anew(debtor: House) -> None:
    [cut] = debtor.open()
    debtor.now_ms = cut.expires_ms
    debtor.site = replace(debtor.site, path_alive=False)
    assert debtor.start(cut.id) is None
    assert (debtor.orders(), debtor.relay()) == (["cut expired"], "closed, seen closed")
    assert debtor.kinds()[-1] == "cut_held"
    debtor.site = replace(debtor.site, path_alive=True)
    debtor.later(minutes=1).block(total="10.00")
    assert debtor.orders() == ["cut expired", "cut queued"]


def test_what_expires_between_the_store_and_the_wire_is_expired_and_not_a_failure(debtor: House) -> None:
    """Its place in the budget is free again; a clock that was set back meanwhile leaves it queued, and marks nothing as sent."""
    late = Failed(Fault.LATE, "its expiry passed before it could be sent", certain=True)
    cut = debtor.send(late)
    assert (cut.state, cut.attempts) == ("queued", 0)
    job = debtor.start(cut.id)
    debtor.now_ms = cut.expires_ms
    cut = debtor.finish(job, late)
    assert (cut.state, cut.reason, cut.attempts) == ("expired", late.text, 0)
    assert "command_failed" not in debtor.kinds()
    spent = debtor.do(lambda tx: [tx.spent(budget, None, 0) for budget in ("own", "ordered", "safety")])
    assert not any(spent)


def test_an_expired_cut_with_all_evidence_is_replaced_at_once(debtor: House) -> None:
    [cut] = debtor.open()
    debtor.now_ms = cut.expires_ms
    assert debtor.start(cut.id) is None
    assert debtor.orders() == ["cut expired", "cut queued"]
    assert debtor.carry_out(OPEN).state == "verified"


def test_a_cut_whose_outcome_stayed_unknown_past_its_expiry_is_not_sent_again(debtor: House) -> None:
    cut = debtor.send(SILENT)
    for _ in range(70):
        cut = debtor.look(cut, None)
    assert debtor.now_ms > cut.expires_ms
    cut = debtor.look(cut, CLOSED)
    cut = debtor.look(cut, CLOSED)
    assert (cut.state, cut.attempts) == ("expired", 1)
    assert debtor.orders()[:1] == ["cut expired"]


# restart (F5)


STATES = {
    "queued": (lambda h: None, 0, "queued"),
    "sent": (lambda h: h.start(), 1, "uncertain"),
    "acknowledged": (lambda h: h.send(), 1, "uncertain"),
    "uncertain": (lambda h: h.send(SILENT), 1, "uncertain"),
    "refused": (lambda h: h.send(NAK), 0, None),
    "verified": (lambda h: h.carry_out(OPEN), 0, None),
}


@pytest.mark.parametrize("state", STATES)
def test_a_restart_in_every_state(debtor: House, state: str) -> None:
    arrange, in_flight, after = STATES[state]
    arrange(debtor)
    assert debtor.orders() == [f"cut {state}"]
    assert debtor.restart() == in_flight
    assert debtor.orders() == [f"cut {after or state}"]
    if after == "uncertain":
        [cut] = debtor.open()
        assert debtor.start(cut.id) is None  # never blindly
        assert debtor.look(cut, OPEN, power_w=0).state == "verified"
        assert debtor.account().credit == "cut"


@pytest.mark.parametrize("arrange", [lambda h: h.start(), lambda h: h.send()], ids=["sent", "acknowledged"])
def test_after_a_restart_the_switch_is_read_when_it_has_settled(debtor: House, arrange: object) -> None:
    arrange(debtor)  # type: ignore[operator]
    sent_ms = debtor.now_ms
    debtor.later(s=1).restart()
    [cut] = debtor.open()
    assert cut.read_at_ms == sent_ms + 4000
    debtor.later(s=60).restart()
    assert (debtor.open()[0].read_at_ms or 0) <= debtor.now_ms  # at once


def test_restarts_in_a_row_do_not_keep_a_lost_cut_from_being_sent_again(debtor: House) -> None:
    debtor.start()  # and killed before the frame left
    for _ in range(3):
        debtor.later(s=5).restart()
        [cut] = debtor.open()
        if cut.state == "queued":
            break
        debtor.look(cut, CLOSED)
    assert debtor.orders() == ["cut queued"]


def test_a_clock_that_was_set_back_over_the_restart_does_not_delay_the_read_back(debtor: House) -> None:
    debtor.send()
    debtor.later(hours=-3).restart()
    assert (debtor.open()[0].read_at_ms or 0) - debtor.now_ms <= 4000


def test_a_top_up_before_the_restart_is_in_the_decision_after_it(debtor: House) -> None:
    debtor.send()
    debtor.topup("20.00")
    debtor.restart()
    assert debtor.orders() == ["cut superseded", "restore queued"]


def test_a_debt_that_grew_while_we_were_down_is_cut_only_on_fresh_evidence(house: House) -> None:
    house.settle(balance="6").exhaust()
    house.later(hours=2)
    house.change(policy=replace(POLICY, cut_micro=2_000_000))
    house.restart()
    assert house.orders() == []
    house.block(total="10.01")
    assert house.orders() == ["cut queued"]


def test_answers_for_commands_that_ended_meanwhile_change_nothing(debtor: House) -> None:
    cut = debtor.carry_out(OPEN)
    debtor.finish(SwitchJob("m1", cut.id, Verb.CUT, 0), NAK)
    assert debtor.command(cut.id) == cut
    assert debtor.start("nobody") is None


def test_the_states_of_the_table_are_all_reached_here() -> None:
    elsewhere = {"quarantined", "done"}  # test_two_people, and what moves no switch
    here = {*STATES, "verified", "allowed", "command_only", "expired", "cancelled", "superseded", "failed", "delayed"}
    assert here | elsewhere == set(CommandState)


# a cut that the meter holds back (prepayment.md 10)


def held(house: House, cut: Command, minutes: float | None) -> Command:
    """Looked at when it is due: closed, with much current, and the meter's guard as it stands."""
    due_ms = house.command(cut.id).read_at_ms
    assert due_ms is not None
    house.now_ms = max(house.now_ms, due_ms)
    until_ms = None if minutes is None else cut.created_ms + round(minutes * 60_000)
    seen = Answered(switch=SwitchReading(CLOSED, "relay_bit", house.now_ms, 9000, until_ms))
    house.do(lambda tx: finish_readback(tx, cut.id, seen, house.site, house.now_ms))
    return house.command(cut.id)


def test_a_high_current_guard_delays_a_cut_and_the_result_says_until_when(debtor: House) -> None:
    cut = held(debtor, debtor.send(), 30)
    assert (cut.state, cut.final) == ("delayed", False)
    assert cut.reason == "delayed until 2026-11-24T02:31:00Z at the latest: the meter waits for the current to fall"
    assert cut.read_at_ms == debtor.now_ms + 60_000
    assert "cut_delayed" in debtor.kinds()
    for _ in range(20):
        cut = held(debtor, cut, 30)
        assert (cut.state, cut.attempts, cut.readbacks) == ("delayed", 1, 0), "it is looked at, and not sent again"
    debtor.restart()
    assert debtor.command(cut.id).state == "delayed"
    assert debtor.look(cut, OPEN, power_w=0).state == "verified"


def test_a_guard_that_is_over_and_did_not_open_is_a_failure(debtor: House) -> None:
    cut = held(debtor, debtor.send(), 2)
    for _ in range(20):
        if cut.final:
            break
        cut = held(debtor, cut, 2)
    assert (cut.state, cut.reason) == ("failed", "the switch did not move")


def test_no_guard_holds_a_cut_for_more_than_a_day(debtor: House) -> None:
    cut = held(debtor, debtor.send(), 100 * 24 * 60)
    debtor.later(hours=24)
    for _ in range(MAX_READBACKS):
        cut = held(debtor, cut, 100 * 24 * 60)
    assert cut.state == "failed"


def test_a_top_up_takes_a_delayed_cut_away(debtor: House) -> None:
    held(debtor, debtor.send(), 30)
    debtor.topup("20.00")
    assert debtor.orders() == ["cut superseded", "restore queued"]


def test_only_a_cut_that_was_acknowledged_is_delayed(debtor: House) -> None:
    cut = held(debtor, debtor.send(SILENT), 30)
    assert cut.state == "uncertain", "whether it arrived is not known"
