"""Alarms and protection at simulated meters in virtual time: the meter's own truth, and what the gateway says of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from firmware_sim.dlt645.device import Device
from firmware_sim.meter import Meter as TrueMeter
from gateway.domain.credit import CreditPolicy, Step
from gateway.domain.events import EventKind
from gateway.domain.meters import Account
from gateway.domain.notices import Notice
from gateway.domain.requests import PaymentIdentity, Protection, TopUp
from gateway.domain.supply import CommandState, Verb
from gateway.domain.units import MICRO
from gateway.entrypoints import sign_loop
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import Site, Tx
from gateway.services.protect_account import protect_account
from gateway.services.run_command import recover
from tests.gateway.entrypoints.line_bench import PERIODS, Bench, bare
from tests.simulation.virtual_loop import in_virtual_time

CONTROL = 0x1C
WARNED = CreditPolicy(low_micro=MICRO, cut_micro=-(10**12), close_micro=-(10**12), steps=(Step("low", ("meter",)),))


class SignBench(Bench):
    """The same, with the loop that orders signs."""

    def start(self, *lines: str) -> None:
        super().start(*lines)
        watching = sign_loop.watch(self.weak, self.site, self.clock, self.wake.notify)
        self._tasks.append(asyncio.create_task(watching))

    def site(self) -> Site:
        return replace(super().site(), retry_refused_ms=25 * 60_000)

    def truth(self, meter: str) -> TrueMeter:
        return self.street.station(meter).meter

    def device(self, meter: str) -> Device:
        device = self.street.station(meter).device
        assert device is not None
        return device

    def account(self, name: str) -> Account:
        found = self.store.read_now(lambda tx: tx.account(name))
        assert found is not None
        return found

    async def warn(self, meter: str) -> None:
        """Its account has nothing, is warned below 1 yuan, and the warning is an alarm."""
        poor = replace(self.account(f"a-{meter}"), policy=WARNED)
        await self.store.write(lambda tx: tx.save_account(poor))

    def notice(self, meter: str) -> Notice:
        return self.store.read_now(lambda tx: tx.notices(f"a-{meter}", 0, 10))[0]

    async def pay(self, meter: str) -> None:
        now_ms, site = self.clock.now_ms(), self.site()
        paid = TopUp(
            PaymentIdentity("bank", "", "", "S-1"), f"a-{meter}", 100 * MICRO, "CNY", datetime.fromtimestamp(now_ms / 1000, UTC),
            date(2026, 11, 24), date(2026, 11, 24),
        )  # fmt: skip
        await self.store.write(lambda tx: apply_topup(tx, paid, site, now_ms))

    async def protect(self, meter: str, lasts_s: int) -> None:
        now_ms, site = self.clock.now_ms(), self.site()
        wanted = Protection(f"a-{meter}", now_ms + lasts_s * 1000, "Li Wei", "oxygen concentrator", in_meter=True)
        assert await self.store.write(lambda tx: protect_account(tx, wanted, site, now_ms)) is None

    def deaf(self, orders: int = 1_000) -> None:
        """The meters do not hear the next so many orders; what they are asked they answer."""
        left = [orders]

        def unheard(data: bytes) -> bool:
            left[0] -= bare(data)[8] == CONTROL
            return bare(data)[8] == CONTROL and left[0] >= 0

        self.street.ignore("rs", unheard)

    async def die(self) -> None:
        """The process is killed; nothing that it was doing reaches the store any more."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def live(self) -> int:
        """Another one begins on what is in the store; how many orders it found in flight."""
        now_ms, site = self.clock.now_ms(), self.site()
        found: int = await self.store.write(lambda tx: recover(tx, site, now_ms))
        self.start(*self.loops)
        return found

    def verbs(self, meter: str) -> list[tuple[str, str]]:
        """Orders to this meter with their states, oldest first."""

        def query(tx: Tx) -> list[tuple[str, str]]:
            return [(c.verb.value, c.state.value) for c in reversed(tx.commands_of(meter, 100))]

        return self.store.read_now(query)


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meters are read seldom, so that a day takes no minute."""
    for group in PERIODS:
        monkeypatch.setitem(PERIODS, group, 15 * 60_000)


@in_virtual_time
async def test_an_alarm_is_seen_at_the_meter_and_taken_back(tmp_path: Path) -> None:
    async with SignBench(tmp_path) as bench:
        await asyncio.sleep(5)
        await bench.order("m1", Verb.ALARM, "on")
        await asyncio.sleep(3)
        assert bench.truth("m1").alarm and bench.command("on").state is CommandState.ACKNOWLEDGED, "not before it is read back"
        await asyncio.sleep(5)
        done = bench.command("on")
        assert (done.state, done.evidence, done.attempts) == (CommandState.DONE, ("status_bit",), 1)
        assert not bench.truth("m2").alarm and bench.contact_closed("m1")
        await bench.order("m1", Verb.ALARM_OFF, "off")
        await asyncio.sleep(10)
        assert bench.command("off").state is CommandState.DONE and not bench.truth("m1").alarm
        assert bench.events(EventKind.METER_TOLD) == [("meter_told", "m1")] * 2 and len(bench.frames(CONTROL)) == 2


@in_virtual_time
async def test_it_expires_by_the_meters_own_clock(tmp_path: Path) -> None:
    async with SignBench(tmp_path) as bench:
        bench.truth("m1").set_clock(bench.truth("m1").clock_us + 2 * 3600 * 1_000_000)
        await asyncio.sleep(5)
        await bench.order("m1", Verb.ALARM, "on", lives_s=60)
        await asyncio.sleep(15)
        assert bench.command("on").state is CommandState.DONE and bench.truth("m1").alarm


@in_virtual_time
async def test_a_rung_of_the_ladder_sounds_at_the_meter_until_it_is_paid(tmp_path: Path) -> None:
    async with SignBench(tmp_path) as bench:
        await bench.warn("m1")
        await asyncio.sleep(120)
        assert bench.truth("m1").alarm and not bench.truth("m2").alarm
        assert (bench.notice("m1").state, bench.notice("m1").channel) == ("delivered", "meter")
        assert bench.account("a-m1").warned_ms is not None, "the ladder is completed by what was read back"
        await bench.pay("m1")
        await asyncio.sleep(30)
        assert not bench.truth("m1").alarm
        assert bench.verbs("m1") == [("alarm", "done"), ("alarm_off", "done")]


@in_virtual_time
async def test_a_silent_meter_completes_no_ladder(tmp_path: Path, seldom: None) -> None:
    async with SignBench(tmp_path) as bench:
        await bench.warn("m1")
        bench.deaf()
        await asyncio.sleep(600)
        assert not bench.truth("m1").alarm and bench.account("a-m1").warned_ms is None
        assert bench.notice("m1").state == "failed" and bench.verbs("m1") == [("alarm", "failed")]
        assert len(bench.frames(CONTROL)) == 3, "what nobody acknowledged is sent again, within bounds"
        bench.deaf(0)
        await asyncio.sleep(3600 + 900)
        assert bench.truth("m1").alarm and bench.notice("m1").state == "delivered"
        assert bench.account("a-m1").warned_ms is not None


@in_virtual_time
async def test_an_answer_that_is_lost_is_looked_for_and_not_sent_again(tmp_path: Path) -> None:
    async with SignBench(tmp_path) as bench:
        await asyncio.sleep(5)
        bench.street.station("m1").faults.set("lost_answer", 1, commands_only=True)
        await bench.order("m1", Verb.ALARM, "on")
        await asyncio.sleep(3)
        assert bench.command("on").state is CommandState.UNCERTAIN
        await asyncio.sleep(10)
        assert bench.command("on").state is CommandState.DONE and len(bench.frames(CONTROL)) == 1


@pytest.mark.parametrize("arrived", [True, False])
@in_virtual_time
async def test_a_restart_between_order_and_answer_leaves_nothing_undone(tmp_path: Path, arrived: bool) -> None:
    async with SignBench(tmp_path) as bench:
        await asyncio.sleep(5)
        if not arrived:
            bench.deaf(1)
        await bench.protect("m1", 3600)
        for _ in range(1_000):
            if bench.frames(CONTROL):
                break
            await asyncio.sleep(0.01)
        await bench.die()
        assert bench.verbs("m1") == [("protect", "sent")]
        await asyncio.sleep(2)
        assert await bench.live() == 1 and bench.truth("m1").protect is arrived
        await asyncio.sleep(30)
        assert bench.verbs("m1") == [("protect", "done")] and bench.truth("m1").protect
        assert len(bench.frames(CONTROL)) == (1 if arrived else 2)


@in_virtual_time
async def test_protection_in_the_meter_refuses_its_own_trip_until_it_ends(tmp_path: Path) -> None:
    async with SignBench(tmp_path) as bench:
        await asyncio.sleep(5)
        await bench.protect("m1", 600)
        await asyncio.sleep(15)
        assert bench.truth("m1").protect and bench.verbs("m1") == [("protect", "done")]
        for meter in bench.names:
            bench.device(meter).gear.out_of_credit()
        await asyncio.sleep(10)
        assert bench.contact_closed("m1") and not bench.contact_closed("m2"), "the one beside it trips"
        await asyncio.sleep(600)
        assert not bench.truth("m1").protect and bench.verbs("m1")[-1] == ("unprotect", "done")
        assert bench.contact_closed("m1"), "its end trips nobody in remote mode"
        bench.device("m1").gear.out_of_credit()
        await asyncio.sleep(10)
        assert not bench.contact_closed("m1")


@in_virtual_time
async def test_a_wrong_password_is_tried_once_a_day_and_the_switch_keeps_its_try(tmp_path: Path, seldom: None) -> None:
    async with SignBench(tmp_path) as bench:
        device = bench.device("m1")
        right, device.access.passwords = device.access.passwords, dict.fromkeys(range(10), "999999")
        await bench.warn("m1")
        await asyncio.sleep(3600)
        assert len(bench.frames(CONTROL)) == 1 and bench.notice("m1").state == "failed"
        assert bench.verbs("m1") == [("alarm", "refused")] * 3, "of these the meter saw the first alone"
        device.access.passwords = right
        await bench.order("m1", Verb.RESTORE, "light")
        await asyncio.sleep(15)
        assert bench.command("light").state is CommandState.VERIFIED


@in_virtual_time
async def test_what_has_no_register_for_it_is_refused(tmp_path: Path) -> None:
    async with SignBench(tmp_path) as bench:
        answer = await bench.ask("c1", Verb.ALARM, "on")
        assert answer.refused == "meter c1 (modbus) has nothing by which it could be told: alarm"
