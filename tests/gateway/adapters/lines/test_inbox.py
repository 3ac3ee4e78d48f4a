"""The inbox of a line: one timer serves many waits, and each wait ends at its own time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from gateway.adapters.lines.transport import Inbox, LineDown
from tests.simulation.virtual_loop import in_virtual_time


async def waited_s(inbox: Inbox, timeout_s: float) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert await inbox.take(timeout_s) == b""
    return loop.time() - begun


@in_virtual_time
async def test_a_wait_ends_in_time_whatever_waits_came_before() -> None:
    inbox = Inbox()
    asyncio.get_running_loop().call_later(0.1, inbox.feed, b"x")
    assert await inbox.take(5.0) == b"x"  # its timer stands at 5 s
    assert await waited_s(inbox, 0.5) == pytest.approx(0.5)
    asyncio.get_running_loop().call_later(0.1, inbox.feed, b"y")
    assert await inbox.take(0.5) == b"y"  # its timer rings while the next one waits
    assert await waited_s(inbox, 3.0) == pytest.approx(3.0)
    assert await waited_s(inbox, 0.0) == 0.0


@in_virtual_time
async def test_bytes_that_came_before_the_end_can_still_be_taken() -> None:
    inbox = Inbox()
    asyncio.get_running_loop().call_later(0.1, inbox.fail, "gone")
    with pytest.raises(LineDown, match="gone"):
        await inbox.take(1.0)
    inbox.feed(b"z")
    assert await inbox.take(1.0) == b"z"


@pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_wait_too_short_for_a_timer_is_followed_by_another(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def waits() -> None:
        inbox = Inbox()
        asyncio.get_running_loop().call_soon(inbox.feed, b"x")
        assert await inbox.take(0.0005) == b"x"  # uvloop rounds it to no time at all, and gives a handle that knows no moment
        assert await inbox.take(0.0002) == b""

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(waits())
