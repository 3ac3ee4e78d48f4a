"""Alarms and protection in the meter: durable, proved by a bit, told to the ladder, and taken back (prepayment.md 3, 4 and 10)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.credit import CreditState, Step
from gateway.domain.incoming import IncomingCommand
from gateway.domain.jobs import Answered, ControlJob, Outcome, SwitchJob
from gateway.domain.meters import Contact, Meter, SwitchKind
from gateway.domain.notices import Notice
from gateway.domain.requests import Protection
from gateway.domain.signs import SignsSeen
from gateway.domain.supply import SILENT_PAUSE_MS, Command, Verb
from gateway.services import notify
from gateway.services.keep_signs import AGAIN_MS, LIVES_MS, READ_BACK, TAKEN, UNPROVED, due_signs, keep_sign
from gateway.services.meter_orders import SILENT as NEVER_KNOWN
from gateway.services.meter_orders import UNHEARD, UNHEEDED, finish_sign
from gateway.services.protect_account import protect_account
from gateway.services.receive_command import receive_command
from gateway.services.run_command import refused_passwords
from tests.gateway.services.house import NAK, PASSWORD, POLICY, SILENT, House, account, meter

HOUR_MS = 3_600_000
ALARM = Step("out", ("meter",), CreditState.EXHAUSTED)


def look(house: House, command: Command | None, alarm: bool | None = None, protect: bool | None = None) -> Command:
    """What the meter shows when it is read back; with no command named, the one that is due."""
    waits = command or next(c for c in house.open() if c.read_at_ms is not None)
    due_ms = house.command(waits.id).read_at_ms
    assert due_ms is not None, f"{waits.state} is not to be read back"
    house.now_ms = max(house.now_ms, due_ms)
    return told(house, waits, Answered(signs=SignsSeen(alarm, protect, house.now_ms)))


def told(house: House, command: Command, outcome: Outcome) -> Command:
    house.do(lambda tx: finish_sign(tx, command.id, outcome, house.now_ms))
    return house.command(command.id)


def keep(house: House) -> list[str]:
    """The loop's look, until nothing is due; the verbs that are under way then."""
    for _ in range(10):
        due = house.do(lambda tx: due_signs(tx, house.site, house.now_ms))
        for sign, which in due:
            house.do(lambda tx, sign=sign, which=which: keep_sign(tx, sign, which, house.site, house.now_ms))  # type: ignore[misc]
        if not due:
            return [command.verb.value for command in house.open()]
    raise AssertionError(f"it goes on for ever: {due}")


def shown(house: House, alarm: bool | None = None, protect: bool | None = None) -> Command:
    """What is ordered is sent, taken, and read back."""
    keep(house)
    done = look(house, house.send(), alarm, protect)
    keep(house)
    return done


# The order


def test_an_alarm_is_done_when_the_meter_shows_it_and_not_before(house: House) -> None:
    house.settle()
    assert house.order(Verb.ALARM).refused is None
    job = house.start()
    assert isinstance(job, ControlJob) and job.verb is Verb.ALARM
    taken = house.finish(job)
    assert taken.state == "acknowledged" and taken.read_at_ms == house.now_ms + house.meter().settle_ms
    assert look(house, taken, alarm=False).state == "acknowledged"
    done = look(house, taken, alarm=True)
    assert (done.state, done.evidence, done.attempts, done.final) == ("done", ("status_bit",), 1, True)
    assert "meter_told" in house.kinds()


@pytest.mark.parametrize("verb", [Verb.ALARM, Verb.ALARM_OFF])
def test_a_meter_that_never_shows_it_has_failed(house: House, verb: Verb) -> None:
    house.settle()
    house.order(verb)
    command = house.send()
    for _ in range(5):
        assert not command.final
        command = look(house, command, alarm=verb is Verb.ALARM_OFF)
    assert (command.state, command.reason) == ("failed", UNHEEDED)
    assert "command_failed" in house.kinds()


def test_a_meter_without_such_a_bit_proves_nothing(house: House) -> None:
    house.settle()
    house.order(Verb.ALARM)
    done = look(house, house.send())
    assert (done.state, done.evidence) == ("command_only", ("command_only",))


def test_what_nobody_acknowledged_is_read_compared_and_sent_again_within_bounds(house: House) -> None:
    house.settle()
    house.order(Verb.ALARM)
    for attempt in (1, 2, 3):
        command = house.send(SILENT)
        assert (command.state, command.attempts) == ("uncertain", attempt)
        assert look(house, command, alarm=False).state == "uncertain"
        command = look(house, command, alarm=False)
    assert (command.state, command.reason) == ("failed", UNHEEDED)


def test_what_nobody_acknowledged_may_have_arrived(house: House) -> None:
    house.settle()
    house.order(Verb.ALARM)
    assert look(house, house.send(SILENT), alarm=True).state == "done"


def test_what_nobody_acknowledged_and_nothing_shows_is_never_called_done(house: House) -> None:
    house.settle()
    house.order(Verb.ALARM)
    for _ in range(3):
        command = look(house, house.send(SILENT))
    assert (command.state, command.reason) == ("failed", UNHEARD)


def test_after_a_restart_it_is_read_before_anything_is_sent(house: House) -> None:
    house.settle()
    house.order(Verb.ALARM)
    job = house.start()
    assert job is not None and house.restart() == 1
    assert house.command(job.command).state == "uncertain"
    assert look(house, house.command(job.command), alarm=True).state == "done"


def test_a_meter_that_stays_silent_ends_it_with_its_time(house: House) -> None:
    house.settle()
    house.order(Verb.ALARM, lives_s=30)
    command = house.send(SILENT)
    assert told(house, command, SILENT).read_at_ms == house.now_ms + SILENT_PAUSE_MS
    house.later(s=30)
    ended = told(house, command, SILENT)
    assert (ended.state, ended.reason) == ("failed", NEVER_KNOWN)


def test_an_order_whose_time_is_over_is_not_sent(house: House) -> None:
    house.settle()
    house.order(Verb.ALARM, lives_s=10)
    house.later(s=10)
    assert house.start("O-1") is None and house.command("O-1").state == "expired"


def test_a_refused_password_is_not_tried_again_and_the_last_of_the_day_is_the_switchs(house: House) -> None:
    house.settle()
    house.order(Verb.ALARM)
    assert house.send(PASSWORD).state == "refused"
    assert house.do(lambda tx: refused_passwords(tx, "m1", house.now_ms)) == 1
    house.order(Verb.ALARM, id="O-2")
    assert house.start("O-2") is None
    assert house.command("O-2").reason == "not sent: the meter refused the password once within a day"
    house.order(Verb.RESTORE, id="O-3")
    assert type(house.start("O-3")) is SwitchJob, "whoever has paid still has a try"
    house.later(hours=24)
    house.order(Verb.ALARM, id="O-4")
    assert isinstance(house.start("O-4"), ControlJob)


def test_the_opposite_takes_its_place_and_the_same_is_not_doubled(house: House) -> None:
    house.settle()
    first = house.order(Verb.ALARM, id="on").command
    assert house.order(Verb.ALARM, id="again").command == first
    assert house.order(Verb.ALARM, id="on").command == first
    assert house.order(Verb.ALARM_OFF, id="on").refused == "command on is known with another content"
    assert house.order(Verb.RESTORE, id="on").refused == "command on is known with another content"
    house.order(Verb.ALARM_OFF, id="off")
    assert house.command("on").state == "superseded" and [c.id for c in house.open()] == ["off"]


@pytest.mark.parametrize(
    ("changes", "verb", "why"),
    [
        ({"protocol": "modbus-rtu"}, Verb.ALARM, "meter m1 (modbus-rtu) has nothing by which it could be told: alarm"),
        ({"protocol": "dlt645-1997"}, Verb.ALARM, "meter m1 (dlt645-1997) has nothing by which it could be told: alarm"),
        ({}, Verb.PROTECT, "protection is asked for an account, with in_meter, and not for one meter"),
        ({}, Verb.UNPROTECT, "protection is asked for an account, with in_meter, and not for one meter"),
    ],
)
def test_what_is_refused(house: House, changes: dict[str, str], verb: Verb, why: str) -> None:
    house.settle(meter(**changes))
    answer = house.order(verb)
    assert (answer.command, answer.refused) == (None, why) and house.open() == []


def test_the_switchs_own_rules_do_not_see_it(house: House) -> None:
    """A cut goes on while an alarm is under way, is still the last order to the switch, and neither takes the other's place."""
    house.settle()
    house.order(Verb.ALARM, id="alarm")
    house.order(Verb.CUT, id="cut")
    house.order(Verb.ALARM_OFF, id="quiet")
    assert {c.id: c.state.value for c in house.open()} == {"cut": "queued", "quiet": "queued"}
    cut = house.look(house.send(command="cut"), Contact.OPEN, power_w=0)
    assert cut.state == "verified"
    last = house.do(lambda tx: tx.last_command("m1"))
    assert last is not None and last.id == "cut"
    house.order(Verb.RESTORE, id="light")
    assert {c.id for c in house.open()} == {"quiet", "light"}


@pytest.mark.parametrize(
    ("verb", "on", "state"),
    [("alarm", True, "queued"), ("alarm", False, "queued"), ("protect", True, "refused"), ("unprotect", True, "refused")],
)
def test_the_centre_may_sound_an_alarm_and_protects_no_single_meter(house: House, verb: str, on: bool, state: str) -> None:
    house.settle()
    expires_ms = house.now_ms + 60_000
    sent = IncomingCommand("U-1", "gw-1", verb, "m1", None, None, house.now_ms, expires_ms, "test", 1, args={"on": on})
    answer = house.do(lambda tx: receive_command(tx, sent, house.site, house.now_ms))
    assert (answer.command.state if answer.command else "refused") == state
    if answer.refused is not None:
        assert "protection is an account's" in answer.refused
    elif answer.command is not None:
        assert answer.command.verb is (Verb.ALARM if on else Verb.ALARM_OFF)


def test_it_is_sent_on_the_meters_own_line(house: House) -> None:
    house.settle(meter(switch=SwitchKind.CONTACTOR, switch_line="coils"))
    house.order(Verb.ALARM)
    assert house.command("O-1").line == "bus-1"


# The ladder


def exhausted(house: House, *meters: Meter, step: Step = ALARM) -> House:
    """An account whose credit is gone, and whose ladder is an alarm at its meters."""
    policy = replace(POLICY, steps=(step,))
    house.settle(*(meters or (meter(),)), accounts=[account(policy=policy)], balance="1").exhaust()
    assert house.account().credit is CreditState.EXHAUSTED
    return house


def notice(house: House) -> Notice:
    return house.do(lambda tx: tx.notices("A-1", 0, 10))[0]


def missing(house: House) -> tuple[str, ...]:
    whose = house.account()
    return house.do(lambda tx: notify.ladder_missing(tx, whose, whose.policy.steps, 0, house.now_ms))


def test_a_rung_by_meter_is_climbed_when_every_meter_was_seen_to_alarm(house: House) -> None:
    exhausted(house, meter(), meter("m2"), meter("m3", switch=SwitchKind.NONE))
    assert keep(house) == ["alarm", "alarm"]
    assert {c.meter for c in house.open()} == {"m1", "m2"} and missing(house) == ("notice out by meter is not confirmed",)
    look(house, house.send(), alarm=True)
    assert keep(house) == ["alarm"] and missing(house)
    look(house, house.send(), alarm=True)
    assert keep(house) == [] and missing(house) == ()
    assert (notice(house).state, notice(house).detail) == ("delivered", READ_BACK)


@pytest.mark.parametrize("trusted", [True, False])
def test_an_alarm_that_cannot_be_shown_counts_only_where_the_policy_says_so(house: House, trusted: bool) -> None:
    exhausted(house, step=replace(ALARM, unproved=trusted))
    assert shown(house, alarm=None).state == "command_only"
    assert notice(house).detail == (TAKEN if trusted else UNPROVED)
    assert missing(house) == (() if trusted else ("notice out reached nobody",))


def test_one_meter_that_cannot_show_it_is_not_made_up_for_by_another(house: House) -> None:
    exhausted(house, meter(), meter("m2"))
    keep(house)
    look(house, house.send(), alarm=None)
    keep(house)
    look(house, house.send(), alarm=True)
    keep(house)
    assert missing(house) == ("notice out reached nobody",)


def test_one_that_fails_fails_the_rung_and_is_tried_again_later(house: House) -> None:
    exhausted(house)
    keep(house)
    assert house.send(NAK).state == "refused"
    assert keep(house) == [] and notice(house).state == "failed" and "unauthorised" in notice(house).detail
    house.later(hours=AGAIN_MS / HOUR_MS)
    assert keep(house) == ["alarm"]
    look(house, house.send(), alarm=True)
    assert keep(house) == [] and notice(house).state == "delivered" and missing(house) == ()


def test_one_that_could_not_be_sent_ends_and_another_follows(house: House) -> None:
    exhausted(house)
    keep(house)
    house.later(hours=LIVES_MS / HOUR_MS)
    assert house.start() is None and keep(house) == [] and notice(house).state == "failed"
    house.later(hours=AGAIN_MS / HOUR_MS)
    assert keep(house) == ["alarm"]


def test_whoever_pays_hears_no_more_of_it(house: House) -> None:
    exhausted(house)
    assert shown(house, alarm=True).state == "done"
    house.topup("50")
    assert keep(house) == ["alarm_off"]
    assert shown(house, alarm=False).state == "done" and keep(house) == []
    house.later(hours=30)
    assert keep(house) == [], "nothing is left of it"


def test_whoever_pays_before_it_was_sent_never_hears_it(house: House) -> None:
    exhausted(house)
    keep(house)
    alarm = house.open()[0]
    house.topup("50")
    assert keep(house) == [] and house.command(alarm.id).state == "cancelled"


def test_whoever_pays_while_nobody_knows_is_told_the_end_of_it(house: House) -> None:
    exhausted(house)
    keep(house)
    alarm = house.send(SILENT)
    house.topup("50")
    assert keep(house) == ["alarm_off"] and house.command(alarm.id).state == "superseded"


def test_an_alarm_that_will_not_go_off_is_asked_for_again_each_hour(house: House) -> None:
    exhausted(house)
    shown(house, alarm=True)
    house.topup("50")
    keep(house)
    house.send(NAK)
    assert keep(house) == []
    house.later(hours=1)
    assert keep(house) == ["alarm_off"]


@pytest.mark.parametrize("sounded", [True, False])
def test_a_person_who_silences_an_alarm_is_not_overruled(house: House, sounded: bool) -> None:
    exhausted(house)
    keep(house)
    if sounded:
        look(house, house.send(), alarm=True)
        keep(house)
    house.order(Verb.ALARM_OFF, id="quiet")
    look(house, house.send(command="quiet"), alarm=False)
    house.later(hours=3)
    assert keep(house) == []


def test_a_meter_that_cannot_alarm_fails_the_rung_in_one_sentence(house: House) -> None:
    exhausted(house, meter(protocol="modbus-rtu"))
    assert keep(house) == [] and notice(house).state == "failed"
    assert notice(house).detail == "meter m1 (modbus-rtu) has nothing by which it could be told: alarm"
    house.do(lambda tx: notify.confirm_step(tx, "A-1", "out", "meter", "operator:Li", house.now_ms))
    assert missing(house) == ()


def test_what_a_person_confirmed_stays_confirmed(house: House) -> None:
    exhausted(house)
    number = notice(house).number
    house.do(lambda tx: notify.confirm(tx, number, "operator:Li", house.now_ms, "heard it"))
    shown(house, alarm=True)
    assert notice(house).detail == "confirmed by operator:Li: heard it"


def test_another_device_behind_the_meter_is_told_anew(house: House) -> None:
    exhausted(house)
    shown(house, alarm=True)
    other = replace(house.meter(), address="2")
    house.do(lambda tx: tx.save_meter(other))
    assert keep(house) == ["alarm"]


# Protection in the meter


def protect(house: House, hours: float | None, *, in_meter: bool = True) -> None:
    until_ms = None if hours is None else house.now_ms + round(hours * HOUR_MS)
    wanted = Protection("A-1", until_ms, "Li Wei", "oxygen concentrator", in_meter=in_meter)
    assert house.do(lambda tx: protect_account(tx, wanted, house.site, house.now_ms)) is None


@pytest.mark.parametrize("by_hand", [True, False])
def test_protection_in_the_meter_begins_and_ends_with_the_accounts(house: House, by_hand: bool) -> None:
    house.settle(meter(), meter("m2"))
    protect(house, 5)
    assert keep(house) == ["protect", "protect"]
    for _ in range(2):
        assert look(house, house.send(), protect=True).state == "done"
    house.later(hours=4.9)
    assert keep(house) == []
    if by_hand:
        protect(house, None)
    else:
        house.later(hours=0.2)
    assert keep(house) == ["unprotect", "unprotect"]
    for _ in range(2):
        assert look(house, house.send(), protect=False).state == "done"
    house.later(hours=30)
    assert keep(house) == []
    acts = [row.act for row in house.do(lambda tx: tx.audit_rows(0, 100)) if row.act.startswith("order_")]
    assert acts == ["order_protect"] * 2 + ["order_unprotect"] * 2


def test_protection_stays_out_of_the_meter_unless_it_is_asked_for(house: House) -> None:
    house.settle()
    protect(house, 5, in_meter=False)
    assert keep(house) == []


def test_protection_that_goes_on_without_the_meter_is_taken_out_of_it(house: House) -> None:
    house.settle()
    protect(house, 5)
    shown(house, protect=True)
    protect(house, 6, in_meter=False)
    assert keep(house) == ["unprotect"]


def test_protection_silences_the_alarm(house: House) -> None:
    exhausted(house)
    shown(house, alarm=True)
    protect(house, 5, in_meter=False)
    assert keep(house) == ["alarm_off"]


def test_a_meter_that_leaves_the_account_leaves_its_protection(house: House) -> None:
    house.settle()
    protect(house, 5)
    shown(house, protect=True)
    gone = replace(house.meter(), account=None)
    house.do(lambda tx: tx.save_meter(gone))
    assert keep(house) == ["unprotect"]


def test_a_day_of_silence_costs_an_order_an_hour(house: House) -> None:
    house.settle()
    protect(house, 48)
    for _ in range(24 * 12):
        keep(house)
        for command in house.open():
            if command.state == "queued":
                house.start(command.id)
                told_ = house.command(command.id)
                if told_.state == "sent":
                    house.finish(ControlJob("m1", command.id, command.verb, command.expires_ms), SILENT)
            elif command.read_at_ms is not None and command.read_at_ms <= house.now_ms:
                told(house, command, SILENT)
        house.later(minutes=5)
    assert 10 <= len(house.do(lambda tx: tx.commands_of("m1", 100))) <= 25
