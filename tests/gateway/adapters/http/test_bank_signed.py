"""Signed banks: who is let in, what a nonce is good for, rights and rates, and what our own signatures say (contract.md 3)."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from hashlib import sha256

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.adapters.http.bank_gate import KnownKey
from gateway.domain.bank_terms import PartnerTerms, SerialScope
from gateway.services.ports import Unavailable
from protocols.bank.signatures import Algorithm, BankKey
from tests.gateway.adapters.http.paying import (
    BANKS,
    KEY,
    NEXT,
    NORTH,
    PAY,
    STRANGER,
    TOPUPS,
    SignedBank,
    known_key,
    signed_headers,
    verified,
    with_north,
)
from tests.gateway.adapters.http.street import Street
from tests.gateway.adapters.http.test_bank import assert_problem, balance

DAY_MS = 86_400_000


@pytest.fixture
def signed(street: Street) -> Iterator[Street]:
    street.banks = BANKS
    yield street


@pytest.fixture
async def north(signed: Street) -> AsyncIterator[SignedBank]:
    transport = httpx2.ASGITransport(signed.bank())
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield SignedBank(signed, client)


async def test_a_signed_payment_is_the_keys_bank_whatever_the_header_says(north: SignedBank, signed: Street) -> None:
    body = json.dumps(PAY).encode()
    headers = {**north.sign("POST", TOPUPS, body), "x-bank": "south", "host": "evil.example"}
    answer = await north.http.post(TOPUPS, content=body, headers=headers)
    assert (answer.status_code, answer.json()["receipt"]["bank"]) == (201, "north")
    assert (await north.ask(f"{TOPUPS}/S-1")).content == answer.content


@pytest.mark.parametrize("path", [TOPUPS, f"{TOPUPS}/S-1", f"{TOPUPS}/2026-11-21/S-1", "/bank/v1/accounts/A-1"])
async def test_every_call_is_signed(north: SignedBank, path: str) -> None:
    method = "POST" if path == TOPUPS else "GET"
    content = json.dumps(PAY).encode() if method == "POST" else None
    answer = await north.http.request(method, path, content=content, headers={"content-type": "application/json", "x-bank": "demo"})
    assert_problem(answer, 401, "bad_signature")
    assert "content-digest" in answer.headers["accept-signature"]


async def test_form_is_judged_before_the_signature(north: SignedBank) -> None:
    answer = await north.http.post(TOPUPS, content=b"{}", headers={"content-type": "application/json"})
    assert_problem(answer, 422, "invalid", "serial")
    assert_problem(await north.http.get(f"{TOPUPS}/a%20b"), 422, "invalid", "serial")


async def test_what_was_signed_elsewhere_is_good_nowhere_else(north: SignedBank, signed: Street) -> None:
    signed.banks = replace(BANKS, url="https://other.example.org")
    assert_problem(await north.pay(), 401, "bad_signature")
    assert signed.topups == []


async def test_a_strangers_key_and_a_changed_body(north: SignedBank, signed: Street) -> None:
    body = json.dumps(PAY).encode()
    headers = north.sign("POST", TOPUPS, body)
    more = body.replace(b"50.00", b"90.00")
    assert_problem(await north.http.post(TOPUPS, content=more, headers=headers), 401, "bad_signature")
    assert_problem(await replace(north, key=STRANGER).pay(), 401, "bad_signature")
    assert_problem(await replace(north, kid="south-1").pay(), 401, "bad_signature")
    assert signed.topups == [] and (await north.http.post(TOPUPS, content=body, headers=headers)).status_code == 201


async def test_an_expired_signature_says_so(north: SignedBank, signed: Street) -> None:
    problem = assert_problem(await replace(north, ahead_s=-301).pay(), 401, "signature_expired")
    assert (problem["final"], problem["action"]) == (False, "fix_request")
    assert_problem(await replace(north, ahead_s=61).pay(), 401, "bad_signature")


async def test_keys_change_without_a_pause(north: SignedBank, signed: Street) -> None:
    after = replace(north, kid="north-2", key=NEXT)
    assert_problem(await after.pay(serial="S-2"), 401, "bad_signature")
    now = signed.now_ms
    signed.banks = replace(BANKS, keys={**known_key("north-1", KEY, until_ms=now + DAY_MS), **known_key("north-2", NEXT)})
    assert [(await bank.pay(serial=serial)).status_code for bank, serial in ((north, "S-1"), (after, "S-2"))] == [201, 201]
    signed.now_ms += DAY_MS
    assert_problem(await north.pay(serial="S-3", accounting_date="2026-11-22"), 401, "bad_signature")
    assert (await after.pay(serial="S-3", accounting_date="2026-11-22")).status_code == 201


async def test_a_shared_secret_signs_too(north: SignedBank, signed: Street) -> None:
    secret = bytes(range(32))
    signed.banks = replace(BANKS, keys={"mac": KnownKey("north", BankKey("mac", Algorithm.HMAC_SHA256, secret))})
    assert (await replace(north, kid="mac", key=secret).pay()).status_code == 201
    assert_problem(await replace(north, kid="mac", key=bytes(32)).pay(), 401, "bad_signature")


async def test_the_same_nonce_again_gives_a_payment_its_stored_answer(north: SignedBank, signed: Street) -> None:
    first = await north.pay("n-1")
    for nonce in ("n-1", "n-1", "n-2"):
        again = await north.pay(nonce)
        assert (again.status_code, again.content) == (200, first.content)
    assert_problem(await north.pay("n-1", amount="51.00"), 401, "bad_signature")
    assert_problem(await north.pay("n-1", serial="S-2"), 401, "bad_signature")
    assert_problem(await north.pay("n-3", amount="51.00"), 409, "serial_conflict", "amount")
    assert balance(signed) == 70_000_000


async def test_a_nonce_of_a_query_is_good_once(north: SignedBank) -> None:
    await north.pay("n-1")
    assert (await north.ask(f"{TOPUPS}/S-1", "n-2")).status_code == 200
    for nonce in ("n-1", "n-2"):
        assert_problem(await north.ask(f"{TOPUPS}/S-1", nonce), 401, "bad_signature")


async def test_two_keys_may_say_the_same_nonce(north: SignedBank, signed: Street) -> None:
    signed.banks = replace(BANKS, keys={**BANKS.keys, **known_key("north-2", NEXT)})
    assert (await north.pay("n-1")).status_code == 201
    assert (await replace(north, kid="north-2", key=NEXT).pay("n-1", serial="S-2")).status_code == 201


async def test_what_binds_nothing_leaves_the_nonce(north: SignedBank, signed: Street) -> None:
    signed.broken = Unavailable("the disk is full")
    assert_problem(await north.pay("n-1"), 503, "unavailable")
    signed.broken = None
    assert (await north.pay("n-1")).status_code == 201


async def test_a_refusal_is_repeated_under_its_nonce(north: SignedBank) -> None:
    first = await north.pay("n-1", account="nobody")
    assert_problem(first, 404, "unknown_account")
    assert (await north.pay("n-1", account="nobody")).content == first.content


@pytest.mark.parametrize("back_ms", [3_600_000, DAY_MS, 400 * DAY_MS, 3653 * DAY_MS])
async def test_a_clock_that_jumps_back_credits_nothing_twice(north: SignedBank, signed: Street, back_ms: int) -> None:
    """The bank's clock is right, or jumps as ours does; its old requests come again, and so does a new one."""
    old = [(body := json.dumps({**PAY, "serial": f"S-{n}"}).encode(), north.sign("POST", TOPUPS, body)) for n in range(3)]
    for body, headers in old[:2]:
        assert (await north.http.post(TOPUPS, content=body, headers=headers)).status_code == 201
    at_ms = signed.now_ms
    for now_ms in (at_ms - back_ms, at_ms, at_ms + 2 * DAY_MS, at_ms - back_ms, at_ms):
        signed.now_ms = now_ms
        for body, headers in old[:2]:
            answer = await north.http.post(TOPUPS, content=body, headers=headers)
            assert answer.status_code in (200, 401), "never a second credit"
    assert balance(signed) == 120_000_000
    assert (await north.http.post(TOPUPS, content=old[2][0], headers=old[2][1])).status_code == 201, "never seen, and in time"


async def test_a_forgotten_nonce_is_not_good_again_when_the_clock_goes_back(north: SignedBank, signed: Street) -> None:
    """64 nonces later the first are forgotten, for they expired two days ago; then the clock is set back two days."""
    stale = north.sign("GET", f"{TOPUPS}/S-1", None)
    assert_problem(await north.http.get(f"{TOPUPS}/S-1", headers=stale), 404, "not_found")
    first_ms = signed.now_ms
    signed.now_ms += 2 * DAY_MS
    for number in range(70):
        assert_problem(await north.ask(f"{TOPUPS}/none-{number}"), 404, "not_found")
    assert signed.store.read_now(lambda tx: [claim.nonce for _, claim in tx.oldest_nonces(1)]) != [north.said[0]]
    signed.now_ms = first_ms
    assert_problem(await north.http.get(f"{TOPUPS}/S-1", headers=stale), 401, "bad_signature")


async def test_a_payment_that_waited_too_long_is_not_begun(north: SignedBank, signed: Street) -> None:
    """So that a bank may take a 404 as final 60 s after its last signature expired."""
    body = json.dumps(PAY).encode()
    headers = north.sign("POST", TOPUPS, body)
    quick = signed.topup

    async def waited(*asked: object) -> object:
        signed.now_ms += 331_000
        return await quick(*asked)  # type: ignore[arg-type]

    signed.topup = waited  # type: ignore[method-assign, assignment]
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(signed.bank()), base_url="http://bank")
    assert_problem(await client.post(TOPUPS, content=body, headers=headers), 503, "unavailable")
    assert balance(signed) == 20_000_000
    problem = assert_problem(await north.ask(f"{TOPUPS}/S-1"), 404, "not_found")
    assert "final 60 s after" in str(problem["detail"])


async def test_scopes(north: SignedBank, signed: Street) -> None:
    signed.banks = with_north(scopes=frozenset({"query"}))
    problem = assert_problem(await north.pay(), 403, "forbidden")
    where = '[[bank.partner]] id = "north", or kid = "north-1" of it, has scopes = [...] without it'
    assert problem["detail"] == f'bank north lacks the scope "topup" here; it has query ({where})'
    assert problem["scope"] == "topup"
    assert (await north.ask("/bank/v1/accounts/A-1")).status_code == 200
    signed.banks = with_north(scopes=frozenset({"topup"}))
    assert_problem(await north.ask("/bank/v1/accounts/A-1"), 403, "forbidden")
    assert (await north.pay()).status_code == 201


async def test_a_key_may_do_less_or_more_than_its_bank(north: SignedBank, signed: Street) -> None:
    only = {"north-2": replace(known_key("north-2", NEXT)["north-2"], scopes=frozenset({"settle"}))}
    signed.banks = replace(BANKS, keys={**BANKS.keys, **only}, banks={"north": replace(NORTH, scopes=frozenset({"topup"}))})
    clerk = replace(north, kid="north-2", key=NEXT)
    assert (await north.pay()).status_code == 201
    assert_problem(await clerk.pay(serial="S-2"), 403, "forbidden")
    arrived = json.dumps({"accounting_date": "2026-11-21", "amount": "50.00", "currency": "CNY", "fund_batch": "B"}).encode()
    assert_problem(await north.send("POST", "/bank/v1/settlements", arrived), 403, "forbidden")
    assert (await clerk.send("POST", "/bank/v1/settlements", arrived)).status_code == 201


async def test_a_bank_that_is_too_fast_is_told_when_to_come_again(north: SignedBank, signed: Street) -> None:
    signed.banks = with_north(per_second=2, per_minute=5)
    assert [(await north.pay(serial=f"S-{n}")).status_code for n in (1, 2)] == [201, 201]
    slow = await north.pay("n-slow", serial="S-3")
    problem = assert_problem(slow, 429, "rate_limited")
    assert (slow.headers["retry-after"], problem["final"], problem["action"]) == ("1", False, "repeat_same_serial")
    signed.steady_s += 1
    assert (await north.pay("n-slow", serial="S-3")).status_code == 201, "neither serial nor nonce was used up"
    signed.steady_s += 1
    assert [(await north.pay(serial=f"S-{n}")).status_code for n in (4, 5)] == [201, 201]
    signed.steady_s += 1
    assert (await north.pay(serial="S-6")).headers["retry-after"] == "9", "the minute's are used up"


async def test_a_wrong_signature_costs_a_bank_nothing_of_its_rate(north: SignedBank, signed: Street) -> None:
    signed.banks = with_north(per_second=1, per_minute=1)
    for _ in range(5):
        assert_problem(await replace(north, key=STRANGER).pay(), 401, "bad_signature")
    assert (await north.pay()).status_code == 201


async def test_serials_of_a_day(north: SignedBank, signed: Street) -> None:
    signed.banks = with_north(terms=PartnerTerms("north", serial_scope=SerialScope.ACCOUNTING_DATE))
    first, second = [await north.pay(accounting_date=day) for day in ("2026-11-21", "2026-11-22")]
    assert (first.status_code, second.status_code, balance(signed)) == (201, 201, 120_000_000)
    asked = await north.ask(f"{TOPUPS}/2026-11-22/S-1")
    assert asked.content == second.content != first.content
    assert_problem(await north.ask(f"{TOPUPS}/2026-11-20/S-1"), 404, "not_found")
    assert_problem(await north.ask(f"{TOPUPS}/S-1"), 422, "invalid", "accounting_date")
    assert_problem(await north.ask(f"{TOPUPS}/2026-13-22/S-1"), 422, "invalid", "accounting_date")
    signed.banks = BANKS
    assert_problem(await north.ask(f"{TOPUPS}/2026-11-22/S-1"), 422, "invalid", "accounting_date")


async def test_a_certificate_where_one_is_agreed(north: SignedBank, signed: Street) -> None:
    signed.banks = with_north(client_name="north.example")
    assert_problem(await north.pay(), 403, "forbidden")


async def test_outside_the_trading_hours(north: SignedBank, signed: Street) -> None:
    signed.banks = with_north(terms=PartnerTerms("north", no_trade=(11 * 60, 13 * 60)))
    problem = assert_problem(await north.pay("n-1"), 503, "not_open")
    assert (problem["final"], problem["action"]) == (False, "repeat_same_serial")
    signed.banks = BANKS
    first = await north.pay("n-1")
    assert first.status_code == 201
    signed.banks = with_north(terms=PartnerTerms("north", no_trade=(11 * 60, 13 * 60)))
    assert (await north.pay()).content == first.content, "what is known is answered at any hour"


async def test_answers_and_receipts_are_signed_with_a_published_key(north: SignedBank, signed: Street) -> None:
    answer = await north.pay()
    published = (await north.http.get("/bank/v1/keys")).json()["keys"]
    assert [key["kid"] for key in published] == [signed.identity.kid] and "d" not in published[0]
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(published[0]["x"] + "="))
    assert {'"@status"', '"content-digest"', '"signature";req'} <= verified(answer, TOPUPS, public, published[0]["kid"])

    head, payload, signature = (base64.urlsafe_b64decode(part + "==") for part in answer.json()["receipt_jws"].split("."))
    assert json.loads(head) == {"alg": "EdDSA", "kid": published[0]["kid"]}
    assert payload in answer.content, "the receipt stands in RFC 8785 form already"
    public.verify(signature, ".".join(answer.json()["receipt_jws"].split(".")[:2]).encode())


async def test_a_receipt_is_the_same_after_our_key_has_changed(north: SignedBank, signed: Street) -> None:
    first = await north.pay()
    signed.identity = replace(signed.identity, kid="later", key=NEXT)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(signed.bank()), base_url="http://bank") as client:
        again = await replace(north, http=client).pay()
    assert (again.status_code, again.content) == (200, first.content)
    assert signed_headers(again) != signed_headers(first)


async def test_problems_are_signed_too_and_never_cached(north: SignedBank) -> None:
    for answer in (await north.pay(account="nobody"), await north.http.get(f"{TOPUPS}/S-1")):
        assert answer.headers["cache-control"] == "no-store"
        assert signed_headers(answer)["content-digest"] == f"sha-256=:{base64.b64encode(sha256(answer.content).digest()).decode()}:"


async def test_without_signatures_nothing_changes(bank: httpx2.AsyncClient, street: Street) -> None:
    answer = await bank.post(TOPUPS, json=PAY, headers={"x-bank": "anybody"})
    assert (answer.status_code, answer.json()["receipt"]["bank"]) == (201, "anybody")
    assert "signature" not in answer.headers
    assert (await bank.get("/bank/v1/keys")).json()["keys"][0]["kid"] == "gw-key"
