"""The banks' front at the centre: durable at once, relayed as signed vouchers, decided by the gateway's word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.central import findings, orders, report, schema
from gateway.central.accounts import BadTable
from gateway.central.ingest import save
from gateway.central.store import CentralStore
from gateway.domain.bank_acts import DECIDED_WITHIN_MS
from protocols.uplink import signing
from protocols.uplink.commands import decode_command
from protocols.uplink.topics import Up
from tests.gateway.central.arriving import arrival
from tests.gateway.central.bank_ends import NOW_MS, TABLE, Front
from tests.gateway.central.conftest import rows


@pytest.fixture
async def front(store: CentralStore, tmp_path: Path) -> AsyncIterator[Front]:
    made = Front(store, tmp_path)
    yield made
    await made.client.aclose()


async def test_a_payment_is_answered_at_once_and_relayed_as_a_signed_voucher(front: Front) -> None:
    answer = await front.topup()
    assert answer.status_code == 201
    body = answer.json()
    assert (body["payment"], body["delivery"]) == ("posted", "queued")
    receipt = body["receipt"]
    assert (receipt["gateway"], receipt["holder"], receipt["amount"], receipt["balance_after"]) == ("G1", "Z**", "50.00", "")
    [voucher] = front.relay.sent
    command = decode_command(signing.open_signed(voucher.token, {"office-1": front.signer.key}.get).payload)
    assert (command.verb, command.gateway, command.account, command.expires_at) == ("topup", "G1", "00ff", None)
    assert command.args["serial"] == "S-1" and command.args["amount"] == "50.00" and command.args["bank"] == "demo"
    assert "A-1" not in voucher.token.decode()  # the account's id never leaves


async def test_pain_38_the_same_serial_again_is_the_same_payment_and_the_same_bytes(front: Front) -> None:
    first = await front.topup()
    again = await front.topup(channel="app")
    assert (again.status_code, again.content) == (200, first.content)
    assert len(rows(front.store, schema.order)) == 1
    assert (await asyncio.gather(*(front.topup() for _ in range(8))))[7].content == first.content
    conflict = await front.topup(amount="60.00")
    assert (conflict.status_code, conflict.json()["code"], conflict.json()["field"]) == (409, "serial_conflict", "amount")


async def test_many_at_once_are_one(front: Front) -> None:
    answers = await asyncio.gather(*(front.topup() for _ in range(10)))
    assert sorted(a.status_code for a in answers) == [200] * 9 + [201]
    assert len({json.dumps(a.json()["receipt"]) for a in answers}) == 1
    assert len(rows(front.store, schema.payment)) == len(rows(front.store, schema.order)) == 1


async def test_delivery_follows_the_voucher(front: Front) -> None:
    first = (await front.topup()).json()["receipt"]
    orders.mark_sent(front.store, [front.relay.sent[0].id], NOW_MS)
    assert (await front.query())["delivery"] == "sent"
    front.gateway_says(1, "queued", final=False)
    assert (await front.query())["delivery"] == "sent"
    front.gateway_says(2, "done")
    found = await front.query()
    assert (found["payment"], found["delivery"], found["receipt"]) == ("posted", "none", first)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    (
        ({"account": "A-9"}, 404, "unknown_account"),
        ({"currency": "EUR"}, 422, "currency_mismatch"),
    ),
)
async def test_refusals_on_the_merits_are_stored(front: Front, change: dict[str, str], status: int, code: str) -> None:
    answer = await front.topup(**change)
    assert (answer.status_code, answer.json()["code"], answer.json()["final"]) == (status, code, True)
    assert (await front.topup()).json()["code"] == code  # whatever comes under this serial later
    found = await front.query()
    assert (found["payment"], found["receipt"], found["problem"]["code"]) == ("refused", None, code)
    assert (await front.reverse()).status_code == 200
    assert front.relay.sent == []


@pytest.mark.parametrize(
    ("change", "field"),
    (
        ({"accounting_date": "2026-11-19"}, "accounting_date"),
        ({"accounting_date": "2026-02-30"}, "accounting_date"),
        ({"amount": "0.00"}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"paid_at": "2026-13-01T00:00:00Z"}, "paid_at"),
        ({"colour": "red"}, "colour"),
    ),
)
async def test_a_wrong_form_binds_nothing(front: Front, change: dict[str, str], field: str) -> None:
    answer = await front.topup(**change)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid", field)
    assert (await front.client.get("/bank/v1/topups/S-1")).status_code == 404
    assert (await front.topup()).status_code == 201


async def test_a_voucher_that_the_gateway_refuses_is_a_finding_and_the_bank_may_take_it_back(front: Front) -> None:
    await front.topup()
    front.gateway_says(1, "refused", "account A-1 is closed")
    found = await front.query()
    assert (found["payment"], found["delivery"]) == ("posted", "uncertain")
    [finding] = front.store.read(findings.listed)
    assert finding.kind == "voucher_refused" and "S-1" in finding.text and "is closed" in finding.text
    undone = await front.reverse()
    assert (undone.status_code, undone.json()["payment"]) == (200, "reversed")
    assert (await front.reverse(reversal_serial="R-2")).content == undone.content
    late = await front.topup()
    assert (late.status_code, late.json()["code"]) == (409, "reversed")


async def test_a_reversal_under_way_is_decided_by_the_gateways_word(front: Front) -> None:
    await front.topup()
    assert [(await front.reverse()).status_code for _ in range(2)] == [202, 202]
    front.gateway_says(1, "done")
    late = await front.reverse()
    assert (late.status_code, late.json()["code"]) == (409, "delivered")
    assert (await front.query())["payment"] == "posted"


async def test_a_reversal_that_waits_is_done_when_the_gateway_refuses(front: Front) -> None:
    await front.topup()
    await front.reverse()
    front.gateway_says(1, "refused", "no such account")
    found = await front.query()
    assert (found["payment"], found["delivery"], found["reversal"]["reversal_serial"]) == ("reversed", "none", "R-1")
    assert front.store.read(findings.listed) == []
    assert (await front.reverse()).status_code == 200


async def test_a_reversal_is_decided_in_time(front: Front) -> None:
    await front.topup()
    assert (await front.reverse()).status_code == 202
    front.now_ms += DECIDED_WITHIN_MS
    assert [(await front.reverse()).status_code for _ in range(2)] == [409, 409]
    front.gateway_says(1, "refused", "no such account")  # too late to undo it: a person decides
    assert (await front.query())["payment"] == "posted" and len(front.store.read(findings.listed)) == 1
    late = await front.reverse()  # "delivered" was final
    assert (late.status_code, late.json()["code"], late.json()["final"]) == (409, "delivered", True)


async def test_a_reversal_of_what_never_came_is_a_tombstone(front: Front) -> None:
    gone = await front.reverse()
    assert (gone.status_code, gone.json()["payment"], gone.json()["receipt"]) == (200, "reversed", None)
    assert (await front.reverse()).content == gone.content
    assert (await front.topup()).json()["code"] == "reversed"
    assert front.relay.sent == []


async def test_a_reversal_is_whole(front: Front) -> None:
    await front.topup()
    answer = await front.reverse(amount="20.00")
    assert (answer.status_code, answer.json()["field"]) == (422, "amount")


async def test_the_statement_is_the_day_as_the_bank_would_write_it(front: Front) -> None:
    await front.topup()
    await front.topup(serial="S-2", account="A-2", amount="7.50")
    await front.topup(serial="S-3", account="A-9")
    front.gateway_says(1, "refused", "no such account")
    await front.reverse()
    answer = await front.client.get("/bank/v1/reconciliations/2026-11-21/statement")
    assert answer.text.splitlines() == [
        "serial,account,amount,currency,type,original_serial,paid_at,channel,institution",
        "S-1,A-1,50.00,CNY,topup,,2026-11-21T04:00:00+00:00,,",
        "S-2,A-2,7.50,CNY,topup,,2026-11-21T04:00:00+00:00,,",
        "R-1,A-1,50.00,CNY,reversal,S-1,2026-11-21T04:01:00+00:00,,",
        "#3,7.50",
    ]


async def test_a_reversal_stands_on_its_own_day(front: Front) -> None:
    await front.topup()
    front.gateway_says(1, "refused", "no such account")
    await front.reverse(accounting_date="2026-11-22")
    paid, undone = [
        (await front.client.get(f"/bank/v1/reconciliations/2026-11-{day}/statement")).text.splitlines()[1:] for day in (21, 22)
    ]
    assert paid == ["S-1,A-1,50.00,CNY,topup,,2026-11-21T04:00:00+00:00,,", "#1,50.00"]
    assert undone == ["R-1,A-1,50.00,CNY,reversal,S-1,2026-11-21T04:01:00+00:00,,", "#1,-50.00"]


async def test_what_a_reversed_payment_was_is_inside_the_refusal(front: Front) -> None:
    receipt = (await front.topup()).json()["receipt"]
    front.gateway_says(1, "refused", "no such account")
    undone = (await front.reverse()).json()["reversal"]
    late = (await front.topup()).json()
    assert (late["code"], late["receipt"], late["reversal"]) == ("reversed", receipt, undone)
    assert (undone["reason"], undone["gateway"], undone["serial"]) == ("no answer", "G1", "S-1")
    assert (await front.topup(amount="60.00")).json()["code"] == "serial_conflict"


async def test_an_account_shows_what_the_gateway_last_told(front: Front) -> None:
    assert (await front.client.get("/bank/v1/accounts/A-9")).status_code == 404
    save(front.store, [arrival(1, Up.BALANCE, balance="12.00"), arrival(2, Up.BALANCE, balance="9.00", at="2026-11-21T12:00:01Z")])
    body = (await front.client.get("/bank/v1/accounts/A-1")).json()
    assert (body["holder"], body["balance"], body["accepts_payment"]) == ("Z**", "9.00", True)
    assert front.store.read(report.figures).vouchers == 0


async def test_the_table_of_accounts_is_read_again_when_it_changes(front: Front, tmp_path: Path) -> None:
    assert not front.accounts.refresh()
    file = tmp_path / "accounts.csv"
    file.write_text(TABLE + "A-3,G3,00fd,CNY,W*\n")
    assert front.accounts.refresh() and front.accounts.of("A-3") is not None
    for bad in ("account\n", TABLE + "A-1,G1,00ff,CNY,Z\n", TABLE + "A 4,G1,00ff,CNY,Z\n", TABLE + "A-4,G1,00ff,yuan,Z\n", "\xff"):
        file.write_bytes(bad.encode("latin-1"))
        with pytest.raises(BadTable, match=r"accounts\.csv"):
            front.accounts.refresh()
        assert front.accounts.of("A-3") is not None
