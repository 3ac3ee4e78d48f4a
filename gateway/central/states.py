"""The newest state that a gateway or its broker told of it."""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.central import schema
from gateway.central.store import CentralStore


def save(store: CentralStore, gateway: str, state: str, at_ms: int) -> None:
    """Keeps it."""

    def work(connection: Connection) -> None:
        store.upsert(connection, schema.gateway, [{"gateway": gateway, "state": state, "at_ms": at_ms}])

    store.write(work)
