"""How a bank's line names a payment, beside its serial: what the reversal's field 90 will say of it (contract.md 3, ISO 8583)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trace:
    """A payment, or a reversal that came before its payment, as its line names it.

    original: the trace number, time and institutions of field 90. scope, serial: those of the payment's identity. parts: what else
    is in the identity, by field. early: a reversal wrote it, and its payment has not come.
    """

    bank: str
    original: str
    scope: str
    serial: str
    parts: Mapping[str, str]
    early: bool = False

    def fits(self, other: Trace) -> bool:
        """Whether both may name the same payment: no part that both know differs."""
        return all(other.parts.get(number, text) == text for number, text in self.parts.items())


def the_one(trace: Trace, found: Iterable[Trace]) -> Trace | None:
    """Of the known traces with the same original the payment that a reversal means: the same serial, else the only one that fits.

    None where nothing fits. LookupError where several do.
    """
    fitting = [each for each in found if each.fits(trace)]
    same = [each for each in fitting if each.serial == trace.serial]
    if len(same or fitting) > 1:
        raise LookupError(f"{len(fitting)} payments have the original {trace.original}")
    return next(iter(same or fitting), None)
