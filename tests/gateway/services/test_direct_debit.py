"""Direct debit: signed once, asked for once a day, booked once, whatever the bank sends twice (issue: the bank)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from gateway.domain.bank_terms import PartnerTerms, SerialScope
from gateway.domain.findings import FindingKind
from gateway.domain.mandates import DebitResult, DebitState, Mandate, MandateState, ResultVerdict
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import MICRO
from gateway.services.direct_debit import (
    DebitRefused,
    book_result,
    check_end,
    check_mandate,
    end_mandate,
    make_batch,
    resolve_debit,
    sign_mandate,
)
from gateway.services.ports import Duplicate, MoneyHeld
from tests.gateway.adapters.iso8583_line import NOON_MS, SITE, settle
from tests.gateway.services.memory_tx import MemoryStore, MemoryTx

DAY = date(2026, 11, 21)
WHO = "operator:li"
BOOKED, FAILED, UNBOOKED, AGAIN, UNKNOWN, AMOUNT, CONTRADICTS = ResultVerdict


def mandate(number: int = 1, **changes: object) -> Mandate:
    values: dict[str, object] = {
        "id": f"M-{number}", "bank": "icbc", "account": f"A-{number}", "payer": f"62220{number}", "currency": "CNY",
        "below_micro": 30 * MICRO, "upto_micro": 50 * MICRO, "most_micro": 100 * MICRO, "state": MandateState.SIGNED,
        "signed_ms": NOON_MS,
    }  # fmt: skip
    return Mandate(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def tx() -> MemoryTx:
    """A-1 has 20.00, A-2 has 1.00, A-3 is closed."""
    store = MemoryStore()
    settle(store)
    return store.tx


def signed(tx: MemoryTx, *numbers: int) -> None:
    for number in numbers:
        sign_mandate(tx, mandate(number), WHO, NOON_MS)


def result(serial: str, fen: int, paid: bool = True, day: date = DAY) -> DebitResult:
    return DebitResult(serial, fen * 10_000, "CNY", paid, "0000" if paid else "51 no money", day)


def balance(tx: MemoryTx, account: str) -> int:
    return tx.balance(f"customer:{account}", "CNY") // 10_000


def book(tx: MemoryTx, told: DebitResult) -> ResultVerdict:
    return book_result(tx, "icbc", told, SITE, NOON_MS)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None), ({"bank": "counter"}, "no bank"),
        ({"account": "A-9"}, "not known"), ({"account": "A-3"}, "closed"), ({"currency": "EUR"}, "kept in CNY"),
        ({"payer": ""}, "payer"), ({"payer": "é"}, "payer"), ({"upto_micro": 10 * MICRO}, "begins"), ({"most_micro": 0}, "begins"),
        ({"below_micro": -MICRO, "upto_micro": 0}, "begins"), ({"upto_micro": 50 * MICRO + 1}, "whole steps"),
    ],
)  # fmt: skip
def test_the_check_says_what_a_signature_would(tx: MemoryTx, changes: dict[str, object], why: str | None) -> None:
    asked = mandate(**changes)  # type: ignore[arg-type]
    said = check_mandate(tx, asked)
    assert (said is None) if why is None else (said is not None and why in said)
    assert tx.kept_mandates == {} and tx.audit_log == []
    if why is not None:
        with pytest.raises(DebitRefused, match=why):
            sign_mandate(tx, asked, WHO, NOON_MS)
        return
    assert sign_mandate(tx, asked, WHO, NOON_MS) == sign_mandate(tx, replace(asked, signed_ms=1), WHO, NOON_MS + 1) == asked
    assert [row.act for row in tx.audit_log] == ["sign_mandate"]


def test_a_mandate_is_not_signed_over(tx: MemoryTx) -> None:
    signed(tx, 1)
    with pytest.raises(DebitRefused, match="other terms"):
        sign_mandate(tx, mandate(most_micro=MICRO), WHO, NOON_MS)
    with pytest.raises(DebitRefused, match="has mandate M-1 at bank icbc"):
        sign_mandate(tx, mandate(id="M-9", bank="abc"), WHO, NOON_MS)
    end_mandate(tx, "M-1", WHO, NOON_MS)
    sign_mandate(tx, mandate(id="M-9", bank="abc"), WHO, NOON_MS)
    with pytest.raises(DebitRefused, match="ended"):
        sign_mandate(tx, mandate(), WHO, NOON_MS)


def test_a_batch_asks_for_what_is_missing_and_is_decided_once(tx: MemoryTx) -> None:
    signed(tx, 1, 2)
    first = make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    assert (first.id, first.count, first.sum_micro) == ("DD-icbc-20261121", 2, (30 + 49) * MICRO)
    lines = tx.debit_lines(first.id)
    assert [(line.serial, line.account, line.amount_micro // MICRO) for line in lines] == [
        ("DD-20261121-000001", "A-1", 30), ("DD-20261121-000002", "A-2", 49),
    ]  # fmt: skip
    book(tx, result("DD-20261121-000001", 3000))
    assert make_batch(tx, "icbc", DAY, WHO, NOON_MS + 1) == first and len(tx.debit_lines(first.id)) == 2
    with pytest.raises(DebitRefused, match="nothing is to be asked of bank icbc on 2026-11-22"):
        make_batch(tx, "icbc", date(2026, 11, 22), WHO, NOON_MS)  # A-1 has enough, A-2 waits for its result
    assert [row.act for row in tx.audit_log][-1] == "make_batch"


@pytest.mark.parametrize(
    ("fen", "below", "upto", "most", "asked"),
    [
        (2999, 30, 50, 100, 21), (3000, 30, 50, 100, 0), (-500, 0, 0, 100, 5), (0, 0, 0, 100, 0), (-50_000, 0, 0, 100, 100),
        (100, 30, 30, 7, 7),
    ],
)  # fmt: skip
def test_how_much_is_asked_for(fen: int, below: int, upto: int, most: int, asked: int) -> None:
    terms = mandate(below_micro=below * MICRO, upto_micro=upto * MICRO, most_micro=most * MICRO)
    assert -(-terms.wants(fen * 10_000, 10_000) // MICRO) == asked


def test_a_part_of_a_fen_is_asked_for_whole() -> None:
    assert mandate(below_micro=0, upto_micro=0).wants(-10_001, 10_000) == 20_000


def test_a_result_is_booked_once_however_often_its_file_comes(tx: MemoryTx) -> None:
    signed(tx, 1, 2)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    first, second = result("DD-20261121-000001", 3000), result("DD-20261121-000002", 4900, paid=False)
    assert [book(tx, told) for told in (first, second, first, second)] == [BOOKED, FAILED, AGAIN, AGAIN]
    assert (balance(tx, "A-1"), balance(tx, "A-2")) == (5000, 100)
    kept = tx.payment(PaymentIdentity("icbc", "", "", "DD-20261121-000001"))
    assert kept is not None and (kept.channel, kept.accounting_date) == ("direct-debit", "2026-11-21")
    assert make_batch(tx, "icbc", date(2026, 11, 22), WHO, NOON_MS).count == 1  # what failed is asked for again


def test_what_contradicts_or_is_not_ours_moves_nothing(tx: MemoryTx) -> None:
    signed(tx, 1, 2)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    assert book(tx, result("DD-20261121-000003", 3000)) is UNKNOWN
    assert book_result(tx, "abc", result("DD-20261121-000001", 3000), SITE, NOON_MS) is UNKNOWN
    assert book(tx, result("DD-20261121-000001", 3001)) is AMOUNT
    assert book(tx, result("DD-20261121-000001", 3000)) is BOOKED
    assert book(tx, result("DD-20261121-000001", 3000, paid=False)) is CONTRADICTS
    assert book(tx, result("DD-20261121-000002", 4900, paid=False)) is FAILED
    assert book(tx, result("DD-20261121-000002", 4900)) is CONTRADICTS
    assert (balance(tx, "A-1"), balance(tx, "A-2")) == (5000, 100)


def test_a_file_that_is_read_late_is_of_its_own_day(tx: MemoryTx) -> None:
    signed(tx, 1)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    late = book_result(tx, "icbc", result("DD-20261121-000001", 3000, day=date(2026, 11, 10)), SITE, NOON_MS)
    assert late is BOOKED and balance(tx, "A-1") == 5000


def test_what_is_said_of_a_day_that_is_not_yet_is_not_booked(tx: MemoryTx) -> None:
    """A slip of `--day` would put the payment onto a day that nobody reconciles for years."""
    signed(tx, 1)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    with pytest.raises(DebitRefused, match="DD-20261121-000001 was not taken on 2062-11-21, which is still to come"):
        book(tx, result("DD-20261121-000001", 3000, day=date(2062, 11, 21)))
    assert balance(tx, "A-1") == 2000
    assert book(tx, result("DD-20261121-000001", 3000, day=date(2026, 11, 22))) is BOOKED


def test_a_debit_is_found_under_the_serials_of_its_bank(tx: MemoryTx) -> None:
    """Where they are of an accounting date, query and reversal name that date, and the payment is found under it."""
    signed(tx, 1)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    daily = replace(SITE, banks={"icbc": PartnerTerms("icbc", serial_scope=SerialScope.ACCOUNTING_DATE)})
    told = result("DD-20261121-000001", 3000, day=date(2026, 11, 22))
    assert book_result(tx, "icbc", told, daily, NOON_MS) is BOOKED
    assert tx.payment(PaymentIdentity("icbc", "", "2026-11-22", "DD-20261121-000001")) is not None


def test_a_debit_of_another_amount_ends_when_a_person_says_so(tx: MemoryTx) -> None:
    """Its mandate is asked by again. The right amount, said later, is not credited beside what was done: a person looks anew."""
    signed(tx, 1)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    assert book(tx, result("DD-20261121-000001", 3001)) is AMOUNT
    resolve_debit(tx, "icbc", "DD-20261121-000001", "30.01 credited at the counter", WHO, NOON_MS)
    [line] = tx.debit_lines("DD-icbc-20261121")
    assert (line.state, line.said) == (DebitState.UNBOOKED, "resolved: 30.01 credited at the counter")
    for _ in range(2):
        assert book(tx, result("DD-20261121-000001", 3000)) is CONTRADICTS and balance(tx, "A-1") == 2000
    [finding] = tx.findings()
    assert finding.text.endswith("the bank took it, after a person had resolved it otherwise")
    resolve_debit(tx, "icbc", "DD-20261121-000001", "that is the same money", WHO, NOON_MS)
    assert list(tx.findings()) == []
    assert make_batch(tx, "icbc", date(2026, 11, 22), WHO, NOON_MS).count == 1


def test_money_that_cannot_be_credited_is_kept_as_such(tx: MemoryTx) -> None:
    signed(tx, 1)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    tx.save_account(replace(tx.kept_accounts["A-1"], closed=True))
    told = result("DD-20261121-000001", 3000)
    assert [book(tx, told), book(tx, told)] == [UNBOOKED, AGAIN] and balance(tx, "A-1") == 2000
    [line] = tx.debit_lines("DD-icbc-20261121")
    assert line.state is DebitState.UNBOOKED and "closed" in line.said
    [finding] = tx.findings()
    assert (finding.kind, finding.subject) == (FindingKind.DEBIT_UNBOOKED, "icbc/DD-20261121-000001")
    assert finding.text == "debit DD-20261121-000001 of 30.00 CNY: the bank took it, and it could not be credited"
    assert finding.data["account"] == "A-1" and finding.data["why"] == "account A-1 is closed"


def test_a_person_resolves_it_once_and_it_does_not_come_back(tx: MemoryTx) -> None:
    test_money_that_cannot_be_credited_is_kept_as_such(tx)
    for bank, serial, why in (("icbc", "DD-20261121-000009", "is not known here"), ("abc", "DD-20261121-000001", "not known")):
        with pytest.raises(DebitRefused, match=why):
            resolve_debit(tx, bank, serial, "x", WHO, NOON_MS)
    resolve_debit(tx, "icbc", "DD-20261121-000001", "paid back, transfer 7781", WHO, NOON_MS + 1)
    assert list(tx.findings()) == [] and balance(tx, "A-1") == 2000
    assert book(tx, result("DD-20261121-000001", 3000)) is AGAIN and list(tx.findings()) == []
    [*_, row] = tx.audit_rows(0, 100)
    assert (row.who, row.act, row.subject) == (WHO, "resolve_debit", "icbc/DD-20261121-000001")
    assert row.data == {"account": "A-1", "reason": "paid back, transfer 7781"}
    with pytest.raises(DebitRefused, match="needs nobody"):
        resolve_debit(tx, "icbc", "DD-20261121-000001", "again", WHO, NOON_MS + 2)


def test_a_bank_that_contradicts_itself_or_its_order_is_looked_at(tx: MemoryTx) -> None:
    signed(tx, 1, 2)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    assert book(tx, result("DD-20261121-000001", 3000, paid=False)) is FAILED
    assert book(tx, result("DD-20261121-000001", 3000)) is CONTRADICTS
    assert book(tx, result("DD-20261121-000002", 4901)) is AMOUNT and balance(tx, "A-2") == 100
    assert [finding.text for finding in tx.findings()] == [
        "debit DD-20261121-000001 of 30.00 CNY: the bank took it now, and said the opposite before",
        "debit DD-20261121-000002 of 49.00 CNY: the bank took 49.01 CNY, which is not what was asked for",
    ]
    assert book(tx, result("DD-20261121-000099", 100)) is UNKNOWN and len(list(tx.findings())) == 2
    resolve_debit(tx, "icbc", "DD-20261121-000002", "the bank gave back 0.01", WHO, NOON_MS)
    assert book(tx, result("DD-20261121-000002", 4901)) is AMOUNT and len(list(tx.findings())) == 1, "resolved is resolved"
    assert book(tx, result("DD-20261121-000002", 4902)) is AMOUNT and len(list(tx.findings())) == 2, "and this is something else"


def test_while_money_is_held_a_result_waits(tx: MemoryTx, monkeypatch: pytest.MonkeyPatch) -> None:
    signed(tx, 1)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)

    def held(tx: object) -> None:
        raise MoneyHeld("restored")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.services.apply_topup.must_be_open", held)
        with pytest.raises(MoneyHeld):
            book(tx, result("DD-20261121-000001", 3000))
    assert book(tx, result("DD-20261121-000001", 3000)) is BOOKED


def test_a_mandate_ends_only_after_its_last_result(tx: MemoryTx) -> None:
    signed(tx, 1)
    make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    assert check_end(tx, "M-9") == "mandate M-9 is not known here"
    with pytest.raises(DebitRefused, match="DD-20261121-000001 of batch DD-icbc-20261121 has no result yet"):
        end_mandate(tx, "M-1", WHO, NOON_MS)
    book(tx, result("DD-20261121-000001", 3000, paid=False))
    ended = end_mandate(tx, "M-1", WHO, NOON_MS + 1)
    assert ended.state is MandateState.ENDED and ended == end_mandate(tx, "M-1", WHO, NOON_MS + 2)
    with pytest.raises(DebitRefused, match="nothing"):
        make_batch(tx, "icbc", date(2026, 11, 22), WHO, NOON_MS)


def test_the_store_itself_asks_for_nothing_twice(tx: MemoryTx) -> None:
    signed(tx, 1)
    batch = make_batch(tx, "icbc", DAY, WHO, NOON_MS)
    [line] = tx.debit_lines(batch.id)
    with pytest.raises(Duplicate):
        tx.add_batch(replace(batch, id="DD-icbc-20261122"), [replace(line, batch="DD-icbc-20261122", serial="x")])
