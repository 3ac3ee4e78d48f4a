"""Random lives of accounts and meters beside a book of its own: every Wh is charged once, to whoever paid when it flowed, by the
ratio that held; money is where it was put; what is refused or breaks off changes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.life import (
    Act,
    ChangeCt,
    ChangeMeter,
    CloseAccount,
    ImportArchive,
    Installed,
    Kwh,
    MoveMeters,
    OnDebt,
    OpenAccount,
    RefundRest,
    Refusal,
)
from gateway.domain.meters import Meter
from gateway.domain.readings import TOTAL
from gateway.services.acts import Answer
from gateway.services.change_ct import change_ct
from gateway.services.change_meter import change_meter
from gateway.services.close_account import close_account
from gateway.services.import_archive import import_archive
from gateway.services.move_meter import move_meters
from gateway.services.open_account import open_account
from gateway.services.ports import Site, Tx
from gateway.services.refund_rest import pay_refund, refund_rest, void_refund
from tests.conftest import Figure
from tests.gateway.services.house import FLAT, AnyStore, House, account, meter, yuan
from tests.gateway.services.life_house import act
from tests.gateway.services.memory_tx import MemoryStore

MICRO_PER_WH = 500
COIN = 10_000
IDS = ("m1", "m2", "m3")
meters = st.sampled_from(IDS)
steps = st.integers(0, 120)  # of 0.01 kWh on the display
hows = st.sampled_from(["typed", "read"])
UseCase = Callable[[Tx, Site, int], Answer]


class Broke(Exception):
    """In the middle of a transaction."""


@dataclass
class Device:
    """What hangs at a metering point. display: 0.01 kWh; counting: the bill of whoever pays has begun."""

    display: int = 100_000
    ratio: int = 1
    owner: str | None = None
    counting: bool = False
    address: int = 1

    def kwh(self) -> Kwh:
        total = Decimal(self.display).scaleb(-2)
        return {TOTAL: total, f"{TOTAL}_t1": total, f"{TOTAL}_t2": Decimal("0.00")}


class Life(RuleBasedStateMachine):
    """The model: devices, Wh by account as they flowed, what was paid in and given back, and what is on its way back."""

    def new_store(self) -> AnyStore:
        return MemoryStore()

    @initialize()
    def settle(self) -> None:
        self.house = House(self.new_store()).settle(*(self.domain(id, Device()) for id in IDS), accounts=[], tariffs=[FLAT])
        self.devices = {id: Device() for id in IDS}
        self.flowed: dict[str, int] = {}
        self.paid: dict[str, int] = {}
        self.closed: set[str] = set()
        self.pending: dict[str, tuple[str, int]] = {}
        self.out = 0
        self.count = 0

    # what the model does

    @staticmethod
    def domain(id: str, device: Device, owner: str | None = None) -> Meter:
        ratio = device.ratio
        return meter(id, account=owner, address=str(device.address), ratio=Fraction(ratio), count_wh=10 * ratio)

    def installed(self, id: str, owner: str | None, how: str, device: Device | None = None) -> Installed:
        """A meter as it will be, with what its display shows or as it has just been read."""
        self.house.later(minutes=1)
        if how == "read":
            self.read(id)
        now = self.devices[id]
        return Installed(self.domain(id, device or now, owner), now.kwh() if how == "typed" else None)

    def flow(self, id: str, counts: int) -> None:
        device = self.devices[id]
        device.display += counts
        if device.owner is not None and device.counting:
            self.flowed[device.owner] += counts * 10 * device.ratio

    def read(self, id: str) -> None:
        device = self.devices[id]
        total = f"{Decimal(device.display).scaleb(-2):f}"
        assert self.house.block(id, total) == "confirmed"
        device.counting = device.owner is not None

    def has(self, owner: str) -> int:
        """Micro-units, when everything is read."""
        return self.paid[owner] - self.flowed[owner] * MICRO_PER_WH

    def new_act(self) -> Act:
        self.count += 1
        return act(f"R-{self.count}")

    def do(self, usecase: UseCase, *, breaks: bool = False) -> Answer:
        """The use case; again the same answer. breaks: the first time something fails after it, and leaves nothing."""

        def whole(tx: Tx) -> Answer:
            return usecase(tx, self.house.site, self.house.now_ms)

        if breaks:
            before = self.picture()
            with pytest.raises(Broke):
                self.house.do(lambda tx: _broken(whole, tx))
            assert self.picture() == before
        answer = self.house.do(whole)
        after = self.picture()
        assert (self.house.do(whole), self.picture()) == (answer, after)
        return answer

    def refused(self, usecase: UseCase, why: str) -> None:
        before = self.picture()
        with pytest.raises(Refusal, match=why):
            self.house.do(lambda tx: usecase(tx, self.house.site, self.house.now_ms))
        assert self.picture() == before

    def picture(self) -> tuple[object, ...]:
        return self.house.do(
            lambda tx: (
                tx.accounts(), tx.meters(), [tx.billing(id) for id in IDS], tx.journal_end(), tx.audit_end(), len(tx.events(1000)),
            )
        )  # fmt: skip

    # what happens

    @rule(id=meters, counts=steps, seen=st.booleans())
    def use(self, id: str, counts: int, seen: bool) -> None:
        self.flow(id, counts)
        self.house.later(minutes=20)
        if seen:
            self.read(id)

    @rule(id=meters, how=st.sampled_from(["typed", "read", "wait"]), cents=st.integers(0, 5000), breaks=st.booleans())
    def open(self, id: str, how: str, cents: int, breaks: bool) -> None:
        self.house.later(minutes=20)
        device, owner = self.devices[id], f"A-{self.count}"
        installed = self.installed(id, owner, how)
        order = OpenAccount(self.new_act(), account(owner, filed=False), {"id": "P"}, (installed,), cents * COIN, 0, "K-1")
        if device.owner is not None:
            return self.refused(lambda tx, site, now_ms: open_account(tx, order, site, now_ms), "move it, or close")
        self.do(lambda tx, site, now_ms: open_account(tx, order, site, now_ms), breaks=breaks)
        self.flowed[owner], self.paid[owner] = 0, cents * COIN
        device.owner, device.counting = owner, how != "wait"
        return None

    @rule(pick=st.integers(0, 9), cents=st.integers(1, 5000))
    def pay(self, pick: int, cents: int) -> None:
        if self.paid:
            owner = sorted(self.paid)[pick % len(self.paid)]
            self.count += 1
            outcome = self.house.topup("1.00", f"S-{self.count}", account=owner, amount_micro=cents * COIN)
            assert (outcome.verdict == "refused") == (owner in self.closed)
            self.paid[owner] += 0 if owner in self.closed else cents * COIN

    @rule(id=meters, to=st.integers(-1, 5), how=hows, breaks=st.booleans())
    def move(self, id: str, to: int, how: str, breaks: bool) -> None:
        device = self.devices[id]
        open_ones = sorted(self.paid.keys() - self.closed)
        owner = open_ones[to % len(open_ones)] if to >= 0 and open_ones else None
        order = MoveMeters(self.new_act(), (self.installed(id, owner, how),))
        if owner == device.owner:
            return self.refused(lambda tx, site, now_ms: move_meters(tx, order, site, now_ms), "already")
        self.do(lambda tx, site, now_ms: move_meters(tx, order, site, now_ms), breaks=breaks)
        device.owner, device.counting = owner, owner is not None
        return None

    @rule(id=meters, counts=steps, first=st.integers(100_000, 900_000), breaks=st.booleans())
    def exchange(self, id: str, counts: int, first: int, breaks: bool) -> None:
        self.flow(id, counts)
        self.house.later(minutes=5)
        old = self.devices[id]
        new = replace(old, display=first, address=old.address + 1)
        order = ChangeMeter(self.new_act(), self.domain(id, new, old.owner), old.kwh(), new.kwh())
        self.do(lambda tx, site, now_ms: change_meter(tx, order, site, now_ms), breaks=breaks)
        self.devices[id] = replace(new, counting=old.owner is not None)

    @rule(id=meters, counts=steps, ratio=st.sampled_from([1, 2, 3]), breaks=st.booleans())
    def transformers(self, id: str, counts: int, ratio: int, breaks: bool) -> None:
        self.flow(id, counts)
        self.house.later(minutes=5)
        device = self.devices[id]
        order = ChangeCt(self.new_act(), self.domain(id, replace(device, ratio=ratio), device.owner), device.kwh())
        if ratio == device.ratio:
            return self.refused(lambda tx, site, now_ms: change_ct(tx, order, site, now_ms), "already")
        self.do(lambda tx, site, now_ms: change_ct(tx, order, site, now_ms), breaks=breaks)
        device.ratio, device.counting = ratio, device.owner is not None
        return None

    @rule(pick=st.integers(0, 9), counts=steps, how=hows, keep=st.booleans(), refund=st.booleans(), breaks=st.booleans())
    def close(self, pick: int, counts: int, how: str, keep: bool, refund: bool, breaks: bool) -> None:
        open_ones = sorted(self.paid.keys() - self.closed)
        if not open_ones:
            return
        owner = open_ones[pick % len(open_ones)]
        own = [id for id in IDS if self.devices[id].owner == owner]
        for id in own:
            self.flow(id, counts)
        self.house.later(minutes=20)
        installed = tuple(self.installed(id, None, how) for id in own)
        rest = self.has(owner)
        on_debt, via = OnDebt.KEEP if keep else OnDebt.REFUSE, "counter" if refund else None
        order = CloseAccount(self.new_act(), owner, installed, on_debt=on_debt, refund=via)
        if rest < 0 and not keep:
            return self.refused(lambda tx, site, now_ms: close_account(tx, order, site, now_ms), "take the payment first")
        told = self.do(lambda tx, site, now_ms: close_account(tx, order, site, now_ms), breaks=breaks)
        self.closed.add(owner)
        for id in own:
            self.devices[id].owner, self.devices[id].counting = None, False
        if refund and rest > 0:
            self.paid[owner] -= rest  # what no coin has is given up
            if rest >= COIN:
                self.pending[order.act.id] = (owner, rest - rest % COIN)
        assert (told["refund"] is not None) == (order.act.id in self.pending)

    @rule(pick=st.integers(0, 9), cents=st.integers(1, 3000))
    def give_back(self, pick: int, cents: int) -> None:
        if not self.paid:
            return
        owner, micro = sorted(self.paid)[pick % len(self.paid)], cents * COIN
        for id in IDS:
            if self.devices[id].owner == owner:
                self.house.later(minutes=1)
                self.read(id)
        order = RefundRest(self.new_act(), owner, "counter", micro)
        if self.has(owner) < micro:
            return self.refused(lambda tx, site, now_ms: refund_rest(tx, order, site, now_ms), "less than is to be refunded")
        self.do(lambda tx, site, now_ms: refund_rest(tx, order, site, now_ms))
        self.paid[owner] -= micro
        self.pending[order.act.id] = (owner, micro)

    @rule(pick=st.integers(0, 9), out=st.booleans())
    def decide(self, pick: int, out: bool) -> None:
        if not self.pending:
            return
        refund = sorted(self.pending)[pick % len(self.pending)]
        owner, micro = self.pending[refund]
        alone, other = self.new_act(), replace(self.new_act(), by="wang")
        self.refused(lambda tx, site, now_ms: pay_refund(tx, alone, refund, "K-2", site, now_ms), "another person than li")
        if out:
            self.do(lambda tx, site, now_ms: pay_refund(tx, other, refund, "K-2", site, now_ms))
            self.out += micro
        else:
            self.do(lambda tx, site, now_ms: void_refund(tx, other, refund, site, now_ms))
            self.paid[owner] += micro
        del self.pending[refund]

    @rule()
    def import_what_stands(self) -> None:
        before = self.house.do(lambda tx: (tx.accounts(), tx.meters(), tx.journal_end(), [tx.billing(id) for id in IDS]))
        openings = tuple((each, yuan("9"), 0) for each in before[0] if not each.closed)
        for _ in range(2):
            self.do(_importing(ImportArchive(self.new_act(), openings, tuple(before[1]))))
        assert self.house.do(lambda tx: (tx.accounts(), tx.meters(), tx.journal_end(), [tx.billing(i) for i in IDS])) == before

    @rule()
    def look(self) -> None:
        """Everything is read: the ledger has what the book has."""
        self.house.later(minutes=1)
        for id in IDS:
            self.read(id)
        stored = self.house.do(lambda tx: tx.balances())
        stands = {owner: stored.get(("CNY", ledger.customer(owner)), 0) for owner in self.paid}
        assert stands == {owner: self.has(owner) for owner in self.paid}
        assert stored.get(("CNY", "revenue:energy"), 0) == sum(self.flowed.values()) * MICRO_PER_WH

    # what always holds

    @invariant()
    def the_books_hold(self) -> None:
        if not hasattr(self, "house"):
            return
        assert self.house.verified() is None
        stored = self.house.do(lambda tx: tx.balances())
        assert sum(stored.values()) == 0
        held = {ident: micro for ident, (_, micro) in self.pending.items()}
        assert held == {ident: stored.get(("CNY", f"pending:refund:{ident}"), 0) for ident in held}
        assert self.house.do(lambda tx: tx.balance("bank:counter", "CNY")) == self.out
        owners = {found.id: found.account for found in self.house.do(lambda tx: tx.meters())}
        assert owners == {id: device.owner for id, device in self.devices.items()}

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.look()


def _importing(order: ImportArchive) -> UseCase:
    return lambda tx, site, now_ms: import_archive(tx, order, site, now_ms)


def _broken(whole: Callable[[Tx], Answer], tx: Tx) -> Answer:
    whole(tx)
    raise Broke


@cache
def _an_empty_store() -> bytes:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Store.open(str(Path(folder) / "empty.db")).close()
        return (Path(folder) / "empty.db").read_bytes()


class OnSqlite(Life):
    """Against the real store, whose constraints then must never be in the way."""

    def new_store(self) -> AnyStore:
        self.folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        path = Path(self.folder.name) / "wattgate.db"
        path.write_bytes(_an_empty_store())
        self.opened = Store.open(str(path), inline=True)
        return self.opened

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if hasattr(self, "opened"):
                self.opened.close()
                self.folder.cleanup()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("machine", "lives"), [(Life, 40), (OnSqlite, 3)], ids=["memory", "sqlite"])
def test_random_lives(machine: type[Life], lives: int, proof_scale: int, figure: Figure) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=lives * proof_scale,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
    figure("lives of 25 steps, count", lives * proof_scale)
