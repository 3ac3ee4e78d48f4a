"""From the moves on a ledger account to the lines of a statement, in memory that grows with the lines and not with the moves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from typing import NamedTuple

from gateway.domain.charge_refs import LINE, lines_of
from gateway.domain.ledger import Entry, EntryKind, PostedEntry
from gateway.domain.price_list import Rate, Tariff
from gateway.domain.readings import TOTAL
from gateway.domain.slots import local_of, midnight
from gateway.domain.statement import CORRECTION, MOST_LINES, CannotState, Energy, Line, Move, Receipt, Section, Sum, sums_of
from gateway.domain.tariffs import ChargeLine

Find = Callable[[int], PostedEntry | None]
Price = Callable[[str], Tariff | None]
Paid = Callable[[Mapping[str, str]], Receipt]

REASONS = ("reason", "by", "agreement")
"""What a `ref` may say to people, in this order."""

_FIGURES = re.compile(r"(\[.*?,(?:null|[0-9]+)),(-?[0-9]+),(-?[0-9]+),(-?[0-9]+),(\".*)", re.ASCII | re.DOTALL)
"""A charge's line as text (charge_refs.py): what it is about, then energy, price and amount, then rule and name. Thousands of lines
differ in their figures alone: the rest is read once."""

REVERSES, CORRECTS = EntryKind.REVERSAL.value, EntryKind.CORRECTION.value
"""As plain strings, which are compared at once: every entry is."""

Key = tuple[object, ...]


class _About(NamedTuple):
    """A charge's line without its figures."""

    period: str
    component: str
    version: str
    season: str
    rate: str | None
    step: int | None


_Part = tuple[_About, int, int, int, str]
"""One line of one charge: what about, energy, price, amount, and rule and name as JSON without the first bracket."""


@dataclass(slots=True)
class _Group:
    """A line that grows. about: of a charge; price and rule are as the newest of them says. begin, end: name its registers."""

    day: str
    kind: str
    component: str
    number: int
    last: int
    micro: int = 0
    wh: int = 0
    entries: int = 0
    estimated: int = 0
    corrects: int | None = None
    reason: str = ""
    about: _About | None = None
    price: int = 0
    tail: str = ""
    begin: Mapping[str, str] = field(default_factory=dict)
    end: Mapping[str, str] = field(default_factory=dict)
    receipt: Receipt | None = None


class Lines:
    """Takes the moves of a period in their order, then gives the section. keep: the lines too, not the sums alone.

    after: the last entry before the period. find: an entry of the journal, for what is corrected; price: a tariff by its id, for
    the registers of its rates; receipt: of the payment that a `ref` names. CannotState where there are too many lines, or where
    the moves are not what the balance moved by.
    """

    def __init__(
        self, name: str, currency: str, zone: tzinfo, after: int, find: Find, price: Price, receipt: Paid, *, keep: bool = True
    ) -> None:
        self._name, self._currency, self._zone, self._after = name, currency, zone, after
        self._find, self._price, self._receipt, self._keep = find, price, receipt, keep
        self._groups: dict[Key, _Group] = {}
        self._sums: dict[str, tuple[int, int]] = {}
        self._about: dict[str, _About | None] = {}
        self._today, self._begins_ms, self._ends_ms = "", 0, 0
        self._roots: dict[int, int] = {}

    def take(self, moves: Iterable[Move]) -> None:
        """The next moves in order."""
        for move in moves:
            if move.currency != self._currency:
                continue
            ref, kind = move.ref or {}, move.kind
            if kind == REVERSES:
                self._reversal(move, ref)
            elif kind == CORRECTS:
                self._correction(move, ref)
            elif not self._priced(move, ref, 1, None):
                self._plain(move, ref, kind)

    def section(self, opening_micro: int, closing_micro: int) -> Section:
        """What was taken, between these balances."""
        lines = tuple(
            self._line(group)
            for group in sorted(self._groups.values(), key=lambda group: (group.day, group.number))
            if group.micro or group.wh
        )
        sums = sums_of(lines) if self._keep else tuple(Sum(name, *both) for name, both in self._sums.items() if any(both))
        if opening_micro + sum(each.micro for each in sums) != closing_micro:
            raise CannotState(f"the entries of the period do not add up to what the {self._name} moved by: run ledger verify")
        return Section(self._name, opening_micro, closing_micro, lines, sums)

    # what entries mean

    def _reversal(self, move: Move, ref: Mapping[str, str]) -> None:
        """Takes back what the original said, where the original said it."""
        original = self._find(_number(ref.get("reverses")))
        if original is None:
            self._plain(move, ref, move.kind)
            return
        root = self._root(_corrected(original.entry) or original.number)
        if not self._priced(move, original.entry.ref, -1, root):
            self._plain(move, ref, self._kind(original, root), root)

    def _correction(self, move: Move, ref: Mapping[str, str]) -> None:
        """Says what is right where the original said what was not."""
        original = self._find(_number(ref.get("corrects")))
        if original is None:
            self._plain(move, ref, move.kind)
            return
        root = self._roots[move.number] = self._root(_corrected(original.entry) or original.number)
        if not self._priced(move, ref, 1, root):
            self._plain(move, ref, self._kind(original, root), root)

    def _root(self, number: int) -> int:
        """The first of a chain of corrections, as far as it lies in the period."""
        return self._roots.get(number, number)

    def _kind(self, original: PostedEntry, root: int) -> str:
        first = original if root == original.number else self._find(root)
        return first.entry.kind if first is not None else original.entry.kind

    def _priced(self, move: Move, ref: Mapping[str, str], sign: int, root: int | None) -> bool:
        """Whether the lines in this `ref` say what the entry moved: then they are taken. root: what is corrected."""
        parts = self._parts(ref)
        if not parts or -sign * sum([part[3] for part in parts]) != move.micro:
            return False
        earlier = root is not None and root <= self._after
        if not self._keep:
            for about, wh, _, micro, _ in parts:
                self._add(CORRECTION if earlier else about.component, -sign * micro, sign * wh)
            return True
        meter, day = ref.get("meter", ""), "" if earlier else self._day_of(move, ref)
        for about, wh, price, micro, tail in parts:
            key: Key = (CORRECTION, meter, about.period) if earlier else (day, meter, about, price)
            group = self._groups.get(key)
            if group is None:
                group = self._new(key, day or self._day(move.at_ms), EntryKind.CHARGE, about.component, move)
                if earlier:
                    group.kind, group.component = EntryKind.CORRECTION, CORRECTION
                group.begin = group.end = ref
            group.micro -= sign * micro
            group.wh += sign * wh
            if group.last != move.number or not group.entries:
                group.entries += 1
            group.last, group.about, group.price, group.tail = move.number, about, price, tail
            if root is None:
                group.end = ref
            else:
                group.corrects = root
            if "estimated" in ref:
                group.estimated += sign
        return True

    def _plain(self, move: Move, ref: Mapping[str, str], kind: str, root: int | None = None) -> None:
        """An entry without lines of its own, or whose lines say something else: by what it moved."""
        for component, micro in self._components(move, kind):
            if not self._keep:
                self._add(component, micro, 0)
                continue
            paid_back = root is not None and kind == EntryKind.TOPUP  # the payment stays: the bank knows of both
            key = (root or move.number, component, paid_back)
            group = self._groups.get(key) or self._new(key, self._day(move.at_ms), kind, component, move)
            group.micro += micro
            group.entries += 1
            group.last = move.number
            group.corrects = root
            group.reason = group.reason or _reason(ref)
            if kind == EntryKind.TOPUP:
                original = self._find(root) if root is not None else None
                group.receipt = self._receipt(original.entry.ref if original is not None else ref)

    def _components(self, move: Move, kind: str) -> Iterable[tuple[str, int]]:
        """A charge or fee by the revenue that it went to; everything else is a component of its own."""
        if kind in (EntryKind.CHARGE, EntryKind.FEE):
            posted = self._find(move.number)
            legs = [] if posted is None else _revenue(posted.entry)
            if sum(micro for _, micro in legs) == move.micro:
                return legs
        return [(kind, move.micro)]

    # how lines come about

    def _parts(self, ref: Mapping[str, str]) -> list[_Part]:
        """The lines of a charge; none where there are none that can be read."""
        parts, number = [], 0
        while (text := ref.get(f"{LINE}{number}")) is not None:
            found = _FIGURES.fullmatch(text)
            about = self._about.get(found[1]) or self._read(found[1]) if found else None
            if found is None or about is None:
                return _other_form(ref)
            parts.append((about, int(found[2]), int(found[3]), int(found[4]), found[5]))
            number += 1
        return parts or _other_form(ref)

    def _read(self, head: str) -> _About | None:
        try:
            about = _About(*json.loads(head + "]"))
        except (ValueError, TypeError):
            return None
        if len(self._about) >= MOST_LINES:
            self._about.clear()
        self._about[head] = about
        return about

    def _add(self, component: str, micro: int, wh: int) -> None:
        before = self._sums.get(component, (0, 0))
        self._sums[component] = before[0] + micro, before[1] + wh

    def _new(self, key: Key, day: str, kind: str, component: str, move: Move) -> _Group:
        if len(self._groups) == MOST_LINES:
            raise CannotState(f"the statement has more than {MOST_LINES:,} lines: ask for fewer days, or the summary alone")
        group = self._groups[key] = _Group(day, kind, component, move.number, move.number)
        return group

    def _day_of(self, move: Move, ref: Mapping[str, str]) -> str:
        """The local day in which the energy's span ends; midnight ends the day before it."""
        end = ref.get("to_ms", "")
        return self._day(int(end) - 1 if end.isdecimal() else move.at_ms)

    def _day(self, at_ms: int) -> str:
        if not self._begins_ms <= at_ms < self._ends_ms:
            day = local_of(at_ms, self._zone).date()
            self._today = day.isoformat()
            self._begins_ms, self._ends_ms = midnight(day, self._zone), midnight(day + timedelta(days=1), self._zone)
        return self._today

    def _line(self, group: _Group) -> Line:
        about = group.about
        return Line(
            group.day,
            group.kind,
            group.component,
            group.micro,
            group.entries,
            group.number,
            group.last,
            group.corrects,
            about.period if about is not None else "",
            group.reason,
            self._energy(group, about) if about is not None else None,
            group.receipt,
        )

    def _energy(self, group: _Group, about: _About) -> Energy:
        begin, end = group.begin, group.end
        from_ms, to_ms = _whole(begin.get("from_ms")), _whole(end.get("to_ms"))
        meter, tariff, estimated = begin.get("meter", ""), begin.get("tariff", ""), group.estimated > 0
        if group.component == CORRECTION:
            return Energy(meter, tariff, "", None, None, group.wh, 0, "", None, None, from_ms, to_ms, estimated, "", "")
        rule, name = json.loads("[" + group.tail)
        register = self._register(begin, about, name) if group.wh else ""
        first, last = _span(begin, register)[0], _span(end, register)[1]
        if first is None or last is None or last < first:
            register, first, last = "", None, None
        return Energy(
            meter,
            tariff,
            about.version,
            about.rate,
            about.step,
            group.wh,
            group.price,
            register,
            first,
            last,
            from_ms,
            to_ms,
            estimated,
            rule,
            name,
        )

    def _register(self, ref: Mapping[str, str], about: _About, name: str) -> str:
        """The meter's register that a line's energy is read from: its rate's, where the tariff names one; else the total."""
        if name in ref:
            return name
        if about.rate is None or about.rate == Rate.SINGLE:
            return TOTAL
        tariff = self._price(ref.get("tariff", ""))
        versions = tariff.versions if tariff is not None else ()
        names = next((each.registers.get(Rate(about.rate), ()) for each in versions if each.id == about.version), ())
        return names[0] if len(names) == 1 else ""


def _other_form(ref: Mapping[str, str]) -> list[_Part]:
    """Lines in any form that a `ref` ever had; none where they cannot be read."""
    try:
        return [_of(line) for line in lines_of(ref)] if any(key.startswith(LINE) for key in ref) else []
    except ValueError:
        return []


def _of(line: ChargeLine) -> _Part:
    rate = line.rate.value if line.rate is not None else None
    about = _About(line.period, line.component, line.version, line.season, rate, line.step)
    rule = "" if line.name == TOTAL or line.name.startswith(TOTAL) else line.rule
    return about, line.wh, line.price_micro, line.micro, json.dumps([rule, line.name], ensure_ascii=False)[1:]


def _revenue(entry: Entry) -> list[tuple[str, int]]:
    return [(leg.account.partition(":")[2], -leg.micro) for leg in entry.legs if leg.account.startswith("revenue:") and leg.micro]


def _corrected(entry: Entry) -> int:
    return _number(entry.ref.get("corrects")) if entry.kind is EntryKind.CORRECTION else 0


def _reason(ref: Mapping[str, str]) -> str:
    return "; ".join(ref[key] for key in REASONS if ref.get(key))


def _span(ref: Mapping[str, str], register: str) -> tuple[int | None, int | None]:
    first, _, last = ref.get(register, "").partition("-")
    return _whole(first), _whole(last)


def _number(text: str | None) -> int:
    return _whole(text) or 0


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and text.isascii() else None
