"""Receipts that were booked before there was a key are signed when they are first asked for, and stay as they are then."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from gateway.domain.bank_acts import ReversalOutcome
from gateway.domain.records import Payment
from gateway.services.ports import Site, TopUpOutcome, Tx

Outcome = TypeVar("Outcome", TopUpOutcome, ReversalOutcome)


def unsealed(payment: Payment | None, site: Site) -> bool:
    """Whether this payment has a receipt that is not signed, and could be."""
    return payment is not None and payment.receipt is not None and payment.receipt_jws is None and site.seal is not None


def seal_receipt(tx: Tx, payment: Payment, site: Site) -> Payment:
    """The payment as it is stored, its receipt signed from now on."""
    stored = tx.payment(payment.identity) or payment
    if not unsealed(stored, site):
        return stored
    assert stored.receipt is not None and site.seal is not None
    sealed = site.seal(stored.receipt)
    tx.seal_receipt(stored.identity, sealed)
    return replace(stored, receipt_jws=sealed)


def with_seal(tx: Tx, outcome: Outcome, site: Site) -> Outcome:
    """An answer whose receipt is signed."""
    if not unsealed(outcome.payment, site):
        return outcome
    return replace(outcome, payment=seal_receipt(tx, outcome.payment, site))
