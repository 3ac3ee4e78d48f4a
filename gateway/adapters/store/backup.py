"""A backup: one file that holds a copy of the store and says what it holds; and putting such a file in a store's place.

The file is a tar of manifest.json and wattgate.db, so that anybody can open it without this program.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from gateway.adapters.store.copying import copy_durably, sync
from gateway.adapters.store.datadir import RESTORING, STORE
from gateway.adapters.store.engine import Database, StoreError, sqlite_module

FORMAT = 1
MANIFEST = "manifest.json"

MOST_MANIFEST_BYTES = 4096
"""Ten times what there is to say: a file that claims more is none of ours."""

CHUNK_BYTES = 1 << 20
"""Read at once where a whole file is read: memory stays small on a small machine."""

_BESIDE = ("", "-wal", "-journal")
"""A database and the logs that belong to it: without its log it is not the store that it was."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. gateway: empty where the store did not know its own name. made_ms: UTC. bytes, sha256: of the copy."""

    format: int
    wattgate: str
    gateway: str
    made_ms: int
    epoch: str
    journal: int
    journal_hash: str
    outbox: int
    revision: str
    bytes: int
    sha256: str


def write_backup(database: Database, out: Path, *, version: str, made_ms: int) -> Manifest:
    """A verified, synced backup (0600) under this name, or nothing. Raises StoreError.

    A backup that stands there is replaced in one moment, anything else is left alone.
    """
    try:
        if out.exists():
            _must_be_ours(out)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            copy, packed = Path(folder) / STORE, Path(folder) / "packed"
            copy_durably(database, copy)
            manifest = _examined(copy, version, made_ms)
            _pack(copy, manifest, packed)
            _digest_of_packed(packed)
            os.replace(packed, out)
            sync(out.parent)
    except OSError as error:
        raise StoreError(f"the backup {out} cannot be written: {error.strerror or error}") from None
    return manifest


def read_manifest(file: Path) -> Manifest:
    """What a backup says of itself. Raises StoreError."""
    with _opened(file) as (manifest, _):
        return manifest


def unpack(file: Path, to: Path) -> Manifest:
    """The copy in a backup as a file (0600), which is what the manifest says. Raises StoreError."""
    with _opened(file) as (manifest, content):
        digest, size = hashlib.sha256(), 0
        try:
            with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
                while chunk := content.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size += target.write(chunk)
        except OSError as error:
            raise StoreError(f"the backup cannot be unpacked to {to}: {error.strerror}") from None
        if (size, digest.hexdigest()) != (manifest.bytes, manifest.sha256):
            raise StoreError(f"the backup {file} is damaged: its content is not what its manifest says")
    sync(to)
    return manifest


def put_in_place(new: Path, target: Path, kept: Path) -> None:
    """Let a store take the place of another one, which stays as `kept` with its logs. Raises StoreError.

    While it lasts the data directory is marked, and no gateway starts on it; after an interruption it is done again.
    """
    mark, folder = target.with_name(RESTORING), target.parent
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT, 0o600))
        sync(folder)
        for end in _BESIDE:
            _keep(target.with_name(target.name + end), kept.with_name(kept.name + end))
        sync(folder)
        for end in (*_BESIDE[1:], "-shm"):
            target.with_name(target.name + end).unlink(missing_ok=True)  # the log of one database would be replayed into the other
        os.replace(new, target)
        sync(folder)
        mark.unlink()
        sync(folder)
    except OSError as error:
        raise StoreError(f"the backup cannot be put into {folder}: {error.strerror}; run it again") from None


def _keep(file: Path, kept: Path) -> None:
    """The same file under another name, or a copy where the file system has no links."""
    if not file.exists():
        return
    try:
        os.link(file, kept)
    except OSError:
        shutil.copy2(file, kept)
        sync(kept)


def _must_be_ours(out: Path) -> None:
    try:
        read_manifest(out)
    except StoreError:
        raise StoreError(f"{out} is there and is no backup: name another file") from None


def _examined(copy: Path, version: str, made_ms: int) -> Manifest:
    """What a copy holds, after SQLite and the chain's end have found it sound; it stands without a log from here on."""
    database = sqlite_module().connect(str(copy))
    try:
        found = database.execute("PRAGMA integrity_check(1)").fetchone()
        if found != ("ok",):
            raise StoreError(f"the store is damaged, so that its copy is no backup: {found[0]}")
        database.execute("PRAGMA journal_mode=DELETE")
        heads = {name: (number, hash_) for name, number, hash_ in database.execute("SELECT name, number, hash FROM head")}
        if not _ends(database, "entry", heads["journal"]):
            raise StoreError("the ledger does not end where the store says that it ends: `wattgate ledger verify` tells more")
        if not _ends(database, "audit", heads["audit"]):
            raise StoreError("the audit log does not end where the store says that it ends: somebody changed it")
        known = dict(database.execute("SELECT key, value FROM meta WHERE key IN ('epoch', 'gateway')"))
        [(revision,)] = database.execute("SELECT version_num FROM alembic_version")
    finally:
        database.close()
    sync(copy)
    journal, hash_ = heads["journal"]
    return Manifest(
        FORMAT, version, known.get("gateway", ""), made_ms, known.get("epoch", ""), journal, hash_, heads["outbox"][0], revision,
        copy.stat().st_size, _digest(copy),
    )  # fmt: skip


def _ends(database: Any, table: str, head: tuple[int, str]) -> bool:
    """Whether the last row of a chain is the one that the store counted last."""
    last = database.execute(f"SELECT number, hash FROM {table} ORDER BY number DESC LIMIT 1").fetchone()
    return last == head if last else not head[0]


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _pack(copy: Path, manifest: Manifest, packed: Path) -> None:
    said = json.dumps(asdict(manifest), indent=1).encode()
    with (
        os.fdopen(os.open(packed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        tarfile.open(fileobj=file, mode="w|", bufsize=CHUNK_BYTES) as tar,
        copy.open("rb") as content,
    ):
        for name, size, part in ((MANIFEST, len(said), io.BytesIO(said)), (STORE, manifest.bytes, content)):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = size, 0o600, manifest.made_ms // 1000
            tar.addfile(member, part)
    sync(packed)


def _digest_of_packed(packed: Path) -> None:
    """The finished file, read again."""
    with _opened(packed) as (manifest, content):
        digest = hashlib.sha256()
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != manifest.sha256:
        raise StoreError("the backup is not what was written: the disk does not keep it")


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Manifest, IO[bytes]]]:
    """The manifest and the copy of a backup; both members by their names, and nothing else of the tar is touched."""
    try:
        with tarfile.open(file, "r:") as tar:
            said, copy = tar.next(), tar.next()
            if said is None or copy is None or (said.name, copy.name) != (MANIFEST, STORE) or said.size > MOST_MANIFEST_BYTES:
                raise _not_ours(file)
            text, content = tar.extractfile(said), tar.extractfile(copy)
            if text is None or content is None:
                raise _not_ours(file)
            yield _parsed(json.loads(text.read()), file), content
    except OSError as error:
        raise StoreError(f"the backup {file} cannot be read: {error.strerror or error}") from None
    except (tarfile.TarError, ValueError, EOFError):
        raise _not_ours(file) from None


def _parsed(said: object, file: Path) -> Manifest:
    kinds = {field.name: int if field.type == "int" else str for field in fields(Manifest)}
    if not isinstance(said, dict) or any(type(said.get(name)) is not kind for name, kind in kinds.items()):
        raise _not_ours(file)
    if said["format"] != FORMAT:
        raise StoreError(f"the backup {file} is from a newer version (format {said['format']}): update wattgate")
    return Manifest(**{name: said[name] for name in kinds})


def _not_ours(file: Path) -> StoreError:
    return StoreError(f"{file} is no backup of wattgate, or a damaged one")
