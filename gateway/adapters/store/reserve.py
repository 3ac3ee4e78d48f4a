"""Room that is kept for what gives supply back: a file, given up when the disk has none left (prepayment.md 5, F6)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

RESERVE = "wattgate.reserve"
"""The file, beside the SQLite store."""

PAUSE_S = 10.0
"""Between a full disk and the reserve made anew, however much room there seems to be: a quota shows in no file system's figures."""

MIB = 1024 * 1024


class Reserve:
    """The reserve of one store. low: why only what is essential may be written, in a sentence; None while the reserve is there.

    It is given up where less than its own size is left beside it, and made anew where after that half of its size more is left.
    Used by several threads.
    """

    def __init__(self, folder: Path, size: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """size: in bytes. A reserve that stands there with this size is taken over."""
        self.low: str | None = None
        self._folder, self._file, self._size, self._monotonic = folder, folder / RESERVE, size, monotonic
        self._lock = threading.Lock()
        self._full_s: float | None = None
        if not self._stands():
            self.low = "the reserve is not made yet"
        self.look()

    def look(self) -> str | None:
        """Give up or make anew, as the disk is now; `low` after it. Some microseconds, but for making it."""
        with self._lock:
            free, trouble = self._free()
            if self.low is None:
                if free < self._size:
                    self._release(trouble or f"the disk has only {free // MIB} MiB left")
            elif self._paused() or not self._make(free):
                self.low = _only(trouble or f"the disk has only {free // MIB} MiB left")
            return self.low

    def give_up(self, why: str) -> None:
        """The disk was full for a write."""
        with self._lock:
            self._full_s = self._monotonic()
            self._release(why)

    def _free(self) -> tuple[int, str | None]:
        """Bytes, and what is wrong where they cannot be had."""
        try:
            seen = os.statvfs(self._folder)
        except OSError as error:
            return 0, f"the disk says nothing of its room ({error.strerror})"
        return seen.f_bavail * seen.f_frsize, None

    def _release(self, why: str) -> None:
        self._remove()
        self.low = _only(why)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # a disk that takes not even this takes nothing
            self._file.unlink()

    def _paused(self) -> bool:
        return self._full_s is not None and self._monotonic() - self._full_s < PAUSE_S

    def _make(self, free: int) -> bool:
        """Whether it stands now."""
        if free < self._size * 5 // 2:
            return False
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except OSError:
            self._remove()
            return False
        self.low, self._full_s = None, None
        return True

    def _stands(self) -> bool:
        """Whether there is one of this size, with its blocks; any other is given up."""
        try:
            seen = self._file.stat()
        except OSError:
            return False
        if seen.st_size == self._size and seen.st_blocks * 512 >= self._size:
            return True
        self._remove()
        return False


def _only(why: str) -> str:
    return f"{why}: only what gives supply back is written down"
