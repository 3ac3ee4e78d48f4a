"""What a meter remembers by the clock: freezes with their depth, settlement days, load records; and that a restart keeps it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from firmware_sim.dlt645.freezes import DAILY, DEPTH, HOURLY
from protocols.dlt645.load_profile import parse_records
from tests.firmware_sim.dlt645.bench import NOON, Bench

HOUR, DAY = 3600, 86_400


def steady(**meter: object) -> Bench:
    """6 kW all the time: 0.1 kWh a minute."""
    return Bench(load={"power_w": 6000, "pf": 1}, **meter)


def test_a_daily_freeze_holds_the_registers_of_midnight():
    s = steady(initial_kwh="100")
    s.wait(2 * DAY)
    assert s.value("05060001") == "2611230000" and s.value("05060002") == "2611220000"
    first, second = (s.values(f"0506010{n}")[f"energy_import_freeze_daily_{n}"] for n in (1, 2))
    assert (second, first) == (100 + 72, 100 + 72 + 144)
    rates = s.values("05060101")
    assert abs(sum(rates.values()) - 2 * first) <= Decimal("0.04")
    assert s.values("05060901")["demand_import_max_freeze_daily_1"] == 6
    assert s.values("05061001")["power_freeze_daily_1"] == 6


def test_the_freeze_mode_word_chooses_what_is_frozen():
    s = steady(set={"04000902": 0x01})
    s.wait(DAY)
    assert s.values("05060101") and s.refusal(s.read, "05060201") == "02"


def test_hourly_freezes_have_the_totals():
    s = steady()
    s.wait(5 * HOUR)
    assert s.value("05040001") == "2611211700"
    assert [s.values(f"0504010{n}").popitem()[1] for n in (1, 2, 3)] == [30, 24, 18]
    assert s.refusal(s.read, "05040901") == "02"


@pytest.mark.parametrize(("kind", "period"), [(HOURLY, HOUR), (DAILY, DAY)])
def test_freezes_have_a_depth(kind, period):
    s = Bench(rates=1, day=[["00:00", 1]], load={"power_w": 0})
    s.wait((DEPTH[kind] + 5) * period)
    assert s.device().freezes.depth(kind) == DEPTH[kind]
    assert s.refusal(s.read, f"05{kind:02X}00{DEPTH[kind] + 1:02X}") == "02"
    assert s.read(f"05{kind:02X}00{DEPTH[kind]:02X}")


def test_a_clock_that_is_set_past_midnight_freezes_nothing_on_the_way():
    s = steady()
    s.act("clock", clock="2026-11-23T00:10:00")
    s.wait(60)
    assert s.device().freezes.depth(DAILY) == 0
    s.wait(DAY)
    assert s.value("05060001") == "2611240000"


def test_a_drifting_clock_freezes_by_itself():
    s = steady(clock_drift_ppm=10_000)  # 1 % fast: midnight comes seven minutes early
    s.wait(12 * HOUR - 430)
    assert s.device().freezes.depth(DAILY) == 0
    s.wait(10)
    assert s.device().freezes.depth(DAILY) == 1


def test_the_settlement_day_keeps_registers_and_begins_maxima_anew():
    s = steady(set={"04000B01": "2200"})
    s.act("load", power_w=3000, pf=1)
    s.wait(DAY)
    assert s.value("00010001") == 36 and s.value("01010001") == 3
    assert s.value("00010002") is None  # no such period yet
    assert s.value("000C0001") == 36 and s.value("000C0000") == 36
    assert s.value("01010000") == 3
    everything = list(s.values("000100FF").values())
    assert everything[1] == 36 and everything[2:] == [None] * 11 and everything[0] > 70


def test_load_records_of_the_classes_in_the_mode_word():
    s = steady(set={"04000901": 0x3F})
    s.wait(HOUR)
    latest = parse_records(s.read("06000002", count=2))
    assert [record.when for record in latest] == [NOON + timedelta(minutes=45), NOON + timedelta(minutes=60)]
    voltages, powers, factors, energies, quadrants, demands = latest[1].groups
    assert powers[0] == 6 and energies[0] == 6 and factors[0] == 1 and quadrants[0] == 0 and demands[0] == 6
    assert abs(voltages[0] - 220) < 2 and voltages[1] is None  # a phase that is not there
    (oldest,) = parse_records(s.read("06040000", count=1))
    assert oldest.when == NOON + timedelta(minutes=15) and oldest.groups[3][0] == Decimal("1.50")
    assert [group is None for group in oldest.groups] == [True, True, True, False, True, True]
    given = parse_records(s.read("06000001", count=9, when=NOON + timedelta(minutes=31)))
    assert [record.when.minute for record in given] == [45, 0]
    assert s.read("06000001", count=9, when=NOON + timedelta(days=1)) == b""


def test_many_records_come_in_follow_up_frames():
    s = steady(set={"04000901": 0x3F})
    s.wait(DAY)
    data = s.read("06000002", count=96)
    assert len(data) == 96 * (2 + 1 + 5 + 17 + 24 + 8 + 16 + 16 + 6 + 6 + 2)
    assert len(parse_records(data)) == 96


def test_classes_have_intervals_of_their_own():
    s = steady(set={"04000901": 0x09, "04000A02": 30, "04000A05": 15})
    s.wait(HOUR)
    records = parse_records(s.read("06000000", count=9))
    assert [(record.groups[0] is not None, record.groups[3] is not None) for record in records] == [
        (False, True), (True, True), (False, True), (True, True),
    ]  # fmt: skip


def test_curves_are_one_quantity_of_the_records():
    s = steady()
    s.wait(HOUR)
    found = s.values("06100601", count=3, when=NOON)
    assert found["energy_import_curve_at"] == "2611211215"
    assert [found[f"energy_import_curve_{n}"] for n in (1, 2, 3)] == [Decimal("1.50"), Decimal("3.00"), Decimal("4.50")]
    assert set(s.values("06100300", count=2).values()) == {"2611211245", Decimal(6)}
    assert len(s.values("061001FF", count=2, when=NOON)) == 7


def test_the_history_survives_a_restart():
    s = steady(set={"04000B01": "2200"})
    s.write("04001401", 0)
    s.write("04010001", bytes.fromhex("010000"))
    s.write("04030001", bytes.fromhex("04011026"))
    s.act("cover")
    s.wait(DAY)
    kept, history = s.station("m").save(), json.loads(json.dumps(s.device().history()))
    again = steady(set={"04000B01": "2200"})
    again.device().meter.restore(kept)
    again.device().restore(kept["device"])
    again.device().restore_history(history)
    for di in ("05060001", "05060101", "03300001", "03300D01", "00010001", "04010001", "04030001", "000C0001"):
        assert again.device().read(di) == s.device().read(di), di
    assert again.device().read_records("06000002", 96, None) == s.device().read_records("06000002", 96, None)


def test_the_maximum_demand_slides_by_the_minute_and_knows_its_rate():
    s = Bench(rates=2, day=[["00:00", 1], ["12:20", 2]], load={"power_w": 3000, "pf": 1})
    s.wait(600)
    s.act("load", power_w=9000, pf=1)
    s.wait(900)
    s.act("load", power_w=0)
    s.wait(HOUR)
    total, first, second = s.values("0101FF00").values()
    assert total == second == 9 and 3 < first < 9
    assert s.read("01010200")[3:].hex() == "2512211126"  # the window from 12:10 to 12:25
    assert s.value("02800004") == 0


@pytest.mark.parametrize(("period", "slip", "highest"), [(15, 1, "3.0000"), (5, 1, "9.0000"), (30, 15, "1.5000")])
def test_the_window_is_what_has_been_set(period, slip, highest):
    s = Bench(set={"04000103": period, "04000104": slip}, load={"power_w": 0})
    s.wait(1800)
    s.act("load", power_w=9000, pf=1)
    s.wait(300)
    s.act("load", power_w=0)
    s.wait(HOUR)
    assert s.value("01010000") == Decimal(highest)


def test_the_demand_does_not_depend_on_when_one_looks():
    def run(steps: int) -> Bench:
        s = Bench(load={"kind": "household", "mean_w": 2000})
        for _ in range(steps):
            s.wait(6 * HOUR / steps)
        s.wait_until(6 * HOUR * 10**6)
        return s

    once, often = run(1), run(977)
    for di in ("0101FF00", "0105FF00", "0001FF00", "05040101"):
        assert once.device().read(di) == often.device().read(di), di


def test_the_month_turns_also_from_december():
    s = Bench(load={"power_w": 0})
    s.act("clock", clock="2026-12-31T23:59:00")
    s.wait(120)
    assert s.device().settlement.settled and s.values("000D0001")
    assert datetime.fromisoformat(str(s.truth()["clock"])).year == 2027
