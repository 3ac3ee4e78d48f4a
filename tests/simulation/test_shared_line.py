"""One pair, many who want something of it: the whole gateway at work on lines with true byte timing (pains 1, 2, 4, 15, 17, 18)."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

from gateway.adapters.lines.driver import NoAnswer
from gateway.domain.events import EventKind
from gateway.domain.jobs import ReadJob, SwitchJob
from gateway.domain.supply import CommandState, Verb
from gateway.entrypoints.line_loop import Busy
from gateway.services.plan import PROBE_LONGEST_MS
from protocols.dlt645.codes import READ
from protocols.dlt645.frames import Deframer
from protocols.dlt645.master import Read
from tests.conftest import Figure
from tests.simulation.virtual_loop import START_MS, in_virtual_time
from tests.simulation.whole_gateway import ONLY_FREEZES, Pair, Polls, WholeGateway

HUNDRED = Pair("rs", 100, delay_ms=(50, 50), tail_ms=0)
BUSY = Polls(10, 10, 20)
"""More than a line of a hundred meters can do, so that it is never idle."""

GAP_MS, HURRY_MS = 20, 20
"""The line's gap, and what an order may take beside it."""

FIRST_CYCLE_S = 90
"""Everything has been read once, and the dead are known."""

SETTLE_MS = 4_000
"""Of the profile of these meters."""


@in_virtual_time
async def some_dead(folder: Path, dead: int, seconds: int, figure: Figure) -> None:
    async with WholeGateway(folder, [HUNDRED], BUSY, ONLY_FREEZES, patient=True) as gateway:
        silent = gateway.names[:: 100 // dead]
        for name in silent:
            gateway.silence(name)
        await gateway.run(FIRST_CYCLE_S)
        before = len(gateway.auditor.done)
        await gateway.run(seconds)
        done = gateway.auditor.done[before:]
        whole_ms = done[-1].from_ms - done[0].from_ms
        lost_ms = sum(after.from_ms - vain.from_ms for vain, after in pairwise(done) if not vain.answered)
        heard = Counter(d.meter for d in done if isinstance(d.job, ReadJob) and d.answered)
        figure(f"of a busy line of 100 meters lost to {dead} dead ones, after the first cycle", f"{lost_ms / whole_ms:.2%}")
        assert heard.keys() == {*gateway.names} - {*silent}
        assert 0 < lost_ms <= whole_ms / 20
        assert len(done) * 200 > whole_ms, "the line is never idle"


def test_pain_01_one_dead_meter_costs_the_others_nothing(tmp_path: Path, figure: Figure, proof_scale: int) -> None:
    for dead in (1, 10):
        (tmp_path / str(dead)).mkdir()
        some_dead(tmp_path / str(dead), dead, 60 if proof_scale == 1 else 900, figure)


def polls(gateway: WholeGateway, meter: str, since_ms: int) -> list[ReadJob]:
    """Reads of this meter that began since then."""
    return [d.job for d in gateway.auditor.done if isinstance(d.job, ReadJob) and d.meter == meter and d.from_ms >= since_ms]


@in_virtual_time
async def gone_and_back(folder: Path, figure: Figure) -> None:
    async with WholeGateway(folder, [Pair("rs", 3)], Polls(60, 60, 300), ONLY_FREEZES, patient=True) as gateway:
        await gateway.run(300)
        gateway.silence("rs-3")
        gone_ms = gateway.clock.now_ms()
        await gateway.run(3 * 3600)
        back_ms, asked = gateway.clock.now_ms(), len(polls(gateway, "rs-3", gone_ms))
        assert 10 <= asked <= 40, "tried, then probed ever more rarely, and never given up"
        [silent] = gateway.events(EventKind.METER_SILENT)
        assert silent.meter == "rs-3" and silent.at_ms - gone_ms < 180_000
        gateway.hear("rs-3")
        await gateway.run(PROBE_LONGEST_MS / 1000 + 60)
        [back] = gateway.events(EventKind.METER_BACK)
        assert back.meter == "rs-3" and back.at_ms - back_ms <= PROBE_LONGEST_MS + 5_000
        assert len(polls(gateway, "rs-3", back.at_ms)) >= 2 * ((gateway.clock.now_ms() - back.at_ms) // 60_000)
        figure("questions to a silent meter in 3 h, seconds until it was back", f"{asked}, {(back.at_ms - back_ms) / 1000:.0f}")


def test_pain_02_a_silent_meter_is_probed_and_comes_back(tmp_path: Path, figure: Figure) -> None:
    gone_and_back(tmp_path, figure)


async def guest(gateway: WholeGateway, line: str, address: str) -> bool:
    """One read by a person at a tool; whether it was served."""
    driver = gateway.drivers[line]
    try:
        answer = await gateway.loop(line).guest(lambda: driver.run(Read(address, "00010000", 4)))
    except (Busy, NoAnswer):
        return False
    return answer.value.di == "00010000"


@in_virtual_time
async def everybody_at_once(folder: Path, minutes: int, figure: Figure) -> None:
    """Two pairs with polls, collection, clocks, orders and guests."""
    rng, guests = Random(4), list[asyncio.Task[bool]]()
    pairs = [Pair("north", 6), Pair("south", 6, baud=2400)]
    async with WholeGateway(folder, pairs, Polls(10, 10, 20)) as gateway:
        meters = {meter.name: meter for meter in gateway.settings.meter}
        for second in range(60 * minutes):
            meter = meters[rng.choice(gateway.names)]
            guests.append(asyncio.create_task(guest(gateway, meter.line, meter.address)))
            if second % 7 == 0:
                await gateway.order(meter.name, rng.choice((Verb.CUT, Verb.RESTORE)), f"order-{second}")
            await gateway.run(1)
        served = sum(await asyncio.gather(*guests))
        for pair in pairs:
            counters = gateway.wire(pair.id).counters
            figure(f"answers, collisions on {pair.id}", f"{counters.answers}, {counters.collisions}")
            assert counters.answers > 60 * minutes
            assert counters.collisions == 0
        jobs = {type(done.job).__name__ for done in gateway.auditor.done}
        assert {"ReadJob", "SwitchJob", "ReadbackJob", "HistoryJob", "ClockReadJob"} <= jobs
        assert served > 50 * minutes
        assert gateway.auditor.lies == {}
        figure("guests served", served)


def test_pain_04_requests_never_meet_on_a_wire(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    everybody_at_once(tmp_path, 1 if proof_scale == 1 else 20, figure)


@in_virtual_time
async def stamped(folder: Path, seconds: int, figure: Figure) -> None:
    """At 50 kW a register counts every 0.72 s, so that a time that is off by more shows in the value."""
    async with WholeGateway(folder, [Pair("rs", 20, baud=2400, power_w=50_000)], BUSY, ONLY_FREEZES) as gateway:
        for n in range(seconds // 10):
            await gateway.order(gateway.names[n], Verb.CUT if n // 20 % 2 == 0 else Verb.RESTORE, f"order-{n}")
            await gateway.run(10)
        spans = [(done.meter, done.from_ms, done.to_ms) for done in gateway.auditor.done]
        stored = [each for name in gateway.names for each in gateway.readings(name)]
        for each in stored:
            read = each.reading
            within = any(m == read.meter and start <= read.asked_ms < read.answered_ms <= end for m, start, end in spans)
            assert within and read.answered_ms <= each.stored_ms, f"{read} is of no exchange"
        assert gateway.auditor.lies == {} and gateway.auditor.readings > seconds
        figure("readings of a line that is late, stamped outside their exchange", f"{len(stored)}, 0")


def test_pain_15_values_are_stamped_when_they_were_answered(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    stamped(tmp_path, 200 if proof_scale == 1 else 1200, figure)


@in_virtual_time
async def orders_between_reads(folder: Path, count: int, figure: Figure) -> None:
    rng, waits, seen = Random(17), list[float](), list[int]()
    async with WholeGateway(folder, [replace(HUNDRED, meters=count)], Polls(1, 1, 1), ONLY_FREEZES) as gateway:
        await gateway.run(60)
        line = gateway.street.lines["rs"]
        heard, receive = list[float](), line.receive

        async def listen(timeout_s: float) -> bytes:
            if data := await receive(timeout_s):
                heard.append(START_MS + asyncio.get_running_loop().time() * 1000)
            return data

        line.receive = listen  # type: ignore[method-assign]
        for n in range(count):
            meter = gateway.names[n]
            await gateway.order(meter, Verb.CUT, f"order-{n}")
            committed_ms = gateway.clock.now_ms()
            await gateway.run(8 + rng.random())
            done, asked = gateway.auditor.done, [START_MS + at_s * 1000 for at_s, _ in line.sent]
            order = next(d for d in done if isinstance(d.job, SwitchJob) and d.job.command == f"order-{n}")
            first = next(at_ms for at_ms in asked if at_ms >= order.from_ms - 0.5)  # which is rounded
            assert not [at_ms for at_ms in asked if committed_ms <= at_ms < first], "only the exchange in flight goes before it"
            waits.append(first - max(committed_ms, *(at_ms for at_ms in heard if at_ms < first)))
            command = gateway.command(f"order-{n}")
            assert command.state is CommandState.VERIFIED and not gateway.contact_closed(meter)
            seen.append(command.changed_ms - committed_ms)
        assert min(waits) >= 0 and max(waits) <= GAP_MS + HURRY_MS
        p95 = sorted(seen)[math.ceil(0.95 * len(seen)) - 1]
        figure("orders, ms from the end of the exchange in flight to their first byte, at most", f"{count}, {max(waits):.0f}")
        figure("cuts, ms from the commit until they were seen, p95", f"{len(seen)}, {p95}")
        assert p95 <= SETTLE_MS + 1_500


def test_pain_17_an_order_does_not_wait_behind_reads(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    orders_between_reads(tmp_path, 20 if proof_scale == 1 else 100, figure)


@in_virtual_time
async def housekeeping_in_vain(folder: Path, hours: int, figure: Figure) -> None:
    """A meter that is silent to everything but its registers, voltage, current, power and relay."""
    async with WholeGateway(folder, [Pair("rs", 3, tail_ms=0)], Polls(60, 60, 300), patient=True) as gateway:
        kept = gateway.street.ignore("rs", lambda data: housekeeping(data, gateway.settings.meter[0].address))
        await gateway.run(3600 * hours)
        assert len(kept) > 10 * hours, "its past and its clock were asked for"
        assert gateway.events(EventKind.METER_SILENT) == []
        polls = [d for d in gateway.auditor.done if isinstance(d.job, ReadJob)]
        assert all(d.answered for d in polls)
        of_each = Counter(d.meter for d in polls)
        assert min(of_each.values()) >= 0.99 * hours * (60 + 60 + 12)
        figure("questions of housekeeping in vain, polls that failed, meters told as silent", f"{len(kept)}, 0, 0")


def housekeeping(data: bytes, address: str) -> bool:
    """Whether this asks one meter for its past, its clock or its records."""
    found = [f for f in Deframer().feed(data) if f.address == address and f.control == READ]
    return any(f.data[3:4] != b"\x00" and f.data[3:4] != b"\x02" and f.data[:4][::-1] != bytes.fromhex("04000503") for f in found)


def test_pain_18_housekeeping_never_faults_a_meter(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    housekeeping_in_vain(tmp_path, 2 if proof_scale == 1 else 48, figure)
