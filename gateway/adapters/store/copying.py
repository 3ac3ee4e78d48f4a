"""A durable copy of a SQLite store as it is committed at one moment, also beside a gateway that writes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from gateway.adapters.store.engine import Database, StoreError

STEP_PAGES = 256
"""Copied at once, 1 MiB: some ms in which the disk serves nobody else."""

PAUSE_S = 0.002
"""Between two steps: about as long as a step takes, so that the writer's syncs have half of the disk."""

MOST_RESTARTS = 5
"""Of a copy without a log, which every commit makes begin anew; then it is made in one step, and who writes waits for it."""


def copy_durably(database: Database, to: Path) -> None:
    """Write a copy (0600) that must not exist yet, and sync it. Raises StoreError, OSError.

    With a write-ahead log it is the store at the moment of the call and holds up nobody; the log is not reset meanwhile.
    """
    if database.file is None:
        raise StoreError("only a store in a SQLite file is copied by this program: use the server's own pg_dump")
    os.close(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    dbapi = database.reader.dialect.loaded_dbapi
    with database.reader.connect() as source:
        copy = dbapi.connect(str(to))
        try:
            _copy(source.connection.driver_connection, copy)
        except dbapi.Error as error:
            trouble = database.judge(error)
            raise StoreError(f"the store cannot be copied to {to}: {trouble.sentence if trouble else error}") from None
        finally:
            copy.close()
    sync(to)
    sync(to.parent)


def sync(path: Path) -> None:
    """A file's content, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _TooManyRestarts(Exception):
    """The store is written to faster than it is copied."""


def _copy(source: Any, copy: Any) -> None:
    if source.execute("PRAGMA journal_mode").fetchall() == [("wal",)]:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchall()  # from here on it sees this moment, however long it takes
        source.backup(copy, pages=STEP_PAGES, progress=lambda status, left, total: time.sleep(PAUSE_S))
        source.execute("ROLLBACK")
        return
    try:
        source.backup(copy, pages=STEP_PAGES, progress=_Pace())
    except _TooManyRestarts:
        source.backup(copy)


class _Pace:
    """Pauses after every step, and counts how often the copy had to begin anew."""

    def __init__(self) -> None:
        self._restarts, self._done = 0, 0

    def __call__(self, _status: int, left: int, total: int) -> None:
        self._restarts += total - left <= self._done
        self._done = total - left
        if self._restarts > MOST_RESTARTS:
            raise _TooManyRestarts
        time.sleep(PAUSE_S)
