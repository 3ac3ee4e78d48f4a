"""What a long ledger costs: verifying a million entries, opening it, and an account that all of them touch."""

from __future__ import annotations

import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import text

from gateway.adapters.store import Store
from gateway.bootstrap import books
from gateway.domain import ledger
from gateway.domain.credit import CreditPolicy
from gateway.domain.ledger import GENESIS, EntryKind
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.period_use import PeriodUse, Tranche
from gateway.domain.price_list import Rate
from gateway.domain.readings import Billing, Registers
from gateway.domain.tariff_change import ALWAYS
from gateway.services.close_period import balance_period, close_period
from gateway.services.ports import Tx
from gateway.services.statement import statement
from tests.gateway.price_lists import flat

ENTRIES = int(os.environ.get("WATTGATE_BENCH_ENTRIES", "1000000"))
TEN_YEARS_MS, BEGIN_MS = 3_652 * 86_400_000, 1_763_700_000_000
CHUNK = 20_000
TOPUP_EVERY, TOPUP_MICRO = 500, 300_000_000
LINE = f'["2026-10-01T00:00","energy","{ALWAYS}","year","single",null,1000,617000,617000,"energy at its rate\'s price",""]'
PAGE = 100

T = TypeVar("T")
Row = tuple[object, ...]

INSERT = {
    "leg": "INSERT INTO leg (entry, position, account, micro, after) VALUES (?,?,?,?,?)",
    "entry": "INSERT INTO entry (number, kind, currency, at_ms, ref, previous, hash, booked_ms) VALUES (?,?,?,?,?,?,?,?)",
    "payment": "INSERT INTO payment (bank, institution, scope, serial, account, amount_micro, currency, accounting_date, paid_at, "
    "channel, status, at_ms, receipt, entry) VALUES ('bank','','',?,'a0',?,'CNY',?,'','','posted',?,'{}',?)",
}


def journal(count: int) -> Iterator[tuple[str, Row]]:
    """Rows of a journal of one account over ten years: 274 charges a day, and a top-up every other day."""
    sums: dict[str, int] = {}
    previous, wh = GENESIS, 0
    for number in range(1, count + 1):
        at_ms = BEGIN_MS + number * TEN_YEARS_MS // count
        if number % TOPUP_EVERY == 1:
            kind, legs = EntryKind.TOPUP, (("customer:a0", TOPUP_MICRO), ("bank:bank", -TOPUP_MICRO))
            ref = {"bank": "bank", "institution": "", "scope": "", "serial": f"S{number}"}
        else:
            kind, legs = EntryKind.CHARGE, (("customer:a0", -617_000), ("revenue:energy", 617_000))
            ref = {"meter": "m0", "tariff": "flat", "from_ms": str(at_ms - 1), "to_ms": str(at_ms)}
            ref["energy_import"] = f"{wh}-{wh + 1000}"
            ref["line:0"] = LINE
            wh += 1000
        body = ledger.canonical(number, kind.value, "CNY", legs, at_ms, ref, previous)
        hash_ = ledger.sha256(body)
        for position, (account, micro) in enumerate(legs):
            sums[account] = sums.get(account, 0) + micro
            yield "leg", (number, position, account, micro, sums[account])
        words = json.dumps(ref, separators=(",", ":"))
        yield "entry", (number, kind.value, "CNY", at_ms, words, previous, hash_, at_ms)
        if kind is EntryKind.TOPUP:
            yield "payment", (ref["serial"], TOPUP_MICRO, f"20{20 + number % 10}-01-01", at_ms, number)
        previous = hash_
    yield "end", (count, previous, wh, tuple(sums.items()))


def write_books(store: Store, count: int) -> None:
    def archive(tx: Tx) -> None:
        tx.save_price_list(flat(617_000))
        tx.save_account(Account("a0", "", "CNY", "flat", CreditPolicy(0)))
        tx.save_meter(Meter("m0", "bus", "1", "dlt645-2007", "x", "a0", "p", SwitchKind.INTERNAL, "bus"))

    store.write_now(archive)
    waiting: dict[str, list[Row]] = {"leg": [], "entry": [], "payment": []}
    with store.database.writer.begin() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        for table, row in journal(count):
            if table != "end":
                waiting[table].append(row)
            if table == "end" or len(waiting["entry"]) == CHUNK:
                for name in ("leg", "entry", "payment"):
                    raw.executemany(INSERT[name], waiting[name])
                    waiting[name].clear()
            if table == "end":
                number, hash_, wh, sums = row
                raw.execute("UPDATE head SET number = ?, hash = ? WHERE name = 'journal'", (number, hash_))
                raw.executemany("INSERT INTO balance (currency, account, micro) VALUES ('CNY', ?, ?)", sums)
                assert isinstance(wh, int)
                end_wh = wh
        connection.execute(text("ANALYZE"))
    billing = Billing("m0", Registers(BEGIN_MS + TEN_YEARS_MS, {"energy_import": end_wh}), first_wh=0)
    store.write_now(lambda tx: tx.save_billing(billing))
    used = (Tranche(ALWAYS, "year", end_wh, {Rate.SINGLE: end_wh}),)
    use = PeriodUse("2026-10-01T00:00", BEGIN_MS, BEGIN_MS + TEN_YEARS_MS, used)
    store.write_now(lambda tx: tx.save_period_use("a0", "flat", use))


@contextmanager
def ten_years(count: int) -> Iterator[Path]:
    """The store's file, closed."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "bench.db"
        with Store.open(str(path)) as store:
            write_books(store, count)
        yield path


def timed(work: Callable[[], T]) -> tuple[T, float]:
    gc.collect()
    start = time.perf_counter()
    done = work()
    return done, time.perf_counter() - start


def best_ms(work: Callable[[], object], rounds: int = 5) -> float:
    return min(timed(work)[1] for _ in range(rounds)) * 1000


def statement_page(tx: Tx) -> object:
    """Balance now, of a month in the middle its opening and closing balance, and the first page of its entries."""
    begin = tx.entry_before(BEGIN_MS + TEN_YEARS_MS // 2)
    end = tx.entry_before(BEGIN_MS + TEN_YEARS_MS // 2 + 30 * 86_400_000)
    balances = [tx.balance("customer:a0", "CNY"), *(tx.balance_at("customer:a0", "CNY", number) for number in (begin, end))]
    page = tx.entries_on("customer:a0", begin, end, PAGE)
    assert len(page) == min(PAGE, end - begin) and len({*balances}) > 1
    return page


def month(tx: Tx) -> object:
    """A whole month in the middle, of all its entries."""
    day = datetime.fromtimestamp((BEGIN_MS + TEN_YEARS_MS // 2) / 1000, UTC).date().replace(day=1)
    found = statement(tx, "a0", "gw", "UTC", BEGIN_MS, day)
    assert sum(line.entries for line in found.balance.lines) > ENTRIES // 150 and len(found.balance.lines) < 80
    return found


def figures() -> Iterator[tuple[str, float, str]]:
    with ten_years(ENTRIES) as path:
        yield "size of the store", path.stat().st_size / 1e6, "MB"
        store, opening = timed(lambda: Store.open(str(path)))
        yield f"open a ledger of ten years, {ENTRIES:,} entries (at most 3)", opening, "s"
        with store:
            yield (
                "balance and statement page of an account they all touch (at most 50)",
                best_ms(lambda: store.read_now(statement_page)),
                "ms",
            )
            yield "its statement of a month, a line a day (at most 50)", best_ms(lambda: store.read_now(month)), "ms"
            begun = time.process_time()
            (number, finding), took = timed(lambda: books.verify(str(path)))
            assert (number, finding) == (ENTRIES, None), finding
            yield f"verify {ENTRIES:,} entries (at most 20)", took, "s"
            yield "processor time of it, on a machine that others use too", time.process_time() - begun, "s"
            balanced, took = timed(lambda: store.read_now(lambda tx: balance_period(tx, BEGIN_MS + TEN_YEARS_MS * 119 // 120)))
            assert balanced is not None
            closed = store.write_now(lambda tx: close_period(tx, balanced, BEGIN_MS + TEN_YEARS_MS))
            yield "balance its first 119 months for a closing", took, "s"
            (number, finding), took = timed(lambda: books.verify(str(path), from_closing=True))
            assert (number, finding) == (ENTRIES + 1, None) and closed is not None, finding
            yield "verify from that closing", took, "s"
