"""What the use cases need from a store, as a protocol; gateway/adapters/store fulfils it on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from gateway.domain.approvals import Approval, AuditRow
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.budgets import UNBOUND, Budgets
from gateway.domain.clocks import MeterClock
from gateway.domain.debt_terms import Accrual
from gateway.domain.estimates import Estimate
from gateway.domain.events import Event, Json, Outgoing, Topic
from gateway.domain.findings import Finding, FindingKind
from gateway.domain.jobs import Want
from gateway.domain.ledger import JournalRow, PostedEntry
from gateway.domain.meters import Account, Meter
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.nonces import Claim
from gateway.domain.notices import Notice, NoticeState
from gateway.domain.people import Person
from gateway.domain.period_use import PeriodUse
from gateway.domain.permissions import CutPermission
from gateway.domain.price_list import Tariff
from gateway.domain.readings import Billing, Quality, Reading, Source
from gateway.domain.records import (
    BankDay,
    Closing,
    DaySum,
    LatestItem,
    OutboxClass,
    OutboxRow,
    OutboxSize,
    OutboxState,
    Paid,
    Payment,
    StoredEvent,
    StoredReading,
    Taken,
)
from gateway.domain.requests import PaymentIdentity
from gateway.domain.schemes import Completeness, Scheme, Slot, Tally
from gateway.domain.statement import Move
from gateway.domain.supply import Command
from gateway.domain.transfers import Transfer
from gateway.services.bank_ports import BankTx
from gateway.services.debit_ports import DebitTx
from gateway.services.nonce_ports import NonceTx
from gateway.services.uplink_ports import UplinkTx
from gateway.services.wallet_ports import WalletTx

T = TypeVar("T")


class Duplicate(Exception):
    """A unique constraint of the store refused the row: it is there already."""


class Tx(WalletTx, UplinkTx, BankTx, NonceTx, DebitTx, Protocol):
    """One transaction. Every method is synchronous; writes are visible to later reads of the same transaction."""

    # archive
    def accounts(self) -> Sequence[Account]: ...
    def accounts_after(self, account: str, limit: int) -> Sequence[Account]:
        """Those whose id stands behind this one, by id."""

    def account(self, account: str) -> Account | None:
        """Inside a write transaction the row stays locked to its end."""

    def save_account(self, account: Account) -> None: ...
    def limits_due(self, now_ms: int, limit: int) -> Sequence[str]:
        """Accounts whose limiter time has something to do for by now (limit_memory.due_ms), longest due first."""

    def meters(self) -> Sequence[Meter]: ...
    def meter(self, meter: str) -> Meter | None: ...
    def meters_of(self, account: str) -> Sequence[Meter]: ...
    def switches(self) -> int:
        """How many meters have one."""

    def meters_on(self, line: str) -> Sequence[Meter]:
        """Those read on this line."""

    def save_meter(self, meter: Meter) -> None: ...
    def price_list(self, tariff: str) -> Tariff | None: ...
    def save_price_list(self, tariff: Tariff) -> None: ...

    # what money by tariff depends on
    def priced(self, tariff: str) -> bool:
        """Whether any account was ever priced by this tariff."""

    def period_use(self, account: str, tariff: str, period: str) -> PeriodUse | None: ...
    def period_uses(self, account: str, tariff: str) -> Sequence[PeriodUse]:
        """All of them, oldest first; a year's steps stand behind the month that begins with them."""

    def save_period_use(self, account: str, tariff: str, use: PeriodUse) -> None: ...
    def add_estimate(self, estimate: Estimate) -> None: ...
    def estimates_of(self, meter: str, at_ms: int) -> Sequence[Estimate]:
        """Those within whose span this moment lies, oldest entry first."""

    def open_estimates(self, meter: str) -> Sequence[Estimate]:
        """All of a meter, oldest entry first."""

    def drop_estimate(self, entry: int) -> None: ...
    def drop_estimates(self, meter: str, before_ms: int) -> None:
        """Forgets those that end by then."""

    def accrual(self, account: str) -> Accrual | None: ...
    def save_accrual(self, accrual: Accrual) -> None: ...

    # readings
    def add_reading(self, reading: Reading, point: str, quality: Quality, stored_ms: int) -> None:
        """Stores it and renews the meter's latest items."""

    def readings(self, meter: str, since_ms: int, limit: int) -> Sequence[StoredReading]:
        """Oldest first."""

    def latest(self, meter: str) -> Mapping[str, LatestItem]:
        """Newest item of each quantity."""

    def billing(self, meter: str) -> Billing | None: ...
    def save_billing(self, billing: Billing) -> None: ...

    # money
    def journal_end(self) -> tuple[int, str]:
        """Number and hash of the last ledger entry; (0, GENESIS) for an empty journal."""

    def add_entry(self, posted: PostedEntry) -> None:
        """Stores the entry and moves the balances by its legs. Duplicate if the number is taken."""

    def entries(self, after: int, limit: int) -> Sequence[PostedEntry]: ...
    def entry(self, number: int) -> PostedEntry | None: ...
    def journal_rows(self, after: int, limit: int) -> Sequence[JournalRow]:
        """Like entries, as they are stored, also where they are unsound."""

    def entries_of(self, ledger_account: str, limit: int) -> Sequence[PostedEntry]:
        """The newest entries with a leg on this ledger account, newest first."""

    def entries_on(self, ledger_account: str, after: int, upto: int, limit: int) -> Sequence[PostedEntry]:
        """The entries with a leg on this ledger account and a number above `after`, not above `upto`, oldest first."""

    def moves_on(self, ledger_account: str, after: int, upto: int, limit: int) -> Sequence[Move]:
        """Like entries_on, of each entry only what it moved on this account."""

    def entry_before(self, at_ms: int) -> int:
        """Number of the last entry that was booked before this moment, 0 for none: where a period ends.

        By the journal's own time (ledger.booked): an entry of a clock that was set back belongs to those before it.
        """

    def balance_at(self, ledger_account: str, currency: str, number: int) -> int:
        """Micro-units after this entry."""

    def balance(self, ledger_account: str, currency: str) -> int:
        """Micro-units, 0 for an account without entries."""

    def balances(self) -> Mapping[tuple[str, str], int]:
        """(currency, ledger account) -> micro-units."""

    def taken(self, first: str, last: str) -> Sequence[Taken]:
        """Of the posted payments with accounting dates in this span (ISO, both included), by bank and currency."""

    def payment(self, identity: PaymentIdentity) -> Payment | None: ...
    def add_payment(self, payment: Payment) -> None:
        """Duplicate if the identity is known."""

    def paid(self, after: int, upto: int) -> Sequence[Paid]:
        """The payments posted by entries of these numbers (after < number <= upto)."""

    def paid_by_day(self) -> Mapping[BankDay, int]:
        """Micro-units of all payments that an entry posted."""

    def add_reversal(self, entry: int, reverses: int) -> None:
        """Links two entries of the journal that mirror each other. Duplicate if the other is reversed already."""

    def reversals(self, after: int, upto: int) -> Mapping[int, int]:
        """Of reversing entries with these numbers: the entry that each reverses."""

    def reversed_by(self, number: int) -> int | None:
        """The entry that reverses this one."""

    # transfers
    def transfer(self, transfer: str) -> Transfer | None: ...
    def add_transfer(self, transfer: Transfer) -> None:
        """Duplicate if the id is known."""

    def save_transfer(self, transfer: Transfer) -> None:
        """Its state and its end; refused for one that has ended."""

    def due_transfers(self, now_ms: int, limit: int) -> Sequence[Transfer]:
        """Pending ones whose time is over, longest due first."""

    def open_transfers(self, account: str) -> Sequence[Transfer]:
        """Of a customer, pending and uncertain ones, by id."""

    def transfers(self, after: int, upto: int) -> Sequence[Transfer]:
        """Those that an entry of these numbers began or ended."""

    # closings
    def closings(self) -> Sequence[Closing]:
        """Oldest first."""

    def closing_state(self, entry: int) -> str | None:
        """The state that this closing fixed."""

    def add_closing(self, closing: Closing, state: str) -> None: ...

    # commands
    def add_command(self, command: Command) -> None:
        """Duplicate if the id is known."""

    def command(self, command: str) -> Command | None: ...
    def save_command(self, command: Command) -> None: ...
    def open_commands(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Command]:
        """Commands in a state that is not final, oldest first."""

    def queued_cuts(self) -> Sequence[Command]:
        """Of these the cuts that are queued and were never sent, without those that wait for a person; in no order."""

    def last_command(self, meter: str) -> Command | None:
        """The newest command to this meter's switch, final or not."""

    def commands(self, limit: int) -> Sequence[Command]:
        """Newest first."""

    def commands_of(self, meter: str, limit: int) -> Sequence[Command]:
        """The commands of this meter, newest first."""

    # events and outbox
    def add_event(self, event: Event) -> None: ...
    def events(self, limit: int, before: int | None = None) -> Sequence[StoredEvent]:
        """Newest first."""

    def add_outgoing(self, message: Outgoing) -> int:
        """The dense sequence number it got."""

    def outgoing(self, after: int, limit: int) -> Sequence[OutboxRow]:
        """Unacknowledged rows with a higher number, in order."""

    def news(self, after: int, upto: int, limit: int) -> Sequence[OutboxRow]:
        """Rows that are still there, acknowledged or not (after < seq <= upto), in order."""

    def mark_published(self, seqs: Iterable[int], at_ms: int) -> None: ...
    def acknowledge(self, upto: int, also: Iterable[tuple[int, int]], at_ms: int) -> int:
        """Marks rows up to `upto` and in the ranges `also` (inclusive) as safe at the centre; how many were newly marked."""

    def outbox_state(self) -> OutboxState: ...
    def outbox_size(self) -> OutboxSize: ...
    def outbox_classes(self) -> Sequence[OutboxClass]:
        """Those of which something waits, by name."""

    def waiting_between(self, first: int, last: int) -> int:
        """How many unacknowledged rows have these numbers (inclusive)."""

    def waiting_of(self, topic: Topic, after: int, limit: int) -> Sequence[OutboxRow]:
        """Unacknowledged rows of this class with a higher number, in order."""

    def drop_outgoing(self, seqs: Sequence[int]) -> int:
        """Removes unacknowledged rows for good; how many."""

    # collection
    def schemes(self) -> Sequence[Scheme]:
        """Those in force, by id."""

    def wanted(self) -> Mapping[Want, int]:
        """The priority of everything that schemes collect, the most urgent of each."""

    def save_scheme(self, scheme: Scheme) -> None: ...
    def drop_scheme(self, scheme: str) -> None:
        """Its slots and tallies stay."""

    def add_slots(self, slots: Iterable[Slot]) -> Sequence[Slot]:
        """Those of them that were new; a slot that is there stays as it is."""

    def save_slot(self, slot: Slot) -> None:
        """Changes what is there."""

    def due_slots(self, line: str, want: Want, now_ms: int, limit: int, *, late: bool) -> Sequence[Slot]:
        """Of each meter the first expected one that may be asked for now: within its window, by its end, or after it, longest due
        first, and then none that only a live reading could fill."""

    def slots(self, meter: str, want: Want, from_ms: int, to_ms: int, limit: int) -> Sequence[Slot]:
        """In any state, both ends included, oldest first."""

    def missed_live(self, now_ms: int, limit: int) -> Sequence[Slot]:
        """Expected ones that only a live reading within their window could have filled, and that is over."""

    def wake_slots(self, meter: str, now_ms: int) -> None:
        """Whatever is expected of this meter may be asked for now."""

    def move_slots(self, meter: str, line: str) -> None:
        """What is expected of this meter is asked for on this line."""

    def drop_slots(self, meter: str, want: Want, before_ms: int, *, expected: bool = False) -> int:
        """Forgets settled slots of earlier moments, or those still expected; how many."""

    def add_tally(self, day: str, scheme: str, line: str, tally: Tally) -> None:
        """Adds to what is counted already."""

    def completeness(self, from_day: str, to_day: str) -> Sequence[Completeness]:
        """Both days (ISO dates) included, by day, scheme and line."""

    def mark_judged(self, day: str, scheme: str, line: str) -> None: ...
    def drop_completeness(self, before_day: str) -> int:
        """Forgets the tallies of earlier days; how many."""

    def add_meter_record(self, meter: str, kind: str, key: str, at_ms: int) -> bool:
        """Whether this record of the meter's own event memory was unknown."""

    def past_readings(self, meter: str, source: Source, taken_ms: int) -> Sequence[StoredReading]:
        """What was stored of this moment from this source, oldest first."""

    def set_quality(self, reading: int, quality: Quality) -> None:
        """A stored reading turns out to be better than it was known to be."""

    # retention
    def drop_readings(self, numbers: Iterable[int]) -> None: ...
    def day_sum(self, meter: str, day: str, quantity: str) -> DaySum | None: ...
    def save_day_sum(self, day_sum: DaySum) -> None: ...
    def day_sums(self, meter: str, since_day: str, limit: int) -> Sequence[DaySum]:
        """By day and quantity."""

    def drop_acknowledged(self, topics: Iterable[Topic], before_ms: int, limit: int) -> int:
        """Forgets messages of these topics that the centre acknowledged before then, lowest numbers first; how many."""

    # clocks
    def clock(self, meter: str) -> MeterClock | None: ...
    def clocks(self, line: str) -> Sequence[MeterClock]:
        """Of the meters read on this line."""

    def save_clock(self, clock: MeterClock) -> None: ...

    # permissions and budgets
    def add_permission(self, permission: CutPermission) -> CutPermission:
        """As it is stored, with its number."""

    def permission(self, number: int) -> CutPermission | None: ...
    def save_permission(self, permission: CutPermission) -> None: ...
    def permissions(self, limit: int, account: str | None = None) -> Sequence[CutPermission]:
        """Newest first."""

    def spend(self, budget: str, key: str, meter: str, at_ms: int) -> None:
        """One cut out of a budget. at_ms: the limiter's own steady time."""

    def spent(self, budget: str, key: str | None, since_ms: int) -> Sequence[tuple[str, int]]:
        """Meter and time of the cuts out of a budget after that, oldest first; key None: whoever's."""

    def forget_spent(self, before_ms: int) -> None: ...

    def unspend(self, budget: str, key: str, meter: str) -> None:
        """Takes the newest such cut back: it certainly did not leave."""

    # approvals, people, audit
    def add_approval(self, approval: Approval) -> None:
        """Duplicate if the id is known."""

    def approval(self, approval: str) -> Approval | None: ...
    def save_approval(self, approval: Approval) -> None: ...
    def approvals(self, limit: int, *, asked: bool = False) -> Sequence[Approval]:
        """Newest first; asked: only those that wait."""

    def count_asked(self, most: int, act: str = "", by: str = "") -> int:
        """How many wait, counted up to `most`; act, by: only those acts that this one asked for."""

    def people(self) -> Sequence[Person]:
        """By name, the revoked ones too."""

    def person(self, name: str) -> Person | None: ...
    def person_by_token(self, token_hash: str) -> Person | None: ...
    def save_person(self, person: Person) -> None: ...
    def add_audit(self, at_ms: int, who: str, act: str, subject: str, data: Mapping[str, str]) -> AuditRow:
        """Appends to the chain; raises Unavailable where the log cannot be written."""

    def audit_rows(self, after: int, limit: int) -> Sequence[AuditRow]: ...
    def audit_end(self) -> tuple[int, str]:
        """Number and hash of the last row; (0, GENESIS) for an empty log."""

    # notices, findings, calendars
    def add_notice(self, notice: Notice) -> Notice:
        """As it is stored, with its number."""

    def notice(self, number: int) -> Notice | None: ...
    def save_notice(self, notice: Notice) -> None: ...
    def due_notices(self, now_ms: int, limit: int, channel: str | None = None) -> Sequence[Notice]:
        """Queued ones whose next try is due, longest due first; channel None: of all."""

    def notices(self, account: str | None, since_ms: int, limit: int, state: NoticeState | None = None) -> Sequence[Notice]:
        """Created since then, newest first; account None: of all, state None: in any."""

    def notice_counts(self, since_ms: int) -> Mapping[tuple[str, NoticeState], int]:
        """How many were created since then, by channel and state."""

    def finding(self, kind: FindingKind, subject: str) -> Finding | None: ...
    def findings(self) -> Sequence[Finding]:
        """By kind and subject."""

    def save_finding(self, finding: Finding) -> None: ...
    def drop_finding(self, kind: FindingKind, subject: str) -> None: ...
    def no_cut_calendar(self, calendar: str) -> NoCutCalendar | None: ...
    def no_cut_calendars(self) -> Sequence[NoCutCalendar]: ...
    def save_no_cut_calendar(self, calendar: NoCutCalendar) -> None: ...
    def drop_no_cut_calendar(self, calendar: str) -> None: ...

    # meta
    def meta(self, key: str) -> str | None: ...
    def set_meta(self, key: str, value: str) -> None: ...
    def metas_of(self, prefix: str) -> Mapping[str, str]:
        """Keys that begin so, and what stands there, where it is not empty."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the use cases must know of the site; passed in, never read.

    zone: the tariffs' own, an IANA name. clock_trusted: F3, by configuration. path_alive: F2, money can be paid in right now.
    retry_failed_ms, retry_refused_ms: how long after a failed or a refused cut the rules order it again (never a person's);
    half a day is for refused passwords only, a restore or an overload does not wait so long.
    power_stale_ms: a power counts in an account's load, and links an overload to the next look at it, for no longer than this.
    meter_zone: the time that the meters' clocks show. keep_clocks: they are looked at and set.
    boot, steady_ms: which boot of the machine, and milliseconds since it that no clock setting moves; None where not known.
    clock_why, path_why: what is missing where the clock is not trusted or no path is alive, one sentence. ask_clocks: the meters'
    clocks are looked at even so, for they may vouch for ours.
    disk_ok: there is room for what a cut must leave behind (F6). one_person: nobody else is there to approve (prepayment.md 6).
    delivery_deadline_ms: credit that is not in its meter by then comes back. wallet_read_ms: how often wallets are read.
    budgets: of the limiter. banks: what was agreed with each. seal: signs a receipt (its text in, a compact JWS out), None where
    there is no key.
    """

    gateway: str
    zone: str
    clock_trusted: bool
    path_alive: bool = True
    retry_failed_ms: int = 10 * 60 * 1000
    retry_refused_ms: int = 12 * 60 * 60 * 1000
    power_stale_ms: int = 180_000
    meter_zone: str = "Asia/Shanghai"
    keep_clocks: bool = True
    boot: str = ""
    steady_ms: int | None = None
    disk_ok: bool = True
    one_person: bool = False
    clock_why: str = ""
    path_why: str = ""
    ask_clocks: bool = False
    delivery_deadline_ms: int = 24 * 60 * 60 * 1000
    wallet_read_ms: int = 15 * 60 * 1000
    budgets: Budgets = UNBOUND
    banks: Mapping[str, PartnerTerms] = field(default_factory=dict)
    seal: Callable[[str], str] | None = None


JsonObject = dict[str, Json]


class Unavailable(Exception):
    """The store cannot do this now (disk full, I/O error, too many waiting): nothing happened, it may be repeated."""


class DiskLow(Unavailable):
    """Room is left only for what gives supply back (F6): this is not among it."""


class Essential(Generic[T]):
    """A use case that is written even where only the reserve is left: it gives supply back, says what came of it, or frees room."""

    __slots__ = ("_usecase",)

    def __init__(self, usecase: Callable[[Tx], T]) -> None:
        self._usecase = usecase

    def __call__(self, tx: Tx) -> T:
        return self._usecase(tx)


class Foreseen(Generic[T]):
    """A use case that names beforehand the payment and the nonce it will look for, so that a batch looks once for all of them."""

    __slots__ = ("_usecase", "claim", "payment")

    def __init__(self, usecase: Callable[[Tx], T], payment: PaymentIdentity, claim: Claim | None) -> None:
        self._usecase, self.payment, self.claim = usecase, payment, claim

    def __call__(self, tx: Tx) -> T:
        return self._usecase(tx)


class MoneyHeld(Exception):
    """No money is taken now, for a reason of ours in one sentence; nothing is decided, and it may be repeated."""


class NotOpen(Exception):
    """The bank's no-trade window, in one sentence; nothing is decided, and it may be repeated after it."""


class InvalidField(ValueError):
    """A field that is wrong in form only the use case can see (an accounting date too far off): binds nothing, names the field."""

    def __init__(self, field: str, text: str) -> None:
        self.field = field
        super().__init__(text)


class TopUpVerdict(StrEnum):
    """What became of a payment: first posting, the same again, another content under the identity, or no on the merits."""

    POSTED = "posted"
    REPEATED = "repeated"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TopUpOutcome:
    """The answer to a payment. `payment` is what is stored for its identity; `field` names what differs in a conflict.

    delivery: where the customer's credit is, for an account whose money is in a meter (contract.md 3). reversal: the document of
    the payment's reversal, where it was reversed.
    """

    verdict: TopUpVerdict
    payment: Payment
    field: str | None = None
    delivery: str = "none"
    reversal: str = ""


@dataclass(frozen=True, slots=True)
class SupplyAnswer:
    """The answer to an order for a switch: the command as a record, or why there is none, in one sentence."""

    command: Command | None
    refused: str | None = None
