"""The relay of a meter, or the breaker beside it: an order is not a movement, and a movement is not yet a status bit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random

from firmware_sim.loads import FOREVER_US

HISTORY = 100  # contact moves kept for the control handle: an hour of the fastest reclosing
KINDS = ("internal", "external_auto", "external_manual")
"""Inside the meter; a breaker outside that closes by itself when allowed; one that a person has to close by its handle."""


@dataclass(frozen=True, slots=True)
class RelayTiming:
    """How long the contact takes after an order (evenly between two bounds), and how late the status bit is after the contact."""

    contact_min_us: int = 50_000
    contact_max_us: int = 200_000
    status_delay_us: int = 3_000_000


@dataclass(frozen=True, slots=True)
class Move:
    """A movement of the contact: monotonic time and the meter's energy at that very moment."""

    at_us: int
    closed: bool
    energy_mws: int


class Relay:
    """Order (coil), contact and status bit of one switch; time only ever comes in as `now_us`.

    allowed: closing is permitted and the customer has not pressed the button (or the breaker's handle) yet.
    welded: orders are accepted and the contact stays. powered: without it nothing moves. fresh: below it the status bit is not
    renewed. feedback: without it the bit is the order after a trip, and "open" after a close until load flows.
    """

    def __init__(
        self, rng: Random, timing: RelayTiming, closed: bool = True, kind: str = "internal", feedback: bool = True
    ) -> None:
        self._rng = rng
        self._timing = timing
        self.kind = kind
        self.feedback = feedback
        self.contact_closed = closed
        self.order_closed = closed
        self.reported_closed = closed
        self.allowed = False
        self.welded = False
        self.powered = True
        self.fresh = True
        self.moves: deque[Move] = deque(maxlen=HISTORY)
        self.move_count = 0
        self._contact_due_us: int | None = None
        self._report_due_us: int | None = None

    @property
    def moving(self) -> bool:
        """An order is under way that the contact has not followed yet."""
        return self._contact_due_us is not None

    @property
    def next_us(self) -> int:
        """When something happens by itself next; FOREVER_US when nothing will."""
        contact = self._contact_due_us if self.powered else None
        report = self._report_due_us if self.fresh else None
        return min(due for due in (contact, report, FOREVER_US) if due is not None)

    def cut(self, now_us: int) -> None:
        """Order the contact open. A permission that was not used is gone."""
        self.allowed = False
        self._order(False, now_us)

    def close(self, now_us: int) -> None:
        """Order the contact closed, without the customer; a breaker with a handle only stops tripping."""
        if self.kind == "external_manual" and not self.contact_closed:
            self.order_closed = self.allowed = True
            return
        self.allowed = False
        self._order(True, now_us)

    def allow(self, now_us: int) -> None:
        """Permit the customer to close; takes back an opening that has not happened yet."""
        if self.contact_closed or self.kind == "external_auto":
            self.close(now_us)
            return
        self.order_closed = True
        self.allowed = True

    def press(self, now_us: int) -> bool:
        """The customer's button, or the breaker's handle: closes when permitted. False: nothing happens."""
        if not self.allowed:
            return False
        self.allowed = False
        self._order(True, now_us)
        return True

    def settle(self, now_us: int, energy_mws: int) -> None:
        """Carry out what is due at `now_us`."""
        if self.powered and self._contact_due_us is not None and self._contact_due_us <= now_us:
            self._contact_due_us = None
            if not self.welded and self.contact_closed != self.order_closed:
                self.contact_closed = self.order_closed
                self.moves.append(Move(now_us, self.contact_closed, energy_mws))
                self.move_count += 1
                if self.feedback:
                    self._report_due_us = now_us + self._timing.status_delay_us
        if self.fresh and self._report_due_us is not None and self._report_due_us <= now_us:
            self._report_due_us = None
            self.reported_closed = self.contact_closed if self.feedback else self.order_closed

    def load_flows(self) -> None:
        """Current is seen behind a switch that was told to close: without feedback this is how the meter knows."""
        if not self.feedback and self.order_closed and self.fresh:
            self.reported_closed = True

    def save(self) -> dict[str, bool]:
        """What must survive a restart of the simulator."""
        return {"contact": self.contact_closed, "order": self.order_closed, "allowed": self.allowed}

    def restore(self, saved: dict[str, bool], now_us: int) -> None:
        """Stand as saved; an order that had not moved the contact yet moves it now, the status bit is what the contact is."""
        self.contact_closed = self.reported_closed = saved["contact"]
        self.order_closed = saved["order"]
        self.allowed = saved["allowed"]
        if not self.allowed and self.order_closed != self.contact_closed:
            self._order(self.order_closed, now_us)

    def _order(self, closed: bool, now_us: int) -> None:
        self.order_closed = closed
        if not self.feedback:
            self._report_due_us = None if closed else now_us + self._timing.status_delay_us
        if closed == self.contact_closed:
            self._contact_due_us = None
        elif self._contact_due_us is None:
            self._contact_due_us = now_us + self._rng.randrange(self._timing.contact_min_us, self._timing.contact_max_us + 1)
