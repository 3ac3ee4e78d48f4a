"""What is collected from the meters' own memories, when, and how far that has come: schemes, slots and their tallies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.domain.jobs import Want
from gateway.domain.readings import Quality, Source

WHOLE = 10_000
"""All of it, in hundredths of a percent: targets and completeness are counted in these."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One thing that is collected regularly.

    cron: when it is asked for, in the gateway's zone. window_ms: how long after that it still counts as in time.
    step_ms: between two points of a curve. priority: the smallest is asked for first. retries: tries within the window, at short
    pauses; after those and after the window the pauses grow. target: of WHOLE. meters: what it is collected from, and whence:
    a live reading at the time stands in where a meter keeps nothing itself.
    """

    id: str
    want: Want
    cron: str
    window_ms: int
    step_ms: int
    priority: int
    retries: int
    target: int
    meters: Mapping[str, Source]


class SlotState(StrEnum):
    """Whether a value that should be there has come, or never will."""

    EXPECTED = "expected"
    READ = "read"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that should be there: what a meter took at a moment (UTC ms). A moment belongs to one scheme only.

    source: whence it is expected, then whence it came. late_ms: its window ends then. tries: fruitless questions so far;
    next_ms: no earlier is it asked for again. read_ms, quality: when it was stored, and how far it is trusted; of one expected:
    a single value of it is stored, or (suspect) the meter was once understood to have none.
    """

    meter: str
    want: Want
    at_ms: int
    scheme: str
    line: str
    source: Source
    late_ms: int
    next_ms: int
    retries: int = 0
    state: SlotState = SlotState.EXPECTED
    tries: int = 0
    read_ms: int | None = None
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many slots; expected counts them all, whatever became of them. in_time: those read before their window ended."""

    expected: int = 0
    read: int = 0
    in_time: int = 0
    unavailable: int = 0

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.expected + other.expected,
            self.read + other.read,
            self.in_time + other.in_time,
            self.unavailable + other.unavailable,
        )

    @property
    def complete(self) -> int:
        """The share that was read, of WHOLE, rounded down; nothing expected is all of it."""
        return WHOLE if self.expected <= 0 else max(0, self.read) * WHOLE // self.expected


@dataclass(frozen=True, slots=True)
class Completeness:
    """A scheme's tally on one line for one day of the gateway's zone (ISO date). judged: the target was compared with it."""

    day: str
    scheme: str
    line: str
    tally: Tally
    judged: bool = False
