"""Why a cut that a meter took is not carried out yet: its trip delay, or its high-current guard (dlt645.md 5, prepayment.md 10)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal

from gateway.adapters.lines.driver import NoAnswer, Timed
from gateway.adapters.meter_links.dlt645_parameters import IDENTIFIERS
from gateway.domain.meters import Contact
from gateway.domain.supply import STARTING_POWER_W, SwitchReading, Verb
from protocols.dlt645.master import ReadAnswer
from protocols.errors import ProtocolError

TRIP_DELAY, GUARD_CURRENT, GUARD_DELAY = (IDENTIFIERS[name] for name in ("trip_delay", "trip_current_limit", "trip_guard_delay"))
"""Minutes that the meter waits with every trip; A above which, and minutes for which at most, it waits for the current to fall."""

MINUTE_MS = 60_000


class TripGuard:
    """Asks once for each cut that flows on. read: one identifier. now_ms: UTC."""

    def __init__(self, read: Callable[[str], Awaitable[Timed[ReadAnswer]]], now_ms: Callable[[], int]) -> None:
        self._read, self._now_ms = read, now_ms
        self._cut_ms: int | None = None
        self._until_ms: int | None = None
        self._asked = False

    def ordered(self, verb: Verb) -> None:
        """An order was taken."""
        self._cut_ms = self._now_ms() if verb is Verb.CUT else None
        self._until_ms, self._asked = None, False

    async def explain(self, seen: SwitchReading) -> SwitchReading:
        """The same look, with the time until which the meter may hold the cut back."""
        flows = seen.contact is Contact.CLOSED and seen.power_w is not None and seen.power_w > STARTING_POWER_W
        if self._cut_ms is None or not flows:
            return seen
        if not self._asked:
            wait_ms = await self._wait_ms()
            self._until_ms, self._asked = (self._cut_ms + wait_ms if wait_ms else None), True
        return replace(seen, held_until_ms=self._until_ms)

    async def _wait_ms(self) -> int:
        delay = await self._number(TRIP_DELAY)
        guard = await self._number(GUARD_DELAY) if await self._number(GUARD_CURRENT) else Decimal(0)
        return int((delay + guard) * MINUTE_MS)

    async def _number(self, di: str) -> Decimal:
        """The parameter's value; 0 where the meter does not tell, so that nothing is waited for without reason."""
        try:
            items = (await self._read(di)).value.items
        except (NoAnswer, ProtocolError):
            return Decimal(0)
        return (items[0].value if items else None) or Decimal(0)
