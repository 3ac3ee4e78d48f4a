"""Which readings may be shown and which may be billed (prepayment.md, "What we decided" 7)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

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
    FILLER = "register_filler"
    COARSE = "register_coarse"
    FINE = "register_too_fine"
    SENTINEL = "register_sentinel"
    STILL = "register_still"
    ROLLOVER = "rollover_suspected"


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a reading: Decimal with the register's own resolution, None where the meter gave a filler.

    coarse: what a float register says that no longer holds its own resolution; shown to nobody as a value, billed never.
    """

    quantity: str
    value: Decimal | None
    unit: str
    obis: str | None = None
    coarse: Decimal | None = None


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
    first_wh: total register where billing began. held: why the bill is held, None while it is not; held_ms: since when.
    suspects: suspect readings since then; suspect: the registers from which they follow each other.
    renewals: how often the register was accepted to end and begin anew.
    moved_ms: when the total was first seen where it stands; still_wms: energy in W x ms that the measured power promised since
    then, counted up to still_ms.
    """

    meter: str
    confirmed: Registers | None = None
    candidate: Registers | None = None
    first_wh: int | None = None
    held: Doubt | None = None
    held_ms: int | None = None
    suspects: int = 0
    suspect: Registers | None = None
    moved_ms: int = 0
    still_ms: int = 0
    still_wms: int = 0
    renewals: int = 0

    @property
    def newest(self) -> Registers | None:
        """The last registers that nothing speaks against."""
        return self.candidate or self.confirmed

    @property
    def unbilled(self) -> bool:
        """No energy has been charged yet since the bill began."""
        return self.confirmed is not None and not self.renewals and self.confirmed.wh[TOTAL] == self.first_wh


@dataclass(frozen=True, slots=True)
class Bound:
    """What is physically possible: maximum power in W, one register count in Wh, and where a register begins again at zero (0:
    unknown, or never)."""

    max_power_w: int
    count_wh: int
    capacity_wh: int = 0

    def most_wh(self, elapsed_ms: int) -> int:
        """The most a register may have risen in this time, in Wh, rounded up, one count allowed on top."""
        return -(-self.max_power_w * max(elapsed_ms, 0) // 3_600_000) + self.count_wh


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a new reading: its quality, the new billing state, and what became billable by it.

    turned: the register went over its top: bill to the first, go on from the second, then to `billable`.
    """

    quality: Quality
    billing: Billing
    billable: Registers | None = None
    doubt: Doubt | None = None
    turned: tuple[Registers, Registers] | None = None


TOTAL = "energy_import"

HOUR_MS = 3_600_000

STILL_COUNTS = 2
"""A register that the measured power should have moved so many counts stands still (prepayment.md 7)."""

ANEW_READINGS = 4
"""So many readings of at least an hour that agree with each other outweigh a first one (0 before the true total, pain 21)."""

ONE_RATE_MS = 4 * HOUR_MS
"""Of blocks that follow each other so closely few see more than one rate run; one that does waits for the next reading."""

WITHOUT_RATES_MS = 24 * HOUR_MS
"""A meter that brings its total only for longer than that has lost its rates: no bad line lasts so long unnoticed."""

SENTINELS: Mapping[str, tuple[int, int]] = {
    "all nines": (99_999_900, 99_999_999),
    "16 bits of ones": (0xFFFF, 0xFFFF),
    "largest and smallest signed 16 bits": (0x7FFF, 0x8000),
    "32 bits of ones": (0xFFFF_0000, 0xFFFF_FFFF),
    "largest and smallest signed 32 bits": (0x7FFF_0000, 0x8000_FFFF),
    "48 bits of ones": (0xFFFF_FFFF_0000, 0xFFFF_FFFF_FFFF),
    "64 bits of ones": (0xFFFF_FFFF_FFFF_0000, 0xFFFF_FFFF_FFFF_FFFF),
}
"""Counts that mean "no value" on some meter, with what is seen next to them when the low word alone is overwritten. A register
that counts its way there is believed (field-lessons.md, pain 21)."""


def energy_registers(items: Sequence[Item], ratio: Fraction = Fraction(1)) -> dict[str, int] | Doubt | None:
    """Import registers in Wh by name, or why they cannot be billed; None when the reading carries no total.

    ratio: of the transformers in front of a meter that shows secondary values. This is the one place where it counts.
    """
    found: dict[str, int] = {}
    doubt: Doubt | None = None
    there = False
    for item in items:
        if item.quantity != TOTAL and not item.quantity.startswith("energy_import_t"):
            continue
        there = there or item.quantity == TOTAL
        if item.value is None:
            doubt = Doubt.FILLER if item.coarse is None else Doubt.COARSE
            continue
        try:
            found[item.quantity] = kwh_to_wh(item.value) if ratio == 1 else _primary_wh(item.value, ratio)
        except ValueError:  # its step does not go into count_wh: neither bound nor bill would be right
            doubt = doubt or Doubt.FINE
    return (doubt or found) if there else None


def _primary_wh(kwh: Decimal, ratio: Fraction) -> int:
    wh = Fraction(kwh) * 1000 * ratio
    if wh.denominator != 1:
        raise ValueError(f"{kwh} kWh times {ratio} is finer than 1 Wh")
    return wh.numerator


def primary_w(kw: Decimal, ratio: Fraction) -> int:
    """Watts in front of the transformers, truncated toward zero."""
    return int(Fraction(kw) * 1000 * ratio)


def confirms_itself(wh: Mapping[str, int], count_wh: int, capacity_wh: int = 0) -> bool:
    """Whether total and rates of one block agree: |total - sum| <= number of rates, in counts (truncated separately).

    capacity_wh: a total that went over its top before its rates did is short by that much.
    """
    rates = [value for name, value in wh.items() if name != TOTAL]
    apart = abs(wh[TOTAL] - sum(rates))
    if capacity_wh and apart >= capacity_wh // 2:
        apart = min(apart % capacity_wh, -apart % capacity_wh)
    return bool(rates) and apart <= len(rates) * count_wh


def in_step(first: Registers, second: Registers, count_wh: int) -> bool:
    """Whether the total and one rate at most rose between two blocks, and both by as much (truncated separately: one count).

    The sum alone does not see what a checksum of one byte misses most easily: the same bit lost in one rate and won in another.
    """
    rises = {name: second.wh[name] - wh for name, wh in first.wh.items() if name in second.wh}
    if first.wh.keys() != second.wh.keys() or min(rises.values()) < 0:
        return False
    moved = [rise for name, rise in rises.items() if name != TOTAL and rise]
    return len(rises) > 1 and len(moved) <= 1 and abs(rises[TOTAL] - sum(moved)) <= count_wh


def agree(first: Registers, second: Registers, bound: Bound) -> Doubt | None:
    """None when the second reading may follow the first: not lower, and not higher than physics plus one count allows.

    A total that came without any rate is compared as such: a bad line brings no blocks.
    """
    most = bound.most_wh(second.at_ms - first.at_ms)
    for name, before in first.wh.items() if len(second.wh) > 1 else ((TOTAL, first.wh[TOTAL]),):
        after = second.wh.get(name)
        if after is None:
            return Doubt.MISSING
        if after < before:
            return Doubt.LOWER
        if after - before > most:
            return Doubt.JUMP
    return None


def total_alone(billing: Billing, new: Registers) -> bool:
    """Whether a meter that gives rates brought its total only."""
    return len(new.wh) == 1 and billing.confirmed is not None and len(billing.confirmed.wh) > 1


def sentinel(before: Registers | None, new: Registers, bound: Bound) -> str | None:
    """The pattern that a register shows instead of a value; None where there is none, or the register can have counted there."""
    most = bound.most_wh(HOUR_MS)
    for name, wh in new.wh.items():
        if before is not None and abs(wh - before.wh.get(name, 0)) <= most:
            continue
        counts = wh // bound.count_wh
        for pattern, (first, last) in SENTINELS.items():
            if first <= counts <= last:
                return pattern
    return None


def turned_over(before: Registers, new: Registers, bound: Bound) -> tuple[Registers, Registers] | None:
    """Where the old turn ends and the new one begins, if every lower register can have gone over its top; else None."""
    if not bound.capacity_wh or before.wh.keys() - new.wh.keys():
        return None
    turned = {name: new.wh[name] < wh for name, wh in before.wh.items()}
    unrolled = {name: wh + bound.capacity_wh * turned.get(name, False) for name, wh in new.wh.items()}
    if not any(turned.values()) or agree(before, Registers(new.at_ms, unrolled), bound) is not None:
        return None
    last = {name: bound.capacity_wh if turned[name] else wh for name, wh in before.wh.items()}
    first = {name: 0 if turned[name] else wh for name, wh in before.wh.items()}
    return Registers(before.at_ms, last), Registers(before.at_ms, first)


def least_wms(samples: Sequence[tuple[int, int]], apart_ms: int) -> int:
    """The energy in W x ms that these samples (UTC ms, W; in order) promise at least: the lower of two neighbours counts, and
    nothing where they are further apart than apart_ms."""
    pairs = itertools.pairwise(samples)
    return sum(max(0, min(p0, p1)) * (t1 - t0) for (t0, p0), (t1, p1) in pairs if 0 < t1 - t0 <= apart_ms)


AHEAD_MS = 24 * HOUR_MS
"""A meter that was read by a clock ahead may not have been read for so long before: what it counted since is no lasting jump."""


def not_ahead(billing: Billing, at_ms: int) -> Billing:
    """As it stands for a clock that was ahead and was set back: nothing was seen later than now, or what really flowed since would
    be more than physics allows, and hold the bill for ever."""

    def seen(registers: Registers | None) -> Registers | None:
        return registers if registers is None or registers.at_ms <= at_ms else replace(registers, at_ms=at_ms)

    if max(billing.moved_ms, billing.still_ms, *(r.at_ms for r in (billing.newest, billing.suspect) if r is not None), 0) <= at_ms:
        return billing
    confirmed, candidate, suspect = seen(billing.confirmed), seen(billing.candidate), seen(billing.suspect)
    moved_ms, still_ms = min(billing.moved_ms, at_ms - AHEAD_MS), min(billing.still_ms, at_ms)
    return replace(billing, confirmed=confirmed, candidate=candidate, suspect=suspect, moved_ms=moved_ms, still_ms=still_ms)


def judge(billing: Billing, new: Registers, bound: Bound, flow_wms: int = 0, *, rates_matter: bool = False) -> Judgement:
    """Accept, hold or bill a new reading. flow_wms: what the measured power promises since billing.still_ms. rates_matter: a total
    alone is not enough for the bill.

    A reading that contradicts the confirmed one is suspect and holds the bill until one agrees with it again. A block that agrees
    in itself, and is in step with the one before, is confirmed at once; otherwise the candidate is confirmed by the next reading
    that agrees with it, and only the *earlier* of the two is billed, so that a wrong later one costs nobody money. A candidate and
    a reading that contradict each other are both dropped: nobody knows which of them was wrong.
    """
    newest = billing.newest
    if newest is not None and newest.wh[TOTAL] == new.wh[TOTAL]:
        billing = moved = replace(billing, still_wms=billing.still_wms + flow_wms) if flow_wms else billing
    else:
        moved = _moved(billing, new.at_ms)
    doubt = _doubt(billing, new, bound)
    if doubt is not None:
        return _turn(billing, new, bound) or _begin_anew(billing, new, bound, doubt) or _suspect(billing, new, bound, doubt)
    billing = moved
    if rates_matter and total_alone(billing, new):
        lasts = billing.confirmed is not None and new.at_ms - billing.confirmed.at_ms > WITHOUT_RATES_MS
        return _suspect(billing, new, bound, Doubt.MISSING) if lasts else Judgement(Quality.SINGLE, _freed(billing))
    if _proves_itself(billing, new, bound):
        return Judgement(Quality.CONFIRMED, _confirmed(billing, new, None), billable=new)
    if billing.candidate is None:
        return Judgement(Quality.SINGLE, _freed(replace(billing, candidate=new)))
    if (doubt := agree(billing.candidate, new, bound)) is not None:
        return _suspect(replace(billing, candidate=None), new, bound, doubt)
    return Judgement(Quality.SINGLE, _confirmed(billing, billing.candidate, new), billable=billing.candidate)


def unusable(billing: Billing, at_ms: int, doubt: Doubt) -> Billing:
    """The billing after a reading whose registers cannot be billed at all (a filler, a float grown coarse)."""
    held_ms = at_ms if billing.held_ms is None else billing.held_ms
    return replace(billing, held=doubt, held_ms=held_ms, suspects=billing.suspects + 1)


def _doubt(billing: Billing, new: Registers, bound: Bound) -> Doubt | None:
    before = billing.confirmed
    if sentinel(billing.newest, new, bound) is not None:
        return Doubt.SENTINEL
    if before is None:
        return None
    doubt = agree(before, new, bound)
    if doubt is Doubt.LOWER and turned_over(before, new, bound) is not None:
        return Doubt.ROLLOVER
    if doubt is None and _lasting_jump(billing, before, new, bound):
        return Doubt.JUMP
    if doubt is None and before.wh[TOTAL] == new.wh[TOTAL] and billing.still_wms >= STILL_COUNTS * bound.count_wh * HOUR_MS:
        return Doubt.STILL
    return doubt


def _lasting_jump(billing: Billing, before: Registers, new: Registers, bound: Bound) -> bool:
    """Time alone makes no jump true: registers that go on from one that was impossible are as impossible, however late they come.

    Forgiven is what full load can do since the register last moved, and for an hour more: an old value told anew, a late answer or
    a clock that was set may explain it.
    """
    jumped = billing.suspect
    if billing.held is not Doubt.JUMP or billing.suspects < 2 or jumped is None or agree(jumped, new, bound) is not None:
        return False
    return _beyond(billing, before, jumped, bound)


def _beyond(billing: Billing, before: Registers, jumped: Registers, bound: Bound) -> bool:
    most = bound.most_wh(jumped.at_ms - min(billing.moved_ms, before.at_ms) + HOUR_MS)
    return any(jumped.wh.get(name, wh) - wh > most for name, wh in before.wh.items())


def _proves_itself(billing: Billing, new: Registers, bound: Bound) -> bool:
    """Whether a block needs no other reading: it agrees in itself, and is in step with one that was not long ago."""
    if not confirms_itself(new.wh, bound.count_wh, bound.capacity_wh) or _tenfold(billing.confirmed, new):
        return False
    if billing.confirmed is None or new.at_ms - billing.confirmed.at_ms > ONE_RATE_MS:
        return True
    before = (billing.confirmed, *((billing.candidate,) if billing.candidate else ()))
    return any(agree(b, new, bound) is None and in_step(b, new, bound.count_wh) for b in before)


def _tenfold(before: Registers | None, new: Registers) -> bool:
    """A block whose decimal point slipped agrees in itself: what may be that waits for the next reading."""
    return before is not None and 0 < 10 * before.wh[TOTAL] <= new.wh[TOTAL]


def _turn(billing: Billing, new: Registers, bound: Bound) -> Judgement | None:
    """A rollover that two blocks in a row agree on, each in itself, is accepted; without rates it takes a person's word."""
    before, suspect = billing.confirmed, billing.suspect
    if before is None or suspect is None or billing.held is not Doubt.ROLLOVER or agree(suspect, new, bound) is not None:
        return None
    turned = turned_over(before, new, bound)
    if turned is None or not confirms_itself(new.wh, bound.count_wh, bound.capacity_wh):
        return None
    billing = replace(_confirmed(_moved(billing, new.at_ms), new, None), renewals=billing.renewals + 1)
    return Judgement(Quality.CONFIRMED, billing, billable=new, turned=turned)


def _begin_anew(billing: Billing, new: Registers, bound: Bound, doubt: Doubt) -> Judgement | None:
    """While no money has moved, the one reading on which the bill was to begin yields to an hour of others that agree."""
    before, suspect = billing.confirmed, billing.suspect
    if not billing.unbilled or doubt not in (Doubt.LOWER, Doubt.JUMP) or doubt is not billing.held:
        return None
    if suspect is None or before is None or agree(suspect, new, bound) is not None:
        return None
    if doubt is Doubt.JUMP and not _beyond(billing, before, suspect, bound):
        return None
    if billing.suspects < ANEW_READINGS or new.at_ms - suspect.at_ms < HOUR_MS:
        return None
    billing = replace(_moved(billing, new.at_ms), first_wh=None)
    if confirms_itself(new.wh, bound.count_wh, bound.capacity_wh):
        return Judgement(Quality.CONFIRMED, _confirmed(billing, new, None))
    return Judgement(Quality.SINGLE, _confirmed(billing, suspect, new))


def _suspect(billing: Billing, new: Registers, bound: Bound, doubt: Doubt) -> Judgement:
    first = billing.suspect
    follows = first is not None and doubt is billing.held and agree(first, new, bound) is None
    held = replace(unusable(billing, new.at_ms, doubt), suspect=first if follows else new)
    return Judgement(Quality.SUSPECT, held, doubt=doubt)


def _moved(billing: Billing, at_ms: int) -> Billing:
    return replace(billing, moved_ms=at_ms, still_ms=at_ms, still_wms=0)


def _confirmed(billing: Billing, registers: Registers, candidate: Registers | None) -> Billing:
    first = registers.wh[TOTAL] if billing.first_wh is None else billing.first_wh
    return _freed(replace(billing, confirmed=registers, candidate=candidate, first_wh=first))


def _freed(billing: Billing) -> Billing:
    return replace(billing, held=None, held_ms=None, suspects=0, suspect=None)
