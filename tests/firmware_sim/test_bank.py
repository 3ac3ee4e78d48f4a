"""A bank that repeats one serial until it knows, and books only what it was told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random

import httpx2
import pytest

from firmware_sim.bank import MAX_QUERIES, MAX_TRIES, Bank

POSTED = {"receipt": {"receipt_no": "R1"}, "payment": "posted", "delivery": "none"}


class Gateway:
    """Answers by script: (status, body), or an exception; the last entry repeats."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append((request.method, request.url.path, json.loads(request.content or b"{}")))
        entry = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(entry, Exception):
            raise entry
        status, body = entry
        return httpx2.Response(status, json=body)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def bank(self) -> Bank:
        clock = lambda: datetime(2026, 11, 21, 17, 30, tzinfo=UTC)  # noqa: E731
        return Bank("http://gateway", clock, Random(1), transport=httpx2.MockTransport(self), sleep=self.sleep)


async def test_a_payment_is_sent_once_and_booked():
    gateway = Gateway((201, POSTED))
    bank = gateway.bank()
    result = await bank.topup("acc-1", "50.00", "S1")
    assert (result["outcome"], result["status"], result["tries"], result["queries"]) == ("posted", 201, 1, 0)
    ((method, path, body),) = gateway.requests
    assert (method, path) == ("POST", "/bank/v1/topups")
    assert body == {
        "serial": "S1", "account": "acc-1", "amount": "50.00", "currency": "CNY",
        "paid_at": "2026-11-21T17:30:00Z", "accounting_date": "2026-11-22",
    }  # fmt: skip
    assert bank.book["S1"].amount == "50.00" and bank.book["S1"].receipt_no == "R1"


@pytest.mark.parametrize(
    "trouble", [httpx2.ReadTimeout("slow"), httpx2.ConnectError("gone"), (503, {"code": "unavailable"}), (429, {})]
)
async def test_trouble_is_answered_with_the_same_payment_again(trouble):
    gateway = Gateway(trouble, trouble, (200, POSTED))
    result = await gateway.bank().topup("acc-1", "50.00")
    assert (result["outcome"], result["tries"]) == ("posted", 3)
    assert gateway.requests[0] == gateway.requests[1] == gateway.requests[2]
    assert len(gateway.slept) == 2 and gateway.slept[0] < gateway.slept[1]


async def test_what_stays_dark_is_queried_and_stays_unknown():
    gateway = Gateway(httpx2.ReadTimeout("slow"))
    bank = gateway.bank()
    result = await bank.topup("acc-1", "50.00")
    assert (result["outcome"], result["status"], result["tries"], result["queries"]) == ("unknown", 0, MAX_TRIES, MAX_QUERIES)
    assert bank.book == {} and gateway.requests[-1][:2] == ("GET", f"/bank/v1/topups/{result['serial']}")


async def test_a_query_finds_what_the_answers_did_not_tell():
    gateway = Gateway(*[httpx2.ReadTimeout("slow")] * MAX_TRIES, (200, POSTED))
    bank = gateway.bank()
    result = await bank.topup("acc-1", "50.00")
    assert result["outcome"] == "posted" and result["serial"] in bank.book


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((404, {"code": "unknown_account", "final": True}), "refused"),
        ((409, {"code": "serial_conflict"}), "refused"),
        ((422, {"code": "amount_out_of_range"}), "refused"),
        ((200, {"receipt": {"receipt_no": "R"}, "payment": "reversed"}), "reversed"),
        ((200, {"nonsense": 1}), "unknown"),
    ],
)
async def test_other_answers_book_nothing(answer, outcome):
    bank = Gateway(answer).bank()
    assert (await bank.topup("acc-1", "50.00"))["outcome"] == outcome
    assert bank.book == {}


async def test_serials_differ_and_come_from_the_seed():
    first, second = Gateway((201, POSTED)).bank(), Gateway((201, POSTED)).bank()
    serials = [(await bank.topup("a", "1.00"))["serial"] for bank in (first, first, second)]
    assert serials[0] != serials[1] and serials[0] == serials[2]
