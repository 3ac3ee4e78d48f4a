"""The central system's store on SQLite or PostgreSQL, opened and brought to the version that we know (schema.py)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import TypeVar

from sqlalchemy import Connection, Table, insert, inspect, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from gateway.adapters.store.engine import Database, StoreError, open_database
from gateway.central import older, schema

T = TypeVar("T")
Row = dict[str, object]


@cache
def _unnested(table: Table, names: tuple[str, ...]) -> str:
    """An upsert of many rows as one statement of PostgreSQL, columns as arrays: one by one each row costs a round of its own."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    arrays = ", ".join(f"%({name})s::{table.c[name].type.compile(dialect)}[]" for name in names)
    keys = [column.name for column in table.primary_key]
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    into = f"INSERT INTO {table.name} ({', '.join(names)}) SELECT * FROM unnest({arrays})"
    return f"{into} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"


class StoreUnusable(Exception):
    """The store cannot be used; the text is one sentence."""


class StoreFailed(StoreUnusable):
    """The store cannot do this now; nothing of it happened. The text is one sentence."""


class StoreBroken(StoreFailed):
    """What is on the disk is no longer known: the process must stop."""


class CentralStore:
    """An open store. All calls block. Several processes may have it open: one writes at a time."""

    def __init__(self, database: Database) -> None:
        self._database, self._open = database, threading.local()
        self.on_server = database.url.get_backend_name() == "postgresql"
        self.dialect: ModuleType = postgresql if self.on_server else sqlite

    @classmethod
    def open(cls, url_or_path: str) -> CentralStore:
        """Opens it, creates the tables that are missing. StoreUnusable when that cannot be."""
        try:
            store = cls(open_database(url_or_path))
        except StoreError as problem:
            raise StoreUnusable(str(problem)) from None
        try:
            store.write(store._prepare)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Closes all connections."""
        self._database.close()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one transaction, durable when this returns. StoreFailed: nothing of it happened.

        Within `together` it is a part of that transaction, and durable with it.
        """
        if (inside := getattr(self._open, "connection", None)) is not None:
            return self._part(inside, work)
        try:
            with self._database.writer.begin() as connection:
                return work(connection)
        except Exception as error:
            if (judged := self._judged(error)) is None:
                raise
            raise judged from error

    def together(self, works: Sequence[Callable[[], T]]) -> list[T | Exception]:
        """Runs works that write, one after another in one transaction: one commit makes all durable. What each gave, or raised.

        What a work raises undoes that work alone. StoreFailed: none of them happened.
        """
        if len(works) == 1:
            return [self._outcome(works[0])]

        def all_of_them(connection: Connection) -> list[T | Exception]:
            self._open.connection = connection
            try:
                return [self._outcome(work) for work in works]
            finally:
                self._open.connection = None

        return self.write(all_of_them)

    @staticmethod
    def _outcome(work: Callable[[], T]) -> T | Exception:
        try:
            return work()
        except StoreFailed:
            raise
        except Exception as error:
            return error

    def _part(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        """In a savepoint, which is also how we know that the transaction is still the same one: later parts would commit alone."""
        part = connection.begin_nested()
        try:
            done = work(connection)
        except Exception as error:
            if (judged := self._judged(error)) is not None:
                raise judged from error
            self._still(part.rollback)
            raise
        self._still(part.commit)
        return done

    def _still(self, end: Callable[[], None]) -> None:
        try:
            end()
        except Exception as lost:
            raise self._judged(lost) or StoreFailed("the store ended the transaction by itself") from lost

    def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` on one unchanging view of the store. StoreFailed when it cannot be read now."""
        try:
            with self._database.reader.connect() as connection:
                return work(connection)
        except Exception as error:
            if (judged := self._judged(error)) is None:
                raise
            raise judged from error

    def _judged(self, error: Exception) -> StoreFailed | None:
        """What the driver's error means; COPY raises it bare. None: the database is not at fault."""
        trouble = self._database.judge(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)
        return None if trouble is None else (StoreBroken if trouble.fatal else StoreFailed)(trouble.sentence)

    def upsert(self, connection: Connection, table: Table, rows: list[Row]) -> None:
        """Inserts rows, or changes those whose primary key is there."""
        if not rows:
            return
        if self.on_server:
            names = list(rows[0])
            columns = {name: [row[name] for row in rows] for name in names}
            connection.exec_driver_sql(_unnested(table, tuple(names)), columns)
            return
        statement = self.dialect.insert(table)
        keys = [column.name for column in table.primary_key]
        changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)

    def insert_new(self, connection: Connection, table: Table, row: Row) -> bool:
        """Inserts a row unless one with its keys is there; whether it was new."""
        done = connection.execute(self.dialect.insert(table).values(row).on_conflict_do_nothing())
        return bool(done.rowcount)

    def _prepare(self, connection: Connection) -> None:
        is_new = not inspect(connection).has_table(schema.meta.name)
        schema.metadata.create_all(connection)
        if is_new:
            connection.execute(insert(schema.meta).values(key="schema", value=schema.VERSION))
        version = connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == "schema"))
        if version not in (schema.VERSION, *older.STEPS):
            raise StoreUnusable(f"the central store has schema {version}, we know {schema.VERSION}: use a newer wattgate")
        while version != schema.VERSION:
            version, statements, work = older.STEPS[str(version)]
            for statement in statements:
                connection.execute(text(statement))
            work(connection)
        connection.execute(update(schema.meta).where(schema.meta.c.key == "schema").values(value=schema.VERSION))
