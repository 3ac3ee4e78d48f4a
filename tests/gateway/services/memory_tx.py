"""A store in memory that behaves like the real one, transactions included: it makes thousands of histories cheap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gateway.adapters.store.codec import encode
from gateway.domain.clocks import MeterClock
from gateway.domain.events import Event, Outgoing, Topic
from gateway.domain.jobs import Want
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.readings import Billing, Quality, Reading, Source
from gateway.domain.records import DaySum, LatestItem, OutboxClass, OutboxRow, OutboxSize, OutboxState, StoredEvent, StoredReading
from gateway.domain.schemes import Completeness, Scheme, Slot, SlotState, Tally
from gateway.domain.supply import SIGNS, Command, CommandState, Verb
from gateway.services.ports import Duplicate, Tx, Unavailable
from tests.gateway.services.memory_bank import MemoryBank
from tests.gateway.services.memory_debit import MemoryDebit
from tests.gateway.services.memory_money import MemoryMoney
from tests.gateway.services.memory_nonces import MemoryNonces
from tests.gateway.services.memory_supply import MemorySupply
from tests.gateway.services.memory_uplink import MemoryUplink

T = TypeVar("T")


@dataclass
class MemoryTx(MemoryMoney, MemorySupply, MemoryUplink, MemoryBank, MemoryNonces, MemoryDebit):
    """`ports.Tx` on dictionaries and lists. Every stored value is immutable, so that a copy of the containers is a copy of all."""

    kept_accounts: dict[str, Account] = field(default_factory=dict)
    kept_meters: dict[str, Meter] = field(default_factory=dict)
    kept_readings: list[StoredReading] = field(default_factory=list)
    newest: dict[str, dict[str, LatestItem]] = field(default_factory=dict)
    billings: dict[str, Billing] = field(default_factory=dict)
    kept_commands: dict[str, Command] = field(default_factory=dict)
    kept_events: list[StoredEvent] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    kept_clocks: dict[str, MeterClock] = field(default_factory=dict)
    metas: dict[str, str] = field(default_factory=dict)
    kept_schemes: dict[str, Scheme] = field(default_factory=dict)
    kept_slots: dict[tuple[str, Want, int], Slot] = field(default_factory=dict)
    tallies: dict[tuple[str, str, str], Completeness] = field(default_factory=dict)
    meter_records: set[tuple[str, str, str]] = field(default_factory=set)
    kept_day_sums: dict[tuple[str, str, str], DaySum] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)

    def accounts(self) -> Sequence[Account]:
        return [self.kept_accounts[key] for key in sorted(self.kept_accounts)]

    def accounts_after(self, account: str, limit: int) -> Sequence[Account]:
        return [each for each in self.accounts() if each.id > account][:limit]

    def account(self, account: str) -> Account | None:
        return self.kept_accounts.get(account)

    def limits_due(self, now_ms: int, limit: int) -> Sequence[str]:
        times = ((each.limit_memory.due_ms, each.id) for each in self.accounts())
        return [ident for due_ms, ident in sorted((at, who) for at, who in times if at is not None and at <= now_ms)][:limit]

    def save_account(self, account: Account) -> None:
        if account.tariff not in self.price_lists:
            raise LookupError(f"foreign key: there is no tariff {account.tariff}")
        self.kept_accounts[account.id] = account

    def meters(self) -> Sequence[Meter]:
        return [self.kept_meters[key] for key in sorted(self.kept_meters)]

    def meter(self, meter: str) -> Meter | None:
        return self.kept_meters.get(meter)

    def switches(self) -> int:
        return sum(meter.switch is not SwitchKind.NONE for meter in self.kept_meters.values())

    def meters_of(self, account: str) -> Sequence[Meter]:
        return sorted((meter for meter in self.kept_meters.values() if meter.account == account), key=lambda meter: meter.id)

    def meters_on(self, line: str) -> Sequence[Meter]:
        return [meter for meter in self.meters() if meter.line == line]

    def save_meter(self, meter: Meter) -> None:
        if meter.account is not None and meter.account not in self.kept_accounts:
            raise LookupError(f"foreign key: there is no account {meter.account}")
        self.kept_meters[meter.id] = meter

    def add_reading(self, reading: Reading, point: str, quality: Quality, stored_ms: int) -> None:
        number = self.kept_readings[-1].id + 1 if self.kept_readings else 1
        self.kept_readings.append(StoredReading(number, reading, point, quality, stored_ms))
        newest = dict(self.newest.get(reading.meter, {}))
        for item in reading.items if reading.source is Source.LIVE else ():
            known = newest.get(item.quantity)
            if known is None or known.answered_ms <= reading.answered_ms:
                newest[item.quantity] = LatestItem(item, reading.answered_ms)
        self.newest[reading.meter] = newest

    def readings(self, meter: str, since_ms: int, limit: int) -> Sequence[StoredReading]:
        found = [r for r in self.kept_readings if r.reading.meter == meter and r.reading.answered_ms >= since_ms]
        return sorted(found, key=lambda r: (r.reading.answered_ms, r.id))[:limit]

    def latest(self, meter: str) -> Mapping[str, LatestItem]:
        return self.newest.get(meter, {})

    def billing(self, meter: str) -> Billing | None:
        return self.billings.get(meter)

    def save_billing(self, billing: Billing) -> None:
        self.billings[billing.meter] = billing

    def add_command(self, command: Command) -> None:
        if command.id in self.kept_commands:
            raise Duplicate(f"command {command.id} is there already")
        self._check_permitted(command)
        self.kept_commands[command.id] = command

    def _check_permitted(self, command: Command) -> None:
        if command.permission is not None and self.permission(command.permission) is None:
            raise LookupError(f"foreign key: there is no permission {command.permission}")

    def command(self, command: str) -> Command | None:
        return self.kept_commands.get(command)

    def save_command(self, command: Command) -> None:
        if command.id not in self.kept_commands:
            raise LookupError(f"command {command.id} was never added")
        self._check_permitted(command)
        self.kept_commands[command.id] = command

    def open_commands(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Command]:
        return [
            c
            for c in self.kept_commands.values()
            if not c.final and (line is None or c.line == line) and (meter is None or c.meter == meter)
        ]

    def queued_cuts(self) -> Sequence[Command]:
        return [c for c in self.open_commands() if (c.verb, c.state, c.attempts) == (Verb.CUT, CommandState.QUEUED, 0)]

    def last_command(self, meter: str) -> Command | None:
        return next((c for c in reversed(self.kept_commands.values()) if c.meter == meter and c.verb not in SIGNS), None)

    def commands(self, limit: int) -> Sequence[Command]:
        return list(reversed(self.kept_commands.values()))[:limit]

    def commands_of(self, meter: str, limit: int) -> Sequence[Command]:
        return [c for c in reversed(self.kept_commands.values()) if c.meter == meter][:limit]

    def add_event(self, event: Event) -> None:
        self.kept_events.append(StoredEvent(len(self.kept_events) + 1, event))

    def events(self, limit: int, before: int | None = None) -> Sequence[StoredEvent]:
        found = [stored for stored in reversed(self.kept_events) if before is None or stored.id < before]
        return found[:limit]

    def add_outgoing(self, message: Outgoing) -> int:
        seq = len(self.outbox) + 1
        self.outbox.append(OutboxRow(seq, message, None, None))
        return seq

    def outgoing(self, after: int, limit: int) -> Sequence[OutboxRow]:
        here = (row for row in self.outbox if row.seq not in self.forgotten)
        return [row for row in here if row.seq > after and row.acknowledged_ms is None][:limit]

    def news(self, after: int, upto: int, limit: int) -> Sequence[OutboxRow]:
        return [row for row in self.outbox if after < row.seq <= upto and row.seq not in self.forgotten][:limit]

    def mark_published(self, seqs: Iterable[int], at_ms: int) -> None:
        for seq in set(seqs):
            if 0 < seq <= len(self.outbox):
                self.outbox[seq - 1] = replace(self.outbox[seq - 1], published_ms=at_ms)

    def acknowledge(self, upto: int, also: Iterable[tuple[int, int]], at_ms: int) -> int:
        ranges, new = [(0, upto), *also], 0
        for n, row in enumerate(self.outbox):
            if row.acknowledged_ms is None and row.seq not in self.dropped and any(a <= row.seq <= b for a, b in ranges):
                self.outbox[n] = replace(row, acknowledged_ms=at_ms)
                new += 1
        return new

    def outbox_state(self) -> OutboxState:
        waiting = [row.seq for row in self.outgoing(0, len(self.outbox))]
        last, published = len(self.outbox), sum(row.published_ms is not None for row in self.outbox)
        acknowledged = last - len(waiting) - len(self.dropped)
        return OutboxState(last, min(waiting, default=last + 1), len(waiting), published, acknowledged, len(self.dropped))

    def outbox_size(self) -> OutboxSize:
        here = [row for row in self.outbox if row.seq not in self.forgotten]
        return OutboxSize(len(here), sum(len(encode(row.message.body)) for row in here))

    def outbox_classes(self) -> Sequence[OutboxClass]:
        found = []
        for topic in sorted(Topic):
            if rows := self.waiting_of(topic, 0, len(self.outbox)):
                found.append(OutboxClass(topic, len(rows), rows[0].message.at_ms))
        return found

    def waiting_between(self, first: int, last: int) -> int:
        return sum(first <= row.seq <= last for row in self.outgoing(0, len(self.outbox)))

    def waiting_of(self, topic: Topic, after: int, limit: int) -> Sequence[OutboxRow]:
        return [row for row in self.outgoing(after, len(self.outbox)) if row.message.topic is topic][:limit]

    def drop_outgoing(self, seqs: Sequence[int]) -> int:
        gone = {row.seq for row in self.outgoing(0, len(self.outbox))} & set(seqs)
        self.forgotten |= gone
        self.dropped |= gone
        return len(gone)

    def schemes(self) -> Sequence[Scheme]:
        return [self.kept_schemes[key] for key in sorted(self.kept_schemes)]

    def wanted(self) -> Mapping[Want, int]:
        found: dict[Want, int] = {}
        for scheme in self.kept_schemes.values():
            found[scheme.want] = min(scheme.priority, found.get(scheme.want, scheme.priority))
        return found

    def save_scheme(self, scheme: Scheme) -> None:
        self.kept_schemes[scheme.id] = scheme

    def drop_scheme(self, scheme: str) -> None:
        self.kept_schemes.pop(scheme, None)

    def add_slots(self, slots: Iterable[Slot]) -> Sequence[Slot]:
        new = []
        for slot in slots:
            if (slot.meter, slot.want, slot.at_ms) not in self.kept_slots:
                self.save_slot(slot)
                new.append(slot)
        return new

    def save_slot(self, slot: Slot) -> None:
        if (slot.state is SlotState.READ) != (slot.read_ms is not None):
            raise ValueError(f"check: no slot looks like {slot}")
        self.kept_slots[slot.meter, slot.want, slot.at_ms] = slot

    def _expected(self) -> list[Slot]:
        return [slot for slot in self.kept_slots.values() if slot.state is SlotState.EXPECTED]

    def due_slots(self, line: str, want: Want, now_ms: int, limit: int, *, late: bool) -> Sequence[Slot]:
        due = [slot for slot in self._expected() if (slot.line, slot.want) == (line, want) and slot.next_ms <= now_ms]
        found = [s for s in due if (s.late_ms < now_ms) == late and not (late and s.source is Source.LIVE)]
        first: dict[str, Slot] = {}
        for slot in sorted(found, key=lambda slot: (slot.next_ms if late else slot.late_ms, slot.at_ms)):
            first.setdefault(slot.meter, slot)
        return [*first.values()][:limit]

    def slots(self, meter: str, want: Want, from_ms: int, to_ms: int, limit: int) -> Sequence[Slot]:
        found = [s for (m, w, at_ms), s in self.kept_slots.items() if (m, w) == (meter, want) and from_ms <= at_ms <= to_ms]
        return sorted(found, key=lambda slot: slot.at_ms)[:limit]

    def missed_live(self, now_ms: int, limit: int) -> Sequence[Slot]:
        missed = [slot for slot in self._expected() if slot.source is Source.LIVE and slot.late_ms < now_ms]
        return sorted(missed, key=lambda slot: slot.late_ms)[:limit]

    def wake_slots(self, meter: str, now_ms: int) -> None:
        for slot in self._expected():
            if slot.meter == meter and slot.next_ms > now_ms:
                self.save_slot(replace(slot, next_ms=now_ms))

    def move_slots(self, meter: str, line: str) -> None:
        for slot in self._expected():
            if slot.meter == meter:
                self.save_slot(replace(slot, line=line))

    def drop_slots(self, meter: str, want: Want, before_ms: int, *, expected: bool = False) -> int:
        gone = [
            key
            for key, slot in self.kept_slots.items()
            if key[:2] == (meter, want) and slot.at_ms < before_ms and expected == (slot.state is SlotState.EXPECTED)
        ]
        for key in gone:
            del self.kept_slots[key]
        return len(gone)

    def add_tally(self, day: str, scheme: str, line: str, tally: Tally) -> None:
        known = self.tallies.get((day, scheme, line), Completeness(day, scheme, line, Tally()))
        self.tallies[day, scheme, line] = replace(known, tally=known.tally.plus(tally))

    def completeness(self, from_day: str, to_day: str) -> Sequence[Completeness]:
        return [self.tallies[key] for key in sorted(self.tallies) if from_day <= key[0] <= to_day]

    def mark_judged(self, day: str, scheme: str, line: str) -> None:
        if (day, scheme, line) in self.tallies:
            self.tallies[day, scheme, line] = replace(self.tallies[day, scheme, line], judged=True)

    def drop_completeness(self, before_day: str) -> int:
        gone = [key for key in self.tallies if key[0] < before_day]
        for key in gone:
            del self.tallies[key]
        return len(gone)

    def add_meter_record(self, meter: str, kind: str, key: str, at_ms: int) -> bool:
        new = (meter, kind, key) not in self.meter_records
        self.meter_records.add((meter, kind, key))
        return new

    def past_readings(self, meter: str, source: Source, taken_ms: int) -> Sequence[StoredReading]:
        wanted = (meter, source, taken_ms)
        return [r for r in self.kept_readings if (r.reading.meter, r.reading.source, r.reading.taken_ms) == wanted]

    def set_quality(self, reading: int, quality: Quality) -> None:
        self.kept_readings = [replace(r, quality=quality) if r.id == reading else r for r in self.kept_readings]

    def drop_readings(self, numbers: Iterable[int]) -> None:
        gone = set(numbers)
        self.kept_readings = [r for r in self.kept_readings if r.id not in gone]

    def day_sum(self, meter: str, day: str, quantity: str) -> DaySum | None:
        return self.kept_day_sums.get((meter, day, quantity))

    def save_day_sum(self, day_sum: DaySum) -> None:
        self.kept_day_sums[day_sum.meter, day_sum.day, day_sum.quantity] = day_sum

    def day_sums(self, meter: str, since_day: str, limit: int) -> Sequence[DaySum]:
        return [self.kept_day_sums[key] for key in sorted(self.kept_day_sums) if key[0] == meter and key[1] >= since_day][:limit]

    def drop_acknowledged(self, topics: Iterable[Topic], before_ms: int, limit: int) -> int:
        """What is acknowledged is never shown again, so that forgetting it shows in the count alone."""
        dropped = 0
        for topic in topics:
            old = [
                row.seq
                for row in self.outbox
                if row.message.topic is topic
                and row.seq not in self.forgotten
                and row.acknowledged_ms is not None
                and row.acknowledged_ms < before_ms
            ]
            self.forgotten |= set(old[: limit - dropped])
            dropped += len(old[: limit - dropped])
        return dropped

    def clock(self, meter: str) -> MeterClock | None:
        return self.kept_clocks.get(meter)

    def clocks(self, line: str) -> Sequence[MeterClock]:
        return [self.kept_clocks[meter.id] for meter in self.meters_on(line) if meter.id in self.kept_clocks]

    def save_clock(self, clock: MeterClock) -> None:
        self.kept_clocks[clock.meter] = clock

    def meta(self, key: str) -> str | None:
        return self.metas.get(key)

    def set_meta(self, key: str, value: str) -> None:
        self.metas[key] = value

    def metas_of(self, prefix: str) -> Mapping[str, str]:
        return {key: value for key, value in self.metas.items() if key.startswith(prefix) and value}


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
