"""One transaction, put together from its parts: `gateway.services.ports.Tx` on SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from gateway.adapters.store import schema
from gateway.adapters.store.archive import Archive
from gateway.adapters.store.clocks import Clocks
from gateway.adapters.store.commands import Commands
from gateway.adapters.store.heads import Heads
from gateway.adapters.store.money import Money
from gateway.adapters.store.outbox import Outbox
from gateway.adapters.store.readings import Readings
from gateway.adapters.store.slots import Retention, Slots
from gateway.adapters.store.statements import Session, Statement, upsert
from gateway.adapters.store.takings import Takings
from gateway.adapters.store.tariffs import Tariffs
from gateway.adapters.store.transfers import Transfers

META = Statement(select(schema.meta.c.value).where(schema.meta.c.key == bindparam("name")))
SET_META = upsert(schema.meta)


class StoreTx(Archive, Readings, Money, Takings, Transfers, Tariffs, Commands, Outbox, Slots, Retention, Clocks):
    """All of a transaction. Errors of the database itself are raised as Unavailable."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._heads = Heads(session)

    def meta(self, key: str) -> str | None:
        row = self._session.row(META, name=key)
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        self._session.change(SET_META, key=key, value=value)
