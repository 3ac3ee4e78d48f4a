"""Payments and reversals of lines that name a payment by its trace (ISO 8583): the two use cases, behind the way to a serial."""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.bank_acts import Reversal, ReversalOutcome
from gateway.domain.requests import TopUp
from gateway.domain.traces import Trace, the_one
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import InvalidField, Site, TopUpOutcome, Tx
from gateway.services.reverse_topup import reverse_topup


def apply_traced(tx: Tx, topup: TopUp, trace: Trace, site: Site, now_ms: int, *, dated: bool = False) -> TopUpOutcome:
    """apply_topup, after which field 90 of a reversal finds the payment; one that was reversed before it came stays reversed.

    dated: the serial has its own day and time, and is the same payment under whatever accounting date it is repeated. It has no
    year: one that comes again in another year is the payment that was there first. A clock that jumped and a message that somebody
    kept look the same, and neither may credit twice; a true namesake shows when the day is reconciled.
    """
    known = tx.traces(trace.bank, trace.original)
    same = next((each for each in known if each.serial == trace.serial and (dated or each.scope == trace.scope)), None)
    found = same or next((each for each in known if each.early and each.fits(trace)), None)
    if found is None:
        tx.add_trace(trace)
    else:
        topup = replace(topup, identity=replace(topup.identity, scope=found.scope, serial=found.serial))
    return apply_topup(tx, topup, site, now_ms)


def reverse_traced(tx: Tx, reversal: Reversal, trace: Trace, site: Site, now_ms: int) -> ReversalOutcome:
    """reverse_topup of the payment that this trace names; of none: a tombstone under the trace's own serial.

    InvalidField where the trace fits several payments: none of them is touched.
    """
    try:
        known = the_one(trace, tx.traces(trace.bank, trace.original))
    except LookupError as several:
        raise InvalidField("original", str(several)) from None
    if known is None:
        known = replace(trace, early=True)
        tx.add_trace(known)
    identity = replace(reversal.identity, scope=known.scope, serial=known.serial)
    return reverse_topup(tx, replace(reversal, identity=identity), site, now_ms)
