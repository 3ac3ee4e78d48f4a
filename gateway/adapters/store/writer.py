"""The store as the gateway sees it: one writer with group commit, some readers, nothing answered before it is on disk."""

from __future__ import annotations

import asyncio
import queue
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from random import Random
from types import TracebackType
from typing import TypeVar, cast

from gateway.adapters.store.batch import Answer, Batch, UseCase, run_batch, run_query
from gateway.adapters.store.engine import READERS, Database, StoreError, open_database
from gateway.adapters.store.kept import Kept
from gateway.adapters.store.migrate import migrate, must_be_current
from gateway.adapters.store.reserve import RESERVE, Reserve
from gateway.services.ports import DiskLow, Essential, Tx, Unavailable

T = TypeVar("T")

MAX_BATCH = 256
"""Use cases in one transaction: at 0.2 to 0.4 ms each the first of them waits about a tenth of a second for its answer."""

MAX_WAITING = 4096
"""Use cases that wait for the writer: at 1,000 a second the last is answered in 4 s, within the 5 s promised to banks."""

MAX_READING = 256
"""Queries that wait for a reader: a page of a few ms each, so the last waits about a second; more would be answered too late."""

EPOCH, PSEUDONYM_KEY = "epoch", "pseudonym_key"
"""Keys in `meta`, written when the store is created."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A use case in the queue, and who waits for it where."""

    usecase: UseCase
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[object]


class Store:
    """An open store. Use cases come by `write`, queries by `read`; both raise ports.Unavailable when the store cannot.

    Where its disk has only the reserve left, what is not a ports.Essential is refused with ports.DiskLow.
    written: how many batches were run so far; as long as it stays the same, nothing has changed.
    """

    def __init__(
        self,
        database: Database,
        *,
        notices: tuple[str, ...] = (),
        inline: bool = False,
        on_fatal: Callable[[str], None] | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        self.database = database
        self._reserve = reserve
        self.notices = database.notices + notices
        self._on_fatal = on_fatal
        self._inline = inline
        self._refusal: str | None = None  # why nothing more is taken in
        self._failure: str | None = None  # why what was taken in does not run either
        self._closed = False
        self.written = 0
        self._kept = Kept()
        self._turn = threading.Lock()  # one batch at a time, also with write_now from another thread
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._scheduled = False
        self._thread: threading.Thread | None = None
        self._reading = threading.BoundedSemaphore(MAX_READING)
        self._readers = None if inline else ThreadPoolExecutor(READERS, "store-reader")  # starts its threads when needed

    @classmethod
    def open(
        cls,
        url_or_path: str,
        *,
        inline: bool = False,
        read_only: bool = False,
        on_fatal: Callable[[str], None] | None = None,
        rng: Random | None = None,
        reserve_bytes: int | None = None,
    ) -> Store:
        """Open a store, creating it or migrating it forward. Raises StoreError with one sentence.

        inline: no threads; batches run in the caller's loop at its next turn (virtual time). read_only: beside a running gateway,
        nothing is created or migrated. on_fatal: called once, in the writer's thread, with the reason why the process must stop.
        rng: for epoch and pseudonym key of a new store; without it they come from the system. reserve_bytes: kept free beside a
        SQLite file, 0 for none; None leaves what another process keeps there.
        """
        database = open_database(url_or_path, create=not read_only)
        try:
            if read_only:
                must_be_current(database)
                store = cls(database, inline=inline, on_fatal=on_fatal)
                store._refusal = "the store is open for reading only"
                return store
            reserve = _reserve(database, reserve_bytes)
            store = cls(database, notices=migrate(database), inline=inline, on_fatal=on_fatal, reserve=reserve)
            store.write_now(lambda tx: _identify(tx, rng))
            return store
        except Unavailable as error:
            database.close()
            raise StoreError(f"the store {database.name} cannot be opened: {error}") from error
        except BaseException:
            database.close()
            raise

    @property
    def waiting(self) -> int:
        """Use cases that wait for the writer now."""
        return self._waiting.qsize()

    @property
    def low(self) -> str | None:
        """Why only what is essential is written, in a sentence; None while there is room."""
        return None if self._reserve is None else self._reserve.low

    def look_at_disk(self) -> str | None:
        """`low` as the disk is now; every write looks too. Blocks where the reserve is made anew."""
        return None if self._reserve is None else self._reserve.look()

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        """Run the use case in a transaction that others may share; returns when its effects are on disk, raises what it raised.

        Unavailable: not done as far as we know. Where COMMIT itself failed (a disk or a server gone in that moment) only the next
        start knows, so that whoever repeats must do it under the same identity.
        """
        if self._refusal is not None:
            raise Unavailable(self._refusal)
        if (low := self.low) is not None and not isinstance(usecase, Essential):
            raise DiskLow(low)
        if self._waiting.qsize() >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} writes are waiting for the disk already")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(usecase, loop, loop.create_future())
        self._waiting.put(waiting)
        if not self._inline:
            self._start_writer()
        elif not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._run_waiting)
        return cast(T, await waiting.future)

    def write_now(self, usecase: Callable[[Tx], T]) -> T:
        """Like `write`, in a transaction of its own and in this thread, always essential: for starts and command line verbs."""
        if self._refusal is not None:
            raise Unavailable(self._refusal)
        batch = self._run([Essential(usecase)])
        if batch.fatal is not None:
            self._fail(batch.fatal)
        [answer] = batch.answers
        if answer.error is not None:
            raise answer.error
        return cast(T, answer.value)

    async def read(self, query: Callable[[Tx], T]) -> T:
        """Run a query; it sees all that was answered before, and cannot write."""
        if self._readers is None:
            return self.read_now(query)
        if not self._reading.acquire(blocking=False):
            raise Unavailable(f"{MAX_READING} queries are waiting already")
        try:
            running: Future[T] = self._readers.submit(self.read_now, query)
        except RuntimeError:
            self._reading.release()
            raise Unavailable("the store is closed") from None
        running.add_done_callback(lambda _: self._reading.release())
        return await asyncio.wrap_future(running)

    def read_now(self, query: Callable[[Tx], T]) -> T:
        """Like `read`, in this thread."""
        if self._closed:
            raise Unavailable("the store is closed")
        return cast(T, run_query(self.database, query))

    def close(self) -> None:
        """Take nothing more, finish what waits, close the files. Blocks for that long; safe to call twice."""
        self._refusal = "the store is closed"
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._failure = self._failure or self._refusal  # for what another thread put behind the end
        self._run_waiting()
        if self._readers is not None:
            self._readers.shutdown()
        self._closed = True
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _start_writer(self) -> None:
        if self._thread is not None:
            return
        with self._turn:  # two loops may come here at once
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        """The writer's thread: everything that waits, up to a batch, then again."""
        try:
            last = False
            while not last and (first := self._waiting.get()) is not None:
                batch, last = self._take(first)
                self._answer(batch)
        except BaseException as error:  # a fault of ours: nobody may wait for ever
            self._fail(f"the writer stopped: {error!r}")
            self._run_waiting()

    def _run_waiting(self) -> None:
        """The writer without a thread: everything that waits now."""
        self._scheduled = False
        while not self._waiting.empty():
            batch, _ = self._take(self._waiting.get())
            self._answer(batch)

    def _take(self, first: _Waiting | None) -> tuple[list[_Waiting], bool]:
        """A batch that begins with this one; true when the end of the queue was announced in it."""
        batch: list[_Waiting] = []
        waiting = first
        while waiting is not None:
            batch.append(waiting)
            if len(batch) == MAX_BATCH:
                return batch, False
            try:
                waiting = self._waiting.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        """Run a batch and release its answers."""
        done = _unavailable("the writer was interrupted", len(batch))
        try:
            done = self._run([waiting.usecase for waiting in batch])
        finally:
            _release(batch, done.answers)
        if done.fatal is not None:
            self._fail(done.fatal)

    def _run(self, usecases: Sequence[UseCase]) -> Batch:
        with self._turn:
            if self._failure is not None:
                return _unavailable(self._failure, len(usecases))
            done = self._run_within_room(usecases)
            self._failure = done.fatal
            self.written += 1
        return done

    def _run_within_room(self, usecases: Sequence[UseCase]) -> Batch:
        """Where room is short only what is essential; after a full disk this once more, with the reserve given up."""
        if self._reserve is None or self._reserve.look() is None:
            done = run_batch(self.database, usecases, self._kept)
            if self._reserve is None or not done.full:
                return done
            self._reserve.give_up("the disk is full")
        essential = [usecase for usecase in usecases if isinstance(usecase, Essential)]
        done = run_batch(self.database, essential, self._kept) if essential else Batch(())
        answers, refused = iter(done.answers), Answer(error=DiskLow(self._reserve.low or "the disk was full"))
        return replace(done, answers=[next(answers) if isinstance(each, Essential) else refused for each in usecases])

    def _fail(self, sentence: str) -> None:
        """Nothing is written from here on: the owner must end the process."""
        self._failure = self._refusal = sentence
        if self._on_fatal is not None:
            self._on_fatal(sentence)


def _reserve(database: Database, size: int | None) -> Reserve | None:
    """A server keeps its own room."""
    if database.file is None or size is None:
        return None
    if size == 0:
        (database.file.parent / RESERVE).unlink(missing_ok=True)
        return None
    return Reserve(database.file.parent, size)


def _unavailable(sentence: str, count: int) -> Batch:
    return Batch([Answer(error=Unavailable(sentence)) for _ in range(count)])


def _release(batch: Sequence[_Waiting], answers: Sequence[Answer]) -> None:
    """Hand out the answers, each in the loop that waits for it, all of a loop at once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[object], Answer]]] = defaultdict(list)
    for waiting, answer in zip(batch, answers, strict=True):
        by_loop[waiting.loop].append((waiting.future, answer))
    for loop, released in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, released)
        except RuntimeError:  # that loop is closed: nobody waits there any more
            continue


def _resolve(released: Sequence[tuple[asyncio.Future[object], Answer]]) -> None:
    for future, answer in released:
        if future.done():  # cancelled while it waited
            continue
        if answer.error is None:
            future.set_result(answer.value)
        elif isinstance(answer.error, Exception) and not isinstance(answer.error, StopIteration):
            future.set_exception(answer.error)
        else:  # a future refuses these or takes them for its own, and the rest of the batch would never be answered
            future.set_exception(RuntimeError(f"a use case raised {answer.error!r}"))


def _identify(tx: Tx, rng: Random | None) -> None:
    """A new store gets its epoch (contract.md 5: 16 hex digits) and the key of its pseudonyms."""
    if tx.meta(EPOCH) is None:
        tx.set_meta(EPOCH, _random_hex(8, rng))
        tx.set_meta(PSEUDONYM_KEY, _random_hex(32, rng))


def _random_hex(size: int, rng: Random | None) -> str:
    return secrets.token_hex(size) if rng is None else rng.randbytes(size).hex()
