"""A store from before receipts were signed: each is signed when it is first asked for, and is the same for ever after."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.identity import rotate
from gateway.adapters.store import migrate, store_file
from gateway.adapters.store.engine import open_database
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site
from tests.gateway.bootstrap.test_banks import TOPUPS

Ask = Callable[[httpx2.AsyncClient], Awaitable[httpx2.Response]]


def paid() -> dict[str, str]:
    day = (datetime.now(UTC) + timedelta(hours=8)).date().isoformat()
    when = {"paid_at": "2026-11-21T10:00:00+08:00", "accounting_date": day}
    return {"serial": "S-1", "account": "A", "amount": "10.00", "currency": "CNY", **when}


def back_to(revision: str, data: Path) -> None:
    """The same rows in a store of that revision; what it had no column for is lost."""
    new, old = store_file(data), data / "old.db"
    database = open_database(str(old))
    with database.writer.begin() as connection:
        migrate.upgrade(connection, revision)
    database.close()
    with sqlite3.connect(old) as store:
        store.execute("PRAGMA foreign_keys = OFF")
        store.execute("ATTACH ? AS later", (str(new),))
        guards = store.execute("SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in guards:
            store.execute(f"DROP TRIGGER main.{name}")
        tables = store.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
        for (table,) in tables:
            if table == "alembic_version":
                continue
            columns = ", ".join(f'"{row[1]}"' for row in store.execute(f"PRAGMA main.table_info({table})"))
            store.execute(f"DELETE FROM main.{table}")
            store.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM later.{table}")
        for _, sql in guards:
            store.execute(sql)
    store.close()
    for file in data.glob(f"{new.name}*"):
        file.unlink()
    old.rename(new)


async def booked_long_ago(site: Site) -> dict[str, object]:
    """A payment of a gateway of that time; its answer."""
    async with site.running() as gateway, httpx2.AsyncClient(base_url=gateway.listener.url, trust_env=False, timeout=60) as bank:
        first = await bank.post(TOPUPS, json=paid())
        assert first.status_code == 201
    back_to("0009", site.folder / "data")
    with sqlite3.connect(store_file(site.folder / "data")) as store:
        assert "receipt_jws" not in [row[1] for row in store.execute("PRAGMA table_info(payment)")]
    store.close()
    answer: dict[str, object] = first.json()
    return answer


async def query(bank: httpx2.AsyncClient) -> httpx2.Response:
    return await bank.get(f"{TOPUPS}/S-1")


async def repeat(bank: httpx2.AsyncClient) -> httpx2.Response:
    return await bank.post(TOPUPS, json=paid())


async def reverse(bank: httpx2.AsyncClient) -> httpx2.Response:
    form = {name: paid()[name] for name in ("amount", "currency", "accounting_date")}
    form |= {"reversal_serial": "R", "reason": "x", "requested_at": "2026-11-21T10:00:00Z"}
    return await bank.post(f"{TOPUPS}/S-1/reversal", json=form)


@pytest.mark.parametrize("asked", [query, repeat, reverse])
async def test_the_first_answer_signs_it_and_all_others_are_the_same(site_of: MakeSite, asked: Ask) -> None:
    site = site_of(1, 1)
    site.plan.accounts = {"m0-0": "A"}
    then = await booked_long_ago(site)
    async with site.running() as gateway, httpx2.AsyncClient(base_url=gateway.listener.url, trust_env=False, timeout=60) as bank:
        first = await asked(bank)
        assert (first.status_code, first.json()["receipt"]) == (200, then["receipt"])
        assert first.json()["receipt_jws"] == then["receipt_jws"], "the same bytes under the same key: nothing of it is random"
    rotate(site.folder / "data")
    async with site.running() as gateway, httpx2.AsyncClient(base_url=gateway.listener.url, trust_env=False, timeout=60) as bank:
        assert json.loads((await query(bank)).content)["receipt_jws"] == first.json()["receipt_jws"]
