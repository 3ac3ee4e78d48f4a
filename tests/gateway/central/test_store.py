"""The central store: every message once, and its content where it can be queried; on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Table, create_engine, func, select, text, update

from gateway.central import schema
from gateway.central.arrivals import Unreadable
from gateway.central.store import CentralStore, StoreUnusable
from protocols.uplink.messages import BadMessage
from protocols.uplink.topics import Up
from tests.gateway.adapters.store.postgres import CannotStart, server
from tests.gateway.central.arriving import NOW_MS, arrival


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
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
    engine = create_engine(url)
    schema.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[CentralStore]:
    opened = CentralStore.open(url)
    yield opened
    opened.close()


def rows(store: CentralStore, table: Table) -> list[dict[str, object]]:
    with store._database.reader.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]


def count(store: CentralStore, table: Table) -> int:
    with store._database.reader.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def test_each_message_is_stored_once_whatever_comes_again(store: CentralStore) -> None:
    batch = [arrival(1), arrival(2), arrival(2, backlog=True), arrival(1, epoch="e2"), arrival(1, gateway="G2")]
    assert store.save(batch) == 4
    assert store.save([*batch, arrival(3)]) == 1
    assert (count(store, schema.message), count(store, schema.event)) == (5, 5)
    first = [row for row in rows(store, schema.message) if row["seq"] == 2]
    assert [row["backlog"] for row in first] == [False]


def test_contents_stand_in_their_tables(store: CentralStore) -> None:
    store.save([arrival(seq, kind) for seq, kind in enumerate(Up, start=1)])
    [reading] = rows(store, schema.reading)
    assert {k: reading[k] for k in ("gateway", "meter", "point", "quality", "source", "answered_ms")} == {
        "gateway": "G1",
        "meter": "M1",
        "point": "P1",
        "quality": "confirmed",
        "source": "live",
        "answered_ms": NOW_MS + 123,
    }
    assert [(r["quantity"], r["obis"], r["value"], r["unit"]) for r in rows(store, schema.item)] == [
        ("energy_import", "1-0:1.8.0", "123.40", "kWh"),
        ("voltage_a", None, None, "V"),
    ]
    [event] = rows(store, schema.event)
    assert (event["kind"], event["account"], event["at_ms"], event["data"]) == (
        "line_up",
        "00ff",
        NOW_MS,
        '{"line": "a", "text": "灯"}',
    )
    [balance] = rows(store, schema.balance)
    assert (balance["account"], balance["balance"], balance["currency"], balance["credit"]) == ("00ff", "-1.25", "CNY", "exhausted")
    [result] = rows(store, schema.result)
    assert (result["command"], result["state"], result["final"]) == ("c-1", "verified", True)
    assert result["evidence"] == '["relay_bit", "load"]'


def test_pain_22_a_value_of_the_past_keeps_its_own_time(store: CentralStore) -> None:
    old = arrival(2, Up.READING, source="freeze", taken="2026-11-21T00:00:00.000Z")
    store.save([arrival(1, Up.READING), old])
    assert {reading["taken_ms"] for reading in rows(store, schema.reading)} == {None, NOW_MS // 86_400_000 * 86_400_000}


def test_a_store_of_the_version_before_is_brought_forward(url: str) -> None:
    store = CentralStore.open(url)
    with store._database.writer.begin() as connection:
        connection.execute(text("ALTER TABLE central_reading DROP COLUMN taken_ms"))
        connection.execute(update(schema.meta).values(value="1"))
    store.close()
    for _ in range(2):
        again = CentralStore.open(url)
        assert [row["value"] for row in rows(again, schema.meta)] == [schema.VERSION]
        again.close()
    again = CentralStore.open(url)
    again.save([arrival(1, Up.READING)])
    assert rows(again, schema.reading)[0]["taken_ms"] is None
    again.close()


def test_a_message_that_is_not_understood_is_kept_as_it_came(store: CentralStore) -> None:
    strange = arrival(5, Up.EVENT, colour="red")
    assert isinstance(strange.content, Unreadable)
    assert store.save([strange]) == 1
    [kept] = rows(store, schema.unreadable)
    assert "unknown field `colour`" in str(kept["why"]) and b'"red"' in bytes(kept["payload"])  # type: ignore[call-overload]
    assert list(store.received()["G1", "e1"]) == [(5, 5)]
    with pytest.raises(BadMessage):
        arrival(0)


def test_what_is_here_is_known_again_after_a_restart(url: str) -> None:
    first = CentralStore.open(url)
    first.save([arrival(n) for n in (1, 2, 3, 7, 8, 10)] + [arrival(n, epoch="e2") for n in (2, 3)])
    first.close()
    again = CentralStore.open(url)
    here = again.received()
    assert {name: list(ranges) for name, ranges in here.items()} == {
        ("G1", "e1"): [(1, 3), (7, 8), (10, 10)],
        ("G1", "e2"): [(2, 3)],
    }
    again.close()


def test_commands_are_counted_per_gateway_and_written_once(store: CentralStore) -> None:
    sent = [store.add_command(name, gateway, NOW_MS, str) for name, gateway in (("a", "G1"), ("b", "G1"), ("c", "G2"), ("a", "G1"))]
    assert sent == ["1", "2", "1", "1"]


def test_a_state_is_the_newest(store: CentralStore) -> None:
    store.save_state("G1", "online", 5)
    store.save_state("G1", "offline", 6)
    assert rows(store, schema.gateway) == [{"gateway": "G1", "state": "offline", "at_ms": 6}]


def test_a_store_of_a_newer_version_is_left_alone(url: str) -> None:
    store = CentralStore.open(url)
    with store._database.writer.begin() as connection:
        connection.execute(update(schema.meta).values(value="99"))
    store.close()
    with pytest.raises(StoreUnusable, match="schema 99"):
        CentralStore.open(url)


@pytest.mark.parametrize("url", ("/nowhere/at/all.db", "mysql://x/y"))
def test_a_store_that_cannot_be_opened_says_so(url: str) -> None:
    with pytest.raises(StoreUnusable, match=r"cannot be opened|not a database"):
        CentralStore.open(url)
