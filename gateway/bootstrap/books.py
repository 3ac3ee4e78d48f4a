"""What may be done with the books from outside the gateway: verified, exported, made anew, closed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.adapters.ledger_files import beancount, json_lines
from gateway.adapters.store import Store, StoreError, lock, store_file
from gateway.adapters.store.rebuild import Rebuilt, recompute, write_copy
from gateway.bootstrap.examine import CannotStart
from gateway.domain.ledger import JournalRow
from gateway.domain.records import Closing
from gateway.services.close_period import CannotClose, balance_period, close_period
from gateway.services.ports import Tx
from gateway.services.verify_audit import verify_audit
from gateway.services.verify_ledger import PAGE, verify_ledger

FORMATS = ("jsonl", "beancount")

Write = Callable[[str], object]


@contextmanager
def _opened(url: str, *, read_only: bool = True) -> Iterator[Store]:
    try:
        with Store.open(url, read_only=read_only) as store:
            yield store
    except StoreError as problem:
        raise CannotStart(str(problem)) from None


def verify(url: str, *, from_closing: bool = False) -> tuple[int, str | None]:
    """Number of the last entry checked and the first finding; works beside a running gateway. For a process of its own."""
    gc.disable()  # millions of rows and no cycles among them: looking for some takes a sixth of the time
    try:
        with _opened(url) as store:
            return store.read_now(lambda tx: _sound(tx, from_closing))
    finally:
        gc.enable()


def _sound(tx: Tx, from_closing: bool) -> tuple[int, str | None]:
    """The journal, and the log of who moved it."""
    entries, finding = verify_ledger(tx, from_closing=from_closing)
    return entries, finding or verify_audit(tx)


def export(url: str, kind: str, zone: str, write: Write, first: date | None = None, last: date | None = None) -> int:
    """Write the entries of these days (both included, in this zone) as they stream out of one moment of the store; how many.

    CannotStart for a journal that cannot be read.
    """
    place = ZoneInfo(zone)
    with _opened(url) as store:
        try:
            return store.read_now(lambda tx: _export(tx, kind, place, write, _begin(first, place), _begin(last, place, days=1)))
        except ValueError as unreadable:
            raise CannotStart(str(unreadable)) from None


def _begin(day: date | None, zone: ZoneInfo, days: int = 0) -> int | None:
    if day is None:
        return None
    at = day + timedelta(days=days)
    return int(datetime(at.year, at.month, at.day, tzinfo=zone).timestamp()) * 1000


def _export(tx: Tx, kind: str, zone: ZoneInfo, write: Write, from_ms: int | None, to_ms: int | None) -> int:
    end = tx.journal_end()[0]
    after = 0 if from_ms is None else tx.entry_before(from_ms)
    upto = max(after, end if to_ms is None else tx.entry_before(to_ms))
    rows = _rows(tx, after, upto)
    if kind == "jsonl":
        lines: Iterable[str] = json_lines(rows)
    else:
        accounts = tx.balances()
        before = {key: tx.balance_at(key[1], key[0], after) for key in accounts} if after else {}
        left = accounts if upto == end else {key: tx.balance_at(key[1], key[0], upto) for key in accounts}
        lines = beancount(rows, before, left, zone)
    for line in lines:
        write(line)
    return upto - after


def _rows(tx: Tx, after: int, upto: int) -> Iterator[JournalRow]:
    while after < upto and (page := tx.journal_rows(after, min(PAGE, upto - after))):
        yield from page
        after = page[-1].number


def rebuild(data: Path, target: Path | None) -> Rebuilt:
    """Make the balances anew from the journal; where a target is named and the journal is sound, into a copy. The store stays.

    CannotStart while a gateway runs on the directory.
    """
    with _alone(data), _opened(str(store_file(data))) as store:
        rebuilt = store.read_now(recompute)
        if target is not None and rebuilt.finding is None:
            try:
                write_copy(store, rebuilt, target)
            except StoreError as problem:
                raise CannotStart(str(problem)) from None
        return rebuilt


def close(data: Path, before: date, zone: str, now_ms: int) -> Closing | None:
    """Close the periods before this day (in this zone); None where nothing is left to close. CannotStart while a gateway runs, or
    where the books are not sound."""
    before_ms = _begin(before, ZoneInfo(zone)) or 0
    with _alone(data), _opened(str(store_file(data)), read_only=False) as store:
        try:
            balanced = store.read_now(lambda tx: balance_period(tx, before_ms))
            return None if balanced is None else store.write_now(lambda tx: close_period(tx, balanced, now_ms))
        except CannotClose as unsound:
            raise CannotStart(str(unsound)) from None


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Nobody else is in this data directory, which is there."""
    if not store_file(data).exists():
        raise CannotStart(f"there is no store in {data}")
    try:
        with lock(data):
            yield
    except StoreError as problem:
        raise CannotStart(str(problem)) from None
