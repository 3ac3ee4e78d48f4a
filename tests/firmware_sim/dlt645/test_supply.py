"""Orders of supply (1C) as one firmware's state machine has them: delays, guards, timed cuts, protection, every refusal."""

from __future__ import annotations

from datetime import timedelta

import pytest

from protocols.dlt645 import master
from protocols.dlt645.codes import ControlError, ControlWord
from protocols.dlt645.master import Action
from protocols.dlt645.master_control import order_bytes
from tests.firmware_sim.dlt645.bench import ADDRESS, NOON, Bench

OPEN, ORDERED_OPEN, WARNED, PROTECTED = 0x10, 0x40, 0x80, 0x1000


def sealed(s: Bench, action: int, n2: int = 0, expires_s: int = 600) -> int:
    """The extended answer word to an order under PA 98. Raises Refused."""
    order = bytes([action, n2]) + order_bytes(Action.CUT, NOON + timedelta(seconds=expires_s))[2:]
    cipher = s.device().session.module.seal(s.question("1C", order))
    answer = s.ask("a", master.SealedControl(ADDRESS, cipher.cipher + cipher.mac, extended=True))
    return int.from_bytes(answer.word, "little")


def refused(s: Bench, action: int, **how: int) -> ControlError:
    return ControlError(int.from_bytes(bytes.fromhex(s.refusal(sealed, s, action, **how)), "little"))


@pytest.mark.parametrize(
    ("action", "n2", "word"),
    [
        (Action.CUT, 0, ControlWord.TRIP),
        (Action.CLOSE, 0, ControlWord.CLOSE),
        (Action.ALLOW_CLOSE, 0, ControlWord.ALLOW),
        (Action.CUT_THEN_CLOSE, 1, ControlWord.TIMED),
        (Action.CUT_THEN_ALLOW, 2, ControlWord.TIMED),
        (Action.ALARM_ON, 0, ControlWord.ALARM_ON),
        (Action.ALARM_OFF, 0, ControlWord.ALARM_OFF),
        (Action.PROTECT_ON, 0, ControlWord.PROTECT_ON),
        (Action.PROTECT_OFF, 0, ControlWord.PROTECT_OFF),
    ],
)
def test_the_extended_answer_tells_what_was_accepted(action, n2, word):
    s = Bench()
    s.authenticate()
    assert sealed(s, action, n2) == word


def test_the_extended_answer_tells_of_delays():
    s = Bench(set={"04001401": 5})
    s.authenticate()
    assert sealed(s, Action.CUT) == ControlWord.DELAYED
    s = Bench(set={"04001402": "3.000", "04001403": 10})
    s.authenticate()
    assert sealed(s, Action.CUT) == ControlWord.HIGH_CURRENT


def test_every_refusal_has_its_bit():
    s = Bench()
    assert refused(s, Action.CUT) == ControlError.NOT_AUTHENTICATED
    s.authenticate()
    assert refused(s, Action.CUT, expires_s=-60) == ControlError.EXPIRY
    assert refused(s, Action.CUT_THEN_CLOSE, n2=0) == ControlError.NO_RESTORE_TIME
    assert refused(s, 0x77) == ControlError(0)
    sealed(s, Action.CUT)
    assert refused(s, Action.CUT_THEN_CLOSE, n2=1) == ControlError.ALREADY_OPEN
    sealed(s, Action.ALLOW_CLOSE)
    assert refused(s, Action.CUT_THEN_ALLOW, n2=1) == ControlError.ALREADY_OPEN  # the customer has not pressed yet
    sealed(s, Action.PROTECT_ON)
    assert refused(s, Action.CUT) == ControlError.PROTECTED
    assert refused(s, Action.CUT_THEN_CLOSE, n2=1) == ControlError.TIMED_PROTECTED
    with_wrong_mac = master.SealedControl(ADDRESS, bytes(20), extended=True)
    assert s.refusal(s.ask, "a", with_wrong_mac) == "0200"


def test_fifteen_wrong_macs_suspend_the_day():
    s = Bench()
    s.authenticate()
    for _ in range(15):
        assert s.refusal(s.ask, "a", master.SealedControl(ADDRESS, bytes(20), extended=True)) == "0200"
    assert refused(s, Action.CUT) == ControlError.SUSPENDED
    s.wait(86_400)
    s.authenticate()
    s.meter("m").set_clock(s.meter("m").local_us - 86_400_000_000)  # the order of the test expires at noon of the first day
    s.wait(1)


def test_the_authentication_ends_after_five_minutes():
    s = Bench()
    s.authenticate()
    assert s.values("02800022") == {"authentication_minutes": 4} and s.status3() & 0x2000
    s.wait(301)
    assert refused(s, Action.CUT) == ControlError.NOT_AUTHENTICATED and not s.status3() & 0x2000


def test_a_delayed_trip_warns_first_and_can_be_called_off():
    s = Bench(set={"04001401": 3})
    s.control(Action.CUT)
    assert s.status3() & (WARNED | ORDERED_OPEN) == WARNED and s.supplied
    s.wait(179)
    assert s.supplied
    s.wait(5)
    assert not s.supplied and s.status3() & 0xD0 == OPEN | ORDERED_OPEN
    s.control(Action.CLOSE)
    s.control(Action.CUT)
    s.control(Action.CLOSE)
    s.wait(600)
    assert s.supplied


def test_a_second_order_does_not_begin_the_delay_anew():
    s = Bench(set={"04001401": 3})
    s.control(Action.CUT)
    s.wait(120)
    s.control(Action.CUT)
    s.wait(62)
    assert not s.supplied


def test_the_high_current_guard_waits_for_the_current_to_fall():
    s = Bench(set={"04001402": "20.000", "04001403": 1440}, load={"power_w": 6000, "pf": 1})
    s.control(Action.CUT)
    s.wait(3600)
    assert s.supplied and s.truth()["trip_due_us"]
    s.act("load", power_w=4000, pf=1)
    s.wait(1)
    assert not s.supplied and s.truth()["trip_due_us"] is None


def test_the_high_current_guard_does_not_wait_for_ever():
    s = Bench(set={"04001402": "20.000", "04001403": 60}, load={"power_w": 6000, "pf": 1})
    s.control(Action.CUT)
    s.wait(3590)
    assert s.supplied
    s.wait(20)
    assert not s.supplied


@pytest.mark.parametrize(("action", "pressed"), [(Action.CUT_THEN_CLOSE, False), (Action.CUT_THEN_ALLOW, True)])
def test_a_timed_cut_ends_after_n2_times_five_minutes(action, pressed):
    s = Bench()
    s.control(action, n2=2)
    s.wait(598)
    assert not s.supplied
    s.wait(3)
    assert s.supplied is not pressed
    if pressed:
        assert s.truth()["allowed"]
        s.act("press")
        s.wait(1)
        assert s.supplied


def test_a_plain_cut_replaces_a_timed_one():
    s = Bench()
    s.control(Action.CUT_THEN_CLOSE, n2=1)
    s.control(Action.CUT)
    s.wait(3600)
    assert not s.supplied and s.truth()["restore_due_us"] is None


def test_protection_calls_off_what_is_pending_and_lets_supply_return():
    s = Bench(set={"04001401": 3})
    s.control(Action.CUT)
    s.control(Action.PROTECT_ON)
    s.wait(600)
    assert s.supplied
    s = Bench()
    s.control(Action.CUT_THEN_CLOSE, n2=1)
    s.control(Action.PROTECT_ON)
    s.wait(600)
    assert not s.supplied and s.truth()["allowed"]  # a button press, not by itself
    s.act("press")
    s.control(Action.PROTECT_OFF)
    s.wait(600)
    assert s.supplied


@pytest.mark.parametrize(("how", "closed", "allowed"), [("close", True, False), ("none", False, False)])
def test_what_protection_does_to_an_open_switch_differs_from_firmware_to_firmware(how, closed, allowed):
    s = Bench(protect_restores=how)
    s.control(Action.CUT)
    s.wait(1)
    s.control(Action.PROTECT_ON)
    s.wait(1)
    assert (s.supplied, s.truth()["allowed"]) == (closed, allowed)


def test_the_expiry_is_judged_by_the_meters_own_clock():
    s = Bench(clock_offset_s=3600)
    assert s.refusal(s.ask, "a", master.Control(ADDRESS, Action.CUT, NOON + timedelta(minutes=10), 2, "222222")) == "01"
    s.control(Action.CUT, expires_s=60)
    s.wait(1)
    assert not s.supplied


@pytest.mark.parametrize(("firmware", "accepted"), [("bench", False), ("private", True)])
def test_an_expiry_of_zeros_and_the_short_form_are_for_lax_meters(firmware, accepted):
    for how in ({}, {"short": True}):
        s = Bench(firmware=firmware)
        question = master.Control(ADDRESS, Action.CUT, None, 2, "222222", **how)
        if accepted:
            s.ask("a", question)
        else:
            assert s.refusal(s.ask, "a", question) == "01"
        s.wait(1)
        assert s.supplied is not accepted


def test_some_firmwares_take_only_closing_orders_in_plain_text():
    s = Bench(firmware="grid-2013")
    assert s.refusal(s.control, Action.CUT) == "04"
    s.control(Action.CLOSE)
    s.control(Action.ALLOW_CLOSE)


def test_every_trip_and_close_is_counted_with_time_operator_and_registers():
    s = Bench(initial_kwh="12.34")
    s.control(Action.CUT)
    s.wait(1)
    s.control(Action.ALLOW_CLOSE)
    s.wait(1)
    assert s.value("1E000001") == 0  # allowed is not closed
    s.act("press")
    s.wait(1)
    s.control(Action.CUT)
    assert (s.value("1D000001"), s.value("1E000001")) == (2, 1)
    assert s.value("1D000101").startswith("2611211200") and s.value("1D000201") == "00000000"
    assert str(s.value("1E000301")) == "12.34" and s.value("1D000103") is None


def test_an_external_breaker_without_feedback_is_believed_too_early_and_too_late():
    s = Bench(model="dlt645-three", relay="external_auto", load={"power_w": 6000})
    s.act("fault", kind="welded")
    s.control(Action.CUT)
    s.wait(4)
    assert s.supplied and s.status3() & 0x50 == 0x50  # the bit is the order, whatever the contact does
    s.act("fault", kind="welded", on=False)
    s.act("load", power_w=0)
    s.control(Action.ALLOW_CLOSE)
    s.wait(600)
    assert s.supplied and s.status3() & 0x50 == 0x10  # closed, and open in the word until load flows
    s.act("load", power_w=500)
    s.wait(1)
    assert s.status3() & 0x50 == 0


def test_a_breaker_with_a_handle_waits_for_a_hand_whatever_was_ordered():
    s = Bench(model="dlt645-three", relay="external_manual", load={"power_w": 6000})
    s.control(Action.CUT)
    s.wait(1)
    s.control(Action.CLOSE)
    s.wait(60)
    assert not s.supplied
    s.act("press")
    s.wait(1)
    assert s.supplied


def test_a_switch_that_cannot_open_is_reported():
    s = Bench()
    s.act("fault", kind="welded")
    s.control(Action.CUT)
    s.wait(12)
    assert int(s.value("04000501")) & 0x100
    s.act("fault", kind="welded", on=False)
    s.control(Action.CLOSE)
    assert not int(s.value("04000501")) & 0x100


def test_the_status_bit_is_not_renewed_below_three_quarters_of_the_voltage():
    s = Bench()
    s.act("power", level=0.7)
    s.control(Action.CUT)
    s.wait(60)
    assert not s.supplied and s.status3() & OPEN == 0
    s.act("power")
    assert s.status3() & OPEN


def test_orders_under_way_survive_a_restart():
    s = Bench(set={"04001401": 3})
    s.control(Action.CUT)
    s.wait(60)
    again = Bench(saved={"m": s.station("m").save()}, set={"04001401": 3})
    again.wait(115)
    assert again.supplied
    again.wait(10)
    assert not again.supplied
    s = Bench()
    s.control(Action.CUT_THEN_CLOSE, n2=1)
    s.wait(100)
    again = Bench(saved={"m": s.station("m").save()})
    again.wait(190)
    assert not again.supplied
    again.wait(20)
    assert again.supplied
