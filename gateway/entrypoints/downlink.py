"""What the centre sends down becomes rows, one transaction each (contract.md 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.supply import Verb
from gateway.entrypoints.outbox_loop import Clock, OutboxLoop, Store
from gateway.services.acknowledge import acknowledge
from gateway.services.ports import Essential, Site, Tx, Unavailable
from gateway.services.receive_command import receive_command, receive_unreadable

log = structlog.get_logger(__name__)

ATTEMPTS, PAUSE_S = 5, 1.0
"""Tries to write a command down while the store is unavailable: the broker has forgotten it, and it expires in minutes."""


class Downlink:
    """The listener of an uplink."""

    def __init__(self, store: Store, outbox: OutboxLoop, clock: Clock, site: Callable[[], Site]) -> None:
        self._store, self._outbox, self._clock, self._site = store, outbox, clock, site

    async def on_ack(self, epoch: str, upto: int, also: tuple[tuple[int, int], ...]) -> None:
        """Lets rows go. An ack that cannot be written now is no loss: the centre says it again with the next one."""
        now_ms = self._clock.now_ms()
        try:
            if await self._store.write(Essential(lambda tx: acknowledge(tx, epoch, upto, also, now_ms))):
                self._outbox.heard(max((upto, *(last for _, last in also))))
        except Unavailable as failed:
            log.error(f"an ack of the centre was not written down: {failed}")

    async def on_resend(self, epoch: str, ranges: tuple[tuple[int, int], ...]) -> None:
        """Sends again what the centre misses."""
        if not self._outbox.resend(epoch, ranges):
            log.warning(f"the centre asks for messages of epoch {epoch}, which is not ours")

    async def on_command(self, command: IncomingCommand) -> None:
        """Judges a command."""

        def usecase(tx: Tx) -> object:
            return receive_command(tx, command, self._site(), self._clock.now_ms())

        await self._write(usecase if command.verb == Verb.CUT else Essential(usecase))

    async def on_unreadable(self, what: UnreadableCommand) -> None:
        """Records what moves nothing."""
        await self._write(lambda tx: receive_unreadable(tx, what, self._clock.now_ms()))

    async def _write(self, usecase: Callable[[Tx], object]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._store.write(usecase)
                return
            except Unavailable as failed:
                log.error(f"a command of the centre was not written down (attempt {attempt} of {ATTEMPTS}): {failed}")
                if attempt < ATTEMPTS:
                    await asyncio.sleep(PAUSE_S)
