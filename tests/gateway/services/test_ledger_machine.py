"""Random histories of money beside a model with its own books: whatever comes in whatever order, nothing is lost or doubled."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.ledger import Entry, EntryKind, Leg, customer
from gateway.domain.transfers import Transfer, TransferRefused
from gateway.services import transfer
from gateway.services.close_period import balance_period, close_period
from gateway.services.correct_entry import CannotCorrect, correct, reverse
from gateway.services.ports import Tx
from gateway.services.post_entry import Overdrawn, post_entry
from gateway.services.verify_ledger import verify_ledger
from tests.conftest import Figure
from tests.gateway.services.house import FLAT, AnyStore, House, account, meter
from tests.gateway.services.memory_tx import MemoryStore

ACCOUNTS = ("A-1", "A-2")
accounts = st.sampled_from(ACCOUNTS)
micros = st.sampled_from([1, 999_999, 1_000_000, 7_654_321, 10**13])
serials = st.sampled_from("1234")
transfers = st.sampled_from(["t1", "t2", "t3"])
REFUSED = ("refused", 0)
waits = st.sampled_from([0, 1, 999, 1_000, 40_000])


class Ledger(RuleBasedStateMachine):
    """Two accounts with a meter each. The model: balances by name, serials paid, transfers by id, numbers that may be corrected."""

    def new_store(self) -> AnyStore:
        return MemoryStore()

    @initialize()
    def settle(self) -> None:
        self.house = House(self.new_store())
        meters = [meter(f"m-{owner}", account=owner) for owner in ACCOUNTS]
        self.house.settle(*meters, accounts=[account(owner) for owner in ACCOUNTS], tariffs=[FLAT])
        self.balances: dict[str, int] = defaultdict(int)
        self.paid: dict[str, tuple[str, int]] = {}
        self.under_way: dict[str, tuple[str, int, int | None]] = {}  # owner, micro, due_ms (None: uncertain)
        self.ended: dict[str, tuple[str, int, str]] = {}
        self.charged: dict[int, tuple[str, int]] = {}  # entry -> owner, micro; neither reversed nor corrected
        self.fees: dict[int, tuple[str, int]] = {}
        self.undone: set[int] = set()
        self.registers = dict.fromkeys(ACCOUNTS, 1_000_000)
        self.numbers, self.closed = 0, 0
        for owner in ACCOUNTS:
            self.house.block(f"m-{owner}", "1000.00")
        self.history: list[Mapping[str, int]] = [{}]

    # what the model does

    def moved(self, sides: Mapping[str, int], count: int = 1) -> None:
        for name, micro in sides.items():
            self.balances[name] += micro
        self.numbers += count
        self.history += [dict(self.balances)] * count

    def do(self, usecase: Callable[[Tx], object]) -> object:
        return self.house.do(usecase)

    def post(self, entry: Entry) -> int:
        return self.house.do(lambda tx: post_entry(tx, entry)).number

    # what happens

    @rule(owner=accounts, micro=micros, serial=serials)
    def top_up(self, owner: str, micro: int, serial: str) -> None:
        known = self.paid.get(serial)
        outcome = self.house.topup("1.00", serial, account=owner, amount_micro=micro)
        if known is not None:
            wanted = "refused" if known == REFUSED else "repeated" if known == (owner, micro) else "conflict"
            assert outcome.verdict == wanted
            return
        room = 999_999 * 10**6 - max(0, self.balances[customer(owner)])
        if micro > room:
            assert outcome.verdict == "refused"
            self.paid[serial] = REFUSED
            return
        assert outcome.verdict == "posted"
        self.paid[serial] = (owner, micro)
        self.moved({customer(owner): micro, "bank:bank": -micro})

    @rule(owner=accounts, wh=st.sampled_from([0, 10, 1_230]))
    def use(self, owner: str, wh: int) -> None:
        self.house.later(hours=5)
        self.registers[owner] += wh
        kwh = self.registers[owner]
        self.house.block(f"m-{owner}", f"{kwh // 1000}.{kwh % 1000 // 10:02d}")
        micro = wh * 500
        if wh:
            self.moved({customer(owner): -micro, "revenue:energy": micro})
            self.charged[self.numbers] = (owner, micro)

    @rule(owner=accounts, micro=micros)
    def fee(self, owner: str, micro: int) -> None:
        self.post(ledger.late_fee(owner, "CNY", micro, self.house.now_ms, {"days": "3"}))
        self.moved({customer(owner): -micro, "revenue:late_fee": micro})
        self.fees[self.numbers] = (owner, micro)

    @rule(owner=accounts, micro=micros)
    def debt(self, owner: str, micro: int) -> None:
        self.post(ledger.indebted(owner, "CNY", micro, self.house.now_ms, {}))
        self.moved({f"debt:{owner}": -micro, "equity:opening": micro})

    @rule(owner=accounts, micro=micros, lost=st.booleans())
    def recover(self, owner: str, micro: int, lost: bool) -> None:
        if lost:
            entry, other = ledger.written_off(ledger.debt(owner), "CNY", micro, self.house.now_ms, {}), "write_off"
        else:
            entry, other = ledger.debt_recovery(owner, "CNY", micro, self.house.now_ms, {}), customer(owner)
        if self.balances[f"debt:{owner}"] + micro > 0:
            with pytest.raises(Overdrawn):
                self.post(entry)
            return
        self.post(entry)
        self.moved({f"debt:{owner}": micro, other: -micro})

    @rule(owner=accounts, micro=micros, back=st.booleans())
    def emergency(self, owner: str, micro: int, back: bool) -> None:
        make = ledger.emergency_recovery if back else ledger.emergency_credit
        sign = -1 if back else 1
        entry = make(owner, "CNY", micro, self.house.now_ms, {})
        if back and self.balances[f"emergency:{owner}"] + micro > 0:
            with pytest.raises(Overdrawn):
                self.post(entry)
            return
        self.post(entry)
        self.moved({customer(owner): sign * micro, f"emergency:{owner}": -sign * micro})

    @precondition(lambda self: self.charged)
    @rule(which=st.integers(0, 9), micro=micros)
    def correct_a_charge(self, which: int, micro: int) -> None:
        number = sorted(self.charged)[which % len(self.charged)]
        owner, before = self.charged.pop(number)
        legs = (Leg(customer(owner), -micro), Leg("revenue:energy", micro))
        lines = {"line:energy_import": f"0-1@1={micro}"}
        undone, _ = self.house.do(lambda tx: correct(tx, number, legs, lines, {"by": "li"}, self.house.now_ms))
        assert undone.number == self.numbers + 1
        self.moved({customer(owner): before, "revenue:energy": -before})
        self.moved({customer(owner): -micro, "revenue:energy": micro})
        self.undone.add(number)
        self.charged[self.numbers] = (owner, micro)

    @precondition(lambda self: self.fees)
    @rule(which=st.integers(0, 9))
    def take_a_fee_back(self, which: int) -> None:
        number = sorted(self.fees)[which % len(self.fees)]
        owner, micro = self.fees.pop(number)
        self.do(lambda tx: reverse(tx, number, {"by": "li"}, self.house.now_ms))
        self.moved({customer(owner): micro, "revenue:late_fee": -micro})
        self.undone.add(number)

    @precondition(lambda self: self.undone)
    @rule(which=st.integers(0, 9))
    def nothing_is_undone_twice(self, which: int) -> None:
        number = sorted(self.undone)[which % len(self.undone)]
        with pytest.raises(CannotCorrect, match="reversed already"):
            self.do(lambda tx: reverse(tx, number, {}, self.house.now_ms))

    @rule(ident=transfers, owner=accounts, micro=micros, due=st.sampled_from([1_000, 30_000]))
    def begin(self, ident: str, owner: str, micro: int, due: int) -> None:
        source, target = customer(owner), f"undelivered:{owner}"
        wanted = Transfer(ident, owner, "CNY", micro, source, target, self.house.now_ms, self.house.now_ms + due)
        known = self.under_way.get(ident) or self.ended.get(ident)
        if known is not None and known[:2] == (owner, micro):
            assert self.house.do(lambda tx: transfer.begin(tx, wanted)).id == ident
        elif known is not None or self.balances[source] < micro:
            with pytest.raises(TransferRefused):
                self.do(lambda tx: transfer.begin(tx, wanted))
        else:
            self.do(lambda tx: transfer.begin(tx, wanted))
            self.under_way[ident] = (owner, micro, self.house.now_ms + due)
            self.moved({source: -micro, f"pending:{ident}": micro})

    @rule(ident=transfers, way=st.sampled_from(["posted", "voided"]))
    def end(self, ident: str, way: str) -> None:
        end = transfer.post if way == "posted" else transfer.void
        if ident in self.under_way:
            owner, micro, _ = self.under_way.pop(ident)
            assert self.house.do(lambda tx: end(tx, ident, self.house.now_ms, {})).state == way
            self._end(ident, owner, micro, way)
        elif self.ended.get(ident, ("", 0, ""))[2] == way:
            assert self.house.do(lambda tx: end(tx, ident, self.house.now_ms, {})).state == way
        else:
            with pytest.raises(TransferRefused):
                self.do(lambda tx: end(tx, ident, self.house.now_ms, {}))

    def _end(self, ident: str, owner: str, micro: int, way: str) -> None:
        target = f"undelivered:{owner}" if way == "posted" else customer(owner)
        self.moved({f"pending:{ident}": -micro, target: micro})
        self.ended[ident] = (owner, micro, way)

    @rule(ident=transfers)
    def doubt(self, ident: str) -> None:
        if ident in self.under_way:
            owner, micro, _ = self.under_way[ident]
            self.do(lambda tx: transfer.doubt(tx, ident, self.house.now_ms))
            self.under_way[ident] = (owner, micro, None)
        else:
            with pytest.raises(TransferRefused):
                self.do(lambda tx: transfer.doubt(tx, ident, self.house.now_ms))

    @rule(ms=waits)
    def wait(self, ms: int) -> None:
        self.house.later(s=ms / 1000)
        due = [
            (due_ms, ident)
            for ident, (_, _, due_ms) in self.under_way.items()
            if due_ms is not None and due_ms <= self.house.now_ms
        ]
        assert self.do(lambda tx: transfer.expire_due(tx, self.house.now_ms)) == len(due)
        for _, ident in sorted(due):
            owner, micro, _ = self.under_way.pop(ident)
            self._end(ident, owner, micro, "voided")

    @rule(ms=waits)
    def close(self, ms: int) -> None:
        before_ms = self.house.now_ms - ms + 1
        upto = self.house.do(lambda tx: tx.entry_before(before_ms))
        books = self.house.do(lambda tx: balance_period(tx, before_ms))
        assert (books is not None) == (upto > self.closed)
        if books is None:
            return
        closing = self.house.do(lambda tx: close_period(tx, books, self.house.now_ms))
        assert closing is not None and closing.upto == upto
        assert self.house.do(lambda tx: close_period(tx, books, self.house.now_ms)) is None
        self.closed = upto
        self.moved({})

    @rule(owner=accounts)
    def a_failure_leaves_nothing(self, owner: str) -> None:
        def fails(tx: Tx) -> None:
            post_entry(tx, ledger.opening(owner, "CNY", 5, self.house.now_ms))
            raise RuntimeError("after the entry")

        with pytest.raises(RuntimeError):
            self.do(fails)

    # what always holds

    @invariant()
    def the_books_hold(self) -> None:
        if not hasattr(self, "house"):
            return
        assert self.house.do(verify_ledger) == (self.numbers, None)
        assert self.house.do(lambda tx: verify_ledger(tx, from_closing=True)) == (self.numbers, None)
        stored = self.house.do(lambda tx: tx.balances())
        assert {name: micro for (_, name), micro in stored.items() if micro} == {n: m for n, m in self.balances.items() if m}
        assert sum(stored.values()) == 0
        held = {ident: micro for ident, (_, micro, _) in self.under_way.items()}
        assert held == {ident: self.balances[f"pending:{ident}"] for ident in held}

    @invariant()
    def the_past_stays(self) -> None:
        if not hasattr(self, "house"):
            return
        number = self.numbers // 2
        for name in (customer("A-1"), "bank:bank", "revenue:energy"):
            assert self.house.do(lambda tx, name=name: tx.balance_at(name, "CNY", number)) == self.history[number].get(name, 0)


@cache
def _an_empty_store() -> bytes:
    """Of which each history gets a copy: making one anew takes longer than the history."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Store.open(str(Path(folder) / "empty.db")).close()
        return (Path(folder) / "empty.db").read_bytes()


class OnSqlite(Ledger):
    """Against the real store, whose constraints then must never be in the way."""

    def new_store(self) -> AnyStore:
        self.folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        path = Path(self.folder.name) / "wattgate.db"
        path.write_bytes(_an_empty_store())
        self.opened = Store.open(str(path), inline=True)
        return self.opened

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.close()
            self.folder.cleanup()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("machine", "histories"), [(Ledger, 30), (OnSqlite, 4)], ids=["memory", "sqlite"])
def test_random_histories(machine: type[Ledger], histories: int, proof_scale: int, figure: Figure) -> None:
    calm = [HealthCheck.too_slow]
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=histories * proof_scale, stateful_step_count=20, deadline=None, suppress_health_check=calm),
    )
    figure("histories of 20 steps, count", histories * proof_scale)


def test_kinds_of_the_chart_are_all_met() -> None:
    """A new kind of entry must come into the machine, or be said here to be proved elsewhere."""
    elsewhere = {EntryKind[name] for name in ("OPENING", "REGISTER", "FEE", "SUSPENSE", "ADJUSTMENT", "SETTLEMENT")}
    met = {
        *(EntryKind.TOPUP, EntryKind.CHARGE, EntryKind.LATE_FEE, EntryKind.DEBT, EntryKind.DEBT_RECOVERY, EntryKind.WRITE_OFF),
        *(EntryKind.EMERGENCY, EntryKind.EMERGENCY_RECOVERY, EntryKind.REVERSAL, EntryKind.CORRECTION, EntryKind.CLOSING),
        *(EntryKind.TRANSFER_PENDING, EntryKind.TRANSFER_POSTED, EntryKind.TRANSFER_VOIDED),
    }
    assert met | elsewhere == set(EntryKind)
