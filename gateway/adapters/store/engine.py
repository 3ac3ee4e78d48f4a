"""Databases: SQLite and PostgreSQL opened so that a commit is durable, and what their errors mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

BUSY_TIMEOUT_MS = 5_000
"""How long one lock is waited for: banks are answered within 5 s (contract.md 3), so longer helps nobody."""

READERS = 3
"""Reading connections and their threads: pages, bank queries and plans beside each other; more only share the same processor."""

CACHE_KB = 4_000
"""Of the writing connection: a thousand pages. The system keeps the file in its own memory besides, so that more was not faster."""

WAL_LIMIT_BYTES = 64 * 1024 * 1024
"""What is kept of the write-ahead log after it grew behind a long reader."""


MUST_WRITE = "incremental_vacuum"
"""A pragma that changes nothing here and fails on a connection that cannot write: SQLite opens for reading what it could not open
for writing, in a moment without file handles for instance, and such a connection would be kept for ever."""

WRITER_LOCK = 0x7761747467617465
"""PostgreSQL's advisory lock of the one writing transaction ("wattgate")."""


class StoreError(Exception):
    """The store cannot be opened; one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error of the database itself, in one sentence. fatal: the process must stop, what is on disk is no longer known.
    full: it has no room; nothing of the transaction stays."""

    sentence: str
    fatal: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class Database:
    """An open database: one writing connection, some that only read, and what the operator should be told about it.

    in_transaction asks the driver, not us: SQLite ends transactions by itself. judge: what an error of the driver means, None when
    it is not the database's trouble but a wrong statement. stamp: asked within a write transaction, the same as before as long as
    nobody has written meanwhile, through this connection or another; None where that cannot be told.
    """

    url: URL
    writer: Engine
    reader: Engine
    notices: tuple[str, ...]
    in_transaction: Callable[[Any], bool]
    judge: Callable[[BaseException], Trouble | None]
    stamp: Callable[[Any], object] = lambda connection: None

    @property
    def name(self) -> str:
        """How sentences name this database, without its password."""
        return str(self.file or self.url.render_as_string(hide_password=True))

    @property
    def file(self) -> Path | None:
        """The SQLite file, None on a server."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    def close(self) -> None:
        """Close all connections; SQLite then folds its log into the file."""
        self.reader.dispose()
        self.writer.dispose()


def open_database(url_or_path: str, *, create: bool = True) -> Database:
    """The database at `postgresql://...` or in a SQLite file, given as a path or `sqlite:///...`. Raises StoreError."""
    try:
        url = make_url(url_or_path) if "://" in url_or_path else URL.create("sqlite", database=str(Path(url_or_path).absolute()))
    except ArgumentError:
        raise StoreError(f"{url_or_path!r} is neither a file nor a database URL") from None
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database not in (None, "", ":memory:"):
        return _open_sqlite(url, create)
    if backend in ("postgresql", "postgres"):
        return _open_postgresql(url.set(drivername="postgresql+psycopg"))
    raise StoreError(f"{url.drivername} is not a database for this store: use a SQLite file or a postgresql:// URL")


# SQLite


def sqlite_module() -> ModuleType:
    """The bundled SQLite where there is a wheel of it, else the system's."""
    try:
        from pysqlite3 import dbapi2  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        import sqlite3 as dbapi2
    module: ModuleType = dbapi2
    return module


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite is free of the WAL-reset corruption (3.7.0 to 3.51.2, fixed in 3.44.6 and 3.50.7 as well)."""
    fixed = (3, 44, 6) <= version < (3, 45) or (3, 50, 7) <= version < (3, 51)
    return version < (3, 7) or version >= (3, 51, 3) or fixed


def _open_sqlite(url: URL, create: bool) -> Database:
    module = sqlite_module()
    journal = "WAL"
    notices: tuple[str, ...] = ()
    if not wal_is_safe(module.sqlite_version_info):
        journal = "TRUNCATE"
        notices = (f"SQLite {module.sqlite_version} can corrupt a database in WAL mode: using the slower TRUNCATE journal",)
    _touch(Path(url.database or ""), create)
    durable = f"journal_mode={journal} synchronous=FULL foreign_keys=ON journal_size_limit={WAL_LIMIT_BYTES} cache_size=-{CACHE_KB}"
    durable += f" {MUST_WRITE}"
    writer = create_engine(url, module=module, pool_size=1, max_overflow=0)
    reader = create_engine(url, module=module, pool_size=READERS, max_overflow=0)
    _prepare_sqlite(writer, durable.split(), "BEGIN IMMEDIATE")
    _prepare_sqlite(reader, ["query_only=1"], "BEGIN")
    return Database(url, writer, reader, notices, _sqlite_in_transaction, _judge_sqlite, _sqlite_stamp)


def _touch(path: Path, create: bool) -> None:
    """A new file is the owner's alone; SQLite gives its log the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600))
    except OSError as error:
        raise StoreError(f"the store {path} cannot be opened: {error.strerror}") from None


def _prepare_sqlite(engine: Engine, pragmas: list[str], begin: str) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin or commit by itself
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _sqlite_in_transaction(connection: Any) -> bool:
    return bool(connection.in_transaction)


def _sqlite_stamp(connection: Any) -> object:
    """data_version moves with commits of all other connections (sqlite.org/pragma.html), total_changes with this one's own."""
    [(version,)] = connection.execute("PRAGMA data_version").fetchall()
    return connection, version, connection.total_changes


_FULL = Trouble("the disk is full", full=True)
_SHARED_MEMORY = 10 | 19 << 8
"""SQLITE_IOERR_SHMSIZE: the log's index, which is no data, could not grow; on a full disk it is the first that cannot."""

_SQLITE = {  # primary result codes that are not the statement's fault (sqlite.org/rescode.html)
    5: Trouble("the database is locked by another process"),
    6: Trouble("the database is locked"),
    7: Trouble("the store is out of memory"),
    8: Trouble("the database cannot be written"),
    9: Trouble("the statement was interrupted"),
    10: Trouble("the disk failed while the store was writing or reading", fatal=True),
    11: Trouble("the database file is damaged", fatal=True),
    13: _FULL,
    14: Trouble("the database file cannot be opened"),
    15: Trouble("the database is locked by another process"),
    26: Trouble("the file is not a database", fatal=True),
}


def _judge_sqlite(error: BaseException) -> Trouble | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code == _SHARED_MEMORY:
        return _FULL
    return None if code is None else _SQLITE.get(code & 0xFF)


# PostgreSQL


def _open_postgresql(url: URL) -> Database:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise StoreError("PostgreSQL needs its driver: install wattgate[postgres]") from None
    writer = create_engine(url, pool_size=1, max_overflow=0)
    reader = create_engine(url, pool_size=READERS, max_overflow=0, isolation_level="REPEATABLE READ")
    _prepare_postgresql(writer, ["synchronous_commit = on"])  # a 2xx promises the disk, whatever the server's default

    @event.listens_for(writer, "begin")
    def one_writer_at_a_time(connection: Connection) -> None:  # as BEGIN IMMEDIATE does: batches of two processes would deadlock
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")

    _prepare_postgresql(reader, ["default_transaction_read_only = on"])
    return Database(url, writer, reader, (), _postgresql_in_transaction, _judge_postgresql)


def _prepare_postgresql(engine: Engine, settings: list[str]) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            for setting in (f"lock_timeout = {BUSY_TIMEOUT_MS}", *settings):
                cursor.execute(f"SET {setting}")
        connection.commit()


def _postgresql_in_transaction(connection: Any) -> bool:
    from psycopg.pq import TransactionStatus

    return connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)


_POSTGRESQL = {  # SQLSTATE classes (or codes) that are not the statement's fault (PostgreSQL, appendix A)
    "08": "the connection to the database is lost",
    "25006": "the database takes no writes now",
    "40": "the database chose this transaction to end a deadlock",
    "53": "the database server is out of disk, memory or connections",
    "55": "the database is locked by another process",
    "57": "the database server is shutting down or was interrupted",
    "58": "the database server's disk failed",
    "XX": "the database server reports damaged data or a fault of its own",
}


def _judge_postgresql(error: BaseException) -> Trouble | None:
    from psycopg import OperationalError

    state: str | None = getattr(error, "sqlstate", None)
    if state is None:  # libpq itself, without a word from the server
        return Trouble(_POSTGRESQL["08"]) if isinstance(error, OperationalError) else None
    sentence = _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2])
    return None if sentence is None else Trouble(sentence)
