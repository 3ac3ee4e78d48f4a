"""A bank's refund and its difference, agreed to by a second person here while no gateway runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx2

from gateway.bootstrap.by_hand import ByHand
from gateway.settings import load
from tests.gateway.bootstrap.conftest import MakeSite

HEADER = "serial,account,amount,currency,type,original_serial,paid_at,channel,institution"


def at(site_url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=site_url + "/bank/v1", trust_env=False, timeout=60)


async def test_a_second_person_agrees_where_no_gateway_runs(site_of: MakeSite) -> None:
    site = site_of(1, 1)
    site.plan.accounts = {"m0-0": "A"}
    day = (datetime.now(UTC) + timedelta(hours=8)).date().isoformat()
    paid_at = "2026-11-21T10:00:00+08:00"
    money = {"account": "A", "amount": "10.00", "currency": "CNY", "accounting_date": day}
    refund = {name: money[name] for name in ("amount", "currency", "accounting_date")}
    refund |= {"serial": "F-1", "original_serial": "S-1", "reason": "too much"}
    file = f"{HEADER}\nS-1,A,10.00,CNY,topup,,{paid_at},,\nS-2,A,5.00,CNY,topup,,{paid_at},,\n#2,15.00\n".encode()
    difference = f"/reconciliations/{day}/differences/1/resolution"
    wanted = {"action": "book", "reason": "its answer was lost"}
    async with site.running() as gateway, at(gateway.listener.url) as bank:
        assert (await bank.post("/topups", json={**money, "serial": "S-1", "paid_at": paid_at})).status_code == 201
        asked = await bank.post("/refunds", json=refund)
        compared = await bank.post(f"/reconciliations/{day}", content=file, headers={"content-type": "text/csv"})
        assert (asked.status_code, compared.json()["kinds"]) == (202, {"missing_here": 1})
        resolving = await bank.post(difference, json=wanted)
        assert resolving.status_code == 202
    with ByHand(load(site.file), site.folder) as act:
        for ident in (asked.json()["approval"], resolving.json()["resolution"]["approval"]):
            status, told = act.call("POST", f"/api/v1/approvals/{ident}/approve", {"reason": "agreed"})
            assert status == 200, told
    async with site.running() as gateway, at(gateway.listener.url) as bank:
        done = await bank.post("/refunds", json=refund)
        assert (done.status_code, done.json()["state"]) == (200, "paid")
        assert (await bank.post(difference, json=wanted)).status_code == 200
        found = (await bank.get("/topups/S-2")).json()
        assert (found["payment"], found["receipt"]["amount"]) == ("posted", "5.00")
        assert found["receipt_jws"] is not None, "booked by hand, signed all the same"
