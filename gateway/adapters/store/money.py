"""The journal with its balances, and payments by their identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from itertools import groupby
from operator import itemgetter

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Integer, Text, bindparam, func, select

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.heads import JOURNAL, Heads
from gateway.adapters.store.later import Later, Values
from gateway.adapters.store.statements import Lookup, Part, Row, Rows, Session, Statement, Value
from gateway.domain.ledger import Entry, EntryKind, JournalRow, Leg, PostedEntry, booked
from gateway.domain.records import BankDay, Paid, Payment
from gateway.domain.requests import PaymentIdentity
from gateway.domain.statement import Move
from gateway.services.ports import Duplicate

_e, _l, _b, _p = schema.entry.c, schema.leg.c, schema.balance.c, schema.payment.c
_most = bindparam("most", type_=Integer)
_account, _number = bindparam("account", type_=Text), bindparam("number", type_=BigInteger)


ADD_ENTRIES = Rows(schema.entry, tuple(c.name for c in schema.entry.c))
ADD_LEGS = Rows(schema.leg, tuple(c.name for c in schema.leg.c))
ADD_PAYMENTS = Rows(schema.payment, tuple(c.name for c in schema.payment.c))
SAVE_BALANCES = Rows(
    schema.balance,
    tuple(c.name for c in schema.balance.c),
    lambda new: new.on_conflict_do_update(index_elements=["account", "currency"], set_={"micro": new.excluded.micro}),
)
LATE = frozenset({"entry", "leg", "balance", "payment"})

ENTRY_COLUMNS = (_e.number, _e.kind, _e.currency, _e.at_ms, _e.ref, _e.previous, _e.hash)
LEG_COLUMNS = (_l.entry, _l.position, _l.account, _l.micro)
_after = select(_e.number).where(_e.number > bindparam("after")).order_by(_e.number).limit(_most)
_touching = select(_l.entry).where(_l.account == _account).distinct().order_by(_l.entry.desc()).limit(_most)
_between = (
    select(_l.entry)
    .where(_l.account == _account, _l.entry > bindparam("after"), _l.entry <= bindparam("upto"))
    .distinct()
    .order_by(_l.entry)
    .limit(_most)
)


def _chosen(
    numbers: ColumnElement[bool], of_legs: ColumnElement[bool], *, newest_first: bool = False
) -> tuple[Statement, Statement]:
    """Entries, and their legs in the same order."""
    order, leg_order = (_e.number.desc(), _l.entry.desc()) if newest_first else (_e.number.asc(), _l.entry.asc())
    entries = select(*ENTRY_COLUMNS).where(numbers).order_by(order)
    return Statement(entries), Statement(select(*LEG_COLUMNS).where(of_legs).order_by(leg_order, _l.position))


ENTRY = _chosen(_e.number == _number, _l.entry == _number)
ENTRIES = _chosen(_e.number.in_(_after), _l.entry.in_(_after))
ENTRIES_OF = _chosen(_e.number.in_(_touching), _l.entry.in_(_touching), newest_first=True)
ENTRIES_ON = _chosen(_e.number.in_(_between), _l.entry.in_(_between))
_moved_there = select(func.sum(_l.micro)).where(_l.account == _account, _l.entry == _e.number).scalar_subquery()
MOVES_ON = Statement(
    select(_e.number, _e.kind, _e.currency, _e.at_ms, _e.ref, _moved_there).where(_e.number.in_(_between)).order_by(_e.number)
)

_range = (_e.number > bindparam("after"), _e.number <= bindparam("upto"))
JOURNAL_ROWS = Statement(
    select(*ENTRY_COLUMNS, _e.booked_ms).where(_e.number > bindparam("after")).order_by(_e.number).limit(_most)
)
JOURNAL_LEGS = Statement(
    select(_l.account, _l.micro, _l.after, _l.entry)
    .where(_l.entry > bindparam("after"), _l.entry <= bindparam("upto"))
    .order_by(_l.entry, _l.position)
)
BOOKED = Statement(select(_e.booked_ms).where(_e.number == _number))

BALANCE = Statement(select(_b.micro).where(_b.account == _account, _b.currency == bindparam("currency")))
BALANCES = Statement(select(_b.currency, _b.account, _b.micro))
_currency_of_leg = select(_e.currency).where(_e.number == _l.entry).scalar_subquery()  # a join would be walked from the entries
BALANCE_AT = Statement(
    select(_l.after)
    .where(_l.account == _account, _l.entry <= _number, _currency_of_leg == bindparam("currency"))
    .order_by(_l.entry.desc(), _l.position.desc())
    .limit(1)
)

PAYMENT = Statement(
    select(schema.payment).where(
        _p.bank == bindparam("bank"),
        _p.institution == bindparam("institution"),
        _p.scope == bindparam("scope"),
        _p.serial == bindparam("serial"),
    )
)
PAID = Statement(select(*(_p[name] for name in Paid._fields)).where(_p.entry > bindparam("after"), _p.entry <= bindparam("upto")))
PAID_UNDER = Lookup(select(schema.payment), (_p.bank, _p.institution, _p.scope, _p.serial))
_days = (_p.bank, _p.accounting_date, _p.currency)
PAID_BY_DAY = Statement(select(*_days, func.sum(_p.amount_micro)).where(_p.entry.is_not(None)).group_by(*_days))

_decode_ref = msgspec.json.Decoder(dict[str, str]).decode


class Money(Part):
    """The money's share of a transaction.

    Entries with their legs, balances and payments wait until somebody looks at one of them, or for the end of the batch.
    """

    _heads: Heads

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._new_balances = Later(self._write_balances)
        self._new_legs = Later(lambda rows: session.insert(ADD_LEGS, rows))
        self._new_entries = Later(self._write_entries)
        self._new_payments = Later(self._write_payments)
        self._books = (self._new_balances, self._new_legs, self._new_entries, self._new_payments)
        self._standing: dict[tuple[str, str], int] = {}
        self._last_booked: tuple[int, int] | None = None
        self._absent: set[PaymentIdentity] = set()
        self._fresh: dict[PaymentIdentity, Payment] = {}

    def journal_end(self) -> tuple[int, str]:
        return self._heads.get(JOURNAL)

    def add_entry(self, posted: PostedEntry) -> None:
        """The database itself refuses what does not balance, a number that leaves a hole, and a hash that does not chain."""
        entry, number = posted.entry, posted.number
        if number <= self.journal_end()[0]:  # nobody else is counting
            raise Duplicate(f"ledger entry {number} is there already")
        for position, leg in enumerate(entry.legs):
            after = self._standing[leg.account, entry.currency] = self.balance(leg.account, entry.currency) + leg.micro
            self._new_balances.add(entry.currency, leg.account, after)
            self._new_legs.add(number, position, leg.account, leg.micro, after)
        before_ms = self._last_booked[1] if self._last_booked and self._last_booked[0] == number - 1 else self._booked(number - 1)
        booked_ms = booked(before_ms, entry.at_ms)
        self._new_entries.add(
            number, entry.kind, entry.currency, entry.at_ms, encode(entry.ref), posted.previous, posted.hash, booked_ms
        )
        self._last_booked = number, booked_ms
        self._session.late(LATE, self._write_books)
        self._heads.move(JOURNAL, number, posted.hash)

    def _write_books(self) -> None:
        for later in self._books:
            later.flush()

    def _write_balances(self, rows: list[Values]) -> None:
        self._session.insert(SAVE_BALANCES, [*{row[:2]: row for row in rows}.values()])

    def _write_entries(self, rows: list[Values]) -> None:
        """Legs go first: with its entry they are complete, and nothing can be added to them."""
        self._new_legs.flush()
        self._session.insert(ADD_ENTRIES, rows)

    def _write_payments(self, rows: list[Values]) -> None:
        self._new_entries.flush()
        self._session.insert(ADD_PAYMENTS, rows)
        self._fresh.clear()
        self._absent.clear()

    def forget_books(self) -> None:
        """After a failed use case: only what waits or is stored counts."""
        self._absent.clear()
        self._last_booked = None
        rows = self._new_balances.rows
        self._standing = {(str(account), str(currency)): int(after or 0) for currency, account, after in rows}
        waiting = map(_payment, self._new_payments.rows)
        self._fresh = {payment.identity: payment for payment in waiting}
        self._session.late(LATE, self._write_books)

    def entry(self, number: int) -> PostedEntry | None:
        return next(iter(self._posted(ENTRY, number=number)), None)

    def entries(self, after: int, limit: int) -> Sequence[PostedEntry]:
        return self._posted(ENTRIES, after=after, most=limit)

    def entries_of(self, ledger_account: str, limit: int) -> Sequence[PostedEntry]:
        return self._posted(ENTRIES_OF, account=ledger_account, most=limit)

    def entries_on(self, ledger_account: str, after: int, upto: int, limit: int) -> Sequence[PostedEntry]:
        return self._posted(ENTRIES_ON, account=ledger_account, after=after, upto=upto, most=limit)

    def moves_on(self, ledger_account: str, after: int, upto: int, limit: int) -> Sequence[Move]:
        rows = self._session.rows(MOVES_ON, account=ledger_account, after=after, upto=upto, most=limit)
        return [
            Move(number, kind, currency, at_ms, _readable(ref), int(micro)) for number, kind, currency, at_ms, ref, micro in rows
        ]

    def journal_rows(self, after: int, limit: int) -> Sequence[JournalRow]:
        entries = self._session.rows(JOURNAL_ROWS, after=after, most=limit)
        if not entries:
            return []
        legs = self._session.rows(JOURNAL_LEGS, after=after, upto=entries[-1][0])
        return _journal(entries, legs)

    def entry_before(self, at_ms: int) -> int:
        """By halves: the journal's time never goes back, so that it needs no index."""
        last, found = self.journal_end()[0], 0
        for bit in reversed(range(last.bit_length())):
            tried = found + (1 << bit)
            if tried <= last and self._booked(tried) < at_ms:
                found = tried
        return found

    def _booked(self, number: int) -> int:
        row = self._session.row(BOOKED, number=number)
        return 0 if row is None else int(row[0])

    def balance(self, ledger_account: str, currency: str) -> int:
        standing = self._standing.get((ledger_account, currency))
        if standing is not None:
            return standing
        row = self._session.beside(BALANCE, account=ledger_account, currency=currency)
        return 0 if row is None else int(row[0])

    def balance_at(self, ledger_account: str, currency: str, number: int) -> int:
        row = self._session.row(BALANCE_AT, account=ledger_account, currency=currency, number=number)
        return 0 if row is None else int(row[0])

    def balances(self) -> Mapping[tuple[str, str], int]:
        return {(currency, account): micro for currency, account, micro in self._session.rows(BALANCES)}

    def foresee_payments(self, identities: Sequence[PaymentIdentity]) -> None:
        """Looks for all of these at once, before anything is booked; those that are not there are not looked for again."""
        asked = [(each.bank, each.institution, each.scope, each.serial) for each in identities]
        known = {_payment(row).identity for row in self._session.look_up(PAID_UNDER, asked)}
        self._absent.update(each for each in identities if each not in known)

    def payment(self, identity: PaymentIdentity) -> Payment | None:
        if (fresh := self._fresh.get(identity)) is not None:
            return fresh
        if identity in self._absent:
            return None
        row = self._session.beside(
            PAYMENT, bank=identity.bank, institution=identity.institution, scope=identity.scope, serial=identity.serial
        )
        if row is None:
            self._absent.add(identity)
            return None
        return _payment(row)

    def add_payment(self, payment: Payment) -> None:
        """`entry`, where there is one, must be in the journal already."""
        identity = payment.identity
        if (identity not in self._absent and self.payment(identity) is not None) or identity in self._fresh:
            raise Duplicate(f"the payment {identity} is known already")
        self._fresh[identity] = payment
        names = (each.name for each in fields(payment) if each.name != "identity")
        self._new_payments.add(*astuple(identity), *(getattr(payment, name) for name in names))
        self._session.late(LATE, self._write_books)

    def paid(self, after: int, upto: int) -> Sequence[Paid]:
        return [*map(Paid._make, self._session.rows(PAID, after=after, upto=upto))]

    def paid_by_day(self) -> Mapping[BankDay, int]:
        return {BankDay(bank, day, currency): int(micro) for bank, day, currency, micro in self._session.rows(PAID_BY_DAY)}

    def _posted(self, chosen: tuple[Statement, Statement], **values: Value) -> list[PostedEntry]:
        entries, legs = (self._session.rows(statement, **values) for statement in chosen)
        of = {number: tuple(Leg(account, micro) for _, _, account, micro in rows) for number, rows in groupby(legs, itemgetter(0))}
        return [
            PostedEntry(number, Entry(EntryKind(kind), currency, of[number], at_ms, decode(ref, dict[str, str])), previous, hash)
            for number, kind, currency, at_ms, ref, previous, hash in entries
        ]


def _payment(row: Row) -> Payment:
    return Payment(PaymentIdentity(*row[:4]), *row[4:])


def _journal(entries: list[Row], legs: list[Row]) -> list[JournalRow]:
    """Entries with their legs, whatever state they are in; both in order of numbers."""
    rows, begin, count, row = [], 0, len(legs), JournalRow
    for number, kind, currency, at_ms, ref, previous, hash, booked_ms in entries:
        while begin < count and legs[begin][3] < number:  # legs without an entry
            begin += 1
        end = begin
        while end < count and legs[end][3] == number:
            end += 1
        rows.append(row(number, kind, currency, at_ms, _readable(ref), previous, hash, booked_ms, legs[begin:end]))
        begin = end
    return rows


def _readable(ref: str) -> dict[str, str] | None:
    try:
        return _decode_ref(ref)
    except (msgspec.DecodeError, TypeError):
        return None
