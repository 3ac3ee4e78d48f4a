"""The system's clock, and the one that tests set."""

from __future__ import annotations

import time

import pytest

from gateway.adapters.clock import Clock
from tests.fakes import SettableClock


def test_the_clock_tells_utc_milliseconds_and_rising_seconds() -> None:
    clock = Clock()
    before, wall, after = time.time(), clock.now_ms(), time.time()
    assert before - 0.001 <= wall / 1000 <= after
    assert clock.monotonic() <= clock.monotonic()


def test_a_settable_clock_stands_passes_and_is_changed() -> None:
    clock = SettableClock(1_000)
    assert (clock.now_ms(), clock.monotonic()) == (1_000, 0)
    clock.advance(1_500)
    assert (clock.now_ms(), clock.monotonic()) == (2_500, 1.5)
    clock.set(7)
    assert (clock.now_ms(), clock.monotonic()) == (7, 1.5)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
