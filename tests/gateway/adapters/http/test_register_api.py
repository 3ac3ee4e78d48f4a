"""A person's word about registers, as it comes over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.register_api import RegisterApi
from gateway.domain.requests import RegisterOrder
from gateway.services.change_meter import accept_register
from tests.gateway.adapters.http.street import SITE, TOKEN, Street

SOUND = {
    "id": "change-1", "kind": "meter_change", "last": {"energy_import": "102.00"}, "first": {"energy_import": "0.50"},
    "reason": "was broken", "by": "Li Wei",
}  # fmt: skip


@pytest.fixture
async def person(street: Street) -> AsyncIterator[httpx2.AsyncClient]:
    async def accept(order: RegisterOrder) -> str | None:
        return await street.store.write(lambda tx: accept_register(tx, order, SITE, street.now_ms))

    app = new_application("operator", "0.1.0")
    app.include_router(RegisterApi(accept, street.store.read, OperatorAuth(TOKEN, open_get=True)).router())
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://op", headers=headers) as client:
        for kwh in ("100.00", "101.00", "101.00"):
            street.read("bus-1-1", energy_import=kwh)
            street.now_ms += 600_000
        yield client


PATH = "/api/v1/meters/bus-1-1/accept-register"


async def test_an_exchanged_meter_goes_on_and_shows_that_nothing_holds_its_bill(person: httpx2.AsyncClient, street: Street) -> None:
    street.read("bus-1-1", energy_import="0.00")
    assert street.store.read_now(lambda tx: tx.billing("bus-1-1").held) == "register_lower"  # type: ignore[union-attr]
    for _ in range(2):
        answer = await person.post(PATH, json=SOUND)
        assert (answer.status_code, answer.json()["held"]) == (200, None)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"last": {"energy_import": "99.00"}}, 409, "refused"),
        ({"last": {"energy_import": 99}}, 422, "invalid"),
        ({"last": {"energy_import": "1e3"}}, 422, "invalid"),
        ({"first": {"voltage_a": "1.00"}}, 422, "invalid"),
        ({"kind": "gift"}, 422, "invalid"),
        ({"reason": ""}, 422, "invalid"),
        ({"id": "a b"}, 422, "invalid"),
        ({"more": 1}, 422, "invalid"),
    ],
)
async def test_what_cannot_be_accepted_says_why(
    person: httpx2.AsyncClient, changes: dict[str, object], status: int, code: str
) -> None:
    answer = await person.post(PATH, json=SOUND | changes)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_only_who_may_and_only_for_meters_that_are_there(person: httpx2.AsyncClient) -> None:
    assert (await person.post(PATH.replace("1-1", "1-9"), json=SOUND)).status_code == 404
    assert (await person.post(PATH, json=SOUND, headers={"authorization": "Bearer no"})).status_code == 401
