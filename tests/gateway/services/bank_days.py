"""A bank's day of any length, and files of it with planted differences: what a reconciliation must find, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from gateway.domain import ledger
from gateway.domain.bank_acts import BookedReversal, Origin, ReversalState
from gateway.domain.day_file import REVERSAL, TOPUP, DayLine, write_day_file
from gateway.domain.differences import DifferenceKind
from gateway.domain.ledger import Entry, EntryKind, Leg, PostedEntry
from gateway.domain.records import Payment
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import MICRO
from gateway.services.ports import Tx
from tests.gateway.services.house import AnyStore

BANK, DAY, OTHER = "icbc", "2026-11-24", "2026-11-25"
AT = "2026-11-24T03:00:00+00:00"
CHUNK = 5_000
ACCOUNTS = 1_000
REVERSED_EVERY = 50
"""One payment in so many is taken back."""


class AnyWriter(AnyStore, Protocol):
    """What fills it."""


def serial_of(number: int) -> str:
    return f"20261124{number:08d}"


def amount_of(number: int) -> int:
    """Whole cents from 1.00 to 500.00, in micro-units."""
    return (100 + number * 7919 % 49_901) * 10_000


def book(store: AnyWriter, count: int, day: str = DAY, first: int = 0, reversed_every: int = REVERSED_EVERY) -> None:
    """So many payments of this day, in the journal and beside it, some of them reversed."""
    for start in range(first, first + count, CHUNK):
        numbers = range(start, min(start + CHUNK, first + count))
        store.write_now(partial(_book, numbers, day, reversed_every))


def _book(numbers: Sequence[int], day: str, reversed_every: int, tx: Tx) -> None:
    for number in numbers:
        who, account, micro = PaymentIdentity(BANK, "", "", serial_of(number)), f"A-{number % ACCOUNTS}", amount_of(number)
        ref = {"bank": BANK, "institution": "", "scope": "", "serial": who.serial, "accounting_date": day}
        legs = (Leg(ledger.customer(account), micro), Leg(ledger.bank_clearing(BANK), -micro))
        posted = _post(tx, Entry(EntryKind.TOPUP, "CNY", legs, 1, ref))
        back = reversed_every and number % reversed_every == 0
        status = "reversed" if back else "posted"
        tx.add_payment(Payment(who, account, micro, "CNY", day, AT, "app", status, 1, "{}", entry=posted.number))
        if back:
            _undo(tx, who, posted, account, micro, day)


def _undo(tx: Tx, who: PaymentIdentity, posted: PostedEntry, account: str, micro: int, day: str) -> None:
    undone = _post(tx, ledger.reversal(posted, 1, {"bank": BANK, "accounting_date": day}))
    tx.add_reversal(undone.number, posted.number)
    tx.add_bank_reversal(
        BookedReversal(
            who, f"R{who.serial}", day, account, micro, "CNY", "x", AT, Origin.BANK, ReversalState.DONE, 1, 1, undone.number, "{}"
        )
    )


def _post(tx: Tx, entry: Entry) -> PostedEntry:
    posted = ledger.post(entry, *tx.journal_end())
    tx.add_entry(posted)
    return posted


def day_lines(count: int, day: str = DAY, first: int = 0, reversed_every: int = REVERSED_EVERY) -> Iterator[DayLine]:
    """What a bank's own books say of the same."""
    for number in range(first, first + count):
        serial, micro = serial_of(number), amount_of(number)
        amount = f"{micro // MICRO}.{micro % MICRO // 10_000:02d}"
        yield DayLine(serial, f"A-{number % ACCOUNTS}", amount, "CNY", TOPUP, "", AT, "app", "")
        if reversed_every and number % reversed_every == 0:
            yield DayLine(f"R{serial}", f"A-{number % ACCOUNTS}", amount, "CNY", REVERSAL, serial, AT, "", "")


Found = tuple[str, str]
"""Kind of a difference, and the serial that it is about (of a bad line: its text)."""


@dataclass
class Planted:
    """A file with differences. text: line by line."""

    lines: list[str] = field(default_factory=list)
    truth: set[Found] = field(default_factory=set)

    def text(self) -> bytes:
        return "".join(self.lines).encode()


KINDS = tuple(kind for kind in DifferenceKind if kind is not DifferenceKind.TOTALS)


def plant(
    count: int, each: int, rng: Random, others: int, *, totals: bool = False, reversed_every: int = REVERSED_EVERY
) -> Planted:
    """A file of a day of `count` payments in which `each` differences of every kind stand, in any order.

    others: payments from `count` on that are booked here on OTHER. totals: the last line is wrong too.
    """
    made = Planted()
    lines = {line.ident: line for line in day_lines(count, reversed_every=reversed_every)}
    topups = [ident for ident, line in lines.items() if line.type == TOPUP]
    undone = [ident for ident, line in lines.items() if line.type == REVERSAL]
    plain = [ident for ident in topups if (REVERSAL, "", ident[2]) not in lines]
    chosen = rng.sample(plain, 5 * each)
    for ident in chosen[:each]:
        _say(made, DifferenceKind.MISSING_AT_BANK, lines.pop(ident))
    for ident in chosen[each : 2 * each]:
        lines[ident] = _say(made, DifferenceKind.AMOUNT, lines[ident]._replace(amount="500.01"))
    for ident in chosen[2 * each : 3 * each]:
        lines[ident] = _say(made, DifferenceKind.ACCOUNT, lines[ident]._replace(account="A-other"))
    kept = [*lines.values()]
    kept += [_say(made, DifferenceKind.DUPLICATE_IN_FILE, lines[ident]) for ident in chosen[3 * each : 4 * each]]
    half = each // 2
    gone = set(rng.sample(undone, half))
    kept = [line for line in kept if line.ident not in gone]
    for ident in gone:
        _say(made, DifferenceKind.REVERSED_ON_ONE_SIDE, lines[ident])
    for ident in chosen[4 * each : 5 * each - half]:
        line = lines[ident]
        back = line._replace(serial=f"R{line.serial}", type=REVERSAL, original_serial=line.serial)
        kept.append(_say(made, DifferenceKind.REVERSED_ON_ONE_SIDE, back))
    for number in range(each):
        strange = DayLine(f"strange-{number}", "A-1", "1.00", "CNY", TOPUP, "", AT, "app", "")
        kept.append(_say(made, DifferenceKind.MISSING_HERE, strange))
    kept += [_say(made, DifferenceKind.OTHER_DAY, line) for line in rng.sample([*day_lines(others, OTHER, count, 0)], each)]
    rng.shuffle(kept)
    *body, trailer = write_day_file(kept)
    made.lines = body
    for number in range(each):
        bad = rng.choice(
            (f"bad-{number},A-1,1.0,CNY,topup,,{AT},,", f"bad-{number};", f'"bad-{number},,,,,', f"bad-{number},A 1,1.00")
        )
        made.lines.insert(rng.randrange(1, len(made.lines)), bad + "\n")
        made.truth.add((DifferenceKind.BAD_LINE.value, bad))
    stated = trailer.split(",")[1]
    made.lines.append(f"#{len(made.lines) - 1 + totals},{stated}")
    if totals:
        made.truth.add((DifferenceKind.TOTALS.value, ""))
    return made


def _say(made: Planted, kind: DifferenceKind, line: DayLine) -> DayLine:
    made.truth.add((kind.value, line.serial))
    return line
