"""Random histories of money in a meter beside an account of fen that knows nothing of deliveries: none is lost, none is doubled."""

from __future__ import annotations

from random import Random

import pytest

from firmware_sim.wallet import Steps
from gateway.domain import ledger
from gateway.domain.meters import Authority
from gateway.domain.price_list import Rate, Reset, Season, StepKind, Tariff, Version
from gateway.domain.price_list import Steps as TariffSteps
from gateway.domain.wallets import DeliveryState, Switching
from gateway.services import deliveries, delivery_acts, meter_wallet
from gateway.services.switch_authority import call_off
from gateway.services.verify_wallets import verify_wallets
from tests.conftest import Figure
from tests.gateway.price_lists import ZONE
from tests.gateway.services.house import House, yuan
from tests.gateway.services.memory_tx import MemoryStore
from tests.gateway.services.wallet_house import PRICE, SimMeter, WalletHouse, Way, new_wallet

HISTORIES = 40
STEPS = 40
LADDER = Steps((300, 900), (0, 500, 3_000))
TARIFF = Tariff(
    "ladder", "CNY", ZONE,
    (Version(
        "v1", "2000-01-01", (Season("year", 1, 1, {Rate.SINGLE: PRICE * 100}),),
        steps=TariffSteps(StepKind.ADDER, (Reset(1, month=1),), (3_000, 9_000), (0, 50_000, 300_000)),
    ),),
)  # fmt: skip


class History:
    """One life of one wallet. spent: micro-units that the meter's own arithmetic, or ours by the same rule, took for energy."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.meter = SimMeter(new_wallet(), steps=LADDER)
        self.home = WalletHouse(House(MemoryStore()), self.meter).settle(tariff=TARIFF)
        self.home.turn()  # from its first look on a wallet is in our books
        self.spent = self.used = self.switched = 0

    def use(self, counts: int) -> None:
        """The independent account of energy: counted first, then priced, whoever holds the money."""
        self.spent += counts * PRICE + LADDER.cost_micro(self.used, counts)
        self.used += counts
        self.home.meter.use(counts)

    def step(self) -> None:
        home, rng = self.home, self.rng
        act = rng.choice("tttuuuuuurrrrrrrrlllkkpwsmx")
        match act:
            case "t":
                home.topup(f"{rng.randrange(1, 20_000) / 100:.2f}")
            case "u":
                self.use(rng.randrange(1, rng.choice([5, 40, 300])))
            case "r" | "k":
                home.turn(rng.choice([*Way, Way.OK, Way.OK]), lost_look=rng.random() < 0.2)
            case "l":
                home.house.later(minutes=rng.choice([1, 1, 5, 30, 300]))
                home.house.do(lambda tx: deliveries.expire_deliveries(tx, home.now_ms))
            case "p":
                home.house.do(lambda tx: meter_wallet.power_returned(tx, "m1", home.now_ms))
            case "w":
                oldest = [delivery.id for delivery in home.house.do(lambda tx: tx.open_deliveries())][:1]
                home.house.do(lambda tx: [delivery_acts.withdraw(tx, it, "operator:li", "test", home.now_ms) for it in oldest])
            case "s" if home.house.account().authority is Authority.METER and rng.random() < 0.4:
                home.to_gateway(Switching.REFUND)
                self.switched += 1
            case "m" if home.house.account().authority is Authority.GATEWAY:
                home.to_meter()
            case "x":
                home.house.do(lambda tx: call_off(tx, "A-1", "operator:li", "test", home.now_ms))
        self.tell_meter()
        assert home.house.do(verify_wallets) is None

    def tell_meter(self) -> None:
        """Whoever changes the authority tells the meter with its maker's tool whether its wallet counts."""
        self.meter.counting = self.home.house.account().authority is Authority.METER

    def heal(self) -> None:
        """The line works again; everything is caught up with."""
        spared = len(self.home.wallet().memory.refused) > 1  # a meter that refused two MACs is left alone for a day
        for _ in range(90 + 1_500 * spared):
            self.home.run(1 / 60)
            self.tell_meter()
        self.use(1)
        self.home.run(1)
        for _ in range(2):  # the registers are read by the schedule too
            self.home.house.later(minutes=1).block("m1", f"{self.meter.counts / 100:.2f}", None)

    def check(self) -> None:
        home = self.home
        home.sound()
        assert home.findings() == [] and home.pending() == 0
        own, waits, wallet = home.micro(), home.micro(ledger.undelivered), self.meter.wallet
        adjusted = -home.house.do(lambda tx: tx.balance(ledger.revenue("adjustment"), "CNY"))
        assert own + waits == home.paid - self.spent + adjusted, "the books lost or made money"
        assert abs(adjusted) < 10_000 * (1 + self.switched), "more than a part of a fen at a change of authority"
        if home.house.account().authority is Authority.METER:
            assert abs(wallet.balance_micro - own) < 10_000 * (1 + self.switched), "the meter and the books differ"
            assert self.switched or wallet.balance_micro == own
        else:
            assert wallet.shown_fen[0] == 0, "money could be spent twice"
        arrived = [d for d in home.house.do(lambda tx: tx.deliveries(1_000)) if d.state is DeliveryState.IN_METER]
        assert len({(d.act, d.count) if d.act == "top_up" else d.id for d in arrived}) == len(arrived)
        assert sum(purchase.amount for purchase in wallet.purchases) * 10_000 == sum(
            d.micro for d in arrived if d.act == "top_up" and d.count is not None and d.count > wallet.count - len(wallet.purchases)
        )


def test_no_fen_is_lost_or_doubled_in_any_history(proof_scale: int, figure: Figure) -> None:
    histories = HISTORIES if proof_scale == 1 else 30 * proof_scale
    topups = switched = 0
    for seed in range(histories):
        history = History(seed)
        try:
            for _ in range(STEPS):
                history.step()
            history.heal()
            history.check()
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}")
        topups += history.home.serial
        switched += history.home.house.account().authority is Authority.GATEWAY
    assert topups > 3 * histories and switched > histories // 20
    figure("histories of wallets, fen exact", histories)
    figure("top-ups in them", topups)


def test_the_ladder_is_really_climbed() -> None:
    history = History(1)
    history.home.topup("500.00")
    history.home.run(0.2)
    for counts in (299, 1, 1, 598, 1, 1, 400):
        history.use(counts)
        history.home.run(0.3)
        assert history.home.micro() == history.meter.wallet.balance_micro == yuan("500") - history.spent
