"""Money in a meter: a top-up goes in once, whatever line and meter do; the meter's word is the balance, our books say the same."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.agreements import Held
from gateway.domain.credit import CreditState
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.jobs import WalletReadJob, WalletWriteJob
from gateway.domain.meters import Authority
from gateway.domain.price_list import Rounding, RoundingMode, RoundingPlace, Tariff
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.supply import Verb
from gateway.domain.transfers import TransferState
from gateway.domain.wallets import DeliveryState, Switching, Wallet
from gateway.services import deliveries, delivery_acts, meter_wallet
from gateway.services.apply_topup import apply_topup
from gateway.services.approve import approve
from gateway.services.deliveries import DOUBT_TOLD_MS
from gateway.services.money_held import save
from gateway.services.verify_wallets import verify_wallets
from gateway.services.wallet_acts import WALLET_ACTS, ask_resolve
from tests.gateway.price_lists import flat
from tests.gateway.services.house import FLAT, House, yuan
from tests.gateway.services.wallet_house import CUSTOMER, SimMeter, WalletHouse, Way, new_wallet

DAY_H = 24.0


@pytest.fixture
def home(house: House) -> WalletHouse:
    """The account's money is in the meter, whose wallet is new."""
    return WalletHouse(house).settle()


def test_a_payment_is_in_our_books_at_once_and_in_the_meter_when_its_count_was_read(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    assert (home.micro(), home.micro(ledger.undelivered), home.pending()) == (0, 0, yuan("50"))
    assert home.delivery(ident).state is DeliveryState.QUEUED
    assert isinstance(home.turn(), WalletReadJob)
    assert home.delivery(ident).count == 1
    job = home.turn()
    assert isinstance(job, WalletWriteJob) and (job.count, job.opening, job.customer) == (1, True, CUSTOMER)
    assert home.delivery(ident).state is DeliveryState.SENT  # accepted, and that proves nothing
    assert isinstance(home.turn(), WalletReadJob)
    assert home.delivery(ident).state is DeliveryState.IN_METER
    assert (home.micro(), home.pending(), home.meter.wallet.shown_fen[0]) == (yuan("50"), 0, 5_000)
    second = home.topup("20.00")
    home.run(0.1)
    assert (home.delivery(second).count, home.meter.wallet.count, home.micro()) == (2, 2, yuan("70"))
    home.sound()


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("count", [0, 7])
def test_a_top_up_goes_in_once_whatever_becomes_of_its_first_try(house: House, way: Way, count: int) -> None:
    customer = CUSTOMER if count else "000000000000"
    home = WalletHouse(house, SimMeter(new_wallet(count=count, customer=customer))).settle()
    ident = home.topup("50.00")
    home.turn()
    first = home.turn(way)
    assert isinstance(first, WalletWriteJob) and first.count == count + 1
    home.run(2)
    assert home.delivery(ident).state is DeliveryState.IN_METER
    assert (home.meter.wallet.shown_fen[0], home.meter.wallet.count) == (5_000, count + 1)
    assert home.micro() == yuan("50") and home.findings() == []
    home.sound()


def test_what_was_sent_is_sent_again_under_the_same_count(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    home.turn()
    for _ in range(3):
        job = home.turn(Way.LOST_REQUEST)
        assert isinstance(job, WalletWriteJob) and job.count == 1
        assert home.delivery(ident).state is DeliveryState.UNCERTAIN
        assert isinstance(home.turn(), WalletReadJob)
        assert home.delivery(ident).state is DeliveryState.QUEUED
    home.run(0.1)
    assert home.delivery(ident).attempts == 4 and home.meter.wallet.count == 1


def test_what_never_left_comes_back_after_a_day_and_is_not_in_the_meter_later(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    home.run(DAY_H - 0.5, Way.NOT_SENT)
    assert home.delivery(ident).state is DeliveryState.QUEUED and home.delivery(ident).attempts == 0
    home.run(1, Way.NOT_SENT)
    assert home.delivery(ident).state is DeliveryState.RETURNED
    assert (home.micro(ledger.undelivered), home.pending()) == (yuan("50"), 0)
    home.run(1)
    assert home.meter.wallet.count == 0
    home.sound()


def test_what_was_sent_comes_back_only_when_its_count_was_read_unmoved_long_after(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    home.run(DAY_H, Way.NAK)
    sent_ms = home.delivery(ident).sent_ms
    assert sent_ms is not None and home.delivery(ident).state is DeliveryState.QUEUED
    home.run(1.5, Way.NAK)
    assert home.delivery(ident).state is DeliveryState.RETURNED
    assert home.delivery(ident).changed_ms >= sent_ms + deliveries.SETTLED_MS
    assert home.micro(ledger.undelivered) == yuan("50")
    home.sound()


def test_what_is_taken_back_right_after_it_was_sent_waits_until_nothing_can_take_effect_any_more(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    home.turn()
    home.turn(Way.LOST_REQUEST)
    sent_ms = home.now_ms
    home.turn()
    home.house.do(lambda tx: delivery_acts.withdraw(tx, ident, "operator:li", "wrong flat", home.now_ms))
    while home.delivery(ident).open:
        assert home.delivery(ident).attempts == 1
        home.run(1 / 60)
    done = home.delivery(ident)
    assert done.state is DeliveryState.RETURNED and done.changed_ms - sent_ms >= deliveries.SETTLED_MS


def test_what_was_sent_is_given_back_by_no_time_out_of_the_ledger(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    states = []
    for _ in range(3):
        home.turn()
        states.append(home.house.do(lambda tx: getattr(tx.transfer(ident), "state", None)))
        assert home.house.do(verify_wallets) is None
    assert states == [TransferState.PENDING, TransferState.UNCERTAIN, TransferState.POSTED]


def test_a_purchase_from_elsewhere_of_the_same_amount_is_not_one_that_was_never_sent(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    home.turn()
    assert home.delivery(ident).count == 1
    assert home.meter.wallet.open(5_000, 1, CUSTOMER, 0) is None  # a card at a counter, before the line came to it
    later = replace(home.delivery(ident), next_ms=home.now_ms + 60_000)  # the wallet is read by the schedule meanwhile
    home.house.do(lambda tx: tx.save_delivery(replace(later, look_ms=home.now_ms)))
    home.run(0.5)
    assert home.delivery(ident).count == 2 and home.meter.wallet.shown_fen[0] == 10_000


def test_what_is_uncertain_stays_so_beyond_its_deadline_with_a_finding_until_the_count_is_read(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    home.turn()
    home.turn(Way.LOST_ANSWER)
    for _ in range(60 * 26):
        home.turn(lost_look=True)
        home.house.later(minutes=1)
        home.house.do(lambda tx: deliveries.expire_deliveries(tx, home.now_ms))
    assert home.delivery(ident).state is DeliveryState.UNCERTAIN
    assert [(f.kind, f.subject) for f in home.findings()] == [(FindingKind.TRANSFER_UNCERTAIN, ident)]
    assert (home.micro(), home.micro(ledger.undelivered)) == (0, 0)  # nobody can spend it
    home.turn()
    assert home.delivery(ident).state is DeliveryState.IN_METER and home.findings() == []
    home.sound()


def test_a_doubt_is_told_only_when_it_lasts(home: WalletHouse) -> None:
    home.topup("50.00")
    home.turn()
    home.turn(Way.LOST_ANSWER)
    home.house.now_ms += DOUBT_TOLD_MS - 1
    home.house.do(lambda tx: deliveries.expire_deliveries(tx, home.now_ms))
    assert home.findings() == []
    home.house.now_ms += 1
    home.house.do(lambda tx: deliveries.expire_deliveries(tx, home.now_ms))
    assert len(home.findings()) == 1


def test_a_purchase_from_elsewhere_that_took_the_count_does_not_count_as_ours(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    home.turn()
    home.turn(Way.LOST_REQUEST)
    assert home.meter.wallet.open(3_000, 1, CUSTOMER, 0) is None  # a card at a counter
    home.run(0.2)
    assert home.delivery(ident).state is DeliveryState.IN_METER and home.delivery(ident).count == 2
    assert home.meter.wallet.shown_fen[0] == 8_000 and home.micro() == yuan("80")
    assert home.house.do(lambda tx: [paid.amount_micro for paid in tx.paid(0, 99) if paid.bank == "at-meter"]) == [yuan("30")]
    home.run(1)
    assert home.findings() == []
    home.sound()


def test_two_refused_macs_a_day_are_the_most(home: WalletHouse) -> None:
    home.topup("50.00")
    home.run(20, Way.MAC)
    assert len(home.wallet().memory.refused) == 2
    home.run(DAY_H - 20 + 0.2, Way.MAC)  # the payment's own deadline
    assert home.micro(ledger.undelivered) == yuan("50")


def test_the_meters_word_is_the_balance_and_it_cuts_by_itself(home: WalletHouse) -> None:
    home.topup("20.00")
    home.run(0.2)
    assert home.house.account().credit is CreditState.NORMAL
    home.meter.use(3_200)  # 16.00
    home.run(0.3)
    assert home.house.account().credit is CreditState.LOW
    home.meter.use(900)
    home.run(0.3)
    assert home.house.account().credit is CreditState.EXHAUSTED and home.house.orders() == []
    home.topup("50.00")  # on its way: counts as credit
    assert home.house.account().credit is CreditState.NORMAL


def test_our_books_say_what_the_meter_shows_to_the_hundredth(house: House) -> None:
    home = WalletHouse(house).settle(tariff=flat(528_300))
    home.topup("100.00")
    home.run(0.2)
    meter = home.meter
    for counts in (1, 2, 3, 5, 70, 11, 1, 1, 1, 400):
        meter.counts += counts
        meter.wallet.charge(5_283, counts, meter.steps, counts)
        home.run(0.5)
        assert home.micro() == meter.wallet.balance_micro and home.findings() == []
    meter.wallet.balance_micro -= 20_000  # two hundredths that nobody used
    home.run(0.5)
    assert [f.kind for f in home.findings()] == [FindingKind.WALLET_DIFFERS]


def test_after_power_came_back_two_reads_a_minute_apart_must_agree(home: WalletHouse) -> None:
    home.topup("50.00")
    home.run(0.5)
    home.house.do(lambda tx: meter_wallet.power_returned(tx, "m1", home.now_ms))
    home.meter.wallet.balance_micro += 30_000_000  # the chip's balance stands in for the working one
    assert isinstance(home.turn(), WalletReadJob) and home.findings() == []
    home.meter.wallet.balance_micro -= 30_000_000
    home.house.later(minutes=1)
    assert isinstance(home.turn(), WalletReadJob) and home.wallet().held_since_ms is not None
    home.house.later(minutes=1)
    assert isinstance(home.turn(), WalletReadJob) and home.wallet().held_since_ms is None
    assert home.findings() == []


def test_another_meter_at_the_same_address_gets_nothing_before_a_person_says_so(home: WalletHouse) -> None:
    first = home.topup("50.00")
    home.run(0.2)
    second = home.topup("30.00")
    home.turn()
    home.turn(Way.LOST_REQUEST)
    old, home.meter = home.meter, SimMeter(new_wallet())
    home.meter.counts = old.counts
    home.run(1)
    assert home.meter.wallet.count == 0 and home.delivery(second).state is DeliveryState.UNCERTAIN
    assert {f.kind for f in home.findings()} == {FindingKind.WALLET_DIFFERS, FindingKind.TRANSFER_UNCERTAIN}
    home.house.do(lambda tx: meter_wallet.change_wallet(tx, "m1", "operator:li", home.house.site, home.now_ms))
    home.run(0.5)
    assert home.delivery(first).state is home.delivery(second).state is DeliveryState.IN_METER
    assert home.meter.wallet.shown_fen[0] == 8_000 and home.micro() == yuan("80") and home.findings() == []
    assert home.meter.wallet.count == 2
    home.sound()


def test_a_meter_that_was_swapped_for_one_with_the_very_count_is_not_taken_for_ours(house: House) -> None:
    home = WalletHouse(house, SimMeter(new_wallet(count=4, customer=CUSTOMER))).settle()
    ident = home.topup("50.00")
    home.turn()
    home.turn(Way.LOST_REQUEST)
    home.meter = SimMeter(new_wallet(5_000, 5, "000000009999"))
    home.run(1)
    assert home.delivery(ident).state is DeliveryState.UNCERTAIN and home.micro() == 0


def test_a_person_takes_a_delivery_back_at_once_where_it_was_never_sent(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    assert home.house.do(lambda tx: delivery_acts.withdraw(tx, ident, "operator:li", "wrong meter", home.now_ms)) is None
    assert home.delivery(ident).state is DeliveryState.RETURNED and home.micro(ledger.undelivered) == yuan("50")
    again = home.house.do(lambda tx: delivery_acts.withdraw(tx, ident, "operator:li", "again", home.now_ms))
    assert again == f"delivery {ident} is returned_to_balance"


def test_a_person_takes_back_what_was_sent_and_it_stands_when_it_is_in(home: WalletHouse) -> None:
    ident = home.topup("50.00")
    home.turn()
    home.turn(Way.LOST_ANSWER)
    assert home.house.do(lambda tx: delivery_acts.withdraw(tx, ident, "operator:li", "changed her mind", home.now_ms)) is None
    assert home.delivery(ident).state is DeliveryState.UNCERTAIN
    home.turn()
    assert home.delivery(ident).state is DeliveryState.IN_METER


def test_what_was_in_the_meter_before_us_is_taken_over(house: House) -> None:
    home = WalletHouse(house, SimMeter(new_wallet(1_234, 3, CUSTOMER))).settle()
    home.run(0.2)
    assert home.micro() == yuan("12.34") and home.wallet().count == 3 and home.findings() == []
    home.sound()


def test_the_balance_follows_into_the_meter(house: House) -> None:
    home = WalletHouse(house).settle(authority=Authority.GATEWAY, balance="30.00")
    home.meter.counting = False  # by remote control its wallet rests
    house.block("m1", "0.00")
    home.meter.use(700)
    assert home.to_meter() is None
    home.house.later(minutes=1)
    home.turn()
    home.meter.counting = True
    assert home.house.account().authority is Authority.METER
    assert home.pending() == yuan("26.50") and home.micro() == 0
    home.run(0.2)
    assert home.meter.wallet.shown_fen[0] == 2_650 and home.micro() == yuan("26.50") and home.findings() == []
    assert EventKind.AUTHORITY_CHANGED in {event.kind for event in house.events()}
    home.sound()


def test_a_wallet_that_holds_money_of_its_own_or_a_debt_does_not_change_hands(house: House) -> None:
    home = WalletHouse(house, SimMeter(new_wallet(500, 2, CUSTOMER))).settle(authority=Authority.GATEWAY, balance="30.00")
    assert home.to_meter() is None
    home.run(0.1)
    assert house.account().authority is Authority.GATEWAY and home.wallet().memory.switching is None
    assert [e.data["reason"] for e in house.events() if e.kind is EventKind.AUTHORITY_KEPT] == [
        "the wallet shows 5.00 of its own: it must stand at zero first"
    ]
    assert "both" not in str(home.findings()) and home.findings()[0].kind is FindingKind.WALLET_DIFFERS


@pytest.mark.parametrize("way", [Way.OK, Way.LOST_REQUEST, Way.LOST_ANSWER, Way.NAK_APPLIED, Way.NAK, Way.KILLED_AFTER])
def test_the_wallet_is_emptied_and_the_money_is_ours_to_hold(home: WalletHouse, way: Way) -> None:
    home.topup("50.00")
    home.run(0.2)
    home.meter.use(201)
    home.run(0.3)
    assert home.to_gateway() is None
    home.turn()
    home.turn(way)
    home.run(3)
    assert EventKind.FINDING_OPENED not in {event.kind for event in home.house.events()}
    assert home.house.account().authority is Authority.GATEWAY
    assert home.meter.wallet.shown_fen == (0, 0) and home.micro() == home.paid - 201 * PRICE_MICRO
    home.sound()


PRICE_MICRO = 5_000


def test_what_was_on_its_way_comes_along(home: WalletHouse) -> None:
    home.topup("50.00")
    home.run(0.2)
    home.topup("20.00")
    assert home.to_gateway() is None
    assert home.micro(ledger.undelivered) == yuan("20")
    home.run(0.2)
    assert home.house.account().authority is Authority.GATEWAY and home.micro() == yuan("70")
    home.sound()


def test_a_refused_refund_that_a_person_took_back_comes_back_once(home: WalletHouse) -> None:
    home.topup("50.00")
    home.run(0.2)
    assert home.to_gateway() is None
    while not isinstance(job := home.turn(Way.NAK), WalletWriteJob):
        home.house.later(minutes=1)
    assert home.house.do(lambda tx: delivery_acts.withdraw(tx, job.delivery, "operator:li", "test", home.now_ms)) is None
    home.house.later(minutes=30)
    home.turn()
    assert home.delivery(job.delivery).state is DeliveryState.RETURNED
    home.run(0.5)
    assert (home.house.account().authority, home.micro()) == (Authority.GATEWAY, yuan("50"))
    home.sound()


def test_without_a_refund_a_wallet_must_be_seen_to_rest(home: WalletHouse) -> None:
    home.topup("50.00")
    home.run(0.2)
    assert home.to_gateway(refundable=False) is not None
    assert home.to_gateway(Switching.FREEZE) is None
    home.run(0.1)
    home.meter.use(10)
    home.run(0.1)  # it still counts
    assert home.house.account().authority is Authority.METER and home.wallet().memory.switching is None
    assert home.to_gateway(Switching.FREEZE) is None
    home.meter.counting = False
    home.run(0.2)
    assert home.house.account().authority is Authority.METER  # nothing flowed: that proves nothing
    home.meter.use(10)
    home.run(0.1)
    assert home.house.account().authority is Authority.GATEWAY
    assert home.micro() == yuan("50") - 20 * PRICE_MICRO and home.meter.wallet.shown_fen[0] == 4_995
    home.sound()
    home.meter.counting = True  # somebody sets it back: now both could be spent
    home.meter.use(10)
    home.run(7)
    assert [f.kind for f in home.findings()] == [FindingKind.WALLET_DIFFERS]
    assert "although the gateway holds the money" in (home.house.verified() or "")


def test_what_a_restored_backup_does_not_know_goes_in_once(tmp_path: Path) -> None:
    """The store of before a delivery comes back after it: what was on its way then is read before anything is sent."""
    live = Store.open(str(tmp_path / "live.db"), inline=True)
    home = WalletHouse(House(live)).settle()
    home.topup("10.00")
    home.run(0.2)
    first, second = home.topup("20.00"), home.topup("5.00")
    live.close()
    shutil.copyfile(tmp_path / "live.db", tmp_path / "backup.db")
    live = home.house.store = Store.open(str(tmp_path / "live.db"), inline=True)
    home.run(0.2)
    assert home.meter.wallet.shown_fen[0] == 3_500
    live.close()
    restored = Store.open(str(tmp_path / "backup.db"), inline=True)
    back = WalletHouse(House(restored, now_ms=home.now_ms), home.meter)
    back.house.do(lambda tx: save(tx, Held("b", 0, 0, 0, 0)))
    assert back.house.do(lambda tx: deliveries.recover_deliveries(tx, back.now_ms)) == 2
    back.run(0.5)
    assert back.delivery(first).state is back.delivery(second).state is DeliveryState.IN_METER
    assert home.meter.wallet.shown_fen[0] == 3_500 and home.meter.wallet.count == 3 and back.micro() == yuan("35")
    assert back.findings() == []
    restored.close()


def test_while_banks_are_compared_after_a_restore_nothing_is_sent(home: WalletHouse) -> None:
    ident = home.topup("10.00")
    home.house.do(lambda tx: save(tx, Held("b", 0, 0, 0, 0)))
    home.run(1)
    assert home.delivery(ident).attempts == 0 and home.meter.wallet.count == 0


def test_a_payment_that_the_restored_ledger_lacked_waits_for_two_people(home: WalletHouse) -> None:
    home.run(0.1)
    at = datetime.fromtimestamp(home.now_ms / 1000, UTC)
    paid = TopUp(PaymentIdentity("bank", "", "", "missed"), "A-1", yuan("10"), "CNY", at, at.date(), at.date())
    outcome = home.house.do(lambda tx: apply_topup(tx, paid, home.house.site, home.now_ms, missed=True))
    ident = f"delivery-{outcome.payment.entry}"
    assert outcome.delivery == "uncertain" and home.delivery(ident).state is DeliveryState.UNCERTAIN
    other = home.topup("20.00")
    home.run(0.5)
    assert home.delivery(other).state is DeliveryState.IN_METER and home.meter.wallet.count == 1
    asked = home.house.do(lambda tx: ask_resolve(tx, "act-1", ident, False, "read", "operator:li", home.house.site, home.now_ms))
    assert asked.refused is None and home.delivery(ident).open
    decided = home.house.do(lambda tx: approve(tx, "act-1", "approver:wang", home.house.site, home.now_ms, WALLET_ACTS))
    assert decided.refused is None and home.delivery(ident).state is DeliveryState.RETURNED
    site = home.house.site
    assert home.house.do(lambda tx: delivery_acts.deliver_rest(tx, "A-1", "operator:li", "read", site, home.now_ms)) is None
    home.run(0.5)
    assert home.meter.wallet.shown_fen[0] == 3_000 and home.findings() == []
    home.sound()


def test_nobody_decides_what_the_meter_itself_will_tell(home: WalletHouse) -> None:
    ident = home.topup("10.00")
    home.turn()
    home.turn(Way.LOST_ANSWER)
    asked = home.house.do(lambda tx: ask_resolve(tx, "act-1", ident, True, "sure", "operator:li", home.house.site, home.now_ms))
    assert asked.refused == "the wallet of meter m1 will be read and decide by itself"


def test_a_top_up_over_the_meters_own_limit_is_refused_before_the_bank_is_told_yes(home: WalletHouse) -> None:
    home.run(0.1)
    limited = _limited(home.wallet(), yuan("100"))
    home.house.do(lambda tx: tx.save_wallet(limited))
    home.topup("60.00")
    refused = home.house.topup("40.01", "S-x")
    assert (refused.payment.status, refused.payment.problem) == ("refused", "over_hoarding_limit")
    home.topup("40.00")


def _limited(wallet: Wallet, micro: int) -> Wallet:
    return replace(wallet, memory=replace(wallet.memory, hoarding_micro=micro))


@pytest.mark.parametrize(
    ("tariff", "why"),
    [
        (FLAT, None),
        (flat(500_050), "prices finer than 0.0001"),
        (replace(FLAT, rounding=Rounding(RoundingPlace.LINE, RoundingMode.HALF_UP, 10_000)), "rounds what a meter does not round"),
    ],
)
def test_a_tariff_that_no_meter_counts_by_is_refused(house: House, tariff: Tariff, why: str | None) -> None:
    home = WalletHouse(house).settle(authority=Authority.GATEWAY, tariff=tariff)
    refused = home.to_meter()
    assert refused is None if why is None else why in (refused or "")


def test_the_gateway_orders_no_credit_cut_where_the_meter_holds_the_money(home: WalletHouse) -> None:
    home.topup("1.00")
    home.run(0.2)
    home.meter.use(1_000)
    home.run(0.5)
    assert home.house.account().credit is CreditState.EXHAUSTED
    answer = home.house.order(Verb.CUT, "energy_debt")
    assert answer.command is None and "the meter holds this account's money" in (answer.refused or "")
    assert home.house.orders() == []
