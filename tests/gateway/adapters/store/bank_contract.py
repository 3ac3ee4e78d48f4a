"""Reversals, refunds, settlements and days of banks: part of what every database under the store must do."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.adapters.store import Store
from gateway.domain.bank_acts import (
    BookedRefund,
    BookedReversal,
    BookedSettlement,
    ClosedDay,
    Origin,
    RefundState,
    ReversalState,
)
from gateway.domain.day_file import DayLine
from gateway.domain.differences import Action, DayBook, Difference, DifferenceKind, Resolution
from gateway.domain.ledger import post
from gateway.domain.records import Counted, DayKey, Payment
from gateway.domain.requests import PaymentIdentity
from gateway.services.ports import Duplicate, Tx
from tests.gateway.adapters.store.rows import NOW_MS, entry

DAY, LATER = "2026-11-21", "2026-11-22"
NOT_SO = r"(?i)foreign key|check"


def named(serial: str, institution: str = "") -> PaymentIdentity:
    return PaymentIdentity("icbc", institution, "", serial)


def paid(tx: Tx, serial: str, micro: int = 50_000_000, day: str = DAY, channel: str = "app", account: str = "house-7") -> Payment:
    number = tx.journal_end()[0] + 1
    tx.add_entry(post(entry(micro), *tx.journal_end()))
    payment = Payment(
        named(serial), account, micro, "CNY", day, "2026-11-21T03:00:00+00:00", channel, "posted", NOW_MS, "{}", entry=number
    )
    tx.add_payment(payment)
    return payment


def asked(serial: str, state: ReversalState = ReversalState.PENDING, **changes: object) -> BookedReversal:
    back = BookedReversal(
        named(serial), f"R-{serial}", LATER, "house-7", 50_000_000, "CNY", "twice", "2026-11-22T03:00:00+00:00", Origin.BANK, state,
        NOW_MS,
    )  # fmt: skip
    return replace(back, **changes)  # type: ignore[arg-type]


def moved(tx: Tx) -> int:
    """A fresh entry to hang something on."""
    tx.add_entry(post(entry(1), *tx.journal_end()))
    return tx.journal_end()[0]


def mark(serial: str, tx: Tx) -> None:
    tx.mark_reversed(named(serial))


def count(counted: Counted, tx: Tx) -> None:
    tx.save_takings("icbc", DAY, "", counted)


def lines(tx: Tx, day: str = DAY) -> list[str]:
    return [f"{line.type} {line.serial} {line.amount}" for _, line in tx.day_lines("icbc", day, None, 99)]


class BankContract:
    def test_a_payment_is_marked_reversed_once(self, store: Store) -> None:
        store.write_now(lambda tx: paid(tx, "S-1"))
        store.write_now(lambda tx: tx.mark_reversed(named("S-1")))
        assert store.read_now(lambda tx: tx.payment(named("S-1"))).status == "reversed"  # type: ignore[union-attr]
        for serial in ("S-1", "S-2"):
            with pytest.raises(LookupError):
                store.write_now(partial(mark, serial))

    def test_a_payment_of_the_same_use_case_is_marked_too(self, store: Store) -> None:
        def both(tx: Tx) -> str:
            paid(tx, "S-1")
            tx.mark_reversed(named("S-1"))
            found = tx.payment(named("S-1"))
            return "" if found is None else found.status

        assert store.write_now(both) == "reversed"

    def test_a_receipt_is_signed_once(self, store: Store) -> None:
        def again(serial: str, tx: Tx) -> None:
            tx.seal_receipt(named(serial), "other")

        def both(tx: Tx) -> str | None:
            paid(tx, "S-1")
            tx.seal_receipt(named("S-1"), "a.b.c")
            found = tx.payment(named("S-1"))
            return None if found is None else found.receipt_jws

        assert store.write_now(both) == "a.b.c"
        for serial in ("S-1", "S-2"):
            with pytest.raises(LookupError):
                store.write_now(partial(again, serial))
        found = store.read_now(lambda tx: tx.payment(named("S-1")))
        assert found is not None and found.receipt_jws == "a.b.c"

    def test_a_reversal_is_decided_once(self, store: Store) -> None:
        def ask(tx: Tx) -> None:
            paid(tx, "S-1")
            tx.add_bank_reversal(asked("S-1"))

        store.write_now(ask)
        assert store.read_now(lambda tx: tx.bank_reversal(named("S-1"))) == asked("S-1")
        assert store.read_now(lambda tx: [each.identity.serial for each in tx.pending_reversals()]) == ["S-1"]
        with pytest.raises(Duplicate):
            store.write_now(lambda tx: tx.add_bank_reversal(asked("S-1", reversal_serial="R-9")))

        def decide(tx: Tx) -> BookedReversal:
            number = moved(tx)
            done = asked("S-1", ReversalState.DONE, entry=number, decided_ms=NOW_MS + 1, document='{"a":"b"}')
            tx.save_bank_reversal(done)
            return done

        done = store.write_now(decide)
        number = done.entry or 0
        assert store.read_now(lambda tx: (tx.bank_reversal(named("S-1")), tx.pending_reversals())) == (done, [])
        assert store.read_now(lambda tx: tx.reversals_posted(number - 1, number)) == [done]
        assert store.read_now(lambda tx: tx.reversals_posted(number, number + 9)) == []
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_bank_reversal(asked("S-1", ReversalState.STANDS)))
        store.write_now(lambda tx: tx.set_aside(named("S-1")))
        assert store.read_now(lambda tx: tx.bank_reversal(named("S-1"))) == replace(done, origin=Origin.RESOLUTION)

    def test_a_reversal_needs_its_payment_and_its_entry(self, store: Store) -> None:
        with pytest.raises(Exception, match=NOT_SO):
            store.write_now(lambda tx: tx.add_bank_reversal(asked("S-9")))

        def without_entry(tx: Tx) -> None:
            paid(tx, "S-1")
            tx.add_bank_reversal(asked("S-1", ReversalState.DONE))

        with pytest.raises(Exception, match=NOT_SO):
            store.write_now(without_entry)
        assert store.read_now(lambda tx: tx.bank_reversal(named("S-1"))) is None

    def test_refunds_settlements_and_days_are_there_once(self, store: Store) -> None:
        given = BookedRefund(named("F-1"), named("S-1"), LATER, "house-7", 10_000_000, "CNY", "x", RefundState.ASKED, NOW_MS)
        arrived = BookedSettlement("icbc", "B-1", DAY, 5, "CNY", NOW_MS, 1, "{}")
        closed = ClosedDay("icbc", DAY, 3, 7, {"CNY": -5, "EUR": 2}, NOW_MS)

        def add(tx: Tx) -> None:
            paid(tx, "S-1")
            tx.add_bank_refund(given)
            tx.add_settlement(arrived)
            tx.close_day(closed)

        store.write_now(add)
        assert store.read_now(lambda tx: (tx.bank_refund(named("F-1")), tx.refunds_of(named("S-1")))) == (given, [given])
        assert store.read_now(lambda tx: tx.settlement("icbc", "B-1")) == arrived
        assert store.read_now(lambda tx: (tx.settlements("icbc", DAY), tx.settlements("icbc", LATER))) == ([arrived], [])
        assert store.read_now(lambda tx: (tx.closed_day("icbc", DAY), tx.closed_day("icbc", LATER))) == (closed, None)
        assert store.read_now(lambda tx: (tx.closed_days(), tx.settlements_posted(0, 1))) == ([closed], [arrived])
        for again in (
            lambda tx: tx.add_bank_refund(given),
            lambda tx: tx.add_settlement(replace(arrived, amount_micro=6)),
            lambda tx: tx.close_day(replace(closed, version=4)),
        ):
            with pytest.raises(Duplicate):
                store.write_now(again)

        def pay(tx: Tx) -> BookedRefund:
            ended = replace(given, state=RefundState.PAID, entry=moved(tx), document="{}")
            tx.save_bank_refund(ended)
            return ended

        ended = store.write_now(pay)
        assert store.read_now(lambda tx: (tx.bank_refund(named("F-1")), tx.refunds_posted(1, 9))) == (ended, [ended])
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_bank_refund(replace(given, state=RefundState.VOIDED)))

    def test_the_statement_of_a_day(self, store: Store) -> None:
        def day(tx: Tx) -> None:
            for serial, micro in (("S-2", 20_000_000), ("S-1", 50_000_000), ("S-3", 30_000_000)):
                paid(tx, serial, micro)
            paid(tx, "S-4", day=LATER)
            for serial, origin in (("S-1", Origin.BANK), ("S-3", Origin.RESOLUTION)):
                tx.mark_reversed(named(serial))
                tx.add_bank_reversal(asked(serial, ReversalState.DONE, entry=moved(tx), origin=origin))
            given = BookedRefund(named("F-1"), named("S-2"), LATER, "house-7", 10_000_000, "CNY", "x", RefundState.PAID, NOW_MS)
            tx.add_bank_refund(replace(given, entry=moved(tx)))
            tx.add_bank_refund(replace(given, identity=named("F-2"), state=RefundState.ASKED))
            tx.add_payment(Payment(named("S-5"), "x", 1, "CNY", DAY, "", "", "refused", NOW_MS, None, "unknown_account", "no"))

        store.write_now(day)
        assert store.read_now(lines) == ["topup S-1 50.00", "topup S-2 20.00"]
        assert store.read_now(lambda tx: lines(tx, LATER)) == ["topup S-4 50.00", "reversal R-S-1 50.00", "refund F-1 10.00"]
        assert store.read_now(lambda tx: tx.day_totals("icbc", DAY)) == (2, {"CNY": 70_000_000})
        assert store.read_now(lambda tx: tx.day_totals("icbc", LATER)) == (3, {"CNY": -10_000_000})
        assert store.read_now(lambda tx: tx.day_totals("other", DAY)) == (0, {})

        def paged(tx: Tx) -> list[str]:
            found: list[str] = []
            after: DayKey | None = None
            while page := tx.day_lines("icbc", LATER, after, 1):
                after = page[-1][0]
                found += [line.serial for _, line in page]
            return found

        assert store.read_now(paged) == ["S-4", "R-S-1", "F-1"]

    def test_what_was_taken_on_a_day(self, store: Store) -> None:
        def day(tx: Tx) -> None:
            paid(tx, "S-1")
            paid(tx, "S-2", 20_000_000, channel="counter", account="house-8")
            paid(tx, "S-3", 30_000_000, day=LATER)
            tx.mark_reversed(paid(tx, "S-4", 1_000_000).identity)

        store.write_now(day)

        def look(tx: Tx) -> None:
            assert tx.account_taken("icbc", DAY, "house-7", "CNY") == Counted(1, 50_000_000)
            assert tx.account_taken("icbc", DAY, "house-7", "EUR") == Counted(0, 0)
            assert tx.account_taken("icbc", DAY, "house-8", "CNY", "counter") == Counted(1, 20_000_000)
            assert tx.account_taken("icbc", DAY, "house-8", "CNY", "app") == Counted(0, 0)
            assert tx.count_takings("icbc", DAY, "", "CNY") == Counted(2, 70_000_000)
            assert tx.count_takings("icbc", DAY, "channel:counter", "CNY") == Counted(1, 20_000_000)
            assert tx.takings("icbc", DAY, "") is None

        store.read_now(look)
        for counted in (Counted(2, 5), Counted(3, 7)):
            store.write_now(partial(count, counted))
            assert store.read_now(lambda tx: tx.takings("icbc", DAY, "")) == counted

    def test_uploads_differences_and_what_was_decided(self, store: Store) -> None:
        line = DayLine("S-1", "house-7", "50.00", "CNY", "topup", "", "2026-11-21T03:00:00Z", "app", "", 7)
        found = [
            Difference(DifferenceKind.MISSING_HERE, "it is not booked here", line),
            Difference(DifferenceKind.OTHER_DAY, "it is booked here on 2026-11-22", line, line._replace(number=0), LATER),
            Difference(DifferenceKind.BAD_LINE, "line 9: x", nth=2),
        ]
        first = DayBook("icbc", DAY, 1, "running", NOW_MS, "ab")
        done = replace(first, state="done", lines=3, our_micro={"CNY": 5}, matched_micro={"CNY": -5}, found={"missing_here": 1})
        assert store.read_now(lambda tx: tx.day_book("icbc", DAY)) is None

        def add(tx: Tx) -> None:
            tx.save_day_book(first)
            tx.save_day_book(done)
            tx.add_differences("icbc", DAY, 1, found)
            tx.save_day_book(replace(first, version=2))
            tx.add_differences("icbc", DAY, 2, ())

        store.write_now(add)
        assert store.read_now(lambda tx: tx.day_book("icbc", DAY)) == replace(first, version=2)
        assert store.read_now(lambda tx: (tx.day_book("icbc", DAY, 1), tx.day_book("icbc", DAY, 9))) == (done, None)
        assert store.read_now(lambda tx: tx.differences("icbc", DAY, 1, 0, 9)) == [*enumerate(found, 1)]
        assert store.read_now(lambda tx: tx.differences("icbc", DAY, 1, 1, 1)) == [(2, found[1])]
        said = Resolution(found[0].about, Action.BOOK, "agreed", "a-1", "bank:icbc", NOW_MS)
        store.write_now(lambda tx: tx.save_resolution("icbc", DAY, said))
        assert store.read_now(lambda tx: tx.count_open("icbc", DAY, 1)) == {"bad_line": 1, "missing_here": 1, "other_day": 1}
        ended = replace(said, state="done", decided_by="operator:li", decided_ms=NOW_MS, told="booked")
        store.write_now(lambda tx: tx.save_resolution("icbc", DAY, ended))
        assert store.read_now(lambda tx: tx.count_open("icbc", DAY, 1)) == {"bad_line": 1, "other_day": 1}
        assert store.read_now(lambda tx: tx.resolutions("icbc", DAY)) == {found[0].about: ended}
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_resolution("icbc", DAY, said))

    def test_what_is_decided_is_kept_whatever_code_says(self, store: Store) -> None:
        if getattr(store, "database", None) is None:
            return  # in memory there is nobody but the code

        def add(tx: Tx) -> None:
            paid(tx, "S-1")
            tx.mark_reversed(named("S-1"))
            tx.add_bank_reversal(asked("S-1", ReversalState.DONE, entry=moved(tx)))
            tx.add_settlement(BookedSettlement("icbc", "B-1", DAY, 5, "CNY", NOW_MS, 1, "{}"))
            tx.close_day(ClosedDay("icbc", DAY, 3, 7, {}, NOW_MS))

        store.write_now(add)
        for sql in (
            "UPDATE bank_reversal SET state = 'stands', entry = NULL",
            "UPDATE bank_reversal SET document = 'other'",
            "DELETE FROM bank_reversal",
            "UPDATE bank_settlement SET amount_micro = 6",
            "DELETE FROM bank_settlement",
            "DELETE FROM bank_day",
            "UPDATE bank_day SET lines = 8",
        ):
            with pytest.raises(DBAPIError), store.database.writer.begin() as connection:
                connection.execute(text(sql))
