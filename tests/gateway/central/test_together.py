"""Many writes by one commit at the centre: what one raises is its own, what the disk refuses is everybody's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, text

from gateway.adapters.mqtt_session import Broker
from gateway.central import schema
from gateway.central.service import TOGETHER, Central
from gateway.central.store import CentralStore, StoreFailed
from protocols.uplink.topics import NATIVE
from tests.gateway.central.conftest import rows


def put(store: CentralStore, key: str, value: str = "", fails: str = "") -> Callable[[], str]:
    """A work that writes a row, in a transaction as it believes, and may fail behind it."""

    def work(connection: Connection) -> str:
        connection.execute(insert(schema.meta), {"key": key, "value": value})
        if fails:
            raise LookupError(fails)
        return key

    return lambda: store.write(work)


def keys(store: CentralStore) -> set[str]:
    return {str(row["key"]) for row in rows(store, schema.meta)} - {"schema"}


def test_what_one_raises_undoes_that_one(store: CentralStore) -> None:
    works = [put(store, "a"), put(store, "b", fails="not now"), put(store, "a"), put(store, "c")]
    first, second, double, last = store.together(works)
    assert (first, last, keys(store)) == ("a", "c", {"a", "c"})
    assert isinstance(second, LookupError) and type(double).__name__ == "IntegrityError"
    assert store.together([put(store, "d", fails="alone")])[0].args == ("alone",)  # type: ignore[union-attr]
    assert store.together([put(store, "e")]) == ["e"] and put(store, "f")() == "f"
    assert keys(store) == {"a", "c", "e", "f"}


def test_nothing_of_them_is_there_when_the_disk_fills_between_two(tmp_path: Path) -> None:
    store = CentralStore.open(str(tmp_path / "central.db"))
    store.write(lambda c: c.execute(text("PRAGMA wal_autocheckpoint=0")) and None)
    pages = store.write(lambda c: int(c.scalar(text("PRAGMA page_count")) or 0))
    with store._database.writer.connect() as connection:
        connection.execute(text(f"PRAGMA max_page_count={pages + 2}"))
    works = [put(store, "a"), put(store, "b", "x" * 200_000), put(store, "c")]
    with pytest.raises(StoreFailed):
        store.together(works)
    assert keys(store) == set()
    assert store.together([put(store, "d"), put(store, "e")]) == ["d", "e"]
    store.close()


def test_a_transaction_that_the_store_ended_takes_all_with_it(store: CentralStore) -> None:
    def ends(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise LookupError("and goes on as if nothing were")

    with pytest.raises(StoreFailed):
        store.together([put(store, "a"), lambda: store.write(ends), put(store, "b")])
    assert keys(store) == set()
    assert put(store, "c")() == "c" and keys(store) == {"c"}


async def test_those_that_wait_go_by_one_commit_and_each_has_its_own_answer(
    store: CentralStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    central = Central(store, Broker(port=1), NATIVE, identifier="c", signer=None, rng=random.Random(1))
    groups: list[int] = []
    together = store.together

    def counted(works: Sequence[Callable[[], str]]) -> list[str | Exception]:
        groups.append(len(works))
        return together(works)

    monkeypatch.setattr(store, "together", counted)
    many = 3 * TOGETHER
    asked = [central.beside(put(store, f"k-{n}", fails="odd" if n == 7 else "")) for n in range(many)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[7], LookupError) and answers[:7] == [f"k-{n}" for n in range(7)]
    assert len(keys(store)) == many - 1 and max(groups) == TOGETHER and len(groups) <= 4
    assert await central.beside(put(store, "after")) == "after"

    def broken(works: object) -> list[object]:
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(store, "together", broken)
    failed = await asyncio.gather(*(central.beside(put(store, f"z-{n}")) for n in range(3)), return_exceptions=True)
    assert [type(each) for each in failed] == [StoreFailed] * 3 and len(keys(store)) == many
    central._thread.shutdown()
