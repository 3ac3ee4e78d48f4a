"""What the use cases need of a store for banks: part of `ports.Tx`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.domain.bank_acts import BookedRefund, BookedReversal, BookedSettlement, ClosedDay
from gateway.domain.day_file import DayLine
from gateway.domain.differences import DayBook, Difference, Resolution
from gateway.domain.records import Counted, DayKey
from gateway.domain.requests import PaymentIdentity


class BankTx(Protocol):
    """Reversals, day files, settlements and mandates within one transaction. Dates are ISO; money is micro-units."""

    # reversals and refunds
    def mark_reversed(self, identity: PaymentIdentity) -> None:
        """The payment was undone; nothing else of it ever changes."""

    def seal_receipt(self, identity: PaymentIdentity, jws: str) -> None:
        """The receipt of this payment is signed so, for ever. LookupError where there is none, or it is signed already."""

    def bank_reversal(self, identity: PaymentIdentity) -> BookedReversal | None:
        """Of this payment."""

    def add_bank_reversal(self, reversal: BookedReversal) -> None:
        """Duplicate if the payment has one."""

    def save_bank_reversal(self, reversal: BookedReversal) -> None:
        """What became of one that was pending; refused for one that is decided."""

    def set_aside(self, identity: PaymentIdentity) -> None:
        """Two people decided that this payment and its reversal are not part of the bank's day (Origin.RESOLUTION)."""

    def reversals_posted(self, after: int, upto: int) -> Sequence[BookedReversal]:
        """Those done by entries of these numbers (after < number <= upto)."""

    def refunds_posted(self, after: int, upto: int) -> Sequence[BookedRefund]:
        """The same of refunds."""

    def settlements_posted(self, after: int, upto: int) -> Sequence[BookedSettlement]:
        """The same of settlements."""

    def pending_reversals(self) -> Sequence[BookedReversal]:
        """Oldest first."""

    def bank_refund(self, identity: PaymentIdentity) -> BookedRefund | None: ...
    def add_bank_refund(self, refund: BookedRefund) -> None:
        """Duplicate if the identity is known."""

    def save_bank_refund(self, refund: BookedRefund) -> None:
        """What became of one that was asked; refused for one that has ended."""

    def refunds_of(self, original: PaymentIdentity) -> Sequence[BookedRefund]:
        """All that were asked for a payment, by serial."""

    # settlements
    def settlement(self, bank: str, fund_batch: str) -> BookedSettlement | None: ...
    def add_settlement(self, settlement: BookedSettlement) -> None:
        """Duplicate if the bank's fund batch is known."""

    def settlements(self, bank: str, accounting_date: str) -> Sequence[BookedSettlement]:
        """Those of a day, by fund batch."""

    # days
    def closed_day(self, bank: str, accounting_date: str) -> ClosedDay | None: ...
    def close_day(self, day: ClosedDay) -> None:
        """Duplicate if it is closed."""

    def closed_days(self) -> Sequence[ClosedDay]:
        """By bank and date."""

    def day_lines(self, bank: str, accounting_date: str, after: DayKey | None, limit: int) -> Sequence[tuple[DayKey, DayLine]]:
        """What we have of a day, as its statement says it: payments, then reversals, then refunds, each by identity.

        A payment that two people undid (Origin.RESOLUTION) is not in it, nor is its reversal. after: the key of the last line read.
        """

    def day_totals(self, bank: str, accounting_date: str) -> tuple[int, Mapping[str, int]]:
        """How many lines the statement has, and their net sum by currency."""

    def account_taken(self, bank: str, accounting_date: str, account: str, currency: str, channel: str = "") -> Counted:
        """Posted payments to one account on one day; through one channel where it is named."""

    def takings(self, bank: str, accounting_date: str, part: str) -> Counted | None:
        """The running sum of a part of a day (`` for all of it, or `channel:NAME`); None where nobody counts it yet."""

    def count_takings(self, bank: str, accounting_date: str, part: str, currency: str) -> Counted:
        """The same from the payments themselves: slow on a long day."""

    def save_takings(self, bank: str, accounting_date: str, part: str, takings: Counted) -> None: ...

    # reconciliation
    def day_book(self, bank: str, accounting_date: str, version: int | None = None) -> DayBook | None:
        """The result of an upload, by default of the newest."""

    def save_day_book(self, book: DayBook) -> None:
        """A new version, or what became of one that was running."""

    def add_differences(self, bank: str, accounting_date: str, version: int, found: Sequence[Difference]) -> None:
        """In their order, numbered from 1."""

    def differences(
        self, bank: str, accounting_date: str, version: int, after: int, limit: int
    ) -> Sequence[tuple[int, Difference]]:
        """By number."""

    def resolutions(self, bank: str, accounting_date: str) -> Mapping[str, Resolution]:
        """What was decided for this day's differences, by what they are about (Difference.about)."""

    def resolution(self, bank: str, accounting_date: str, about: str) -> Resolution | None: ...
    def save_resolution(self, bank: str, accounting_date: str, resolution: Resolution) -> None:
        """Asked or decided; what is done stays."""

    def count_open(self, bank: str, accounting_date: str, version: int) -> Mapping[str, int]:
        """Of the differences that nobody resolved, how many of each kind."""
