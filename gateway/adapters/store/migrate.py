"""Bringing a database to the tables this program knows; Alembic is imported only when there is something to do."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from gateway.adapters.store import schema
from gateway.adapters.store.copying import copy_durably, sync
from gateway.adapters.store.engine import Database, StoreError
from gateway.adapters.store.migrations import HEAD, REVISIONS

MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"
BEFORE = ".before-"

KEPT_COPIES = 2
"""Copies of earlier revisions beside the store: the last one to go back to, and one more in case that one was bad. Each is as large
as the store was, on a card that may have 8 GB."""


def migrate(database: Database) -> tuple[str, ...]:
    """Create the tables or bring them forward, in one transaction; sentences about what was done. Raises StoreError.

    A SQLite file that holds data is first copied beside itself.
    """
    try:
        with database.writer.begin() as connection:
            revision = _known_revision(database, connection)
            if revision == HEAD:
                return ()
            kept = None if revision is None else _copy_beside(database)
            upgrade(connection)
    except DBAPIError as error:
        raise _cannot_open(database, error) from error
    if revision is None:
        return ()
    _drop_old_copies(database)
    keep = f"as it was before it is kept as {kept}" if kept else "a server keeps no copy of it as it was before"
    return (f"the store {database.name} was brought from revision {revision} to {HEAD}; {keep}",)


def must_be_current(database: Database) -> None:
    """Raises StoreError unless the tables are exactly what this program knows; changes nothing."""
    try:
        with database.reader.begin() as connection:
            revision = _known_revision(database, connection)
    except DBAPIError as error:
        raise _cannot_open(database, error) from error
    if revision is None:
        raise StoreError(f"there is no store in {database.name} yet: start the gateway on it first")
    if revision != HEAD:
        raise StoreError(f"the store {database.name} is from an older version: start the gateway on it once to bring it forward")


def upgrade(connection: Connection, target: str = "head") -> None:
    """Run the migrations up to a revision in the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)


def _known_revision(database: Database, connection: Connection) -> str | None:
    """The database's revision, None for an empty database; StoreError for one that is not ours or newer than this program."""
    tables = set(inspect(connection).get_table_names())
    if _VERSION_TABLE not in tables:
        strangers = tables if database.file is not None else tables & set(schema.metadata.tables)
        if strangers:
            raise StoreError(
                f"{database.name} holds tables of another program ({min(strangers)}): the store needs its own database"
            )
        return None
    revision = connection.exec_driver_sql(f"SELECT version_num FROM {_VERSION_TABLE}").scalar()
    if revision not in REVISIONS:
        newer = f"is from a newer version (revision {revision}, this program knows {HEAD})"
        raise StoreError(f"the store {database.name} {newer}: update wattgate")
    return str(revision)


def _copy_beside(database: Database) -> Path | None:
    """A durable copy of the SQLite file as it is committed now; None on a server. Raises StoreError."""
    if database.file is None:
        return None
    kept = database.file.with_name(f"{database.file.name}{BEFORE}{HEAD}")
    unfinished = kept.with_name(kept.name + ".part")
    try:
        unfinished.unlink(missing_ok=True)
        copy_durably(database, unfinished)
        os.replace(unfinished, kept)
        sync(kept.parent)
    except OSError as error:
        raise StoreError(f"the store cannot be copied to {kept}, so it is not brought forward: {error.strerror}") from None
    return kept


def _drop_old_copies(database: Database) -> None:
    """Only the newest copies of earlier revisions stay."""
    if database.file is None:
        return
    copies = database.file.parent.glob(f"{glob.escape(database.file.name)}{BEFORE}*")
    oldest_first = sorted((copy for copy in copies if copy.suffix != ".part"), key=lambda copy: copy.stat().st_mtime_ns)
    for copy in oldest_first[:-KEPT_COPIES]:
        copy.unlink(missing_ok=True)


def _cannot_open(database: Database, error: DBAPIError) -> StoreError:
    trouble = database.judge(error.orig) if error.orig is not None else None
    reason = trouble.sentence if trouble else str(error.orig or error).strip().splitlines()[0]
    return StoreError(f"the store {database.name} cannot be opened: {reason}")
