"""What a bank is told of an account is what holds a moment later: the highest is taken, a fen more is refused."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from gateway.adapters.http.bank_gate import Banks, KnownBank
from gateway.domain import ledger
from gateway.domain.bank_terms import Limits, PartnerTerms
from gateway.domain.units import MICRO
from gateway.services.load_archive import Opening
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from tests.gateway.adapters.http.paying import PAY, TOPUPS
from tests.gateway.adapters.http.street import POLICY, Street, account, meter

YUAN = MICRO


def terms(**changes: object) -> PartnerTerms:
    return PartnerTerms("demo", **changes)  # type: ignore[arg-type]


def limited(**changes: int) -> PartnerTerms:
    return terms(limits=Limits(**changes))


async def shown(bank: httpx2.AsyncClient, name: str = "A-1") -> dict[str, object]:
    answer = await bank.get(f"/bank/v1/accounts/{name}")
    assert answer.status_code == 200
    found: dict[str, object] = answer.json()
    return found


async def pay(bank: httpx2.AsyncClient, serial: str, amount: str) -> int:
    return (await bank.post(TOPUPS, json={**PAY, "serial": serial, "amount": amount})).status_code


def cents(amount: object) -> int:
    return int(str(amount).replace(".", ""))


@pytest.mark.parametrize(
    ("known", "highest"),
    [
        (terms(), "999949.00"),
        (limited(payment_micro=200 * YUAN), "200.00"),
        (limited(account_day_micro=70 * YUAN), "40.00"),
        (limited(day_micro=50 * YUAN), "20.00"),
        (terms(quota_micro=100 * YUAN), "70.00"),
        (limited(account_day_count=1), "0.00"),
        (limited(day_count=1), "0.00"),
        (limited(payment_micro=200 * YUAN, day_micro=90 * YUAN), "60.00"),
    ],
    ids=["none", "payment", "account's day", "day", "quota", "account's count", "count", "least of two"],
)
async def test_the_highest_is_taken_and_no_more(
    bank: httpx2.AsyncClient, street: Street, known: PartnerTerms, highest: str
) -> None:
    assert await pay(bank, "S-0", "30.00") == 201
    street.banks = Banks(banks={"demo": KnownBank(known)})
    told = await shown(bank)
    assert (told["highest"], told["accepts_payment"]) == (highest, highest != "0.00")
    over = cents(highest) + 1
    assert await pay(bank, "S-1", f"{over // 100}.{over % 100:02d}") == 422
    if highest != "0.00":
        assert await pay(bank, "S-2", highest) == 201


async def test_the_lowest_is_taken_and_no_less(bank: httpx2.AsyncClient, street: Street) -> None:
    street.banks = Banks(banks={"demo": KnownBank(limited(least_micro=5 * YUAN))})
    assert (await shown(bank))["lowest"] == "5.00"
    assert [await pay(bank, serial, amount) for serial, amount in (("S-1", "4.99"), ("S-2", "5.00"))] == [422, 201]


async def test_a_hoarding_limit_is_in_it(bank: httpx2.AsyncClient, street: Street) -> None:
    policy = replace(POLICY, hoard_micro=100 * YUAN)
    street.settle([meter(7, account="A-1")], [Opening(account(1, policy=policy), 0)])
    assert (await shown(bank))["highest"] == "80.00"
    assert [await pay(bank, serial, amount) for serial, amount in (("S-1", "80.01"), ("S-2", "80.00"))] == [422, 201]


@pytest.mark.parametrize("shut", ["closed account", "closed day", "night"])
async def test_whether_anything_is_taken_now(bank: httpx2.AsyncClient, street: Street, shut: str) -> None:
    name = "A-3" if shut == "closed account" else "A-1"
    if shut == "night":
        street.banks = Banks(banks={"demo": KnownBank(terms(no_trade=(11 * 60, 13 * 60)))})
    if shut == "closed day":
        path = "/bank/v1/reconciliations/2026-11-21?close=true"
        closed = await bank.post(path, content=EMPTY, headers={"content-type": "text/csv"})
        assert closed.json()["closed"] is True
    assert (await shown(bank, name))["accepts_payment"] is False


EMPTY = b"serial,account,amount,currency,type,original_serial,paid_at,channel,institution\n#0,0.00\n"


async def test_debts_stand_beside_the_balance_by_kind(bank: httpx2.AsyncClient, street: Street) -> None:
    lent = ledger.emergency_credit("A-1", "CNY", 3 * YUAN, street.now_ms, {})
    owed = ledger.indebted("A-1", "CNY", 12 * YUAN, street.now_ms, {})

    def book(tx: Tx) -> None:
        known = tx.account("A-1")
        assert known is not None
        post_entry(tx, lent)
        post_entry(tx, owed)
        tx.save_account(replace(known, standing=replace(known.standing, lent=True)))

    street.store.write_now(book)
    assert (await shown(bank))["debts"] == {"energy": "12.00", "emergency_credit": "3.00"}
