"""One transaction, put together from its parts: `gateway.services.ports.Tx` on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, func, select

from gateway.adapters.store import schema
from gateway.adapters.store.archive import Archive
from gateway.adapters.store.bank_books import BankBooks
from gateway.adapters.store.clocks import Clocks
from gateway.adapters.store.commands import Commands
from gateway.adapters.store.day_books import DayBooks
from gateway.adapters.store.debits import Debits
from gateway.adapters.store.deliveries import Deliveries
from gateway.adapters.store.heads import Heads
from gateway.adapters.store.money import Money
from gateway.adapters.store.nonces import Nonces
from gateway.adapters.store.notices import Notices
from gateway.adapters.store.outbox import Outbox
from gateway.adapters.store.people import People
from gateway.adapters.store.permissions import Permissions
from gateway.adapters.store.readings import Readings
from gateway.adapters.store.slots import Retention, Slots
from gateway.adapters.store.statements import Session, Statement, upsert
from gateway.adapters.store.takings import Takings
from gateway.adapters.store.tariffs import Tariffs
from gateway.adapters.store.transfers import Transfers
from gateway.adapters.store.uplink_memory import UplinkMemory
from gateway.adapters.store.wallets import Wallets
from gateway.domain.meters import SwitchKind

META = Statement(select(schema.meta.c.value).where(schema.meta.c.key == bindparam("name")))
SET_META = upsert(schema.meta)
_begins = func.substr(schema.meta.c.key, 1, func.length(bindparam("prefix"))) == bindparam("prefix")
METAS = Statement(select(schema.meta.c.key, schema.meta.c.value).where(_begins, schema.meta.c.value != ""))
SWITCHES = Statement(select(func.count()).select_from(schema.meter).where(schema.meter.c.switch != SwitchKind.NONE.value))


class StoreTx(
    Archive,
    Readings,
    Money,
    Takings,
    Transfers,
    Tariffs,
    Commands,
    Outbox,
    Slots,
    Retention,
    Clocks,
    Permissions,
    People,
    Notices,
    Wallets,
    Deliveries,
    UplinkMemory,
    BankBooks,
    DayBooks,
    Debits,
    Nonces,
):
    """All of a transaction. Errors of the database itself are raised as Unavailable."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._heads = Heads(session)

    def meta(self, key: str) -> str | None:
        row = self._session.row(META, name=key)
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        self._session.change(SET_META, key=key, value=value)

    def metas_of(self, prefix: str) -> Mapping[str, str]:
        return {str(key): str(value) for key, value in self._session.rows(METAS, prefix=prefix)}

    def switches(self) -> int:
        row = self._session.row(SWITCHES)
        return 0 if row is None else int(row[0])
