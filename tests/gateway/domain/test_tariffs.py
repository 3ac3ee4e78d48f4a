"""Prices: the worked examples, and charges that add up over any split."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.readings import Registers
from gateway.domain.tariffs import Tariff, UnpricedRegister, charge
from gateway.domain.units import parse_money, parse_price

VECTORS = {v["id"]: v for v in json.loads((Path(__file__).parents[2] / "vectors" / "prepayment.json").read_text())["tariffs"]}
FLAT = Tariff("flat", "CNY", {"energy_import": parse_price("0.617")})


def amount(tariff: Tariff, before: dict[str, int], after: dict[str, int]) -> int:
    return sum(line.amount_micro for line in charge(tariff, Registers(0, before), Registers(1, after)))


def test_the_published_two_rate_example() -> None:
    example = VECTORS["shanghai-tier1-tou"]
    tariff = Tariff("tou", "CNY", {"energy_import_t1": parse_price("0.617"), "energy_import_t2": parse_price("0.307")})
    peak, valley = example["peak_kwh"] * 1000, example["valley_kwh"] * 1000
    start = {"energy_import": 0, "energy_import_t1": 0, "energy_import_t2": 0}
    end = {"energy_import": peak + valley, "energy_import_t1": peak, "energy_import_t2": valley}
    assert amount(tariff, start, end) == parse_money(example["total"], "CNY")


def test_one_hundredth_of_a_kwh_at_the_smallest_price_is_one_micro() -> None:
    assert amount(Tariff("t", "CNY", {"energy_import": 100}), {"energy_import": 0}, {"energy_import": 10}) == 1


@given(st.integers(0, 10**9), st.lists(st.integers(0, 5000), min_size=1, max_size=40), st.integers(0, 5_000_000))
def test_charges_over_any_split_add_up_to_the_same_sum(start: int, steps: list[int], price: int) -> None:
    tariff, at, total = Tariff("t", "CNY", {"energy_import": price}), start, 0
    for step in steps:
        total += amount(tariff, {"energy_import": at}, {"energy_import": at + step})
        at += step
    assert total == amount(tariff, {"energy_import": start}, {"energy_import": at})


def test_a_rate_without_a_price_stops_the_bill() -> None:
    tariff = Tariff("t", "CNY", {"energy_import_t1": 1})
    with pytest.raises(UnpricedRegister, match="t3 moved"):
        amount(tariff, {"energy_import_t1": 0, "energy_import_t3": 0}, {"energy_import_t1": 0, "energy_import_t3": 10})
    with pytest.raises(UnpricedRegister, match="does not give"):
        amount(tariff, {"energy_import": 0}, {"energy_import": 10})


def test_the_lines_explain_the_charge() -> None:
    (line,) = charge(FLAT, Registers(0, {"energy_import": 100}), Registers(1, {"energy_import": 1100}))
    assert (line.register, line.from_wh, line.to_wh, line.amount_micro) == ("energy_import", 100, 1100, 617_000)
