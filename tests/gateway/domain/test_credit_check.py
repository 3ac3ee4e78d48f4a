"""Policies that contradict themselves are refused, each with its reason; the shipped ones and their neighbours are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.credit import DAY_MS, CreditPolicy, CreditState, Step
from gateway.domain.credit_check import LONGEST_DELAY_MS, LONGEST_GRACE_MS, contradictions

S = CreditState
LOW = Step("low", (), S.LOW)
SOUND = CreditPolicy(
    low_micro=20,
    very_low_micro=10,
    cut_micro=-5,
    close_micro=8,
    emergency_micro=5,
    emergency_at_micro=5,
    hoard_micro=100,
    reminding=True,
    grace_ms=DAY_MS,
    trip_delay_ms=1,
    steps=(
        LOW,
        Step("out", (), S.EXHAUSTED, DAY_MS),
        Step("soon", (), S.EXHAUSTED, 5, last=True),
        Step("cut", (), S.CUT, needed=False),
    ),
)


def with_step(**changes: object) -> tuple[Step, ...]:
    return LOW, replace(Step("x", (), S.EXHAUSTED), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"low_micro": -6, "very_low_micro": None, "reminding": False},
            "low must not lie below cut: nobody would be warned before the cut",
        ),
        ({"very_low_micro": 21}, "very_low must not lie above low: warning 2 comes after warning 1"),
        ({"very_low_micro": -5}, "very_low must lie above cut, or no balance is ever very low"),
        ({"hoard_micro": -1}, "hoard must not lie below zero"),
        ({"hoard_micro": 20}, "hoard must lie above low: no top-up could lead out of low"),
        ({"close_micro": 101}, "close must not lie above hoard: no top-up could give supply back"),
        ({"close_micro": 100}, "close must not lie above hoard: no top-up could give supply back"),
        ({"close_micro": 101, "close_inclusive": True}, "close must not lie above hoard: no top-up could give supply back"),
        ({"emergency_micro": -1}, "emergency credit is an amount above zero"),
        ({"emergency_at_micro": -6}, "emergency credit must be offered at cut or above: below it supply is cut already"),
        (
            {"emergency_at_micro": 100},
            "emergency credit must be offered below hoard: no top-up could lead to where it may be taken again",
        ),
        ({"grace_ms": -1}, "the grace lasts from 0 to 366 days"),
        ({"grace_ms": LONGEST_GRACE_MS + 1}, "the grace lasts from 0 to 366 days"),
        ({"trip_delay_ms": -1}, "the trip delay lasts from 0 to 1 day"),
        ({"trip_delay_ms": LONGEST_DELAY_MS + 1}, "the trip delay lasts from 0 to 1 day"),
        ({"friendly": "always"}, "friendly is any or credit"),
        ({"steps": (LOW, LOW)}, "notice low is there twice"),
        ({"steps": ()}, "the notice ladder needs a notice that is needed: nobody is cut unwarned"),
        ({"steps": (replace(LOW, needed=False),)}, "the notice ladder needs a notice that is needed: nobody is cut unwarned"),
        (
            {"steps": (replace(LOW, at=S.EXHAUSTED, last=True),)},
            "the notice ladder needs a notice that is needed: nobody is cut unwarned",
        ),
        ({"steps": with_step(before_ms=-1)}, "notice x: stands before the cut from 0 to 366 days"),
        ({"steps": with_step(before_ms=LONGEST_GRACE_MS + 1)}, "notice x: stands before the cut from 0 to 366 days"),
        ({"steps": with_step(before_ms=LONGEST_DELAY_MS + 1, last=True)}, "notice x: stands before the cut from 0 to 1 day"),
        ({"steps": with_step(at=S.NORMAL)}, "notice x: who is normal is told nothing"),
        ({"steps": with_step(at=S.CUT)}, "notice x: comes after the cut and cannot be needed for it"),
        ({"steps": with_step(at=S.LOW, last=True)}, "notice x: a last notice stands at exhausted"),
        (
            {"steps": with_step(at=S.VERY_LOW), "very_low_micro": None, "reminding": False},
            "notice x: there is no very_low in this policy",
        ),
        (
            {"steps": with_step(at=S.EMERGENCY), "emergency_micro": 0, "cut_micro": 0},
            "notice x: there is neither overdraft nor emergency credit in this policy",
        ),
        ({"very_low_micro": None}, "a reminding cut comes at very_low, which this policy has not"),
    ],
)
def test_each_contradiction_alone(changes: dict[str, object], said: str) -> None:
    assert contradictions(replace(SOUND, **changes)) == (said,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"low_micro": -5, "very_low_micro": None, "reminding": False},
        {"very_low_micro": 20},
        {"very_low_micro": -4},
        {"hoard_micro": 0, "close_micro": 9_999, "emergency_at_micro": 9_999},
        {"hoard_micro": 21},
        {"close_micro": 99},
        {"close_micro": 100, "close_inclusive": True},
        {"close_micro": -99},
        {"emergency_at_micro": -5},
        {"emergency_at_micro": 99},
        {"emergency_micro": 0, "emergency_at_micro": -99},
        {"grace_ms": 0, "trip_delay_ms": 0},
        {"grace_ms": LONGEST_GRACE_MS, "trip_delay_ms": LONGEST_DELAY_MS},
        {"friendly": "credit"},
        {"steps": (LOW,)},
        {"steps": with_step(before_ms=LONGEST_GRACE_MS)},
        {"steps": with_step(before_ms=LONGEST_DELAY_MS, last=True)},
        {"steps": with_step(at=S.EMERGENCY), "emergency_micro": 0},
        {"steps": with_step(at=S.EMERGENCY), "cut_micro": 0},
    ],
)
def test_its_neighbours_are_sound(changes: dict[str, object]) -> None:
    assert contradictions(replace(SOUND, **changes)) == ()  # type: ignore[arg-type]


def test_a_reminding_cut_needs_an_agreement() -> None:
    assert contradictions(SOUND, agreement=False) == ("a reminding cut needs the customer's agreement",)
    assert contradictions(replace(SOUND, reminding=False), agreement=False) == ()


def test_everything_that_is_wrong_is_said() -> None:
    assert len(contradictions(replace(SOUND, very_low_micro=21, grace_ms=-1, friendly="?", steps=()))) == 4
    assert (LONGEST_GRACE_MS, LONGEST_DELAY_MS) == (366 * DAY_MS, DAY_MS)
