"""A house whose meter holds the money: the simulator's own wallet behind a line that loses, garbles and denies as it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from firmware_sim.wallet import NO_STEPS, UNOPENED, Limits, Refusal, Steps
from firmware_sim.wallet import Wallet as TrueWallet
from gateway.domain import ledger
from gateway.domain.findings import Finding
from gateway.domain.jobs import Answered, Failed, Fault, Outcome, WalletReadJob, WalletSeen, WalletWork, WalletWriteJob
from gateway.domain.meters import Account, Authority
from gateway.domain.price_list import Tariff
from gateway.domain.readings import Item, Reading
from gateway.domain.wallets import KEYS_REFUSED, Act, CountSeen, Delivery, Switching, Wallet
from gateway.services import deliveries, meter_wallet, switch_authority
from gateway.services.verify_wallets import verify_wallets
from tests.gateway.services.house import FLAT, SILENT, House, account

CUSTOMER = "000000004711"
PRICE = 5_000
"""0.50 per kWh in steps of 0.0001."""


class Way(StrEnum):
    """What the line and the meter make of an order."""

    OK = "ok"
    LOST_REQUEST = "lost request"
    LOST_ANSWER = "lost answer"
    NAK_APPLIED = "no, and done"
    NAK = "no, and not done"
    NOT_SENT = "not sent"
    MAC = "mac refused"
    KILLED_BEFORE = "killed in front of the request"
    KILLED_AFTER = "killed behind the request"


@dataclass
class SimMeter:
    """Registers in 0.01 kWh and a wallet that counts by itself. counting: False when it was told to leave its wallet alone."""

    wallet: TrueWallet
    counts: int = 0
    counting: bool = True
    records: bool = True
    steps: Steps = NO_STEPS
    orders: list[int] = field(default_factory=list)

    def use(self, counts: int) -> None:
        self.counts += counts
        if self.counting:
            self.wallet.charge(PRICE, counts, self.steps, counts)
        else:
            self.wallet.used += counts  # its steps go on

    def take(self, job: WalletWriteJob) -> Refusal | None:
        wallet = self.wallet
        if job.act is Act.REFUND:
            if job.order_ms in self.orders:
                return Refusal.REPEATED
            refused = wallet.refund(job.fen)
            self.orders += [] if refused else [job.order_ms]
            return refused
        enter = wallet.open if job.opening else wallet.top_up
        return enter(job.fen, job.count, job.customer, 0)


@dataclass
class WalletHouse:
    """One account A-1 and its meter m1. paid: micro-units that came in at the bank."""

    house: House
    meter: SimMeter = field(default_factory=lambda: SimMeter(new_wallet()))
    paid: int = 0
    serial: int = 0

    @property
    def now_ms(self) -> int:
        return self.house.now_ms

    def settle(self, *, authority: Authority = Authority.METER, balance: str = "0", tariff: Tariff = FLAT) -> WalletHouse:
        """The archive is loaded; where the meter holds the money its wallet is read from now on."""
        who: Account = account(authority=authority, tariff=tariff.id)
        self.house.settle(accounts=(who,), balance=balance, tariffs=(tariff,))
        if authority is Authority.METER:
            self.house.do(lambda tx: meter_wallet.watch_wallet(tx, "m1", CUSTOMER, self.now_ms, adopt=True))
        return self

    # the line

    def works(self) -> Sequence[WalletWork]:
        return self.house.do(lambda tx: meter_wallet.due_wallets(tx, "bus-1", self.now_ms))

    def turn(self, way: Way = Way.OK, *, lost_look: bool = False) -> WalletReadJob | WalletWriteJob | None:
        """The line does what is due, if anything is; what it did."""
        due = [work for work in self.works() if work.due_ms <= self.now_ms]
        if not due:
            return None
        job = due[0].job
        if isinstance(job, WalletReadJob):
            outcome: Outcome = SILENT if lost_look else Answered(wallet=self.seen(job))
            self.house.do(lambda tx: meter_wallet.record_wallet(tx, job, outcome, self.house.site, self.now_ms))
            return job
        assert isinstance(job, WalletWriteJob)
        ident = job.delivery
        started = self.house.do(lambda tx: deliveries.start_delivery(tx, ident, self.now_ms))
        if started is not None:
            self._send(started, way)
        return started or job

    def _send(self, job: WalletWriteJob, way: Way) -> None:
        refused = None if way in (Way.LOST_REQUEST, Way.NAK, Way.NOT_SENT, Way.MAC, Way.KILLED_BEFORE) else self.meter.take(job)
        outcome: Outcome = Answered() if refused is None else Failed(Fault.REFUSED, refused.value)
        if way in (Way.LOST_REQUEST, Way.LOST_ANSWER):
            outcome = SILENT
        elif way in (Way.NAK, Way.NAK_APPLIED):
            outcome = Failed(Fault.REFUSED, "refused with error 01 (other error)")
        elif way is Way.MAC:
            outcome = Failed(Fault.REFUSED, f"{KEYS_REFUSED}: 04")
        elif way is Way.NOT_SENT:
            outcome = Failed(Fault.LINE_DOWN, "the line is down", certain=True)
        elif way in (Way.KILLED_BEFORE, Way.KILLED_AFTER):
            self.house.do(lambda tx: deliveries.recover_deliveries(tx, self.now_ms))
            return
        self.house.do(lambda tx: deliveries.finish_delivery(tx, job.delivery, outcome, self.now_ms))

    def seen(self, job: WalletReadJob, between: int = 0) -> WalletSeen:
        """between: counts used while it is read, half in front of the wallet."""
        before = self._reading()
        self.meter.use(between // 2)
        wallet = self.meter.wallet
        remaining, overdrawn = wallet.shown_fen
        customer = None if wallet.customer == UNOPENED else wallet.customer
        back = None if job.count is None else wallet.count - job.count
        record = None
        if self.meter.records and back is not None and 0 <= back < len(wallet.purchases):
            bought = wallet.purchases[back]
            record = (bought.count % 10_000, bought.amount * 10_000)
        self.meter.use(between - between // 2)
        count = CountSeen(wallet.count, customer, record)
        return WalletSeen(remaining, overdrawn, count, self.now_ms, before, self._reading(), 0 if job.limits else None)

    def _reading(self) -> Reading:
        total = Decimal(self.meter.counts).scaleb(-2)
        names = ("energy_import", "energy_import_t1", "energy_import_t2")
        items = tuple(Item(name, value, "kWh") for name, value in zip(names, (total, total, Decimal("0.00")), strict=True))
        return Reading("m1", items, self.now_ms - 100, self.now_ms)

    def run(self, hours: float = 1, way: Way = Way.OK) -> None:
        """All that is due, minute by minute, until that long has passed."""
        for _ in range(round(hours * 60)):
            for _ in range(8):
                if self.turn(way) is None:
                    break
            self.house.do(lambda tx: deliveries.expire_deliveries(tx, self.now_ms))
            self.house.later(minutes=1)

    # people

    def topup(self, amount: str) -> str:
        """A payment; the id of its delivery."""
        self.serial += 1
        outcome = self.house.topup(amount, f"S-{self.serial}")
        assert outcome.payment.status == "posted", outcome
        self.paid += outcome.payment.amount_micro
        return f"delivery-{outcome.payment.entry}"

    def to_gateway(self, how: Switching = Switching.REFUND, *, refundable: bool = True) -> str | None:
        return self.house.do(
            lambda tx: switch_authority.ask_for_gateway(tx, "A-1", how, "operator:li", "test", self.now_ms, refundable=refundable)
        )

    def to_meter(self, customer: str = CUSTOMER) -> str | None:
        return self.house.do(lambda tx: switch_authority.ask_for_meter(tx, "A-1", customer, "operator:li", "test", self.now_ms))

    # the books

    def delivery(self, ident: str) -> Delivery:
        found = self.house.do(lambda tx: tx.delivery(ident))
        assert found is not None
        return found

    def wallet(self) -> Wallet:
        found = self.house.do(lambda tx: tx.wallet("m1"))
        assert found is not None
        return found

    def micro(self, name: Callable[[str], str] = ledger.customer) -> int:
        return self.house.do(lambda tx: tx.balance(name("A-1"), "CNY"))

    def pending(self) -> int:
        """On its way into the meter."""
        found = self.house.do(lambda tx: tx.open_deliveries())
        return sum(d.micro if d.act is Act.TOP_UP else 0 for d in found)

    def findings(self) -> list[Finding]:
        return list(self.house.do(lambda tx: tx.findings()))

    def sound(self) -> None:
        """The ledger and the wallets hold together."""
        assert self.house.verified() is None
        assert self.house.do(verify_wallets) is None


def new_wallet(balance_fen: int = 0, count: int = 0, customer: str = UNOPENED, limits: Limits | None = None) -> TrueWallet:
    return TrueWallet(limits or Limits(overdraft=99_999_900), balance_fen, customer, count)
