"""The ledger's verbs on a real data directory: proofs, exports that others accept, copies with right balances, closings."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from gateway.adapters.ledger_files import beancount_account
from gateway.adapters.store import Store, lock, store_file
from gateway.adapters.store.engine import sqlite_module
from gateway.bootstrap import books
from gateway.bootstrap.examine import CannotStart
from gateway.domain import ledger
from gateway.domain.ledger import Leg, customer
from gateway.domain.transfers import Transfer
from gateway.services import transfer
from gateway.services.correct_entry import correct
from gateway.services.post_entry import post_entry
from tests.gateway.adapters.store.conftest import empty_file as empty_file  # a fixture
from tests.gateway.services.house import House, account

BEAN_CHECK = Path(__file__).resolve().parents[3] / ".venv-peers" / "beancount" / "bin" / "bean-check"
CHARGE, TOPUP, WRONG, REVERSAL, CORRECTION, BEGUN, POSTED = 2, 3, 4, 5, 6, 7, 8
LAST = 11
ZONE = "Asia/Shanghai"


@pytest.fixture(scope="module")
def settled(empty_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose ledger has one of many things, over three days."""
    data = tmp_path_factory.mktemp("books") / "data"
    data.mkdir()
    shutil.copyfile(empty_file, store_file(data))
    with Store.open(str(store_file(data))) as store:
        house = House(store)
        house.settle(balance="100").exhaust(total="1.00")
        house.settle(accounts=[account(), account("house_7")])
        house.topup("50.00")
        house.later(minutes=1).block(total="3.00")
        cheaper = (Leg(customer("A-1"), -700_001), Leg("revenue:energy", 700_001))
        line = {"line:energy_import": "1000-3000@350000=700001", "said": 'a "word" \\ and 一'}
        number = house.do(lambda tx: tx.journal_end())[0]
        house.do(lambda tx: correct(tx, number, cheaper, line, {"by": "li"}, house.now_ms))
        moving = Transfer("t_1", "A-1", "CNY", 5, customer("A-1"), "undelivered:A-1", house.now_ms, None)
        house.do(lambda tx: transfer.begin(tx, moving))
        house.do(lambda tx: transfer.post(tx, "t_1", house.now_ms, {}))
        house.later(hours=24)
        house.do(lambda tx: post_entry(tx, ledger.indebted("A-1", "CNY", 3_000_000, house.now_ms, {})))
        house.later(hours=24).topup("20.00", serial="S-2", account="house_7")
        house.topup("1.00", serial="S-3")
        assert house.verified() is None
    return data


@pytest.fixture
def data(settled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(settled, tmp_path / "data"))


def at_the_file(data: Path, *statements: str, hushed: tuple[str, ...] = ()) -> None:
    """What somebody does who owns the file: without our triggers and foreign keys."""
    connection = sqlite_module().connect(str(store_file(data)))
    connection.execute("PRAGMA foreign_keys=OFF")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for sql in statements:
        connection.execute(sql)
    connection.commit()
    connection.close()


TAMPERED = [
    ("an amount", ["UPDATE leg SET micro = micro + 1 WHERE entry = 3 AND position = 0"], "entry 3 was changed"),
    ("an amount as a float", ["UPDATE leg SET micro = 0.5 WHERE entry = 3 AND position = 0"], "entry 3 was changed"),
    ("swapped legs", ["UPDATE leg SET position = 1 - position + 10 WHERE entry = 2"] * 1, None),
    ("a removed entry", ["DELETE FROM leg WHERE entry = 5", "DELETE FROM entry WHERE number = 5"], "after entry 4 comes entry 6"),
    ("a removed leg", ["DELETE FROM leg WHERE entry = 5 AND position = 1"], "entry 5 was changed"),
    (
        "the last entry and its balances",
        ["DELETE FROM leg WHERE entry = 11", "DELETE FROM entry WHERE number = 11"],
        "stops at entry 10",
    ),
    ("a time", ["UPDATE entry SET at_ms = at_ms + 1 WHERE number = 4"], "entry 4 was changed"),
    ("the journal's time", ["UPDATE entry SET booked_ms = 1 WHERE number = 4"], "entry 4 is booked at 1, but the journal then"),
    ("references that are none", ["UPDATE entry SET ref = '{\"a\":1}' WHERE number = 4"], "entry 4 was changed"),
    ("references cut off", ["UPDATE entry SET ref = substr(ref, 2) WHERE number = 6"], "entry 6 was changed"),
    (
        "a running balance",
        ["UPDATE leg SET after = after - 7 WHERE entry = 9 AND position = 1"],
        "entry 9 says that debt:A-1 then has",
    ),
    ("a balance", ["UPDATE balance SET micro = micro + 7 WHERE account = 'customer:A-1'"], "customer:A-1 shows"),
    ("a payment's amount", ["UPDATE payment SET amount_micro = 1 WHERE serial = 'S-1'"], "entry 3 does not credit what"),
    ("a payment is gone", ["DELETE FROM payment WHERE serial = 'S-2'"], "entry 10 tops up by bank S-2, but"),
    (
        "payments swapped",
        [
            "UPDATE payment SET status = 'reversed', entry = NULL WHERE serial = 'S-2'",
            "UPDATE payment SET entry = 10 WHERE serial = 'S-3'",
        ],
        "entry 10 tops up by bank S-2, but",
    ),
    (
        "a payment of another day",
        ["UPDATE payment SET accounting_date = 'x' WHERE serial = 'S-3'"],
        "entry 11 is of 2026-11-24, but",
    ),
    ("a reversal is not listed", ["DELETE FROM reversal"], "entry 5 and the list of reversals"),
    ("a transfer's end", ["UPDATE transfer SET state = 'voided'"], "entry 8 and the list of transfers"),
    ("a transfer is gone", ["DELETE FROM transfer"], "entry 7 and the list of transfers"),
    ("the bill's place", ["UPDATE billing SET first_wh = 7"], "meter m1 is billed from 0 Wh in the ledger, but"),
    (
        "the journal's end",
        ["UPDATE head SET number = 10 WHERE name = 'journal'"],
        "the journal stops at entry 11, but 10 were posted",
    ),
]


@pytest.mark.parametrize(("what", "statements", "finding"), TAMPERED, ids=[what for what, _, _ in TAMPERED])
def test_what_was_done_to_the_file_is_found(data: Path, what: str, statements: list[str], finding: str | None) -> None:
    assert books.verify(str(store_file(data))) == (LAST, None)
    at_the_file(data, *statements)
    found = books.verify(str(store_file(data)))[1] or "nothing found"
    assert (finding or "entry 2 was changed") in found


def exported(data: Path, kind: str, **days: date) -> str:
    out = StringIO()
    books.export(str(store_file(data)), kind, ZONE, out.write, **days)
    return out.getvalue()


def test_a_line_of_json_is_what_its_hash_is_of(data: Path) -> None:
    lines = exported(data, "jsonl").splitlines()
    previous = "0" * 64
    for number, line in enumerate(lines, 1):
        entry = json.loads(line)
        claimed = entry.pop("hash")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == claimed
        assert (entry["number"], entry["previous"]) == (number, previous)
        previous = claimed
    assert len(lines) == LAST


@pytest.mark.parametrize(
    ("first", "last", "count"),
    [
        (None, None, 11),
        (date(2026, 11, 25), None, 3),
        (None, date(2026, 11, 24), 8),
        (date(2026, 11, 25), date(2026, 11, 25), 1),
        (date(2030, 1, 1), None, 0),
        (None, date(2020, 1, 1), 0),
    ],
)
def test_days_of_an_export(data: Path, first: date | None, last: date | None, count: int) -> None:
    days = {name: day for name, day in (("first", first), ("last", last)) if day is not None}
    assert len(exported(data, "jsonl", **days).splitlines()) == count
    assert exported(data, "beancount", **days).count("\n  number: ") == count


def bean_check(tmp_path: Path, text: str) -> str:
    """What bean-check says; nothing where it accepts the file."""
    if not BEAN_CHECK.exists():
        pytest.skip("beancount is not installed: `make peers` installs it, apart from us")
    file = tmp_path / "books.beancount"
    file.write_text(text)
    done = subprocess.run([BEAN_CHECK, file], capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)})
    return done.stdout + done.stderr if done.returncode else ""


def test_bean_check_accepts_the_journal_whole_and_in_parts(data: Path, tmp_path: Path) -> None:
    for days in ({}, {"first": date(2026, 11, 25)}, {"last": date(2026, 11, 24)}, {"first": date(2030, 1, 1)}):
        assert bean_check(tmp_path, exported(data, "beancount", **days)) == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  Assets:Bank:Id-bank  50.000000 CNY", "  Assets:Bank:Id-bank  50.000001 CNY", "does not balance"),
        (" balance Assets:Bank:Id-bank 71.000000", " balance Assets:Bank:Id-bank 71.000001", "Balance failed"),
    ],
)
def test_bean_check_sees_a_micro_unit(data: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    """Else its word would be worth nothing."""
    text = exported(data, "beancount")
    assert old in text
    assert said in bean_check(tmp_path, text.replace(old, new, 1))


def test_the_balances_asserted_are_those_kept_beside_the_journal(data: Path, tmp_path: Path) -> None:
    at_the_file(data, "UPDATE balance SET micro = micro + 1 WHERE account = 'customer:A-1'")
    assert "Balance failed" in bean_check(tmp_path, exported(data, "beancount"))


def test_names_there_are_allowed_and_never_the_same() -> None:
    names = ["A-1", "a-1", "a_1", "a--1", "A_1", "-", "_", "Id-a-1", "Ix-a", "Ix-a-5F-1", "7", "x", "X", "王", ""]
    made = [beancount_account(f"customer:{name}") for name in names]
    assert len({*made}) == len(names)
    assert made[:3] == ["Liabilities:Customer:A-1", "Liabilities:Customer:Id-a-1", "Liabilities:Customer:Ix-a-5F-1"]
    heads = {
        beancount_account(name) for name in ("debt:a", "bank:a", "revenue:a", "equity:a", "write_off", "suspense", "odd_one:a")
    }
    assert len(heads) == 7 and "Expenses:WriteOff" in heads


# rebuild


def test_right_balances_are_said_to_be_right_and_the_copy_is_the_same(data: Path, tmp_path: Path) -> None:
    before = store_file(data).read_bytes()
    rebuilt = books.rebuild(data, tmp_path / "copy.db")
    assert (rebuilt.entries, rebuilt.wrong, rebuilt.legs, rebuilt.finding) == (LAST, {}, [], None)
    assert store_file(data).read_bytes() == before
    assert books.verify(str(tmp_path / "copy.db")) == (LAST, None)
    with pytest.raises(CannotStart, match="is there already"):
        books.rebuild(data, tmp_path / "copy.db")


def test_wrong_balances_are_named_and_right_in_the_copy_only(data: Path, tmp_path: Path) -> None:
    connection = sqlite_module().connect(str(store_file(data)))
    guard = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'leg_no_update'").fetchone()[0]
    connection.execute("DROP TRIGGER leg_no_update")
    connection.execute("UPDATE leg SET after = after + 1 WHERE entry IN (3, 9)")
    connection.execute(guard)
    connection.execute("UPDATE balance SET micro = 5 WHERE account = 'bank:bank'")
    connection.execute("DELETE FROM balance WHERE account = 'debt:A-1'")
    connection.commit()
    connection.close()
    rebuilt = books.rebuild(data, tmp_path / "copy.db")
    assert rebuilt.wrong == {("CNY", "bank:bank"): (5, -71_000_000), ("CNY", "debt:A-1"): (0, -3_000_000)}
    assert {entry for _, entry, _ in rebuilt.legs} == {3, 9}
    assert books.verify(str(tmp_path / "copy.db")) == (LAST, None)
    assert books.verify(str(store_file(data)))[1] is not None
    refused = pytest.raises(DBAPIError, match="append-only")
    with Store.open(str(tmp_path / "copy.db")) as copy, refused, copy.database.writer.begin() as writing:
        writing.exec_driver_sql("UPDATE leg SET after = 0")


def test_of_a_broken_journal_there_is_no_copy(data: Path, tmp_path: Path) -> None:
    at_the_file(data, "UPDATE leg SET micro = 1 WHERE entry = 3")
    rebuilt = books.rebuild(data, tmp_path / "copy.db")
    assert rebuilt.finding == "entry 3 was changed: its hash does not match its content"
    assert [*tmp_path.glob("copy*")] == []


OUTSIDE: list[Callable[[Path], object]] = [
    lambda data: books.rebuild(data, None),
    lambda data: books.close(data, date(2026, 12, 1), ZONE, 1),
]


@pytest.mark.parametrize("verb", OUTSIDE)
def test_not_while_a_gateway_runs_nor_where_none_is(data: Path, tmp_path: Path, verb: Callable[[Path], object]) -> None:
    with lock(data), pytest.raises(CannotStart, match="is in use by process"):
        verb(data)
    with pytest.raises(CannotStart, match="there is no store in"):
        verb(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


# closings


def test_periods_are_closed_and_what_follows_is_proved_from_there(data: Path) -> None:
    first = books.close(data, date(2026, 11, 25), ZONE, 2)
    assert first is not None and (first.entry, first.upto) == (12, 8)
    assert books.close(data, date(2026, 11, 25), ZONE, 3) is None
    second = books.close(data, date(2026, 11, 26), ZONE, 4)
    assert second is not None and (second.entry, second.upto) == (13, 9)
    for from_closing in (False, True):
        assert books.verify(str(store_file(data)), from_closing=from_closing) == (13, None)


def test_unsound_books_are_not_closed(data: Path) -> None:
    at_the_file(data, "UPDATE leg SET micro = 1 WHERE entry = 3")
    with pytest.raises(CannotStart, match="entry 3 was changed"):
        books.close(data, date(2026, 11, 25), ZONE, 2)


def test_a_closing_is_fixed_by_its_entry(data: Path) -> None:
    books.close(data, date(2026, 11, 25), ZONE, 2)
    at_the_file(data, "UPDATE closing SET state = replace(state, '\"customer:A-1\",1', '\"customer:A-1\",2')")
    assert (
        books.verify(str(store_file(data)), from_closing=True)[1]
        == "entry 12 does not close with the balances that are kept for it"
    )
    assert books.verify(str(store_file(data))) == (12, None)  # from the first entry on nothing needs it


def test_a_day_ends_where_its_zone_says(data: Path) -> None:
    assert books.close(data, date(2026, 11, 24), "Pacific/Kiritimati", 2) is None
    closing = books.close(data, date(2026, 11, 25), "Pacific/Honolulu", 2)  # 18 hours after Shanghai's
    assert closing is not None and closing.upto == 9
