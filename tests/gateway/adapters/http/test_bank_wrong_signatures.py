"""Wrong signatures are counted by address and by key, and keep out nobody who signs right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network

import httpx2
import pytest

from gateway.adapters.http import bank_wrong_signatures
from gateway.adapters.http.bank_wrong_signatures import AGAIN_PER_S, MOST_WRONG, WrongSignatures
from tests.gateway.adapters.http.paying import BANKS, NEXT, STRANGER, SignedBank, known_key, signed_headers
from tests.gateway.adapters.http.street import Street
from tests.gateway.adapters.http.test_bank import assert_problem

EVIL = "203.0.113.9"


@pytest.fixture
def signed(street: Street) -> Iterator[Street]:
    street.banks = replace(BANKS, keys={**BANKS.keys, **known_key("north-2", NEXT)})
    yield street


@asynccontextmanager
async def places(street: Street, *hosts: str) -> AsyncIterator[list[SignedBank]]:
    """The bank north, calling one listener from each of these addresses."""
    app = street.bank()
    clients = [httpx2.AsyncClient(transport=httpx2.ASGITransport(app, client=(host, 1)), base_url="http://bank") for host in hosts]
    yield [SignedBank(street, client) for client in clients]
    for client in clients:
        await client.aclose()


async def wrong(bank: SignedBank, times: int, kid: str = "north-1") -> list[int]:
    return [(await replace(bank, key=STRANGER, kid=kid).pay()).status_code for _ in range(times)]


async def test_wrong_ones_of_an_address_are_told_to_wait(signed: Street) -> None:
    async with places(signed, EVIL) as [evil]:
        assert await wrong(evil, MOST_WRONG + 3, "nobodys") == [401] * MOST_WRONG + [429] * 3
        refused = await replace(evil, key=STRANGER).pay()
        problem = assert_problem(refused, 429, "rate_limited")
        assert (refused.headers["retry-after"], problem["final"]) == ("1", False) and EVIL in str(problem["detail"])
        assert signed_headers(refused), "also this answer is signed"
        signed.steady_s += 1
        assert await wrong(evil, 8) == [401] * int(AGAIN_PER_S) + [429] * 3
        assert signed.topups == []


async def test_no_signature_at_all_counts_too(signed: Street) -> None:
    async with places(signed, EVIL) as [evil]:
        found = [(await evil.http.get("/bank/v1/topups/S-1")).status_code for _ in range(MOST_WRONG + 1)]
        assert found == [401] * MOST_WRONG + [429]


async def test_a_bank_that_has_signed_right_is_never_kept_out(signed: Street) -> None:
    """Neither by wrong ones from its own address, as behind a proxy, nor by wrong ones under its own key from anywhere."""
    async with places(signed, "198.51.100.7", EVIL) as [north, evil]:
        assert (await north.pay(serial="S-1")).status_code == 201
        await wrong(north, MOST_WRONG + 20)
        await wrong(evil, MOST_WRONG + 20)
        assert (await north.pay(serial="S-2")).status_code == 201
        assert await wrong(north, 1) == [429], "under the same key and address it is counted all the same"
        assert (await north.pay(serial="S-3")).status_code == 201
        changed = replace(north, kid="north-2", key=NEXT)
        assert (await changed.pay(serial="S-4")).status_code == 201, "nor is its new key kept out, which it begins with meanwhile"


async def test_a_bank_that_nobody_knows_yet_waits_no_longer_than_it_is_told(signed: Street) -> None:
    async with places(signed, EVIL, "198.51.100.7") as [same, other]:
        await wrong(same, 10 * MOST_WRONG, "nobodys")
        assert (await other.pay(serial="S-1")).status_code == 201, "another address has nothing to do with it"
        kept_out = await same.pay("n-1", serial="S-2")
        assert kept_out.status_code == 429
        signed.steady_s += int(kept_out.headers["retry-after"])
        assert (await same.pay("n-1", serial="S-2")).status_code == 201, "neither serial nor nonce was used up"


async def test_wrong_ones_under_a_key_are_counted_from_all_addresses(signed: Street) -> None:
    async with places(signed, *(f"203.0.113.{n}" for n in range(MOST_WRONG + 2))) as many:
        found = [(await wrong(bank, 1))[0] for bank in many]
        assert found == [401] * MOST_WRONG + [429] * 2
        assert (await replace(many[-1], kid="north-2", key=NEXT).pay()).status_code == 201, "the other key is not concerned"


async def test_a_late_signature_is_not_a_wrong_one(signed: Street) -> None:
    async with places(signed, EVIL) as [north]:
        for _ in range(MOST_WRONG + 5):
            assert_problem(await replace(north, ahead_s=-301).pay(), 401, "signature_expired")


async def forwarded(bank: SignedBank, said: str, times: int) -> list[int]:
    bad = replace(bank, key=STRANGER, kid="nobodys")
    return [
        (await bad.http.get("/bank/v1/topups/S", headers={**bad.sign("GET", "/x", None), "x-forwarded-for": said})).status_code
        for _ in range(times)
    ]


async def test_a_forwarded_address_is_believed_of_configured_proxies_alone(signed: Street) -> None:
    async with places(signed, EVIL) as [evil]:
        found = [(await forwarded(evil, f"192.0.2.{n}", 1))[0] for n in range(MOST_WRONG + 1)]
        assert found[-1] == 429, "whoever says that he is many is still one"
    signed.banks = replace(signed.banks, proxies=(ip_network("10.0.0.0/8"),))
    async with places(signed, "10.0.0.7", EVIL) as [proxied, evil]:
        assert (await forwarded(proxied, f"1.2.3.4, {EVIL}", MOST_WRONG + 1))[-1] == 429
        assert await forwarded(proxied, f"{EVIL}, 192.0.2.8", 1) == [401], "the nearest that is no proxy is who calls"
        assert await forwarded(proxied, f"{EVIL}, 10.1.1.1", 1) == [429], "a chain of ours is followed"
        assert await forwarded(proxied, "no address", 1) == [401]
        assert await wrong(evil, 1, "nobodys") == [429]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_wrong_signatures, "MOST_REMEMBERED", 10)
    kept = WrongSignatures()
    for number in range(200):
        kept.wrong(f"192.0.2.{number}", None, 0.0)
        kept.right(f"192.0.2.{number}", "north")
    assert len(kept) == 20
    for number in range(MOST_WRONG):
        kept.wrong(f"2001:db8::{number:x}", None, 0.0)
    assert kept.wait_s("2001:db8::ffff", None, None, 0.0) == 1, "one customer has 2^64 addresses"
    assert kept.wait_s("::ffff:192.0.2.199", "k", "north", 0.0) == 0
