"""How long the centre takes to acknowledge what it was sent."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

BOUNDS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0)
"""Upper bounds of the histogram's classes; what takes longer was not there to be sent to."""

MOST = 1000
"""Batches remembered; older ones are not measured any more. 20,000 rows are 100 of them."""


class Latency:
    """A histogram of rows by the time from handing them over to the centre's acknowledgement. Times are the loop's."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self._open: list[tuple[int, int, int, float]] = []

    def begin(self) -> None:
        """Another connection: what was under way on the last one is not measured."""
        self._open.clear()

    def sent(self, seqs: Sequence[int], now: float) -> None:
        """These rows, in rising order, were handed over."""
        self._open.append((seqs[0], seqs[-1], len(seqs), now))
        del self._open[:-MOST]

    def acknowledged(self, ranges: Iterable[tuple[int, int]], now: float) -> None:
        """The centre has these; a batch counts once its last row is among them."""
        known, left = tuple(ranges), []
        for batch in self._open:
            _, last, count, at = batch
            if any(a <= last <= b for a, b in known):
                self.counts[bisect_left(BOUNDS_S, now - at)] += count
                self.sum_s += (now - at) * count
            else:
                left.append(batch)
        self._open = left
