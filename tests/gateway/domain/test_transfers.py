"""The table of two-phase transfers, every state with every event, and what its entries move."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from gateway.domain.ledger import EntryKind
from gateway.domain.transfers import (
    RESOLVED,
    TRANSITIONS,
    Transfer,
    TransferEvent,
    TransferRefused,
    TransferState,
    after,
    begin_entry,
    resolve_entry,
    resolved,
)

WHOLE = Transfer("t1", "a", "CNY", 5, "customer:a", "undelivered:a", 100, 200)

TABLE = {  # state: post, void, expire, doubt
    "pending": ("posted", "voided", "voided", "uncertain"),
    "uncertain": ("posted", "voided", None, None),
    "posted": (None, None, None, None),
    "voided": (None, None, None, None),
}


@pytest.mark.parametrize(("state", "event"), [*product(TransferState, TransferEvent)])
def test_every_state_and_event(state: TransferState, event: TransferEvent) -> None:
    wanted = TABLE[state.value][[*TransferEvent].index(event)]
    transfer = replace(WHOLE, state=state)
    if wanted is None:
        with pytest.raises(TransferRefused, match=f"transfer t1 is {state.value}: {event.value} is not possible any more"):
            after(transfer, event, 200)
    else:
        assert after(transfer, event, 200).value == wanted


def test_nothing_leads_out_of_an_end() -> None:
    assert {state for state, _ in TRANSITIONS} & RESOLVED == set()


@pytest.mark.parametrize(
    ("due_ms", "state", "now_ms", "due"),
    [
        (200, TransferState.PENDING, 199, False),
        (200, TransferState.PENDING, 200, True),
        (None, TransferState.PENDING, 10**15, False),
        (200, TransferState.UNCERTAIN, 10**15, False),
        (200, TransferState.POSTED, 10**15, False),
    ],
)
def test_only_what_is_pending_and_due_expires(due_ms: int | None, state: TransferState, now_ms: int, due: bool) -> None:
    transfer = replace(WHOLE, due_ms=due_ms, state=state)
    assert transfer.due(now_ms) is due
    if not due:
        with pytest.raises(TransferRefused):
            after(transfer, TransferEvent.EXPIRE, now_ms)


def test_what_its_entries_move() -> None:
    begun = begin_entry(WHOLE)
    assert [(leg.account, leg.micro) for leg in begun.legs] == [("pending:t1", 5), ("customer:a", -5)]
    assert begun.ref == {"transfer": "t1", "account": "a", "from": "customer:a", "to": "undelivered:a", "due_ms": "200"}
    assert (begun.kind, begun.at_ms) == (EntryKind.TRANSFER_PENDING, 100)
    assert "due_ms" not in begin_entry(replace(WHOLE, due_ms=None)).ref
    known = replace(WHOLE, pending=7)
    for state, target, kind in (
        (TransferState.POSTED, "undelivered:a", EntryKind.TRANSFER_POSTED),
        (TransferState.VOIDED, "customer:a", EntryKind.TRANSFER_VOIDED),
    ):
        end = resolve_entry(known, state, 150, {"count": "8"})
        assert [(leg.account, leg.micro) for leg in end.legs] == [(target, 5), ("pending:t1", -5)]
        assert (end.kind, end.at_ms) == (kind, 150)
        assert end.ref == {"count": "8", "transfer": "t1", "account": "a", "pending": "7"}


def test_how_it_ends_and_what_is_the_same() -> None:
    ended = resolved(WHOLE, TransferState.POSTED, 9, 150)
    assert (ended.state, ended.resolved, ended.resolved_ms) == (TransferState.POSTED, 9, 150)
    assert WHOLE.same(ended) and WHOLE.same(replace(WHOLE, begun_ms=1, due_ms=2))
    for change in ({"id": "t2"}, {"account": "b"}, {"currency": "EUR"}, {"micro": 6}, {"source": "x"}, {"target": "x"}):
        assert not WHOLE.same(replace(WHOLE, **change))  # type: ignore[arg-type]
