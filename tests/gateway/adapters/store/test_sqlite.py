"""The store's contract on SQLite, with its writer's thread and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.adapters.store import Store
from tests.gateway.adapters.store.contract import StoreContract
from tests.gateway.adapters.store.foreseen_contract import ForeseenContract
from tests.gateway.adapters.store.kept_contract import KeptContract


@pytest.fixture
def another(sqlite_file: Path) -> Callable[[], Store]:
    return lambda: Store.open(str(sqlite_file))


class TestSqlite(StoreContract, KeptContract, ForeseenContract):
    @pytest.fixture
    def store(self, sqlite_file: Path) -> Iterator[Store]:
        with Store.open(str(sqlite_file)) as store:
            yield store


class TestSqliteInline(StoreContract, KeptContract, ForeseenContract):
    @pytest.fixture
    def store(self, sqlite_file: Path) -> Iterator[Store]:
        with Store.open(str(sqlite_file), inline=True) as store:
            yield store
