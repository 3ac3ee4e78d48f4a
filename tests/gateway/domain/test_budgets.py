"""The limiter's windows and its clock (prepayment.md, "What we decided" 6): exact."""

from __future__ import annotations

import pytest

from gateway.domain.budgets import DAY_MS, DECIDED, HOUR_MS, LATE_MS, MINUTE_MS, UNBOUND, Budget, SteadyClock, Window, room


@pytest.mark.parametrize(
    ("least", "percent", "meters", "most"),
    [(2, 10, 0, 2), (2, 10, 29, 2), (2, 10, 30, 3), (2, 10, 39, 3), (2, 2, 149, 2), (2, 2, 150, 3), (3, 10, 40, 4), (5, 0, 9, 5)],
)
def test_percentages_round_down_and_the_least_stands(least: int, percent: int, meters: int, most: int) -> None:
    assert Window(HOUR_MS, least, percent).most(meters) == most


def test_what_was_decided() -> None:
    assert DECIDED.windows(Budget.OWN) == (Window(60_000, 5), Window(3_600_000, 2, 10))
    assert DECIDED.windows(Budget.ORDERED) == (Window(3_600_000, 2, 2), Window(86_400_000, 3, 10))
    assert DECIDED.windows(Budget.SAFETY) == () == DECIDED.windows(Budget.PLAN) == UNBOUND.windows(Budget.OWN)
    assert (MINUTE_MS, HOUR_MS, DAY_MS) == (60_000, 3_600_000, 86_400_000)


OWN = (Window(MINUTE_MS, 5), Window(HOUR_MS, 7))


@pytest.mark.parametrize(
    ("spent", "reserved", "left"),
    [
        ([], 0, 5),
        ([], 5, 0),
        ([], 9, 0),
        ([0], 0, 5),  # a minute ago and a bit
        ([MINUTE_MS + LATE_MS], 0, 4),
        ([1], 0, 4),
        ([1, 1, 1], 1, 1),
        ([-HOUR_MS // 2] * 6, 0, 1),
        ([-HOUR_MS // 2] * 7, 0, 0),
        ([MINUTE_MS - HOUR_MS] * 7, 0, 5),  # just forgotten
        ([MINUTE_MS - HOUR_MS + 1] * 7, 0, 0),
    ],
)
def test_the_narrowest_window_says_how_many_are_left(spent: list[int], reserved: int, left: int) -> None:
    assert room(OWN, spent, reserved, 0, MINUTE_MS + LATE_MS) == left


def test_without_a_window_there_is_room_for_any_number() -> None:
    assert room((), [1, 2, 3], 10**6, 0, 5) is None


CLOCK = SteadyClock(1000, "boot-1", 50, 7_000_000)


@pytest.mark.parametrize(
    ("boot", "steady_ms", "wall_ms", "at_ms"),
    [
        ("boot-1", 50, 7_000_000, 1000),
        ("boot-1", 80, 9_999_999_999, 1030),  # whatever the wall clock says
        ("boot-1", 80, 0, 1030),
        ("boot-1", 20, 7_000_000, 1000),  # never backwards
        ("boot-2", 10**9, 9_999_999_999, 1000),  # time off counts nothing
        ("", 10**9, 9_999_999_999, 1000),
        ("boot-1", None, 7_000_400, 1400),  # nothing else to go by
        ("boot-1", None, 6_000_000, 1000),
    ],
)
def test_the_limiters_clock(boot: str, steady_ms: int | None, wall_ms: int, at_ms: int) -> None:
    assert CLOCK.read(boot, steady_ms, wall_ms) == SteadyClock(at_ms, boot, steady_ms, wall_ms)


def test_a_boot_that_has_no_name_and_a_clock_that_was_not_known_count_nothing() -> None:
    assert SteadyClock(5, "", 10, 0).read("", 99, 10**9).at_ms == 5
    assert SteadyClock(5, "boot-1", None, 0).read("boot-1", 99, 10**9).at_ms == 5
