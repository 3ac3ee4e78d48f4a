"""What an account's ledger says of a period, in the lines that a customer can read: a day's charges are one line, not ninety-six.

The period is that of posting, so that opening + lines = closing, to the micro-unit; a line's day is that of its energy or payment.
A correction is netted into the lines of what it corrects; of a charge before the period, into one line for its billing period.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from gateway.domain.units import DECIMALS

MOST_DAYS = 400
"""Of a statement with lines: a year and a month; whoever wants more wants sums or an export of the journal."""

MOST_LINES = 20_000
"""Of one statement: a year of fifty lines a day. What has more is no account of a customer, and would not fit into memory twice."""

BALANCE, DEBT, EMERGENCY, UNDELIVERED = "balance", "debt", "emergency", "undelivered"
CORRECTION = "correction"
"""Component of the net line of what was charged before the period."""


class CannotState(ValueError):
    """Why there is no such statement, in one sentence."""


class Move(NamedTuple):
    """What an entry moved on one ledger account. ref: None where it is no mapping of strings."""

    number: int
    kind: str
    currency: str
    at_ms: int
    ref: Mapping[str, str] | None
    micro: int


@dataclass(frozen=True, slots=True)
class Energy:
    """What a line is charged for. wh: that bears the price. register: first and last value in Wh, None where they tell nothing.

    from_ms, to_ms: the readings around it. estimated: some of it was shared out for want of a reading. rule: as it last stood.
    """

    meter: str
    tariff: str
    version: str
    rate: str | None
    step: int | None
    wh: int
    price_micro: int
    register: str
    first_wh: int | None
    last_wh: int | None
    from_ms: int | None
    to_ms: int | None
    estimated: bool
    rule: str
    name: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the payer holds in his hand. to_debt_micro: how much of it went to his debt, by a line of its own."""

    number: str
    bank: str
    institution: str
    serial: str
    to_debt_micro: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """So much more or less. day: local, ISO. kind: of the entries behind it; component: what its sum stands under.

    entries, first, last: how many entries are in it, and the first and last number of them. corrects: the entry that others among
    them correct. period: of the bill, a local start as ISO minutes.
    """

    day: str
    kind: str
    component: str
    micro: int
    entries: int
    first: int
    last: int
    corrects: int | None = None
    period: str = ""
    reason: str = ""
    energy: Energy | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """All lines of a component. wh: 0 where no energy is counted."""

    component: str
    micro: int
    wh: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """One ledger account of the customer: balance | debt | emergency | undelivered; signs are the ledger's.

    opening + the sums = closing, and the sums are those of the lines (none in a summary).
    """

    name: str
    opening_micro: int
    closing_micro: int
    lines: tuple[Line, ...]
    sums: tuple[Sum, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """An account's statement, both days included. others: what else it has or had in the period. head, hash: the journal's last
    entry in it, which proves all before it; posted_ms: when that was posted, None for an empty journal."""

    gateway: str
    account: str
    holder: str
    currency: str
    zone: str
    from_day: date
    to_day: date
    balance: Section
    others: tuple[Section, ...]
    head: int
    hash: str
    posted_ms: int | None
    summary: bool = False

    @property
    def sections(self) -> tuple[Section, ...]:
        """All of them, the balance first."""
        return (self.balance, *self.others)


def period(from_day: date | None, to_day: date | None, today: date) -> tuple[date, date]:
    """The days meant: this month without any; from the first of the month of `to_day`, to the last of the month of `from_day`."""
    first = from_day or (to_day or today).replace(day=1)
    return first, to_day or month_end(first)


def month_end(day: date) -> date:
    """The last day of this day's month."""
    return day.replace(day=monthrange(day.year, day.month)[1])


def check_period(from_day: date, to_day: date, *, summary: bool = False) -> None:
    """CannotState for a period that no statement is given of; its end may lie in the future."""
    if not (1970 <= from_day.year <= 9000 and to_day.year <= 9000):
        raise CannotState("the days of a statement lie between the years 1970 and 9000")
    if from_day > to_day:
        raise CannotState(f"the first day {from_day} comes after the last day {to_day}")
    days = (to_day - from_day).days + 1
    if days > MOST_DAYS and not summary:
        raise CannotState(f"a statement is of at most {MOST_DAYS} days, not {days}: ask for fewer, or for the summary alone")


def sums_of(lines: Iterable[Line]) -> tuple[Sum, ...]:
    """By component, in the order in which they first come."""
    found: dict[str, tuple[int, int]] = {}
    for line in lines:
        micro, wh = found.get(line.component, (0, 0))
        found[line.component] = micro + line.micro, wh + (line.energy.wh if line.energy else 0)
    return tuple(Sum(component, micro, wh) for component, (micro, wh) in found.items())


@dataclass(frozen=True, slots=True)
class Shown:
    """A section in amounts that are paid (fen, cents), micro-units: opening + amounts + carried = closing, as printed.

    A whole amount is shown as it is; others by how the truncated balance moves. carried: what is left where a balance went through
    zero, at most one of the smallest coins. sums: of the shown lines, by component.
    """

    opening: int
    amounts: tuple[int, ...]
    carried: int
    closing: int
    sums: Mapping[str, int]


def shown(section: Section, currency: str) -> Shown:
    """The lines of a section as a person sees them. Of a summary the sums alone, by the same rule."""
    coin = 10 ** (6 - DECIMALS[currency])
    micros = [line.micro for line in section.lines] or [each.micro for each in section.sums]
    exact, opening = section.opening_micro, _truncated(section.opening_micro, coin)
    running, amounts = opening, []
    for micro in micros:
        exact += micro
        amount = micro if micro % coin == 0 else _truncated(exact, coin) - running
        running += amount
        amounts.append(amount)
    closing = _truncated(section.closing_micro, coin)
    names = [line.component for line in section.lines] or [each.component for each in section.sums]
    sums: dict[str, int] = {}
    for name, amount in zip(names, amounts, strict=True):
        sums[name] = sums.get(name, 0) + amount
    return Shown(opening, tuple(amounts), closing - running, closing, sums)


def _truncated(micro: int, coin: int) -> int:
    return micro - micro % coin if micro >= 0 else micro + -micro % coin
