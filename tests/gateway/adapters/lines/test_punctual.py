"""Moments that timers cannot tell: never too early on any event loop, for a bounded part of the processor's time."""

from __future__ import annotations

import asyncio
import itertools
import time
from types import SimpleNamespace

import pytest
import uvloop

from gateway.adapters.lines import punctual
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.punctual import MOST_S, PARTS, RECENT, TICK_S, Punctual
from protocols.modbus.frames import rtu_pack
from protocols.modbus.master import ReadRegisters
from tests.simulation.memory_line import MemoryLine
from tests.simulation.virtual_loop import VirtualClock, VirtualLoop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop, "virtual": VirtualLoop}
GAP_MS, ROUNDS = 7, 20


class TimedLine(MemoryLine):
    """Answers at once; keeps how much later than its answer the next question came."""

    def __init__(self, clock: Punctual) -> None:
        super().__init__(lambda data: [(0.0, rtu_pack(1, bytes([3, 2, 0, data[3]])))])
        self.clock, self.gaps_s = clock, list[float]()
        self.heard_s: float | None = None

    async def send(self, data: bytes) -> None:
        if self.heard_s is not None:
            self.gaps_s.append(self.clock.now() - self.heard_s)
        await super().send(data)

    async def receive(self, timeout_s: float) -> bytes:
        data = await super().receive(timeout_s)
        self.heard_s = self.clock.now() if data else self.heard_s
        return data


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("by_timers", [False, True], ids=["exact", "by timers"])
def test_the_gap_is_whole_on_every_event_loop(name: str, by_timers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without a share of the processor's time."""
    monkeypatch.setattr(punctual._SHARE, "free", lambda now_s: not by_timers)
    line = TimedLine(Punctual())

    async def ask() -> None:
        driver = Driver(line, baud=None, clock=VirtualClock(), echo=False)
        assert await driver.ensure_open() is None
        for n in range(ROUNDS):
            await driver.run(ReadRegisters(1, 3, n, 1), gap_ms=GAP_MS)

    with asyncio.Runner(loop_factory=LOOPS[name]) as runner:
        runner.run(ask())
    assert len(line.gaps_s) == ROUNDS - 1 and min(line.gaps_s) >= GAP_MS / 1000 - 1e-6
    if name == "virtual":
        assert max(line.gaps_s) == pytest.approx(GAP_MS / 1000, abs=1e-5)


async def test_exactness_costs_a_bounded_part_of_the_processors_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many lines as want it at once: after each rest so much time is left to timers that the part is kept."""
    monkeypatch.setattr(punctual, "_SHARE", share := punctual._Share())
    ticks = itertools.count()
    monkeypatch.setattr(punctual, "time", SimpleNamespace(monotonic=lambda: next(ticks) * 1e-4))  # no other work comes in between
    lines = [Punctual() for _ in range(3)]
    for line in lines:
        assert line.nap_s(0.02) < 0.02 and line.nap_s(0.001) == 0.0
    begun_s = lines[0].now()
    await lines[0].finish(begun_s + 0.002)
    spent_s = share.free_at_s - lines[0].now()
    assert spent_s == pytest.approx((PARTS - 1) * (lines[0].now() - begun_s), rel=0.2)
    assert [line.nap_s(0.02) for line in lines] == [0.02] * 3
    assert [line.nap_s(0.0001) for line in lines] == [TICK_S] * 3, "what is shorter than a tick is not asked for again and again"


def test_with_many_lines_there_is_no_exactness_and_with_few_there_is_again() -> None:
    share, now_s = punctual._Share(), 1000.0
    for pace in (2 * MOST_S, MOST_S // 2):
        for _ in range(8 * RECENT):
            now_s += 1 / pace
            share.count(now_s)
        assert share.free(now_s) == (pace < MOST_S)


async def test_a_rest_ends_whatever_became_of_the_clock() -> None:
    begun_s = time.monotonic()
    await Punctual().finish(begun_s + 3600)
    assert time.monotonic() - begun_s < 60
