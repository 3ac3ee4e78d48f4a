"""No price lies outside its bounds: whatever a tariff is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.estimates import Estimate
from gateway.domain.period_use import PeriodUse
from gateway.domain.price_bounds import highest_cost, most_back, open_portions
from gateway.domain.price_list import Band, PowerFactor, Reset, StepKind, Steps, Tariff, Terms
from gateway.domain.readings import TOTAL, Registers
from gateway.domain.tariffs import charge, periods, portions
from tests.gateway.price_lists import flat
from tests.gateway.services.house import local

NOVEMBER, DECEMBER = local("2026-11-30 22:00"), local("2026-12-01 02:00")
MIDNIGHT = local("2026-12-01 00:00")
STEPS = Steps(StepKind.BLOCK, (Reset(1),), (10_000,), (100_000, 1_000_000))


def stepped(amounts: tuple[int, int], top_wh: int = 10_000) -> Tariff:
    version = flat(0).versions[0]
    season = replace(version.seasons[0], prices={})
    return replace(
        flat(0), versions=(replace(version, seasons=(season,), steps=replace(STEPS, amounts=amounts, thresholds_wh=(top_wh,))),)
    )


def test_the_dearest_of_everything_at_once() -> None:
    version = flat(500_000).versions[0]
    adders = replace(STEPS, kind=StepKind.ADDER)
    factor = PowerFactor(90, ((95, -75), (80, 150)))
    dear = replace(flat(0), versions=(replace(version, steps=adders, bands=(Band(0, 100),), power_factor=factor),))
    assert highest_cost(flat(500_000), 3_001, NOVEMBER, DECEMBER) == 1_500_500
    assert highest_cost(dear, 1_000, NOVEMBER, DECEMBER) == 1_500_000 * 11 * 1_015 // 10 // 1_000


def test_only_versions_of_the_time_count() -> None:
    later = replace(flat(9_000_000).versions[0], id="2027", from_day="2027-01-01")
    tariff = replace(flat(500_000), versions=(*flat(500_000).versions, later))
    assert highest_cost(tariff, 1_000, NOVEMBER, DECEMBER) == 500_000
    assert highest_cost(tariff, 1_000, NOVEMBER, local("2027-01-01 00:00")) == 9_000_000
    assert highest_cost(tariff, 1_000, local("2027-01-01 00:00"), local("2027-01-02 00:00")) == 9_000_000


def test_what_nothing_was_shared_out_of_gives_nothing_back() -> None:
    exact = Estimate(1, "m", "a", "flat", (Registers(NOVEMBER, {TOTAL: 0}), Registers(NOVEMBER + 1, {TOTAL: 5})))
    assert open_portions(flat(500_000), [exact]) == ()
    assert most_back(flat(500_000), Terms(), {}, ()) == 0


@given(
    amounts=st.tuples(st.integers(0, 2_000_000), st.integers(0, 2_000_000)),
    top_wh=st.integers(1, 30_000),
    before_wh=st.integers(0, 30_000),
    wh=st.integers(1, 40_000),
    after_wh=st.integers(0, 30_000),
    split=st.integers(0, 100),
)
def test_no_reading_of_the_boundary_gives_back_more(
    amounts: tuple[int, int], top_wh: int, before_wh: int, wh: int, after_wh: int, split: int
) -> None:
    """Rising and falling steps, energy known on both sides, and midnight anywhere in between."""
    tariff = stepped(amounts, top_wh)

    def posted(points: tuple[Registers, ...]) -> tuple[int, dict[str, PeriodUse]]:
        uses: dict[str, PeriodUse] = {}
        total = 0
        for start, end in pairwise(points):
            add = portions(tariff, start, end)
            found = charge(tariff, Terms(), {name: uses[name] for name in periods(add) if name in uses}, add)
            uses |= found.uses
            total += found.micro
        return total, uses

    begin = Registers(local("2026-11-02 00:00"), {TOTAL: 0})
    first = Registers(NOVEMBER, {TOTAL: before_wh})
    last = Registers(DECEMBER, {TOTAL: before_wh + wh})
    end = Registers(local("2026-12-20 00:00"), {TOTAL: before_wh + wh + after_wh})
    now, uses = posted((begin, first, last, end))
    shared = open_portions(tariff, [Estimate(1, "m", "a", "flat", (first, last))])
    back = most_back(tariff, Terms(), uses, shared)
    middle = Registers(MIDNIGHT, {TOTAL: before_wh + wh * split // 100})
    truth, _ = posted((begin, first, middle, last, end))
    assert now - truth <= back + 4  # each line is truncated to a whole micro-unit
    assert 0 <= back <= now
