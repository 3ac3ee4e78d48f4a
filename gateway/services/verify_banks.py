"""What banks took back, gave back and paid over, against the entries that say so; and each day's total against its statement
(prepayment.md, "What we decided" 8: bank entries of an accounting date equal the reconciliation total)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.domain.bank_acts import BookedRefund, BookedReversal, BookedSettlement, Origin
from gateway.domain.ledger import EntryKind, JournalRow, bank_clearing, cash
from gateway.domain.records import BankDay, Paid
from gateway.domain.requests import PaymentIdentity
from gateway.services.ports import Tx


@dataclass(slots=True)
class BankTrail:
    """Follows what every entry does to a bank's days. Feed it pages of the journal in order; `compare` ends it."""

    tx: Tx
    net: dict[BankDay, int] = field(default_factory=lambda: defaultdict(int))
    undone: dict[int, BookedReversal] = field(default_factory=dict)
    given: dict[int, BookedRefund] = field(default_factory=dict)
    settled: dict[int, BookedSettlement] = field(default_factory=dict)

    def page(self, after: int, upto: int) -> Iterator[int]:
        """Look up what the store keeps of these entries; the numbers of those that a bank's act posted."""
        self.undone = {each.entry or 0: each for each in self.tx.reversals_posted(after, upto)}
        self.given = {each.entry or 0: each for each in self.tx.refunds_posted(after, upto)}
        self.settled = {each.entry: each for each in self.tx.settlements_posted(after, upto)}
        yield from (*self.undone, *self.given, *self.settled)

    def take(self, row: JournalRow, paid: Paid | None) -> str | None:
        """The finding that this entry brings, or None. paid: the payment that it posted."""
        number, bad = row.number, f"entry {row.number} and the banks' books do not agree"
        if number in self.undone:
            return self._reversed(row, self.undone[number], bad)
        if number in self.given:
            return self._refunded(row, self.given[number], bad)
        if number in self.settled or row.kind == EntryKind.SETTLEMENT:
            return None if self._arrived(row) else f"{bad} on what was paid over"
        if paid is None:
            return None
        if paid.status == "reversed":
            undone = self.tx.bank_reversal(PaymentIdentity(paid.bank, paid.institution, paid.scope, paid.serial))
            if undone is None or undone.entry is None:
                return f"the payment {paid.bank} {paid.serial} is said to be reversed, and no entry reverses it"
            if undone.origin is Origin.RESOLUTION:
                return None
        self.net[BankDay(paid.bank, paid.accounting_date, paid.currency)] += paid.amount_micro
        return None

    def _reversed(self, row: JournalRow, undone: BookedReversal, bad: str) -> str | None:
        payment = self.tx.payment(undone.identity)
        legs = [leg[:2] for leg in row.legs]
        if (
            payment is None
            or payment.status != "reversed"
            or row.kind != EntryKind.REVERSAL
            or (row.ref or {}).get("reverses") != str(payment.entry)
            or (bank_clearing(undone.identity.bank), undone.amount_micro) not in legs
            or row.currency != undone.currency
        ):
            return f"{bad} on the reversal of {undone.identity.bank} {undone.identity.serial}"
        if undone.origin is Origin.BANK:
            self.net[BankDay(undone.identity.bank, undone.accounting_date, undone.currency)] -= undone.amount_micro
        return None

    def _refunded(self, row: JournalRow, given: BookedRefund, bad: str) -> str | None:
        ref, moved = row.ref or {}, (bank_clearing(given.identity.bank), given.amount_micro)
        said = (ref.get("transfer"), ref.get("accounting_date"), row.currency)
        if row.kind != EntryKind.TRANSFER_POSTED or row.legs[0][:2] != moved:
            return f"{bad} on the refund {given.identity.bank} {given.identity.serial}"
        if said != (given.transfer, given.accounting_date, given.currency):
            return f"{bad} on the refund {given.identity.bank} {given.identity.serial}"
        self.net[BankDay(given.identity.bank, given.accounting_date, given.currency)] -= given.amount_micro
        return None

    def _arrived(self, row: JournalRow) -> bool:
        kept = self.settled.get(row.number)
        if kept is None or row.kind != EntryKind.SETTLEMENT or row.currency != kept.currency:
            return False
        legs = [(bank_clearing(kept.bank), kept.amount_micro), (cash(), -kept.amount_micro)]
        ref = row.ref or {}
        named = (ref.get("bank"), ref.get("fund_batch"), ref.get("accounting_date"))
        return [leg[:2] for leg in row.legs] == legs and named == (kept.bank, kept.fund_batch, kept.accounting_date)

    def compare(self) -> str | None:
        """Every day's entries against its statement, and closed days against what they were closed with."""
        closed = {(day.bank, day.accounting_date): day for day in self.tx.closed_days()}
        days = {(day.bank, day.accounting_date) for day in self.net} | closed.keys()
        for bank, date in sorted(days):
            lines, stated = self.tx.day_totals(bank, date)
            posted = {day.currency: micro for day, micro in self.net.items() if (day.bank, day.accounting_date) == (bank, date)}
            for currency in sorted({*stated, *posted}):
                if stated.get(currency, 0) != posted.get(currency, 0):
                    said = f"its statement says {stated.get(currency, 0)} micro-{currency}, its entries {posted.get(currency, 0)}"
                    return f"bank {bank}, accounting date {date}: {said}"
            day = closed.get((bank, date))
            if day is not None and (day.lines, day.totals) != (lines, dict(stated)):
                return f"bank {bank}, accounting date {date} was closed with {day.lines} lines of {day.totals}, and now has {lines}"
        return None
