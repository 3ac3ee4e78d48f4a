"""How complete the collection is, told by the API and the metrics; more of the past on a person's wish."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.completeness import CompletenessApi
from gateway.adapters.http.guard import new_application
from gateway.domain.jobs import Want
from gateway.domain.schemes import Tally
from gateway.services.ports import Tx
from tests.gateway.adapters.http.street import NOON_MS, TOKEN, Street

HEADERS = {"authorization": f"Bearer {TOKEN}"}


class Wishes:
    """What was wished for; refuses what its text says."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Want, int, int]] = []
        self.refusal: Exception | None = None

    async def __call__(self, meter: str, want: Want, from_ms: int, to_ms: int) -> int:
        self.heard.append((meter, want, from_ms, to_ms))
        if self.refusal:
            raise self.refusal
        return 7


@pytest.fixture
def wishes() -> Wishes:
    return Wishes()


@pytest.fixture
async def client(street: Street, wishes: Wishes) -> AsyncIterator[httpx2.AsyncClient]:
    api = CompletenessApi(street.store.read, wishes, OperatorAuth(TOKEN, open_get=False), "Asia/Shanghai", lambda: NOON_MS)
    app = new_application("wattgate", "0.1.0")
    app.include_router(api.router())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://operator", headers=HEADERS) as client:
        yield client


def counted(tx: Tx) -> None:
    tx.add_tally("2026-11-21", "curve", "bus-1", Tally(192, 190, 180, 1))
    tx.add_tally("2026-11-21", "day", "bus-1", Tally(2, 2, 2))
    tx.add_tally("2026-11-20", "day", "bus-1", Tally(3, 1))


async def test_a_day_by_scheme_and_line(client: httpx2.AsyncClient, street: Street) -> None:
    street.store.write_now(counted)
    today = (await client.get("/api/v1/completeness")).json()
    assert [(row["scheme"], row["complete"]) for row in today] == [("curve", "98.95"), ("day", "100.00")]
    assert today[0] == {
        "day": "2026-11-21", "scheme": "curve", "line": "bus-1",
        "expected": 192, "read": 190, "in_time": 180, "unavailable": 1, "complete": "98.95",
    }  # fmt: skip
    both = (await client.get("/api/v1/completeness", params={"day": "2026-11-20", "until": "2026-11-21"})).json()
    assert [row["day"] for row in both] == ["2026-11-20", "2026-11-21", "2026-11-21"]
    assert (await client.get("/api/v1/completeness", params={"day": "2026-01-01"})).json() == []


async def test_too_many_days_and_strangers_are_refused(client: httpx2.AsyncClient) -> None:
    wide = await client.get("/api/v1/completeness", params={"day": "2026-01-01", "until": "2026-11-21"})
    assert wide.status_code == 422 and "more than 92 days" in wide.text
    assert (await client.get("/api/v1/completeness", headers={"authorization": "Bearer x"})).status_code == 401


async def test_pain_24_older_values_are_fetched_on_a_wish(client: httpx2.AsyncClient, wishes: Wishes) -> None:
    wish = {"want": "day", "since": "2026-11-01T00:00:00+08:00", "until": "2026-11-02T00:00:00+08:00"}
    answer = await client.post("/api/v1/meters/bus-1-1/history", json=wish)
    assert (answer.status_code, answer.json()) == (202, {"meter": "bus-1-1", "want": "day", "waiting": 7})
    assert wishes.heard == [("bus-1-1", Want.DAY, 1_793_462_400_000, 1_793_548_800_000)]


@pytest.mark.parametrize(("refusal", "status"), [(LookupError("no scheme collects it"), 404), (ValueError("too much"), 422)])
async def test_a_wish_that_cannot_be_met(client: httpx2.AsyncClient, wishes: Wishes, refusal: Exception, status: int) -> None:
    wishes.refusal = refusal
    wish = {"want": "day", "since": "2026-11-01T00:00:00+08:00", "until": "2026-11-02T00:00:00+08:00"}
    answer = await client.post("/api/v1/meters/m/history", json=wish)
    assert answer.status_code == status and str(refusal) in answer.text


@pytest.mark.parametrize("wish", [{}, {"want": "events", "since": "2026-11-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"},
                                  {"want": "day", "since": "yesterday", "until": "2026-11-01T00:00:00Z"}])  # fmt: skip
async def test_a_wish_that_says_nothing_is_refused(client: httpx2.AsyncClient, wishes: Wishes, wish: dict[str, str]) -> None:
    assert (await client.post("/api/v1/meters/m/history", json=wish)).status_code == 422
    assert wishes.heard == []


async def test_the_metrics_show_the_two_newest_days(operator: httpx2.AsyncClient, street: Street) -> None:
    street.store.write_now(counted)
    told = (await operator.get("/metrics", headers=HEADERS)).text
    assert 'wattgate_completeness_ratio{day="newest",line="bus-1",scheme="day"} 1.0' in told
    assert 'wattgate_completeness_ratio{day="before",line="bus-1",scheme="day"} 0.3333' in told
    assert 'wattgate_slots{day="newest",line="bus-1",scheme="curve",state="unavailable"} 1.0' in told
