"""The journal with its balances, and payments by their identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from sqlalchemy import Integer, bindparam, select

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.heads import JOURNAL, Heads
from gateway.adapters.store.statements import Part, Row, Statement, Value, inserting, once, upsert
from gateway.domain.ledger import Entry, EntryKind, Leg, PostedEntry
from gateway.domain.requests import PaymentIdentity
from gateway.services.ports import Duplicate, Payment

_e, _l, _b, _p = schema.entry.c, schema.leg.c, schema.balance.c, schema.payment.c
_most = bindparam("most", type_=Integer)

ADD_ENTRY = once(schema.entry, "number")
ADD_LEG = Statement(inserting(schema.leg))
MOVE = upsert(schema.balance, change=lambda new: {"micro": _b.micro + new.micro})

_after = select(_e.number).where(_e.number > bindparam("after")).order_by(_e.number).limit(_most)
_touching = select(_l.entry).where(_l.account == bindparam("account")).distinct().order_by(_l.entry.desc()).limit(_most)
ENTRIES = Statement(select(schema.entry).where(_e.number.in_(_after)).order_by(_e.number))
LEGS = Statement(select(schema.leg).where(_l.entry.in_(_after)).order_by(_l.entry, _l.position))
ENTRIES_OF = Statement(select(schema.entry).where(_e.number.in_(_touching)).order_by(_e.number.desc()))
LEGS_OF = Statement(select(schema.leg).where(_l.entry.in_(_touching)).order_by(_l.entry.desc(), _l.position))

BALANCE = Statement(select(_b.micro).where(_b.account == bindparam("account"), _b.currency == bindparam("currency")))
BALANCES = Statement(select(_b.currency, _b.account, _b.micro))

PAYMENT = Statement(
    select(schema.payment).where(
        _p.bank == bindparam("bank"),
        _p.institution == bindparam("institution"),
        _p.scope == bindparam("scope"),
        _p.serial == bindparam("serial"),
    )
)
ADD_PAYMENT = once(schema.payment, "bank", "institution", "scope", "serial")


class Money(Part):
    """The money's share of a transaction."""

    _heads: Heads

    def journal_end(self) -> tuple[int, str]:
        return self._heads.get(JOURNAL)

    def add_entry(self, posted: PostedEntry) -> None:
        """The database itself refuses a number that leaves a hole or a hash that does not chain."""
        entry = posted.entry
        self.journal_end()  # nobody else may be counting
        added = self._session.change(
            ADD_ENTRY,
            number=posted.number,
            kind=entry.kind,
            currency=entry.currency,
            at_ms=entry.at_ms,
            ref=encode(entry.ref),
            previous=posted.previous,
            hash=posted.hash,
        )
        if not added:
            raise Duplicate(f"ledger entry {posted.number} is there already")
        moves: list[dict[str, Value]] = [
            {"currency": entry.currency, "account": leg.account, "micro": leg.micro} for leg in entry.legs
        ]
        self._session.change_each(ADD_LEG, [{**move, "entry": posted.number, "position": n} for n, move in enumerate(moves)])
        self._session.change_each(MOVE, moves)
        self._heads.move(JOURNAL, posted.number, posted.hash)

    def entries(self, after: int, limit: int) -> Sequence[PostedEntry]:
        return _posted(self._session.rows(ENTRIES, after=after, most=limit), self._session.rows(LEGS, after=after, most=limit))

    def entries_of(self, ledger_account: str, limit: int) -> Sequence[PostedEntry]:
        rows = self._session.rows(ENTRIES_OF, account=ledger_account, most=limit)
        return _posted(rows, self._session.rows(LEGS_OF, account=ledger_account, most=limit))

    def balance(self, ledger_account: str, currency: str) -> int:
        row = self._session.row(BALANCE, account=ledger_account, currency=currency)
        return 0 if row is None else int(row[0])

    def balances(self) -> Mapping[tuple[str, str], int]:
        return {(currency, account): micro for currency, account, micro in self._session.rows(BALANCES)}

    def payment(self, identity: PaymentIdentity) -> Payment | None:
        row = self._session.row(
            PAYMENT, bank=identity.bank, institution=identity.institution, scope=identity.scope, serial=identity.serial
        )
        return None if row is None else Payment(PaymentIdentity(*row[:4]), *row[4:])

    def add_payment(self, payment: Payment) -> None:
        """`entry`, where there is one, must be in the journal already."""
        identity = payment.identity
        added = self._session.change(
            ADD_PAYMENT,
            bank=identity.bank,
            institution=identity.institution,
            scope=identity.scope,
            serial=identity.serial,
            account=payment.account,
            amount_micro=payment.amount_micro,
            currency=payment.currency,
            accounting_date=payment.accounting_date,
            paid_at=payment.paid_at,
            channel=payment.channel,
            status=payment.status,
            at_ms=payment.at_ms,
            receipt=payment.receipt,
            problem=payment.problem,
            detail=payment.detail,
            entry=payment.entry,
        )
        if not added:
            raise Duplicate(f"the payment {identity} is known already")


def _posted(entries: list[Row], legs: list[Row]) -> list[PostedEntry]:
    """Entries with their legs; both come in the same order of numbers."""
    of = {number: tuple(Leg(account, micro) for _, _, account, micro in rows) for number, rows in groupby(legs, itemgetter(0))}
    return [
        PostedEntry(number, Entry(EntryKind(kind), currency, of[number], at_ms, decode(ref, dict[str, str])), previous, hash)
        for number, kind, currency, at_ms, ref, previous, hash in entries
    ]
