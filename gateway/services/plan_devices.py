"""The devices of a line: what is read from each and when, who is silent, and what a new configuration leaves of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heapify, heappop, heappush

from gateway.domain.jobs import Answered, Failed, Fault, Group, Outcome, ReadJob

READ_TRIES = 3
"""Fruitless reads in a row before a device counts as silent (dlt645.md 10): urgent work goes between them."""

PROBE_FIRST_MS = 10_000
PROBE_LONGEST_MS = 10 * 60 * 1000
"""A silent device is probed at pauses that double up to this. After garbled bytes they begin anew: it is there."""

STEADY_MS = 10 * 60 * 1000
"""A device that fell silent again so soon after it came back is told as back only when it has answered for so long, and until then
its pauses go on doubling: neither its events nor its time-outs flood anything."""

SLACK = 64
"""Outdated places in a queue of due times beyond one for each read, before it is made anew: it stays of the size of the line."""

_READ_FIRST = (Group.BILLING, Group.SWITCH, Group.INSTANT)


class Condition(StrEnum):
    """How a device is. FAILING: its last read brought nothing, or it was silent too recently to be trusted."""

    ANSWERING = "answering"
    FAILING = "failing"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Poll:
    """What is read regularly from one device, and how often in ms. A separate switch is a device too, under its meter's id."""

    meter: str
    periods_ms: Mapping[Group, int]


@dataclass(frozen=True, slots=True)
class SilenceChange:
    """A device fell silent or came back; `text` is what was seen."""

    meter: str
    silent: bool
    text: str


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device as the plan sees it. since_ms: how long its condition has lasted. silent_since_ms: None while it is not silent.

    failures: fruitless reads in a row. next_ms: its next read, or its next probe while it is silent. overdue_ms: how late that is.
    """

    meter: str
    groups: tuple[Group, ...]
    condition: Condition
    since_ms: int
    silent_since_ms: int | None
    failures: int
    next_ms: int
    overdue_ms: int


@dataclass(eq=False, slots=True)
class _Read:
    """A read that comes round. phase_ms: a moment on its grid."""

    job: ReadJob
    device: _Device
    period_ms: int
    phase_ms: int
    due_ms: int

    def done(self, now_ms: int) -> None:
        """On to the next place of the grid; places that were missed are gone."""
        self.due_ms = now_ms + self.period_ms - (now_ms - self.phase_ms) % self.period_ms

    def come_round(self, period_ms: int, now_ms: int) -> None:
        """Another period, which begins at the next place of its grid at the latest."""
        if period_ms != self.period_ms:
            due_ms, self.period_ms = self.due_ms, period_ms
            self.done(now_ms)
            self.due_ms = min(due_ms, self.due_ms)


@dataclass(eq=False, slots=True)
class _Device:
    """told_ms: since when it is told as silent; back_ms, told_back_ms: when it came back, and was told as back, last."""

    meter: str
    since_ms: int
    order: int = 0
    reads: list[_Read] = field(default_factory=list)
    failures: int = 0
    silent_since_ms: int | None = None
    probe_ms: int = 0
    pause_ms: int = PROBE_FIRST_MS
    told_ms: int | None = None
    back_ms: int = 0
    told_back_ms: int | None = None
    flapping: bool = False

    @property
    def silent(self) -> bool:
        return self.silent_since_ms is not None

    @property
    def condition(self) -> Condition:
        if self.silent_since_ms is not None:
            return Condition.SILENT
        return Condition.FAILING if self.failures or self.told_ms is not None else Condition.ANSWERING

    @property
    def next_ms(self) -> int:
        return self.probe_ms if self.silent else min(read.due_ms for read in self.reads)

    def unheard(self, fault: Fault, text: str, now_ms: int) -> SilenceChange | None:
        self.failures += 1
        if self.failures < READ_TRIES:
            return None
        if fault is Fault.GARBLED:
            self.pause_ms = PROBE_FIRST_MS
        self.probe_ms = now_ms + self.pause_ms
        self.pause_ms = min(2 * self.pause_ms, PROBE_LONGEST_MS)
        if self.silent:
            return None
        self.silent_since_ms = now_ms
        if self.told_ms is not None:
            return None
        self.flapping = self.told_back_ms is not None and now_ms - self.told_back_ms < STEADY_MS
        self.told_ms = now_ms
        return SilenceChange(self.meter, True, text)

    def heard(self, now_ms: int) -> SilenceChange | None:
        self.failures = 0
        if self.silent:
            self.silent_since_ms, self.back_ms = None, now_ms
        if self.told_ms is None:
            self.pause_ms = PROBE_FIRST_MS
            return None
        if self.flapping and now_ms - self.back_ms < STEADY_MS:
            return None
        silent_ms, self.told_ms, self.told_back_ms = now_ms - self.told_ms, None, now_ms
        if not self.flapping:
            self.pause_ms = PROBE_FIRST_MS
        return SilenceChange(self.meter, False, f"it answers again after {silent_ms // 1000} s")

    def state(self, now_ms: int) -> DeviceState:
        groups = tuple(read.job.group for read in self.reads)
        late_ms = max(0, now_ms - self.next_ms)
        return DeviceState(
            self.meter, groups, self.condition, self.since_ms, self.silent_since_ms, self.failures, self.next_ms, late_ms
        )


class Devices:
    """All devices of one line. Built from nothing by `change`, like every later configuration. Times are UTC ms."""

    def __init__(self, polls: Sequence[Poll], start_ms: int) -> None:
        self._devices: list[_Device] = []
        self._of: dict[ReadJob, _Read] = {}
        self._meters: dict[str, _Device] = {}
        self._due: list[tuple[int, int, int, int, _Read]] = []  # with places that are outdated: the read has gone on since
        self._probes: list[tuple[int, int, int, _Device]] = []
        self._places = 0
        self.change(polls, start_ms)

    def __contains__(self, job: ReadJob) -> bool:
        return job in self._of

    def change(self, polls: Sequence[Poll], now_ms: int, anew: Collection[str] = ()) -> None:
        """Read these from now on. What stays keeps its due times and its silence; the rest is forgotten, and what is new is read at
        once. anew: meters behind which another device stands now."""
        old, kept, fresh = self._of, set[int](), list[_Read]()
        self._devices, self._of = [], {}
        for poll in polls:
            jobs = [ReadJob(poll.meter, group) for group in _READ_FIRST if group in poll.periods_ms]
            before = [old[job] for job in jobs if job in old and poll.meter not in anew and id(old[job].device) not in kept]
            device = before[0].device if before else _Device(poll.meter, now_ms)
            kept.add(id(device))
            of_device = {read.job: read for read in before if read.device is device}
            device.order, device.reads = len(self._devices), []
            for job in jobs:
                period_ms = poll.periods_ms[job.group]
                if job in of_device:
                    of_device[job].come_round(period_ms, now_ms)
                    device.reads.append(of_device[job])
                else:
                    fresh.append(_Read(job, device, period_ms, now_ms, now_ms))
                    device.reads.append(fresh[-1])
            if device.reads:
                self._devices.append(device)
                self._of |= {read.job: read for read in device.reads}
        self._meters = {job.meter: read.device for job, read in self._of.items() if job.group is Group.BILLING}
        _spread(fresh)
        self._rebuild()

    def due_read(self) -> tuple[int, ReadJob] | None:
        """The read that is due first, of all devices that are not silent, and when it is due; money first of those due together."""
        while self._due:
            due_ms, _, _, _, read = self._due[0]
            if read.due_ms == due_ms and not read.device.silent:
                return due_ms, read.job
            heappop(self._due)
        return None

    def due_probe(self) -> tuple[int, ReadJob] | None:
        """The probe of a silent device that is due first: its first group, and when it is due."""
        while self._probes:
            probe_ms, _, _, device = self._probes[0]
            if device.probe_ms == probe_ms and device.silent:
                return probe_ms, device.reads[0].job
            heappop(self._probes)
        return None

    def silent(self, job: ReadJob) -> bool:
        """Whether the device that this read asks is silent."""
        return job in self._of and self._of[job].device.silent

    def reachable(self, meter: str) -> bool:
        """Whether a meter's past and its clock may be asked for; else a cheap read decides first. True for one not read here."""
        device = self._meters.get(meter)
        return device is None or not (device.silent or device.failures >= READ_TRIES - 1)

    def read_done(self, job: ReadJob, outcome: Outcome, now_ms: int) -> SilenceChange | None:
        """Learn what came of a read; nothing when it is not read here any more."""
        read = self._of.get(job)
        if read is None or (isinstance(outcome, Failed) and outcome.fault is Fault.LINE_DOWN):
            return None
        device, before = read.device, read.device.condition
        if isinstance(outcome, Failed) and outcome.fault in (Fault.SILENT, Fault.GARBLED):
            change = device.unheard(outcome.fault, outcome.text, now_ms)
        else:
            read.done(now_ms)
            self._push(read)
            asked = not (isinstance(outcome, Failed) and outcome.fault in (Fault.REQUEST, Fault.LATE))
            if not asked:
                device.probe_ms = now_ms + device.pause_ms
            change = self._heard(device, now_ms) if asked else None
        self._moved(device, before, now_ms)
        return change

    def other_done(self, job: ReadJob, outcome: Outcome, now_ms: int) -> SilenceChange | None:
        """Learn what came of anything else that was asked of the device which this read would ask.

        Its silence counts, but a read, which is then due at once, has the last word: some meters say nothing to a question they do
        not know.
        """
        read = self._of.get(job)
        if read is None:
            return None
        device, before, change = read.device, read.device.condition, None
        if isinstance(outcome, Answered) or (outcome.fault is Fault.REFUSED and not outcome.certain):
            change = self._heard(device, now_ms)
        elif outcome.fault is Fault.SILENT and not device.silent:
            device.failures = min(device.failures + 1, READ_TRIES - 1)
            if device.failures == READ_TRIES - 1:
                first = device.reads[0]
                first.due_ms = min(first.due_ms, now_ms)
                self._push(first)
        self._moved(device, before, now_ms)
        return change

    def states(self, now_ms: int) -> tuple[DeviceState, ...]:
        """Every device as it stands, in the order of the configuration."""
        return tuple(device.state(now_ms) for device in self._devices)

    def waiting(self, now_ms: int) -> list[int]:
        """How long each read and probe has been due, in ms."""
        due = [d.probe_ms for d in self._devices if d.silent]
        due += [read.due_ms for d in self._devices if not d.silent for read in d.reads]
        return [now_ms - due_ms for due_ms in due if due_ms <= now_ms]

    def set_back(self, back_ms: int) -> None:
        """The wall clock was set back by this much."""
        for device in self._devices:
            device.probe_ms -= back_ms
            for read in device.reads:
                read.due_ms -= back_ms
        self._rebuild()

    def _heard(self, device: _Device, now_ms: int) -> SilenceChange | None:
        was_silent, change = device.silent, device.heard(now_ms)
        if was_silent:
            for read in device.reads:
                self._push(read)
        return change

    def _moved(self, device: _Device, before: Condition, now_ms: int) -> None:
        if device.condition is not before:
            device.since_ms = now_ms
        if device.silent:
            self._push_probe(device)

    def _push(self, read: _Read) -> None:
        self._places += 1
        heappush(self._due, (read.due_ms, _READ_FIRST.index(read.job.group), read.device.order, self._places, read))
        if len(self._due) > 2 * len(self._of) + SLACK:
            self._rebuild()

    def _push_probe(self, device: _Device) -> None:
        self._places += 1
        heappush(self._probes, (device.probe_ms, device.order, self._places, device))
        if len(self._probes) > 2 * len(self._devices) + SLACK:
            self._rebuild()

    def _rebuild(self) -> None:
        reads = self._of.values()
        self._due = [(r.due_ms, _READ_FIRST.index(r.job.group), r.device.order, n, r) for n, r in enumerate(reads)]
        self._probes = [(d.probe_ms, d.order, d.order, d) for d in self._devices if d.silent]
        heapify(self._due)
        heapify(self._probes)
        self._places = max(self._places, len(reads))


def _spread(fresh: Sequence[_Read]) -> None:
    """What is new is read once, as fast as the line goes; from then on each group evenly over its period."""
    for group in Group:
        reads = [read for read in fresh if read.job.group is group]
        for n, read in enumerate(reads):
            read.phase_ms += read.period_ms * n // len(reads)
