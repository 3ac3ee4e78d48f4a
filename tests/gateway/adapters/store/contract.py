"""What every database under the store must do: run by test_sqlite.py and test_postgresql.py."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.adapters.store import Store
from gateway.domain.clocks import MeterClock
from gateway.domain.events import Event, EventKind, Outgoing, Topic
from gateway.domain.jobs import Want
from gateway.domain.ledger import GENESIS, Audit, Entry, EntryKind, Leg, PostedEntry, bank_clearing, customer, post
from gateway.domain.readings import Billing, Item, Quality, Reading, Source
from gateway.domain.records import LatestItem, OutboxClass, OutboxState, Payment, StoredEvent, StoredReading, Taken
from gateway.domain.requests import PaymentIdentity
from gateway.domain.schemes import Completeness, SlotState, Tally
from gateway.domain.supply import Command, CommandState, Verb
from gateway.services.ports import Duplicate, Tx, Unavailable
from tests.gateway.adapters.store import rows
from tests.gateway.adapters.store.bank_contract import BankContract
from tests.gateway.adapters.store.billing_contract import BillingContract
from tests.gateway.adapters.store.debit_contract import DebitContract
from tests.gateway.adapters.store.import_contract import ImportContract
from tests.gateway.adapters.store.nonce_contract import NonceContract
from tests.gateway.adapters.store.rows import NOW_MS, entry
from tests.gateway.adapters.store.supply_contract import SupplyContract
from tests.gateway.adapters.store.uplink_contract import UplinkContract
from tests.gateway.price_lists import flat


class Boom(Exception):
    """A use case that fails."""


def book(tx: Tx, what: Entry) -> PostedEntry:
    posted = post(what, *tx.journal_end())
    tx.add_entry(posted)
    return posted


def archive(tx: Tx) -> None:
    tx.save_price_list(rows.TARIFF)
    tx.save_account(rows.ACCOUNT)
    tx.save_account(rows.PLAIN_ACCOUNT)
    tx.save_meter(rows.METER)


def raw(store: Store, sql: str) -> None:
    """What somebody with the database's own tools could try."""
    with store.database.writer.begin() as connection:
        connection.execute(text(sql))


class ArchiveContract:
    def test_samples_leave_no_field_at_its_default(self) -> None:
        assert [rows.unset_fields(row) for row in rows.FULL_ROWS] == [[]] * len(rows.FULL_ROWS)

    def test_the_archive_comes_back_as_it_was_saved(self, store: Store) -> None:
        store.write_now(archive)
        second = replace(rows.METER, id="a-meter", account=None, cut_reasons=(), observed_ms=None)
        store.write_now(lambda tx: tx.save_meter(second))

        def look(tx: Tx) -> None:
            assert tx.price_list("two-rate") == rows.TARIFF
            assert tx.account("house-7") == rows.ACCOUNT
            assert tx.accounts() == [rows.ACCOUNT, rows.PLAIN_ACCOUNT]
            assert tx.meter(rows.METER.id) == rows.METER
            assert tx.meters() == [second, rows.METER]
            assert tx.meters_of("house-7") == [rows.METER]
            assert (tx.price_list("x"), tx.account("x"), tx.meter("x"), tx.meters_of("x")) == (None, None, None, [])

        store.read_now(look)
        store.write_now(look)  # the same rows under their locks

    def test_saving_again_changes_the_row(self, store: Store) -> None:
        store.write_now(archive)
        changed = replace(rows.ACCOUNT, limit=None, holder="other", closed=False, protect_until_ms=None)
        moved = replace(rows.METER, account="house-8", cut_reasons=())
        cheaper = flat(1, rows.TARIFF.id)

        def again(tx: Tx) -> None:
            tx.save_account(changed)
            tx.save_meter(moved)
            tx.save_price_list(cheaper)

        store.write_now(again)
        assert store.read_now(lambda tx: tx.accounts()) == [changed, rows.PLAIN_ACCOUNT]
        assert store.read_now(lambda tx: tx.meters()) == [moved]
        assert store.read_now(lambda tx: tx.price_list("two-rate")) == cheaper

    def test_no_account_without_its_tariff_and_no_meter_without_its_account(self, store: Store) -> None:
        for orphan in (lambda tx: tx.save_account(rows.ACCOUNT), lambda tx: tx.save_meter(rows.METER)):
            with pytest.raises(Exception, match=r"(?i)foreign key"):
                store.write_now(orphan)
        assert store.read_now(lambda tx: (tx.accounts(), tx.meters())) == ([], [])


class ReadingsContract:
    def test_a_reading_comes_back_with_its_digits(self, store: Store) -> None:
        store.write_now(lambda tx: tx.add_reading(rows.READING, "p", Quality.CONFIRMED, NOW_MS + 95))
        [back] = store.read_now(lambda tx: tx.readings(rows.METER.id, 0, 10))
        assert back == StoredReading(back.id, rows.READING, "p", Quality.CONFIRMED, NOW_MS + 95)
        assert [str(item.value) for item in back.reading.items] == ["1234.50", "-0.0010", "None"]

    def test_readings_oldest_first_since_and_limited(self, store: Store) -> None:
        def add(tx: Tx) -> None:
            for at_ms in (30, 10, 20, 20):
                tx.add_reading(Reading("m", (), at_ms - 1, at_ms), "p", Quality.SINGLE, at_ms)
            tx.add_reading(Reading("other", (), 1, 20), "p", Quality.SINGLE, 20)

        store.write_now(add)

        def times(since_ms: int, limit: int) -> list[int]:
            return [r.reading.answered_ms for r in store.read_now(lambda tx: tx.readings("m", since_ms, limit))]

        assert times(0, 10) == [10, 20, 20, 30]
        assert times(20, 10) == [20, 20, 30]
        assert times(0, 2) == [10, 20]

    def test_latest_is_the_newest_of_each_quantity(self, store: Store) -> None:
        def item(quantity: str, value: str | None) -> Item:
            return Item(quantity, None if value is None else Decimal(value), "kWh", f"obis {quantity}")

        def add(*items: Item, at_ms: int, source: Source = Source.LIVE, meter: str = "m") -> None:
            store.write_now(lambda tx: tx.add_reading(Reading(meter, items, at_ms, at_ms, source), "p", Quality.SINGLE, at_ms))

        add(item("a", "1.0"), item("b", "2.00"), at_ms=10)
        add(item("b", None), item("c", "3"), at_ms=20)
        add(item("a", "0.5"), item("c", "2.5"), at_ms=15)  # an answer that was stored late
        add(item("a", "0.1"), at_ms=30, source=Source.FREEZE)  # yesterday's register
        add(item("a", "9"), at_ms=40, meter="other")
        assert store.read_now(lambda tx: tx.latest("m")) == {
            "a": LatestItem(item("a", "0.5"), 15),
            "b": LatestItem(item("b", None), 20),
            "c": LatestItem(item("c", "3"), 20),
        }
        assert store.read_now(lambda tx: tx.latest("nobody")) == {}

    def test_billing_comes_back_and_changes(self, store: Store) -> None:
        for billing in (rows.BILLING, Billing(rows.METER.id), replace(rows.BILLING, candidate=None, held=None)):
            store.write_now(lambda tx, billing=billing: tx.save_billing(billing))
            assert store.read_now(lambda tx: tx.billing(rows.METER.id)) == billing
        assert store.read_now(lambda tx: tx.billing("x")) is None

    def test_clocks_come_back_by_line(self, store: Store) -> None:
        store.write_now(archive)
        other = MeterClock("elsewhere", seen=None)

        def add(tx: Tx) -> None:
            tx.save_meter(replace(rows.METER, id="elsewhere", line="bus-2", account=None))
            tx.save_clock(MeterClock(rows.METER.id))
            tx.save_clock(rows.CLOCK)
            tx.save_clock(other)

        store.write_now(add)

        def look(tx: Tx) -> None:
            assert (tx.clock(rows.METER.id), tx.clock("elsewhere"), tx.clock("nobody")) == (rows.CLOCK, other, None)
            assert (tx.clocks("bus-1"), tx.clocks("bus-2"), tx.clocks("coils")) == ([rows.CLOCK], [other], [])
            assert [meter.id for meter in tx.meters_on("bus-1")] == [rows.METER.id]

        store.read_now(look)


class MoneyContract:
    def test_an_empty_journal_ends_at_its_genesis(self, store: Store) -> None:
        assert store.read_now(lambda tx: tx.journal_end()) == store.write_now(lambda tx: tx.journal_end()) == (0, GENESIS)
        assert store.read_now(lambda tx: (tx.entries(0, 9), tx.balances(), tx.balance("customer:x", "CNY"))) == ([], {}, 0)

    def test_entries_balances_and_the_chain(self, store: Store) -> None:
        three = Entry(
            EntryKind.CHARGE, "EUR", (Leg("customer:b", -3), Leg("revenue:x", 2), Leg("revenue:y", 1)), 7, {"line": "1-2@3"}
        )
        posted = [store.write_now(lambda tx, e=e: book(tx, e)) for e in (entry(2**60), entry(5, "b"), three, entry(-7))]
        assert [p.number for p in posted] == [1, 2, 3, 4]
        assert store.read_now(lambda tx: tx.entries(0, 100)) == posted
        assert store.read_now(lambda tx: tx.entries(1, 2)) == posted[1:3]
        assert store.read_now(lambda tx: tx.entries(4, 2)) == []
        assert store.read_now(lambda tx: tx.journal_end()) == (4, posted[-1].hash)
        assert store.read_now(lambda tx: tx.entries_of(customer("house-7"), 10)) == [posted[3], posted[0]]
        assert store.read_now(lambda tx: tx.entries_of(bank_clearing("icbc"), 2)) == [posted[3], posted[1]]
        assert store.read_now(lambda tx: tx.entries_of("customer:b", 10)) == [posted[2], posted[1]]
        assert store.read_now(lambda tx: tx.balance(customer("house-7"), "CNY")) == 2**60 - 7
        assert store.read_now(lambda tx: (tx.balance("customer:b", "CNY"), tx.balance("customer:b", "EUR"))) == (5, -3)
        audit = Audit()
        audit.take(store.read_now(lambda tx: tx.journal_rows(0, 100)))
        audit.compare(store.read_now(lambda tx: tx.balances()))
        assert audit.finding is None and len(audit.balances) == 6

    def test_one_entry_with_two_legs_on_one_account(self, store: Store) -> None:
        twice = Entry(EntryKind.TOPUP, "CNY", (Leg("a", 3), Leg("a", 4), Leg("b", -7)), 1, {})
        posted = store.write_now(lambda tx: book(tx, twice))
        assert store.read_now(lambda tx: tx.entries_of("a", 5)) == [posted]
        assert store.read_now(lambda tx: tx.balance("a", "CNY")) == 7

    def test_a_number_is_given_once(self, store: Store) -> None:
        first = store.write_now(lambda tx: book(tx, entry(1)))
        for again in (first, post(entry(2), 0, GENESIS)):
            with pytest.raises(Duplicate):
                store.write_now(lambda tx, again=again: tx.add_entry(again))
        assert store.read_now(lambda tx: (tx.entries(0, 9), tx.journal_end())) == ([first], (1, first.hash))
        assert store.read_now(lambda tx: tx.balance(customer("house-7"), "CNY")) == 1

    @pytest.mark.parametrize("wrong", [post(entry(2), 2, "ab" * 32), post(entry(2), 1, "ab" * 32)], ids=["a hole", "another chain"])
    def test_the_database_refuses_an_entry_that_does_not_follow(self, store: Store, wrong: PostedEntry) -> None:
        first = store.write_now(lambda tx: book(tx, entry(1)))
        with pytest.raises(Exception, match="without a hole"):
            store.write_now(lambda tx: tx.add_entry(wrong))
        assert store.write_now(lambda tx: book(tx, entry(3))).previous == first.hash

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE entry SET ref = '{}'",
            "UPDATE entry SET at_ms = 0 WHERE number = 1",
            "DELETE FROM entry WHERE number = 1",
            "UPDATE leg SET micro = micro + 1",
            "DELETE FROM leg",
            "DELETE FROM payment",
            "UPDATE payment SET amount_micro = 1",
            "UPDATE payment SET serial = 'other'",
            "UPDATE payment SET account = 'other'",
            "INSERT INTO leg (entry, position, account, micro) VALUES (99, 0, 'a', 1)",
            "UPDATE payment SET status = 'maybe'",
            "UPDATE head SET number = -1",
        ],
    )
    def test_the_database_itself_keeps_the_books(self, store: Store, sql: str) -> None:
        def pay(tx: Tx) -> None:
            book(tx, entry(50_000_000))
            tx.add_payment(rows.PAYMENT)

        store.write_now(pay)
        before = store.read_now(lambda tx: (tx.entries(0, 9), tx.balances(), tx.payment(rows.IDENTITY)))
        with pytest.raises(DBAPIError):
            raw(store, sql)
        assert store.read_now(lambda tx: (tx.entries(0, 9), tx.balances(), tx.payment(rows.IDENTITY))) == before

    def test_what_banks_paid_in_is_summed_by_accounting_date(self, store: Store) -> None:
        def paid(tx: Tx, bank: str, serial: str, day: str, micro: int) -> None:
            identity = replace(rows.IDENTITY, bank=bank, serial=serial)
            number = book(tx, entry(micro)).number
            tx.add_payment(replace(rows.PAYMENT, identity=identity, accounting_date=day, amount_micro=micro, entry=number))

        def refused(tx: Tx) -> None:
            kept = replace(rows.PAYMENT, identity=replace(rows.IDENTITY, bank="abc", serial="R"), status="refused")
            tx.add_payment(replace(kept, receipt=None, entry=None, problem="account_closed"))

        days = ("2026-11-20", "2026-11-21", "2026-11-21")
        for bank, serial, day, micro in zip(("abc", "abc", "xyz"), "121", days, (1, 10, 100), strict=True):
            store.write_now(lambda tx, b=bank, s=serial, d=day, m=micro: paid(tx, b, s, d, m))
        store.write_now(refused)
        of_one_day = [Taken("abc", "CNY", 1, 10), Taken("xyz", "CNY", 1, 100)]
        assert store.read_now(lambda tx: tx.taken("2026-11-21", "2026-11-21")) == of_one_day
        assert store.read_now(lambda tx: tx.taken("2026-11-19", "2026-11-20")) == [Taken("abc", "CNY", 1, 1)]
        assert store.read_now(lambda tx: tx.taken("0000", "9999"))[0] == Taken("abc", "CNY", 2, 11)

    def test_a_payment_comes_back_and_its_identity_is_unique_for_ever(self, store: Store) -> None:
        def pay(tx: Tx, payment: Payment) -> None:
            number = book(tx, entry(payment.amount_micro)).number
            tx.add_payment(replace(payment, entry=number))

        store.write_now(lambda tx: pay(tx, rows.PAYMENT))
        assert store.read_now(lambda tx: tx.payment(rows.IDENTITY)) == rows.PAYMENT
        with pytest.raises(Duplicate):
            store.write_now(lambda tx: pay(tx, replace(rows.PAYMENT, amount_micro=1, receipt=None)))
        assert store.read_now(lambda tx: tx.payment(rows.IDENTITY)) == rows.PAYMENT
        assert store.read_now(lambda tx: tx.journal_end())[0] == 1
        for part in ("bank", "institution", "scope", "serial"):
            other = replace(rows.IDENTITY, **{part: "other"})
            assert store.read_now(lambda tx, other=other: tx.payment(other)) is None
            store.write_now(lambda tx, other=other: pay(tx, replace(rows.PAYMENT, identity=other)))

    def test_refusals_and_tombstones_are_payments_without_entry(self, store: Store) -> None:
        refused = Payment(
            PaymentIdentity("b", "", "", "1"), "x", 1, "CNY", "2026-11-21", "t", "", "refused", 1, problem="unknown_account"
        )
        tombstone = replace(refused, identity=PaymentIdentity("b", "", "", "2"), status="reversed", problem=None)
        store.write_now(lambda tx: [tx.add_payment(refused), tx.add_payment(tombstone)])
        assert store.read_now(lambda tx: tx.payment(refused.identity)) == refused
        assert store.read_now(lambda tx: tx.payment(tombstone.identity)) == tombstone
        for wrong in (
            replace(refused, receipt="{}"),
            replace(refused, problem=None),
            replace(refused, status="posted"),
            replace(refused, amount_micro=0),
            replace(refused, status="maybe"),
        ):
            fresh = replace(wrong, identity=PaymentIdentity("b", "", "", "3"))
            with pytest.raises(Exception, match=r"(?i)check"):
                store.write_now(lambda tx, fresh=fresh: tx.add_payment(fresh))


class CommandsContract:
    def test_a_command_comes_back_and_changes(self, store: Store) -> None:
        store.write_now(lambda tx: tx.add_command(rows.COMMAND))
        assert store.read_now(lambda tx: tx.command("cmd-1")) == rows.COMMAND
        done = replace(rows.COMMAND, state=CommandState.VERIFIED, read_at_ms=None, evidence=(), reason=None, account=None)
        store.write_now(lambda tx: tx.save_command(done))
        assert store.read_now(lambda tx: tx.command("cmd-1")) == done
        assert store.read_now(lambda tx: tx.command("x")) is None
        with pytest.raises(Duplicate):
            store.write_now(lambda tx: tx.add_command(rows.COMMAND))
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_command(replace(done, id="never")))

    @pytest.mark.parametrize("state", CommandState)
    def test_open_is_what_is_not_final(self, store: Store, state: CommandState) -> None:
        command = replace(rows.COMMAND, state=state)
        store.write_now(lambda tx: tx.add_command(command))
        assert store.read_now(lambda tx: tx.open_commands()) == ([] if command.final else [command])

    @pytest.mark.parametrize("state", CommandState)
    def test_a_queued_cut_is_one_that_was_never_sent(self, store: Store, state: CommandState) -> None:
        made = replace(rows.COMMAND, state=state, verb=Verb.CUT, attempts=0)
        others = replace(made, id="sent", attempts=1), replace(made, id="restore", verb=Verb.RESTORE)
        store.write_now(lambda tx: [tx.add_command(each) for each in (made, *others)])
        assert store.read_now(lambda tx: tx.queued_cuts()) == ([made] if state is CommandState.QUEUED else [])

    def test_open_oldest_first_by_line_and_meter_and_the_last_of_a_meter(self, store: Store) -> None:
        def command(ident: str, meter: str, line: str, state: CommandState = CommandState.QUEUED) -> Command:
            return replace(rows.COMMAND, id=ident, meter=meter, line=line, state=state, created_ms=NOW_MS)

        made = [
            command("z", "m1", "l1"),
            command("y", "m2", "l1"),
            command("x", "m1", "l2"),
            command("w", "m1", "l1", CommandState.FAILED),
        ]
        store.write_now(lambda tx: [tx.add_command(each) for each in made])

        def ids(query: Callable[[Tx], object]) -> list[str]:
            return [each.id for each in store.read_now(query)]  # type: ignore[attr-defined]

        assert ids(lambda tx: tx.open_commands()) == ["z", "y", "x"]
        assert ids(lambda tx: tx.open_commands(line="l1")) == ["z", "y"]
        assert ids(lambda tx: tx.open_commands(meter="m1")) == ["z", "x"]
        assert ids(lambda tx: tx.open_commands(line="l2", meter="m1")) == ["x"]
        assert ids(lambda tx: tx.commands(3)) == ["w", "x", "y"]
        assert ids(lambda tx: tx.commands_of("m1", 9)) == [c.id for c in reversed(made) if c.meter == "m1"]
        assert ids(lambda tx: tx.commands_of("m1", 1)) == [made[3].id]
        assert ids(lambda tx: tx.commands_of("m9", 9)) == []
        assert store.read_now(lambda tx: (tx.last_command("m1"), tx.last_command("m9"))) == (made[3], None)
        alarm = replace(made[3], id="alarm", verb=Verb.ALARM)
        store.write_now(lambda tx: tx.add_command(alarm))
        assert store.read_now(lambda tx: tx.last_command("m1")) == made[3], "of those to the switch"
        assert ids(lambda tx: tx.commands_of("m1", 1)) == ["alarm"]


class OutboxContract:
    def test_events_newest_first_in_pages(self, store: Store) -> None:
        plain = Event(EventKind.GATEWAY_STARTED, 1)
        store.write_now(lambda tx: [tx.add_event(each) for each in (rows.EVENT, plain, plain)])
        numbers = [stored.id for stored in reversed(store.read_now(lambda tx: tx.events(9)))]
        assert numbers == sorted(set(numbers))
        newest = store.read_now(lambda tx: tx.events(2))
        assert newest == [StoredEvent(numbers[2], plain), StoredEvent(numbers[1], plain)]
        assert store.read_now(lambda tx: tx.events(2, before=newest[-1].id)) == [StoredEvent(numbers[0], rows.EVENT)]

    def test_messages_get_dense_numbers_and_wait_in_order(self, store: Store) -> None:
        assert store.read_now(lambda tx: tx.outbox_state()) == OutboxState(last=0, low=1, waiting=0, published=0, acknowledged=0)
        assert store.write_now(lambda tx: [tx.add_outgoing(rows.MESSAGE) for _ in range(3)]) == [1, 2, 3]

        def fails(tx: Tx) -> None:
            assert tx.add_outgoing(rows.MESSAGE) == 4
            raise Boom

        with pytest.raises(Boom):
            store.write_now(fails)
        assert store.write_now(lambda tx: tx.add_outgoing(rows.MESSAGE)) == 4
        waiting = store.read_now(lambda tx: tx.outgoing(1, 2))
        assert [(row.seq, row.message, row.published_ms, row.acknowledged_ms) for row in waiting] == [
            (2, rows.MESSAGE, None, None),
            (3, rows.MESSAGE, None, None),
        ]

    def test_published_and_acknowledged_by_ranges(self, store: Store) -> None:
        store.write_now(lambda tx: [tx.add_outgoing(rows.MESSAGE) for _ in range(10)])
        store.write_now(lambda tx: tx.mark_published([3, 1, 2, 7], 100))
        store.write_now(lambda tx: tx.mark_published((seq for seq in (7, 8)), 200))
        state = store.read_now(lambda tx: tx.outbox_state())
        assert state == OutboxState(last=10, low=1, waiting=10, published=5, acknowledged=0)
        assert store.write_now(lambda tx: tx.acknowledge(2, [(4, 5), (5, 6)], 300)) == 5
        assert store.write_now(lambda tx: tx.acknowledge(3, [(1, 6), (9, 9)], 400)) == 2
        rest = store.read_now(lambda tx: tx.outgoing(0, 100))
        assert [(row.seq, row.published_ms) for row in rest] == [(7, 200), (8, 200), (10, None)]
        state = store.read_now(lambda tx: tx.outbox_state())
        assert state == OutboxState(last=10, low=7, waiting=3, published=5, acknowledged=7)
        assert store.write_now(lambda tx: tx.acknowledge(10, [], 500)) == 3
        assert store.write_now(lambda tx: (tx.acknowledge(10, [], 500), tx.outbox_state())) == (0, OutboxState(10, 11, 0, 5, 10))

    def test_what_policy_drops_is_gone_and_counted(self, store: Store) -> None:
        topics = (Topic.READING, Topic.EVENT, Topic.READING, Topic.READING, Topic.READING)
        for n, topic in enumerate(topics):
            message = replace(rows.MESSAGE, topic=topic, at_ms=100 + n)
            store.write_now(lambda tx, message=message: tx.add_outgoing(message))  # type: ignore[misc]
        before = store.read_now(lambda tx: tx.outbox_size())
        store.write_now(lambda tx: tx.acknowledge(0, [(4, 4)], 300))
        classes = [OutboxClass(Topic.EVENT, 1, 101), OutboxClass(Topic.READING, 3, 100)]
        assert store.read_now(lambda tx: tx.outbox_classes()) == classes
        assert [row.seq for row in store.read_now(lambda tx: tx.waiting_of(Topic.READING, 1, 1))] == [3]
        assert store.read_now(lambda tx: (tx.waiting_between(1, 5), tx.waiting_between(3, 4))) == (4, 1)
        assert store.write_now(lambda tx: tx.drop_outgoing([1, 3, 4])) == 2, "what the centre has is no loss"
        after = store.read_now(lambda tx: tx.outbox_size())
        assert before.rows == 5 and after.rows == 3 and after.bytes * 5 == before.bytes * 3 > 0
        assert store.read_now(lambda tx: tx.outbox_state()) == OutboxState(5, 2, 2, 0, 1, 2)
        assert [row.seq for row in store.read_now(lambda tx: tx.news(0, 5, 9))] == [2, 4, 5]
        assert store.write_now(lambda tx: (tx.acknowledge(5, [], 400), tx.outbox_state().waiting)) == (2, 0)

    def test_news_are_all_rows_of_a_span_acknowledged_or_not(self, store: Store) -> None:
        store.write_now(lambda tx: [tx.add_outgoing(rows.MESSAGE) for _ in range(6)])
        store.write_now(lambda tx: tx.acknowledge(2, [(4, 4)], 300))
        news = store.read_now(lambda tx: tx.news(1, 5, 3))
        assert [(row.seq, row.message, row.acknowledged_ms) for row in news] == [
            (2, rows.MESSAGE, 300),
            (3, rows.MESSAGE, None),
            (4, rows.MESSAGE, 300),
        ]
        assert [row.seq for row in store.read_now(lambda tx: tx.news(3, 5, 100))] == [4, 5]
        assert store.read_now(lambda tx: tx.news(6, 2**63 - 1, 100)) == []

        def within(tx: Tx) -> list[int]:
            tx.add_outgoing(rows.MESSAGE)
            return [row.seq for row in tx.news(6, 2**63 - 1, 9)]

        assert store.write_now(within) == [7]

    def test_nothing_published_changes_nothing(self, store: Store) -> None:
        store.write_now(lambda tx: tx.add_outgoing(Outgoing(Topic.EVENT, "gateway", 1, {})))
        store.write_now(lambda tx: tx.mark_published([], 100))
        assert store.read_now(lambda tx: tx.outgoing(0, 9))[0].published_ms is None


class CollectionContract:
    def test_schemes_come_back_change_and_go(self, store: Store) -> None:
        store.write_now(lambda tx: tx.save_scheme(rows.SCHEME))
        store.write_now(lambda tx: tx.save_scheme(replace(rows.SCHEME, id="a", meters={})))
        store.write_now(lambda tx: tx.save_scheme(replace(rows.SCHEME, target=1)))
        assert store.read_now(lambda tx: tx.schemes()) == [
            replace(rows.SCHEME, id="a", meters={}),
            replace(rows.SCHEME, target=1),
        ]
        assert store.read_now(lambda tx: tx.wanted()) == {Want.CURVE: rows.SCHEME.priority}
        store.write_now(lambda tx: tx.save_scheme(replace(rows.SCHEME, id="b", want=Want.DAY, priority=1)))
        store.write_now(lambda tx: tx.save_scheme(replace(rows.SCHEME, id="c", want=Want.DAY, priority=0)))
        assert store.read_now(lambda tx: tx.wanted()) == {Want.CURVE: rows.SCHEME.priority, Want.DAY: 0}
        for ident in "abc":
            store.write_now(lambda tx, ident=ident: tx.drop_scheme(ident))
        assert store.read_now(lambda tx: [scheme.id for scheme in tx.schemes()]) == [rows.SCHEME.id]

    def test_a_slot_is_added_once_and_stays_as_it_is(self, store: Store) -> None:
        later = replace(rows.SLOT, at_ms=rows.SLOT.at_ms + 1)
        assert store.write_now(lambda tx: tx.add_slots([rows.SLOT, later])) == [rows.SLOT, later]
        read = replace(rows.SLOT, state=SlotState.READ, read_ms=NOW_MS, quality=Quality.CONFIRMED)
        store.write_now(lambda tx: tx.save_slot(read))
        new = [replace(later, at_ms=later.at_ms + n) for n in range(1, 200)]
        assert store.write_now(lambda tx: tx.add_slots([rows.SLOT, *new, later])) == new
        found = store.read_now(lambda tx: tx.slots(rows.SLOT.meter, rows.SLOT.want, rows.SLOT.at_ms, later.at_ms + 99, 9))
        assert found == [read, later, *new[:7]]
        assert store.read_now(lambda tx: tx.slots(rows.SLOT.meter, rows.SLOT.want, 0, later.at_ms, 1)) == [read]
        assert store.read_now(lambda tx: tx.slots(rows.SLOT.meter, Want.DAY, 0, later.at_ms, 9)) == []

    def test_a_slot_without_its_moment_of_reading_is_refused(self, store: Store) -> None:
        with pytest.raises(Exception, match=r"(?i)check"):
            store.write_now(lambda tx: tx.save_slot(replace(rows.SLOT, state=SlotState.READ, read_ms=None)))

    def test_due_slots_are_the_first_of_each_meter_of_the_line_the_longest_due_first(self, store: Store) -> None:
        slot = replace(rows.SLOT, state=SlotState.EXPECTED, read_ms=None, quality=None, line="n", want=Want.DAY)

        def add(tx: Tx) -> None:
            for n, next_ms in enumerate((30, 10, 20)):
                tx.add_slots([replace(slot, meter=f"m{n}", at_ms=n, next_ms=next_ms, late_ms=slot.late_ms + n)])
                tx.add_slots([replace(slot, meter=f"m{n}", at_ms=9, next_ms=next_ms + 1, late_ms=slot.late_ms + 9)])
            tx.add_slots([replace(slot, at_ms=3, next_ms=5, line="other"), replace(slot, want=Want.MONTH, next_ms=5)])
            tx.add_slots([replace(slot, at_ms=4, next_ms=5, state=SlotState.UNAVAILABLE)])
            tx.add_slots([replace(slot, at_ms=5, next_ms=5, late_ms=0, source=Source.LIVE)])

        store.write_now(add)

        def due(now_ms: int, limit: int = 9, late: bool = False) -> list[int]:
            return [s.next_ms for s in store.read_now(lambda tx: tx.due_slots("n", Want.DAY, now_ms, limit, late=late))]

        assert (due(9), due(20), due(99), due(99, 2)) == ([], [10, 20], [30, 10, 20], [30, 10]), "by the end of their windows"
        after = slot.late_ms + 10
        assert (due(after, late=True), due(after, 2, late=True), due(after)) == ([10, 20, 30], [10, 20], [])
        assert (due(slot.late_ms + 2), due(slot.late_ms + 2, late=True)) == ([20, 31, 11], [10, 30]), "each meter's first"
        store.write_now(lambda tx: tx.wake_slots("m0", 7))
        assert due(7) == [7]
        store.write_now(lambda tx: tx.move_slots("m0", "other"))
        assert due(99) == [10, 20] and len(store.read_now(lambda tx: tx.due_slots("other", Want.DAY, 99, 9, late=False))) == 2
        assert store.write_now(lambda tx: tx.drop_slots("m1", Want.DAY, 2, expected=True)) == 1
        assert store.write_now(lambda tx: tx.drop_slots(slot.meter, Want.DAY, 4)) == 0
        assert store.write_now(lambda tx: tx.drop_slots(slot.meter, Want.DAY, 5)) == 1
        assert [s.at_ms for s in store.read_now(lambda tx: tx.slots("m1", Want.DAY, 0, 9, 9))] == [9]
        assert [s.want for s in store.read_now(lambda tx: tx.slots(slot.meter, Want.MONTH, 0, 2**50, 9))] == [Want.MONTH]

    def test_missed_live_slots_are_those_whose_window_is_over(self, store: Store) -> None:
        live = replace(rows.SLOT, state=SlotState.EXPECTED, read_ms=None, quality=None, source=Source.LIVE)

        def add(tx: Tx) -> None:
            tx.add_slots([replace(live, at_ms=n, late_ms=late_ms) for n, late_ms in enumerate((20, 10, 30), 1)])
            tx.add_slots([replace(live, at_ms=4, late_ms=5, source=Source.FREEZE)])
            tx.add_slots([replace(live, at_ms=5, late_ms=5, state=SlotState.READ, read_ms=5)])

        store.write_now(add)
        assert [s.late_ms for s in store.read_now(lambda tx: tx.missed_live(30, 9))] == [10, 20]
        assert [s.late_ms for s in store.read_now(lambda tx: tx.missed_live(99, 1))] == [10]

    def test_tallies_add_up_and_are_judged_once(self, store: Store) -> None:
        def add(tx: Tx) -> None:
            tx.add_tally("2026-11-24", "day", "n", Tally(2))
            tx.add_tally("2026-11-24", "day", "n", Tally(1, 2, 1, 1))
            tx.add_tally("2026-11-25", "day", "n", Tally(1))
            tx.mark_judged("2026-11-24", "day", "n")

        store.write_now(add)
        [first] = store.read_now(lambda tx: tx.completeness("2026-11-24", "2026-11-24"))
        assert first == Completeness("2026-11-24", "day", "n", Tally(3, 2, 1, 1), judged=True)
        assert len(store.read_now(lambda tx: tx.completeness("2026-11-01", "2026-11-30"))) == 2
        store.write_now(lambda tx: tx.add_tally("2026-11-24", "day", "n", Tally(0, 1)))
        assert store.read_now(lambda tx: tx.completeness("2026-11-24", "2026-11-24"))[0].judged
        assert store.write_now(lambda tx: tx.drop_completeness("2026-11-25")) == 1

    def test_a_meters_record_is_new_once(self, store: Store) -> None:
        assert store.write_now(lambda tx: tx.add_meter_record("m", "trip", "1", NOW_MS))
        assert not store.write_now(lambda tx: tx.add_meter_record("m", "trip", "1", NOW_MS + 1))
        assert store.write_now(lambda tx: tx.add_meter_record("m", "trip", "2", NOW_MS))

    def test_values_of_the_past_are_found_by_their_own_moment(self, store: Store) -> None:
        past = replace(rows.READING, source=Source.FREEZE, taken_ms=7)

        def add(tx: Tx) -> list[int]:
            tx.add_reading(replace(past, source=Source.CURVE), "p", Quality.SINGLE, NOW_MS)
            tx.add_reading(replace(past, taken_ms=8), "p", Quality.SINGLE, NOW_MS)
            tx.add_reading(past, "p", Quality.SINGLE, NOW_MS)
            tx.add_reading(past, "p", Quality.SUSPECT, NOW_MS)
            return [stored.id for stored in tx.past_readings(past.meter, Source.FREEZE, 7)]

        first, second = store.write_now(add)
        store.write_now(lambda tx: tx.set_quality(first, Quality.CONFIRMED))
        found = store.read_now(lambda tx: tx.past_readings(past.meter, Source.FREEZE, 7))
        assert found == [
            StoredReading(first, past, "p", Quality.CONFIRMED, NOW_MS),
            StoredReading(second, past, "p", Quality.SUSPECT, NOW_MS),
        ]
        store.write_now(lambda tx: tx.drop_readings([first]))
        assert [r.id for r in store.read_now(lambda tx: tx.past_readings(past.meter, Source.FREEZE, 7))] == [second]

    def test_daily_sums_come_back_and_change(self, store: Store) -> None:
        more = replace(rows.DAY_SUM, count=9, last=Decimal("2.50"))
        for row in (rows.DAY_SUM, more, replace(rows.DAY_SUM, day="2026-11-25"), replace(rows.DAY_SUM, meter="other")):
            store.write_now(lambda tx, row=row: tx.save_day_sum(row))
        day, quantity = rows.DAY_SUM.day, rows.DAY_SUM.quantity
        assert store.read_now(lambda tx: tx.day_sum(rows.DAY_SUM.meter, day, quantity)) == more
        assert store.read_now(lambda tx: tx.day_sum(rows.DAY_SUM.meter, "1999-01-01", quantity)) is None
        sums = store.read_now(lambda tx: tx.day_sums(rows.DAY_SUM.meter, day, 9))
        assert [(s.day, str(s.last)) for s in sums] == [(day, "2.50"), ("2026-11-25", str(rows.DAY_SUM.last))]
        assert len(store.read_now(lambda tx: tx.day_sums(rows.DAY_SUM.meter, day, 1))) == 1

    def test_only_what_was_acknowledged_long_ago_is_forgotten(self, store: Store) -> None:
        def add(tx: Tx) -> None:
            for topic in (Topic.READING, Topic.EVENT, Topic.READING, Topic.READING):
                tx.add_outgoing(replace(rows.MESSAGE, topic=topic))
            tx.acknowledge(2, [(3, 3)], 100)

        store.write_now(add)
        forget = store.write_now
        assert forget(lambda tx: tx.drop_acknowledged([Topic.READING], 100, 9)) == 0
        assert forget(lambda tx: tx.drop_acknowledged([Topic.READING], 101, 1)) == 1
        assert forget(lambda tx: tx.drop_acknowledged([Topic.READING], 101, 9)) == 1
        assert forget(lambda tx: tx.drop_acknowledged([Topic.READING, Topic.EVENT], 101, 9)) == 1
        assert [row.seq for row in store.read_now(lambda tx: tx.outgoing(0, 9))] == [4]
        assert store.read_now(lambda tx: tx.outbox_state()) == OutboxState(4, 4, 1, 0, 3)
        assert store.read_now(lambda tx: (tx.outbox_size().rows, [row.seq for row in tx.news(0, 4, 9)])) == (1, [4])
        assert store.write_now(lambda tx: tx.add_outgoing(rows.MESSAGE)) == 5


class TransactionContract:
    def test_a_new_store_has_an_epoch_and_a_pseudonym_key(self, store: Store) -> None:
        epoch, key = store.read_now(lambda tx: (tx.meta("epoch"), tx.meta("pseudonym_key")))
        assert epoch is not None and len(bytes.fromhex(epoch)) == 8
        assert key is not None and len(bytes.fromhex(key)) == 32

    def test_meta_is_kept_and_changed(self, store: Store) -> None:
        assert store.read_now(lambda tx: tx.meta("k")) is None
        for value in ("first", "", "zweite ✓"):
            store.write_now(lambda tx, value=value: tx.set_meta("k", value))
            assert store.read_now(lambda tx: tx.meta("k")) == value

    def test_a_transaction_sees_its_own_writes(self, store: Store) -> None:
        def usecase(tx: Tx) -> object:
            archive(tx)
            posted = book(tx, entry(4))
            tx.add_outgoing(rows.MESSAGE)
            tx.add_reading(replace(rows.READING, source=Source.LIVE), "p", Quality.SINGLE, NOW_MS)
            assert tx.account("house-7") == rows.ACCOUNT
            assert tx.journal_end() == (1, posted.hash)
            assert tx.balance(customer("house-7"), "CNY") == 4
            assert (tx.outbox_state().last, len(tx.outgoing(0, 9))) == (1, 1)
            return tx.latest(rows.METER.id)["energy_import"].item.value

        assert store.write_now(usecase) == Decimal("1234.50")

    def test_a_failing_use_case_leaves_nothing(self, store: Store) -> None:
        def fails(tx: Tx) -> None:
            archive(tx)
            book(tx, entry(1))
            tx.add_event(rows.EVENT)
            tx.add_outgoing(rows.MESSAGE)
            tx.add_command(rows.COMMAND)
            tx.set_meta("k", "v")
            raise Boom

        with pytest.raises(Boom):
            store.write_now(fails)
        left = store.read_now(
            lambda tx: (tx.accounts(), tx.balances(), tx.events(9), tx.commands(9), tx.meta("k"), tx.price_list("two-rate"))
        )
        assert left == ([], {}, [], [], None, None)
        assert store.read_now(lambda tx: (tx.journal_end(), tx.outbox_state().last)) == ((0, GENESIS), 0)

    def test_a_caught_duplicate_does_not_end_the_transaction(self, store: Store) -> None:
        store.write_now(lambda tx: tx.add_command(rows.COMMAND))

        def usecase(tx: Tx) -> None:
            with pytest.raises(Duplicate):
                tx.add_command(rows.COMMAND)
            tx.set_meta("after", "yes")

        store.write_now(usecase)
        assert store.read_now(lambda tx: tx.meta("after")) == "yes"

    def test_a_query_that_asks_nothing_is_answered(self, store: Store) -> None:
        assert store.read_now(lambda tx: 7) == 7
        assert store.write_now(lambda tx: 8) == 8

    def test_queries_cannot_write(self, store: Store) -> None:
        with pytest.raises(Unavailable):
            store.read_now(lambda tx: tx.set_meta("k", "v"))
        assert store.read_now(lambda tx: tx.meta("k")) is None

    async def test_one_batch_keeps_the_good_and_drops_the_bad(self, store: Store) -> None:
        def good(tx: Tx) -> int:
            book(tx, entry(1))
            return tx.add_outgoing(rows.MESSAGE)

        def bad(tx: Tx) -> int:
            good(tx)
            raise Boom

        def wrong(tx: Tx) -> int:
            good(tx)
            tx.save_meter(rows.METER)  # its account does not exist
            return 0

        def swallows(tx: Tx) -> int:
            good(tx)
            try:
                tx.save_meter(rows.METER)
            except Exception:
                return -1
            return 0

        answers = await asyncio.gather(*map(store.write, (good, bad, good, wrong, good)), return_exceptions=True)
        assert [answers[0], answers[2], answers[4]] == [1, 2, 3]
        assert isinstance(answers[1], Boom) and isinstance(answers[3], Exception)
        await asyncio.gather(*map(store.write, (swallows, good)), return_exceptions=True)
        number, last = await store.read(lambda tx: (tx.journal_end()[0], tx.outbox_state().last))
        assert number == last == len(await store.read(lambda tx: tx.entries(0, 99)))

    async def test_many_tasks_give_dense_numbers(self, store: Store) -> None:
        async def task() -> list[int]:
            return [await store.write(lambda tx: tx.add_outgoing(rows.MESSAGE)) for _ in range(5)]

        given = [seq for seqs in await asyncio.gather(*(task() for _ in range(20))) for seq in seqs]
        assert sorted(given) == list(range(1, 101))

    async def test_what_was_answered_is_seen_by_the_next_query(self, store: Store) -> None:
        for n in range(20):
            await store.write(lambda tx, n=n: tx.set_meta("n", str(n)))
            assert await store.read(lambda tx: tx.meta("n")) == str(n)

    def test_two_writing_processes_share_the_counters(self, store: Store, another: Callable[[], Store]) -> None:
        other, given = another(), []

        def work(which: Store) -> None:
            for _ in range(25):
                number = which.write_now(lambda tx: (book(tx, entry(1)).number, tx.add_outgoing(rows.MESSAGE)))
                given.append(number)

        threads = [threading.Thread(target=work, args=(each,)) for each in (store, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        other.close()
        assert sorted(given) == [(n, n) for n in range(1, 51)]
        assert store.read_now(lambda tx: tx.balance(customer("house-7"), "CNY")) == 50

    def test_after_closing_nothing_is_taken(self, store: Store) -> None:
        store.close()
        store.close()
        for attempt in (store.write_now, store.read_now):
            with pytest.raises(Unavailable, match="closed"):
                attempt(lambda tx: tx.meta("epoch"))


class StoreContract(
    ArchiveContract,
    ReadingsContract,
    MoneyContract,
    CommandsContract,
    OutboxContract,
    TransactionContract,
    CollectionContract,
    BillingContract,
    DebitContract,
    SupplyContract,
    BankContract,
    NonceContract,
    UplinkContract,
    ImportContract,
):
    """All of it."""
