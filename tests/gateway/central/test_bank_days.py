"""A bank's day at the centre: its file against what was paid here, the difference book, and a day that is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.central import day_books, schema
from gateway.central.store import CentralStore
from gateway.domain.day_file import HEADER
from tests.gateway.adapters.http.paying import SignedBank
from tests.gateway.adapters.http.test_bank import assert_problem
from tests.gateway.central.bank_ends import NOW_MS, Front
from tests.gateway.central.conftest import rows
from tests.gateway.central.test_bank_signed import BANKS, IDENTITY, Signing

DAY = "/bank/v1/reconciliations/2026-11-21"
AT = "2026-11-21T04:00:00+00:00"


def file(*lines: str, trailer: str = "") -> bytes:
    count, cents = 0, 0
    for line in lines:
        fields = line.split(",")
        count, cents = count + 1, cents + int(fields[2].replace(".", "")) * (1 if fields[4] == "topup" else -1)
    end = trailer or f"#{count},{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
    return "\n".join((HEADER, *lines, end, "")).encode()


class Desk(Signing):
    """A bank that also agrees its days."""

    async def upload(self, body: bytes, query: str = "") -> httpx2.Response:
        headers = SignedBank.sign(self, "POST", DAY + query, body) | {"content-type": "text/csv"}
        return await self.http.post(DAY + query, content=body, headers=headers)

    async def close(self) -> httpx2.Response:
        return await self.send("POST", f"{DAY}?close=true")


@pytest.fixture
async def front(store: CentralStore, tmp_path: Path) -> AsyncIterator[Front]:
    made = Front(store, tmp_path, BANKS, IDENTITY)
    yield made
    await made.client.aclose()


@pytest.fixture
def north(front: Front) -> Desk:
    return Desk(front, front.client)  # type: ignore[arg-type]


async def paid(front: Front, north: Desk) -> None:
    """Three payments, of which the first was reversed; one refusal."""
    for serial, account, amount in (
        ("S-1", "A-1", "50.00"),
        ("S-2", "A-2", "7.50"),
        ("S-3", "A-1", "1.00"),
        ("S-4", "A-9", "2.00"),
    ):
        await north.pay(serial=serial, account=account, amount=amount)
    front.gateway_says(1, "refused", "closed")
    await north.undo("S-1")


async def test_our_own_statement_matches_and_closes_the_day(front: Front, north: Desk) -> None:
    await paid(front, north)
    ours = await north.ask(f"{DAY}/statement")
    assert "content-digest" in ours.headers and ours.text.splitlines()[-1] == "#4,8.50"
    answer = await north.upload(ours.content)
    book = answer.json()
    assert (answer.status_code, book["matched"], book["net_sum"], book["open"], book["closed"]) == (200, 4, "8.50", 0, False)
    closed = (await north.close()).json()
    assert (closed["closed"], closed["version"]) == (True, 1) and (await north.close()).status_code == 200
    assert_problem(await north.upload(ours.content), 409, "day_closed")
    late = await north.pay(serial="S-9")
    assert_problem(late, 409, "day_closed")
    assert (await north.pay(serial="S-9", accounting_date="2026-11-22")).content == late.content, "bound to its serial"
    assert_problem(await north.undo("S-3", amount="1.00"), 409, "day_closed")
    assert (await north.undo("S-1")).json()["payment"] == "reversed", "what was decided is answered as ever"
    assert (await north.pay(serial="S-3", account="A-1", amount="1.00")).status_code == 200
    assert [act for _, act in front.acts()][-2:] == ["day_closed", "topup_refused"]


async def test_every_kind_of_difference_is_named(front: Front, north: Desk) -> None:
    await paid(front, north)
    await north.pay(serial="S-5", amount="4.00", accounting_date="2026-11-22")
    await north.pay(serial="S-6", amount="3.00")
    await north.pay(serial="S-7", amount="6.00")
    lines = (
        f"S-1,A-1,50.00,CNY,topup,,{AT},,",  # reversed here, and not there
        f"S-2,A-2,7.00,CNY,topup,,{AT},,",
        f"S-3,A-2,1.00,CNY,topup,,{AT},,",
        f"S-4,A-9,2.00,CNY,topup,,{AT},,",
        f"S-5,A-1,4.00,CNY,topup,,{AT},,",
        f"S-6,A-1,3.00,CNY,topup,,{AT},,",
        f"S-6,A-1,3.00,CNY,topup,,{AT},,",
        f"R-6,A-1,3.00,CNY,reversal,S-6,{AT},,",
        "S-8,A-1,9.00,CNY,topup,,never,,",
    )
    book = (await north.upload(file(*lines, trailer="#9,1.00"))).json()
    assert book["kinds"] == {
        "account": 1, "amount": 1, "bad_line": 1, "duplicate_in_file": 1, "missing_at_bank": 1, "missing_here": 1, "other_day": 1,
        "reversed_on_one_side": 2, "totals": 1,
    }  # fmt: skip
    assert (book["open"], book["matched"], book["net_sum"]) == (10, 2, "53.00")
    refused = assert_problem(await north.close(), 409, "differences_open")
    assert isinstance(refused["reconciliation"], dict) and refused["reconciliation"]["open"] == 10
    found = (await north.ask(f"{DAY}?after=2&limit=3")).json()
    assert [each["id"] for each in found["differences"]] == [3, 4, 5] and found["version"] == 1
    moved = next(each for each in book["differences"] if each["kind"] == "other_day")
    assert (moved["accounting_date_here"], moved["actions"]) == ("2026-11-22", ["ignore"])


async def test_a_day_closes_on_what_was_compared(front: Front, north: Desk) -> None:
    assert_problem(await north.close(), 404, "not_found")
    assert_problem(await north.ask(DAY), 404, "not_found")
    await north.pay()
    ours = (await north.ask(f"{DAY}/statement")).content
    assert (await north.upload(ours)).json()["open"] == 0
    await north.pay(serial="S-2", account="A-2", amount="7.50")
    changed = assert_problem(await north.close(), 409, "differences_open")
    assert "upload it again" in str(changed["detail"])
    await north.undo()
    ours = (await north.ask(f"{DAY}/statement")).content
    waits = assert_problem(await north.upload(ours, "?close=true"), 409, "differences_open")
    assert "waits for its gateway" in str(waits["detail"])
    front.gateway_says(1, "done")
    assert (await north.upload(ours, "?close=true")).json()["closed"] is True
    assert [row["version"] for row in rows(front.store, schema.day_book)] == [1, 2, 3]


async def test_a_file_that_is_none(front: Front, north: Desk) -> None:
    book = (await north.upload(b"serial\n")).json()
    assert (book["state"], book["note"][:19]) == ("failed", "the first line must")
    assert_problem(await north.close(), 409, "differences_open")
    headers = north.sign("POST", DAY, b"{}")
    assert_problem(await front.client.post(DAY, content=b"{}", headers=headers), 415, "media_type")
    headers["content-type"] = "text/csv"
    assert_problem(await front.client.post(DAY, content=b"[]", headers=headers), 401, "bad_signature")


async def test_a_long_file_is_a_job(front: Front, north: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.central.bank_days.AT_ONCE", 3)
    await paid(front, north)
    ours = (await north.ask(f"{DAY}/statement")).content
    answer = await north.upload(ours)
    job: dict[str, Any] = answer.json()
    assert (answer.status_code, job["differences"]) == (202, [])
    for _ in range(200):
        job = (await north.ask(job["poll"])).json()
        if job["state"] != "running":
            break
    assert (job["state"], job["matched"]) == ("done", 4)


async def test_a_job_whose_instance_died_is_failed_in_time(front: Front, north: Desk) -> None:
    front.store.write(lambda c: day_books.begin(c, "north", "2026-11-21", "00", NOW_MS))
    assert (await north.ask(DAY)).json()["state"] == "running"
    front.now_ms += day_books.JOB_MS + 1
    book = (await north.ask(DAY)).json()
    assert (book["state"], book["note"]) == ("failed", "its comparison was cut short: upload the file again")
