"""What banks bring after a payment, on SQLite and PostgreSQL (services/bank_ports)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Integer, Text, and_, bindparam, exists, func, select, tuple_, update

from gateway.adapters.store import schema_bank as schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.schema import payment
from gateway.adapters.store.statements import Part, Row, Statement, once, upsert
from gateway.domain import day_file
from gateway.domain.bank_acts import BookedRefund, BookedReversal, BookedSettlement, ClosedDay, Origin, RefundState, ReversalState
from gateway.domain.day_file import DayLine
from gateway.domain.records import Counted, DayKey
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import DECIMALS, format_money
from gateway.services.ports import Duplicate

_p, _r, _f, _s = payment.c, schema.reversal.c, schema.refund.c, schema.settlement.c
_d, _t = schema.closed_day.c, schema.taking.c

_bank, _date = bindparam("bank", type_=Text), bindparam("accounting_date", type_=Text)
_identity = {name: bindparam(name, type_=Text) for name in schema.NAMED}

MARK_REVERSED = Statement(
    update(payment)
    .where(*(_p[name] == bindparam(f"of_{name}") for name in schema.NAMED), _p.status == "posted")
    .values(status="reversed")
)
SEAL_RECEIPT = Statement(
    update(payment)
    .where(*(_p[name] == bindparam(f"of_{name}") for name in schema.NAMED), _p.receipt.is_not(None), _p.receipt_jws.is_(None))
    .values(receipt_jws=bindparam("jws", type_=Text))
)

REVERSAL = Statement(select(schema.reversal).where(*(_r[name] == each for name, each in _identity.items())))
ADD_REVERSAL = once(schema.reversal, *schema.NAMED)
DECIDE_REVERSAL = Statement(
    update(schema.reversal)
    .where(*(_r[name] == bindparam(f"of_{name}") for name in schema.NAMED), schema.waits)
    .values({name: bindparam(f"new_{name}") for name in ("state", "decided_ms", "entry", "document", "detail")})
)
SET_ASIDE = Statement(
    update(schema.reversal).where(*(_r[name] == bindparam(f"of_{name}") for name in schema.NAMED)).values(origin="resolution")
)
PENDING = Statement(select(schema.reversal).where(schema.waits).order_by(_r.at_ms, _r.serial))

REFUND = Statement(select(schema.refund).where(*(_f[name] == each for name, each in _identity.items())))
ADD_REFUND = once(schema.refund, *schema.NAMED)
DECIDE_REFUND = Statement(
    update(schema.refund)
    .where(*(_f[name] == bindparam(f"of_{name}") for name in schema.NAMED), _f.state == "asked")
    .values({name: bindparam(f"new_{name}") for name in ("state", "entry", "document")})
)
_originals = (_f[f"original_{name}"] == each for name, each in _identity.items())
REFUNDS_OF = Statement(select(schema.refund).where(*_originals).order_by(_f.institution, _f.scope, _f.serial))

SETTLEMENT = Statement(select(schema.settlement).where(_s.bank == _bank, _s.fund_batch == bindparam("fund_batch")))
ADD_SETTLEMENT = once(schema.settlement, "bank", "fund_batch")
SETTLEMENTS = Statement(select(schema.settlement).where(_s.bank == _bank, _s.accounting_date == _date).order_by(_s.fund_batch))

REVERSALS_POSTED, REFUNDS_POSTED, SETTLEMENTS_POSTED = (
    Statement(select(table).where(table.c.entry > bindparam("after"), table.c.entry <= bindparam("upto")).order_by(table.c.entry))
    for table in (schema.reversal, schema.refund, schema.settlement)
)

CLOSED_DAY = Statement(select(schema.closed_day).where(_d.bank == _bank, _d.accounting_date == _date))
CLOSED_DAYS = Statement(select(schema.closed_day).order_by(_d.bank, _d.accounting_date))
CLOSE_DAY = once(schema.closed_day, "bank", "accounting_date")

_named = (_p.institution, _p.scope, _p.serial)
_aside = exists().where(*(_r[name] == _p[name] for name in schema.NAMED), _r.origin == "resolution", _r.state == "done")
_most = bindparam("most", type_=Integer)
_after = tuple_(*(bindparam(f"after_{name}", type_=Text) for name in ("institution", "scope", "serial")))
_paid = and_(_p.bank == _bank, _p.accounting_date == _date, _p.entry.is_not(None), ~_aside)
_undone = and_(_r.bank == _bank, _r.accounting_date == _date, _r.state == "done", _r.origin == "bank")
_given = and_(_f.bank == _bank, _f.accounting_date == _date, _f.state == "paid")
DAY_PAYMENTS = Statement(
    select(*_named, _p.account, _p.amount_micro, _p.currency, _p.paid_at, _p.channel)
    .where(_paid, tuple_(*_named) > _after).order_by(*_named).limit(_most)
)  # fmt: skip
_reversed = (_r.institution, _r.scope, _r.serial)
DAY_REVERSALS = Statement(
    select(*_reversed, _r.reversal_serial, _r.account, _r.amount_micro, _r.currency, _r.requested_at)
    .where(_undone, tuple_(*_reversed) > _after).order_by(*_reversed).limit(_most)
)  # fmt: skip
_refunded = (_f.institution, _f.scope, _f.serial)
DAY_REFUNDS = Statement(
    select(*_refunded, _f.original_serial, _f.account, _f.amount_micro, _f.currency, _f.at_ms)
    .where(_given, tuple_(*_refunded) > _after).order_by(*_refunded).limit(_most)
)  # fmt: skip
DAY_TOTALS = tuple(
    Statement(select(c.currency, func.count(), func.sum(c.amount_micro)).where(of).group_by(c.currency))
    for c, of in ((_p, _paid), (_r, _undone), (_f, _given))
)

_counted = select(func.count(), func.coalesce(func.sum(_p.amount_micro), 0)).where(
    _p.bank == _bank, _p.accounting_date == _date, _p.currency == bindparam("currency"), _p.status == "posted"
)
ACCOUNT_TAKEN = Statement(_counted.where(_p.account == bindparam("account")))
ACCOUNT_CHANNEL = Statement(_counted.where(_p.account == bindparam("account"), _p.channel == bindparam("channel")))
COUNT_ALL = Statement(_counted)
COUNT_CHANNEL = Statement(_counted.where(_p.channel == bindparam("channel")))
_part = (_t.bank == _bank, _t.accounting_date == _date, _t.part == bindparam("part"))
TAKINGS = Statement(select(_t.count, _t.micro).where(*_part))
SAVE_TAKINGS = upsert(schema.taking)

FIRST = {"after_institution": "", "after_scope": "", "after_serial": ""}
CHANNEL = "channel:"


class BankBooks(Part):
    """The banks' share of a transaction: payments taken back or given back, settlements, days."""

    def mark_reversed(self, identity: PaymentIdentity) -> None:
        if not self._session.change(MARK_REVERSED, **_of(identity)):
            raise LookupError(f"the payment {identity} is not posted")

    def seal_receipt(self, identity: PaymentIdentity, jws: str) -> None:
        if not self._session.change(SEAL_RECEIPT, **_of(identity), jws=jws):
            raise LookupError(f"the payment {identity} has no receipt that is not signed")

    def bank_reversal(self, identity: PaymentIdentity) -> BookedReversal | None:
        row = self._session.row(REVERSAL, **asdict(identity))
        return None if row is None else _reversal(row)

    def add_bank_reversal(self, reversal: BookedReversal) -> None:
        if not self._session.change(ADD_REVERSAL, **_flat(reversal)):
            raise Duplicate(f"the payment {reversal.identity} has its reversal already")

    def save_bank_reversal(self, reversal: BookedReversal) -> None:
        new = {f"new_{name}": getattr(reversal, name) for name in ("state", "decided_ms", "entry", "document", "detail")}
        if not self._session.change(DECIDE_REVERSAL, **_of(reversal.identity), **new):
            raise LookupError(f"the reversal of {reversal.identity} is decided, or was never added")

    def set_aside(self, identity: PaymentIdentity) -> None:
        if not self._session.change(SET_ASIDE, **_of(identity)):
            raise LookupError(f"the payment {identity} has no reversal")

    def reversals_posted(self, after: int, upto: int) -> Sequence[BookedReversal]:
        return [_reversal(row) for row in self._session.rows(REVERSALS_POSTED, after=after, upto=upto)]

    def refunds_posted(self, after: int, upto: int) -> Sequence[BookedRefund]:
        return [_refund(row) for row in self._session.rows(REFUNDS_POSTED, after=after, upto=upto)]

    def settlements_posted(self, after: int, upto: int) -> Sequence[BookedSettlement]:
        return [BookedSettlement(*row) for row in self._session.rows(SETTLEMENTS_POSTED, after=after, upto=upto)]

    def pending_reversals(self) -> Sequence[BookedReversal]:
        return [_reversal(row) for row in self._session.rows(PENDING)]

    def bank_refund(self, identity: PaymentIdentity) -> BookedRefund | None:
        row = self._session.row(REFUND, **asdict(identity))
        return None if row is None else _refund(row)

    def add_bank_refund(self, refund: BookedRefund) -> None:
        original = {f"original_{name}": value for name, value in asdict(refund.original).items()}
        values = {name: value for name, value in _flat(refund).items() if name != "original"}
        if not self._session.change(ADD_REFUND, **values, **original):
            raise Duplicate(f"the refund {refund.identity} is known already")

    def save_bank_refund(self, refund: BookedRefund) -> None:
        new = {f"new_{name}": getattr(refund, name) for name in ("state", "entry", "document")}
        if not self._session.change(DECIDE_REFUND, **_of(refund.identity), **new):
            raise LookupError(f"the refund {refund.identity} has ended, or was never added")

    def refunds_of(self, original: PaymentIdentity) -> Sequence[BookedRefund]:
        return [_refund(row) for row in self._session.rows(REFUNDS_OF, **asdict(original))]

    def settlement(self, bank: str, fund_batch: str) -> BookedSettlement | None:
        row = self._session.row(SETTLEMENT, bank=bank, fund_batch=fund_batch)
        return None if row is None else BookedSettlement(*row)

    def add_settlement(self, settlement: BookedSettlement) -> None:
        if not self._session.change(ADD_SETTLEMENT, **asdict(settlement)):
            raise Duplicate(f"fund batch {settlement.fund_batch} of bank {settlement.bank} is booked already")

    def settlements(self, bank: str, accounting_date: str) -> Sequence[BookedSettlement]:
        return [BookedSettlement(*row) for row in self._session.rows(SETTLEMENTS, bank=bank, accounting_date=accounting_date)]

    def closed_day(self, bank: str, accounting_date: str) -> ClosedDay | None:
        row = self._session.row(CLOSED_DAY, bank=bank, accounting_date=accounting_date)
        return None if row is None else _closed(row)

    def close_day(self, day: ClosedDay) -> None:
        if not self._session.change(CLOSE_DAY, **{**_flat(day), "totals": encode(day.totals)}):
            raise Duplicate(f"accounting date {day.accounting_date} of bank {day.bank} is closed already")

    def closed_days(self) -> Sequence[ClosedDay]:
        return [_closed(row) for row in self._session.rows(CLOSED_DAYS)]

    def day_lines(self, bank: str, accounting_date: str, after: DayKey | None, limit: int) -> Sequence[tuple[DayKey, DayLine]]:
        part, found = after.part if after is not None else 0, list[tuple[DayKey, DayLine]]()
        start = FIRST if after is None else {f"after_{name}": getattr(after, name) for name in ("institution", "scope", "serial")}
        for number, (statement, line) in enumerate(_PARTS):
            if number < part or len(found) >= limit:
                continue
            rows = self._session.rows(
                statement,
                bank=bank,
                accounting_date=accounting_date,
                most=limit - len(found),
                **(start if number == part else FIRST),
            )
            found += [(DayKey(number, *row[:3]), line(row)) for row in rows]
        return found

    def day_totals(self, bank: str, accounting_date: str) -> tuple[int, Mapping[str, int]]:
        lines, sums = 0, dict[str, int]()
        for number, statement in enumerate(DAY_TOTALS):
            for currency, count, micro in self._session.rows(statement, bank=bank, accounting_date=accounting_date):
                lines += count
                sums[currency] = sums.get(currency, 0) + (int(micro) if number == 0 else -int(micro))
        return lines, sums

    def account_taken(self, bank: str, accounting_date: str, account: str, currency: str, channel: str = "") -> Counted:
        of: dict[str, str] = {"bank": bank, "accounting_date": accounting_date, "account": account, "currency": currency}
        found = self._session.row(ACCOUNT_CHANNEL, **of, channel=channel) if channel else self._session.row(ACCOUNT_TAKEN, **of)
        return _sum(found)

    def takings(self, bank: str, accounting_date: str, part: str) -> Counted | None:
        row = self._session.row(TAKINGS, bank=bank, accounting_date=accounting_date, part=part)
        return None if row is None else _sum(row)

    def count_takings(self, bank: str, accounting_date: str, part: str, currency: str) -> Counted:
        if part.startswith(CHANNEL):
            channel = part.removeprefix(CHANNEL)
            return _sum(
                self._session.row(COUNT_CHANNEL, bank=bank, accounting_date=accounting_date, currency=currency, channel=channel)
            )
        return _sum(self._session.row(COUNT_ALL, bank=bank, accounting_date=accounting_date, currency=currency))

    def save_takings(self, bank: str, accounting_date: str, part: str, takings: Counted) -> None:
        self._session.change(
            SAVE_TAKINGS, bank=bank, accounting_date=accounting_date, part=part, count=takings.count, micro=takings.micro
        )


def _of(identity: PaymentIdentity) -> dict[str, str]:
    return {f"of_{name}": value for name, value in asdict(identity).items()}


def _flat(record: BookedReversal | BookedRefund | ClosedDay) -> dict[str, str | int | None]:
    """A record as columns, its identity among them."""
    names = (name for name in record.__dataclass_fields__ if name != "identity")
    values = {name: getattr(record, name) for name in names}
    identity = getattr(record, "identity", None)
    return values if identity is None else {**asdict(identity), **values}


def _reversal(row: Row) -> BookedReversal:
    serial, date, account, micro, currency, reason, requested, origin, state, *rest = row[4:]
    return BookedReversal(
        PaymentIdentity(*row[:4]), serial, date, account, micro, currency, reason, requested, Origin(origin), ReversalState(state),
        *rest,
    )  # fmt: skip


def _refund(row: Row) -> BookedRefund:
    date, account, micro, currency, reason, state, *rest = row[8:]
    return BookedRefund(
        PaymentIdentity(*row[:4]), PaymentIdentity(*row[4:8]), date, account, micro, currency, reason, RefundState(state), *rest
    )


def _closed(row: Row) -> ClosedDay:
    bank, date, version, lines, totals, closed_ms = row
    return ClosedDay(bank, date, version, lines, decode(totals, dict[str, int]), closed_ms)


def _sum(row: Row | None) -> Counted:
    return Counted(0, 0) if row is None else Counted(int(row[0]), int(row[1]))


def _amount(micro: int, currency: str) -> str:
    """As format_money, for the million lines of a day."""
    if micro < 0 or DECIMALS[currency] != 2:
        return format_money(micro, currency)
    whole, cents = divmod(micro // 10_000, 100)
    return f"{whole}.{cents:02d}"


def _payment_line(row: Row) -> DayLine:
    institution, _, serial, account, micro, currency, paid_at, channel = row
    return DayLine(serial, account, _amount(micro, currency), currency, day_file.TOPUP, "", paid_at, channel, institution)


def _reversal_line(row: Row) -> DayLine:
    institution, _, serial, own, account, micro, currency, at = row
    return DayLine(own, account, format_money(micro, currency), currency, day_file.REVERSAL, serial, at, "", institution)


def _refund_line(row: Row) -> DayLine:
    institution, _, serial, original, account, micro, currency, at_ms = row
    at = day_file.moment(at_ms)
    return DayLine(serial, account, format_money(micro, currency), currency, day_file.REFUND, original, at, "", institution)


_PARTS = ((DAY_PAYMENTS, _payment_line), (DAY_REVERSALS, _reversal_line), (DAY_REFUNDS, _refund_line))
