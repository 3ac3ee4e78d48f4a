"""What every store must do for the journal beyond adding to it: the past, links, transfers, closings, what a database refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.ledger import GENESIS, MOST_MICRO, Entry, EntryKind, Leg, PostedEntry, bank_clearing, customer, post
from gateway.domain.records import BankDay, Closing, Paid, Payment
from gateway.domain.transfers import Transfer, TransferState
from gateway.services.correct_entry import correct
from gateway.services.ports import Duplicate, Tx
from tests.gateway.adapters.store import rows
from tests.gateway.adapters.store.rows import IDENTITY, NOW_MS, PAYMENT, entry
from tests.gateway.services.memory_tx import MemoryStore

HOUSE, BANK = customer("house-7"), bank_clearing("icbc")
WHY = {"by": "li", "reason": "wrong"}
TRANSFER = Transfer("t-1", "house-7", "CNY", 5, HOUSE, "undelivered:house-7", NOW_MS, NOW_MS + 100, pending=1)


def book(tx: Tx, *entries: Entry) -> list[PostedEntry]:
    posted = []
    for each in entries:
        posted.append(post(each, *tx.journal_end()))
        tx.add_entry(posted[-1])
    return posted


def at(at_ms: int, micro: int = 1) -> Entry:
    return replace(entry(micro), at_ms=at_ms)


def raw(store: Store, *statements: str) -> None:
    """What somebody with the database's own tools could try, in one transaction."""
    with store.database.writer.begin() as connection:
        for sql in statements:
            connection.execute(text(sql))


class LedgerContract:
    def test_entries_between_two_numbers_and_one_by_itself(self, store: Store) -> None:
        posted = store.write_now(lambda tx: book(tx, entry(1), entry(2, "b"), entry(3), entry(4), entry(5)))

        def look(tx: Tx) -> None:
            assert tx.entries_on(HOUSE, 0, 5, 10) == [posted[0], *posted[2:]]
            assert tx.entries_on(HOUSE, 1, 4, 10) == posted[2:4]
            assert tx.entries_on(HOUSE, 0, 5, 2) == [posted[0], posted[2]]
            moved = [(p.number, sum(g.micro for g in p.entry.legs if g.account == HOUSE)) for p in [posted[0], *posted[2:]]]
            assert [(move.number, move.micro) for move in tx.moves_on(HOUSE, 0, 5, 10)] == moved
            assert tx.moves_on(HOUSE, 0, 5, 1)[0][1:5] == (
                posted[0].entry.kind.value, posted[0].entry.currency, posted[0].entry.at_ms, posted[0].entry.ref
            )  # fmt: skip
            assert tx.entries_on(HOUSE, 5, 5, 2) == tx.entries_on("nobody", 0, 5, 2) == []
            assert (tx.entry(2), tx.entry(6), tx.entry(0)) == (posted[1], None, None)

        store.read_now(look)

    def test_the_balance_of_every_moment(self, store: Store) -> None:
        twice = Entry(EntryKind.TOPUP, "CNY", (Leg(HOUSE, 3), Leg(HOUSE, 4), Leg(BANK, -7)), NOW_MS, {})
        euro = replace(entry(9, currency="EUR"))
        store.write_now(lambda tx: book(tx, entry(1), entry(2, "b"), twice, euro, entry(-5)))
        for number, house, bank, euros in (
            (0, 0, 0, 0),
            (1, 1, -1, 0),
            (2, 1, -3, 0),
            (3, 8, -10, 0),
            (4, 8, -10, 9),
            (5, 3, -5, 9),
            (9, 3, -5, 9),
        ):
            found = store.read_now(
                lambda tx, n=number: (tx.balance_at(HOUSE, "CNY", n), tx.balance_at(BANK, "CNY", n), tx.balance_at(HOUSE, "EUR", n))
            )
            assert found == (house, bank, euros)
        rows_ = store.read_now(lambda tx: tx.journal_rows(2, 1))
        assert [(number, [tuple(leg) for leg in legs]) for number, *_, legs in rows_] == [
            (3, [(HOUSE, 3, 4, 3), (HOUSE, 4, 8, 3), (BANK, -7, -10, 3)])
        ]

    def test_where_a_period_ends(self, store: Store) -> None:
        store.write_now(lambda tx: book(tx, *(at(ms) for ms in (10, 20, 20, 30, 50))))
        for ms, number in ((0, 0), (10, 0), (11, 1), (20, 1), (21, 3), (30, 3), (31, 4), (50, 4), (51, 5), (10**15, 5)):
            assert store.read_now(lambda tx, ms=ms: tx.entry_before(ms)) == number

    def test_a_later_moment_never_ends_earlier_whatever_the_clock_did(self, store: Store) -> None:
        store.write_now(lambda tx: book(tx, *(at(ms) for ms in (50, 10, 20, 90, 30, 40, 60))))
        ends = [store.read_now(lambda tx, ms=ms: tx.entry_before(ms)) for ms in range(0, 100, 5)]
        assert ends == sorted(ends) and ends[0] == 0 and ends[-1] == 7
        assert [store.read_now(lambda tx, ms=ms: tx.entry_before(ms)) for ms in (50, 51, 90, 91)] == [0, 3, 3, 7]

    def test_what_payments_say_of_their_entries(self, store: Store) -> None:
        def pay(tx: Tx) -> None:
            book(tx, entry(50_000_000), entry(1), entry(50_000_000))
            tx.add_payment(PAYMENT)
            tx.add_payment(replace(PAYMENT, identity=replace(IDENTITY, serial="2"), entry=3))
            tx.add_payment(Payment(replace(IDENTITY, serial="3"), "x", 1, "CNY", "2026-11-21", "t", "", "refused", 1, problem="p"))

        store.write_now(pay)
        first = Paid(1, "icbc", "inst", "2026-11-21", "S.1:2", "house-7", 50_000_000, "CNY", "2026-11-21", "posted")
        assert [*store.read_now(lambda tx: tx.paid(0, 2))] == [first]
        assert [*store.read_now(lambda tx: tx.paid(1, 3))] == [first._replace(serial="2", entry=3)]
        assert store.read_now(lambda tx: tx.paid_by_day()) == {BankDay("icbc", "2026-11-21", "CNY"): 100_000_000}

    def test_a_reversal_is_linked_once_and_exact(self, store: Store) -> None:
        right = (Leg(HOUSE, 4), Leg(BANK, -4))

        def fix(tx: Tx) -> None:
            book(tx, entry(5), entry(6))
            undone, instead = correct(tx, 1, right, {}, WHY, NOW_MS)
            assert (undone.number, instead.number) == (3, 4)

        store.write_now(fix)
        assert store.read_now(lambda tx: (tx.reversals(0, 9), tx.reversals(3, 9), tx.reversed_by(1), tx.reversed_by(2))) == (
            {3: 1},
            {},
            3,
            None,
        )

        def second(tx: Tx) -> None:
            [posted] = book(tx, ledger.reversal(PostedEntry(1, entry(5), "", ""), NOW_MS, WHY))
            tx.add_reversal(posted.number, 1)

        with pytest.raises(Duplicate):
            store.write_now(second)
        for mirrored in (
            (Leg(HOUSE, -5), Leg(BANK, 5)),
            (Leg(BANK, 6), Leg(HOUSE, -6)),
            (Leg(HOUSE, -6), Leg(BANK, 3), Leg(BANK, 3)),
        ):

            def inexact(tx: Tx, mirrored: tuple[Leg, ...] = mirrored) -> None:
                [posted] = book(tx, Entry(EntryKind.REVERSAL, "CNY", mirrored, NOW_MS, WHY))
                tx.add_reversal(posted.number, 2)

            with pytest.raises(Exception, match="mirrors its entry leg by leg"):
                store.write_now(inexact)
        with pytest.raises(Exception, match="mirrors its entry leg by leg"):
            store.write_now(lambda tx: tx.add_reversal(book(tx, entry(-6, currency="EUR"))[0].number, 2))
        assert store.read_now(lambda tx: tx.journal_end()[0]) == 4

    def test_transfers_come_back_are_due_and_end_once(self, store: Store) -> None:
        late, never = (
            replace(TRANSFER, id="t-2", due_ms=NOW_MS + 50, pending=2),
            replace(TRANSFER, id="t-3", due_ms=None, pending=3),
        )
        unsure = replace(TRANSFER, id="t-4", pending=4, state=TransferState.UNCERTAIN)

        def begin(tx: Tx) -> None:
            book(tx, *(entry(5) for _ in range(6)))
            for each in (TRANSFER, late, never, unsure):
                tx.add_transfer(each)

        store.write_now(begin)

        def look(tx: Tx) -> None:
            assert [tx.transfer(each.id) for each in (TRANSFER, late, never, unsure)] == [TRANSFER, late, never, unsure]
            assert tx.transfer("x") is None
            assert tx.due_transfers(NOW_MS + 49, 9) == []
            assert tx.due_transfers(NOW_MS + 50, 9) == [late]
            assert tx.due_transfers(NOW_MS + 10**6, 9) == [late, TRANSFER]
            assert tx.due_transfers(NOW_MS + 10**6, 1) == [late]
            assert tx.open_transfers(TRANSFER.account) == [TRANSFER, late, never, unsure]
            assert tx.open_transfers("x") == []

        store.read_now(look)
        with pytest.raises(Duplicate):
            store.write_now(lambda tx: tx.add_transfer(replace(TRANSFER, micro=6, pending=5)))
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_transfer(replace(TRANSFER, id="x")))
        done = replace(late, state=TransferState.POSTED, resolved=5, resolved_ms=NOW_MS)
        store.write_now(lambda tx: tx.save_transfer(done))
        assert store.read_now(lambda tx: tx.transfer("t-2")) == done
        assert [each.id for each in store.read_now(lambda tx: tx.open_transfers(TRANSFER.account))] == ["t-1", "t-3", "t-4"]
        assert sorted(each.id for each in store.read_now(lambda tx: tx.transfers(1, 3))) == ["t-2", "t-3"]
        assert [each.id for each in store.read_now(lambda tx: tx.transfers(4, 5))] == ["t-2"]
        for again in (done, replace(done, state=TransferState.VOIDED, resolved=6), late):
            with pytest.raises(Exception, match="ends once"):
                store.write_now(lambda tx, again=again: tx.save_transfer(again))
        for wrong in (replace(TRANSFER, state=TransferState.POSTED), replace(TRANSFER, resolved=6, resolved_ms=1)):
            with pytest.raises(Exception, match=r"(?i)check"):
                store.write_now(lambda tx, wrong=wrong: tx.save_transfer(wrong))
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            store.write_now(lambda tx: tx.add_transfer(replace(TRANSFER, id="t-9", pending=99)))

    def test_closings_come_back(self, store: Store) -> None:
        def close(tx: Tx) -> None:
            posted = book(tx, entry(1), entry(2), ledger.closing(1, "ab" * 32, "cd" * 32, NOW_MS, {}))
            tx.add_closing(Closing(3, 1, posted[0].hash), '{"state":"一"}')

        store.write_now(close)
        [closing] = store.read_now(lambda tx: tx.closings())
        assert (closing.entry, closing.upto) == (3, 1)
        assert store.read_now(lambda tx: (tx.closing_state(3), tx.closing_state(1))) == ('{"state":"一"}', None)
        for wrong in (Closing(2, 1, "x"), Closing(2, 2, "x")):
            with pytest.raises(Exception, match=r"(?i)check|unique"):
                store.write_now(lambda tx, wrong=wrong: tx.add_closing(wrong, "{}"))

    @pytest.mark.parametrize("micro", [MOST_MICRO, -MOST_MICRO])
    def test_balances_stay_where_integers_are_exact(self, store: Store, micro: int) -> None:
        """Beyond 64 bits SQLite would go on in floating point, without a word."""
        store.write_now(lambda tx: book(tx, entry(micro)))
        with pytest.raises(Exception, match=r"(?i)check"):
            store.write_now(lambda tx: book(tx, entry(1 if micro > 0 else -1)))
        assert store.read_now(lambda tx: (tx.balance(HOUSE, "CNY"), tx.journal_end()[0])) == (micro, 1)


HASH = "'" + "ab" * 32 + "'"
LEG = "INSERT INTO leg (entry, position, account, micro, after) VALUES"


def entry_sql(previous: str, number: int = 2) -> str:
    columns = "number, kind, currency, at_ms, ref, previous, hash"
    return f"INSERT INTO entry ({columns}) VALUES ({number}, 'topup', 'CNY', 1, '{{}}', '{previous}', {HASH})"


REFUSED: list[tuple[str, Callable[[str], list[str]]]] = [
    ("an entry without legs", lambda hash: [entry_sql(hash)]),
    ("one leg", lambda hash: [f"{LEG} (2, 0, 'a', 0, 0)", entry_sql(hash)]),
    ("legs that do not balance", lambda hash: [f"{LEG} (2, 0, 'a', 2, 2), (2, 1, 'b', -1, -1)", entry_sql(hash)]),
    ("legs without entry", lambda hash: [f"{LEG} (2, 0, 'a', 1, 1), (2, 1, 'b', -1, -1)"]),
    ("a leg more for an old entry", lambda hash: [f"{LEG} (1, 7, 'a', 0, 0)"]),
    ("a pair of legs more for an old entry", lambda hash: [f"{LEG} (1, 7, 'a', 5, 5)", f"{LEG} (1, 8, 'b', -5, -5)"]),
    ("a leg beyond what integers hold", lambda hash: [f"{LEG} (2, 0, 'a', 4611686018427387905, 0)"]),
    ("a running balance changed", lambda hash: ["UPDATE leg SET after = after + 1"]),
    ("a payment moved to another entry", lambda hash: ["UPDATE payment SET entry = 3"]),
    ("a receipt changed", lambda hash: ["UPDATE payment SET receipt = '{}'"]),
    ("an accounting date changed", lambda hash: ["UPDATE payment SET accounting_date = '2026-11-22'"]),
    ("a reversal taken back", lambda hash: ["DELETE FROM reversal"]),
    ("a reversal of another", lambda hash: ["UPDATE reversal SET reverses = 1"]),
    ("a transfer forgotten", lambda hash: ["DELETE FROM transfer"]),
    ("a transfer of more", lambda hash: ["UPDATE transfer SET micro = 6"]),
    ("a transfer to somebody else", lambda hash: ["UPDATE transfer SET target = 'x'"]),
    (
        "an ended transfer under way again",
        lambda hash: ["UPDATE transfer SET state = 'pending', resolved = NULL, resolved_ms = NULL"],
    ),
    ("a closing changed", lambda hash: ["UPDATE closing SET state = '{}'"]),
    ("a closing forgotten", lambda hash: ["DELETE FROM closing"]),
    ("a balance beyond what integers hold", lambda hash: ["UPDATE balance SET micro = 4611686018427387905"]),
]


class BooksOnDisk:
    """What the database itself refuses, whoever asks; needs a database."""

    @pytest.mark.parametrize(("what", "make"), REFUSED, ids=[what for what, _ in REFUSED])
    def test_the_database_keeps_the_ledger(self, store: Store, what: str, make: Callable[[str], list[str]]) -> None:
        def fill(tx: Tx) -> None:
            book(tx, entry(50_000_000), entry(6))
            tx.add_payment(rows.PAYMENT)
            correct(tx, 2, (Leg(HOUSE, 1), Leg(BANK, -1)), {}, WHY, NOW_MS)
            tx.add_transfer(replace(TRANSFER, pending=3, state=TransferState.POSTED, resolved=4, resolved_ms=1))
            tx.add_closing(Closing(4, 2, GENESIS), "{}")

        store.write_now(fill)
        end = store.read_now(lambda tx: tx.journal_end()[1])
        with pytest.raises(DBAPIError):
            raw(store, *[sql.replace("(2,", "(5,") for sql in make(end)])
        raw(store, f"{LEG} (5, 0, 'a', 1, 1), (5, 1, 'b', -1, -1)", entry_sql(end, 5))  # what is right goes in

    def test_who_mends_a_head_by_hand_is_found(self, store: Store) -> None:
        store.write_now(lambda tx: book(tx, entry(5), entry(6)))
        raw(store, "UPDATE head SET number = 1 WHERE name = 'journal'")
        with pytest.raises(Exception, match="complete"):
            store.write_now(lambda tx: book(tx, entry(7)))


class TestMemory(LedgerContract):
    test_balances_stay_where_integers_are_exact = None  # type: ignore[assignment]

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestSqlite(LedgerContract, BooksOnDisk):
    @pytest.fixture
    def store(self, sqlite_file: Path) -> Iterator[Store]:
        with Store.open(str(sqlite_file), inline=True) as store:
            yield store


class TestPostgresql(LedgerContract, BooksOnDisk):
    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[Store]:
        with Store.open(postgres_url, inline=True) as store:
            yield store
