"""Rows that nobody looks for at once: a whole batch of them goes in by a few statements, in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.adapters.store.statements import Value

MOST = 1024
"""Rows that wait; more are written at once. A full batch of readings brings about as many."""

Values = tuple[Value, ...]
LaterMark = tuple[list[Values], int]


@dataclass(slots=True)
class Later:
    """Rows of one table. `mark` and `back` go with savepoints: what a failed use case put off is dropped, and what was written
    during it, and is undone with it, waits again."""

    write: Callable[[list[Values]], object]
    rows: list[Values] = field(default_factory=list)

    def add(self, *row: Value) -> None:
        """To be written before the transaction ends."""
        self.rows.append(row)
        if len(self.rows) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Write what waits: before somebody looks for it, and before COMMIT."""
        if self.rows:
            rows, self.rows = self.rows, []
            self.write(rows)

    def mark(self) -> LaterMark:
        """What waits now, to come back to."""
        return self.rows, len(self.rows)

    def back(self, mark: LaterMark) -> None:
        """Only what waited then waits."""
        rows, count = mark
        self.rows = rows[:count]
