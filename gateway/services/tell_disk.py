"""A disk without room is a finding as long as it lasts (prepayment.md 5, F6)."""

from __future__ import annotations

from gateway.domain.findings import FindingKind
from gateway.services.findings import found, over
from gateway.services.ports import Tx

SUBJECT = "gateway"


def tell_disk(tx: Tx, low: str | None, now_ms: int) -> None:
    """low: why only what is essential is written down, None while there is room."""
    if low is None:
        over(tx, FindingKind.DISK_LOW, SUBJECT, now_ms)
    elif tx.finding(FindingKind.DISK_LOW, SUBJECT) is None:  # how little there is changes with every look
        found(tx, FindingKind.DISK_LOW, SUBJECT, f"{low}; no money is taken and nothing is cut", now_ms)
