"""Whoever goes first: let through between two questions, and in the gap before one, but never twice for one question."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters.lines.driver import Driver
from protocols.modbus.master import ReadRegisters
from tests.gateway.adapters.lines.test_driver import make, now, registers
from tests.simulation.memory_line import MemoryLine
from tests.simulation.virtual_loop import in_virtual_time

GAP_MS = 60


class Passer:
    """Asks as often as it has been told to, one question each time."""

    def __init__(self, driver: Driver) -> None:
        self.driver, self.wanted, self.served = driver, 0, list[float]()
        driver.way = self

    def waits(self) -> bool:
        return self.wanted > 0

    async def serve(self) -> None:
        self.driver.way = None
        self.wanted -= 1
        self.served.append(now())
        await self.driver.run(ReadRegisters(9, 3, 0, 1), gap_ms=GAP_MS)
        self.driver.way = self

    def come(self) -> None:
        self.wanted += 1


async def line_with_passer() -> tuple[Driver, MemoryLine, Passer]:
    driver, line = await make(lambda data: [(0.1, registers(7, unit=data[0]))])
    return driver, line, Passer(driver)


def units(line: MemoryLine) -> list[int]:
    return [data[0] for _, data in line.sent]


@in_virtual_time
async def test_who_waits_goes_before_the_next_question() -> None:
    driver, line, passer = await line_with_passer()
    passer.come()
    assert (await driver.run(ReadRegisters(1, 3, 0, 1), gap_ms=GAP_MS)).value == (7,)
    await driver.run(ReadRegisters(2, 3, 0, 1), gap_ms=GAP_MS)
    assert units(line) == [9, 1, 2] and driver.counters.exchanges == 3


@pytest.mark.parametrize("after_s", [0.001, 0.03, 0.058])
@in_virtual_time
async def test_who_comes_in_the_gap_goes_at_its_end(after_s: float) -> None:
    driver, line, passer = await line_with_passer()
    await driver.run(ReadRegisters(1, 3, 0, 1), gap_ms=GAP_MS)
    asyncio.get_running_loop().call_later(after_s, passer.come)
    await driver.run(ReadRegisters(2, 3, 0, 1), gap_ms=GAP_MS)
    assert units(line) == [1, 9, 2]
    sent = [at for at, _ in line.sent]
    assert sent == [0.0, pytest.approx(0.16), pytest.approx(0.32)], "each a whole gap after the answer before it"


@in_virtual_time
async def test_who_always_waits_holds_up_a_question_twice_at_most() -> None:
    driver, line, passer = await line_with_passer()
    passer.wanted = 100
    for unit in (1, 2, 3):
        await driver.run(ReadRegisters(unit, 3, 0, 1), gap_ms=GAP_MS)
    assert units(line) == [9, 9, 1, 9, 9, 2, 9, 9, 3]
