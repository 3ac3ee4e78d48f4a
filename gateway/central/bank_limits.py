"""How much a bank may bring at the centre's door: in one payment, to one account and in all on one of its days (contract.md 3)."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from gateway.central import schema
from gateway.domain.bank_terms import Limits, PartnerTerms
from gateway.domain.records import Counted, Payment
from gateway.domain.requests import TopUp
from gateway.domain.units import MICRO, format_money

NO_LIMITS = Limits()

MOST_MICRO = 999_999 * MICRO
"""What a meter's register can show (prepayment.md f): a gateway would refuse the voucher of a larger payment, so we do at once."""

_p, _t = schema.payment.c, schema.takings.c


def over_limit(connection: Connection, topup: TopUp, terms: PartnerTerms, *, keep: bool = True) -> tuple[str, str] | None:
    """Code and sentence of the first limit that this payment would pass. Limits are in the partner's currency and bind no other.

    keep: running sums that were counted for it; False only reads.
    """
    if topup.amount_micro > MOST_MICRO:
        most = format_money(MOST_MICRO, topup.currency)
        return "amount_out_of_range", f"a payment is at most {most} {topup.currency}"
    if topup.currency != terms.currency:
        return None
    own = terms.channels.get(topup.channel, NO_LIMITS)
    for limits, of, channel in ((terms.limits, f"bank {terms.bank}", ""), (own, f"channel {topup.channel}", topup.channel)):
        if limits != NO_LIMITS and (found := _over(connection, topup, limits, of, channel, keep)) is not None:
            return found
    return None


def count_in(connection: Connection, payment: Payment) -> None:
    """A payment was posted: the day's running sums rise, where there are limits on them."""
    _count(connection, payment, 1)


def count_out(connection: Connection, payment: Payment) -> None:
    """A payment was undone: what it used of the day's limits is free again."""
    _count(connection, payment, -1)


def _count(connection: Connection, paid: Payment, sign: int) -> None:
    parts = {"", _part(paid.channel)}
    where = (
        _t.bank == paid.identity.bank,
        _t.day == paid.accounting_date,
        _t.currency == paid.currency,
        _t.part.in_(parts),
    )
    changed = {"count": _t["count"] + sign, "micro": _t.micro + sign * paid.amount_micro}
    connection.execute(update(schema.takings).where(*where).values(changed))


def _part(channel: str) -> str:
    return f"channel:{channel}" if channel else ""


def _over(connection: Connection, topup: TopUp, limits: Limits, of: str, channel: str, keep: bool) -> tuple[str, str] | None:
    micro, currency = topup.amount_micro, topup.currency
    least, most = limits.least_micro or 0, limits.payment_micro
    if micro < least or (most is not None and micro > most):
        upto = "" if most is None else f" to {format_money(most, currency)}"
        return "amount_out_of_range", f"a payment through {of} is {format_money(least, currency)}{upto} {currency}"
    day = topup.accounting_date.isoformat()
    if limits.account_day_micro is not None or limits.account_day_count is not None:
        taken = _taken(connection, topup, _p.account == topup.account, *([_p.channel == channel] if channel else []))
        if (text := _passes(taken, micro, limits.account_day_count, limits.account_day_micro, currency)) is not None:
            return "limit_exceeded", f"account {topup.account} takes through {of} at most {text} on {day}"
    if limits.day_micro is not None or limits.day_count is not None:
        taken = _running(connection, topup, channel, keep)
        if (text := _passes(taken, micro, limits.day_count, limits.day_micro, currency)) is not None:
            return "limit_exceeded", f"{of} brings at most {text} on {day}"
    return None


def _running(connection: Connection, topup: TopUp, channel: str, keep: bool) -> Counted:
    """The day's sum: counted once, and kept from then on."""
    key = {"bank": topup.identity.bank, "day": topup.accounting_date.isoformat()}
    key |= {"currency": topup.currency, "part": _part(channel)}
    query = select(_t["count"], _t.micro).where(*(_t[name] == value for name, value in key.items()))
    if (row := connection.execute(query).one_or_none()) is not None:
        return Counted(*row)
    counted = _taken(connection, topup, *([_p.channel == channel] if channel else []))
    if keep:
        connection.execute(insert(schema.takings).values(**key, count=counted.count, micro=counted.micro))
    return counted


def _taken(connection: Connection, topup: TopUp, *more: ColumnElement[bool]) -> Counted:
    query = select(func.count(), func.coalesce(func.sum(_p.amount_micro), 0)).where(
        _p.bank == topup.identity.bank,
        _p.accounting_date == topup.accounting_date.isoformat(),
        _p.status == "posted",
        _p.currency == topup.currency,
        *more,
    )
    count, micro = connection.execute(query).one()
    return Counted(int(count), int(micro))


def _passes(taken: Counted, micro: int, most_count: int | None, most_micro: int | None, currency: str) -> str | None:
    if most_count is not None and taken.count >= most_count:
        return f"{most_count} payments"
    if most_micro is not None and taken.micro + micro > most_micro:
        return f"{format_money(most_micro, currency)} {currency}"
    return None
