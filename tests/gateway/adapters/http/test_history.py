"""A chart's points: never more than the bound, ends kept, and no value that was not there."""

from __future__ import annotations

import pytest

from gateway.adapters.http.history import thinned


@pytest.mark.parametrize("count", [0, 1, 2, 10, 11, 1_000])
@pytest.mark.parametrize("step_ms", [0, 1, 977])
def test_thinning_keeps_the_ends_and_the_order(count: int, step_ms: int) -> None:
    points = [(1_000_000 + n * step_ms, -n) for n in range(count)]
    kept = thinned(points, most=10)
    assert len(kept) <= 10 and set(kept) <= set(points) and kept == sorted(kept, key=lambda point: -point[1])
    assert kept[:1] == points[:1] and kept[-1:] == points[-1:]


def test_each_span_keeps_its_last_value() -> None:
    points = [(at, at) for at in range(101)]
    assert thinned(points, most=6) == [(0, 0), (24, 24), (49, 49), (74, 74), (99, 99), (100, 100)]
