"""Uploads of banks' day files, their differences and what was decided about them, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, Integer, Text, bindparam, func, select

from gateway.adapters.store import schema_bank as schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.statements import Part, Rows, Statement, upsert
from gateway.domain.differences import DayBook, Difference, Resolution

_f, _d, _r = schema.day_file.c, schema.difference.c, schema.resolution.c
_bank, _date = bindparam("bank", type_=Text), bindparam("accounting_date", type_=Text)
_version, _most = bindparam("version", type_=BigInteger), bindparam("most", type_=Integer)

_books = select(_f.body).where(_f.bank == _bank, _f.accounting_date == _date)
NEWEST = Statement(_books.order_by(_f.version.desc()).limit(1))
VERSION = Statement(_books.where(_f.version == _version))
SAVE_BOOK = upsert(schema.day_file)

ADD_DIFFERENCES = Rows(schema.difference, tuple(c.name for c in schema.difference.c))
_of = (_d.bank == _bank, _d.accounting_date == _date, _d.version == _version)
DIFFERENCES = Statement(select(_d.number, _d.body).where(*_of, _d.number > bindparam("after")).order_by(_d.number).limit(_most))
_same = (_r.bank == _d.bank) & (_r.accounting_date == _d.accounting_date) & (_r.about == _d.about) & (_r.state == "done")
OPEN = Statement(
    select(_d.kind, func.count())
    .select_from(schema.difference.outerjoin(schema.resolution, _same))
    .where(*_of, _r.about.is_(None))
    .group_by(_d.kind)
    .order_by(_d.kind)
)
_decided = select(_r.body).where(_r.bank == _bank, _r.accounting_date == _date)
RESOLUTIONS = Statement(_decided)
RESOLUTION = Statement(_decided.where(_r.about == bindparam("about")))
SAVE_RESOLUTION = upsert(schema.resolution)


class DayBooks(Part):
    """Their share of a transaction."""

    def day_book(self, bank: str, accounting_date: str, version: int | None = None) -> DayBook | None:
        if version is None:
            row = self._session.row(NEWEST, bank=bank, accounting_date=accounting_date)
        else:
            row = self._session.row(VERSION, bank=bank, accounting_date=accounting_date, version=version)
        return None if row is None else decode(row[0], DayBook)

    def save_day_book(self, book: DayBook) -> None:
        self._session.change(
            SAVE_BOOK,
            bank=book.bank,
            accounting_date=book.accounting_date,
            version=book.version,
            state=book.state,
            body=encode(book),
        )

    def add_differences(self, bank: str, accounting_date: str, version: int, found: Sequence[Difference]) -> None:
        rows = [
            (bank, accounting_date, version, number, each.about, each.kind.value, encode(each))
            for number, each in enumerate(found, 1)
        ]
        self._session.insert(ADD_DIFFERENCES, rows)

    def differences(
        self, bank: str, accounting_date: str, version: int, after: int, limit: int
    ) -> Sequence[tuple[int, Difference]]:
        rows = self._session.rows(DIFFERENCES, bank=bank, accounting_date=accounting_date, version=version, after=after, most=limit)
        return [(int(number), decode(body, Difference)) for number, body in rows]

    def resolutions(self, bank: str, accounting_date: str) -> Mapping[str, Resolution]:
        found = [
            decode(body, Resolution) for (body,) in self._session.rows(RESOLUTIONS, bank=bank, accounting_date=accounting_date)
        ]
        return {each.about: each for each in found}

    def resolution(self, bank: str, accounting_date: str, about: str) -> Resolution | None:
        row = self._session.row(RESOLUTION, bank=bank, accounting_date=accounting_date, about=about)
        return None if row is None else decode(row[0], Resolution)

    def save_resolution(self, bank: str, accounting_date: str, resolution: Resolution) -> None:
        known = self.resolution(bank, accounting_date, resolution.about)
        if known is not None and known.state == "done":
            raise LookupError(f"the difference {resolution.about} is resolved already")
        self._session.change(
            SAVE_RESOLUTION, bank=bank, accounting_date=accounting_date, about=resolution.about, state=resolution.state,
            body=encode(resolution),
        )  # fmt: skip

    def count_open(self, bank: str, accounting_date: str, version: int) -> Mapping[str, int]:
        return dict(self._session.rows(OPEN, bank=bank, accounting_date=accounting_date, version=version))
