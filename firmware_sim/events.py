"""What a meter remembers of events: how often, how long, and the last ten records of each kind.

A record is a table of values by the names that the protocol's items give them: texts of digits, decimals as text, numbers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

DEPTH = 10  # DL/T 645-2007 A.4
MOST = 999_999  # a counter has six digits, and stays there

Record = dict[str, str]


@dataclass(slots=True)
class Kind:
    """One kind of event. records: the latest first. seconds: how long it lasted in all."""

    count: int = 0
    seconds: int = 0
    records: deque[Record] = field(default_factory=lambda: deque(maxlen=DEPTH))


class EventLog:
    """Events by kind; a kind is named by the leading digits of its identifiers (`033000`, `030101`, `1D00`)."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self.version = 0

    def kind(self, name: str) -> Kind:
        """What is known of a kind; an empty one when nothing has happened."""
        return self._kinds.get(name) or Kind()

    def add(self, name: str, record: Record | None = None) -> None:
        """It has happened once more."""
        kind = self._kinds.setdefault(name, Kind())
        kind.count = min(kind.count + 1, MOST)
        if record is not None:
            kind.records.appendleft(record)
        self.version += 1

    def amend(self, name: str, record: Record, seconds: int = 0) -> None:
        """Complete the latest record of a kind, which has ended after so long."""
        kind = self._kinds.setdefault(name, Kind())
        kind.seconds += seconds
        if kind.records:
            kind.records[0] |= record
        self.version += 1

    def clear(self, prefix: str = "", keep: tuple[str, ...] = ()) -> None:
        """Forget the kinds that begin so, but for those to keep."""
        for name in [name for name in self._kinds if name.startswith(prefix) and name not in keep]:
            del self._kinds[name]
        self.version += 1

    def counts(self) -> dict[str, int]:
        """How often each kind has happened."""
        return {name: kind.count for name, kind in sorted(self._kinds.items())}

    def save(self) -> dict[str, list[object]]:
        """For the history file."""
        return {name: [kind.count, kind.seconds, list(kind.records)] for name, kind in self._kinds.items()}

    def restore(self, saved: dict[str, list[object]]) -> None:
        """Continue from a saved log."""
        for name, (count, seconds, records) in saved.items():
            kept = [dict(record) for record in records] if isinstance(records, list) else []
            self._kinds[name] = Kind(int(str(count)), int(str(seconds)), deque(kept, DEPTH))
