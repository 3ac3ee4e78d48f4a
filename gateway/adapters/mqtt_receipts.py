"""Messages handed to the broker, and its answers: many under way at once, each told of, none waiting beyond its connection.

Reason: the client library makes a task, a timer and an event for each message; a drain spends half its time on them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.adapters.mqtt_broker import refusal

REFUSED = 0x80
"""Reason codes from here on say that the broker does not have the message (MQTT 5, 2.4)."""


class NotTaken(ConnectionError):
    """The broker answered that it does not take this message; the text is its reason."""


Answer = ConnectionError | TimeoutError | None
"""None: the broker has the message."""


@dataclass(slots=True)
class _Call:
    """Messages of one call. left: unanswered ones. moved: loop time of the last answer."""

    answers: list[Answer]
    left: int
    moved: float
    done: asyncio.Future[None]


class Receipts:
    """One connection's. most: messages that may be under way at once; the broker ends a connection that has more.

    A message is late where nothing of its call was answered within answer_s; until its answer comes it takes up room all the same.
    """

    def __init__(self, client: Client, most: int, answer_s: float) -> None:
        self._client, self._most, self._answer_s = client, most, answer_s
        self._open: dict[int, tuple[_Call, int] | None] = {}
        self._calls: set[asyncio.Future[None]] = set()
        self._turn, self._patient, self._hasty, self._room = asyncio.Lock(), asyncio.Lock(), asyncio.Lock(), asyncio.Event()
        self._theirs: Any = client.on_publish
        client.on_publish = self._on_publish

    async def hand_over(
        self,
        messages: Iterable[tuple[str, bytes]],
        count: int,
        *,
        retain: bool = False,
        properties: Properties | None = None,
        patient: bool = False,
    ) -> list[Answer]:
        """Hands `count` messages over in their order (QoS 1) and returns the broker's answer to each. patient: calls that are not
        may go in between; of either kind the first that was called goes first. ConnectionError once there is no connection."""
        loop = asyncio.get_running_loop()
        late = TimeoutError(f"no acknowledgement within {self._answer_s:g} s")
        call = _Call([late] * count, count, loop.time(), loop.create_future())
        self._calls.add(call.done)
        mids: list[int] = []
        try:
            async with self._patient if patient else self._hasty:
                for n, (topic, payload) in enumerate(messages):
                    if len(self._open) >= self._most and not await self._has_room(call):
                        return call.answers
                    info = self._client.publish(topic, payload, 1, retain, properties)
                    if info.rc != MQTT_ERR_SUCCESS:
                        raise ConnectionError(f"there is no connection: {info.rc!s}")
                    self._open[info.mid] = (call, n)
                    mids.append(info.mid)
                call.moved = loop.time()
            await self._answered(call)
            return call.answers
        finally:
            self._calls.discard(call.done)
            for mid in mids:
                if mid in self._open:
                    self._open[mid] = None
            if call.done.done() and not call.done.cancelled():
                call.done.exception()  # it was told, or nobody waits any more

    def lost(self, why: str) -> None:
        """The connection is gone: everyone who waits is told at once."""
        for done in self._calls:
            if not done.done():
                done.set_exception(ConnectionError(why))
        self._room.set()

    async def _has_room(self, call: _Call) -> bool:
        """Waits for its turn until half of what may be under way is answered; False: nothing was answered in time."""
        async with self._turn:
            while len(self._open) > self._most // 2 and not call.done.done():
                before = len(self._open)
                self._room.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._answer_s):
                        await self._room.wait()
                if not call.done.done() and len(self._open) >= before:
                    return False
        if call.done.done():
            call.done.result()
        return True

    async def _answered(self, call: _Call) -> None:
        loop = asyncio.get_running_loop()
        while call.left and (left_s := call.moved + self._answer_s - loop.time()) > 0:
            await asyncio.wait((call.done,), timeout=left_s)
            if call.done.done():
                call.done.result()

    def _on_publish(self, client: Client, userdata: Any, mid: int, code: ReasonCode, properties: Properties) -> None:
        if mid not in self._open:
            if self._theirs is not None:
                self._theirs(client, userdata, mid, code, properties)
            return
        found = self._open.pop(mid)
        if len(self._open) <= self._most // 2:
            self._room.set()
        if found is None:
            return
        call, n = found
        call.answers[n] = NotTaken(refusal(code)) if code.value >= REFUSED else None
        call.left -= 1
        call.moved = asyncio.get_running_loop().time()
        if not call.left and not call.done.done():
            call.done.set_result(None)
