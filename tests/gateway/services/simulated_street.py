"""Meters with the physics that matters here, and an auditor who keeps books of his own: neither uses the rules under test."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.domain.meters import Contact

BIT_LATE_MS = 3_000
"""The status bit follows the contact so much later (prepayment.md 10)."""

COUNT_WH = 10
FRESH_MS = 15 * 60 * 1000
GLITCHES_WH = (-1, 700_000_000)
"""What a disturbed register shows instead: one count lower, or far beyond what the meter can have measured."""


@dataclass
class SimMeter:
    """Contact, load and register of one house connection. energy_mws: milliwatt-seconds."""

    id: str
    account: str
    direct: bool
    blocks: bool
    energy_mws: int = 0
    load_w: int = 0
    contact: Contact = Contact.CLOSED
    welded: bool = False
    at_ms: int = 0
    moved_ms: int = -BIT_LATE_MS
    bit: Contact = Contact.CLOSED
    later: tuple[int, str] | None = None
    alarm: bool = False

    @property
    def lit(self) -> bool:
        """Whether current can flow."""
        return self.contact is Contact.CLOSED or self.welded

    @property
    def power_w(self) -> int:
        return self.load_w if self.lit else 0

    @property
    def register_wh(self) -> int:
        """Truncated to the register's count."""
        return self.energy_mws // 3_600_000 // COUNT_WH * COUNT_WH

    def until(self, now_ms: int) -> None:
        """Time passes: energy flows, late orders take effect, the bit follows."""
        if self.later is not None and self.later[0] <= now_ms:
            at_ms, verb = self.later
            self.later = None
            self._flow(at_ms)
            self._move(verb, at_ms)
        self._flow(now_ms)
        if now_ms >= self.moved_ms + BIT_LATE_MS:
            self.bit = self.contact

    def obey(self, verb: str, now_ms: int, *, late_ms: int = 0) -> None:
        """A control frame arrived; a later one takes the place of one that has not taken effect."""
        self.until(now_ms)
        if verb in ("alarm", "alarm_off"):
            self.alarm = verb == "alarm"
            return
        self.later = (now_ms + late_ms, verb) if late_ms else None
        if not late_ms:
            self._move(verb, now_ms)

    def push(self, now_ms: int) -> None:
        """The customer presses the button."""
        self.until(now_ms)
        if self.contact is Contact.ALLOWED:
            self._move("restore", now_ms)

    def bridge(self, now_ms: int) -> None:
        """Somebody closes the contact by force."""
        self.until(now_ms)
        self._move("restore", now_ms)

    def _flow(self, now_ms: int) -> None:
        self.energy_mws += self.power_w * max(0, now_ms - self.at_ms)
        self.at_ms = max(self.at_ms, now_ms)

    def _move(self, verb: str, now_ms: int) -> None:
        if verb == "allow_close" and self.contact is Contact.CLOSED:
            return
        wanted = {"cut": Contact.OPEN, "restore": Contact.CLOSED, "allow_close": Contact.ALLOWED}[verb]
        if now_ms >= self.moved_ms + BIT_LATE_MS:
            self.bit = self.contact
        if wanted is not self.contact:
            self.contact, self.moved_ms = wanted, now_ms


@dataclass
class Bill:
    """How far the auditor says a meter is billed: blocks at once, unless they grew tenfold, and single registers when the next
    agrees."""

    blocks: bool
    first_wh: int | None = None
    billed_wh: int | None = None
    billed_ms: int | None = None
    waiting: tuple[int, int] | None = None
    disturbed: bool = False

    def read(self, wh: int, at_ms: int) -> None:
        self.disturbed = False
        if self.blocks and not (self.billed_wh and wh >= 10 * self.billed_wh):
            self._to(wh, at_ms)
            self.waiting = None
            return
        if self.waiting is not None:
            self._to(*self.waiting)
        self.waiting = (wh, at_ms)

    def _to(self, wh: int, at_ms: int) -> None:
        self.first_wh = wh if self.first_wh is None else self.first_wh
        self.billed_wh, self.billed_ms = wh, at_ms


@dataclass
class Customer:
    """An account as the auditor knows it. Money in micro-units. off: was cut, and has not yet come to the amount for closing."""

    price: int
    low: int
    cut: int
    close: int
    night_calm: bool
    opening: int
    paid: int = 0
    warned: bool = False
    protected_ms: int = 0
    never_cut: bool = False
    off: bool = False
    bills: dict[str, Bill] = field(default_factory=dict)

    @property
    def balance(self) -> int:
        used_wh = 0
        for bill in self.bills.values():
            if bill.first_wh is not None and bill.billed_wh is not None:
                used_wh += bill.billed_wh - bill.first_wh
        return self.opening + self.paid - used_wh * self.price // 1000

    def stands(self, now_ms: int) -> None:
        """After everything that moved money: a warning is used up by enough credit, or by protection of a debtor."""
        if self.balance > max(self.cut, self.close) or self.never_cut or now_ms < self.protected_ms:
            self.off = False
        if self.balance > max(self.low, self.close) or (self.balance <= self.cut and now_ms < self.protected_ms):
            self.warned = False

    def missing_for_debt(self, now_ms: int, path: bool) -> list[str]:
        """Why this customer may not be cut for debt right now."""
        hour = now_ms // 3_600_000 % 24 + 8  # in Shanghai
        reasons = {
            "credit": self.balance > self.cut and not self.off,
            "evidence": any(b.billed_ms is None or b.disturbed or now_ms - b.billed_ms > FRESH_MS for b in self.bills.values()),
            "notice": not self.warned,
            "path": not path,
            "hours": self.night_calm and not 9 <= hour % 24 < 17,
        }
        return [name for name, true in reasons.items() if true]
