"""Reversals, refunds, settlements and quotes as banks see them (contract.md 3)."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx2
import pytest

from gateway.domain import ledger
from gateway.domain.bank_acts import ClosedDay
from gateway.domain.bank_terms import PartnerTerms
from gateway.services import approve, two_people
from gateway.services.money_held import SERIES
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.adapters.http.paying import BANKS, PAY, TOPUPS, URL, SignedBank
from tests.gateway.adapters.http.street import Street
from tests.gateway.adapters.http.test_bank import assert_problem, balance

BACK = {
    "reversal_serial": "R-1",
    "accounting_date": "2026-11-21",
    "amount": "50.00",
    "currency": "CNY",
    "reason": "debited twice",
    "requested_at": "2026-11-21T12:01:00+08:00",
}
PATH = f"{TOPUPS}/S-1/reversal"


def journal(street: Street) -> int:
    return street.store.read_now(lambda tx: tx.journal_end()[0])


async def test_a_reversal_and_every_later_word_of_it(bank: httpx2.AsyncClient, street: Street) -> None:
    paid = (await bank.post(TOPUPS, json=PAY)).json()
    first = await bank.post(PATH, json=BACK)
    again = await bank.post(PATH, json={**BACK, "reversal_serial": "R-2", "reason": "again", "accounting_date": "2026-11-22"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.content == again.content
    told = first.json()
    assert (told["payment"], told["delivery"], told["receipt"]) == ("reversed", "none", paid["receipt"])
    assert (told["reversal"]["reversal_serial"], told["reversal"]["balance_after"]) == ("R-1", "20.00")
    asked = (await bank.get(f"{TOPUPS}/S-1")).json()
    assert (asked["payment"], asked["reversal"], asked["receipt"]) == ("reversed", told["reversal"], paid["receipt"])
    problem = assert_problem(await bank.post(TOPUPS, json=PAY), 409, "reversed")
    assert (problem["receipt"], problem["reversal"], problem["final"]) == (paid["receipt"], told["reversal"], True)
    assert balance(street) == 20_000_000
    assert street.store.read_now(verify_ledger)[1] is None


async def test_a_reversal_first_and_the_late_payment(bank: httpx2.AsyncClient, street: Street) -> None:
    first = await bank.post(PATH, json=BACK)
    told = first.json()
    assert (first.status_code, told["receipt"], told["payment"], told["reversal"]["serial"]) == (200, None, "reversed", "S-1")
    assert (await bank.post(PATH, json={**BACK, "reversal_serial": "R-9"})).content == first.content
    problem = assert_problem(await bank.post(TOPUPS, json=PAY), 409, "reversed")
    assert (problem["receipt"], problem["reversal"]) == (None, told["reversal"])
    asked = await bank.get(f"{TOPUPS}/S-1")
    assert (asked.status_code, asked.json()["receipt"], asked.json()["payment"]) == (200, None, "reversed")
    assert balance(street) == 20_000_000


async def test_nothing_to_reverse_of_what_was_refused(bank: httpx2.AsyncClient) -> None:
    assert_problem(await bank.post(TOPUPS, json={**PAY, "account": "A-9"}), 404, "unknown_account")
    answer = await bank.post(PATH, json=BACK)
    told = answer.json()
    assert (answer.status_code, told["payment"], told["receipt"], told["reversal"]) == (200, "refused", None, None)
    assert told["problem"]["code"] == "unknown_account"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "49.99"}, "amount"),
        ({"amount": "0.00"}, "amount"),
        ({"amount": "50"}, "amount"),
        ({"currency": "EUR"}, "currency"),
        ({"reason": ""}, "reason"),
        ({"requested_at": "2026-11-31T00:00:00Z"}, "requested_at"),
        ({"accounting_date": "2026-13-01"}, "accounting_date"),
        ({"reversal_serial": "R 1"}, "reversal_serial"),
        ({"more": "x"}, "more"),
    ],
)
async def test_what_is_wrong_with_a_reversal_binds_nothing(
    bank: httpx2.AsyncClient, street: Street, change: dict[str, str], field: str
) -> None:
    await bank.post(TOPUPS, json=PAY)
    assert_problem(await bank.post(PATH, json={**BACK, **change}), 422, "invalid", field)
    assert balance(street) == 70_000_000
    assert (await bank.post(PATH, json=BACK)).status_code == 200


async def test_another_banks_serial_is_another_payment(bank: httpx2.AsyncClient, street: Street) -> None:
    await bank.post(TOPUPS, json=PAY)
    answer = await bank.post(PATH, json=BACK, headers={"x-bank": "north"})
    assert (answer.status_code, answer.json()["receipt"]) == (200, None)
    institution = await bank.post(f"{PATH}?institution=WX", json=BACK)
    assert (institution.status_code, institution.json()["receipt"]) == (200, None)
    assert balance(street) == 70_000_000


async def test_a_closed_day_is_closed(bank: httpx2.AsyncClient, street: Street) -> None:
    await bank.post(TOPUPS, json=PAY)
    day = ClosedDay("demo", "2026-11-21", 1, 1, {"CNY": 50_000_000}, street.now_ms)
    street.store.write_now(lambda tx: tx.close_day(day))
    problem = assert_problem(await bank.post(PATH, json=BACK), 409, "day_closed")
    assert isinstance(problem["receipt"], dict) and problem["receipt"]["serial"] == "S-1"
    assert_problem(await bank.post(TOPUPS, json={**PAY, "serial": "S-2"}), 409, "day_closed")
    assert (await bank.get(f"{TOPUPS}/S-2")).json()["problem"]["code"] == "day_closed"
    assert (await bank.post(TOPUPS, json=PAY)).status_code == 200


# signed


async def test_a_used_nonce_repeats_a_reversal_and_does_nothing_else(street: Street) -> None:
    street.banks = BANKS
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.bank()), base_url=URL) as http:
        north = SignedBank(street, http)
        assert (await north.pay("n-1")).status_code == 201
        body = json.dumps(BACK).encode()
        first = await north.send("POST", PATH, body, "n-2")
        again = await north.send("POST", PATH, body, "n-2")
        assert (first.status_code, again.status_code) == (200, 200) and first.content == again.content
        other = json.dumps({**BACK, "amount": "49.00"}).encode()
        assert (await north.send("POST", PATH, other, "n-2")).status_code == 401
        fresh = f"{TOPUPS}/S-7/reversal"
        assert (await north.send("POST", fresh, body, "n-1")).status_code == 401
        assert street.store.read_now(lambda tx: tx.pending_reversals()) == []
        assert balance(street) == 20_000_000


# quotes


async def test_a_quote_says_what_a_top_up_would_do_and_leaves_nothing(bank: httpx2.AsyncClient, street: Street) -> None:
    before = journal(street)
    for _ in range(2):
        answer = await bank.post("/bank/v1/quotes", json={"account": "A-1", "amount": "50.00", "currency": "CNY"})
        assert answer.status_code == 200
        assert answer.json() == {
            "account": "A-1", "amount": "50.00", "currency": "CNY", "to_credit": "50.00", "to_debt": "0.00", "fees": "0.00",
            "balance_after": "70.00", "next": "none",
        }  # fmt: skip
    assert journal(street) == before
    assert street.store.read_now(lambda tx: tx.paid_by_day()) == {}
    receipt = (await bank.post(TOPUPS, json=PAY)).json()["receipt"]
    assert (receipt["balance_after"], receipt["next"]) == ("70.00", "none")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"account": "A-9"}, 404, "unknown_account"),
        ({"account": "A-3"}, 422, "account_closed"),
        ({"currency": "EUR"}, 422, "currency_mismatch"),
        ({"amount": "999999.00"}, 422, "amount_out_of_range"),
    ],
)
async def test_a_quote_of_what_would_be_refused(
    bank: httpx2.AsyncClient, street: Street, change: dict[str, str], status: int, code: str
) -> None:
    body = {"account": "A-1", "amount": "50.00", "currency": "CNY", **change}
    assert_problem(await bank.post("/bank/v1/quotes", json=body), status, code)
    assert (await bank.post(TOPUPS, json=PAY)).status_code == 201


# refunds

GIVE = {
    "serial": "F-1",
    "original_serial": "S-1",
    "accounting_date": "2026-11-22",
    "amount": "30.00",
    "currency": "CNY",
    "reason": "moved away",
}


def agree(street: Street, approval: str, who: str = "operator:wang") -> str | None:
    acts = two_people.ACTS
    return street.store.write_now(lambda tx: approve.approve(tx, approval, who, street.site, street.now_ms, acts)).refused


async def test_a_refund_waits_for_a_second_person(bank: httpx2.AsyncClient, street: Street) -> None:
    await bank.post(TOPUPS, json=PAY)
    asked = await bank.post("/bank/v1/refunds", json=GIVE)
    assert (asked.status_code, asked.json()["state"], asked.json()["refund"]) == (202, "asked", None)
    assert balance(street) == 40_000_000  # put aside
    assert agree(street, asked.json()["approval"], "bank:demo") == "bank:demo asked for it: another person must approve it"
    assert agree(street, asked.json()["approval"]) is None
    paid = await bank.post("/bank/v1/refunds", json=GIVE)
    again = await bank.post("/bank/v1/refunds", json=GIVE)
    assert paid.status_code == 200 and paid.content == again.content
    told = paid.json()
    assert (told["state"], told["refund"]["original_serial"], told["refund"]["amount"]) == ("paid", "S-1", "30.00")
    assert street.store.read_now(lambda tx: tx.balance(ledger.bank_clearing("demo"), "CNY")) == -20_000_000
    assert_problem(await bank.post("/bank/v1/refunds", json={**GIVE, "amount": "29.00"}), 409, "serial_conflict", "amount")
    over = await bank.post("/bank/v1/refunds", json={**GIVE, "serial": "F-2", "amount": "20.01"})
    assert "20.00" in str(assert_problem(over, 422, "amount_out_of_range")["detail"])
    assert street.store.read_now(verify_ledger)[1] is None


async def test_a_refund_that_is_refused_goes_back(bank: httpx2.AsyncClient, street: Street) -> None:
    await bank.post(TOPUPS, json=PAY)
    approval = (await bank.post("/bank/v1/refunds", json=GIVE)).json()["approval"]
    street.store.write_now(lambda tx: approve.refuse(tx, approval, "operator:wang", "no", street.now_ms, two_people.ACTS))
    told = (await bank.post("/bank/v1/refunds", json=GIVE)).json()
    assert (told["state"], balance(street)) == ("voided", 70_000_000)
    assert street.store.read_now(verify_ledger)[1] is None


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"original_serial": "S-9"}, 404, "not_found", None),
        ({"serial": "S-1"}, 409, "serial_conflict", "serial"),
        ({"accounting_date": "2026-11-24"}, 422, "invalid", "accounting_date"),
        ({"amount": "50.01"}, 422, "amount_out_of_range", None),
        ({"currency": "EUR"}, 422, "currency_mismatch", "currency"),
    ],
)
async def test_what_cannot_go_back(
    bank: httpx2.AsyncClient, street: Street, change: dict[str, str], status: int, code: str, field: str | None
) -> None:
    """Nothing is bound by it, and nobody is told to give the payer money for it."""
    await bank.post(TOPUPS, json=PAY)
    problem = assert_problem(await bank.post("/bank/v1/refunds", json={**GIVE, **change}), status, code, field)
    assert (problem["final"], problem["action"] == "refund_payer") == (code == "serial_conflict", False)
    assert balance(street) == 70_000_000


async def test_no_refund_of_what_was_reversed_before(bank: httpx2.AsyncClient) -> None:
    """The payer has his money: what a repeated payment is told (refund_payer) would give it to him again."""
    await bank.post(TOPUPS, json=PAY)
    await bank.post(PATH, json=BACK)
    problem = assert_problem(await bank.post("/bank/v1/refunds", json=GIVE), 409, "reversed")
    assert (problem["final"], problem["action"]) == (False, "call_us")


@pytest.mark.parametrize("query", ["?instution=WX-PAY", "?institution=WX-PAY&institution=ALI"])
async def test_a_mistyped_parameter_names_no_other_payment(bank: httpx2.AsyncClient, street: Street, query: str) -> None:
    """Behind an aggregator: it would find nothing, and the reversal would bury another one."""
    await bank.post(TOPUPS, json={**PAY, "institution": "WX-PAY"})
    name = query[1:].split("=")[0]
    assert_problem(await bank.post(PATH + query, json=BACK), 422, "invalid", name)
    assert_problem(await bank.get(f"{TOPUPS}/S-1{query}"), 422, "invalid", name)
    assert (await bank.post(f"{PATH}?institution=WX-PAY", json=BACK)).json()["receipt"]["institution"] == "WX-PAY"
    assert balance(street) == 20_000_000


# settlements

ARRIVED = {"accounting_date": "2026-11-21", "amount": "40.00", "currency": "CNY", "fund_batch": "B-1"}


async def test_the_money_that_arrives_clears_the_banks_account(bank: httpx2.AsyncClient, street: Street) -> None:
    await bank.post(TOPUPS, json=PAY)
    first = await bank.post("/bank/v1/settlements", json=ARRIVED)
    again = await bank.post("/bank/v1/settlements", json=ARRIVED)
    assert (first.status_code, again.status_code) == (201, 200) and first.content == again.content
    assert (first.json()["outstanding"], first.json()["outstanding_of_day"]) == ("10.00", "10.00")
    assert street.store.read_now(lambda tx: tx.balance(ledger.bank_clearing("demo"), "CNY")) == -10_000_000
    assert street.store.read_now(lambda tx: tx.balance(ledger.cash(), "CNY")) == -40_000_000
    for field, value in (("amount", "41.00"), ("accounting_date", "2026-11-22"), ("currency", "EUR")):
        assert_problem(await bank.post("/bank/v1/settlements", json={**ARRIVED, field: value}), 409, "serial_conflict", field)
    large = await bank.post("/bank/v1/settlements", json={**ARRIVED, "fund_batch": "B-2", "amount": "123456789012.34"})
    assert large.status_code == 201 and large.json()["amount"] == "123456789012.34"
    assert_problem(await bank.post("/bank/v1/settlements", json={**ARRIVED, "amount": "0.00"}), 422, "invalid", "amount")
    assert street.store.read_now(verify_ledger)[1] is None


async def test_a_settlement_after_a_restore_has_a_number_of_its_own(bank: httpx2.AsyncClient, street: Street) -> None:
    """The ledger counts from the backup on again: as on receipts, what was opened anew stands before the number."""
    street.store.write_now(lambda tx: tx.set_meta(SERIES, "ab12-"))
    told = (await bank.post("/bank/v1/settlements", json=ARRIVED)).json()
    assert told["settlement_no"].startswith(f"{told['gateway']}-ab12-")


async def test_a_bank_whose_serials_are_of_a_day(street: Street) -> None:
    from gateway.adapters.http.bank_gate import Banks, KnownBank
    from gateway.domain.bank_terms import SerialScope

    terms = PartnerTerms("daily", serial_scope=SerialScope.ACCOUNTING_DATE)
    street.banks = Banks(banks={"daily": KnownBank(terms)})
    street.site = replace(street.site, banks={"daily": terms})
    headers = {"x-bank": "daily"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.bank()), base_url=URL) as http:
        for text in ("20261121", "1795219200", "2026-11-21T00:00:00", "2026-11-31"):  # no answer, least of all "not booked"
            assert_problem(await http.get(f"{TOPUPS}/{text}/S-1", headers=headers), 422, "invalid", "accounting_date")
        assert (await http.post(TOPUPS, json=PAY, headers=headers)).status_code == 201
        assert (await http.post(TOPUPS, json={**PAY, "accounting_date": "2026-11-22"}, headers=headers)).status_code == 201
        assert_problem(await http.post(PATH, json=BACK, headers=headers), 422, "invalid", "accounting_date")
        path = f"{TOPUPS}/2026-11-22/S-1/reversal"
        assert (await http.post(path, json=BACK, headers=headers)).json()["payment"] == "reversed"
        assert balance(street) == 70_000_000
