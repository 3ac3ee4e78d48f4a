"""The one data directory, owned by the process that uses it (contract.md 7)."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from gateway.adapters.store.engine import StoreError


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
    return directory / "wattgate.db"


def lock(directory: Path) -> DataLock:
    """Take a data directory for this process, creating it (0700). StoreError names the process that has it."""
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
    return DataLock(directory, descriptor)
