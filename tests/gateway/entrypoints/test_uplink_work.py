"""Orders of the centre that take longer than a transaction: taken in hand once, answered when done, ended by their expiry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from gateway.domain.clocks import ClockState, MeterClock
from gateway.domain.events import Topic
from gateway.domain.jobs import ClockSeen
from gateway.domain.meters import Meter
from gateway.domain.uplink_orders import UplinkOrder
from gateway.entrypoints import uplink_work
from gateway.entrypoints.uplink_work import Done, UplinkWork
from gateway.services.ports import Site, Tx
from tests.gateway.services.house import meter
from tests.gateway.services.memory_tx import MemoryTx

T = TypeVar("T")
T0, LIVES_MS = 1_795_262_400_000, 60_000
SITE = Site("G1", "Asia/Shanghai", clock_trusted=True)
MODBUS = replace(meter("mb"), protocol="modbus")


class House:
    """A store in memory, its time, and hands that note what is asked of them."""

    def __init__(self, *meters: Meter) -> None:
        self.tx, self.ms, self.site = MemoryTx(), T0, SITE
        self.asked: list[str] = []
        self.looks = 0
        for each in meters or (meter("m1"),):
            self.tx.save_meter(replace(each, account=None))
        self.work = self.begun()

    def begun(self) -> UplinkWork:
        """A process that has just started."""
        return UplinkWork(self, self, lambda: self.site, self)

    def now_ms(self) -> int:
        return self.ms

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        return usecase(self.tx)

    async def read(self, query: Callable[[Tx], T]) -> T:
        return query(self.tx)

    async def do(self, order: UplinkOrder) -> Done:
        self.asked.append(order.id)
        return Done()

    def ask(self, meter: str) -> bool:
        self.asked.append(meter)
        return meter == "m1"

    def look_at_clocks(self) -> None:
        self.looks += 1

    def order(self, verb: str, of: str = "m1") -> None:
        order = UplinkOrder(
            f"{verb}-1", "centre", 1, verb, of, None, "d", self.ms, self.ms + LIVES_MS, self.ms, "{}", "", "", "queued", self.ms
        )
        self.tx.add_uplink_order(order)

    def told(self) -> list[tuple[Any, Any]]:
        rows = [row.message for row in self.tx.outgoing(0, 99)]
        return [(each.body["state"], each.body["reason"]) for each in rows if each.topic is Topic.RESULT]

    def seen(self, offset_ms: int, state: ClockState) -> None:
        """The line has looked at the clock of m1."""
        self.tx.save_clock(MeterClock("m1", state, ClockSeen(offset_ms, 500, self.ms)))


async def test_a_clock_is_looked_at_at_once_and_done_when_it_is_seen_right() -> None:
    house = House()
    house.seen(0, ClockState.RIGHT)  # by the look of the day, before the order came
    house.ms += 1000
    house.order("sync_time")
    for _ in range(3):
        await house.work.turn()
    clock = house.tx.clock("m1")
    assert (house.looks, house.told()) == (1, []) and clock is not None and clock.seen is None
    house.ms += 1000
    house.seen(90_000, ClockState.OFF)
    await house.work.turn()
    assert house.told() == []
    house.seen(-200, ClockState.RIGHT)
    await house.work.turn()
    assert house.told() == [("done", None)]
    kept = house.tx.uplink_order("sync_time-1")
    assert kept is not None and json.loads(kept.answer) == {"offset_ms": -200}


@pytest.mark.parametrize(
    ("site", "of", "why"),
    [
        (replace(SITE, clock_trusted=False, clock_why="no source vouches for it"), "m1", "no source vouches for it"),
        (replace(SITE, keep_clocks=False), "m1", "keep_meters"),
        (SITE, "m9", "not in the archive"),
        (SITE, "mb", "has no clock that we could set"),
    ],
)
async def test_a_clock_that_nobody_will_set_is_refused_and_not_waited_for(site: Site, of: str, why: str) -> None:
    house = House(meter("m1"), MODBUS)
    house.site = site
    house.order("sync_time", of)
    await house.work.turn()
    [(state, reason)] = house.told()
    assert state == "refused" and why in reason and house.looks == 0


async def test_what_is_not_done_in_its_time_is_expired_and_a_restart_asks_again() -> None:
    house = House()
    house.order("read")
    await house.work.turn()
    await house.work.turn()
    assert house.asked == ["m1"]
    house.work = house.begun()
    await house.work.turn()
    assert house.asked == ["m1", "m1"]
    house.ms += LIVES_MS
    await house.work.turn()
    assert house.told() == [("expired", "it was not done before its expiry")] and house.asked == ["m1", "m1"]


async def test_a_meter_that_no_line_reads_is_said_so() -> None:
    house = House(meter("m2"))
    house.order("read", "m2")
    await house.work.turn()
    assert house.told() == [("refused", "no line reads meter m2")]


async def test_an_order_that_an_error_of_ours_stops_is_refused_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()

    async def do(order: UplinkOrder) -> Done:
        if order.id == "archive-1":
            raise KeyError("phase")
        return Done()

    monkeypatch.setattr(house, "do", do)
    for verb in ("archive", "change_meter"):
        house.order(verb)
    await house.work.turn()
    assert house.told() == [("done", None)]
    await house.work.turn()
    _, (broken, why) = house.told()
    assert broken == "refused" and "error of this gateway" in why


async def test_vouchers_that_wait_for_money_to_be_taken_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    house, tried = House(), Counter[str]()

    def again_of(tx: Tx, order: UplinkOrder, site: Site, now_ms: int) -> bool:
        tried[str(order.arguments["bank"])] += 1
        return order.arguments["bank"] == "east"

    monkeypatch.setattr(uplink_work, "again_of", again_of)
    house.order("topup")
    first = house.tx.kept_uplink_orders.pop("topup-1")
    for number in range(3 * uplink_work.MOST):
        bank = ("north", "south", "east")[number % 3]
        house.tx.add_uplink_order(replace(first, id=f"t-{number}", expires_ms=None, args=json.dumps({"bank": bank})))
    house.order("archive")
    await house.work.turn()
    assert house.asked == ["archive-1"]
    assert (tried["north"], tried["south"]) == (1, 1) and tried["east"] > 1
