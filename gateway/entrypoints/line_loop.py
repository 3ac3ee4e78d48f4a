"""One loop per line: ask the plan, do that one exchange, record it, ask again. Nothing else writes to the line (design.md 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar
from weakref import WeakSet

import structlog

from gateway.domain.jobs import (
    Answered,
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
    ParameterReadJob,
    ParameterWriteJob,
    ReadbackJob,
    ReadJob,
    SwitchJob,
    WalletReadJob,
    WalletWriteJob,
)
from gateway.domain.readings import Reading
from gateway.domain.supply import CommandState, SwitchReading, Verb
from gateway.entrypoints.guests import Busy, Guests, LineGone
from gateway.entrypoints.line_store import LOOK_S, STORE_PAUSE_S, Housekeeping, LineStore, Store, WallClock
from gateway.services.judge_account import wants_confirmation
from gateway.services.meter_orders import finish_sign
from gateway.services.note_line import note_line, note_meter
from gateway.services.plan import LinePlan, Poll, SilenceChange, Wait
from gateway.services.ports import Essential, Site, Tx, Unavailable
from gateway.services.record_reading import record_reading
from gateway.services.run_command import finish_readback, finish_switch, start_command
from gateway.services.see_switch import see_switch

__all__ = ["LOOK_S", "Busy", "Housekeeping", "Line", "LineGone", "LineLoop", "Link", "Listener", "Wake"]

T = TypeVar("T")

CRASH_PAUSE_S = 2.0
CRASH_PAUSE_LONGEST_S = 60.0
"""After an unexpected error the loop goes on, at pauses that double up to this: neither dead nor a flood of log lines."""

MAX_BREAKS = 2
"""Exchanges in a row that lose the line, after which it counts as down although it can be opened."""

UNSTORED = Failed(Fault.SILENT, "what came of it could not be stored, see the gateway's log")
"""In the place of a result that the rules reject: so the command is uncertain and its switch is read, not SENT until a restart."""


INTERRUPTIBLE = (ReadJob, ReadbackJob, HistoryJob, ClockReadJob, WalletReadJob, ParameterReadJob)
"""Orders go between two exchanges of these. Not of an order, nor of a clock that is set, whose bytes say when they were sent."""


class Way(Protocol):
    """Whoever may ask before a job's next question."""

    def waits(self) -> bool: ...
    async def serve(self) -> None: ...


class Line(Protocol):
    """The line's driver as the loop needs it. way: asked before every question whether an order goes first."""

    way: Way | None

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
        self._listeners: WeakSet[asyncio.Event] = WeakSet()  # a loop that has ended is forgotten

    def notify(self) -> None:
        """After a commit that may have written a command."""
        for event in tuple(self._listeners):
            event.set()

    def listener(self) -> Listener:
        """One for each loop; what is notified between two waits is not lost."""
        event = asyncio.Event()
        self._listeners.add(event)
        return Listener(event)


class Listener:
    """One loop's ear."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    @property
    def woken(self) -> bool:
        """Whether there was a notification, which is left to be taken."""
        return self._event.is_set()

    def take(self) -> bool:
        """Whether there was a notification since the last one taken."""
        woken = self._event.is_set()
        self._event.clear()
        return woken

    def call(self) -> None:
        """Notify this one only."""
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Until the next notification, which is left to be taken, or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return


class LineLoop:
    """The loop of one line.

    reads: link of each meter read here. switches: link of each switch here (the meter's own link, or a module's).
    clock_link: broadcasts the time. site: the site as it is at this moment.
    turn: held during a job; whoever takes it finds the line between two jobs, and holds it up.
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
        housekeeping: Housekeeping | None = None,
    ) -> None:
        self.plan = plan
        self.turn = asyncio.Lock()
        self.recorded = 0
        self._line, self._reads, self._switches, self._clock_link = line, reads, switches, clock_link
        self._site, self._clock = site, clock
        self._ear = wake.listener()
        self._log = structlog.get_logger().bind(line=plan.line)
        house = housekeeping or Housekeeping()
        self._store = LineStore(store, plan.line, site, clock, self._log, house, self._rejected, self._ear.call)
        self._guests = Guests()
        self._up: bool | None = None
        self._giving_way: Job | None = None
        self._breaks = 0
        self._pause_s = CRASH_PAUSE_S
        self._away: str | None = None

    @property
    def up(self) -> bool | None:
        """Whether the line carries bytes; None before it was tried."""
        return self._up

    async def run(self) -> None:
        """Until cancelled."""
        self._line.way = self
        try:
            while True:
                try:
                    await self._turn()
                    self._pause_s = CRASH_PAUSE_S if self._store.settled else self._pause_s
                except Unavailable as error:
                    self._store.failed(error)
                    await asyncio.sleep(STORE_PAUSE_S)
                except Exception:
                    self._log.exception("line_loop_error", pause_s=self._pause_s)
                    await asyncio.sleep(self._pause_s)
                    self._pause_s = min(2 * self._pause_s, CRASH_PAUSE_LONGEST_S)
        finally:
            await self._store.settle()
            self._send_guests_away("the line has ended")

    async def guest(self, work: Callable[[], Awaitable[T]], *, search: bool = False) -> T:
        """One exchange on this line for somebody else: `work` runs in the loop's task when its turn comes, as a read on demand, or
        as a search after everything else. Raises Busy, LineGone while the line is down, and what `work` raises."""
        if self._away is not None:
            raise LineGone(self._away)
        self._ear.call()
        return await self._guests.enter(work, search=search)

    def waits(self) -> bool:
        """Whether an order may have come while a job is done that lets it go first."""
        return self._giving_way is not None and self._ear.woken

    async def serve(self) -> None:
        """Orders that go before the next question of the job that is done. Never raises but when cancelled: that job goes on."""
        job, self._giving_way = self._giving_way, None
        if job is None:
            return
        try:
            await self._look()
            while (order := self.plan.interrupt(job, self._clock.now_ms(), self._store.commands)) is not None:
                await self._order(order)
            await self._line.ensure_open()
        except Unavailable as error:
            self._store.failed(error)
        except Exception:
            self._log.exception("line_loop_error", job=type(job).__name__)
        self._giving_way = job

    def change(
        self, polls: Sequence[Poll], reads: Mapping[str, Link], switches: Mapping[str, Link], fresh: Collection[str] = ()
    ) -> None:
        """Go on with these. What stays is not disturbed; fresh: meters behind which another device stands now.

        During a job too: what is read through a link that is gone meanwhile is dropped, what an order did is recorded.
        """
        self.plan.change(polls, self._clock.now_ms(), fresh)
        self._reads, self._switches = reads, switches
        self._store.forget()
        self._ear.call()

    def look_at_clocks(self) -> None:
        """Somebody waits for a clock of this line."""
        self._store.clocks_now()
        self._ear.call()

    async def _turn(self) -> None:
        """One job, or one wait. Raises Unavailable when the store is and nothing can be done without it."""
        self._store.check()
        await self._store.catch_up()
        down = await self._line.ensure_open()
        if down is not None or not self._breaks:
            self._note_line(down)
        if down is not None:
            self._send_guests_away(f"the line is down: {down}")
            await self._expire()
            await asyncio.sleep(self._line.reopen_pause_s)
            return
        async with self.turn:
            await self._look()
            store = self._store
            clock, guests, wallets = store.clock_work, self._guests.jobs, store.wallets
            job = self.plan.next(self._clock.now_ms(), store.commands, store.history, clock, guests, wallets)
            if not isinstance(job, Wait):
                await self._do(job)
            elif await store.settle():  # which may bring something to do
                return
        if isinstance(job, Wait):
            await self._ear.wait(self._wait_s(job))

    async def _look(self) -> None:
        """What waits for the line. Raises Unavailable; then nobody has a turn."""
        try:
            await self._store.look(self._ear.take(), self.plan.reachable)
        except Unavailable:
            self._send_guests_away("the gateway's store cannot be read, and its lines rest until it can")
            raise
        self._away = None

    def _wait_s(self, wait: Wait) -> float:
        left_s = LOOK_S if wait.until_ms is None else (wait.until_ms - self._clock.now_ms()) / 1000
        return min(max(left_s, 0.0), LOOK_S)

    async def _do(self, job: Job) -> None:
        match job:
            case SwitchJob():
                await self._order(job)
            case ControlReadJob(command=command):
                outcome = await self._perform(job, self._reads.get(job.meter))
                now_ms = self._learn(job, outcome)
                await self._store.keep(lambda tx: finish_sign(tx, command, outcome, now_ms), command)
            case ReadbackJob(command=command):
                outcome = await self._perform(job, self._switches.get(job.meter))
                now_ms, site = self._learn(job, outcome), self._site()
                await self._store.keep(lambda tx: finish_readback(tx, command, outcome, site, now_ms), command)
                if isinstance(outcome, Answered) and outcome.reading is not None:
                    await self._record(job.meter, Answered(outcome.reading))
            case ReadJob(meter=meter):
                link = self._link(job)
                outcome = await self._perform(job, link)
                if self._link(job) is link:
                    self._learn(job, outcome)
                    await self._record(meter, outcome)
            case HistoryJob() | ClockReadJob() | ClockSetJob() | ClockJob():
                await self._keep_house(job)
            case WalletReadJob() | WalletWriteJob():
                await self._wallet(job)
            case ParameterReadJob() | ParameterWriteJob():
                await self._setting(job)
            case GuestJob():
                await self._guests.serve(job)

    async def _wallet(self, planned: WalletReadJob | WalletWriteJob) -> None:
        """As an order: durable before the first byte. A look at a wallet may be lost, and is taken again."""
        job: WalletReadJob | WalletWriteJob | None = planned
        if isinstance(planned, WalletWriteJob):
            try:
                job = await self._store.start_wallet(planned)
            except Exception:
                self.plan.put_off(planned.key, self._clock.now_ms())
                raise
        if job is None:
            return
        outcome = await self._perform(job, self._reads.get(job.meter))
        self._learn(job, outcome)
        if isinstance(job, WalletWriteJob):
            self._log.info("wallet_ordered", meter=job.meter, delivery=job.delivery, act=job.act.value, outcome=_words(outcome))
        await self._store.record_wallet(job, outcome, UNSTORED)

    async def _setting(self, job: ParameterReadJob | ParameterWriteJob) -> None:
        """A write is durable before the first byte; what came of it is told by reading it back."""
        if isinstance(job, ParameterWriteJob):
            try:
                wanted = await self._store.start_setting(job)
            except Exception:
                self.plan.put_off(job.key, self._clock.now_ms())
                raise
            if not wanted:
                return
        outcome = await self._perform(job, self._reads.get(job.meter))
        self._learn(job, outcome)
        if isinstance(job, ParameterWriteJob):
            self._log.info("limit_written", meter=job.meter, parameter=job.name, value=job.value, outcome=_words(outcome))
        await self._store.record_setting(job, outcome)

    async def _keep_house(self, job: HistoryJob | ClockReadJob | ClockSetJob | ClockJob) -> None:
        link = self._link(job)
        outcome = await self._perform(job, link)
        if self._link(job) is not link:
            return
        self._learn(job, outcome)
        if isinstance(job, HistoryJob):
            await self._store.record_history(job, outcome)
        else:
            await self._store.record_clock(job, outcome)

    def _link(self, job: ReadJob | HistoryJob | ClockReadJob | ClockSetJob | ClockJob) -> Link | None:
        if isinstance(job, ClockJob):
            return self._clock_link
        separate = isinstance(job, ReadJob) and job.group is Group.SWITCH and job.meter in self._switches
        return self._switches[job.meter] if separate else self._reads.get(job.meter)

    async def _order(self, planned: SwitchJob) -> None:
        """Durable before the first byte; and whatever happens after it reaches the store."""
        now_ms, site = self._clock.now_ms(), self._site()
        try:
            job = await self._store.write(_starting(planned, site, now_ms))
        except Exception:
            self.plan.put_off(planned.command, now_ms)  # one that cannot be started must not hold up the line
            raise
        if job is None:
            return
        links = self._reads if isinstance(job, ControlJob) else self._switches
        outcome = await self._perform(job, links.get(job.meter))
        done_ms = self._learn(job, outcome)
        self._log.info("switch_ordered", meter=job.meter, command=job.command, verb=job.verb.value, outcome=_words(outcome))
        await self._store.keep(
            lambda tx: finish_switch(tx, planned.command, outcome, site, done_ms),
            planned.command,
            lambda tx: finish_switch(tx, planned.command, UNSTORED, site, done_ms),
        )

    async def _perform(self, job: Job, link: Link | None) -> Outcome:
        """What a fault of ours leaves behind is uncertain, never a lost command."""
        if link is None:
            return Failed(Fault.REFUSED, "nothing on this line is configured for this job", certain=True)
        try:
            self._giving_way = job if isinstance(job, INTERRUPTIBLE) else None
            outcome = await link.perform(job)
        except Exception:
            self._log.exception("job_error", job=type(job).__name__)
            return Failed(Fault.REQUEST, "an unexpected error in the gateway, see its log")
        finally:
            self._giving_way = None
        if not (isinstance(outcome, Failed) and outcome.fault is Fault.LINE_DOWN):
            self._breaks = 0
            return outcome
        self._breaks += 1
        if self._breaks >= MAX_BREAKS:
            self._note_line(outcome.text)
        await asyncio.sleep(self._line.reopen_pause_s)
        return outcome

    def _learn(self, job: Job, outcome: Outcome) -> int:
        """Tell the plan; a meter that fell silent or came back becomes an event. The time of it."""
        now_ms = self._clock.now_ms()
        change = self.plan.done(job, outcome, now_ms)
        if change is not None:
            self._note_meter(change, now_ms)
        return now_ms

    async def _record(self, meter: str, outcome: Outcome) -> None:
        """A reading that the store cannot take is lost; the next one carries the register on. Raises Unavailable."""
        if isinstance(outcome, Failed):
            return
        now_ms, site, seen, reading = self._clock.now_ms(), self._site(), outcome.switch, outcome.reading
        if reading is not None:
            await self._store.write_behind(
                lambda tx: _recorded(tx, reading, seen, site, now_ms), lambda unproved: self._note_recorded(meter, unproved)
            )
        elif seen is not None:
            await self._store.write_behind(lambda tx: see_switch(tx, meter, seen, site, now_ms), lambda _: None)

    def _note_recorded(self, meter: str, unproved: bool) -> None:
        """A reading is stored. unproved: one more is wanted to confirm it."""
        self.recorded += 1
        self._pause_s = CRASH_PAUSE_S
        if unproved:
            self.plan.ask(meter, Group.BILLING, self._clock.now_ms())

    async def _expire(self) -> None:
        """While the line is down, commands whose time is over still end. Raises Unavailable."""
        now_ms, site = self._clock.now_ms(), self._site()
        await self._store.look(self._ear.take(), self.plan.reachable)
        for c in self._store.commands:
            if c.state is CommandState.QUEUED and c.expires_ms <= now_ms:
                await self._store.write(lambda tx, c=c: start_command(tx, c.id, site, now_ms))  # type: ignore[misc]

    def _rejected(self, command: str) -> None:
        self.plan.put_off(command, self._clock.now_ms())

    def _send_guests_away(self, why: str) -> None:
        self._away = why
        self._guests.send_away(why)

    def _note_line(self, down: str | None) -> None:
        """One event for each change; a line that works from the start is none."""
        up, before, self._up = down is None, self._up, down is None
        if up is before or (up and before is None):
            return
        text, now_ms = down or "the line carries bytes again", self._clock.now_ms()
        self._log.warning("line_changed", up=up, text=text)
        self._store.note(lambda tx: note_line(tx, self.plan.line, up, text, now_ms))

    def _note_meter(self, change: SilenceChange, now_ms: int) -> None:
        self._log.info("meter_changed", meter=change.meter, silent=change.silent, text=change.text)
        self._store.note(lambda tx: note_meter(tx, change.meter, change.silent, change.text, now_ms))


def _starting(planned: SwitchJob, site: Site, now_ms: int) -> Callable[[Tx], SwitchJob | None]:
    """The start of a command; that of a cut, or of an alarm, needs more room than the reserve (F6)."""
    start = partial(start_command, command_id=planned.command, site=site, now_ms=now_ms)
    return start if planned.verb in (Verb.CUT, Verb.ALARM) else Essential(start)


def _recorded(tx: Tx, reading: Reading, seen: SwitchReading | None, site: Site, now_ms: int) -> bool:
    """Record a reading; whether one more is wanted at once to confirm it."""
    record_reading(tx, reading, seen, site, now_ms)
    return wants_confirmation(tx, reading.meter, now_ms)


def _words(outcome: Outcome) -> str:
    return f"{outcome.fault.value}: {outcome.text}" if isinstance(outcome, Failed) else "acknowledged"
