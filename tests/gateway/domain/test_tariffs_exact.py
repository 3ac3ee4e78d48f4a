"""Charges and profiles where a slip would not show in rounder figures."""

from __future__ import annotations

import pytest

from gateway.domain import tariffs
from gateway.domain.price_list import Rate, StepKind, Tariff, Terms
from gateway.domain.readings import TOTAL, Registers
from gateway.domain.tariffs import Portion, UnpricedRegister, charge, portions, price_series
from tests.gateway.domain.price_bench import T1, T2, TWO_PRICES, TWO_RATES, YEARLY, at, blocks, registers, tariff, version

BY_REGISTER = {Rate.PEAK: (T1,), Rate.VALLEY: (T2,)}


def test_a_register_that_is_missing_over_a_boundary_is_named() -> None:
    priced = tariff(version(seasons=TWO_PRICES, registers=BY_REGISTER))
    start, end = registers("2026-01-31T00:00", 0, t1=0, t2=0), registers("2026-02-02T00:00", 9, t1=9)
    with pytest.raises(UnpricedRegister, match=f"^tariff t prices {T2}, which this meter does not give$"):
        portions(priced, start, end)
    with pytest.raises(UnpricedRegister, match=f"^tariff t prices {TOTAL}, which this meter does not give$"):
        portions(tariff(), Registers(start.at_ms, {}), end)


def test_energy_that_only_blocks_price_is_estimated_over_a_boundary() -> None:
    priced = tariff(version(prices={}, steps=blocks((None, 500_000))))
    made = portions(priced, registers("2026-01-31T00:00", 0), registers("2026-02-02T00:00", 10))
    assert [(each.total_wh, dict(each.wh), each.estimated) for each in made] == [(5, {}, True), (5, {}, True)]


def test_the_use_of_a_years_steps_is_the_years() -> None:
    priced = tariff(version(steps=blocks((100, 0), (None, 50_000), resets=YEARLY, kind=StepKind.ADDER)))
    made = charge(priced, Terms(), {}, portions(priced, registers("2026-03-05T00:00", 0), registers("2026-03-06T00:00", 5)))
    spans = {name: (use.from_ms, use.to_ms) for name, use in made.uses.items()}
    assert spans == {
        "2026-03-01T00:00": (at("2026-03-01T00:00"), at("2026-04-01T00:00")),
        "2026-01-01T00:00/steps": (at("2026-01-01T00:00"), at("2027-01-01T00:00")),
    }


def test_a_profile_that_goes_back_is_refused_in_so_many_words() -> None:
    with pytest.raises(ValueError, match=r"^a profile's register or time goes back$"):
        price_series(tariff(), Terms(), [(at("2026-01-05T00:00"), 1), (at("2026-01-06T00:00"), 0)])


def test_a_profile_makes_as_many_portions_as_it_has_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Portion] = []

    def seen(tariff: Tariff, start: Registers, end: Registers) -> tuple[Portion, ...]:
        made.extend(portions(tariff, start, end))
        return tuple(made[-1:])

    monkeypatch.setattr(tariffs, "portions", seen)
    begin = at("2026-01-05T00:00")
    priced = tariff(version(seasons=TWO_PRICES, tou=TWO_RATES, registers={}))
    price_series(priced, Terms(), [(begin + number * 900_000, number) for number in range(97)])
    assert [(each.total_wh, dict(each.wh)) for each in made] == [
        (24, {Rate.VALLEY: 24}),
        (64, {Rate.PEAK: 64}),
        (8, {Rate.VALLEY: 8}),
    ]
