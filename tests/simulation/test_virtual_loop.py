"""The virtual loop: waits cost nothing, order is by time, real files still work, and a deadlock is told at once."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from tests.simulation.virtual_loop import START_MS, Stuck, VirtualClock, in_virtual_time, run


@in_virtual_time
async def test_a_year_passes_at_once_and_in_order() -> None:
    clock, order = VirtualClock(), []

    async def after(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    begun = time.monotonic()
    await asyncio.gather(after("late", 365 * 86_400), after("early", 1), after("noon", 43_200))
    assert order == ["early", "noon", "late"] and time.monotonic() - begun < 1
    assert clock.now_ms() == START_MS + 365 * 86_400_000
    clock.set(START_MS)
    assert clock.now_ms() == START_MS and clock.monotonic() == 365 * 86_400


@in_virtual_time
async def test_time_outs_are_virtual_too() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await asyncio.Event().wait()
    assert asyncio.get_running_loop().time() == 3600


@in_virtual_time
async def test_bytes_in_a_real_pipe_are_seen_before_time_goes_on() -> None:
    read, write = os.pipe()
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(read, heard.set)
    loop.call_later(5, os.write, write, b"x")
    await heard.wait()
    assert loop.time() == 5
    loop.remove_reader(read)
    os.close(read)
    os.close(write)


def test_waiting_for_nothing_is_an_error_and_not_a_hang() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(forever())
