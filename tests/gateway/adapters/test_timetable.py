"""Cron lines in a zone's own calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.timetable import BadCron, check_cron, next_fire
from gateway.domain.slots import DAY_MS, HOUR_MS, MINUTE_MS, local_of, ms_of

BERLIN = "Europe/Berlin"


def utc(text: str) -> int:
    return ms_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


def fires(cron: str, after: str, count: int) -> list[str]:
    at_ms, found = utc(after), []
    for _ in range(count):
        at_ms = next_fire(cron, BERLIN, at_ms) or 0
        found.append(f"{datetime.fromtimestamp(at_ms // 1000, UTC):%m-%d %H:%M}")
    return found


def test_pain_23_a_daily_line_is_due_once_a_day_through_both_changes() -> None:
    assert fires("5 0 * * *", "2026-03-28T12:00", 3) == ["03-28 23:05", "03-29 22:05", "03-30 22:05"]
    assert fires("30 2 * * *", "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]
    assert fires("30 2 * * *", "2026-03-28T12:00", 2) == ["03-29 01:00", "03-30 00:30"], "2:30 is skipped: due at its end"


def test_pain_23_an_hourly_line_is_due_every_hour_that_passes() -> None:
    assert fires("10 * * * *", "2026-10-24T23:30", 4) == ["10-25 00:10", "10-25 01:10", "10-25 02:10", "10-25 03:10"]


@given(st.integers(utc("2020-01-01T00:00"), utc("2038-01-01T00:00")), st.sampled_from([BERLIN, "Asia/Shanghai", "America/Havana"]))
def test_pain_23_the_next_time_is_later_and_never_far(after_ms: int, zone: str) -> None:
    hourly, daily = next_fire("10 * * * *", zone, after_ms), next_fire("5 0 * * *", zone, after_ms)
    assert hourly is not None and after_ms < hourly <= after_ms + HOUR_MS + MINUTE_MS
    assert daily is not None and after_ms < daily <= after_ms + DAY_MS + HOUR_MS
    assert local_of(hourly, ZoneInfo(zone)).minute in (10, 0)


@pytest.mark.parametrize("cron", ["", "5 0 * *", "61 * * * *", "0 0 31 2 *", "a b c d e", "* * * * * *"])
def test_a_line_that_is_none_is_refused(cron: str) -> None:
    with pytest.raises(BadCron):
        check_cron(cron)
