"""The store: SQLAlchemy Core on SQLite or PostgreSQL, one writer with group commit, readers beside it."""

from __future__ import annotations

from gateway.adapters.store.datadir import DataLock, lock, store_file
from gateway.adapters.store.engine import StoreError
from gateway.adapters.store.reserve import MIB
from gateway.adapters.store.writer import Store

__all__ = ["MIB", "DataLock", "Store", "StoreError", "lock", "store_file"]
