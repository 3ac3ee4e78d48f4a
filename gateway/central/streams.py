"""What has arrived of each gateway, and what follows: acknowledgements, and requests for what is missing (contract.md 5)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.central.ranges import Ranges
from protocols.uplink.messages import RANGES_LIMIT, Ack, Resend

PATIENCE_S = 60.0
"""A hole at or above `low` is on its way for this long before it is asked for, and between two requests for it (contract.md 5)."""

RANGES_AT_ONCE = min(100, RANGES_LIMIT)
"""Ranges in one ack or request: 2 KiB. The rest is told when the lower ones are closed."""

MOST_RANGES = 10_000
"""Ranges of one stream: live messages before a long backlog make two; a number that would open one more is left with its gateway,
which sends it again when the holes are closed."""

ASKED_BELOW_LOW = 3
"""Requests for a hole that the gateway believes delivered: it keeps such rows for days only, so it may not have them any more."""

Span = tuple[int, int]


@dataclass(slots=True)
class Stream:
    """One gateway's numbers of one epoch. accounted: what needs no delivery any more, stored here or dropped by policy.

    low: the highest `low` it told, the lowest number it still has to deliver. ordinal: which epoch of its gateway it is.
    dropped: whether its gateway named numbers that it dropped.
    """

    accounted: Ranges = field(default_factory=Ranges)
    low: int = 1
    ordinal: int = 1
    dropped: bool = False

    def may_take(self, number: int) -> bool:
        """Whether this number can be stored within MOST_RANGES."""
        return len(self.accounted) < MOST_RANGES or number in self.accounted or self.accounted.touches(number, number)

    def fold(self, dropped: Sequence[Span]) -> bool:
        """Count dropped ranges that touch what is here, until none does; whether any did. Others wait: alone they would only make
        more holes, for a policy that thins out drops nearly every second number."""
        waiting = [span for span in dropped if not self.accounted.covers(*span)]
        grown = False
        while touching := [span for span in waiting if self.accounted.touches(*span)]:
            for span in touching:
                self.accounted.add(*span)
            waiting = [span for span in waiting if not self.accounted.covers(*span)]
            grown = True
        return grown

    def ack(self, epoch: str) -> Ack:
        """What is safe here."""
        return Ack(epoch=epoch, upto=self.accounted.upto, also=tuple(self.accounted.beyond(RANGES_AT_ONCE)))

    def holes(self, limit: int = RANGES_AT_ONCE) -> Iterator[Span]:
        """What is missing; a hole that spans `low` is two, because the gateway treats their halves differently."""
        found = self.accounted.holes(limit)
        if self.low > self.accounted.top + 1 and len(found) < limit:
            found.append((self.accounted.top + 1, self.low - 1))
        for first, last in found:
            if first < self.low <= last:
                yield first, self.low - 1
                yield self.low, last
            else:
                yield first, last


def to_text(ranges: Ranges) -> str:
    """Ranges as they stand in the store."""
    return json.dumps(list(ranges), separators=(",", ":"))


def from_text(text: str) -> Ranges:
    """Ranges out of the store."""
    return Ranges((first, last) for first, last in json.loads(text))


@dataclass(slots=True)
class Hole:
    """A missing range by its first number: since when it begins there, how often it was asked for, whether that was in vain."""

    since: float
    asked: int = 0
    lost: bool = False


@dataclass(slots=True)
class Asking:
    """What is asked for of one stream, and when."""

    holes: dict[int, Hole] = field(default_factory=dict)
    lost: list[Span] = field(default_factory=list)

    def due(self, stream: Stream, now: float) -> list[Span]:
        """The ranges to ask for now; counts them as asked. A hole that shrinks from below is on its way, its time begins anew."""
        due: list[Span] = []
        ranges = list(stream.holes())
        self.holes = {first: self.holes.get(first) or Hole(now) for first, _ in ranges}
        for first, last in ranges:
            hole = self.holes[first]
            delivered = last < stream.low
            if delivered and hole.asked >= ASKED_BELOW_LOW:
                if now - hole.since >= PATIENCE_S and not hole.lost:
                    hole.lost = True
                    self.lost.append((first, last))
                continue
            if now - hole.since >= PATIENCE_S or (delivered and hole.asked == 0):
                hole.since, hole.asked = now, hole.asked + 1
                due.append((first, last))
        return due[:RANGES_AT_ONCE]


Name = tuple[str, str]
"""Gateway and epoch."""


class Asker:
    """Remembers what was asked for. One instance asks; another that takes over begins anew, which costs a minute at most."""

    def __init__(self) -> None:
        self._asking: dict[Name, Asking] = {}

    def requests(self, streams: Mapping[Name, Stream], now: float) -> Iterator[tuple[str, Resend]]:
        """What to ask for now. streams: the newest epoch of each gateway that misses something. now: monotonic seconds."""
        self._asking = {name: self._asking.get(name) or Asking() for name in streams}
        for name, stream in streams.items():
            if ranges := self._asking[name].due(stream, now):
                yield name[0], Resend(epoch=name[1], ranges=tuple(ranges))

    def lost(self) -> dict[Name, list[Span]]:
        """Numbers that were asked for in vain; each told once."""
        found = {name: asking.lost for name, asking in self._asking.items() if asking.lost}
        for asking in self._asking.values():
            asking.lost = []
        return found
