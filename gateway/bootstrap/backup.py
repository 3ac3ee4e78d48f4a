"""Making a backup of a store and giving it back: what `wattgate backup` and `wattgate restore-backup` do."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway import __version__
from gateway.adapters.clock import Clock
from gateway.adapters.store import Store, StoreError, lock, store_file
from gateway.adapters.store.backup import Manifest, put_in_place, unpack, write_backup
from gateway.adapters.store.datadir import RESTORING
from gateway.bootstrap.examine import CannotStart
from gateway.services.reopen import hold_money
from gateway.services.verify_ledger import verify_ledger

SERVER = "the store is on a server: back it up with pg_dump, and after its restore run `wattgate restore-backup --mark`"


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a restore. kept: the store that stood there before, None where there was none."""

    manifest: Manifest
    epoch: str
    kept: Path | None


def back_up(url: str, out: Path) -> Manifest:
    """A verified backup of the store as it is committed now, beside a gateway or without one. Raises CannotStart."""
    with _sentences(), Store.open(url, read_only=True) as store:
        if store.database.file is None:
            raise CannotStart(SERVER)
        return write_backup(store.database, out, version=__version__, made_ms=Clock().now_ms())


def restore(file: Path, data: Path, *, gateway: str | None, replace: bool) -> Restored:
    """Put a backup in the place of a data directory's store, under a new epoch; money waits from here on. Raises CannotStart.

    gateway: whose backup it must be, None for any. replace: a store that is there already is kept beside it.
    """
    now_ms = Clock().now_ms()
    with _sentences(), lock(data, to_restore=True):
        target = store_file(data)
        there = target.exists() and target.stat().st_size > 0
        if there and not replace and not (data / RESTORING).exists():
            raise CannotStart(f"{target} holds a store: with --replace it is kept beside the backup that takes its place")
        new = target.with_name(f"{target.name}.new")
        try:
            manifest = unpack(file, new)
            if gateway is not None and manifest.gateway not in ("", gateway):
                raise CannotStart(f"the backup is of gateway {manifest.gateway}, not of {gateway}")
            epoch = _prepared(new, manifest, now_ms)
            kept = target.with_name(f"{target.name}.replaced-{now_ms}")
            put_in_place(new, target, kept)
        finally:
            for left in data.glob(f"{new.name}*"):
                left.unlink()
    return Restored(manifest, epoch, kept if there else None)


def mark(url: str, data: Path) -> str:
    """A store that was restored by other means gets its new epoch, and money waits; the epoch. Raises CannotStart.

    How old its backup is nobody knows, so that the time of its newest event counts.
    """
    now_ms = Clock().now_ms()
    with _sentences(), lock(data), Store.open(url) as store:
        _must_verify(store)
        newest = store.read_now(lambda tx: tx.events(1))
        return _new_life(store, newest[0].event.at_ms if newest else now_ms, now_ms)


def _prepared(new: Path, manifest: Manifest, now_ms: int) -> str:
    """The unpacked store, brought forward, verified, and under its new epoch."""
    with Store.open(str(new)) as store:
        _must_verify(store)
        found = store.read_now(lambda tx: (*tx.journal_end(), tx.meta("epoch"), tx.outbox_state().last))
        if found != (manifest.journal, manifest.journal_hash, manifest.epoch, manifest.outbox):
            raise CannotStart("the backup holds another store than its manifest says")
        return _new_life(store, manifest.made_ms, now_ms)


def _new_life(store: Store, backup_ms: int, now_ms: int) -> str:
    epoch = secrets.token_hex(8)
    store.write_now(lambda tx: hold_money(tx, epoch, backup_ms, now_ms))
    return epoch


def _must_verify(store: Store) -> None:
    entries, finding = store.read_now(verify_ledger)
    if finding is not None:
        raise CannotStart(f"the ledger in it is not sound, after {entries} entries: {finding}")


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except StoreError as problem:
        raise CannotStart(str(problem)) from None
