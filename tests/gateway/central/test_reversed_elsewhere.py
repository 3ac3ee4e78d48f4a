"""A payment of the centre that its gateway's ledger has undone: the centre's record follows, a person is told (contract.md 3)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.central import findings
from gateway.central.ingest import save
from gateway.central.store import CentralStore
from gateway.domain.bank_acts import DECIDED_WITHIN_MS
from protocols.uplink.topics import Up
from tests.gateway.central.arriving import arrival
from tests.gateway.central.bank_ends import Front

DOCUMENT = {
    "reversal_no": "G1-0000000009", "bank": "demo", "institution": "", "serial": "S-1", "reversal_serial": "R-7",
    "accounting_date": "2026-11-22", "amount": "50.00", "currency": "CNY", "reason": "payer's wish",
    "reversed_at": "2026-11-22T03:00:00Z", "gateway": "G1", "balance_after": "0.00",
}  # fmt: skip
EVENT = {
    "amount": "50.00", "currency": "CNY", "bank": "demo", "institution": "", "scope": "", "serial": "S-1", "reversal": "R-7",
    "accounting_date": "2026-11-22", "reason": "payer's wish",
}  # fmt: skip


@pytest.fixture
async def front(store: CentralStore, tmp_path: Path) -> AsyncIterator[Front]:
    made = Front(store, tmp_path)
    assert (await made.topup()).status_code == 201
    yield made
    await made.client.aclose()


def word(front: Front, state: str, **answer: object) -> None:
    """The gateway's last word of the voucher."""
    said: dict[str, Any] = {"command": front.relay.sent[0].id, "state": state, "final": True, "reason": "it is reversed here"}
    save(front.store, [arrival(1, Up.RESULT, **said, answer=answer)])


def undone(front: Front, seq: int = 2, gateway: str = "G1", **change: object) -> None:
    """The event that the gateway sends when its ledger undoes a payment."""
    save(front.store, [arrival(seq, gateway=gateway, kind_="topup_reversed", data=EVENT | change)])


def told(front: Front) -> list[str]:
    return [found.kind for found in front.store.read(findings.listed)]


async def statement(front: Front, day: str) -> list[str]:
    answer = await front.client.get(f"/bank/v1/reconciliations/{day}/statement")
    return [line.split(",")[0] for line in answer.text.splitlines()[1:]]


@pytest.mark.parametrize("state", ("refused", "done"))  # gateways of before said `done`, with the same answer
async def test_a_voucher_that_came_too_late_for_its_reversal_credits_nobody(front: Front, state: str) -> None:
    word(front, state, payment="reversed", delivery="none", reversal=DOCUMENT)
    found = await front.query()
    assert (found["payment"], found["delivery"], found["reversal"]) == ("reversed", "none", DOCUMENT)
    assert told(front) == ["reversed_at_gateway"]
    assert front.acts()[-1] == ("gateway:G1", "topup_reversed")
    late = await front.topup()
    assert (late.status_code, late.json()["code"], late.json()["reversal"]) == (409, "reversed", DOCUMENT)
    again = await front.reverse()
    assert (again.status_code, again.json()["reversal"]) == (200, DOCUMENT)
    assert (await statement(front, "2026-11-21"), await statement(front, "2026-11-22")) == (["S-1", "#1"], ["R-7", "#1"])


async def test_what_the_gateway_undoes_after_it_was_credited_is_undone_here(front: Front) -> None:
    word(front, "done", payment="posted", delivery="none")
    for other in ({"serial": "S-2"}, {"scope": "2026-11-21"}, {"bank": "north"}, {"serial": ["S-1"]}, {"serial": None}):
        undone(front, 2, **other)
    undone(front, 1, gateway="G2")
    assert (await front.query())["payment"] == "posted" and told(front) == []
    undone(front, 3)
    found = await front.query()
    assert (found["payment"], found["delivery"], found["reversal"]["reversal_serial"]) == ("reversed", "none", "R-7")
    undone(front, 4, reversal="R-8")
    assert await front.query() == found and told(front) == ["reversed_at_gateway"]
    assert (await front.reverse()).json()["reversal"] == found["reversal"]
    assert [act for _, act in front.acts()] == ["topup_posted", "voucher_credited", "topup_reversed"]


async def test_the_event_may_overtake_the_vouchers_own_word(front: Front) -> None:
    undone(front)
    word(front, "done", payment="posted", delivery="none")
    found = await front.query()
    assert (found["payment"], found["delivery"]) == ("reversed", "none")


async def test_a_reversal_that_waited_here_is_done_as_it_was_asked(front: Front) -> None:
    assert (await front.reverse()).status_code == 202
    word(front, "refused", payment="reversed", delivery="none", reversal=DOCUMENT)
    answer = await front.reverse()
    assert (answer.status_code, answer.json()["reversal"]["reversal_serial"]) == (200, "R-1")


async def test_what_is_final_here_stays_and_a_person_decides(front: Front) -> None:
    assert (await front.reverse()).status_code == 202
    front.now_ms += DECIDED_WITHIN_MS
    assert (await front.reverse()).json()["code"] == "delivered"
    word(front, "refused", payment="reversed", delivery="none", reversal=DOCUMENT)
    found = await front.query()
    assert (found["payment"], found["delivery"], told(front)) == ("posted", "uncertain", ["reversed_at_gateway"])
    assert (await front.reverse()).json()["code"] == "delivered"


@pytest.mark.parametrize("day", ("2026-11-21", "2026-11-22"))
async def test_a_closed_day_stays_as_it_was_agreed(front: Front, day: str) -> None:
    file = (await front.client.get(f"/bank/v1/reconciliations/{day}/statement")).content
    closed = await front.client.post(
        f"/bank/v1/reconciliations/{day}?close=true", content=file, headers={"content-type": "text/csv"}
    )
    assert closed.json()["closed"], closed.text
    word(front, "done", payment="posted", delivery="none")
    undone(front)
    found = await front.query()
    assert (found["payment"], found["delivery"], told(front)) == ("posted", "uncertain", ["reversed_at_gateway"])
    assert [act for _, act in front.acts()][-1] == "reversed_at_gateway"


async def test_an_answer_of_nonsense_is_not_believed_further_than_it_can_be_read(front: Front) -> None:
    word(front, "refused", payment="reversed", reversal={"accounting_date": "soon", "reversal_serial": 7, "reason": ["x"]})
    found = await front.query()
    assert (found["payment"], found["reversal"]["accounting_date"]) == ("reversed", "2026-11-21")
    assert json.dumps(found["reversal"]["reversal_serial"]) == '"gateway-G1"'
