"""The share of the store in memory that bank lines' traces and direct debit have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.domain.mandates import Batch, DebitLine, DebitState, Mandate, MandateState
from gateway.domain.traces import Trace
from gateway.services.ports import Duplicate


@dataclass
class MemoryDebit:
    """`debit_ports.DebitTx` on dictionaries and lists."""

    kept_traces: list[Trace] = field(default_factory=list)
    kept_mandates: dict[str, Mandate] = field(default_factory=dict)
    kept_batches: dict[str, Batch] = field(default_factory=dict)
    kept_debits: dict[tuple[str, int], DebitLine] = field(default_factory=dict)

    def traces(self, bank: str, original: str) -> Sequence[Trace]:
        found = [each for each in self.kept_traces if (each.bank, each.original) == (bank, original)]
        return sorted(found, key=lambda each: (each.scope, each.serial))[:64]

    def add_trace(self, trace: Trace) -> None:
        known = self.traces(trace.bank, trace.original)
        if any((each.scope, each.serial) == (trace.scope, trace.serial) for each in known):
            raise Duplicate(trace.serial)
        self.kept_traces.append(trace)

    def mandate(self, mandate: str) -> Mandate | None:
        return self.kept_mandates.get(mandate)

    def mandates(self, bank: str | None, after: str, limit: int) -> Sequence[Mandate]:
        found = (each for each in self.kept_mandates.values() if bank in (None, each.bank) and each.id > after)
        return sorted(found, key=lambda each: each.id)[:limit]

    def save_mandate(self, mandate: Mandate) -> None:
        others = (each for each in self.kept_mandates.values() if each.id != mandate.id and each.account == mandate.account)
        if mandate.state is MandateState.SIGNED and any(each.state is MandateState.SIGNED for each in others):
            raise Duplicate(mandate.account)
        known = self.kept_mandates.get(mandate.id)
        kept = mandate if known is None else replace(known, state=mandate.state, ended_ms=mandate.ended_ms)
        self.kept_mandates[mandate.id] = kept

    def batch(self, batch: str) -> Batch | None:
        return self.kept_batches.get(batch)

    def batches(self, limit: int) -> Sequence[Batch]:
        by_id = sorted(self.kept_batches.values(), key=lambda each: each.id)
        return sorted(by_id, key=lambda each: each.accounting_date, reverse=True)[:limit]

    def add_batch(self, batch: Batch, lines: Sequence[DebitLine]) -> None:
        if batch.id in self.kept_batches or any(self.open_debit(line.mandate) is not None for line in lines):
            raise Duplicate(batch.id)
        self.kept_batches[batch.id] = batch
        self.kept_debits.update({(line.batch, line.number): line for line in lines})

    def debit_line(self, bank: str, serial: str) -> DebitLine | None:
        return next((each for each in self.kept_debits.values() if (each.bank, each.serial) == (bank, serial)), None)

    def debit_lines(self, batch: str) -> Sequence[DebitLine]:
        return [self.kept_debits[key] for key in sorted(self.kept_debits) if key[0] == batch]

    def open_debit(self, mandate: str) -> DebitLine | None:
        waits = (each for each in self.kept_debits.values() if each.mandate == mandate and each.state is DebitState.SENT)
        return next(waits, None)

    def save_debit_line(self, line: DebitLine) -> None:
        known = self.kept_debits[line.batch, line.number]
        if known.state is DebitState.SENT:
            self.kept_debits[line.batch, line.number] = replace(known, state=line.state, said=line.said)
