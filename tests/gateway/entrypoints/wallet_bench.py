"""A line with one prepaid meter in virtual time: the simulator's firmware and wire, real driver, link, plan, loop, rules and store.

What leaves the gateway and what comes back can be lost, denied or cut off at any byte; the gateway can be killed at any moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import TypeVar

from firmware_sim.station import Reply
from firmware_sim.wallet import Wallet as TrueWallet
from gateway.adapters.crypto_service import LocalCrypto
from gateway.adapters.lines.driver import Driver
from gateway.adapters.meter_links.dlt645_link import Dlt645Link
from gateway.adapters.profiles import profile
from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.credit import CreditPolicy
from gateway.domain.findings import Finding
from gateway.domain.jobs import Group
from gateway.domain.meters import Account, Authority, Meter, SwitchKind
from gateway.domain.price_list import Tariff
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.wallets import Delivery, Switching, Wallet
from gateway.entrypoints.line_loop import Housekeeping, LineLoop, Wake
from gateway.services import deliveries, meter_wallet, run_command, switch_authority
from gateway.services.apply_topup import apply_topup
from gateway.services.plan import LinePlan, Poll
from gateway.services.ports import Site, Tx, Unavailable
from gateway.services.verify_ledger import verify_ledger
from gateway.services.verify_wallets import verify_wallets
from protocols.dlt645.security import TestSecurityModule
from protocols.dlt645.slave_answers import error_answer
from tests.gateway.entrypoints.line_bench import Book, bare
from tests.gateway.price_lists import flat
from tests.simulation.memory_line import WireLine
from tests.simulation.virtual_loop import VirtualClock
from tests.simulation.virtual_street import VirtualStreet

T = TypeVar("T")

ADDRESS, CUSTOMER = "202611210001", "000000004711"
SITE = Site("g1", "Asia/Shanghai", clock_trusted=True)
PERIODS = {Group.BILLING: 300_000, Group.SWITCH: 600_000, Group.INSTANT: 300_000}
WALLETS = Housekeeping(
    due_wallets=meter_wallet.due_wallets,
    start_wallet=deliveries.start_delivery,
    finish_wallet=deliveries.finish_delivery,
    record_wallet=meter_wallet.record_wallet,
)


class Trick(StrEnum):
    """What the line does to an order for the wallet."""

    LOST_REQUEST = "lost request"
    LOST_ANSWER = "lost answer"
    NAK_APPLIED = "no, and done"
    NAK = "no, and not done"


class MortalStore:
    """The real store, as a process sees it that may be killed: from then on nothing of it is written any more."""

    def __init__(self, store: Store) -> None:
        self._store, self.dead = store, False

    @property
    def written(self) -> int:
        return self._store.written

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        self._alive()
        return await self._store.write(usecase)

    async def read(self, query: Callable[[Tx], T]) -> T:
        self._alive()
        return await self._store.read(query)

    def _alive(self) -> None:
        if self.dead:
            raise Unavailable("this process was killed")


class WalletBench:
    """The meter m1 of account a-m1. firmware: `bench` takes purchases under a count, `private` under an order number."""

    def __init__(
        self,
        folder: Path,
        *,
        firmware: str = "bench",
        power_w: int = 800,
        balance: str = "0",
        count: int = 0,
        tariff: Tariff | None = None,
        wallet: dict[str, object] | None = None,
        authority: Authority = Authority.METER,
    ) -> None:
        self.clock, self.authority, self.tariff = VirtualClock(), authority, tariff or flat(500_000)
        self.model = "dlt645-prepaid" if firmware == "bench" else "dlt645-prepaid-private"
        purse = {"prices": ["0.5"], "balance": balance, "count": count, "overdraft": "900000", **(wallet or {})}
        if count:
            purse["customer"] = CUSTOMER
        self.street = VirtualStreet({
            "line": [{"id": "rs", "kind": "tcp", "baud": 9600}],
            "meter": [{
                "id": "m1", "line": "rs", "model": "dlt645-single", "address": ADDRESS, "password": "123456", "firmware": firmware,
                "load": {"power_w": power_w}, "initial_kwh": 100, "wallet": purse,
            }],
        })  # fmt: skip
        self.store = Store.open(str(folder / "store.db"), inline=True, rng=Random(1))
        self.tricks: list[Trick] = []
        self.orders: list[tuple[float, bytes]] = []
        self.ordered = asyncio.Event()
        self.paid = self._serial = 0
        self._line = self.street.lines["rs"]
        assert isinstance(self._line, WireLine)
        self._real = self._line.wire._receive
        self._line.wire._receive = self._receive
        self.store.write_now(self._archive)
        self.begin()

    async def __aenter__(self) -> WalletBench:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.kill()
        self.store.close()

    # the gateway

    def begin(self) -> None:
        """A gateway starts on what is in the store."""
        self.mortal, self.wake = MortalStore(self.store), Wake()
        now_ms = self.clock.now_ms()
        self.store.write_now(lambda tx: deliveries.recover_deliveries(tx, now_ms))
        self.store.write_now(lambda tx: run_command.recover(tx, SITE, now_ms))
        driver = Driver(self._line, baud=9600, clock=self.clock)
        link = Dlt645Link(
            driver, "m1", ADDRESS, profile(self.model), clock=self.clock, passwords=Book(),
            crypto=LocalCrypto(TestSecurityModule(Random(5).randbytes)),
        )  # fmt: skip
        plan = LinePlan("rs", [Poll("m1", PERIODS)], now_ms)
        loop = LineLoop(driver, plan, {"m1": link}, {"m1": link}, self.mortal, lambda: SITE, self.clock, self.wake, None, WALLETS)
        self._task = asyncio.get_running_loop().create_task(loop.run())

    async def kill(self) -> None:
        """The process is gone at this moment; the meter goes on."""
        self.mortal.dead = True
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def do(self, usecase: Callable[[Tx], T]) -> T:
        result = self.store.write_now(usecase)
        self.wake.notify()
        return result

    def _archive(self, tx: Tx) -> None:
        policy = CreditPolicy(low_micro=0, cut_micro=-(10**12), close_micro=-(10**12))
        tx.save_price_list(self.tariff)
        tx.save_account(Account("a-m1", "Somebody", "CNY", self.tariff.id, policy, agreement="signed", authority=self.authority))
        tx.save_meter(
            Meter("m1", "rs", ADDRESS, "dlt645-2007", self.model, "a-m1", "m1", SwitchKind.INTERNAL, "rs", max_power_w=600_000)
        )
        if self.authority is Authority.METER:
            meter_wallet.watch_wallet(tx, "m1", CUSTOMER, self.clock.now_ms(), adopt=True)

    # the wire

    def _receive(self, data: bytes, start_us: int, end_us: int) -> list[Reply]:
        frame = bare(data)
        order = len(frame) > 14 and frame[8] == 0x03 and bytes(b - 0x33 & 0xFF for b in frame[10:14]).hex() in (
            "ff010107", "ff020107", "ff080107"
        )  # fmt: skip
        if order:
            self.orders.append((start_us / 1e6, data))
            self.ordered.set()
        if not order or not self.tricks:
            return self._real(data, start_us, end_us)
        trick = self.tricks.pop(0)
        heard = [] if trick in (Trick.LOST_REQUEST, Trick.NAK) else self._real(data, start_us, end_us)
        if trick in (Trick.NAK, Trick.NAK_APPLIED):
            return [Reply(60_000, error_answer(ADDRESS, 0x03, b"\x01\x00"))]
        return [] if trick is Trick.LOST_ANSWER else heard

    # people and banks

    def topup(self, amount: str) -> str:
        """A payment; the id of its delivery."""
        self._serial += 1
        fen = round(float(amount) * 100)
        paid = TopUp(
            PaymentIdentity("bank", "", "", f"S-{self._serial}"), "a-m1", fen * 10_000, "CNY",
            datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC), date(2026, 1, 1), date(2026, 1, 1),
        )  # fmt: skip
        outcome = self.do(lambda tx: apply_topup(tx, paid, SITE, self.clock.now_ms()))
        assert outcome.payment.status == "posted", outcome
        self.paid += fen * 10_000
        return f"delivery-{outcome.payment.entry}"

    def to_gateway(self, how: Switching = Switching.REFUND) -> str | None:
        now_ms = self.clock.now_ms()
        return self.do(lambda tx: switch_authority.ask_for_gateway(tx, "a-m1", how, "operator:li", "test", now_ms, refundable=True))

    def to_meter(self) -> str | None:
        now_ms = self.clock.now_ms()
        return self.do(lambda tx: switch_authority.ask_for_meter(tx, "a-m1", CUSTOMER, "operator:li", "test", now_ms))

    # the truth

    @property
    def purse(self) -> TrueWallet:
        """The meter's own wallet at this moment."""
        device = self.street.station("m1").device
        assert device is not None and device.wallet is not None
        return device.wallet

    def delivery(self, ident: str) -> Delivery:
        found = self.store.read_now(lambda tx: tx.delivery(ident))
        assert found is not None
        return found

    def wallet(self) -> Wallet:
        found = self.store.read_now(lambda tx: tx.wallet("m1"))
        assert found is not None
        return found

    def account(self) -> Account:
        found = self.store.read_now(lambda tx: tx.account("a-m1"))
        assert found is not None
        return found

    def micro(self, name: Callable[[str], str] = ledger.customer) -> int:
        return self.store.read_now(lambda tx: tx.balance(name("a-m1"), "CNY"))

    def findings(self) -> list[Finding]:
        return list(self.store.read_now(lambda tx: tx.findings()))

    def sound(self) -> None:
        assert self.store.read_now(verify_ledger)[1] is None
        assert self.store.read_now(verify_wallets) is None
