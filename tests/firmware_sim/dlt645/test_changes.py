"""What may be changed by whom: writes, passwords and their lock, address, speed, freezes, resets, clearances; and what is noted."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from protocols.dlt645 import master
from protocols.dlt645.freeze_time import FreezeTime
from tests.firmware_sim.dlt645.bench import ADDRESS, NOON, Bench, prepaid
from tests.firmware_sim.virtual import NoAnswer

DAY = 86_400


def test_a_parameter_is_written_with_the_right_level_and_read_back():
    s = Bench()
    s.write("04001401", 7)
    assert s.value("04001401") == 7
    assert s.refusal(s.write, "04001401", 8, 5, "555555") == "04"
    assert s.refusal(s.write, "04001401", 8, 4, "111111") == "04"
    s.write("04001401", 9, 2, "222222")  # a higher authority may do a lower one's work
    assert s.value("04001401") == 9 and s.truth()["refused_passwords"] == 2


def test_a_level_that_is_too_low_is_refused_and_not_counted():
    s = Bench(passwords={"5": "555555"})
    assert s.refusal(s.write, "04001401", 8, 5, "555555") == "04"
    assert s.truth()["refused_passwords"] == 0


def test_three_wrong_passwords_lock_the_meter_for_24_hours():
    s = Bench()
    for _ in range(3):
        assert s.refusal(s.write, "04001401", 8, 4, "999999") == "04"
    assert s.refusal(s.write, "04001401", 8) == "04"  # the right one, now
    assert s.refusal(s.control, master.Action.CUT) == "04"
    assert s.truth()["refused_passwords"] == 3 and 0 < s.truth()["password_locked_s"] <= DAY
    s.wait(DAY - 60)
    assert s.refusal(s.write, "04001401", 8) == "04"
    s.wait(120)
    s.write("04001401", 8)
    assert s.value("04001401") == 8


def test_two_wrong_passwords_a_day_lock_nothing():
    s = Bench()
    for _ in range(5):
        for _ in range(2):
            s.refusal(s.write, "04001401", 8, 4, "999999")
        s.write("04001401", 8)
        s.wait(DAY)
    assert s.truth()["password_locked_s"] == 0 and s.truth()["refused_passwords"] == 10


def test_the_lock_survives_a_restart():
    s = Bench()
    for _ in range(3):
        s.refusal(s.write, "04001401", 8, 4, "999999")
    again = Bench(saved={"m": s.station("m").save()})
    assert again.refusal(again.write, "04001401", 8) == "04"


@pytest.mark.parametrize(
    ("di", "value", "error"),
    [
        ("04001401", b"\x01", "01"),  # too short
        ("04001401", b"\x0a\x00", "01"),  # no digits
        ("04000204", 3, "02"),  # the meter says it of itself
        ("04000503", b"\0\0", "02"),
        ("04999999", b"\0", "02"),
        ("04001001", 5, "04"),  # class 1: never with a password
        ("04010001", bytes.fromhex("050000"), "40"),  # no fifth rate
        ("04010001", bytes.fromhex("010012020006"), "01"),  # times fall
        ("04000101", bytes.fromhex("00312602"), "01"),  # 31 February
    ],
)
def test_what_cannot_be_written(di, value, error):
    assert Bench().refusal(Bench().write, di, value) == error


def test_a_class_1_parameter_is_written_with_a_mac():
    s = prepaid()
    data = bytes.fromhex("00500000")  # 50.00
    s.authenticate()
    s.ask("a", master.SecuredWrite(ADDRESS, "04001001", data, s.mac("04001001", data), sealed=False))
    assert s.value("04001001") == 50 and s.truth()["wallet"]["credit"] == "exhausted"
    assert s.refusal(s.ask, "a", master.SecuredWrite(ADDRESS, "04001001", data, bytes(4), sealed=False)) == "04"
    plain = bytes.fromhex("0500")
    cipher = s.device().session.module.seal(s.question("04001401", plain))
    s.ask("a", master.SecuredWrite(ADDRESS, "04001401", cipher.cipher, cipher.mac, sealed=True))
    assert s.value("04001401") == 5


def test_a_meter_with_a_key_wants_it_pressed():
    s = Bench(programming_key=True)
    assert s.refusal(s.write, "04001401", 5) == "04" and s.truth()["refused_passwords"] == 0
    s.act("press", key="programming")
    s.write("04001401", 5)
    assert s.status3() & 0x08
    s.wait(241 * 60)
    assert s.refusal(s.write, "04001401", 6) == "04" and not s.status3() & 0x08


def test_programming_leaves_a_record():
    s = Bench()
    s.write("04001401", 5)
    s.write("04000801", 0x3E)
    assert s.value("03300000") == 2
    last = s.values("03300001")
    assert last["programming_1_identifier_1"] == "04000801" and last["programming_1_operator"] == "00000042"
    assert last["programming_1_at"].startswith("2611211200") and last["programming_1_identifier_2"] is None
    assert s.values("03300002")["programming_2_identifier_1"] == "04001401"


def test_setting_the_clock_leaves_before_and_after():
    s = Bench(clock_offset_s=-600)
    s.write("0400010C", NOON)
    found = s.values("03300401")
    assert abs(s.meter("m").clock_offset_us) < 2_000_000 and s.value("03300400") == 1 and s.value("03300000") == 0
    assert found["clock_set_1_before"].startswith("2611211150") and found["clock_set_1_after"] == "261121120000"


def test_a_day_table_rules_from_now_on_and_the_old_one_is_kept():
    s = Bench(rates=2, day=[["00:00", 1]], load={"power_w": 6000, "pf": 1})
    s.write("04010001", bytes.fromhex("010000020312"))
    assert s.read("04010001")[:9].hex() == "010000020312020312"  # unused segments repeat the last
    s.wait(600)
    assert s.value("00010200") > Decimal("0.6") and s.value("00010100") < Decimal("0.35")
    assert s.values("03300501")["day_table_programming_1_segment_1_1"] == "000001"


def test_zones_weekends_and_holidays_choose_the_day_table():
    s = Bench(rates=4, day=[["00:00", 1]])
    for table in (2, 3, 4):
        s.write(f"0401000{table}", bytes([table, 0, 0]))
    s.write("04010000", bytes.fromhex("010101020111"))  # from 1 November table 2
    assert s.device().read("02810001").hex() == "02010202"
    s.write("04000802", 3)
    s.write("04000801", 0x3F)  # Saturdays rest
    assert s.meter("m").rate == 3
    s.write("04030001", bytes.fromhex("04211126"))
    assert s.meter("m").rate == 4 and s.value("04000205") == 1
    s.wait(2 * DAY)
    assert s.meter("m").rate == 2
    assert s.values("03300801")["holiday_programming_1_holiday_1"] is None


def test_the_standby_tables_take_over_at_their_time_and_the_registers_are_frozen():
    s = Bench(rates=2, day=[["00:00", 1]], load={"power_w": 6000, "pf": 1})
    s.write("04020001", bytes.fromhex("020000"))
    s.write("04000107", datetime(2026, 11, 21, 13, 0))
    s.wait(3590)
    assert s.meter("m").rate == 1 and not s.status3() & 1
    s.wait(20)
    assert s.meter("m").rate == 2 and s.status3() & 1
    assert s.value("05030001") == "2611211300"
    assert s.values("05030101")["energy_import_freeze_day_table_switch_1"] == 6


def test_the_address_can_be_changed_and_two_meters_can_have_the_same():
    s = Bench()
    s.ask("a", master.WriteAddress("000000000009"))
    assert s.device().address == s.truth()["address"] == "000000000009"
    assert s.value("00010000") == 0
    with pytest.raises(NoAnswer):
        s.ask("a", master.Read(ADDRESS, "00010000"))
    assert Bench(saved={"m": s.station("m").save()}).truth()["address"] == "000000000009"


def test_the_speed_changes_behind_the_answer():
    s = Bench()
    assert s.ask("a", master.ChangeSpeed(ADDRESS, 4800)) == 4800
    with pytest.raises(NoAnswer):
        s.read("00010000")
    s.handle.act_on_line("a", "baud", {"baud": 4800})
    assert s.value("00010000") == 0


def test_a_password_is_changed_by_an_authority_that_is_high_enough():
    s = Bench()
    s.ask("a", master.ChangePassword(ADDRESS, 4, "123123", "444444"))
    assert s.refusal(s.write, "04001401", 5) == "04"
    s.write("04001401", 5, 4, "123123")
    s.ask("a", master.ChangePassword(ADDRESS, 4, "444444", "222222", old_level=2))
    s.write("04001401", 6)
    assert s.refusal(s.ask, "a", master.ChangePassword(ADDRESS, 2, "000000", "999999")) == "04"


def test_freezes_on_order_now_and_at_times():
    s = Bench(load={"power_w": 6000, "pf": 1})
    s.ask("a", master.Freeze(FreezeTime(), ADDRESS))
    s.ask("a", master.Freeze(FreezeTime(None, None, 30), ADDRESS))
    assert s.value("05010001") == "2611211200"
    s.wait(3600)
    assert s.value("05000001") == "2611211230"
    assert s.values("05000101")["energy_import_freeze_timed_1"] == 3
    with pytest.raises(NoAnswer):
        s.ask("a", master.Freeze(FreezeTime()))  # to all, and nobody answers
    assert s.device().freezes.depth(1) == 2


def test_a_demand_reset_keeps_what_was_there():
    s = Bench(load={"power_w": 6000, "pf": 1})
    s.wait(1800)
    s.ask("a", master.DemandReset(ADDRESS, 4, "444444", "00000007"))
    assert s.value("01010000") == 0 and s.value("03300200") == 1
    found = s.values("03300201")
    assert found["demand_reset_1_energy_import_demand"] == 6 and found["demand_reset_1_operator"] == "00000007"
    assert s.refusal(s.ask, "a", master.DemandReset(ADDRESS, 4, "999999")) == "04"


def test_a_meter_clear_forgets_all_but_itself():
    s = Bench(initial_kwh="55.55", load={"power_w": 6000, "pf": 1})
    s.wait(7200)
    s.control(master.Action.CUT)
    assert s.refusal(s.ask, "a", master.MeterClear(ADDRESS, 4, "444444")) == "04"  # level 2 is needed
    s.ask("a", master.MeterClear(ADDRESS, 2, "222222"))
    assert s.value("00010000") == 0 and s.value("1D000001") == 0 and s.value("03300100") == 1
    assert s.values("03300101")["meter_clear_1_energy_import"] > 55
    assert s.refusal(s.read, "05040001") == "02" and s.device().read("06000002") == b""


def test_events_are_cleared_one_kind_or_all_but_never_the_clearings():
    s = Bench()
    s.write("04001401", 1)
    s.act("cover")
    s.ask("a", master.EventClear(ADDRESS, 2, "222222", di="033000FF"))
    assert (s.value("03300000"), s.value("03300D00"), s.value("03300300")) == (0, 1, 1)
    s.ask("a", master.EventClear(ADDRESS, 2, "222222"))
    assert (s.value("03300D00"), s.value("03300300")) == (0, 2)
    assert s.values("03300302")["event_clear_2_identifier"] == "033000FF"


@pytest.mark.parametrize("signal", list(master.OutputSignal))
def test_the_output_is_repeated(signal):
    Bench().ask("a", master.Output(signal, ADDRESS))
