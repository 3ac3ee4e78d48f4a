"""The trails of a journal one by one, row by row, where whole books would not tell."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.domain.audit import Books, EnergyTrail, LinkTrail, MeterTrail, TransferTrail, Unsound, books_of
from gateway.domain.ledger import GENESIS, Audit, EntryKind, JournalRow, LegRow
from gateway.domain.readings import TOTAL


def row(number: int, kind: EntryKind, *legs: tuple[str, int], after: int = 0, ref: Mapping[str, str] | None = None) -> JournalRow:
    """An entry as it is stored; `after` is the balance that its legs carry."""
    sides: list[LegRow] = [(account, micro, after, number) for account, micro in legs]
    return JournalRow(number, kind.value, "CNY", 7, ref or {}, GENESIS, GENESIS, 7, sides)


# --- energy ---


@pytest.mark.parametrize(
    ("trail", "stands_wh", "finding"),
    [
        (MeterTrail([0], 10), 10, None),
        (MeterTrail([0], 10), 0, "meter m is billed to 10 Wh in the ledger, but its billing stands at 0 Wh"),
        (MeterTrail([0], 10, ended=True), 0, None),  # back on an account, nothing used
        (MeterTrail([0], 10, ended=True), 5, "meter m is billed to 10 Wh in the ledger, but its billing stands at 5 Wh"),
        (MeterTrail([3], 10), 10, "meter m is billed from 3 Wh in the ledger, but its bill began at 0 Wh"),
    ],
)
def test_where_a_billing_stands(trail: MeterTrail, stands_wh: int, finding: str | None) -> None:
    assert EnergyTrail({"m": trail}).compare("m", stands_wh, 0) == finding


# --- reversals and corrections ---

ENERGY = {"meter": "m", TOTAL: "0-10"}
CHARGED = row(1, EntryKind.CHARGE, ("customer:a", -5), ("revenue:energy", 5), ref=ENERGY)
REVERSED = row(2, EntryKind.REVERSAL, ("customer:a", 5), ("revenue:energy", -5), ref={"reverses": "1"})


def test_an_entry_to_come_is_not_reversed() -> None:
    early, late = REVERSED._replace(number=1, ref={"reverses": "2"}), CHARGED._replace(number=2)
    with pytest.raises(Unsound, match=r"^reverses entry 2, which is none that can be reversed$"):
        LinkTrail().take(early, early.ref or {}, {2: late}.get)


@pytest.mark.parametrize(("wrong", "value"), [("meter", "n"), (TOTAL, "0-11")])
def test_a_correction_of_another_meter_or_energy(wrong: str, value: str) -> None:
    trail = LinkTrail()
    trail.take(REVERSED, {"reverses": "1"}, {1: CHARGED}.get)
    ref = {**ENERGY, "corrects": "1", "reversal": "2"}
    right = row(3, EntryKind.CORRECTION, ("customer:a", -3), ("revenue:energy", 3), ref=ref)
    with pytest.raises(Unsound, match=r"^corrects entry 1, but is not about the same meter and energy$"):
        trail.take(right, {**ref, wrong: value}, {1: CHARGED}.get)
    trail.take(right, ref, {1: CHARGED}.get)
    assert trail.open == {}


# --- transfers ---

MOVES = {"transfer": "t", "from": "customer:a", "to": "undelivered:a"}


NOTHING: dict[int, JournalRow] = {}


def moved(number: int, kind: EntryKind, target: str, source: str, micro: int, after: int = 0) -> JournalRow:
    return row(number, kind, (target, micro), (source, -micro), after=after, ref=MOVES)


@pytest.mark.parametrize("micro", [1, 5])
@pytest.mark.parametrize("after", [-9, 0, 9])
def test_a_transfer_may_leave_any_balance(micro: int, after: int) -> None:
    """Money that comes back to an overdrawn customer is money all the same."""
    begun = moved(1, EntryKind.TRANSFER_PENDING, "pending:t", "customer:a", micro, after)
    trail = TransferTrail()
    trail.take(begun, MOVES, NOTHING.get)
    trail.take(moved(2, EntryKind.TRANSFER_VOIDED, "customer:a", "pending:t", micro, after), MOVES, {1: begun}.get)
    assert trail.open == {}


@pytest.mark.parametrize("micro", [0, -1])
def test_a_transfer_of_nothing(micro: int) -> None:
    begun = moved(1, EntryKind.TRANSFER_PENDING, "pending:t", "customer:a", micro, 9)
    with pytest.raises(Unsound, match=r"^does not move the transfer's money from customer:a to pending:t$"):
        TransferTrail().take(begun, MOVES, NOTHING.get)


# --- the state that a closing fixes ---

STATE = (
    '{"balances":[["CNY","customer:李",5]],"booked_ms":8,"hash":"ab",'
    '"meters":{"m1":[[0],10,true],"m2":[[0,5],7,false]},"number":3,'
    '"reversed":[[1,2],[4,5]],"transfers":{"s":6,"t":3},"uncorrected":[[4,5]]}'
)


def test_a_state_is_written_one_way_and_read_whole() -> None:
    books = Books(
        Audit(3, "ab", {("CNY", "customer:李"): 5, ("CNY", "bank:b"): 0}, booked_ms=8),
        EnergyTrail({"m2": MeterTrail([0, 5], 7), "m1": MeterTrail([0], 10, ended=True)}),
        LinkTrail({4: 5, 1: 2}, {4: 5}),
        TransferTrail({"t": 3, "s": 6}),
    )
    assert books.state() == STATE
    assert books_of(STATE).state() == STATE
