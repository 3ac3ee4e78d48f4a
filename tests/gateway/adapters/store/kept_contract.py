"""What the writer remembers and puts off is never seen from outside: part of what every database under the store must do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import text

from gateway.adapters.store import Store, later
from gateway.domain.events import Outgoing, Topic
from gateway.domain.ledger import customer, post
from gateway.domain.meters import Contact
from gateway.domain.readings import Item, Quality, Reading
from gateway.domain.records import LatestItem
from gateway.domain.supply import CommandState
from gateway.services.ports import Tx, Unavailable
from tests.gateway.adapters.store import rows
from tests.gateway.adapters.store.rows import NOW_MS, entry
from tests.gateway.price_lists import flat

HOUSE, METER = rows.ACCOUNT.id, rows.METER.id
UNWRITABLE = Outgoing(Topic.EVENT, "\ud800", NOW_MS, {})  # no database takes half a surrogate


class Broken(Exception):
    """A use case that fails."""


def archive(tx: Tx) -> None:
    tx.save_price_list(rows.TARIFF)
    for account in (rows.ACCOUNT, rows.PLAIN_ACCOUNT):
        tx.save_account(account)
    tx.save_meter(rows.METER)
    tx.save_billing(rows.BILLING)
    tx.add_entry(post(entry(5), *tx.journal_end()))


def change(tx: Tx) -> None:
    """Something of every kind, all of it other than before."""
    tx.save_price_list(flat(1, rows.TARIFF.id))
    tx.save_account(replace(rows.ACCOUNT, holder="other"))
    tx.save_meter(replace(rows.METER, account="house-8", observed=Contact.UNKNOWN))
    tx.save_billing(replace(rows.BILLING, suspects=99))
    tx.add_entry(post(entry(1), *tx.journal_end()))
    tx.add_command(rows.COMMAND)


def seen(tx: Tx) -> tuple[object, ...]:
    return (
        *(tx.price_list("two-rate"), tx.account(HOUSE), tx.meter(METER), tx.meters_of(HOUSE), tx.meters_of("house-8")),
        *(tx.billing(METER), tx.balance(customer(HOUSE), "CNY")),
        *(tx.open_commands(), tx.open_commands(line=rows.COMMAND.line), tx.open_commands(meter=rows.COMMAND.meter)),
    )


def read(tx: Tx, at_ms: int, *quantities: str) -> None:
    items = tuple(Item(quantity, Decimal(at_ms), "kWh") for quantity in quantities)
    tx.add_reading(Reading("m", items, at_ms, at_ms), "p", Quality.SINGLE, at_ms)


class KeptContract:
    def test_what_was_remembered_is_what_is_stored(self, store: Store) -> None:
        def usecase(tx: Tx) -> tuple[object, ...]:
            before = seen(tx)
            change(tx)
            assert all(was != now for was, now in zip(before, seen(tx), strict=True))
            return seen(tx)

        store.write_now(archive)
        now = store.write_now(usecase)
        assert now == store.read_now(seen) == store.write_now(seen)
        store.write_now(lambda tx: tx.save_command(replace(rows.COMMAND, state=CommandState.VERIFIED)))
        assert store.write_now(seen)[-3:] == ([], [], [])

    async def test_nothing_of_a_failed_use_case_is_remembered(self, store: Store) -> None:
        def fails(tx: Tx) -> None:
            seen(tx)
            change(tx)
            raise Broken

        store.write_now(archive)
        before = store.read_now(seen)
        first, failed, last = await asyncio.gather(*map(store.write, (seen, fails, seen)), return_exceptions=True)
        assert first == last == before == store.write_now(seen) and isinstance(failed, Broken)

    async def test_rows_put_off_outlive_a_failure_that_looked_for_them(self, store: Store) -> None:
        def good(tx: Tx) -> int:
            read(tx, 1, "a")
            tx.save_billing(rows.BILLING)
            return tx.add_outgoing(rows.MESSAGE)

        def fails(tx: Tx) -> None:
            read(tx, 2, "a", "b")
            tx.save_billing(replace(rows.BILLING, suspects=99))
            tx.add_outgoing(rows.MESSAGE)
            assert (len(tx.outgoing(0, 9)), len(tx.readings("m", 0, 9)), len(tx.latest("m"))) == (2, 2, 2)
            tx.add_outgoing(rows.MESSAGE)
            raise Broken

        def looks(tx: Tx) -> object:
            return tx.billing(METER), tx.add_outgoing(rows.MESSAGE)

        answers = await asyncio.gather(*map(store.write, (good, fails, looks)), return_exceptions=True)
        assert (answers[0], type(answers[1]), answers[2]) == (1, Broken, (rows.BILLING, 2))
        assert [row.seq for row in store.read_now(lambda tx: tx.outgoing(0, 9))] == [1, 2]
        assert [stored.reading.answered_ms for stored in store.read_now(lambda tx: tx.readings("m", 0, 9))] == [1]
        assert store.read_now(lambda tx: tx.latest("m")) == {"a": LatestItem(Item("a", Decimal(1), "kWh"), 1)}
        assert store.read_now(lambda tx: tx.billing(METER)) == rows.BILLING

    def test_what_another_process_wrote_is_not_overlooked(self, store: Store, another: Callable[[], Store]) -> None:
        other = another()
        store.write_now(archive)
        before = other.write_now(seen)
        assert store.write_now(seen) == before
        store.write_now(change)
        after = other.write_now(seen)
        assert after == store.write_now(seen) == other.read_now(seen) and after != before
        other.write_now(lambda tx: tx.save_billing(replace(rows.BILLING, suspects=7)))
        billing = store.write_now(lambda tx: tx.billing(METER))
        assert billing is not None and billing.suspects == 7
        other.close()

    def test_what_was_written_beside_the_store_is_not_overlooked(self, store: Store) -> None:
        store.write_now(archive)
        store.write_now(seen)
        with store.database.writer.begin() as connection:
            connection.execute(text("UPDATE meter SET settle_ms = 1"))
        meter = store.write_now(lambda tx: tx.meter(METER))
        assert meter is not None and meter.settle_ms == 1

    def test_more_rows_than_one_statement_takes(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(later, "MOST", 700)
        quantities = [f"q{n:03}" for n in range(333)]

        def many(tx: Tx) -> None:
            for at_ms in (2, 3, 1):
                read(tx, at_ms, *quantities, quantities[0])
            for _ in range(777):
                tx.add_outgoing(rows.MESSAGE)

        store.write_now(many)
        assert [row.seq for row in store.read_now(lambda tx: tx.outgoing(0, 999))] == list(range(1, 778))
        latest = store.read_now(lambda tx: tx.latest("m"))
        assert sorted(latest) == quantities and {item.answered_ms for item in latest.values()} == {3}

    async def test_a_row_that_cannot_be_written_fails_its_batch_once_and_then_alone(self, store: Store) -> None:
        def good(tx: Tx) -> int:
            return tx.add_outgoing(rows.MESSAGE)

        def bad(tx: Tx) -> int:
            return tx.add_outgoing(UNWRITABLE)

        first = await asyncio.gather(*map(store.write, (good, bad, good)), return_exceptions=True)
        stored = [row.seq for row in store.read_now(lambda tx: tx.outgoing(0, 9))]
        assert isinstance(first[1], Exception) and stored == [answer for answer in first if isinstance(answer, int)]
        again = await asyncio.gather(*map(store.write, (good, bad, good)), return_exceptions=True)
        assert not isinstance(again[1], int) and not isinstance(again[1], Unavailable)
        assert again[::2] == [len(stored) + 1, len(stored) + 2]

    def test_what_a_lost_batch_wrote_is_not_remembered(self, store: Store) -> None:
        def lost(tx: Tx) -> None:
            tx.save_billing(replace(rows.BILLING, suspects=99))
            tx.add_reading(Reading("m", (), 1, 1), "\ud800", Quality.SINGLE, 1)

        store.write_now(archive)
        with pytest.raises((Unavailable, UnicodeEncodeError)):
            store.write_now(lost)
        assert store.write_now(lambda tx: tx.billing(METER)) == rows.BILLING
