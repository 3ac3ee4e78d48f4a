"""The bank's interface: what it takes, what it refuses and in which words, and that a receipt never changes (contract.md 3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest
from structlog.testing import capture_logs

from gateway.adapters.http import bank_topups
from gateway.adapters.http.body import MOST_BODY_BYTES
from gateway.domain import ledger
from gateway.domain.nonces import Claim
from gateway.domain.requests import TopUp
from gateway.services.ports import TopUpOutcome, Unavailable
from tests.gateway.adapters.http.street import Street

PAY = {
    "serial": "S-1",
    "account": "A-1",
    "amount": "50.00",
    "currency": "CNY",
    "paid_at": "2026-11-21T11:59:30+08:00",
    "accounting_date": "2026-11-21",
}
PATH = "/bank/v1/topups"


def client_of(street: Street) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(street.bank()), base_url="http://bank")


def balance(street: Street) -> int:
    return street.store.read_now(lambda tx: tx.balance(ledger.customer("A-1"), "CNY"))


def assert_problem(answer: httpx2.Response, status: int, code: str, field: str | None = None) -> dict[str, object]:
    problem: dict[str, object] = answer.json()
    assert (answer.status_code, problem["code"], problem.get("field")) == (status, code, field), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:wattgate:problem:{code}" and problem["status"] == status
    assert isinstance(problem["final"], bool) and problem["detail"]
    assert problem["action"] in ("refund_payer", "repeat_same_serial", "query", "fix_request", "call_us")
    return problem


async def test_first_time_201_then_200_with_the_same_receipt_byte_for_byte(bank: httpx2.AsyncClient, street: Street) -> None:
    first = await bank.post(PATH, json=PAY)
    again = await bank.post(PATH, json={**PAY, "channel": "app", "paid_at": "2026-11-21T12:00:00+08:00"})
    asked = await bank.get(f"{PATH}/S-1")
    assert [first.status_code, again.status_code, asked.status_code] == [201, 200, 200]
    assert first.content == again.content == asked.content
    stored = street.store.read_now(lambda tx: tx.payment(street.topups[0].identity))
    assert stored is not None and stored.receipt is not None and stored.receipt.encode() in first.content
    envelope = first.json()
    assert (envelope["payment"], envelope["delivery"]) == ("posted", "none")
    receipt = envelope["receipt"]
    assert (receipt["bank"], receipt["amount"], receipt["balance_after"], receipt["holder"]) == ("demo", "50.00", "70.00", "张**")
    assert balance(street) == 70_000_000


async def test_two_banks_may_use_the_same_serial(bank: httpx2.AsyncClient, street: Street) -> None:
    for name in ("north", "south"):
        assert (await bank.post(PATH, json=PAY, headers={"x-bank": name})).status_code == 201
    assert balance(street) == 120_000_000
    assert_problem(await bank.get(f"{PATH}/S-1"), 404, "not_found")
    assert (await bank.get(f"{PATH}/S-1", headers={"x-bank": "south"})).json()["receipt"]["bank"] == "south"
    assert_problem(await bank.get(f"{PATH}/S-1?institution=WX", headers={"x-bank": "south"}), 404, "not_found")


@pytest.mark.parametrize(("field", "value"), [("account", "A-2"), ("amount", "50.01"), ("currency", "EUR")])
async def test_other_content_under_a_serial_is_a_conflict(bank: httpx2.AsyncClient, street: Street, field: str, value: str) -> None:
    await bank.post(PATH, json=PAY)
    problem = assert_problem(await bank.post(PATH, json={**PAY, field: value}), 409, "serial_conflict", field)
    assert problem["final"] is True
    assert balance(street) == 70_000_000


@pytest.mark.parametrize(
    ("change", "status", "code", "repaired"),
    [
        ({"account": "nobody"}, 404, "unknown_account", {"account": "A-1"}),
        ({"account": "A-3"}, 422, "account_closed", {"account": "A-1"}),
        ({"currency": "EUR"}, 422, "currency_mismatch", {"currency": "CNY"}),
        ({"amount": "999999999.00"}, 422, "amount_out_of_range", {"amount": "1.00"}),
    ],
)
async def test_a_refusal_on_the_merits_stands_for_ever(
    bank: httpx2.AsyncClient, change: dict[str, str], status: int, code: str, repaired: dict[str, str]
) -> None:
    first = await bank.post(PATH, json={**PAY, **change})
    problem = assert_problem(first, status, code)
    assert (problem["final"], problem["action"]) == (True, "refund_payer")
    repeated = await bank.post(PATH, json={**PAY, **repaired})
    assert (repeated.status_code, repeated.content) == (status, first.content)
    asked = (await bank.get(f"{PATH}/S-1")).json()
    assert (asked["receipt"], asked["payment"], asked["problem"]) == (None, "refused", problem)


TWO_SERIALS = b'{"serial": "S-1", "serial": "S-2"}'


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"[]", 400, "malformed"),
        (b'"text"', 400, "malformed"),
        (b"null", 400, "malformed"),
        (b"\xff\xfe{}", 400, "malformed"),
        (b'{"amount": NaN}', 400, "malformed"),
        (TWO_SERIALS, 400, "malformed"),
        (b'{"nested": {"a": 1, "a": 1}}', 400, "malformed"),
        (b'{"\\ud800": 1}', 400, "malformed"),
        (b"[" * 60_000, 400, "malformed"),
        (b'{"a": ' + b"9" * 5000 + b"}", 400, "malformed"),
        (b" " * (MOST_BODY_BYTES + 1), 413, "too_large"),
    ],
    ids=lambda value: repr(value)[:24],
)
async def test_what_is_not_a_json_object_with_each_key_once(
    bank: httpx2.AsyncClient, street: Street, body: bytes, status: int, code: str
) -> None:
    answer = await bank.post(PATH, content=body, headers={"content-type": "application/json"})
    problem = assert_problem(answer, status, code)
    assert (problem["final"], street.topups) == (False, [])


MISSING = object()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 50.00),
        ("amount", 50),
        ("amount", True),
        ("amount", None),
        ("amount", "0.00"),
        ("amount", "50"),
        ("amount", "50.0"),
        ("amount", "50.000"),
        ("amount", "050.00"),
        ("amount", "-50.00"),
        ("amount", "+50.00"),
        ("amount", " 50.00"),
        ("amount", "50.00\n"),
        ("amount", "5e1.00"),
        ("amount", "٥٠.00"),
        ("amount", "1000000000.00"),
        ("amount", ["50.00"]),
        ("amount", MISSING),
        ("currency", "cny"),
        ("currency", "XXX"),
        ("currency", MISSING),
        ("serial", ""),
        ("serial", "S" * 65),
        ("serial", "S 1"),
        ("serial", "S-1\n"),
        ("serial", 1),
        ("serial", MISSING),
        ("account", "A/1"),
        ("account", "\ud800"),
        ("account", MISSING),
        ("paid_at", "2026-11-21 11:59:30+08:00"),
        ("paid_at", "2026-11-21T11:59:30"),
        ("paid_at", "2026-11-31T11:59:30Z"),
        ("paid_at", "2026-11-21T25:00:00Z"),
        ("paid_at", "0001-01-01T00:00:00+08:00"),
        ("paid_at", 1795233600),
        ("paid_at", MISSING),
        ("accounting_date", "2026-11-19"),
        ("accounting_date", "2026-11-23"),
        ("accounting_date", "2026-13-01"),
        ("accounting_date", "20261121"),
        ("accounting_date", MISSING),
        ("institution", "a b"),
        ("channel", "x" * 65),
        ("Amount", "50.00"),
        ("note", "thanks"),
        ("a\nb", "x"),
    ],
    ids=lambda value: "MISSING" if value is MISSING else ascii(value),
)
async def test_a_wrong_field_is_named(bank: httpx2.AsyncClient, street: Street, field: str, value: object) -> None:
    body = {**PAY, field: value}
    if value is MISSING:
        del body[field]
    answer = await bank.post(PATH, content=json.dumps(body), headers={"content-type": "application/json"})
    problem = assert_problem(answer, 422, "invalid", field)
    assert problem["final"] is False and "\n" not in str(problem["detail"])
    assert (await bank.post(PATH, json=PAY)).status_code == 201, "invalid binds nothing"


@pytest.mark.parametrize("day", ["2026-11-20", "2026-11-21", "2026-11-22"])
async def test_accounting_dates_from_yesterday_to_tomorrow_in_the_banks_zone(bank: httpx2.AsyncClient, day: str) -> None:
    assert (await bank.post(PATH, json={**PAY, "accounting_date": day})).status_code == 201


async def test_a_known_payment_is_answered_whatever_the_day(bank: httpx2.AsyncClient, street: Street) -> None:
    first = await bank.post(PATH, json=PAY)
    street.now_ms += 400 * 86_400_000
    again = await bank.post(PATH, json={**PAY, "accounting_date": "2026-11-19"})
    assert (again.status_code, again.content) == (200, first.content)


async def test_today_is_the_banks_own_day(bank: httpx2.AsyncClient, street: Street) -> None:
    street.now_ms += 13 * 3_600_000  # 17:00 UTC is the next day in Shanghai
    await bank.post(PATH, json=PAY)
    assert street.topups[0].today.isoformat() == "2026-11-22"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "text/plain"}, 415, "media_type"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "media_type"),
        ({"content-type": "application/json; charset=utf-8"}, 201, None),
    ],
)
async def test_media_types(bank: httpx2.AsyncClient, headers: dict[str, str], status: int, code: str | None) -> None:
    answer = await bank.post(PATH, content=json.dumps(PAY), headers=headers)
    assert (answer.status_code, answer.json().get("code")) == (status, code)


async def test_a_body_without_a_length_is_refused(bank: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield json.dumps(PAY).encode()

    assert_problem(await bank.post(PATH, content=chunks(), headers={"content-type": "application/json"}), 411, "length_required")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", PATH, 405, "not_allowed"),
        ("DELETE", f"{PATH}/S-1", 405, "not_allowed"),
        ("BREW", PATH, 405, "not_allowed"),
        ("GET", "/bank/v1/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("POST", f"{PATH}/", 404, "not_found"),
        ("GET", "/bank/v1/topups/a%2Fb/c", 404, "not_found"),
        ("GET", "/bank/v1/accounts/nobody", 404, "unknown_account"),
    ],
)
async def test_unknown_paths_and_methods(bank: httpx2.AsyncClient, method: str, path: str, status: int, code: str) -> None:
    answer = await bank.request(method, path)
    assert_problem(answer, status, code)
    assert (status == 405) == ("allow" in answer.headers)


@pytest.mark.parametrize(
    ("path", "headers", "field"),
    [
        (f"{PATH}/a%20b", {}, "serial"),
        (f"{PATH}/S-1?institution=a%20b", {}, "institution"),
        (f"{PATH}/S-1", {"x-bank": "a/b"}, "x-bank"),
        ("/bank/v1/accounts/a%00b", {}, "account"),
    ],
)
async def test_a_wrong_query_names_its_part(bank: httpx2.AsyncClient, path: str, headers: dict[str, str], field: str) -> None:
    assert_problem(await bank.get(path, headers=headers), 422, "invalid", field)


async def test_unavailable_binds_nothing_and_says_repeat(bank: httpx2.AsyncClient, street: Street) -> None:
    street.broken = Unavailable("the disk is full")
    answer = await bank.post(PATH, json=PAY)
    problem = assert_problem(answer, 503, "unavailable")
    assert (problem["final"], problem["action"], answer.headers["retry-after"]) == (False, "repeat_same_serial", "5")
    street.broken = None
    assert (await bank.post(PATH, json=PAY)).status_code == 201


async def test_an_error_of_ours_leaves_without_a_trace(bank: httpx2.AsyncClient, street: Street) -> None:
    street.broken = RuntimeError("secret detail")
    with capture_logs() as logged:
        answer = await bank.post(PATH, json=PAY)
    assert_problem(answer, 503, "unavailable")
    assert [(entry["event"], entry["path"]) for entry in logged] == [("http_failed", PATH)]
    assert b"secret" not in answer.content and b"Traceback" not in answer.content


async def test_a_slow_posting_is_answered_in_time_and_still_posted(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    free, posted = asyncio.Event(), asyncio.Event()
    quick = street.topup

    async def slow(topup: TopUp, claim: Claim | None) -> TopUpOutcome:
        await free.wait()
        outcome = await quick(topup, claim)
        posted.set()
        return outcome

    monkeypatch.setattr(bank_topups, "ANSWER_WITHIN_S", 0.01)
    monkeypatch.setattr(street, "topup", slow)
    async with client_of(street) as client:
        assert_problem(await client.post(PATH, json=PAY), 503, "unavailable")
        assert_problem(await client.get(f"{PATH}/S-1"), 503, "unavailable")
        free.set()
        await asyncio.wait_for(posted.wait(), 60)
        monkeypatch.undo()
        assert (await client.post(PATH, json=PAY)).status_code == 200


async def test_a_reversed_payment_is_refused_again(
    bank: httpx2.AsyncClient, street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bank.post(PATH, json=PAY)
    honest = street.topup

    async def reversed_now(topup: TopUp, claim: Claim | None) -> TopUpOutcome:
        outcome = await honest(topup, claim)
        return replace(outcome, payment=replace(outcome.payment, status="reversed"))

    monkeypatch.setattr(street, "topup", reversed_now)
    async with client_of(street) as client:
        assert_problem(await client.post(PATH, json=PAY), 409, "reversed")


async def test_what_a_repeat_says_otherwise_is_recorded_and_no_conflict(bank: httpx2.AsyncClient) -> None:
    """Channel, dates and times keep their first value; what came later stands in the log."""
    first = await bank.post(PATH, json={**PAY, "channel": "app"})
    later = {**PAY, "channel": "atm", "accounting_date": "2026-11-22"}
    with capture_logs() as logged:
        assert (await bank.post(PATH, json=later)).content == first.content
        assert (await bank.post(PATH, json={**PAY, "channel": "app"})).content == first.content
    assert [entry for entry in logged if entry["event"] == "bank_repeat_differs"] == [
        {"event": "bank_repeat_differs", "log_level": "info", "bank": "demo", "serial": "S-1", "accounting_date": "2026-11-22",
         "channel": "atm"},
    ]  # fmt: skip


async def test_the_account_as_a_bank_sees_it(bank: httpx2.AsyncClient, street: Street) -> None:
    street.read("bus-1-1", energy_import="100.00", power="1.0000")
    assert (await bank.get("/bank/v1/accounts/A-1")).json() == {
        "account": "A-1",
        "holder": "张**",
        "balance": "20.00",
        "currency": "CNY",
        "supply": "closed",
        "lowest": "0.01",
        "highest": "999979.00",
        "debts": {},
        "accepts_payment": True,
    }
    assert (await bank.get("/bank/v1/accounts/A-3")).json()["accepts_payment"] is False


async def test_the_openapi_document_names_every_call_and_the_form_of_money(bank: httpx2.AsyncClient) -> None:
    document = (await bank.get("/openapi.json")).json()
    calls = {(path, method) for path, methods in document["paths"].items() for method in methods}
    day = "/bank/v1/reconciliations/{accounting_date}"
    assert calls == {
        ("/bank/v1/accounts/{account}", "get"),
        ("/bank/v1/quotes", "post"),
        ("/bank/v1/topups", "post"),
        *((f"/bank/v1/topups/{scope}{{serial}}", "get") for scope in ("", "{accounting_date}/")),
        *((f"/bank/v1/topups/{scope}{{serial}}/reversal", "post") for scope in ("", "{accounting_date}/")),
        ("/bank/v1/refunds", "post"),
        *((day, method) for method in ("get", "post")),
        (f"{day}/statement", "get"),
        (f"{day}/differences/{{id}}/resolution", "post"),
        ("/bank/v1/settlements", "post"),
        ("/bank/v1/keys", "get"),
    }
    topup = document["paths"]["/bank/v1/topups"]["post"]
    form = topup["requestBody"]["content"]["application/json"]["schema"]
    assert form["properties"]["amount"]["type"] == "string" and form["additionalProperties"] is False
    assert {"200", "201", "409", "422", "503", "default"} < set(topup["responses"])
