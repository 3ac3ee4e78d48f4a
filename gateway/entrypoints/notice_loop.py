"""Sends what waits to be told: each channel by itself, so that a provider that hangs holds up only its own notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

import structlog

from gateway.domain.notices import Answer, Notice, Verdict
from gateway.domain.slots import day_of
from gateway.services import notify
from gateway.services.ports import Site, Tx, Unavailable

T = TypeVar("T")
log = structlog.get_logger(__name__)

LOOK_S = 2.0
"""Between two looks for notices: nobody reads one sooner."""

AT_ONCE = 4
"""Notices of one channel under way at a time: four slow answers of a provider cost no more than one."""

BATCH = 200
"""Notices moved in one transaction without being sent: the store's writer is there for payments."""

FAILING_AFTER = 3
"""Tries in a row for which a provider was not there: then it is a finding, and is asked with one notice at a time."""

ALONE_AFTER = 8
"""As many where all of them were for one customer: a phone that is off must not make all others wait."""

FIRST_REST_S, LONGEST_REST_S = 30.0, 600.0
"""Between two tries of a provider that is not there; doubled each time. The notices behind spend none of their own tries."""

STORE_S = 1.0
"""Until a result is recorded again that the store could not take: a second notice would be worse."""


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


class Store(Protocol):
    """Raises ports.Unavailable."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    async def read(self, query: Callable[[Tx], T]) -> T: ...


class Post(Protocol):
    """One channel. per_minute: notices that it may take."""

    @property
    def id(self) -> str: ...
    @property
    def per_minute(self) -> int: ...
    def opens_ms(self, now_ms: int) -> int:
        """Now, or when it may be used next (UTC ms)."""

    async def send(self, notice: Notice, language: str) -> Verdict:
        """Ends within a bound of its own; an answer that comes after that is lost."""


async def deliver(store: Store, posts: Callable[[], Mapping[str, Post]], site: Callable[[], Site], clock: WallClock) -> None:
    """Until cancelled. A store that is away is waited for: what providers have accepted meanwhile must not be sent again."""
    office = _Office(store, clock)
    try:
        while True:
            with _waiting():
                await office.look(posts(), site())
            await asyncio.sleep(LOOK_S)
    finally:
        await office.close()


@contextlib.contextmanager
def _waiting() -> Iterator[None]:
    try:
        yield
    except Unavailable as problem:
        log.warning("notices_wait", reason=str(problem))


class _Office:
    """One task for each channel that has something to send."""

    def __init__(self, store: Store, clock: WallClock) -> None:
        self._store, self._clock = store, clock
        self._rounds: dict[str, Round] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._day = ""

    async def look(self, posts: Mapping[str, Post], site: Site) -> None:
        """Begin what is due, and give up what is hopeless."""
        now_ms = self._clock.now_ms()
        for name, post in posts.items():
            if name in self._tasks and not self._tasks[name].done():
                continue
            if await self._store.read(lambda tx, name=name: notify.due(tx, name, now_ms)):  # type: ignore[misc]
                serving = self._rounds.setdefault(name, Round(self._store, self._clock))
                self._tasks[name] = asyncio.create_task(_logged(serving.serve(post)))
        if await self._store.read(lambda tx: bool(notify.hopeless(tx, posts.keys(), now_ms, BATCH))):
            await self._store.write(lambda tx: notify.give_up(tx, posts.keys(), now_ms, BATCH))
        if (today := day_of(now_ms, ZoneInfo(site.zone))) != self._day:
            await self._store.write(lambda tx: notify.tell_day(tx, site, now_ms))
            self._day = today

    async def close(self) -> None:
        """Nothing more is sent; what was not recorded is sent again after the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def _logged(work: Coroutine[object, object, None]) -> None:
    try:
        with _waiting():
            await work
    except Exception:
        log.exception("notices_failed")


class Round:
    """Sends one channel's due notices until none is left, and remembers how often its provider was not there."""

    def __init__(self, store: Store, clock: WallClock) -> None:
        self._store, self._clock = store, clock
        self._missed, self._rest_until = 0, 0.0
        self._missing: set[str] = set()

    async def serve(self, post: Post) -> None:
        """All that is due on this channel now."""
        loop = asyncio.get_running_loop()
        while loop.time() >= self._rest_until:
            now_ms = self._clock.now_ms()
            opens_ms = post.opens_ms(now_ms)
            if opens_ms > now_ms:
                if await self._wait_until(post, opens_ms, now_ms) < BATCH:
                    return
                continue
            taken = await self._take(post, now_ms)
            if not taken:
                return
            began = loop.time()
            verdicts = await asyncio.gather(*(self._one(post, notice, language) for notice, language in taken))
            await self._judge(post, {notice.account for notice, _ in taken}, verdicts)
            await asyncio.sleep(max(0.0, began + len(taken) * 60 / post.per_minute - loop.time()))

    async def _take(self, post: Post, now_ms: int) -> Sequence[tuple[Notice, str]]:
        most = 1 if self._missed >= FAILING_AFTER else min(AT_ONCE, post.per_minute)
        return await self._store.write(lambda tx: notify.take(tx, post.id, now_ms, most))

    async def _wait_until(self, post: Post, opens_ms: int, now_ms: int) -> int:
        return await self._store.write(lambda tx: notify.postpone(tx, post.id, opens_ms, now_ms, BATCH))

    async def _one(self, post: Post, notice: Notice, language: str) -> Verdict:
        try:
            verdict = await post.send(notice, language)
        except Exception as problem:
            log.exception("notice_not_sent", notice=notice.number, channel=post.id)
            verdict = Verdict(Answer.LATER, f"an error of ours: {type(problem).__name__}")
        log.info("notice", number=notice.number, channel=post.id, answer=verdict.answer.value, detail=verdict.detail)
        while True:
            try:
                await self._store.write(lambda tx: notify.settle(tx, notice.number, verdict, self._clock.now_ms()))
                return verdict
            except Unavailable:
                await asyncio.sleep(STORE_S)

    async def _judge(self, post: Post, asked: set[str], verdicts: Sequence[Verdict]) -> None:
        """Whether the provider is there at all: it is, where it took or refused any. asked: whom these were for."""
        if any(verdict.answer in (Answer.ACCEPTED, Answer.REFUSED) for verdict in verdicts):
            self._missed, self._missing = 0, set()
            return
        self._missing |= asked
        self._missed += sum(verdict.answer is Answer.LATER for verdict in verdicts)
        if self._missed >= (FAILING_AFTER if len(self._missing) > 1 else ALONE_AFTER):
            rest_s = min(FIRST_REST_S * 2 ** min(self._missed - FAILING_AFTER, 10), LONGEST_REST_S)
            self._rest_until = asyncio.get_running_loop().time() + rest_s
            detail = verdicts[-1].detail
            await self._store.write(lambda tx: notify.channel_fails(tx, post.id, detail, self._clock.now_ms()))
