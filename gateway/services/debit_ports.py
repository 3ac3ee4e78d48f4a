"""What the use cases need of a store for the traces of bank lines and for direct debit: part of `ports.Tx`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.domain.mandates import Batch, DebitLine, Mandate
from gateway.domain.traces import Trace


class DebitTx(Protocol):
    """Traces, mandates and batches within one transaction."""

    def traces(self, bank: str, original: str) -> Sequence[Trace]:
        """At most MOST_TRACES of them, by serial."""

    def add_trace(self, trace: Trace) -> None:
        """Duplicate if this bank's original has this scope and serial."""

    def mandate(self, mandate: str) -> Mandate | None: ...
    def mandates(self, bank: str | None, after: str, limit: int) -> Sequence[Mandate]:
        """Of this bank, or of all, whose id stands behind `after`, by id."""

    def save_mandate(self, mandate: Mandate) -> None:
        """Duplicate where another mandate of this account at any bank is signed."""

    def batch(self, batch: str) -> Batch | None: ...
    def batches(self, limit: int) -> Sequence[Batch]:
        """The newest days first."""

    def add_batch(self, batch: Batch, lines: Sequence[DebitLine]) -> None:
        """Duplicate if the id is known, or a mandate has a line without a result already."""

    def debit_line(self, bank: str, serial: str) -> DebitLine | None: ...
    def debit_lines(self, batch: str) -> Sequence[DebitLine]:
        """In their order."""

    def open_debit(self, mandate: str) -> DebitLine | None:
        """The line of this mandate that has no result."""

    def save_debit_line(self, line: DebitLine) -> None:
        """Its state and what the bank said."""
