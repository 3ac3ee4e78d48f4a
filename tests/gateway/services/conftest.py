"""Every house is built twice: on the store in memory and on a real SQLite file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.store import Store
from tests.gateway.services.house import House
from tests.gateway.services.memory_tx import MemoryStore


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was just created; copying it is quicker than migrating each anew."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    Store.open(str(path), inline=True).close()
    return path


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    if request.param == "memory":
        yield House(MemoryStore())
        return
    empty: Path = request.getfixturevalue("empty_store")
    store = Store.open(shutil.copyfile(empty, tmp_path / "wattgate.db").as_posix(), inline=True)
    yield House(store)
    store.close()
