"""One loop per line: ask the plan, do that one exchange, record it, ask again. Nothing else writes to the line (design.md 2)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from gateway.domain.jobs import Answered, ClockJob, Failed, Fault, Group, Job, Outcome, ReadbackJob, ReadJob, SwitchJob
from gateway.domain.readings import Reading
from gateway.domain.supply import Command, CommandState, SwitchReading
from gateway.services.judge_account import wants_confirmation
from gateway.services.note_line import note_line, note_meter
from gateway.services.plan import LinePlan, SilenceChange, Wait
from gateway.services.ports import Site, Tx, Unavailable
from gateway.services.record_reading import record_reading
from gateway.services.run_command import finish_readback, finish_switch, start_command
from gateway.services.see_switch import see_switch

T = TypeVar("T")

LOOK_S = 1.0
"""Commands are looked for in the store at least so often, whoever forgot to wake us."""

STORE_PAUSE_S = 1.0
"""Between two attempts at a store that is not available."""

CRASH_PAUSE_S = 2.0
CRASH_PAUSE_LONGEST_S = 60.0
"""After an unexpected error the loop goes on, at pauses that double up to this: neither dead nor a flood of log lines."""

MAX_NOTES = 256
"""Changes of meters and line that may wait for the store; beyond that the oldest are lost, results of commands never are."""

MAX_BREAKS = 2
"""Exchanges in a row that lose the line, after which it counts as down although it can be opened."""


UNSTORED = Failed(Fault.SILENT, "what came of it could not be stored, see the gateway's log")
"""In the place of a result that the rules reject: so the command is uncertain and its switch is read, not SENT until a restart."""


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class Line(Protocol):
    """The line's driver as the loop needs it."""

    @property
    def reopen_pause_s(self) -> float: ...

    async def ensure_open(self) -> str | None:
        """None when the line carries bytes, else why not."""


class Link(Protocol):
    """One device as the loop needs it; never raises for what line, wire or meter do."""

    async def perform(self, job: Job) -> Outcome: ...


class Wake:
    """Tells every loop that commands may have been written. Used within the event loop's own thread."""

    def __init__(self) -> None:
        self._listeners: list[asyncio.Event] = []

    def notify(self) -> None:
        """After a commit that may have written a command."""
        for event in self._listeners:
            event.set()

    def listener(self) -> Listener:
        """One for each loop; what is notified between two waits is not lost."""
        event = asyncio.Event()
        self._listeners.append(event)
        return Listener(event)


class Listener:
    """One loop's ear."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def take(self) -> bool:
        """Whether there was a notification since the last one taken."""
        woken = self._event.is_set()
        self._event.clear()
        return woken

    async def wait(self, timeout_s: float) -> None:
        """Until the next notification, which is left to be taken, or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return


@dataclass(slots=True)
class _Unstored:
    """A use case that must still reach the store. command: whose result it is; None for a note. instead: for a rejected one."""

    usecase: Callable[[Tx], None]
    command: str | None
    instead: Callable[[Tx], None] | None = None


class LineLoop:
    """The loop of one line.

    reads: link of each meter read here. switches: link of each switch here (the meter's own link, or a module's).
    clock_link: broadcasts the time, if the plan asks for it. site: the site as it is at this moment.
    """

    def __init__(
        self,
        line: Line,
        plan: LinePlan,
        reads: Mapping[str, Link],
        switches: Mapping[str, Link],
        store: Store,
        site: Callable[[], Site],
        clock: WallClock,
        wake: Wake,
        clock_link: Link | None = None,
    ) -> None:
        self.plan = plan
        self._line, self._reads, self._switches, self._clock_link = line, reads, switches, clock_link
        self._store, self._site, self._clock = store, site, clock
        self._ear = wake.listener()
        self._log = structlog.get_logger().bind(line=plan.line)
        self._up: bool | None = None
        self._breaks = 0
        self._store_up = True
        self._store_failed_s = -STORE_PAUSE_S
        self._results: deque[_Unstored] = deque()  # at most one for each switch of the line
        self._notes: deque[_Unstored] = deque(maxlen=MAX_NOTES)
        self._commands: Sequence[Command] | None = None
        self._looked_s = 0.0
        self.recorded = 0

    @property
    def up(self) -> bool | None:
        """Whether the line carries bytes; None before it was tried."""
        return self._up

    async def run(self) -> None:
        """Until cancelled."""
        pause_s = CRASH_PAUSE_S
        while True:
            try:
                await self._turn()
                pause_s = CRASH_PAUSE_S
            except Unavailable as error:
                self._store_down(error)
                await asyncio.sleep(STORE_PAUSE_S)
            except Exception:
                self._log.exception("line_loop_error", pause_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, CRASH_PAUSE_LONGEST_S)

    async def _turn(self) -> None:
        """One job, or one wait. Raises Unavailable when the store is and nothing can be done without it."""
        await self._catch_up()
        down = await self._line.ensure_open()
        if down is not None or not self._breaks:
            self._note_line(down)
        if down is not None:
            await self._expire()
            await asyncio.sleep(self._line.reopen_pause_s)
            return
        job = self.plan.next(self._clock.now_ms(), await self._look())
        if isinstance(job, Wait):
            await self._ear.wait(self._wait_s(job))
            return
        await self._do(job)

    def _wait_s(self, wait: Wait) -> float:
        left_s = LOOK_S if wait.until_ms is None else (wait.until_ms - self._clock.now_ms()) / 1000
        return min(max(left_s, 0.0), LOOK_S)

    async def _look(self) -> Sequence[Command]:
        """The open commands of this line whose results are all stored."""
        now_s = asyncio.get_running_loop().time()
        woken = self._ear.take()
        if self._commands is None or woken or now_s - self._looked_s >= LOOK_S:
            self._commands = await self._store.read(lambda tx: tuple(tx.open_commands(line=self.plan.line)))
            self._looked_s = now_s
        waiting = {unstored.command for unstored in self._results}
        return [c for c in self._commands if c.id not in waiting]

    async def _do(self, job: Job) -> None:
        match job:
            case SwitchJob():
                await self._order(job)
            case ReadbackJob(command=command):
                outcome = await self._perform(job, self._switches.get(job.meter))
                now_ms, site = self._clock.now_ms(), self._site()
                await self._keep(lambda tx: finish_readback(tx, command, outcome, site, now_ms), command)
                if isinstance(outcome, Answered) and outcome.reading is not None:
                    await self._record(job.meter, Answered(outcome.reading))
            case ReadJob(meter=meter, group=group):
                separate = group is Group.SWITCH and meter in self._switches
                outcome = await self._perform(job, self._switches[meter] if separate else self._reads.get(meter))
                self._note_meter(self.plan.done(job, outcome, self._clock.now_ms()))
                await self._record(meter, outcome)
            case ClockJob():
                self.plan.done(job, await self._perform(job, self._clock_link), self._clock.now_ms())

    async def _order(self, planned: SwitchJob) -> None:
        """Durable before the first byte; and whatever happens after it reaches the store."""
        now_ms, site = self._clock.now_ms(), self._site()
        self._commands = None
        try:
            job = await self._write(lambda tx: start_command(tx, planned.command, site, now_ms))
        except Exception:
            self.plan.put_off(planned.command, now_ms)  # one that cannot be started must not hold up the line
            raise
        if job is None:
            return
        outcome = await self._perform(job, self._switches.get(job.meter))
        done_ms = self._clock.now_ms()
        self.plan.done(job, outcome, done_ms)
        self._log.info("switch_ordered", meter=job.meter, command=job.command, verb=job.verb.value, outcome=_words(outcome))
        await self._keep(
            lambda tx: finish_switch(tx, planned.command, outcome, site, done_ms),
            planned.command,
            lambda tx: finish_switch(tx, planned.command, UNSTORED, site, done_ms),
        )

    async def _perform(self, job: Job, link: Link | None) -> Outcome:
        """What a fault of ours leaves behind is uncertain, never a lost command."""
        if link is None:
            return Failed(Fault.REFUSED, "nothing on this line is configured for this job", certain=True)
        try:
            outcome = await link.perform(job)
        except Exception:
            self._log.exception("job_error", job=type(job).__name__)
            return Failed(Fault.REQUEST, "an unexpected error in the gateway, see its log")
        if not (isinstance(outcome, Failed) and outcome.fault is Fault.LINE_DOWN):
            self._breaks = 0
            return outcome
        self._breaks += 1
        if self._breaks >= MAX_BREAKS:
            self._note_line(outcome.text)
        await asyncio.sleep(self._line.reopen_pause_s)
        return outcome

    async def _record(self, meter: str, outcome: Outcome) -> None:
        """A reading that the store cannot take is lost; the next one carries the register on. Raises Unavailable."""
        if isinstance(outcome, Failed):
            return
        now_ms, site, seen, reading = self._clock.now_ms(), self._site(), outcome.switch, outcome.reading
        if reading is not None:
            unproved = await self._write(lambda tx: _recorded(tx, reading, seen, site, now_ms))
            self.recorded += 1
            if unproved:
                self.plan.ask(meter, Group.BILLING, now_ms)
        elif seen is not None:
            await self._write(lambda tx: see_switch(tx, meter, seen, site, now_ms))
        self._commands = None

    async def _keep(self, usecase: Callable[[Tx], None], command: str, instead: Callable[[Tx], None] | None = None) -> None:
        """Store a command's result now, or as soon as the store is back."""
        self._results.append(_Unstored(usecase, command, instead))
        self._commands = None
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Store what waits, results first, as far as the store takes it. What the rules reject is logged, and dropped unless
        something else can be stored in its place."""
        if asyncio.get_running_loop().time() - self._store_failed_s < STORE_PAUSE_S:
            return
        for queue in (self._results, self._notes):
            while queue:
                oldest = queue[0]
                try:
                    await self._write(oldest.usecase)
                except Unavailable as error:
                    self._store_down(error)
                    return
                except Exception:
                    self._log.exception("result_rejected", command=oldest.command)
                    if oldest.instead is not None:
                        queue[0] = _Unstored(oldest.instead, oldest.command)
                        continue
                    if oldest.command is not None:
                        self.plan.put_off(oldest.command, self._clock.now_ms())
                queue.popleft()

    async def _expire(self) -> None:
        """While the line is down, commands whose time is over still end. Raises Unavailable."""
        now_ms, site = self._clock.now_ms(), self._site()
        for c in await self._look():
            if c.state is CommandState.QUEUED and c.expires_ms <= now_ms:
                await self._write(lambda tx, c=c: start_command(tx, c.id, site, now_ms))  # type: ignore[misc]
                self._commands = None

    def _note_line(self, down: str | None) -> None:
        """One event for each change; a line that works from the start is none."""
        up, before, self._up = down is None, self._up, down is None
        if up is before or (up and before is None):
            return
        text, now_ms = down or "the line carries bytes again", self._clock.now_ms()
        self._log.warning("line_changed", up=up, text=text)
        self._notes.append(_Unstored(lambda tx: note_line(tx, self.plan.line, up, text, now_ms), None))

    def _note_meter(self, change: SilenceChange | None) -> None:
        if change is not None:
            now_ms = self._clock.now_ms()
            self._log.info("meter_changed", meter=change.meter, silent=change.silent, text=change.text)
            self._notes.append(_Unstored(lambda tx: note_meter(tx, change.meter, change.silent, change.text, now_ms), None))

    async def _write(self, usecase: Callable[[Tx], T]) -> T:
        value = await self._store.write(usecase)
        if not self._store_up:
            self._log.info("store_available")
        self._store_up = True
        return value

    def _store_down(self, error: Unavailable) -> None:
        if self._store_up:
            self._log.error("store_unavailable", text=str(error))
        self._store_up, self._commands = False, None
        self._store_failed_s = asyncio.get_running_loop().time()


def _recorded(tx: Tx, reading: Reading, seen: SwitchReading | None, site: Site, now_ms: int) -> bool:
    """Record a reading; whether one more is wanted at once to confirm it."""
    record_reading(tx, reading, seen, site, now_ms)
    return wants_confirmation(tx, reading.meter, now_ms)


def _words(outcome: Outcome) -> str:
    return f"{outcome.fault.value}: {outcome.text}" if isinstance(outcome, Failed) else "acknowledged"
