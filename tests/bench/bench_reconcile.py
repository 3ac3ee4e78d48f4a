"""A day of a million payments against a bank's file with a thousand planted differences, and its statement."""

from __future__ import annotations

import gc
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random

from gateway.adapters.store import Store
from gateway.domain.day_file import read_day_file, write_day_file
from gateway.services.reconcile_day import compare_day, statement
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.services.bank_days import BANK, DAY, OTHER, book, plant

PAYMENTS = int(os.environ.get("WATTGATE_BENCH_PAYMENTS", "1000000"))
EACH = 125
"""Of each of eight kinds."""
CHUNK = 1 << 18


def figures() -> Iterator[tuple[str, float, str]]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        file, path = Path(folder) / "day.csv", Path(folder) / "wattgate.db"
        with Store.open(str(path), inline=True) as store:
            book(store, PAYMENTS)
            book(store, 2 * EACH, OTHER, PAYMENTS, 0)
            planted = plant(PAYMENTS, EACH, Random(11), 2 * EACH)
            file.write_bytes(planted.text())
            truth = len(planted.truth)
            del planted
            gc.collect()
            yield from _reconcile(store, file, truth)


def _reconcile(store: Store, file: Path, truth: int) -> Iterator[tuple[str, float, str]]:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    compared = store.read_now(lambda tx: compare_day(tx, BANK, date.fromisoformat(DAY), read_day_file(_chunks(file))))
    took_s = time.monotonic() - begun
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    assert len(compared.found) == truth, f"{len(compared.found)} of {truth} found"
    yield f"reconciliation of {compared.lines:,} lines, {truth:,} planted differences all found", took_s, "s"
    yield "lines of a bank's file a second", compared.lines / took_s, "1/s"
    yield "memory that it needed on top", grown_mb, "MB"
    begun = time.monotonic()
    lines = store.read_now(lambda tx: sum(1 for _ in write_day_file(statement(tx, BANK, DAY))))
    yield f"statement of {lines - 2:,} lines", time.monotonic() - begun, "s"
    begun = time.monotonic()
    _, finding = store.read_now(verify_ledger)
    assert finding is None, finding
    yield "the verifier over it, with the invariant of the day's total", time.monotonic() - begun, "s"


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            yield chunk
