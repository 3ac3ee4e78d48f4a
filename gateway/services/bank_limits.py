"""How much a bank may bring: in one payment, to one account or in all on one of its days, and unsettled (contract.md 3)."""

from __future__ import annotations

from gateway.domain import ledger
from gateway.domain.bank_terms import Limits, PartnerTerms
from gateway.domain.records import Counted, Payment
from gateway.domain.requests import TopUp
from gateway.domain.units import DECIMALS, format_money
from gateway.services.ports import Tx

NO_LIMITS = Limits()


def over_limit(tx: Tx, topup: TopUp, terms: PartnerTerms) -> tuple[str, str] | None:
    """Code and sentence of the first limit that this payment would pass; None where it passes none.

    Limits are in the partner's currency and bind no payment in another one.
    """
    if topup.currency != terms.currency:
        return None
    own = terms.channels.get(topup.channel, NO_LIMITS)
    for limits, of, channel in ((terms.limits, f"bank {terms.bank}", ""), (own, f"channel {topup.channel}", topup.channel)):
        if limits != NO_LIMITS and (found := _over(tx, topup, limits, of, channel)) is not None:
            return found
    if terms.quota_micro is not None:
        owed = -tx.balance(ledger.bank_clearing(terms.bank), terms.currency)
        if owed + topup.amount_micro > terms.quota_micro:
            shown = format_money(terms.quota_micro, terms.currency)
            return "limit_exceeded", f"bank {terms.bank} may owe at most {shown} {terms.currency} before it settles"
    return None


def count_in(tx: Tx, topup: TopUp, terms: PartnerTerms) -> None:
    """A payment was posted: the day's running sums rise, where there are limits on them."""
    bank, day = topup.identity.bank, topup.accounting_date.isoformat()
    if topup.currency != terms.currency:
        return
    for part in _parts(topup.channel):
        known = tx.takings(bank, day, part)
        if known is not None:
            tx.save_takings(bank, day, part, Counted(known.count + 1, known.micro + topup.amount_micro))


def count_out(tx: Tx, payment: Payment, terms: PartnerTerms | None) -> None:
    """A payment was undone: what it used of the day's limits is free again."""
    if terms is None or payment.currency != terms.currency:
        return
    bank, day = payment.identity.bank, payment.accounting_date
    for part in _parts(payment.channel):
        known = tx.takings(bank, day, part)
        if known is not None:
            tx.save_takings(bank, day, part, Counted(known.count - 1, known.micro - payment.amount_micro))


def _over(tx: Tx, topup: TopUp, limits: Limits, of: str, channel: str) -> tuple[str, str] | None:
    micro, currency = topup.amount_micro, topup.currency
    least, most = limits.least_micro or 0, limits.payment_micro
    if micro < least or (most is not None and micro > most):
        upto = "" if most is None else f" to {format_money(most, currency)}"
        lowest = max(least, int(10 ** (6 - DECIMALS[currency])))
        return "amount_out_of_range", f"a payment through {of} is {format_money(lowest, currency)}{upto} {currency}"
    bank, day = topup.identity.bank, topup.accounting_date.isoformat()
    if limits.account_day_micro is not None or limits.account_day_count is not None:
        taken = tx.account_taken(bank, day, topup.account, currency, channel)
        if (text := _passes(taken, micro, limits.account_day_count, limits.account_day_micro, currency)) is not None:
            return "limit_exceeded", f"account {topup.account} takes through {of} at most {text} on {day}"
    if limits.day_micro is not None or limits.day_count is not None:
        part = f"channel:{channel}" if channel else ""
        counted = tx.takings(bank, day, part)
        if counted is None:
            counted = tx.count_takings(bank, day, part, currency)
            tx.save_takings(bank, day, part, counted)
        if (text := _passes(counted, micro, limits.day_count, limits.day_micro, currency)) is not None:
            return "limit_exceeded", f"{of} brings at most {text} on {day}"
    return None


def _passes(taken: Counted, micro: int, most_count: int | None, most_micro: int | None, currency: str) -> str | None:
    if most_count is not None and taken.count >= most_count:
        return f"{most_count} payments"
    if most_micro is not None and taken.micro + micro > most_micro:
        return f"{format_money(most_micro, currency)} {currency}"
    return None


def _parts(channel: str) -> tuple[str, ...]:
    return ("", f"channel:{channel}") if channel else ("",)
