"""Emergency credit over HTTP: taken once, refused with the reason, in the name of whoever asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.credit_api import CreditApi
from gateway.adapters.http.guard import new_application
from gateway.domain.units import MICRO
from gateway.services.accept_credit import accept_credit
from gateway.services.ports import Tx
from tests.gateway.adapters.http.street import SITE, TOKEN, Street

BEARER = {"authorization": f"Bearer {TOKEN}"}
PATH = "/api/v1/accounts/A-1/emergency-credit"


@pytest.fixture
async def person(street: Street) -> AsyncIterator[httpx2.AsyncClient]:
    def lends(tx: Tx) -> None:
        account = tx.account("A-1")
        assert account is not None
        policy = replace(account.policy, emergency_micro=500 * MICRO, emergency_at_micro=10_000 * MICRO)
        tx.save_account(replace(account, policy=policy))

    street.store.write_now(lends)

    async def accept(account: str, who: str) -> str | None:
        return await street.store.write(lambda tx: accept_credit(tx, account, who, SITE, street.now_ms))

    app = new_application("operator", "0.1.0")
    app.include_router(CreditApi(accept, street.store.read, OperatorAuth(TOKEN, open_get=True)).router())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://op", headers=BEARER) as client:
        yield client


async def test_it_is_taken_once(person: httpx2.AsyncClient, street: Street) -> None:
    answer = await person.post(PATH)
    shown = answer.json()
    assert (answer.status_code, shown["account"], shown["lent"], shown["currency"]) == (200, "A-1", "500.00", "CNY")
    again = await person.post(PATH)
    assert (again.status_code, again.json()["code"]) == (409, "refused")
    assert again.json()["detail"] == "account A-1 took its emergency credit: it is offered again when that is repaid"
    rows = street.store.read_now(lambda tx: tx.audit_rows(0, 99))
    assert [row.who for row in rows if row.act == "lend_credit"] == ["operator:operator"]


async def test_who_is_not_known_and_who_may_not(person: httpx2.AsyncClient) -> None:
    assert (await person.post(PATH.replace("A-1", "A-9"))).status_code == 404
    assert (await person.post(PATH, headers={"authorization": "Bearer wrong"})).status_code == 401
