"""What a line is asked to do next, and what came of it: the words between the rules and the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from gateway.domain.readings import Reading
from gateway.domain.signs import SignsSeen
from gateway.domain.supply import SIGNS, Command, SwitchReading, Verb
from gateway.domain.wallets import Act, CountSeen


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


class Want(StrEnum):
    """What a meter keeps of its past: registers of each day's and each month's end, a curve, records of events."""

    DAY = "day"
    MONTH = "month"
    CURVE = "curve"
    EVENTS = "events"


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
class ControlJob(SwitchJob):
    """Send one control frame that moves no switch (supply.SIGNS), to the meter itself."""


@dataclass(frozen=True, slots=True)
class ControlReadJob(ReadbackJob):
    """Read what the meter itself shows, to learn what a ControlJob did."""


def order_job(command: Command) -> SwitchJob:
    """What sends this command."""
    kind = ControlJob if command.verb in SIGNS else SwitchJob
    return kind(command.meter, command.id, command.verb, command.expires_ms)


@dataclass(frozen=True, slots=True)
class HistoryJob:
    """Fetch what a meter took between two moments (UTC ms, both inclusive). backfill: its window is over, so it may wait."""

    meter: str
    want: Want
    from_ms: int
    to_ms: int
    backfill: bool = False


@dataclass(frozen=True, slots=True)
class ClockReadJob:
    """Read a meter's clock and compare it with ours."""

    meter: str


@dataclass(frozen=True, slots=True)
class ClockSetJob:
    """Write a meter's clock: date and time, guarded by its password. The link asks for the time when it sends."""

    meter: str


@dataclass(frozen=True, slots=True)
class ClockJob:
    """Broadcast the time on a line; nobody answers."""

    line: str


@dataclass(frozen=True, slots=True)
class GuestJob:
    """One exchange for a person at a tool. number: which of those that wait; search: it may wait for everything else."""

    number: int
    search: bool = False


@dataclass(frozen=True, slots=True)
class WalletReadJob:
    """Read a meter's wallet, with its registers in front of it and behind it.

    count: the purchase whose record is wanted; limits: also the most that it may hold. delivery: the one that waits for it, empty
    where it is only the schedule.
    """

    meter: str
    delivery: str = ""
    count: int | None = None
    limits: bool = False

    @property
    def key(self) -> str:
        """Under which it is put off."""
        return f"wallet:{self.meter}"


@dataclass(frozen=True, slots=True)
class WalletWriteJob:
    """Put money into a meter's wallet, or take it out. fen: hundredths. count: the purchase count that it makes.

    customer: 12 digits, empty where the meter's own must be known. order_ms: makes the order number of meters without a chip.
    opening: as the first purchase, which opens the account.
    """

    meter: str
    delivery: str
    act: Act
    fen: int
    count: int
    customer: str
    order_ms: int
    opening: bool = False

    @property
    def key(self) -> str:
        """Under which it is put off."""
        return self.delivery


@dataclass(frozen=True, slots=True)
class ParameterReadJob:
    """Read the parameters of a meter that hold limits. values: by name, what is wanted of each in its own least unit."""

    meter: str
    values: tuple[tuple[str, int], ...]

    @property
    def key(self) -> str:
        """Under which it is put off."""
        return f"parameters:{self.meter}"


@dataclass(frozen=True, slots=True)
class ParameterWriteJob:
    """Write one of them, guarded by the meter's password."""

    meter: str
    name: str
    value: int

    @property
    def key(self) -> str:
        """Under which it is put off."""
        return f"parameters:{self.meter}"


OwnJob = WalletReadJob | WalletWriteJob | ParameterReadJob | ParameterWriteJob
"""What concerns a meter's own money and limits."""


@dataclass(frozen=True, slots=True)
class WalletWork:
    """Work on a meter's own money or limits, and since when it is due (UTC ms). urgent: an order of somebody's; else it is of the
    schedule."""

    job: OwnJob
    due_ms: int
    urgent: bool


Job = ReadJob | SwitchJob | ReadbackJob | HistoryJob | ClockReadJob | ClockSetJob | ClockJob | GuestJob | OwnJob


@dataclass(frozen=True, slots=True)
class ClockSeen:
    """A meter's clock minus ours in ms at `at_ms` (UTC ms), measured to within `within_ms` (half the round trip and one step)."""

    offset_ms: int
    within_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class WalletSeen:
    """A wallet as it was read. remaining, overdrawn: hundredths as shown, one of them 0. hoarding: the same, None where not read.

    before, after: the registers in front of it and behind it, None where they did not come.
    """

    remaining: int
    overdrawn: int
    count: CountSeen
    at_ms: int
    before: Reading | None = None
    after: Reading | None = None
    hoarding: int | None = None


@dataclass(frozen=True, slots=True)
class ParametersSeen:
    """The bytes of parameters as they were read, and as those that are wanted would be written: hex in wire order, by name, ""
    where the meter has no such parameter."""

    seen: Mapping[str, str]
    target: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One record from a meter's own event memory. kind: the protocol's name of it; times in UTC ms, None where it has none."""

    meter: str
    kind: str
    start_ms: int | None
    end_ms: int | None
    detail: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answered:
    """The meter answered. A read brings `reading` and, where the group tells it, `switch`; a control frame brings as `switch` the
    load that was seen right in front of it, where only load proves anything.

    history: what a HistoryJob brought, oldest first, each with its `taken_ms`; records: event records, each once.
    clock: what a ClockReadJob saw. wallet: what a WalletReadJob saw. parameters: what a ParameterReadJob did. signs: what a
    ControlReadJob did.
    """

    reading: Reading | None = None
    switch: SwitchReading | None = None
    history: tuple[Reading, ...] = ()
    records: tuple[EventRecord, ...] = ()
    clock: ClockSeen | None = None
    wallet: WalletSeen | None = None
    parameters: ParametersSeen | None = None
    signs: SignsSeen | None = None


class Fault(StrEnum):
    """Why there is no answer, by who is at fault. LATE: nobody; its time was over before its first byte could leave."""

    SILENT = "silent"
    GARBLED = "garbled"
    REFUSED = "refused"
    LINE_DOWN = "line_down"
    REQUEST = "request"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Failed:
    """The exchange brought nothing usable. `certain`: nothing can have reached the meter (the line was down, we could not ask)."""

    fault: Fault
    text: str
    certain: bool = False


Outcome = Answered | Failed
