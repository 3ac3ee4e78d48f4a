"""A store of revision 0004 with money in it comes forward: nothing moves, every leg learns its running balance, all is guarded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.adapters.store import Store, migrate
from gateway.adapters.store.engine import open_database
from gateway.domain.ledger import GENESIS, Audit, Entry, EntryKind, Leg, PostedEntry, post
from gateway.domain.price_list import Terms
from tests.gateway.adapters.store.conftest import new_database

A, B, E = "customer:a", "bank:b", "revenue:e"
ENTRIES = (
    Entry(EntryKind.TOPUP, "CNY", (Leg(A, 50), Leg(B, -50)), 10, {"serial": "王"}),
    Entry(EntryKind.CHARGE, "CNY", (Leg(A, -30), Leg(E, 10), Leg(E, 20)), 20, {"meter": "m"}),
    Entry(EntryKind.TOPUP, "EUR", (Leg(A, 7), Leg(B, -7)), 30, {}),
    Entry(EntryKind.TOPUP, "CNY", (Leg(A, 2), Leg(B, -2)), 40, {}),
)
COUNT = itertools.count()
AFTER = [50, -50, 20, 10, 30, 7, -7, 22, -52]


def journal() -> list[PostedEntry]:
    posted: list[PostedEntry] = []
    for entry in ENTRIES:
        last = posted[-1] if posted else None
        posted.append(post(entry, last.number if last else 0, last.hash if last else GENESIS))
    return posted


@pytest.fixture(params=["sqlite", "postgres"])
def of_old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store of revision 0004."""
    if request.param == "sqlite":
        url = str(tmp_path / "wattgate.db")
    else:
        url = new_database(request.getfixturevalue("postgres"), f"of_old_{next(COUNT)}")
    database = open_database(url)
    with database.writer.begin() as connection:
        migrate.upgrade(connection, "0004")
        run = lambda sql, **values: connection.execute(text(sql), values)  # noqa: E731
        run("INSERT INTO tariff (id, currency, prices) VALUES ('flat', 'CNY', :p)", p='{"energy_import":5}')
        run(
            "INSERT INTO account (id, holder, currency, tariff, policy, never_cut, closed, credit, limit_phase, limit_since_ms, "
            "limit_spent) VALUES ('a', 'Li', 'CNY', 'flat', :p, false, false, 'normal', 'within', 0, 0)",
            p='{"low_micro":0}',
        )
        for p in journal():
            ref = "{" + ",".join(f'"{key}":"{value}"' for key, value in p.entry.ref.items()) + "}"
            values = {"n": p.number, "k": p.entry.kind.value, "c": p.entry.currency, "t": p.entry.at_ms, "r": ref}
            run("INSERT INTO entry VALUES (:n, :k, :c, :t, :r, :p, :h)", **values, p=p.previous, h=p.hash)
            for position, leg in enumerate(p.entry.legs):
                run("INSERT INTO leg VALUES (:n, :i, :a, :m)", n=p.number, i=position, a=leg.account, m=leg.micro)
        for currency, account, micro in (("CNY", A, 22), ("CNY", B, -52), ("CNY", E, 30), ("EUR", A, 7), ("EUR", B, -7)):
            run("INSERT INTO balance (currency, account, micro) VALUES (:c, :a, :m)", c=currency, a=account, m=micro)
        run("UPDATE head SET number = 4, hash = :h WHERE name = 'journal'", h=journal()[-1].hash)
        run(
            "INSERT INTO payment (bank, institution, scope, serial, account, amount_micro, currency, accounting_date, paid_at, "
            "channel, status, at_ms, receipt, entry) VALUES ('b', '', '', 's', 'a', 50, 'CNY', 'd', 't', '', 'posted', 1, '{}', 1)"
        )
    database.close()
    yield url


def test_money_comes_forward_as_it_was(of_old: str) -> None:
    with Store.open(of_old) as store:
        assert store.read_now(lambda tx: tx.entries(0, 9)) == journal()
        rows = store.read_now(lambda tx: tx.journal_rows(0, 9))
        assert [after for row in rows for _, _, after, _ in row.legs] == AFTER
        audit = Audit()
        audit.take(rows)
        audit.compare(store.read_now(lambda tx: tx.balances()))
        assert [row.booked_ms for row in rows] == [10, 20, 30, 40]
        assert (audit.finding, audit.number, audit.hash) == (None, *store.read_now(lambda tx: tx.journal_end()))
        assert store.read_now(lambda tx: [tx.balance_at(A, "CNY", n) for n in range(5)]) == [0, 50, 20, 20, 22]
        assert [paid.entry for paid in store.read_now(lambda tx: tx.paid(0, 9))] == [1]
        account = store.read_now(lambda tx: tx.account("a"))
        assert account is not None and account.terms == Terms()
        posted = store.write_now(lambda tx: add(tx))
        assert posted == 5 and store.read_now(lambda tx: tx.balance_at(A, "CNY", 5)) == 27


def add(tx):  # type: ignore[no-untyped-def]
    posted = post(Entry(EntryKind.TOPUP, "CNY", (Leg(A, 5), Leg(B, -5)), 50, {}), *tx.journal_end())
    tx.add_entry(posted)
    return posted.number


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE leg SET micro = 1 WHERE entry = 1",
        "DELETE FROM leg WHERE entry = 1",
        "INSERT INTO leg (entry, position, account, micro, after) VALUES (1, 9, 'x', 0, 0)",
        "UPDATE entry SET at_ms = 1 WHERE number = 1",
        "UPDATE payment SET entry = 2",
    ],
)
def test_the_guards_stand_after_it(of_old: str, sql: str) -> None:
    with Store.open(of_old) as store, pytest.raises(DBAPIError), store.database.writer.begin() as connection:
        connection.execute(text(sql))
