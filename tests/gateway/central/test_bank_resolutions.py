"""Differences of a bank's day at the centre: two people book, reverse or leave them, once, and only then the day closes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.central import schema
from gateway.central.ingest import save
from gateway.central.store import CentralStore
from gateway.domain.bank_terms import Limits
from gateway.domain.units import MICRO
from protocols.uplink.topics import Up
from tests.gateway.adapters.http.paying import KEY, NEXT, known_key
from tests.gateway.adapters.http.test_bank import assert_problem
from tests.gateway.central.arriving import arrival
from tests.gateway.central.bank_ends import Front
from tests.gateway.central.conftest import count, rows
from tests.gateway.central.test_bank_days import AT, DAY, Desk, file
from tests.gateway.central.test_bank_signed import BANKS, IDENTITY, NORTH, TERMS


class Two(Desk):
    """Two people of one bank, each with a key."""

    async def says(self, number: int, action: str, kid: str = "north-1") -> httpx2.Response:
        self.kid, self.key = (kid, KEY if kid == "north-1" else NEXT)
        body = json.dumps({"action": action, "reason": "looked at"}).encode()
        answer = await self.send("POST", f"{DAY}/differences/{number}/resolution", body)
        self.kid, self.key = "north-1", KEY
        return answer

    async def both_say(self, number: int, action: str) -> httpx2.Response:
        first = await self.says(number, action)
        assert first.status_code == 202, first.text
        return await self.says(number, action, "north-2")

    async def found(self, *lines: str) -> list[dict[str, Any]]:
        answer = await self.upload(file(*lines))
        differences: list[dict[str, Any]] = answer.json()["differences"]
        return differences


@pytest.fixture
async def front(store: CentralStore, tmp_path: Path) -> AsyncIterator[Front]:
    made = Front(store, tmp_path, replace(BANKS, keys={**known_key("north-1", KEY), **known_key("north-2", NEXT)}), IDENTITY)
    yield made
    await made.client.aclose()


@pytest.fixture
def north(front: Front) -> Two:
    return Two(front, front.client)  # type: ignore[arg-type]


async def test_what_we_missed_is_booked_by_two_and_goes_to_its_gateway(front: Front, north: Two) -> None:
    limited = replace(NORTH, terms=replace(TERMS, limits=Limits(day_micro=MICRO)))
    front.banks = replace(front.banks, banks={"north": limited})
    [missing] = await north.found(f"S-1,A-1,50.00,CNY,topup,,{AT},app,")
    assert (missing["kind"], missing["state"], missing["actions"]) == ("missing_here", "open", ["book", "ignore"])
    assert "about" not in missing
    for _ in range(2):
        asked = await north.says(1, "book")
        assert (asked.status_code, asked.json()["state"]) == (202, "asked")
    assert count(front.store, schema.order) == 0
    done = await north.says(1, "book", "north-2")
    told = done.json()["resolution"]
    assert (done.status_code, done.json()["state"], told["asked_by"], told["decided_by"]) == (
        200, "resolved", "bank:north/north-1", "bank:north/north-2",
    )  # fmt: skip
    assert "is booked to account A-1" in told["told"] and told["reason"] == "looked at"
    assert (await north.says(1, "book")).json() == done.json()
    assert_problem(await north.says(1, "ignore"), 409, "serial_conflict", "action")
    assert (count(front.store, schema.order), (await north.ask("/bank/v1/topups/S-1")).json()["delivery"]) == (1, "queued")
    assert "upload it again" in str(assert_problem(await north.close(), 409, "differences_open")["detail"])
    assert await north.found(f"S-1,A-1,50.00,CNY,topup,,{AT},app,") == []
    assert (await north.close()).json()["closed"]
    acts = [act for _, act in front.acts()]
    assert acts == ["difference_asked", "topup_posted", "difference_resolved", "day_closed"]


async def test_what_was_refused_or_buried_is_booked_beside_it(front: Front, north: Two) -> None:
    await north.undo("S-1")
    lines = (f"S-1,A-1,50.00,CNY,topup,,{AT},,", f"S-2,A-9,2.00,CNY,topup,,{AT},,")
    await north.pay(serial="S-2", account="A-9", amount="2.00")
    assert [each["kind"] for each in await north.found(*lines)] == ["reversed_on_one_side", "missing_here"]
    assert (await north.both_say(1, "book")).status_code == 200
    refused = await north.says(2, "book")
    assert refused.status_code == 202
    assert "A-9 is not known" in str(assert_problem(await north.says(2, "book", "north-2"), 409, "refused")["detail"])
    assert (await north.both_say(2, "ignore")).status_code == 200
    book = (await north.upload(file(*lines))).json()
    assert (book["matched"], book["open"], [each["state"] for each in book["differences"]]) == (1, 0, ["resolved"])
    assert (await north.close()).json()["closed"]
    [scope] = [str(row["scope"]) for row in rows(front.store, schema.payment) if row["status"] == "posted"]
    assert scope.startswith("book-")


async def test_only_what_its_gateway_refused_is_reversed_here(front: Front, north: Two) -> None:
    await north.pay()
    [alone] = await north.found()
    assert (alone["kind"], alone["actions"]) == ("missing_at_bank", ["ignore", "reverse"])
    assert (await north.says(1, "reverse")).status_code == 202
    waits = assert_problem(await north.says(1, "reverse", "north-2"), 503, "unavailable")
    assert "G1 has not said yet" in str(waits["detail"])
    front.gateway_says(1, "refused", "account A-1 is closed")
    assert (await north.says(1, "reverse", "north-2")).status_code == 200
    paid = (await north.ask("/bank/v1/topups/S-1")).json()
    assert (paid["payment"], paid["delivery"], paid["reversal"]["reason"]) == ("reversed", "none", "looked at")
    assert (await north.ask(f"{DAY}/statement")).text.splitlines()[1:] == ["#0,0.00"], "no file of a bank has them"
    assert (await north.upload(file(), "?close=true")).json()["closed"]


async def test_what_a_gateway_credited_is_reversed_there_first(front: Front, north: Two) -> None:
    await north.pay()
    front.gateway_says(1, "done")
    back = f"R-1,A-1,50.00,CNY,reversal,S-1,{AT},,"
    lines = (f"S-1,A-1,50.00,CNY,topup,,{AT},,", back)
    [one] = await north.found(*lines)
    assert (one["kind"], one["actions"]) == ("reversed_on_one_side", ["ignore", "reverse"])
    await north.says(1, "reverse")
    problem = assert_problem(await north.says(1, "reverse", "north-2"), 409, "delivered")
    assert "it is reversed there" in str(problem["detail"])
    data = {"bank": "north", "serial": "S-1", "reversal": "R-1", "accounting_date": "2026-11-21", "reason": "no answer"}
    save(front.store, [arrival(2, Up.EVENT, kind_="topup_reversed", data=data)])
    assert (await north.says(1, "reverse", "north-2")).status_code == 200
    assert await north.found(*lines) == [] and (await north.close()).json()["closed"]


async def test_a_payment_that_came_before_the_second_word_is_not_booked_again(front: Front, north: Two) -> None:
    line = f"S-1,A-1,50.00,CNY,topup,,{AT},app,"
    await north.found(line)
    assert (await north.says(1, "book")).status_code == 202
    await north.pay(serial="S-1", account="A-1", amount="50.00")
    problem = assert_problem(await north.says(1, "book", "north-2"), 409, "refused")
    assert problem["detail"] == "serial S-1 does not stand here as it was compared: upload the file again, or ignore it"
    assert len(rows(front.store, schema.payment)) == 1
    assert await north.found(line) == [] and (await north.close()).json()["closed"]


async def test_a_line_with_two_faults_is_booked_once(front: Front, north: Two) -> None:
    await north.pay()
    front.gateway_says(1, "refused", "no such account")
    theirs = f"S-1,A-2,60.00,CNY,topup,,{AT},,"
    assert [each["kind"] for each in await north.found(theirs)] == ["account", "amount"]
    assert (await north.both_say(1, "book")).status_code == 200
    await north.says(2, "book")
    assert_problem(await north.says(2, "book", "north-2"), 409, "refused")
    assert [row["amount_micro"] for row in rows(front.store, schema.payment) if row["status"] == "posted"] == [60_000_000]
    assert await north.found(theirs) == []


async def test_another_amount_is_booked_as_the_bank_has_it(front: Front, north: Two) -> None:
    await north.pay()
    front.gateway_says(1, "refused", "no such account")
    theirs = f"S-1,A-1,60.00,CNY,topup,,{AT},,"
    [other] = await north.found(theirs)
    assert (other["kind"], other["actions"]) == ("amount", ["book", "ignore", "reverse"])
    done = await north.both_say(1, "book")
    assert done.json()["resolution"]["told"] == "serial S-1 is reversed; serial S-1 is booked to account A-1"
    assert await north.found(theirs) == [] and (await north.close()).json()["closed"]


async def test_what_cannot_be_asked(front: Front, north: Two) -> None:
    assert_problem(await north.says(1, "ignore"), 404, "not_found")
    await north.pay()
    assert (await north.found(f"S-1,A-1,50.00,CNY,topup,,{AT},,")) == []
    assert_problem(await north.says(1, "ignore"), 404, "not_found")
    await north.found(f"S-1,A-1,50.00,CNY,topup,,{AT},,", f"S-1,A-1,50.00,CNY,topup,,{AT},,")
    assert_problem(await north.says(1, "book"), 422, "invalid", "action")
    assert_problem(await north.says(1, "burn"), 422, "invalid", "action")
    await north.upload(file(f"S-1,A-1,50.00,CNY,topup,,{AT},,"), "?close=true")
    assert_problem(await north.says(1, "ignore"), 404, "not_found")


async def test_another_action_is_asked_anew(front: Front, north: Two) -> None:
    await north.found(f"S-1,A-1,50.00,CNY,topup,,{AT},,")
    assert (await north.says(1, "book")).status_code == 202
    assert (await north.says(1, "ignore", "north-2")).status_code == 202
    assert (await north.says(1, "ignore", "north-2")).status_code == 202
    assert (await north.says(1, "ignore")).status_code == 200
    assert count(front.store, schema.order) == 0 and (await north.close()).json()["closed"]
