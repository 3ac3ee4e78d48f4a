"""The worked examples of tests/vectors/prepayment.json: published bills and rules, priced through the public functions."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.price_list import (
    Band,
    CountedOn,
    LateFee,
    Rate,
    Rounding,
    RoundingMode,
    RoundingPlace,
    StepKind,
    Steps,
    Terms,
)
from gateway.domain.readings import Bound, Item, Registers, energy_registers, turned_over
from gateway.domain.tariffs import charge, late_fee, portions, vend, weighted_wh
from gateway.domain.units import parse_money, parse_price
from tests.gateway.domain.price_bench import MONTHLY, T1, T2, YEARLY, Account, registers, tariff, version

FILE = json.loads((Path(__file__).parents[2] / "vectors" / "prepayment.json").read_text())
EXAMPLES: dict[str, Any] = {example["id"]: example for example in FILE["tariffs"]}
TESTED = {
    "beijing-increment-formula",
    "shanghai-tier1-tou",
    "ceb-2013-210kwh-31days",
    "johannesburg-2018-R2000",
    "eskom-homelight20A",
    "echelon-tou-in-energy-units",
    "meter-step-boundary",
    "rollover",
}


def yuan(text: str) -> int:
    return parse_money(text, "CNY")


def test_no_example_is_left_out() -> None:
    assert set(EXAMPLES) == TESTED


@pytest.mark.parametrize("form", ["adders", "blocks"])
def test_beijing_as_base_and_adders_and_as_blocks(form: str) -> None:
    example = EXAMPLES["beijing-increment-formula"]
    base, adders = parse_price(example["base"]), [0, *map(parse_price, example["adders"])]
    tops = tuple(kwh * 1000 for kwh in example["thresholds"])
    if form == "adders":
        priced = version(prices={Rate.SINGLE: base}, steps=Steps(StepKind.ADDER, MONTHLY, tops, tuple(adders)))
    else:
        priced = version(prices={}, steps=Steps(StepKind.BLOCK, MONTHLY, tops, tuple(base + adder for adder in adders)))
    account = Account(tariff(priced))
    account.use("2026-01-03T00:00", "2026-01-29T00:00", example["kwh"] * 1000)
    assert account.micro == yuan(example["total"])
    expected = {
        "adders": [
            ("energy", None, 1_000_000, 530_000_000),
            ("step", 1, 240_000, 0),
            ("step", 2, 160_000, 8_000_000),
            ("step", 3, 600_000, 180_000_000),
        ],
        "blocks": [("energy", 1, 240_000, 127_200_000), ("energy", 2, 160_000, 92_800_000), ("energy", 3, 600_000, 498_000_000)],
    }
    assert [(line.component, line.step, line.wh, line.micro) for line in account.lines] == expected[form]


def test_shanghai_two_rates() -> None:
    example = EXAMPLES["shanghai-tier1-tou"]
    prices = {Rate.PEAK: parse_price("0.617"), Rate.VALLEY: parse_price("0.307")}
    account = Account(tariff(version(prices=prices, registers={Rate.PEAK: (T1,), Rate.VALLEY: (T2,)})))
    peak, valley = example["peak_kwh"] * 1000, example["valley_kwh"] * 1000
    account.span(registers("2026-01-01T00:00", 0, t1=0, t2=0), registers("2026-01-31T00:00", peak + valley, t1=peak, t2=valley))
    assert account.micro == yuan(example["total"])


def test_ceylon_blocks_scale_with_31_days_and_bear_a_surcharge() -> None:
    example = EXAMPLES["ceb-2013-210kwh-31days"]
    steps = Steps(
        StepKind.BLOCK,
        MONTHLY,
        tuple(kwh * 1000 for kwh in (30, 60, 90, 120, 180)),
        tuple(map(parse_price, example["prices"])),
        per_days=30,
    )
    bands = (Band(0, 250), Band(30_000, 350), Band(60_000, 400))
    account = Account(tariff(version(prices={}, steps=steps, bands=bands), zone="Asia/Colombo"))
    account.use("2026-01-01T00:00", "2026-02-01T00:00", sum(example["blocks_kwh"]) * 1000)
    energy = [line for line in account.lines if line.component == "energy"]
    assert [line.wh // 1000 for line in energy] == example["blocks_kwh"]
    assert [line.micro for line in energy] == [yuan(text) for text in example["energy"]]
    assert account.components() == {"energy": yuan(example["energy_total"]), "surcharge": yuan(example["fac_40pct"])}
    assert account.micro == yuan(example["energy_plus_fac"])


def test_johannesburg_sells_ahead_and_rounds_for_the_customer() -> None:
    example = EXAMPLES["johannesburg-2018-R2000"]
    (first, price1, money1), (second, price2, money2) = example["blocks"]
    tops, prices = (first * 1000, (first + second) * 1000), (price1, price2, example["remainder_price"])
    steps = Steps(StepKind.BLOCK, MONTHLY, tops, tuple(map(parse_price, prices)), CountedOn.PURCHASES)
    rounding = Rounding(RoundingPlace.BILL, RoundingMode.FOR_CUSTOMER, 10_000)
    sold = vend(tariff(version(prices={}, steps=steps), rounding=rounding), Terms(), 0, yuan(example["spend"]))
    remainder = Decimal(example["vended_kwh_of_remainder"])
    assert sold.energy_wh == (first + second + remainder) * 1000
    assert [(line.step, line.wh, line.micro) for line in sold.lines] == [
        (1, 500_000, yuan(money1)),
        (2, 500_000, yuan(money2)),
        (3, int(remainder * 1000), yuan(example["remainder"])),
    ]
    assert sold.rest_micro == 0
    exact = vend(tariff(version(prices={}, steps=steps)), Terms(), 0, yuan(example["spend"]), unit_wh=1)
    assert exact.energy_wh - 1_000_000 == int(Decimal(example["exact_kwh_of_remainder"]) * 1000) == 240_442


def test_eskom_counts_blocks_on_purchases() -> None:
    example = EXAMPLES["eskom-homelight20A"]
    steps = Steps(StepKind.BLOCK, MONTHLY, (example["block1_limit"] * 1000,), (1_000_000, 2_000_000), CountedOn.PURCHASES)
    sold = vend(tariff(version(prices={}, steps=steps)), Terms(), 0, 450_000_000)
    assert sold.energy_wh == example["kwh"] * 1000
    assert [line.wh for line in sold.lines] == [kwh * 1000 for kwh in example["split"]]


def test_echelon_weighs_energy_instead_of_money() -> None:
    example = EXAMPLES["echelon-tou-in-energy-units"]
    rates = (Rate.DEEP_VALLEY, Rate.VALLEY, Rate.FLAT, Rate.PEAK)
    prices = dict(zip(rates, map(parse_price, example["prices"]), strict=True))
    baseline = parse_price(example["baseline"])
    assert [weighted_wh(prices, baseline, {rate: 1000}) for rate in rates] == example["wh_per_kwh"]
    assert weighted_wh(prices, baseline, dict.fromkeys(rates, 1000)) == sum(example["wh_per_kwh"])


def test_a_step_boundary_counts_first_and_then_prices() -> None:
    example = EXAMPLES["meter-step-boundary"]
    tops = tuple(kwh * 1000 for kwh in example["thresholds"])
    steps = Steps(StepKind.ADDER, YEARLY, tops, tuple(map(parse_price, example["adders"])))
    account = Account(tariff(version(prices={Rate.SINGLE: parse_price(example["rate"])}, steps=steps)))
    before = int(Decimal(example["used_before"]) * 1000)
    account.use("2026-01-01T00:00", "2026-06-01T00:00", before)
    consumed = int(Decimal(example["consume"]) * 1000)
    done = account.use("2026-06-01T00:00", "2026-06-02T00:00", consumed)
    assert done.micro == example["deduct_micro_yuan"] == int(Decimal(example["deduct_yuan"]) * 1_000_000)
    assert [(line.step, line.wh, line.micro) for line in done.lines if line.component == "step"] == [
        (1, 1000, 0),
        (2, 1500, 75_000),
    ]


def test_a_register_that_turned_over_behind_transformers_is_billed_once_multiplied() -> None:
    example = EXAMPLES["rollover"]
    ratio = Fraction(example["ct_ratio"])
    values = [energy_registers([Item("energy_import", Decimal(example[when]), "kWh")], ratio) for when in ("previous", "current")]
    before, after = (Registers(60_000 * place, wh) for place, wh in enumerate(values) if isinstance(wh, dict))
    turned = turned_over(before, after, Bound(10_000_000, 10 * int(ratio), 10**9 * int(ratio)))
    assert turned is not None
    flat = tariff(version(from_day="1970-01-01"), zone="UTC")
    legs = [*portions(flat, before, turned[0]), *portions(flat, turned[1], after)]
    assert sum(leg.total_wh for leg in legs) == int(Decimal(example["billed_kwh"]) * 1000)
    assert int(Decimal(example["kwh"]) * 1000) * ratio == int(Decimal(example["billed_kwh"]) * 1000)
    assert charge(flat, Terms(), {}, legs).micro == 26_000_000


@pytest.mark.parametrize("example", FILE["late_fee"], ids=lambda example: f"{example['class']}-{example['arrears']}")
def test_late_fees(example: dict[str, Any]) -> None:
    rule = {"residential": LateFee(1, 1, 1_000_000), "other": LateFee(2, 3, 1_000_000)}[example["class"]]
    days = example["days_same_year" if "days_same_year" in example else "days"]
    assert late_fee(rule, yuan(example["arrears"]), days, example.get("days_next_year", 0)) == yuan(example["fee"])
