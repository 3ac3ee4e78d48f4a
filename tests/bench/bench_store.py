"""What durable writes cost: many callers who share commits against one commit each, and the whole top-up and reading use cases.

The ratios of top-ups are of turns taken one after another; a slow card is this disk with every sync delayed by strace.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from gateway.adapters.store import Store
from gateway.domain.credit import CreditPolicy
from gateway.domain.events import Outgoing, Topic
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.readings import Item, Reading
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import Site, Tx
from gateway.services.record_reading import record_reading
from tests.gateway.price_lists import flat

CALLERS = 64
TOP_UPS, ALONE = 4_000, 500
TURNS = 3
SLOW_CARD_MS = 5
NOW_MS, DAY = 1_763_700_000_000, date(2026, 11, 21)
SITE = Site(gateway="bench", zone="UTC", clock_trusted=True)
MESSAGE = Outgoing(Topic.EVENT, "gateway", NOW_MS, {"kind": "bench"})
QUANTITIES = (
    "energy_import",
    "energy_import_t1",
    "energy_import_t2",
    "voltage_a",
    "current_a",
    "power",
    "frequency",
    "power_factor",
)

UseCase = Callable[[Tx, int], Any]


def message(tx: Tx, n: int) -> None:
    tx.add_outgoing(MESSAGE)


def top_up(tx: Tx, n: int) -> None:
    identity = PaymentIdentity("bank", "", "", str(n))
    paid_at = datetime(2026, 11, 21, tzinfo=UTC)
    apply_topup(tx, TopUp(identity, f"a{n % 100}", 10_000_000, "CNY", paid_at, DAY, DAY), SITE, NOW_MS + n)


def reading(tx: Tx, n: int) -> None:
    value = Decimal(n // 100).scaleb(-2)
    items = tuple(Item(name, value, "kWh") for name in QUANTITIES)
    record_reading(tx, Reading(f"m{n % 100}", items, NOW_MS + n, NOW_MS + n * 100), None, SITE, NOW_MS + n * 100)


def street(tx: Tx) -> None:
    tx.save_price_list(flat(500_000))
    for n in range(100):
        tx.save_account(Account(f"a{n}", "", "CNY", "flat", CreditPolicy(0)))
        meter = Meter(f"m{n}", "bus", str(n), "dlt645-2007", "x", f"a{n}", f"p{n}", SwitchKind.INTERNAL, "bus")
        tx.save_meter(replace(meter, max_power_w=10**9))


@contextmanager
def opened() -> Iterator[Store]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Store.open(os.path.join(folder, "bench.db")) as store:
        store.write_now(street)
        yield store


def shared_per_second(usecase: UseCase, count: int) -> float:
    """Written by CALLERS tasks at once, each waiting for its own answer."""
    return shared(usecase, count)[0]


def shared(usecase: UseCase, count: int) -> tuple[float, float]:
    """The same, and how many of them a commit answered."""

    async def caller(store: Store, first: int) -> None:
        for n in range(first, count, CALLERS):
            await store.write(lambda tx, n=n: usecase(tx, n))

    async def measure(store: Store) -> tuple[float, float]:
        start, before = time.perf_counter(), store.written
        await asyncio.gather(*(caller(store, first) for first in range(CALLERS)))
        return count / (time.perf_counter() - start), count / (store.written - before)

    with opened() as store:
        return asyncio.run(measure(store))


def alone_per_second(usecase: UseCase, count: int) -> float:
    """Written one after another, a commit each."""
    with opened() as store:
        start = time.perf_counter()
        for n in range(count):
            store.write_now(lambda tx, n=n: usecase(tx, n))
        return count / (time.perf_counter() - start)


def together_per_second(usecase: UseCase, count: int) -> float:
    """All of them in one transaction: what sharing could reach."""

    def all_of_them(tx: Tx) -> None:
        for n in range(count):
            usecase(tx, n)

    with opened() as store:
        start = time.perf_counter()
        store.write_now(all_of_them)
        return count / (time.perf_counter() - start)


def ratios() -> Iterator[tuple[str, float, str]]:
    """Top-ups by many callers, against one commit each and against one transaction; the median of turns."""
    turns = [
        (*shared(top_up, TOP_UPS), alone_per_second(top_up, ALONE), together_per_second(top_up, TOP_UPS)) for _ in range(TURNS)
    ]
    yield f"top-ups answered by one commit, {CALLERS} callers", median(a for _, a, _, _ in turns), "a commit"
    yield "top-ups sharing commits against one commit each", median(many / one for many, _, one, _ in turns), "times"
    yield "top-ups sharing commits against all in one transaction", median(100 * many / whole for many, _, _, whole in turns), "%"
    if shutil.which("strace") is not None:
        yield f"the same against one commit each, every sync {SLOW_CARD_MS} ms longer", on_a_slow_card(), "times"


def on_a_slow_card() -> float:
    """Top-ups sharing commits against one commit each, in a process whose syncs strace delays."""
    syncs, delay = "fsync,fdatasync", f"delay_exit={SLOW_CARD_MS * 1000}"
    slowed = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", os.devnull, "-e", f"trace={syncs}", "-e", f"inject={syncs}:{delay}"]
    done = subprocess.run([*slowed, sys.executable, "-m", "tests.bench.bench_store"], capture_output=True, text=True, check=True)
    return float(done.stdout)


def fsyncs_per_second() -> float:
    """What the disk gives to anybody: append 4 KiB and fdatasync."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        out = os.open(Path(folder) / "x", os.O_WRONLY | os.O_CREAT)
        start = time.perf_counter()
        for _ in range(500):
            os.write(out, b"\0" * 4096)
            os.fdatasync(out)
        rate = 500 / (time.perf_counter() - start)
        os.close(out)
        return rate


def opening_ms() -> tuple[float, float]:
    """Creating a store, and opening it again."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        times = []
        for _ in range(2):
            start = time.perf_counter()
            Store.open(os.path.join(folder, "bench.db")).close()
            times.append((time.perf_counter() - start) * 1000)
        return times[0], times[1]


def figures() -> Iterator[tuple[str, float, str]]:
    yield "fdatasync, the disk itself", fsyncs_per_second(), "/s"
    for name, usecase, count in (
        ("messages", message, 20_000),
        ("top-ups", top_up, TOP_UPS),
        ("readings of 8 items", reading, 4_000),
    ):
        yield f"{name}, {CALLERS} callers sharing commits", shared_per_second(usecase, count), "/s"
        yield f"{name}, one commit each", alone_per_second(usecase, count // 8), "/s"
    yield from ratios()
    created, reopened = opening_ms()
    yield "create a store", created, "ms"
    yield "open it again", reopened, "ms"


if __name__ == "__main__":
    print(shared(top_up, TOP_UPS)[0] / alone_per_second(top_up, ALONE // 2))
