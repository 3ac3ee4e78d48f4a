"""A bank's day file beside our own: what matches, and what differs in which way (contract.md 3).

Lines that are the same on both sides are only counted, by a digest of 64 bits each: a day of a million payments needs 70 MB. What
is left over is looked at one by one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.day_file import REVERSAL, TOPUP, BadLine, DayLine, Trailer, shown

MOST_DIFFERENCES = 100_000
"""A day with more is hardly the right day's file, and nobody resolves them one by one."""


class DifferenceKind(StrEnum):
    """How the two sides differ (contract.md 3)."""

    MISSING_HERE = "missing_here"
    MISSING_AT_BANK = "missing_at_bank"
    AMOUNT = "amount"
    ACCOUNT = "account"
    DUPLICATE_IN_FILE = "duplicate_in_file"
    REVERSED_ON_ONE_SIDE = "reversed_on_one_side"
    OTHER_DAY = "other_day"
    BAD_LINE = "bad_line"
    TOTALS = "totals"


class Action(StrEnum):
    """What two people may do about a difference."""

    BOOK = "book"
    REVERSE = "reverse"
    IGNORE = "ignore"


class TooManyDifferences(ValueError):
    """The two sides hardly speak of the same day, in one sentence."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. there: the bank's line, here: ours; None where that side has none. detail: in words, for a person.

    date_here: the accounting date under which we have it, for OTHER_DAY. nth: which of several that are the same.
    """

    kind: DifferenceKind
    detail: str
    there: DayLine | None = None
    here: DayLine | None = None
    date_here: str = ""
    nth: int = 0

    @property
    def about(self) -> str:
        """What it is about, as a digest: the same in every later upload of the day until it is gone."""
        sides = [None if line is None else line[:9] for line in (self.there, self.here)]
        detail = self.detail if self.kind in (DifferenceKind.BAD_LINE, DifferenceKind.TOTALS) else ""
        text = json.dumps([self.kind, sides, self.date_here, detail, self.nth])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def actions(self) -> frozenset[Action]:
        """What can be done about it."""
        return _ACTIONS.get((self.kind, self.line.type if self.line is not None else ""), _ONLY_IGNORE)

    @property
    def line(self) -> DayLine | None:
        """The bank's line, or ours where it has none."""
        return self.there or self.here


_K, _A = DifferenceKind, Action
_ONLY_IGNORE = frozenset({_A.IGNORE})
_ACTIONS: Mapping[tuple[DifferenceKind, str], frozenset[Action]] = {
    (_K.MISSING_HERE, TOPUP): frozenset({_A.BOOK, _A.IGNORE}),
    (_K.MISSING_AT_BANK, TOPUP): frozenset({_A.REVERSE, _A.IGNORE}),
    (_K.AMOUNT, TOPUP): frozenset(_A),
    (_K.ACCOUNT, TOPUP): frozenset(_A),
    (_K.REVERSED_ON_ONE_SIDE, TOPUP): frozenset({_A.BOOK, _A.IGNORE}),
    (_K.REVERSED_ON_ONE_SIDE, REVERSAL): frozenset({_A.BOOK, _A.REVERSE, _A.IGNORE}),
}
"""By kind and type of the line. What was reversed here only can be booked again, what was reversed there only is reversed here."""


@dataclass(frozen=True, slots=True)
class Known:
    """What our books say of a line that this day's statement has not, or has otherwise.

    line: as our statement of `date` has it, None where it has none. standing: posted, reversed, tombstone, refused or `` (unknown):
    of the payment itself.
    """

    line: DayLine | None
    date: str
    standing: str


Lookup = Callable[[DayLine], Known]


@dataclass(slots=True)
class Matching:
    """Feed it our lines, then the file's; then `left` tells which of ours the file has not."""

    ours: int = 0
    our_cents: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    matched: int = 0
    matched_cents: dict[str, int] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    over: list[DayLine] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    file_cents: int = 0
    trailer: Trailer | None = None

    def add_ours(self, lines: Iterable[DayLine]) -> None:
        for line in lines:
            self.ours += 1
            self.our_cents[line.currency] = self.our_cents.get(line.currency, 0) + line.cents
            self.left.add(digest(line))

    def take(self, records: Iterable[DayLine | BadLine | Trailer]) -> None:
        """The file, in its order. TooManyDifferences."""
        left, cents = self.left, self.matched_cents
        for record in records:
            if isinstance(record, DayLine):
                self.lines += 1
                micro = record.cents
                self.file_cents += micro
                mark = digest(record)
                if mark in left:
                    left.remove(mark)
                    self.matched += 1
                    cents[record.currency] = cents.get(record.currency, 0) + micro
                else:
                    self.over.append(record)
            elif isinstance(record, BadLine):
                self.lines += 1
                self.bad.append(record)
            else:
                self.trailer = record
            if len(self.over) + len(self.bad) > MOST_DIFFERENCES:
                raise TooManyDifferences(f"over {MOST_DIFFERENCES} lines of the file differ: is it the right day's?")
        if len(left) > MOST_DIFFERENCES:
            raise TooManyDifferences(
                f"over {MOST_DIFFERENCES} lines of ours are not in the file: is it the right day's, and whole?"
            )

    def match(self, pair: Iterable[DayLine]) -> None:
        """These lines of the file stand for nothing on either side: a payment that was never booked, and its reversal."""
        for line in pair:
            self.matched += 1
            self.matched_cents[line.currency] = self.matched_cents.get(line.currency, 0) + line.cents


def digest(line: DayLine) -> int:
    """Of all that must be the same on both sides: 64 bits of SipHash, whose key changes with every process.

    One line in 10^13 that differs would pass for one of a million others.
    """
    named = line.original_serial if line.type == REVERSAL else line.serial
    return hash(f"{line.type},{line.institution},{named},{line.account},{line.amount},{line.currency}")


def differences(found: Matching, ours: Iterable[DayLine], look: Lookup, day: str) -> list[Difference]:
    """Every difference, in the order of the file, then what only we have. ours: the lines of ours that are left over."""
    return _Sorting(found, {line.ident: line for line in ours}, look, day).run()


@dataclass(slots=True)
class _Sorting:
    """What is left over on both sides, sorted into kinds."""

    found: Matching
    ours: dict[tuple[str, str, str], DayLine]
    look: Lookup
    day: str
    met: dict[tuple[str, str, str], int] = field(default_factory=dict)
    out: list[Difference] = field(default_factory=list)

    def run(self) -> list[Difference]:
        over = self._without_nothing()
        for line in over:
            self._file_line(line)
        for line in self.ours.values():
            self._ours_only(line)
        self._bad_lines()
        self._totals()
        return self.out

    def _without_nothing(self) -> list[DayLine]:
        """Without pairs of a payment and its reversal that are nothing here: refused, or reversed before it came."""
        undone = {(line.institution, line.original_serial): line for line in self.found.over if line.type == REVERSAL}
        gone: set[int] = set()
        for line in self.found.over:
            back = undone.get((line.institution, line.serial)) if line.type == TOPUP else None
            if back is None or back.number in gone or back.cents != -line.cents:
                continue
            if self.look(line).standing in ("tombstone", "refused"):
                self.found.match((line, back))
                gone |= {line.number, back.number}
        return [line for line in self.found.over if line.number not in gone]

    def _file_line(self, line: DayLine) -> None:
        nth = self.met[line.ident] = self.met.get(line.ident, 0) + 1
        here = self.ours.pop(line.ident, None) if nth == 1 else None
        if here is not None:
            self._unlike(line, here)
            return
        known = self.look(line)
        if nth > 1 or (known.line is not None and known.date == self.day):
            self._add(DifferenceKind.DUPLICATE_IN_FILE, "the file has it more than once", line, known.line, nth=nth)
        elif known.line is not None:
            text = f"it is booked here on {known.date}"
            self._add(DifferenceKind.OTHER_DAY, text, line, known.line, known.date)
        elif line.type == REVERSAL and known.standing == "posted":
            self._add(DifferenceKind.REVERSED_ON_ONE_SIDE, "the bank reversed it, and it is not reversed here", line)
        elif line.type == TOPUP and known.standing == "tombstone":
            self._add(DifferenceKind.REVERSED_ON_ONE_SIDE, "it was reversed here before it came", line)
        else:
            why = "it was refused here" if known.standing == "refused" else "it is not booked here"
            self._add(DifferenceKind.MISSING_HERE, why, line)

    def _unlike(self, line: DayLine, here: DayLine) -> None:
        if line.account != here.account:
            self._add(DifferenceKind.ACCOUNT, f"account {line.account} there, {here.account} here", line, here)
        if (line.amount, line.currency) != (here.amount, here.currency):
            text = f"{line.amount} {line.currency} there, {here.amount} {here.currency} here"
            self._add(DifferenceKind.AMOUNT, text, line, here)

    def _ours_only(self, here: DayLine) -> None:
        paid = (TOPUP, here.institution, here.original_serial)
        if here.type == REVERSAL and paid not in self.ours:
            self._add(DifferenceKind.REVERSED_ON_ONE_SIDE, "it is reversed here, and the bank has not reversed it", None, here)
        else:
            self._add(DifferenceKind.MISSING_AT_BANK, "the bank's file has it not", None, here)

    def _bad_lines(self) -> None:
        met: dict[tuple[str, str], int] = {}
        for bad in self.found.bad:
            key = (bad.text, bad.why)
            met[key] = nth = met.get(key, 0) + 1
            self._add(DifferenceKind.BAD_LINE, f"line {bad.number}: {bad.why}: {bad.text}", nth=nth)

    def _totals(self) -> None:
        """The last line against the file itself. Whether the amount of a bad line is in the sum is not said: both are right."""
        told, found = self.found.trailer, self.found
        if told is None:
            return
        sums = {found.file_cents, found.file_cents + sum(bad.cents or 0 for bad in found.bad)}
        if told.lines != found.lines or told.cents not in sums:
            said = f"the last line says {told.lines} lines of {shown(told.cents)}"
            self._add(DifferenceKind.TOTALS, f"{said}, the file has {found.lines} of {shown(found.file_cents)}")

    def _add(
        self, kind: DifferenceKind, detail: str, there: DayLine | None = None, here: DayLine | None = None, date: str = "",
        nth: int = 0,
    ) -> None:  # fmt: skip
        self.out.append(Difference(kind, detail, there, here, date, nth))


@dataclass(frozen=True, slots=True)
class DayBook:
    """What an upload of a day's file came to. Sums in micro-units by currency; matched: lines on both sides, and their net sum.

    state: running, done or failed (why: `note`). ours: lines of our statement then. found: differences by kind. sha256: of the
    file. closed: with it the day was closed.
    """

    bank: str
    accounting_date: str
    version: int
    state: str
    at_ms: int
    sha256: str = ""
    lines: int = 0
    ours: int = 0
    our_micro: Mapping[str, int] = field(default_factory=dict)
    matched: int = 0
    matched_micro: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict)
    closed: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What two people decided about a difference. about: Difference.about. state: asked or done; approval: where it waits.

    told: what was done, in one sentence. Times in UTC ms.
    """

    about: str
    action: Action
    reason: str
    approval: str
    asked_by: str
    asked_ms: int
    state: str = "asked"
    decided_by: str | None = None
    decided_ms: int | None = None
    told: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one person wants done about difference `number` of the newest upload. who: as the audit log names that person."""

    bank: str
    accounting_date: str
    number: int
    action: Action
    reason: str
    who: str


class NotResolved(Exception):
    """Why not: a code of contract.md 3, and a sentence; nothing has changed."""

    def __init__(self, code: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.field = code, detail, field


def moved(serial: str) -> NotResolved:
    """The payment is not what its difference says any more."""
    return NotResolved("refused", f"serial {serial} does not stand here as it was compared: upload the file again, or ignore it")


def beside(about: str) -> str:
    """The scope of a payment that two people book beside one of the same serial, to resolve a difference (Difference.about)."""
    return f"book-{about[:16]}"
