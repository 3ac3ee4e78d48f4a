"""Money in meters over HTTP: what is shown, what may be asked, and what waits for a second person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count

import httpx2
import pytest

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.wallets_api import WalletsApi
from gateway.bootstrap.wallets import wallet_cases
from gateway.domain import ledger
from gateway.domain.ledger import Entry, EntryKind, Leg
from gateway.domain.meters import Authority
from gateway.domain.wallet_mirror import Span
from gateway.services import deliveries, meter_wallet
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from tests.gateway.adapters.http.street import SITE, TOKEN, Street

BEARER = {"authorization": f"Bearer {TOKEN}"}
REASON = {"reason": "read at the meter"}


@pytest.fixture
async def person(street: Street) -> AsyncIterator[httpx2.AsyncClient]:
    """The money of A-1 is in meter m-1: 30.00 there, 20.00 on its way."""

    def archive(tx: Tx) -> None:
        account, meter = tx.account("A-1"), tx.meters_of("A-1")[0]
        assert account is not None
        tx.save_account(replace(account, authority=Authority.METER))
        tx.save_meter(replace(meter, profile="dlt645-prepaid"))
        for other in tx.meters_of("A-1")[1:]:
            tx.save_meter(replace(other, account=None))
        meter_wallet.watch_wallet(tx, meter.id, "000000004711", street.now_ms)
        wallet = tx.wallet(meter.id)
        assert wallet is not None
        tx.save_wallet(replace(wallet, count=3, balance_micro=30_000_000, read_ms=street.now_ms, opened=True))
        legs = (Leg(ledger.undelivered("A-1"), 25_000_000), Leg(ledger.bank_clearing("icbc"), -25_000_000))
        post_entry(tx, Entry(EntryKind.SUSPENSE, "CNY", legs, street.now_ms, {"why": "a test"}))
        deliveries.queue(tx, account, wallet, 20_000_000, SITE, street.now_ms, entry=7)

    street.store.write_now(archive)
    numbers = count(1)
    cases = wallet_cases(street.store, lambda: SITE, street.clock, lambda: None, lambda: f"id-{next(numbers)}")
    app = new_application("operator", "0.1.0")
    app.include_router(WalletsApi(cases, street.store.read, OperatorAuth(TOKEN, open_get=True)).router())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://op", headers=BEARER) as client:
        yield client


async def test_wallets_and_what_is_on_its_way(person: httpx2.AsyncClient) -> None:
    (wallet,) = (await person.get("/api/v1/wallets")).json()
    assert wallet | {
        **{"account": "A-1", "authority": "meter", "balance": "30.00", "purchase_count": 3},
        **{"customer": "000000004711", "switching": None, "frozen": False},
    } == wallet
    (delivery,) = (await person.get("/api/v1/deliveries?account=A-1")).json()
    assert (delivery["delivery"], delivery["amount"], delivery["state"]) == ("delivery-7", "20.00", "queued")
    assert (await person.get("/api/v1/deliveries?account=A-2")).json() == []


async def test_who_holds_the_money_is_asked_for_and_called_off(person: httpx2.AsyncClient) -> None:
    path = "/api/v1/accounts/A-1/authority"
    refused = await person.post(path, json={"to": "gateway", **REASON})
    assert refused.status_code == 409 and "no function for a refund" in refused.json()["detail"]
    assert (await person.post(path, json={"to": "gateway", "how": "freeze", **REASON})).status_code == 202
    (wallet,) = (await person.get("/api/v1/wallets")).json()
    assert wallet["switching"] == "freeze"
    assert (await person.post(path, json={"to": "keep", **REASON})).status_code == 202
    again = await person.post(path, json={"to": "keep", **REASON})
    assert (again.status_code, again.json()["detail"]) == (409, "no change of authority is under way for account A-1")
    assert (await person.post(path, json={"to": "meter", "customer": "12", **REASON})).status_code == 422


async def test_a_delivery_is_taken_back_and_sent_anew(person: httpx2.AsyncClient) -> None:
    assert (await person.post("/api/v1/deliveries/delivery-7/withdraw", json=REASON)).status_code == 202
    again = await person.post("/api/v1/deliveries/delivery-7/withdraw", json=REASON)
    assert (again.status_code, again.json()["detail"]) == (409, "delivery delivery-7 is returned_to_balance")
    assert (await person.post("/api/v1/accounts/A-1/deliver", json=REASON)).status_code == 202
    newest, *_ = (await person.get("/api/v1/deliveries")).json()
    assert (newest["amount"], newest["state"]) == ("25.00", "queued")
    nothing = await person.post("/api/v1/accounts/A-1/deliver", json=REASON)
    assert nothing.status_code == 409 and nothing.json()["detail"].endswith("nothing waits")


async def test_the_meters_word_is_accepted_by_two(person: httpx2.AsyncClient, street: Street) -> None:
    wallet = (await person.get("/api/v1/wallets")).json()[0]["meter"]
    none = await person.post(f"/api/v1/wallets/{wallet}/accept", json=REASON)
    assert (none.status_code, none.json()["detail"]) == (409, f"the wallet of meter {wallet} does not differ from our books")

    def differ(tx: Tx) -> None:
        known = tx.wallet(wallet)
        assert known is not None
        tx.save_wallet(replace(known, memory=replace(known.memory, differs=Span(50_000, 59_999))))

    street.store.write_now(differ)
    asked = await person.post(f"/api/v1/wallets/{wallet}/accept", json=REASON)
    assert (asked.status_code, asked.json()["act"], asked.json()["state"]) == (202, "accept_wallet", "asked")


async def test_what_the_wallet_will_tell_is_not_for_people_to_say(person: httpx2.AsyncClient) -> None:
    refused = await person.post("/api/v1/deliveries/delivery-7/resolve", json={"in_meter": True, **REASON})
    assert refused.status_code == 409 and "is queued" in refused.json()["detail"]
