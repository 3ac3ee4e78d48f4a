"""Stores of each kind for the central system's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Table, create_engine, func, select

from gateway.central import schema
from gateway.central.store import CentralStore
from tests.gateway.adapters.store.postgres import CannotStart, server
from tests.gateway.brokers import Mosquitto

MOSQUITTO = Path("/usr/sbin/mosquitto")
READY_S = 180.0  # a loaded machine


@pytest.fixture
def broker(tmp_path: Path) -> Mosquitto:
    """A broker that has shared subscriptions; it is not started."""
    if not MOSQUITTO.exists():
        pytest.skip(f"there is no {MOSQUITTO} here")
    return Mosquitto(tmp_path / "broker", str(MOSQUITTO))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server for all of them."""
    try:
        with server() as url:
            yield url
    except CannotStart as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=("sqlite", "postgresql"))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield str(tmp_path / "central.db")
        return
    url: str = request.getfixturevalue("postgres")
    yield url
    emptied(url)


def emptied(url: str) -> None:
    """The server's database as it was before."""
    engine = create_engine(url)
    schema.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[CentralStore]:
    """An open one."""
    opened = CentralStore.open(url)
    yield opened
    opened.close()


def rows(store: CentralStore, table: Table) -> list[dict[str, object]]:
    """All of a table, in the order of its key."""
    return store.read(lambda c: [dict(row._mapping) for row in c.execute(select(table).order_by(*table.primary_key))])


def count(store: CentralStore, table: Table) -> int:
    """How many rows it has."""
    return store.read(lambda c: c.scalar(select(func.count()).select_from(table)) or 0)
