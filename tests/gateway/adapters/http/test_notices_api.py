"""Notices and findings as they are asked for and confirmed over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.notices_api import NoticesApi
from gateway.bootstrap.notices import notice_cases
from gateway.domain.notices import Answer, Contact, Reach, Verdict
from gateway.services import notify
from gateway.services.ports import Tx
from tests.gateway.adapters.http.street import TOKEN, Street

SMS = Contact("sms", "+8613800138000")
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def person(street: Street) -> AsyncIterator[httpx2.AsyncClient]:
    """A-1 was told by text message, which was refused, and on paper, which nobody has confirmed; A-2 in the log."""

    def tell(tx: Tx) -> None:
        for name, reach in (("A-1", Reach((SMS, Contact("paper")))), ("A-2", Reach())):
            account = tx.account(name)
            assert account is not None
            tx.save_account(replace(account, reach=reach))
            notify.tell(tx, replace(account, reach=reach), "low", {"balance": "1.00", "currency": "CNY"}, street.now_ms)
        notify.settle(tx, 1, Verdict(Answer.REFUSED, "the provider refuses it: 404"), street.now_ms + 500)

    street.store.write_now(tell)
    app = new_application("operator", "0.1.0")
    auth = OperatorAuth(TOKEN, open_get=True)
    app.include_router(NoticesApi(notice_cases(street.store.write, street.clock), street.store.read, auth, street.clock).router())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://op") as client:
        yield client


async def test_the_list_shows_what_was_told_and_no_address(person: httpx2.AsyncClient) -> None:
    answer = await person.get("/api/v1/notices")
    assert [(n["number"], n["account"], n["channel"], n["state"], n["next"]) for n in answer.json()] == [
        (3, "A-2", "log", "accepted", None),
        (2, "A-1", "paper", "queued", None),
        (1, "A-1", "sms", "failed", None),
    ]
    assert answer.json()[2]["to"] == "+861******8000" and SMS.to not in answer.text
    for query, numbers in (("account=A-1", [2, 1]), ("state=failed", [1]), ("limit=1", [3]), ("since=2030-01-01T00:00:00Z", [])):
        assert [n["number"] for n in (await person.get(f"/api/v1/notices?{query}")).json()] == numbers


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "limit=1001", "account=a%20b", "since=yesterday"])
async def test_a_question_that_is_wrong(person: httpx2.AsyncClient, query: str) -> None:
    assert (await person.get(f"/api/v1/notices?{query}")).status_code == 422


async def test_the_list_of_the_day_and_the_finding(person: httpx2.AsyncClient) -> None:
    failures = (await person.get("/api/v1/notices/failed")).json()
    assert [n["detail"] for n in failures["failed"]] == ["the provider refuses it: 404"]
    assert failures["bad_contacts"] == [{"account": "A-1", "channel": "sms", "to": "+861******8000"}]
    [finding] = (await person.get("/api/v1/findings")).json()
    assert (finding["kind"], finding["subject"]) == ("notices_failing", "A-1")
    assert finding["text"] == "notice 1 (low) by sms reached nobody: the provider refuses it: 404"


async def test_a_person_confirms_what_was_delivered_by_hand(person: httpx2.AsyncClient, street: Street) -> None:
    confirmed = await person.post("/api/v1/notices/2/confirm", json={"note": "to the tenant"}, headers=BEARER)
    assert (confirmed.status_code, confirmed.json()["state"]) == (200, "accepted")
    assert confirmed.json()["detail"].endswith(": to the tenant") and "operator" in confirmed.json()["detail"]
    assert (await person.get("/api/v1/findings")).json() == []
    audit = street.store.read_now(lambda tx: tx.audit_rows(0, 10))
    assert [(row.act, row.subject) for row in audit] == [("confirm_notice", "2")]


async def test_a_step_is_confirmed_whatever_became_of_its_notices(person: httpx2.AsyncClient) -> None:
    path, body = "/api/v1/accounts/A-1/notices/confirm", {"step": "low", "channel": "call"}
    confirmed = await person.post(path, json=body, headers=BEARER)
    assert (confirmed.status_code, confirmed.json()["number"], confirmed.json()["channel"]) == (200, 4, "call")


async def test_a_provider_reports_later(person: httpx2.AsyncClient, street: Street) -> None:
    for delivered, state in ((True, "delivered"), (False, "failed")):
        answer = await person.post("/api/v1/notices/1/delivery", json={"delivered": delivered, "detail": "DLR"}, headers=BEARER)
        assert answer.json()["state"] == state
    assert [row.act for row in street.store.read_now(lambda tx: tx.audit_rows(0, 10))] == ["report_notice"] * 2


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("notices/1/confirm", {}, 409, "refused"),
        ("notices/99/confirm", {}, 404, "not_found"),
        ("notices/0/confirm", {}, 422, "invalid"),
        ("notices/99999999999999999999/confirm", {}, 422, "invalid"),
        ("notices/2/confirm", {"by": "me"}, 422, "invalid"),
        ("notices/1/delivery", {"delivered": "yes"}, 422, "invalid"),
        ("accounts/A-9/notices/confirm", {"step": "low", "channel": "call"}, 404, "not_found"),
        ("accounts/A-1/notices/confirm", {"step": "low", "channel": "sms"}, 409, "refused"),
        ("accounts/A-1/notices/confirm", {"step": "low"}, 422, "invalid"),
    ],
)
async def test_what_cannot_be_confirmed(
    person: httpx2.AsyncClient, path: str, body: dict[str, object], status: int, code: str
) -> None:
    answer = await person.post(f"/api/v1/{path}", json=body, headers=BEARER)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_confirming_needs_an_identity(person: httpx2.AsyncClient) -> None:
    assert (await person.post("/api/v1/notices/2/confirm", json={})).status_code == 401


async def test_metrics_count_notices_and_findings(person: httpx2.AsyncClient, operator: httpx2.AsyncClient) -> None:
    text = (await operator.get("/metrics")).text
    assert 'wattgate_notices{channel="sms",state="failed"} 1.0' in text
    assert 'wattgate_notices{channel="paper",state="queued"} 1.0' in text
    assert 'wattgate_findings{kind="notices_failing"} 1.0' in text
