"""What a line is asked to do next, and what came of it: the words between the rules and the wire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from gateway.domain.readings import Reading
from gateway.domain.supply import SwitchReading, Verb


class Urgency(IntEnum):
    """The classes of work on a line, most urgent first (design.md 2)."""

    RESTORE = 0
    CUT = 1
    COMMAND = 2
    CONFIRM = 3
    ON_DEMAND = 4
    SCHEDULE = 5
    BACKFILL = 6
    SEARCH = 7
    CLOCK = 8


class Group(StrEnum):
    """What is read together in one exchange; a meter's profile says with which frames."""

    BILLING = "billing"
    INSTANT = "instant"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class ReadJob:
    """Read one group of a meter."""

    meter: str
    group: Group


@dataclass(frozen=True, slots=True)
class SwitchJob:
    """Send one control frame. expires_ms: UTC; the link turns it into the meter's own clock."""

    meter: str
    command: str
    verb: Verb
    expires_ms: int


@dataclass(frozen=True, slots=True)
class ReadbackJob:
    """Read a switch back to learn what a command did."""

    meter: str
    command: str


@dataclass(frozen=True, slots=True)
class ClockJob:
    """Broadcast the time on a line; nobody answers."""

    line: str


Job = ReadJob | SwitchJob | ReadbackJob | ClockJob


@dataclass(frozen=True, slots=True)
class Answered:
    """The meter answered. A read brings `reading` and, where the group tells it, `switch`; a control frame brings neither."""

    reading: Reading | None = None
    switch: SwitchReading | None = None


class Fault(StrEnum):
    """Why there is no answer, by who is at fault."""

    SILENT = "silent"
    GARBLED = "garbled"
    REFUSED = "refused"
    LINE_DOWN = "line_down"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Failed:
    """The exchange brought nothing usable. `certain`: nothing can have reached the meter (the line was down, we could not ask)."""

    fault: Fault
    text: str
    certain: bool = False


Outcome = Answered | Failed
