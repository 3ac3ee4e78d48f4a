"""Many messages under way: order, the broker's maximum, answers that say no, and a broker that stands still."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from paho.mqtt.client import MQTT_ERR_NO_CONN, MQTT_ERR_SUCCESS
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway.adapters.mqtt_receipts import NotTaken, Receipts
from tests.simulation.virtual_loop import in_virtual_time

ANSWER_S = 10.0


class Wire:
    """Stands for paho's client. delay_s: until the broker's answer, None: never."""

    def __init__(self) -> None:
        self.on_publish: Any = None
        self.sent: list[bytes] = []
        self.open = self.most = 0
        self.delay_s: float | None = 0.1
        self.refuses: set[bytes] = set()
        self.rc = MQTT_ERR_SUCCESS

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: object) -> SimpleNamespace:
        mid = len(self.sent) + 1
        if self.rc == MQTT_ERR_SUCCESS:
            self.sent.append(payload)
            self.open += 1
            self.most = max(self.most, self.open)
            if self.delay_s is not None:
                asyncio.get_running_loop().call_later(self.delay_s, self.answer, mid, payload)
        return SimpleNamespace(rc=self.rc, mid=mid)

    def answer(self, mid: int, payload: bytes) -> None:
        self.open -= 1
        code = ReasonCode(PacketTypes.PUBACK, "Not authorized" if payload in self.refuses else "Success")
        self.on_publish(self, None, mid, code, None)


def numbers(first: int, last: int) -> list[tuple[str, bytes]]:
    return [("t", b"%d" % n) for n in range(first, last)]


def receipts(wire: Wire, most: int = 10) -> Receipts:
    return Receipts(wire, most, ANSWER_S)  # type: ignore[arg-type]


@in_virtual_time
async def test_never_more_than_the_broker_takes_and_all_in_order() -> None:
    wire = Wire()
    r = receipts(wire)
    first = asyncio.create_task(r.hand_over(numbers(0, 100), 100, patient=True))
    await asyncio.sleep(0)
    assert await r.hand_over(numbers(100, 150), 50, patient=True) == [None] * 50 and await first == [None] * 100
    assert wire.sent == [b"%d" % n for n in range(150)] and wire.most == 10


@in_virtual_time
async def test_one_that_is_in_a_hurry_overtakes_a_patient_one() -> None:
    wire = Wire()
    r = receipts(wire)
    drain = asyncio.create_task(r.hand_over(numbers(0, 100), 100, patient=True))
    await asyncio.sleep(0.05)
    assert await r.hand_over([("t", b"live")], 1) == [None]
    assert wire.sent.index(b"live") <= 30 and not drain.done()
    assert await drain == [None] * 100


@in_virtual_time
async def test_those_in_a_hurry_do_not_overtake_each_other() -> None:
    wire = Wire()
    r = receipts(wire)
    drain = asyncio.create_task(r.hand_over(numbers(1000, 1300), 300, patient=True))
    await asyncio.sleep(0.05)
    first = asyncio.create_task(r.hand_over(numbers(0, 50), 50))
    await asyncio.sleep(0)
    assert await r.hand_over(numbers(50, 100), 50) == [None] * 50 and await first == [None] * 50
    assert [sent for sent in wire.sent if len(sent) < 4] == [b"%d" % n for n in range(100)] and not drain.done()
    assert await drain == [None] * 300


@in_virtual_time
async def test_a_no_is_told_with_its_reason() -> None:
    wire = Wire()
    wire.refuses = {b"1"}
    first, no, last = await receipts(wire).hand_over(numbers(0, 3), 3)
    assert first is None and last is None
    assert isinstance(no, NotTaken) and "reason code 135" in str(no)


@in_virtual_time
async def test_a_broker_that_stands_still_gets_no_more() -> None:
    wire = Wire()
    wire.delay_s = None
    r, loop = receipts(wire), asyncio.get_running_loop()
    for _ in range(3):
        begin = loop.time()
        answers = await r.hand_over(numbers(0, 30), 30)
        assert all(isinstance(answer, TimeoutError) for answer in answers)
        assert ANSWER_S <= loop.time() - begin <= 2 * ANSWER_S + 1
    assert len(wire.sent) == 10, "what it owes an answer for takes up all its room"
    for mid in range(1, 11):
        wire.answer(mid, b"")
    wire.delay_s = 0.1
    assert await r.hand_over(numbers(0, 30), 30) == [None] * 30


@in_virtual_time
async def test_a_slow_broker_is_no_dead_one() -> None:
    wire = Wire()
    wire.delay_s = ANSWER_S - 1
    assert await receipts(wire).hand_over(numbers(0, 50), 50) == [None] * 50


@in_virtual_time
async def test_the_end_of_the_connection_is_told_to_all_who_wait_at_once() -> None:
    wire = Wire()
    wire.delay_s = None
    r = receipts(wire)
    calls = [asyncio.create_task(r.hand_over(numbers(0, 8), 8)) for _ in range(3)]
    await asyncio.sleep(1)
    r.lost("gone")
    await asyncio.wait(calls, timeout=0.01)
    assert all(call.done() and isinstance(call.exception(), ConnectionError) for call in calls)
    wire.rc = MQTT_ERR_NO_CONN
    with pytest.raises(ConnectionError):
        await receipts(wire).hand_over(numbers(0, 1), 1)
