"""Double entry in integers, append only, with a hash chain (prepayment.md, "What we decided" 8).

Sign: a positive leg adds to the account named. A customer's positive balance is prepaid credit; the bank's account goes
negative by what it still owes us; revenue is positive. All accounts of a currency sum to zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

GENESIS = "0" * 64


class EntryKind(StrEnum):
    """What happened to the money."""

    TOPUP = "topup"
    CHARGE = "charge"
    OPENING = "opening"
    REGISTER = "register"


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
        if sum(leg.micro for leg in self.legs) != 0:
            raise ValueError(f"a ledger entry must balance: {self.legs}")
        if len(self.legs) < 2 or any(type(leg.micro) is not int for leg in self.legs):
            raise ValueError("a ledger entry has at least two legs in whole micro-units")


@dataclass(frozen=True, slots=True)
class PostedEntry:
    """An entry in the journal: dense rising number, the hash of the one before, and its own."""

    number: int
    entry: Entry
    previous: str
    hash: str


def customer(account: str) -> str:
    """The ledger account of a customer's prepaid balance."""
    return f"customer:{account}"


def bank_clearing(bank: str) -> str:
    """The ledger account of what a bank took in for us and has not yet paid over."""
    return f"bank:{bank}"


def revenue(component: str) -> str:
    """The ledger account of income by component."""
    return f"revenue:{component}"


def opening_equity() -> str:
    """The counterpart of balances taken over when an account was opened."""
    return "equity:opening"


def entry_hash(number: int, entry: Entry, previous: str) -> str:
    """SHA-256 over the entry's canonical JSON, chained to the one before."""
    body = {
        "number": number,
        "kind": entry.kind.value,
        "currency": entry.currency,
        "legs": [[leg.account, leg.micro] for leg in entry.legs],
        "at_ms": entry.at_ms,
        "ref": dict(entry.ref),
        "previous": previous,
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def post(entry: Entry, last_number: int, last_hash: str) -> PostedEntry:
    """The entry as the next one of the journal."""
    number = last_number + 1
    return PostedEntry(number, entry, last_hash, entry_hash(number, entry, last_hash))


@dataclass(slots=True)
class Audit:
    """Recomputes a journal entry by entry; `finding` is the first thing wrong, in one sentence."""

    number: int = 0
    hash: str = GENESIS
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    finding: str | None = None

    def take(self, entries: Iterable[PostedEntry]) -> None:
        """Check the next entries in order; stops at the first finding."""
        for posted in entries:
            if self.finding is not None:
                return
            self._take(posted)

    def _take(self, posted: PostedEntry) -> None:
        if posted.number != self.number + 1:
            self.finding = f"after entry {self.number} comes entry {posted.number}: the numbers are not dense"
        elif posted.previous != self.hash:
            self.finding = f"entry {posted.number} is not chained to the one before it"
        elif posted.hash != entry_hash(posted.number, posted.entry, posted.previous):
            self.finding = f"entry {posted.number} was changed: its hash does not match its content"
        self.number, self.hash = posted.number, posted.hash
        for leg in posted.entry.legs:
            key = (posted.entry.currency, leg.account)
            self.balances[key] = self.balances.get(key, 0) + leg.micro

    def compare(self, stored: Mapping[tuple[str, str], int]) -> None:
        """The balances kept beside the journal must be the sums of its entries, and sum to zero by currency."""
        if self.finding is not None:
            return
        for key in sorted(set(self.balances) | set(stored)):
            if self.balances.get(key, 0) != stored.get(key, 0):
                self.finding = f"{key[1]} shows {stored.get(key, 0)} micro-{key[0]}, its entries sum to {self.balances.get(key, 0)}"
                return
