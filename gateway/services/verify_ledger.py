"""Recompute the money from its journal (prepayment.md, "What we decided" 8)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.domain.ledger import Audit, EntryKind, Leg, PostedEntry, customer
from gateway.domain.readings import TOTAL
from gateway.domain.requests import PaymentIdentity
from gateway.services.ports import Tx

PAGE = 1000
"""Entries per read: bounds memory, and is long enough for one read to be cheap."""


def verify_ledger(tx: Tx) -> tuple[int, str | None]:
    """Number of entries checked, and the first finding in one sentence (None when all holds).

    Checks: dense numbers, hash chain to the journal's end as the store keeps it, balanced entries, balances equal to the sums of
    entries, every top-up the posting of one payment, the energy of every meter without gap or overlap from the first billed
    register to the last.
    """
    audit, chain = Audit(), EnergyChain()
    try:
        for posted in _journal(tx):
            audit.take((posted,))
            audit.finding = audit.finding or chain.take(posted) or _payment(tx, posted)
            if audit.finding is not None:
                return posted.number, audit.finding
    except (ValueError, KeyError) as unsound:  # one that does not balance, or lacks its references, cannot even be read
        return audit.number, f"after entry {audit.number} comes one that is none: {unsound}"
    end, hash_ = tx.journal_end()
    if (audit.number, audit.hash) != (end, hash_):
        return audit.number, f"the journal stops at entry {audit.number}, but {end} were posted, or the last was another one"
    audit.compare(tx.balances())
    return audit.number, audit.finding or chain.compare(tx)


def _payment(tx: Tx, posted: PostedEntry) -> str | None:
    """A top-up without its payment, or the second one of a payment."""
    entry = posted.entry
    if entry.kind is not EntryKind.TOPUP:
        return None
    identity = PaymentIdentity(*(entry.ref[part] for part in ("bank", "institution", "scope", "serial")))
    payment = tx.payment(identity)
    if payment is None or payment.entry != posted.number:
        return f"entry {posted.number} tops up by {identity.bank} {identity.serial}, but that payment is not posted by it"
    if Leg(customer(payment.account), payment.amount_micro) not in entry.legs:
        return f"entry {posted.number} does not credit what {identity.bank} {identity.serial} paid"
    return None


def _journal(tx: Tx) -> Iterator[PostedEntry]:
    after = 0
    while page := tx.entries(after, PAGE):
        yield from page
        after = page[-1].number


class EnergyChain:
    """Follows the billed registers of every meter through the charges."""

    def __init__(self) -> None:
        self.begun: dict[str, int] = {}
        self.reached: dict[str, int] = {}

    def take(self, posted: PostedEntry) -> str | None:
        """The finding that this entry brings, or None."""
        entry = posted.entry
        if entry.kind not in (EntryKind.CHARGE, EntryKind.REGISTER):
            return None
        meter = entry.ref["meter"]
        start, end = (int(wh) for wh in entry.ref[TOTAL].split("-"))
        self.begun.setdefault(meter, start)
        before = self.reached.get(meter, start)
        self.reached[meter] = end
        if start != before or (end < start and entry.kind is EntryKind.CHARGE):
            return f"entry {posted.number} bills meter {meter} from {start} Wh, but it was billed to {before} Wh"
        return None

    def compare(self, tx: Tx) -> str | None:
        """Every billed meter stands where its billing says, and was billed from where its bill began."""
        for meter in tx.meters():
            billing = tx.billing(meter.id)
            if meter.account is None or billing is None or billing.confirmed is None:
                continue
            stands, first = billing.confirmed.wh[TOTAL], billing.first_wh
            reached = self.reached.get(meter.id, first)
            if stands != reached:
                return f"meter {meter.id} is billed to {reached} Wh in the ledger, but its billing stands at {stands} Wh"
            if self.begun.get(meter.id, first) != first:
                return f"meter {meter.id} is billed from {self.begun[meter.id]} Wh in the ledger, but its bill began at {first} Wh"
        return None
