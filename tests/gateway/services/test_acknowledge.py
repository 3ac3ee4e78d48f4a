"""Acks of the centre: what is safe leaves the outbox, what cannot be is refused and said."""

from __future__ import annotations

import pytest

from gateway.domain.events import EventKind, Outgoing, Topic
from gateway.services.acknowledge import EPOCH, REFUSALS_APART_MS, acknowledge
from tests.gateway.services.memory_tx import MemoryTx

T0 = 1_767_225_600_000


@pytest.fixture
def tx() -> MemoryTx:
    """Ten rows wait."""
    tx = MemoryTx()
    tx.set_meta(EPOCH, "e1")
    for _ in range(10):
        tx.add_outgoing(Outgoing(Topic.EVENT, "gateway", T0, {}))
    return tx


def waiting(tx: MemoryTx) -> list[int]:
    return [row.seq for row in tx.outgoing(0, 100)]


@pytest.mark.parametrize(
    ("upto", "also", "newly", "left"),
    (
        (0, (), 0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (3, (), 3, [4, 5, 6, 7, 8, 9, 10]),
        (3, ((5, 6), (9, 9)), 6, [4, 7, 8, 10]),
        (0, ((5, 6), (6, 8), (1, 1)), 5, [2, 3, 4, 9, 10]),
        (10, (), 10, []),
    ),
)
def test_what_is_safe_leaves(tx: MemoryTx, upto: int, also: tuple[tuple[int, int], ...], newly: int, left: list[int]) -> None:
    assert acknowledge(tx, "e1", upto, also, T0) == newly
    assert waiting(tx) == left
    assert acknowledge(tx, "e1", upto, also, T0) == 0
    assert not tx.events(10)


@pytest.mark.parametrize(
    ("epoch", "upto", "also", "why"),
    (
        ("e0", 3, (), "the ack is of epoch e0, the store of epoch e1"),
        ("e1", 11, (), "the ack reaches to 11, but 10 is the last number given out"),
        ("e1", 3, ((5, 2**60),), "but 10 is the last number given out"),
    ),
)
def test_what_cannot_be_is_refused_as_a_whole(
    tx: MemoryTx, epoch: str, upto: int, also: tuple[tuple[int, int], ...], why: str
) -> None:
    assert acknowledge(tx, epoch, upto, also, T0) == 0
    assert waiting(tx)[:10] == list(range(1, 11))
    [stored] = tx.events(10)
    assert stored.event.kind is EventKind.ACK_REFUSED and why in str(stored.event.data["reason"])


def test_a_repeated_refusal_does_not_fill_the_outbox(tx: MemoryTx) -> None:
    for ms in range(0, REFUSALS_APART_MS, 500):
        acknowledge(tx, "e0", 1, (), T0 + ms)
    assert len(tx.events(100)) == 1
    acknowledge(tx, "e0", 1, (), T0 + REFUSALS_APART_MS)
    acknowledge(tx, "e0", 1, (), T0 - 5)  # the clock was set back
    assert len(tx.events(100)) == 3
