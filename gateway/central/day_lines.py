"""An accounting date of a bank at the centre's door, in the form of the bank's own file (contract.md 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

from sqlalchemy import ColumnElement, Connection, Row, func, select

from gateway.central import schema
from gateway.central.payments import Booked, booked
from gateway.domain.bank_acts import ReversalState
from gateway.domain.bank_terms import SerialScope
from gateway.domain.day_file import REVERSAL, TOPUP, DayLine
from gateway.domain.differences import Known
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import format_money

AT_ONCE = 10_000
"""Rows that are fetched together: 4 MB."""

ASIDE = "resolution/"
"""Begins the serial of a reversal that two people made and no bank's file has: it and its payment are nothing of the day. No bank's
own serial has a slash."""

_p = schema.payment.c


def day_lines(connection: Connection, bank: str, day: str) -> Iterator[DayLine]:
    """What bank and centre owe each other of that day: every payment taken on it, then every reversal that undid one on it."""
    for part, order, line in (
        (_paid_on(bank, day), _p.at_ms, _payment_line),
        (_undone_on(bank, day), _p.reversal_ms, _reversal_line),
    ):
        query = select(schema.payment).where(*part).order_by(order, _p.institution, _p.scope, _p.serial)
        for row in connection.execute(query.execution_options(yield_per=AT_ONCE)):
            yield line(row)


def totals(connection: Connection, bank: str, day: str) -> tuple[int, Mapping[str, int]]:
    """Number of its lines, and micro-units by currency: what was paid less what was undone."""
    count, sums = 0, dict[str, int]()
    for part, sign in ((_paid_on(bank, day), 1), (_undone_on(bank, day), -1)):
        query = select(_p.currency, func.count(), func.sum(_p.amount_micro)).where(*part).group_by(_p.currency)
        for currency, lines, micro in connection.execute(query):
            count += lines
            sums[currency] = sums.get(currency, 0) + sign * int(micro)
    return count, dict(sorted(sums.items()))


def waits(connection: Connection, bank: str, day: str) -> bool:
    """Whether a reversal on this day, or of a payment of it, is not decided."""
    on = (_p.reversal_date == day) | (_p.accounting_date == day)
    query = select(_p.serial).where(_p.bank == bank, on, _p.reversal_state == ReversalState.PENDING.value).limit(1)
    return connection.scalar(query) is not None


class Look:
    """Looks up in our books what a line of the bank's file is about."""

    def __init__(self, connection: Connection, bank: str, day: date, scope: SerialScope) -> None:
        self._connection, self._bank = connection, bank
        near = (day.toordinal() + beside for beside in (0, -1, 1))
        days = [date.fromordinal(each) for each in near if 1 <= each <= date.max.toordinal()]
        self._scopes = tuple(each.isoformat() for each in days) if scope is SerialScope.ACCOUNTING_DATE else ("",)

    def __call__(self, line: DayLine) -> Known:
        found = self._booked(line.institution, line.original_serial if line.type == REVERSAL else line.serial)
        if found is None or line.type not in (TOPUP, REVERSAL):
            return Known(None, "", "")
        payment, tomb = found.payment, found.reversal_state == ReversalState.TOMBSTONE
        standing = "tombstone" if tomb else payment.status
        if found.reversal_serial.startswith(ASIDE):
            return Known(None, "", standing)
        if line.type == TOPUP:
            return Known(None if payment.receipt is None else _line(found, TOPUP), payment.accounting_date, standing)
        if found.reversal_state != ReversalState.DONE:
            return Known(None, "", standing)
        return Known(_line(found, REVERSAL), found.reversal_date, standing)

    def _booked(self, institution: str, serial: str) -> Booked | None:
        who = (PaymentIdentity(self._bank, institution, scope, serial) for scope in self._scopes)
        return next((found for each in who if (found := booked(self._connection, each)) is not None), None)


def _paid_on(bank: str, day: str) -> tuple[ColumnElement[bool], ...]:
    return _p.bank == bank, _p.accounting_date == day, _p.receipt.is_not(None), _p.reversal_serial.not_like(f"{ASIDE}%")


def _undone_on(bank: str, day: str) -> tuple[ColumnElement[bool], ...]:
    done = _p.reversal_state == ReversalState.DONE.value
    return _p.bank == bank, _p.reversal_date == day, done, _p.reversal_serial.not_like(f"{ASIDE}%")


def _payment_line(row: Row[tuple[object, ...]]) -> DayLine:
    amount = format_money(row.amount_micro, row.currency)
    return DayLine(row.serial, row.account, amount, row.currency, TOPUP, "", row.paid_at, row.channel, row.institution)


def _reversal_line(row: Row[tuple[object, ...]]) -> DayLine:
    amount, at = format_money(row.amount_micro, row.currency), row.reversal_requested or row.paid_at
    return DayLine(row.reversal_serial, row.account, amount, row.currency, REVERSAL, row.serial, at, "", row.institution)


def _line(found: Booked, kind: str) -> DayLine:
    paid, undone = found.payment, kind == REVERSAL
    return DayLine(
        found.reversal_serial if undone else paid.identity.serial,
        paid.account,
        format_money(paid.amount_micro, paid.currency),
        paid.currency,
        kind,
        paid.identity.serial if undone else "",
        found.reversal_requested or paid.paid_at if undone else paid.paid_at,
        "" if undone else paid.channel,
        paid.identity.institution,
    )
