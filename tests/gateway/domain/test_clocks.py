"""What a look at a meter's clock means, what may be done about it, and when (field-lessons.md 1; dlt645.md 3 and 10.7)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.domain.clocks import (
    BLOCKED_MS,
    MONTH_MS,
    RETRY_MS,
    TRANSITIONS,
    VERIFY_MS,
    ClockHappening,
    ClockState,
    MeterClock,
    Remedy,
    blocked,
    calm,
    crowd_offset_ms,
    is_off,
    local_time,
    look_due_ms,
    looked,
    may_write,
    missed,
    near_freeze,
    remedy,
    told,
    we_are_off,
)
from gateway.domain.jobs import ClockSeen

ZONE = "Asia/Shanghai"
DAY = 24 * 60 * 60 * 1000
NOON = int(datetime(2026, 3, 10, 4, 20, tzinfo=UTC).timestamp()) * 1000


def seen(offset_s: int, at_ms: int = NOON, within_ms: int = 600) -> ClockSeen:
    return ClockSeen(offset_s * 1000, within_ms, at_ms)


def off(offset_s: int, **changes: object) -> MeterClock:
    return replace(looked(MeterClock("m"), seen(offset_s)), **changes)  # type: ignore[arg-type]


def test_every_state_knows_what_every_happening_makes_of_it() -> None:
    assert set(TRANSITIONS) == set(itertools.product(ClockState, ClockHappening))
    assert {TRANSITIONS[state, ClockHappening.SEEN_RIGHT] for state in ClockState} == {ClockState.RIGHT}
    assert ClockState.RIGHT not in {after for (_, what), after in TRANSITIONS.items() if what is ClockHappening.TOLD} - {
        TRANSITIONS[ClockState.RIGHT, ClockHappening.TOLD]
    }  # that it was told the time makes no clock right


@pytest.mark.parametrize(
    ("offset_s", "within_ms", "wanted"),
    [
        (0, 600, Remedy.NONE),
        (10, 600, Remedy.NONE),
        (-11, 600, Remedy.BROADCAST),
        (11, 1_500, Remedy.NONE),  # it may be right
        (294, 600, Remedy.BROADCAST),
        (295, 600, Remedy.WRITE),  # it may be too far for a broadcast to be obeyed
        (-300, 600, Remedy.WRITE),
        (100_000, 600, Remedy.WRITE),
    ],
)
def test_the_remedy_follows_the_error_and_how_surely_it_is_known(offset_s: int, within_ms: int, wanted: Remedy) -> None:
    clock = looked(MeterClock("m"), seen(offset_s, within_ms=within_ms))
    assert remedy(clock, NOON) is wanted
    assert (clock.state is ClockState.OFF) is (wanted is not Remedy.NONE)


def test_a_meter_that_ignores_two_broadcasts_is_written_to() -> None:
    clock = off(60)
    for _ in range(2):
        assert remedy(clock, NOON) is Remedy.BROADCAST
        clock = looked(told(clock, Remedy.BROADCAST, NOON), seen(60))
    assert (clock.unheeded, remedy(clock, NOON)) == (2, Remedy.WRITE)
    assert looked(clock, seen(0)).unheeded == 0


def test_a_clock_that_is_off_again_after_two_corrections_in_a_month_is_faulty_until_the_month_is_over() -> None:
    clock = off(420)
    for n in range(2):
        clock = told(clock, Remedy.WRITE, NOON + n * DAY)
        assert clock.state is ClockState.SENT
        clock = looked(clock, seen(0, NOON + n * DAY + VERIFY_MS))
        assert clock.state is ClockState.RIGHT
        clock = looked(clock, seen(420, NOON + (n + 1) * DAY))
    assert clock.state is ClockState.FAULT
    later = looked(clock, seen(420, NOON + MONTH_MS))
    assert (later.state, remedy(later, NOON + MONTH_MS)) == (ClockState.OFF, Remedy.WRITE)


def test_a_write_that_was_refused_is_tried_again_after_a_week() -> None:
    clock = blocked(off(420), NOON)
    assert (clock.state, remedy(clock, NOON + DAY)) == (ClockState.FAULT, Remedy.HOPELESS)
    assert remedy(clock, NOON + BLOCKED_MS) is Remedy.WRITE
    assert looked(clock, seen(0, NOON + DAY)).state is ClockState.RIGHT


def test_clocks_are_looked_at_once_a_day_each_at_its_own_time_and_never_around_midnight() -> None:
    slots = []
    for n in range(200):
        clock = looked(MeterClock(f"meter-{n}"), seen(0))
        due_ms = look_due_ms(clock, ZONE)
        assert NOON < due_ms <= NOON + DAY
        again = look_due_ms(looked(clock, seen(0, due_ms)), ZONE)
        assert again == due_ms + DAY
        slots.append(local_time(due_ms, ZONE))
    assert all(1 <= slot.hour < 23 for slot in slots)
    assert len({slot.hour for slot in slots}) == 22


def test_a_look_that_failed_is_repeated_after_a_while_and_a_clock_that_was_told_is_read_back_at_once() -> None:
    assert look_due_ms(MeterClock("m"), ZONE) == 0
    assert look_due_ms(missed(MeterClock("m"), NOON), ZONE) == NOON + RETRY_MS
    told_ms = NOON + DAY // 2
    clock = told(off(60), Remedy.BROADCAST, told_ms)
    assert look_due_ms(clock, ZONE) == told_ms + VERIFY_MS
    assert look_due_ms(missed(clock, told_ms + VERIFY_MS), ZONE) == told_ms + VERIFY_MS + RETRY_MS


@pytest.mark.parametrize(
    ("time", "may"),
    [
        ("00:20", False), ("00:36", True), ("23:36", False), ("23:20", True), ("12:00", False), ("12:04", False), ("12:05", True),
        ("12:09", True), ("12:10", False), ("12:15", False), ("12:22", True), ("12:52", True), ("12:55", False), ("12:59", False),
    ],
)  # fmt: skip
def test_no_clock_is_set_near_midnight_the_full_hour_or_across_a_quarter(time: str, may: bool) -> None:
    local = datetime.fromisoformat(f"2026-03-10 {time}")
    assert calm(local) is may
    assert not (may and near_freeze(local))


def test_a_clock_is_not_written_where_it_stands_near_a_freeze_itself() -> None:
    assert may_write(seen(420), NOON, ZONE) is True  # at 12:20 the meter shows 12:27
    assert may_write(seen(38 * 60), NOON, ZONE) is False  # it shows 12:58
    assert may_write(seen(12 * 3600), NOON, ZONE) is False  # it shows 00:20
    assert may_write(seen(0), NOON - 6 * 60_000, ZONE) is False  # ours is 12:14


@pytest.mark.parametrize(
    ("offsets_s", "crowd_s"),
    [
        ([3600, 3601, 3599, 3600], None),  # four are no crowd
        ([3600, 3601, 3599, 3600, 3610], 3600),
        ([3600, 3601, 3599, 3600, 3610, 0, 1, 2, 3, 4], None),  # half of them are none either
        ([0, 90, 180, 270, 360], None),
        ([0, 1, -1, 2, 40_000], None),
        ([0, 1, -1, 2, 3, 40_000], 2),
    ],
)
def test_the_time_that_most_of_five_clocks_agree_on(offsets_s: list[int], crowd_s: int | None) -> None:
    clocks = [seen(offset) for offset in offsets_s]
    assert crowd_offset_ms(clocks) == (None if crowd_s is None else crowd_s * 1000)
    assert we_are_off(clocks) is (crowd_s is not None and abs(crowd_s) > 300)


def test_pain_23_summer_time_is_the_meters_zone_s_affair() -> None:
    """A meter without summer time stands right in a fixed zone, on both sides of the change, and an hour off in London's."""
    for month, hour_off in ((1, False), (7, True)):
        at_ms = int(datetime(2026, month, 10, 12, 20, tzinfo=UTC).timestamp()) * 1000
        shows = local_time(at_ms, "Etc/GMT")
        for zone, off_ in (("Etc/GMT", False), ("Europe/London", hour_off)):
            offset_ms = int((shows - local_time(at_ms, zone)).total_seconds()) * 1000
            assert is_off(ClockSeen(offset_ms, 600, at_ms)) is off_
