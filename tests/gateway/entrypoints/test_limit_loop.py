"""Load limits end to end in virtual time: simulated meters, their lines, the limiter's loop; and limits that go into the meters."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_sim.loads import Constant
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.limits import LimitPhase, LimitState, LoadLimit
from gateway.domain.load_caps import Cap, CapTable
from gateway.domain.meters import Account
from gateway.domain.supply import Verb
from gateway.entrypoints import limit_loop
from gateway.entrypoints.line_loop import Housekeeping
from gateway.services import watch_limits
from gateway.services.due_settings import due_settings
from gateway.services.ports import Site, Tx
from gateway.services.write_limits import record_setting, settings_of, start_setting
from tests.gateway.entrypoints.line_bench import PERIODS, Bench
from tests.simulation.virtual_loop import START_MS, in_virtual_time

ROUND_S = 2 * max(PERIODS.values()) // 60_000 * 10 + 2
"""Every second read of the present is the power's: a look each 20 s, and the exchange itself."""

LIMIT = LoadLimit(power_w=2000, delay_ms=60_000, pause_ms=90_000, recloses=2)
SETTLE_S = 6
"""What an order takes until its switch was read back: the bit settles 4 s after the acknowledgement."""

LIMITS = (EventKind.LIMIT_EXCEEDED, EventKind.LIMIT_CUT, EventKind.LIMIT_RECLOSED, EventKind.LIMIT_LOCKED, EventKind.LIMIT_RELEASED)


class Limited(Bench):
    """A bench whose accounts have limits, with the limiter's loop."""

    def __init__(self, folder: Path, meters: int = 2, baud: int = 9600) -> None:
        house = Housekeeping(due_settings=due_settings, start_setting=start_setting, record_setting=record_setting)
        super().__init__(folder, meters, baud, house)

    async def limit(self, name: str, limit: LoadLimit, **changes: object) -> None:
        def usecase(tx: Tx) -> None:
            account = tx.account(f"a-{name}")
            assert account is not None
            tx.save_account(replace(account, limit=limit, **changes))  # type: ignore[arg-type]

        await self.store.write(usecase)

    def watch(self) -> None:
        self._tasks.append(asyncio.create_task(limit_loop.watch(self.store, self.site, self.clock)))
        self._tasks.append(asyncio.create_task(self._wakes()))

    async def _wakes(self) -> None:
        """As the process does after every write."""
        while True:
            await asyncio.sleep(1)
            self.wake.notify()

    def draw(self, name: str, power_w: int) -> None:
        self.street.station(name).meter.set_load(Constant(power_w * 1000))

    def account(self, name: str) -> Account:
        found = self.store.read_now(lambda tx: tx.account(f"a-{name}"))
        assert found is not None
        return found

    async def until(self, name: str, *, closed: bool, most_s: float) -> float:
        """How long it takes until the contact truly stands so, in s."""
        for looks in range(int(4 * most_s)):
            if self.contact_closed(name) is closed:
                return looks / 4
            await asyncio.sleep(0.25)
        raise AssertionError(f"the contact of {name} did not move in {most_s} s")


@in_virtual_time
async def test_an_overload_is_cut_within_its_delay_and_one_round_recloses_and_locks(tmp_path: Path) -> None:
    async with Limited(tmp_path) as bench:
        await bench.limit("m1", LIMIT)
        bench.watch()
        await asyncio.sleep(120)
        assert bench.contact_closed("m1")
        bench.draw("m1", 2500)
        for spent in range(3):
            dark_s = await bench.until("m1", closed=False, most_s=LIMIT.delay_ms / 1000 + 2 * ROUND_S + SETTLE_S)
            assert dark_s > LIMIT.delay_ms / 1000
            assert bench.account("m1").limit_state.spent == spent
            if spent < 2:
                lit_s = await bench.until("m1", closed=True, most_s=LIMIT.pause_ms / 1000 + 2 * SETTLE_S)
                assert lit_s > LIMIT.pause_ms / 1000
        await asyncio.sleep(900)
        assert not bench.contact_closed("m1")
        assert bench.account("m1").limit_state.phase is LimitPhase.LOCKED
        once = [("limit_exceeded", "m1"), ("limit_cut", "m1"), ("limit_reclosed", None)]
        assert bench.events(*LIMITS) == [*once, *once, ("limit_exceeded", "m1"), ("limit_locked", "m1")]
        assert bench.contact_closed("m2") and bench.running


@in_virtual_time
async def test_what_is_protected_or_never_cut_is_never_cut(tmp_path: Path) -> None:
    async with Limited(tmp_path, meters=3) as bench:
        await bench.limit("m1", LIMIT, protect_until_ms=START_MS + 10**10)
        await bench.limit("m2", LIMIT, never_cut=True)
        await bench.limit("m3", LIMIT)
        bench.watch()
        for name in bench.names:
            bench.draw(name, 5000)
        await bench.until("m3", closed=False, most_s=200)
        for _ in range(100):
            await asyncio.sleep(4)
            assert bench.contact_closed("m1") and bench.contact_closed("m2")
        assert [who for kind, who in bench.events(EventKind.CUT_ORDERED) if who != "m3"] == []


@in_virtual_time
async def test_a_lock_out_may_end_by_itself(tmp_path: Path) -> None:
    async with Limited(tmp_path) as bench:
        await bench.limit("m1", replace(LIMIT, recloses=0, lockout_ms=300_000))
        bench.watch()
        bench.draw("m1", 2500)
        await bench.until("m1", closed=False, most_s=200)
        bench.draw("m1", 500)
        lit_s = await bench.until("m1", closed=True, most_s=400)
        assert 300 < lit_s < 300 + 3 * SETTLE_S
        assert bench.account("m1").limit_state == LimitState(LimitPhase.WITHIN, bench.account("m1").limit_state.since_ms)


@in_virtual_time
async def test_a_plan_switches_a_street_off_and_on(tmp_path: Path) -> None:
    """Virtual time begins at 08:00 in Shanghai."""
    table = CapTable("plan 7", (Cap(0), Cap(8 * 60 + 10, off=True), Cap(8 * 60 + 20)))
    async with Limited(tmp_path) as bench:
        assert START_MS // 60_000 % 1440 == 0
        for name in bench.names:
            await bench.limit(name, LoadLimit(0, 0, 60_000, 0, caps=table), agreement="signed")
        bench.watch()
        await asyncio.sleep(595)
        assert all(bench.contact_closed(name) for name in bench.names)
        for name in bench.names:
            await bench.until(name, closed=False, most_s=60)
        await asyncio.sleep(500)
        assert not any(bench.contact_closed(name) for name in bench.names)
        for name in bench.names:
            await bench.until(name, closed=True, most_s=150 + watch_limits.SPREAD_MS / 1000)
        assert bench.clock.now_ms() > START_MS + 20 * 60_000


@in_virtual_time
async def test_one_account_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = limit_loop.watch_limit

    def wrong(tx: Tx, who: str, site: Site, now_ms: int) -> None:
        if who == "a-m1":
            raise ValueError("a fault of ours")
        right(tx, who, site, now_ms)

    monkeypatch.setattr(limit_loop, "watch_limit", wrong)
    async with Limited(tmp_path) as bench:
        for name in bench.names:
            await bench.limit(name, LIMIT, limit_state=LimitState(LimitPhase.TRIPPED, START_MS))
        bench.watch()
        await asyncio.sleep(100)
        assert bench.account("m2").limit_state.phase is LimitPhase.WITHIN
        assert bench.account("m1").limit_state.phase is LimitPhase.TRIPPED
        assert (bench.account("m1").limit_memory.due_ms or 0) > bench.clock.now_ms()


@in_virtual_time
async def test_a_clock_that_was_set_back_keeps_no_house_dark(tmp_path: Path) -> None:
    async with Limited(tmp_path) as bench:
        await bench.limit("m1", LIMIT, limit_state=LimitState(LimitPhase.TRIPPED, START_MS + 10**9))
        bench.watch()
        await asyncio.sleep(100)
        assert bench.account("m1").limit_state.phase is LimitPhase.WITHIN


WRITTEN = LoadLimit(0, 0, 60_000, 0, written={"trip_current_limit": 12_345, "trip_guard_delay": 5, "trip_delay": 2})
IN_BYTES = {"04001402": 12_345, "04001403": 5, "04001401": 2}


def states(bench: Limited, name: str = "m1") -> list[str]:
    found = bench.store.read_now(lambda tx: settings_of(tx, name))
    return [] if found is None else [each.state.value for each in found.parameters]


def held(bench: Limited, name: str = "m1") -> dict[str, int]:
    device = bench.street.station(name).device
    assert device is not None
    return {di: device.parameters.number(di) for di in IN_BYTES}


@in_virtual_time
async def test_limits_go_into_the_meters_and_are_read_back(tmp_path: Path) -> None:
    async with Limited(tmp_path) as bench:
        await bench.limit("m1", WRITTEN)
        bench.watch()
        await asyncio.sleep(120)
        assert states(bench) == ["confirmed"] * 3
        assert held(bench) == IN_BYTES
        assert len(bench.frames(0x14)) == 3
        await asyncio.sleep(300)
        assert len(bench.frames(0x14)) == 3


@pytest.mark.parametrize(
    ("fault", "after", "quarantined"),
    [
        ("nak_write", ["confirmed"] * 3, False),
        ("half_write", ["uncertain", "ready", "ready"], True),
        ("lost_answer", ["confirmed"] * 3, False),
    ],
)
def test_neither_a_refusal_nor_silence_is_believed(tmp_path: Path, fault: str, after: list[str], quarantined: bool) -> None:
    @in_virtual_time
    async def test() -> None:
        async with Limited(tmp_path) as bench:
            bench.street.station("m1").faults.set(fault, 1, commands_only=True)
            await bench.limit("m1", WRITTEN)
            bench.watch()
            await asyncio.sleep(120)
            assert states(bench) == after
            finding = bench.store.read_now(lambda tx: tx.finding(FindingKind.LIMIT_NOT_WRITTEN, "m1"))
            assert (finding is not None) is quarantined
            if quarantined:
                assert len(bench.frames(0x14)) == 1

    test()


@in_virtual_time
async def test_a_cut_does_not_wait_for_limits_that_are_written(tmp_path: Path) -> None:
    async with Limited(tmp_path, meters=6) as bench:
        for name in bench.names:
            await bench.limit(name, WRITTEN)
        bench.watch()
        await asyncio.sleep(3)
        begin_ms = bench.clock.now_ms()
        await bench.order("m6", Verb.CUT, "c1")
        await bench.until("m6", closed=False, most_s=5)
        assert bench.clock.now_ms() - begin_ms < 5_000
        await asyncio.sleep(200)
        assert all(states(bench, name) == ["confirmed"] * 3 for name in bench.names)
