"""An old debt is recovered by share and weekly cap, and costs late fees day by day."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.domain import ledger
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.price_list import LateFee
from gateway.services.accrue_fees import accrue_fees, fees_due
from gateway.services.load_archive import Archive, Opening, load_archive
from gateway.services.ports import TopUpOutcome
from tests.gateway.price_lists import flat
from tests.gateway.services.house import House, account, local, meter, yuan

TERMS = DebtTerms("signed 2026-01-01", 200, "2025-12-20", yuan("30"))


def owing(house: House, terms: DebtTerms | None = TERMS, debt: str = "120", rule: LateFee | None = None) -> House:
    tariff = replace(flat(500_000), late_fee=rule)
    archive = Archive([tariff], [Opening(account(debt=terms), yuan("5"), yuan(debt))], [meter()])
    house.do(lambda tx: load_archive(tx, archive, house.site, house.now_ms))
    return house


def debt(house: House) -> str:
    return str(house.do(lambda tx: tx.balance(ledger.debt("A-1"), "CNY")) / 1_000_000)


def parts(outcome: TopUpOutcome) -> tuple[str, str, str]:
    receipt = json.loads(outcome.payment.receipt or "")
    return receipt["amount"], receipt["to_credit"], receipt["to_debt"]


def test_a_share_goes_to_the_debt_and_the_receipt_says_so(house: House) -> None:
    owing(house)
    assert parts(house.topup("50.00")) == ("50.00", "40.00", "10.00")
    assert (debt(house), house.balance()) == ("-110.0", "45.000000")
    assert parts(house.topup("50.00")) == ("50.00", "40.00", "10.00")  # the same again
    assert (debt(house), house.verified()) == ("-110.0", None)
    [recovery] = [p.entry for p in house.do(lambda tx: tx.entries(0, 9)) if p.entry.kind == "debt_recovery"]
    assert recovery.ref == {"account": "A-1", "agreement": "signed 2026-01-01", "topup": "3"}


def test_the_week_has_a_cap_and_the_next_week_another(house: House) -> None:
    owing(house)  # a Tuesday
    found = [parts(house.topup("100.00", serial=f"S-{n}"))[2] for n in range(3)]
    assert found == ["20.00", "10.00", "0.00"]
    house.now_ms = local("2026-11-29 23:59")
    assert parts(house.topup("100.00", serial="S-4"))[2] == "0.00"
    house.now_ms = local("2026-11-30 00:00")
    assert parts(house.topup("100.00", serial="S-5"))[2] == "20.00"


def test_no_more_than_is_owed_and_nothing_after_it(house: House) -> None:
    owing(house, debt="12.34")
    assert parts(house.topup("100.00"))[1:] == ("87.66", "12.34")
    assert parts(house.topup("100.00", serial="S-2"))[1:] == ("100.00", "0.00")
    assert (debt(house), house.verified()) == ("0.0", None)


@pytest.mark.parametrize("paid", ["0.01", "0.04", "33.33", "99.99"])
def test_the_parts_of_a_receipt_sum_to_the_amount(house: House, paid: str) -> None:
    owing(house, replace(TERMS, share_per_mille=333))
    amount, credit, to_debt = map(yuan, parts(house.topup(paid)))
    assert credit + to_debt == amount == yuan(paid)
    assert yuan(house.balance()) == yuan("5") + credit


def test_late_fees_day_by_day_with_the_least_first_and_another_rate_after_the_year(house: House) -> None:
    """2 per mille of 1000 until the year's end, 3 after; at least 5."""
    house.now_ms = local("2026-12-29 10:00")
    owing(house, replace(TERMS, since_day="2026-12-01"), "1000", LateFee(2, 3, yuan("5")))
    balances = []
    for _ in range(7):
        house.do(lambda tx: accrue_fees(tx, "A-1", house.site, house.now_ms))
        assert not house.do(lambda tx: fees_due(tx, "A-1", house.now_ms))
        house.do(lambda tx: accrue_fees(tx, "A-1", house.site, house.now_ms))  # never twice
        balances.append(house.balance())
        house.later(hours=24)
    assert balances == [f"{units}.000000" for units in ("5", "0", "0", "-1", "-4", "-7", "-10")]
    assert house.verified() is None


def test_a_debt_without_a_rule_costs_nothing(house: House) -> None:
    owing(house)
    for _ in range(3):
        house.do(lambda tx: accrue_fees(tx, "A-1", house.site, house.now_ms))
        house.later(hours=24)
    assert (house.balance(), debt(house)) == ("5.000000", "-120.0")
