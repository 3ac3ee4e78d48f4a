"""Which of several instances does what only one should do: asking for what is missing, and sending orders again."""

from __future__ import annotations

from sqlalchemy import Connection, select

from gateway.central import schema
from gateway.central.store import CentralStore

CHORES = "chores"

LEASE_MS = 15_000
"""How long one instance keeps the chores without saying so again; when it dies another has them after this. Two at once would do no
harm: both ask for the same, and the same order twice is one order."""


def take(store: CentralStore, name: str, holder: str, now_ms: int) -> bool:
    """Takes or keeps a lease; whether it is ours now."""

    def work(connection: Connection) -> bool:
        held = connection.execute(
            select(schema.lease.c.holder, schema.lease.c.until_ms).where(schema.lease.c.name == name)
        ).one_or_none()
        if held is not None and held.holder != holder and now_ms < held.until_ms <= now_ms + LEASE_MS:
            return False
        store.upsert(connection, schema.lease, [{"name": name, "holder": holder, "until_ms": now_ms + LEASE_MS}])
        return True

    return store.write(work)
