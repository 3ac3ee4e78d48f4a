"""Money that a card or a token brought to the meter is found by reading and is a payment like any other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.findings import FindingKind
from gateway.domain.requests import PaymentIdentity
from gateway.domain.wallet_mirror import Span
from gateway.domain.wallets import Act, Delivery, DeliveryState, WalletMemory
from gateway.services.found_purchase import found_purchase
from tests.gateway.services.house import House
from tests.gateway.services.wallet_house import CUSTOMER, WalletHouse, Way


@pytest.fixture
def home(house: House) -> WalletHouse:
    """50.00 were paid and are in the meter, and a little was used."""
    home = WalletHouse(house).settle()
    home.run(0.1)
    home.topup("50.00")
    home.run(0.1)
    home.meter.use(300)
    home.run(0.5)
    return home


def typed(home: WalletHouse, fen: int) -> None:
    """A token of somebody else's."""
    wallet = home.meter.wallet
    assert wallet.top_up(fen, wallet.count + 1, CUSTOMER, 0) is None


def payments(home: WalletHouse) -> list[tuple[str, str, int, str]]:
    found = home.house.do(lambda tx: [*tx.paid(0, 10_000)])
    return sorted((each.bank, each.serial, each.amount_micro, each.status) for each in found)


def test_a_token_typed_at_the_meter_becomes_a_payment(home: WalletHouse) -> None:
    before = home.micro()
    typed(home, 2_000)
    home.meter.use(50)
    home.run(1)
    assert payments(home) == [("at-meter", "m1.0.2", 20_000_000, "posted"), ("bank", "S-1", 50_000_000, "posted")]
    assert home.micro() == before + 20_000_000 - 50 * 5_000
    assert home.house.do(lambda tx: tx.balance("bank:at-meter", "CNY")) == -20_000_000
    paid = home.house.do(lambda tx: tx.payment(PaymentIdentity("at-meter", "", "", "m1.0.2")))
    assert paid is not None and paid.receipt is not None and paid.channel == "token"
    assert home.findings() == []
    home.run(2)
    assert len(payments(home)) == 2  # found once
    home.sound()


def test_two_tokens_between_two_looks_are_one_sum(home: WalletHouse) -> None:
    typed(home, 1_000)
    typed(home, 501)
    home.run(1)
    assert payments(home)[0] == ("at-meter", "m1.0.3", 15_010_000, "posted")
    assert home.findings() == []
    home.sound()


def test_ours_and_theirs_at_once(home: WalletHouse) -> None:
    """A token takes the count that our own delivery was to have: ours goes in under the next, and both are there once."""
    home.topup("30.00")
    typed(home, 2_000)
    home.run(1)
    assert sum(micro for *_, micro, _ in payments(home)) == 100_000_000
    assert ("at-meter", 20_000_000) in [(bank, micro) for bank, _, micro, _ in payments(home)]
    assert home.meter.wallet.shown_fen == (9_850, 0)
    assert home.findings() == []
    home.sound()


def test_our_own_delivery_whose_answer_was_lost_is_nobody_elses(home: WalletHouse) -> None:
    home.topup("30.00")
    home.run(1, Way.LOST_ANSWER)
    assert [bank for bank, *_ in payments(home)] == ["bank", "bank"]
    assert home.findings() == []
    home.sound()


def test_what_may_be_ours_after_all_is_for_a_person(home: WalletHouse) -> None:
    """A delivery was given back, and so much was bought elsewhere since: who knows."""
    back = Delivery("delivery-x", "A-1", "m1", Act.TOP_UP, 20_000_000, "CNY", 1, None, state=DeliveryState.RETURNED, attempts=1)
    home.house.do(lambda tx: tx.add_delivery(back))
    typed(home, 2_000)
    home.run(1)
    assert [bank for bank, *_ in payments(home)] == ["bank"]
    assert [each.kind for each in home.findings()] == [FindingKind.WALLET_DIFFERS]


def test_more_money_without_a_purchase_is_for_a_person(home: WalletHouse) -> None:
    home.meter.wallet.used -= 4_000  # the meter forgets what was used: its count did not move
    home.meter.use(10)
    wallet = home.meter.wallet
    count = wallet.count
    wallet.top_up(700, count + 1, CUSTOMER, 0)
    wallet.count = count
    home.run(1)
    assert [bank for bank, *_ in payments(home)] == ["bank"]
    assert [each.kind for each in home.findings()] == [FindingKind.WALLET_DIFFERS]


@pytest.mark.parametrize(
    ("low", "high", "elsewhere", "micro"),
    [
        (20_000_000, 20_009_999, 1, 20_000_000),
        (19_995_000, 20_014_998, 1, 20_000_000),
        (20_010_001, 20_029_999, 1, 20_020_000),
        (20_000_000, 20_009_999, 0, 0),
        (1, 9_998, 1, 0),
        (-30_000_000, -29_990_001, 2, 0),
    ],
)
def test_which_amount_is_meant(low: int, high: int, elsewhere: int, micro: int) -> None:
    memory = WalletMemory(offset=Span(0, 0), elsewhere=elsewhere)
    assert found_purchase(memory, Span(low, high)) == micro
    assert found_purchase(replace(memory, offset=None), Span(low, high)) == 0
