"""What the journal must also be true about, besides its numbers, chain and sums (prepayment.md, "What we decided" 8).

Each trail follows one matter from entry to entry, and says at the first bad one what is wrong with it. `Books` walks them together;
its state at an entry is what a closing fixes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.domain.ledger import (
    FINAL,
    OFF_ACCOUNT,
    Audit,
    EntryKind,
    JournalRow,
    pending,
    wrong_sign,
)
from gateway.domain.readings import TOTAL

Lookup = Callable[[int], JournalRow | None]
Ref = Mapping[str, str]

_K = EntryKind
KINDS = frozenset(kind.value for kind in EntryKind)
CHARGING = frozenset({_K.CHARGE.value, _K.REGISTER.value})
LINKED = frozenset({_K.REVERSAL.value, _K.CORRECTION.value})
EXPLAINED = frozenset({_K.CHARGE.value, _K.CORRECTION.value})
TRANSFERS = frozenset({_K.TRANSFER_PENDING.value, _K.TRANSFER_POSTED.value, _K.TRANSFER_VOIDED.value})
PLAIN = frozenset({_K.TOPUP.value, _K.OPENING.value})
"""Kinds that no trail follows."""

LINE = "line:"
LINE_MICRO = 8
"""References that begin so explain a charge: JSON lists with the line's micro-units at this place (domain.charge_refs), and in
their first form FROM-TO@PRICE=MICRO."""


_decoded = json.JSONDecoder().raw_decode  # half of what loads costs


class Unsound(Exception):
    """What is wrong with an entry, in one sentence."""


@dataclass(slots=True)
class MeterTrail:
    """How far a meter is billed. begun: registers where its bill may have begun. ended: taken off its account since."""

    begun: list[int]
    reached: int
    ended: bool = False


@dataclass(slots=True)
class EnergyTrail:
    """Follows the billed registers of every meter through the charges."""

    meters: dict[str, MeterTrail] = field(default_factory=dict)

    def take(self, row: JournalRow, ref: Ref) -> None:
        meter, (start, end) = ref["meter"], span(ref)
        trail = self.meters.get(meter)
        if trail is None:
            trail = self.meters[meter] = MeterTrail([start], start)
        elif trail.ended:  # what flowed meanwhile was nobody's, and the meter may have been exchanged
            trail.begun = [start] if start != trail.reached else [*trail.begun, start]
            trail.reached = start
        if start != trail.reached or (end < start and row.kind == _K.CHARGE):
            raise Unsound(f"bills meter {meter} from {start} Wh, but it was billed to {trail.reached} Wh")
        trail.reached = end
        trail.ended = ref.get("change") == OFF_ACCOUNT

    def compare(self, meter: str, stands_wh: int, first_wh: int) -> str | None:
        """What speaks against a billing that stands here and began there, or None."""
        trail = self.meters.get(meter) or MeterTrail([first_wh], first_wh)
        if trail.ended and stands_wh == first_wh:
            return None  # back on an account, and nothing used yet
        if stands_wh != trail.reached:
            return f"meter {meter} is billed to {trail.reached} Wh in the ledger, but its billing stands at {stands_wh} Wh"
        if first_wh not in trail.begun:
            return f"meter {meter} is billed from {trail.begun[0]} Wh in the ledger, but its bill began at {first_wh} Wh"
        return None


@dataclass(slots=True)
class LinkTrail:
    """Reversals and corrections: a reversal undoes exactly one entry, once; a correction stands for one that was reversed.

    reversed: entry -> its reversal. open: those of them that have no correction (yet).
    """

    reversed: dict[int, int] = field(default_factory=dict)
    open: dict[int, int] = field(default_factory=dict)

    def take(self, row: JournalRow, ref: Ref, lookup: Lookup) -> None:
        if row.kind == _K.REVERSAL:
            self._reverse(row, int(ref["reverses"]), lookup)
        else:
            self._correct(row, ref, int(ref["corrects"]), lookup)

    def _reverse(self, row: JournalRow, number: int, lookup: Lookup) -> None:
        original = lookup(number) if number < row.number else None
        if original is None or original.kind in FINAL:
            raise Unsound(f"reverses entry {number}, which is none that can be reversed")
        if number in self.reversed:
            raise Unsound(f"reverses entry {number}, which entry {self.reversed[number]} reversed already")
        mirrored = [(account, -micro) for account, micro, _, _ in original.legs]
        if row.currency != original.currency or [leg[:2] for leg in row.legs] != mirrored:
            raise Unsound(f"does not reverse entry {number} exactly")
        self.reversed[number] = self.open[number] = row.number

    def _correct(self, row: JournalRow, ref: Ref, number: int, lookup: Lookup) -> None:
        if number not in self.open or ref.get("reversal") != str(self.open[number]):
            raise Unsound(f"corrects entry {number}, which is not reversed, or has its correction already")
        original = lookup(number)
        old = original.ref if original is not None and original.ref is not None else {}
        if any(ref.get(key) != old.get(key) for key in ("meter", TOTAL)):
            raise Unsound(f"corrects entry {number}, but is not about the same meter and energy")
        del self.open[number]

    def compare(self, lookup: Lookup) -> str | None:
        """Energy whose charge was reversed and that nobody was charged for since, or None."""
        for number, by in sorted(self.open.items()):
            original = lookup(number)
            if original is not None and original.ref is not None and "meter" in original.ref:
                return f"entry {by} reverses the charge of entry {number}, and no correction charges that energy"
        return None


@dataclass(slots=True)
class TransferTrail:
    """Two-phase transfers: each begins once and ends at most once, with the same money. open: id -> number of its beginning."""

    open: dict[str, int] = field(default_factory=dict)

    def take(self, row: JournalRow, ref: Ref, lookup: Lookup) -> None:
        ident = ref["transfer"]
        if row.kind == _K.TRANSFER_PENDING:
            self._must_move(row, ref["from"], pending(ident))
            if self.open.setdefault(ident, row.number) != row.number:
                raise Unsound(f"begins transfer {ident}, which entry {self.open[ident]} began already")
            return
        number = self.open.pop(ident, None)
        if number is None:
            raise Unsound(f"ends transfer {ident}, which is not under way")
        begun = lookup(number)
        old = begun.ref if begun is not None and begun.ref is not None else {}
        self._must_move(row, pending(ident), old["to" if row.kind == _K.TRANSFER_POSTED else "from"])
        if begun is None or row.legs[0][1] != begun.legs[0][1] or row.currency != begun.currency:
            raise Unsound(f"ends transfer {ident} with another amount than it began")

    @staticmethod
    def _must_move(row: JournalRow, source: str, target: str) -> None:
        if [leg[0] for leg in row.legs] != [target, source] or row.legs[0][1] <= 0:
            raise Unsound(f"does not move the transfer's money from {source} to {target}")


@dataclass(slots=True)
class Books:
    """Everything the journal must be true about in itself. Feed it rows in order; `finding` names the first bad entry."""

    audit: Audit = field(default_factory=Audit)
    energy: EnergyTrail = field(default_factory=EnergyTrail)
    links: LinkTrail = field(default_factory=LinkTrail)
    transfers: TransferTrail = field(default_factory=TransferTrail)

    def take(self, row: JournalRow, lookup: Lookup) -> str | None:
        """The finding that this entry brings, or None."""
        if self.audit.check(row) is not None or row.kind in PLAIN:
            return self.audit.finding
        try:
            self._follow(row, row.ref or {}, lookup)
        except Unsound as unsound:
            self.audit.finding = f"entry {row.number} {unsound}"
        except (KeyError, ValueError) as lacking:
            self.audit.finding = f"entry {row.number} is no {row.kind}: {lacking} is missing or cannot be read in its references"
        return self.audit.finding

    def _follow(self, row: JournalRow, ref: Ref, lookup: Lookup) -> None:
        kind = row.kind
        if kind not in KINDS:
            raise Unsound(f"is of no known kind: {kind}")
        if kind in CHARGING and not (kind == _K.CHARGE and "meter" not in ref and _lines(ref)):  # fees of a period have no meter
            self.energy.take(row, ref)
        elif kind in LINKED:
            self.links.take(row, ref, lookup)
        elif kind in TRANSFERS:
            self.transfers.take(row, ref, lookup)
        if kind in EXPLAINED:
            _explained(row, ref)
        _signs(row)

    def state(self) -> str:
        """All that later entries are judged by, as canonical JSON."""
        body = {
            "number": self.audit.number,
            "hash": self.audit.hash,
            "booked_ms": self.audit.booked_ms,
            "balances": [[currency, account, micro] for (currency, account), micro in sorted(self.audit.balances.items()) if micro],
            "meters": {meter: [trail.begun, trail.reached, trail.ended] for meter, trail in self.energy.meters.items()},
            "reversed": sorted(self.links.reversed.items()),
            "uncorrected": sorted(self.links.open.items()),
            "transfers": self.transfers.open,
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def books_of(state: str) -> Books:
    """The books as they stood where this state was taken."""
    body = json.loads(state)
    balances = {(currency, account): micro for currency, account, micro in body["balances"]}
    return Books(
        Audit(body["number"], body["hash"], balances, booked_ms=body["booked_ms"]),
        EnergyTrail({meter: MeterTrail(begun, reached, ended) for meter, (begun, reached, ended) in body["meters"].items()}),
        LinkTrail(dict(body["reversed"]), dict(body["uncorrected"])),
        TransferTrail(body["transfers"]),
    )


def digest(state: str) -> str:
    """What a closing keeps of a state in the journal itself."""
    return hashlib.sha256(state.encode()).hexdigest()


def span(ref: Ref) -> tuple[int, int]:
    """First and last total register of a charge, in Wh. KeyError or ValueError where there is none."""
    start, end = ref[TOTAL].split("-")
    return int(start), int(end)


def _explained(row: JournalRow, ref: Ref) -> None:
    """The lines of a charge add up to what was booked as revenue; energy that cost something has lines."""
    lines = _lines(ref)
    booked = 0
    for account, micro, _, _ in row.legs:
        if account.startswith("revenue:"):
            booked += micro
    if (lines or TOTAL in ref) and sum(lines) != booked:
        raise Unsound(f"books {booked} micro-{row.currency}, but its lines add up to {sum(lines)}")


def _lines(ref: Ref) -> list[int]:
    """The micro-units of the lines. ValueError for a line that is none."""
    return [_line(text) for key, text in ref.items() if key.startswith(LINE)]


def _line(text: str) -> int:
    if not text.startswith("["):
        return int(text.rpartition("=")[2])
    found, end = _decoded(text)
    if end != len(text) or len(found) <= LINE_MICRO or type(found[LINE_MICRO]) is not int:
        raise ValueError(f"the line {text}")
    return int(found[LINE_MICRO])


def _signs(row: JournalRow) -> None:
    """Accounts with only one sign keep it."""
    for account, _, after, _ in row.legs:
        if wrong_sign(account, after):
            raise Unsound(f"leaves {account} with {after} micro-{row.currency}")
