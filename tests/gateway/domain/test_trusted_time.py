"""F3: every source of trust with its refusals and its healthy twin, and what a jump of the clock leaves of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.jobs import ClockSeen
from gateway.domain.trusted_time import (
    JUMP_MS,
    SETTLE_MS,
    Evidence,
    HeardTime,
    Look,
    Stretch,
    TimeSource,
    TimeTerms,
    at,
    judge,
    proved,
    went_on,
)

S, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
WALL, STEADY = 1_800_000_000_000, 500 * HOUR
START = Look(WALL, STEADY, "boot-1")
STRETCH = Stretch("boot-1", WALL, STEADY)
HEARD = HeardTime(0, WALL, STEADY, "boot-1")


def later(ms: int, *, jump: int = 0, **changes: object) -> Look:
    """The look so much later, at a clock that was set by `jump` meanwhile."""
    return replace(START, wall_ms=WALL + ms + jump, steady_ms=STEADY + ms, **changes)  # type: ignore[arg-type]


def verdict(*sources: str, look: Look = START, evidence: Evidence | None = None, **terms: object) -> str:
    """Who vouches, or why nobody does."""
    wanted = TimeTerms(tuple(TimeSource(name) for name in sources), **terms)  # type: ignore[arg-type]
    found = judge(wanted, at(evidence or Evidence(STRETCH), look), look)
    return found.by.value if found.by is not None else found.why


def test_who_is_declared_trusted_vouches_whatever_happens() -> None:
    assert verdict("vouched", look=later(DAY, jump=-DAY)) == "vouched"


def test_the_kernels_word_is_taken() -> None:
    assert verdict("ntp", look=later(S, synchronised=True)) == "ntp"
    assert verdict("ntp", look=later(S)) == "ntp: the kernel says that no time server keeps the clock"


@pytest.mark.parametrize("jump", [JUMP_MS + 1, -JUMP_MS - 1, 40 * DAY, -40 * DAY])
def test_after_a_jump_the_kernels_word_counts_again_when_it_had_time_to_know(jump: int) -> None:
    seen = at(Evidence(STRETCH), later(HOUR, jump=jump, synchronised=True))
    for after, vouches in ((0, False), (SETTLE_MS - 1, False), (SETTLE_MS, True)):
        found = verdict("ntp", evidence=seen, look=later(HOUR + after, jump=jump, synchronised=True))
        assert (found == "ntp") is vouches, found


@pytest.mark.parametrize("jump", [0, JUMP_MS, -JUMP_MS])
def test_a_leap_second_or_a_rounding_is_no_jump(jump: int) -> None:
    look = later(HOUR, jump=jump, synchronised=True)
    assert went_on(STRETCH, look) is STRETCH and verdict("ntp", look=look) == "ntp"


def test_many_small_steps_are_one_jump() -> None:
    stretch: Stretch | None = STRETCH
    for step in range(1, 12):
        stretch = went_on(stretch, later(step * MINUTE, jump=step * S // 2))
    assert stretch is not None and stretch.jumped_ms == STEADY + 11 * MINUTE


@pytest.mark.parametrize(
    ("ms", "changes", "offset_ms", "why"),
    [
        (0, {}, 0, None),
        (DAY, {}, 50 * S, None),
        (DAY, {}, -50 * S, None),
        (DAY + 1, {}, 0, "was not heard for a day"),
        (DAY, {}, 52 * S, "is 52 s ahead"),
        (S, {}, -61 * S, "is 61 s behind"),
        (HOUR, {"jump": JUMP_MS + 1}, 0, "the clock was set since"),
        (HOUR, {"jump": -DAY}, 0, "the clock was set since"),
        (HOUR, {"boot": "boot-2"}, 0, "not heard since this machine started"),
        (HOUR, {"steady_ms": None}, 0, "no steady clock"),
    ],
)
def test_the_centres_time_carries_a_day(ms: int, changes: dict[str, object], offset_ms: int, why: str | None) -> None:
    look = replace(later(ms, jump=changes.pop("jump", 0)), **changes)  # type: ignore[arg-type]
    found = verdict("uplink", look=look, evidence=Evidence(STRETCH, replace(HEARD, offset_ms=offset_ms)))
    assert found == "uplink" if why is None else why in found


def test_a_centre_that_was_never_heard_vouches_for_nothing() -> None:
    assert "was not heard" in verdict("uplink")


def crowd(*offsets_ms: int, ago_ms: int = HOUR, within_ms: int = 600) -> Evidence:
    return Evidence(STRETCH, meters=tuple(ClockSeen(offset_ms, within_ms, WALL - ago_ms) for offset_ms in offsets_ms))


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        (crowd(0, 1, -2, 900, -700), None),
        (crowd(50 * S, 51 * S, 49 * S, 50 * S, 50 * S), None),
        (crowd(0, 0, 0, 0, 0, 4 * HOUR, -9 * HOUR), None),
        (crowd(0, 0, 0, 0), "of 4 meters seen lately not enough agree"),
        (crowd(0, 0, 0, 0, 4 * HOUR), "of 5 meters seen lately not enough agree"),
        (crowd(0, 0, 0, 0, 0, *range(HOUR, 9 * HOUR, HOUR)), "not enough agree"),
        (crowd(HOUR, HOUR, HOUR, HOUR, HOUR), "the meters' median is 3600 s ahead"),
        (crowd(-61 * S, -61 * S, -61 * S, -61 * S, -61 * S), "the meters' median is 61 s behind"),
        (crowd(58 * S, 58 * S, 58 * S, 58 * S, 58 * S, ago_ms=12 * HOUR), "the meters' median is 58 s ahead"),
        (crowd(0, 0, 0, 0, 0, within_ms=61 * S), "the meters' median is 0 s behind"),
        (crowd(0, 0, 0, 0, 0, ago_ms=37 * HOUR), "of 0 meters seen lately"),
        (crowd(0, 0, 0, 0, 0, ago_ms=-1), "of 0 meters seen lately"),
    ],
)
def test_five_agreeing_meters_vouch_with_what_they_may_have_drifted(evidence: Evidence, why: str | None) -> None:
    found = verdict("meters", evidence=evidence)
    assert found == "meters" if why is None else why in found


@pytest.mark.parametrize("change", [{"jump": -DAY}, {"jump": JUMP_MS + 1}, {"boot": "boot-2"}])
def test_what_was_measured_against_a_clock_that_was_set_is_worth_nothing(change: dict[str, object]) -> None:
    jump = change.pop("jump", 0)
    look = replace(later(S, jump=jump), **change)  # type: ignore[arg-type]
    assert at(crowd(0, 0, 0, 0, 0), look).meters == ()
    assert len(at(crowd(0, 0, 0, 0, 0), later(S)).meters) == 5


def rtc(ms: int, *, jump: int = 0, rtc_jump: int = 0) -> Look:
    return later(ms, jump=jump, rtc_ms=(WALL + ms + rtc_jump) // S * S)


ANCHORED = Evidence(replace(STRETCH, rtc_off_ms=WALL - STEADY, rtc_at_ms=STEADY), proved_ms=WALL)


@pytest.mark.parametrize(
    ("look", "evidence", "terms", "why"),
    [
        (rtc(HOUR), ANCHORED, {}, None),
        (rtc(30 * DAY), ANCHORED, {}, None),
        (rtc(HOUR), Evidence(STRETCH), {"rtc_set_ms": WALL - DAY}, None),
        (rtc(34 * DAY), ANCHORED, {"rtc_ppm": 20}, None),
        (rtc(35 * DAY), ANCHORED, {"rtc_ppm": 20}, "nobody has compared the hardware clock for 35 days"),
        (rtc(35 * DAY), ANCHORED, {"rtc_ppm": 5}, None),
        (rtc(HOUR), Evidence(STRETCH), {}, "nobody has said since when"),
        (later(HOUR), ANCHORED, {}, "there is no hardware clock"),
        (rtc(HOUR, jump=59 * S), ANCHORED, {}, None),
        (rtc(30 * DAY, jump=-9 * S), ANCHORED, {"rtc_ppm": 20}, "the hardware clock is 9 s ahead"),
        (rtc(HOUR, jump=HOUR), ANCHORED, {}, "the hardware clock is 3600 s behind"),
        (rtc(HOUR, jump=-HOUR), ANCHORED, {}, "the hardware clock is 3600 s ahead"),
        (rtc(HOUR, jump=-9 * DAY, rtc_jump=-9 * DAY), ANCHORED, {}, "stands before the moment at which it was last right"),
        (rtc(HOUR, jump=9 * DAY, rtc_jump=9 * DAY), ANCHORED, {}, "was set since it was last right"),
        (rtc(HOUR, jump=MINUTE, rtc_jump=MINUTE), ANCHORED, {"rtc_set_ms": WALL + HOUR + MINUTE - 1}, "was set since"),
        (rtc(HOUR, jump=MINUTE, rtc_jump=MINUTE), ANCHORED, {"rtc_set_ms": WALL + HOUR + MINUTE}, None),
        (rtc(HOUR), Evidence(STRETCH), {"rtc_set_ms": WALL + DAY}, "stands before"),
    ],
)
def test_a_hardware_clock_that_is_declared_good_vouches_within_its_drift(
    look: Look, evidence: Evidence, terms: dict[str, object], why: str | None
) -> None:
    found = verdict("rtc", look=look, evidence=evidence, **terms)
    assert found == "rtc" if why is None else why in found


def test_a_time_server_proves_the_hardware_clock_anew() -> None:
    """It was set with ours, unseen; once a time server vouches for ours again, it is right as it stands."""
    moved = rtc(HOUR, jump=MINUTE, rtc_jump=MINUTE)
    stretch = went_on(ANCHORED.stretch, moved)
    known = replace(ANCHORED, stretch=stretch)
    assert "was set since" in verdict("rtc", look=moved, evidence=known)
    again = proved(known, moved)
    assert again.proved_ms == moved.wall_ms
    assert verdict("rtc", look=rtc(2 * HOUR, jump=MINUTE, rtc_jump=MINUTE), evidence=again) == "rtc"
    astray = rtc(HOUR, jump=MINUTE)
    assert proved(known, astray) is known, "a hardware clock that shows another time is not proved by ours"


def test_a_proof_is_written_down_once_an_hour() -> None:
    assert proved(ANCHORED, rtc(HOUR - 1)) is ANCHORED
    assert proved(ANCHORED, rtc(HOUR)).proved_ms == WALL + HOUR


def test_any_source_is_enough_and_without_one_every_reason_is_told() -> None:
    dead = verdict("meters", "ntp", "rtc", "uplink")
    assert [part.partition(":")[0] for part in dead.split("; ")] == ["ntp", "uplink", "rtc", "meters"]
    for source, evidence, look in (
        ("ntp", Evidence(STRETCH), later(0, synchronised=True)),
        ("uplink", Evidence(STRETCH, HEARD), START),
        ("rtc", ANCHORED, rtc(HOUR)),
        ("meters", crowd(0, 0, 0, 0, 0), START),
    ):
        assert verdict("meters", "ntp", "rtc", "uplink", look=look, evidence=evidence) == source
        others = [each for each in ("meters", "ntp", "rtc", "uplink") if each != source]
        assert verdict(*others, look=look, evidence=evidence).count(": ") == 3, "what is not configured does not vouch"


def test_another_start_of_the_machine_is_a_new_stretch_without_a_jump() -> None:
    found = went_on(STRETCH, replace(START, boot="boot-2", steady_ms=40 * S, rtc_ms=WALL))
    assert found == Stretch("boot-2", WALL, 40 * S, None, WALL - 40 * S, 40 * S)
    assert went_on(STRETCH, replace(START, steady_ms=None)) is None
