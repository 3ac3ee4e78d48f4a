"""A DL/T 645 meter asked by the real master over a wire in virtual time."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from protocols.dlt645.frames import Frame, encode
from protocols.dlt645.master import Action, BroadcastTime, Control, Read, ReadAddress
from protocols.errors import Refused
from tests.firmware_sim.virtual import NoAnswer, VirtualStreet, one_meter

ADDRESS = "202611210001"
NOON = datetime(2026, 11, 21, 12, 0, 0)
LATER = NOON + timedelta(minutes=10)


def street(**meter: object) -> VirtualStreet:
    return VirtualStreet(one_meter(initial_kwh="1234.56", password="123456", contact_ms=[100, 100], **meter))


def values(s: VirtualStreet, di: str) -> list[Decimal | None]:
    return [item.value for item in s.ask("a", Read(ADDRESS, di)).items]


def control(s: VirtualStreet, action: Action, expiry: datetime = LATER, level: int = 2, password: str = "123456"):
    return s.ask("a", Control(ADDRESS, action, expiry, level=level, password=password))


def status3(s: VirtualStreet) -> int:
    (word,) = values(s, "04000503")
    return int(word)


def test_energy_registers_and_block():
    s = street()
    assert values(s, "00010000") == [Decimal("1234.56")]
    assert values(s, "00000000") == [Decimal("1234.56")]
    assert values(s, "0001FF00") == [Decimal("1234.56")] + [Decimal("308.64")] * 4
    assert values(s, "00010300") == [Decimal("308.64")]
    s.wait(3600)
    assert values(s, "00010000") == [Decimal("1235.56")]


def test_present_values_of_a_single_phase_meter():
    s = street(load={"power_w": 1000, "pf": 0.5})
    (voltage,), (current,) = values(s, "02010100"), values(s, "02020100")
    assert abs(voltage - 220) < 2 and abs(current - Decimal(1000) / voltage / Decimal("0.5")) < Decimal("0.02")
    assert values(s, "02030000") == [Decimal("1.0000")]
    first, *absent = values(s, "0201FF00")
    assert abs(first - 220) < 2 and absent == [None, None]
    assert abs(values(s, "02800002")[0] - 50) < Decimal("0.1")


def test_present_values_of_three_phases_add_up():
    s = street(model="dlt645-three", load={"power_w": 9000})
    total, *phases = values(s, "0203FF00")
    assert total == 9 and abs(sum(phases) - 9) < Decimal("0.001") and min(phases) > 2


def test_clock_address_and_unknown_identifiers():
    s = street(clock_offset_s=-30)
    assert s.ask("a", Read(ADDRESS, "04000101")).data.hex() == "06211126"  # a Saturday
    assert s.ask("a", Read(ADDRESS, "04000102")).data.hex() == "305911"
    assert s.ask("a", Read(ADDRESS, "04000401")).data.hex() == "010021112620"
    assert s.ask("a", ReadAddress()) == ADDRESS
    with pytest.raises(Refused) as refused:
        s.ask("a", Read(ADDRESS, "00020500"))
    assert refused.value.code == b"\x02"


@pytest.mark.parametrize(("offset_s", "year"), [(-900_000_000, "98"), (10**9, "58")])
def test_a_clock_that_is_decades_off_is_still_told(offset_s, year):
    s = street(clock_offset_s=offset_s)
    assert s.ask("a", Read(ADDRESS, "04000101")).data.hex().endswith(year)


@pytest.mark.parametrize("address", ["202611210002", "999999999999"])
def test_foreign_addresses_are_met_with_silence(address):
    s = street()
    s.wires["a"].write(encode(Frame(address, 0x11, bytes.fromhex("00000100"))), 0)
    assert s.listen("a") == b""


def test_an_abbreviated_address_is_answered_with_the_real_one():
    assert street().ask("a", Read("AAAAAAAA0001", "00010000")).address == ADDRESS


def test_a_command_to_an_abbreviated_address_moves_nothing():
    s = street()
    data = bytes.fromhex("02563412000000001A00000012211126")
    s.wires["a"].write(encode(Frame("AAAAAAAAAAAA", 0x1C, data)), 0)
    assert s.listen("a") == b""
    s.wait(10)
    assert s.meter("m").relay.contact_closed


def test_cut_and_close_are_seen_late_in_the_status_word():
    s = street()
    control(s, Action.CUT)
    s.wait(0.2)
    assert not s.meter("m").relay.contact_closed
    assert status3(s) & 0x50 == 0x40  # the order is seen at once, the contact not yet
    assert values(s, "02030000") == [0]
    s.wait(3)
    assert status3(s) & 0x50 == 0x50
    control(s, Action.CLOSE)
    s.wait(4)
    assert status3(s) & 0x50 == 0 and values(s, "02030000") == [1]


def test_allowed_shows_an_open_relay_and_a_closed_order_until_the_button_is_pressed():
    s = street(contact="open")
    control(s, Action.ALLOW_CLOSE)
    s.wait(10)
    assert status3(s) & 0x50 == 0x10
    s.meter("m").relay.press(s.now_us)
    s.wait(4)
    assert status3(s) & 0x50 == 0


@pytest.mark.parametrize(("level", "password"), [(2, "654321"), (4, "123456"), (0, "123456")])
def test_a_wrong_password_or_level_is_refused_and_counted(level, password):
    s = street()
    with pytest.raises(Refused) as refused:
        control(s, Action.CUT, level=level, password=password)
    s.wait(5)
    assert refused.value.code == b"\x04"
    assert s.meter("m").refused_passwords == 1 and s.meter("m").relay.contact_closed


@pytest.mark.parametrize(("offset_s", "accepted"), [(0, True), (1200, False), (-1200, True)])
def test_expiry_is_judged_by_the_meters_own_clock(offset_s, accepted):
    s = street(clock_offset_s=offset_s)
    if accepted:
        control(s, Action.CUT)
    else:
        with pytest.raises(Refused):
            control(s, Action.CUT)
    s.wait(5)
    assert s.meter("m").relay.contact_closed is not accepted


def test_an_expiry_of_zeros_is_refused():
    s = street()
    with pytest.raises(Refused):
        s.ask("a", Control(ADDRESS, Action.CUT, None, password="123456"))


def test_supply_protection_refuses_cuts_until_it_is_lifted():
    s = street()
    control(s, Action.PROTECT_ON)
    with pytest.raises(Refused):
        control(s, Action.CUT)
    assert status3(s) & 0x1050 == 0x1000
    control(s, Action.PROTECT_OFF)
    control(s, Action.CUT)
    s.wait(4)
    assert status3(s) & 0x1050 == 0x0050


def test_the_alarm_is_shown():
    s = street()
    control(s, Action.ALARM_ON)
    assert status3(s) & 0x80
    control(s, Action.ALARM_OFF)
    assert not status3(s) & 0x80


def test_a_timed_cut_ends_by_itself():
    s = street()
    s.ask("a", Control(ADDRESS, Action.CUT_THEN_CLOSE, LATER, password="123456", n2=1))
    s.wait(299)
    assert status3(s) & 0x50 == 0x50
    s.wait(6)
    assert status3(s) & 0x50 == 0


@pytest.mark.parametrize(("offset_s", "corrected"), [(200, True), (-299, True), (400, False)])
def test_broadcast_time_corrects_five_minutes_at_most_and_is_never_answered(offset_s, corrected):
    s = street(clock_offset_s=offset_s)
    s.wires["a"].write(BroadcastTime(NOON).start(), 0)
    assert s.listen("a") == b""
    assert (abs(s.meter("m").clock_offset_us) < 2_000_000) is corrected


def test_broadcast_time_is_obeyed_once_a_day():
    s = street(clock_offset_s=100)
    for minutes in (0, 3):
        s.wires["a"].write(BroadcastTime(NOON + timedelta(minutes=minutes)).start(), s.now_us)
        s.listen("a")
    assert abs(s.meter("m").clock_offset_us) < 2_000_000


def test_the_clock_can_be_written_with_the_password():
    s = street(clock_offset_s=-7200)
    write = bytes.fromhex("020100040256341200000000000012")
    s.wires["a"].write(encode(Frame(ADDRESS, 0x14, write)), 0)
    answer = b""
    while heard := s.listen("a"):
        answer += heard
    assert answer[-4:-2] == b"\x94\x00"
    assert abs(s.meter("m").clock_offset_us) < 10_000_000


def test_a_lost_answer_hides_an_act_that_happened():
    s = street()
    s.station("m").faults.set("lost_answer", count=1, commands_only=True)
    values(s, "00010000")
    with pytest.raises(NoAnswer):
        control(s, Action.CUT)
    s.wait(4)
    assert status3(s) & 0x50 == 0x50


def test_a_late_answer_comes_after_its_time():
    s = street()
    s.station("m").faults.set("late_answer", count=1, delay_us=900_000)
    values(s, "00010000")
    assert s.now_us > 950_000
    start = s.now_us
    values(s, "00010000")
    assert s.now_us - start < 150_000


def test_a_silent_meter_and_one_without_mains_hear_nothing():
    s = street()
    s.station("m").faults.set("silent")
    with pytest.raises(NoAnswer):
        values(s, "00010000")
    s.station("m").faults.clear("silent")
    s.meter("m").mains = False
    with pytest.raises(NoAnswer):
        control(s, Action.CUT)
    s.meter("m").mains = True
    s.wait(5)
    assert status3(s) & 0x50 == 0


def test_a_welded_relay_accepts_and_goes_on():
    s = street()
    s.station("m").faults.set("welded")
    control(s, Action.CUT)
    s.wait(5)
    assert status3(s) & 0x50 == 0x40 and values(s, "02030000") == [1]


def test_frames_are_kept_with_their_moments():
    s = street()
    values(s, "00010000")
    heard, said = s.station("m").frames
    assert (heard.direction, said.direction) == ("rx", "tx")
    assert said.at_us - heard.at_us == 50_000
    for _ in range(30):
        values(s, "00010000")
    assert len(s.station("m").frames) == 20
