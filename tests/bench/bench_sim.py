"""What simulated meters cost: building a thousand, their memory, an exchange with one, an hour of all of them."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator

from protocols.dlt645.master import Read
from tests.firmware_sim.test_thousand import LINES, METERS, thousand
from tests.firmware_sim.virtual import VirtualStreet

READS = 2_000


def _cost() -> tuple[float, float, float, float]:
    """(seconds to build, MB, reads a second, seconds for an hour) in a process of its own."""
    table = thousand()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    street = VirtualStreet(table)
    built = time.perf_counter() - begun
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) * 1024 / 1e6
    begun = time.perf_counter()
    for n in range(READS):
        meter = n * 4 % METERS
        street.ask(f"l{meter % LINES}", Read(f"{meter:012d}", "0001FF00"))
    reads = READS / (time.perf_counter() - begun)
    begun = time.perf_counter()
    street.wait_until(street.now_us + 3600 * 10**6)
    return built, megabytes, reads, time.perf_counter() - begun


def figures() -> Iterator[tuple[str, float, str]]:
    """For tests.bench."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        built, megabytes, reads, hour = pool.apply(_cost)
    yield "1,000 meters built", built, "s"
    yield "1,000 meters held", megabytes, "MB"
    yield "block read of 5 registers, with its wire", reads, "/s"
    yield "one hour of 1,000 households", hour, "s"
