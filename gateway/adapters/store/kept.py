"""The writer's memory of rows: one reading asks for the same meter, account and register state up to three times.

Everything is written through. All is forgotten when a use case or a transaction fails, and wherever another connection may have
written since: on SQLite the file says so, on PostgreSQL every transaction begins anew, so that its first read still locks the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.adapters.store.heads import HeadsMark
from gateway.adapters.store.later import Later, LaterMark
from gateway.adapters.store.statements import Session
from gateway.adapters.store.tx import StoreTx
from gateway.domain.bank_acts import ClosedDay
from gateway.domain.ledger import PostedEntry
from gateway.domain.meters import Account, Meter
from gateway.domain.period_use import PeriodUse
from gateway.domain.price_list import Tariff
from gateway.domain.readings import Billing
from gateway.domain.records import Counted
from gateway.domain.supply import Command
from gateway.services.ports import Foreseen, Unavailable

K = TypeVar("K")
V = TypeVar("V")
Mark = tuple[HeadsMark, list[LaterMark]]

MOST_KEPT = 4096
"""Rows of a kind, about 1 KB each: four times the meters of a large site; beyond that the kind is forgotten and begins anew."""


@dataclass(slots=True)
class Kept:
    """Rows by their keys, as they stand in the transaction that runs. stamp: the store's state after the last one, None if unknown.
    careful: rows that were put off could once not be written, so that nothing is put off beyond its use case any more.
    """

    stamp: object = None
    careful: bool = False
    accounts: dict[str, Account] = field(default_factory=dict)
    meters: dict[str, Meter] = field(default_factory=dict)
    meters_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    price_lists: dict[str, Tariff] = field(default_factory=dict)
    uses: dict[tuple[str, str, str], PeriodUse] = field(default_factory=dict)
    billings: dict[str, Billing] = field(default_factory=dict)
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    open: dict[tuple[str | None, str | None], tuple[Command, ...]] = field(default_factory=dict)
    metas: dict[str, str | None] = field(default_factory=dict)
    closed_days: dict[tuple[str, str], ClosedDay | None] = field(default_factory=dict)
    takings: dict[tuple[str, str, str], Counted | None] = field(default_factory=dict)

    def begin(self, stamp: object) -> None:
        """A transaction begins in a store of this state; another state than at the end of the last one is another's doing."""
        if stamp is None or stamp != self.stamp:
            self.forget()
        self.stamp = None  # until it is committed

    def forget(self) -> None:
        """Nothing is known."""
        for kind in (self.accounts, self.meters, self.meters_of, self.price_lists):
            kind.clear()
        for state in (self.uses, self.billings, self.balances, self.open, self.metas, self.closed_days, self.takings):
            state.clear()


class WriterTx(StoreTx):
    """A write transaction that remembers."""

    def __init__(self, session: Session, kept: Kept) -> None:
        super().__init__(session)
        self._kept = kept
        self._laters: tuple[Later, ...] = (
            *self._books, self._new_nonces, self._new_readings, self._new_items, self._new_billings, self._new_uses, self._new_rows,
            self._new_events,
        )  # fmt: skip

    def foresee(self, usecases: Iterable[object]) -> None:
        """Looks at once for what these use cases name beforehand; to be called before the first of them runs."""
        named = [each for each in usecases if isinstance(each, Foreseen)]
        if named:
            self.foresee_payments([each.payment for each in named])
            self.foresee_nonces([each.claim for each in named if each.claim is not None])

    def mark(self) -> Mark:
        """What is counted and put off now, to come back to."""
        return self._heads.mark(), [later.mark() for later in self._laters]

    def back(self, mark: Mark) -> None:
        """Forget what a failed use case counted, put off and knew, also the locks that PostgreSQL gives up then."""
        heads, laters = mark
        self._heads.back(heads)
        for later, to in zip(self._laters, laters, strict=True):
            later.back(to)
        self.forget_books()
        self._kept.forget()

    def settle(self, *, alone: bool) -> None:
        """After a use case: one that is alone, and where rows that were put off could once not be written, is to fail by itself."""
        if alone or self._kept.careful:
            self._write_all()

    def flush(self) -> None:
        """Write what was put off; the last act before COMMIT."""
        try:
            self._write_all()
        except Unavailable:
            raise
        except Exception:
            self._kept.careful = True
            raise
        self._heads.flush()

    def _write_all(self) -> None:
        for later in self._laters:
            later.flush()

    def account(self, account: str) -> Account | None:
        known = self._kept.accounts.get(account)
        return known or _keep(self._kept.accounts, account, super().account(account))

    def save_account(self, account: Account) -> None:
        if self._kept.accounts.get(account.id) != account:
            super().save_account(account)
            _keep(self._kept.accounts, account.id, account)

    def meter(self, meter: str) -> Meter | None:
        known = self._kept.meters.get(meter)
        return known or _keep(self._kept.meters, meter, super().meter(meter))

    def meters_of(self, account: str) -> Sequence[Meter]:
        known, meters = self._kept.meters_of.get(account), self._kept.meters
        if known is not None and all(ident in meters for ident in known):
            return [meters[ident] for ident in known]
        found = super().meters_of(account)
        _keep(self._kept.meters_of, account, tuple(meter.id for meter in found))
        for meter in found:
            _keep(meters, meter.id, meter)
        return found

    def save_meter(self, meter: Meter) -> None:
        before = self._kept.meters.get(meter.id)
        if before == meter:
            return
        super().save_meter(meter)
        if before is None or before.account != meter.account:
            self._kept.meters_of.clear()
        _keep(self._kept.meters, meter.id, meter)

    def price_list(self, tariff: str) -> Tariff | None:
        known = self._kept.price_lists.get(tariff)
        return known or _keep(self._kept.price_lists, tariff, super().price_list(tariff))

    def save_price_list(self, tariff: Tariff) -> None:
        super().save_price_list(tariff)
        _keep(self._kept.price_lists, tariff.id, tariff)

    def period_use(self, account: str, tariff: str, period: str) -> PeriodUse | None:
        key = account, tariff, period
        return self._kept.uses.get(key) or _keep(self._kept.uses, key, super().period_use(*key))

    def save_period_use(self, account: str, tariff: str, use: PeriodUse) -> None:
        super().save_period_use(account, tariff, use)
        _keep(self._kept.uses, (account, tariff, use.period), use)

    def billing(self, meter: str) -> Billing | None:
        known = self._kept.billings.get(meter)
        return known or _keep(self._kept.billings, meter, super().billing(meter))

    def save_billing(self, billing: Billing) -> None:
        if self._kept.billings.get(billing.meter) != billing:
            super().save_billing(billing)
            _keep(self._kept.billings, billing.meter, billing)

    def balance(self, ledger_account: str, currency: str) -> int:
        known = self._kept.balances.get((ledger_account, currency))
        if known is not None and (ledger_account, currency) not in self._standing:
            return known
        found = super().balance(ledger_account, currency)
        _keep(self._kept.balances, (ledger_account, currency), found)
        return found

    def add_entry(self, posted: PostedEntry) -> None:
        super().add_entry(posted)
        for leg in posted.entry.legs:
            key = leg.account, posted.entry.currency
            _keep(self._kept.balances, key, self._standing[key])

    def meta(self, key: str) -> str | None:
        if key not in self._kept.metas:
            _know(self._kept.metas, key, super().meta(key))
        return self._kept.metas[key]

    def set_meta(self, key: str, value: str) -> None:
        super().set_meta(key, value)
        _know(self._kept.metas, key, value)

    def closed_day(self, bank: str, accounting_date: str) -> ClosedDay | None:
        key = bank, accounting_date
        if key not in self._kept.closed_days:
            _know(self._kept.closed_days, key, super().closed_day(*key))
        return self._kept.closed_days[key]

    def close_day(self, day: ClosedDay) -> None:
        super().close_day(day)
        self._kept.closed_days.clear()

    def takings(self, bank: str, accounting_date: str, part: str) -> Counted | None:
        key = bank, accounting_date, part
        if key not in self._kept.takings:
            _know(self._kept.takings, key, super().takings(*key))
        return self._kept.takings[key]

    def save_takings(self, bank: str, accounting_date: str, part: str, takings: Counted) -> None:
        super().save_takings(bank, accounting_date, part, takings)
        _know(self._kept.takings, (bank, accounting_date, part), takings)

    def open_commands(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Command]:
        known = self._kept.open.get((line, meter))
        if known is None:
            known = tuple(super().open_commands(line=line, meter=meter))
            _keep(self._kept.open, (line, meter), known)
        return [*known]

    def add_command(self, command: Command) -> None:
        super().add_command(command)
        self._kept.open.clear()

    def save_command(self, command: Command) -> None:
        super().save_command(command)
        self._kept.open.clear()


def _know(kind: dict[K, V | None], key: K, value: V | None) -> None:
    """Remember a value, also that there is none."""
    if len(kind) >= MOST_KEPT:
        kind.clear()
    kind[key] = value


def _keep(kind: dict[K, V], key: K, value: V | None) -> V | None:
    """Remember a value, if there is one, and give it back."""
    if value is not None:
        if len(kind) >= MOST_KEPT:
            kind.clear()
        kind[key] = value
    return value
