"""In which order the messages of a connection are worked on; each is acknowledged in the order in which it came (MQTT 5, 4.6).

Reason: a `stop` behind a raid of 1,000 orders would wait until each of them is judged and on the disk, and they leave meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine
from typing import Generic, TypeVar

M = TypeVar("M")

HASTY = 2
"""Messages of one name that are worked on at once beside those that keep their turn; more of them keep theirs too. So a thousand of
one name take nobody's place, hold up no stop of another name, and are themselves no slower than the others."""


class Turns(Generic[M]):
    """One connection's. receive: does the work of a message; an error of it ends `run`. done: told of each in the order of coming.

    abreast: messages under way at once that keep their turn. hasty: in whose name a message need not wait for those before it, None
    where it keeps its turn.
    """

    def __init__(
        self, receive: Callable[[M], Awaitable[None]], done: Callable[[M], None], abreast: int, hasty: Callable[[M], str | None]
    ) -> None:
        self._receive, self._done, self._name_of = receive, done, hasty
        self._turn = asyncio.Semaphore(abreast)
        self._ahead: Counter[str] = Counter()
        self._came: asyncio.Queue[tuple[M, asyncio.Task[None]]] = asyncio.Queue()

    @property
    def waiting(self) -> int:
        """Messages that came and are not acknowledged. The caller bounds them, by reading no more."""
        return self._came.qsize()

    async def run(self, messages: AsyncIterable[M]) -> None:
        """Until the messages end. What was not done with is given up then, and not acknowledged."""
        both = [asyncio.ensure_future(self._begin(messages)), asyncio.ensure_future(self._acknowledge())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for each in both:
                if each.done():
                    each.result()
        finally:
            both += [self._came.get_nowait()[1] for _ in range(self._came.qsize())]
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _begin(self, messages: AsyncIterable[M]) -> None:
        async for message in messages:
            self._came.put_nowait((message, asyncio.ensure_future(self._begun(message, self._name_of(message)))))

    def _begun(self, message: M, name: str | None) -> Coroutine[None, None, None]:
        if name is None or self._ahead[name] >= HASTY:
            return self._in_turn(message)
        self._ahead[name] += 1
        return self._ahead_of_turn(message, name)

    async def _in_turn(self, message: M) -> None:
        async with self._turn:  # who waits for it is let in by the order of coming
            await self._receive(message)

    async def _ahead_of_turn(self, message: M, name: str) -> None:
        try:
            await self._receive(message)
        finally:
            self._ahead[name] -= 1

    async def _acknowledge(self) -> None:
        while True:
            message, work = await self._came.get()
            await work
            self._done(message)
