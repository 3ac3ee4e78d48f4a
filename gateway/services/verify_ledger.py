"""Recompute the money from its journal (prepayment.md, "What we decided" 8)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.domain.ledger import Audit, EntryKind, PostedEntry
from gateway.domain.readings import TOTAL
from gateway.services.ports import Tx

PAGE = 1000
"""Entries per read: bounds memory, and is long enough for one read to be cheap."""


def verify_ledger(tx: Tx) -> tuple[int, str | None]:
    """Number of entries checked, and the first finding in one sentence (None when all holds).

    Checks: dense numbers, hash chain, balanced entries, balances equal to the sums of entries, the energy of every meter without
    gap or overlap from the first billed register to the last.
    """
    audit, chain = Audit(), EnergyChain()
    for posted in _journal(tx):
        audit.take((posted,))
        audit.finding = audit.finding or chain.take(posted)
        if audit.finding is not None:
            return posted.number, audit.finding
    audit.compare(tx.balances())
    return audit.number, audit.finding or chain.compare(tx)


def _journal(tx: Tx) -> Iterator[PostedEntry]:
    after = 0
    while page := tx.entries(after, PAGE):
        yield from page
        after = page[-1].number


class EnergyChain:
    """Follows the billed registers of every meter through the charges."""

    def __init__(self) -> None:
        self.reached: dict[str, int] = {}

    def take(self, posted: PostedEntry) -> str | None:
        """The finding that this entry brings, or None."""
        entry = posted.entry
        if entry.kind is not EntryKind.CHARGE:
            return None
        meter = entry.ref["meter"]
        start, end = (int(wh) for wh in entry.ref[TOTAL].split("-"))
        before = self.reached.get(meter, start)
        self.reached[meter] = end
        if start != before or end < start:
            return f"entry {posted.number} bills meter {meter} from {start} Wh, but it was billed to {before} Wh"
        return None

    def compare(self, tx: Tx) -> str | None:
        """Every billed meter stands where its billing says."""
        for meter, reached in sorted(self.reached.items()):
            billing = tx.billing(meter)
            stands = billing.confirmed.wh[TOTAL] if billing is not None and billing.confirmed is not None else None
            if stands != reached:
                return f"meter {meter} is billed to {reached} Wh in the ledger, but its billing stands at {stands} Wh"
        return None
