"""Malignant load: which steps are seen, and which of them a rule forbids (prepayment.md d)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.malignant_load import (
    Look,
    MalignantMode,
    MalignantRule,
    Permitted,
    PowerWindow,
    Shown,
    Step,
    Watch,
    is_malignant,
    watched,
)

GAP_MS = 30_000
RULE = MalignantRule(
    MalignantMode.TRIP,
    (PowerWindow(300, 800), PowerWindow(1000, 2000)),
    power_factor=950,
    permitted=(Permitted("kettle", 1500, 50), Permitted("press", 600, 0)),
)


def follow(*shown: tuple[int, Shown]) -> list[Step | None]:
    """The steps that a row of readings (ms, what it shows) tells."""
    watch, steps = Watch(), []
    for at_ms, each in shown:
        watch, step = watched(watch, each, at_ms, GAP_MS)
        steps.append(step)
    return steps


@pytest.mark.parametrize(
    ("active_w", "reactive_var", "malignant"),
    [
        (299, 0, False),
        (300, 0, True),
        (800, 0, True),
        (801, 0, False),
        (999, 0, False),
        (1000, 0, True),
        (2000, 0, True),
        (2001, 0, False),
        (1449, 0, True),
        (1450, 0, False),  # the kettle
        (1550, 0, False),
        (1551, 0, True),
        (599, 0, True),
        (600, 0, False),
        (601, 0, True),
        (1900, 624, True),  # 0.95006
        (1900, 625, False),  # 0.94991
        (1900, -624, True),
        (1900, -625, False),
    ],
)
def test_a_step_in_a_window_at_power_factor_near_one_is_malignant(active_w: int, reactive_var: int, malignant: bool) -> None:
    assert is_malignant(RULE, Step(active_w, reactive_var)) is malignant


def test_a_threshold_is_part_of_what_is_forbidden() -> None:
    rule = replace(RULE, power_factor=600)
    assert is_malignant(rule, Step(1200, 1600))
    assert not is_malignant(replace(rule, power_factor=601), Step(1200, 1600))


@pytest.mark.parametrize(
    ("step", "factor"),
    [(Step(3, 4), 600), (Step(3, -4), 600), (Step(7, 0), 1000), (Step(0, 0), 0), (Step(1, 1), 707), (Step(-3, 4), 0)],
)
def test_the_power_factor_of_a_step(step: Step, factor: int) -> None:
    assert step.factor == factor


def test_a_reading_of_both_powers_is_a_look() -> None:
    assert follow((0, Shown(100, 50)), (10, Shown(100, 50)), (20, Shown(1300, 60)), (30, Shown(200, 50))) == [
        None,
        None,
        Step(1200, 10),
        None,  # switched off
    ]


@pytest.mark.parametrize(("gap_ms", "seen"), [(30_000, True), (30_001, False), (0, True), (-1, False)])
def test_a_step_is_told_where_the_look_before_is_near(gap_ms: int, seen: bool) -> None:
    assert follow((10**6, Shown(100, 0)), (10**6 + gap_ms, Shown(1300, 0)))[1] == (Step(1200, 0) if seen else None)


def test_after_a_gap_the_next_step_is_told_again() -> None:
    assert follow((0, Shown(100, 0)), (40_000, Shown(900, 0)), (41_000, Shown(1300, 0)))[2] == Step(400, 0)


def test_powers_told_one_after_the_other_belong_together_where_the_active_one_stood() -> None:
    assert follow(
        *((0, Shown(1000)), (1_000, Shown(None, 200)), (2_000, Shown(1010))),
        *((3_000, Shown(None, 210)), (4_000, Shown(2210)), (5_000, Shown(None, 220)), (6_000, Shown(2210))),
    ) == [None, None, None, None, None, None, Step(1200, 20)]


@pytest.mark.parametrize(
    ("before_w", "after_w", "steady"),
    [(100, 110, True), (100, 111, False), (100, 89, False), (5000, 5100, True), (5000, 5101, False), (-5000, -5100, True)],
)
def test_how_steady_is_steady(before_w: int, after_w: int, steady: bool) -> None:
    watch = Watch(None, 0, before_w, 7)
    assert watched(watch, Shown(after_w), 5, GAP_MS)[0] == (
        Watch(Look(5, after_w, 7), 5, after_w) if steady else Watch(None, 5, after_w)
    )


def test_a_motor_that_starts_between_two_questions_is_no_heater() -> None:
    """Active power before the start, reactive power behind it, and the other way round."""
    assert follow(
        (0, Shown(100)), (1, Shown(None, 50)), (2, Shown(100)), (3, Shown(1300)), (4, Shown(None, 950)), (5, Shown(1300))
    ) == [
        *(None, None, None, None, None),
        Step(1200, 900),
    ]
    assert follow((0, Shown(100)), (1, Shown(None, 50)), (2, Shown(100)), (3, Shown(None, 50)), (4, Shown(1300))) == [None] * 5


def test_reactive_power_without_active_power_in_front_of_it_is_nothing() -> None:
    assert watched(Watch(), Shown(None, 50), 5, GAP_MS) == (Watch(), None)
    assert watched(Watch(active_w=7, at_ms=3), Shown(), 5, GAP_MS) == (Watch(active_w=7, at_ms=3), None)
    assert watched(Watch(active_w=7, at_ms=3), Shown(None, 50), 5, GAP_MS) == (Watch(None, 3, 7, 50), None)


@pytest.mark.parametrize("at_ms", [30_001, -1])
def test_what_waits_too_long_for_its_other_half_is_forgotten(at_ms: int) -> None:
    look = Look(0, 1, 1)
    assert watched(Watch(look, 0, 100, 50), Shown(None, 60), at_ms, GAP_MS) == (Watch(look, 0), None)
    assert watched(Watch(look, 0, 100, 50), Shown(100), at_ms, GAP_MS) == (Watch(look, at_ms, 100), None)
    near = 30_000
    assert watched(Watch(look, 0, 100, 50), Shown(None, 60), near, GAP_MS) == (Watch(look, 0, 100, 60), None)


def test_what_comes_in_the_same_millisecond_belongs_together() -> None:
    waiting = Watch(Look(9, 1, 1), 10**6, 100, 50)
    assert watched(waiting, Shown(100), 10**6, GAP_MS)[0].last == Look(10**6, 100, 50)
    assert watched(waiting, Shown(100), 10**6 + 1, GAP_MS)[0].last == Look(10**6 + 1, 100, 50)


def test_apparent_power_is_taken_with_the_active_power_in_front_of_it() -> None:
    waiting = Watch(None, 10**6, 300)
    assert watched(waiting, Shown(None, None, 500), 10**6 + 5, GAP_MS)[0] == Watch(None, 10**6, 300, 400)


def test_what_tells_nothing_new_forgets_nothing() -> None:
    waiting = Watch(Look(9, 1, 1), 10**6, 100, 50)
    assert watched(waiting, Shown(), 10**6 + 5, GAP_MS) == (waiting, None)


@pytest.mark.parametrize(
    ("shown", "reactive_var"),
    [
        (Shown(300, None, 500), 400),
        (Shown(300, 7, 500, 600), 7),
        (Shown(500, None, 300), 0),  # rounded apart by the meter
        (Shown(600, None, None, 600), 800),
        (Shown(-600, None, None, -600), 800),
        (Shown(600, None, None, 1000), 0),
    ],
)
def test_reactive_power_from_what_else_is_told(shown: Shown, reactive_var: int) -> None:
    watch, _ = watched(Watch(), shown, 5, GAP_MS)
    assert watch.last is not None and watch.last.reactive_var == reactive_var


@pytest.mark.parametrize("factor", [0, 1001, -1001])
def test_a_power_factor_that_is_none_tells_nothing(factor: int) -> None:
    assert watched(Watch(), Shown(600, None, None, factor), 5, GAP_MS)[0].last is None


@pytest.mark.parametrize("factor", [1, -1])
def test_the_least_power_factor(factor: int) -> None:
    look = watched(Watch(), Shown(1, None, None, factor), 5, GAP_MS)[0].last
    assert look is not None and look.reactive_var == 999


def test_as_it_is_where_nothing_is_said() -> None:
    assert MalignantRule(MalignantMode.ALARM, ()) == MalignantRule(MalignantMode.ALARM, (), 950, (), 60_000, 3)
    assert (Shown(), Watch()) == (Shown(None, None, None, None), Watch(None, 0, None, None))
