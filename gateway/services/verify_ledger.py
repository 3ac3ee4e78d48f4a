"""Recompute the money from its journal (prepayment.md, "What we decided" 8)."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gateway.domain.audit import TRANSFERS, Books, books_of, digest
from gateway.domain.charge_refs import FREEZE
from gateway.domain.ledger import EntryKind, JournalRow
from gateway.domain.price_list import RoundingPlace
from gateway.domain.readings import TOTAL
from gateway.domain.records import BankDay, Closing, Paid
from gateway.domain.transfers import RESOLVED, Transfer, TransferState
from gateway.domain.use_trail import CHARGING as USE_CHARGING
from gateway.domain.use_trail import UseTrail
from gateway.services.ports import Tx
from gateway.services.verify_banks import BankTrail
from gateway.services.verify_cuts import verify_cuts
from gateway.services.verify_wallets import verify_wallets

PAGE = 5_000
"""Entries per read: about 10 MB of memory, and long enough that a read costs nothing beside the rows."""

LOOKED_UP = 10_000
"""Rows of earlier entries that are kept for those that link to them; a few entries in a thousand do."""

USING = USE_CHARGING | {EntryKind.REVERSAL.value}
"""Kinds that say or undo how much energy was charged."""

BY_ITSELF = frozenset({EntryKind.CHARGE.value})
"""The kind that most entries are of, and of which the store keeps nothing else to compare."""

_OWN = ("customer", "undelivered", "debt", "emergency")


@dataclass(slots=True)
class Verification:
    """One walk through the journal, with what the store keeps beside it.

    number: the last entry that was reached. finding: the first thing wrong, in one sentence; None when all holds.
    """

    tx: Tx
    books: Books = field(default_factory=Books)
    finding: str | None = None
    closings: dict[int, Closing] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    days: dict[BankDay, int] = field(default_factory=lambda: defaultdict(int))
    uses: UseTrail = field(default_factory=UseTrail)
    banks: BankTrail = field(init=False)
    _rounding: dict[str, bool] = field(default_factory=dict)
    _rows: OrderedDict[int, JournalRow | None] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.banks = BankTrail(self.tx)

    @property
    def number(self) -> int:
        return self.books.audit.number

    def walk(self, upto: int | None = None) -> None:
        """Check the entries from where the books stand to this one, or to the last."""
        while self.finding is None and (upto is None or self.number < upto):
            limit = PAGE if upto is None else min(PAGE, upto - self.number)
            page = self.tx.journal_rows(self.number, limit)
            if not page:
                return
            self._page(page)

    def _page(self, page: Sequence[JournalRow]) -> None:
        first, last = self.number, page[-1].number
        paid = {payment.entry: payment for payment in self.tx.paid(first, last)}
        reversals = self.tx.reversals(first, last)
        moves = {number: transfer for transfer in self.tx.transfers(first, last) for number in _numbers(transfer)}
        noted = {*paid, *reversals, *moves, *self.closings, *self.banks.page(first, last)}
        for row in page:
            number = row.number
            self.finding = self.books.take(row, self._row)
            if row.kind in BY_ITSELF and number not in noted and self.finding is None:  # nearly all of them
                self.finding = self.uses.take(row, rounded=self._rounds((row.ref or {}).get("tariff", "")))
                if self.finding is None:
                    continue
            if self.finding is None and (row.kind == EntryKind.TOPUP or number in paid):
                self.finding = self._paid(row, paid.get(number))
            if self.finding is None and (row.kind == EntryKind.REVERSAL or number in reversals):
                self.finding = _reversal(row, reversals.get(number))
            if self.finding is None and (row.kind in TRANSFERS or number in moves):
                self.finding = _transfer(row, moves.get(number))
            if self.finding is None and row.kind in USING:
                self.finding = self._used(row)
            if self.finding is None:
                self.finding = self.banks.take(row, paid.get(number))
            if self.finding is None and number in self.closings:
                self.states[number] = digest(self.books.state())
            if self.finding is None and row.kind == EntryKind.CLOSING:
                self.finding = self._closed(row)
            if self.finding is not None:
                return

    def _used(self, row: JournalRow) -> str | None:
        """Adds up the energy that a charge names, and takes off what a reversal undoes."""
        if row.kind != EntryKind.REVERSAL:
            return self.uses.take(row, rounded=self._rounds((row.ref or {}).get("tariff", "")))
        ref = row.ref or {}
        undone = self._row(int(ref.get("reverses", 0)))
        if undone is None:
            return None
        rounded = self._rounds((undone.ref or {}).get("tariff", ""))
        return self.uses.take(undone, -1, rounded=rounded, by_hand=ref.get("reason") != FREEZE)

    def _rounds(self, tariff: str) -> bool:
        """Whether this tariff rounds its lines."""
        if tariff not in self._rounding:
            known = self.tx.price_list(tariff)
            self._rounding[tariff] = known is not None and known.rounding is not None and known.rounding.place is RoundingPlace.LINE
        return self._rounding[tariff]

    def _row(self, number: int) -> JournalRow | None:
        """An earlier entry."""
        if number not in self._rows:
            self._rows[number] = next((row for row in self.tx.journal_rows(number - 1, 1) if row.number == number), None)
            if len(self._rows) > LOOKED_UP:
                self._rows.popitem(last=False)
        return self._rows[number]

    def _paid(self, row: JournalRow, paid: Paid | None) -> str | None:
        """A top-up without its payment, the second one of a payment, or a payment that says another entry posted it."""
        ref = row.ref or {}
        said = tuple(ref.get(part, "") for part in ("bank", "institution", "scope", "serial"))
        if paid is None or (row.kind == EntryKind.TOPUP and paid[1:5] != said):
            return f"entry {row.number} tops up by {said[0]} {said[3]}, but that payment is not posted by it"
        if row.kind != EntryKind.TOPUP:
            return f"entry {row.number} is no top-up, but {paid.bank} {paid.serial} is said to be posted by it"
        bank = f"bank:{paid.bank}"
        gone = -sum([micro for account, micro, _, _ in row.legs if account == bank])
        own = all([account == bank or _is_own(account, paid.account) for account, _, _, _ in row.legs])
        if gone != paid.amount_micro or not own or row.currency != paid.currency or paid.status not in ("posted", "reversed"):
            return f"entry {row.number} does not credit what {paid.bank} {paid.serial} paid"
        day = ref.get("accounting_date", paid.accounting_date)
        if day != paid.accounting_date:
            return f"entry {row.number} is of {day}, but {paid.bank} {paid.serial} says that it is of {paid.accounting_date}"
        self.days[BankDay(paid.bank, day, paid.currency)] += gone
        return None

    def _closed(self, row: JournalRow) -> str | None:
        """A closing whose entry, record and recomputed state are not one and the same."""
        ref = row.ref or {}
        closing = next((closing for closing in self.closings.values() if closing.entry == row.number), None)
        if closing is None or (ref.get("upto"), ref.get("hash")) != (str(closing.upto), closing.hash):
            return f"entry {row.number} closes a period that is not closed so"
        if self.states.get(closing.upto, ref.get("digest")) != ref.get("digest"):
            return f"entry {row.number} closes with other balances than the entries up to {closing.upto} leave"
        return None

    def compare(self, *, whole: bool) -> None:
        """What the store keeps beside the journal must be what the journal says. whole: from its first entry on."""
        if self.finding is not None:
            return
        end, hash_ = self.tx.journal_end()
        audit = self.books.audit
        if (audit.number, audit.hash) != (end, hash_):
            self.finding = f"the journal stops at entry {audit.number}, but {end} were posted, or the last was another one"
            return
        audit.compare(self.tx.balances())
        self.finding = audit.finding or self._meters() or self.books.links.compare(self._row)
        if self.finding is None and whole:
            self.finding = self._days() or self.banks.compare() or self._uses() or verify_wallets(self.tx)

    def _meters(self) -> str | None:
        """Every billed meter stands where its billing says, and was billed from where its bill began."""
        for meter in self.tx.meters():
            billing = self.tx.billing(meter.id)
            if meter.account is None or billing is None or billing.confirmed is None or billing.first_wh is None:
                continue
            finding = self.books.energy.compare(meter.id, billing.confirmed.wh[TOTAL], billing.first_wh)
            if finding is not None:
                return finding
        return None

    def _uses(self) -> str | None:
        """What each account used by period is the energy that its entries charge, step by step and rate by rate."""
        for account, tariff in dict.fromkeys([*self.uses.sums, *((account.id, account.tariff) for account in self.tx.accounts())]):
            finding = self.uses.compare(account, tariff, self.tx.period_uses(account, tariff))
            if finding is not None:
                return finding
        return None

    def _days(self) -> str | None:
        """What each bank paid by accounting date, as the payments say and as the entries do."""
        paid = self.tx.paid_by_day()
        for day in sorted({*paid, *self.days}):
            if paid.get(day, 0) != self.days.get(day, 0):
                said = f"payments of {paid.get(day, 0)} micro-{day.currency}, entries of {self.days.get(day, 0)}"
                return f"bank {day.bank} has for {day.accounting_date} {said}"
        return None


def verify_ledger(tx: Tx, *, from_closing: bool = False) -> tuple[int, str | None]:
    """Number of the last entry checked, and the first finding in one sentence (None when all holds).

    Checks everything that domain.audit says of a journal in itself; then payments, reversals and transfers one by one against their
    entries, closings against the recomputed state, balances, banks by accounting date and their statements, and the billed energy
    of every meter.
    from_closing: trusts what the last closing fixed, and checks from there.
    """
    walk = Verification(tx, closings={closing.upto: closing for closing in tx.closings()})
    if from_closing and walk.closings:
        walk.finding = resume(walk, walk.closings[max(walk.closings)])
    begun = walk.number
    walk.walk()
    walk.compare(whole=begun == 0)
    return walk.number, walk.finding or verify_cuts(tx)


def resume(walk: Verification, closing: Closing) -> str | None:
    """Let the books stand where the closing left them; why that cannot be."""
    posted, state = walk.tx.entry(closing.entry), walk.tx.closing_state(closing.entry) or ""
    if posted is None or posted.entry.kind is not EntryKind.CLOSING or posted.entry.ref.get("digest") != digest(state):
        return f"entry {closing.entry} does not close with the balances that are kept for it"
    walk.books = books_of(state)
    if (walk.number, walk.books.audit.hash) != (closing.upto, closing.hash):
        return f"the closing of entry {closing.entry} is not one of entry {closing.upto}"
    return None


def _is_own(ledger_account: str, account: str) -> bool:
    head, _, rest = ledger_account.partition(":")
    return head == "revenue" or (head in _OWN and rest == account)


def _numbers(transfer: Transfer) -> Iterator[int]:
    yield transfer.pending
    if transfer.resolved is not None:
        yield transfer.resolved


def _reversal(row: JournalRow, reverses: int | None) -> str | None:
    if row.kind != EntryKind.REVERSAL or (row.ref or {}).get("reverses") != str(reverses):
        return f"entry {row.number} and the list of reversals do not agree on what it reverses"
    return None


_STATES = {EntryKind.TRANSFER_POSTED.value: TransferState.POSTED, EntryKind.TRANSFER_VOIDED.value: TransferState.VOIDED}


def _transfer(row: JournalRow, transfer: Transfer | None) -> str | None:
    """An entry of a transfer that the list of transfers does not have so."""
    ref, bad = row.ref or {}, f"entry {row.number} and the list of transfers do not agree"
    if transfer is None or row.kind not in TRANSFERS or ref.get("transfer") != transfer.id:
        return bad
    same = (transfer.currency, transfer.micro) == (row.currency, row.legs[0][1])
    if row.kind == EntryKind.TRANSFER_PENDING:
        agreed = row.number == transfer.pending and (ref["from"], ref["to"]) == (transfer.source, transfer.target)
    else:
        agreed = row.number == transfer.resolved and transfer.state is _STATES[row.kind] and transfer.state in RESOLVED
    return None if same and agreed else bad
