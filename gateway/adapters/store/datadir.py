"""The one data directory, owned by the process that uses it (contract.md 7)."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from gateway.adapters.store.engine import StoreError

STORE, RESTORING = "wattgate.db", "wattgate.db.restoring"
"""The SQLite store, and the mark of a restore of a backup that is under way, in a data directory."""


@dataclass(slots=True)
class DataLock:
    """The lock on a data directory; the kernel releases it when the process ends, however it ends."""

    path: Path
    _descriptor: int | None

    def release(self) -> None:
        """Let another process have the directory; safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> DataLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def store_file(directory: Path) -> Path:
    """Where the SQLite store of a data directory stands."""
    return directory / STORE


def lock(directory: Path, *, to_restore: bool = False) -> DataLock:
    """Take a data directory for this process, creating it (0700). StoreError names the process that has it.

    to_restore: also one in which the restore of a backup was interrupted, so that its store may be half of two.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"the data directory {directory} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "another one"
        os.close(descriptor)
        raise StoreError(f"the data directory {directory} is in use by process {holder}") from None
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"the data directory {directory} cannot be locked: {error.strerror}") from None
    if not to_restore and (directory / RESTORING).exists():
        os.close(descriptor)
        raise StoreError(f"the restore of a backup into {directory} was interrupted: run `wattgate restore-backup` again")
    return DataLock(directory, descriptor)
