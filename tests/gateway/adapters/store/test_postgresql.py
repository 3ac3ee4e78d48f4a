"""The store's contract on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway.adapters.store import Store
from tests.gateway.adapters.store.contract import StoreContract


@pytest.fixture
def another(postgres_url: str) -> Callable[[], Store]:
    return lambda: Store.open(postgres_url)


class TestPostgresql(StoreContract):
    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[Store]:
        with Store.open(postgres_url) as store:
            yield store
