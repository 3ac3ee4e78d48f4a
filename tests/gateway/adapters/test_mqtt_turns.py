"""Hasty messages go ahead, a few at a time of each name; the others keep their order, their room and their acknowledgements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from gateway.adapters.mqtt_turns import HASTY, Turns
from tests.gateway.uplink_ends import end

ABREAST = 4
ORDERS = [f"order-{number}" for number in range(100)]
STOPS = [f"stop-{number}" for number in range(100)]


@dataclass
class Work:
    """Begins with what comes, and is done with it when it may be. held: what is done with only when it is let go."""

    held: tuple[str, ...] = ("order", "stop", "halt")
    begun: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    came: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    may: dict[str, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.may = {name: asyncio.Event() for name in self.held}
        self.turns = Turns(self.receive, self.done.append, ABREAST, self.name_of)
        self.running = asyncio.ensure_future(self.turns.run(self.messages()))

    @staticmethod
    def name_of(message: str) -> str | None:
        name = message.split("-")[0]
        return None if name in ("order", "bad") else name

    async def messages(self) -> AsyncIterator[str]:
        while True:
            yield await self.came.get()

    async def receive(self, message: str) -> None:
        self.begun.append(message)
        if message.startswith("bad"):
            raise ConnectionError("it could not be written down")
        if (may := self.may.get(message.split("-")[0])) is not None:
            await may.wait()

    async def hear(self, *messages: str) -> None:
        for message in messages:
            self.came.put_nowait(message)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20 * len(ORDERS)):
            await asyncio.sleep(0)


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    inside = Work()
    yield inside
    if not inside.running.done():
        await end(inside.running)


async def test_a_hasty_message_overtakes_what_waits_and_is_acknowledged_in_its_turn(work: Work) -> None:
    work.may["stop"].set()
    await work.hear(*ORDERS, "stop-1")
    assert work.begun == [*ORDERS[:ABREAST], "stop-1"]
    assert work.done == [] and work.turns.waiting == len(ORDERS)
    work.may["order"].set()
    await work.settle()
    assert work.begun == [*ORDERS[:ABREAST], "stop-1", *ORDERS[ABREAST:]]
    assert work.done == [*ORDERS, "stop-1"] and work.turns.waiting == 0


async def test_a_thousand_of_one_name_take_nobodys_place(work: Work) -> None:
    work.may["order"].set()
    await work.hear(*ORDERS[:10], *STOPS[:HASTY], *ORDERS[10:])
    assert work.begun == [*ORDERS[:10], *STOPS[:HASTY], *ORDERS[10:]], "those who keep their turn lose no room to those ahead"
    assert work.done == ORDERS[:10]


async def test_more_of_one_name_keep_their_turn_and_hold_up_no_other(work: Work) -> None:
    await work.hear(*STOPS, *ORDERS, "halt-1")
    assert work.begun == [*STOPS[: HASTY + ABREAST], "halt-1"]
    work.may["stop"].set()
    work.may["order"].set()
    await work.settle()
    assert work.begun == [*STOPS[: HASTY + ABREAST], "halt-1", *STOPS[HASTY + ABREAST :], *ORDERS]
    assert work.done == [*STOPS, *ORDERS], "halt-1 is not done with"
    await work.hear("stop-more", "order-more")
    assert work.begun[-2:] == ["stop-more", "order-more"], "there is room again"


async def test_what_cannot_be_done_ends_it_and_nothing_behind_is_acknowledged(work: Work) -> None:
    work.may["stop"].set()
    await work.hear("bad-1", "order-1", "stop-1")
    with pytest.raises(ConnectionError, match="could not be written down"):
        await work.running
    assert {*work.begun} == {"bad-1", "order-1", "stop-1"} and work.done == []


async def test_the_end_of_the_connection_gives_up_what_waits(work: Work) -> None:
    await work.hear(*ORDERS, *STOPS)
    await end(work.running)
    begun = list(work.begun)
    for may in work.may.values():
        may.set()
    await work.settle()
    assert work.begun == begun and work.done == []
