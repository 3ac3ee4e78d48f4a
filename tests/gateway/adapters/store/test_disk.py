"""Disks that are full or fail: nobody is told that it worked unless it is on disk, and the store works again when it can."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from gateway.adapters.store import Store, StoreError
from gateway.adapters.store.engine import sqlite_module
from gateway.domain.ledger import Audit
from gateway.domain.records import Payment
from gateway.services.ports import Tx, Unavailable
from tests.gateway.adapters.store import rows
from tests.gateway.adapters.store.contract import Boom, book
from tests.gateway.adapters.store.disks import fill_up, mounted
from tests.gateway.adapters.store.rows import entry


def top_up(serial: str) -> Callable[[Tx], str]:
    """A payment with its entry and its message, as the bank's use case makes them."""

    def usecase(tx: Tx) -> str:
        tx.add_payment(payment(serial, book(tx, entry(1_000_000)).number))
        tx.add_outgoing(rows.MESSAGE)
        return serial

    return usecase


def payment(serial: str, number: int) -> Payment:
    return replace(rows.PAYMENT, identity=replace(rows.IDENTITY, serial=serial), amount_micro=1_000_000, entry=number)


def fill(tx: Tx) -> None:
    for n in range(500):
        tx.set_meta(f"filler {n}", "x" * 8_000)


def fill_and_hide_it(tx: Tx) -> None:
    """A use case that swallows the store's error and goes on writing: what it writes then must not be committed alone."""
    try:
        fill(tx)
    except Exception:
        tx.set_meta("after the error", "written")


def paid(store: Store) -> set[str]:
    """Serials on disk, by the journal and by the payments, which must agree and audit clean."""
    audit = Audit()

    def look(tx: Tx) -> set[str]:
        entries = tx.journal_rows(0, 1000)
        audit.take(entries)
        audit.compare(tx.balances())
        known = {serial for serial in "ABCD" if tx.payment(replace(rows.IDENTITY, serial=serial)) is not None}
        assert (len(entries), tx.journal_end()[0], tx.outbox_state().last) == (len(known),) * 3
        return known

    known = store.read_now(look)
    assert audit.finding is None
    return known


def pragma(store: Store, name: str, value: int | None = None) -> int:
    with store.database.writer.connect() as connection:
        return int(connection.exec_driver_sql(f"PRAGMA {name}" + ("" if value is None else f"={value}")).scalar_one())


def leave_pages(store: Store, pages: int) -> None:
    """A full disk, as SQLite itself sees it: SQLITE_FULL beyond so many more pages."""
    pragma(store, "max_page_count", pragma(store, "page_count") + pages)


async def batch(store: Store, *usecases: Callable[[Tx], Any]) -> list[Any]:
    """All in one batch, answers in order."""
    return await asyncio.gather(*map(store.write, usecases), return_exceptions=True)


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "thread"])
@pytest.mark.parametrize("filler", [fill, fill_and_hide_it])
async def test_a_full_disk_between_two_top_ups_acknowledges_neither_wrongly(sqlite_file: Path, inline: bool, filler: Any) -> None:
    fatal: list[str] = []
    store = Store.open(str(sqlite_file), inline=inline, on_fatal=fatal.append)
    assert await batch(store, top_up("A")) == ["A"]
    leave_pages(store, 20)
    gate = [] if inline else [store.write(lambda tx: None)]
    answers = await asyncio.gather(*gate, *map(store.write, (top_up("B"), filler, top_up("C"))), return_exceptions=True)
    told = {answer for answer in answers if isinstance(answer, str)}
    assert all(isinstance(answer, Unavailable | None) for answer in answers if answer not in told)
    assert "the disk is full" in str(answers[-2])
    store.close()

    store = Store.open(str(sqlite_file), inline=inline, on_fatal=fatal.append)
    assert paid(store) == {"A"} | told
    assert store.read_now(lambda tx: tx.meta("after the error")) is None
    assert await batch(store, top_up("D")) == ["D"]
    assert paid(store) == {"A", "D"} | told and fatal == []
    store.close()


async def test_sqlite_ends_the_transaction_itself_and_the_whole_batch_is_unavailable(sqlite_file: Path) -> None:
    store = Store.open(str(sqlite_file), inline=True)
    leave_pages(store, 20)
    ran: list[str] = []

    def after(tx: Tx) -> None:
        ran.append("after")

    answers = await batch(store, top_up("A"), fill, after, top_up("B"))
    assert [type(answer) for answer in answers] == [Unavailable] * 4, answers
    assert ran == [], "nothing more may run in a batch whose transaction is gone"
    assert paid(store) == set()
    pragma(store, "max_page_count", 1_000_000)
    assert await batch(store, top_up("A"), top_up("B")) == ["A", "B"]
    assert paid(store) == {"A", "B"}
    store.close()


async def test_a_use_case_that_fails_in_the_middle_takes_nobody_with_it(sqlite_file: Path) -> None:
    def fails(tx: Tx) -> None:
        top_up("B")(tx)
        raise Boom

    with Store.open(str(sqlite_file), inline=True) as store:
        first, second, third = await batch(store, top_up("A"), fails, top_up("C"))
        assert (first, type(second), third) == ("A", Boom, "C")
    with Store.open(str(sqlite_file), read_only=True) as store:
        assert paid(store) == {"A", "C"}


SQLITE = sqlite_module()


def failing(message: str, code: int) -> Exception:
    error: Exception = SQLITE.OperationalError(message)
    error.sqlite_errorcode = code  # type: ignore[attr-defined]
    return error


class Faulty(SQLITE.Connection):  # type: ignore[misc,name-defined]
    """A connection whose next COMMIT fails as told: before it, or after the log was written and its fsync failed."""

    fault: Exception | None = None
    after_writing = False

    in_statement: tuple[str, Exception] | None = None

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(FaultyCursor)

    def commit(self) -> None:
        fault, Faulty.fault = Faulty.fault, None
        if fault is not None and not Faulty.after_writing:
            raise fault
        super().commit()
        if fault is not None:
            raise fault


class FaultyCursor(SQLITE.Cursor):  # type: ignore[misc,name-defined]
    """Fails, once, in the statement that was named; the transaction goes on, as it does after SQLITE_BUSY and some I/O errors."""

    def execute(self, sql: str, *values: Any) -> Any:
        if Faulty.in_statement is not None and Faulty.in_statement[0] in sql:
            (_, error), Faulty.in_statement = Faulty.in_statement, None
            raise error
        return super().execute(sql, *values)


def faulty_store(file: Path, **options: Any) -> Store:
    """A store whose writer fails as `Faulty` is told."""
    store = Store.open(str(file), inline=True, **options)
    store.database.writer.dispose()

    @event.listens_for(store.database.writer, "do_connect")
    def connect(dialect: Any, record: Any, args: Any, options: dict[str, Any]) -> None:
        options["factory"] = Faulty

    return store


@pytest.fixture
def faulty(sqlite_file: Path) -> Iterator[tuple[Store, list[str]]]:
    fatal: list[str] = []
    store = faulty_store(sqlite_file, on_fatal=fatal.append)
    yield store, fatal
    Faulty.fault, Faulty.after_writing, Faulty.in_statement = None, False, None
    store.close()


async def test_a_full_disk_at_commit_is_unavailable_and_passes(faulty: tuple[Store, list[str]]) -> None:
    store, fatal = faulty
    Faulty.fault = failing("database or disk is full", 13)
    answers = await batch(store, top_up("A"), top_up("B"))
    assert "the disk is full" in str(answers[0]) and isinstance(answers[0], Unavailable)
    assert paid(store) == {answer for answer in answers if isinstance(answer, str)}
    assert await batch(store, top_up("C")) == ["C"]
    assert paid(store) >= {"C"} and fatal == []


@pytest.mark.parametrize("after_writing", [False, True])
async def test_a_failed_fsync_stops_the_store_after_everybody_was_answered(
    faulty: tuple[Store, list[str]], after_writing: bool, sqlite_file: Path
) -> None:
    store, fatal = faulty
    Faulty.fault, Faulty.after_writing = failing("disk I/O error", 10 | (4 << 8)), after_writing
    answers = await batch(store, top_up("A"), top_up("B"), fill)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert len(fatal) == 1 and "disk failed" in fatal[0]
    with pytest.raises(Unavailable, match="disk failed"):
        await store.write(top_up("C"))
    with pytest.raises(Unavailable, match="disk failed"):
        store.write_now(top_up("C"))
    store.close()
    with Store.open(str(sqlite_file)) as again:
        assert "C" not in paid(again) and len(fatal) == 1


async def test_trouble_in_one_statement_undoes_its_use_case_alone(faulty: tuple[Store, list[str]]) -> None:
    store, fatal = faulty
    Faulty.in_statement = ("SELECT payment", failing("database is locked", 5))
    first, second = await batch(store, top_up("A"), top_up("B"))
    assert isinstance(first, Unavailable) and second == "B"
    assert paid(store) == {"B"} and fatal == []


async def test_trouble_that_a_use_case_swallows_is_not_success(faulty: tuple[Store, list[str]]) -> None:
    store, _ = faulty

    def swallows(tx: Tx) -> str:
        with contextlib.suppress(Unavailable):
            top_up("A")(tx)
        return "A"

    Faulty.in_statement = ("SELECT payment", failing("database is locked", 5))
    first, second = await batch(store, swallows, top_up("B"))
    assert isinstance(first, Unavailable) and second == "B"
    assert paid(store) == {"B"}


async def test_a_disk_that_fails_in_a_statement_stops_everything(faulty: tuple[Store, list[str]]) -> None:
    store, fatal = faulty
    Faulty.in_statement = ("INSERT INTO payment", failing("disk I/O error", 10))
    answers = await batch(store, top_up("A"), top_up("B"))
    assert all(isinstance(answer, Unavailable) for answer in answers) and len(fatal) == 1
    assert paid(store) == set()


def test_a_failed_fsync_in_a_command_line_verb_is_fatal_too(faulty: tuple[Store, list[str]]) -> None:
    store, fatal = faulty
    Faulty.fault = failing("disk I/O error", 10)
    with pytest.raises(Unavailable):
        store.write_now(top_up("A"))
    assert len(fatal) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    with mounted(tmp_path / "small", "1m") as place:
        yield place


async def test_a_disk_that_is_really_full(small_disk: Path, sqlite_file: Path) -> None:
    file = Path(shutil.copy(sqlite_file, small_disk / "wattgate.db"))
    fatal: list[str] = []
    store = Store.open(str(file), inline=True, on_fatal=fatal.append)
    assert await batch(store, top_up("A")) == ["A"]
    ballast = fill_up(small_disk)
    first, _, third = await batch(store, top_up("B"), fill, top_up("C"))
    told = {answer for answer in (first, third) if isinstance(answer, str)}
    assert paid(store) == {"A"} | told and told != {"B", "C"}
    ballast.unlink()
    assert await batch(store, top_up("D")) == ["D"]
    store.close()
    with Store.open(str(file), read_only=True) as again:
        assert paid(again) == {"A", "D"} | told
    assert fatal == []


def test_a_new_store_on_a_full_disk_says_so(small_disk: Path) -> None:
    fill_up(small_disk)
    with pytest.raises(StoreError, match="the disk is full"):
        Store.open(str(small_disk / "wattgate.db"))
