"""Reading a histogram of answer times as manner.py counts them: within each of BUCKETS_MS, and one more for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.adapters.lines.manner import BUCKETS_MS


def together(many: Iterable[Sequence[int]]) -> list[int]:
    """All of them as one."""
    whole = [0] * (len(BUCKETS_MS) + 1)
    for counts in many:
        for n, count in enumerate(counts):
            whole[n] += count
    return whole


def quantile_ms(counts: Sequence[int], percent: int) -> int | None:
    """The time within which so many percent of the answers began, read off between its bucket's bounds; None without answers.

    In the last bucket, which has no upper bound, the lower one.
    """
    wanted, seen = sum(counts) * percent / 100, 0
    bounds = (0, *BUCKETS_MS, BUCKETS_MS[-1])
    for n, count in enumerate(counts):
        if count and seen + count >= wanted:
            return round(bounds[n] + (bounds[n + 1] - bounds[n]) * (wanted - seen) / count)
        seen += count
    return None
