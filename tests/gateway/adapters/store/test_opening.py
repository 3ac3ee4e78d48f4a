"""Opening, creating, migrating and locking: what a newcomer, an upgrade and a second process meet."""

from __future__ import annotations

import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from gateway.adapters.store import Store, StoreError, engine, lock, migrate, store_file
from gateway.adapters.store.engine import open_database, sqlite_module, wal_is_safe
from gateway.adapters.store.migrations import HEAD, REVISIONS
from gateway.adapters.store.schema import metadata
from tests.gateway.adapters.store.conftest import new_database

# migrations


def test_the_revisions_named_are_those_in_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert tuple(r.revision for r in reversed(list(script.walk_revisions()))) == REVISIONS
    assert script.get_heads() == [HEAD]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_migrations_make_the_tables_that_the_code_knows(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """By Alembic's own comparison, and by what the database says of two of them: one migrated, one made from the code."""
    if kind == "sqlite":
        migrated, made = open_database(str(request.getfixturevalue("sqlite_file"))), open_database(str(tmp_path / "made.db"))
    else:
        made = open_database(new_database(request.getfixturevalue("postgres"), "made"))
        migrated = open_database(request.getfixturevalue("postgres_url"))
    try:
        with migrated.reader.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
        with made.writer.begin() as connection:
            metadata.create_all(connection)
        assert describe(migrated) == describe(made)
    finally:
        migrated.close()
        made.close()


def describe(database: engine.Database) -> dict[str, object]:
    with database.reader.connect() as connection:
        seen = inspect(connection)
        found: dict[str, object] = {}
        for table in metadata.tables:
            checks = sorted((c["name"], c["sqltext"]) for c in seen.get_check_constraints(table))
            indexes = sorted(
                (i["name"], i["column_names"], {k: str(v) for k, v in i.get("dialect_options", {}).items()})
                for i in seen.get_indexes(table)
            )
            uniques = sorted((u["name"], u["column_names"]) for u in seen.get_unique_constraints(table))
            named = database.file is None  # what SQLite adds to a table later has none
            foreign = sorted(
                (f["name"] if named else "", f["constrained_columns"], f["referred_table"], f["referred_columns"])
                for f in seen.get_foreign_keys(table)
            )
            columns = [(c["name"], str(c["type"]), c["nullable"], c.get("autoincrement")) for c in seen.get_columns(table)]
            found[table] = (
                columns,
                checks,
                indexes,
                uniques,
                foreign,
                seen.get_pk_constraint(table),
                seen.get_table_options(table),
            )
        return found


def test_alembic_is_imported_only_when_there_is_something_to_migrate(sqlite_file: Path) -> None:
    code = "import sys; from gateway.adapters.store import Store; Store.open(sys.argv[1]).close(); print('alembic' in sys.modules)"
    for path, imported in ((sqlite_file, "False"), (sqlite_file.with_name("new.db"), "True")):
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == imported


def test_an_older_store_is_brought_forward_and_kept_as_it_was(sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(str(sqlite_file)) as store:
        store.write_now(lambda tx: tx.set_meta("k", "of old"))
    older_than_head(sqlite_file, monkeypatch)
    with pytest.raises(StoreError, match="from an older version: start the gateway on it once"):
        Store.open(str(sqlite_file), read_only=True)
    with Store.open(str(sqlite_file)) as store:
        kept = sqlite_file.with_name(f"wattgate.db.before-{HEAD}")
        assert [str(kept) in notice and f"0000 to {HEAD}" in notice for notice in store.notices] == [True]
        assert store.read_now(lambda tx: tx.meta("k")) == "of old"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    module = sqlite_module()
    copy = module.connect(str(kept))
    assert copy.execute("SELECT value FROM meta WHERE key = 'k'").fetchall() == [("of old",)]
    assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [("0000",)]
    copy.close()
    with Store.open(str(sqlite_file)) as store:
        assert store.notices == ()


def older_than_head(file: Path, monkeypatch: pytest.MonkeyPatch, *, then: str = "") -> None:
    """Makes the file look like one of a revision before the head, and the head's migration like a small one."""
    monkeypatch.setattr(migrate, "REVISIONS", ("0000", *REVISIONS))
    database = open_database(str(file))
    with database.writer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    database.close()

    def upgrade(connection: object, target: str = "head") -> None:
        connection.execute(text("CREATE TABLE half_way (x INTEGER)"))  # type: ignore[attr-defined]
        connection.execute(text(then or "DROP TABLE half_way"))  # type: ignore[attr-defined]
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{HEAD}'"))  # type: ignore[attr-defined]

    monkeypatch.setattr(migrate, "upgrade", upgrade)


def test_a_migration_that_fails_leaves_the_store_as_it_was(sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older_than_head(sqlite_file, monkeypatch, then="UPDATE head SET number = -1")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(str(sqlite_file))
    database = open_database(str(sqlite_file))
    with database.reader.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0000"
        assert "half_way" not in inspect(connection).get_table_names()
    database.close()


@pytest.mark.parametrize("kind", ["sqlite_file", "postgres_url"])
def test_a_store_from_a_newer_version_is_refused_untouched(kind: str, request: pytest.FixtureRequest) -> None:
    where = str(request.getfixturevalue(kind))
    database = open_database(where)
    with database.writer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    database.close()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"^the store .* is from a newer version \(revision 0099.*\): update wattgate$"):
            Store.open(where, read_only=read_only)


# what else may stand where the store should be


def test_what_is_not_a_store_is_one_clear_sentence(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    module = sqlite_module()
    connection = module.connect(str(foreign))
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is no database at all, but long enough to be read as a page" * 100)
    cases = {
        str(foreign): "holds tables of another program",
        str(garbage): "not a database",
        str(tmp_path): "Is a directory",
        str(tmp_path / "nowhere" / "x.db"): "No such file or directory",
        "mysql://somewhere/x": "not a database for this store",
        "sqlite://": "not a database for this store",
        "://": "neither a file nor a database URL",
        "postgresql://nobody:secret@127.0.0.1:1/x": "the connection to the database is lost",
    }
    for where, words in cases.items():
        with pytest.raises(StoreError, match=words) as caught:
            Store.open(where)
        assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert foreign.read_bytes().count(b"entry") == 0


def test_reading_where_no_store_is_creates_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        Store.open(str(tmp_path / "x.db"), read_only=True)
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="there is no store"):
        Store.open(str(tmp_path / "empty.db"), read_only=True)
    assert not (tmp_path / "x.db").exists()


def test_a_new_store_is_its_owners_alone_and_settings_are_durable(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "x.db")) as store:
        with store.database.writer.connect() as connection:
            found = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        assert found == ["wal", 2, 1]
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("x.db*")} == {0o600}


def test_randomness_can_be_passed_in(tmp_path: Path) -> None:
    epochs = []
    for name, rng in (("a", random.Random(7)), ("b", random.Random(7)), ("c", random.Random(8)), ("d", None), ("e", None)):
        with Store.open(str(tmp_path / name), rng=rng) as store:
            epochs.append(store.read_now(lambda tx: (tx.meta("epoch"), tx.meta("pseudonym_key"))))
    assert epochs[0] == epochs[1] and len(set(epochs)) == 4


def test_epoch_and_key_stay_when_the_store_is_opened_again(sqlite_file: Path) -> None:
    found = set()
    for _ in range(2):
        with Store.open(str(sqlite_file), rng=random.Random(1)) as store:
            found.add(store.read_now(lambda tx: (tx.meta("epoch"), tx.meta("pseudonym_key"))))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("3.6.23", True),
        ("3.7.0", False),
        ("3.40.1", False),
        ("3.44.5", False),
        ("3.44.6", True),
        ("3.45.0", False),
        ("3.50.6", False),
        ("3.50.7", True),
        ("3.51.0", False),
        ("3.51.2", False),
        ("3.51.3", True),
        ("3.53.4", True),
    ],
)
def test_which_sqlite_may_use_wal(version: str, safe: bool) -> None:
    assert wal_is_safe(tuple(map(int, version.split(".")))) is safe


def test_an_sqlite_that_corrupts_wal_gets_the_other_journal_and_says_so(sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setattr(engine, "sqlite_module", lambda: sqlite3)
    monkeypatch.setattr(engine, "wal_is_safe", lambda version: False)
    with Store.open(str(sqlite_file)) as store:
        assert len(store.notices) == 1 and sqlite3.sqlite_version in store.notices[0]
        with store.database.writer.connect() as connection:
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert found == ["truncate", 2]
        store.write_now(lambda tx: tx.set_meta("k", "v"))
        assert store.read_now(lambda tx: tx.meta("k")) == "v"


# the data directory


def test_the_data_directory_is_made_for_its_owner_and_locked(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "data"
    held = lock(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700 and held.path == directory
    assert store_file(directory).parent == directory
    held.release()
    held.release()
    with lock(directory):
        pass


def test_a_second_process_is_told_who_has_it(tmp_path: Path) -> None:
    code = "import pathlib, sys; from gateway.adapters.store import lock; h = lock(pathlib.Path(sys.argv[1])); print(7); input()"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "7\n"
        with pytest.raises(StoreError, match=rf"^the data directory {tmp_path} is in use by process {other.pid}$"):
            lock(tmp_path)
        other.kill()
        other.wait()
    lock(tmp_path).release()


def test_a_data_directory_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        lock(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be used"):
        lock(tmp_path / "file" / "below")


def test_the_store_works_where_its_path_has_odd_characters(empty_file: Path, tmp_path: Path) -> None:
    odd = tmp_path / "100% d'été ?#"
    odd.mkdir()
    with Store.open(str(odd / "new.db")) as store:
        store.write_now(lambda tx: tx.set_meta("k", "v"))
    assert sorted(path.name for path in odd.iterdir()) == ["new.db"]
    shutil.copyfile(empty_file, odd / "copy.db")
    Store.open(str(odd / "copy.db")).close()
