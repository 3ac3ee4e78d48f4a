"""Random histories of a street, any fault at any step, beside an auditor: first nothing unsafe, then everything caught up."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.adapters.store import Store
from gateway.domain.jobs import Answered
from gateway.domain.meters import Contact
from gateway.domain.signs import SignsSeen
from gateway.domain.supply import SIGNS, Command, CommandState, SwitchReading, Verb
from gateway.services import run_command
from gateway.services.meter_orders import finish_sign
from gateway.services.see_switch import see_switch
from tests.conftest import Figure
from tests.gateway.price_lists import flat
from tests.gateway.services.house import BROKE, DOWN, NAK, OK, POLICY, SILENT, AnyStore, House, account, local, meter, yuan
from tests.gateway.services.memory_tx import MemoryStore
from tests.gateway.services.simulated_street import BIT_LATE_MS, GLITCHES_WH, Bill, Customer, SimMeter

ANSWERS = {
    # what the line says, and when the meter obeys (None: never)
    "acknowledged": (OK, 0),
    "answer lost": (SILENT, 0),
    "line broke after it": (BROKE, 0),
    "order lost": (SILENT, None),
    "obeyed late": (SILENT, 5_000),
    "acknowledged and dead": (OK, None),
    "refused": (NAK, None),
    "line down": (DOWN, None),
    "killed before it arrived": (None, None),
    "killed after it arrived": (None, 0),
}
MOVING = [Verb.CUT, Verb.RESTORE, Verb.ALLOW_CLOSE]
METERS = {"m1": ("A-1", True, True), "m2": ("A-2", False, False), "m3": ("A-2", False, True)}
meters = st.sampled_from(sorted(METERS))
customers = st.sampled_from(["A-1", "A-2"])
causes = st.sampled_from(["emergency", "energy_debt"])


class Street(RuleBasedStateMachine):
    """Two customers, three meters, one gateway."""

    def new_store(self) -> AnyStore:
        return MemoryStore()

    @initialize(opening=st.sampled_from([0, 1, 6]), start=st.sampled_from(["2026-11-24 10:00", "2026-11-24 16:30"]))
    def settle(self, opening: int, start: str) -> None:
        now_ms = local(start)
        site = replace(House(MemoryStore()).site, retry_refused_ms=600_000)
        self.house = House(self.new_store(), now_ms=now_ms, site=site)
        far = replace(POLICY, reconnect_direct=False, close_micro=yuan("10"), no_cut_hours=True)
        self.house.settle(
            *(meter(ident, account=of, max_power_w=60_000) for ident, (of, _, _) in METERS.items()),
            accounts=[account("A-1", policy=replace(POLICY, no_cut_hours=False)), account("A-2", policy=far)],
            balance=str(opening),
            tariffs=[flat(617_123)],
        )
        money = {"price": 617_123, "low": yuan("5"), "cut": 0, "opening": yuan(str(opening))}
        self.customers = {
            "A-1": Customer(**money, close=0, night_calm=False),
            "A-2": Customer(**money, close=yuan("10"), night_calm=True),
        }
        self.meters = {}
        for ident, (of, direct, blocks) in METERS.items():
            self.meters[ident] = SimMeter(ident, of, direct, blocks, at_ms=now_ms, moved_ms=now_ms - 10_000)
            self.customers[of].bills[ident] = Bill(blocks)
        self.serials: set[str] = set()
        self.wanted_by_persons: dict[str, list[int]] = defaultdict(list)  # expiries of accepted cut orders
        self.sent: dict[str, int] = defaultdict(int)
        self.reads_since: dict[str, int] = {}
        self.orders = 0

    # time and what people do

    @rule(s=st.sampled_from([1, 3, 5, 20, 60, 300, 1000, 3600]))
    def wait(self, s: int) -> None:
        self.house.later(s=s)
        for it in self.meters.values():
            it.until(self.house.now_ms)

    @rule(ident=meters, load_w=st.sampled_from([0, 4, 800, 9_000]))
    def draw(self, ident: str, load_w: int) -> None:
        self.meters[ident].until(self.house.now_ms)
        self.meters[ident].load_w = load_w

    @rule(load_w=st.sampled_from([0, 800, 9_000]), minutes=st.integers(1, 4), look=st.booleans())
    def live(self, load_w: int, minutes: int, look: bool) -> None:
        """The street lives on, read once a minute."""
        for ident in METERS:
            self.draw(ident, load_w)
        for _ in range(minutes):
            self.wait(60)
            for ident in METERS:
                self.read(ident, None, look)

    @rule(ident=meters)
    def press(self, ident: str) -> None:
        self.meters[ident].push(self.house.now_ms)

    @rule(ident=meters)
    def bridge(self, ident: str) -> None:
        self.meters[ident].bridge(self.house.now_ms)

    @rule(ident=meters, welded=st.booleans())
    def weld(self, ident: str, welded: bool) -> None:
        self.meters[ident].until(self.house.now_ms)
        self.meters[ident].welded = welded

    @rule(of=customers, amount=st.sampled_from([1, 3, 9, 30]), serial=st.integers(0, 9))
    def pay(self, of: str, amount: int, serial: int) -> None:
        name = f"{of}-{serial}-{amount}"
        self.house.topup(f"{amount}.00", name, account=of)
        if name not in self.serials:
            self.customers[of].paid += amount * 1_000_000
        self.serials.add(name)
        self.audit()

    @rule(of=customers, s=st.sampled_from([0, 600]))
    def protect(self, of: str, s: int) -> None:
        until_ms = self.house.now_ms + s * 1000
        self.customers[of].protected_ms = until_ms
        self.house.change(of, protect_until_ms=until_ms if s else None)
        self.audit()

    @rule(of=customers, flag=st.booleans())
    def never_cut(self, of: str, flag: bool) -> None:
        self.customers[of].never_cut = flag
        self.house.change(of, never_cut=flag)
        self.audit()

    @rule(trusted=st.booleans(), path=st.booleans())
    def site(self, trusted: bool, path: bool) -> None:
        self.house.site = replace(self.house.site, clock_trusted=trusted, path_alive=path)

    @rule(ident=meters, verb=st.sampled_from(MOVING), cause=causes, lives_s=st.sampled_from([30, 600]))
    def order(self, ident: str, verb: Verb, cause: str, lives_s: int) -> None:
        self.orders += 1
        answer = self.house.order(verb, cause, ident=ident, id=f"O-{self.orders}", lives_s=lives_s)
        if answer.refused is None:
            before = self.wanted_by_persons[ident] if verb is Verb.CUT else []
            ours = [self.house.now_ms + lives_s * 1000] if verb is Verb.CUT and cause == "emergency" else []
            self.wanted_by_persons[ident] = before + ours
        self.audit()

    # what the line does

    @rule(ident=meters, disturbed=st.sampled_from([None, None, None, *GLITCHES_WH]), look=st.booleans())
    def read(self, ident: str, disturbed: int | None, look: bool) -> None:
        it = self.meters[ident]
        it.until(self.house.now_ms)
        bill = self.customers[it.account].bills[ident]
        wh = it.register_wh
        if disturbed is not None and bill.billed_wh is not None:
            wh = bill.billed_wh - 10 if disturbed < 0 else wh + disturbed
            if wh < 0:
                return
            bill.disturbed = True
        else:
            bill.read(wh, self.house.now_ms)
        kwh = f"{wh // 1000}.{wh % 1000 // 10:02d}"
        registers = {"total": kwh, "t1": kwh} if it.blocks else {"total": kwh}
        self.house.read(ident, contact=it.bit if look else None, **registers)
        self.audit()

    @rule(ident=meters)
    def glance(self, ident: str) -> None:
        """The switch alone is looked at on schedule."""
        it = self.meters[ident]
        it.until(self.house.now_ms)
        seen = SwitchReading(it.bit, "relay_bit", self.house.now_ms)
        self.house.do(lambda tx: see_switch(tx, ident, seen, self.house.site, self.house.now_ms))
        self.audit()

    def queued(self) -> Command | None:
        """Restores overtake cuts."""
        waiting = [c for c in self.house.open() if c.state is CommandState.QUEUED]
        return min(waiting, key=lambda c: c.verb is Verb.CUT, default=None)

    @precondition(lambda self: self.queued() is not None)
    @rule(answer=st.sampled_from(sorted(ANSWERS)))
    def send(self, answer: str) -> None:
        command = self.queued()
        assert command is not None
        reads = self.reads_since.get(command.id, 0)
        job = self.house.start(command.id)
        self.audit()
        if job is None:
            return
        self.must_be_allowed(command, job.verb)
        outcome, obeyed = ANSWERS[answer]
        if obeyed is not None:
            self.meters[job.meter].obey(job.verb.value, self.house.now_ms, late_ms=obeyed)
        self.house.later(s=0.1)
        if outcome is None:
            self.restart()
        else:
            self.house.finish(job, outcome)
            if outcome is DOWN:  # certainly nothing was sent
                self.sent[command.id] -= 1
                self.reads_since[command.id] = reads
        self.audit()

    def must_be_allowed(self, command: Command, verb: Verb) -> None:
        """The auditor's own judgement of a frame that is about to leave."""
        now_ms, customer = self.house.now_ms, self.customers[self.meters[command.meter].account]
        self.sent[command.id] += 1
        assert self.sent[command.id] <= 3
        if self.sent[command.id] > 1:
            assert self.reads_since[command.id] >= 2, "sent again blindly"
        self.reads_since[command.id] = 0
        if verb is not Verb.CUT:
            return
        assert not customer.never_cut and now_ms >= customer.protected_ms
        ordered = any(now_ms < expiry for expiry in self.wanted_by_persons[command.meter])
        missing = customer.missing_for_debt(now_ms, self.house.site.path_alive)
        assert ordered or (not missing and self.house.site.clock_trusted), f"a wrongful cut: {missing}"

    def to_look(self) -> list[Command]:
        return [c for c in self.house.open() if c.read_at_ms is not None and c.state is not CommandState.SENT]

    @precondition(lambda self: self.to_look())
    @rule(silent=st.booleans(), wait=st.booleans())
    def look(self, silent: bool, wait: bool) -> None:
        command = min(self.to_look(), key=lambda c: c.read_at_ms or 0)
        if (command.read_at_ms or 0) > self.house.now_ms:
            if not wait:
                return
            self.house.now_ms = command.read_at_ms or 0
        self.read_back(command, silent)

    @rule(answers=st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=4))
    def serve(self, answers: list[str]) -> None:
        """The line does its work for a while, with these answers to what it sends."""
        for answer in answers:
            if self.queued() is not None:
                self.send(answer)
            while self.to_look() and self.queued() is None:
                self.look(False, True)

    def read_back(self, command: Command, silent: bool = False) -> None:
        it = self.meters[command.meter]
        it.until(self.house.now_ms)
        now_ms = self.house.now_ms
        if command.verb in SIGNS:
            shown = SILENT if silent else Answered(signs=SignsSeen(it.alarm, None, now_ms))
            self.house.do(lambda tx: finish_sign(tx, command.id, shown, now_ms))
        else:
            outcome = SILENT if silent else Answered(switch=SwitchReading(it.bit, "relay_bit", now_ms, it.power_w))
            self.house.do(lambda tx: run_command.finish_readback(tx, command.id, outcome, self.house.site, now_ms))
        self.reads_since[command.id] = self.reads_since.get(command.id, 0) + (not silent)
        after = self.house.command(command.id).state

        def stood(contact: Contact) -> bool:
            """There now, or until somebody moved it within the time the bit takes."""
            return it.contact is contact or self.house.now_ms - it.moved_ms < BIT_LATE_MS

        if after is CommandState.VERIFIED:
            assert stood(Contact.OPEN if command.verb is Verb.CUT else Contact.CLOSED), "verified, but it was not there"
            assert command.verb is not Verb.CUT or it.power_w <= 5, "verified with current flowing"
        if after is CommandState.DONE:
            assert it.alarm is (command.verb is Verb.ALARM), "done, but the meter does not show it"
        if after is CommandState.ALLOWED:
            assert stood(Contact.ALLOWED), "allowed, but it was not"
        self.audit()

    @rule()
    def restart(self) -> None:
        self.house.restart()
        assert not [c for c in self.house.open() if c.state not in (CommandState.QUEUED, CommandState.UNCERTAIN)]
        self.audit()

    # what the auditor sees

    def audit(self) -> None:
        """After every use case: the money to the last micro-unit, and the notices."""
        for event in self.house.events():
            if event.kind == "low_balance_warned":
                assert event.account is not None
                self.customers[event.account].warned = True
        for ident, customer in self.customers.items():
            assert yuan(self.house.balance(ident)) == customer.balance
            customer.stands(self.house.now_ms)
            if self.house.account(ident).credit == "cut" and not customer.off:
                customer.off = True
                assert customer.balance <= customer.cut
                seen = {self.house.meter(it.id).observed for it in self.meters.values() if it.account == ident}
                assert seen == {Contact.OPEN}, "called cut, but not every switch was seen open"

    @invariant()
    def no_switch_has_two_orders(self) -> None:
        if hasattr(self, "house"):
            for ident in METERS:
                under_way = [command.verb in SIGNS for command in self.house.open(ident)]
                assert len(under_way) == len({*under_way}), "at most one for the switch, and one for the alarm"

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        self.heal()
        for _ in range(40):
            self.round()
        assert self.house.verified() is None
        assert self.house.open() == []
        for ident, customer in self.customers.items():
            lit = {it.id: it.contact is Contact.CLOSED for it in self.meters.values() if it.account == ident}
            credit = self.house.account(ident).credit
            if customer.balance <= customer.cut:
                assert not any(lit.values()) and credit == "cut", f"{ident} owes and has light: {lit}, {credit}"
            elif customer.balance > customer.close:
                assert all(lit.values()) and credit in ("normal", "low"), f"{ident} has paid and is dark: {lit}, {credit}"
            else:
                assert len(set(lit.values())) == 1 and (credit == "cut") is not any(lit.values())
        close = getattr(self.house.store, "close", None)
        if close is not None:
            close()

    def heal(self) -> None:
        """A working day with nothing broken, nobody protected, and no order of a person left."""
        self.house.now_ms = max(self.house.now_ms, local("2026-11-26 09:30"))
        while not 9 <= (self.house.now_ms // 3_600_000 + 8) % 24 < 16:
            self.house.later(hours=1)
        self.house.site = replace(self.house.site, clock_trusted=True, path_alive=True)
        for it in self.meters.values():
            it.until(self.house.now_ms)
            it.welded, it.load_w = False, 0
        for ident in self.customers:
            self.never_cut(ident, False)
            self.protect(ident, 0)
        for ident in METERS:
            self.read(ident, None, True)
        for ident in METERS:
            if any("operator" in reason for reason in self.house.meter(ident).cut_reasons):
                self.order(ident, Verb.RESTORE, "emergency", 600)

    def round(self) -> None:
        """A minute of a line that works, and of customers who press their buttons."""
        self.wait(60)
        for ident in METERS:
            self.read(ident, None, True)
        for _ in range(6):
            while self.queued() is not None:
                self.send("acknowledged")
            self.wait(5)
            for command in self.to_look():
                if (command.read_at_ms or 0) <= self.house.now_ms:
                    self.read_back(command)
        for ident in METERS:
            self.press(ident)


class StreetOnSqlite(Street):
    """The same on a real file: few, because every step waits for the disk."""

    def new_store(self) -> AnyStore:
        self.folder = tempfile.TemporaryDirectory()
        return Store.open(str(Path(self.folder.name) / "wattgate.db"), inline=True)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestStreet = Street.TestCase
TestStreet.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStreetOnSqlite = StreetOnSqlite.TestCase
TestStreetOnSqlite.settings = settings(
    max_examples=3, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def walk(street: Street, rng: Random, steps: int) -> None:
    """A long history that favours what a street does most; hypothesis finds the short and odd ones."""
    street.settle(rng.choice([0, 1, 6]), rng.choice(["2026-11-24 10:00", "2026-11-24 16:30"]))
    healthy = ["acknowledged"] * 6
    for _ in range(steps):
        ident, of = rng.choice(sorted(METERS)), rng.choice(["A-1", "A-2"])
        match rng.choices(range(14), weights=[10, 10, 4, 4, 3, 2, 2, 2, 1, 1, 1, 2, 1, 2])[0]:
            case 0:
                street.live(rng.choice([0, 800, 9_000]), rng.randint(1, 4), rng.random() < 0.8)
            case 1:
                street.serve([rng.choice([*healthy, *sorted(ANSWERS)]) for _ in range(rng.randint(1, 4))])
            case 2:
                street.pay(of, rng.choice([1, 3, 9]), rng.randint(0, 99))
            case 3:
                street.wait(rng.choice([1, 3, 5, 20, 60]))
            case 4:
                street.press(ident)
            case 5:
                street.read(ident, rng.choice(GLITCHES_WH), True)
            case 6 if street.queued() is not None:
                street.send(rng.choice(sorted(ANSWERS)))
            case 7:
                street.restart()
            case 8:
                street.weld(ident, rng.random() < 0.3)
            case 9:
                street.protect(of, rng.choice([0, 600]))
            case 10:
                street.never_cut(of, rng.random() < 0.3)
            case 11:
                street.site(rng.random() < 0.8, rng.random() < 0.8)
            case 12:
                street.bridge(ident)
            case 13:
                street.order(ident, rng.choice(MOVING), rng.choice(["emergency", "energy_debt"]), rng.choice([30, 600]))
    street.teardown()


@pytest.mark.parametrize("seed", range(8))
def test_long_histories(seed: int, proof_scale: int, figure: Figure) -> None:
    sent = 0
    for n in range(proof_scale):
        street, rng = Street(), Random(f"{seed}/{n}")
        walk(street, rng, 150)
        sent += sum(street.sent.values())
    assert sent > 0
    figure("control frames judged by the auditor", sent)
