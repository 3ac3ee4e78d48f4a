"""What a running gateway says of its lines and meters, and what it costs while it has nothing to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.adapters.http.metrics import exposition
from gateway.adapters.lines.latency import quantile_ms, together
from gateway.adapters.lines.manner import BUCKETS_MS
from gateway.bootstrap.vitals import WINDOW_MS, Vitals
from tests.gateway.bootstrap.conftest import MakeSite
from tests.simulation.quick_meters import QuickMeters

Figure = Callable[[str, object], None]

IDLE_S = 4.0
BUSY_PERCENT, PROOF_BUSY_PERCENT = 25.0, 2.5
"""1 % is promised and measured by tests/bench/bench_gateway.py; a machine that does other things besides makes it far more. Every
day it is looked for what turns round and round."""


async def test_pain_34_a_gateway_with_nothing_to_do_does_nothing(site_of: MakeSite, proof_scale: int, figure: Figure) -> None:
    site = site_of(20, 50)
    async with site.running():
        await site.all_read()
        asked = len(site.asked())
        begun, used = time.monotonic(), time.process_time()
        await asyncio.sleep(IDLE_S)
        percent = 100 * (time.process_time() - used) / (time.monotonic() - begun)
        assert len(site.asked()) == asked
    figure("idle with 1,000 meters, % of a core", round(percent, 2))
    assert percent < (BUSY_PERCENT if proof_scale == 1 else PROOF_BUSY_PERCENT)


async def test_pain_42_each_meter_is_told_as_answering_failing_or_silent(site_of: MakeSite) -> None:
    site = site_of(1, 3, lambda: QuickMeters(["000000000001", "000000000002"]))
    async with site.running() as gateway:
        await site.until(lambda: (line := gateway.vitals.lines()[0]).answering == 2 and line.failing == 1, "one fails")
        found = {meter.meter: meter for meter in gateway.vitals.meters("l0") or ()}
        assert [found[name].state for name in ("m0-0", "m0-1")] == ["answering"] * 2 and found["m0-2"].failures > 0
        await site.until(lambda: gateway.vitals.lines()[0].silent == 1, "it counts as silent")
        last = (gateway.vitals.meters("l0") or ())[2]
        assert (last.meter, last.state) == ("m0-2", "silent") and last.next_ms > last.since_ms
        assert last.p50_ms is None and found["m0-0"].p50_ms is not None
        manner = found["m0-0"].manner
        assert manner["preamble"] is not None and manner["timeout_ms"] and isinstance(manner["blocks"], dict)
        assert gateway.vitals.meters("l9") is None
        line = gateway.vitals.lines()[0]
        assert (line.state, line.meters, line.opened) == ("up", 3, 1) and line.errors["NoAnswer"] >= 3
        assert set(line.queues) >= {"restore", "cut", "schedule", "backfill", "clock"}


async def test_every_state_and_queue_is_a_metric(site_of: MakeSite) -> None:
    site = site_of(2, 2)
    async with site.running() as gateway:
        await site.all_read()
        text = exposition(gateway.vitals, None).decode()
        for sample in (
            'wattgate_line_devices{line="l0",state="answering"} 2.0',
            'wattgate_queue_due{class="schedule",line="l1"} 0.0',
            'wattgate_answer_seconds_count{line="l1",meter="m1-1"} ',
        ):
            assert sample in text, sample


class Clock:
    """As the gateway's, put forward by hand."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms


async def test_utilisation_is_that_of_the_last_minute_however_seldom_somebody_asks(site_of: MakeSite) -> None:
    site = site_of(1, 1)
    async with site.running() as gateway:
        await site.all_read()
        clock, [driver] = Clock(), [line.driver for line in gateway.crew.lines.values()]
        vitals = Vitals("g", "0", gateway.crew, clock)  # type: ignore[arg-type]
        driver.counters.since_ms, driver.counters.busy_ms = clock.ms, 0
        for second in range(0, 600, 5):
            vitals.sample()
            clock.ms += 5_000
            driver.counters.busy_ms += 5_000 if second < 300 else 1_000
        assert abs(vitals.lines()[0].utilisation - 0.2) < 0.01
        clock.ms -= 3_600_000
        assert 0.0 <= vitals.lines()[0].utilisation <= 1.0, "whatever the clock does"
    assert WINDOW_MS == 60_000


def test_quantiles_are_read_off_between_the_bounds_of_their_bucket() -> None:
    counts = [0] * (len(BUCKETS_MS) + 1)
    assert quantile_ms(counts, 50) is None
    counts[2] = 100  # 50 to 100 ms
    assert [quantile_ms(counts, percent) for percent in (1, 50, 100)] == [50, 75, 100]
    counts[-1] = 100
    assert quantile_ms(counts, 95) == BUCKETS_MS[-1]
    assert together([counts, counts])[2] == 200
