"""A town of debtors under the limiter, and an auditor that counts cuts in true time, whatever the clocks of the machine say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gateway.domain.budgets import DECIDED, HOUR_MS, MINUTE_MS, Budgets
from gateway.domain.credit import CreditPolicy, CreditState, Standing
from gateway.domain.meters import Account, Contact, Meter, SwitchKind
from gateway.domain.readings import TOTAL, Billing, Registers
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import CommandEvent, CommandState, CutCause, Verb
from gateway.services.order_supply import order_supply
from gateway.services.ports import Site, SupplyAnswer, Tx
from gateway.services.run_command import recover, start_command
from gateway.services.switching import CREDIT, hold_open, step
from gateway.services.watch_cuts import watch_cuts
from tests.gateway.price_lists import flat
from tests.gateway.services.memory_tx import MemoryStore

T = TypeVar("T")

START_MS = 1_795_485_600_000
"""Tuesday 2026-11-24 10:00 in Shanghai; the accounts of a town have no no-cut hours."""

POLICY = CreditPolicy(low_micro=5, no_cut_hours=False)


@dataclass
class Town:
    """So many houses with a meter each. true_ms: time as it really passes; wall_ms: what the machine believes it to be."""

    houses: int
    store: MemoryStore = field(default_factory=MemoryStore)
    true_ms: int = 0
    wall_off_ms: int = START_MS
    boot: int = 1
    booted_ms: int = 0
    steady: bool = True
    budgets: Budgets = DECIDED
    sent: list[tuple[int, str]] = field(default_factory=list)
    hand: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.do(self._settle)

    def _settle(self, tx: Tx) -> None:
        tx.save_price_list(flat(500_000))
        for n in range(self.houses):
            tx.save_account(Account(f"A-{n:04}", "", "CNY", "flat", POLICY, agreement="signed"))
            tx.save_meter(
                Meter(
                    f"m-{n:04}", f"bus-{n % 8}", str(n), "dlt645-2007", "p", f"A-{n:04}", "p", SwitchKind.INTERNAL, f"bus-{n % 8}"
                )
            )

    @property
    def now_ms(self) -> int:
        return self.true_ms + self.wall_off_ms

    @property
    def site(self) -> Site:
        steady_ms = self.true_ms - self.booted_ms + 7_000 if self.steady else None
        return Site("gw", "Asia/Shanghai", clock_trusted=True, boot=f"boot-{self.boot}", steady_ms=steady_ms, budgets=self.budgets)

    def do(self, usecase: Callable[[Tx], T]) -> T:
        return self.store.write_now(usecase)

    # what happens

    def due(self, accounts: Iterable[int]) -> None:
        """These have no credit any more, since this moment, and were told so; their cuts are judged."""

        def usecase(tx: Tx) -> None:
            for n in accounts:
                known = tx.account(f"A-{n:04}")
                assert known is not None
                at = self.now_ms
                standing = Standing(exhausted_ms=at, episode_ms=None)
                tx.save_account(replace(known, credit=CreditState.EXHAUSTED, warned_ms=at, standing=standing))
                self._read(tx, n)
                self._judge(tx, n)

        self.do(usecase)

    def read_all(self, accounts: Iterable[int]) -> None:
        """Fresh confirmed readings of those that are not cut, and what the rules make of them."""

        def usecase(tx: Tx) -> None:
            for n in accounts:
                self._read(tx, n)
                self._judge(tx, n)

        self.do(usecase)

    def _read(self, tx: Tx, n: int) -> None:
        tx.save_billing(Billing(f"m-{n:04}", confirmed=Registers(self.now_ms, {TOTAL: 0})))

    def _judge(self, tx: Tx, n: int) -> None:
        known, metered = tx.account(f"A-{n:04}"), tx.meter(f"m-{n:04}")
        assert known is not None and metered is not None
        if known.credit is CreditState.EXHAUSTED and CREDIT not in metered.cut_reasons:
            hold_open(tx, known, CutCause.ENERGY_DEBT, CREDIT, self.site, self.now_ms)

    def look(self) -> None:
        """The loop's look, and the lines send what is queued; each switch obeys."""
        self.do(lambda tx: watch_cuts(tx, self.site, self.now_ms))
        self.send()

    def send(self, *, dead: Collection[str] = ()) -> None:
        """Every line sends what is queued; one that is dead ends what has expired, as its loop does."""

        def usecase(tx: Tx) -> list[str]:
            queued = [command for command in tx.open_commands() if command.state is CommandState.QUEUED]
            alive = [command for command in queued if command.line not in dead or self.now_ms >= command.expires_ms]
            return [command.meter for command in alive if self._sent(tx, command.id)]

        self.sent += [(self.true_ms, meter) for meter in self.do(usecase)]

    def _sent(self, tx: Tx, ident: str) -> bool:
        """Whether this is a cut and went out. Every switch obeys, and is seen to."""
        job = start_command(tx, ident, self.site, self.now_ms)
        sent, metered = tx.command(ident), tx.meter(job.meter) if job is not None else None
        if job is None or sent is None or metered is None:
            return False
        known = step(tx, sent, CommandEvent.ACKNOWLEDGED, self.now_ms)
        step(tx, known, CommandEvent.SEEN_AS_ORDERED, self.now_ms, evidence=("relay_bit",))
        tx.save_meter(replace(metered, observed=Contact.OPEN if job.verb is Verb.CUT else Contact.CLOSED))
        return job.verb is Verb.CUT

    def order(self, n: int, ident: str, who: str = "operator:li", **more: object) -> SupplyAnswer:
        lives_ms = 12 * HOUR_MS
        order = SupplyOrder(ident, f"m-{n:04}", Verb.CUT, "emergency", "operator", self.now_ms + lives_ms, who, **more)  # type: ignore[arg-type]
        return self.do(lambda tx: order_supply(tx, order, self.site, self.now_ms))

    def wait(self, s: float) -> None:
        self.true_ms += round(s * 1000)

    def jump(self, days: float) -> None:
        """Somebody, or a time server, sets the clock."""
        self.wall_off_ms += round(days * 86_400_000)

    def restart(self) -> None:
        """The process dies and comes back."""
        self.do(lambda tx: recover(tx, self.site, self.now_ms))

    def reboot(self, off_s: float, days: float = 0.0) -> None:
        """The machine was off for so long, and its clock came back so many days wrong."""
        self.true_ms += round(off_s * 1000)
        self.boot, self.booted_ms = self.boot + 1, self.true_ms
        self.jump(days)
        self.restart()

    # what the auditor says

    @property
    def dark(self) -> set[str]:
        return {meter for _, meter in self.sent}

    def most_within(self, span_ms: int) -> int:
        """The most cuts that left in any stretch of true time of this length, its beginning left out and its end included."""
        times = [at for at, _ in self.sent]
        return max((sum(end - span_ms < at <= end for at in times) for end in times), default=0)

    def check(self) -> None:
        """Never more than was decided, by a count of its own."""
        assert self.most_within(MINUTE_MS) <= 5
        assert self.most_within(HOUR_MS) <= max(2, self.houses * 10 // 100)
