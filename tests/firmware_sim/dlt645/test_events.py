"""Tampering, the grid and broken parts: each is shown, is noted, and ends."""

from __future__ import annotations

from decimal import Decimal

import pytest

from protocols.dlt645 import master
from protocols.dlt645.master import Action
from protocols.errors import Malformed, Refused
from tests.firmware_sim.dlt645.bench import ADDRESS, Bench
from tests.firmware_sim.virtual import NoAnswer, VirtualStreet, one_meter

HOUR = 3600


def three(**meter: object) -> Bench:
    return Bench(model="dlt645-three", load={"power_w": 6000, "pf": 1}, **meter)


def word(s: Bench, number: int) -> int:
    return int(s.value(f"0400050{number}"))


@pytest.mark.parametrize(("terminal", "di", "bit"), [(False, "03300D", 9), (True, "03300E", 10)])
def test_covers_are_noted_with_the_registers_before_and_after(terminal, di, bit):
    s = three()
    assert s.act("cover", terminal=terminal)["terminal_cover" if terminal else "cover"] == "open"
    assert word(s, 7) >> bit & 1
    s.wait(HOUR)
    s.act("cover", open=False, terminal=terminal)
    s.act("cover", open=False, terminal=terminal)
    assert not word(s, 7) >> bit & 1 and s.value(f"{di}00") == 1
    found = list(s.values(f"{di}01").values())
    assert found[0].startswith("2611211200") and found[1].startswith("2611211300")
    assert (found[2], found[8]) == (0, 6)


def test_a_magnet_leaves_a_tenth_of_the_measurement_and_an_event():
    s = three()
    assert s.act("magnet")["magnet"] is True
    s.wait(HOUR)
    assert s.value("02030000") == Decimal("0.6") and s.truth()["power_w"] == 6000
    assert Decimal("0.5") < s.value("00010000") < Decimal("0.7") and s.value("03350000") == 1
    assert s.truth()["drawn_mws"] == pytest.approx(6 * 3_600_000_000, rel=0.001)
    s.act("magnet", on=False)
    assert s.value("02030000") == 6


def test_swapped_leads_count_backwards_and_are_noted_by_phase():
    s = three()
    s.act("swap", what="leads", phases=["a", "b", "c"])
    s.wait(HOUR)
    assert s.value("00010000") == 0 and s.value("00020000") == 6 and s.value("00000000") == 6
    assert s.value("02030000") == -6 and s.value("02060000") == 1 * -1
    assert word(s, 1) & 0x10 and word(s, 2) & 0x07 == 7 and word(s, 4) & 0x40
    assert s.values("030E0000")["flow_reversed_a_count"] == 1
    s.act("swap", what="leads", on=False)
    assert s.value("02030000") == 6 and not word(s, 4) & 0x40
    found = s.values("030E0101")
    assert found["flow_reversed_a_1_started_at"].startswith("26112112010") and found["flow_reversed_a_1_energy_export_delta"] > 5


def test_one_swapped_lead_takes_its_phase_off_the_total():
    s = three()
    s.act("swap", what="leads", phases=["a"])
    total, a, b, c = s.values("0203FF00").values()
    assert a < 0 < b and total == pytest.approx(a + b + c, abs=Decimal("0.0002"))
    s.wait(HOUR)
    assert s.value("00160000") > 1 and s.value("00150000") == 0


def test_a_bypass_shows_in_the_neutral_alone():
    s = Bench(load={"power_w": 2200, "pf": 1})
    s.act("fault", kind="bypass", share=0.7)
    assert s.value("02020100") == pytest.approx(3, abs=Decimal("0.1"))
    assert s.value("02800001") == pytest.approx(10, abs=Decimal("0.1"))
    s.control(Action.CUT)
    s.wait(HOUR)
    assert s.truth()["drawn_mws"] > 5_000_000_000 and s.value("02020100") == 0  # the house goes on around the open switch
    s.act("fault", kind="bypass", on=False)
    assert s.value("02800001") == 0


def test_a_stuck_register_stands_while_energy_flows_and_has_lost_it_afterwards():
    s = Bench(initial_kwh="10", load={"power_w": 6000, "pf": 1})
    s.act("fault", kind="stuck")
    s.wait(HOUR)
    assert s.value("00010000") == 10 and s.truth()["energy_mws"] > 15 * 3_600_000_000
    s.act("fault", kind="stuck", on=False)
    s.wait(HOUR)
    assert s.value("00010000") == 16


@pytest.mark.parametrize(("kwh", "shown"), [(500, "1500.00"), (-500, "500.00")])
def test_a_register_jumps_and_comes_back(kwh, shown):
    s = Bench(initial_kwh="1000", load={"power_w": 0})
    assert s.act("fault", kind="jump", kwh=kwh)["faults"] == ["jump"]
    assert s.value("00010000") == Decimal(shown) and s.truth()["energy_mws"] == 1000 * 3_600_000_000
    s.act("fault", kind="jump", on=False)
    assert s.value("00010000") == 1000


def test_a_register_rolls_over():
    s = Bench(load={"power_w": 6000, "pf": 1})
    s.act("fault", kind="rollover", kwh="0.05")
    assert s.value("00010000") == Decimal("999999.95")
    s.wait(60)
    assert s.value("00010000") == Decimal("0.05") and s.truth()["registers"]["total"] == "0.05"


def test_the_rates_are_truncated_each_by_itself():
    s = Bench(initial_kwh="100.03", load={"power_w": 0})
    total, *rates = s.values("0001FF00").values()
    assert total - sum(rates) == Decimal("0.03")


def test_below_the_starting_current_nothing_is_counted():
    s = Bench(load={"power_w": 4, "pf": 1})
    s.wait(24 * HOUR)
    assert s.value("00010000") == 0 and s.value("02020100") == Decimal("0.018")


def test_a_write_that_is_refused_and_applied():
    s = Bench()
    s.act("fault", kind="nak_write", count=1)
    assert s.refusal(s.write, "04001401", 7) == "01"
    assert s.value("04001401") == 7
    s.write("04001401", 8)
    assert s.value("04001401") == 8


def test_a_block_that_is_half_written():
    s = Bench()
    s.act("fault", kind="half_write", count=1)
    assert s.refusal(s.write, "04001104", bytes.fromhex("1122334455667788")) == "01"
    assert s.read("04001104").hex() == "1122334400000000"
    s.write("04001104", bytes.fromhex("1122334455667788"))
    assert s.read("04001104").hex() == "1122334455667788"


@pytest.mark.parametrize("kind", ["lost_answer", "silent"])
def test_no_answer_once(kind):
    s = Bench()
    s.act("fault", kind=kind, count=1)
    with pytest.raises(NoAnswer):
        s.read("00010000")
    assert s.value("00010000") == 0


def test_a_wrong_checksum_is_no_answer():
    s = Bench()
    s.act("fault", kind="bad_checksum", count=1)
    with pytest.raises((NoAnswer, Malformed)):
        s.read("00010000")
    assert s.value("00010000") == 0


def test_a_late_answer():
    s = Bench()
    s.act("fault", kind="late_answer", count=1, delay_ms=1500)
    before = s.now_us
    s.read("00010000")
    assert s.now_us - before > 1_500_000


def test_a_bit_that_loses_its_feedback_and_gets_it_back():
    s = Bench(load={"power_w": 0})
    s.act("fault", kind="no_feedback")
    s.control(Action.CUT)
    s.wait(4)
    s.control(Action.CLOSE)
    s.wait(60)
    assert s.supplied and s.status3() & 0x10
    s.act("fault", kind="no_feedback", on=False)
    s.control(Action.CUT)
    s.control(Action.CLOSE)
    s.wait(4)
    s.control(Action.CUT)
    s.wait(4)
    s.control(Action.CLOSE)
    s.wait(4)
    assert not s.status3() & 0x10


def test_power_that_goes_is_noted_and_the_meter_silent_while_it_boots():
    s = three()
    s.act("power", on=False)
    with pytest.raises(NoAnswer):
        s.read("00010000")
    s.wait(HOUR)
    s.act("power", on=True, silence_ms=5000)
    s.wait(2)
    with pytest.raises(NoAnswer):
        s.read("00010000")
    s.wait(3)
    assert s.value("03110000") == 1 and s.value("0280000A") == 60
    started, ended = s.values("03110001").values()
    assert started.startswith("2611211200") and ended.startswith("2611211300")
    assert s.value("00010000") < Decimal("0.05")


def test_a_dip_ends_by_itself_and_an_order_waits_for_power():
    s = three(boot_ms=1000)
    s.act("power", dip_ms=300)
    s.wait(0.2)
    assert s.truth()["mains"] is False and s.truth()["power_w"] == 0
    s.wait(0.2)
    truth = s.truth()
    assert truth["mains"] is True and truth["awake"] is False and truth["power_w"] == 6000
    s.wait(1)
    assert s.value("03110000") == 1
    s = three()
    s.control(Action.CUT)
    s.act("power", dip_ms=5000)
    s.wait(4)
    assert s.supplied
    s.wait(2)
    assert not s.supplied


@pytest.mark.parametrize(
    ("level", "phases", "kind", "bit"),
    [
        (0.7, ["a"], "under_voltage", 1),
        (0.7, ["a"], "voltage_lost", 0),
        (1.3, ["b"], "over_voltage", 2),
        (0, ["c"], "phase_broken", 7),
    ],
)
def test_voltages_out_of_bounds_are_noted_after_a_minute_and_end(level, phases, kind, bit):
    s = three()
    number = "abc".index(phases[0]) + 1
    di = {"under_voltage": "0302", "voltage_lost": "0301", "over_voltage": "0303", "phase_broken": "0304"}[kind]
    s.act("power", level=level, phases=phases)
    s.wait(59)
    assert not word(s, 3 + number) >> bit & 1
    s.wait(10 * 60)
    assert word(s, 3 + number) >> bit & 1
    s.act("power", level=1)
    assert not word(s, 3 + number) >> bit & 1
    counters = s.values(f"{di}0000")
    assert (counters[f"{kind}_{phases[0]}_count"], counters[f"{kind}_{phases[0]}_minutes"]) == (1, 10)
    found = s.values(f"{di}0{number}01")
    assert found[f"{kind}_{phases[0]}_1_ended_at"] > found[f"{kind}_{phases[0]}_1_started_at"]
    assert found[f"{kind}_{phases[0]}_1_energy_import_delta"] > 0


def test_a_short_sag_is_no_event():
    s = three()
    s.act("power", level=0.7, phases=["a"], dip_ms=30_000)
    s.wait(600)
    assert s.values("03020000")["under_voltage_a_count"] == 0


def test_overload_is_noted():
    s = Bench(set={"04000E01": "5.0000"}, load={"power_w": 6000, "pf": 1})
    s.wait(61)
    assert word(s, 4) & 0x20 and s.values("030F0000")["overload_a_count"] == 1
    s.act("load", power_w=4000)
    assert not word(s, 4) & 0x20


def test_unbalanced_voltages_are_noted():
    s = three()
    s.act("power", level=0.65, phases=["b"])
    s.wait(120)
    assert word(s, 7) & 0x04 and s.values("03090000")["voltage_unbalance_count"] == 1


def test_another_meter_in_its_place():
    s = Bench(initial_kwh="500", load={"power_w": 6000, "pf": 1})
    s.control(Action.CUT)
    s.act("fault", kind="welded")
    s.write("04001401", 9)
    truth = s.act("swap", initial_kwh="3.21", address="000000000077")
    assert (truth["address"], truth["faults"], truth["contact"]) == ("000000000077", [], "closed")
    assert s.value("00010000") == Decimal("3.21") and s.value("04001401") == 0 and s.value("1D000001") == 0
    with pytest.raises(NoAnswer):
        s.ask("a", master.Read(ADDRESS, "00010000"))
    s.wait(HOUR)
    assert s.value("00010000") == Decimal("9.21")


def test_two_meters_on_one_address_talk_into_each_other():
    table = one_meter(load={"power_w": 500})
    table["meter"].append({**table["meter"][0], "id": "n", "address": "000000000077", "initial_kwh": 7})
    s = VirtualStreet(table)
    assert s.ask("a", master.Read("000000000077", "00010000")).items[0].value == 7
    s.act("swap", address="000000000077")
    with pytest.raises((NoAnswer, Malformed)):
        s.ask("a", master.Read("000000000077", "00010000"))
    assert s.handle.line("a")["collisions"] > 0


@pytest.mark.parametrize(("preamble", "answers"), [(0, False), (3, False), (4, True)])
def test_a_sleepy_meter_wants_to_be_woken(preamble, answers):
    s = Bench(wake_up=4)
    question = master.Read(ADDRESS, "00010000", preamble=preamble)
    if answers:
        assert s.ask("a", question).items
    else:
        with pytest.raises(NoAnswer):
            s.ask("a", question)


def test_a_refused_write_changes_nothing():
    s = Bench()
    with pytest.raises(Refused):
        s.write("04001401", b"\xff\xff")
    assert s.value("04001401") == 0
