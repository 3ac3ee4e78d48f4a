"""The group-commit writer: who is answered when, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from gateway.adapters.store import Store, writer
from gateway.services.ports import Tx, Unavailable
from tests.gateway.adapters.store import rows


@pytest.fixture
def store(sqlite_file: Path) -> Iterator[Store]:
    with Store.open(str(sqlite_file)) as store:
        yield store


@pytest.fixture
def inline(sqlite_file: Path) -> Iterator[Store]:
    with Store.open(str(sqlite_file), inline=True) as store:
        yield store


def count_commits(store: Store) -> list[None]:
    commits: list[None] = []
    event.listen(store.database.writer, "commit", lambda connection: commits.append(None))
    return commits


def add(tx: Tx) -> int:
    return tx.add_outgoing(rows.MESSAGE)


class Gate:
    """A use case that holds the writer until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, tx: Tx) -> None:
        self.entered.set()
        assert self.opened.wait(60)

    async def hold(self, store: Store) -> asyncio.Task[None]:
        held = asyncio.create_task(store.write(self))
        await asyncio.to_thread(self.entered.wait, 60)
        return held


async def queue_up(store: Store, usecases: list[Callable[[Tx], object]]) -> list[asyncio.Task[object]]:
    tasks = [asyncio.create_task(store.write(usecase)) for usecase in usecases]
    await asyncio.sleep(0)  # each has put its use case into the queue
    return tasks


async def test_inline_writes_of_one_turn_share_a_commit(inline: Store) -> None:
    commits = count_commits(inline)
    assert await asyncio.gather(*(inline.write(add) for _ in range(50))) == list(range(1, 51))
    assert len(commits) == 1
    assert await inline.write(add) == 51
    assert len(commits) == 2


async def test_inline_needs_no_thread(inline: Store) -> None:
    before = threading.active_count()
    await inline.write(add)
    assert await inline.read(lambda tx: tx.outbox_state().last) == 1
    assert threading.active_count() == before


async def test_what_waits_while_the_writer_is_busy_becomes_one_batch(store: Store) -> None:
    commits, gate = count_commits(store), Gate()
    held = await gate.hold(store)
    tasks = await queue_up(store, [add] * 40)
    gate.opened.set()
    assert await asyncio.gather(*tasks) == list(range(1, 41))
    await held
    assert len(commits) == 2


async def test_a_batch_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_BATCH", 16)
    commits, gate = count_commits(store), Gate()
    held = await gate.hold(store)
    tasks = await queue_up(store, [add] * 40)
    gate.opened.set()
    assert await asyncio.gather(*tasks, held) == [*range(1, 41), None]
    assert len(commits) == 1 + 3


async def test_nobody_is_answered_before_the_commit(store: Store) -> None:
    """While COMMIT runs, the answer is not there yet."""
    at_commit = threading.Event()
    go_on = threading.Event()

    def commit(connection: object) -> None:
        at_commit.set()
        assert go_on.wait(10)

    event.listen(store.database.writer, "commit", commit)
    task = asyncio.create_task(store.write(add))
    await asyncio.to_thread(at_commit.wait, 10)
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    assert await task == 1


async def test_too_many_waiting_are_refused_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 5)
    gate = Gate()
    held = await gate.hold(store)
    tasks = await queue_up(store, [add] * 5)
    with pytest.raises(Unavailable, match="5 writes are waiting"):
        await store.write(add)
    gate.opened.set()
    assert await asyncio.gather(*tasks, held) == [1, 2, 3, 4, 5, None]
    assert await store.write(add) == 6


async def test_too_many_queries_are_refused_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_reading", threading.BoundedSemaphore(1))
    gate = Gate()
    held = asyncio.create_task(store.read(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    with pytest.raises(Unavailable, match="queries are waiting"):
        await store.read(lambda tx: None)
    gate.opened.set()
    await held


async def test_a_cancelled_caller_breaks_nobody_elses_batch(store: Store) -> None:
    gate = Gate()
    held = await gate.hold(store)
    tasks = await queue_up(store, [add] * 3)
    tasks[1].cancel()
    gate.opened.set()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(second, asyncio.CancelledError)
    assert third == first + 2, "the use case of the caller who left has run all the same"  # type: ignore[operator]
    await held


@pytest.mark.parametrize(
    "raised", [StopIteration("done"), StopAsyncIteration(), asyncio.CancelledError(), GeneratorExit(), SystemExit(3)]
)
async def test_whatever_a_use_case_raises_everybody_is_answered(sqlite_file: Path, raised: BaseException) -> None:
    fatal: list[str] = []
    store = Store.open(str(sqlite_file), on_fatal=fatal.append)

    def fails(tx: Tx) -> None:
        raise raised

    gate = Gate()
    held = await gate.hold(store)
    tasks = await queue_up(store, [add, fails, add])
    gate.opened.set()
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(held, return_exceptions=True)
    assert isinstance(answers[1], Exception) and type(raised).__name__ in repr(answers[1])
    assert (answers[0], answers[2], fatal) == (1, 2, [])
    with pytest.raises(type(raised)):
        store.write_now(fails)
    store.close()


async def test_a_fault_of_the_writer_itself_answers_everybody_and_is_fatal(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatal: list[str] = []
    store = Store.open(str(sqlite_file), on_fatal=fatal.append)
    gate = Gate()
    held = await gate.hold(store)
    tasks = await queue_up(store, [add] * 3)
    monkeypatch.setattr(writer, "run_batch", lambda database, usecases, kept: 1 // 0)
    gate.opened.set()
    await held
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    with pytest.raises(Unavailable, match="ZeroDivisionError"):
        await store.write(add)
    assert len(fatal) == 1
    store.close()


async def test_close_finishes_what_waits_and_refuses_the_rest(sqlite_file: Path) -> None:
    store = Store.open(str(sqlite_file))
    gate = Gate()
    held = await gate.hold(store)
    tasks = await queue_up(store, [add] * 3)
    threading.Timer(0.05, gate.opened.set).start()
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.write(add)
    with pytest.raises(Unavailable, match="closed"):
        await store.read(lambda tx: None)
    assert await asyncio.gather(*tasks, held) == [1, 2, 3, None]
    with Store.open(str(sqlite_file), read_only=True) as again:
        assert again.read_now(lambda tx: tx.outbox_state().last) == 3


async def test_closing_an_inline_store_runs_what_waits(sqlite_file: Path) -> None:
    store = Store.open(str(sqlite_file), inline=True)
    tasks = await queue_up(store, [add] * 2)
    store.close()
    assert await asyncio.gather(*tasks) == [1, 2]


async def test_a_loop_that_is_gone_is_not_missed(store: Store) -> None:
    gate = Gate()
    held = await gate.hold(store)

    def leave() -> None:
        """Another loop asks and ends without waiting for the answer."""
        loop = asyncio.new_event_loop()
        task = loop.create_task(store.write(add))
        loop.call_soon(loop.stop)
        loop.run_forever()
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()

    await asyncio.to_thread(leave)
    tasks = await queue_up(store, [add])
    gate.opened.set()
    assert await asyncio.gather(*tasks, held) == [2, None]


async def test_several_loops_in_several_threads_share_the_writer(store: Store) -> None:
    async def many() -> list[int]:
        return [await store.write(add) for _ in range(20)]

    given = await asyncio.gather(*(asyncio.to_thread(asyncio.run, many()) for _ in range(3)), many())
    assert sorted(seq for seqs in given for seq in seqs) == list(range(1, 81))


async def test_write_now_goes_between_the_batches(store: Store) -> None:
    async def many() -> None:
        for _ in range(30):
            await store.write(add)

    def verb() -> None:
        for _ in range(30):
            store.write_now(add)

    await asyncio.gather(many(), asyncio.to_thread(verb))
    assert (await store.read(lambda tx: tx.outbox_state())).last == 60


async def test_nothing_runs_in_a_transaction_that_is_over(inline: Store) -> None:
    kept: list[Tx] = []
    await inline.write(kept.append)
    with pytest.raises(Unavailable, match="over"):
        kept[0].set_meta("k", "late")


def test_a_store_open_for_reading_refuses_to_write(sqlite_file: Path) -> None:
    with Store.open(str(sqlite_file)) as running, Store.open(str(sqlite_file), read_only=True) as beside:
        running.write_now(add)
        assert beside.read_now(lambda tx: tx.outbox_state().last) == 1
        with pytest.raises(Unavailable, match="reading only"):
            beside.write_now(add)
