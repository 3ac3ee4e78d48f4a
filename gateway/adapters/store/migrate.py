"""Bringing a database to the tables this program knows; Alembic is imported only when there is something to do."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from gateway.adapters.store import schema
from gateway.adapters.store.engine import Database, StoreError
from gateway.adapters.store.migrations import HEAD, REVISIONS

MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"


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
    """A durable copy of the SQLite file as it is committed now; None on a server."""
    if database.file is None:
        return None
    kept = database.file.with_name(f"{database.file.name}.before-{HEAD}")
    unfinished = kept.with_name(kept.name + ".part")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    dbapi = database.reader.dialect.loaded_dbapi
    with database.reader.connect() as source:
        copy = dbapi.connect(str(unfinished))
        source.connection.driver_connection.backup(copy)  # type: ignore[union-attr]
        copy.close()
    _fsync(unfinished)
    os.replace(unfinished, kept)
    _fsync(kept.parent)
    return kept


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_open(database: Database, error: DBAPIError) -> StoreError:
    trouble = database.judge(error.orig) if error.orig is not None else None
    reason = trouble.sentence if trouble else str(error.orig or error).strip().splitlines()[0]
    return StoreError(f"the store {database.name} cannot be opened: {reason}")
