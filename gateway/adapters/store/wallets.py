"""Mirrors of meters' own wallets, and the calendars of when nobody is cut."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select

from gateway.adapters.store import schema as archive
from gateway.adapters.store import schema_supply as schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.statements import Part, Row, Statement, upsert
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.wallets import Wallet, WalletMemory

_w, _c = schema.wallet.c, schema.no_cut_calendar.c

WALLET = Statement(select(schema.wallet).where(_w.meter == bindparam("wanted")))
WALLETS = Statement(select(schema.wallet).order_by(_w.meter))
WALLETS_ON = Statement(
    select(schema.wallet).join(archive.meter, archive.meter.c.id == _w.meter)
    .where(archive.meter.c.line == bindparam("line")).order_by(_w.meter)
)  # fmt: skip
SAVE_WALLET = upsert(schema.wallet)

CALENDAR = Statement(select(_c.body).where(_c.id == bindparam("wanted")))
CALENDARS = Statement(select(_c.body).order_by(_c.id))
SAVE_CALENDAR = upsert(schema.no_cut_calendar)
DROP_CALENDAR = Statement(delete(schema.no_cut_calendar).where(_c.id == bindparam("wanted")))


class Wallets(Part):
    """Their share of a transaction."""

    def wallet(self, meter: str) -> Wallet | None:
        row = self._session.row(WALLET, wanted=meter)
        return None if row is None else _wallet(row)

    def wallets(self, line: str | None = None) -> Sequence[Wallet]:
        rows = self._session.rows(WALLETS) if line is None else self._session.rows(WALLETS_ON, line=line)
        return [_wallet(row) for row in rows]

    def save_wallet(self, wallet: Wallet) -> None:
        self._session.change(
            SAVE_WALLET,
            meter=wallet.meter,
            count=wallet.count,
            balance_micro=wallet.balance_micro,
            overdraft_micro=wallet.overdraft_micro,
            read_ms=wallet.read_ms,
            opened=wallet.opened,
            held_since_ms=wallet.held_since_ms,
            memory=encode(wallet.memory),
        )

    def no_cut_calendar(self, calendar: str) -> NoCutCalendar | None:
        row = self._session.row(CALENDAR, wanted=calendar)
        return None if row is None else decode(row[0], NoCutCalendar)

    def no_cut_calendars(self) -> Sequence[NoCutCalendar]:
        return [decode(body, NoCutCalendar) for (body,) in self._session.rows(CALENDARS)]

    def save_no_cut_calendar(self, calendar: NoCutCalendar) -> None:
        self._session.change(SAVE_CALENDAR, id=calendar.id, body=encode(calendar))

    def drop_no_cut_calendar(self, calendar: str) -> None:
        self._session.change(DROP_CALENDAR, wanted=calendar)


def _wallet(row: Row) -> Wallet:
    meter, count, balance_micro, overdraft_micro, read_ms, opened, held_since_ms, memory = row
    known = decode(memory, WalletMemory)
    return Wallet(meter, count, balance_micro, overdraft_micro, read_ms, bool(opened), held_since_ms, known)
