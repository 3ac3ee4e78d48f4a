"""The banks' share of the store in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from gateway.domain import day_file
from gateway.domain.bank_acts import (
    BookedRefund,
    BookedReversal,
    BookedSettlement,
    ClosedDay,
    Origin,
    RefundState,
    ReversalState,
)
from gateway.domain.day_file import DayLine
from gateway.domain.differences import DayBook, Difference, Resolution
from gateway.domain.records import Counted, DayKey, Payment
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import format_money
from gateway.services.ports import Duplicate
from tests.gateway.services.memory_money import MemoryMoney

Day = tuple[str, str]


@dataclass
class MemoryBank:
    """`bank_ports.BankTx` on dictionaries, beside MemoryMoney."""

    kept_bank_reversals: dict[PaymentIdentity, BookedReversal] = field(default_factory=dict)
    kept_refunds: dict[PaymentIdentity, BookedRefund] = field(default_factory=dict)
    kept_settlements: dict[tuple[str, str], BookedSettlement] = field(default_factory=dict)
    kept_days: dict[Day, ClosedDay] = field(default_factory=dict)
    kept_takings: dict[tuple[str, str, str], Counted] = field(default_factory=dict)
    kept_books: dict[tuple[str, str, int], DayBook] = field(default_factory=dict)
    kept_differences: dict[tuple[str, str, int], tuple[Difference, ...]] = field(default_factory=dict)
    kept_resolutions: dict[tuple[str, str, str], Resolution] = field(default_factory=dict)

    @property
    def _money(self) -> MemoryMoney:
        return cast(MemoryMoney, self)

    def mark_reversed(self, identity: PaymentIdentity) -> None:
        known = self._money.payments.get(identity)
        if known is None or known.status != "posted":
            raise LookupError(f"the payment {identity} is not posted")
        self._money.payments[identity] = replace(known, status="reversed")

    def seal_receipt(self, identity: PaymentIdentity, jws: str) -> None:
        known = self._money.payments.get(identity)
        if known is None or known.receipt is None or known.receipt_jws is not None:
            raise LookupError(f"the payment {identity} has no receipt that is not signed")
        self._money.payments[identity] = replace(known, receipt_jws=jws)

    def bank_reversal(self, identity: PaymentIdentity) -> BookedReversal | None:
        return self.kept_bank_reversals.get(identity)

    def add_bank_reversal(self, reversal: BookedReversal) -> None:
        if reversal.identity in self.kept_bank_reversals:
            raise Duplicate(f"the payment {reversal.identity} has its reversal already")
        if reversal.identity not in self._money.payments:
            raise LookupError(f"foreign key: there is no payment {reversal.identity}")
        self._sound(reversal.state is ReversalState.DONE, reversal.entry)
        self.kept_bank_reversals[reversal.identity] = reversal

    def save_bank_reversal(self, reversal: BookedReversal) -> None:
        known = self.kept_bank_reversals.get(reversal.identity)
        if known is None or known.state is not ReversalState.PENDING:
            raise LookupError(f"the reversal of {reversal.identity} is decided, or was never added")
        self._sound(reversal.state is ReversalState.DONE, reversal.entry)
        new = {name: getattr(reversal, name) for name in ("state", "decided_ms", "entry", "document", "detail")}
        self.kept_bank_reversals[reversal.identity] = replace(known, **new)

    def _sound(self, booked: bool, entry: int | None) -> None:
        if booked is not (entry is not None) or (entry is not None and self._money.entry(entry) is None):
            raise ValueError("check: what is booked names its entry, and nothing else does")

    def set_aside(self, identity: PaymentIdentity) -> None:
        if identity not in self.kept_bank_reversals:
            raise LookupError(f"the payment {identity} has no reversal")
        self.kept_bank_reversals[identity] = replace(self.kept_bank_reversals[identity], origin=Origin.RESOLUTION)

    def reversals_posted(self, after: int, upto: int) -> Sequence[BookedReversal]:
        return [each for each in self.kept_bank_reversals.values() if each.entry is not None and after < each.entry <= upto]

    def refunds_posted(self, after: int, upto: int) -> Sequence[BookedRefund]:
        return [each for each in self.kept_refunds.values() if each.entry is not None and after < each.entry <= upto]

    def settlements_posted(self, after: int, upto: int) -> Sequence[BookedSettlement]:
        return [each for each in self.kept_settlements.values() if after < each.entry <= upto]

    def pending_reversals(self) -> Sequence[BookedReversal]:
        waits = (each for each in self.kept_bank_reversals.values() if each.state is ReversalState.PENDING)
        return sorted(waits, key=lambda each: (each.at_ms, each.identity.serial))

    def bank_refund(self, identity: PaymentIdentity) -> BookedRefund | None:
        return self.kept_refunds.get(identity)

    def add_bank_refund(self, refund: BookedRefund) -> None:
        if refund.identity in self.kept_refunds:
            raise Duplicate(f"the refund {refund.identity} is known already")
        if refund.original not in self._money.payments:
            raise LookupError(f"foreign key: there is no payment {refund.original}")
        self._sound(refund.state is RefundState.PAID, refund.entry)
        self.kept_refunds[refund.identity] = refund

    def save_bank_refund(self, refund: BookedRefund) -> None:
        known = self.kept_refunds.get(refund.identity)
        if known is None or known.state is not RefundState.ASKED:
            raise LookupError(f"the refund {refund.identity} has ended, or was never added")
        self._sound(refund.state is RefundState.PAID, refund.entry)
        self.kept_refunds[refund.identity] = replace(known, state=refund.state, entry=refund.entry, document=refund.document)

    def refunds_of(self, original: PaymentIdentity) -> Sequence[BookedRefund]:
        found = (each for each in self.kept_refunds.values() if each.original == original)
        return sorted(found, key=lambda each: (each.identity.institution, each.identity.scope, each.identity.serial))

    def settlement(self, bank: str, fund_batch: str) -> BookedSettlement | None:
        return self.kept_settlements.get((bank, fund_batch))

    def add_settlement(self, settlement: BookedSettlement) -> None:
        key = (settlement.bank, settlement.fund_batch)
        if key in self.kept_settlements:
            raise Duplicate(f"fund batch {settlement.fund_batch} of bank {settlement.bank} is booked already")
        if self._money.entry(settlement.entry) is None:
            raise LookupError(f"foreign key: there is no entry {settlement.entry}")
        self.kept_settlements[key] = settlement

    def settlements(self, bank: str, accounting_date: str) -> Sequence[BookedSettlement]:
        found = (each for each in self.kept_settlements.values() if (each.bank, each.accounting_date) == (bank, accounting_date))
        return sorted(found, key=lambda each: each.fund_batch)

    def closed_day(self, bank: str, accounting_date: str) -> ClosedDay | None:
        return self.kept_days.get((bank, accounting_date))

    def close_day(self, day: ClosedDay) -> None:
        key = (day.bank, day.accounting_date)
        if key in self.kept_days:
            raise Duplicate(f"accounting date {day.accounting_date} of bank {day.bank} is closed already")
        self.kept_days[key] = day

    def closed_days(self) -> Sequence[ClosedDay]:
        return [self.kept_days[key] for key in sorted(self.kept_days)]

    def _aside(self, payment: Payment) -> bool:
        undone = self.kept_bank_reversals.get(payment.identity)
        return undone is not None and undone.origin is Origin.RESOLUTION and undone.state is ReversalState.DONE

    def _day(self, bank: str, date: str) -> list[tuple[DayKey, DayLine, int]]:
        """Lines, each with what it adds, in micro-units."""
        found = []
        for who, payment in self._money.payments.items():
            if (who.bank, payment.accounting_date) == (bank, date) and payment.entry is not None and not self._aside(payment):
                amount = format_money(payment.amount_micro, payment.currency)
                line = DayLine(who.serial, payment.account, amount, payment.currency, day_file.TOPUP, "", payment.paid_at,
                               payment.channel, who.institution)  # fmt: skip
                found.append((DayKey(0, who.institution, who.scope, who.serial), line, payment.amount_micro))
        for who, undone in self.kept_bank_reversals.items():
            of_day = (who.bank, undone.accounting_date) == (bank, date)
            if of_day and undone.state is ReversalState.DONE and undone.origin is Origin.BANK:
                amount = format_money(undone.amount_micro, undone.currency)
                line = DayLine(undone.reversal_serial, undone.account, amount, undone.currency, day_file.REVERSAL, who.serial,
                               undone.requested_at, "", who.institution)  # fmt: skip
                found.append((DayKey(1, who.institution, who.scope, who.serial), line, -undone.amount_micro))
        for who, given in self.kept_refunds.items():
            if (who.bank, given.accounting_date) == (bank, date) and given.state is RefundState.PAID:
                amount = format_money(given.amount_micro, given.currency)
                line = DayLine(who.serial, given.account, amount, given.currency, day_file.REFUND, given.original.serial,
                               day_file.moment(given.at_ms), "", who.institution)  # fmt: skip
                found.append((DayKey(2, who.institution, who.scope, who.serial), line, -given.amount_micro))
        return sorted(found, key=lambda each: each[0])

    def day_lines(self, bank: str, accounting_date: str, after: DayKey | None, limit: int) -> Sequence[tuple[DayKey, DayLine]]:
        return [(key, line) for key, line, _ in self._day(bank, accounting_date) if after is None or key > after][:limit]

    def day_totals(self, bank: str, accounting_date: str) -> tuple[int, Mapping[str, int]]:
        lines, sums = self._day(bank, accounting_date), dict[str, int]()
        for _, line, micro in lines:
            sums[line.currency] = sums.get(line.currency, 0) + micro
        return len(lines), sums

    def _counted(self, bank: str, date: str, currency: str, **more: str) -> Counted:
        found = [
            payment.amount_micro
            for who, payment in self._money.payments.items()
            if (who.bank, payment.accounting_date, payment.currency, payment.status) == (bank, date, currency, "posted")
            and all(getattr(payment, name) == value for name, value in more.items())
        ]
        return Counted(len(found), sum(found))

    def account_taken(self, bank: str, accounting_date: str, account: str, currency: str, channel: str = "") -> Counted:
        more = {"channel": channel} if channel else {}
        return self._counted(bank, accounting_date, currency, account=account, **more)

    def takings(self, bank: str, accounting_date: str, part: str) -> Counted | None:
        return self.kept_takings.get((bank, accounting_date, part))

    def count_takings(self, bank: str, accounting_date: str, part: str, currency: str) -> Counted:
        more = {"channel": part.removeprefix("channel:")} if part.startswith("channel:") else {}
        return self._counted(bank, accounting_date, currency, **more)

    def save_takings(self, bank: str, accounting_date: str, part: str, takings: Counted) -> None:
        self.kept_takings[bank, accounting_date, part] = takings

    def day_book(self, bank: str, accounting_date: str, version: int | None = None) -> DayBook | None:
        versions = [key for key in self.kept_books if key[:2] == (bank, accounting_date) and version in (None, key[2])]
        return self.kept_books[max(versions)] if versions else None

    def save_day_book(self, book: DayBook) -> None:
        self.kept_books[book.bank, book.accounting_date, book.version] = book

    def add_differences(self, bank: str, accounting_date: str, version: int, found: Sequence[Difference]) -> None:
        if (bank, accounting_date, version) not in self.kept_books:
            raise LookupError(f"foreign key: there is no version {version} of {accounting_date}")
        self.kept_differences[bank, accounting_date, version] = tuple(found)

    def differences(
        self, bank: str, accounting_date: str, version: int, after: int, limit: int
    ) -> Sequence[tuple[int, Difference]]:
        kept = self.kept_differences.get((bank, accounting_date, version), ())
        return [(number, each) for number, each in enumerate(kept, 1) if number > after][:limit]

    def resolutions(self, bank: str, accounting_date: str) -> Mapping[str, Resolution]:
        return {key[2]: each for key, each in self.kept_resolutions.items() if key[:2] == (bank, accounting_date)}

    def resolution(self, bank: str, accounting_date: str, about: str) -> Resolution | None:
        return self.kept_resolutions.get((bank, accounting_date, about))

    def save_resolution(self, bank: str, accounting_date: str, resolution: Resolution) -> None:
        key = (bank, accounting_date, resolution.about)
        if key in self.kept_resolutions and self.kept_resolutions[key].state == "done":
            raise LookupError(f"the difference {resolution.about} is resolved already")
        self.kept_resolutions[key] = resolution

    def count_open(self, bank: str, accounting_date: str, version: int) -> Mapping[str, int]:
        done = {about for about, each in self.resolutions(bank, accounting_date).items() if each.state == "done"}
        kept = self.kept_differences.get((bank, accounting_date, version), ())
        return dict(sorted(Counter(each.kind.value for each in kept if each.about not in done).items()))
