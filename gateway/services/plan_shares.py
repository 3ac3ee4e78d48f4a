"""Who gets how much of a line: turns for those who wait, and a small part of the time for what will probably be in vain."""

from __future__ import annotations

from collections.abc import Sequence


class Turns:
    """Queues in the order of their urgency. One that was passed over as often as its patience allows has the next turn.

    Of several such the one that is most over goes first, and then waits again for its whole patience; so a queue waits for at
    most its own patience and one turn of each other (`longest`).
    """

    def __init__(self, patience: Sequence[int]) -> None:
        self._patience = tuple(patience)
        self._passed = [0] * len(patience)

    def longest(self, queue: int) -> int:
        """How many turns others have at most while this queue waits."""
        return self._patience[queue] + len(self._patience) - 1

    def choose(self, waiting: Sequence[int]) -> int:
        """Whose turn it is, of the queues that have something to do, most urgent first; at least one."""
        over, chosen = max((self._passed[queue] - self._patience[queue], -queue) for queue in waiting)
        chosen = -chosen if over >= 0 else waiting[0]
        passed = [0] * len(self._passed)
        for queue in waiting:
            passed[queue] = self._passed[queue] + 1
        passed[chosen] = 0
        self._passed = passed
        return chosen


class Allowance:
    """Keeps what was in vain to one part in `parts` of a line's time."""

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._free_ms = 0

    def free(self, now_ms: int) -> bool:
        """Whether more of it may be tried while other work waits."""
        return now_ms >= self._free_ms

    def spend(self, cost_ms: int, now_ms: int) -> None:
        """Something that took so long was in vain."""
        self._free_ms = now_ms + cost_ms * (self._parts - 1)

    def set_back(self, back_ms: int) -> None:
        """The wall clock was set back by this much."""
        self._free_ms -= back_ms
