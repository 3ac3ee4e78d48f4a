"""Server-sent ticks: once a second, what has changed since; the page then asks for just that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import structlog

from gateway.adapters.http.problems import unavailable
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.status import Status
from gateway.services.ports import Tx

MOST_CLIENTS = 32
"""Open streams: each holds one of the listener's places; a page that gets none asks every few seconds instead."""

TICK_S = 1.0
"""No meter on a bus is read faster than a person can look."""

log = structlog.get_logger()


def snapshot(tx: Tx, status: Status) -> dict[str, str]:
    """A name for the present state of each part; another name means that the part may have changed."""
    newest = tx.events(1)
    event = newest[0].id if newest else 0
    command = next(iter(tx.commands(1)), None)
    switched = f"{event}.{command.id}.{command.changed_ms}" if command else str(event)
    counters = status.counters()
    return {
        "meters": f"{counters.readings}.{switched}",
        "accounts": f"{tx.journal_end()[0]}.{event}",
        "lines": str(counters.exchanges),
        "events": str(event),
    }


class Stream:
    """One reader of the store for all clients; a client that is slow misses ticks, none is queued for it."""

    def __init__(self, read: Reads, status: Status, *, tick_s: float = TICK_S, most: int = MOST_CLIENTS) -> None:
        self._read, self._status, self._tick_s, self._most = read, status, tick_s, most
        self._clients = 0
        self._seen: Mapping[str, str] = {}
        self._ticked = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        self._closed = False

    async def enter(self) -> AsyncIterator[bytes]:
        """A new client's stream, already begun so that its end is always noticed; Problem `unavailable` when there are too many."""
        if self._clients >= self._most or self._closed:
            raise unavailable(f"{self._most} pages are watching already; ask for the lists instead")
        events = self._events()
        await anext(events)
        return events

    def close(self) -> None:
        """End every stream, so that the listener can stop at once."""
        self._closed = True
        self._ticked.set()
        if self._ticker is not None:
            self._ticker.cancel()

    async def _events(self) -> AsyncIterator[bytes]:
        self._clients += 1
        try:
            if self._ticker is None or self._ticker.done():
                self._ticker = asyncio.create_task(self._tick())
            yield b""
            while not self._closed:
                yield f"event: changed\ndata: {json.dumps(self._seen)}\n\n".encode()
                await self._ticked.wait()
        finally:
            self._clients -= 1

    async def _tick(self) -> None:
        """Runs while somebody watches. A store that cannot be read now gives a tick without news, never the end of the stream."""
        while self._clients and not self._closed:
            try:
                self._seen = await self._read(lambda tx: snapshot(tx, self._status))
            except Exception as error:
                log.warning("stream_tick_failed", error=str(error))
            self._ticked.set()
            self._ticked = asyncio.Event()
            await asyncio.sleep(self._tick_s)
