"""The loops of all lines while the gateway runs: started, changed between two jobs, and stopped, each for itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from gateway.adapters.lines.listen_hub import close_listeners
from gateway.bootstrap.lines import BuiltLine
from gateway.entrypoints.line_loop import LineLoop

REST_S = 8.0
"""How long a line is waited for that is to be changed: a job on a slow line whose meter answers late ends in less, and who asked
has more patience (10 s)."""


class Restless(Exception):
    """A line did not come to rest; one sentence. Nothing was changed."""


class Crew:
    """One loop a line. make: the loop of a line, with a plan that begins now."""

    def __init__(self, lines: Iterable[BuiltLine], make: Callable[[BuiltLine], LineLoop]) -> None:
        self._make = make
        self._lines = {line.id: line for line in lines}
        self.loops: dict[str, LineLoop] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] | None = None
        self._recorded_before = 0

    @property
    def lines(self) -> Mapping[str, BuiltLine]:
        """The lines as they run now, by id, in the order of the configuration."""
        return self._lines

    @property
    def recorded(self) -> int:
        """Readings stored since the start, by loops that have ended too."""
        return self._recorded_before + sum(loop.recorded for loop in self.loops.values())

    async def run(self) -> None:
        """Every line, until cancelled. Raises what ends a loop that must not end."""
        self._failed = asyncio.get_running_loop().create_future()
        for line in self._lines.values():
            self._start(line)
        try:
            await self._failed
        finally:
            await self._stop(list(self._tasks))

    async def close(self) -> None:
        """Let go of every line's device, and of the ports that devices call."""
        for line in self._lines.values():
            await line.driver.close()
        close_listeners()

    async def change(self, lines: Sequence[BuiltLine], commit: Callable[[Collection[str]], Awaitable[None]]) -> None:
        """Go on with these lines. Only lines whose work changes rest meanwhile; only those whose driver is another begin anew.

        commit: called while they rest, with the ids of those that end here; when it raises, everything goes on as it was.
        Raises Restless.
        """
        new = {line.id: line for line in lines}
        touched = [id for id, line in self._lines.items() if id not in new or not line.same_work(new[id])]
        ending = {id for id in touched if id not in new or new[id].driver is not self._lines[id].driver}
        async with self._at_rest(touched):
            await commit(ending)
            old, self._lines = self._lines, new
            for id in touched:
                if id not in ending:
                    self.loops[id].change(new[id].polls, new[id].reads, new[id].switches, new[id].fresh)
            await self._stop(ending)  # where they rest
        for id in ending:
            await old[id].driver.close()  # all of them first: a new line may have the device of an old one
        for line in lines:
            if line.id not in self._tasks:
                self._start(line)

    @contextlib.asynccontextmanager
    async def _at_rest(self, ids: Sequence[str]) -> AsyncIterator[None]:
        """These lines stand between two jobs. Raises Restless."""
        taken: list[asyncio.Lock] = []

        async def take(turn: asyncio.Lock) -> None:
            await turn.acquire()
            taken.append(turn)

        try:
            async with asyncio.timeout(REST_S):
                await asyncio.gather(*(take(self.loops[id].turn) for id in ids))
            yield
        except TimeoutError:
            raise Restless(f"a line did not come to rest within {REST_S:.0f} s; try again") from None
        finally:
            for turn in taken:
                turn.release()

    def _start(self, line: BuiltLine) -> None:
        self.loops[line.id] = loop = self._make(line)
        self._tasks[line.id] = task = asyncio.create_task(loop.run())
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failed is None or self._failed.done():
            return
        self._failed.set_exception(task.exception() or RuntimeError("the loop of a line has ended"))

    async def _stop(self, ids: Collection[str]) -> None:
        """End these loops."""
        tasks = [self._tasks.pop(id) for id in ids if id in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for id in ids:
            if (loop := self.loops.pop(id, None)) is not None:
                self._recorded_before += loop.recorded
