"""Balances made anew from the journal, in a copy of the store: the store itself is never written."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.adapters.store.engine import StoreError, sqlite_module
from gateway.adapters.store.writer import Store
from gateway.domain.ledger import Audit, JournalRow
from gateway.services.ports import Tx

PAGE = 5_000
"""Entries per read: about 10 MB of memory."""


@dataclass(slots=True)
class Rebuilt:
    """What the journal says. wrong: (currency, account) -> what the store shows, and what it should show.

    legs: of wrong running balances the right one, entry and position. finding: why the journal itself is not sound.
    """

    entries: int = 0
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    wrong: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    legs: list[tuple[int, int, int]] = field(default_factory=list)
    finding: str | None = None


def recompute(tx: Tx) -> Rebuilt:
    """Walk the whole journal by its numbers, chain and sums. Reads only."""
    audit, found = Audit(running=False), Rebuilt()
    while audit.finding is None and (page := tx.journal_rows(audit.number, PAGE)):
        for row in page:
            if audit.check(row) is not None:
                break
            _follow(row, found)
    end = tx.journal_end()
    if audit.finding is None and end != (audit.number, audit.hash):
        audit.finding = f"the journal stops at entry {audit.number}, but {end[0]} were posted, or the last was another one"
    stored = tx.balances()
    found.entries, found.finding = audit.number, audit.finding
    for key in sorted(set(stored) | set(found.balances)):
        shown, right = stored.get(key), found.balances.get(key)
        if shown != right:
            found.wrong[key] = (shown or 0, right or 0)
    return found


def _follow(row: JournalRow, found: Rebuilt) -> None:
    for position, (account, micro, after, _) in enumerate(row.legs):
        key = (row.currency, account)
        found.balances[key] = right = found.balances.get(key, 0) + micro
        if after != right:
            found.legs.append((right, row.number, position))


def write_copy(store: Store, rebuilt: Rebuilt, target: Path) -> None:
    """A durable copy of a SQLite store with the balances that the journal says. StoreError where the target is there, or fails."""
    if target.exists():
        raise StoreError(f"{target} is there already: name a file that is not")
    part = target.with_name(target.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        copy = sqlite_module().connect(str(part), isolation_level=None)
        try:
            with store.database.reader.connect() as source:
                source.connection.driver_connection.backup(copy)  # type: ignore[union-attr]
            _put_right(copy, rebuilt)
        finally:
            copy.close()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from None


def _put_right(copy: Any, rebuilt: Rebuilt) -> None:
    """In one transaction; the trigger that keeps legs as they are is lifted only where their running balances are wrong."""
    copy.execute("BEGIN IMMEDIATE")
    copy.execute("DELETE FROM balance")
    rows = [(currency, account, micro) for (currency, account), micro in rebuilt.balances.items()]
    copy.executemany("INSERT INTO balance (currency, account, micro) VALUES (?, ?, ?)", rows)
    if rebuilt.legs:
        [(guard,)] = copy.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'leg_no_update'").fetchall()
        copy.execute("DROP TRIGGER leg_no_update")
        copy.executemany("UPDATE leg SET after = ? WHERE entry = ? AND position = ?", rebuilt.legs)
        copy.execute(guard)
    copy.execute("COMMIT")
    copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
