"""Every payment is credited exactly once, and its answer is the same for ever (contract.md 3)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import Topic
from gateway.domain.requests import PaymentIdentity
from gateway.services.ports import InvalidField, TopUpVerdict
from tests.gateway.services.house import House, account, yuan
from tests.gateway.services.memory_tx import MemoryStore

POSTED, REPEATED, CONFLICT, REFUSED = TopUpVerdict


def test_a_payment_is_posted_and_its_receipt_says_so(house: House) -> None:
    house.settle(balance="1.239999")
    house.outgoing(Topic.BALANCE)
    outcome = house.topup("50.00")
    assert (outcome.verdict, outcome.payment.status, outcome.payment.entry) == (POSTED, "posted", 2)
    assert json.loads(outcome.payment.receipt or "") == {
        "receipt_no": "gw-1-0000000002",
        "bank": "bank",
        "institution": "",
        "serial": "S-1",
        "accounting_date": "2026-11-24",
        "account": "A-1",
        "holder": "L*****",
        "amount": "50.00",
        "currency": "CNY",
        "to_credit": "50.00",
        "to_debt": "0.00",
        "fees": "0.00",
        "balance_after": "51.23",  # shown truncated; the books keep the rest
        "booked_at": "2026-11-24T02:00:00.000Z",
        "gateway": "gw-1",
        "next": "none",
    }
    assert house.balance() == "51.239999"
    assert house.balances_sent()[-1] == ("51.23", "normal")
    assert house.kinds()[-1] == "topup_posted"
    assert house.verified() is None


def test_the_books_of_a_payment(house: House) -> None:
    house.settle().topup("50.00")
    [posted] = house.do(lambda tx: tx.entries(0, 9))
    assert [(leg.account, leg.micro) for leg in posted.entry.legs] == [("customer:A-1", 50_000_000), ("bank:bank", -50_000_000)]
    identity = {"bank": "bank", "institution": "", "scope": "", "serial": "S-1"}
    assert posted.entry.ref == {**identity, "accounting_date": "2026-11-24"}


def test_the_same_again_gets_the_same_receipt_byte_for_byte(house: House) -> None:
    house.settle()
    first = house.topup("50.00").payment
    house.later(hours=30 * 24).topup("1.00", "S-2")
    # another day, and other values in the fields that are not the content
    again = house.topup("50.00", today=date(2027, 3, 1), channel="counter", paid_at=datetime(2026, 11, 25, tzinfo=UTC))
    assert (again.verdict, again.payment) == (REPEATED, first)
    assert house.balance() == "51.000000"


@pytest.mark.parametrize(
    ("changes", "amount", "field"),
    [
        ({}, "50.01", "amount"),
        ({"account": "A-2"}, "50.00", "account"),
        ({"account": "nobody"}, "50.00", "account"),
        ({"currency": "EUR"}, "50.00", "currency"),
    ],
)
def test_other_content_under_the_same_identity_is_a_conflict(
    house: House, changes: dict[str, object], amount: str, field: str
) -> None:
    house.settle(accounts=[account(), account("A-2")])
    first = house.topup("50.00").payment
    outcome = house.topup(amount, **changes)
    assert (outcome.verdict, outcome.field, outcome.payment) == (CONFLICT, field, first)
    assert (house.balance("A-1"), house.balance("A-2")) == ("50.000000", "0.000000")


@pytest.mark.parametrize("part", ["bank", "institution", "scope", "serial"])
def test_another_identity_is_another_payment(house: House, part: str) -> None:
    house.settle().topup("50.00")
    other = replace(PaymentIdentity("bank", "", "", "S-1"), **{part: "other"})
    assert house.topup("50.00", identity=other).verdict is POSTED
    assert (house.balance(), house.verified()) == ("100.000000", None)


REFUSALS: list[tuple[dict[str, object], str, str]] = [
    ({"account": "nobody"}, "50.00", "unknown_account"),
    ({"account": "A-closed"}, "50.00", "account_closed"),
    ({"currency": "EUR"}, "50.00", "currency_mismatch"),
    ({}, "999999.01", "amount_out_of_range"),
]


@pytest.mark.parametrize(("changes", "amount", "code"), REFUSALS, ids=[r[2] for r in REFUSALS])
def test_a_refusal_on_the_merits_is_stored_for_ever(house: House, changes: dict[str, object], amount: str, code: str) -> None:
    house.settle(accounts=[account(), account("A-closed", closed=True)])
    first = house.topup(amount, **changes)
    assert (first.verdict, first.payment.problem, first.payment.receipt, first.payment.entry) == (REFUSED, code, None, None)
    assert first.payment.detail
    house.later(hours=5000)
    house.settle(accounts=[account(), account("A-closed"), account("nobody")])  # now it would be taken
    for again in (house.topup(amount, **changes), house.topup("1.00"), house.topup("50.00", today=date(2030, 1, 1))):
        assert (again.verdict, again.payment) == (REFUSED, first.payment)
    assert house.balance() == "0.000000"
    assert house.topup("50.00", "S-2").verdict is POSTED  # its healthy twin


@pytest.mark.parametrize(
    ("balance", "amount", "verdict"),
    [
        ("0", "999999.00", POSTED),
        ("0", "999999.01", REFUSED),
        ("1", "999998.00", POSTED),
        ("1", "999998.01", REFUSED),
        ("-1", "999999.00", POSTED),
        ("-1", "999999.01", REFUSED),
        ("999999", "0.01", REFUSED),
    ],
)
def test_no_balance_beyond_what_a_meter_can_show(house: House, balance: str, amount: str, verdict: TopUpVerdict) -> None:
    house.settle(balance=balance)
    assert house.topup(amount).verdict is verdict


@pytest.mark.parametrize(
    ("day", "taken"),
    [("2026-11-22", False), ("2026-11-23", True), ("2026-11-24", True), ("2026-11-25", True), ("2026-11-26", False)],
)
def test_the_accounting_date_of_a_new_payment(house: House, day: str, taken: bool) -> None:
    house.settle()
    if not taken:
        with pytest.raises(InvalidField) as wrong:
            house.topup("50.00", accounting_date=date.fromisoformat(day))
        assert wrong.value.field == "accounting_date"
        assert house.topup("50.00").verdict is POSTED  # it bound nothing
        return
    assert house.topup("50.00", accounting_date=date.fromisoformat(day)).verdict is POSTED
    assert house.topup("50.00", accounting_date=date(2020, 1, 1)).verdict is REPEATED  # a known one has no date to be wrong


@pytest.mark.parametrize("amount", ["0.00", "-1.00"])
def test_nothing_is_no_payment(house: House, amount: str) -> None:
    house.settle(balance="5")
    with pytest.raises(InvalidField, match="greater than zero"):
        house.topup(amount)
    assert (house.balance(), house.topup("1.00").verdict) == ("5.000000", POSTED)


def test_a_use_case_that_fails_leaves_no_trace_of_the_payment(house: House) -> None:
    house.settle()
    bad = PaymentIdentity("bank", "", "", "S-1")
    with pytest.raises(AttributeError):
        house.topup("5.00", identity=bad, paid_at=None)
    assert (house.balance(), house.do(lambda tx: tx.payment(bad)), house.kinds()) == ("0.000000", None, [])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.sampled_from(["A-1", "A-2", "A-9"])), max_size=40))
def test_however_often_banks_repeat_each_serial_counts_once(attempts: list[tuple[int, int, str]]) -> None:
    house = House(MemoryStore())
    house.settle(accounts=[account(), account("A-2")])
    first: dict[int, tuple[int, str]] = {}
    for serial, amount, to in attempts:
        house.topup(f"{amount}.00", f"S-{serial}", account=to)
        first.setdefault(serial, (amount, to))
    for ident in ("A-1", "A-2"):
        assert yuan(house.balance(ident)) == sum(amount for amount, to in first.values() if to == ident) * 1_000_000
    assert house.verified() is None
