"""The line loop on a whole small site in virtual time: readings, cuts and restores, faults of meter, line, store and code."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.domain.events import EventKind
from gateway.domain.jobs import Answered, Job, Outcome, ReadJob
from gateway.domain.meters import Contact
from gateway.domain.supply import CommandState, Verb
from gateway.entrypoints.line_loop import LOOK_S, Wake
from gateway.services.ports import Tx
from gateway.services.run_command import finish_switch
from tests.gateway.entrypoints.line_bench import MAINS_W, Bench, bare
from tests.simulation.virtual_loop import in_virtual_time

CONTROL, READ = 0x1C, 0x11


@in_virtual_time
async def test_everything_is_read_and_recorded(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(60)
        for meter in (*bench.names, "c1"):
            latest = bench.store.read_now(lambda tx, meter=meter: tx.latest(meter))  # type: ignore[misc]
            assert {"energy_import", "power", "voltage_a"} <= set(latest)
            observed = bench.store.read_now(lambda tx, meter=meter: tx.meter(meter))  # type: ignore[misc]
            assert observed is not None and observed.observed is Contact.CLOSED
        assert 3 + 6 <= bench.readings("m1") <= 3 + 6 + 3
        assert bench.events(EventKind.METER_SILENT, EventKind.METER_BACK, EventKind.LINE_DOWN, EventKind.LINE_UP) == []


@pytest.mark.parametrize("meter", ["m1", "c1"])
@in_virtual_time
async def test_a_cut_and_a_restore_are_verified_at_the_switch(tmp_path: Path, meter: str) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(5)
        for verb, closed in ((Verb.CUT, False), (Verb.RESTORE, True)):
            await bench.order(meter, verb, f"x-{verb}")
            await asyncio.sleep(3)
            assert bench.command(f"x-{verb}").state is CommandState.ACKNOWLEDGED
            await asyncio.sleep(7)
            done = bench.command(f"x-{verb}")
            assert done.state is CommandState.VERIFIED and bench.contact_closed(meter) is closed
            assert done.attempts == 1 and done.evidence[0] == ("feedback" if meter == "c1" else "relay_bit")
        if meter == "m1":
            assert "load" in bench.command("x-cut").evidence and len(bench.frames(CONTROL)) == 2


@in_virtual_time
async def test_an_order_goes_out_before_everything_else_and_at_once(tmp_path: Path) -> None:
    """20 meters keep a 2400 baud line busy all the time: a restore waits for the running exchange only."""
    async with Bench(tmp_path, meters=20) as bench:
        await bench.order("m7", Verb.CUT, "cut")
        await asyncio.sleep(20)
        assert bench.command("cut").state is CommandState.VERIFIED
        for n, meter in enumerate(("m2", "m3", "m4")):
            await bench.order(meter, Verb.CUT, f"cut{n}")
        await bench.order("m7", Verb.RESTORE, "restore")
        at = asyncio.get_running_loop().time()
        await asyncio.sleep(4)
        first, *later = [t for t in bench.frames(CONTROL) if t >= at]
        assert first - at < 1.0 and len(later) == 3
        assert first in bench.frames(CONTROL, "m7")


@in_virtual_time
async def test_an_idle_loop_is_woken_and_sees_what_nobody_told_it(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=1) as bench:
        await asyncio.sleep(5.5)
        bench.wake, silent = Wake(), bench.wake
        at = asyncio.get_running_loop().time()
        await bench.order("m1", Verb.CUT, "untold")
        await asyncio.sleep(5)
        assert at < bench.frames(CONTROL)[0] <= at + LOOK_S + 1
        bench.wake = silent
        await asyncio.sleep(10.3)
        at = asyncio.get_running_loop().time()
        await bench.order("m1", Verb.RESTORE, "told")
        await asyncio.sleep(5)
        assert bench.frames(CONTROL)[1] - at < 0.7


@in_virtual_time
async def test_a_meter_that_falls_silent_is_said_once_and_costs_little_and_comes_back(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(10)
        bench.street.station("m2").faults.set("silent")
        await asyncio.sleep(300)
        assert bench.events(EventKind.METER_SILENT, EventKind.METER_BACK) == [("meter_silent", "m2")]
        assert len([at for at in bench.frames(READ, "m2") if at > 60]) < 10
        before = bench.readings("m1")
        bench.street.station("m2").faults.clear("silent")
        await asyncio.sleep(330)
        assert bench.events(EventKind.METER_SILENT, EventKind.METER_BACK) == [("meter_silent", "m2"), ("meter_back", "m2")]
        assert bench.readings("m1") - before > 40


@in_virtual_time
async def test_a_command_for_a_silent_meter_waits_and_is_carried_out_when_it_is_back(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        bench.street.station("m1").faults.set("silent")
        await bench.order("m1", Verb.CUT, "cut", lives_s=3600)
        await asyncio.sleep(300)
        assert bench.command("cut").state is CommandState.QUEUED and not bench.frames(CONTROL)
        bench.street.station("m1").faults.clear("silent")
        await asyncio.sleep(45)
        assert bench.command("cut").state is CommandState.VERIFIED and not bench.contact_closed("m1")


@in_virtual_time
async def test_an_unanswered_order_is_looked_at_before_it_is_repeated(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(10)
        bench.street.station("m1").faults.set("lost_answer", count=1, commands_only=True)
        await bench.order("m1", Verb.CUT, "cut")
        await asyncio.sleep(2)
        assert bench.command("cut").state is CommandState.UNCERTAIN
        await asyncio.sleep(10)
        assert bench.command("cut").state is CommandState.VERIFIED and len(bench.frames(CONTROL)) == 1


@in_virtual_time
async def test_a_line_that_goes_and_comes_is_said_once_each_and_orders_wait(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(10)
        bench.street.lines["rs"].unplug()
        await asyncio.sleep(1)
        await bench.order("m1", Verb.CUT, "cut")
        await bench.order("m2", Verb.CUT, "short", lives_s=30)
        await asyncio.sleep(60)
        assert bench.events(EventKind.LINE_DOWN, EventKind.LINE_UP) == [("line_down", None)]
        assert bench.command("cut").state is CommandState.QUEUED
        assert bench.command("short").state is CommandState.EXPIRED
        bench.street.lines["rs"].plug()
        await asyncio.sleep(3)
        assert bench.events(EventKind.LINE_DOWN, EventKind.LINE_UP) == [("line_down", None), ("line_up", None)]
        assert len(bench.frames(CONTROL)) >= 1
        await asyncio.sleep(10)
        assert bench.command("cut").state is CommandState.VERIFIED
        assert bench.events(EventKind.METER_SILENT) == []


@in_virtual_time
async def test_a_line_that_opens_and_breaks_is_down_too_and_not_hammered(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(10)
        line = bench.street.lines["net"]
        real, opened = line.send, line.opened

        async def break_off(data: bytes) -> None:
            await real(data)
            line.unplug()
            line.plug()

        line.send = break_off  # type: ignore[method-assign]
        await asyncio.sleep(120)
        assert bench.events(EventKind.LINE_DOWN, EventKind.LINE_UP) == [("line_down", None)]
        assert line.opened - opened < 130
        line.send = real  # type: ignore[method-assign]
        await asyncio.sleep(30)
        assert bench.events(EventKind.LINE_DOWN, EventKind.LINE_UP) == [("line_down", None), ("line_up", None)]


@in_virtual_time
async def test_the_result_of_an_order_outlives_a_full_disk(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(10)
        line = bench.street.lines["rs"]
        real = line.send

        async def send(data: bytes) -> None:
            bench.weak.full = bench.weak.full or bare(data)[8] == CONTROL
            await real(data)

        line.send = send  # type: ignore[method-assign]
        await bench.order("m1", Verb.CUT, "cut")
        with capture_logs() as logs:
            await asyncio.sleep(120)
            line.send = real  # type: ignore[method-assign]
            assert bench.command("cut").state is CommandState.SENT and bench.weak.refused > 10
            readings = bench.readings("m1")
            bench.weak.full = False
            await asyncio.sleep(12)
        assert bench.command("cut").state is CommandState.VERIFIED and len(bench.frames(CONTROL)) == 1
        assert bench.readings("m1") > readings
        assert len([entry for entry in logs if entry["event"].startswith("store_")]) <= 6


@in_virtual_time
async def test_an_unexpected_error_is_logged_at_a_bounded_rate_and_stops_nothing(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(10)
        real = bench.links["m2"]

        class Broken:
            async def perform(self, job: Job) -> Outcome:
                if isinstance(job, ReadJob):
                    raise ZeroDivisionError("a fault of ours")
                return await real.perform(job)

        bench.links["m2"] = Broken()
        before = bench.readings("m1"), bench.readings("c1")
        with capture_logs() as logs:
            await asyncio.sleep(120)
        assert bench.running and 10 <= len([e for e in logs if e["event"] == "job_error"]) <= 30
        assert bench.readings("m1") - before[0] > 10 and bench.readings("c1") - before[1] > 10


@in_virtual_time
async def test_rules_that_fail_do_not_end_the_loop_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(10)

        def broken(*arguments: object) -> None:
            raise LookupError("a fault of ours")

        monkeypatch.setattr("gateway.entrypoints.line_loop.record_reading", broken)
        monkeypatch.setattr("gateway.entrypoints.line_loop.start_command", broken)
        await bench.order("m1", Verb.CUT, "cut")
        with capture_logs() as logs:
            await asyncio.sleep(600)
        assert bench.running and 5 < len([e for e in logs if e["event"] == "line_loop_error"]) < 400
        monkeypatch.undo()
        await asyncio.sleep(120)
        assert bench.readings("m2") > 0
        assert bench.command("cut").state is CommandState.EXPIRED


@in_virtual_time
async def test_power_really_stops(tmp_path: Path) -> None:
    async with Bench(tmp_path, meters=1) as bench:
        assert bench.street.station("m1").meter.power_mw == MAINS_W * 1000
        await bench.order("m1", Verb.CUT, "cut")
        await asyncio.sleep(15)
        energy = bench.street.station("m1").meter.total_count
        assert bench.street.station("m1").meter.power_mw == 0
        await asyncio.sleep(300)
        assert bench.street.station("m1").meter.total_count == energy


async def test_a_notification_between_two_waits_is_not_lost() -> None:
    wake = Wake()
    one, other = wake.listener(), wake.listener()
    wake.notify()
    await one.wait(10)
    assert one.take() and not one.take() and other.take()
    await one.wait(0.001)
    assert not one.take()


@in_virtual_time
async def test_a_result_that_the_rules_reject_is_looked_up_at_the_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(10)

        def picky(tx: Tx, command: str, outcome: Outcome, *rest: Any) -> None:
            if isinstance(outcome, Answered):
                raise LookupError("a fault of ours")
            finish_switch(tx, command, outcome, *rest)

        monkeypatch.setattr("gateway.entrypoints.line_loop.finish_switch", picky)
        await bench.order("m1", Verb.CUT, "cut")
        with capture_logs() as logs:
            await asyncio.sleep(3)
            assert bench.command("cut").state is CommandState.UNCERTAIN
            await asyncio.sleep(10)
        assert bench.command("cut").state is CommandState.VERIFIED and len(bench.frames(CONTROL)) == 1
        assert len([entry for entry in logs if entry["event"] == "result_rejected"]) == 1


@in_virtual_time
async def test_a_result_that_is_rejected_altogether_is_logged_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Bench(tmp_path) as bench:
        await asyncio.sleep(10)

        def broken(*arguments: object) -> None:
            raise LookupError("a fault of ours")

        monkeypatch.setattr("gateway.entrypoints.line_loop.finish_switch", broken)
        await bench.order("m1", Verb.CUT, "cut")
        before = bench.readings("m1")
        with capture_logs() as logs:
            await asyncio.sleep(60)
        assert len([entry for entry in logs if entry["event"] == "result_rejected"]) == 2
        assert bench.command("cut").state is CommandState.SENT and bench.readings("m1") > before
