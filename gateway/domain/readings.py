"""Which readings may be shown and which may be billed (prepayment.md, "What we decided" 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from gateway.domain.units import kwh_to_wh


class Quality(StrEnum):
    """How far a reading is trusted: single may be shown, only confirmed moves money."""

    SINGLE = "single"
    CONFIRMED = "confirmed"
    SUSPECT = "suspect"
    ESTIMATED = "estimated"


class Source(StrEnum):
    """Where a value comes from in the meter."""

    LIVE = "live"
    FREEZE = "freeze"
    CURVE = "curve"


class Doubt(StrEnum):
    """Why a reading is suspect."""

    LOWER = "register_lower"
    JUMP = "register_jump"
    MISSING = "register_missing"
    UNPRICED = "register_unpriced"


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a reading: Decimal with the register's own resolution, None where the meter gave a filler."""

    quantity: str
    value: Decimal | None
    unit: str
    obis: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one exchange brought. Times in UTC milliseconds: asked = first byte out, answered = last byte in.

    taken_ms: when the meter itself took the values (a freeze, a curve); None for live values, which are of the answer's time.
    """

    meter: str
    items: tuple[Item, ...]
    asked_ms: int
    answered_ms: int
    source: Source = Source.LIVE
    taken_ms: int | None = None

    @property
    def at_ms(self) -> int:
        """The moment that the values are of."""
        return self.answered_ms if self.taken_ms is None else self.taken_ms


@dataclass(frozen=True, slots=True)
class Registers:
    """Cumulative import registers at one moment, in Wh, by quantity name."""

    at_ms: int
    wh: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Billing:
    """How far a meter is accepted and billed.

    confirmed: the last registers that two readings, or one block in itself, agreed on; the bill stands here.
    candidate: a later single reading that waits for its confirmation.
    first_wh: total register where billing began. held: why the bill is held, None while it is not.
    """

    meter: str
    confirmed: Registers | None = None
    candidate: Registers | None = None
    first_wh: int | None = None
    held: Doubt | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """What is physically possible: maximum power in W and one register count in Wh."""

    max_power_w: int
    count_wh: int

    def most_wh(self, elapsed_ms: int) -> int:
        """The most a register may have risen in this time, in Wh, rounded up, one count allowed on top."""
        return -(-self.max_power_w * max(elapsed_ms, 0) // 3_600_000) + self.count_wh


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a new reading: its quality, the new billing state, and what became billable by it."""

    quality: Quality
    billing: Billing
    billable: Registers | None = None
    doubt: Doubt | None = None


TOTAL = "energy_import"


def energy_registers(items: tuple[Item, ...]) -> dict[str, int] | None:
    """Import registers in Wh by name, or None when the reading carries no total or one of its registers is a filler or finer
    than 1 Wh."""
    found: dict[str, int] = {}
    for item in items:
        if item.quantity == TOTAL or item.quantity.startswith("energy_import_t"):
            if item.value is None:
                return None
            try:
                found[item.quantity] = kwh_to_wh(item.value)
            except ValueError:  # its step does not go into count_wh: neither bound nor bill would be right, so it is only shown
                return None
    return found if TOTAL in found else None


def confirms_itself(wh: Mapping[str, int], count_wh: int) -> bool:
    """Whether total and rates of one block agree: |total - sum| <= number of rates, in counts (truncated separately)."""
    rates = [value for name, value in wh.items() if name != TOTAL]
    return bool(rates) and abs(wh[TOTAL] - sum(rates)) <= len(rates) * count_wh


def agree(first: Registers, second: Registers, bound: Bound) -> Doubt | None:
    """None when the second reading may follow the first: not lower, and not higher than physics plus one count allows."""
    most = bound.most_wh(second.at_ms - first.at_ms)
    for name, before in first.wh.items():
        after = second.wh.get(name)
        if after is None:
            return Doubt.MISSING
        if after < before:
            return Doubt.LOWER
        if after - before > most:
            return Doubt.JUMP
    return None


def judge(billing: Billing, new: Registers, bound: Bound) -> Judgement:
    """Accept, hold or bill a new reading.

    A reading that contradicts the confirmed one is suspect and holds the bill. A block that agrees in itself is confirmed
    at once; otherwise the candidate is confirmed by the next reading that agrees with it, and only the *earlier* of the two
    is billed, so that a wrong later one costs nobody money. A candidate that the next reading contradicts is dropped.
    """
    if billing.confirmed is not None and (doubt := agree(billing.confirmed, new, bound)):
        return Judgement(Quality.SUSPECT, _with(billing, held=doubt), doubt=doubt)
    if confirms_itself(new.wh, bound.count_wh):
        return Judgement(Quality.CONFIRMED, _confirmed(billing, new, None), billable=new)
    if billing.candidate is None or agree(billing.candidate, new, bound):
        return Judgement(Quality.SINGLE, _with(billing, candidate=new, held=None))
    return Judgement(Quality.SINGLE, _confirmed(billing, billing.candidate, new), billable=billing.candidate)


def _confirmed(billing: Billing, registers: Registers, candidate: Registers | None) -> Billing:
    first = registers.wh[TOTAL] if billing.first_wh is None else billing.first_wh
    return Billing(billing.meter, registers, candidate, first)


def _with(billing: Billing, *, held: Doubt | None, candidate: Registers | None = None) -> Billing:
    return Billing(billing.meter, billing.confirmed, candidate or billing.candidate, billing.first_wh, held)
