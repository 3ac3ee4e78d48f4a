"""The store as one line's loop sees it: what waits for the line, and results that wait while the store is away."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from gateway.domain.clocks import VERIFY_MS, is_off
from gateway.domain.jobs import (
    Answered,
    ClockJob,
    ClockReadJob,
    ClockSetJob,
    HistoryJob,
    Outcome,
    ParameterReadJob,
    ParameterWriteJob,
    WalletReadJob,
    WalletWork,
    WalletWriteJob,
)
from gateway.domain.supply import Command, CommandState
from gateway.services.ports import Essential, Site, Tx, Unavailable

T = TypeVar("T")
J = TypeVar("J")

LOOK_S = 1.0
"""Commands are looked for in the store so often after something was written, whoever forgot to wake us."""

LOOK_ANYWAY_S = 30.0
"""And so often when nothing was, as far as this process knows: 128 idle lines would else cost 5 % of a core."""

PAST_LOOK_S = 5.0
PAST_AHEAD = 32
"""How often, and how much of the past that is due is looked for; sooner when all that was found is done. Its windows are hours."""

PAST_MOST = 2048
"""As far as is looked beyond what silent meters miss, so that they hide nobody: a few days of a full line of them."""

PAST_REJECTED_S = 600.0
"""How long a fetch is left alone whose result the rules rejected: it stays due, and would hold up the line for ever."""

CLOCK_LOOK_S = 60.0
CLOCK_TOLD_S = VERIFY_MS / 1000 + 1
CLOCK_AHEAD = 32
"""The same for clocks: meters drift under 1 s a day, and 1,000 of them are through in half an hour. One that is off is
gone on with at once, one that was told the time when it may be read back."""

WALLET_LOOK_S = 30.0
"""How often work on wallets is looked for; at once when anybody has told us that something was written."""

STORE_PAUSE_S = 1.0
"""Between two attempts at a store that is not available."""

MAX_NOTES = 256
"""Changes of meters and line that may wait for the store; beyond that the oldest are lost, results of commands never are."""

ClockWork = ClockReadJob | ClockSetJob | ClockJob
_Sought = tuple[tuple[J, ...], Exception | None]


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


class Store(Protocol):
    """Raises ports.Unavailable."""

    @property
    def written(self) -> int:
        """Grows with all that is written."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What a line does besides reading and switching, as use cases; by default nothing.

    due_history: what is missing of the meters' past, most important first, at most so many. due_clock: which clocks are to be
    looked at or set now. The others take what came of it, failures too. due_wallets: what waits for meters' own money; start_wallet
    marks an order as sent, durably, and gives it as it is sent now, None where it is not.
    """

    due_history: Callable[[Tx, str, int, int], Sequence[HistoryJob]] = lambda tx, line, now_ms, limit: ()
    record_history: Callable[[Tx, HistoryJob, Outcome, Site, int], None] = lambda tx, job, outcome, site, now_ms: None
    due_clock: Callable[[Tx, str, Site, int], Sequence[ClockWork]] = lambda tx, line, site, now_ms: ()
    record_clock: Callable[[Tx, ClockWork, Outcome, Site, int], None] = lambda tx, job, outcome, site, now_ms: None
    due_wallets: Callable[[Tx, str, int], Sequence[WalletWork]] = lambda tx, line, now_ms: ()
    start_wallet: Callable[[Tx, str, int], WalletWriteJob | None] = lambda tx, delivery, now_ms: None
    finish_wallet: Callable[[Tx, str, Outcome, int], None] = lambda tx, delivery, outcome, now_ms: None
    record_wallet: Callable[[Tx, WalletReadJob, Outcome, Site, int], None] = lambda tx, job, outcome, site, now_ms: None
    due_settings: Callable[[Tx, str, int], Sequence[WalletWork]] = lambda tx, line, now_ms: ()
    start_setting: Callable[[Tx, ParameterWriteJob, int], bool] = lambda tx, job, now_ms: False
    record_setting: Callable[[Tx, ParameterReadJob | ParameterWriteJob, Outcome, int], None] = lambda tx, job, outcome, now_ms: None


@dataclass(slots=True)
class _Unstored:
    """A use case that must still reach the store. command: whose result it is; None for a note. instead: for a rejected one."""

    usecase: Callable[[Tx], None]
    command: str | None
    instead: Callable[[Tx], None] | None = None


class LineStore:
    """What waits for one line, never older than LOOK_S; and its results, which wait here as long as the store is away.

    rejected: told of a command whose result the rules do not take. news: told that what was written behind brought an order.
    """

    def __init__(
        self,
        store: Store,
        line: str,
        site: Callable[[], Site],
        clock: WallClock,
        log: FilteringBoundLogger,
        housekeeping: Housekeeping,
        rejected: Callable[[str], None],
        news: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._line, self._site, self._clock, self._log = store, line, site, clock, log
        self._housekeeping, self._rejected, self._news = housekeeping, rejected, news
        self._behind: asyncio.Task[None] | None = None  # one: what came of a question is kept before the next but one is asked
        self._behind_error: Exception | None = None
        self._wrote = 0
        self._up = True
        self._failed_s = -STORE_PAUSE_S
        self._results: deque[_Unstored] = deque()  # at most one for each switch of the line
        self._notes: deque[_Unstored] = deque(maxlen=MAX_NOTES)
        self._commands: tuple[Command, ...] | None = None
        self._looked_s = 0.0
        self._seen = -1
        self.history: tuple[HistoryJob, ...] = ()
        self.clock_work: tuple[ClockWork, ...] = ()
        self._history_more = False
        self._history_again_s = self._clock_again_s = 0.0
        self._wallets: tuple[WalletWork, ...] = ()
        self._wallets_again_s = 0.0
        self._left_alone: dict[HistoryJob, float] = {}

    @property
    def commands(self) -> Sequence[Command]:
        """The open commands of this line whose results are all stored."""
        waiting = {unstored.command for unstored in self._results}
        return [c for c in self._commands or () if c.id not in waiting]

    @property
    def wallets(self) -> Sequence[WalletWork]:
        """What waits for meters' own money, as far as all results are stored."""
        waiting = {unstored.command for unstored in self._results}
        return [work for work in self._wallets if work.job.key not in waiting]

    async def look(self, woken: bool, reachable: Callable[[str], bool]) -> None:
        """Look for what is unknown or too old, in one read. reachable: whether a meter's past can be had. Raises Unavailable."""
        now_s, now_ms, site = asyncio.get_running_loop().time(), self._clock.now_ms(), self._site()
        nothing_left = self._history_more and not any(reachable(job.meter) for job in self.history)
        past = nothing_left or now_s >= self._history_again_s
        clock = now_s >= self._clock_again_s
        wallet = woken or now_s >= self._wallets_again_s
        look_s = LOOK_ANYWAY_S if self._store.written == self._seen else LOOK_S
        if not (past or clock or wallet or self._commands is None or now_s - self._looked_s >= look_s):
            return
        seen = self._store.written
        beyond = sum(not reachable(job.meter) for job in self.history) + len(self._left_alone)
        limit = min(PAST_AHEAD + beyond, PAST_MOST)

        def query(
            tx: Tx,
        ) -> tuple[tuple[Command, ...], _Sought[HistoryJob], _Sought[ClockWork], _Sought[WalletWork], _Sought[WalletWork]]:
            history = _seek(past, lambda: self._housekeeping.due_history(tx, self._line, now_ms, limit))
            clocks = _seek(clock, lambda: self._housekeeping.due_clock(tx, self._line, site, now_ms))
            wallets = _seek(wallet, lambda: self._housekeeping.due_wallets(tx, self._line, now_ms))
            settings = _seek(wallet, lambda: self._housekeeping.due_settings(tx, self._line, now_ms))
            return tuple(tx.open_commands(line=self._line)), history, clocks, wallets, settings

        wrote = self._wrote
        commands, history, clocks, wallets, settings = await self._store.read(query)
        if wrote != self._wrote:  # nobody can tell whether that knew more, and no more than one is written behind
            commands, history, clocks, wallets, settings = await self._store.read(query)
        self._commands = commands
        self._looked_s, self._seen = now_s, seen
        if past:
            found = self._told(history)[:limit]
            self._left_alone = {job: until_s for job, until_s in self._left_alone.items() if until_s > now_s}
            self.history = tuple(job for job in found if job not in self._left_alone)
            self._history_more = len(found) == limit < PAST_MOST
            self._history_again_s = now_s + PAST_LOOK_S
        if clock:
            self.clock_work, self._clock_again_s = self._told(clocks)[:CLOCK_AHEAD], now_s + CLOCK_LOOK_S
        if wallet:
            self._wallets, self._wallets_again_s = (*self._told(wallets), *self._told(settings)), now_s + WALLET_LOOK_S

    def forget(self) -> None:
        """Another configuration: everything is looked for again."""
        self._commands, self.history, self.clock_work = None, (), ()
        self._history_again_s = self._clock_again_s = self._wallets_again_s = 0.0

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        """What it gave; the commands that are open after it are known then too, without a read. Raises Unavailable."""
        await self.settle()
        self._commands = None
        return await self._write(usecase)

    async def write_behind(self, usecase: Callable[[Tx], T], done: Callable[[T], None]) -> None:
        """Write while the line goes on, after what was written behind before; `done` takes what it gave. `check` tells errors."""
        await self.settle()
        self._behind = asyncio.create_task(self._write_behind(usecase, done))

    async def settle(self) -> bool:
        """Wait for what is written behind; whether there was anything."""
        if self._behind is None:
            return False
        await asyncio.wait([self._behind])
        self._behind = None
        return True

    @property
    def settled(self) -> bool:
        """Nothing is written behind, and nothing that was has failed."""
        return self._behind is None and self._behind_error is None

    def check(self) -> None:
        """Raises what became of a write behind that failed, once."""
        error, self._behind_error = self._behind_error, None
        if error is not None:
            raise error

    async def _write_behind(self, usecase: Callable[[Tx], T], done: Callable[[T], None]) -> None:
        known = {c.id for c in self._commands or ()}
        try:
            done(await self._write(usecase))
        except Exception as error:
            self._commands, self._behind_error = None, error
        if any(c.state is CommandState.QUEUED and c.id not in known for c in self._commands or ()):
            self._news()

    async def _write(self, usecase: Callable[[Tx], T]) -> T:
        def both(tx: Tx) -> tuple[T, tuple[Command, ...]]:
            return usecase(tx), tuple(tx.open_commands(line=self._line))

        value, self._commands = await self._store.write(Essential(both) if isinstance(usecase, Essential) else both)
        self._wrote += 1
        self._looked_s = asyncio.get_running_loop().time()
        if not self._up:
            self._log.info("store_available")
        self._up = True
        return value

    async def record_history(self, job: HistoryJob, outcome: Outcome) -> None:
        """What came of a fetch. Raises Unavailable; what the rules reject is logged, and not fetched again for a while."""
        now_ms, site = self._clock.now_ms(), self._site()
        self.history = tuple(other for other in self.history if other != job)
        self._history_more = True  # a job is one exchange of what is often several, and only one of a meter's
        try:
            await self.write(lambda tx: self._housekeeping.record_history(tx, job, outcome, site, now_ms))
        except Unavailable:
            raise
        except Exception:
            self._log.exception("history_rejected", meter=job.meter, want=job.want.value)
            self._left_alone[job] = asyncio.get_running_loop().time() + PAST_REJECTED_S

    def clocks_now(self) -> None:
        """The next look looks for work on clocks too."""
        self._clock_again_s = 0.0

    async def record_clock(self, job: ClockWork, outcome: Outcome) -> None:
        """What came of work on a clock. Raises Unavailable; what the rules reject is logged."""
        now_ms, site = self._clock.now_ms(), self._site()
        self.clock_work = tuple(other for other in self.clock_work if other != job)
        told = not isinstance(job, ClockReadJob)
        if told or (isinstance(outcome, Answered) and outcome.clock is not None and is_off(outcome.clock)):
            soon_s = asyncio.get_running_loop().time() + (CLOCK_TOLD_S if told else 0.0)
            self._clock_again_s = min(self._clock_again_s, soon_s)
        try:
            await self.write(lambda tx: self._housekeeping.record_clock(tx, job, outcome, site, now_ms))
        except Unavailable:
            raise
        except Exception:
            self._log.exception("clock_rejected", job=type(job).__name__)

    async def start_wallet(self, job: WalletWriteJob) -> WalletWriteJob | None:
        """The order as it is sent now, durably marked as sent. Raises Unavailable."""
        now_ms, self._wallets_again_s = self._clock.now_ms(), 0.0
        return await self.write(lambda tx: self._housekeeping.start_wallet(tx, job.delivery, now_ms))

    async def record_wallet(self, job: WalletReadJob | WalletWriteJob, outcome: Outcome, unstored: Outcome) -> None:
        """What came of work on a wallet, now or as soon as the store is back. unstored: in the place of what the rules reject."""
        now_ms, site, house = self._clock.now_ms(), self._site(), self._housekeeping
        self._wallets_again_s = 0.0
        if isinstance(job, WalletReadJob):
            await self.keep(lambda tx: house.record_wallet(tx, job, outcome, site, now_ms), job.key)
            return
        await self.keep(
            lambda tx: house.finish_wallet(tx, job.delivery, outcome, now_ms),
            job.key,
            lambda tx: house.finish_wallet(tx, job.delivery, unstored, now_ms),
        )

    async def start_setting(self, job: ParameterWriteJob) -> bool:
        """Whether a limit is still to be written, durably marked as sent then. Raises Unavailable."""
        now_ms, self._wallets_again_s = self._clock.now_ms(), 0.0
        return await self.write(lambda tx: self._housekeeping.start_setting(tx, job, now_ms))

    async def record_setting(self, job: ParameterReadJob | ParameterWriteJob, outcome: Outcome) -> None:
        """What came of it, now or as soon as the store is back; what was lost is read again."""
        now_ms, self._wallets_again_s = self._clock.now_ms(), 0.0
        await self.keep(lambda tx: self._housekeeping.record_setting(tx, job, outcome, now_ms), job.key)

    async def keep(self, usecase: Callable[[Tx], None], command: str, instead: Callable[[Tx], None] | None = None) -> None:
        """Store a command's result now, or as soon as the store is back."""
        self._results.append(_Unstored(usecase, command, instead))
        self._commands = None
        await self.catch_up()

    def note(self, usecase: Callable[[Tx], None]) -> None:
        """Store this after the results that wait."""
        self._notes.append(_Unstored(usecase, None))

    async def catch_up(self) -> None:
        """Store what waits, results first, as far as the store takes it. What the rules reject is logged, and dropped unless
        something else can be stored in its place."""
        if asyncio.get_running_loop().time() - self._failed_s < STORE_PAUSE_S:
            return
        for queue in (self._results, self._notes):
            while queue:
                oldest = queue[0]
                try:
                    await self.write(oldest.usecase if oldest.command is None else Essential(oldest.usecase))
                except Unavailable as error:
                    self.failed(error)
                    return
                except Exception:
                    self._log.exception("result_rejected", command=oldest.command)
                    if oldest.instead is not None:
                        queue[0] = _Unstored(oldest.instead, oldest.command)
                        continue
                    if oldest.command is not None:
                        self._rejected(oldest.command)
                queue.popleft()

    def failed(self, error: Unavailable) -> None:
        """The store is away: told once, tried again after a pause."""
        if self._up:
            self._log.error("store_unavailable", text=str(error))
        self._up, self._commands = False, None
        self._failed_s = asyncio.get_running_loop().time()

    def _told(self, sought: _Sought[J]) -> tuple[J, ...]:
        jobs, error = sought
        if error is not None:
            self._log.error("housekeeping_error", exc_info=error)
        return jobs


def _seek(wanted: bool, due: Callable[[], Sequence[J]]) -> _Sought[J]:
    """What is due, or the error there was: what keeps house never holds up an order."""
    try:
        return (tuple(due()) if wanted else ()), None
    except Exception as error:
        return (), error
