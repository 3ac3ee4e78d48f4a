"""A new SQLite store in a few milliseconds: its tables are made by the migrations once, and after that from what these made.

Each migration costs ten milliseconds or more, and hundreds of tests begin with an empty store. Those whose matter the making of a
store is stand in tests/gateway/adapters/store; they, PostgreSQL and every process of its own go through the migrations.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from gateway.adapters.store import migrate
from gateway.adapters.store.engine import open_database

_migrated = migrate.upgrade


Step = tuple[str, tuple[object, ...]]


@cache
def made() -> tuple[Step, ...]:
    """What the migrations make of an empty file: tables, their first rows, then indices and triggers."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(str(Path(folder) / "empty.db"))
        try:
            with database.writer.begin() as connection:
                _migrated(connection)
                return tuple(_steps(connection))
        finally:
            database.close()


def _steps(connection: Connection) -> Iterator[Step]:
    found = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid").all()
    tables = [(name, sql) for kind, name, sql in found if kind == "table" and not name.startswith("sqlite_")]
    yield from ((sql, ()) for _, sql in tables)
    for name, _ in tables:
        for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"'):
            yield f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(row))})', tuple(row)
    yield from ((sql, ()) for kind, _, sql in found if kind != "table")


def upgrade(connection: Connection, target: str = "head") -> None:
    """Stands for migrate.upgrade: an empty SQLite file is given what the migrations made before, everything else is migrated."""
    if target != "head" or connection.dialect.name != "sqlite" or _holds_something(connection):
        _migrated(connection, target)
        return
    for sql, values in made():
        connection.exec_driver_sql(sql, values)


def _holds_something(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar())


@contextmanager
def quickly_made() -> Iterator[None]:
    """Within it new SQLite stores of this process are made from what the migrations made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "upgrade", upgrade)
        yield
