"""What payments cost beside everything else: a whole gateway that polls and bills 1,000 meters, a month that is closed; and what
a year of quarter-hours costs by tariff.

The gateway is the real one in a process of its own, its lines in memory, its store a file whose commits reach the disk.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from gateway.adapters.store import Store
from gateway.domain.price_list import StepKind, Terms
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.tariffs import price_series
from gateway.services.apply_topup import apply_topup
from protocols.dlt645.frames import Deframer, Frame, encode
from tests.bench import bench_ledger
from tests.bench.bench_store import CALLERS, DAY, NOW_MS, SITE
from tests.gateway.domain.price_bench import TWO_PRICES, TWO_RATES, YEARLY, at, blocks, tariff, version
from tests.simulation.quick_meters import QuickMeters

LINES, METERS = 20, 50
POLL_S = 60
"""Each meter's registers and its instantaneous values; a site bills every 15 minutes, so that this is fifteen times as much."""

WANTED = 1_000
PACED_S, FULL_S = 60.0, 15.0
"""A whole round of polls at the wanted rate, and some time as fast as it goes."""

MONTH = 50_000
"""Entries of the month that is closed."""

BESIDE, TURN_S, HALF_S = 200, 5.0, 15.0
"""Payments a second while it is closed, in turns until that is done; and half of the time without before it, half after."""

QUARTERS = 35_040
REGISTERS = bytes.fromhex("00FF0100")
"""The block of total and rates, as its identifier goes over the wire."""

Pay = Callable[[int], Awaitable[object]]


class Consumers(QuickMeters):
    """Meters behind which 3 kW are used all the time, in the second rate."""

    begun = time.monotonic()

    def _reply(self, data: bytes) -> Iterable[tuple[float, bytes]]:
        for frame in Deframer().feed(data):
            if frame.data[:4] != REGISTERS:
                yield from super()._reply(data)
                return
            self.asked.append(frame.address)
            counted = 654_321 + int((time.monotonic() - self.begun) / 12)
            total = bytes.fromhex(f"{counted:08d}")[::-1]
            yield 0.0, encode(Frame(frame.address, frame.control | 0x80, REGISTERS + total + bytes(4) + total + bytes(8)))


def paid(n: int, account: str) -> TopUp:
    return TopUp(PaymentIdentity("bank", "", "", str(n)), account, 10_000_000, "CNY", datetime(2026, 11, 21, tzinfo=UTC), DAY, DAY)


async def paced(pay: Pay, first: int, per_second: int, lasting_s: float) -> list[float]:
    """So many a second by CALLERS, each with one under way: how long each took from the moment it was due, in ms."""
    begun, count, took_ms = time.perf_counter(), int(per_second * lasting_s), []

    async def caller(start: int) -> None:
        for n in range(start, count, CALLERS):
            due = begun + n / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await pay(first + n)
            took_ms.append((time.perf_counter() - due) * 1000)

    await asyncio.gather(*(caller(start) for start in range(CALLERS)))
    return took_ms


async def as_fast_as_it_goes(pay: Pay, first: int, lasting_s: float) -> list[float]:
    """By CALLERS, each again as soon as it is answered, in ms."""
    numbers, end, took_ms = iter(range(first, sys.maxsize)), time.perf_counter() + lasting_s, []

    async def caller() -> None:
        while (begun := time.perf_counter()) < end:
            await pay(next(numbers))
            took_ms.append((time.perf_counter() - begun) * 1000)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return took_ms


def percentile(values: Iterable[float], per_cent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * per_cent / 100))]


async def beside_the_street() -> dict[str, float]:
    """A gateway with its meters; top-ups as the bank's listener hands them over."""
    import gateway.bootstrap.lines
    from gateway.bootstrap.process import spare_the_collector
    from tests.gateway.bootstrap.site import LONG_S, Site, street

    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        plan = street(LINES, METERS)
        plan.accounts = {meter: f"a-{meter}" for meters in plan.meters.values() for meter in meters}
        names = list(plan.accounts.values())
        for group in ("billing_s", "instant_s"):
            plan.scheme = plan.scheme.replace(f"{group} = {LONG_S}", f"{group} = {POLL_S}")
        site = Site(Path(folder), plan, Consumers)
        vars(gateway.bootstrap.lines)["transport_of"] = site.transport
        async with site.running() as running:
            await site.all_read()
            spare_the_collector()

            def pay(n: int) -> Awaitable[object]:
                return running.topup(paid(n, names[n % len(names)]))

            def counts() -> tuple[int, int, int]:
                entries = running.store.read_now(lambda tx: tx.journal_end()[0])
                return running.store.written, entries, len(site.asked())

            before, begun = counts(), time.monotonic()
            slow = await paced(pay, 0, WANTED, PACED_S)
            lasted_s, after = time.monotonic() - begun, counts()
            used_s = time.process_time()
            full = await as_fast_as_it_goes(pay, len(slow), FULL_S)
            used_s = time.process_time() - used_s
            commits, entries, asked = (new - old for new, old in zip(after, before, strict=True))
            assert running.store.read_now(lambda tx: tx.journal_end()[0]) >= len(slow) + len(full)
    return {
        "rate": len(slow) / lasted_s, "p50": percentile(slow, 50), "p99": percentile(slow, 99), "longest": max(slow),
        "per_commit": len(slow) / commits, "billed": (entries - len(slow)) / lasted_s, "asked": asked / lasted_s,
        "full_rate": len(full) / FULL_S, "full_p50": percentile(full, 50), "full_p99": percentile(full, 99),
        "full_cpu_ms": 1000 * used_s / len(full),
    }  # fmt: skip


async def beside_a_closing() -> dict[str, float]:
    """Payments while a month is audited and closed, and without."""
    from gateway.domain.ledger import booked
    from gateway.entrypoints.ledger_loop import close_month

    class Now:
        def now_ms(self) -> int:
            return booked(0, bench_ledger.BEGIN_MS + bench_ledger.TEN_YEARS_MS)

    with bench_ledger.ten_years(MONTH) as path, closing(Store.open(str(path))) as store:

        def pay(n: int) -> Awaitable[object]:
            return store.write(lambda tx: apply_topup(tx, paid(n, "a0"), SITE, NOW_MS + bench_ledger.TEN_YEARS_MS + n))

        alone = await paced(pay, 0, BESIDE, HALF_S)
        begun, ended, beside = time.monotonic(), list[float](), list[float]()
        closed = asyncio.create_task(close_month(store, bench_ledger.BEGIN_MS + bench_ledger.TEN_YEARS_MS, Now()))
        closed.add_done_callback(lambda _: ended.append(time.monotonic()))
        while not closed.done():
            beside += await paced(pay, len(alone) + len(beside), BESIDE, TURN_S)
        alone += await paced(pay, len(alone) + len(beside), BESIDE, HALF_S)
        assert await closed
        assert [each.upto for each in store.read_now(lambda tx: tx.closings())] == [MONTH - 1]
    return {
        "lasted": ended[0] - begun, "alone_p99": percentile(alone, 99), "alone_longest": max(alone),
        "p99": percentile(beside, 99), "longest": max(beside),
    }  # fmt: skip


def pricing_s() -> float:
    """A year of quarter-hours under two rates by the clock and three steps of the year, its calendar made anew."""
    steps = blocks((3_120, 0), (4_800, 50_000), (None, 300_000), resets=YEARLY, kind=StepKind.ADDER)
    begin, quarter_ms = at("2026-01-01T00:00"), 900_000
    points = [(begin + number * quarter_ms, number * 150) for number in range(QUARTERS + 1)]
    times = []
    for year in range(5):
        priced = tariff(version(id=f"v{year}", seasons=TWO_PRICES, tou=TWO_RATES, steps=steps))
        begun = time.perf_counter()
        series = price_series(priced, Terms(), points)
        times.append(time.perf_counter() - begun)
        assert len(series.uses) == 13 and series.micro > 0
    return min(times)


def measured(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.bench_money", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def figures() -> Iterator[tuple[str, float, str]]:
    yield f"price {QUARTERS:,} quarter-hours by two rates and three steps (at most 0.3)", pricing_s(), "s"
    found = measured("street")
    beside = f"beside {LINES * METERS:,} meters"
    yield f"top-ups {beside}, {WANTED:,} a second wanted (at least {WANTED:,})", found["rate"], "/s"
    yield "of these: from due to durable, p50", found["p50"], "ms"
    yield "of these: from due to durable, p99 (at most 50)", found["p99"], "ms"
    yield "of these: from due to durable, longest", found["longest"], "ms"
    yield "of these: top-ups for each commit, also those of the lines", found["per_commit"], "a commit"
    yield "meanwhile: questions to meters", found["asked"], "/s"
    yield "meanwhile: charges posted", found["billed"], "/s"
    yield f"top-ups {beside}, {CALLERS} callers as fast as it goes", found["full_rate"], "/s"
    yield "of these: p50", found["full_p50"], "ms"
    yield "of these: p99", found["full_p99"], "ms"
    yield "of these: processor time of each, that of the meters included", found["full_cpu_ms"], "ms"
    found = measured("closing")
    yield f"a month of {MONTH:,} entries audited and closed in", found["lasted"], "s"
    yield f"{BESIDE} top-ups a second meanwhile, p99", found["p99"], "ms"
    yield f"{BESIDE} top-ups a second meanwhile, longest", found["longest"], "ms"
    yield "without a closing, p99", found["alone_p99"], "ms"
    yield "without a closing, longest", found["alone_longest"], "ms"


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    from gateway.adapters import event_loop

    print(json.dumps(event_loop.run({"street": beside_the_street, "closing": beside_a_closing}[sys.argv[1]]())))
