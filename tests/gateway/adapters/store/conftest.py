"""Stores to test: a SQLite file copied from an empty one, a database copied from an empty one on a real PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.store import Store
from gateway.adapters.store.migrations import HEAD
from gateway.adapters.store.schema import metadata
from tests.gateway.adapters.store.postgres import CannotStart, server


@pytest.fixture(autouse=True)
def new_stores() -> None:
    """Here new stores are made by the migrations."""


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was just created; tests copy it, which is quicker than migrating each anew."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    Store.open(str(path)).close()
    return path


@pytest.fixture
def sqlite_file(empty_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(empty_file, tmp_path / "wattgate.db"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a running PostgreSQL's own database; skips where none can be started."""
    try:
        running = server()
        url = running.__enter__()
    except CannotStart as error:
        pytest.skip(str(error))
    yield url
    running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def postgres_store(postgres: str) -> str:
    """A database in which a store was just created; tests share it, which is ten times quicker than one for each."""
    url = new_database(postgres, "wattgate")
    Store.open(url).close()
    return url


@pytest.fixture
def postgres_url(postgres_store: str) -> str:
    """The shared database, emptied past its own triggers."""
    tables = [table.name for table in reversed(metadata.sorted_tables) if table.name != "head"]
    clean = [f"DELETE FROM {name}" for name in tables]
    heads = "UPDATE head SET number = 0, hash = CASE WHEN name IN ('journal', 'audit') THEN repeat('0', 64) ELSE '' END"
    version = f"UPDATE alembic_version SET version_num = '{HEAD}'"
    _run(postgres_store, "SET session_replication_role = replica", *clean, heads, version)
    return postgres_store


def new_database(postgres: str, name: str) -> str:
    """Creates a database of that name on the server; its URL."""
    _run(postgres, f"CREATE DATABASE {name}")
    return postgres.replace("@/postgres?", f"@/{name}?")


def _run(url: str, *statements: str) -> None:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for sql in statements:
            connection.execute(sql.encode())
