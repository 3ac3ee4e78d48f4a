"""Physics: energy is exactly what flowed through the contact, whatever the moments at which somebody looked."""

from __future__ import annotations

from random import Random

import pytest

from firmware_sim.loads import DAY_US, Constant, Steps, household
from firmware_sim.meter import Meter as Physics
from firmware_sim.meter import MeterSpec, RateChange
from firmware_sim.relay import RelayTiming

SECOND = 1_000_000
HOUR = 3600 * SECOND
KWH = 3_600_000_000  # mWs
FIXED = RelayTiming(100_000, 100_000, 3_000_000)


def meter(load=None, local_us: int = 12 * HOUR, **spec) -> Physics:
    spec = {"timing": FIXED, **spec}
    return Physics(MeterSpec(**spec), load or Constant(1_000_000, 1000), Random(1), 0, local_us)


def test_one_kilowatt_for_one_hour_is_one_kilowatt_hour():
    m = meter()
    m.advance(HOUR)
    assert m.total_mws == KWH
    assert m.total_count == 100


def test_the_contact_stops_the_current_at_the_very_microsecond_it_opens():
    m = meter()
    m.advance(10 * SECOND)
    m.relay.cut(10 * SECOND)
    assert m.power_mw == 1_000_000  # ordered is not opened
    m.advance(HOUR)
    assert m.total_mws == 10_100_000  # 10.1 s at 1 kW
    assert (m.power_mw, m.current_ma()) == (0, 0)
    assert [(move.at_us, move.closed, move.energy_mws) for move in m.relay.moves] == [(10_100_000, False, 10_100_000)]
    m.relay.close(HOUR)
    m.advance(HOUR + SECOND)
    assert m.total_mws == 10_100_000 + 900_000
    assert m.relay.moves[-1].energy_mws == 10_100_000


def test_the_status_bit_follows_the_contact_three_seconds_later():
    m = meter()
    m.relay.cut(0)
    for now_us, contact, reported in [
        (99_999, True, True),
        (100_000, False, True),
        (3_099_999, False, True),
        (3_100_000, False, False),
    ]:
        m.advance(now_us)
        assert (m.relay.contact_closed, m.relay.reported_closed) == (contact, reported), now_us


@pytest.mark.parametrize("seed", range(20))
def test_the_contact_takes_50_to_200_ms(seed):
    m = Physics(MeterSpec(), Constant(1_000_000), Random(seed), 0, 0)
    m.relay.cut(0)
    m.advance(49_999)
    assert m.relay.contact_closed
    m.advance(200_000)
    assert not m.relay.contact_closed


def test_a_contact_without_delay_moves_at_once_and_so_does_its_bit():
    m = meter(timing=RelayTiming(0, 0, 0))
    m.relay.cut(0)
    m.advance(HOUR)
    assert (m.total_mws, m.relay.reported_closed) == (0, False)


def test_an_order_taken_back_in_time_moves_nothing():
    m = meter()
    m.relay.cut(0)
    m.relay.close(50_000)
    m.advance(SECOND)
    assert m.relay.contact_closed and not m.relay.moves


def test_speed_multiplies_the_counted_energy_and_nothing_else():
    slow, fast = meter(), meter(speed_milli=60_000)
    for m in (slow, fast):
        m.advance(HOUR)
    assert fast.total_mws == 60 * slow.total_mws
    assert fast.power_mw == slow.power_mw and fast.clock_us == slow.clock_us and fast.current_ma() == slow.current_ma()


@pytest.mark.parametrize("seed", range(10))
def test_rates_are_truncated_each_by_itself_and_miss_less_than_their_number(seed):
    rng = Random(seed)
    m = meter(household(rng, 700), initial_mws=rng.randrange(10**13), speed_milli=60_000)
    for hour in range(1, 48):
        m.advance(hour * HOUR + rng.randrange(HOUR))
        parts = [m.rate_count(rate) for rate in range(1, 5)]
        assert 0 <= m.total_count - sum(parts) < 4
        assert sum(m.rate_mws(rate) for rate in range(1, 5)) in range(m.total_mws - 3, m.total_mws + 1)
    assert all(m.rate_mws(rate) > 0 for rate in range(1, 5))


def test_energy_does_not_depend_on_when_one_looks():
    rng = Random(5)
    looked, asleep = (meter(household(Random(9), 500), speed_milli=1234, phases=3) for _ in range(2))
    now_us = 0
    while now_us < DAY_US:
        now_us = min(DAY_US, now_us + rng.randrange(1, 600 * SECOND))
        looked.advance(now_us)
    asleep.advance(DAY_US)
    assert looked.save() == asleep.save()
    assert looked.total_mws > 5 * KWH


def test_the_rate_changes_by_the_meters_own_clock():
    day = (RateChange(0, 2), RateChange(12 * 60 + 30, 1))
    right, slow = meter(day=day, rates=2), meter(day=day, rates=2, clock_offset_us=-HOUR)
    for m in (right, slow):
        m.advance(HOUR)
    assert (right.rate_mws(1), right.rate_mws(2)) == (KWH // 2, KWH // 2)
    assert (slow.rate_mws(1), slow.rate_mws(2)) == (0, KWH)


def test_the_clock_drifts():
    m = meter(drift_ppm=50, clock_offset_us=-90 * SECOND)
    m.advance(DAY_US)
    assert m.clock_offset_us == -90 * SECOND + 4_320_000


def test_below_the_starting_current_nothing_is_counted():
    m = meter(Constant(4_000, 1000))  # 18 mA
    m.advance(HOUR)
    assert m.total_mws == 0 and m.power_mw == 4_000


def test_without_mains_nothing_flows_and_the_clock_goes_on():
    m = meter()
    m.mains = False
    m.advance(HOUR)
    assert (m.total_mws, m.power_mw, m.voltage_mv(), m.frequency_mhz) == (0, 0, 0, 0)
    assert m.clock_us == 13 * HOUR


def test_three_phases_add_up():
    m = meter(Constant(5_000_001, 900), phases=3)
    powers = [m.phase_power_mw(phase) for phase in range(3)]
    assert sum(powers) == 5_000_001 and min(powers) > 1_000_000
    for phase, power in enumerate(powers):
        assert abs(m.voltage_mv(phase) * m.current_ma(phase) * 900 / 10**6 - power) < 220_000  # a current in whole mA
        assert abs(m.voltage_mv(phase) - 220_000) <= 220_000 * 7 // 1000


def test_permission_needs_the_button():
    m = meter(closed=False)
    assert not m.relay.press(0)
    m.relay.allow(0)
    m.advance(HOUR)
    assert m.total_mws == 0 and m.relay.allowed and not m.relay.contact_closed and m.relay.order_closed
    assert m.relay.press(HOUR)
    m.advance(HOUR + SECOND)
    assert m.relay.contact_closed and not m.relay.allowed and m.total_mws == 900_000


def test_a_cut_takes_the_permission_back():
    m = meter(closed=False)
    m.relay.allow(0)
    m.relay.cut(0)
    assert not m.relay.press(SECOND)
    m.advance(HOUR)
    assert not m.relay.contact_closed


def test_a_welded_contact_obeys_in_words_only():
    m = meter()
    m.relay.welded = True
    m.relay.cut(0)
    m.advance(HOUR)
    assert not m.relay.order_closed and m.relay.contact_closed and m.total_mws == KWH


def test_a_restored_meter_goes_on_where_it_was_and_ends_what_was_begun():
    first = meter(initial_mws=12_345_678_901, clock_offset_us=5 * SECOND)
    first.protect = True
    first.advance(HOUR)
    first.relay.cut(HOUR)
    second = meter()
    second.restore(first.save())
    assert (second.total_mws, second.protect, second.relay.contact_closed) == (first.total_mws, True, True)
    assert second.clock_offset_us == 5 * SECOND
    second.advance(SECOND)
    assert not second.relay.contact_closed


def test_a_state_of_another_number_of_rates_is_refused():
    with pytest.raises(ValueError, match="2 rates"):
        meter().restore(meter(rates=2, day=(RateChange(0, 1),)).save())


def test_schedules_repeat_and_hold():
    steps = ((0, 100_000), (20 * SECOND, 900_000))
    once, again = Steps(steps, 0), Steps(steps, 0, 60 * SECOND)
    assert [once.draw(s * SECOND).power_mw for s in (0, 19, 20, 61, 500)] == [100_000, 100_000, 900_000, 900_000, 900_000]
    assert [again.draw(s * SECOND).power_mw for s in (0, 19, 20, 61, 139)] == [100_000, 100_000, 900_000, 100_000, 100_000]
    assert again.draw(61 * SECOND).until_us == 80 * SECOND


@pytest.mark.parametrize("seed", range(5))
def test_a_household_draws_about_what_it_should_and_the_same_again(seed):
    m, twin = (meter(household(Random(seed), 400), local_us=0) for _ in range(2))
    m.advance(10 * DAY_US)
    twin.advance(10 * DAY_US)
    assert m.total_mws == twin.total_mws
    assert 0.75 < m.total_mws / (240 * KWH * 0.4) < 1.25
