"""A difference is resolved as it was compared, or not at all, and nothing is credited twice (contract.md 3)."""

from __future__ import annotations

from dataclasses import replace

import httpx2

from gateway.domain import ledger
from gateway.domain.units import MICRO
from gateway.services.ports import Tx
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.adapters.http.paying import PAY, TOPUPS
from tests.gateway.adapters.http.street import Street
from tests.gateway.adapters.http.test_bank import balance
from tests.gateway.adapters.http.test_bank_books import BACK
from tests.gateway.adapters.http.test_bank_days import DAY, RIGHT, agree, file_of, line, paid, resolved, send

__all__ = ["paid"]

SINCE = "does not stand here as it was compared: upload the file again, or ignore it"


def of_neighbour(street: Street) -> int:
    return street.store.read_now(lambda tx: tx.balance(ledger.customer("A-2"), "CNY"))


async def asked_to(bank: httpx2.AsyncClient, action: str, number: int = 1) -> str:
    """The approval under which it waits."""
    answer = await bank.post(f"{DAY}/differences/{number}/resolution", json={"action": action, "reason": "agreed by phone"})
    assert answer.status_code == 202, answer.json()
    return str(answer.json()["resolution"]["approval"])


async def test_a_line_with_two_faults_is_booked_once(paid: httpx2.AsyncClient, street: Street) -> None:
    """Account and amount are wrong: two differences, and the first one that is booked puts both right."""
    lines = [*RIGHT[:3], line("S-3", "25.00", "A-2")]
    kinds = [each["kind"] for each in (await send(paid, file_of(lines))).json()["differences"]]
    assert kinds == ["account", "amount"]
    first, second = await asked_to(paid, "book", 1), await asked_to(paid, "book", 2)
    assert agree(street, first) is None
    assert agree(street, second) == f"serial S-3 {SINCE}"
    assert (balance(street), of_neighbour(street)) == (70_000_000, 26_000_000)
    assert (await send(paid, file_of(lines), "?close=true")).json()["closed"] is True
    assert street.store.read_now(verify_ledger)[1] is None


async def test_what_was_booked_beside_is_what_is_undone_later(paid: httpx2.AsyncClient, street: Street) -> None:
    """The bank corrects its file twice: each time the line of before goes, also where it was booked beside the payment."""
    for amount, left in (("20.01", 90_010_000), ("20.02", 90_020_000), ("20.01", 90_010_000)):
        await send(paid, file_of([*RIGHT[:3], line("S-3", amount)]))
        await resolved(paid, street, "book")
        assert balance(street) == left
    await send(paid, file_of(RIGHT[:3]))
    await resolved(paid, street, "reverse")
    assert balance(street) == 70_000_000
    assert (await send(paid, file_of(RIGHT[:3]), "?close=true")).json()["closed"] is True
    assert street.store.read_now(verify_ledger)[1] is None


async def test_a_payment_that_came_before_it_was_approved_is_not_booked_again(paid: httpx2.AsyncClient, street: Street) -> None:
    await send(paid, file_of([*RIGHT, line("S-9")]))
    waits = await asked_to(paid, "book")
    assert (await paid.post(TOPUPS, json={**PAY, "serial": "S-9"})).status_code == 201
    assert agree(street, waits) == f"serial S-9 {SINCE}"
    assert balance(street) == 140_000_000
    assert (await send(paid, file_of([*RIGHT, line("S-9")]), "?close=true")).json()["closed"] is True


async def test_a_payment_that_its_bank_took_back_meanwhile_stays_so(paid: httpx2.AsyncClient, street: Street) -> None:
    """Neither is theirs booked over it, nor is it called reversed by two people."""
    await send(paid, file_of([*RIGHT[:3], line("S-3", "25.00")]))
    book = await asked_to(paid, "book")
    assert (await paid.post(f"{TOPUPS}/S-3/reversal", json={**BACK, "amount": "20.00"})).status_code == 200
    assert agree(street, book) == f"serial S-3 {SINCE}"
    assert agree(street, await asked_to(paid, "reverse")) is None, "it is: nothing moves"
    assert balance(street) == 70_000_000


async def test_a_line_that_stands_there_twice_is_not_booked_twice(paid: httpx2.AsyncClient, street: Street) -> None:
    """Also where the first of them was booked beside the payment."""
    await send(paid, file_of([*RIGHT[:3], line("S-3", "20.01")]))
    await resolved(paid, street, "book")
    [twice] = (await send(paid, file_of([*RIGHT[:3], *[line("S-3", "20.01")] * 2]))).json()["differences"]
    if "book" in twice["actions"]:
        assert agree(street, await asked_to(paid, "book")) == f"serial S-3 {SINCE}"
    assert balance(street) == 90_010_000


async def test_what_cannot_be_booked_is_not_undone_either(paid: httpx2.AsyncClient, street: Street) -> None:
    """The account may not hold so much: ours stays, and the refusal is true when it says that nothing was done."""

    def hold_at_most(tx: Tx) -> None:
        account = tx.account("A-1")
        assert account is not None
        tx.save_account(replace(account, policy=replace(account.policy, hoard_micro=100 * MICRO)))

    street.store.write_now(hold_at_most)
    await send(paid, file_of([*RIGHT[:3], line("S-3", "30.01")]))
    why = agree(street, await asked_to(paid, "book"))
    assert why == "account A-1 may hold at most 100.00 CNY: nothing can be booked to it"
    assert balance(street) == 90_000_000
    await send(paid, file_of([*RIGHT[:3], line("S-3", "30.00")]))
    await resolved(paid, street, "book")
    assert balance(street) == 100_000_000
