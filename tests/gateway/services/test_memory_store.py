"""The store in memory keeps the contract of the real ones, but for what only a database's own tools could try."""

from __future__ import annotations

import pytest

from tests.gateway.adapters.store.contract import StoreContract
from tests.gateway.services.memory_tx import MemoryStore


class TestMemory(StoreContract):
    test_the_database_itself_keeps_the_books = None  # type: ignore[assignment]
    test_what_people_did_stands_for_ever = None  # type: ignore[assignment]
    test_two_writing_processes_share_the_counters = None  # type: ignore[assignment]

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
