"""A store in memory that behaves like the real one, transactions included: it makes thousands of histories cheap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gateway.domain.events import Event, Outgoing
from gateway.domain.ledger import GENESIS, PostedEntry
from gateway.domain.meters import Account, Meter
from gateway.domain.readings import Billing, Quality, Reading, Source
from gateway.domain.requests import PaymentIdentity
from gateway.domain.supply import Command
from gateway.domain.tariffs import Tariff
from gateway.services.ports import (
    Duplicate,
    LatestItem,
    OutboxRow,
    OutboxState,
    Payment,
    StoredEvent,
    StoredReading,
    Tx,
    Unavailable,
)

T = TypeVar("T")


@dataclass
class MemoryTx:
    """`ports.Tx` on dictionaries and lists. Every stored value is immutable, so that a copy of the containers is a copy of all."""

    kept_accounts: dict[str, Account] = field(default_factory=dict)
    kept_meters: dict[str, Meter] = field(default_factory=dict)
    tariffs: dict[str, Tariff] = field(default_factory=dict)
    kept_readings: list[StoredReading] = field(default_factory=list)
    newest: dict[str, dict[str, LatestItem]] = field(default_factory=dict)
    billings: dict[str, Billing] = field(default_factory=dict)
    journal: list[PostedEntry] = field(default_factory=list)
    sums: dict[tuple[str, str], int] = field(default_factory=dict)
    payments: dict[PaymentIdentity, Payment] = field(default_factory=dict)
    kept_commands: dict[str, Command] = field(default_factory=dict)
    kept_events: list[StoredEvent] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    metas: dict[str, str] = field(default_factory=dict)

    def accounts(self) -> Sequence[Account]:
        return [self.kept_accounts[key] for key in sorted(self.kept_accounts)]

    def account(self, account: str) -> Account | None:
        return self.kept_accounts.get(account)

    def save_account(self, account: Account) -> None:
        if account.tariff not in self.tariffs:
            raise LookupError(f"foreign key: there is no tariff {account.tariff}")
        self.kept_accounts[account.id] = account

    def meters(self) -> Sequence[Meter]:
        return [self.kept_meters[key] for key in sorted(self.kept_meters)]

    def meter(self, meter: str) -> Meter | None:
        return self.kept_meters.get(meter)

    def meters_of(self, account: str) -> Sequence[Meter]:
        return [meter for meter in self.meters() if meter.account == account]

    def save_meter(self, meter: Meter) -> None:
        if meter.account is not None and meter.account not in self.kept_accounts:
            raise LookupError(f"foreign key: there is no account {meter.account}")
        self.kept_meters[meter.id] = meter

    def tariff(self, tariff: str) -> Tariff | None:
        return self.tariffs.get(tariff)

    def save_tariff(self, tariff: Tariff) -> None:
        self.tariffs[tariff.id] = tariff

    def add_reading(self, reading: Reading, point: str, quality: Quality, stored_ms: int) -> int:
        number = len(self.kept_readings) + 1
        self.kept_readings.append(StoredReading(number, reading, point, quality, stored_ms))
        newest = dict(self.newest.get(reading.meter, {}))
        for item in reading.items if reading.source is Source.LIVE else ():
            known = newest.get(item.quantity)
            if known is None or known.answered_ms <= reading.answered_ms:
                newest[item.quantity] = LatestItem(item, reading.answered_ms)
        self.newest[reading.meter] = newest
        return number

    def readings(self, meter: str, since_ms: int, limit: int) -> Sequence[StoredReading]:
        found = [r for r in self.kept_readings if r.reading.meter == meter and r.reading.answered_ms >= since_ms]
        return sorted(found, key=lambda r: (r.reading.answered_ms, r.id))[:limit]

    def latest(self, meter: str) -> Mapping[str, LatestItem]:
        return self.newest.get(meter, {})

    def billing(self, meter: str) -> Billing | None:
        return self.billings.get(meter)

    def save_billing(self, billing: Billing) -> None:
        self.billings[billing.meter] = billing

    def journal_end(self) -> tuple[int, str]:
        return (self.journal[-1].number, self.journal[-1].hash) if self.journal else (0, GENESIS)

    def add_entry(self, posted: PostedEntry) -> None:
        last, hash_ = self.journal_end()
        if posted.number <= last:
            raise Duplicate(f"ledger entry {posted.number} is there already")
        if posted.number != last + 1 or posted.previous != hash_:
            raise ValueError(f"entry {posted.number}: the journal goes on from {last} without a hole")
        self.journal.append(posted)
        for leg in posted.entry.legs:
            key = (posted.entry.currency, leg.account)
            self.sums[key] = self.sums.get(key, 0) + leg.micro

    def entries(self, after: int, limit: int) -> Sequence[PostedEntry]:
        return [posted for posted in self.journal if posted.number > after][:limit]

    def entries_of(self, ledger_account: str, limit: int) -> Sequence[PostedEntry]:
        touching = [p for p in reversed(self.journal) if any(leg.account == ledger_account for leg in p.entry.legs)]
        return touching[:limit]

    def balance(self, ledger_account: str, currency: str) -> int:
        return self.sums.get((currency, ledger_account), 0)

    def balances(self) -> Mapping[tuple[str, str], int]:
        return dict(self.sums)

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

    def add_command(self, command: Command) -> None:
        if command.id in self.kept_commands:
            raise Duplicate(f"command {command.id} is there already")
        self.kept_commands[command.id] = command

    def command(self, command: str) -> Command | None:
        return self.kept_commands.get(command)

    def save_command(self, command: Command) -> None:
        if command.id not in self.kept_commands:
            raise LookupError(f"command {command.id} was never added")
        self.kept_commands[command.id] = command

    def open_commands(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Command]:
        return [
            c
            for c in self.kept_commands.values()
            if not c.final and (line is None or c.line == line) and (meter is None or c.meter == meter)
        ]

    def last_command(self, meter: str) -> Command | None:
        return next((c for c in reversed(self.kept_commands.values()) if c.meter == meter), None)

    def commands(self, limit: int) -> Sequence[Command]:
        return list(reversed(self.kept_commands.values()))[:limit]

    def commands_of(self, meter: str, limit: int) -> Sequence[Command]:
        return [c for c in reversed(self.kept_commands.values()) if c.meter == meter][:limit]

    def add_event(self, event: Event) -> int:
        number = len(self.kept_events) + 1
        self.kept_events.append(StoredEvent(number, event))
        return number

    def events(self, limit: int, before: int | None = None) -> Sequence[StoredEvent]:
        found = [stored for stored in reversed(self.kept_events) if before is None or stored.id < before]
        return found[:limit]

    def add_outgoing(self, message: Outgoing) -> int:
        seq = len(self.outbox) + 1
        self.outbox.append(OutboxRow(seq, message, None, None))
        return seq

    def outgoing(self, after: int, limit: int) -> Sequence[OutboxRow]:
        return [row for row in self.outbox if row.seq > after and row.acknowledged_ms is None][:limit]

    def mark_published(self, seqs: Iterable[int], at_ms: int) -> None:
        for seq in set(seqs):
            if 0 < seq <= len(self.outbox):
                self.outbox[seq - 1] = replace(self.outbox[seq - 1], published_ms=at_ms)

    def acknowledge(self, upto: int, also: Iterable[tuple[int, int]], at_ms: int) -> int:
        ranges, new = [(0, upto), *also], 0
        for n, row in enumerate(self.outbox):
            if row.acknowledged_ms is None and any(a <= row.seq <= b for a, b in ranges):
                self.outbox[n] = replace(row, acknowledged_ms=at_ms)
                new += 1
        return new

    def outbox_state(self) -> OutboxState:
        waiting = [row.seq for row in self.outbox if row.acknowledged_ms is None]
        last, published = len(self.outbox), sum(row.published_ms is not None for row in self.outbox)
        return OutboxState(last, min(waiting, default=last + 1), len(waiting), published, last - len(waiting))

    def meta(self, key: str) -> str | None:
        return self.metas.get(key)

    def set_meta(self, key: str, value: str) -> None:
        self.metas[key] = value


class MemoryStore:
    """Runs use cases on a MemoryTx; one that raises leaves nothing behind, and a query that writes is refused."""

    def __init__(self) -> None:
        self.tx = MemoryTx(metas={"epoch": "0" * 16, "pseudonym_key": "0" * 64})
        self._closed = False

    def write_now(self, usecase: Callable[[Tx], T]) -> T:
        self._must_be_open()
        before = self._snapshot()
        try:
            return usecase(self.tx)
        except BaseException:
            vars(self.tx).update(before)
            raise

    def read_now(self, query: Callable[[Tx], T]) -> T:
        self._must_be_open()
        before = self._snapshot()
        answer = query(self.tx)
        if self._snapshot() != before:
            vars(self.tx).update(before)
            raise Unavailable("a query cannot write")
        return answer

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        return self.write_now(usecase)

    async def read(self, query: Callable[[Tx], T]) -> T:
        return self.read_now(query)

    def close(self) -> None:
        self._closed = True

    def _must_be_open(self) -> None:
        if self._closed:
            raise Unavailable("the store is closed")

    def _snapshot(self) -> dict[str, object]:
        return {name: container.copy() for name, container in vars(self.tx).items()}
