"""The store's contract on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from gateway.adapters.store import Store
from gateway.services.ports import Tx, Unavailable
from tests.gateway.adapters.store import rows
from tests.gateway.adapters.store.contract import Boom, StoreContract, archive
from tests.gateway.adapters.store.foreseen_contract import ForeseenContract
from tests.gateway.adapters.store.kept_contract import KeptContract


@pytest.fixture
def another(postgres_url: str) -> Callable[[], Store]:
    return lambda: Store.open(postgres_url)


class TestPostgresql(StoreContract, KeptContract, ForeseenContract):
    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[Store]:
        with Store.open(postgres_url) as store:
            yield store

    async def test_a_lost_connection_takes_its_batch_and_the_next_one_works(self, store: Store) -> None:
        def add(tx: Tx) -> int:
            return tx.add_outgoing(rows.MESSAGE)

        def lose(tx: Tx) -> None:
            cursor = tx._session._raw.cursor()  # type: ignore[attr-defined]
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        assert await store.write(add) == 1
        answers = await asyncio.gather(*map(store.write, (add, lose, add)), return_exceptions=True)
        assert all(isinstance(answer, Unavailable) for answer in answers[1:]), answers
        assert await store.write(add) == 2 + isinstance(answers[0], int)
        with pytest.raises(Exception, match=r"terminat|is lost"):
            await store.read(lose)
        assert await store.read(lambda tx: tx.outbox_state().last) == 2 + isinstance(answers[0], int)

    async def test_a_swallowed_error_of_a_statement_is_not_success(self, store: Store) -> None:
        """PostgreSQL runs nothing more in that savepoint; the caller must not hear that it worked."""

        def swallows(tx: Tx) -> str:
            tx.set_meta("k", "before")
            try:
                tx.save_meter(rows.METER)
            except Exception:
                return "done"
            return "no error"

        first, second = await asyncio.gather(
            store.write(swallows), store.write(lambda tx: tx.add_outgoing(rows.MESSAGE)), return_exceptions=True
        )
        assert isinstance(first, Exception) and second == 1
        assert await store.read(lambda tx: tx.meta("k")) is None

    async def test_an_account_is_locked_by_every_first_read(self, store: Store, postgres_url: str) -> None:
        """Also when a use case before it had read the account and gave the lock up by failing, or a transaction before it."""

        def locked(tx: Tx) -> bool:
            tx.account("house-7")
            with psycopg.connect(postgres_url.replace("+psycopg", "")) as somebody:
                try:
                    somebody.execute("SELECT FROM account WHERE id = 'house-7' FOR UPDATE NOWAIT")
                except psycopg.errors.LockNotAvailable:
                    return True
            return False

        def fails(tx: Tx) -> None:
            assert locked(tx)
            raise Boom

        store.write_now(archive)
        answers = await asyncio.gather(*map(store.write, (locked, fails, locked)), return_exceptions=True)
        assert answers[::2] == [True, True] and isinstance(answers[1], Boom)

    def test_two_processes_that_want_the_same_rows_in_another_order_do_not_block_each_other(
        self, store: Store, another: Callable[[], Store]
    ) -> None:
        """The batches of two processes take turns; by row locks alone these two would end in a deadlock."""
        store.write_now(archive)
        entered, met = (threading.Event(), threading.Event()), threading.Event()

        def both(mine: int, first: str, second: str) -> Callable[[Tx], None]:
            def usecase(tx: Tx) -> None:
                assert tx.account(first) is not None
                entered[mine].set()
                if all(each.is_set() for each in entered):
                    met.set()
                met.wait(0.2)  # real time: the other process is another thread here, and is expected not to come
                assert tx.account(second) is not None

            return usecase

        other = another()
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(store.write_now, both(0, "house-7", "house-8"))
            two = pool.submit(other.write_now, both(1, "house-8", "house-7"))
            assert (one.result(10), two.result(10)) == (None, None)
        other.close()
