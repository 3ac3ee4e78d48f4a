"""No cut by a price that a late reading could still make better: the interval of an open split (prepayment.md 3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.price_list import Reset, StepKind, Steps, Tariff
from gateway.services.best_balance import OPEN_SPLIT, shared_out, still_credit
from tests.gateway.price_lists import flat
from tests.gateway.services.house import POLICY, House, account, local, yuan
from tests.gateway.services.test_charge_energy import CLOCKED, DEARER, MIDNIGHT, past

AGREED = account(tariff="priced", policy=replace(POLICY, no_cut_hours=False))


def over_midnight(house: House, balance: str, tariff: Tariff = DEARER) -> House:
    """3 kWh in the three hours around the first of December: at 0.50 before, at 1.00 after, and nobody read at midnight."""
    house.now_ms = local("2026-11-30 22:00")
    house.settle(accounts=[AGREED], tariffs=[tariff], balance=balance)
    house.block(total="100.00")
    house.later(hours=3).block(total="103.00")
    return house


def back(house: House) -> int:
    return house.do(lambda tx: shared_out(tx, house._account(tx, "A-1")))


def said(house: House) -> tuple[str, ...]:
    return house.do(lambda tx: still_credit(tx, house._account(tx, "A-1")))


def test_a_cut_waits_for_the_freeze_that_may_give_credit_back(house: House) -> None:
    over_midnight(house, "1.99")  # posted: 2 kWh at 0.50, 1 kWh at 1.00
    assert (house.balance(), house.account().credit, back(house)) == ("-0.010000", "exhausted", yuan("0.50"))
    assert house.orders() == []
    [event] = [e for e in house.events() if e.kind == "cut_held"]
    assert event.data["missing"] == [OPEN_SPLIT]
    past(house, MIDNIGHT, "102.50", t1="102.50", t2="0.00")
    assert (house.balance(), back(house), house.account().credit) == ("0.240000", 0, "low")


def test_the_twin_that_owes_more_than_any_reading_gives_back_is_cut(house: House) -> None:
    over_midnight(house, "1.50")
    assert (house.balance(), house.orders()) == ("-0.500000", ["cut queued"])
    assert said(house) == ()


def test_a_freeze_that_makes_it_worse_lets_the_cut_go(house: House) -> None:
    over_midnight(house, "1.99")
    past(house, MIDNIGHT, "100.50", t1="100.50", t2="0.00")
    assert (house.balance(), house.orders()) == ("-0.760000", ["cut queued"])


def test_rates_by_the_clock_lie_between_their_prices(house: House) -> None:
    """An hour around 08:00: half of it at 0.20 and half at 1.00, and it may all have been night."""
    house.now_ms = local("2026-11-24 07:30")
    house.settle(accounts=[AGREED], tariffs=[CLOCKED], balance="1")
    house.read(total="100.00", t1="100.00", t2="0.00")
    house.later(hours=1).read(total="102.00", t1="102.00", t2="0.00")
    assert (house.balance(), back(house)) == ("-0.200000", yuan("0.80"))
    assert house.orders() == []


def test_steps_that_the_energy_pushed_others_up_count_too(house: House) -> None:
    """10 kWh at 0.10 a month, then 1.00. What was estimated into December made December's own energy dear."""
    steps = Steps(StepKind.BLOCK, (Reset(1),), (10_000,), (100_000, 1_000_000))
    version = flat(0).versions[0]
    stepped = Tariff(
        "priced", "CNY", "Asia/Shanghai", (replace(version, seasons=(replace(version.seasons[0], prices={}),), steps=steps),)
    )
    house.now_ms = local("2026-11-30 22:00")
    house.settle(accounts=[AGREED], tariffs=[stepped], balance="3")
    house.block(total="100.00")
    house.later(hours=4).block(total="112.00")  # 6 kWh in each month: 1.20
    house.later(hours=1).block(total="118.00")  # December: 6 + 6, two of them dear: 2.40
    assert house.balance() == "-0.600000"
    assert back(house) == yuan("1.80")  # had the first 12 been November's at the low price
    assert house.orders() == []


@pytest.mark.parametrize("what", ["minimum_micro", "free_wh"])
def test_where_a_period_may_bear_the_energy_anyway_it_may_have_cost_nothing(house: House, what: str) -> None:
    tariff = replace(DEARER, versions=tuple(replace(version, **{what: 1}) for version in DEARER.versions))  # type: ignore[arg-type]
    over_midnight(house, "1.99", tariff)
    assert back(house) >= yuan("1.99")


def test_nothing_open_costs_nothing(house: House) -> None:
    house.settle(accounts=[account(policy=replace(POLICY, no_cut_hours=False))], balance="1").exhaust()
    assert back(house) == 0 and said(house) == ()
    house.topup("99.00")
    assert said(house) == ()
