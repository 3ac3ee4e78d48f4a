"""Sets of sequence numbers as inclusive ranges: millions of numbers, few holes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """Numbers from 1 on, kept as sorted ranges that neither touch nor overlap."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Take in first..last (or first alone)."""
        end = first if last is None else last
        left = bisect_right(self._lasts, first - 2)  # the first range that touches or lies behind
        right = bisect_right(self._firsts, end + 1)
        if left < right:
            first, end = min(first, self._firsts[left]), max(end, self._lasts[right - 1])
        self._firsts[left:right] = [first]
        self._lasts[left:right] = [end]

    def __len__(self) -> int:
        """How many ranges."""
        return len(self._firsts)

    def covers(self, first: int, last: int) -> bool:
        """Whether all of first..last is there."""
        at = bisect_right(self._firsts, first) - 1
        return at >= 0 and last <= self._lasts[at]

    def touches(self, first: int, last: int) -> bool:
        """Whether first..last would grow a range that is there, or be the beginning: it would open no new hole."""
        at = bisect_right(self._lasts, first - 2)
        return first == 1 or (at < len(self._firsts) and self._firsts[at] <= last + 1)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    @property
    def upto(self) -> int:
        """All numbers from 1 to this are there; 0 when 1 is missing."""
        return self._lasts[0] if self._firsts and self._firsts[0] == 1 else 0

    @property
    def top(self) -> int:
        """The highest number; 0 when there is none."""
        return self._lasts[-1] if self._lasts else 0

    def beyond(self, limit: int) -> list[tuple[int, int]]:
        """The ranges above upto, lowest first, at most `limit`."""
        start = 1 if self.upto else 0
        return list(zip(self._firsts[start : start + limit], self._lasts[start : start + limit], strict=True))

    def holes(self, limit: int) -> list[tuple[int, int]]:
        """What is missing below top, lowest first, at most `limit`."""
        found, expected = [], 1
        for first, last in zip(self._firsts[: limit + 1], self._lasts[: limit + 1], strict=True):
            if first > expected:
                found.append((expected, first - 1))
            expected = last + 1
        return found[:limit]
