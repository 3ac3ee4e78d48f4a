"""GET .../statement: as JSON, as files, of these days; and what is refused."""

from __future__ import annotations

import csv
import io

import httpx2
import pytest

from gateway.bootstrap.statements import stating
from tests.gateway.adapters.http.street import SITE, TOKEN, Street

PATH = "/api/v1/accounts/A-1/statement"


@pytest.fixture
def used(street: Street) -> Street:
    """A-1 opened with 20.00 and used 1.01 kWh at 0.617 on 21 November 2026."""
    for kwh in ("100.00", "100.00", "101.01", "101.01"):
        street.now_ms += 60_000
        street.read("bus-1-1", energy_import=kwh)
    return street


@pytest.mark.usefixtures("used")
async def test_this_month_as_json(operator: httpx2.AsyncClient) -> None:
    answer = await operator.get(PATH)
    found = answer.json()
    assert (found["account"], found["holder"], found["from_day"], found["to_day"]) == ("A-1", "张小明", "2026-11-01", "2026-11-30")
    [balance] = found["sections"]
    assert [(line["day"], line["component"], line["amount"], line["shown"]) for line in balance["lines"]] == [
        ("2026-11-21", "opening", "20.000000", "20.00"),
        ("2026-11-21", "energy", "-0.623170", "-0.63"),
    ]
    energy = balance["lines"][1]["energy"]
    assert (energy["kwh"], energy["price"], energy["first_kwh"], energy["last_kwh"]) == ("1.01", "0.617", "100.00", "101.01")
    assert (balance["closing"]["shown"], balance["carried"]) == ("19.37", "0.00")
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/json", "no-store")
    assert "content-disposition" not in answer.headers


@pytest.mark.usefixtures("used")
async def test_other_days_and_files(operator: httpx2.AsyncClient) -> None:
    before = (await operator.get(f"{PATH}?from=2026-10-01&to=2026-10-31")).json()["sections"][0]
    assert (before["lines"], before["closing"]["amount"]) == ([], "0.000000")
    answer = await operator.get(f"{PATH}?from=2026-11-21&to=2030-01-01&format=csv")
    assert answer.status_code == 422  # over 400 days
    answer = await operator.get(f"{PATH}?from=2026-11-21&to=2027-01-01&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="statement-A-1-2026-11-21-2027-01-01.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    assert [row["amount"] for row in rows if row["record"] == "line"] == ["20.000000", "-0.623170"]
    answer = await operator.get(f"{PATH}?from=2026-11-21&format=pdf")
    assert answer.headers["content-type"] == "application/pdf" and answer.content.startswith(b"%PDF-")
    assert 'filename="statement-A-1-2026-11-21-2026-11-30.pdf"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("path", "status", "code", "sentence"),
    [
        ("/api/v1/accounts/nobody/statement", 404, "not_found", "account nobody is not known here"),
        (f"{PATH}?from=2026-11-02&to=2026-11-01", 422, "invalid", "the first day 2026-11-02 comes after the last day 2026-11-01"),
        (f"{PATH}?from=2024-01-01&to=2026-01-01", 422, "invalid", "a statement is of at most 400 days, not 732: ask for fewer"),
        (f"{PATH}?from=2026-02-30", 422, "invalid", "from is a day like 2026-10-31, and 2026-02-30 is none"),
        (f"{PATH}?to=yesterday", 422, "invalid", "to: String should match pattern"),
        (f"{PATH}?from=0001-01-01&to=0001-01-02", 422, "invalid", "between the years 1970 and 9000"),
        (f"{PATH}?from=9999-12-01", 422, "invalid", "between the years 1970 and 9000"),
        (f"{PATH}?format=xls", 422, "invalid", "format: Input should be 'json', 'csv' or 'pdf'"),
    ],
)
async def test_refusals_are_one_sentence(operator: httpx2.AsyncClient, path: str, status: int, code: str, sentence: str) -> None:
    answer = await operator.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code) and sentence in answer.json()["detail"]


async def test_it_needs_the_token_like_every_read(street: Street) -> None:
    street.open_get = False
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.operator()), base_url="http://operator") as client:
        assert (await client.get(PATH)).status_code == 401
        assert (await client.get(PATH, headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200


async def test_openapi_tells_of_all_formats(operator: httpx2.AsyncClient) -> None:
    document = (await operator.get("/openapi.json")).json()
    told = document["paths"]["/api/v1/accounts/{account}/statement"]["get"]
    assert {each["name"] for each in told["parameters"]} == {"account", "from", "to", "format"}
    content = told["responses"]["200"]["content"]
    assert content.keys() == {"application/json", "text/csv", "application/pdf"}
    assert content["application/json"]["schema"]["$ref"].endswith("/StatementView")


async def test_it_states_what_the_store_holds(used: Street) -> None:
    found = await stating(used.store.read, SITE.gateway, SITE.zone, used.clock)("A-1", None, None)
    assert (found.gateway, found.balance.closing_micro) == ("gw-1", 19_376_830)
