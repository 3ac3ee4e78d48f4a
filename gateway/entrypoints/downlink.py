"""What the centre sends down becomes rows, one transaction each (contract.md 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import structlog

from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.uplink_keys import Why
from gateway.entrypoints.outbox_loop import Clock, OutboxLoop, Store
from gateway.services.acknowledge import acknowledge
from gateway.services.ports import DiskLow, Essential, Site, Tx, Unavailable
from gateway.services.receive_command import receive_command, receive_unreadable, refuse_broken
from gateway.services.uplink_answers import Received

log = structlog.get_logger(__name__)

T = TypeVar("T")

OF_NOBODY = frozenset({Why.UNKNOWN_KEY, Why.KEY_REVOKED, Why.KEY_OUT_OF_TIME})
"""Reasons for which a signature tells nothing of the centre."""

MOST_NOISE, NOISE_MS = 100, 60_000
"""Unsigned or unreadable messages recorded one by one within a minute: anybody who reaches the broker may send them, and each would
be a row that is kept and sent up."""

MOST_REPEATS = 100
"""Orders that came again and are answered again within the same time: whoever overheard one may replay it for ever, and answers
are kept when readings are thinned. Beyond it the centre asks once more, or has the answer that is on its way already."""

ATTEMPTS, PAUSE_S = 5, 1.0
"""Tries to write a command down while the store is unavailable: the broker has forgotten it, and it expires in minutes."""


Prepare = Callable[[Tx, IncomingCommand], IncomingCommand]
Count = Callable[[str, str | None], None]


class Downlink:
    """The listener of an uplink. prepare: puts in what the archive knows (an account for its pseudonym). count: verb and, of a
    refusal, why. heard: the centre gave a sign of life that is its own."""

    def __init__(
        self,
        store: Store,
        outbox: OutboxLoop,
        clock: Clock,
        site: Callable[[], Site],
        *,
        prepare: Prepare = lambda tx, command: command,
        count: Count = lambda verb, why: None,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._outbox, self._clock, self._site = store, outbox, clock, site
        self._prepare, self._count, self._heard = prepare, count, heard
        self._noise: list[int] = []
        self._repeats: list[int] = []
        self._left_out = 0

    async def on_ack(self, epoch: str, upto: int, also: tuple[tuple[int, int], ...]) -> None:
        """Lets rows go. An ack that cannot be written now is no loss: the centre says it again with the next one."""
        now_ms = self._clock.now_ms()
        self._heard()
        try:
            if await self._store.write(Essential(lambda tx: acknowledge(tx, epoch, upto, also, now_ms, self._outbox.sent))):
                self._outbox.heard(upto, also)
        except Unavailable as failed:
            log.error(f"an ack of the centre was not written down: {failed}")

    async def on_resend(self, epoch: str, ranges: tuple[tuple[int, int], ...]) -> None:
        """Sends again what the centre misses."""
        if not self._outbox.resend(epoch, ranges):
            log.warning(f"the centre asks for messages of epoch {epoch}, which is not ours")

    async def on_command(self, command: IncomingCommand) -> None:
        """Judges a command, also with the last room on the disk: a cut is refused then, and holds up nothing behind it."""

        def usecase(tx: Tx) -> Received:
            here = self._prepare(tx, command)
            return receive_command(tx, here, self._site(), self._clock.now_ms(), may_repeat=self._may_repeat)

        try:
            done = await self._write(Essential(usecase))
        except Exception:
            log.exception(f"the command {command.id} ({command.verb}) met an error that we do not know: it is tried once more")
            await asyncio.sleep(PAUSE_S)
            done = await self._once_more(command, Essential(usecase))
        if done is None:
            raise ConnectionError("a command could not be written down: the broker keeps it for the next connection")
        if not done.again or done.why is Why.KNOWN_ID:
            self._count(command.verb, done.why)
        if command.kid and done.why not in OF_NOBODY and not done.again:  # what comes again may be a replay
            self._heard()

    async def _once_more(self, command: IncomingCommand, usecase: Essential[Received]) -> Received | None:
        """A command that an error of ours stops again is refused: until it is acknowledged nothing after it would come."""
        try:
            return await self._write(usecase)
        except Exception:
            log.exception(f"the command {command.id} ({command.verb}) met it again: it is refused")
        try:
            return await self._write(Essential(lambda tx: refuse_broken(tx, command, self._clock.now_ms())))
        except Exception:
            log.exception(f"the refusal of the command {command.id} could not be written down either")
            return None

    async def on_unreadable(self, what: UnreadableCommand) -> None:
        """Records what moves nothing. A flood of what nobody we know has signed is counted, and recorded a little of it."""
        self._count("", what.why)
        if (what.id is None or what.why is Why.UNSIGNED) and not self._room(self._noise, MOST_NOISE):
            self._left_out += 1
            return
        if self._left_out:
            what = replace(what, text=f"{what.text} (and {self._left_out} more messages that move nothing came before it)")
            self._left_out = 0
        await self._write(lambda tx: receive_unreadable(tx, what, self._clock.now_ms()))

    def _may_repeat(self) -> bool:
        return self._room(self._repeats, MOST_REPEATS)

    def _room(self, taken: list[int], most: int) -> bool:
        """Whether another one fits into this minute; it is counted then. taken: when the others came."""
        now_ms = self._clock.now_ms()
        taken[:] = [at_ms for at_ms in taken if 0 <= now_ms - at_ms < NOISE_MS]
        if len(taken) >= most:
            return False
        taken.append(now_ms)
        return True

    async def _write(self, usecase: Callable[[Tx], T]) -> T | None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._store.write(usecase)
            except DiskLow as low:
                log.error(f"a message that moves nothing was not written down: {low}")
                return None
            except Unavailable as failed:
                log.error(f"a command of the centre was not written down (attempt {attempt} of {ATTEMPTS}): {failed}")
                if attempt < ATTEMPTS:
                    await asyncio.sleep(PAUSE_S)
        return None
