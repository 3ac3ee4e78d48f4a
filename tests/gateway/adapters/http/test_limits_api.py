"""Load limits as they are shown, released and changed over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.limits_api import LimitsApi
from gateway.bootstrap.limits import limit_cases
from gateway.domain.limits import LimitPhase, LimitState, LoadLimit
from gateway.services.ports import Tx
from gateway.services.watch_limits import prime_limits
from gateway.settings import load
from tests.gateway.adapters.http.street import SITE, TOKEN, Street
from tests.gateway.test_settings import GOOD

BEARER = {"authorization": f"Bearer {TOKEN}"}
LIMIT = LoadLimit(3000, 120_000, 60_000, 3, written={"trip_delay": 3}, policy="p")
PATH = "/api/v1/accounts/A-1/limit"
REASON = {"reason": "the oven was taken away"}


@pytest.fixture
async def person(street: Street, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A-1 is locked out, A-2 has no limit."""

    def lock(tx: Tx) -> None:
        account = tx.account("A-1")
        assert account is not None
        tx.save_account(replace(account, limit=LIMIT, limit_state=LimitState(LimitPhase.LOCKED, street.now_ms - 5_000, 3)))
        prime_limits(tx, "", 100, street.now_ms)

    street.store.write_now(lock)
    file = tmp_path / "gateway.toml"
    file.write_text(GOOD)
    settings, numbers = load(file, {}), count(1)
    cases = limit_cases(street.store, lambda: settings, lambda: SITE, street.clock, lambda: f"id-{next(numbers)}")
    app = new_application("operator", "0.1.0")
    app.include_router(LimitsApi(cases, OperatorAuth(TOKEN, open_get=True)).router())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://op", headers=BEARER) as client:
        yield client


async def test_where_an_accounts_limiter_stands(person: httpx2.AsyncClient) -> None:
    answer = await person.get(PATH)
    shown = answer.json()
    assert answer.status_code == 200
    assert {
        key: shown[key] for key in ("account", "policy", "phase", "by", "spent", "left", "next", "limit_w", "allowed_w", "off")
    } == {
        **{"account": "A-1", "policy": "p", "phase": "locked", "by": "limit", "spent": 3, "left": 0, "next": None},
        **{"limit_w": 3000, "allowed_w": 3000, "off": False},
    }
    assert [(each["parameter"], each["value"], each["state"]) for each in shown["parameters"]] == [
        ("trip_delay", 3, "wanted")
    ] * len(shown["parameters"])


async def test_a_lock_out_is_released_once(person: httpx2.AsyncClient, street: Street) -> None:
    answer = await person.post(f"{PATH}/release", json=REASON)
    assert (answer.status_code, answer.json()["phase"], answer.json()["left"]) == (200, "within", 3)
    again = await person.post(f"{PATH}/release", json=REASON)
    assert (again.status_code, again.json()["detail"]) == (409, "the load limit of account A-1 holds nothing open")
    (row,) = street.store.read_now(lambda tx: [row for row in tx.audit_rows(0, 100) if row.act == "release_limit"])
    assert row.data["reason"] == REASON["reason"]


async def test_another_limit_waits_for_a_second_person(person: httpx2.AsyncClient, street: Street) -> None:
    body = {**REASON, "limit": {"power_w": 5000, "delay_s": 120}}
    answer = await person.post(PATH, json=body)
    assert answer.status_code == 202
    assert {key: answer.json()[key] for key in ("approval", "act", "state")} == {
        "approval": "id-1",
        "act": "set_limit",
        "state": "asked",
    }
    named = await person.post(PATH, json={**body, "id": "L-7", "limit": None})
    assert (named.status_code, named.json()["approval"]) == (202, "L-7")
    found = street.store.read_now(lambda tx: tx.account("A-1"))
    assert found is not None and found.limit == LIMIT


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (PATH, {**REASON, "limit": {"power_w": 5}}, 409, "limit: delay_s is missing"),
        (PATH, {**REASON, "limit": {"colour": 5}}, 409, "colour: is not a known key"),
        (PATH, {**REASON, "limit": {"policy": "elsewhere"}}, 409, "account A-1: there is no load_policy elsewhere"),
        (PATH, {"limit": None}, 422, "reason"),
        (PATH, REASON, 422, "limit"),
        ("/api/v1/accounts/A-9/limit", {**REASON, "limit": None}, 409, "account A-9 is not known here"),
        ("/api/v1/accounts/A-9/limit/release", REASON, 404, "account A-9 is not known here"),
        ("/api/v1/accounts/A-2/limit/release", REASON, 409, "account A-2 has no load limit"),
        ("/api/v1/meters/m-9/limits/write-again", REASON, 404, "no limits are written into meter m-9"),
    ],
)
async def test_what_cannot_be_is_said(
    person: httpx2.AsyncClient, path: str, body: dict[str, object], status: int, text: str
) -> None:
    answer = await person.post(path, json=body)
    assert (answer.status_code, text in answer.text) == (status, True), answer.text


@pytest.mark.parametrize(("account", "text"), [("A-9", "account A-9 is not known here"), ("A-2", "account A-2 has no load limit")])
async def test_what_is_not_there_is_not_found(person: httpx2.AsyncClient, account: str, text: str) -> None:
    answer = await person.get(f"/api/v1/accounts/{account}/limit")
    assert (answer.status_code, answer.json()["detail"]) == (404, text)


async def test_nobody_acts_without_a_token(person: httpx2.AsyncClient) -> None:
    for path in (f"{PATH}/release", PATH, "/api/v1/meters/m1/limits/write-again"):
        assert (await person.post(path, json=REASON, headers={"authorization": "Bearer of nothing at all"})).status_code == 401
