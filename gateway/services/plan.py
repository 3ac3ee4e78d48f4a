"""What a line does next: the most urgent job of now, with back-off for the silent and a turn for everybody (design.md 2).

Orders go first: what waits to be sent is the very next exchange. All other work waits in queues, in the order of `Queue`. Whoever
waits in one has a turn after at most `LinePlan.longest_wait` turns of the line, however much comes in front of him.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from gateway.domain.jobs import (
    ClockJob,
    ClockReadJob,
    ClockSetJob,
    ControlJob,
    ControlReadJob,
    Failed,
    Fault,
    Group,
    GuestJob,
    HistoryJob,
    Job,
    Outcome,
    OwnJob,
    ParameterReadJob,
    ParameterWriteJob,
    ReadbackJob,
    ReadJob,
    SwitchJob,
    Urgency,
    WalletReadJob,
    WalletWork,
    WalletWriteJob,
    order_job,
)
from gateway.domain.supply import SIGNS, Command, CommandState, Verb
from gateway.services.plan_devices import (
    PROBE_FIRST_MS,
    PROBE_LONGEST_MS,
    READ_TRIES,
    STEADY_MS,
    Condition,
    Devices,
    DeviceState,
    Poll,
    SilenceChange,
)
from gateway.services.plan_shares import Allowance, Turns

__all__ = [
    "PROBE_FIRST_MS",
    "PROBE_LONGEST_MS",
    "READ_TRIES",
    "STEADY_MS",
    "Condition",
    "DeviceState",
    "LinePlan",
    "Poll",
    "Queue",
    "SilenceChange",
    "Wait",
]

HOLD_FIRST_MS = 1_000
HOLD_LONGEST_MS = 30_000
"""A command that could not be sent at all is taken up again after pauses that double up to this; its own expiry ends it."""

COMMAND_RUN = 32
"""Commands in a row, after which one exchange is somebody else's if somebody waits: a burst for all meters of a bus goes out in one
go, and a stream that never ends stops no reading for ever."""

PROBE_PARTS = 25
"""Probes of silent devices take at most one part in so many of a busy line's time, however many are silent."""

RETRY_PARTS = 10
"""The same for commands that could not be sent and for read-backs of silent devices: a first attempt never waits."""

MAX_ON_DEMAND = 64
"""Reads on demand that may wait: a minute of a slow line. More is refused rather than answered late."""


class Queue(IntEnum):
    """Who waits where, below the orders. READS and PAST are both of the schedule."""

    CONFIRM = 0
    ON_DEMAND = 1
    READS = 2
    PAST = 3
    BACKFILL = 4
    SEARCH = 5
    CLOCK = 6


PATIENCE: Mapping[Queue, int] = {
    Queue.CONFIRM: 1,
    Queue.ON_DEMAND: 4,
    Queue.READS: 4,
    Queue.PAST: 7,
    Queue.BACKFILL: 15,
    Queue.SEARCH: 31,
    Queue.CLOCK: 31,
}
"""How often a queue lets more urgent ones go first, in turns that are no command's. Of a line that is too slow for everything,
on-demand reads and the schedule so get a fifth each, the schedule's past an eighth, backfill a sixteenth, search and clock a
thirty-second; what is left goes by urgency."""

_ORDER, _SPARE = -1, len(Queue)
_URGENCY = {Verb.CUT: Urgency.CUT, Verb.RESTORE: Urgency.RESTORE, Verb.ALLOW_CLOSE: Urgency.RESTORE}

_Candidate = tuple[int, int, int, int, Job]
"""Queue, rank in it, since when it is due, order among equals, job. The smallest of those that are due is its queue's next."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until then, as far as is known now. None: nothing at all."""

    until_ms: int | None


@dataclass(slots=True)
class _Asked:
    at_ms: int
    tries: int = 0


@dataclass(slots=True)
class _Hold:
    """meter: the one that could not be reached, None when it was another cause."""

    until_ms: int = 0
    pause_ms: int = HOLD_FIRST_MS
    meter: str | None = None


class LinePlan:
    """The plan of one line. Times are UTC ms; when the clock is set back the plan goes back with it.

    polls: what is read regularly; a meter may appear twice with different groups (meter and separate switch).
    """

    def __init__(self, line: str, polls: Sequence[Poll], start_ms: int) -> None:
        self.line = line
        self._devices = Devices(polls, start_ms)
        self._turns = Turns([PATIENCE[queue] for queue in Queue])
        self._probing, self._retrying = Allowance(PROBE_PARTS), Allowance(RETRY_PARTS)
        self._asked: dict[ReadJob, _Asked] = {}
        self._holds: dict[str, _Hold] = {}
        self._commands: Sequence[Command] = ()
        self._wallets: Sequence[WalletWork] = ()
        self._offered: tuple[Job, ...] = ()
        self._queued: dict[Queue, list[Job]] = {}
        self._since: dict[Job, int] = {}
        self._commands_in_row = 0
        self._seen_ms = start_ms

    @staticmethod
    def longest_wait(queue: Queue) -> int:
        """Turns of the line that pass at most before whoever is first in this queue has his, with commands between all of them."""
        return (Turns([PATIENCE[q] for q in Queue]).longest(queue) + 1) * (COMMAND_RUN + 1)

    def change(self, polls: Sequence[Poll], now_ms: int, anew: Collection[str] = ()) -> None:
        """Poll these from now on: devices that stay keep due times and silence, what is new is read at once, the rest is forgotten.

        anew: meters behind which another device stands now (its address, its profile). Between two turns, and during one too.
        """
        self._devices.change(polls, now_ms, anew)
        self._asked = {job: asked for job, asked in self._asked.items() if job in self._devices}

    def ask(self, meter: str, group: Group, now_ms: int) -> bool:
        """Read this soon. False: it is not read on this line, or too many wait already."""
        job = ReadJob(meter, group)
        if job not in self._devices or (len(self._asked) >= MAX_ON_DEMAND and job not in self._asked):
            return False
        self._asked.setdefault(job, _Asked(now_ms))
        return True

    def reachable(self, meter: str) -> bool:
        """Whether a meter's past and clock would be asked for now: not while it is silent, when a cheap probe decides."""
        return self._devices.reachable(meter)

    def next(
        self,
        now_ms: int,
        commands: Sequence[Command],
        history: Sequence[HistoryJob] = (),
        clock: Sequence[ClockReadJob | ClockSetJob | ClockJob] = (),
        guests: Sequence[GuestJob] = (),
        wallets: Sequence[WalletWork] = (),
    ) -> Job | Wait:
        """The most urgent job of now, or how long there is none.

        commands: the open ones of this line, oldest first. history, clock, guests: what waits to be done, each in its order, until
        the caller leaves it out. wallets: orders for meters' own money, and reads of it, with the time from which each is due.
        """
        self._follow(now_ms)
        self._wallets = [work for work in wallets if work.urgent]
        reads = (work.job for work in wallets if not work.urgent and work.due_ms <= now_ms)
        self._take(commands, (*history, *reads, *clock, *guests), now_ms)
        firsts: dict[int, _Candidate] = {}
        later_ms: int | None = None
        for candidate in self._candidates(now_ms):
            queue, at_ms = candidate[0], candidate[2]
            if at_ms > now_ms:
                later_ms = at_ms if later_ms is None else min(later_ms, at_ms)
            elif queue not in firsts or candidate < firsts[queue]:
                firsts[queue] = candidate
        chosen = self._choose(firsts)
        return Wait(later_ms) if chosen is None else chosen[-1]

    def interrupt(self, job: Job, now_ms: int, commands: Sequence[Command]) -> SwitchJob | None:
        """An order that goes out before the next exchange of a job that is not done yet, None when that exchange has its turn.

        At most COMMAND_RUN of them in a row; a line asks twice for an exchange, before its gap and behind it. A look at a switch
        is not mixed with an order to it: it could not be understood.
        """
        self._follow(now_ms)
        self._take(commands, self._offered, now_ms)
        looked_at = job.meter if isinstance(job, ReadbackJob) or (isinstance(job, ReadJob) and job.group is Group.SWITCH) else None
        orders = sorted(c for c in self._commanded(now_ms) if c[0] == _ORDER and c[2] <= now_ms)
        first = next((order for *_, order in orders if isinstance(order, SwitchJob) and order.meter != looked_at), None)
        self._commands_in_row = 0 if first is None or self._commands_in_row >= COMMAND_RUN else self._commands_in_row + 1
        return first if self._commands_in_row else None

    def put_off(self, command: str, now_ms: int, silent: str | None = None) -> None:
        """Leave this command alone for a pause that grows with every call, until something is done for it, or until the meter comes
        back that was silent."""
        hold = self._holds.setdefault(command, _Hold())
        hold.meter, hold.until_ms = silent, now_ms + hold.pause_ms
        hold.pause_ms = min(2 * hold.pause_ms, HOLD_LONGEST_MS)

    def done(self, job: Job, outcome: Outcome, now_ms: int) -> SilenceChange | None:
        """Learn what came of a job. The time since it was given is what it cost."""
        device = _device(job)
        was_silent = self._devices.silent(device)
        change = self._learn(job, outcome, now_ms)
        if was_silent and not self._devices.silent(device):
            for hold in self._holds.values():
                if hold.meter == device.meter:
                    hold.until_ms = now_ms
        vain = isinstance(outcome, Failed) and outcome.fault in (Fault.SILENT, Fault.GARBLED)
        if vain and isinstance(job, ReadJob) and was_silent:
            self._probing.spend(now_ms - self._seen_ms, now_ms)
        elif vain and isinstance(job, SwitchJob | ReadbackJob | OwnJob):
            self._retrying.spend(now_ms - self._seen_ms, now_ms)
        return change

    def devices(self, now_ms: int) -> tuple[DeviceState, ...]:
        """Every device as it stands, in the order of the configuration."""
        return self._devices.states(now_ms)

    def queues(self, now_ms: int) -> dict[str, tuple[int, int]]:
        """By class of urgency: how much waits, and how long the oldest of it has waited, in ms. As of the last turn."""
        ages: dict[Urgency, list[int]] = {urgency: [] for urgency in Urgency}
        for queue, urgency, at_ms, _, _ in self._commanded(now_ms):
            if at_ms <= now_ms:
                ages[Urgency.CONFIRM if queue == Queue.CONFIRM else Urgency(urgency)].append(now_ms - at_ms)
        ages[Urgency.ON_DEMAND] = [now_ms - asked.at_ms for asked in self._asked.values()]
        ages[Urgency.SCHEDULE] = self._devices.waiting(now_ms)
        for queue, jobs in self._queued.items():
            ages[_CLASS[queue]] += [now_ms - self._since[job] for job in jobs]
        return {urgency.name.lower(): (len(found), max(found, default=0)) for urgency, found in ages.items()}

    def _follow(self, now_ms: int) -> None:
        """A clock that was set back must not stop the line until it has caught up."""
        if (back_ms := self._seen_ms - now_ms) > 0:
            self._devices.set_back(back_ms)
            self._probing.set_back(back_ms)
            self._retrying.set_back(back_ms)
            self._since = {job: at_ms - back_ms for job, at_ms in self._since.items()}
            for waiting in self._asked.values():
                waiting.at_ms -= back_ms
            for hold in self._holds.values():
                hold.until_ms -= back_ms
        self._seen_ms = now_ms

    def _take(self, commands: Sequence[Command], offered: tuple[Job, ...], now_ms: int) -> None:
        if self._holds:
            waiting = {*(c.id for c in commands), *(work.job.key for work in self._wallets)}
            self._holds = {key: hold for key, hold in self._holds.items() if key in waiting}
        self._commands = commands
        if offered != self._offered:
            self._offered = offered
            self._since = {job: self._since.get(job, now_ms) for job in offered}
            self._queued = {}
            for job in self._since:
                self._queued.setdefault(_queue(job), []).append(job)

    def _choose(self, firsts: Mapping[int, _Candidate]) -> _Candidate | None:
        waiting = [queue for queue in Queue if queue in firsts]
        if _ORDER in firsts and (not waiting or self._commands_in_row < COMMAND_RUN):
            self._commands_in_row = self._commands_in_row + 1 if waiting else 0
            return firsts[_ORDER]
        self._commands_in_row = 0
        return firsts[self._turns.choose(waiting)] if waiting else firsts.get(_SPARE)

    def _candidates(self, now_ms: int) -> Iterator[_Candidate]:
        yield from self._commanded(now_ms)
        for read, asked in self._asked.items():
            yield Queue.ON_DEMAND, 0, asked.at_ms, 0, read
            break
        if (due := self._devices.due_read()) is not None:
            yield Queue.READS, 0, due[0], 0, due[1]
        if (probe := self._devices.due_probe()) is not None:
            yield (Queue.READS if self._probing.free(now_ms) else _SPARE), 0, probe[0], 1, probe[1]
        for queue, jobs in self._queued.items():
            for job in jobs:
                if self._reachable(job):
                    yield queue, 0, self._since[job], 1, job
                    break

    def _commanded(self, now_ms: int) -> Iterator[_Candidate]:
        """Orders with their urgency, and read-backs; what will probably be in vain only as far as its share of the line allows."""
        free = self._retrying.free(now_ms)
        for n, c in enumerate(self._commands):
            held_ms = self._holds[c.id].until_ms if c.id in self._holds else None
            if c.state is CommandState.QUEUED:
                queue = _ORDER if free or held_ms is None else _SPARE
                at_ms = min(c.created_ms, self._seen_ms) if held_ms is None else held_ms
                yield queue, _URGENCY.get(c.verb, Urgency.COMMAND), at_ms, n, order_job(c)
            elif c.read_at_ms is not None and c.state is not CommandState.SENT:
                look = (ControlReadJob if c.verb in SIGNS else ReadbackJob)(c.meter, c.id)
                vain = not free and self._devices.silent(_device(look))
                at_ms = min(c.read_at_ms, self._seen_ms) if c.changed_ms > self._seen_ms else c.read_at_ms  # our clock was set back
                at_ms = at_ms if held_ms is None else held_ms
                yield (_SPARE if vain else Queue.CONFIRM), Urgency.CONFIRM, at_ms, n, look
        for n, work in enumerate(self._wallets):
            held = self._holds.get(work.job.key)
            vain = not free and (held is not None or self._devices.silent(ReadJob(work.job.meter, Group.BILLING)))
            at_ms = max(work.due_ms, held.until_ms) if held is not None else work.due_ms
            yield (_SPARE if vain else _ORDER), Urgency.COMMAND, at_ms, n, work.job

    def _reachable(self, job: Job) -> bool:
        return not isinstance(job, HistoryJob | ClockReadJob | ClockSetJob | WalletReadJob) or self._devices.reachable(job.meter)

    def _learn(self, job: Job, outcome: Outcome, now_ms: int) -> SilenceChange | None:
        match job:
            case ReadJob():
                self._count_demand(job, outcome)
                return self._devices.read_done(job, outcome, now_ms)
            case SwitchJob(command=command) if isinstance(outcome, Failed) and outcome.certain:
                self.put_off(command, now_ms, silent=job.meter if outcome.fault is Fault.SILENT else None)
            case SwitchJob(command=command):
                self._holds.pop(command, None)
            case WalletReadJob() | WalletWriteJob() | ParameterReadJob() | ParameterWriteJob() if isinstance(outcome, Failed):
                self.put_off(job.key, now_ms, silent=job.meter if outcome.fault is Fault.SILENT else None)
            case WalletReadJob() | WalletWriteJob() | ParameterReadJob() | ParameterWriteJob():
                self._holds.pop(job.key, None)
        if isinstance(job, SwitchJob | ReadbackJob | HistoryJob | OwnJob):
            return self._devices.other_done(_device(job), outcome, now_ms)
        return None  # a clock or a guest says nothing about a meter: what keeps house never raises a meter's fault

    def _count_demand(self, job: ReadJob, outcome: Outcome) -> None:
        """A read on demand is over when it was answered, refused, impossible or fruitless often enough."""
        if (asked := self._asked.get(job)) is None or (isinstance(outcome, Failed) and outcome.fault is Fault.LINE_DOWN):
            return
        asked.tries += 1
        vain = isinstance(outcome, Failed) and outcome.fault in (Fault.SILENT, Fault.GARBLED)
        if not vain or asked.tries >= READ_TRIES:
            del self._asked[job]


_CLASS = {
    Queue.ON_DEMAND: Urgency.ON_DEMAND,
    Queue.PAST: Urgency.SCHEDULE,
    Queue.BACKFILL: Urgency.BACKFILL,
    Queue.SEARCH: Urgency.SEARCH,
    Queue.CLOCK: Urgency.CLOCK,
}


def _queue(job: Job) -> Queue:
    """Where something waits that the caller offers."""
    match job:
        case HistoryJob():
            return Queue.BACKFILL if job.backfill else Queue.PAST
        case GuestJob():
            return Queue.SEARCH if job.search else Queue.ON_DEMAND
        case WalletReadJob():
            return Queue.PAST
    return Queue.CLOCK


def _device(job: Job) -> ReadJob:
    """A read of the device that this job asks: a switch may be another device than its meter."""
    match job:
        case ReadJob():
            return job
        case ControlJob(meter=meter) | ControlReadJob(meter=meter):
            return ReadJob(meter, Group.BILLING)
        case SwitchJob(meter=meter) | ReadbackJob(meter=meter):
            return ReadJob(meter, Group.SWITCH)
        case HistoryJob(meter=meter) | ClockReadJob(meter=meter) | ClockSetJob(meter=meter):
            return ReadJob(meter, Group.BILLING)
        case WalletReadJob() | WalletWriteJob() | ParameterReadJob() | ParameterWriteJob():
            return ReadJob(job.meter, Group.BILLING)
    return ReadJob("", Group.BILLING)
