"""Random lives of one account beside a model that was written from prepayment.md: no wrongful cut, and none forgotten.

The model keeps books of its own in whole cents and judges by the rules as they are written there; of the gateway it sees only what
a customer could: the balance, notices that reached him, and the frame that is about to leave.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway.domain.credit import CreditPolicy, CreditState, Step
from gateway.domain.meters import Contact
from gateway.domain.notices import NoticeState
from gateway.domain.supply import CommandState, Verb
from gateway.services.accept_credit import accept_credit
from gateway.services.correct_entry import reverse
from gateway.services.judge_account import judge_account
from gateway.services.notify import confirm_step
from gateway.services.ports import TopUpVerdict, Tx
from tests.conftest import Figure
from tests.gateway.services.house import House, account, local, meter
from tests.gateway.services.memory_tx import MemoryStore

CENT, MINUTE, DAY = 10_000, 60_000, 86_400_000
FRESH, HOLDS = 15 * MINUTE, 120 * MINUTE
PRICE = 50
"""Cents a kWh."""


@dataclass(frozen=True)
class Rules:
    """A policy in the model's words: cents, and milliseconds before a cut. early: at which level a notice is due, and how long it
    stands; last: what announces the cut; paper: notices that a person must confirm."""

    low: int = 500
    very_low: int | None = None
    cut: int = 0
    close: int = 0
    inclusive: bool = False
    grace: int = 0
    early: tuple[tuple[str, str, int], ...] = (("low", "low", 0),)
    last: tuple[tuple[str, int], ...] = ()
    delay: int = 0
    paper: tuple[str, ...] = ()
    lend: int = 0
    at: int = 0
    auto: bool = False
    hoard: int = 0
    night: bool = False

    def policy(self) -> CreditPolicy:
        """What the gateway is told."""

        def channel(name: str) -> tuple[str, ...]:
            return ("paper",) if name in self.paper else ("log",)

        early = [Step(name, channel(name), CreditState(at), before) for name, at, before in self.early]
        last = [Step(name, channel(name), CreditState.EXHAUSTED, before, last=True) for name, before in self.last]
        return CreditPolicy(
            low_micro=self.low * CENT,
            very_low_micro=None if self.very_low is None else self.very_low * CENT,
            cut_micro=self.cut * CENT,
            close_micro=self.close * CENT,
            close_inclusive=self.inclusive,
            reconnect_direct=True,
            no_cut_hours=self.night,
            grace_ms=self.grace,
            trip_delay_ms=self.delay,
            emergency_micro=self.lend * CENT,
            emergency_at_micro=self.at * CENT,
            emergency_auto=self.auto,
            hoard_micro=self.hoard * CENT,
            steps=(*early, *last),
        )


POLICIES = {
    "plain": Rules(),
    "overdraft": Rules(very_low=200, cut=-300, close=100),
    "inclusive": Rules(close=1000, inclusive=True),
    "grace": Rules(grace=2 * DAY, cut=-200),
    "letter": Rules(very_low=100, early=(("low", "low", 0), ("letter", "exhausted", DAY)), paper=("letter",)),
    "announced": Rules(last=(("call", 60 * MINUTE), ("sms", 30 * MINUTE)), cut=-100),
    "delayed": Rules(delay=10 * MINUTE, grace=60 * MINUTE, night=True),
    "lent": Rules(lend=500, at=50, auto=True, close=100, inclusive=True),
    "asked": Rules(very_low=300, lend=500, at=100, cut=-100),
    "hoard": Rules(hoard=3000, close=500),
}


@dataclass
class Model:
    """What the rules make of this customer. own: what is his, in cents; lent: what he has of us beside it."""

    rules: Rules
    own: int
    lent: int = 0
    took: bool = False
    off: bool = False
    never: bool = False
    protected_ms: int = 0
    was_spared: bool = False
    out_ms: int | None = None
    episode_ms: int | None = None
    read_ms: int = 0
    said: dict[str, int] = field(default_factory=dict)

    @property
    def spendable(self) -> int:
        return self.own + self.lent

    def exempt(self, now_ms: int) -> bool:
        return self.never or now_ms < self.protected_ms

    def closes(self, cents: int) -> bool:
        enough = cents >= self.rules.close if self.rules.inclusive else cents > self.rules.close
        return cents > self.rules.cut and enough

    def state(self, now_ms: int) -> str:
        if self.spendable <= self.rules.cut:
            return "cut" if self.off else "exhausted"
        if self.off:
            return "cut"
        if self.own < 0:
            return "emergency"
        if self.rules.very_low is not None and self.own <= self.rules.very_low:
            return "very_low"
        return "low" if self.own <= self.rules.low else "normal"

    def pays(self, cents: int) -> None:
        """a7: to the threshold, then what was used of the emergency credit, then the balance."""
        used = self.lent - min(max(self.spendable - self.rules.cut, 0), self.lent)
        missing = max(self.rules.cut - self.spendable, 0)
        self.own += cents
        self.lent -= min(used, max(cents - missing, 0))

    def judged(self, now_ms: int) -> None:
        """Whatever happened, this is what follows from it at once."""
        if self.lent and self.own > max(self.rules.cut, self.rules.at):
            self.lent = 0
        if not self.lent and self.own > self.rules.at:
            self.took = False
        if self.rules.auto and self.may_take() is None:
            self.lent, self.took = self.rules.lend, True
        if self.exempt(now_ms) or self.closes(self.spendable):
            self.off = False
        out = self.spendable <= self.rules.cut
        state = self.state(now_ms)
        if self.was_spared and not self.exempt(now_ms):
            self.out_ms = self.episode_ms = None
        self.was_spared = self.exempt(now_ms) and (self.was_spared or out) and state != "normal"
        if state == "normal":
            self.episode_ms = None
        elif self.episode_ms is None:
            self.episode_ms = now_ms
        if self.exempt(now_ms) and out:
            self.out_ms = None
        elif out or self.off:
            self.out_ms = now_ms if self.out_ms is None else self.out_ms
        elif self.own >= 0:
            self.out_ms = None

    def may_take(self) -> str | None:
        """Why emergency credit is not to be had; None: it is."""
        if not self.rules.lend or self.took or self.lent or self.own > self.rules.at:
            return "not offered"
        after = self.spendable + self.rules.lend
        return None if (self.closes(after) if self.off else after > self.rules.cut) else "no help"

    def wrongful(self, now_ms: int, path: bool, clock: bool) -> list[str]:
        """Why nobody may cut now, by the rules."""
        found = []
        if self.exempt(now_ms):
            found.append("exempt")
        if self.spendable > self.rules.cut and not self.off:
            found.append("credit")
        if now_ms - self.read_ms > FRESH:
            found.append("reading")
        if not path or not clock:
            found.append("site")
        hour = now_ms // 3_600_000 % 24 + 8
        weekday = (now_ms + 8 * 3_600_000) // DAY % 7  # 1970-01-01 was a Thursday: 0
        if self.rules.night and (not 9 <= hour % 24 < 17 or weekday in (2, 3) or (weekday == 1 and hour % 24 >= 12)):
            found.append("hours")
        if self.out_ms is None or now_ms - self.out_ms < self.rules.grace:
            found.append("grace")
        for name, level, before in self.rules.early:
            since = self.out_ms if level == "exhausted" else self.episode_ms
            at_ms = self.said.get(name)
            if since is None or at_ms is None or at_ms < since or now_ms - at_ms < before:
                found.append(name)
        if not self.off:
            longest = max([self.rules.delay, *(before for _, before in self.rules.last)])
            for name, before in self.rules.last:
                at_ms = self.said.get(name)
                if at_ms is None or not before <= now_ms - at_ms <= longest + HOLDS:
                    found.append(name)
        return found


class Life(RuleBasedStateMachine):
    """One customer, one meter that obeys."""

    @initialize(policy=st.sampled_from(sorted(POLICIES)), opening=st.sampled_from([0, 300, 900]))
    def settle(self, policy: str, opening: int) -> None:
        rules = POLICIES[policy]
        self.house = House(MemoryStore(), now_ms=local("2026-11-23 10:00"))
        self.house.settle(meter(), accounts=[account(policy=rules.policy())], balance=f"{opening / 100:.2f}")
        self.model = Model(rules, opening)
        self.wh, self.closed, self.serial, self.cuts = 1_000_000, True, 0, 0
        self.paid: list[tuple[int, int]] = []  # entry and cents of payments that still stand
        self.told = 0
        self.read()

    # what happens

    @rule(kwh=st.sampled_from([0, 1, 2, 5, 8, 20]), minutes=st.sampled_from([5, 20, 60, 600]))
    def use(self, kwh: int, minutes: int) -> None:
        self.house.later(minutes=max(minutes, kwh))
        if self.closed:
            self.wh += kwh * 1000
            self.model.own -= kwh * PRICE
        self.read()

    def read(self) -> None:
        """The register, with its rates, and the relay as it stands."""
        kwh = f"{self.wh // 1000}.00"
        self.house.read(total=kwh, t1=kwh, t2="0.00", contact=Contact.CLOSED if self.closed else Contact.OPEN)
        self.model.read_ms = self.house.now_ms
        self.audit()

    @rule(minutes=st.sampled_from([1, 10, 30, 65, 150, 1440]))
    def wait(self, minutes: int) -> None:
        """Nothing happens, and nothing is judged."""
        self.house.later(minutes=minutes)

    @rule(cents=st.sampled_from([1, 50, 100, 300, 501, 1500, 4000]))
    def pay(self, cents: int) -> None:
        self.serial += 1
        outcome = self.house.topup(f"{cents // 100}.{cents % 100:02d}", f"S-{self.serial}")
        too_much = self.model.rules.hoard and self.model.own + cents > self.model.rules.hoard
        assert (outcome.verdict is TopUpVerdict.REFUSED) is bool(too_much)
        if too_much:
            assert outcome.payment.problem == "over_hoarding_limit"
            return
        assert outcome.payment.entry is not None
        self.paid.append((outcome.payment.entry, cents))
        self.model.pays(cents)
        self.audit()

    @precondition(lambda self: self.paid)
    @rule(newest=st.booleans())
    def take_back(self, newest: bool) -> None:
        """The bank reverses a payment; no cut for what is owed then before a new notice."""
        number, cents = self.paid.pop(-1 if newest else 0)

        def usecase(tx: Tx) -> None:
            reverse(tx, number, {"reason": "bank"}, self.house.now_ms)
            judge_account(tx, "A-1", self.house.site, self.house.now_ms)

        self.house.do(usecase)
        self.model.own -= cents
        if self.model.spendable <= self.model.rules.cut:
            self.model.out_ms = self.model.episode_ms = None
        self.audit()

    @rule(minutes=st.sampled_from([0, 30, 3000]))
    def protect(self, minutes: int) -> None:
        until_ms = self.house.now_ms + minutes * MINUTE
        self.model.protected_ms = until_ms
        self.house.change(protect_until_ms=until_ms if minutes else None)
        self.audit()

    @rule(flag=st.booleans())
    def never_cut(self, flag: bool) -> None:
        self.model.never = flag
        self.house.change(never_cut=flag)
        self.audit()

    @rule(policy=st.sampled_from(sorted(POLICIES)))
    def edit(self, policy: str) -> None:
        """Another policy, in force at once."""
        self.model.rules = POLICIES[policy]
        self.house.change(policy=POLICIES[policy].policy())
        self.audit()

    @rule(path=st.booleans(), clock=st.booleans())
    def site(self, path: bool, clock: bool) -> None:
        self.house.site = replace(self.house.site, path_alive=path, clock_trusted=clock)

    @rule()
    def ask_for_credit(self) -> None:
        refused = self.house.do(lambda tx: accept_credit(tx, "A-1", "customer", self.house.site, self.house.now_ms))
        assert (refused is None) is (self.model.may_take() is None), refused
        if refused is None:
            self.model.lent, self.model.took = self.model.rules.lend, True
        self.audit()

    @rule()
    def confirm(self) -> None:
        """A person delivers every paper that waits."""
        for notice in self.house.do(lambda tx: tx.notices("A-1", 0, 500)):
            if notice.channel == "paper" and notice.state is NoticeState.QUEUED:
                step = notice.step
                self.house.do(lambda tx, step=step: confirm_step(tx, "A-1", step, "paper", "operator:li", self.house.now_ms))  # type: ignore[misc]

    @rule()
    def bridge(self) -> None:
        """Somebody closes the contact by force."""
        self.closed = True

    @rule(orders=st.integers(1, 3))
    def serve(self, orders: int) -> None:
        """The line does its work, and the relay is seen."""
        for _ in range(orders):
            queued = [c for c in self.house.open() if c.state is CommandState.QUEUED]
            if not queued:
                return
            job = self.house.start(queued[0].id)
            self.audit()
            if job is None:
                now = [c for c in self.house.do(lambda tx: tx.commands(9)) if c.created_ms == self.house.now_ms]
                assert len(now) <= 3, "ordered and cancelled for ever"
                continue
            if job.verb is Verb.CUT:
                self.cuts += 1
                site = self.house.site
                wrong = self.model.wrongful(self.house.now_ms, site.path_alive, site.clock_trusted)
                assert not wrong, f"a wrongful cut: {wrong}"
            self.house.later(s=0.1)
            command = self.house.finish(job)
            self.closed = job.verb is not Verb.CUT
            self.house.look(command, Contact.CLOSED if self.closed else Contact.OPEN, power_w=0)
            self.audit()

    # what must hold

    def audit(self) -> None:
        """After everything that was judged: money and state are what the rules make of them."""
        now_ms, model = self.house.now_ms, self.model
        model.judged(now_ms)
        arrived = self.house.do(lambda tx: [n for n in tx.notices("A-1", 0, 500) if n.state is NoticeState.ACCEPTED])
        for notice in arrived:
            model.said[notice.step] = max(model.said.get(notice.step, 0), notice.created_ms)
        state = self.house.account().credit
        if state is CreditState.CUT and not model.off:
            assert model.spendable <= model.rules.cut and self.house.meter().observed is Contact.OPEN and not self.closed
            model.off = True
        assert round(float(self.house.balance()) * 100) == model.spendable
        assert state == model.state(now_ms), f"{state}, but {model}"

    def heal(self) -> None:
        """Everything that a cut needs is well from now on."""
        self.house.now_ms = local("2027-02-01 10:00")  # a Monday
        self.house.site = replace(self.house.site, path_alive=True, clock_trusted=True)
        self.never_cut(False)
        self.protect(0)

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        self.heal()
        for n in range(60):
            self.house.later(minutes=15 if n < 30 else 120)
            self.read()
            self.confirm()
            self.read()
            self.serve(5)
            if not 9 <= (hour := self.house.now_ms // 3_600_000 % 24 + 8) < 15:  # on to the next morning
                self.house.later(hours=33 - hour)
        state = self.house.account().credit
        if self.model.spendable <= self.model.rules.cut:
            assert state is CreditState.CUT and not self.closed, f"forgotten: {state}, {self.model}, {self.house.orders()[-3:]}"
        elif self.model.closes(self.model.spendable):
            assert state not in (CreditState.CUT, CreditState.EXHAUSTED) and self.closed, f"dark: {state}, {self.model}"
        assert self.house.open() == [] and self.house.verified() is None


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def walk(rng: Random, steps: int) -> Life:
    """A long life that favours what a life is made of; hypothesis finds the short and odd ones."""
    life = Life()
    life.settle(rng.choice(sorted(POLICIES)), rng.choice([0, 300, 900]))
    for _ in range(steps):
        match rng.choices(range(11), weights=[40, 4, 6, 2, 1, 1, 3, 1, 2, 6, 30])[0]:
            case 0:
                life.use(rng.choice([0, 0, 1, 2, 5, 8]), rng.choice([5, 20, 60]))
            case 1:
                life.wait(rng.choice([1, 10, 30, 65, 1440]))
            case 2:
                life.pay(rng.choice([1, 50, 100, 300, 501, 1500, 4000]))
            case 3 if life.paid:
                life.take_back(rng.random() < 0.5)
            case 4:
                life.protect(rng.choice([0, 0, 30, 3000]))
            case 5:
                life.never_cut(rng.random() < 0.1)
            case 6:
                life.edit(rng.choice(sorted(POLICIES)))
            case 7:
                life.site(rng.random() < 0.9, rng.random() < 0.9)
            case 8:
                life.ask_for_credit()
            case 9:
                life.confirm()
            case 10:
                life.serve(2)
    life.teardown()
    return life


@pytest.mark.parametrize("seed", range(8))
def test_long_lives(seed: int, proof_scale: int, figure: Figure) -> None:
    cuts = sum(walk(Random(f"{seed}/{n}"), 200).cuts for n in range(4 * proof_scale))
    assert cuts > 0, "a life in which nobody is cut proves nothing"
    figure("cuts judged by the model", cuts)
