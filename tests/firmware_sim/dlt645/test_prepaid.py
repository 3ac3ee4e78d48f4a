"""A meter that holds the money: it warns, overdraws, cuts itself, and takes purchases by count, customer and limit.

The numbered tests are those of a public test bench (prepayment notes a4): protect, small and large top-up, overdraft, button.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from protocols.dlt645 import master
from protocols.dlt645.codes import Serr
from protocols.dlt645.master import Action
from tests.firmware_sim.dlt645.bench import ADDRESS, CUSTOMER, Bench, prepaid
from tests.firmware_sim.virtual import NoAnswer

HOUR = 3600  # costs 5.00 yuan


def serr(s: Bench, *args, **how) -> Serr:
    return Serr(int.from_bytes(bytes.fromhex(s.refusal(s.buy, *args, **how)), "little"))


def trips(s: Bench) -> int:
    return int(s.value("1D000001"))


def test_every_count_is_paid_and_shown():
    s = prepaid(balance="100")
    s.wait(HOUR)
    assert (s.value("00900200"), s.value("00900201")) == (Decimal("95.00"), 0)
    assert s.value("000B0000") == 10 and s.value("02800020") == Decimal("0.5000")


def test_it_warns_twice_and_cuts_at_zero():
    s = prepaid(balance="20", alarm_1="15", alarm_2="10")
    credits = []
    for _ in range(5):
        credits.append((s.truth()["wallet"]["credit"], bool(s.status3() & 0x80), s.supplied))
        s.wait(HOUR)
    s.wait(2)
    credits.append((s.truth()["wallet"]["credit"], bool(s.status3() & 0x80), s.supplied))
    assert [credit for credit, _, _ in credits] == ["normal", "low", "very_low", "very_low", "exhausted", "exhausted"]
    assert [on for _, on, _ in credits] == [False, False, True, True, True, True]
    assert not credits[-1][2] and trips(s) == 1 and s.truth()["cut_cause"] == "credit"


def test_an_overdraft_is_run_down_and_shown():
    s = prepaid(balance="5", overdraft="5")
    s.wait(1.5 * HOUR)
    assert (s.value("00900200"), s.value("00900201")) == (0, Decimal("2.50")) and s.supplied
    assert int(s.value("04000501")) & 0x4000
    s.wait(HOUR)
    assert not s.supplied and s.value("00900201") == Decimal("5.00")


def test_the_trip_delay_announces_the_cut():
    s = Bench(
        wallet={"prices": ["0.5"], "customer": CUSTOMER, "count": 1, "balance": "5"}, rates=1, day=[["00:00", 1]],
        load={"power_w": 10_000, "pf": 1}, set={"04001401": 10},
    )  # fmt: skip
    s.wait(HOUR + 300)
    assert s.supplied and s.truth()["trip_due_us"]
    s.buy("100", 2)
    s.wait(HOUR)
    assert s.supplied and trips(s) == 0  # paid in time


def test_bench_1_and_2_protection_holds_and_its_end_trips():
    s = prepaid(balance="1")
    s.control(Action.PROTECT_ON)
    s.wait(HOUR)
    assert s.supplied and trips(s) == 0 and s.status3() & 0x1000
    s.buy("1", 2)
    s.control(Action.PROTECT_OFF)
    s.wait(2)
    assert not s.supplied and trips(s) == 1


def test_bench_3_4_and_6_the_close_allow_amount_and_the_button():
    s = prepaid(balance="1", reconnect="100")
    s.wait(HOUR)
    assert not s.supplied
    s.buy("30", 2)
    assert not s.truth()["allowed"] and s.value("1E000001") == 0
    s.act("press")
    s.wait(2)
    assert not s.supplied
    s.buy("110", 3)
    assert s.truth()["allowed"] and not s.supplied
    s.act("press")
    s.wait(2)
    assert s.supplied and s.value("1E000001") == 1


def test_bench_5_a_direct_close_within_the_overdraft_runs_until_it_is_used_up():
    s = prepaid(balance="1")
    s.wait(HOUR)
    s.control(Action.CLOSE)
    s.wait(10)
    assert not s.supplied  # answered, and nothing done: local cost control wins
    s.write("04001003", "5.00")
    s.wait(10)
    assert not s.supplied  # more overdraft does not reconnect by itself
    s.control(Action.CLOSE)
    s.wait(10)
    assert s.supplied
    s.wait(HOUR)
    assert not s.supplied and s.value("00900201") == Decimal("5.00") and trips(s) == 2


def test_bench_7_a_switch_that_cannot_open_is_reported():
    s = prepaid(balance="1")
    s.act("fault", kind="welded")
    s.wait(HOUR)
    assert s.supplied and s.status3() & 0x40 and int(s.value("04000501")) & 0x100


def test_a_lower_overdraft_limit_counts_at_once_and_warning_amounts_never_reconnect():
    s = prepaid(balance="0", overdraft="10")
    s.wait(HOUR)
    assert s.supplied
    s.write("04001003", "3.00")
    s.wait(2)
    assert not s.supplied
    s.authenticate()
    data = bytes.fromhex("00000000")
    s.ask("a", master.SecuredWrite(ADDRESS, "04001001", data, s.mac("04001001", data), sealed=False))
    s.wait(2)
    assert not s.supplied and not s.truth()["allowed"]


def test_a_warning_may_cut_once_and_the_button_brings_supply_back():
    s = prepaid(balance="12", alarm_2="10", alarm_2_trips=True)
    s.wait(HOUR)
    assert not s.supplied and s.truth()["allowed"]
    s.act("press")
    s.wait(HOUR)
    assert s.supplied and trips(s) == 1


def test_a_cut_from_outside_is_not_undone_by_money():
    s = prepaid(balance="50")
    s.control(Action.CUT)
    s.wait(2)
    s.buy("50", 2)
    assert not s.truth()["allowed"] and not s.supplied


def test_the_first_purchase_opens_the_account():
    s = prepaid(count=0, customer="000000000000")
    assert serr(s, "10", 1) == Serr.OTHER  # no account yet
    assert serr(s, "10", 3, first=True) == Serr.COUNT
    s.buy("10", 1, first=True)
    assert s.value("00900200") == 10 and s.value("0400040E") == CUSTOMER
    assert serr(s, "10", 1, first=True) == Serr.REPEATED
    s.buy("30", 2)
    wallet = s.ask("a", master.QueryWallet(ADDRESS))
    assert (wallet.balance_fen, wallet.purchase_count, wallet.customer) == (4000, 2, CUSTOMER)


def test_purchases_are_refused_with_their_reason():
    s = prepaid(balance="50", hoarding="100")
    assert serr(s, "10", 2, authenticate=False) == Serr.NOT_AUTHENTICATED
    assert serr(s, "10", 1) == Serr.REPEATED
    assert serr(s, "10", 3) == Serr.COUNT
    assert serr(s, "10", 2, "000000000001") == Serr.CUSTOMER
    assert serr(s, "50.01", 2) == Serr.HOARDING
    s.authenticate()
    assert s.refusal(s.ask, "a", master.TopUp(ADDRESS, master.Purchase(100, 2, CUSTOMER))) == "0400"  # MACs of zeros
    assert s.value("00900200") == Decimal("50.00") and s.value("03330201") is None
    s.buy("50", 2)
    assert s.value("00900200") == Decimal("100.00")


def test_a_lost_answer_is_decided_by_the_count():
    s = prepaid(balance="0", overdraft="5")
    s.authenticate()
    s.act("fault", kind="lost_answer", count=1)
    with pytest.raises(NoAnswer):
        s.buy("30", 2, authenticate=False)
    assert s.ask("a", master.QueryWallet(ADDRESS)).purchase_count == 2  # it is in
    assert serr(s, "30", 2) == Serr.REPEATED
    assert s.value("00900200") == Decimal("30.00")


def test_purchase_records():
    s = prepaid(balance="5")
    s.act("load", power_w=0)
    s.buy("30", 2)
    s.buy("110", 3)
    found = [s.value(f"0333{n:02X}01") for n in range(2, 7)]
    assert found == [3, 110, 35, 145, 140]
    assert s.value("03330102").startswith("26112112")


def test_chip_data_can_be_read_back_and_the_session_ended():
    s = prepaid(balance="12.34")
    s.act("load", power_w=0)
    s.authenticate()
    place = master.ChipPlace(directory=0, file=1, offset=0, length=8)
    assert s.ask("a", master.ReadBack(ADDRESS, place)).data.hex() == "d204000001000000"
    assert s.refusal(s.ask, "a", master.ReadBack(ADDRESS, master.ChipPlace(0, 9, 0, 8))) == "8000"
    assert s.ask("a", master.Invalidate(ADDRESS)).balance_fen == 1234
    assert serr(s, "10", 2, authenticate=False) == Serr.NOT_AUTHENTICATED


def test_the_validity_can_be_set():
    s = prepaid()
    s.authenticate()
    s.ask("a", master.SetValidity(ADDRESS, 30, s.mac("070001FF", bytes.fromhex("3000"))))
    s.authenticate()
    assert s.value("02800022") == 29


def test_initialising_begins_anew_without_an_account():
    s = prepaid(balance="50")
    s.authenticate()
    macs = s.mac("070103FF", (2000).to_bytes(4, "little")), s.mac("070103FF", bytes(4))
    s.ask("a", master.InitialiseWallet(ADDRESS, 2000, macs))
    assert s.truth()["wallet"] | {"balance": 0} == s.truth()["wallet"] | {"balance": 0, "opened": False, "purchase_count": 0}
    assert s.value("00900200") == 20


def test_a_maker_without_a_chip_counts_by_order_numbers():
    s = Bench(wallet={"prices": ["0.5"], "balance": "5"}, firmware="private", load={"power_w": 0})
    money = master.OrderedMoney(3000, "0000000000000042", ADDRESS)
    s.ask("a", master.OrderedTopUp(ADDRESS, money))
    assert s.refusal(s.ask, "a", master.OrderedTopUp(ADDRESS, money)) == "02"  # one byte: repeated
    assert s.refusal(s.ask, "a", master.OrderedTopUp(ADDRESS, master.OrderedMoney(1, "01" * 8, "000000000001"))) == "10"
    assert s.value("00900200") == 35
    s.ask("a", master.Refund(ADDRESS, master.OrderedMoney(500, "0000000000000043", ADDRESS)))
    assert s.value("00900200") == 30
    assert s.refusal(s.ask, "a", master.Refund(ADDRESS, master.OrderedMoney(5000, "0000000000000044", ADDRESS))) == "01"


def test_steps_begin_anew_on_their_days_and_without_any_are_not_charged():
    steps = {"thresholds_kwh": [5], "adders": ["0", "1"], "settle": ["11-21 13", "01-01 00"]}
    s = prepaid(balance="100", steps=steps)
    s.wait(HOUR - 10)
    assert s.value("000B0000") > Decimal("9.9") and s.value("0280000B") == 1
    s.wait(20)
    assert s.value("000B0000") < Decimal("0.1") and s.value("000B0001") == 10 and s.value("0280000B") == 0
    monthly = prepaid(balance="100", steps={"thresholds_kwh": [5], "adders": ["0", "1"]})
    assert monthly.value("02800020") == Decimal("0.5")
    monthly.write("04000B01", "9999")
    monthly.wait(HOUR)
    assert monthly.value("00900200") > Decimal("94.9")  # no day is set: no step part


def test_prices_and_steps_take_over_from_the_standby_set():
    s = prepaid(balance="100")
    s.authenticate()
    standby, when = bytes.fromhex("00800000"), bytes.fromhex("0013211126")
    for di, data in (("040502FF", standby), ("04000108", when)):
        s.ask("a", master.SecuredWrite(ADDRESS, di, data, s.mac(di, data), sealed=False))
    s.wait(HOUR + 10)
    assert s.value("02800021") == Decimal("0.8000") and s.value("05050001") == "2611211300"
    s.wait(HOUR)
    assert s.value("00900200") == pytest.approx(Decimal("87"), abs=Decimal("0.1"))


def test_a_step_block_is_written_and_read_back():
    s = prepaid(balance="100")
    block = b"".join(bytes.fromhex(f"{each:08d}")[::-1] for each in (10_000, 20_000, 0, 0, 0, 0))
    block += b"".join(bytes.fromhex(f"{each:08d}")[::-1] for each in (0, 500, 3000, 3000, 3000, 3000, 3000))
    block += bytes.fromhex("000101") + bytes.fromhex("999999") * 5
    s.authenticate()
    s.ask("a", master.SecuredWrite(ADDRESS, "040605FF", block, s.mac("040605FF", block), sealed=False))
    found = s.values("040605FF")
    assert found["ladder_standby_threshold_2"] == 200 and found["ladder_standby_price_3"] == Decimal("0.3")
    assert found["ladder_standby_settlement_1"] == "010100" and found["ladder_standby_settlement_2"] == "999999"
    assert s.value("04060202") == 200 and s.value("04060303") == Decimal("0.3")


def test_reverse_energy_is_billed_as_the_combination_word_says():
    s = prepaid(balance="100")
    s.act("swap", what="leads")
    s.wait(HOUR)
    assert s.value("00020000") == 10 and s.value("00900200") == Decimal("95.00")
    s.write("04000601", 0x01)  # forward alone
    before = s.value("00900200")
    s.wait(HOUR)
    assert s.value("00900200") == before


def test_an_account_that_is_empty_from_the_start_has_no_supply_and_a_new_meter_has():
    s = prepaid()
    s.wait(2)
    assert not s.supplied
    s = prepaid(count=0, customer="000000000000")
    s.wait(2)
    assert s.supplied
    s.act("swap", initial_kwh=1)
    assert s.truth()["wallet"]["opened"] is False and s.supplied


def test_a_warning_that_has_cut_does_not_cut_again_after_a_restart():
    made = {"prices": ["0.5"], "customer": CUSTOMER, "count": 1, "balance": 12, "alarm_2": 10, "alarm_2_trips": True}
    how = {"wallet": made, "rates": 1, "day": [["00:00", 1]], "load": {"power_w": 10_000, "pf": 1}}
    s = Bench(**how)
    s.wait(HOUR)
    s.act("press")
    s.wait(5)
    again = Bench(saved={"m": s.station("m").save()}, **how)
    again.wait(HOUR / 2)
    assert again.supplied


def test_the_wallet_survives_a_restart_to_the_last_micro():
    s = prepaid(balance="10", alarm_1="8")
    s.wait(1234.567)
    s.buy("5", 2)
    made = {"prices": ["0.5"], "customer": CUSTOMER, "count": 1}
    again = Bench(saved={"m": s.station("m").save()}, wallet=made, rates=1, day=[["00:00", 1]], load={"power_w": 0})
    assert again.truth()["wallet"] == s.truth()["wallet"] | {"credit": "normal"}
    assert again.refusal(again.buy, "5", 2) == "0200"
