"""The learned gap: it grows where questions right behind an answer go unheard, not for noise, dead meters or slow converters."""

from __future__ import annotations

from random import Random

import pytest

from gateway.adapters.lines.gap import BACK_LONGEST_S, BACK_S, ENOUGH, MOST_GAP_MS, Gap

FLOOR_MS = 20


class Meter:
    """Stands for one."""


class Master:
    """Asks as a driver does: at once behind an answer, and after silence once more, with the line quiet before."""

    def __init__(self) -> None:
        self.gap = Gap()
        self.now_s = 0.0

    @property
    def gap_ms(self) -> int:
        return max(FLOOR_MS, self.gap.learned_ms)

    def note(self, who: object, *, tight: bool, answered: bool | None) -> None:
        self.gap.note(who, tight=tight, answered=answered, gap_ms=self.gap_ms, now_s=self.now_s)
        self.now_s += 1

    def ask(self, meters: list[Meter], needs_ms: int, slow: Meter) -> int:
        """One round; how many questions were missed because `slow` was not ready."""
        missed = 0
        for meter in meters:
            if meter is slow and self.gap_ms < needs_ms:
                self.note(meter, tight=True, answered=False)
                self.note(meter, tight=False, answered=True)
                missed += 1
            else:
                self.note(meter, tight=True, answered=True)
        return missed


@pytest.mark.parametrize("needs_ms", [25, 60, 100])
def test_a_meter_that_is_not_ready_makes_the_gap_grow_until_it_is(needs_ms: int) -> None:
    master, meters = Master(), [Meter() for _ in range(5)]
    missed = sum(master.ask(meters, needs_ms, meters[2]) for _ in range(100))
    assert needs_ms <= master.gap_ms <= 2 * needs_ms
    assert missed <= 4 * ENOUGH
    assert master.ask(meters, needs_ms, meters[2]) == 0


def test_a_meter_whose_driver_stays_on_the_line_is_found_by_what_follows_it() -> None:
    master, rng = Master(), Random(1)
    holder, others = Meter(), [Meter() for _ in range(20)]
    for _ in range(300):
        other = rng.choice(others)
        master.note(holder, tight=True, answered=True)
        heard = master.gap_ms >= 50
        master.note(other, tight=True, answered=heard)
        if not heard:
            master.note(other, tight=False, answered=True)
    assert master.gap_ms >= 50


def test_a_gap_never_grows_without_bound() -> None:
    master, meter = Master(), Meter()
    for _ in range(1_000):
        master.note(meter, tight=True, answered=False)
        master.note(meter, tight=False, answered=True)
    assert master.gap_ms == MOST_GAP_MS


@pytest.mark.parametrize("heard", [0.05, 0.3, 0.5, 0.7, 0.9])
def test_noise_makes_no_gap(heard: float) -> None:
    """Frames are lost whether they come close behind others or not."""
    master, rng, meters = Master(), Random(heard), [Meter() for _ in range(10)]
    grown = 0
    for n in range(5_000):
        tight = True
        for _ in range(3):
            answered = rng.random() < heard
            master.note(meters[n % 10], tight=tight, answered=answered)
            tight = False
            if answered:
                break
        grown += master.gap.learned_ms > FLOOR_MS
    assert grown < 1_000


def test_a_dead_meter_and_a_late_answer_make_no_gap() -> None:
    master, dead, late = Master(), Meter(), Meter()
    for _ in range(200):
        master.note(dead, tight=True, answered=False)
        master.note(dead, tight=False, answered=False)
        master.note(late, tight=True, answered=None)
        master.note(late, tight=False, answered=True)
    assert master.gap.learned_ms == 0


def test_a_gap_that_is_not_needed_any_more_goes_back_after_an_hour_and_ever_more_carefully() -> None:
    master, meters = Master(), [Meter() for _ in range(3)]
    for _ in range(50):
        master.ask(meters, 30, meters[0])
    assert master.gap_ms == 40
    spells = []
    for _ in range(8):
        since_s = master.now_s
        while master.ask(meters, 30, meters[0]) == 0:
            master.now_s += 60
        spells.append(master.now_s - since_s)
        for _ in range(ENOUGH):
            master.ask(meters, 30, meters[0])
        assert master.gap_ms == 40
    assert spells[0] == pytest.approx(BACK_S, rel=0.1) and spells[2] > 3 * BACK_S
    assert spells[-1] == pytest.approx(BACK_LONGEST_S, rel=0.1)
    for _ in range(100):
        master.ask(meters, 0, meters[0])
        master.now_s += BACK_LONGEST_S
    assert master.gap.learned_ms == 0
