"""What has arrived of each gateway, and what follows: acknowledgements, and requests for what is missing (contract.md 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.central.arrivals import Arrival
from gateway.central.ranges import Ranges
from protocols.uplink.messages import RANGES_LIMIT, Ack, Resend

PATIENCE_S = 60.0
"""A hole at or above `low` is on its way for this long before it is asked for, and between two requests for it (contract.md 5)."""

RANGES_AT_ONCE = min(100, RANGES_LIMIT)
"""Ranges in one ack or request: 2 KiB. The rest is told when the lower ones are closed."""

ASKED_BELOW_LOW = 3
"""Requests for a hole that the gateway believes delivered: it keeps such rows for days only, so it may not have them any more."""


@dataclass(slots=True)
class Hole:
    """A missing range by its first number: since when it begins there, and how often it was asked for."""

    since: float
    asked: int = 0


@dataclass(slots=True)
class Stream:
    """One gateway's numbers of one epoch. low: the highest `low` it told, the lowest number it still has to deliver."""

    here: Ranges = field(default_factory=Ranges)
    low: int = 1
    holes: dict[int, Hole] = field(default_factory=dict)

    def ack(self, epoch: str) -> Ack:
        """What is safe here."""
        return Ack(epoch=epoch, upto=self.here.upto, also=tuple(self.here.beyond(RANGES_AT_ONCE)))

    def missing(self, now: float) -> list[tuple[int, int]]:
        """The ranges to ask for now; counts them as asked. A hole that shrinks from below is on its way, its time begins anew."""
        due = []
        ranges = list(self._split())
        self.holes = {first: self.holes.get(first) or Hole(now) for first, _ in ranges}
        for first, last in ranges:
            hole = self.holes[first]
            delivered = last < self.low
            if delivered and hole.asked >= ASKED_BELOW_LOW:
                continue
            if now - hole.since >= PATIENCE_S or (delivered and hole.asked == 0):
                hole.since, hole.asked = now, hole.asked + 1
                due.append((first, last))
        return due

    def _split(self) -> Iterator[tuple[int, int]]:
        """The holes; one that spans `low` is two, because the gateway treats their halves differently."""
        for first, last in self.here.holes(RANGES_AT_ONCE):
            if first < self.low <= last:
                yield first, self.low - 1
                yield self.low, last
            else:
                yield first, last


class Streams:
    """All gateways. `stored` is what the store holds at the start."""

    def __init__(self, stored: Mapping[tuple[str, str], Ranges]) -> None:
        self._streams = {name: Stream(here) for name, here in stored.items()}

    def take(self, arrivals: list[Arrival]) -> dict[str, Ack]:
        """Counts what is now in the store; the acknowledgement for each gateway that sent something, also if only repeats."""
        acks: dict[str, Ack] = {}
        touched: dict[tuple[str, str], Stream] = {}
        for arrival in arrivals:
            stream = touched.setdefault(arrival.stream, self._streams.setdefault(arrival.stream, Stream()))
            stream.here.add(arrival.envelope.seq)
            stream.low = max(stream.low, arrival.envelope.low)
        for (gateway, epoch), stream in touched.items():
            acks[gateway] = stream.ack(epoch)
        return acks

    def missing(self, now: float) -> Iterator[tuple[str, Resend]]:
        """What to ask for now, by gateway. now: monotonic seconds."""
        for (gateway, epoch), stream in self._streams.items():
            if ranges := stream.missing(now):
                yield gateway, Resend(epoch=epoch, ranges=tuple(ranges[:RANGES_AT_ONCE]))
