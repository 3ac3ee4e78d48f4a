"""F2: when money can be paid in, as a table; the counter's hours."""

from __future__ import annotations

from datetime import datetime

import pytest

from gateway.domain.paths import HEARTBEAT_LIMIT_MS, PathKind, PathsSeen, PathTerms, hours, judge

BANK, CENTRE, COUNTER = PathKind.BANK, PathKind.CENTRE, PathKind.COUNTER
NOW_MS = 1_800_000_000_000
TUESDAY_NOON, SUNDAY_NOON = datetime(2026, 11, 24, 12, 0), datetime(2026, 11, 29, 12, 0)
OFFICE = (hours("Mon-Fri 08:30-17:00"), hours("Sat 09:00-12:00"))
BEATING = PathTerms((BANK,), heartbeat=True)
LIMIT = HEARTBEAT_LIMIT_MS


def seen(*accepts: PathKind, **heard_ago_ms: int) -> PathsSeen:
    return PathsSeen(accepts, {PathKind(path): NOW_MS - ago_ms for path, ago_ms in heard_ago_ms.items()})


@pytest.mark.parametrize(
    ("terms", "known", "local", "why"),
    [
        (PathTerms(), seen(BANK), TUESDAY_NOON, ""),
        (PathTerms(), seen(BANK, bank=40 * LIMIT), TUESDAY_NOON, ""),
        (PathTerms(), seen(bank=0), TUESDAY_NOON, "bank: the listener takes no calls"),
        (PathTerms(()), seen(BANK), TUESDAY_NOON, "no way to pay is configured"),
        (BEATING, seen(BANK, bank=LIMIT), TUESDAY_NOON, ""),
        (BEATING, seen(BANK, bank=LIMIT + 1), TUESDAY_NOON, "bank: it was not heard for 10 min"),
        (BEATING, seen(BANK), TUESDAY_NOON, "bank: it was never heard"),
        (BEATING, seen(BANK, bank=-1), TUESDAY_NOON, "bank: it was last heard before our clock was set back"),
        (BEATING, seen(bank=0), TUESDAY_NOON, "bank: the listener takes no calls"),
        (PathTerms((CENTRE,)), seen(BANK, centre=LIMIT), TUESDAY_NOON, ""),
        (PathTerms((CENTRE,)), seen(BANK, centre=LIMIT + 1), TUESDAY_NOON, "centre: it was not heard for 10 min"),
        (PathTerms((CENTRE,)), seen(BANK), TUESDAY_NOON, "centre: it was never heard"),
        (PathTerms((COUNTER,), hours=OFFICE), seen(), TUESDAY_NOON, ""),
        (PathTerms((COUNTER,), hours=OFFICE), seen(), SUNDAY_NOON, "counter: the counter is closed now"),
        (PathTerms((BANK, COUNTER), heartbeat=True, hours=OFFICE), seen(BANK), TUESDAY_NOON, ""),
        (PathTerms((BANK, COUNTER), hours=OFFICE), seen(BANK), SUNDAY_NOON, ""),
        (
            PathTerms((BANK, COUNTER), hours=OFFICE), seen(), SUNDAY_NOON,
            "bank: the listener takes no calls; counter: the counter is closed now",
        ),
    ],
)  # fmt: skip
def test_one_living_path_is_enough_and_the_dead_say_why(terms: PathTerms, known: PathsSeen, local: datetime, why: str) -> None:
    verdict = judge(terms, known, NOW_MS, local)
    assert (verdict.alive, verdict.why) == (not why, why)


def test_only_the_planned_end_of_the_counters_day_needs_nobody() -> None:
    closed = judge(PathTerms((COUNTER,), hours=OFFICE), seen(), NOW_MS, SUNDAY_NOON)
    broken = judge(PathTerms((BANK, COUNTER), hours=OFFICE), seen(), NOW_MS, SUNDAY_NOON)
    assert (closed.planned, broken.planned, judge(PathTerms(()), seen(), NOW_MS, SUNDAY_NOON).planned) == (True, False, False)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("Mon-Fri 08:30-17:00", datetime(2026, 11, 27, 16, 59), datetime(2026, 11, 27, 17, 0)),
        ("Mon-Fri 08:30-17:00", datetime(2026, 11, 23, 8, 30), datetime(2026, 11, 23, 8, 29)),
        ("Sat 09:00-24:00", datetime(2026, 11, 28, 23, 59), datetime(2026, 11, 29, 9, 0)),
        ("Sat-Mon 00:00-12:00", datetime(2026, 11, 29, 0, 0), datetime(2026, 11, 24, 0, 0)),
    ],
)
def test_hours_begin_and_end_to_the_minute(text: str, inside: datetime, outside: datetime) -> None:
    assert (hours(text).hold(inside), hours(text).hold(outside)) == (True, False)


@pytest.mark.parametrize(
    "text", ["", "08:30-17:00", "Mon 17:00-08:30", "Mon 08:00-08:00", "Mon 08:00-24:01", "Xyz 08:00-09:00", "Mon-Xyz 08:00-09:00",
             "Mon 8:00-9:00", "Mon 08:60-09:00", "mon 08:00-09:00"],
)  # fmt: skip
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hours"):
        hours(text)
