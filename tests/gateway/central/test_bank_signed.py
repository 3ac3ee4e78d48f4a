"""Signed banks at the centre: who is let in, what a nonce is good for on whichever instance, what our own signatures say."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import update

from gateway.adapters.http.bank_gate import Banks, KnownBank
from gateway.adapters.identity import Identity, x_of
from gateway.central import audit, nonces, receipts, schema
from gateway.central.store import CentralStore, StoreFailed
from gateway.domain.bank_terms import SCOPES, Limits, PartnerTerms, SerialScope
from gateway.domain.units import MICRO
from tests.gateway.adapters.http.paying import KEY, NEXT, STRANGER, URL, SignedBank, known_key
from tests.gateway.adapters.http.test_bank import assert_problem
from tests.gateway.central.bank_ends import FORM, NOW_MS, REVERSAL, Front
from tests.gateway.central.conftest import count, rows

DAY_MS = 86_400_000
OURS = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
IDENTITY = Identity("centre-1", OURS, x_of(OURS))
TERMS = PartnerTerms("north")
NORTH = KnownBank(TERMS, frozenset({"query", "topup", "reversal", "reconcile"}))
BANKS = Banks(url=URL, banks={"north": NORTH}, keys=known_key("north-1", KEY))
TOPUPS = "/bank/v1/topups"
REFUND = {"serial": "F-1", "original_serial": "S-1", "accounting_date": "2026-11-21", "amount": "5.00", "currency": "CNY"}
REFUND["reason"] = "paid twice"


class Signing(SignedBank):
    """A bank with a key at a centre's door."""

    async def pay(self, nonce: str = "", **changes: str) -> httpx2.Response:
        return await self.send("POST", TOPUPS, json.dumps({**FORM, **changes}).encode(), nonce)

    async def undo(self, serial: str = "S-1", nonce: str = "", **changes: str) -> httpx2.Response:
        return await self.send("POST", f"{TOPUPS}/{serial}/reversal", json.dumps({**REVERSAL, **changes}).encode(), nonce)


def terms(**changes: Any) -> Banks:
    return replace(BANKS, banks={"north": replace(NORTH, terms=replace(TERMS, **changes))})


@pytest.fixture
async def front(store: CentralStore, tmp_path: Path) -> AsyncIterator[Front]:
    receipts.publish(store, IDENTITY, NOW_MS)
    made = Front(store, tmp_path, BANKS, IDENTITY)
    yield made
    await made.client.aclose()


@pytest.fixture
def north(front: Front) -> Signing:
    return Signing(front, front.client)  # type: ignore[arg-type]  # it asks the front's clock alone


def part(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_a_signed_payment_has_a_receipt_that_our_published_key_signed(front: Front, north: Signing) -> None:
    answer = await north.send("POST", TOPUPS, json.dumps(FORM).encode())
    body = answer.json()
    assert (answer.status_code, body["receipt"]["bank"], body["delivery"]) == (201, "north", "queued")
    head, payload, signature = body["receipt_jws"].split(".")
    [key] = (await front.client.get("/bank/v1/keys")).json()["keys"]
    assert json.loads(part(head)) == {"alg": "EdDSA", "kid": key["kid"]} and json.loads(part(payload)) == body["receipt"]
    Ed25519PublicKey.from_public_bytes(part(key["x"])).verify(part(signature), f"{head}.{payload}".encode())
    assert 'keyid="centre-1"' in answer.headers["signature-input"] and "signature" in answer.headers
    assert (await north.ask(f"{TOPUPS}/S-1")).content == answer.content
    assert front.acts() == [("bank:north/north-1", "topup_posted")]


async def test_what_was_signed_stays_so_when_our_key_changes(front: Front, north: Signing, tmp_path: Path) -> None:
    first = await north.pay()
    newer = Ed25519PrivateKey.from_private_bytes(bytes([8]) * 32)
    receipts.publish(front.store, Identity("centre-2", newer, x_of(newer)), NOW_MS + 1)
    after = Front(front.store, tmp_path, BANKS, Identity("centre-2", newer, x_of(newer)))
    async with after.client:
        assert (await Signing(after, after.client).pay()).content == first.content  # type: ignore[arg-type]
        published = (await after.client.get("/bank/v1/keys")).json()["keys"]
    assert [key["kid"] for key in published] == ["centre-2", "centre-1"]
    with pytest.raises(receipts.KeyTaken, match="centre-1"):
        receipts.publish(front.store, Identity("centre-1", newer, x_of(newer)), NOW_MS + 2)


def test_every_route_is_in_the_openapi_document(front: Front) -> None:
    paths = front.app.openapi()["paths"]
    assert {"/bank/v1/topups", "/bank/v1/quotes", "/bank/v1/keys", "/bank/v1/reconciliations/{accounting_date}"} <= set(paths)
    answers = paths["/bank/v1/topups"]["post"]["responses"]
    assert {"200", "201", "default"} <= set(answers) and "application/problem+json" in answers["default"]["content"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    (
        ("POST", TOPUPS, FORM),
        ("POST", f"{TOPUPS}/S-1/reversal", REVERSAL),
        ("POST", f"{TOPUPS}/2026-11-21/S-1/reversal", REVERSAL),
        ("POST", "/bank/v1/quotes", {"account": "A-1", "amount": "5.00", "currency": "CNY"}),
        ("POST", "/bank/v1/refunds", REFUND),
        ("GET", f"{TOPUPS}/S-1", None),
        ("GET", f"{TOPUPS}/2026-11-21/S-1", None),
        ("GET", "/bank/v1/accounts/A-1", None),
        ("GET", "/bank/v1/reconciliations/2026-11-21/statement", None),
    ),
)
async def test_every_call_is_signed(front: Front, method: str, path: str, body: dict[str, str] | None) -> None:
    content = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "x-bank": "demo"}
    answer = await front.client.request(method, path, content=content, headers=headers)
    assert_problem(answer, 401, "bad_signature")
    assert "content-digest" in answer.headers["accept-signature"] and "signature" in answer.headers
    assert front.acts() == [] and count(front.store, schema.payment) == 0


async def test_a_strangers_key_another_address_and_a_changed_body(front: Front, north: Signing) -> None:
    body = json.dumps(FORM).encode()
    headers = north.sign("POST", TOPUPS, body)
    more = body.replace(b"50.00", b"90.00")
    assert_problem(await front.client.post(TOPUPS, content=more, headers=headers), 401, "bad_signature")
    assert_problem(await replace(north, key=STRANGER).pay(), 401, "bad_signature")
    front.banks = replace(BANKS, url="https://other.example.org")
    assert_problem(await north.pay(), 401, "bad_signature")
    front.banks = BANKS
    assert_problem(await replace(north, ahead_s=-301).pay(), 401, "signature_expired")
    assert count(front.store, schema.payment) == count(front.store, schema.nonce) == 0
    assert (await front.client.post(TOPUPS, content=body, headers=headers)).status_code == 201


async def test_the_same_nonce_again_gives_a_payment_its_stored_answer(front: Front, north: Signing) -> None:
    first = await north.pay("n-1")
    for nonce in ("n-1", "n-1", "n-2"):
        again = await north.pay(nonce)
        assert (again.status_code, again.content) == (200, first.content)
    assert_problem(await north.pay("n-1", amount="51.00"), 401, "bad_signature")
    assert_problem(await north.pay("n-1", serial="S-2"), 401, "bad_signature")
    assert_problem(await north.pay("n-3", amount="51.00"), 409, "serial_conflict", "amount")
    for nonce in ("n-1", "n-4"):
        answer = await north.ask(f"{TOPUPS}/S-1", nonce)
        assert answer.status_code == (401 if nonce == "n-1" else 200)
    assert_problem(await north.ask(f"{TOPUPS}/S-1", "n-4"), 401, "bad_signature")
    assert count(front.store, schema.order) == 1


async def test_a_nonce_is_used_up_on_all_instances(front: Front, north: Signing, url: str, tmp_path: Path) -> None:
    beside = CentralStore.open(url)
    other = Front(beside, tmp_path, BANKS, IDENTITY)
    there = Signing(other, other.client)  # type: ignore[arg-type]
    first = await north.pay("n-1")
    assert (await there.pay("n-1")).content == first.content
    assert_problem(await there.pay("n-1", serial="S-2"), 401, "bad_signature")
    assert (await north.ask(f"{TOPUPS}/S-1", "n-2")).status_code == 200
    assert_problem(await there.ask(f"{TOPUPS}/S-1", "n-2"), 401, "bad_signature")
    await other.client.aclose()
    beside.close()


async def test_what_binds_nothing_leaves_the_nonce(front: Front, north: Signing, monkeypatch: pytest.MonkeyPatch) -> None:
    front.banks = terms(no_trade=(11 * 60, 13 * 60))
    assert_problem(await north.pay("n-1"), 503, "not_open")
    front.banks = BANKS
    assert_problem(await north.pay("n-1", accounting_date="2026-11-19"), 422, "invalid", "accounting_date")
    with monkeypatch.context() as broken:
        broken.setattr(front.store, "write", failing)
        assert_problem(await north.pay("n-1"), 503, "unavailable")
        assert_problem(await north.ask(f"{TOPUPS}/S-1", "n-2"), 503, "unavailable")
    assert (await north.pay("n-1")).status_code == 201
    assert (await north.ask(f"{TOPUPS}/S-1", "n-2")).status_code == 200


def failing(_work: object) -> None:
    raise StoreFailed("the disk is full")


async def test_nothing_begins_long_after_its_signature_expired(front: Front, north: Signing) -> None:
    """The bank may take a 404 as final 60 s after `expires`: what waited for the store until then is not booked."""
    beside: Callable[..., Any] = front.relay.beside

    async def waits(*what: Any) -> Any:
        front.now_ms += 331_000
        return await beside(*what)

    front.relay.beside = waits  # type: ignore[assignment]
    assert_problem(await north.pay(), 503, "unavailable")
    assert_problem(await north.undo(), 503, "unavailable")
    assert count(front.store, schema.payment) == 0


async def test_a_clock_that_is_set_back_makes_no_forgotten_nonce_good(
    front: Front, north: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nonces, "DROP_EVERY", 1)
    await north.ask(f"{TOPUPS}/S-1", "n-1")
    front.now_ms += 2 * DAY_MS
    await north.ask(f"{TOPUPS}/S-1", "n-2")
    assert [row["nonce"] for row in rows(front.store, schema.nonce)] == ["n-2"]
    front.now_ms = NOW_MS
    assert_problem(await north.ask(f"{TOPUPS}/S-1", "n-1"), 401, "bad_signature")


async def test_keys_change_without_a_pause(front: Front, north: Signing) -> None:
    after = replace(north, kid="north-2", key=NEXT)
    assert_problem(await after.pay(serial="S-2"), 401, "bad_signature")
    until = {**known_key("north-1", KEY, until_ms=NOW_MS + DAY_MS), **known_key("north-2", NEXT)}
    front.banks = replace(BANKS, keys=until)
    assert [(await bank.pay(serial=serial)).status_code for bank, serial in ((north, "S-1"), (after, "S-2"))] == [201, 201]
    front.now_ms += DAY_MS
    assert_problem(await north.ask(f"{TOPUPS}/S-1"), 401, "bad_signature")
    assert (await after.ask(f"{TOPUPS}/S-1")).status_code == 200


async def test_rights_rates_and_what_is_the_gateways(front: Front, north: Signing) -> None:
    refund = json.dumps(REFUND).encode()
    assert_problem(await north.send("POST", "/bank/v1/refunds", refund), 403, "forbidden")
    front.banks = replace(BANKS, banks={"north": replace(NORTH, scopes=SCOPES)})
    problem = assert_problem(await north.send("POST", "/bank/v1/refunds", refund), 403, "forbidden")
    assert "the gateway that owns the account" in str(problem["detail"]) and problem["action"] == "call_us"
    quote = json.dumps({"account": "A-1", "amount": "5.00", "currency": "CNY"}).encode()
    assert (await north.send("POST", "/bank/v1/quotes", quote)).status_code == 200
    front.banks = replace(BANKS, banks={"north": replace(NORTH, scopes=frozenset({"query"}), per_second=2)})
    assert_problem(await north.pay(), 403, "forbidden")
    front.steady_s += 2
    assert [(await north.ask(f"{TOPUPS}/S-1")).status_code for _ in range(3)] == [404, 404, 429]


async def test_a_quote_says_whether_a_payment_would_be_taken_and_changes_nothing(front: Front, north: Signing) -> None:
    async def quote(**changes: str) -> httpx2.Response:
        body = json.dumps({"account": "A-1", "amount": "5.00", "currency": "CNY"} | changes).encode()
        return await north.send("POST", "/bank/v1/quotes", body)

    unknown = {"to_credit": "", "to_debt": "", "fees": "", "balance_after": "", "next": ""}
    assert (await quote()).json() == {"account": "A-1", "amount": "5.00", "currency": "CNY"} | unknown
    assert_problem(await quote(account="A-9"), 404, "unknown_account")
    assert_problem(await quote(currency="EUR"), 422, "currency_mismatch")
    assert_problem(await quote(amount="999999.01"), 422, "amount_out_of_range")
    assert_problem(await quote(amount="0.00"), 422, "invalid", "amount")
    front.banks = terms(limits=Limits(day_micro=50 * MICRO))
    assert_problem(await quote(amount="50.01"), 422, "limit_exceeded")
    assert (await north.pay()).status_code == 201
    assert_problem(await quote(amount="0.01"), 422, "limit_exceeded")
    assert (count(front.store, schema.payment), count(front.store, schema.order)) == (1, 1)
    assert [act for _, act in front.acts()] == ["topup_posted"]


async def test_serials_of_a_day(front: Front, north: Signing) -> None:
    front.banks = terms(serial_scope=SerialScope.ACCOUNTING_DATE)
    assert (await north.pay()).status_code == (await north.pay(accounting_date="2026-11-22", amount="7.00")).status_code == 201
    found = await north.ask(f"{TOPUPS}/2026-11-22/S-1")
    assert found.json()["receipt"]["amount"] == "7.00"
    assert_problem(await north.ask(f"{TOPUPS}/S-1"), 422, "invalid", "accounting_date")
    path = f"{TOPUPS}/2026-11-20/S-1/reversal"
    gone = await north.send("POST", path, json.dumps(REVERSAL).encode())
    assert (gone.status_code, gone.json()["receipt"]) == (200, None)
    assert_problem(await north.pay(accounting_date="2026-11-20"), 409, "reversed")


async def test_limits_of_bank_channel_and_account(front: Front, north: Signing) -> None:
    micro = 100 * MICRO
    limits = Limits(least_micro=MICRO, payment_micro=micro, account_day_micro=micro, day_micro=2 * micro, day_count=5)
    front.banks = terms(limits=limits, channels={"app": Limits(day_count=1)})
    assert_problem(await north.pay(serial="S-1", amount="0.50"), 422, "amount_out_of_range")
    assert_problem(await north.pay(serial="S-2", amount="100.01"), 422, "amount_out_of_range")
    assert (await north.pay(serial="S-3", amount="100.00", channel="app")).status_code == 201
    assert_problem(await north.pay(serial="S-4", amount="1.00"), 422, "limit_exceeded")
    assert_problem(await north.pay(serial="S-5", account="A-2", amount="1.00", channel="app"), 422, "limit_exceeded")
    assert (await north.pay(serial="S-6", account="A-2", amount="99.00")).status_code == 201
    front.gateway_says(1, "refused", "closed")
    assert (await north.undo("S-3", amount="100.00")).json()["payment"] == "reversed"
    assert (await north.pay(serial="S-7", amount="100.00", channel="app")).status_code == 201  # what it used is free again
    assert_problem(await north.pay(serial="S-8", account="A-2", amount="1.01"), 422, "limit_exceeded")
    shown = (await north.ask("/bank/v1/accounts/A-1")).json()
    assert (shown["lowest"], shown["highest"]) == ("1.00", "100.00")


async def test_what_no_gateway_would_take_is_refused_at_once(front: Front, north: Signing) -> None:
    assert_problem(await north.pay(amount="999999.01"), 422, "amount_out_of_range")
    assert (await north.pay(serial="S-2", amount="999999.00")).status_code == 201


async def test_a_reversal_is_repeated_under_its_nonce(front: Front, north: Signing) -> None:
    gone = await north.undo(nonce="n-1")
    assert (gone.status_code, gone.json()["reversal"]["reason"]) == (200, "no answer")
    for nonce in ("n-1", "n-2"):
        assert (await north.undo(nonce=nonce, reversal_serial="R-2")).content == gone.content
    assert_problem(await north.undo("S-2", "n-1"), 401, "bad_signature")
    late = assert_problem(await north.pay(), 409, "reversed")
    assert (late["receipt"], late["reversal"]) == (None, gone.json()["reversal"])
    assert front.acts() == [("bank:north/north-1", "reversed_before_it_came")]


async def test_what_differs_in_a_repeat_is_written_down(front: Front, north: Signing) -> None:
    first = await north.pay()
    assert (await north.pay(channel="app", paid_at="2026-11-21T12:00:05+08:00")).content == first.content
    [_, row] = rows(front.store, schema.audit)
    assert row["act"] == "topup_repeated_otherwise"
    assert json.loads(str(row["data"])) == {"channel": "app", "paid_at": "2026-11-21T04:00:05+00:00"}


async def test_every_act_of_money_is_in_the_audit_log(front: Front, north: Signing) -> None:
    await north.pay()
    await north.pay(serial="S-2", account="A-9")
    assert (await north.undo()).status_code == 202
    front.gateway_says(1, "refused", "closed")
    bank, gateway = "bank:north/north-1", "gateway:G1"
    acts = [(bank, "topup_posted"), (bank, "topup_refused"), (bank, "reversal_asked")]
    assert front.acts() == [*acts, (gateway, "voucher_refused"), (gateway, "topup_reversed")]
    with front.store._database.writer.begin() as connection:
        connection.execute(update(schema.audit).where(schema.audit.c.number == 2).values(who="bank:south"))
    assert audit.walk(front.store) == (2, "row 2 was changed: its hash does not match its content")


@pytest.mark.timeout(3600)
async def test_many_at_once_on_two_instances_are_one(
    front: Front, north: Signing, url: str, tmp_path: Path, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    """Each serial by many senders through both, each with a nonce of its own, some with another amount."""
    serials, senders = (4, 12) if proof_scale == 1 else (40, 50)
    beside = CentralStore.open(url)
    other = Front(beside, tmp_path, replace(BANKS, banks={"north": NORTH}), IDENTITY)
    banks = (north, Signing(other, other.client))  # type: ignore[arg-type]
    for number in range(serials):
        serial = f"S-{number}"

        async def sends(n: int, serial: str = serial) -> httpx2.Response:
            while True:  # what is not decided in time is asked again, as banks do
                answer = await banks[n % 2].pay(serial=serial, amount="90.00" if n % 5 == 4 else "50.00")
                if answer.status_code != 503:
                    return answer

        answers = await asyncio.gather(*(sends(n) for n in range(senders)))
        by_status = {status: [a for a in answers if a.status_code == status] for status in (200, 201, 409)}
        assert sum(map(len, by_status.values())) == senders and len(by_status[201]) <= 1
        taken = [*by_status[201], *by_status[200]][0].json()["receipt"]["amount"]
        same = senders // 5 if taken == "90.00" else senders - senders // 5
        assert len(by_status[200]) + len(by_status[201]) == same
        assert len({a.json()["receipt_jws"] for a in (*by_status[200], *by_status[201])}) == 1
        assert {a.json()["code"] for a in by_status[409]} <= {"serial_conflict"}
    assert count(front.store, schema.order) == count(front.store, schema.payment) == serials
    assert [act for _, act in front.acts()] == ["topup_posted"] * serials
    figure("the centre: one serial by many senders through two instances", f"{serials} x {senders}, each booked once")
    await other.client.aclose()
    beside.close()
