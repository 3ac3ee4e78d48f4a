"""Money at the counter: by a person with the role, once for each receipt, and told in the audit log."""

from __future__ import annotations

from datetime import date

import httpx2

from gateway.adapters.http.counter_api import CounterApi
from gateway.domain import ledger
from gateway.domain.bank_terms import COUNTER
from gateway.domain.people import Role
from gateway.domain.requests import TopUp
from gateway.services.counter_topup import counter_topup
from gateway.services.ports import TopUpOutcome
from tests.gateway.adapters.http.doors import Door, bearer, client
from tests.gateway.adapters.http.paying import PAY
from tests.gateway.adapters.http.street import SITE, Street
from tests.gateway.adapters.http.test_bank import assert_problem

PATH = "/api/v1/topups"


def counter(street: Street) -> httpx2.AsyncClient:
    async def take(topup: TopUp, who: str) -> TopUpOutcome:
        return await street.store.write(lambda tx: counter_topup(tx, topup, who, SITE, street.now_ms))

    door = Door()
    app = door.application()
    app.include_router(CounterApi(take, door.auth, COUNTER, lambda: date(2026, 11, 21)).router())
    return client(app)


async def test_a_receipt_is_booked_once_and_said_by_whom(street: Street) -> None:
    async with counter(street) as http:
        first, again = [await http.post(PATH, json=PAY, headers=bearer(Role.OPERATOR.value)) for _ in range(2)]
        assert (first.status_code, again.status_code, first.content) == (201, 200, again.content)
        other = await http.post(PATH, json={**PAY, "amount": "51.00"}, headers=bearer(Role.OPERATOR.value))
        assert_problem(other, 409, "serial_conflict", "amount")
    assert first.json()["receipt"]["bank"] == "counter"
    rows = street.store.read_now(lambda tx: [(row.who, row.act, row.subject) for row in tx.audit_rows(0, 100)])
    assert rows == [("operator:operator", "counter_topup", "A-1")]
    assert street.store.read_now(lambda tx: tx.balance(ledger.bank_clearing("counter"), "CNY")) == -50_000_000


async def test_nobody_else_books(street: Street) -> None:
    async with counter(street) as http:
        assert (await http.post(PATH, json=PAY, headers={"x-bank": "counter"})).status_code == 401
        for role in (Role.AUDITOR, Role.APPROVER, Role.ADMIN):
            assert_problem(await http.post(PATH, json=PAY, headers=bearer(role.value)), 403, "forbidden")
        assert_problem(await http.post(PATH, json={**PAY, "amount": "5"}, headers=bearer("operator")), 422, "invalid", "amount")
        assert_problem(await http.post(PATH, json={**PAY, "account": "A-3"}, headers=bearer("operator")), 422, "account_closed")
    assert street.store.read_now(lambda tx: tx.balance(ledger.customer("A-1"), "CNY")) == 20_000_000
