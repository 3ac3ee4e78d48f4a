"""The money's share of the store in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.domain.debt_terms import Accrual
from gateway.domain.estimates import Estimate
from gateway.domain.ledger import GENESIS, JournalRow, PostedEntry, booked
from gateway.domain.period_use import PeriodUse
from gateway.domain.price_list import Tariff
from gateway.domain.records import BankDay, Closing, Paid, Payment, Taken
from gateway.domain.requests import PaymentIdentity
from gateway.domain.statement import Move
from gateway.domain.transfers import RESOLVED, Transfer
from gateway.services.ports import Duplicate


@dataclass
class MemoryMoney:
    """`ports.Tx` on dictionaries and lists, as far as money goes. afters: running balances by entry, leg by leg."""

    journal: list[PostedEntry] = field(default_factory=list)
    sums: dict[tuple[str, str], int] = field(default_factory=dict)
    afters: dict[int, tuple[int, ...]] = field(default_factory=dict)
    payments: dict[PaymentIdentity, Payment] = field(default_factory=dict)
    kept_reversals: dict[int, int] = field(default_factory=dict)
    kept_transfers: dict[str, Transfer] = field(default_factory=dict)
    kept_closings: dict[int, tuple[Closing, str]] = field(default_factory=dict)
    price_lists: dict[str, Tariff] = field(default_factory=dict)
    uses: dict[tuple[str, str, str], PeriodUse] = field(default_factory=dict)
    kept_estimates: dict[int, Estimate] = field(default_factory=dict)
    kept_accruals: dict[str, Accrual] = field(default_factory=dict)

    def price_list(self, tariff: str) -> Tariff | None:
        return self.price_lists.get(tariff)

    def save_price_list(self, tariff: Tariff) -> None:
        self.price_lists[tariff.id] = tariff

    def period_use(self, account: str, tariff: str, period: str) -> PeriodUse | None:
        return self.uses.get((account, tariff, period))

    def save_period_use(self, account: str, tariff: str, use: PeriodUse) -> None:
        self.uses[account, tariff, use.period] = use

    def period_uses(self, account: str, tariff: str) -> Sequence[PeriodUse]:
        return [self.uses[key] for key in sorted(self.uses) if key[:2] == (account, tariff)]

    def priced(self, tariff: str) -> bool:
        return any(key[1] == tariff for key in self.uses)

    def add_estimate(self, estimate: Estimate) -> None:
        if estimate.entry in self.kept_estimates or self.entry(estimate.entry) is None or estimate.from_ms >= estimate.to_ms:
            raise ValueError(f"no estimate looks like {estimate}")
        self.kept_estimates[estimate.entry] = estimate

    def estimates_of(self, meter: str, at_ms: int) -> Sequence[Estimate]:
        found = [each for each in self.kept_estimates.values() if each.meter == meter and each.from_ms < at_ms < each.to_ms]
        return sorted(found, key=lambda each: each.entry)

    def open_estimates(self, meter: str) -> Sequence[Estimate]:
        return sorted((each for each in self.kept_estimates.values() if each.meter == meter), key=lambda each: each.entry)

    def drop_estimate(self, entry: int) -> None:
        self.kept_estimates.pop(entry, None)

    def drop_estimates(self, meter: str, before_ms: int) -> None:
        for each in [*self.kept_estimates.values()]:
            if each.meter == meter and each.to_ms <= before_ms:
                del self.kept_estimates[each.entry]

    def accrual(self, account: str) -> Accrual | None:
        return self.kept_accruals.get(account)

    def save_accrual(self, accrual: Accrual) -> None:
        self.kept_accruals[accrual.account] = accrual

    def journal_end(self) -> tuple[int, str]:
        return (self.journal[-1].number, self.journal[-1].hash) if self.journal else (0, GENESIS)

    def add_entry(self, posted: PostedEntry) -> None:
        last, hash_ = self.journal_end()
        if posted.number <= last:
            raise Duplicate(f"ledger entry {posted.number} is there already")
        if posted.number != last + 1 or posted.previous != hash_:
            raise ValueError(f"entry {posted.number}: the journal goes on from {last} without a hole")
        self.journal.append(posted)
        after = []
        for leg in posted.entry.legs:
            key = (posted.entry.currency, leg.account)
            self.sums[key] = self.sums.get(key, 0) + leg.micro
            after.append(self.sums[key])
        self.afters[posted.number] = tuple(after)

    def entry(self, number: int) -> PostedEntry | None:
        return next((posted for posted in self.journal if posted.number == number), None)

    def entries(self, after: int, limit: int) -> Sequence[PostedEntry]:
        return [posted for posted in self.journal if posted.number > after][:limit]

    def journal_rows(self, after: int, limit: int) -> Sequence[JournalRow]:
        booked_ms = self._booked()
        return [self._row(posted, booked_ms[posted.number]) for posted in self.entries(after, limit)]

    def _row(self, posted: PostedEntry, booked_ms: int) -> JournalRow:
        entry, after = posted.entry, self.afters.get(posted.number, ())
        padded = [*after, *(0 for _ in entry.legs)]
        legs = [(leg.account, leg.micro, now, posted.number) for leg, now in zip(entry.legs, padded, strict=False)]
        return JournalRow(
            posted.number, entry.kind.value, entry.currency, entry.at_ms, entry.ref, posted.previous, posted.hash, booked_ms, legs
        )

    def _touching(self, ledger_account: str) -> list[PostedEntry]:
        return [p for p in self.journal if any(leg.account == ledger_account for leg in p.entry.legs)]

    def entries_of(self, ledger_account: str, limit: int) -> Sequence[PostedEntry]:
        return [*reversed(self._touching(ledger_account))][:limit]

    def entries_on(self, ledger_account: str, after: int, upto: int, limit: int) -> Sequence[PostedEntry]:
        return [posted for posted in self._touching(ledger_account) if after < posted.number <= upto][:limit]

    def moves_on(self, ledger_account: str, after: int, upto: int, limit: int) -> Sequence[Move]:
        moves = []
        for posted in self.entries_on(ledger_account, after, upto, limit):
            entry, micro = posted.entry, sum(leg.micro for leg in posted.entry.legs if leg.account == ledger_account)
            moves.append(Move(posted.number, entry.kind.value, entry.currency, entry.at_ms, entry.ref, micro))
        return moves

    def entry_before(self, at_ms: int) -> int:
        return sum(booked_ms < at_ms for booked_ms in self._booked().values())

    def _booked(self) -> dict[int, int]:
        found, now = {}, 0
        for posted in self.journal:
            found[posted.number] = now = booked(now, posted.entry.at_ms)
        return found

    def balance(self, ledger_account: str, currency: str) -> int:
        return self.sums.get((currency, ledger_account), 0)

    def balance_at(self, ledger_account: str, currency: str, number: int) -> int:
        upto = [p.entry for p in self.journal if p.number <= number and p.entry.currency == currency]
        return sum(leg.micro for entry in upto for leg in entry.legs if leg.account == ledger_account)

    def balances(self) -> Mapping[tuple[str, str], int]:
        return dict(self.sums)

    def taken(self, first: str, last: str) -> Sequence[Taken]:
        sums: dict[tuple[str, str], list[int]] = {}
        for payment in self.payments.values():
            if payment.status == "posted" and first <= payment.accounting_date <= last:
                sums.setdefault((payment.identity.bank, payment.currency), []).append(payment.amount_micro)
        return [Taken(bank, currency, len(all_), sum(all_)) for (bank, currency), all_ in sorted(sums.items())]

    def payment(self, identity: PaymentIdentity) -> Payment | None:
        return self.payments.get(identity)

    def add_payment(self, payment: Payment) -> None:
        if payment.identity in self.payments:
            raise Duplicate(f"the payment {payment.identity} is known already")
        refused = payment.problem is not None and payment.receipt is None and payment.entry is None
        sound = {"posted": payment.entry is not None, "reversed": True, "refused": refused}.get(payment.status, False)
        if not sound or payment.amount_micro <= 0:
            raise ValueError(f"check: no payment looks like {payment}")
        self.payments[payment.identity] = payment

    def _paid(self) -> list[Paid]:
        return [
            Paid(
                p.entry,
                i.bank,
                i.institution,
                i.scope,
                i.serial,
                p.account,
                p.amount_micro,
                p.currency,
                p.accounting_date,
                p.status,
            )
            for i, p in self.payments.items()
            if p.entry is not None
        ]

    def paid(self, after: int, upto: int) -> Sequence[Paid]:
        return [paid for paid in self._paid() if after < paid.entry <= upto]

    def paid_by_day(self) -> Mapping[BankDay, int]:
        sums: dict[BankDay, int] = defaultdict(int)
        for paid in self._paid():
            sums[BankDay(paid.bank, paid.accounting_date, paid.currency)] += paid.amount_micro
        return sums

    def add_reversal(self, entry: int, reverses: int) -> None:
        if reverses in self.kept_reversals.values():
            raise Duplicate(f"entry {reverses} is reversed already")
        made, original = self.entry(entry), self.entry(reverses)
        if made is None or original is None or reverses >= entry:
            raise LookupError(f"foreign key: entries {entry} and {reverses}")
        mirrored = [(leg.account, -leg.micro) for leg in original.entry.legs]
        same = [(leg.account, leg.micro) for leg in made.entry.legs] == mirrored
        if not same or made.entry.currency != original.entry.currency:
            raise ValueError("a reversal mirrors its entry leg by leg")
        self.kept_reversals[entry] = reverses

    def reversals(self, after: int, upto: int) -> Mapping[int, int]:
        return {entry: reverses for entry, reverses in self.kept_reversals.items() if after < entry <= upto}

    def reversed_by(self, number: int) -> int | None:
        return next((entry for entry, reverses in self.kept_reversals.items() if reverses == number), None)

    def transfer(self, transfer: str) -> Transfer | None:
        return self.kept_transfers.get(transfer)

    def add_transfer(self, transfer: Transfer) -> None:
        if transfer.id in self.kept_transfers:
            raise Duplicate(f"transfer {transfer.id} is known already")
        if self.entry(transfer.pending) is None:
            raise LookupError(f"foreign key: there is no entry {transfer.pending}")
        self._check_end(transfer)
        self.kept_transfers[transfer.id] = transfer

    def save_transfer(self, transfer: Transfer) -> None:
        known = self.kept_transfers.get(transfer.id)
        if known is None:
            raise LookupError(f"transfer {transfer.id} was never added")
        if known.resolved is not None:
            raise ValueError("a transfer ends once")
        self._check_end(transfer)
        self.kept_transfers[transfer.id] = transfer

    @staticmethod
    def _check_end(transfer: Transfer) -> None:
        ended = transfer.state in RESOLVED
        if ended != (transfer.resolved is not None) or ended != (transfer.resolved_ms is not None) or transfer.micro <= 0:
            raise ValueError(f"check: no transfer looks like {transfer}")

    def open_transfers(self, account: str) -> Sequence[Transfer]:
        found = [t for t in self.kept_transfers.values() if t.account == account and t.state not in RESOLVED]
        return sorted(found, key=lambda t: t.id)

    def due_transfers(self, now_ms: int, limit: int) -> Sequence[Transfer]:
        due = [transfer for transfer in self.kept_transfers.values() if transfer.due(now_ms)]
        return sorted(due, key=lambda transfer: transfer.due_ms or 0)[:limit]

    def transfers(self, after: int, upto: int) -> Sequence[Transfer]:
        wanted = range(after + 1, upto + 1)
        return [t for t in self.kept_transfers.values() if t.pending in wanted or t.resolved in wanted]

    def closings(self) -> Sequence[Closing]:
        return [self.kept_closings[entry][0] for entry in sorted(self.kept_closings)]

    def closing_state(self, entry: int) -> str | None:
        known = self.kept_closings.get(entry)
        return known and known[1]

    def add_closing(self, closing: Closing, state: str) -> None:
        if closing.upto >= closing.entry or any(known.upto == closing.upto for known, _ in self.kept_closings.values()):
            raise ValueError(f"check: no closing looks like {closing}")
        self.kept_closings[closing.entry] = (closing, state)
