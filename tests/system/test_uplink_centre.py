"""A backlog drains into `wattgate central` while its instances and the broker are killed and its database is set back."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from sqlalchemy import text

from gateway.adapters.store import Store, store_file
from gateway.central.store import CentralStore
from tests.conftest import PROOF_SCALE, Figure
from tests.gateway.adapters.store.postgres import CannotStart, server
from tests.gateway.brokers import Mosquitto, running
from tests.system.processes import Process, free_port, until
from tests.system.proofs import rows
from tests.system.test_uplink_drain import CONFIG
from tests.system.uplink_day import Told, fill, simulated

CENTRE = '[central]\nid = "{name}"\nshare = "centre"\n{where}\n[mqtt]\nport = {port}\n'
INSTANCES = ("c-1", "c-2")


class Place(Protocol):
    """Where the centre keeps what it has. All is done while no instance runs, but reading."""

    where: str
    url: str

    def keep(self) -> None:
        """A backup."""

    def set_back(self) -> None:
        """To the backup."""


@dataclass
class OnSqlite:
    """A folder."""

    folder: Path

    def __post_init__(self) -> None:
        self.where = f'data = "{self.folder}"'
        self.url = str(self.folder / "central.db")

    def keep(self) -> None:
        shutil.copytree(self.folder, self.folder.with_name("kept"))

    def set_back(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.folder.with_name("kept"), self.folder)


@dataclass
class OnPostgresql:
    """A database of its own beside `postgres`."""

    server: str

    def __post_init__(self) -> None:
        self._do("CREATE DATABASE centre")
        self.url = self.server.replace("@/postgres?", "@/centre?")
        self.where = f'url = "{self.url}"'

    def keep(self) -> None:
        self._do("CREATE DATABASE kept TEMPLATE centre")

    def set_back(self) -> None:
        self._do("DROP DATABASE centre WITH (FORCE)")
        self._do("CREATE DATABASE centre TEMPLATE kept")

    def _do(self, sql: str) -> None:
        with psycopg.connect(self.server.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(sql.encode())


@pytest.fixture(params=("sqlite", "postgresql"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield OnSqlite(tmp_path / "central")
        return
    if not request.config.getoption("proof"):
        pytest.skip("PostgreSQL is killed over and set back in a proof; every day SQLite is")
    try:
        with server() as url:
            yield OnPostgresql(url)
    except CannotStart as reason:
        pytest.skip(str(reason))


class Centre:
    """Two instances that share the work on one database."""

    def __init__(self, folder: Path, place: Place, port: int) -> None:
        self._place = place
        self.instances = {}
        for name in INSTANCES:
            config = folder / f"{name}.toml"
            config.write_text(CENTRE.format(name=name, where=place.where, port=port))
            self.instances[name] = Process(name, "gateway", "central", "-c", config, "--ready", folder=folder)

    async def start(self) -> None:
        for instance in self.instances.values():
            await instance.start()

    async def kill(self) -> None:
        for instance in self.instances.values():
            await instance.end(signal.SIGKILL)

    def select(self, sql: str) -> list[dict[str, Any]]:
        """Rows, through a connection of this moment."""
        store = CentralStore.open(self._place.url)
        try:
            return store.read(lambda c: [dict(row._mapping) for row in c.execute(text(sql))])
        finally:
            store.close()

    def count(self) -> int:
        return int(self.select("SELECT COUNT(*) AS n FROM central_message")[0]["n"])

    def whole(self, readings: int) -> bool:
        """Whether it has so many readings and no gap: the gateway's other messages count for none of them."""
        sql = "SELECT COUNT(reading.message) AS readings, COUNT(*) AS n, MAX(seq) AS last FROM central_message"
        [found] = self.select(f"{sql} LEFT JOIN central_reading AS reading ON id = message")
        return bool(found["readings"] >= readings and found["n"] == found["last"])

    def told(self) -> Told:
        """As uplink_day.arrived, on either kind of database."""
        found: Told = {}
        values: dict[int, list[str]] = {}
        for row in self.select("SELECT message, value FROM central_item ORDER BY message, position"):
            values.setdefault(row["message"], []).append(row["value"])
        sql = "SELECT id, meter, answered_ms FROM central_reading JOIN central_message ON id = message ORDER BY seq, id"
        for row in self.select(sql):
            found.setdefault(row["meter"], []).append((row["answered_ms"], tuple(values[row["id"]])))
        return found


@pytest.mark.timeout(900)
async def test_a_centre_that_is_killed_and_set_back_has_each_reading_once_in_the_end(
    tmp_path: Path, place: Place, mosquitto: str, proof_scale: int, figure: Figure
) -> None:
    proof, rng = proof_scale == PROOF_SCALE, random.Random(5)
    told, kills = (simulated(200, 96), 30) if proof else (simulated(10, 60), 3)
    count = sum(map(len, told.values()))
    config = tmp_path / "gateway.toml"
    (tmp_path / "data").mkdir()
    with Store.open(str(store_file(tmp_path / "data"))) as store:
        fill(store, told)
    broker = Mosquitto(tmp_path / "broker", mosquitto)
    config.write_text(
        '[gateway]\nid = "G1"\n' + CONFIG.format(http=free_port(), mqtt=broker.port, version="5", drain=max(40, count // 60))
    )
    centre, gateway = Centre(tmp_path, place, broker.port), Process("gateway", "gateway", "run", "-c", config, folder=tmp_path)
    begin = time.monotonic()
    async with running(broker):
        try:
            await centre.start()
            await gateway.spawn()
            for n in range(kills):
                part = min(count, centre.count() + count // (2 * kills))
                await until(lambda: centre.count() >= part, "it goes on", 300)  # noqa: B023
                victim = centre.instances[rng.choice(INSTANCES)]
                await victim.kill()
                if n == kills // 4:  # early: much is still to come that can be lost
                    await centre.kill()
                    place.keep()
                if n == 2 * kills // 3:
                    await broker.kill()
                    await centre.kill()
                    before = centre.count()
                    place.set_back()
                    lost = before - centre.count()
                    await broker.start()
                for instance in centre.instances.values():
                    if instance.code is not None:
                        await instance.start()
            await until(lambda: waiting(tmp_path) == 0 and centre.whole(count), "all is there and acknowledged", 300)
            seconds = time.monotonic() - begin
            await gateway.end()
            await until(lambda: centre.whole(count), "its last words are there too", 300)
        finally:
            await gateway.end()
            await centre.kill()
    assert centre.told() == told, "each reading once, in order"
    assert [row["seq"] for row in centre.select("SELECT seq FROM central_message ORDER BY seq")] == [*range(1, centre.count() + 1)]
    assert centre.select("SELECT message FROM central_unreadable") == [], "nothing was taken for something else"
    assert centre.select("SELECT first, last FROM central_dropped") == [], "nothing was given up"
    assert lost > 0
    figure(f"messages stored through {kills} kills of two instances on {place.__class__.__name__}", count)
    figure("of them sent again after the centre was set back to a backup", lost)
    figure("seconds for them", round(seconds, 1))


def waiting(folder: Path) -> int:
    [row] = rows(store_file(folder / "data"), "SELECT COUNT(*) AS n FROM outbox WHERE acknowledged_ms IS NULL")
    return int(row["n"])
