"""What a store tells about a charge, and about a meter's energy for another price; read only, also beside a running gateway."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.adapters.store import Store, StoreError
from gateway.bootstrap.examine import CannotStart
from gateway.domain.ledger import PostedEntry, customer
from gateway.domain.price_list import Terms
from gateway.domain.readings import TOTAL, Bound, Quality, Registers, agree, energy_registers
from gateway.domain.records import StoredReading
from gateway.services.ports import Tx
from gateway.services.record_reading import bound_of

PAGE = 10_000
"""Readings or entries per read: bounds memory; more than a meter can give within one millisecond."""

APART = 3
"""So many values in a row that do not follow the last good one, but each other, begin a new series: a meter was changed."""

USABLE = (Quality.CONFIRMED, Quality.SINGLE)


@dataclass(frozen=True, slots=True)
class Charged:
    """What the account was charged for a meter within a span: entries, energy and money."""

    entries: int = 0
    wh: int = 0
    micro: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """A meter's good registers in a span, in series that each rise, and what was charged for the same span.

    currency, terms: of the account. left_out: stored values that nothing confirms or that contradict their neighbours.
    """

    meter: str
    account: str | None
    currency: str | None
    terms: Terms
    series: tuple[tuple[Registers, ...], ...]
    left_out: int
    charged: Charged


def ledger_entry(url: str, number: int) -> PostedEntry:
    """An entry of the journal. Raises CannotStart where there is none."""

    def read(tx: Tx) -> PostedEntry:
        found = tx.entry(number)
        if found is None:
            raise CannotStart(f"there is no entry {number}; the journal has {tx.journal_end()[0]}")
        return found

    try:
        with Store.open(url, read_only=True) as store:
            return store.read_now(read)
    except StoreError as problem:
        raise CannotStart(str(problem)) from None


def stored_profile(url: str, meter: str, from_ms: int | None, to_ms: int | None) -> Profile:
    """The meter's confirmed registers and its charges from the first to the last of them. Raises CannotStart."""
    try:
        with Store.open(url, read_only=True) as store:
            return store.read_now(lambda tx: _profile(tx, meter, from_ms or 0, to_ms))
    except StoreError as problem:
        raise CannotStart(str(problem)) from None


def _profile(tx: Tx, name: str, from_ms: int, to_ms: int | None) -> Profile:
    meter = tx.meter(name)
    if meter is None:
        raise CannotStart(f"there is no meter {name} in the archive")
    points = []
    for stored in _readings(tx, name, from_ms):
        at_ms = stored.reading.at_ms
        if from_ms <= at_ms and (to_ms is None or at_ms <= to_ms):
            wh = energy_registers(stored.reading.items, meter.ratio)
            if isinstance(wh, dict):
                points.append((Registers(at_ms, wh), stored.quality))
    points.sort(key=lambda point: point[0].at_ms)
    bound = bound_of(meter)
    good = confirmed(points, bound)
    series = rising(good, bound)
    first_ms, last_ms = (good[0].at_ms, good[-1].at_ms) if good else (0, 0)
    charged = _charged(tx, meter.account, name, first_ms, last_ms) if meter.account else Charged()
    left_out = len({registers.at_ms for registers, _ in points}) - sum(map(len, series))
    account = tx.account(meter.account) if meter.account else None
    currency, terms = (account.currency, account.terms) if account else (None, Terms())
    return Profile(name, meter.account, currency, terms, series, left_out, charged)


def _readings(tx: Tx, meter: str, since_ms: int) -> Iterator[StoredReading]:
    """All since then, each once. A value of the past was answered after it was taken, so that none is missed."""
    seen: set[int] = set()
    while page := [reading for reading in tx.readings(meter, since_ms, PAGE) if reading.id not in seen]:
        yield from page
        newest_ms = page[-1].reading.answered_ms
        seen = {reading.id for reading in page if reading.reading.answered_ms == newest_ms}
        since_ms = newest_ms


def confirmed(points: Sequence[tuple[Registers, Quality]], bound: Bound) -> list[Registers]:
    """Those that were confirmed, and the single ones that the next value agrees with, by the rule of the bill."""
    usable = [point for point in points if point[1] in USABLE]
    found = []
    for (registers, quality), following in itertools.zip_longest(usable, usable[1:]):
        if quality is Quality.CONFIRMED or (following is not None and agree(registers, following[0], bound) is None):
            found.append(registers)
    return found


def rising(good: Sequence[Registers], bound: Bound) -> tuple[tuple[Registers, ...], ...]:
    """Series in which each value follows the one before; a value that does not is left out, several in a row begin a new series."""
    series: list[list[Registers]] = []
    apart: list[Registers] = []
    for registers in good:
        if series and _follows(series[-1][-1], registers, bound):
            series[-1].append(registers)
            apart = []
            continue
        if apart and not _follows(apart[-1], registers, bound):
            apart = []
        apart.append(registers)
        if not series or len(apart) >= APART:
            series.append(apart)
            apart = []
    return tuple(tuple(each) for each in series)


def _follows(before: Registers, after: Registers, bound: Bound) -> bool:
    return after.at_ms > before.at_ms and agree(before, after, bound) is None


def _charged(tx: Tx, account: str, meter: str, from_ms: int, to_ms: int) -> Charged:
    """The entries about the meter whose energy lies in the span, and that stand; a charge is posted after its energy was used."""
    found = Charged()
    for posted in _entries(tx, customer(account), tx.entry_before(from_ms)):
        ref = posted.entry.ref
        if ref.get("meter") != meter or "from_ms" not in ref or "to_ms" not in ref:
            continue
        if from_ms <= int(ref["from_ms"]) and int(ref["to_ms"]) <= to_ms and tx.reversed_by(posted.number) is None:
            micro = -sum(leg.micro for leg in posted.entry.legs if leg.account == customer(account))
            found = Charged(found.entries + 1, found.wh + _moved_wh(ref.get(TOTAL, "")), found.micro + micro)
    return found


def _entries(tx: Tx, ledger_account: str, after: int) -> Iterator[PostedEntry]:
    upto = tx.journal_end()[0]
    while page := tx.entries_on(ledger_account, after, upto, PAGE):
        yield from page
        after = page[-1].number


def _moved_wh(span: str) -> int:
    start, _, end = span.partition("-")
    return int(end) - int(start) if end else 0
