"""Emergency credit: offered, taken, used, given back in the order of a7, and offered again only then."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.domain import ledger
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.ledger import EntryKind
from gateway.domain.meters import Authority, Contact
from gateway.services.accept_credit import accept_credit
from gateway.services.correct_entry import reverse
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from tests.gateway.services.house import POLICY, House, account, yuan

POUNDS = replace(
    POLICY,
    low_micro=yuan("2"),
    very_low_micro=yuan("0.50"),
    close_micro=yuan("1"),
    close_inclusive=True,
    no_cut_hours=False,
    emergency_micro=yuan("5"),
    emergency_at_micro=yuan("0.50"),
)
AUTOMATIC = replace(POUNDS, emergency_auto=True)
OPEN, CLOSED = Contact.OPEN, Contact.CLOSED


def accept(house: House, who: str = "operator:li", of: str = "A-1") -> str | None:
    return house.do(lambda tx: accept_credit(tx, of, who, house.site, house.now_ms))


def lent(house: House) -> int:
    return -house.do(lambda tx: tx.balance(ledger.emergency("A-1"), "CNY"))


def used(house: House, kwh: str, contact: Contact = CLOSED) -> tuple[str, str]:
    """Balance and state, 20 minutes later."""
    house.later(minutes=20).block(total=kwh, contact=contact)
    return house.balance(), house.account().credit.value


def test_it_is_offered_once_taken_used_and_given_back(house: House) -> None:
    house.settle(accounts=[account(policy=POUNDS)], balance="3").block(total="0.00")
    assert accept(house) == "emergency credit is offered at 0.50 CNY or below"
    assert used(house, "5.00") == ("0.500000", "very_low")
    used(house, "5.02")
    assert house.kinds().count("emergency_offered") == 1
    assert accept(house) is None
    assert (house.balance(), house.account().credit, lent(house)) == ("5.490000", "very_low", yuan("5"))
    assert house.kinds() == ["emergency_lent"]
    [row] = house.do(lambda tx: tx.audit_rows(0, 9))
    assert (row.who, row.act, row.subject, row.data) == ("operator:li", "lend_credit", "A-1", {"amount": "5.00", "currency": "CNY"})
    assert used(house, "6.02") == ("4.990000", "emergency")  # 0.01 of it
    assert accept(house) == "account A-1 took its emergency credit: it is offered again when that is repaid"
    receipt = json.loads(house.topup("2.00").payment.receipt or "")
    assert (receipt["to_debt"], receipt["to_credit"], receipt["balance_after"]) == ("0.01", "1.99", "1.99")
    assert (house.balance(), house.account().credit, lent(house)) == ("1.990000", "low", 0)


def test_who_used_it_up_is_cut_and_pays_it_back_before_the_closing_amount(house: House) -> None:
    house.settle(accounts=[account(policy=POUNDS)], balance="3").block(total="0.00")
    used(house, "5.00")
    accept(house)
    assert used(house, "15.98")[1] == "emergency"
    assert used(house, "16.20") == ("-0.100000", "exhausted")
    house.carry_out(OPEN)
    for serial, paid, balance, owed, state in (
        ("1", "0.05", "-0.050000", "5", "cut"),
        ("2", "3.05", "0.000000", "2", "cut"),
        ("3", "2.99", "0.990000", "0", "cut"),
        ("4", "0.01", "1.000000", "0", "low"),
    ):
        receipt = json.loads(house.topup(paid, serial).payment.receipt or "")
        assert (house.balance(), lent(house), house.account().credit.value) == (balance, yuan(owed), state)
        assert yuan(receipt["to_debt"]) + yuan(receipt["to_credit"]) == yuan(receipt["amount"])
    assert house.orders() == ["cut verified", "restore queued"]
    assert house.verified() is None


def test_it_is_offered_again_only_when_it_is_repaid_and_the_balance_was_above_the_threshold(house: House) -> None:
    house.settle(accounts=[account(policy=AUTOMATIC)], balance="3").block(total="0.00")
    assert used(house, "5.00") == ("5.500000", "very_low")
    assert used(house, "7.00") == ("4.500000", "emergency")
    house.topup("0.50")  # repaid, but not above 0.50
    assert (house.balance(), lent(house), house.account().standing.lent) == ("4.500000", yuan("4.50"), True)
    house.topup("1.00", "S-2")
    assert (house.balance(), lent(house), house.account().standing.lent) == ("1.000000", 0, False)
    assert used(house, "8.20") == ("5.400000", "very_low")
    assert house.kinds().count("emergency_lent") == 2


def test_what_nobody_asks_for_is_lent_by_itself_where_the_policy_says_so(house: House) -> None:
    house.settle(accounts=[account(policy=AUTOMATIC)], balance="1").block(total="0.00")
    assert used(house, "4.00") == ("4.000000", "emergency")  # from 1.00 to -1.00 at once
    assert house.open() == [] and "balance_exhausted" not in house.kinds()
    [row] = house.do(lambda tx: tx.audit_rows(0, 9))
    assert row.who == "rules"


def test_taken_after_the_cut_it_brings_the_light_back(house: House) -> None:
    house.settle(accounts=[account(policy=POUNDS)], balance="1").block(total="0.00")
    assert used(house, "3.00") == ("-0.500000", "exhausted")
    house.carry_out(OPEN)
    assert accept(house, "customer") is None
    assert (house.balance(), house.account().credit, house.orders()[-1]) == ("4.500000", "emergency", "restore queued")


@pytest.mark.parametrize(
    ("changes", "kwh", "refused"),
    [
        ({"policy": replace(POUNDS, emergency_micro=0)}, "2.00", "there is no emergency credit for account A-1"),
        ({}, "12.00", "emergency credit would not give supply back to account A-1: more is owed"),
        ({"authority": Authority.METER}, "2.00", "emergency credit would not give supply back to account A-1: more is owed"),
    ],
)
def test_why_not(house: House, changes: dict[str, object], kwh: str, refused: str) -> None:
    house.settle(accounts=[account("A-1", **{"policy": POUNDS, **changes})], balance="1").block(total="0.00")
    used(house, kwh)
    assert accept(house) == refused and lent(house) == 0
    assert accept(house, of="A-9") == "account A-9 is not known here"


def test_the_debts_share_goes_first(house: House) -> None:
    terms = DebtTerms("signed", 500, "2026-01-01")
    house.settle(accounts=[account(policy=AUTOMATIC, debt=terms)], balance="1").block(total="0.00")

    def owe(tx: Tx) -> None:
        post_entry(tx, ledger.indebted("A-1", "CNY", yuan("100"), house.now_ms, {"account": "A-1"}))

    house.do(owe)
    used(house, "10.00")  # lent 5.00, of which 4.00 is used
    receipt = json.loads(house.topup("4.00").payment.receipt or "")
    assert (receipt["to_debt"], receipt["to_credit"]) == ("4.00", "0.00")  # 2.00 to the debt, 2.00 given back
    assert (house.balance(), lent(house)) == ("1.000000", yuan("3"))


def test_a_loan_that_a_person_reverses_is_lent_no_more(house: House) -> None:
    house.settle(accounts=[account(policy=AUTOMATIC)], balance="1").block(total="0.00")
    used(house, "2.00")
    number = house.do(lambda tx: tx.journal_end())[0]
    house.do(lambda tx: reverse(tx, number, {"by": "li", "reason": "a mistake"}, house.now_ms))
    assert used(house, "2.00") == ("0.000000", "exhausted")  # and not lent again before 0.50 was passed
    house.topup("5.00")
    assert not house.account().standing.lent


def test_a_repayment_that_a_person_reverses_is_lent_again(house: House) -> None:
    house.settle(accounts=[account(policy=POUNDS)], balance="1").block(total="0.00")
    used(house, "1.50")
    accept(house)
    used(house, "4.00")
    house.topup("9.00")
    assert (house.balance(), lent(house), house.account().standing.lent) == ("8.000000", 0, False)
    entries = house.do(lambda tx: tx.entries(0, 99))
    for posted in [e for e in entries if e.entry.kind is EntryKind.EMERGENCY_RECOVERY]:
        number = posted.number
        house.do(lambda tx, number=number: reverse(tx, number, {"by": "li", "reason": "x"}, house.now_ms))  # type: ignore[misc]
    assert lent(house) == yuan("5") and house.account().standing.lent
    used(house, "4.00")
    assert (house.balance(), lent(house)) == ("8.000000", 0)  # nobody needs it
