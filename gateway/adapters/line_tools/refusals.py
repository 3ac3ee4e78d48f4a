"""Counts the passwords that meters refused, over runs and reboots: a third within a day could lock a meter (prepayment.md 9)."""

from __future__ import annotations

import json
import os
from pathlib import Path

MOST = 2
WITHIN_MS = 24 * 3600 * 1000
"""At most two refused passwords per meter and day."""


class NoRecord(Exception):
    """The record cannot be kept, so nothing that counts may be tried; one sentence."""


class Refusals:
    """The record, a file for its owner alone: 12 digits of a meter -> times of refusals in UTC ms."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def left(self, address: str, now_ms: int) -> int:
        """How many may still be refused today. Raises NoRecord."""
        return max(0, MOST - len(self._recent(address, now_ms)))

    def note(self, address: str, now_ms: int) -> None:
        """One more; on the disk when this returns. Raises NoRecord."""
        table = self._load()
        table[address] = [*self._recent(address, now_ms), now_ms]
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(table, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path)
        except OSError as error:
            raise NoRecord(f"{self._path} cannot be written: {error.strerror}") from None

    def _recent(self, address: str, now_ms: int) -> list[int]:
        """A time in the future counts too: somebody has set the clock back."""
        return [at for at in self._load().get(address, []) if now_ms - at < WITHIN_MS]

    def _load(self) -> dict[str, list[int]]:
        try:
            table = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise NoRecord(f"{self._path} cannot be read as the record of refused passwords: {error}") from None
        if not isinstance(table, dict) or not all(_are_times(times) for times in table.values()):
            raise NoRecord(f"{self._path} is no record of refused passwords; remove it when you are sure of the count")
        return table


def _are_times(times: object) -> bool:
    return isinstance(times, list) and all(type(at) is int for at in times)
