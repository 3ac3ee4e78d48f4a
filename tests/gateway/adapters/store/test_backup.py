"""Copies of a store: whole at one moment beside a writer, verified, and put in place so that no interruption mixes two stores."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.adapters.store import Store, StoreError, backup, copying, lock, migrate
from gateway.adapters.store.backup import put_in_place, read_manifest, unpack, write_backup
from gateway.adapters.store.engine import sqlite_module
from gateway.adapters.store.migrations import HEAD
from gateway.services.ports import Tx
from tests.gateway.adapters.store.test_disk import top_up
from tests.gateway.adapters.store.test_opening import older_than_head


def big(tx: Tx) -> None:
    """Some 4 MB, so that a copy takes several steps."""
    for n in range(1000):
        tx.set_meta(f"ballast {n:04}", "x" * 4000)


def test_a_backup_is_one_moment_of_the_store_while_it_is_written_to(sqlite_file: Path, tmp_path: Path) -> None:
    out, done, written = tmp_path / "out.tar", threading.Event(), 0
    with Store.open(str(sqlite_file)) as store:
        store.write_now(big)

        def write() -> None:
            nonlocal written
            while not done.is_set():
                written += 1
                store.write_now(write_both)

        def write_both(tx: Tx) -> None:
            tx.set_meta("first", str(written))
            tx.set_meta("zlast", str(written))

        writer = threading.Thread(target=write)
        writer.start()
        with Store.open(str(sqlite_file), read_only=True) as beside:
            manifest = write_backup(beside.database, out, version="1", made_ms=1000)
        then = written
        while written == then and writer.is_alive():  # it goes on behind the copy, however late
            threading.Event().wait(0.001)
        done.set()
        writer.join()
        epoch = store.read_now(lambda tx: tx.meta("epoch"))
    assert (manifest.epoch, manifest.revision, manifest.made_ms) == (epoch, HEAD, 1000)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600 and list(tmp_path.glob(".out*")) == []
    assert read_manifest(out) == manifest == unpack(out, tmp_path / "copy.db")
    with Store.open(str(tmp_path / "copy.db")) as copy:
        first, last = copy.read_now(lambda tx: (tx.meta("first"), tx.meta("zlast")))
        assert first == last and written > int(first or 0), "both of one transaction, and not the last of them"


def test_the_writer_does_not_wait_for_a_copy(sqlite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every pause of the copy the writer commits."""
    with Store.open(str(sqlite_file), inline=True) as store:
        store.write_now(big)
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            store.write_now(lambda tx: tx.set_meta("during", str(len(pauses))))

        monkeypatch.setattr("gateway.adapters.store.copying.time.sleep", pause)
        with Store.open(str(sqlite_file), read_only=True) as beside:
            copying.copy_durably(beside.database, tmp_path / "copy.db")
        assert len(pauses) >= 4
    with Store.open(str(tmp_path / "copy.db")) as copy:
        assert copy.read_now(lambda tx: tx.meta("during")) is None


def test_without_a_log_a_copy_that_is_written_to_comes_to_its_end_all_the_same(
    sqlite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.adapters.store.engine.wal_is_safe", lambda version: False)
    with Store.open(str(sqlite_file), inline=True) as store:
        store.write_now(big)
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            store.write_now(lambda tx: tx.set_meta("during", str(len(pauses))))

        monkeypatch.setattr("gateway.adapters.store.copying.time.sleep", pause)
        with Store.open(str(sqlite_file), read_only=True) as beside:
            copying.copy_durably(beside.database, tmp_path / "copy.db")
    assert len(pauses) <= copying.MOST_RESTARTS * 3
    with Store.open(str(tmp_path / "copy.db")) as copy:
        assert copy.read_now(lambda tx: tx.meta("during")) == str(len(pauses))


def packed(manifest: bytes, content: bytes = b"", *, names: tuple[str, str] = ("manifest.json", "wattgate.db")) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, part in zip(names, (manifest, content), strict=True):
            member = tarfile.TarInfo(name)
            member.size = len(part)
            tar.addfile(member, io.BytesIO(part))
    return out.getvalue()


def test_what_is_no_backup_is_one_sentence(sqlite_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    with Store.open(str(sqlite_file), read_only=True) as store:
        said = vars_of(write_backup(store.database, out, version="1", made_ms=1000))
    good = out.read_bytes()
    cases: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "is no backup"),
        "text": (b"a letter to my aunt" * 100, "is no backup"),
        "half": (good[: len(good) // 2], "is no backup|is damaged"),
        "names": (packed(json.dumps(said).encode(), names=("manifest.json", "../wattgate.db")), "is no backup"),
        "no json": (packed(b"{"), "is no backup"),
        "no number": (packed(json.dumps(said | {"journal": "1"}).encode()), "is no backup"),
        "newer": (packed(json.dumps(said | {"format": 2}).encode()), "from a newer version"),
        "other content": (packed(json.dumps(said).encode(), b"x" * 5000), "is damaged"),
        "long manifest": (packed(b" " * 5000), "is no backup"),
    }
    for name, (content, words) in cases.items():
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(StoreError, match=words) as refused:
            unpack(file, tmp_path / "unpacked.db")
        assert "\n" not in str(refused.value)
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        unpack(tmp_path / "nowhere", tmp_path / "unpacked.db")


def vars_of(manifest: backup.Manifest) -> dict[str, object]:
    return {name: getattr(manifest, name) for name in backup.Manifest.__slots__}


@pytest.mark.parametrize(("head", "log"), [("journal", "the ledger"), ("audit", "the audit log")])
def test_a_damaged_store_gives_no_backup_and_leaves_the_one_before(sqlite_file: Path, tmp_path: Path, head: str, log: str) -> None:
    out = tmp_path / "out.tar"
    with Store.open(str(sqlite_file)) as store:
        store.write_now(top_up("A"))
        write_backup(store.database, out, version="1", made_ms=1000)
        good = out.read_bytes()
        with store.database.writer.begin() as connection:
            connection.exec_driver_sql(f"UPDATE head SET number = 7 WHERE name = '{head}'")
        with pytest.raises(StoreError, match=f"{log} does not end where the store says"):
            write_backup(store.database, out, version="1", made_ms=2000)
    assert out.read_bytes() == good and sorted(f.name for f in tmp_path.iterdir()) == ["out.tar", sqlite_file.name]


def store_with(empty: Path, path: Path, word: str) -> None:
    """A store that holds a word, as a process leaves it that was killed: in its log alone."""
    shutil.copyfile(empty, path)
    connection = sqlite_module().connect(str(path), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("INSERT INTO meta VALUES ('word', ?)", (word,))
    content, log = path.read_bytes(), path.with_name(f"{path.name}-wal").read_bytes()
    connection.close()
    path.write_bytes(content)
    path.with_name(f"{path.name}-wal").write_bytes(log)


def new_and_old(empty: Path, data: Path) -> None:
    """The store of a backup, which is one file, and the one that stands there."""
    store_with(empty, data / "wattgate.db", "old")
    store_with(empty, data / "new.db", "new")
    Store.open(str(data / "new.db")).close()


def word_in(path: Path) -> str | None:
    with Store.open(str(path)) as store:
        return store.read_now(lambda tx: tx.meta("word"))


def put(data: Path) -> Path:
    put_in_place(data / "new.db", data / "wattgate.db", kept := data / "wattgate.db.replaced-1")
    return kept


def test_the_store_that_was_there_is_kept_with_its_log(empty_file: Path, tmp_path: Path) -> None:
    new_and_old(empty_file, tmp_path)
    kept = put(tmp_path)
    assert word_in(tmp_path / "wattgate.db") == "new"
    assert word_in(kept) == "old"


@pytest.mark.parametrize("linked", [True, False], ids=["links", "no links"])
def test_an_interrupted_exchange_starts_no_gateway_and_is_done_again(
    linked: bool, empty_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step in turn; the old log is never met by the new store."""
    for step in range(1, 20):
        data = tmp_path / str(step)
        data.mkdir()
        new_and_old(empty_file, data)
        with monkeypatch.context() as patch:
            interrupt(patch, step, linked)
            try:
                put(data)
                break
            except Interrupted:
                pass
        if (data / "wattgate.db.restoring").exists():
            with pytest.raises(StoreError, match="was interrupted"):
                lock(data)
        else:
            assert word_in(data / "wattgate.db") == "old" or step > 5
        with lock(data, to_restore=True):
            if not (data / "new.db").exists():
                shutil.copyfile(data / "wattgate.db", data / "new.db")
            put_in_place(data / "new.db", data / "wattgate.db", data / "wattgate.db.replaced-2")
        with lock(data):
            assert word_in(data / "wattgate.db") == "new"
    assert step > 6, "it was interrupted at several steps"


class Interrupted(BaseException):
    """Where a process was killed."""


def interrupt(patch: pytest.MonkeyPatch, step: int, linked: bool) -> None:
    """The step-th act on the directory does not happen any more."""
    left = step

    def counted(act: Callable[..., object]) -> Callable[..., object]:
        def maybe(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Interrupted
            return act(*arguments, **options)

        return maybe

    def no_links(*_arguments: object) -> None:
        raise OSError("no links here")

    patch.setattr(os, "link", counted(os.link if linked else no_links))
    patch.setattr(os, "replace", counted(os.replace))
    patch.setattr(Path, "unlink", counted(Path.unlink))
    patch.setattr(backup, "sync", counted(copying.sync))


def test_copies_of_earlier_revisions_are_bounded(sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = [sqlite_file.with_name(f"wattgate.db.before-{name}") for name in ("0001", "0002", "0003")]
    for age, copy in enumerate(older):
        copy.write_bytes(b"old")
        os.utime(copy, (age, age))
    older_than_head(sqlite_file, monkeypatch)
    Store.open(str(sqlite_file)).close()
    left = sorted(copy.name for copy in sqlite_file.parent.glob("*.before-*"))
    assert left == ["wattgate.db.before-0003", f"wattgate.db.before-{HEAD}"] and migrate.KEPT_COPIES == 2


def test_a_store_whose_copy_cannot_be_written_is_not_brought_forward(sqlite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    older_than_head(sqlite_file, monkeypatch)
    monkeypatch.setattr(migrate, "copy_durably", full)
    with pytest.raises(StoreError, match=r"cannot be copied to .* so it is not brought forward: No space"):
        Store.open(str(sqlite_file))
    with pytest.raises(StoreError, match="from an older version"):
        Store.open(str(sqlite_file), read_only=True)
