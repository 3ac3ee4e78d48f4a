"""The wallet link: what it asks, what it refuses to send, and by whose fault an order did not leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from gateway.adapters.crypto_service import CryptoError, LocalCrypto
from gateway.adapters.lines.driver import Driver
from gateway.adapters.meter_links.dlt645_link import Dlt645Link
from gateway.adapters.meter_links.dlt645_wallet import CRYPTO_S, order_number
from gateway.adapters.profiles import profile
from gateway.domain.jobs import Answered, Failed, Fault, Outcome, WalletReadJob, WalletWriteJob
from gateway.domain.wallets import KEYS_REFUSED, Act
from protocols.dlt645.security import Identity, IdentityQuestion, SealQuestion, TestSecurityModule
from tests.gateway.entrypoints.line_bench import Book
from tests.simulation.virtual_loop import VirtualClock, run
from tests.simulation.virtual_street import VirtualStreet

ADDRESS, CUSTOMER = "202611210001", "000000004711"


class Wrong(LocalCrypto):
    """A module that does not know the meter, or does not answer."""

    def __init__(self, how: str) -> None:
        super().__init__(TestSecurityModule(Random(1).randbytes))
        self._how = how

    async def identify(self, question: IdentityQuestion) -> Identity:
        if self._how == "down":
            raise CryptoError("the service cannot be asked")
        if self._how == "slow":
            await asyncio.sleep(60)
        if self._how == "stranger":
            return Identity(bytes(8), bytes(8), question.factor)
        return await super().identify(question)

    async def mac(self, question: SealQuestion) -> bytes:
        right = await super().mac(question)
        return bytes(b ^ 0xFF for b in right) if self._how == "mac" else right


class Bench:
    def __init__(self, model: str, firmware: str, crypto: LocalCrypto | None) -> None:
        wallet = {"prices": ["0.5"], "balance": "100", "count": 7, "customer": CUSTOMER, "hoarding": "500", "overdraft": "5"}
        self.street = VirtualStreet({
            "line": [{"id": "rs", "kind": "tcp", "baud": 9600}],
            "meter": [{
                "id": "m1", "line": "rs", "model": "dlt645-single", "address": ADDRESS, "firmware": firmware,
                "load": {"power_w": 0}, "initial_kwh": 12, "wallet": wallet,
            }],
        })  # fmt: skip
        clock = VirtualClock()
        driver = Driver(self.street.lines["rs"], baud=9600, clock=clock)
        self.link = Dlt645Link(driver, "m1", ADDRESS, profile(model), clock=clock, passwords=Book(), crypto=crypto)

    @property
    def fen(self) -> int:
        device = self.street.station("m1").device
        assert device is not None and device.wallet is not None
        return device.wallet.shown_fen[0]


def order(act: Act = Act.TOP_UP, count: int = 8, customer: str = CUSTOMER) -> WalletWriteJob:
    return WalletWriteJob("m1", "delivery-1", act, 5_000, count, customer, 1_700_000_000_000)


def sent(
    job: WalletWriteJob, crypto: LocalCrypto | None = None, model: str = "dlt645-prepaid", firmware: str = "bench"
) -> tuple[Outcome, int]:
    """What came of it, and what the wallet shows then."""

    async def go() -> tuple[Outcome, int]:
        bench = Bench(model, firmware, crypto)
        await bench.street.lines["rs"].open()
        return await bench.link.perform(job), bench.fen

    return run(go())


def test_a_look_brings_wallet_record_limit_and_the_registers_around_it() -> None:
    async def go() -> None:
        bench = Bench("dlt645-prepaid", "bench", LocalCrypto(TestSecurityModule(Random(1).randbytes)))
        await bench.street.lines["rs"].open()
        first = await bench.link.perform(WalletReadJob("m1", limits=True))
        assert isinstance(first, Answered) and first.wallet is not None
        seen = first.wallet
        assert (seen.remaining, seen.overdrawn, seen.hoarding) == (10_000, 0, 50_000)
        assert (seen.count.count, seen.count.customer, seen.count.purchase) == (7, CUSTOMER, None)
        assert seen.before is not None and seen.after is not None and seen.before.items == seen.after.items
        assert isinstance(await bench.link.perform(order()), Answered)
        for wanted, found in ((8, (8, 50_000_000)), (9, None)):
            again = await bench.link.perform(WalletReadJob("m1", "delivery-1", wanted))
            assert isinstance(again, Answered) and again.wallet is not None
            assert again.wallet.count.purchase == found and again.wallet.remaining == 15_000

    run(go())


@pytest.mark.parametrize(
    ("crypto", "text"),
    [
        (lambda: None, "names no crypto service"),
        (lambda: Wrong("down"), "cannot be asked"),
        (lambda: Wrong("slow"), f"did not answer within {CRYPTO_S:g} s"),
        (lambda: Wrong("stranger"), KEYS_REFUSED),
    ],
)
def test_what_fails_in_front_of_the_purchase_has_surely_not_sent_it(crypto: Callable[[], LocalCrypto | None], text: str) -> None:
    outcome, fen = sent(order(), crypto())
    assert isinstance(outcome, Failed) and outcome.certain and text in outcome.text and fen == 10_000


def test_a_refused_mac_counts_as_one_and_proves_nothing() -> None:
    outcome, fen = sent(order(), Wrong("mac"))
    assert isinstance(outcome, Failed) and not outcome.certain and outcome.fault is Fault.REFUSED
    assert outcome.text.startswith(KEYS_REFUSED) and fen == 10_000


@pytest.mark.parametrize("job", [order(Act.REFUND), order(customer="")])
def test_what_a_meter_with_a_chip_cannot_do_is_not_sent(job: WalletWriteJob) -> None:
    outcome, fen = sent(job, Wrong("right"))
    assert isinstance(outcome, Failed) and outcome.certain and fen == 10_000


def test_a_meter_without_a_chip_needs_no_module_and_gives_money_back() -> None:
    private = ("dlt645-prepaid-private", "private")
    assert sent(order(), None, *private) == (Answered(), 15_000)
    assert sent(order(Act.REFUND), None, *private) == (Answered(), 5_000)


def test_a_meter_whose_profile_has_no_wallet_is_not_asked() -> None:
    outcome, fen = sent(order(), None, "dlt645-single")
    assert isinstance(outcome, Failed) and outcome.certain and fen == 10_000


def test_an_order_number_is_the_deliverys_own_for_ever() -> None:
    other = WalletWriteJob("m1", "delivery-2", Act.TOP_UP, 1, 1, "", order().order_ms)
    assert order_number(order()) == order_number(order(count=9)) != order_number(other)
    assert len(order_number(order())) == 16 and order_number(order()).isdecimal()
