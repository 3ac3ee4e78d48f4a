"""What the use cases need of a store for banks: part of `ports.Tx`."""

from __future__ import annotations

from typing import Protocol


class BankTx(Protocol):
    """Reversals, day files, settlements and mandates within one transaction."""
