"""Ranges against a plain set of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.central.ranges import Ranges

ADDED = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)).map(lambda p: (p[0], p[0] + p[1])), max_size=30)


@given(ADDED)
def test_like_a_set(added: list[tuple[int, int]]) -> None:
    ranges, numbers = Ranges(added), {n for a, b in added for n in range(a, b + 1)}
    assert {n for n in range(80) if n in ranges} == numbers
    assert ranges.top == max(numbers, default=0)
    assert ranges.upto == next(n for n in range(80) if n + 1 not in numbers)
    assert {n for a, b in ranges.holes(100) for n in range(a, b + 1)} == set(range(1, ranges.top + 1)) - numbers
    assert {n for a, b in ranges.beyond(100) for n in range(a, b + 1)} == {n for n in numbers if n > ranges.upto}
    parts = list(ranges)
    assert all(b + 1 < c for (_, b), (c, _) in pairwise(parts))


@given(ADDED, st.integers(1, 3))
def test_bounded_answers_are_the_lowest(added: list[tuple[int, int]], limit: int) -> None:
    ranges = Ranges(added)
    assert ranges.holes(limit) == ranges.holes(1000)[:limit]
    assert ranges.beyond(limit) == ranges.beyond(1000)[:limit]


@given(ADDED, st.integers(1, 70), st.integers(0, 6))
def test_covering_and_touching_like_a_set(added: list[tuple[int, int]], first: int, more: int) -> None:
    ranges, numbers, last = Ranges(added), {n for a, b in added for n in range(a, b + 1)}, first + more
    assert ranges.covers(first, last) == numbers.issuperset(range(first, last + 1))
    assert ranges.touches(first, last) == (first == 1 or not numbers.isdisjoint(range(first - 1, last + 2)))
    assert len(ranges) == len(list(ranges))
