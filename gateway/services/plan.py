"""What a line does next: the most urgent job of now, with back-off for the silent and a turn for everybody (design.md 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.domain.jobs import Answered, ClockJob, Failed, Fault, Group, Job, Outcome, ReadbackJob, ReadJob, SwitchJob, Urgency
from gateway.domain.supply import Command, CommandState, Verb

READ_TRIES = 3
"""Fruitless reads in a row before a device counts as silent (dlt645.md 10): urgent work goes between them."""

PROBE_FIRST_MS = 10_000
PROBE_LONGEST_MS = 10 * 60 * 1000
"""A silent device is probed at pauses that double up to this: a hundred dead meters then cost under a fifth of a slow line."""

HOLD_FIRST_MS = 1_000
HOLD_LONGEST_MS = 30_000
"""A command that could not be sent at all is taken up again after pauses that double up to this; its own expiry ends it."""

FAIR_RUN = 4
"""After so many confirmations and reads on demand in a row a due scheduled read has its turn, so that nothing starves."""

MAX_ON_DEMAND = 64
"""Reads on demand that may wait: a minute of a slow line. More is refused rather than answered late."""

CLOCK_PATIENCE_MS = 10 * 60 * 1000
"""A clock broadcast that found no idle moment for so long goes with the scheduled reads; meters drift under 1 s a day."""

_READ_FIRST = (Group.BILLING, Group.SWITCH, Group.INSTANT)


@dataclass(frozen=True, slots=True)
class Poll:
    """What is read regularly from one device, and how often in ms. A separate switch is a device too, under its meter's id."""

    meter: str
    periods_ms: Mapping[Group, int]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until then, as far as is known now. None: nothing at all."""

    until_ms: int | None


@dataclass(frozen=True, slots=True)
class SilenceChange:
    """A device fell silent or came back; `text` is what was seen."""

    meter: str
    silent: bool
    text: str


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device as the plan sees it. silent_since_ms: None while it answers. overdue_ms: how late its next read is, else 0."""

    meter: str
    groups: tuple[Group, ...]
    silent_since_ms: int | None
    failures: int
    next_ms: int
    overdue_ms: int


@dataclass(slots=True)
class _Read:
    """A read that comes round. phase_ms: a moment on its grid."""

    meter: str
    group: Group
    period_ms: int
    phase_ms: int
    due_ms: int

    def done(self, now_ms: int) -> None:
        """On to the next place of the grid; places that were missed are gone."""
        self.due_ms = now_ms + self.period_ms - (now_ms - self.phase_ms) % self.period_ms


@dataclass(slots=True)
class _Device:
    reads: list[_Read]
    failures: int = 0
    silent_since_ms: int | None = None
    probe_ms: int = 0
    pause_ms: int = PROBE_FIRST_MS

    @property
    def next_ms(self) -> int:
        return self.probe_ms if self.silent_since_ms is not None else min(read.due_ms for read in self.reads)


@dataclass(slots=True)
class _Asked:
    at_ms: int
    tries: int = 0


@dataclass(slots=True)
class _Hold:
    until_ms: int = 0
    pause_ms: int = HOLD_FIRST_MS


@dataclass(order=True, slots=True)
class _Candidate:
    """A job that could be done from `at_ms` on; the smallest of the due ones wins."""

    urgency: Urgency
    at_ms: int
    order: int
    job: Job = field(compare=False)


class LinePlan:
    """The plan of one line. Times are UTC ms; when the clock is set back the plan goes back with it.

    polls: what is read regularly; a meter may appear twice with different groups (meter and separate switch).
    clock_every_ms: how often the time is broadcast, None for never.
    """

    def __init__(self, line: str, polls: Sequence[Poll], start_ms: int, clock_every_ms: int | None = None) -> None:
        self.line = line
        self._devices = [_Device(reads) for poll in polls if (reads := _reads(poll, start_ms))]
        self._of = {(read.meter, read.group): (device, read) for device in self._devices for read in device.reads}
        self._spread()
        self._asked: dict[ReadJob, _Asked] = {}
        self._holds: dict[str, _Hold] = {}
        self._clock_every_ms = clock_every_ms
        self._clock_ms = start_ms + (clock_every_ms or 0)
        self._run = 0
        self._seen_ms = start_ms

    def ask(self, meter: str, group: Group, now_ms: int) -> bool:
        """Read this soon. False: it is not read on this line, or too many wait already."""
        job = ReadJob(meter, group)
        if (meter, group) not in self._of or (len(self._asked) >= MAX_ON_DEMAND and job not in self._asked):
            return False
        self._asked.setdefault(job, _Asked(now_ms))
        return True

    def next(self, now_ms: int, commands: Sequence[Command]) -> Job | Wait:
        """The most urgent job of now, or how long there is none. commands: the open ones of this line, oldest first."""
        self._follow(now_ms)
        self._holds = {c.id: self._holds[c.id] for c in commands if c.id in self._holds}
        candidates = [*self._orders(commands), *self._polled(), *self._clock(now_ms)]
        due = [c for c in candidates if c.at_ms <= now_ms]
        if not due:
            return Wait(min((c.at_ms for c in candidates), default=None))
        chosen = min(due)
        if chosen.urgency in (Urgency.CONFIRM, Urgency.ON_DEMAND):
            chosen = self._fair(chosen, due)
        elif chosen.urgency is Urgency.SCHEDULE:
            self._run = 0
        return chosen.job

    def put_off(self, command: str, now_ms: int) -> None:
        """Leave this command alone for a pause that grows with every call, until something is done for it."""
        hold = self._holds.setdefault(command, _Hold())
        hold.until_ms = now_ms + hold.pause_ms
        hold.pause_ms = min(2 * hold.pause_ms, HOLD_LONGEST_MS)

    def done(self, job: Job, outcome: Outcome, now_ms: int) -> SilenceChange | None:
        """Learn what came of a job."""
        match job:
            case ReadJob():
                return self._read_done(job, outcome, now_ms)
            case SwitchJob(command=command):
                if isinstance(outcome, Failed) and outcome.certain:
                    self.put_off(command, now_ms)
                else:
                    self._holds.pop(command, None)
            case ClockJob():
                wait_ms = self._clock_every_ms if isinstance(outcome, Answered) else CLOCK_PATIENCE_MS
                self._clock_ms = now_ms + (wait_ms or 0)
        return None

    def devices(self, now_ms: int) -> tuple[DeviceState, ...]:
        """Every device as it stands, in the order of the configuration."""
        return tuple(
            DeviceState(
                d.reads[0].meter,
                tuple(read.group for read in d.reads),
                d.silent_since_ms,
                d.failures,
                d.next_ms,
                max(0, now_ms - d.next_ms),
            )
            for d in self._devices
        )

    def _spread(self) -> None:
        """At the start everything is read once, as fast as the line goes; from then on each group evenly over its period."""
        for group in Group:
            reads = [read for device in self._devices for read in device.reads if read.group is group]
            for n, read in enumerate(reads):
                read.phase_ms += read.period_ms * n // len(reads)

    def _follow(self, now_ms: int) -> None:
        """A clock that was set back must not stop the line until it has caught up."""
        if (back_ms := self._seen_ms - now_ms) > 0:
            for device in self._devices:
                device.probe_ms -= back_ms
                for read in device.reads:
                    read.due_ms -= back_ms
            for hold in self._holds.values():
                hold.until_ms -= back_ms
            self._clock_ms -= back_ms
        self._seen_ms = now_ms

    def _orders(self, commands: Sequence[Command]) -> Iterator[_Candidate]:
        for n, c in enumerate(commands):
            held_ms = self._holds[c.id].until_ms if c.id in self._holds else None
            if c.state is CommandState.QUEUED:
                urgency = Urgency.CUT if c.verb is Verb.CUT else Urgency.RESTORE
                at_ms = min(c.created_ms, self._seen_ms) if held_ms is None else held_ms
                yield _Candidate(urgency, at_ms, n, SwitchJob(c.meter, c.id, c.verb, c.expires_ms))
            elif c.read_at_ms is not None and c.state is not CommandState.SENT:
                at_ms = min(c.read_at_ms, self._seen_ms) if c.changed_ms > self._seen_ms else c.read_at_ms  # our clock was set back
                yield _Candidate(Urgency.CONFIRM, at_ms if held_ms is None else held_ms, n, ReadbackJob(c.meter, c.id))

    def _polled(self) -> Iterator[_Candidate]:
        for n, (job, asked) in enumerate(self._asked.items()):
            yield _Candidate(Urgency.ON_DEMAND, min(asked.at_ms, self._seen_ms), n, job)
        for device in self._devices:
            reads = device.reads[:1] if device.silent_since_ms is not None else device.reads
            for read in reads:
                at_ms = device.probe_ms if device.silent_since_ms is not None else read.due_ms
                yield _Candidate(Urgency.SCHEDULE, at_ms, _READ_FIRST.index(read.group), ReadJob(read.meter, read.group))

    def _clock(self, now_ms: int) -> Iterator[_Candidate]:
        if self._clock_every_ms is not None:
            late = now_ms - self._clock_ms >= CLOCK_PATIENCE_MS
            yield _Candidate(Urgency.SCHEDULE if late else Urgency.CLOCK, self._clock_ms, 0, ClockJob(self.line))

    def _fair(self, chosen: _Candidate, due: Sequence[_Candidate]) -> _Candidate:
        """Every so often the scheduled read that waits longest goes before another confirmation or demand."""
        waiting = min((c for c in due if c.urgency is Urgency.SCHEDULE), default=None)
        if waiting is not None and self._run >= FAIR_RUN:
            self._run = 0
            return waiting
        self._run += 1
        return chosen

    def _read_done(self, job: ReadJob, outcome: Outcome, now_ms: int) -> SilenceChange | None:
        device, read = self._of[job.meter, job.group]
        if isinstance(outcome, Failed) and outcome.fault in (Fault.SILENT, Fault.GARBLED):
            self._count_demand(job)
            return self._unheard(device, outcome.text, now_ms)
        if isinstance(outcome, Failed) and outcome.fault is Fault.LINE_DOWN:
            return None
        self._asked.pop(job, None)
        read.done(now_ms)
        if isinstance(outcome, Failed) and outcome.fault is Fault.REQUEST:
            device.probe_ms = now_ms + device.pause_ms
            return None
        return self._heard(device, now_ms)

    def _count_demand(self, job: ReadJob) -> None:
        if job in self._asked:
            self._asked[job].tries += 1
            if self._asked[job].tries >= READ_TRIES:
                del self._asked[job]

    def _unheard(self, device: _Device, text: str, now_ms: int) -> SilenceChange | None:
        device.failures += 1
        if device.failures < READ_TRIES:
            return None
        device.probe_ms = now_ms + device.pause_ms
        device.pause_ms = min(2 * device.pause_ms, PROBE_LONGEST_MS)
        if device.silent_since_ms is not None:
            return None
        device.silent_since_ms = now_ms
        return SilenceChange(device.reads[0].meter, True, text)

    def _heard(self, device: _Device, now_ms: int) -> SilenceChange | None:
        device.failures, device.pause_ms = 0, PROBE_FIRST_MS
        if device.silent_since_ms is None:
            return None
        silent_ms = now_ms - device.silent_since_ms
        device.silent_since_ms = None
        return SilenceChange(device.reads[0].meter, False, f"it answers again after {silent_ms // 1000} s")


def _reads(poll: Poll, start_ms: int) -> list[_Read]:
    groups = [group for group in _READ_FIRST if group in poll.periods_ms]
    return [_Read(poll.meter, group, poll.periods_ms[group], start_ms, start_ms) for group in groups]
