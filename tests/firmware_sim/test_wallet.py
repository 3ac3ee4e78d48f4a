"""Money in the meter, in integers, against a model that counts every 0.01 kWh by itself."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.billing import Billing
from firmware_sim.loads import Steps as LoadSteps
from firmware_sim.meter import Meter, MeterSpec, RateChange
from firmware_sim.prices import PriceBook
from firmware_sim.registers import COUNT
from firmware_sim.wallet import Credit, Limits, Refusal, Steps, Wallet

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "prepayment.json").read_text())
BOUNDARY = next(vector for vector in VECTORS["tariffs"] if vector["id"] == "meter-step-boundary")
CUSTOMER = "000000004711"
SECOND = 1_000_000


def units(text: str) -> int:
    return int(float(text) * 10_000 + 0.5)


def test_the_published_step_boundary():
    steps = Steps(tuple(kwh * 100 for kwh in BOUNDARY["thresholds"]), tuple(units(adder) for adder in BOUNDARY["adders"]))
    wallet = Wallet(Limits(), balance_fen=10_000)
    wallet.used = 287_900
    wallet.charge(units(BOUNDARY["rate"]), 250, steps, 250)
    assert 100_000_000 - wallet.balance_micro == BOUNDARY["deduct_micro_yuan"] == 1_325_000
    assert wallet.used == 288_150


def one_by_one(steps: Steps, used: int, counts: int) -> int:
    """The cost of steps by the rule's own words: count the 0.01 kWh, then price it; up to the threshold the lower step holds."""
    cost = 0
    for _ in range(counts):
        used += 1
        step = 0
        while step < len(steps.thresholds) and used > steps.thresholds[step]:
            step += 1
        cost += steps.adders[step]
    return cost


marks = st.lists(st.integers(1, 400), max_size=4, unique=True).map(lambda some: tuple(sorted(some)))
adders = st.lists(st.integers(0, 5000), min_size=5, max_size=5)
ladders = st.builds(lambda at, more: Steps(at, tuple(more[: len(at) + 1])), marks, adders)


@given(ladders, st.integers(0, 450), st.lists(st.integers(0, 120), max_size=6))
def test_steps_cost_the_same_however_the_energy_is_split(steps, used, parts):
    wallet = Wallet(Limits())
    wallet.used = used
    for part in parts:
        wallet.charge(0, 0, steps, part)
    assert -wallet.balance_micro == one_by_one(steps, used, sum(parts)) == steps.cost_micro(used, sum(parts))


def billed(draws, prices, steps, rates_day, looks, speed=20):
    """A meter that bills, looked at in these moments; (meter, wallet)."""
    load = LoadSteps(tuple((at * SECOND, watts * 1000) for at, watts in draws), 0, None, 1000)
    meter = Meter(MeterSpec(rates=3, day=rates_day, speed_milli=speed * 1000), load, Random(1), 0, 0)
    book = PriceBook()
    book.rates[0][:3] = prices
    book.steps[0] = steps
    wallet = Wallet(Limits(), balance_fen=10**6)
    meter.parts.append(Billing(meter, wallet, book, lambda: (1, 0), lambda old, new: None))
    for moment in sorted(looks):
        meter.advance(moment)
    return meter, wallet


powers = st.lists(st.integers(0, 9000), min_size=1, max_size=5)
draws = powers.map(lambda some: [(n * 400, watts) for n, watts in enumerate(some)])
looks = st.lists(st.integers(1, 2000 * SECOND), max_size=8)
days = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(
    lambda rates: tuple(RateChange(n * 9, rate) for n, rate in enumerate(rates))
)


@settings(max_examples=60, deadline=None)
@given(draws, st.lists(st.integers(0, 9000), min_size=3, max_size=3), ladders, days, looks)
def test_a_billing_meter_takes_what_an_independent_count_takes(draws, prices, steps, day, looks):
    end_us = 2000 * SECOND
    meter, wallet = billed(draws, prices, steps, day, [*looks, end_us])
    rates = [meter.registers.total[0][n] // COUNT for n in range(3)]
    total = sum(meter.registers.total[0]) // COUNT
    expected = sum(price * count for price, count in zip(prices, rates, strict=True)) + one_by_one(steps, 0, total)
    assert 10**10 - wallet.balance_micro == expected
    assert wallet.used == total


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9000), st.integers(1, 9000), ladders, st.integers(0, 300), st.integers(0, 200))
def test_the_trip_comes_at_the_very_count_that_exhausts_the_money(watts, price, steps, fen, overdraft):
    load = LoadSteps(((0, watts * 1000),), 0, None, 1000)
    meter = Meter(MeterSpec(rates=1, day=(RateChange(0, 1),), speed_milli=10**6, starting_current_ma=0), load, Random(1), 0, 0)
    book = PriceBook()
    book.rates[0][0], book.steps[0] = price, steps
    wallet, seen = Wallet(Limits(overdraft=overdraft), fen), []

    def note(old: Credit, new: Credit) -> None:
        seen.append((new, meter.total_count, meter.now_us))

    def costs(counts: int) -> int:
        return price * counts + one_by_one(steps, 0, counts)

    meter.parts.append(Billing(meter, wallet, book, lambda: (1, 0), note))
    meter.advance(3600 * SECOND)
    limit = (fen + overdraft) * 10_000
    exhausted = [(count, at) for credit, count, at in seen if credit == Credit.EXHAUSTED]
    if not fen and not overdraft:
        assert wallet.credit == Credit.EXHAUSTED and not exhausted  # it began so
    elif exhausted:
        ((count, at),) = exhausted
        assert costs(count) >= limit > costs(count - 1)
        assert at == -(-count * COUNT // (watts * 1000 * 10**6))  # not a microsecond late
    else:
        assert costs(meter.total_count) < limit


@pytest.mark.parametrize(
    ("balance", "credit"),
    [(5001, 0), (5000, 1), (1001, 1), (1000, 2), (1, 2), (0, 2), (-1, 3), (-499, 3), (-500, 4), (-9999, 4)],
)
def test_credit_states_in_their_order(balance, credit):
    assert Wallet(Limits(5000, 1000, 500), balance).credit == credit


@pytest.mark.parametrize(("balance", "credit"), [(1, Credit.VERY_LOW), (0, Credit.EXHAUSTED), (-1, Credit.EXHAUSTED)])
def test_an_overdraft_limit_of_zero_ends_supply_at_zero(balance, credit):
    assert Wallet(Limits(alarm_2=100), balance).credit == credit


@pytest.mark.parametrize(
    ("micro", "shown"),
    [(19_999, (1, 0)), (10_000, (1, 0)), (9_999, (0, 0)), (-9_999, (0, 0)), (-10_000, (0, 1)), (-25_000, (0, 2))],
)
def test_what_is_shown_is_truncated_toward_zero(micro, shown):
    wallet = Wallet(Limits())
    wallet.balance_micro = micro
    assert wallet.shown_fen == shown


def test_purchases_follow_the_count_the_customer_and_the_limit():
    wallet = Wallet(Limits(hoarding=10_000))
    assert wallet.top_up(100, 1, CUSTOMER, 0) is Refusal.NOT_OPEN
    assert wallet.open(100, 2, CUSTOMER, 0) is Refusal.COUNT
    assert wallet.open(10_001, 1, CUSTOMER, 0) is Refusal.HOARDING
    assert wallet.open(1_000, 1, CUSTOMER, 0) is None
    assert wallet.open(1_000, 1, CUSTOMER, 0) is Refusal.REPEATED
    assert wallet.top_up(100, 2, "000000000001", 0) is Refusal.CUSTOMER
    assert wallet.top_up(100, 1, CUSTOMER, 0) is Refusal.REPEATED
    assert wallet.top_up(100, 3, CUSTOMER, 0) is Refusal.COUNT
    assert wallet.top_up(9_001, 2, CUSTOMER, 0) is Refusal.HOARDING
    assert wallet.top_up(9_000, 2, CUSTOMER, 0) is None
    assert (wallet.shown_fen, wallet.count, wallet.cumulative_fen) == ((10_000, 0), 2, 10_000)
    assert [(p.count, p.before, p.after) for p in wallet.purchases] == [(2, 1_000, 10_000), (1, 0, 1_000)]


def test_what_only_pays_a_debt_always_passes_the_hoarding_limit():
    wallet = Wallet(Limits(hoarding=1_000), balance_fen=-20_000, customer=CUSTOMER, count=1)
    assert wallet.top_up(21_001, 2, CUSTOMER, 0) is Refusal.HOARDING
    assert wallet.top_up(19_000, 2, CUSTOMER, 0) is None
    assert wallet.shown_fen == (0, 1_000)


@pytest.mark.parametrize(
    ("at_least", "balance", "may"), [(False, 10_000, False), (False, 10_001, True), (True, 10_000, True), (True, 9_999, False)]
)
def test_the_close_allow_amount_is_passed_above_it_or_at_it(at_least, balance, may):
    assert Wallet(Limits(reconnect=10_000), balance, at_least=at_least).reconnectable is may
