"""Double entry in integers, append only, with a hash chain (prepayment.md, "What we decided" 8).

Sign: a positive leg adds to the account named. What we owe and what we earned is positive (a customer's prepaid credit, credit not
yet delivered, pending and suspended money, revenue); what others owe us and what we lost is negative (banks that have not paid
over, debt, emergency credit, write-off). All accounts of a currency sum to zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from json.encoder import encode_basestring as _quoted
from typing import NamedTuple

from gateway.domain.readings import TOTAL

GENESIS = "0" * 64

MOST_MICRO = 2**62
"""The most that a leg or a balance may be: any two of them still add up within 64 bits, which SQLite leaves without a word."""

NO_CURRENCY = "XXX"
"""ISO 4217's own code where no money is meant: a closing is about all currencies."""


class EntryKind(StrEnum):
    """What happened to the money."""

    TOPUP = "topup"
    CHARGE = "charge"
    OPENING = "opening"
    REGISTER = "register"
    REVERSAL = "reversal"
    CORRECTION = "correction"
    FEE = "fee"
    LATE_FEE = "late_fee"
    DEBT = "debt"
    DEBT_RECOVERY = "debt_recovery"
    EMERGENCY = "emergency"
    EMERGENCY_RECOVERY = "emergency_recovery"
    WRITE_OFF = "write_off"
    SUSPENSE = "suspense"
    ADJUSTMENT = "adjustment"
    TRANSFER_PENDING = "transfer_pending"
    TRANSFER_POSTED = "transfer_posted"
    TRANSFER_VOIDED = "transfer_voided"
    CLOSING = "closing"
    SETTLEMENT = "settlement"


FINAL = frozenset(
    {
        EntryKind.REVERSAL,
        EntryKind.REGISTER,
        EntryKind.TRANSFER_PENDING,
        EntryKind.TRANSFER_POSTED,
        EntryKind.TRANSFER_VOIDED,
        EntryKind.CLOSING,
        EntryKind.SETTLEMENT,
    }
)
"""Kinds that no entry reverses: they say what was done elsewhere, and end by their own rules."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One side of an entry: ledger account and micro-units, positive or negative."""

    account: str
    micro: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A balanced movement. `ref` names what caused it (payment identity, registers, prices) as strings."""

    kind: EntryKind
    currency: str
    legs: tuple[Leg, ...]
    at_ms: int
    ref: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(self.legs) < 2 or any(type(leg.micro) is not int or abs(leg.micro) > MOST_MICRO for leg in self.legs):
            raise ValueError("a ledger entry has at least two legs in whole micro-units")
        if sum(leg.micro for leg in self.legs) != 0:
            raise ValueError(f"a ledger entry must balance: {self.legs}")
        if not self.ref and not any(leg.micro for leg in self.legs):
            raise ValueError("a ledger entry moves money or says what it is about")


@dataclass(frozen=True, slots=True)
class PostedEntry:
    """An entry in the journal: dense rising number, the hash of the one before, and its own."""

    number: int
    entry: Entry
    previous: str
    hash: str


LegRow = tuple[str, int, int, int]
"""A leg as it is stored: account, micro, the account's balance with it (in the entry's currency), the entry's number."""


class JournalRow(NamedTuple):
    """An entry as it is stored, sound or not: what a verifier reads. ref: None where it is no mapping of strings.

    booked_ms: where the journal's time stood with it (`booked`).
    """

    number: int
    kind: str
    currency: str
    at_ms: int
    ref: Mapping[str, str] | None
    previous: str
    hash: str
    booked_ms: int
    legs: Sequence[LegRow]


BORN_MS = 1_577_836_800_000
FURTHEST_MS = 5 * 366 * 86_400_000
"""2020: no clock before it was right. One so far ahead of the journal is not believed: no site is idle for years."""


def booked(before_ms: int, at_ms: int) -> int:
    """Where the journal's time stands after an entry of this moment: it never goes back, so that a period ends at one entry.

    A clock that was set back counts as where the journal stands, and so does one that is years ahead of it.
    """
    ahead = before_ms >= BORN_MS and at_ms > before_ms + FURTHEST_MS
    return before_ms if ahead else max(before_ms, at_ms)


# The chart of accounts


def customer(account: str) -> str:
    """The ledger account of a customer's prepaid balance."""
    return f"customer:{account}"


def undelivered(account: str) -> str:
    """What a customer paid and the meter that holds the money has not got (prepayment.md 1): ours to deliver or to give back."""
    return f"undelivered:{account}"


def pending(transfer: str) -> str:
    """Money of a two-phase transfer, spendable by nobody until it is posted or voided."""
    return f"pending:{transfer}"


def debt(account: str) -> str:
    """What a customer owes from before, apart from the balance; negative."""
    return f"debt:{account}"


def emergency(account: str) -> str:
    """Emergency credit that a customer took and has not given back; negative."""
    return f"emergency:{account}"


def bank_clearing(bank: str) -> str:
    """The ledger account of what a bank took in for us and has not yet paid over."""
    return f"bank:{bank}"


def cash() -> str:
    """What banks paid over to us; negative, like all that we have instead of owing it."""
    return "cash"


def revenue(component: str) -> str:
    """The ledger account of income by component."""
    return f"revenue:{component}"


def write_off() -> str:
    """What nobody will pay any more; negative."""
    return "write_off"


def suspense() -> str:
    """Money whose owner is not known yet."""
    return "suspense"


def opening_equity() -> str:
    """The counterpart of balances and debts taken over when an account was opened."""
    return "equity:opening"


def closing_equity() -> str:
    """Where closings stand; always zero."""
    return "equity:closing"


NEVER_NEGATIVE = ("undelivered:", "pending:", "suspense")
NEVER_POSITIVE = ("debt:", "emergency:", "write_off")
"""How accounts begin that have only one sign: nobody owes less than nothing, nothing is delivered that was not paid."""


def wrong_sign(account: str, micro: int) -> bool:
    """Whether this account cannot have this balance."""
    return bool(micro) and account.startswith(NEVER_NEGATIVE if micro < 0 else NEVER_POSITIVE)


# Entries. Each builder refuses what is unbalanced, no integer, or says nothing.


def moved(kind: EntryKind, currency: str, source: str, target: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """So many micro-units, more than zero, from one account to another."""
    if type(micro) is not int or not 0 < micro <= MOST_MICRO:
        raise ValueError(f"{kind.value}: an amount is a whole number of micro-units above zero, not {micro!r}")
    if source == target:
        raise ValueError(f"{kind.value}: from {source} to itself nothing moves")
    return Entry(kind, currency, (Leg(target, micro), Leg(source, -micro)), at_ms, ref)


def opening(account: str, currency: str, micro: int, at_ms: int) -> Entry:
    """A balance taken over, credit or debt, not zero."""
    return _signed(EntryKind.OPENING, account, opening_equity(), currency, micro, at_ms, {"account": account})


def adjustment(account: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """A person gives or takes money by hand, not zero; `ref` must say who and why (`by`, `reason`)."""
    if not ref.get("by") or not ref.get("reason"):
        raise ValueError("an adjustment names who made it (by) and why (reason)")
    return _signed(EntryKind.ADJUSTMENT, account, revenue("adjustment"), currency, micro, at_ms, {**ref, "account": account})


def _signed(kind: EntryKind, account: str, other: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    if type(micro) is not int or micro == 0:
        raise ValueError(f"{kind.value}: an amount is a whole number of micro-units other than zero, not {micro!r}")
    return Entry(kind, currency, (Leg(customer(account), micro), Leg(other, -micro)), at_ms, ref)


def charge(
    account: str, currency: str, parts: Mapping[str, int], at_ms: int, ref: Mapping[str, str], kind: EntryKind = EntryKind.CHARGE
) -> Entry:
    """What a customer owes by component of revenue; parts may be negative (an allowance), and all zero where energy was free."""
    if any(type(micro) is not int for micro in parts.values()):
        raise ValueError(f"{kind.value}: amounts are whole micro-units, not {dict(parts)}")
    legs = [Leg(revenue(component), micro) for component, micro in sorted(parts.items()) if micro]
    owed = Leg(customer(account), -sum(leg.micro for leg in legs))
    return Entry(kind, currency, (owed, *(legs or [Leg(revenue("energy"), 0)])), at_ms, ref)


def fee(account: str, currency: str, component: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """A fee of its own, outside a period's charge."""
    return moved(EntryKind.FEE, currency, customer(account), revenue(component), micro, at_ms, ref)


def late_fee(account: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """What arrears cost (prepayment.md a5)."""
    return moved(EntryKind.LATE_FEE, currency, customer(account), revenue("late_fee"), micro, at_ms, ref)


def indebted(account: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str], to: str | None = None) -> Entry:
    """A debt apart from the balance: taken over with the account, or from the account `to` (customer(...): out of the balance)."""
    return moved(EntryKind.DEBT, currency, debt(account), to or opening_equity(), micro, at_ms, ref)


def debt_recovery(account: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """A share of what was paid goes to the debt."""
    return moved(EntryKind.DEBT_RECOVERY, currency, customer(account), debt(account), micro, at_ms, ref)


def emergency_credit(account: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """Credit lent, spendable at once."""
    return moved(EntryKind.EMERGENCY, currency, emergency(account), customer(account), micro, at_ms, ref)


def emergency_recovery(account: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """Emergency credit given back out of what was paid."""
    return moved(EntryKind.EMERGENCY_RECOVERY, currency, customer(account), emergency(account), micro, at_ms, ref)


def written_off(owed: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """What is owed on this account (debt, emergency, an overdrawn customer) and nobody will pay."""
    return moved(EntryKind.WRITE_OFF, currency, write_off(), owed, micro, at_ms, ref)


def suspended(bank: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """Money came in and nobody knows for whom."""
    return moved(EntryKind.SUSPENSE, currency, bank_clearing(bank), suspense(), micro, at_ms, ref)


def settled(bank: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """What a bank took in for us has arrived: it owes so much less."""
    return moved(EntryKind.SETTLEMENT, currency, cash(), bank_clearing(bank), micro, at_ms, ref)


def identified(account: str, currency: str, micro: int, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """Suspended money found its owner."""
    return moved(EntryKind.SUSPENSE, currency, suspense(), customer(account), micro, at_ms, ref)


def off_account(account: str, currency: str, meter: str, wh: int, at_ms: int) -> Entry:
    """From here on nobody pays for this meter, billed to this register; the next charge may begin at a higher one."""
    ref = {"meter": meter, TOTAL: f"{wh}-{wh}", "change": OFF_ACCOUNT}
    return Entry(EntryKind.REGISTER, currency, (Leg(customer(account), 0), Leg(revenue("energy"), 0)), at_ms, ref)


OFF_ACCOUNT = "off_account"


def reversal(original: PostedEntry, at_ms: int, why: Mapping[str, str]) -> Entry:
    """The same legs with the other sign, linked by `reverses`. ValueError for a kind that is never reversed."""
    entry = original.entry
    if entry.kind in FINAL:
        raise ValueError(f"entry {original.number} is a {entry.kind.value}: it is never reversed")
    legs = tuple(Leg(leg.account, -leg.micro) for leg in entry.legs)
    return Entry(EntryKind.REVERSAL, entry.currency, legs, at_ms, {**why, "reverses": str(original.number)})


def correction(
    original: PostedEntry, reversed_by: int, legs: Sequence[Leg], at_ms: int, ref: Mapping[str, str], why: Mapping[str, str]
) -> Entry:
    """What should have been posted instead, linked by `corrects` and `reversal`; about the same meter and energy, if about one."""
    links = {"corrects": str(original.number), "reversal": str(reversed_by)}
    old = original.entry.ref
    same = {key: old[key] for key in ("meter", TOTAL) if key in old}
    if any(ref.get(key, value) != value for key, value in same.items()):
        raise ValueError(f"a correction of entry {original.number} is about the same meter and energy: {same}")
    return Entry(EntryKind.CORRECTION, original.entry.currency, tuple(legs), at_ms, {**ref, **same, **why, **links})


def closing(upto: int, hash_: str, digest: str, at_ms: int, ref: Mapping[str, str]) -> Entry:
    """The journal up to this entry is closed: its hash, and the digest of the balances and open ends that it left."""
    links = {"upto": str(upto), "hash": hash_, "digest": digest}
    legs = (Leg(closing_equity(), 0), Leg(closing_equity(), 0))
    return Entry(EntryKind.CLOSING, NO_CURRENCY, legs, at_ms, {**ref, **links})


# The chain


def canonical(
    number: int, kind: str, currency: str, legs: Iterable[Sequence[object]], at_ms: int, ref: Mapping[str, str], previous: str
) -> str:
    """An entry as JSON with sorted keys and no spaces, as it is hashed. legs: account and micro, whatever follows them."""
    sides = ",".join([f"[{_quoted(leg[0])},{leg[1]}]" for leg in legs])  # type: ignore[arg-type]
    words = ",".join([f"{_quoted(key)}:{_quoted(ref[key])}" for key in sorted(ref)])
    return (
        f'{{"at_ms":{at_ms},"currency":{_quoted(currency)},"kind":{_quoted(kind)},"legs":[{sides}],'
        f'"number":{number},"previous":{_quoted(previous)},"ref":{{{words}}}}}'
    )


def entry_hash(number: int, entry: Entry, previous: str) -> str:
    """SHA-256 over the entry's canonical JSON, chained to the one before."""
    legs = [(leg.account, leg.micro) for leg in entry.legs]
    return sha256(canonical(number, entry.kind.value, entry.currency, legs, entry.at_ms, entry.ref, previous))


def row_hash(row: JournalRow) -> str | None:
    """The hash that a stored entry should have; None where its references cannot be read."""
    if row.ref is None:
        return None
    return sha256(canonical(row.number, row.kind, row.currency, row.legs, row.at_ms, row.ref, row.previous))


def sha256(text: str) -> str:
    """Of the text as UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def post(entry: Entry, last_number: int, last_hash: str) -> PostedEntry:
    """The entry as the next one of the journal."""
    number = last_number + 1
    return PostedEntry(number, entry, last_hash, entry_hash(number, entry, last_hash))


@dataclass(slots=True)
class Audit:
    """Recomputes a journal entry by entry: numbers, chain, sums, running balances. `finding`: the first thing wrong, in a sentence.

    running: the balances that legs carry, and the journal's time, are compared too.
    """

    number: int = 0
    hash: str = GENESIS
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    finding: str | None = None
    running: bool = True
    booked_ms: int = 0

    def take(self, rows: Iterable[JournalRow]) -> None:
        """Check the next entries in order; stops at the first finding."""
        for row in rows:
            if self.finding is not None or self.check(row) is not None:
                return

    def check(self, row: JournalRow) -> str | None:
        """The finding that the next entry brings, or None."""
        self.finding = self._chained(row) or self._summed(row)
        self.number, self.hash = row.number, row.hash
        return self.finding

    def _chained(self, row: JournalRow) -> str | None:
        if row.number != self.number + 1:
            return f"after entry {self.number} comes entry {row.number}: the numbers are not dense"
        if row.previous != self.hash:
            return f"entry {row.number} is not chained to the one before it"
        if row.hash != row_hash(row):
            return f"entry {row.number} was changed: its hash does not match its content"
        return None

    def _summed(self, row: JournalRow) -> str | None:
        balances, currency, total = self.balances, row.currency, 0
        for account, micro, after, _ in row.legs:
            key = (currency, account)
            balances[key] = now = balances.get(key, 0) + micro
            total += micro
            if now != after and self.running:
                return f"entry {row.number} says that {account} then has {after} micro-{currency}, its entries sum to {now}"
        if total or len(row.legs) < 2:
            return f"entry {row.number} does not balance"
        self.booked_ms = booked(self.booked_ms, row.at_ms)
        if row.booked_ms != self.booked_ms and self.running:
            return f"entry {row.number} is booked at {row.booked_ms}, but the journal then stands at {self.booked_ms}"
        return None

    def compare(self, stored: Mapping[tuple[str, str], int]) -> None:
        """The balances kept beside the journal must be the sums of its entries."""
        if self.finding is not None:
            return
        for key in sorted(set(self.balances) | set(stored)):
            if self.balances.get(key, 0) != stored.get(key, 0):
                self.finding = f"{key[1]} shows {stored.get(key, 0)} micro-{key[0]}, its entries sum to {self.balances.get(key, 0)}"
                return
