"""A meter whose wallet holds kWh: identifiers of remaining energy, its own limits, purchases and records (notes 8.1, 8.4, 8.5)."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from firmware_sim.config import ConfigError
from protocols.dlt645 import master
from protocols.dlt645.codes import Serr
from tests.firmware_sim.dlt645.bench import ADDRESS, CUSTOMER, Bench

HOUR = 3600  # uses 10 kWh


def in_kwh(**wallet: object) -> Bench:
    made = {"unit": "kWh", "customer": CUSTOMER, "count": 1, **wallet}
    return Bench(wallet=made, load={"power_w": 10_000, "pf": 1})


def test_every_count_is_taken_from_what_remains_whatever_its_rate():
    s = in_kwh(balance="100")
    for hours in range(1, 8):  # over a change of rate
        s.wait(HOUR)
        assert s.value("00900100") == 100 - 10 * hours
    assert s.value("00900101") == 0 and s.value("00010000") == 70
    assert s.status3() >> 8 & 3 == 1, "01: energy prepaid"


def test_it_has_nothing_of_a_wallet_with_money():
    s = in_kwh(balance="100")
    for di in ("00900200", "00900201", "02800020", "0280000B", "04050101", "040604FF", "03330201"):
        assert s.refusal(s.read, di) == "02", di
    money = Bench(wallet={"prices": ["0.5"], "balance": 5})
    assert [money.refusal(money.read, di) for di in ("00900100", "00900101", "03320201")] == ["02"] * 3
    assert money.status3() >> 8 & 3 == 2


def test_alarms_overdraft_and_the_cut_are_in_kwh_and_can_be_written():
    s = in_kwh(balance="25", alarm_1="20", alarm_2="10", overdraft="5")
    assert [s.value(f"04000F0{n}") for n in (1, 2, 3, 4)] == [20, 10, 0, 5]
    s.wait(HOUR)
    assert s.truth()["wallet"]["credit"] == "low"
    s.write("04000F01", 12)
    assert s.truth()["wallet"]["credit"] == "normal"
    s.write("04001005", 999)  # the money's limits are other registers, which nothing here goes by
    assert s.truth()["wallet"]["credit"] == "normal" and s.truth()["wallet"]["unit"] == "kWh"
    s.wait(HOUR)
    assert s.truth()["wallet"]["credit"] == "very_low" and s.status3() & 0x80
    s.wait(0.8 * HOUR)
    assert s.supplied and (s.value("00900100"), s.value("00900101")) == (0, Decimal("3.00"))
    assert int(s.value("04000501")) & 0x4000
    s.wait(HOUR)
    assert not s.supplied and s.value("00900101") == Decimal("5.00")


def test_a_purchase_is_recorded_and_bounded_in_kwh():
    s = in_kwh(balance="20", hoarding="100")
    s.wait(HOUR)
    s.buy("50", 2)
    assert [s.value(f"0332{n:02d}01") for n in range(2, 7)] == [2, 50, 10, 60, 50]
    assert Serr(int.from_bytes(bytes.fromhex(s.refusal(s.buy, "50", 3)), "little")) is Serr.HOARDING
    s.wait(6.1 * HOUR)
    assert not s.supplied
    s.buy("5", 3)
    assert s.meter("m").relay.allowed, "the button may close: there is no reconnect amount in kWh"
    wallet = s.ask("a", master.QueryWallet(ADDRESS))
    assert (wallet.balance_fen, wallet.purchase_count) == (500, 3), "0.01 kWh, where others have fen"


def test_what_remains_and_the_limits_survive_a_restart():
    s = in_kwh(balance="50", alarm_1="10")
    s.write("04000F01", 45)
    s.wait(HOUR)
    made = {"unit": "kWh", "customer": CUSTOMER, "count": 1, "balance": "50", "alarm_1": "10"}
    again = Bench(saved={"m": s.station("m").save()}, wallet=made, load={"power_w": 0})
    assert again.value("00900100") == 40
    again.device().restore_history(json.loads(json.dumps(s.device().history())))
    assert again.value("04000F01") == 45 and again.truth()["wallet"]["credit"] == "low"


@pytest.mark.parametrize("more", [{"prices": ["0.5"]}, {"reconnect": 5}, {"steps": {"thresholds_kwh": [1], "adders": [0, 1]}}])
def test_it_can_have_no_prices(more: dict[str, object]):
    with pytest.raises(ConfigError, match="neither prices nor steps"):
        in_kwh(balance="1", **more)
