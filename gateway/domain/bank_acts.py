"""What a bank does with a payment after it was made: takes it back, gives money back, pays over what it took in (contract.md 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from gateway.domain.records import Payment
from gateway.domain.requests import PaymentIdentity

DECIDED_WITHIN_MS = 15 * 60 * 1000
"""So long a reversal of money on its way into a meter waits for the purchase count; then the payment stands (contract.md 3)."""


class ReversalState(StrEnum):
    """What became of a reversal. PENDING waits for a meter's purchase count; the others are for ever.

    DONE: the payment is undone by an entry. TOMBSTONE: nothing was paid, and never will be under this identity. STANDS: the money
    is in the meter, or nobody could say in time.
    """

    PENDING = "pending"
    DONE = "done"
    TOMBSTONE = "tombstone"
    STANDS = "stands"


class Origin(StrEnum):
    """Who undid a payment: its bank, whose file then has it too; or two people who resolved a difference."""

    BANK = "bank"
    RESOLUTION = "resolution"


@dataclass(frozen=True, slots=True)
class Reversal:
    """A bank, or two people, ask that a payment (identity) be undone, whole. reversal_serial: the bank's own for this."""

    identity: PaymentIdentity
    reversal_serial: str
    accounting_date: date
    amount_micro: int
    currency: str
    reason: str
    requested_at: datetime
    origin: Origin = Origin.BANK


@dataclass(frozen=True, slots=True)
class BookedReversal:
    """A reversal as it is kept, one for each payment. Fields as first said; a later reversal_serial changes nothing.

    account: empty for a tombstone. entry: the ledger's. document: what the bank is told of it, JSON, byte for byte the same for
    ever; empty while it is pending, and where the payment stands. detail: why it stands. Times in UTC ms.
    """

    identity: PaymentIdentity
    reversal_serial: str
    accounting_date: str
    account: str
    amount_micro: int
    currency: str
    reason: str
    requested_at: str
    origin: Origin
    state: ReversalState
    at_ms: int
    decided_ms: int | None = None
    entry: int | None = None
    document: str = ""
    detail: str = ""


class ReversalVerdict(StrEnum):
    """The answer to a reversal (contract.md 3, with its HTTP status): 200, 200, 200, 202, 409, 409."""

    REVERSED = "reversed"
    TOMBSTONE = "tombstone"
    NOTHING = "nothing"
    PENDING = "pending"
    DELIVERED = "delivered"
    DAY_CLOSED = "day_closed"


@dataclass(frozen=True, slots=True)
class ReversalOutcome:
    """What became of it. payment: as it now is (a tombstone has no entry); delivery: where the customer's credit is.

    detail: why not, in one sentence, for DELIVERED and DAY_CLOSED. repeated: it was asked for before.
    """

    verdict: ReversalVerdict
    payment: Payment
    reversal: BookedReversal | None = None
    delivery: str = "none"
    detail: str = ""
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Quote:
    """What a top-up would do now. Micro-units; `next` as on a receipt; balance: after it."""

    account: str
    currency: str
    amount_micro: int
    to_credit_micro: int
    to_debt_micro: int
    fees_micro: int
    balance_micro: int
    next: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an account would take now, in one payment, and what is owed there by kind. Micro-units; taken: whether it takes any."""

    balance_micro: int
    lowest_micro: int
    highest_micro: int
    debts_micro: Mapping[str, int]
    taken: bool


class RefundState(StrEnum):
    """ASKED: put aside, waits for its second person. PAID: the bank gives it out. VOIDED: it went back to the account."""

    ASKED = "asked"
    PAID = "paid"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Refund:
    """A bank asks to give money of a payment back on a later day. identity: its own; original: the payment's. today: as TopUp's."""

    identity: PaymentIdentity
    original: PaymentIdentity
    accounting_date: date
    today: date
    amount_micro: int
    currency: str
    reason: str


@dataclass(frozen=True, slots=True)
class BookedRefund:
    """A refund as it is kept. entry: the ledger's that paid it, None before. document: as told once it is paid."""

    identity: PaymentIdentity
    original: PaymentIdentity
    accounting_date: str
    account: str
    amount_micro: int
    currency: str
    reason: str
    state: RefundState
    at_ms: int
    entry: int | None = None
    document: str = ""

    @property
    def transfer(self) -> str:
        """The id of its two-phase transfer."""
        who = self.identity
        return f"bank_refund:{who.bank}:{who.institution}:{who.scope}:{who.serial}"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a bank paid over for an accounting date. fund_batch: its own number for the transfer, unique in this bank for ever."""

    bank: str
    fund_batch: str
    accounting_date: date
    amount_micro: int
    currency: str


@dataclass(frozen=True, slots=True)
class BookedSettlement:
    """A settlement as it is kept. document: what the bank is told, JSON, the same for ever."""

    bank: str
    fund_batch: str
    accounting_date: str
    amount_micro: int
    currency: str
    at_ms: int
    entry: int
    document: str


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """An accounting date of a bank that is closed: nothing is booked or undone on it any more. totals: micro-units by currency."""

    bank: str
    accounting_date: str
    version: int
    lines: int
    totals: dict[str, int]
    closed_ms: int
