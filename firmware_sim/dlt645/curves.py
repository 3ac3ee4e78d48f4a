"""The load profile (06): a ring of records in six classes, and the curves 06 1x made from it (DL/T 645-2007 A.7, B)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from firmware_sim.clockwork import MINUTE_US, local, local_us
from protocols.dlt645.items import Field
from protocols.dlt645.load_profile import CLASSES, GROUPS, CurveItem, LoadRecord, encode_records

DEPTH = 2976  # records: a month of quarters of an hour
MAX_POINTS = 500  # of one curve answer: beyond that the follow-up frames of some masters end
OLDEST, GIVEN, LATEST = 0, 1, 2

Values = tuple[Decimal | None, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One moment: the bytes of each class in wire order, empty where the mode word or the interval leaves it out."""

    clock_us: int
    groups: tuple[bytes, ...]


class Curves:
    """The ring. sample: gives the bytes of one class (0 to 5) at this moment."""

    def __init__(self, sample: Callable[[int], bytes]) -> None:
        self._sample = sample
        self.ring: deque[Record] = deque(maxlen=DEPTH)
        self.version = 0

    def take(self, clock_us: int, mode: int, intervals_min: Sequence[int]) -> None:
        """Record the classes of the mode word whose interval ends at this moment."""
        due = [
            bool(mode >> n & 1) and minutes > 0 and clock_us % (minutes * MINUTE_US) == 0 for n, minutes in enumerate(intervals_min)
        ]
        if any(due):
            self.ring.append(Record(clock_us, tuple(self._sample(n) if wanted else b"" for n, wanted in enumerate(due))))
            self.version += 1

    def blocks(self, group: int, which: int, count: int, when: datetime | None) -> bytes:
        """Load records: group 0 all classes, 1 to 6 one; which: oldest, from a given time, latest. Empty when nothing matches."""
        found = [record for record in self.ring if group == 0 or record.groups[group - 1]]
        return encode_records([_load_record(record, group) for record in _choose(found, which, count, when)])

    def curve(self, item: CurveItem, group: int, places: Sequence[int], count: int, when: datetime | None) -> bytes:
        """One quantity or some of one class from a time on (None: the latest): the time of the first point, then the values."""
        found = [record for record in self.ring if record.groups[group]]
        chosen = _choose(found, LATEST if when is None else GIVEN, min(count, MAX_POINTS), when)
        if not chosen:
            return b""
        values: list[Decimal | datetime | None] = [local(chosen[0].clock_us)]
        for record in chosen:
            point = list(_values(record.groups[group], GROUPS[group]))
            values += [point[place] for place in places]
        return item.write(values)

    def clear(self) -> None:
        """Forget all records."""
        self.ring.clear()
        self.version += 1

    def save(self) -> list[list[object]]:
        """For the history file."""
        return [[record.clock_us, [group.hex() for group in record.groups]] for record in self.ring]

    def restore(self, saved: list[tuple[int, list[str]]]) -> None:
        """Continue from saved records."""
        self.ring.extend(Record(at, tuple(bytes.fromhex(group) for group in groups)) for at, groups in saved)


def _choose(found: list[Record], which: int, count: int, when: datetime | None) -> list[Record]:
    if which == LATEST:
        return found[-count:] if count else []
    if which == GIVEN:
        if when is None:
            return []
        from_us = local_us(when)
        found = [record for record in found if record.clock_us >= from_us]
    return found[:count]


def _load_record(record: Record, group: int) -> LoadRecord:
    wanted = range(CLASSES) if group == 0 else (group - 1,)
    groups = tuple(tuple(_values(data, GROUPS[n])) if data and n in wanted else None for n, data in enumerate(record.groups))
    return LoadRecord(local(record.clock_us), groups)


def _values(data: bytes, fields: tuple[Field, ...]) -> Iterator[Decimal | None]:
    at = 0
    for field in fields:
        value = field.format.decode(data[at : at + field.length])
        yield value if isinstance(value, Decimal) else None
        at += field.length
