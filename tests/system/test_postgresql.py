"""The gateway on a real PostgreSQL, from end to end: a reading, a top-up, a verified cut, and a start after a kill."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.gateway.adapters.store.postgres import CannotStart, server
from tests.system.processes import until, wattgate
from tests.system.stand import House, Stand, tracebacks

SOON_S = 180.0  # some seconds; on a machine with other work, far more


@pytest.fixture
def url() -> Iterator[str]:
    """An empty database on a server of its own; skips where none can be started."""
    with contextlib.ExitStack() as stack:
        try:
            postgres = stack.enter_context(server())
        except CannotStart as error:
            pytest.skip(str(error))
        with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE DATABASE house")
        yield postgres.replace("@/postgres?", "@/house?")


@pytest.fixture
async def stand(tmp_path: Path, url: str) -> AsyncIterator[Stand]:
    made = Stand(tmp_path, (House("m1", "201900000001", 500, "100.00"),), speed=1, store_url=url)
    try:
        yield made
    finally:
        await made.close()


async def test_a_house_whose_books_are_on_postgresql(stand: Stand, url: str, tmp_path: Path) -> None:
    await stand.sim.start()
    await stand.gateway.start()
    await until(lambda: stand.readings("m1"), "a reading", SOON_S)
    pay = ("topup", "A-m1", "50.00", "--receipt", "K-1", "-c", stand.config)
    paid = await wattgate(*pay)
    assert paid.code == 0 and "50.00 CNY booked to A-m1" in paid.out, paid
    cut = await wattgate("cut", "m1", "--cause", "emergency", "-c", stand.config)
    assert cut.code == 0 and "m1: cut verified by relay_bit" in cut.out, cut
    truth = await stand.truth("m1")
    assert (truth["contact"], truth["power_w"]) == ("open", 0)
    await stand.gateway.kill()
    await stand.gateway.start()
    assert "was booked before" in (await wattgate(*pay)).out
    restore = await wattgate("restore", "m1", "-c", stand.config)
    assert restore.code == 0 and (await stand.truth("m1"))["contact"] == "closed", restore
    clean = await wattgate("ledger", "verify", "-c", stand.config)
    assert clean.code == 0 and clean.out.endswith(" entries: clean\n"), clean
    assert await stand.gateway.end() == 0
    assert tracebacks(tmp_path) == []
    assert not (stand.data / "wattgate.db").exists()
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        entries = connection.execute("SELECT kind, count(*) FROM entry WHERE kind <> 'charge' GROUP BY kind").fetchall()
        commands = connection.execute("SELECT verb, state FROM command ORDER BY number").fetchall()
        readings = connection.execute("SELECT count(*) FROM reading WHERE quality = 'confirmed'").fetchone()
    assert sorted(entries) == [("opening", 1), ("topup", 1)]
    assert commands == [("cut", "verified"), ("restore", "verified")]
    assert readings is not None and readings[0] > 0
