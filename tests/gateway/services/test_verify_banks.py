"""Planted corruptions of what banks took back, gave back and paid over: the verifier finds each, and says of what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from gateway.domain.bank_acts import Origin, Refund, Reversal, Settlement
from gateway.domain.day_file import read_day_file, write_day_file
from gateway.domain.requests import PaymentIdentity
from gateway.services import approve, two_people
from gateway.services.reconcile_day import begin_upload, compare_day, keep_result, statement
from gateway.services.refund_payment import refund_payment
from gateway.services.reverse_topup import reverse_topup
from gateway.services.settle_day import settle_day
from tests.gateway.services.house import House, yuan
from tests.gateway.services.memory_tx import MemoryStore, MemoryTx

DAY = date(2026, 11, 24)
Mutant = Callable[[MemoryTx], None]


def named(serial: str) -> PaymentIdentity:
    return PaymentIdentity("bank", "", "", serial)


def bank_books() -> tuple[House, MemoryTx]:
    """Two payments, one of them taken back; a refund; a settlement; a closed day."""
    store = MemoryStore()
    house = House(store).settle()
    house.topup("50.00", "S-1")
    house.topup("30.00", "S-2")
    at = datetime.fromtimestamp(house.now_ms / 1000, UTC)
    back = Reversal(named("S-2"), "R-2", DAY, yuan("30"), "CNY", "x", at)
    house.do(lambda tx: reverse_topup(tx, back, house.site, house.now_ms))
    given = Refund(named("F-1"), named("S-1"), DAY, DAY, yuan("10"), "CNY", "x")
    asked = house.do(lambda tx: refund_payment(tx, given, "bank:bank", house.site, house.now_ms))
    house.do(lambda tx: approve.approve(tx, asked.approval, "operator:w", house.site, house.now_ms, two_people.ACTS))
    house.do(lambda tx: settle_day(tx, Settlement("bank", "B-1", DAY, yuan("40"), "CNY"), house.site, house.now_ms))
    lines = house.do(lambda tx: [*statement(tx, "bank", DAY.isoformat())])
    file = [text.encode() for text in write_day_file(lines)]
    book = house.do(lambda tx: begin_upload(tx, "bank", DAY.isoformat(), "", house.now_ms))
    compared = house.do(lambda tx: compare_day(tx, "bank", DAY, read_day_file(file)))
    assert house.do(lambda tx: keep_result(tx, book, compared, house.now_ms, close=True)).closed
    return house, store.tx


def of_reversal(**changes: object) -> Mutant:
    def mutate(tx: MemoryTx) -> None:
        tx.kept_bank_reversals[named("S-2")] = replace(tx.kept_bank_reversals[named("S-2")], **changes)  # type: ignore[arg-type]

    return mutate


def of_payment(serial: str, **changes: object) -> Mutant:
    def mutate(tx: MemoryTx) -> None:
        tx.payments[named(serial)] = replace(tx.payments[named(serial)], **changes)  # type: ignore[arg-type]

    return mutate


def of_refund(**changes: object) -> Mutant:
    def mutate(tx: MemoryTx) -> None:
        tx.kept_refunds[named("F-1")] = replace(tx.kept_refunds[named("F-1")], **changes)  # type: ignore[arg-type]

    return mutate


def of_settlement(**changes: object) -> Mutant:
    def mutate(tx: MemoryTx) -> None:
        tx.kept_settlements["bank", "B-1"] = replace(tx.kept_settlements["bank", "B-1"], **changes)  # type: ignore[arg-type]

    return mutate


def of_day(**changes: object) -> Mutant:
    def mutate(tx: MemoryTx) -> None:
        tx.kept_days["bank", DAY.isoformat()] = replace(tx.kept_days["bank", DAY.isoformat()], **changes)  # type: ignore[arg-type]

    return mutate


MUTANTS: tuple[tuple[str, Mutant, str], ...] = (
    ("a reversal of another amount", of_reversal(amount_micro=1), "reversal of bank S-2"),
    ("a reversal posted by another entry", of_reversal(entry=1), "reversed|banks' books"),
    ("a reversal of another day", of_reversal(accounting_date="2026-11-25"), "accounting date 2026-11-24"),
    ("a reversal that is set aside behind the close", of_reversal(origin=Origin.RESOLUTION), "was closed with"),
    ("a payment that says it still stands", of_payment("S-2", status="posted"), "reversal of bank S-2"),
    ("a payment that says it was reversed", of_payment("S-1", status="reversed"), "no entry reverses it"),
    ("a refund of another amount", of_refund(amount_micro=1), "refund bank F-1"),
    ("a refund of another day", of_refund(accounting_date="2026-11-25"), "refund bank F-1"),
    ("a settlement of another amount", of_settlement(amount_micro=1), "what was paid over"),
    ("a settlement of another bank", of_settlement(bank="other"), "what was paid over"),
    ("a settlement that is gone", lambda tx: tx.kept_settlements.clear(), "what was paid over"),
    ("a day closed with another sum", of_day(totals={"CNY": 1}), "was closed with"),
    ("a day closed with another count", of_day(lines=9), "was closed with"),
)


def test_the_books_are_sound() -> None:
    house, tx = bank_books()
    assert house.verified() is None
    assert tx.day_totals("bank", DAY.isoformat()) == (4, {"CNY": yuan("40")})


@pytest.mark.parametrize(("what", "mutate", "finding"), MUTANTS, ids=[what for what, _, _ in MUTANTS])
def test_every_mutant_is_killed(what: str, mutate: Mutant, finding: str) -> None:
    house, tx = bank_books()
    mutate(tx)
    told = house.verified()
    assert told is not None and any(part in told for part in finding.split("|")), told
