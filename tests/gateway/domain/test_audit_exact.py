"""The trails of a journal one by one, row by row, where whole books would not tell."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

import pytest

from gateway.domain.audit import Books, EnergyTrail, LinkTrail, MeterTrail, TransferTrail, Unsound, books_of
from gateway.domain.ledger import GENESIS, Audit, EntryKind, JournalRow, LegRow, charge
from gateway.domain.readings import TOTAL
from tests.gateway.domain.test_ledger import journal, rows


def row(number: int, kind: EntryKind, *legs: tuple[str, int], after: int = 0, ref: Mapping[str, str] | None = None) -> JournalRow:
    """An entry as it is stored; `after` is the balance that its legs carry."""
    sides: list[LegRow] = [(account, micro, after, number) for account, micro in legs]
    return JournalRow(number, kind.value, "CNY", 7, ref or {}, GENESIS, GENESIS, 7, sides)


NOTHING: dict[int, JournalRow] = {}
UNREADABLE = "entry 1 is no charge: the line {} is missing or cannot be read in its references"

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


@pytest.mark.parametrize(
    ("kind", "wh", "refused"), [("charge", "10-10", False), ("charge", "10-9", True), ("register", "10-9", False)]
)
def test_only_a_charge_must_not_go_back(kind: str, wh: str, refused: bool) -> None:
    trail = EnergyTrail({"m": MeterTrail([0], 10)})
    with pytest.raises(Unsound, match=r"^bills meter m from 10 Wh") if refused else contextlib.nullcontext():
        trail.take(row(2, EntryKind(kind)), {"meter": "m", TOTAL: wh})


@pytest.mark.parametrize(("wh", "begun"), [("10-12", [0, 10]), ("15-17", [15])])
def test_a_meter_that_comes_back_begins_where_it_stands(wh: str, begun: list[int]) -> None:
    trail = EnergyTrail({"m": MeterTrail([0], 10, ended=True)})
    trail.take(row(2, EntryKind.CHARGE), {"meter": "m", TOTAL: wh})
    assert trail.meters["m"] == MeterTrail(begun, int(wh[-2:]))


# --- the lines of a charge ---


def line(micro: object, *more: object) -> str:
    return json.dumps(["2026-01", "basic", "v1", "", None, None, 0, 7, micro, *more])


SHORT = line(8).replace(", 8]", "]")


@pytest.mark.parametrize(
    ("parts", "ref", "finding"),
    [
        ({"basic": 8}, {"line:0": line(8)}, None),  # fees of a period have no meter
        ({"basic": 8}, {"line:0": line(8, "a rule", "f")}, None),
        ({"basic": 8}, {"line:0": line(7)}, "entry 1 books 8 micro-CNY, but its lines add up to 7"),
        ({"basic": 5, "step": 3}, {"line:0": line(5), "line:1": line(3)}, None),
        ({"energy": 8}, {"meter": "m", TOTAL: "0-10", "line:x": "0-10@1=8"}, None),
        ({"energy": 8}, {"meter": "m", TOTAL: "0-10"}, "entry 1 books 8 micro-CNY, but its lines add up to 0"),
        (
            {"energy": 8},
            {"meter": "m", TOTAL: "9-5", "line:x": "0-10@1=8"},
            "entry 1 bills meter m from 9 Wh, but it was billed to 9 Wh",
        ),
        *(({"basic": 8}, {"line:0": bad}, UNREADABLE.format(bad)) for bad in (SHORT, "[]", line("8"), line(True), line(8) + "x")),
    ],
)
def test_a_charge_is_what_its_lines_say(parts: dict[str, int], ref: dict[str, str], finding: str | None) -> None:
    (stored,) = rows(journal([charge("a", "CNY", parts, 7, ref)]))
    assert Books().take(stored, NOTHING.get) == finding


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


def test_only_energy_that_was_reversed_waits_for_its_correction() -> None:
    links, fee = LinkTrail(open={1: 2}), CHARGED._replace(ref={"by": "li"})
    assert links.compare({1: fee}.get) is None
    assert links.compare({1: CHARGED}.get) == ("entry 2 reverses the charge of entry 1, and no correction charges that energy")


# --- transfers ---

MOVES = {"transfer": "t", "from": "customer:a", "to": "undelivered:a"}


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
